//! What can be set on the pair, and what follows from it.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use crate::system::lab::params::{Param, ParamKind, Resolved};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Every parameter with its default and range.
pub const PARAMS: &[Param] = &[
    Param {
        name: "commit",
        kind: ParamKind::Word(&["sync", "async"]),
        doc: "When a write is acknowledged: once the standby has it, or at once.",
    },
    Param {
        name: "heartbeat",
        kind: ParamKind::Time { default: ms(100), min: ms(10), max: ms(10_000) },
        doc: "How often the gateway asks each node whether it is well.",
    },
    Param {
        name: "misses",
        kind: ParamKind::Count { default: 3, min: 2, max: 20 },
        doc: "So many heartbeats without an answer make a node suspect.",
    },
    Param {
        name: "promotion",
        kind: ParamKind::Time { default: ms(200), min: ms(0), max: ms(60_000) },
        doc: "How long a standby takes to become primary.",
    },
    Param {
        name: "fencing",
        kind: ParamKind::Switch(true),
        doc: "Whether a primary that was replaced stops acknowledging. Off is broken on purpose.",
    },
    Param {
        name: "ship_every",
        kind: ParamKind::Time { default: ms(50), min: ms(0), max: ms(10_000) },
        doc: "With `commit: async`, how often writes are shipped to the standby: the data loss window.",
    },
    Param {
        name: "service_time",
        kind: ParamKind::Time { default: ms(0), min: ms(0), max: ms(10_000) },
        doc: "How long a node works on each request, on top of what it really takes.",
    },
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
        }
    }

    /// Silence for so long makes a node suspect.
    pub fn detect_after(&self) -> Duration {
        self.heartbeat * self.misses
    }

    /// A primary serves for so long after the last moment of which it knows that the gateway heard it.
    ///
    /// One heartbeat more than detection takes: a lease is renewed by a heartbeat that tells the moment of the
    /// answer before it, so it is already one heartbeat old when it arrives.
    pub fn lease(&self) -> Duration {
        self.heartbeat * (self.misses + 1)
    }
}
