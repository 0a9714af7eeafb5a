//! What a run writes down: one [`Attempt`] a line in `attempts.jsonl.zst`, one [`Event`] a line in `events.jsonl`.
//!
//! These two streams are the only source of every figure. Who measures, reports or shows a run knows this module
//! and the plan, and nothing of proxies, clients or systems.

mod attempt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use attempt::{Access, Applied, Attempt, Outcome};

use crate::clock::Moment;

/// The file of events in a run's folder: one JSON line each, flushed as it happens.
pub const EVENTS_FILE: &str = "events.jsonl";

/// The file of attempts in a run's folder: JSON lines in zstd frames, one frame a second.
pub const ATTEMPTS_FILE: &str = "attempts.jsonl.zst";

/// The resolved plan, in the root of the run folder.
pub const PLAN_FILE: &str = "plan.json";

/// One thing that happened in a run, at low rate: a line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum What {
    /// The run began: `at` is 0 by definition.
    RunStarted {
        /// Wall time, nanoseconds since 1970.
        wall_ns: u64,
        /// The variant's id, such as `retry=none,loss=5%`; empty without a matrix.
        variant: String,
        /// The run's seed.
        seed: u64,
        /// Which mechanism silent faults use here: `kernel-drop` or `stall`.
        mechanism: Mechanism,
    },
    /// Who takes part and who dials whom, as it stands at the start.
    Topology(Layout),
    /// Monotonic and wall time side by side, each second.
    Clock {
        /// Wall time, nanoseconds since 1970.
        wall_ns: u64,
    },
    /// A phase began: `startup`, `warmup`, `baseline`, `faults`, `recovery`, `drain`.
    PhaseStarted {
        /// Its name.
        phase: String,
        /// When the plan wanted it.
        #[serde(rename = "planned_ns")]
        planned: Moment,
    },
    /// Load ended; what is open drains.
    LoadEnded,
    /// A fault struck; `at` is t0, the first link or node actually hit.
    FaultInjected {
        /// Its name in the experiment.
        fault: String,
        /// Its kind, such as `partition`.
        kind: String,
        /// When the plan wanted it.
        #[serde(rename = "planned_ns")]
        planned: Moment,
        /// The last link or node hit; `injection_skew` is this − `at`.
        #[serde(rename = "last_hit_ns")]
        last_hit: Moment,
        /// What it hit.
        hit: Hit,
        /// How it was done, for silent faults and packet loss.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mechanism: Option<Mechanism>,
        /// Bytes that the kernel already had in its send queues, per `docs/measurement.md`, proof.
        in_flight_bytes: u64,
    },
    /// A fault was healed, on schedule or because the run stopped.
    FaultHealed {
        /// Its name in the experiment.
        fault: String,
        /// When the plan wanted it.
        #[serde(rename = "planned_ns")]
        planned: Moment,
        /// What shows that it was real, counted between injection and removal.
        proof: Proof,
    },
    /// A link's counters, each second and at each injection and removal.
    Counters {
        /// The link's name.
        link: String,
        /// Totals since the link was opened.
        counters: LinkCounters,
    },
    /// A node's state changed, as the system or the run knows it.
    Node {
        /// The node's name.
        node: String,
        /// Raised at each start or promotion.
        incarnation: u64,
        /// `starting`, `ready`, `paused`, `stopped`, `gone`.
        state: String,
        /// The role that it has now, such as `primary`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// A node's process ended by itself: neither a fault on nodes nor the run ended it.
    NodeEnded {
        /// The node's name.
        node: String,
        /// How, such as `exited with status 1`.
        how: String,
        /// The last lines that it wrote, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        last_lines: Vec<String>,
    },
    /// A milestone of a failover, told by the system.
    Milestone {
        /// Which one.
        milestone: Milestone,
        /// The node that it concerns.
        node: String,
        /// Who says so: `lab`, or `log of NODE`.
        source: String,
    },
    /// A line that a server wrote, stamped on receipt.
    Log {
        /// The node.
        node: String,
        /// The line, secrets replaced by their names.
        line: String,
    },
    /// The probe at the service, which takes no faulted link.
    Probe {
        /// The node probed.
        node: String,
        /// Whether the service answered well.
        ok: bool,
    },
    /// The load generator's own health, each second and workload.
    Generator {
        /// The workload.
        workload: String,
        /// Operations due so far.
        due: u64,
        /// Operations started so far.
        started: u64,
        /// Operations shed so far.
        shed: u64,
        /// Operations open now.
        in_flight: u64,
        /// Records dropped so far because the recorder was full; anything but 0 makes the run inconclusive.
        dropped: u64,
    },
    /// A check ran: before, after or final.
    Check {
        /// Its number in the experiment, from 0.
        index: usize,
        /// `before`, `after` or `final`.
        when: String,
        /// Whether it held.
        ok: bool,
        /// What it said.
        output: String,
    },
    /// The final read of each key that the workloads wrote.
    FinalRead {
        /// The workload.
        workload: String,
        /// The key.
        key: String,
        /// What stands there: a value, a list joined by commas, none if nothing.
        value: Option<String>,
        /// Whether the read was answered; without an answer nothing is known of the key.
        ok: bool,
    },
    /// Something worth a person's eye that is no failure of its own.
    Note {
        /// The text.
        text: String,
    },
    /// The run stops before its end.
    Stopped {
        /// Why.
        reason: StopReason,
        /// In words, with the figure that decided.
        detail: String,
    },
    /// Every fault is healed and everything started has ended: the run folder is whole.
    RunEnded,
}

/// The nodes and links of a run at its start, in the order of the experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Layout {
    /// The nodes, by name.
    pub nodes: IndexMap<String, LayoutNode>,
    /// The links, by name.
    pub links: IndexMap<String, LayoutLink>,
    /// What of it does not happen as on real machines, but takes as long, or is as large, as was set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modelled: Vec<Modelled>,
}

/// A property of the system that is set rather than real.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Modelled {
    /// The parameter that sets it.
    pub param: String,
    /// As it was set.
    pub value: String,
    /// What it is, in a sentence.
    pub what: String,
}

/// A node of a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutNode {
    /// What it is: `lab`, `process`, `endpoint`, `workload`, `outside`.
    pub kind: String,
    /// Its labels, such as `zone`, `region` and the `role` that it begins with.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub labels: IndexMap<String, String>,
}

/// A link of a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutLink {
    /// The node that dials.
    pub from: String,
    /// The node that is dialled.
    pub to: String,
}

/// Why a run stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A guard's condition held.
    Guard,
    /// A fault outlived its lease.
    Lease,
    /// Ctrl-C or `q`.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The baseline did not hold its own expectations.
    Baseline,
    /// The disk is full, or the run folder cannot be written.
    Disk,
    /// The keeper was lost.
    Keeper,
    /// The system was not ready, or died by itself.
    System,
    /// A bug of our own.
    Bug,
}

/// How silence on a link is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// A socket filter: the kernel drops what arrives, unacknowledged.
    KernelDrop,
    /// Held in user space: the kernel has finished the handshake and acknowledges for us.
    Stall,
}

impl Mechanism {
    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::KernelDrop => "kernel-drop",
            Mechanism::Stall => "stall",
        }
    }
}

/// What a fault hit, fixed at injection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The links, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The nodes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The names whose answers it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The hit set of `failover_latency`: places (`node#incarnation`) stopped, cut or demoted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

/// What arrived while a fault was in force (`docs/measurement.md`, proof that a fault was real).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// Whether it suffices for this kind of fault.
    pub real: bool,
    /// Chunks altered by shaping toxics.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub altered_chunks: u64,
    /// Bytes offered and withheld (stall).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub withheld_bytes: u64,
    /// Segments, SYNs among them, dropped unacknowledged (kernel-drop).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_segments: u64,
    /// Connections offered and withheld, refused, reset or dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub connections: u64,
    /// Requests matched by an HTTP fault.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requests: u64,
    /// Queries answered, or held back, by a DNS fault.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queries: u64,
    /// Bytes that passed after t0 all the same; those given to the kernel before are not among them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed_bytes: u64,
    /// What was read back of the nodes, such as `primary-a: gone`, or an action's exit status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_back: Vec<String>,
}

/// A link's totals since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkCounters {
    /// Connections accepted.
    pub accepted: u64,
    /// Times that a connection waited and could not be accepted: descriptors or memory were short.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub accept_failed: u64,
    /// Connections to the upstream that were established.
    pub connected: u64,
    /// Dials to the upstream that failed.
    pub dial_failed: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes read from clients.
    pub up_received_bytes: u64,
    /// Bytes written to the upstream.
    pub up_sent_bytes: u64,
    /// Bytes read from the upstream.
    pub down_received_bytes: u64,
    /// Bytes written to clients.
    pub down_sent_bytes: u64,
    /// Closings seen or made, by kind: `fin`, `rst`, `fault` (closed by a fault), `shutdown`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub closed: IndexMap<String, u64>,
    /// Chunks altered by shaping toxics.
    pub altered_chunks: u64,
    /// Bytes withheld by reach faults in user space.
    pub withheld_bytes: u64,
    /// Segments dropped by socket filters, SYNs among them.
    pub dropped_segments: u64,
    /// Connections refused, reset, dropped or left unanswered by faults.
    pub faulted_connections: u64,
    /// Requests matched by HTTP faults.
    pub faulted_requests: u64,
    /// HTTP requests or frames seen on the wire, where the link counts them; the count of attempts on the wire.
    pub requests: u64,
}

/// The instants of a failover, in the order in which they are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The first link or node was hit: t0.
    Injected,
    /// End of the first failed attempt that ended after t0.
    FirstFailure,
    /// The failure detector of the system raised its suspicion.
    Detected,
    /// The system decided to fail over.
    Decided,
    /// A new place accepts writes.
    Promoted,
    /// New requests are routed to the new place.
    Redirected,
    /// First attempt answered on a connection accepted after promotion.
    Reconnected,
    /// End of the first ok operation after the first failure.
    FirstSuccess,
    /// The figures are back at the baseline's.
    Steady,
}

impl Milestone {
    /// Every milestone, in the expected order.
    pub const ALL: [Milestone; 9] = [
        Milestone::Injected,
        Milestone::FirstFailure,
        Milestone::Detected,
        Milestone::Decided,
        Milestone::Promoted,
        Milestone::Redirected,
        Milestone::Reconnected,
        Milestone::FirstSuccess,
        Milestone::Steady,
    ];

    /// In words, for reports.
    pub const fn label(self) -> &'static str {
        match self {
            Milestone::Injected => "injected",
            Milestone::FirstFailure => "first failure",
            Milestone::Detected => "detected",
            Milestone::Decided => "decided",
            Milestone::Promoted => "promoted",
            Milestone::Redirected => "redirected",
            Milestone::Reconnected => "reconnected",
            Milestone::FirstSuccess => "first success",
            Milestone::Steady => "steady",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
