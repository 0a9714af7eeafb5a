//! What can be set on the lab, and what follows from it.

use std::time::Duration;

use super::super::site_recovery::RecoverTo;
use super::super::site_recovery::plan::Times;
use crate::system::lab::params::{Param, Resolved, ms, seconds};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// A length of time of the real service: so many seconds, at most `max`.
const fn real(name: &'static str, default: u64, max: u64, doc: &'static str) -> Param {
    Param::time(name, seconds(default), seconds(0)..=seconds(max), doc).modelled()
}

/// Every parameter with its default and range. Lengths of time are those of the real service; `time_scale` shortens them.
pub const PARAMS: &[Param] = &[
    Param::count(
        "time_scale",
        60,
        1..=3_600,
        "So many times faster than the real service: at 60 a minute is a second. 1 gives the real times.",
    )
    .modelled(),
    Param::word(
        "storage",
        &["geo", "local"],
        "Whether the storage account has copies in the paired region, or in its own alone.",
    ),
    Param::word(
        "recover_to",
        &["latest", "point", "app_consistent"],
        "What a failover recovers to: all that has arrived, the newest recovery point, or the newest app-consistent one.",
    ),
    real("replicate_every", 30, HOUR, "How often the machine's writes are shipped to the recovery service."),
    real("point_every", 300, DAY, "How often a crash-consistent recovery point is made."),
    real("app_every", HOUR, DAY, "How often an app-consistent recovery point is made."),
    real("shut_down", 30, DAY, "The step of a planned failover that shuts the source down."),
    real("machine", 120, DAY, "The step that makes the machine in the target region."),
    real("disk", 30, DAY, "The step that attaches the disk, made of the recovery point."),
    real("boot", 60, DAY, "The step that boots the machine."),
    real("log", 60, DAY, "The step that recovers the application after a crash-consistent point."),
    real("application", 30, DAY, "The step that starts the application."),
    real("names", 10, DAY, "The step that remaps the names."),
    real("geo_lag", 180, DAY, "How often each partition of the storage account is copied to the paired region."),
    Param::word(
        "torn_image",
        &["fails", "boots"],
        "What becomes of a machine made of an image whose parts are of several moments: nobody promises either.",
    ),
    real(
        "declare_after",
        HOUR,
        30 * DAY,
        "A region that is lost for so long is declared lost for good by the provider.",
    ),
    real("ttl", 300, DAY, "How long an answer of DNS may be believed."),
    Param::time(
        "heartbeat",
        ms(100),
        ms(10)..=seconds(10),
        "How often the provider asks the storage of the first region whether it is well; not scaled.",
    ),
    Param::switch(
        "isolation",
        true,
        "Whether a test failover is in a network of its own. Off is broken on purpose: the copy gets users.",
    ),
    Param::switch(
        "fencing",
        true,
        "Whether a machine that comes back asks whether it is still the one. Off is broken on purpose.",
    ),
];

/// The parameters, typed and scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So many times faster than real.
    pub scale: u32,
    /// See [`PARAMS`].
    pub geo: bool,
    /// See [`PARAMS`].
    pub recover_to: RecoverTo,
    /// See [`PARAMS`].
    pub replicate_every: Duration,
    /// See [`PARAMS`].
    pub point_every: Duration,
    /// See [`PARAMS`].
    pub app_every: Duration,
    /// The steps of the recovery plan.
    pub times: Times,
    /// See [`PARAMS`].
    pub geo_lag: Duration,
    /// See [`PARAMS`].
    pub torn_boots: bool,
    /// See [`PARAMS`].
    pub declare_after: Duration,
    /// See [`PARAMS`].
    pub ttl: Duration,
    /// See [`PARAMS`].
    pub heartbeat: Duration,
    /// See [`PARAMS`].
    pub isolation: bool,
    /// See [`PARAMS`].
    pub fencing: bool,
}

/// So many heartbeats without an answer make a region suspect.
pub(super) const MISSES: u32 = 3;

impl Settings {
    /// From parameters with every default filled in.
    pub fn of(read: &Resolved<'_>) -> Settings {
        let scale = (read.count("time_scale") as u32).max(1);
        let scaled = |name| read.time(name) / scale;
        Settings {
            scale,
            geo: read.word("storage") == "geo",
            recover_to: match read.word("recover_to") {
                "point" => RecoverTo::LatestPoint,
                "app_consistent" => RecoverTo::LatestApp,
                _ => RecoverTo::Latest,
            },
            replicate_every: scaled("replicate_every"),
            point_every: scaled("point_every"),
            app_every: scaled("app_every"),
            times: Times {
                shut_down: scaled("shut_down"),
                machine: scaled("machine"),
                disk: scaled("disk"),
                boot: scaled("boot"),
                log: scaled("log"),
                application: scaled("application"),
                names: scaled("names"),
            },
            geo_lag: scaled("geo_lag"),
            torn_boots: read.word("torn_image") == "boots",
            declare_after: scaled("declare_after"),
            ttl: scaled("ttl"),
            heartbeat: read.time("heartbeat"),
            isolation: read.on("isolation"),
            fencing: read.on("fencing"),
        }
    }
}
