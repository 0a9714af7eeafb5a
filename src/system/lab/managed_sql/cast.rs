//! Who takes part: the names of all nodes, and the zone of each.

use std::time::Duration;

use crate::system::lab::params::Resolved;
use crate::system::lab::replica_set::Id;

/// The router by which an engine reaches the primary copy, where it runs apart from the copies.
pub const STORAGE: &str = "storage";

/// Racks of each zone: enough for four copies and a spare.
const RACKS: usize = 5;

/// The nodes of one lab, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Those that can hold a copy: first those that do at the start, then the spares.
    pub nodes: Vec<String>,
    /// So many hold a copy at the start.
    pub copies: usize,
    /// Those that can run the engine; nobody where it runs beside a copy.
    pub computes: Vec<String>,
    /// The control ring.
    pub controls: Vec<String>,
    /// The routers of clients.
    pub routers: Vec<String>,
    /// So many zones they are spread over.
    zones: usize,
    /// Whether they are spread over the racks of a zone. Off is broken on purpose.
    spread: bool,
    /// What a message from one zone to another takes longer.
    zone_latency: Duration,
}

/// `KIND-1` to `KIND-count`.
pub fn names(kind: &str, count: u64) -> Vec<String> {
    (1..=count).map(|n| format!("{kind}-{n}")).collect()
}

impl Cast {
    /// Nodes of which `copies` hold one at the start, with what any managed SQL has around them; from resolved parameters.
    pub fn new(nodes: Vec<String>, copies: usize, computes: Vec<String>, params: &Resolved<'_>) -> Cast {
        Cast {
            nodes,
            copies,
            computes,
            controls: names("control", 3),
            routers: names("router", 2),
            zones: if params.word("redundancy") == "zone" { params.count("zones") as usize } else { 1 },
            spread: params.on("spread"),
            zone_latency: params.time("zone_latency"),
        }
    }

    /// Those that can run the engine: nodes of its own, or those that hold the copies.
    pub fn engines(&self) -> &[String] {
        if self.computes.is_empty() { &self.nodes } else { &self.computes }
    }

    /// The name of a node that can hold a copy.
    pub fn node(&self, id: Id) -> &str {
        &self.nodes[id.index()]
    }

    /// Over how many zones they are spread.
    pub fn zones(&self) -> usize {
        self.zones
    }

    /// The zone of the `index`-th of a kind, from 1.
    pub fn zone(&self, index: usize) -> String {
        (index % self.zones + 1).to_string()
    }

    /// The rack of the `index`-th of a kind, and the physical machine in it, as a provider chooses them: whoever stands in
    /// for another is in another rack. Storage has racks of its own, and routers machines of their own.
    pub fn stand(&self, index: usize, role: &str) -> (String, String) {
        let row = if role == "storage" { 's' } else { 'r' };
        let (rack, shelf) = if self.spread { (index / self.zones % RACKS, 0) } else { (0, index / self.zones) };
        let machine = shelf * 2 + if role == "router" { 2 } else { 1 };
        let rack = format!("z{}-{row}{}", self.zone(index), rack + 1);
        let host = format!("{rack}-h{machine}");
        (rack, host)
    }

    /// What a message takes longer between the `from`-th of one kind and the `to`-th of the same or another.
    pub fn delay(&self, from: usize, to: usize) -> Duration {
        if from % self.zones == to % self.zones { Duration::ZERO } else { self.zone_latency }
    }
}
