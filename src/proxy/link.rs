//! A link as everyone else has it: a handle that can be used from any thread.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ProxyError;
use super::authority::Termination;
use super::counters::Counters;
use super::shared::{ConnectionInfo, LinkShared};
use super::strike::{Evidence, Strike, StrikeId, Struck};
use super::worker::{Key, Post, Upstream, Worker};
use crate::event::LinkCounters;
use crate::permit::Permit;
use crate::plan::fault::Toxic;
use crate::seed::Seed;

/// What a link is to be.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Its name, in figures and logs.
    pub name: Arc<str>,
    /// Where it listens; port 0: any free one.
    pub listen: SocketAddr,
    /// Where it leads: `host:port`; a name is looked up at each dial.
    pub upstream: String,
    /// Whether HTTP/1 is read on it, which HTTP faults and the count of requests need.
    pub http: bool,
    /// Which upstream addresses may be connected to.
    pub permit: Permit,
    /// TLS ends here, on both sides; none: bytes pass as they are.
    pub tls: Option<Termination>,
}

impl LinkSpec {
    /// A link from any free loopback port.
    pub fn new(name: impl Into<Arc<str>>, upstream: impl Into<String>) -> LinkSpec {
        LinkSpec {
            name: name.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            upstream: upstream.into(),
            http: false,
            permit: Permit::default(),
            tls: None,
        }
    }
}

/// A link in service. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    pub(crate) shared: Arc<LinkShared>,
    /// Where it is served, its home first.
    pub(crate) posts: Vec<Post>,
    pub(crate) ids: Arc<AtomicU64>,
    /// Faults strike and heal one after the other, so that every thread has them in the same order.
    pub(crate) changes: Mutex<()>,
}

impl Link {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Its totals, live.
    pub fn counters(&self) -> LinkCounters {
        Counters::sum(self.shared.counters.iter().map(Arc::as_ref))
    }

    /// How often accepting has failed, most likely for want of descriptors; the link goes on.
    pub fn accept_failures(&self) -> u64 {
        self.counters().accept_failed
    }

    /// The number of the connection that a client made from this address; told for some seconds after its end too.
    pub fn connection_from(&self, peer: SocketAddr) -> Option<u64> {
        self.shared.peers.number(peer)
    }

    /// The connections that it has, in no order.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.at_each(move |worker, key| worker.connection_infos(key)).flatten().flatten().collect()
    }

    /// New connections go to another `host:port`.
    pub fn set_upstream(&self, upstream: &str) {
        let (_changes, upstream) = (self.lock(), Upstream::parse(upstream));
        self.at_each(move |worker, key| worker.set_upstream(key, upstream)).for_each(drop);
    }

    /// Puts a fault in force. Chance is drawn from the seed's stream of this link and name.
    pub fn strike(&self, name: &str, strike: Strike, seed: Seed) -> Result<Struck, ProxyError> {
        let _changes = self.lock();
        let id = StrikeId(self.ids.fetch_add(1, Ordering::Relaxed));
        let mut struck: Option<Struck> = None;
        // At home first: whom it accepts meanwhile comes to another thread before the fault does.
        for &Post { ref orders, key } in &self.posts {
            let (name, strike, at) = (name.to_owned(), strike.clone(), struck.map(|struck| struck.at));
            let here = orders.ask(move |worker| worker.strike(key, id, &name, seed, strike, at));
            let here = here.flatten().ok_or_else(|| ProxyError::Closed { link: Arc::clone(&self.shared.name) })?;
            struck.get_or_insert(Struck { in_flight_bytes: 0, ..here }).in_flight_bytes += here.in_flight_bytes;
        }
        struck.ok_or_else(|| ProxyError::Closed { link: Arc::clone(&self.shared.name) })
    }

    /// Gives a toxic in force other settings, on open connections too.
    pub fn update_toxic(&self, id: StrikeId, toxic: Toxic, share: f64) {
        let _changes = self.lock();
        self.at_each(move |worker, key| worker.update_toxic(key, id, toxic, share)).for_each(drop);
    }

    /// What a fault in force has met so far; none if it is not in force.
    pub fn evidence(&self, id: StrikeId) -> Option<Evidence> {
        total(self.at_each(move |worker, key| worker.evidence(key, id)))
    }

    /// Takes a fault out of force and says what it has met; none if it is not in force.
    pub fn heal(&self, id: StrikeId) -> Option<Evidence> {
        let _changes = self.lock();
        // At home last: nobody new comes through the port to a thread where the fault is still in force.
        total(self.at_each(move |worker, key| worker.heal(key, id)).rev())
    }

    /// Closes the listener, then every connection, at once; afterwards the port is free. Closing twice is no harm.
    pub fn close(&self) {
        let _changes = self.lock();
        self.at_each(move |worker, key| worker.close_link(key)).for_each(drop);
    }

    /// Has something done on each of its threads, one after the other; none of one that has ended.
    fn at_each<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Worker, Key) -> T + Clone + Send + 'static,
    ) -> impl DoubleEndedIterator<Item = Option<T>> {
        self.posts.iter().map(move |&Post { ref orders, key }| {
            let order = order.clone();
            orders.ask(move |worker| order(worker, key))
        })
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a fault has met on all threads of a link.
fn total(met: impl Iterator<Item = Option<Option<Evidence>>>) -> Option<Evidence> {
    met.flatten().flatten().reduce(|mut sum, here| {
        sum += here;
        sum
    })
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use crate::clock::RunClock;
    use crate::proxy::{Engine, LinkSpec};

    #[test]
    fn a_crowd_is_shared_out_and_a_single_client_stays_at_home() {
        let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let engine = Engine::start(2, RunClock::start()).unwrap();
        let link = engine.open(LinkSpec::new("test", upstream.local_addr().unwrap().to_string())).unwrap();
        let served = || -> Vec<usize> {
            link.at_each(|worker, key| worker.connection_infos(key).len()).map(Option::unwrap).collect()
        };
        let connect = |count: u64| -> Vec<TcpStream> {
            let all = link.counters().open + count;
            let clients = (0..count).map(|_| TcpStream::connect(link.addr()).unwrap()).collect();
            assert!((0..100_000).any(|_| link.counters().open == all && served().len() == 2), "they never came");
            clients
        };
        let _few = connect(8);
        assert_eq!(served(), [8, 0]);
        let _more = connect(56);
        assert_eq!(served(), [36, 28]);
    }
}
