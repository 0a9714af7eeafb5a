//! What the baseline itself must show, judged while the run goes on: before the first fault.

use super::judge::{compare, worked_out};
use super::observe::{Subject, observe};
use super::{Judgement, say};
use crate::experiment::expectation::{Expectation, Phase};
use crate::measure::MeasuredRun;
use crate::plan::{Plan, RunPlan};

/// What of its own expectations a run's baseline failed, in words; empty is good.
///
/// Its own are those `during baseline` that speak of its variant. Others cannot be judged without the fault: a
/// `success_rate < 99%` of the impact does not hold before it. One that a running run cannot tell is left to the
/// judge. A baseline in which nothing succeeded has failed whatever is expected: every later figure compares with it.
pub fn baseline_failures(plan: &Plan, run: &RunPlan, measured: &MeasuredRun) -> Vec<String> {
    let mut failures: Vec<String> = Vec::new();
    for (name, workload) in &measured.workloads {
        let baseline = workload.classes.get("all").and_then(|class| class.windows.get("baseline"));
        if let Some(window) = baseline.filter(|window| window.operations > 0 && window.ok == 0) {
            failures.push(format!("none of the {} operations of {name} succeeded", window.operations));
        }
    }
    for expectation in own(plan, run) {
        let Ok(limit) = worked_out(&expectation.limit, |_| Err(String::new())) else { continue };
        let subject = &expectation.subject;
        let named = subject.workload.as_deref();
        for workload in measured.workloads.keys().filter(|workload| named.is_none_or(|named| named == *workload)) {
            let (class, metric) = (subject.class.as_deref(), subject.metric);
            let observed = observe(measured, Subject { workload, class, metric }, &Phase::Baseline);
            let Some(value) = observed.known() else { continue };
            if compare(&observed, expectation.op, limit) == Judgement::Failed {
                failures.push(format!("`{expectation}`: {workload} had {}", say::value(metric.unit(), value)));
            }
        }
    }
    failures
}

/// The expectations that a run's baseline must hold.
fn own(plan: &Plan, run: &RunPlan) -> impl Iterator<Item = Expectation> {
    plan.expect
        .iter()
        .filter_map(|line| Expectation::parse(line).ok())
        .filter(|expectation| expectation.during == Some(Phase::Baseline))
        .filter(|expectation| expectation.speaks_of(|axis| run.variant.get(axis).map(String::as_str)))
}
