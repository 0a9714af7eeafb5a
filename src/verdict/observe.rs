//! What a run shows of a metric: between which two values it lies, or why it does not apply.

use std::fmt;

use crate::clock::Moment;
use crate::experiment::expectation::Phase;
use crate::experiment::metric::{Metric, Scope};
use crate::measure::{
    ClassFigures, Consistency, DoubtRule, Figure, MeasuredRun, Metastable, Outage, Quantiles, Window, WorkloadFigures,
};

/// Writes acknowledged so long before the first hit already count as endangered by the fault.
const ENDANGERED_BEFORE: std::time::Duration = std::time::Duration::from_secs(1);

const NO_KEY_SEEN: &str =
    "nothing showed what its writes left: no final read was answered, and no read or scan showed it";
const NO_READ_CHECKED: &str = "no read began after a write to its key was acknowledged, so that none could be stale";

/// A metric as observed, in its base unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Observed {
    /// It lies between these two; they are equal where it is known exactly.
    Between {
        /// At least so much.
        low: f64,
        /// At most so much; infinite where nobody knows.
        high: f64,
        /// Why the two differ.
        doubt: DoubtRule,
    },
    /// It cannot be told.
    Unknown {
        /// By which rule.
        rule: DoubtRule,
        /// In words.
        why: String,
    },
}

impl Observed {
    /// Known exactly.
    pub(super) fn exactly(value: f64) -> Observed {
        Observed::Between { low: value, high: value, doubt: DoubtRule::OpenGap }
    }

    /// It had not ended when the run did.
    fn at_least(value: f64) -> Observed {
        Observed::Between { low: value, high: f64::INFINITY, doubt: DoubtRule::OpenGap }
    }

    fn not_applicable(why: impl Into<String>) -> Observed {
        Observed::Unknown { rule: DoubtRule::NotApplicable, why: why.into() }
    }

    fn no_sample(why: impl Into<String>) -> Observed {
        Observed::Unknown { rule: DoubtRule::PhaseWithoutSample, why: why.into() }
    }

    /// The value, where it is known exactly.
    pub(super) fn known(&self) -> Option<f64> {
        match self {
            #[expect(clippy::float_cmp, reason = "both come from the same number")]
            Observed::Between { low, high, .. } if low == high => Some(*low),
            _ => None,
        }
    }
}

/// Whose figure is looked at: the workload is resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) workload: &'a str,
    pub(super) class: Option<&'a str>,
    pub(super) metric: Metric,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.metric.scope() != Scope::Run {
            f.write_str(self.workload)?;
            if let Some(class) = self.class {
                write!(f, "/{class}")?;
            }
            f.write_str(".")?;
        }
        write!(f, "{}", self.metric)
    }
}

/// Looks at a metric of a run.
pub(super) fn observe(run: &MeasuredRun, subject: Subject<'_>, phase: &Phase) -> Observed {
    let metric = subject.metric;
    if metric.scope() == Scope::Run {
        return of_run(run, metric);
    }
    let Some(workload) = run.workloads.get(subject.workload) else {
        return Observed::no_sample(format!("{} did nothing", subject.workload));
    };
    if metric.scope() == Scope::Workload {
        return of_workload(workload, metric);
    }
    let class = subject.class.unwrap_or("all");
    let Some(figures) = workload.classes.get(class) else {
        return Observed::no_sample(format!("{} had no operation of the class {class}", subject.workload));
    };
    match metric.scope() {
        Scope::Phase => {
            let name = phase.to_string();
            match figures.windows.get(&name) {
                Some(window) => of_window(window, metric, &name),
                None => Observed::no_sample(format!("there was no phase {name}")),
            }
        }
        Scope::Writes => match (&workload.consistency, outages(figures, phase)) {
            (None, _) => Observed::not_applicable(format!("the operations of {} have no state", subject.workload)),
            (Some(consistency), Ok(outages)) => of_writes(consistency, &outages, metric),
            // A control run has no faults to look around: there the whole run counts.
            (Some(consistency), Err(_)) if figures.outages.is_empty() && phase.fault().is_none() => {
                of_writes(consistency, &[], metric)
            }
            (Some(_), Err(why)) => Observed::not_applicable(why),
        },
        _ => match outages(figures, phase) {
            Ok(outages) => of_outages(&outages, metric),
            Err(why) => Observed::not_applicable(why),
        },
    }
}

/// The outages that a phase speaks of, with their names; all of them where it names no fault.
pub(super) fn outages<'a>(figures: &'a ClassFigures, phase: &Phase) -> Result<Vec<(&'a str, &'a Outage)>, String> {
    let named = phase.fault();
    let of_phase = |(name, outage): &(&String, &Outage)| {
        named.is_none_or(|fault| *name == fault || outage.faults.iter().any(|known| known == fault))
    };
    let outages: Vec<_> =
        figures.outages.iter().filter(of_phase).map(|(name, outage)| (name.as_str(), outage)).collect();
    match (outages.is_empty(), named) {
        (false, _) => Ok(outages),
        (true, Some(fault)) => Err(format!("the fault {fault} did not strike")),
        (true, None) => Err("no fault struck".to_owned()),
    }
}

fn of_run(run: &MeasuredRun, metric: Metric) -> Observed {
    if metric == Metric::Checks {
        let checks: Vec<bool> = run.checks.iter().filter(|check| check.when == "final").map(|check| check.ok).collect();
        return match checks.len() {
            0 => Observed::no_sample("no final check ran"),
            all => Observed::exactly(checks.iter().filter(|ok| **ok).count() as f64 / all as f64),
        };
    }
    match run.service.as_ref().map(|service| service.time_based) {
        Some(Some(share)) => Observed::exactly(share),
        Some(None) => Observed::no_sample("the probe at the service saw nothing in impact"),
        None => Observed::not_applicable("no node has a probe"),
    }
}

fn of_workload(workload: &WorkloadFigures, metric: Metric) -> Observed {
    let share = |share: Option<f64>| match share {
        Some(share) => Observed::exactly(share),
        None => Observed::no_sample("no operation was due in impact"),
    };
    match metric {
        Metric::Availability => return share(workload.availability.request_based),
        Metric::TimeAvailability => return share(workload.availability.time_based),
        _ => {}
    }
    let Some(consistency) = &workload.consistency else {
        return Observed::not_applicable("its operations have no state");
    };
    // None found where nothing could have shown one is no evidence.
    let (found, evidence, why) = match metric {
        Metric::Duplicates => (consistency.duplicates, consistency.keys_seen, NO_KEY_SEEN),
        Metric::Resurrected => (consistency.resurrected, consistency.keys_seen, NO_KEY_SEEN),
        _ => (consistency.stale_reads, consistency.reads_checked, NO_READ_CHECKED),
    };
    if found == 0 && evidence == 0 {
        return Observed::not_applicable(why);
    }
    Observed::exactly(match metric {
        Metric::Duplicates => consistency.duplicates as f64,
        Metric::Resurrected => consistency.resurrected as f64,
        Metric::StaleReads => consistency.stale_reads as f64,
        Metric::Staleness => seconds(consistency.staleness_max_ns),
        other => return Observed::not_applicable(format!("{other} is no figure of a workload")),
    })
}

fn of_window(window: &Window, metric: Metric, phase: &str) -> Observed {
    // How many were due is known also where none was.
    match metric {
        Metric::Operations => return Observed::exactly(window.operations as f64),
        Metric::Attempts => return Observed::exactly(window.attempts as f64),
        _ if window.operations == 0 => return Observed::no_sample(format!("no operation was due in {phase}")),
        _ => {}
    }
    let share = |value: Option<f64>, else_why: &str| match value {
        Some(value) => Observed::exactly(value),
        None => Observed::not_applicable(format!("{else_why} in {phase}")),
    };
    let latency = |quantile, pick| all_latency(window, quantile, pick, phase);
    match metric {
        Metric::SuccessRate => share(window.success_rate, "no operation was due"),
        Metric::Goodput => Observed::exactly(window.goodput),
        Metric::P50 => latency(0.50, |q| q.p50_ns),
        Metric::P90 => latency(0.90, |q| q.p90_ns),
        Metric::P95 => latency(0.95, |q| q.p95_ns),
        Metric::P99 => latency(0.99, |q| q.p99_ns),
        Metric::P999 => latency(0.999, |q| q.p999_ns),
        Metric::Max => latency(1.0, |q| q.max_ns),
        Metric::OkP99 => quantile(&window.ok_latency, |q| q.p99_ns, "no operation was ok", phase),
        Metric::AttemptP50 => quantile(&window.attempt_latency, |q| q.p50_ns, "no attempt was made", phase),
        Metric::AttemptP99 => quantile(&window.attempt_latency, |q| q.p99_ns, "no attempt was made", phase),
        Metric::LatenessP99 => quantile(&window.lateness, |q| q.p99_ns, "no operation started", phase),
        Metric::Amplification => share(window.amplification, "no operation was due"),
        Metric::AmplificationWorstSecond => {
            share(window.amplification_worst_second, "no operation was due in the baseline to compare with")
        }
        Metric::Tolerance => share(window.tolerance, "no operation met a failed attempt"),
        Metric::Ok => Observed::exactly(window.ok as f64),
        Metric::Failed => Observed::exactly(window.failed as f64),
        Metric::Indeterminate => Observed::exactly(window.indeterminate as f64),
        Metric::Shed => Observed::exactly(window.shed as f64),
        Metric::Unfinished => Observed::exactly(window.unfinished as f64),
        other => Observed::not_applicable(format!("{other} is no figure of a phase")),
    }
}

/// A quantile over all operations. Those that never finished are slower than anybody saw: where they reach down to
/// the quantile, it is a lower bound.
fn all_latency(window: &Window, share: f64, pick: fn(&Quantiles) -> u64, phase: &str) -> Observed {
    let slower = (1.0 - share) * window.operations as f64;
    match quantile(&window.latency, pick, "no operation ended", phase) {
        Observed::Between { low, .. } if window.unfinished > 0 && window.unfinished as f64 >= slower => {
            Observed::at_least(low)
        }
        other => other,
    }
}

fn quantile(quantiles: &Quantiles, pick: fn(&Quantiles) -> u64, why: &str, phase: &str) -> Observed {
    if quantiles.count == 0 {
        return Observed::no_sample(format!("{why} in {phase}"));
    }
    Observed::exactly(seconds(pick(quantiles)))
}

fn of_outages(outages: &[(&str, &Outage)], metric: Metric) -> Observed {
    let times =
        |pick: fn(&Outage) -> &Figure<u64>| outages.iter().map(move |(name, outage)| (*name, in_seconds(pick(outage))));
    let exact =
        |pick: fn(&Outage) -> u64| Observed::exactly(outages.iter().map(|(_, outage)| seconds(pick(outage))).sum());
    match metric {
        Metric::FailoverLatency => longest(times(|outage| &outage.failover_latency_ns)),
        Metric::LastError => longest(times(|outage| &outage.last_error_ns)),
        Metric::TimeToSteady => longest(times(|outage| &outage.time_to_steady_ns)),
        Metric::RecoverySurge => longest(outages.iter().map(|(name, outage)| (*name, outage.recovery_surge.clone()))),
        Metric::Unavailability => sum(times(|outage| &outage.unavailability_ns)),
        Metric::StallTime => sum(times(|outage| &outage.stall_time_ns)),
        Metric::DegradedTime => exact(|outage| outage.degraded_time_ns),
        Metric::LatencyDebt => exact(|outage| outage.latency_debt_ns),
        Metric::Metastable => metastable(outages),
        other => Observed::not_applicable(format!("{other} is no figure of a fault")),
    }
}

fn metastable(outages: &[(&str, &Outage)]) -> Observed {
    let has = |wanted| outages.iter().find(|(_, outage)| outage.metastable == wanted);
    if has(Metastable::Yes).is_some() {
        return Observed::exactly(1.0);
    }
    match has(Metastable::NotObserved) {
        Some((fault, _)) => Observed::not_applicable(format!(
            "not observed: less than three times the length of {fault} was watched after its removal"
        )),
        None => Observed::exactly(0.0),
    }
}

/// The longest of several, which is a lower bound if any is.
fn longest<'a>(figures: impl Iterator<Item = (&'a str, Figure<f64>)>) -> Observed {
    fold(figures, f64::max)
}

/// The sum of several, which is a lower bound if any is.
fn sum<'a>(figures: impl Iterator<Item = (&'a str, Figure<f64>)>) -> Observed {
    fold(figures, |a, b| a + b)
}

fn fold<'a>(figures: impl Iterator<Item = (&'a str, Figure<f64>)>, join: fn(f64, f64) -> f64) -> Observed {
    let (mut value, mut open) = (0.0, false);
    for (fault, figure) in figures {
        match figure {
            Figure::Known(one) => value = join(value, one),
            Figure::AtLeast(one) => {
                value = join(value, one);
                open = true;
            }
            Figure::NotApplicable(why) => return Observed::not_applicable(format!("{fault}: {why}")),
        }
    }
    if open { Observed::at_least(value) } else { Observed::exactly(value) }
}

fn of_writes(consistency: &Consistency, outages: &[(&str, &Outage)], metric: Metric) -> Observed {
    let mut windows: Vec<(Moment, Moment, Moment)> = outages
        .iter()
        .map(|(_, outage)| {
            let steady = match outage.time_to_steady_ns {
                Figure::Known(ns) => Moment(outage.t0.0.saturating_add(ns)),
                // Not steady as far as anybody saw: everything after the fault is endangered.
                Figure::AtLeast(_) | Figure::NotApplicable(_) => Moment(u64::MAX),
            };
            (outage.t0 - ENDANGERED_BEFORE, outage.t0, steady)
        })
        .collect();
    if windows.is_empty() {
        windows.push((Moment::START, Moment::START, Moment(u64::MAX)));
    }
    let inside = |at: &&Moment| windows.iter().any(|(from, _, to)| (from..=to).contains(at));
    let lost = consistency.lost_acknowledged.iter().filter(inside).count() as f64;
    let masked = consistency.masked_acknowledged.iter().filter(inside).count() as f64;
    let between = |low, high| Observed::Between { low, high, doubt: DoubtRule::MaskedWrites };
    match metric {
        Metric::Lost => between(lost, lost + masked),
        Metric::Masked => Observed::exactly(masked),
        Metric::Rpo => {
            // How far back a loss reaches has no bound but the fault's own end.
            let age = |writes: &[Moment]| {
                let ages = windows.iter().filter_map(|(_, t0, to)| {
                    let oldest = writes.iter().filter(|at| *at <= to).min()?;
                    Some(t0.saturating_since(*oldest).as_secs_f64())
                });
                ages.fold(0.0, f64::max)
            };
            // Of several faults each has its own share of what was lost.
            let shares: Option<Vec<u64>> = outages.iter().map(|(_, outage)| outage.rpo_age_ns).collect();
            let low = match shares.as_deref() {
                None | Some([]) => age(&consistency.lost_acknowledged),
                Some(ages) => seconds(ages.iter().copied().max().unwrap_or(0)),
            };
            between(low, low.max(age(&consistency.masked_acknowledged)))
        }
        other => Observed::not_applicable(format!("{other} is no figure of writes")),
    }
}

/// How many writes are lost, or masked, in the whole run: what is lost far from every fault is not judged, but told.
pub(super) fn in_whole_run(run: &MeasuredRun, subject: Subject<'_>) -> Option<usize> {
    let consistency = run.workloads.get(subject.workload)?.consistency.as_ref()?;
    match subject.metric {
        Metric::Lost => Some(consistency.lost_acknowledged.len()),
        Metric::Masked => Some(consistency.masked_acknowledged.len()),
        _ => None,
    }
}

fn in_seconds(figure: &Figure<u64>) -> Figure<f64> {
    match figure {
        Figure::Known(ns) => Figure::Known(seconds(*ns)),
        Figure::AtLeast(ns) => Figure::AtLeast(seconds(*ns)),
        Figure::NotApplicable(why) => Figure::NotApplicable(why.clone()),
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
