//! The sentences that matter: what a person who reads nothing else must know, made from the figures by rule.

use super::proof;
use super::row::{Cell, Quantity, Row};
use super::say;
use super::view::Report;
use crate::measure::MeasuredRun;
use crate::verdict::{Judgement, Word};

/// At most so many sentences of one kind; the rest is counted.
const OF_A_KIND: usize = 2;

/// How the sentence of an expectation begins that failed as expected.
pub(super) const KNOWN: &str = "Known: ";

/// The sentences, the most important first.
pub(super) fn of(report: &Report) -> Vec<String> {
    let mut sentences = Vec::new();
    sentences.extend(stops(report));
    sentences.extend(doubts(report));
    sentences.extend(failures(report));
    sentences.extend(tolerated(report));
    sentences.extend(ended(report));
    sentences.extend(proof::injected(report));
    sentences.extend(users(report));
    sentences.extend(lost(report));
    sentences.extend(budget(report));
    sentences
}

/// Why runs stopped before their end.
fn stops(report: &Report) -> Vec<String> {
    let stopped = report.runs.iter().filter_map(|run| Some((run, run.stopped.as_ref()?)));
    let say = stopped.map(|(run, stop)| {
        let healed = match run.complete {
            true if run.faults.is_empty() => "No fault had been injected.",
            true => "Every fault was healed.",
            false => "The run folder does not say that everything was healed.",
        };
        let variant = if run.variant.is_empty() { String::new() } else { format!(" with {}", run.variant) };
        let detail = on_one_line(stop.detail.trim_end_matches('.'));
        format!("Stopped {} after its start{variant}: {detail}. {healed}", say::span(stop.at.since_start()))
    });
    bounded(say.collect(), "more runs stopped before their end")
}

/// Lines that a process had written are told apart where a sentence has them on one.
fn on_one_line(text: &str) -> String {
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        let between = if line.is_empty() {
            ""
        } else if line.ends_with(':') {
            " "
        } else {
            " / "
        };
        line = line + between + part;
    }
    line
}

/// What makes the verdict uncertain.
fn doubts(report: &Report) -> Vec<String> {
    if matches!(report.conclusion.verdict, Word::Aborted | Word::NotReady)
        && report.runs.iter().any(|run| run.stopped.is_some())
    {
        return Vec::new();
    }
    let say = report.doubts.iter().map(|doubt| {
        let variant = if doubt.variant.is_empty() { String::new() } else { format!(" ({})", doubt.variant) };
        format!("Not certain{variant}: {}.", doubt.doubt.detail.trim_end_matches('.'))
    });
    let mut sentences: Vec<String> = Vec::new();
    for sentence in say {
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    bounded(sentences, "more reasons to doubt")
}

/// The expectations that did not come true.
fn failures(report: &Report) -> Vec<String> {
    let folded = report.folded_expectations();
    let failed = folded.iter().filter(|(_, line)| line.outcome == Judgement::Failed);
    let say = failed.map(|(variant, line)| {
        let variant = if variant.is_empty() { String::new() } else { format!(", {variant}") };
        let known = match line.expected_failure.as_str() {
            "" => String::new(),
            known => format!(" ({known})"),
        };
        format!("Expected {} {}{variant}; it was {}{known}.", line.subject, line.limit, line.observed)
    });
    bounded(say.collect(), "more expectations failed")
}

/// The expectations that were known not to come true.
fn tolerated(report: &Report) -> Vec<String> {
    let folded = report.folded_expectations();
    let known = folded.iter().filter(|(_, line)| line.outcome == Judgement::FailedAsExpected);
    let say = known.map(|(_, line)| {
        let (subject, limit, observed) = (&line.subject, &line.limit, &line.observed);
        format!("{KNOWN}{subject} was {observed} and not {limit}, {}.", line.expected_failure)
    });
    bounded(say.collect(), "more expectations failed as expected")
}

/// The processes that ended by themselves: nobody planned that, and it may explain everything else.
pub(super) fn ended(report: &Report) -> Vec<String> {
    let of_run = |run: &MeasuredRun| -> Vec<String> {
        let say = run.ended.iter().map(|ended| {
            let variant = if run.variant.is_empty() { String::new() } else { format!(" with {}", run.variant) };
            let during = match ended.during.join(" and ") {
                faults if faults.is_empty() => String::new(),
                faults => format!(", while {faults} was in force"),
            };
            let node = &ended.node;
            let folder = if run.folder.is_empty() { String::new() } else { format!("{}/", run.folder) };
            let at = say::span(ended.at.since_start());
            format!(
                "{node} ended by itself {at} after the start{variant}{during}: it {}; see {folder}logs/{node}.log.",
                ended.how
            )
        });
        say.collect()
    };
    bounded(report.runs.iter().flat_map(of_run).collect(), "more processes ended by themselves")
}

/// What users lived through: of one variant all of it, of several the best and the worst.
fn users(report: &Report) -> Option<String> {
    let mut rows: Vec<&Row> = report.variants.iter().filter(|row| row.success_rate.median().is_some()).collect();
    rows.sort_by(|a, b| a.as_users_see_it(b));
    let (worst, best) = (*rows.first()?, *rows.last()?);
    let called = |row: &Row| match (row.variant.is_empty(), report.workload_names().len() > 1) {
        (true, _) => row.workload.clone(),
        (false, false) => row.variant.clone(),
        (false, true) => format!("{}, {}", row.workload, row.variant),
    };
    if rows.len() == 1 {
        return Some(format!(
            "{} of the operations of {} succeeded{}.",
            best.success_rate.say(Quantity::Share),
            best.workload,
            without(best)
        ));
    }
    Some(format!(
        "Users came through best with {}: {} of operations succeeded{}; worst with {}: {}{}.",
        called(best),
        best.success_rate.say(Quantity::Share),
        without(best),
        called(worst),
        worst.success_rate.say(Quantity::Share),
        without(worst),
    ))
}

/// How long nothing succeeded, as the end of a sentence.
fn without(row: &Row) -> String {
    match (&row.unavailable_ns, row.unavailable_ns.median()) {
        (Cell::Known(_), Some(0.0)) => ", without a gap".into(),
        (cell @ Cell::Known(_), _) => format!(", with {} of unavailability", cell.say(Quantity::Time)),
        (Cell::NotApplicable(_), _) => String::new(),
    }
}

/// What became of acknowledged writes.
fn lost(report: &Report) -> Option<String> {
    let mut checked = Vec::new();
    for run in &report.runs {
        for workload in run.workloads.values() {
            checked.extend(workload.consistency.as_ref().map(|consistency| (run, workload, consistency)));
        }
    }
    if checked.is_empty() {
        return None;
    }
    let acknowledged: u64 = checked.iter().map(|(_, _, consistency)| consistency.acknowledged).sum();
    let masked: u64 = checked.iter().map(|(_, _, consistency)| consistency.masked).sum();
    let all: u64 = checked.iter().map(|(_, _, consistency)| consistency.lost).sum();
    let maybe = if masked > 0 { format!(" Of {} nobody can know.", say::count(masked)) } else { String::new() };
    let Some((run, workload, most)) =
        checked.into_iter().max_by_key(|(_, _, consistency)| consistency.lost).filter(|_| all > 0)
    else {
        return Some(format!("None of {} acknowledged writes was lost.{maybe}", say::count(acknowledged)));
    };
    let age =
        workload.classes.values().flat_map(|class| class.outages.values()).filter_map(|outage| outage.rpo_age_ns).max();
    let age = age.map(|ns| format!("; the oldest had been acknowledged {} before the injection", say::duration(ns)));
    let some = if run.variant.is_empty() {
        String::new()
    } else {
        format!(", {} of them with {}", say::count(most.lost), run.variant)
    };
    Some(format!(
        "{} of {} acknowledged writes were lost{some}{}.{maybe}",
        say::count(all),
        say::count(acknowledged),
        age.unwrap_or_default(),
    ))
}

/// What incidents like this one cost of a year's error budget.
fn budget(report: &Report) -> Option<String> {
    let budgets =
        report.runs.iter().flat_map(|run| run.workloads.values()).filter_map(|workload| workload.availability.budget);
    let (mut least, mut most, mut any) = (u64::MAX, 0, None);
    for budget in budgets {
        least = least.min(budget.downtime_per_year_ns);
        most = most.max(budget.downtime_per_year_ns);
        any = Some(budget);
    }
    let budget = any?;
    let downtime = match (say::duration(least), say::duration(most)) {
        (least, most) if least == most => most,
        (least, most) => format!("{least} to {most}"),
    };
    Some(format!(
        "{} incidents a year like this one cost {downtime} of the {} that {} allow.",
        say::number(budget.incidents_per_year),
        say::duration(budget.budget_ns),
        say::share(budget.target),
    ))
}

/// The first few, and how many there are beyond.
fn bounded(mut sentences: Vec<String>, more: &str) -> Vec<String> {
    let beyond = sentences.len().saturating_sub(OF_A_KIND);
    if beyond > 0 {
        sentences.truncate(OF_A_KIND);
        sentences.push(format!("{} {more}.", say::count(beyond as u64)));
    }
    sentences
}
