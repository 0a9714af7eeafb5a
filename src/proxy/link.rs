//! A link as everyone else has it: a handle that can be used from any thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ProxyError;
use super::shared::{ConnectionInfo, LinkShared};
use super::strike::{Evidence, Strike, StrikeId, Struck};
use super::worker::{Key, Orders, Upstream};
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
        }
    }
}

/// A link in service. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    pub(crate) shared: Arc<LinkShared>,
    pub(crate) orders: Orders,
    pub(crate) key: Key,
    pub(crate) ids: Arc<AtomicU64>,
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
        self.shared.counters.snapshot()
    }

    /// How often accepting has failed, most likely for want of descriptors; the link goes on.
    pub fn accept_failures(&self) -> u64 {
        self.shared.counters.accept_failed.get()
    }

    /// The number of the connection that a client made from this address; told for some seconds after its end too.
    pub fn connection_from(&self, peer: SocketAddr) -> Option<u64> {
        self.shared.peers.number(peer)
    }

    /// The connections that it has, in no order.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let key = self.key;
        self.orders.ask(move |worker| worker.connection_infos(key)).unwrap_or_default()
    }

    /// New connections go to another `host:port`.
    pub fn set_upstream(&self, upstream: &str) {
        let (key, upstream) = (self.key, Upstream::parse(upstream));
        self.orders.ask(move |worker| worker.set_upstream(key, upstream));
    }

    /// Puts a fault in force. Chance is drawn from the seed's stream of this link and name.
    pub fn strike(&self, name: &str, strike: Strike, seed: Seed) -> Result<Struck, ProxyError> {
        let (key, id, name) = (self.key, StrikeId(self.ids.fetch_add(1, Ordering::Relaxed)), name.to_owned());
        let struck = self.orders.ask(move |worker| worker.strike(key, id, &name, seed, strike));
        struck.flatten().ok_or_else(|| ProxyError::Closed { link: Arc::clone(&self.shared.name) })
    }

    /// Gives a toxic in force other settings, on open connections too.
    pub fn update_toxic(&self, id: StrikeId, toxic: Toxic, share: f64) {
        let key = self.key;
        self.orders.ask(move |worker| worker.update_toxic(key, id, toxic, share));
    }

    /// What a fault in force has met so far; none if it is not in force.
    pub fn evidence(&self, id: StrikeId) -> Option<Evidence> {
        let key = self.key;
        self.orders.ask(move |worker| worker.evidence(key, id)).flatten()
    }

    /// Takes a fault out of force and says what it has met; none if it is not in force.
    pub fn heal(&self, id: StrikeId) -> Option<Evidence> {
        let key = self.key;
        self.orders.ask(move |worker| worker.heal(key, id)).flatten()
    }

    /// Closes the listener, then every connection, at once; afterwards the port is free. Closing twice is no harm.
    pub fn close(&self) {
        let key = self.key;
        self.orders.ask(move |worker| worker.close_link(key));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}
