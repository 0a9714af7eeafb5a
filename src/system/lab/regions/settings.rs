//! What can be set on the lab, and what follows from it.

use std::time::Duration;

use super::super::site_recovery::RecoverTo;
use super::super::site_recovery::plan::Times;
use crate::system::lab::params::{Param, ParamKind, Resolved};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn time(name: &'static str, default: u64, max: u64, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Time { default: seconds(default), min: seconds(0), max: seconds(max) }, doc }
}

const DAY: u64 = 86_400;

/// Every parameter with its default and range. Lengths of time are those of the real service; `time_scale` shortens them.
pub const PARAMS: &[Param] = &[
    Param {
        name: "time_scale",
        kind: ParamKind::Count { default: 60, min: 1, max: 3600 },
        doc: "So many times faster than the real service: at 60 a minute is a second. 1 gives the real times.",
    },
    Param {
        name: "storage",
        kind: ParamKind::Word(&["geo", "local"]),
        doc: "Whether the storage account has copies in the paired region, or in its own alone.",
    },
    Param {
        name: "recover_to",
        kind: ParamKind::Word(&["latest", "point", "app_consistent"]),
        doc: "What a failover recovers to: all that has arrived, the newest recovery point, or the newest app-consistent one.",
    },
    time("replicate_every", 30, 3600, "How often the machine's writes are shipped to the recovery service."),
    time("point_every", 300, DAY, "How often a crash-consistent recovery point is made."),
    time("app_every", 3600, DAY, "How often an app-consistent recovery point is made."),
    time("shut_down", 30, DAY, "The step of a planned failover that shuts the source down."),
    time("machine", 120, DAY, "The step that makes the machine in the target region."),
    time("disk", 30, DAY, "The step that attaches the disk, made of the recovery point."),
    time("boot", 60, DAY, "The step that boots the machine."),
    time("log", 60, DAY, "The step that recovers the application after a crash-consistent point."),
    time("application", 30, DAY, "The step that starts the application."),
    time("names", 10, DAY, "The step that remaps the names."),
    time("geo_lag", 180, DAY, "How often each partition of the storage account is copied to the paired region."),
    Param {
        name: "torn_image",
        kind: ParamKind::Word(&["fails", "boots"]),
        doc: "What becomes of a machine made of an image whose parts are of several moments: nobody promises either.",
    },
    time(
        "declare_after",
        3600,
        30 * DAY,
        "A region that is lost for so long is declared lost for good by the provider.",
    ),
    time("ttl", 300, DAY, "How long an answer of DNS may be believed."),
    Param {
        name: "heartbeat",
        kind: ParamKind::Time { default: Duration::from_millis(100), min: Duration::from_millis(10), max: seconds(10) },
        doc: "How often the provider asks the storage of the first region whether it is well; not scaled.",
    },
    Param {
        name: "isolation",
        kind: ParamKind::Switch(true),
        doc: "Whether a test failover is in a network of its own. Off is broken on purpose: the copy gets users.",
    },
    Param {
        name: "fencing",
        kind: ParamKind::Switch(true),
        doc: "Whether a machine that comes back asks whether it is still the one. Off is broken on purpose.",
    },
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
