//! What goes wrong, when, for how long, and to whom.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Action, Order};
use crate::units::{ByteRate, Bytes, Share, Span};

/// One fault of the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it strikes.
    pub start: Start,
    /// The same, as an offset from the end of the baseline, if all goes as planned.
    pub planned_at: Span,
    /// For how long; none: it happens once (`drop`, an action), lasts until the system is ready again (`restart`,
    /// `failover`), or to the end of the run.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// The time after which the keeper's lease heals it, whatever the harness does.
    pub lease: Span,
    /// Selectors resolve again as the system changes.
    #[serde(default)]
    pub follow: bool,
    /// What it does.
    pub kind: FaultKind,
}

impl Fault {
    /// The planned removal, as an offset from the end of the baseline; the injection where it has no length.
    pub fn planned_end(&self) -> Duration {
        self.planned_at.0 + self.hold.unwrap_or_default().0
    }
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// So long after the end of the baseline.
    At(Span),
    /// So long after another fault's injection or removal.
    After {
        /// The other fault.
        fault: String,
        /// Which moment of it.
        edge: Edge,
        /// So long after that.
        plus: Span,
    },
}

/// A moment of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Its injection.
    Injected,
    /// Its removal.
    Healed,
}

/// Whom a fault concerns; resolves to nodes when it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// The node of this name.
    Node(String),
    /// Nodes that bear all these labels.
    Labels(IndexMap<String, String>),
    /// Nodes that any of these selects.
    Any(Vec<Selector>),
    /// Every other node, never the harness's own probe.
    All,
}

/// Which links a link fault concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// The links of these names.
    Named(Vec<String>),
    /// Links from one of these nodes to one of those.
    Between {
        /// The nodes that dial.
        from: Selector,
        /// The nodes that are dialled.
        to: Selector,
    },
}

/// The direction of bytes on a link, whoever dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Client → server.
    Up,
    /// Server → client.
    Down,
    /// Each of the two.
    #[default]
    Both,
}

/// The direction of bytes across a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crossing {
    /// Bytes from a to b are withheld.
    AToB,
    /// Bytes from b to a are withheld.
    BToA,
    /// Both are.
    #[default]
    Both,
}

/// How a partition shows itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Nothing arrives, nothing is answered.
    #[default]
    Silent,
    /// Open connections are reset, and new ones as soon as they are made.
    Reset,
    /// Open connections are reset, and new ones refused.
    Refused,
}

/// Which nodes of a selection a node fault takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// One, drawn by the run's seed.
    One,
    /// All of them.
    #[default]
    All,
}

/// A loss of power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blackout {
    /// How much of the world it takes.
    pub place: Place,
    /// Which of those.
    pub which: Which,
}

/// What can lose its power at once, from small to large; nodes say by the label of this name where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A virtual machine.
    Vm,
    /// A physical machine, with the virtual ones on it.
    Host,
    /// A rack, with its hosts.
    Rack,
    /// An availability zone.
    Zone,
    /// A region.
    Region,
}

impl Place {
    /// The label of nodes that says where they stand.
    pub const fn label(self) -> &'static str {
        match self {
            Place::Vm => "vm",
            Place::Host => "host",
            Place::Rack => "rack",
            Place::Zone => "zone",
            Place::Region => "region",
        }
    }

    /// The word of its loss in files and reports.
    pub const fn fault(self) -> &'static str {
        match self {
            Place::Vm => "vm_down",
            Place::Host => "host_down",
            Place::Rack => "rack_down",
            Place::Zone => "zone_down",
            Place::Region => "region_down",
        }
    }
}

/// Which place of a kind is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The one of this name.
    Named(String),
    /// The one in which this stands when it strikes.
    Of(Selector),
}

/// The law of a random delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// `add + U[-jitter, jitter)`.
    #[default]
    Uniform,
    /// Normal, with mean `add` and standard deviation `jitter`.
    Normal,
    /// `add - jitter + jitter × Pareto(3)`: a long tail, with mean `add + jitter / 2`.
    Pareto,
}

/// A fault on links, with what it does to their bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkFault<T> {
    /// Which links.
    pub links: Links,
    /// Which direction of bytes.
    #[serde(default)]
    pub direction: Direction,
    /// The share of connections that it concerns, drawn for each from a stream of its own.
    pub share: Share,
    /// What it does.
    #[serde(flatten)]
    pub toxic: T,
}

/// A fault on nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFault {
    /// Which nodes.
    pub nodes: Selector,
    /// One of them, or all.
    #[serde(default)]
    pub pick: Pick,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A toxic on links: `latency`, `bandwidth`, `packet_loss` and so on.
    Toxic(LinkFault<Toxic>),
    /// Cuts every link between two sets of nodes.
    Partition {
        /// One side.
        a: Selector,
        /// The other; `all` is every node that is not in `a`.
        b: Selector,
        /// Whose bytes are withheld.
        #[serde(default)]
        direction: Crossing,
        /// How it shows itself.
        #[serde(default)]
        manner: Manner,
    },
    /// New connections are refused; open ones go on.
    Refuse {
        /// Which links.
        links: Links,
    },
    /// Connections are accepted, or left unanswered (kernel-drop), and all bytes of both directions withheld.
    BlackHole {
        /// Which links.
        links: Links,
    },
    /// The server side of open connections goes away without a word; the client side stays open.
    HalfOpen {
        /// Which links.
        links: Links,
    },
    /// A silent cut that comes and goes.
    Flap {
        /// Which links.
        links: Links,
        /// Bytes pass for so long.
        up: Span,
        /// Nothing passes for so long; the fault starts with it.
        down: Span,
    },
    /// Closes a share of the open connections each second.
    Drop {
        /// Which links.
        links: Links,
        /// The share a second; 100 % without `for` closes each of them once.
        share: Share,
        /// RST, or FIN.
        #[serde(default)]
        reset: bool,
    },
    /// A fault on HTTP/1 requests.
    Http(HttpFault),
    /// A fault on what names mean.
    Dns(DnsFault),
    /// SIGKILL, or the lab's like; healed by a start.
    Kill(NodeFault),
    /// SIGSTOP, or the lab's like; healed by SIGCONT.
    Pause(NodeFault),
    /// Stopped in good order; healed by a start.
    Stop(NodeFault),
    /// Stopped in good order and started again at once; in force until they are ready again.
    Restart(NodeFault),
    /// The power fails of everything in a place: none of its nodes is heard any more, and all of them are gone.
    Blackout(Blackout),
    /// So many storage nodes of a lab are killed, drawn by the run's seed.
    StorageCopyDown {
        /// How many.
        copies: u64,
    },
    /// So many control nodes of a lab are killed, drawn by the run's seed.
    ControlNodeDown {
        /// How many.
        nodes: u64,
    },
    /// Something done outside the run, with its way back.
    Action {
        /// What.
        action: Action,
        /// The way back; none: declared `irreversible`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<Action>,
    },
    /// What a user may ask of the lab's system; in force until it serves again.
    #[serde(untagged)]
    Order(Order),
}

impl FaultKind {
    /// The word in files and reports.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Toxic(fault) => fault.toxic.name(),
            FaultKind::Partition { .. } => "partition",
            FaultKind::Refuse { .. } => "refuse",
            FaultKind::BlackHole { .. } => "black_hole",
            FaultKind::HalfOpen { .. } => "half_open",
            FaultKind::Flap { .. } => "flap",
            FaultKind::Drop { .. } => "drop",
            FaultKind::Http(fault) => fault.effect.name(),
            FaultKind::Dns(fault) => fault.effect.name(),
            FaultKind::Kill(_) => "kill",
            FaultKind::Pause(_) => "pause",
            FaultKind::Stop(_) => "stop",
            FaultKind::Restart(_) => "restart",
            FaultKind::Blackout(blackout) => blackout.place.fault(),
            FaultKind::StorageCopyDown { .. } => "storage_copy_down",
            FaultKind::ControlNodeDown { .. } => "control_node_down",
            FaultKind::Order(order) => order.key(),
            FaultKind::Action { action: Action::Exec(_), .. } => "exec",
            FaultKind::Action { action: Action::Http { .. }, .. } => "http",
            FaultKind::Action { action: Action::Manual(_), .. } => "manual",
        }
    }

    /// The role of the nodes that a loss of some of a lab's takes, and how many.
    pub const fn loss(&self) -> Option<(&'static str, u64)> {
        match self {
            FaultKind::StorageCopyDown { copies } => Some(("storage", *copies)),
            FaultKind::ControlNodeDown { nodes } => Some(("control", *nodes)),
            _ => None,
        }
    }

    /// Whether it is over as soon as it has struck, or as soon as the system is ready again, where it has no `for`.
    pub const fn ends_by_itself(&self) -> bool {
        matches!(self, FaultKind::Drop { .. } | FaultKind::Restart(_) | FaultKind::Order(_) | FaultKind::Action { .. })
    }
}

/// What one link does to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Toxic {
    /// Each chunk leaves `add` after its arrival, spread by chance.
    Latency {
        /// The delay.
        add: Span,
        /// Its spread. Default 0.
        jitter: Span,
        /// Its law.
        law: Law,
        /// How much a chunk's spread follows the one before, from 0 % to 100 %.
        correlation: Share,
    },
    /// Bytes leave at this rate, without an initial burst.
    Bandwidth {
        /// Bytes a second.
        rate: ByteRate,
    },
    /// What a TCP stream feels of lost packets: stalls of a retransmission time-out, no byte lost.
    PacketLoss {
        /// The share of segments lost.
        loss: Share,
        /// How much a loss raises the chance of the next.
        correlation: Share,
    },
    /// Whole chunks are taken out of the stream, which has holes then: what Toxiproxy calls `packet_loss`. Only its API
    /// makes it.
    ChunkLoss {
        /// The share of chunks taken out.
        loss: Share,
        /// Added to it for a chunk right after one that was taken out.
        correlation: Share,
    },
    /// Chunks are cut into small ones, with a wait between.
    Slicer {
        /// The mean size.
        size: Bytes,
        /// Up to so much more or less.
        variation: Bytes,
        /// Between two pieces.
        wait: Span,
    },
    /// The close is passed on this much later.
    SlowClose {
        /// The delay.
        delay: Span,
    },
    /// Bytes are withheld; the connection is closed so long after injection or accept. 0: never closed.
    Timeout {
        /// Until the close.
        after: Span,
    },
    /// The connection is reset so long after injection or accept.
    ResetPeer {
        /// Until the reset.
        after: Span,
    },
    /// So many bytes pass, then the connection is closed.
    LimitData {
        /// Counted from injection or accept.
        bytes: Bytes,
    },
    /// Bytes are changed by chance.
    Corrupt {
        /// The share of bytes changed.
        bytes: Share,
    },
}

impl Toxic {
    /// The word in files and reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Toxic::Latency { .. } => "latency",
            Toxic::Bandwidth { .. } => "bandwidth",
            Toxic::PacketLoss { .. } => "packet_loss",
            Toxic::ChunkLoss { .. } => "chunk_loss",
            Toxic::Slicer { .. } => "slicer",
            Toxic::SlowClose { .. } => "slow_close",
            Toxic::Timeout { .. } => "timeout",
            Toxic::ResetPeer { .. } => "reset_peer",
            Toxic::LimitData { .. } => "limit_data",
            Toxic::Corrupt { .. } => "corrupt",
        }
    }
}

/// A fault on HTTP/1 requests of some links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpFault {
    /// Which links; they read HTTP/1.
    pub links: Links,
    /// Only requests of this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only requests whose path starts with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The share of the matching requests. Default 100 %.
    pub share: Share,
    /// Only the first so many matching requests on each link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// What happens to them.
    pub effect: HttpEffect,
}

/// What happens to a matching request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpEffect {
    /// Answered by the proxy with this status; the server never sees it.
    Status {
        /// 400 to 599.
        code: u16,
        /// A Retry-After in whole seconds, rounded up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<Span>,
    },
    /// The answer's connection is reset after this share of its body; the server has served it.
    Abort {
        /// Where in the body, from 0 % to 100 %.
        at: BodyShare,
    },
    /// The answer's header is held back.
    Delay {
        /// For so long.
        by: Span,
    },
}

impl HttpEffect {
    /// The word in files and reports.
    pub const fn name(&self) -> &'static str {
        match self {
            HttpEffect::Status { .. } => "http_status",
            HttpEffect::Abort { .. } => "http_abort",
            HttpEffect::Delay { .. } => "http_delay",
        }
    }
}

/// A fault on the answers to queries for names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsFault {
    /// Which names; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// The share of the queries. Default 100 %.
    pub share: Share,
    /// What they are answered.
    pub effect: DnsEffect,
}

/// What a query is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsEffect {
    /// There is no such name.
    NxDomain,
    /// The server cannot answer.
    ServFail,
    /// The truth, later.
    Slow {
        /// By so much.
        by: Span,
    },
    /// What was true when the fault struck.
    Stale,
    /// Other nodes.
    Remap {
        /// These.
        to: Vec<String>,
        /// How long this answer may be believed; default: as long as the true one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<Span>,
    },
}

impl DnsEffect {
    /// The word in files and reports.
    pub const fn name(&self) -> &'static str {
        match self {
            DnsEffect::NxDomain => "dns_nxdomain",
            DnsEffect::ServFail => "dns_servfail",
            DnsEffect::Slow { .. } => "dns_slow",
            DnsEffect::Stale => "dns_stale",
            DnsEffect::Remap { .. } => "dns_remap",
        }
    }
}

/// A place in a body: thousandths of its length, 0 to 1000; 500 where its length is not announced means the first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyShare(pub u16);
