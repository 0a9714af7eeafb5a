//! What can be set on the lab, and what follows from it.

use crate::system::lab::compute::engine::EngineSettings;
use crate::system::lab::managed_sql::cast::{Cast, names};
use crate::system::lab::managed_sql::params::{
    COPY_TIME, DRAIN, ENGINE_START, FAILOVER_LIMIT, HEARTBEAT, MIGRATION, REDUNDANCY, SPREAD, TIME_SCALE, UPGRADE,
    ZONES, fencing, misses, other_home, promotion, scaled, zone_latency,
};
use crate::system::lab::params::{Param, Resolved, ms, seconds};
use crate::system::lab::replica_set::{Commit, Settings};

/// So many copies storage keeps.
pub(super) const COPIES: u64 = 3;

/// Every parameter with its default and range.
pub const PARAMS: &[Param] = &[
    REDUNDANCY,
    MIGRATION,
    COPY_TIME,
    ZONES,
    SPREAD,
    zone_latency(
        "What a message to storage, or between copies, takes longer from one zone to another; modelled by the nodes.",
    ),
    Param::count("computes", 2, 1..=3, "How many nodes can run the engine; one of them does."),
    Param::switch("room", true, "Whether the compute nodes other than the first have free capacity for the engine."),
    Param::word(
        "cache",
        &["cold", "pretended"],
        "What an engine that starts has in memory: nothing, or what it claims to have. `pretended` is broken on purpose.",
    ),
    Param::time(
        "page_read",
        ms(20),
        ms(0)..=seconds(10),
        "What an operation takes longer whose page is not in the engine's memory yet; modelled. 4,096 pages hold the keys.",
    )
    .modelled(),
    Param::word(
        "commit",
        &["all", "async"],
        "When a write is acknowledged: once every copy that is not ejected has it, or at once. `async` is broken on purpose.",
    ),
    fencing("Whether storage refuses an engine that was replaced. Off is broken on purpose."),
    HEARTBEAT,
    misses(5),
    promotion("How long an engine takes to start on another node."),
    ENGINE_START,
    UPGRADE,
    DRAIN,
    Param::time(
        "eject_after",
        ms(100),
        ms(0)..=seconds(3_600),
        "A copy that is suspect for so long is ejected; until then every write waits for it.",
    ),
    Param::time("storage_promotion", ms(50), ms(0)..=seconds(60), "How long another copy takes to lead storage.")
        .modelled(),
    FAILOVER_LIMIT,
    TIME_SCALE,
];

/// The settings of its copies: a write waits for all of them that are not ejected.
pub(super) fn settings(params: &Resolved<'_>) -> Settings {
    Settings {
        commit: if params.word("commit") == "async" { Commit::Async } else { Commit::All },
        fencing: true,
        bounded_reads: true,
        heartbeat: params.time("heartbeat"),
        misses: params.count("misses") as u32,
        promotion: params.time("storage_promotion"),
        engine_start: params.time("storage_promotion"),
        rebuild_after: params.time("eject_after"),
        failover_limit: scaled(params, "failover_limit"),
        copies: COPIES as usize,
        least: 1,
        homes: cast(params).homes(),
        seeding: scaled(params, "copy_time"),
        joint: params.word("migration") != "hasty",
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
    let home = |kind: &str, count| [names(kind, count), other_home(params, kind, count)];
    Cast::new(home("storage", COPIES), COPIES as usize, home("compute", params.count("computes")), params)
}
