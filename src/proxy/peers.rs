//! Which connection a client's local address belongs to: the proxy's accept record.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// How long the number of a closed connection is still told: an attempt is recorded after its connection may have ended.
const KEEP: Duration = Duration::from_secs(5);

/// Numbers of connections by their clients' addresses; written at accept and close, read by the load generator.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    numbers: HashMap<SocketAddr, u64>,
    closed: VecDeque<(Moment, SocketAddr, u64)>,
}

impl Peers {
    /// A connection was accepted.
    pub(crate) fn opened(&self, peer: SocketAddr, number: u64) {
        self.with(|book| book.numbers.insert(peer, number));
    }

    /// It ended; its number is kept for some seconds, unless the address is used again.
    pub(crate) fn closed(&self, peer: SocketAddr, number: u64, now: Moment) {
        self.with(|book| {
            book.closed.push_back((now + KEEP, peer, number));
            while let Some(&(until, old, its)) = book.closed.front()
                && until <= now
            {
                book.closed.pop_front();
                if book.numbers.get(&old) == Some(&its) {
                    book.numbers.remove(&old);
                }
            }
        });
    }

    /// The number of the connection that came from this address last.
    pub(crate) fn number(&self, peer: SocketAddr) -> Option<u64> {
        self.with(|book| book.numbers.get(&peer).copied())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Book) -> T) -> T {
        f(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_is_told_for_some_seconds() {
        let (a, b) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let peers = Peers::default();
        peers.opened(a, 1);
        peers.opened(b, 2);
        peers.closed(a, 1, Moment::START);
        assert_eq!(peers.number(a), Some(1));
        peers.closed(b, 2, Moment::START + KEEP);
        assert_eq!(peers.number(a), None);
        assert_eq!(peers.number(b), Some(2));
    }

    #[test]
    fn an_address_used_again_belongs_to_its_newest_connection() {
        let a = "127.0.0.1:1".parse().unwrap();
        let peers = Peers::default();
        peers.opened(a, 1);
        peers.closed(a, 1, Moment::START);
        peers.opened(a, 2);
        peers.closed("127.0.0.1:9".parse().unwrap(), 9, Moment::START + KEEP);
        assert_eq!(peers.number(a), Some(2));
    }
}
