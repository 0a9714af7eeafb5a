//! The judge: each expectation, for each variant and workload that it speaks of, over all repetitions.

use super::because::because;
use super::expected;
use super::observe::{Observed, Subject, in_whole_run, observe};
use super::{Judged, Judgement, StoredBaseline, Verdict, Word, say};
use crate::event::StopReason;
use crate::experiment::expectation::{Expectation, Limit, Op, Phase, Reference, Sign};
use crate::experiment::metric::{Scope, Unit};
use crate::measure::{Doubt, DoubtRule, Measured, MeasuredRun, NO_ATTEMPTS};
use crate::plan::{Action, CheckAction, CheckWhen, Plan, Require, RunPlan};

/// Floating-point noise below which two figures are the same: 1.1 × 10 ms is 11 ms.
const NOISE: f64 = 1e-12;

/// Judges a plan's runs, and compares them with the stored baseline where there is one.
pub fn judge(measured: &Measured, stored: Option<&StoredBaseline>) -> Verdict {
    let plan = &measured.plan;
    let mut verdict = Verdict { word: Word::Held, lines: Vec::new(), doubts: Vec::new() };
    let variants = variants(measured, stored);
    for variant in &variants {
        verdict.doubts.extend(variant.doubts().map(|doubt| (variant.id.clone(), doubt)));
    }
    for line in &plan.expect {
        match Expectation::parse(line) {
            Ok(expectation) => {
                for variant in variants.iter().filter(|variant| variant.is_meant_by(&expectation)) {
                    variant.judge(&expectation, &variants, &mut verdict);
                }
            }
            // A plan is made of lines that parse; this one was written by another version, or by hand.
            Err(error) => verdict.lines.push(unreadable(line, error.to_string())),
        }
    }
    for variant in &variants {
        variant.judge_checks(&mut verdict);
    }
    expected::apply(measured, &mut verdict.lines);
    verdict.doubts.dedup();
    verdict.word = word(plan, &variants, &verdict);
    verdict
}

/// The worst that a run or a line has come to, as the exit codes order them.
fn word(plan: &Plan, variants: &[Variant<'_>], verdict: &Verdict) -> Word {
    let stopped = |reasons: &[StopReason]| {
        let mut runs = variants.iter().flat_map(|variant| variant.runs.iter().filter_map(|(_, run)| *run));
        runs.any(|run| run.stopped.as_ref().is_some_and(|stop| reasons.contains(&stop.reason)))
    };
    let came_to = |outcome| verdict.lines.iter().any(|line| line.outcome == outcome);
    let by_hand = [StopReason::Guard, StopReason::Lease, StopReason::Interrupt, StopReason::Terminate];
    if stopped(&by_hand) || stopped(&[StopReason::Bug]) {
        Word::Aborted
    } else if stopped(&[StopReason::System]) {
        Word::NotReady
    } else if stopped(&[StopReason::Baseline, StopReason::Disk, StopReason::Keeper]) {
        // It was cut short by something that is not the system's: what failed until then tells nothing for certain.
        Word::Inconclusive
    } else if came_to(Judgement::Failed) {
        Word::Failed
    } else if came_to(Judgement::Inconclusive) || variants.iter().any(|variant| !variant.is_good_enough(plan.require)) {
        Word::Inconclusive
    } else {
        Word::Held
    }
}

fn unreadable(line: &str, because: String) -> Judged {
    Judged {
        expectation: line.to_owned(),
        variant: String::new(),
        outcome: Judgement::Inconclusive,
        subject: line.to_owned(),
        observed: "n/a".to_owned(),
        observed_value: None,
        limit: String::new(),
        limit_value: None,
        stored_value: None,
        margin: None,
        interval: None,
        difference: None,
        repetitions: (0, 0),
        because,
        expected_failure: String::new(),
    }
}

/// The repetitions of one variant.
pub(super) struct Variant<'a> {
    pub(super) id: String,
    plan: &'a Plan,
    stored: Option<&'a StoredBaseline>,
    /// Each planned repetition, with what was measured of it.
    pub(super) runs: Vec<(&'a RunPlan, Option<&'a MeasuredRun>)>,
}

pub(super) fn variants<'a>(measured: &'a Measured, stored: Option<&'a StoredBaseline>) -> Vec<Variant<'a>> {
    let mut variants: Vec<Variant<'a>> = Vec::new();
    for run in &measured.plan.runs {
        let id = run.variant_id();
        let found = measured.runs.iter().find(|found| found.variant == id && found.repetition == run.repetition);
        match variants.iter_mut().find(|variant| variant.id == id) {
            Some(variant) => variant.runs.push((run, found)),
            None => variants.push(Variant { id, plan: &measured.plan, stored, runs: vec![(run, found)] }),
        }
    }
    variants
}

/// One repetition's answer to one expectation.
pub(super) struct Answer {
    pub(super) outcome: Judgement,
    pub(super) observed: Observed,
    /// The same count over the whole run, where the expectation looks at less and sees less.
    pub(super) in_whole_run: Option<usize>,
    pub(super) limit: Option<Edge>,
    pub(super) because: String,
    pub(super) doubt: Option<Doubt>,
}

impl Answer {
    pub(super) fn nobody_knows(observed: Observed, because: String, doubt: Option<Doubt>) -> Answer {
        Answer { outcome: Judgement::Inconclusive, observed, in_whole_run: None, limit: None, because, doubt }
    }
}

impl<'a> Variant<'a> {
    pub(super) fn is_meant_by(&self, expectation: &Expectation) -> bool {
        self.runs
            .first()
            .is_some_and(|(plan, _)| expectation.speaks_of(|axis| plan.variant.get(axis).map(String::as_str)))
    }

    /// What makes its repetitions doubtful, whatever was expected.
    fn doubts(&self) -> impl Iterator<Item = Doubt> + use<'_> {
        self.runs.iter().flat_map(|(plan, run)| {
            let Some(run) = run else {
                let detail = if self.runs.len() > 1 {
                    format!("repetition {} never started", plan.repetition)
                } else {
                    "the run never started".to_owned()
                };
                return vec![Doubt { rule: DoubtRule::IncompleteRun, detail }];
            };
            doubts_of(run)
        })
    }

    /// Its repetitions that nothing makes doubtful.
    pub(super) fn beyond_doubt(&self) -> impl Iterator<Item = &'a MeasuredRun> + use<'_, 'a> {
        self.runs.iter().filter_map(|(_, run)| *run).filter(|run| doubts_of(run).is_empty())
    }

    /// Whether so many repetitions are beyond doubt as must hold.
    fn is_good_enough(&self, require: Require) -> bool {
        let good = self.beyond_doubt().count();
        match require {
            Require::All => good == self.runs.len(),
            Require::AtLeast(wanted) => good >= wanted as usize,
        }
    }

    /// What the expectation looks at: one subject each workload that it speaks of.
    pub(super) fn subjects<'s>(&'s self, expectation: &'s Expectation) -> impl Iterator<Item = Subject<'s>> {
        let subject = &expectation.subject;
        let workloads: Vec<&str> = match (&subject.workload, self.runs.first()) {
            _ if !subject.metric.scope().takes_workload() => vec![""],
            (Some(workload), _) => vec![workload],
            (None, Some((plan, _))) => plan.workloads.keys().map(String::as_str).collect(),
            (None, None) => Vec::new(),
        };
        let (class, metric) = (subject.class.as_deref(), subject.metric);
        workloads.into_iter().map(move |workload| Subject { workload, class, metric })
    }

    /// What is stored of a subject, or why nothing is.
    fn stored(&self, expectation: &Expectation, subject: Subject<'_>) -> Result<f64, String> {
        match self.stored {
            Some(stored) => stored.value(&self.id, subject, &expectation.phase()),
            None => Err("there is no stored baseline; `--save-baseline` writes one".to_owned()),
        }
    }

    /// Adds a line for each subject of the expectation.
    fn judge(&self, expectation: &Expectation, all: &[Variant<'_>], verdict: &mut Verdict) {
        for subject in self.subjects(expectation) {
            if let Some((axis, value)) = expectation.other_variant() {
                let (line, doubt) = self.compared(all, (axis, value), expectation, subject);
                verdict.doubts.extend(doubt.map(|doubt| (self.id.clone(), doubt)));
                verdict.lines.push(line);
                continue;
            }
            let stored = self.stored(expectation, subject);
            let answers: Vec<Answer> =
                self.runs.iter().map(|(_, run)| answer(*run, expectation, subject, &stored)).collect();
            for doubt in answers.iter().filter_map(|answer| answer.doubt.clone()) {
                verdict.doubts.push((self.id.clone(), doubt));
            }
            verdict.lines.push(self.line(expectation, subject, answers, stored.ok()));
        }
    }

    /// Folds the repetitions into one line.
    fn line(
        &self,
        expectation: &Expectation,
        subject: Subject<'_>,
        answers: Vec<Answer>,
        stored_value: Option<f64>,
    ) -> Judged {
        let count = |outcome| answers.iter().filter(|answer| answer.outcome == outcome).count() as u32;
        let (held, failed) = (count(Judgement::Held), count(Judgement::Failed));
        let all = answers.len() as u32;
        let outcome = fold(self.plan.require, held, failed, all);
        let values: Vec<f64> = answers.iter().filter_map(|answer| answer.observed.known()).collect();
        let interval = (all > 1 && !values.is_empty()).then(|| {
            (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max))
        });
        // The repetition that is shown: of those that came to the line's outcome, the one with the least margin.
        let shown = answers.into_iter().min_by(|a, b| {
            let rank = |answer: &Answer| {
                let margin = margin(&answer.observed, answer.limit, answer.outcome).unwrap_or(0.0);
                (answer.outcome != outcome, margin)
            };
            rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let Some(shown) = shown else { unreachable!("a variant has at least one run") };
        let line = self.judged(expectation, subject, outcome, shown);
        Judged { stored_value, interval, repetitions: (held, all), ..line }
    }

    /// A line that shows this answer.
    pub(super) fn judged(
        &self,
        expectation: &Expectation,
        subject: Subject<'_>,
        outcome: Judgement,
        shown: Answer,
    ) -> Judged {
        let (mut observed, limit) = texts(subject.metric.unit(), expectation, &shown);
        if let Some(whole) = shown.in_whole_run {
            observed += &format!(" ({} in the whole run)", say::count(whole as u64));
        }
        Judged {
            expectation: expectation.to_string(),
            variant: self.id.clone(),
            outcome,
            subject: title(expectation, subject),
            observed,
            observed_value: match shown.observed {
                Observed::Between { low, .. } => Some(low),
                Observed::Unknown { .. } => None,
            },
            limit,
            limit_value: shown.limit.map(|edge| edge.limit),
            stored_value: None,
            margin: margin(&shown.observed, shown.limit, shown.outcome),
            interval: None,
            difference: None,
            repetitions: (0, 0),
            because: shown.because,
            expected_failure: String::new(),
        }
    }

    /// The final checks count as if each were expected to hold.
    fn judge_checks(&self, verdict: &mut Verdict) {
        let Some((plan, _)) = self.runs.first() else { return };
        let finals = plan.checks.iter().enumerate().filter(|(_, check)| check.when.contains(&CheckWhen::Final));
        for (index, check) in finals {
            let answers: Vec<(Judgement, String)> = self.runs.iter().map(|(_, run)| check_held(*run, index)).collect();
            let count = |outcome| answers.iter().filter(|(one, _)| *one == outcome).count() as u32;
            let (held, failed, all) = (count(Judgement::Held), count(Judgement::Failed), answers.len() as u32);
            let outcome = fold(self.plan.require, held, failed, all);
            let because = answers.into_iter().find(|(one, _)| *one == outcome).map(|(_, because)| because);
            let observed = match outcome {
                Judgement::Held => "held",
                Judgement::Failed | Judgement::FailedAsExpected => "failed",
                Judgement::Inconclusive => "n/a",
            };
            verdict.lines.push(Judged {
                expectation: format!("final check: {}", name(&check.action)),
                variant: self.id.clone(),
                outcome,
                subject: format!("check {index}"),
                observed: observed.to_owned(),
                observed_value: None,
                limit: "holds".to_owned(),
                limit_value: None,
                stored_value: None,
                margin: None,
                interval: None,
                difference: None,
                repetitions: (held, all),
                because: because.unwrap_or_default(),
                expected_failure: String::new(),
            });
        }
    }
}

/// What makes a run doubtful: what was measured, and a stop before its end.
pub(super) fn doubts_of(run: &MeasuredRun) -> Vec<Doubt> {
    let mut doubts = run.inconclusive.clone();
    if let Some(stop) = &run.stopped
        && !doubts.iter().any(|doubt| matches!(doubt.rule, DoubtRule::IncompleteRun | DoubtRule::BaselineFailed))
    {
        let detail = format!("the run stopped at {}: {}", stop.at, stop.detail);
        doubts.push(Doubt { rule: DoubtRule::IncompleteRun, detail });
    }
    doubts
}

/// Whether a doubt also turns *failed* into *inconclusive*: load, fault or the system before it were not as planned,
/// or a part of what was recorded cannot be read, and what it would have shown is anybody's guess.
pub(super) fn excuses_failure(rule: DoubtRule) -> bool {
    use DoubtRule::*;
    matches!(
        rule,
        LateFault
            | LateGenerator
            | DroppedRecords
            | LinkCouldNotAccept
            | BaselineFailed
            | IncompleteRun
            | AlteredRecords
    )
}

/// All, or at least so many of all repetitions.
fn fold(require: Require, held: u32, failed: u32, all: u32) -> Judgement {
    match require {
        Require::All if failed > 0 => Judgement::Failed,
        Require::All if held == all => Judgement::Held,
        Require::All => Judgement::Inconclusive,
        Require::AtLeast(wanted) if held >= wanted => Judgement::Held,
        // Even if all that nobody knows had held, it would not be enough.
        Require::AtLeast(wanted) if all - failed < wanted => Judgement::Failed,
        Require::AtLeast(_) => Judgement::Inconclusive,
    }
}

fn answer(
    run: Option<&MeasuredRun>,
    expectation: &Expectation,
    subject: Subject<'_>,
    stored: &Result<f64, String>,
) -> Answer {
    let phase = expectation.phase();
    let observed = look(run, subject, &phase);
    let about = || title(expectation, subject);
    let (run, observed) = match (run, observed) {
        (Some(run), observed @ Observed::Between { .. }) => (run, observed),
        (_, observed) => return unknown(run, observed, about()),
    };
    let limit = worked_out(&expectation.limit, |reference| match reference {
        Reference::Stored => stored.clone(),
        Reference::Variant { .. } => unreachable!("variants are compared all runs at once"),
        Reference::Baseline => match observe(run, subject, &Phase::Baseline) {
            Observed::Between { low, high, .. } if high.is_finite() => Ok(low.midpoint(high)),
            Observed::Between { .. } => Err("operations of the baseline never finished".to_owned()),
            Observed::Unknown { why, .. } => Err(why),
        },
    });
    let limit = match limit {
        Ok(limit) => limit,
        Err(why) => {
            let rule = match expectation.names_stored() {
                true => DoubtRule::NothingStored,
                false => DoubtRule::PhaseWithoutSample,
            };
            let doubt = Some(Doubt { rule, detail: format!("{}: {why}", about()) });
            return Answer::nobody_knows(observed, why, doubt);
        }
    };
    let outcome = compare(&observed, expectation.op, limit);
    let seen = if let Observed::Between { low, .. } = observed { low } else { 0.0 };
    let in_whole_run = in_whole_run(run, subject).filter(|whole| *whole as f64 > seen);
    let mut because = because(run, subject, &phase);
    let doubts = doubts_of(run);
    let spoilt = match outcome {
        Judgement::Held => doubts.first(),
        // A stop alone excuses nothing: what had failed until then has failed.
        Judgement::Failed | Judgement::FailedAsExpected => {
            run.inconclusive.iter().find(|doubt| excuses_failure(doubt.rule))
        }
        Judgement::Inconclusive => None,
    };
    if let Some(doubt) = spoilt {
        let seems = if outcome == Judgement::Held { "it seems to hold" } else { "it seems to have failed" };
        let because = format!("{seems}, but {}", doubt.detail);
        let (outcome, limit) = (Judgement::Inconclusive, Some(limit));
        return Answer { outcome, observed, in_whole_run, limit, because, doubt: None };
    }
    let mut doubt = None;
    if outcome == Judgement::Inconclusive
        && let Observed::Between { doubt: rule, .. } = observed
    {
        let detail = match rule {
            DoubtRule::MaskedWrites => "some writes are masked: they may be gone, and nobody can know",
            _ => "it had not ended when the run did",
        };
        doubt = Some(Doubt { rule, detail: format!("{}: {detail}", about()) });
        because = if because.is_empty() { detail.to_owned() } else { format!("{detail}; {because}") };
    }
    // A baseline that does not hold its own expectations says nothing about the fault; one that is worse than the
    // stored one is a regression.
    if outcome == Judgement::Failed && phase == Phase::Baseline && !expectation.names_stored() {
        let detail = format!("the baseline does not hold `{expectation}`");
        because = if because.is_empty() { detail.clone() } else { format!("{detail}: {because}") };
        doubt = Some(Doubt { rule: DoubtRule::BaselineFailed, detail });
        let (outcome, limit) = (Judgement::Inconclusive, Some(limit));
        return Answer { outcome, observed, in_whole_run, limit, because, doubt };
    }
    Answer { outcome, observed, in_whole_run, limit: Some(limit), because, doubt }
}

/// What a repetition shows of a metric, if it took place at all.
pub(super) fn look(run: Option<&MeasuredRun>, subject: Subject<'_>, phase: &Phase) -> Observed {
    let cut_off = |why: &str| Observed::Unknown { rule: DoubtRule::IncompleteRun, why: why.to_owned() };
    let gone = |doubt: &Doubt| doubt.rule == DoubtRule::IncompleteRun && doubt.detail == NO_ATTEMPTS;
    match run {
        None => cut_off("the run never started"),
        // Whatever else could be said of figures of nothing would be untrue.
        Some(run) if subject.metric.scope() != Scope::Run && run.inconclusive.iter().any(gone) => cut_off(NO_ATTEMPTS),
        Some(run) => observe(run, subject, phase),
    }
}

/// The answer where nothing is known; `about` is what was looked at.
pub(super) fn unknown(run: Option<&MeasuredRun>, observed: Observed, about: String) -> Answer {
    let Observed::Unknown { rule, why } = &observed else { unreachable!("what is known is judged") };
    // What a stop or an end left unseen needs no reason besides it.
    let told = *rule == DoubtRule::IncompleteRun || run.is_none_or(|run| run.stopped.is_some());
    let doubt = (!told).then(|| Doubt { rule: *rule, detail: format!("{about}: {why}") });
    let because = why.clone();
    Answer::nobody_knows(observed, because, doubt)
}

fn check_held(run: Option<&MeasuredRun>, index: usize) -> (Judgement, String) {
    let Some(run) = run else { return (Judgement::Inconclusive, "the run never started".to_owned()) };
    let Some(check) = run.checks.iter().find(|check| check.index == index && check.when == "final") else {
        return (Judgement::Inconclusive, "it did not run".to_owned());
    };
    let said = check.output.lines().next().unwrap_or_default().to_owned();
    match (check.ok, doubts_of(run).into_iter().next()) {
        (false, _) => (Judgement::Failed, said),
        (true, Some(doubt)) => (Judgement::Inconclusive, format!("it seems to hold, but {}", doubt.detail)),
        (true, None) => (Judgement::Held, said),
    }
}

/// A limit as it worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    /// In the metric's base unit, without the tolerance.
    pub(super) limit: f64,
    /// So much on either side is allowed.
    pub(super) tolerance: f64,
}

/// Works out a limit; `reference` tells what it refers to.
pub(super) fn worked_out(
    limit: &Limit,
    reference: impl FnOnce(&Reference) -> Result<f64, String>,
) -> Result<Edge, String> {
    match limit {
        Limit::Quantity(quantity) => Ok(Edge { limit: quantity.base(), tolerance: 0.0 }),
        Limit::Relative { factor, reference: to, offset } => {
            let base = reference(to)? * factor.unwrap_or(1.0);
            Ok(match offset {
                None => Edge { limit: base, tolerance: 0.0 },
                Some((Sign::Plus, by)) => Edge { limit: base + by.base(), tolerance: 0.0 },
                Some((Sign::Minus, by)) => Edge { limit: base - by.base(), tolerance: 0.0 },
                Some((Sign::PlusMinus, by)) => Edge { limit: base, tolerance: by.base() },
            })
        }
    }
}

/// Whether it holds wherever in its bounds the observed value lies, or fails everywhere; else nobody knows.
pub(super) fn compare(observed: &Observed, op: Op, edge: Edge) -> Judgement {
    let Observed::Between { low, high, .. } = *observed else { return Judgement::Inconclusive };
    let noise = NOISE * edge.limit.abs();
    let above = |value: f64, limit: f64| value > limit + noise;
    let below = |value: f64, limit: f64| value < limit - noise;
    let (least, most) = (edge.limit - edge.tolerance, edge.limit + edge.tolerance);
    let (held, failed) = match op {
        Op::AtMost => (!above(high, most), above(low, most)),
        Op::Below => (below(high, most), !below(low, most)),
        Op::AtLeast => (!below(low, least), below(high, least)),
        Op::Above => (above(low, least), !above(high, least)),
        Op::Equal => (!below(low, least) && !above(high, most), above(low, most) || below(high, least)),
        Op::NotEqual => (above(low, most) || below(high, least), !below(low, least) && !above(high, most)),
    };
    match (held, failed) {
        (true, _) => Judgement::Held,
        (_, true) => Judgement::Failed,
        _ => Judgement::Inconclusive,
    }
}

/// How far on the good side, or on the bad one; none where nobody knows, and where the limit is 0.
fn margin(observed: &Observed, edge: Option<Edge>, outcome: Judgement) -> Option<f64> {
    let (Observed::Between { low, .. }, Some(edge)) = (observed, edge) else { return None };
    let margin = (low - edge.limit).abs() / edge.limit.abs();
    match outcome {
        _ if !margin.is_finite() => None,
        Judgement::Held => Some(margin),
        Judgement::Failed | Judgement::FailedAsExpected => Some(-margin),
        Judgement::Inconclusive => None,
    }
}

/// `orders/write.p99 during recovery`; a phase is named where the expectation names it.
pub(super) fn title(expectation: &Expectation, subject: Subject<'_>) -> String {
    match &expectation.during {
        Some(phase) => format!("{subject} during {phase}"),
        None => subject.to_string(),
    }
}

/// Observed and limit, as people read them. They read differently wherever they are different.
fn texts(unit: Unit, expectation: &Expectation, answer: &Answer) -> (String, String) {
    // A quantity is written as it would be beside a figure, also where there is none.
    let as_written = || match &expectation.limit {
        Limit::Quantity(quantity) => format!("{} {}", expectation.op, say::value(unit, quantity.base())),
        limit => format!("{} {limit}", expectation.op),
    };
    let Some(edge) = answer.limit else {
        let observed = match &answer.observed {
            Observed::Between { low, high, .. } => bounds(*low, *high, |value| say::value(unit, value)),
            Observed::Unknown { .. } => "n/a".to_owned(),
        };
        return (observed, as_written());
    };
    let Observed::Between { low, high, .. } = answer.observed else {
        return ("n/a".to_owned(), as_written());
    };
    let alike = say::value(unit, low) == say::value(unit, edge.limit);
    let differ = (low - edge.limit).abs() > NOISE * edge.limit.abs();
    let said = |value: f64| if alike && differ { say::exactly(unit, value) } else { say::value(unit, value) };
    let tolerance =
        if edge.tolerance > 0.0 { format!(" ± {}", say::value(unit, edge.tolerance)) } else { String::new() };
    (bounds(low, high, said), format!("{} {}{tolerance}", expectation.op, said(edge.limit)))
}

/// `1.31 s`, `≥ 1.3 s`, `0 to 3`.
fn bounds(low: f64, high: f64, said: impl Fn(f64) -> String) -> String {
    if high.is_infinite() {
        format!("≥ {}", said(low))
    } else if high > low {
        format!("{} to {}", said(low), said(high))
    } else {
        said(low)
    }
}

fn name(action: &CheckAction) -> String {
    match action {
        CheckAction::Act(Action::Exec(words)) => format!("exec {}", words.join(" ")),
        CheckAction::Act(Action::Http { method, url, .. }) => format!("{method} {url}"),
        CheckAction::Act(Action::Manual(step)) => format!("manual: {step}"),
        CheckAction::Sql(query) => query.to_string(),
    }
}
