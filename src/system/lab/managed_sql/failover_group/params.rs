//! What can be set on the lab, and what follows from it.

use std::time::Duration;

use super::{EAST, WEST};
use crate::system::lab::managed_sql::params::{HEARTBEAT, TIME_SCALE, fencing, misses, promotion, scaled};
use crate::system::lab::params::{Param, Resolved, seconds};
use crate::system::lab::primary_standby::{Commit, Settings};

const DAY: u64 = 24 * 3_600;

/// A length of time of the real service: so many seconds.
const fn real(name: &'static str, default: u64, doc: &'static str) -> Param {
    Param::time(name, seconds(default), seconds(0)..=seconds(DAY), doc)
}

/// Every parameter with its default and range. Lengths of time in minutes and more are those of the real service;
/// `time_scale` shortens them.
pub const PARAMS: &[Param] = &[
    Param::word(
        "recovery",
        &["group", "restore", "wait"],
        "What was prepared for the loss of the zone: a second instance that follows, backups in the other region, nothing.",
    ),
    real("replicate_every", 6, "How often writes are shipped to the group's other instance, divided by `time_scale`."),
    real("backup_every", 600, "How often a backup is made and sent to the other region, divided by `time_scale`."),
    real("restore", 180, "How long a new instance takes to be made of a backup, divided by `time_scale`.").modelled(),
    promotion("How long the other instance takes to become primary."),
    Param::word(
        "listener",
        &["follows", "stays"],
        "Whether the name follows the primary instance. `stays` is broken on purpose.",
    ),
    real("ttl", 60, "How long an answer of DNS may be believed, divided by `time_scale`."),
    fencing(
        "Whether an instance that was replaced is kept from serving when its zone is back. Off is broken on purpose.",
    ),
    HEARTBEAT,
    misses(3),
    TIME_SCALE,
];

/// What was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// A second instance that follows the first.
    Group,
    /// Backups in the other region.
    Restore,
    /// Nothing.
    Wait,
}

/// What was prepared.
pub(super) fn recovery(params: &Resolved<'_>) -> Recovery {
    match params.word("recovery") {
        "restore" => Recovery::Restore,
        "wait" => Recovery::Wait,
        _ => Recovery::Group,
    }
}

/// How long an answer of DNS may be believed.
pub(super) fn ttl(params: &Resolved<'_>) -> Duration {
    scaled(params, "ttl")
}

/// The settings of the two instances.
pub(super) fn settings(params: &Resolved<'_>) -> Settings {
    let fencing = params.on("fencing");
    Settings {
        commit: Commit::Async,
        heartbeat: params.time("heartbeat"),
        misses: params.count("misses") as u32,
        promotion: params.time("promotion"),
        fencing,
        ship_every: scaled(params, "replicate_every"),
        service_time: Duration::ZERO,
        names: [EAST, WEST],
        automatic: false,
        ships: recovery(params) == Recovery::Group,
        stubborn: !fencing,
    }
}
