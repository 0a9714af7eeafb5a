//! What the baseline itself must show, judged while the run goes on: before the first fault.

use super::judge::{compare, worked_out};
use super::observe::Observed;
use super::{Judgement, say};
use crate::experiment::expectation::{Expectation, Phase};
use crate::experiment::metric::Metric;
use crate::plan::{Plan, RunPlan};

/// The expectations that a run's baseline must hold: those `during baseline` that speak of its variant.
///
/// Others cannot be judged without the fault: a `success_rate < 99%` of the impact does not hold before it.
pub fn baseline_expectations(plan: &Plan, run: &RunPlan) -> Vec<Expectation> {
    plan.expect
        .iter()
        .filter_map(|line| Expectation::parse(line).ok())
        .filter(|expectation| expectation.during == Some(Phase::Baseline))
        .filter(|expectation| expectation.speaks_of(|axis| run.variant.get(axis).map(String::as_str)))
        .collect()
}

/// Which of them the baseline failed, in words; empty is good. One that a running run cannot tell, where `figure`
/// gives none, is left to the judge.
///
/// `figure` tells a metric of a workload, and of its class if one is named, in the metric's base unit.
pub fn baseline_failures<'a>(
    expectations: &'a [Expectation],
    workloads: &[&'a str],
    figure: impl Fn(&'a str, Option<&'a str>, Metric) -> Option<f64>,
) -> Vec<String> {
    let mut failures = Vec::new();
    for expectation in expectations {
        let subject = &expectation.subject;
        let named = subject.workload.as_deref();
        for workload in workloads.iter().copied().filter(|workload| named.is_none_or(|named| named == *workload)) {
            let Some(value) = figure(workload, subject.class.as_deref(), subject.metric) else { continue };
            let Ok(limit) = worked_out(&expectation.limit, |_| Err(String::new())) else { continue };
            let observed = Observed::Between { low: value, high: value, doubt: crate::measure::DoubtRule::OpenGap };
            if compare(&observed, expectation.op, limit) == Judgement::Failed {
                failures.push(format!("`{expectation}`: {workload} had {}", say::value(subject.metric.unit(), value)));
            }
        }
    }
    failures
}
