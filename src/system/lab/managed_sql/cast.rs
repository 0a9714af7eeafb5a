//! Who takes part: the names of all nodes, and the zone of each.
//!
//! Where the redundancy can be changed there is a second home: nodes that stand as the other redundancy wants them.

use std::time::Duration;

use indexmap::IndexMap;

use crate::plan::Redundancy;
use crate::system::lab::params::Resolved;
use crate::system::lab::replica_set::{Home, Id, Members, Settings};

/// The router by which an engine reaches the primary copy, where it runs apart from the copies.
pub const STORAGE: &str = "storage";

/// Racks of each zone: enough for four copies and a spare.
const RACKS: usize = 5;

/// More machines of one rack than a home takes.
const SHELVES: usize = 8;

/// Where a node stands, as it is the `index`-th of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    index: usize,
    /// So many zones its kind is spread over.
    over: usize,
    home: usize,
}

impl Place {
    /// Its zone, from 0.
    fn zone(self) -> usize {
        self.index % self.over
    }
}

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
    /// Where each stands.
    places: IndexMap<String, Place>,
    /// So many of the nodes are of the first home.
    first: usize,
    /// And of the computes.
    first_computes: usize,
    /// What the first home is.
    redundancy: Redundancy,
    /// Whether they are spread over the racks of a zone. Off is broken on purpose.
    spread: bool,
    /// What a message from one zone to another takes longer.
    zone_latency: Duration,
}

/// `KIND-1` to `KIND-count`.
pub fn names(kind: &str, count: u64) -> Vec<String> {
    (1..=count).map(|n| format!("{kind}-{n}")).collect()
}

/// Those who stand in each of two homes; the second is empty where the redundancy cannot be changed.
pub type ByHome = [Vec<String>; 2];

impl Cast {
    /// Nodes of which `copies` hold one at the start, with what any managed SQL has around them; from resolved parameters.
    pub fn new(nodes: ByHome, copies: usize, computes: ByHome, params: &Resolved<'_>) -> Cast {
        let redundancy = if params.word("redundancy") == "zone" { Redundancy::Zone } else { Redundancy::Local };
        let (controls, routers) = (names("control", 3), names("router", 2));
        let spread = |redundancy| if redundancy == Redundancy::Zone { params.count("zones") as usize } else { 1 };
        let homes = [spread(redundancy), spread(redundancy.other())];
        // What is around both homes stands where the loss of a zone leaves enough of it.
        let around = if nodes[1].is_empty() { homes[0] } else { homes[0].max(homes[1]) };
        let mut places = IndexMap::new();
        let mut place = |names: &[String], from: usize, over: usize, home: usize| {
            let place = |(index, name): (usize, &String)| (name.clone(), Place { index: from + index, over, home });
            places.extend(names.iter().enumerate().map(place));
        };
        for home in 0..2 {
            place(&nodes[home], 0, homes[home], home);
            place(&computes[home], 0, homes[home], home);
        }
        place(&controls, 0, around, 0);
        // Where there are several zones, the first router stands in another one than the first engine.
        place(&routers, usize::from(around > 1), around, 0);
        Cast {
            first: nodes[0].len(),
            first_computes: computes[0].len(),
            nodes: nodes.concat(),
            copies,
            computes: computes.concat(),
            controls,
            routers,
            places,
            redundancy,
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

    /// The nodes of each home.
    pub fn homes(&self) -> [Members; 2] {
        let first = Members::first(self.first);
        let second = Members::first(self.nodes.len()).except(first);
        if second.is_empty() { Settings::one_home() } else { [first, second] }
    }

    /// The computes of a home.
    pub fn computes_in(&self, home: Home) -> Members {
        let first = Members::first(self.first_computes);
        if home == Home::First { first } else { Members::first(self.computes.len()).except(first) }
    }

    /// The redundancy of those who stand in a home.
    pub fn redundancy(&self, home: Home) -> Redundancy {
        if home == Home::First { self.redundancy } else { self.redundancy.other() }
    }

    /// The home of a redundancy.
    pub fn home(&self, redundancy: Redundancy) -> Home {
        if redundancy == self.redundancy { Home::First } else { Home::Second }
    }

    /// The zone of one of them, from 1.
    pub fn zone(&self, name: &str) -> String {
        (self.places[name].zone() + 1).to_string()
    }

    /// The rack of one of them, and the physical machine in it, as a provider chooses them: whoever stands in for another
    /// is in another rack. Storage has racks of its own, and routers machines of their own, and so has the second home.
    pub fn stand(&self, name: &str, role: &str) -> (String, String) {
        let Place { index, over, home } = self.places[name];
        let row = if matches!(role, "storage" | "ejected") { 's' } else { 'r' };
        let (rack, shelf) = if self.spread { (index / over % RACKS, 0) } else { (0, index / over) };
        let machine = (shelf + home * SHELVES) * 2 + if role == "router" { 2 } else { 1 };
        let rack = format!("z{}-{row}{}", self.zone(name), rack + 1);
        let host = format!("{rack}-h{machine}");
        (rack, host)
    }

    /// What a message takes longer from one to another.
    pub fn delay(&self, from: &str, to: &str) -> Duration {
        if self.places[from].zone() == self.places[to].zone() { Duration::ZERO } else { self.zone_latency }
    }
}
