//! Where a link is reached: its home thread listens and accepts, and shares the connections out.
//!
//! ```text
//!                     ┌─▶ home thread: its own connections
//! client ──▶ port ────┤
//!                     └─▶ orders of another thread: connections handed over, for good
//! ```
//!
//! One port, one order of numbers: a link that listened on each thread would have as many of both, and a fault on the
//! port would strike them one after the other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, SocketFlags, acceptfrom_with};

use super::side::Side;
use super::slab::Key;
use super::{ACCEPT_PAUSE, Alarm, Orders, Token, Worker};
use crate::proxy::counters::Counters;
use crate::proxy::kernel;
use crate::proxy::reach::Door;

/// Connections accepted in one turn.
const ACCEPTS: usize = 64;

/// Connections that the kernel completes for us while the thread is busy; the system's own limit applies too.
pub(crate) const BACKLOG: i32 = 4096;

/// By how many connections the home thread may be ahead before it hands one over.
///
/// Handing over wakes another thread, which a client that opens one connection after the other would pay each time.
const AHEAD: u64 = 8;

/// A link's port, as its home thread has it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(super) listener: Side,
    listens: bool,
    /// An alarm is set to accept again; until then nobody knocks in vain.
    accepts_later: bool,
    /// A tap on the SYNs that the closed port refuses, where permitted.
    refusals: Option<OwnedFd>,
    next_number: u64,
    others: Vec<Other>,
}

/// Another thread that serves the link.
#[derive(Debug)]
pub(crate) struct Other {
    pub(crate) post: Post,
    counters: Arc<Counters>,
    /// Connections handed over to it.
    handed: u64,
}

/// A link's place on one of its engine threads.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) orders: Orders,
    pub(crate) key: Key,
}

impl Port {
    /// A port on a bound socket that does not listen yet.
    pub(crate) fn new(listener: OwnedFd, others: impl IntoIterator<Item = (Post, Arc<Counters>)>) -> Port {
        Port {
            listener: Side::new(listener),
            listens: false,
            accepts_later: false,
            refusals: None,
            next_number: 1,
            others: others.into_iter().map(|(post, counters)| Other { post, counters, handed: 0 }).collect(),
        }
    }

    /// Who serves the next connection, if not the home thread, which has so many.
    fn next_host(&mut self, at_home: u64) -> Option<&Post> {
        let other = self.others.iter_mut().min_by_key(|other| other.load())?;
        if at_home < other.load() + AHEAD {
            return None;
        }
        other.handed += 1;
        Some(&other.post)
    }
}

impl Other {
    /// Connections that it has, or that are on their way to it.
    fn load(&self) -> u64 {
        self.handed - self.counters.ended()
    }
}

impl Worker {
    /// Opens or shuts the port; shut, it stays bound, so that nobody else takes it.
    pub(super) fn set_listening(&mut self, key: Key, listen: bool) -> std::io::Result<()> {
        let Some(link) = self.links.get_mut(key) else { return Ok(()) };
        let Some(port) = link.port.as_deref_mut().filter(|port| port.listens != listen) else { return Ok(()) };
        if listen {
            rustix::net::listen(port.listener.fd(), BACKLOG)?;
            epoll::add(&self.epoll, port.listener.fd(), Token::Listener(key).pack(), EventFlags::IN | EventFlags::ET)?;
            port.refusals = None;
        } else {
            epoll::delete(&self.epoll, port.listener.fd())?;
            port.refusals = kernel::tap_refusals(link.shared.addr).ok();
            if let Some(tap) = &port.refusals {
                epoll::add(&self.epoll, tap, Token::Refusals(key).pack(), EventFlags::IN | EventFlags::ET)?;
            }
            // On Linux this takes the socket out of listening and leaves it bound.
            rustix::net::shutdown(port.listener.fd(), Shutdown::Read)?;
        }
        port.listens = listen;
        Ok(())
    }

    /// Counts the connections that the shut port has refused.
    pub(super) fn count_refusals(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(tap) = link.port.as_ref().and_then(|port| port.refusals.as_ref()) else { return };
        let mut refused = 0;
        while rustix::net::recv(tap, &mut [0u8; 1], RecvFlags::TRUNC | RecvFlags::DONTWAIT).is_ok() {
            refused += 1;
        }
        link.counters.faulted_connections.add(refused);
        if let Some(active) = link.reach.iter_mut().rev().find(|active| active.shuts()) {
            active.hits += refused;
        }
    }

    /// Somebody has come to the port.
    pub(super) fn knocked(&mut self, key: Key) {
        if self.port(key).is_some_and(|port| !port.accepts_later) {
            self.accept(key);
        }
    }

    /// The pause in accepting is over.
    pub(super) fn accept_again(&mut self, key: Key) {
        if let Some(port) = self.port(key) {
            port.accepts_later = false;
            self.accept(key);
        }
    }

    /// Accepts after a pause; one alarm is enough, however many knock meanwhile.
    fn accept_later(&mut self, key: Key, pause: Duration) {
        let Some(port) = self.port(key) else { return };
        if !std::mem::replace(&mut port.accepts_later, true) {
            self.tools.alarms.set(self.tools.clock.now() + pause, Alarm::AcceptAgain(key));
        }
    }

    /// Takes in the connections that wait at the port; there are none where the port is another thread's.
    pub(super) fn accept(&mut self, key: Key) {
        for _ in 0..ACCEPTS {
            let Some(link) = self.links.get(key) else { return };
            let Some(port) = link.port.as_ref().filter(|port| port.listens) else { return };
            match acceptfrom_with(port.listener.fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    let peer = peer.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
                    self.receive(key, socket, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(error) => {
                    link.counters.accept_failed.add(1);
                    tracing::warn!(link = %link.shared.name, %error, "could not accept; trying again soon");
                    return self.accept_later(key, ACCEPT_PAUSE);
                }
            }
        }
        self.accept_later(key, Duration::ZERO);
    }

    /// Does with a new connection what the link's door says: turns it away, serves it, or hands it over.
    fn receive(&mut self, key: Key, socket: OwnedFd, peer: SocketAddr) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.counters.accepted.add(1);
        if matches!(link.regime.door, Door::Reset | Door::Shut) {
            return self.turn_away(key, Side::new(socket));
        }
        let Some(port) = &mut link.port else { return };
        let number = port.next_number;
        port.next_number += 1;
        link.shared.peers.opened(peer, number);
        match port.next_host(link.counters.open.get()) {
            None => self.admit(key, number, Side::new(socket), peer),
            Some(Post { orders, key }) => {
                let key = *key;
                orders.send(move |worker| worker.take_over(key, number, socket, peer));
            }
        }
    }

    fn port(&mut self, key: Key) -> Option<&mut Port> {
        self.links.get_mut(key)?.port.as_deref_mut()
    }
}
