//! What can be set on the lab, and what follows from it.

use std::time::Duration;

use crate::system::lab::compute::engine::EngineSettings;
use crate::system::lab::managed_sql::cast::{Cast, names};
use crate::system::lab::params::{Param, ParamKind, Resolved};
use crate::system::lab::replica_set::{Commit, Settings};

/// So many copies storage keeps.
pub(super) const COPIES: u64 = 3;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn time(default: Duration, min: Duration, max: Duration) -> ParamKind {
    ParamKind::Time { default, min, max }
}

/// Every parameter with its default and range.
pub const PARAMS: &[Param] = &[
    Param {
        name: "redundancy",
        kind: ParamKind::Word(&["local", "zone"]),
        doc: "Whether all nodes stand in one zone, or are spread over several.",
    },
    Param {
        name: "zones",
        kind: ParamKind::Count { default: 3, min: 2, max: 3 },
        doc: "With `redundancy: zone`, how many zones.",
    },
    Param {
        name: "zone_latency",
        kind: time(ms(1), ms(0), ms(1_000)),
        doc: "What a message to storage, or between copies, takes longer from one zone to another; modelled by the nodes.",
    },
    Param {
        name: "computes",
        kind: ParamKind::Count { default: 2, min: 1, max: 3 },
        doc: "How many nodes can run the engine; one of them does.",
    },
    Param {
        name: "room",
        kind: ParamKind::Switch(true),
        doc: "Whether the compute nodes other than the first have free capacity for the engine.",
    },
    Param {
        name: "cache",
        kind: ParamKind::Word(&["cold", "pretended"]),
        doc: "What an engine that starts has in memory: nothing, or what it claims to have. `pretended` is broken on purpose.",
    },
    Param {
        name: "page_read",
        kind: time(ms(20), ms(0), ms(10_000)),
        doc: "What an operation takes longer whose page is not in the engine's memory yet; modelled. 4,096 pages hold the keys.",
    },
    Param {
        name: "commit",
        kind: ParamKind::Word(&["all", "async"]),
        doc: "When a write is acknowledged: once every copy that is not ejected has it, or at once. `async` is broken on purpose.",
    },
    Param {
        name: "fencing",
        kind: ParamKind::Switch(true),
        doc: "Whether storage refuses an engine that was replaced. Off is broken on purpose.",
    },
    Param {
        name: "heartbeat",
        kind: time(ms(100), ms(10), ms(10_000)),
        doc: "How often the control ring asks each node whether it is well.",
    },
    Param {
        name: "misses",
        kind: ParamKind::Count { default: 5, min: 2, max: 20 },
        doc: "So many heartbeats without an answer make a node suspect.",
    },
    Param {
        name: "promotion",
        kind: time(ms(400), ms(0), ms(60_000)),
        doc: "How long an engine takes to start on another node.",
    },
    Param {
        name: "engine_start",
        kind: time(ms(150), ms(0), ms(60_000)),
        doc: "How long an engine takes to start on the spot.",
    },
    Param {
        name: "eject_after",
        kind: time(ms(100), ms(0), ms(3_600_000)),
        doc: "A copy that is suspect for so long is ejected; until then every write waits for it.",
    },
    Param {
        name: "storage_promotion",
        kind: time(ms(50), ms(0), ms(60_000)),
        doc: "How long another copy takes to lead storage.",
    },
    Param {
        name: "failover_limit",
        kind: time(ms(900_000), ms(0), ms(86_400_000)),
        doc: "Between two failovers that users order at least this must pass, divided by `time_scale`.",
    },
    Param {
        name: "time_scale",
        kind: ParamKind::Count { default: 60, min: 1, max: 3_600 },
        doc: "How much faster the service's long times pass than in reality; 1 gives the real ones.",
    },
];

/// The settings of its copies: a write waits for all of them that are not ejected.
pub(super) fn settings(params: &Resolved<'_>) -> Settings {
    Settings {
        commit: if params.word("commit") == "async" { Commit::Async } else { Commit::All },
        fencing: true,
        heartbeat: params.time("heartbeat"),
        misses: params.count("misses") as u32,
        promotion: params.time("storage_promotion"),
        engine_start: params.time("storage_promotion"),
        rebuild_after: params.time("eject_after"),
        failover_limit: params.time("failover_limit") / params.count("time_scale").max(1) as u32,
        copies: COPIES as usize,
        least: 1,
    }
}

/// The settings of its engine.
pub(super) fn engine(params: &Resolved<'_>) -> EngineSettings {
    EngineSettings {
        start: params.time("engine_start"),
        promotion: params.time("promotion"),
        pretends: params.word("cache") == "pretended",
    }
}

/// Who takes part in it.
pub(super) fn cast(params: &Resolved<'_>) -> Cast {
    let computes = names("compute", params.count("computes"));
    Cast::new(names("storage", COPIES), COPIES as usize, computes, params)
}
