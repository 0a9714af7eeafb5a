//! What can be set on the pair, and what follows from it.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::protocol::Side;
use super::{NODE_A, NODE_B};
use crate::system::lab::params::{Param, Resolved, ms, seconds};

/// Every parameter with its default and range.
pub const PARAMS: &[Param] = &[
    Param::word("commit", &["sync", "async"], "When a write is acknowledged: once the standby has it, or at once."),
    Param::time("heartbeat", ms(100), ms(10)..=seconds(10), "How often the gateway asks each node whether it is well."),
    Param::count("misses", 3, 2..=20, "So many heartbeats without an answer make a node suspect."),
    Param::time("promotion", ms(200), ms(0)..=seconds(60), "How long a standby takes to become primary.").modelled(),
    Param::switch(
        "fencing",
        true,
        "Whether a primary that was replaced stops acknowledging. Off is broken on purpose.",
    ),
    Param::time(
        "ship_every",
        ms(50),
        ms(0)..=seconds(10),
        "With `commit: async`, how often writes are shipped to the standby: the data loss window.",
    ),
    Param::time(
        "service_time",
        ms(0),
        ms(0)..=seconds(10),
        "How long a node works on each request, on top of what it really takes.",
    )
    .modelled(),
];

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Once every node of the in-sync set has it.
    Sync,
    /// Once the primary has it.
    Async,
}

/// The parameters, typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See [`PARAMS`].
    pub commit: Commit,
    /// See [`PARAMS`].
    pub heartbeat: Duration,
    /// See [`PARAMS`].
    pub misses: u32,
    /// See [`PARAMS`].
    pub promotion: Duration,
    /// See [`PARAMS`].
    pub fencing: bool,
    /// See [`PARAMS`].
    pub ship_every: Duration,
    /// See [`PARAMS`].
    pub service_time: Duration,
    /// What the two nodes are called.
    pub names: [&'static str; 2],
    /// Whether a primary that is lost is replaced without anybody's order.
    pub automatic: bool,
    /// Whether the primary ships to its standby at all.
    pub ships: bool,
    /// Whether a node that was primary goes on as one, after a start as well, whatever it is told. Broken on purpose.
    pub stubborn: bool,
}

impl Settings {
    /// From parameters with every default filled in, as `describe` returns them.
    pub fn of(params: &IndexMap<String, Value>) -> Settings {
        let read = Resolved(params);
        Settings {
            commit: if read.word("commit") == "async" { Commit::Async } else { Commit::Sync },
            heartbeat: read.time("heartbeat"),
            misses: read.count("misses") as u32,
            promotion: read.time("promotion"),
            fencing: read.on("fencing"),
            ship_every: read.time("ship_every"),
            service_time: read.time("service_time"),
            names: [NODE_A, NODE_B],
            automatic: true,
            ships: true,
            stubborn: false,
        }
    }

    /// What a node is called.
    pub fn name(&self, side: Side) -> &'static str {
        self.names[side as usize]
    }

    /// Silence for so long makes a node suspect.
    pub fn detect_after(&self) -> Duration {
        self.heartbeat * self.misses
    }

    /// A hand-over that takes longer is broken off: nobody serves meanwhile.
    pub fn hand_over_within(&self) -> Duration {
        self.detect_after() * 2
    }

    /// A primary serves for so long after the last moment of which it knows that the gateway heard it.
    ///
    /// One heartbeat more than detection takes: a lease is renewed by a heartbeat that tells the moment of the
    /// answer before it, so it is already one heartbeat old when it arrives.
    pub fn lease(&self) -> Duration {
        self.heartbeat * (self.misses + 1)
    }
}
