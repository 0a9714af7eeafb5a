//! What can be set on the lab, and what follows from it.

use crate::system::lab::managed_sql::cast::{Cast, names};
use crate::system::lab::managed_sql::params::{
    COPY_TIME, DRAIN, ENGINE_START, FAILOVER_LIMIT, HEARTBEAT, MIGRATION, REDUNDANCY, SPREAD, TIME_SCALE, UPGRADE,
    ZONES, fencing, misses, other_home, promotion, scaled, zone_latency,
};
use crate::system::lab::params::{Param, Resolved, ms, seconds};
use crate::system::lab::replica_set::{Commit, Settings};

/// Every parameter with its default and range.
pub const PARAMS: &[Param] = &[
    REDUNDANCY,
    MIGRATION,
    COPY_TIME,
    ZONES,
    SPREAD,
    zone_latency("What a message of replication takes longer from one zone to another; modelled by the nodes."),
    Param::count("secondaries", 3, 0..=3, "How many copies there are besides the primary's."),
    Param::count("spares", 1, 0..=3, "How many nodes stand ready to take the place of a lost copy."),
    Param::count(
        "least_copies",
        2,
        1..=4,
        "Without a spare the set of copies shrinks when one is lost, to no fewer than this.",
    ),
    Param::word(
        "commit",
        &["quorum", "async"],
        "When a write is acknowledged: once a majority of the copies has it, or at once. `async` is broken on purpose.",
    ),
    fencing("Whether a primary that was replaced is kept from serving. Off is broken on purpose."),
    Param::switch(
        "redirect",
        true,
        "Whether routers follow the control ring to another primary. Off is broken on purpose.",
    ),
    Param::word(
        "read_scale_out",
        &["off", "on", "unbounded"],
        "Whether a secondary takes every other request that only reads, which doubles what can be read. One that has \
         not heard its primary for a lease takes none, but for `unbounded`, which is broken on purpose.",
    ),
    HEARTBEAT,
    misses(3),
    promotion("How long a secondary takes to become primary."),
    ENGINE_START,
    UPGRADE,
    DRAIN,
    Param::time(
        "rebuild_after",
        ms(500),
        ms(0)..=seconds(3_600),
        "A copy that is lost for so long is built anew on a spare.",
    ),
    Param::time(
        "service_time",
        ms(0),
        ms(0)..=seconds(10),
        "How long a node works on each request, on top of what it really takes.",
    )
    .modelled(),
    Param::count(
        "workers",
        16,
        1..=1_024,
        "On how many requests a node works at once: with `service_time`, its capacity.",
    )
    .modelled(),
    FAILOVER_LIMIT,
    TIME_SCALE,
];

/// The settings of its replica set.
pub(super) fn settings(params: &Resolved<'_>) -> Settings {
    Settings {
        commit: if params.word("commit") == "async" { Commit::Async } else { Commit::Quorum },
        fencing: params.on("fencing"),
        bounded_reads: params.word("read_scale_out") != "unbounded",
        heartbeat: params.time("heartbeat"),
        misses: params.count("misses") as u32,
        promotion: params.time("promotion"),
        engine_start: params.time("engine_start"),
        rebuild_after: params.time("rebuild_after"),
        failover_limit: scaled(params, "failover_limit"),
        copies: params.count("secondaries") as usize + 1,
        least: params.count("least_copies") as usize,
        homes: cast(params).homes(),
        seeding: scaled(params, "copy_time"),
        joint: params.word("migration") != "hasty",
    }
}

/// Who takes part in it.
pub(super) fn cast(params: &Resolved<'_>) -> Cast {
    let (copies, spares) = (params.count("secondaries") + 1, params.count("spares"));
    let here = [names("node", copies), names("spare", spares)].concat();
    Cast::new([here, other_home(params, "node", copies + spares)], copies as usize, Default::default(), params)
}
