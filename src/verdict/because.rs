//! What explains a figure, in a few words.

use super::observe::{Subject, outages};
use super::say;
use crate::event::Outcome;
use crate::experiment::expectation::Phase;
use crate::experiment::metric::{Metric, Scope};
use crate::measure::{Consistency, MeasuredRun, Outage, Window};

/// Says what lies behind a figure; empty if there is nothing to add.
pub(super) fn because(run: &MeasuredRun, subject: Subject<'_>, phase: &Phase) -> String {
    let metric = subject.metric;
    if metric == Metric::Checks {
        return checks(run);
    }
    let Some(workload) = run.workloads.get(subject.workload) else { return String::new() };
    let Some(class) = workload.classes.get(subject.class.unwrap_or("all")) else { return String::new() };
    match metric.scope() {
        Scope::Phase => class.windows.get(&phase.to_string()).map(|window| of_window(window, metric)),
        Scope::Fault => outages(class, phase).ok().map(|outages| of_outages(&outages, metric)),
        Scope::Writes | Scope::Workload => match (metric, &workload.consistency) {
            (Metric::Availability | Metric::TimeAvailability, _) => {
                class.windows.get("impact").map(|window| of_window(window, Metric::SuccessRate))
            }
            (_, Some(consistency)) => Some(of_writes(consistency, metric)),
            (_, None) => None,
        },
        Scope::Run => None,
    }
    .unwrap_or_default()
}

/// `507 operations failed: 472 timeout, 35 reset`.
fn of_window(window: &Window, metric: Metric) -> String {
    match metric {
        Metric::SuccessRate | Metric::Goodput | Metric::Ok | Metric::Failed | Metric::Indeterminate => failures(window),
        Metric::Amplification | Metric::AmplificationWorstSecond | Metric::Attempts => {
            let attempts = say::counted(window.attempts, "attempt");
            format!("{attempts} of {}", say::counted(window.operations, "operation"))
        }
        Metric::Tolerance => format!(
            "{} of the {} that met a failed attempt ended ok",
            say::count(window.met_failure_ok),
            say::counted(window.met_failure, "operation")
        ),
        _ if window.unfinished > 0 => {
            format!("{} never finished", say::counted(window.unfinished, "operation"))
        }
        _ => String::new(),
    }
}

fn failures(window: &Window) -> String {
    let not_ok = window.operations.saturating_sub(window.ok);
    if not_ok == 0 {
        return String::new();
    }
    let mut outcomes: Vec<(Outcome, u64)> = window
        .outcomes
        .iter()
        .filter(|(outcome, count)| outcome.failed() && **count > 0)
        .map(|(o, c)| (*o, *c))
        .collect();
    outcomes.sort_by_key(|(outcome, count)| (std::cmp::Reverse(*count), *outcome));
    let total: u64 = outcomes.iter().map(|(_, count)| count).sum();
    let outcomes: Vec<String> =
        outcomes.into_iter().map(|(outcome, count)| format!("{} {}", say::count(count), outcome.name())).collect();
    let operations = format!("{} failed", say::counted(not_ok, "operation"));
    match (outcomes.is_empty(), total == not_ok) {
        (true, _) => operations,
        (false, true) => format!("{operations}: {}", outcomes.join(", ")),
        // With retries an operation meets several outcomes.
        (false, false) => format!("{operations}; of all attempts {}", outcomes.join(", ")),
    }
}

fn of_outages(outages: &[(&str, &Outage)], metric: Metric) -> String {
    let failing = match metric {
        Metric::Unavailability => true,
        Metric::StallTime => false,
        // Of several faults, the one that decides.
        Metric::FailoverLatency | Metric::LastError | Metric::TimeToSteady if outages.len() > 1 => {
            let time = |outage: &Outage| match metric {
                Metric::FailoverLatency => outage.failover_latency_ns.value(),
                Metric::LastError => outage.last_error_ns.value(),
                _ => outage.time_to_steady_ns.value(),
            };
            let longest = outages.iter().max_by_key(|(_, outage)| time(outage));
            return longest.map(|(name, _)| format!("the longest is that of {name}")).unwrap_or_default();
        }
        _ => return String::new(),
    };
    let gaps: Vec<_> =
        outages.iter().flat_map(|(_, outage)| &outage.gaps).filter(|gap| gap.failing == failing).collect();
    let longest = gaps.iter().map(|gap| gap.end.0.saturating_sub(gap.start.0)).max();
    let resolution = outages.iter().map(|(_, outage)| outage.resolution_ns).max().unwrap_or(0);
    match (gaps.len() as u64, longest) {
        (0, _) | (_, None) => String::new(),
        (1, _) => format!("one gap, ± {}", say::duration(resolution)),
        (count, Some(longest)) => {
            format!(
                "{} gaps, the longest {}, ± {}",
                say::count(count),
                say::duration(longest),
                say::duration(resolution)
            )
        }
    }
}

fn of_writes(consistency: &Consistency, metric: Metric) -> String {
    let of = format!("of {} acknowledged", say::counted(consistency.acknowledged, "write"));
    let count = match metric {
        Metric::Lost | Metric::Masked | Metric::Rpo => {
            let mut parts = vec![of];
            if consistency.masked > 0 && metric != Metric::Masked {
                parts.push(format!("{} masked", say::count(consistency.masked)));
            }
            if consistency.overwritten_unseen > 0 {
                let unseen = say::count(consistency.overwritten_unseen);
                parts.push(format!("{unseen} overwritten by a newer write without an answer"));
            }
            return parts.join("; ");
        }
        Metric::Duplicates => consistency.duplicates,
        Metric::Resurrected => consistency.resurrected,
        _ => consistency.stale_reads,
    };
    // Examples are kept by kind; the count says whether there is one worth showing.
    if count == 0 { String::new() } else { of }
}

fn checks(run: &MeasuredRun) -> String {
    let failed: Vec<String> = run
        .checks
        .iter()
        .filter(|check| check.when == "final" && !check.ok)
        .map(|check| format!("check {}: {}", check.index, check.output.lines().next().unwrap_or_default()))
        .collect();
    failed.join("; ")
}
