//! A client's resolver: asks over UDP, over TCP where a datagram is too short, and believes what its cache says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use super::cache::{Cache, Keep};
use super::message::{Heard, LONGEST, answer, frame, query};
use super::table::Record;
use crate::clock::RunClock;

/// A query without an answer is sent again after this, as stub resolvers do, only sooner: there is no network to wait for.
const TRY_FOR: Duration = Duration::from_secs(1);

/// So often a query is sent.
const TRIES: usize = 5;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The server says so.
    #[error("the DNS server answers {0}")]
    Refused(String),
    /// There is no record of addresses.
    #[error("the name has no address")]
    NoAddress,
    /// The server says nothing.
    #[error("the DNS server does not answer")]
    NoAnswer,
    /// It cannot be asked.
    #[error("the DNS server cannot be asked: {0}")]
    Unreachable(String),
}

type Found = Result<Vec<Ipv4Addr>, LookupError>;

/// Resolves one name. Whoever asks while a query is under way waits for its answer, but where nothing is believed.
#[derive(Debug)]
pub struct Resolver {
    server: SocketAddr,
    name: String,
    keep: Keep,
    clock: RunClock,
    ids: AtomicU16,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// The query under way; without a sender its runtime has ended.
    asking: Option<watch::Receiver<Option<Found>>>,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    pub fn new(server: SocketAddr, name: &str, keep: Keep, clock: RunClock) -> Resolver {
        let state = Mutex::new(State { cache: Cache::new(keep), asking: None });
        Resolver { server, name: name.to_owned(), keep, clock, ids: AtomicU16::new(1), state }
    }

    /// The addresses of the name.
    pub async fn addresses(self: &Arc<Self>) -> Found {
        if self.keep == Keep::Never {
            return self.ask().await.and_then(addresses);
        }
        loop {
            let mut asking = {
                let mut state = self.lock();
                if let Some(known) = state.cache.known(self.clock.now()) {
                    return Ok(known.to_vec());
                }
                state.asking.get_or_insert_with(|| self.begin()).clone()
            };
            if let Ok(found) = asking.wait_for(Option::is_some).await {
                return found.clone().unwrap_or(Err(LookupError::NoAnswer));
            }
            // Whoever asked has ended without an answer.
            self.lock().asking = None;
        }
    }

    /// Asks in a task of its own: an attempt that gives up must not take the answer from those that wait with it.
    fn begin(self: &Arc<Self>) -> watch::Receiver<Option<Found>> {
        let (tell, told) = watch::channel(None);
        let resolver = Arc::clone(self);
        tokio::spawn(async move {
            let record = resolver.ask().await;
            {
                let mut state = resolver.lock();
                if let Ok(record) = &record
                    && !record.addresses.is_empty()
                {
                    state.cache.learn(record, resolver.clock.now());
                }
                state.asking = None;
            }
            tell.send_replace(Some(record.and_then(addresses)));
        });
        told
    }

    async fn ask(&self) -> Result<Record, LookupError> {
        let unreachable = |error: std::io::Error| LookupError::Unreachable(error.to_string());
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let packet = query(id, &self.name).ok_or(LookupError::NoAddress)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unreachable)?;
        socket.connect(self.server).await.map_err(unreachable)?;
        let mut buffer = vec![0; LONGEST];
        for _ in 0..TRIES {
            socket.send(&packet).await.map_err(unreachable)?;
            let heard = async {
                loop {
                    let length = socket.recv(&mut buffer).await?;
                    match answer(&buffer[..length], id, &self.name) {
                        Heard::Foreign => {}
                        heard => return Ok(heard),
                    }
                }
            };
            match timeout(TRY_FOR, heard).await {
                Ok(Ok(Heard::Truncated)) => return self.ask_by_stream(id, &packet).await,
                Ok(Ok(heard)) => return found(heard),
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) => {}
            }
        }
        Err(LookupError::NoAnswer)
    }

    async fn ask_by_stream(&self, id: u16, packet: &[u8]) -> Result<Record, LookupError> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.server).await?;
            stream.write_all(&frame(packet).unwrap_or_default()).await?;
            let mut answer = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        match timeout(TRY_FOR * TRIES as u32, exchange).await {
            Ok(Ok(packet)) => found(answer(&packet, id, &self.name)),
            Ok(Err(error)) => Err(LookupError::Unreachable(error.to_string())),
            Err(_) => Err(LookupError::NoAnswer),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(heard: Heard) -> Result<Record, LookupError> {
    match heard {
        Heard::Record(record) => Ok(record),
        Heard::Failed(code) => Err(LookupError::Refused(code)),
        Heard::Truncated | Heard::Foreign => Err(LookupError::NoAnswer),
    }
}

fn addresses(record: Record) -> Found {
    if record.addresses.is_empty() { Err(LookupError::NoAddress) } else { Ok(record.addresses) }
}

#[cfg(test)]
mod tests {
    use super::super::server::Server;
    use super::super::{Effect, Table};
    use super::*;
    use crate::seed::Seed;
    use crate::units::Share;

    fn record(last: u8, ttl: u64) -> Record {
        Record { addresses: vec![Ipv4Addr::new(127, 53, 0, last)], ttl: Duration::from_secs(ttl) }
    }

    fn server(record: Record) -> Server {
        let mut table = Table::default();
        table.set("app.test", record);
        Server::serve(table).unwrap()
    }

    /// Counts the queries from here on.
    fn count(dns: &Server, effect: Effect) {
        dns.table().strike(
            "fault",
            vec!["app.test".to_owned()],
            Share::new(1.0).unwrap(),
            effect,
            Seed(1).stream("fault"),
        );
    }

    fn resolver(dns: &Server, keep: Keep) -> Arc<Resolver> {
        Arc::new(Resolver::new(dns.address(), "app.test", keep, RunClock::start()))
    }

    #[tokio::test]
    async fn who_obeys_the_ttl_follows_and_who_never_asks_again_does_not() {
        for (keep, follows) in [(Keep::Ttl, true), (Keep::Never, true), (Keep::Forever, false)] {
            let dns = server(record(1, 1));
            let resolver = resolver(&dns, keep);
            assert_eq!(resolver.addresses().await, Ok(record(1, 1).addresses));
            dns.table().set("app.test", record(2, 1));
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            let last = if follows { 2 } else { 1 };
            assert_eq!(resolver.addresses().await, Ok(record(last, 1).addresses), "{keep:?}");
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_send_one_query_and_all_hear_its_answer() {
        let dns = server(record(1, 60));
        count(&dns, Effect::Slow(Duration::from_millis(50)));
        let resolver = resolver(&dns, Keep::Ttl);
        let asks: Vec<_> = (0..20)
            .map(|_| {
                let resolver = Arc::clone(&resolver);
                tokio::spawn(async move { resolver.addresses().await })
            })
            .collect();
        for ask in asks {
            assert_eq!(ask.await.unwrap(), Ok(record(1, 60).addresses));
        }
        assert_eq!(dns.table().heal("fault"), 1);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_remembered() {
        let dns = server(record(1, 60));
        let resolver = resolver(&dns, Keep::Forever);
        for (effect, word) in [(Effect::NoSuchName, "NXDomain"), (Effect::ServerFailure, "ServFail")] {
            count(&dns, effect);
            assert_eq!(resolver.addresses().await, Err(LookupError::Refused(word.into())));
            dns.table().heal("fault");
        }
        assert_eq!(resolver.addresses().await, Ok(record(1, 60).addresses));
    }

    #[tokio::test]
    async fn an_attempt_that_gives_up_does_not_take_the_answer_with_it() {
        let dns = server(record(1, 60));
        count(&dns, Effect::Slow(Duration::from_millis(100)));
        let resolver = resolver(&dns, Keep::Ttl);
        assert!(timeout(Duration::from_millis(10), resolver.addresses()).await.is_err());
        assert_eq!(resolver.addresses().await, Ok(record(1, 60).addresses));
        assert_eq!(dns.table().heal("fault"), 1);
    }

    #[tokio::test]
    async fn a_name_with_more_addresses_than_a_datagram_holds_is_asked_for_over_tcp() {
        let many = Record { addresses: (0..200).map(|n| Ipv4Addr::new(127, 53, 1, n)).collect(), ..record(1, 60) };
        let dns = server(many.clone());
        assert_eq!(resolver(&dns, Keep::Ttl).addresses().await, Ok(many.addresses));
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_told() {
        let dns = server(record(1, 60));
        let resolver = resolver(&dns, Keep::Ttl);
        drop(dns);
        assert!(matches!(resolver.addresses().await, Err(LookupError::Unreachable(_))));
    }
}
