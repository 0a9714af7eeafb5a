//! Who takes part: the names of all nodes, and the zone of each.

use std::time::Duration;

use crate::system::lab::params::Resolved;
use crate::system::lab::replica_set::Id;

/// The nodes of one lab, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Those that can hold a copy: first those that do at the start, then the spares.
    pub nodes: Vec<String>,
    /// So many hold a copy at the start.
    pub copies: usize,
    /// The control ring.
    pub controls: Vec<String>,
    /// The routers.
    pub routers: Vec<String>,
    /// So many zones they are spread over.
    zones: usize,
    /// What a message from one zone to another takes longer.
    zone_latency: Duration,
}

impl Cast {
    /// From resolved parameters.
    pub fn of(params: &Resolved<'_>) -> Cast {
        let copies = params.count("secondaries") as usize + 1;
        let names = |kind: &str, count: usize| (1..=count).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
        Cast {
            nodes: [names("node", copies), names("spare", params.count("spares") as usize)].concat(),
            copies,
            controls: names("control", 3),
            routers: names("router", 2),
            zones: if params.word("redundancy") == "zone" { params.count("zones") as usize } else { 1 },
            zone_latency: params.time("zone_latency"),
        }
    }

    /// The name of a node that can hold a copy.
    pub fn node(&self, id: Id) -> &str {
        &self.nodes[id.index()]
    }

    /// The zone of the `index`-th of a kind, from 1.
    pub fn zone(&self, index: usize) -> String {
        (index % self.zones + 1).to_string()
    }

    /// What a message takes longer between these two of one kind.
    pub fn delay(&self, from: usize, to: usize) -> Duration {
        if from % self.zones == to % self.zones { Duration::ZERO } else { self.zone_latency }
    }
}
