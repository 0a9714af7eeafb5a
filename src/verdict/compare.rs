//! Two variants against each other: a line of an expectation, and what every report shows.

use std::cell::OnceCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::judge::{
    Answer, Edge, Variant, compare, doubts_of, excuses_failure, look, title, unknown, variants, worked_out,
};
use super::observe::{Observed, Subject};
use super::{Judged, Judgement, say};
use crate::experiment::expectation::{Expectation, Limit, Phase};
use crate::experiment::metric::{Metric, Unit};
use crate::measure::{Difference, Doubt, DoubtRule, Draws, Interval, Measured, MeasuredRun, Slices, Statistic};
use crate::plan::{RunPlan, variant_id};
use crate::seed::Dice;

/// How latencies of one variant differ from those of the plan's first one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The variant's id.
    pub variant: String,
    /// The id of the variant that it is compared with.
    pub against: String,
    /// The workload, with the class behind a `/` where it is not all of them.
    pub of: String,
    /// The phase.
    pub phase: String,
    /// The difference of p50, in seconds.
    pub p50: Option<Difference>,
    /// The difference of p99, in seconds.
    pub p99: Option<Difference>,
}

/// Each variant against the first: latency at rest and under impact, of each class of each workload.
pub fn comparisons(measured: &Measured) -> Vec<Comparison> {
    let variants = variants(measured, None);
    let Some((first, others)) = variants.split_first() else { return Vec::new() };
    let phases = [Phase::Baseline, Phase::Impact];
    let of = classes(first).into_iter().flat_map(|of| phases.iter().map(move |phase| (of, phase)));
    let of_first: Vec<_> = of
        .map(|((workload, class), phase)| {
            let looks = [Metric::P50, Metric::P99].map(|metric| {
                let subject = Subject { workload, class, metric };
                (subject, first.looks(subject, phase))
            });
            (class.map_or_else(|| workload.to_owned(), |class| format!("{workload}/{class}")), phase, looks)
        })
        .collect();
    let mut all = Vec::new();
    for variant in others {
        for (of, phase, looks) in &of_first {
            let [p50, p99] = looks
                .each_ref()
                .map(|(subject, theirs)| difference(&variant.looks(*subject, phase), theirs, 1.0, *subject, phase));
            if p50.is_some() || p99.is_some() {
                all.push(Comparison {
                    variant: variant.id.clone(),
                    against: first.id.clone(),
                    of: of.clone(),
                    phase: phase.to_string(),
                    p50,
                    p99,
                });
            }
        }
    }
    all
}

/// The workloads of a variant, each with all classes together, and one by one where it has several.
fn classes<'a>(variant: &Variant<'a>) -> Vec<(&'a str, Option<&'a str>)> {
    let Some(run) = variant.runs.iter().find_map(|(_, run)| *run) else { return Vec::new() };
    let of = |(name, workload): (&'a String, &'a crate::measure::WorkloadFigures)| {
        let single = workload.classes.keys().filter(|class| *class != "all").map(|class| Some(class.as_str()));
        let several = workload.classes.len() > 2;
        std::iter::once(None).chain(single.filter(move |_| several)).map(|class| (name.as_str(), class))
    };
    run.workloads.iter().flat_map(of).collect()
}

/// What one run shows of a subject.
struct Look<'a> {
    plan: &'a RunPlan,
    run: Option<&'a MeasuredRun>,
    observed: Observed,
    /// Made when they are asked for, once for all that it is compared with.
    draws: OnceCell<Option<Draws>>,
}

impl<'a> Variant<'a> {
    /// Judges an expectation whose limit is the figure of the variant that has this value on this axis: one line for
    /// all repetitions of both, and what makes it doubtful.
    pub(super) fn compared(
        &self,
        all: &[Variant<'_>],
        (axis, value): (&str, &str),
        expectation: &Expectation,
        subject: Subject<'_>,
    ) -> (Judged, Option<Doubt>) {
        let mut values = self.runs.first().map(|(plan, _)| plan.variant.clone()).unwrap_or_default();
        values.insert(axis.to_owned(), value.to_owned());
        let id = variant_id(&values);
        let phase = expectation.phase();
        let ours = self.looks(subject, &phase);
        let (mut answer, difference) = match all.iter().find(|variant| variant.id == id) {
            Some(other) => answer(&ours, &other.looks(subject, &phase), &id, expectation, subject),
            None => {
                let why = format!("the plan has no variant {id} to compare with");
                let observed = Observed::Unknown { rule: DoubtRule::IncompleteRun, why: why.clone() };
                (Answer::nobody_knows(observed, why, None), None)
            }
        };
        let doubt = answer.doubt.take();
        let known: Vec<f64> = ours.iter().filter_map(|look| look.observed.known()).collect();
        let range = (known.iter().copied().fold(f64::INFINITY, f64::min), known.iter().copied().fold(0.0, f64::max));
        let all = ours.len() as u32;
        let held = if answer.outcome == Judgement::Held { all } else { 0 };
        let line = self.judged(expectation, subject, answer.outcome, answer);
        let interval = (known.len() > 1).then_some(range);
        (Judged { difference, interval, repetitions: (held, all), ..line }, doubt)
    }

    fn looks(&self, subject: Subject<'_>, phase: &Phase) -> Vec<Look<'a>> {
        let look = |(plan, run): &(&'a RunPlan, Option<&'a MeasuredRun>)| Look {
            plan,
            run: *run,
            observed: look(*run, subject, phase),
            draws: OnceCell::new(),
        };
        self.runs.iter().map(look).collect()
    }
}

fn answer(
    ours: &[Look<'_>],
    theirs: &[Look<'_>],
    other: &str,
    expectation: &Expectation,
    subject: Subject<'_>,
) -> (Answer, Option<Difference>) {
    let (factor, offset) = match &expectation.limit {
        Limit::Relative { factor, reference, offset } => {
            (factor.unwrap_or(1.0), Limit::Relative { factor: None, reference: reference.clone(), offset: *offset })
        }
        Limit::Quantity(_) => unreachable!("its limit is another variant's figure"),
    };
    let Some(difference) = difference(ours, theirs, factor, subject, &expectation.phase()) else {
        let is_unknown = |look: &&Look<'_>| matches!(look.observed, Observed::Unknown { .. });
        let mut unknowns = ours.iter().filter(is_unknown).map(|look| (look, title(expectation, subject)));
        let mut their_unknowns =
            theirs.iter().filter(is_unknown).map(|look| (look, format!("{} of {other}", title(expectation, subject))));
        let Some((look, about)) = unknowns.next().or_else(|| their_unknowns.next()) else {
            unreachable!("known figures differ by something")
        };
        return (unknown(look.run, look.observed.clone(), about), None);
    };
    let offset = worked_out(&offset, |_| Ok(0.0)).expect("nothing that it refers to is missing");
    let (low, high) = difference.bounds();
    let apart = Observed::Between { low, high, doubt: DoubtRule::DifferenceUnclear };
    let mut outcome = compare(&apart, expectation.op, offset);
    let mut because = say_difference(&difference, factor, other, subject.metric.unit());
    let mut doubt = None;

    let doubts = || ours.iter().chain(theirs).filter_map(|look| look.run).flat_map(doubts_of);
    let spoilt = match outcome {
        Judgement::Held => doubts().next().map(|doubt| ("it seems to hold", doubt)),
        Judgement::Failed | Judgement::FailedAsExpected => {
            doubts().find(|doubt| excuses_failure(doubt.rule)).map(|doubt| ("it seems to have failed", doubt))
        }
        Judgement::Inconclusive => {
            let rule = match difference.interval {
                Interval::Bounds => DoubtRule::OpenGap,
                _ => DoubtRule::DifferenceUnclear,
            };
            doubt = Some(Doubt { rule, detail: format!("{}: {because}", title(expectation, subject)) });
            None
        }
    };
    if let Some((seems, doubt)) = spoilt {
        because = format!("{seems}, but {}", doubt.detail);
        outcome = Judgement::Inconclusive;
    }
    let limit = Edge { limit: factor * middle(theirs) + offset.limit, tolerance: offset.tolerance };
    let observed = match ours {
        [one] => one.observed.clone(),
        several => Observed::exactly(middle(several)),
    };
    (Answer { outcome, observed, in_whole_run: None, limit: Some(limit), because, doubt }, Some(difference))
}

/// The median of what is known of each run.
fn middle(looks: &[Look<'_>]) -> f64 {
    let mut seen: Vec<f64> = looks.iter().filter_map(|look| bounds(&look.observed)).map(|(low, _)| low).collect();
    seen.sort_by(f64::total_cmp);
    let last = seen.len().saturating_sub(1);
    f64::midpoint(seen[last / 2], seen[last.div_ceil(2)])
}

fn bounds(observed: &Observed) -> Option<(f64, f64)> {
    match observed {
        Observed::Between { low, high, .. } => Some((*low, *high)),
        Observed::Unknown { .. } => None,
    }
}

/// Ours − `factor` × theirs; none if a run of either shows nothing.
fn difference(
    ours: &[Look<'_>],
    theirs: &[Look<'_>],
    factor: f64,
    subject: Subject<'_>,
    phase: &Phase,
) -> Option<Difference> {
    let known = |looks: &[Look<'_>]| looks.iter().map(|look| look.observed.known()).collect::<Option<Vec<f64>>>();
    let (Some(our), Some(their)) = (known(ours), known(theirs)) else {
        let bounds = |looks: &[Look<'_>]| looks.iter().map(|look| bounds(&look.observed)).collect::<Option<Vec<_>>>();
        return Some(Difference::of_bounds(&bounds(ours)?, &bounds(theirs)?, factor));
    };
    if let ([one], [other]) = (ours, theirs)
        && let (Some(our_draws), Some(their_draws)) = (one.draws(subject, phase), other.draws(subject, phase))
    {
        return Some(Difference::of_draws((our[0], our_draws), (their[0], their_draws), factor));
    }
    (!our.is_empty() && !their.is_empty()).then(|| Difference::of_runs(&our, &their, factor))
}

impl Look<'_> {
    /// What is drawn of its operations; none if its phase is too short, or the metric does not follow from them.
    fn draws(&self, subject: Subject<'_>, phase: &Phase) -> Option<&Draws> {
        let draws =
            || Draws::of(self.slices(subject, phase)?, statistic(subject.metric)?, &mut self.dice(subject, phase));
        self.draws.get_or_init(draws).as_ref()
    }

    fn slices(&self, subject: Subject<'_>, phase: &Phase) -> Option<&Slices> {
        let classes = &self.run?.workloads.get(subject.workload)?.classes;
        classes.get(subject.class.unwrap_or("all"))?.slices.get(&phase.to_string()).map(AsRef::as_ref)
    }

    fn dice(&self, subject: Subject<'_>, phase: &Phase) -> Dice {
        self.plan.seed.stream(&format!("compare/{}/{subject}/{phase}", self.plan.variant_id()))
    }
}

/// How a metric follows from the operations of a phase; none if it does not.
fn statistic(metric: Metric) -> Option<Statistic> {
    Some(match metric {
        Metric::P50 => Statistic::Latency(0.50),
        Metric::P90 => Statistic::Latency(0.90),
        Metric::P95 => Statistic::Latency(0.95),
        Metric::P99 => Statistic::Latency(0.99),
        Metric::P999 => Statistic::Latency(0.999),
        Metric::SuccessRate => Statistic::SuccessRate,
        Metric::Goodput => Statistic::Goodput,
        _ => return None,
    })
}

/// `20.1 ms more than redundancy=local; 95 %: +19.8 ms to +20.4 ms`.
fn say_difference(difference: &Difference, factor: f64, other: &str, unit: Unit) -> String {
    #[expect(clippy::float_cmp, reason = "1 is what stands for no factor")]
    let times = if factor == 1.0 { String::new() } else { format!("{factor} times ") };
    let value = match difference.value {
        0.0 => "the same as".to_owned(),
        more if more > 0.0 => format!("{} more than", say::value(unit, more)),
        less => format!("{} less than", say::value(unit, -less)),
    };
    format!("{value} {times}{other}; {}", say::interval(unit, difference))
}
