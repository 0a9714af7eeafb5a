//! Who applies faults on links: the embedded proxy engine, or a server elsewhere.
//!
//! ```text
//! conductor ── inject(fault, action, targets) ──▶ Backend ── strikes ──▶ links
//!           ◀─ Injection (a value that heals) ──          ◀─ evidence ──
//! ```

mod choice;
mod embedded;
#[cfg(feature = "toxiproxy")]
mod toxiproxy;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::event::{LinkCounters, Mechanism, Proof};
use crate::plan::Action;
use crate::plan::fault::{Direction, Fault, FaultKind, HttpFault, Manner, Toxic};
use crate::proxy::{Evidence, LinkSpec, ProxyError};
use crate::seed::Seed;
use crate::units::Share;

pub use choice::Choice;
pub use embedded::Embedded;
#[cfg(feature = "toxiproxy")]
pub use toxiproxy::Toxiproxy;

/// One link that an action concerns, and which direction of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The link's name.
    pub link: Arc<str>,
    /// The direction of bytes; only toxics and [`LinkAction::Silent`] look at it.
    pub direction: Direction,
}

impl Target {
    /// Both directions of a link.
    pub fn both(link: impl Into<Arc<str>>) -> Target {
        Target { link: link.into(), direction: Direction::Both }
    }
}

/// What is done to links.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkAction {
    /// A toxic, on a share of the connections.
    Toxic {
        /// What it does.
        toxic: Toxic,
        /// The share of connections, drawn for each.
        share: Share,
    },
    /// Nothing arrives, nothing is answered.
    Silent,
    /// Open connections are reset, and new ones as soon as they are made.
    Reset,
    /// Open connections are reset, and new ones refused.
    Refused,
    /// New connections are refused; open ones go on.
    Refuse,
    /// All bytes of both directions are withheld.
    BlackHole,
    /// The server side of open connections goes away without a word.
    HalfOpen,
    /// A silent cut that comes and goes; it starts with the cut.
    Flap {
        /// Bytes pass for so long.
        up: Duration,
        /// Nothing passes for so long.
        down: Duration,
    },
    /// Closes a share of the open connections each second.
    Drop {
        /// The share a second.
        share: Share,
        /// RST, or FIN.
        reset: bool,
        /// Once, at the injection.
        once: bool,
    },
    /// A fault on HTTP/1 requests; its `links` are not looked at.
    Http(HttpFault),
}

impl LinkAction {
    /// What a fault does to links; none if it does something else.
    pub fn of(fault: &Fault) -> Option<LinkAction> {
        Some(match &fault.kind {
            FaultKind::Toxic(on) => LinkAction::Toxic { toxic: on.toxic, share: on.share },
            FaultKind::Partition { manner: Manner::Silent, .. } => LinkAction::Silent,
            // Nobody says a word more; that its nodes are gone as well is not the links' affair.
            FaultKind::Blackout(_) => LinkAction::Silent,
            FaultKind::Partition { manner: Manner::Reset, .. } => LinkAction::Reset,
            FaultKind::Partition { manner: Manner::Refused, .. } => LinkAction::Refused,
            FaultKind::Refuse { .. } => LinkAction::Refuse,
            FaultKind::BlackHole { .. } => LinkAction::BlackHole,
            FaultKind::HalfOpen { .. } => LinkAction::HalfOpen,
            FaultKind::Flap { up, down, .. } => LinkAction::Flap { up: up.0, down: down.0 },
            FaultKind::Drop { share, reset, .. } => {
                LinkAction::Drop { share: *share, reset: *reset, once: fault.hold.is_none() }
            }
            FaultKind::Http(http) => LinkAction::Http(http.clone()),
            FaultKind::Dns(_)
            | FaultKind::Kill(_)
            | FaultKind::Pause(_)
            | FaultKind::Stop(_)
            | FaultKind::Restart(_)
            | FaultKind::StorageCopyDown { .. }
            | FaultKind::ControlNodeDown { .. }
            | FaultKind::Order(_)
            | FaultKind::Action { .. } => return None,
        })
    }
}

/// Applies faults on links. Every call answers within milliseconds and may be made from any thread.
pub trait Backend: fmt::Debug + Send + Sync {
    /// How silence is made here.
    fn mechanism(&self) -> Mechanism;

    /// Opens a link; says where it listens.
    fn open(&self, spec: LinkSpec) -> Result<SocketAddr, BackendError>;

    /// Closes a link with all its connections.
    fn close(&self, link: &str) -> Result<(), BackendError>;

    /// New connections of a link go to another `host:port`.
    fn set_upstream(&self, link: &str, upstream: &str) -> Result<(), BackendError>;

    /// Puts a fault in force on all its targets, or on none. Chance is drawn from the seed's streams of link and fault.
    fn inject(
        &self,
        fault: &str,
        action: &LinkAction,
        targets: &[Target],
        seed: Seed,
    ) -> Result<Injection, BackendError>;

    /// One more target for a fault in force (`follow: true`).
    fn extend(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError>;

    /// Heals one target of a fault in force; what it met there still counts. A target that is not hit is no mistake.
    fn retract(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError>;

    /// What a fault in force has met so far.
    fn proof(&self, injection: &Injection) -> Result<Proof, BackendError>;

    /// Takes a fault out of force on all its targets; what it met is its proof.
    fn heal(&self, injection: Injection) -> Result<Proof, BackendError>;

    /// Takes every fault out of force, whoever holds its injection; that one still gets its proof.
    fn heal_all(&self) -> Result<(), BackendError>;

    /// Totals of every link, by name.
    fn counters(&self) -> Vec<(Arc<str>, LinkCounters)>;

    /// What takes away, from outside, all that a link is about to leave on a server elsewhere; to be recorded before it
    /// is opened. None where nothing can outlive this process.
    fn leaves_behind(&self, _link: &str) -> Option<Action> {
        None
    }

    /// The number of the connection that a client made from this address, where the backend knows.
    fn connection_from(&self, _link: &str, _peer: SocketAddr) -> Option<u64> {
        None
    }
}

/// A fault in force on links: a value to heal, by [`Backend::heal`]; dropped unhealed, it heals itself.
pub struct Injection {
    /// The fault's name.
    pub fault: Arc<str>,
    /// When the first link was hit: t0.
    pub at: Moment,
    /// When the last link was hit.
    pub last_hit: Moment,
    /// How it is done, for silence and packet loss.
    pub mechanism: Option<Mechanism>,
    /// Bytes that the kernel already had in its send queues.
    pub in_flight_bytes: u64,
    id: u64,
    action: LinkAction,
    seed: Seed,
    heal: Option<Box<dyn FnOnce() + Send>>,
}

impl Injection {
    /// An injection that heals itself by `heal` if it is dropped unhealed.
    fn new(fault: &str, id: u64, action: LinkAction, seed: Seed, heal: impl FnOnce() + Send + 'static) -> Injection {
        Injection {
            fault: fault.into(),
            at: Moment(u64::MAX),
            last_hit: Moment::START,
            mechanism: None,
            in_flight_bytes: 0,
            id,
            action,
            seed,
            heal: Some(Box::new(heal)),
        }
    }

    /// It has been healed otherwise.
    fn disarm(mut self) {
        self.heal = None;
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        if let Some(heal) = self.heal.take() {
            heal();
        }
    }
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection").field("fault", &self.fault).field("at", &self.at).finish_non_exhaustive()
    }
}

/// What can go wrong with faults on links.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A link that was never opened.
    #[error("no link is called `{link}`")]
    UnknownLink {
        /// The name.
        link: Arc<str>,
    },
    /// A name that is taken.
    #[error("a link is already called `{link}`")]
    DuplicateLink {
        /// The name.
        link: Arc<str>,
    },
    /// An HTTP fault on a link that does not read HTTP.
    #[error("link `{link}` does not read HTTP; give it `http: true`")]
    NotHttp {
        /// The link.
        link: Arc<str>,
    },
    /// A server elsewhere has refused, or is not there.
    #[error("the Toxiproxy server at {url}: {why}")]
    Remote {
        /// Where.
        url: String,
        /// Why, in its words or ours.
        why: String,
    },
    /// This program was built without the means.
    #[error("this brownout was built without the feature `toxiproxy`; build it with `--features toxiproxy`")]
    NoFeature,
    /// The engine's own trouble.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// What a fault has met on all its links together, and whether that proves it.
fn proof_of(action: &LinkAction, met: Evidence) -> Proof {
    let met_enough = match action {
        LinkAction::Toxic { .. } => met.altered_chunks + met.withheld_bytes + met.dropped_segments + met.connections,
        LinkAction::Silent | LinkAction::BlackHole | LinkAction::Flap { .. } => {
            met.withheld_bytes + met.dropped_segments + met.connections
        }
        // A connection that was orphaned has kept nobody waiting by that alone.
        LinkAction::HalfOpen => met.withheld_bytes + met.dropped_segments,
        LinkAction::Reset | LinkAction::Refused | LinkAction::Refuse | LinkAction::Drop { .. } => met.connections,
        LinkAction::Http(_) => met.requests,
    };
    Proof {
        real: met_enough > 0,
        altered_chunks: met.altered_chunks,
        withheld_bytes: met.withheld_bytes,
        dropped_segments: met.dropped_segments,
        connections: met.connections,
        requests: met.requests,
        passed_bytes: met.passed_bytes,
        ..Proof::default()
    }
}
