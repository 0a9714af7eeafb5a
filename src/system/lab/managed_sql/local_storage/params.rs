//! What can be set on the lab, and what follows from it.

use std::time::Duration;

use crate::system::lab::managed_sql::cast::{Cast, names};
use crate::system::lab::params::{Param, ParamKind, Resolved};
use crate::system::lab::replica_set::{Commit, Settings};

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
        doc: "What a message of replication takes longer from one zone to another; modelled by the nodes.",
    },
    Param {
        name: "secondaries",
        kind: ParamKind::Count { default: 3, min: 0, max: 3 },
        doc: "How many copies there are besides the primary's.",
    },
    Param {
        name: "spares",
        kind: ParamKind::Count { default: 1, min: 0, max: 3 },
        doc: "How many nodes stand ready to take the place of a lost copy.",
    },
    Param {
        name: "least_copies",
        kind: ParamKind::Count { default: 2, min: 1, max: 4 },
        doc: "Without a spare the set of copies shrinks when one is lost, to no fewer than this.",
    },
    Param {
        name: "commit",
        kind: ParamKind::Word(&["quorum", "async"]),
        doc: "When a write is acknowledged: once a majority of the copies has it, or at once. `async` is broken on purpose.",
    },
    Param {
        name: "fencing",
        kind: ParamKind::Switch(true),
        doc: "Whether a primary that was replaced is kept from serving. Off is broken on purpose.",
    },
    Param {
        name: "heartbeat",
        kind: time(ms(100), ms(10), ms(10_000)),
        doc: "How often the control ring asks each node whether it is well.",
    },
    Param {
        name: "misses",
        kind: ParamKind::Count { default: 3, min: 2, max: 20 },
        doc: "So many heartbeats without an answer make a node suspect.",
    },
    Param {
        name: "promotion",
        kind: time(ms(400), ms(0), ms(60_000)),
        doc: "How long a secondary takes to become primary.",
    },
    Param {
        name: "engine_start",
        kind: time(ms(150), ms(0), ms(60_000)),
        doc: "How long an engine takes to start on the spot, before it can be primary again.",
    },
    Param {
        name: "rebuild_after",
        kind: time(ms(500), ms(0), ms(3_600_000)),
        doc: "A copy that is lost for so long is built anew on a spare.",
    },
    Param {
        name: "service_time",
        kind: time(ms(0), ms(0), ms(10_000)),
        doc: "How long a node works on each request, on top of what it really takes.",
    },
    Param {
        name: "workers",
        kind: ParamKind::Count { default: 16, min: 1, max: 1_024 },
        doc: "On how many requests a node works at once: with `service_time`, its modelled capacity.",
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

/// The settings of its replica set.
pub(super) fn settings(params: &Resolved<'_>) -> Settings {
    Settings {
        commit: if params.word("commit") == "async" { Commit::Async } else { Commit::Quorum },
        fencing: params.on("fencing"),
        heartbeat: params.time("heartbeat"),
        misses: params.count("misses") as u32,
        promotion: params.time("promotion"),
        engine_start: params.time("engine_start"),
        rebuild_after: params.time("rebuild_after"),
        failover_limit: params.time("failover_limit") / params.count("time_scale").max(1) as u32,
        copies: params.count("secondaries") as usize + 1,
        least: params.count("least_copies") as usize,
    }
}

/// Who takes part in it.
pub(super) fn cast(params: &Resolved<'_>) -> Cast {
    let copies = params.count("secondaries") + 1;
    let nodes = [names("node", copies), names("spare", params.count("spares"))].concat();
    Cast::new(nodes, copies as usize, Vec::new(), params)
}
