//! The figures of a run, each as `docs/measurement.md` defines it. Verdict and report read nothing else.
//!
//! All moments count from the run's start; all durations are nanoseconds in JSON, under names that end in `_ns`.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::slices::Slices;
use crate::clock::Moment;
use crate::event::{Attempt, Hit, Layout, LinkCounters, Mechanism, Milestone, Outcome, Proof, StopReason};
use crate::plan::Plan;

/// A plan's runs, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The plan that they followed.
    pub plan: Plan,
    /// Each run, in the order of the plan; a run that never started is missing.
    pub runs: Vec<MeasuredRun>,
    /// What could not be read of the run folder, in words: which file, from where on.
    pub missing: Vec<String>,
}

/// One run, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeasuredRun {
    /// The variant's id, such as `retry=none`; empty without a matrix.
    pub variant: String,
    /// The repetition, from 1.
    pub repetition: u32,
    /// Where in the run folder its own files are, such as `retry=none/repetition-2`; empty for the folder itself.
    pub folder: String,
    /// Its seed.
    pub seed: u64,
    /// When it started, nanoseconds since 1970.
    pub started_wall_ns: u64,
    /// How silence on links was made.
    pub mechanism: Mechanism,
    /// Whether its last event says that everything was healed and ended.
    pub complete: bool,
    /// Why it stopped before its end, if it did.
    pub stopped: Option<Stop>,
    /// The end of load.
    #[serde(rename = "load_end_ns")]
    pub load_end: Moment,
    /// The windows of time that figures are given for: `baseline`, `fault`, `fault.NAME`, `recovery`,
    /// `recovery.NAME`, `impact`, `overall`; also `warmup` and `drain`, for the time line.
    pub phases: IndexMap<String, PhaseSpan>,
    /// The faults, by name, in order of injection.
    pub faults: IndexMap<String, FaultSpan>,
    /// The workloads, by name.
    pub workloads: IndexMap<String, WorkloadFigures>,
    /// The links, by name.
    pub links: IndexMap<String, LinkFigures>,
    /// Who took part and who dialled whom; empty where the run did not tell.
    #[serde(default)]
    pub topology: Layout,
    /// What became of each node: its states and roles over time.
    pub nodes: IndexMap<String, Vec<NodeState>>,
    /// As the probe at the service saw it; none without a probe.
    pub service: Option<Availability>,
    /// Milestones that the system told, in order.
    pub milestones: Vec<ToldMilestone>,
    /// The user's checks.
    pub checks: Vec<CheckResult>,
    /// Processes that ended by themselves. They leave the verdict to the expectations, and are named.
    #[serde(default)]
    pub ended: Vec<NodeEnded>,
    /// Notes of the run.
    pub notes: Vec<(Moment, String)>,
    /// Everything that makes this run inconclusive; empty is good.
    pub inconclusive: Vec<Doubt>,
}

/// A reason for which a run cannot be held (`docs/measurement.md`, inconclusive).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doubt {
    /// Which rule: `fault_without_proof`, `late_fault`, `phase_without_sample`, `baseline_failed`, `late_generator`,
    /// `dropped_records`, `link_could_not_accept`, `clock_jumped`, `open_gap`, `incomplete_run` and so on.
    pub rule: DoubtRule,
    /// In words, with the figure.
    pub detail: String,
}

/// The rules by which a run is inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoubtRule {
    /// A fault without a proof that it was real.
    FaultWithoutProof,
    /// A fault that was injected or removed later than planned.
    LateFault,
    /// A phase with no sample for a metric that an expectation names.
    PhaseWithoutSample,
    /// The baseline failed its own expectations.
    BaselineFailed,
    /// Lateness p99 over 5 ms in a phase, or 100 ms of a fault with due operations and no start.
    LateGenerator,
    /// The recorder dropped records.
    DroppedRecords,
    /// A link could not accept connections: the proxy was short of descriptors or memory.
    LinkCouldNotAccept,
    /// The machine was suspended, or its clock was set.
    ClockJumped,
    /// An upper limit is not yet passed by a gap that is still open.
    OpenGap,
    /// The run was cut off: its folder ends before its end.
    IncompleteRun,
    /// The records are not those that the run sealed.
    AlteredRecords,
    /// Some register writes are masked: lost or not, nobody can know.
    MaskedWrites,
    /// A figure that an expectation names does not apply.
    NotApplicable,
    /// An expectation compares with a stored baseline, and nothing is stored for it.
    NothingStored,
    /// An expectation compares two variants, and the interval of their difference reaches over the limit.
    DifferenceUnclear,
}

/// Why a run stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// When.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// Why.
    pub reason: StopReason,
    /// In words.
    pub detail: String,
}

/// A window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseSpan {
    /// When the plan wanted it to start, if the plan says.
    #[serde(rename = "planned_ns", default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Moment>,
    /// Its start.
    #[serde(rename = "start_ns")]
    pub start: Moment,
    /// Its end.
    #[serde(rename = "end_ns")]
    pub end: Moment,
}

/// A fault, as it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultSpan {
    /// Its kind, such as `partition`.
    pub kind: String,
    /// The group that its figures are under: its name, or `a+b` where faults overlapped.
    pub group: String,
    /// When the plan wanted it.
    #[serde(rename = "planned_ns")]
    pub planned: Moment,
    /// t0: the first link or node actually hit.
    #[serde(rename = "injected_ns")]
    pub injected: Moment,
    /// The last one.
    #[serde(rename = "last_hit_ns")]
    pub last_hit: Moment,
    /// When the schedule wanted its removal, counted from its injection; none without a removal.
    #[serde(rename = "removal_planned_ns", default, skip_serializing_if = "Option::is_none")]
    pub removal_planned: Option<Moment>,
    /// Its removal; none if it lasted to the end, or the run was cut off.
    #[serde(rename = "healed_ns")]
    pub healed: Option<Moment>,
    /// What it hit.
    pub hit: Hit,
    /// How it was done, for silent faults and packet loss.
    pub mechanism: Option<Mechanism>,
    /// Bytes that the kernel already had.
    pub in_flight_bytes: u64,
    /// What shows that it was real; none if the run was cut off before its removal.
    pub proof: Option<Proof>,
}

/// A workload's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadFigures {
    /// By class; `all` holds all classes together and comes first. A workload of one class has it too.
    pub classes: IndexMap<String, ClassFigures>,
    /// Whether due times follow from answers (`users`).
    pub closed_loop: bool,
    /// Closed loop: operations that the baseline's rate would have started in `impact`, minus those started.
    pub missing: Option<i64>,
    /// Attempts as the client counted them, and requests as its link counted them; none where the link does not.
    pub wire: Option<WireCount>,
    /// What became of its writes; none for operations without a state.
    pub consistency: Option<Consistency>,
    /// As its clients saw it, over `impact` and `overall`.
    pub availability: Availability,
    /// Figures over time, all classes together.
    pub series: Series,
    /// The load generator: in-flight at most, records dropped.
    pub generator: GeneratorHealth,
    /// A sample of operations that failed or needed several attempts, with all their attempts; at most 200,
    /// spread over faults and outcomes.
    pub samples: Vec<Vec<Attempt>>,
}

/// Attempts counted twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WireCount {
    /// Attempts that the client reported as sent and connected.
    pub attempts: u64,
    /// Requests that the workload's link counted.
    pub requests: u64,
}

/// The load generator's health for one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorHealth {
    /// Operations open at once, at most.
    pub in_flight_max: u64,
    /// Operations shed.
    pub shed: u64,
    /// Records dropped.
    pub dropped: u64,
    /// Latencies beyond the histogram's range, recorded at its end.
    pub saturated: u64,
}

/// The figures of one class of one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassFigures {
    /// By phase; the names of [`MeasuredRun::phases`].
    pub windows: IndexMap<String, Window>,
    /// By fault or group of overlapping faults, in order.
    pub outages: IndexMap<String, Outage>,
    /// By phase, for those in which this run is compared with one of another variant: what comparing draws from. The
    /// attempts say the same, so that no report holds it.
    #[serde(skip)]
    pub slices: IndexMap<String, Arc<Slices>>,
}

/// Counts and latencies of the operations due in one phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Its length in nanoseconds.
    pub length_ns: u64,
    /// Operations due in it.
    pub operations: u64,
    /// Of them ok.
    pub ok: u64,
    /// Of them failed: no attempt can have taken effect.
    pub failed: u64,
    /// Of them indeterminate: a write whose effect nobody knows.
    pub indeterminate: u64,
    /// Of them shed (also counted as failed).
    pub shed: u64,
    /// Of them unfinished when the drain ended.
    pub unfinished: u64,
    /// Attempts of them that were sent.
    pub attempts: u64,
    /// Attempts of them by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// ok / operations; none without operations.
    pub success_rate: Option<f64>,
    /// ok a second.
    pub goodput: f64,
    /// attempts / operations.
    pub amplification: Option<f64>,
    /// Attempts in the worst second / the baseline's mean operations a second.
    pub amplification_worst_second: Option<f64>,
    /// Operations that met a failed attempt.
    pub met_failure: u64,
    /// Of them ok in their deadline.
    pub met_failure_ok: u64,
    /// `met_failure_ok / met_failure`; none if none met one.
    pub tolerance: Option<f64>,
    /// Latency over all operations, from due.
    pub latency: Quantiles,
    /// Latency over ok operations, from due.
    pub ok_latency: Quantiles,
    /// Latency of attempts, from their start.
    pub attempt_latency: Quantiles,
    /// Start − due of first attempts.
    pub lateness: Quantiles,
}

/// Quantiles of a distribution of times, in nanoseconds; three significant digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// How many samples; all others are 0 where this is.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_ns: u64,
    /// Half are below.
    pub p50_ns: u64,
    /// 90 % are below.
    pub p90_ns: u64,
    /// 95 % are below.
    pub p95_ns: u64,
    /// 99 % are below.
    pub p99_ns: u64,
    /// 99.9 % are below.
    pub p999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

/// A figure that may be unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure<T> {
    /// Measured.
    Known(T),
    /// At least so much: it had not ended when the run did.
    AtLeast(T),
    /// It does not apply, and why.
    NotApplicable(String),
}

impl<T: Copy> Figure<T> {
    /// The value, also where it is a lower bound.
    pub fn value(&self) -> Option<T> {
        match self {
            Figure::Known(value) | Figure::AtLeast(value) => Some(*value),
            Figure::NotApplicable(_) => None,
        }
    }
}

/// What one fault, or group of overlapping faults, did to one class (`docs/measurement.md`, failover and outage).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outage {
    /// The faults of the group.
    pub faults: Vec<String>,
    /// The first link or node hit.
    #[serde(rename = "t0_ns")]
    pub t0: Moment,
    /// Last − first hit.
    pub injection_skew_ns: u64,
    /// The removal of the last fault of the group, or the end of load.
    #[serde(rename = "removed_ns")]
    pub removed: Moment,
    /// The next fault's injection, or the end of load: figures look no further.
    #[serde(rename = "until_ns")]
    pub until: Moment,
    /// Each milestone, in the expected order, known or not.
    pub milestones: Vec<MilestoneFigure>,
    /// Time to the first success outside the hit set.
    pub failover_latency_ns: Figure<u64>,
    /// Start of the last failed attempt before steady, − t0; 0 if none failed.
    pub last_error_ns: Figure<u64>,
    /// Sum of the failing gaps.
    pub unavailability_ns: Figure<u64>,
    /// Printed behind it as ±: the mean gap of the baseline.
    pub resolution_ns: u64,
    /// A gap is longer than this.
    pub gap_threshold_ns: u64,
    /// Sum of the gaps in which nothing failed.
    pub stall_time_ns: Figure<u64>,
    /// Each gap.
    pub gaps: Vec<Gap>,
    /// 1 s slices with success under 95 %, outside failing gaps.
    pub degraded_time_ns: u64,
    /// Time until failures and latency are back at the baseline's.
    pub time_to_steady_ns: Figure<u64>,
    /// Worst second of attempts after removal / the baseline's mean attempts a second.
    pub recovery_surge: Figure<f64>,
    /// Whether it stayed bad after removal.
    pub metastable: Metastable,
    /// Acknowledged writes lost; none for operations without a state.
    pub rpo_lost: Option<u64>,
    /// t0 − the acknowledgement of the oldest lost write; 0 if none.
    pub rpo_age_ns: Option<u64>,
    /// Σ (latency − baseline median)⁺ over operations due from t0 to `until`, in nanoseconds.
    pub latency_debt_ns: u64,
}

/// One milestone of a failover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MilestoneFigure {
    /// Which.
    pub milestone: Milestone,
    /// When; none: unknown.
    #[serde(rename = "at_ns")]
    pub at: Option<Moment>,
    /// Who says so: `run`, `client`, `lab`, `log of NODE`; empty where unknown.
    pub source: String,
}

/// A milestone that the system told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToldMilestone {
    /// When.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// Which.
    pub milestone: Milestone,
    /// The node that it concerns.
    pub node: String,
    /// Who says so.
    pub source: String,
}

/// A time without a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The end of the ok operation before it.
    #[serde(rename = "start_ns")]
    pub start: Moment,
    /// The end of the ok operation after it, or the end of what was watched.
    #[serde(rename = "end_ns")]
    pub end: Moment,
    /// An attempt in it failed or ran past its time-out; else nothing did: a stall.
    pub failing: bool,
    /// Still open at the end.
    pub open: bool,
}

/// Whether a system stayed bad after the fault was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metastable {
    /// It did.
    Yes,
    /// It recovered.
    No,
    /// Less than 3 × the fault's length was watched after removal.
    NotObserved,
}

/// What became of a workload's writes (`docs/measurement.md`, consistency).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consistency {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged writes that are gone.
    pub lost: u64,
    /// Acknowledged writes that may be gone: an unknown attempt could explain it, or there is no evidence.
    pub masked: u64,
    /// Values applied more than once.
    pub duplicates: u64,
    /// Values there although every attempt of theirs was definitely not applied.
    pub resurrected: u64,
    /// Reads that returned an older value than one acknowledged before they began.
    pub stale_reads: u64,
    /// The greatest age of a stale read.
    pub staleness_max_ns: u64,
    /// Reads and scans that began after a write to their key was acknowledged, and so could have shown a stale value.
    #[serde(default)]
    pub reads_checked: u64,
    /// Keys written to of which something was seen that could show a duplicate or a resurrected value: an answered final
    /// read, or, but for inserts, a read, a scan or a replaced value.
    #[serde(default)]
    pub keys_seen: u64,
    /// Lost writes: when each was acknowledged, ascending; for the rpo of each fault.
    #[serde(rename = "lost_acknowledged_ns")]
    pub lost_acknowledged: Vec<Moment>,
    /// Masked writes: when each was acknowledged, ascending.
    #[serde(rename = "masked_acknowledged_ns")]
    pub masked_acknowledged: Vec<Moment>,
    /// Acknowledged register writes after which a newer value stood there, whose own write never got an answer: nobody
    /// was told what that one replaced. Neither lost nor masked.
    #[serde(default)]
    pub overwritten_unseen: u64,
    /// The first of each kind, at most 20 in all, in words.
    pub examples: Vec<String>,
}

/// Availability, by request and by time (`docs/measurement.md`, availability and SLA).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// ok / all over `impact`.
    pub request_based: Option<f64>,
    /// Good slices / slices over `impact`.
    pub time_based: Option<f64>,
    /// The length of a slice.
    pub slice_ns: u64,
    /// What an SLA allows, and what this incident would cost of it; none without an SLA.
    pub budget: Option<Budget>,
}

/// An error budget over a year of 365.25 days.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// The promise, 0 to 1.
    pub target: f64,
    /// (1 − target) × year.
    pub budget_ns: u64,
    /// How often a year an incident like this one happens, as stated.
    pub incidents_per_year: f64,
    /// Unavailability of the run × incidents a year.
    pub downtime_per_year_ns: u64,
    /// budget / max(unavailability, resolution).
    pub incidents_paid_for: f64,
}

/// Figures over time, in slices of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// The length of a slice: 100 ms, or as much as keeps their number at 1,000 or below.
    pub slice_ns: u64,
    /// The slices, from the run's start.
    pub slices: Vec<Slice>,
    /// Upper bounds of the heat map's latency rows, in nanoseconds, ascending by a constant factor.
    pub heat_bounds_ns: Vec<u64>,
}

/// One slice of time; operations count by their due time, attempts by their start, goodput by the operation's end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slice {
    /// Operations due.
    pub due: u64,
    /// Of them ok.
    pub ok: u64,
    /// Operations that ended ok in this slice.
    pub good: u64,
    /// Attempts started, by outcome.
    pub attempts: BTreeMap<Outcome, u64>,
    /// Latency of the operations due: p50, p90, p99 and the greatest; none without operations.
    pub latency_ns: Option<[u64; 4]>,
    /// Heat map: operations due, by row of latency; shorter than the bounds where the rest is 0.
    pub heat: Vec<u32>,
}

/// A link's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkFigures {
    /// Totals at the end.
    pub total: LinkCounters,
    /// Totals at each reading: each second, and at each injection and removal.
    pub readings: Vec<(Moment, LinkCounters)>,
}

/// A node's state from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeState {
    /// From when.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// Raised at each start or promotion.
    pub incarnation: u64,
    /// Its state.
    pub state: String,
    /// Its role.
    pub role: Option<String>,
}

/// A node's process that ended by itself: neither a fault on nodes nor the run ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEnded {
    /// When.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// The node's name; `logs/NAME.log` holds what it wrote.
    pub node: String,
    /// How, such as `exited with status 1`.
    pub how: String,
    /// The last lines that it wrote, oldest first.
    pub last_lines: Vec<String>,
    /// The faults that were in force then: an action may have ended it, and a fault on a link may be why.
    pub during: Vec<String>,
}

/// What a check of the user's said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// When it ran.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// Its number in the experiment, from 0.
    pub index: usize,
    /// `before`, `after` or `final`.
    pub when: String,
    /// Whether it held.
    pub ok: bool,
    /// What it said.
    pub output: String,
}
