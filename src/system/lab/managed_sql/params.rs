//! What can be set on a managed SQL service, however it keeps its data.

use std::time::Duration;

use super::cast::names;
use crate::system::lab::params::{Param, Resolved, ms, seconds};

/// `redundancy`.
pub const REDUNDANCY: Param =
    Param::word("redundancy", &["local", "zone"], "Whether all nodes stand in one zone, or are spread over several.");

/// `migration`.
pub const MIGRATION: Param = Param::word(
    "migration",
    &["off", "on", "hasty"],
    "Whether nodes stand ready for the other redundancy, so that it can be changed. `hasty` is broken on purpose: copies count before they are built.",
);

/// `copy_time`.
pub const COPY_TIME: Param = Param::time(
    "copy_time",
    ms(0),
    ms(0)..=seconds(24 * 3_600),
    "How long a copy takes to be built on another node, on top of what it really takes, divided by `time_scale`.",
)
.modelled();

/// The nodes of a kind that stand as the other redundancy wants them: none where it cannot be changed.
pub fn other_home(params: &Resolved<'_>, kind: &str, count: u64) -> Vec<String> {
    let there = if params.word("redundancy") == "zone" { "local" } else { "zonal" };
    if params.word("migration") == "off" { Vec::new() } else { names(&format!("{there}-{kind}"), count) }
}

/// `zones`.
pub const ZONES: Param = Param::count("zones", 3, 2..=3, "With `redundancy: zone`, how many zones.");

/// `spread`.
pub const SPREAD: Param = Param::switch(
    "spread",
    true,
    "Whether nodes that stand in for each other are in different racks. Off is broken on purpose.",
);

/// `zone_latency`, on top of the messages of which `doc` says which they are.
pub const fn zone_latency(doc: &'static str) -> Param {
    Param::time("zone_latency", ms(1), ms(0)..=seconds(1), doc).modelled()
}

/// `fencing`, of which `doc` says whom it keeps out.
pub const fn fencing(doc: &'static str) -> Param {
    Param::switch("fencing", true, doc)
}

/// `heartbeat`.
pub const HEARTBEAT: Param = Param::time(
    "heartbeat",
    ms(100),
    ms(10)..=seconds(10),
    "How often the control ring asks each node whether it is well.",
);

/// `misses`.
pub const fn misses(default: u64) -> Param {
    Param::count("misses", default, 2..=20, "So many heartbeats without an answer make a node suspect.")
}

/// `promotion`, of which `doc` says who is promoted.
pub const fn promotion(doc: &'static str) -> Param {
    Param::time("promotion", ms(400), ms(0)..=seconds(60), doc).modelled()
}

/// `engine_start`.
pub const ENGINE_START: Param = Param::time(
    "engine_start",
    ms(150),
    ms(0)..=seconds(60),
    "How long an engine takes to start on the spot, before it can serve again.",
)
.modelled();

/// `upgrade`.
pub const UPGRADE: Param = Param::time(
    "upgrade",
    seconds(30),
    ms(0)..=seconds(24 * 3_600),
    "How long a node is away for its maintenance, divided by `time_scale`.",
)
.modelled();

/// `drain`.
pub const DRAIN: Param = Param::switch(
    "drain",
    true,
    "Whether a node that serves hands over before it is taken for its maintenance. Off is broken on purpose.",
);

/// `failover_limit`.
pub const FAILOVER_LIMIT: Param = Param::time(
    "failover_limit",
    seconds(15 * 60),
    ms(0)..=seconds(24 * 3_600),
    "Between two failovers that users order at least this must pass, divided by `time_scale`.",
)
.modelled();

/// `time_scale`.
pub const TIME_SCALE: Param = Param::count(
    "time_scale",
    60,
    1..=3_600,
    "How much faster the service's long times pass than in reality; 1 gives the real ones.",
)
.modelled();

/// A length of time of the real service, as short as it is here.
pub fn scaled(params: &Resolved<'_>, name: &str) -> Duration {
    params.time(name) / params.count("time_scale").max(1) as u32
}
