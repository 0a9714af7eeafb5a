//! A sample of operations that failed or needed several attempts, with every attempt of theirs.

use std::fmt::Write;

use super::chart::{escape, number};
use crate::event::{Applied, Attempt, Outcome};
use crate::measure::MeasuredRun;
use crate::report::say;
use crate::report::view::{variant_name, zero};

/// Operations shown of each variant and workload; `report.json` has all of the sample.
const SHOWN: usize = 10;

/// The sample of one variant and workload.
pub(super) struct Sample {
    pub(super) title: String,
    /// How many the run's sample holds.
    pub(super) of: usize,
    pub(super) operations: Vec<Operation>,
}

/// One operation.
pub(super) struct Operation {
    /// `write 1502`, with its key.
    pub(super) name: String,
    pub(super) due: String,
    /// Its last outcome, and whether it was ok.
    pub(super) outcome: &'static str,
    pub(super) ok: bool,
    /// From due to its end.
    pub(super) took: String,
    pub(super) attempts: Vec<AttemptRow>,
    /// All its attempts on one line.
    pub(super) svg: String,
}

/// One attempt.
pub(super) struct AttemptRow {
    pub(super) number: String,
    pub(super) start: String,
    pub(super) took: String,
    pub(super) outcome: &'static str,
    pub(super) class: String,
    pub(super) applied: &'static str,
    pub(super) who: String,
    pub(super) then: String,
}

/// The samples of a run, one a workload.
pub(super) fn samples(run: &MeasuredRun) -> Vec<Sample> {
    let sample = |(name, workload): (&String, &crate::measure::WorkloadFigures)| {
        let all = &workload.samples;
        // Evenly through the sample, which is spread over faults and outcomes.
        let shown = SHOWN.min(all.len());
        let picked = (0..shown).map(|index| &all[index * all.len() / shown.max(1)]);
        Sample {
            title: format!("{}, {name}", variant_name(&run.variant)),
            of: all.len(),
            operations: picked.filter_map(|attempts| operation(run, attempts)).collect(),
        }
    };
    run.workloads.iter().map(sample).filter(|sample| sample.of > 0).collect()
}

fn operation(run: &MeasuredRun, attempts: &[Attempt]) -> Option<Operation> {
    let (first, last) = (attempts.first()?, attempts.iter().max_by_key(|attempt| attempt.end)?);
    let ok = attempts.iter().find(|attempt| attempt.outcome == Outcome::Ok);
    let key = first.key.as_deref().map(|key| format!(", key {key}")).unwrap_or_default();
    let end = ok.unwrap_or(last);
    Some(Operation {
        name: format!("{} {}{key}", first.class, first.op),
        due: say::offset(first.due, zero(run)),
        outcome: end.outcome.name(),
        ok: ok.is_some(),
        took: say::span(end.end.saturating_since(first.due)),
        attempts: attempts.iter().map(|attempt| row(run, attempt)).collect(),
        svg: timeline(attempts, last),
    })
}

fn row(run: &MeasuredRun, attempt: &Attempt) -> AttemptRow {
    let code = attempt.code.map(|code| format!(" {code}")).unwrap_or_default();
    let conn = attempt.link.as_ref().map(|link| match attempt.conn {
        Some(conn) => format!("{link}#{conn}"),
        None => link.to_string(),
    });
    let who: Vec<String> = attempt.place.iter().map(|place| format!("{place}{code}")).chain(conn).collect();
    let wait = attempt.retry_in.map(|wait| format!("retried after {}", say::span(wait)));
    let then: Vec<String> = attempt.why.iter().map(|why| why.to_string()).chain(wait).collect();
    AttemptRow {
        number: format!("{}{}", attempt.attempt, if attempt.hedge { " (hedge)" } else { "" }),
        start: say::offset(attempt.start, zero(run)),
        took: say::span(attempt.end.saturating_since(attempt.start)),
        outcome: attempt.outcome.name(),
        class: format!("o-{}", attempt.outcome.name()),
        applied: match attempt.applied {
            Applied::No => "no",
            Applied::Unknown => "unknown",
            Applied::Yes => "yes",
        },
        who: if who.is_empty() { "nobody answered".into() } else { who.join(" over ") },
        then: match (then.is_empty(), attempt.outcome) {
            (false, _) => then.join("; "),
            (true, Outcome::Ok) => "done".into(),
            (true, _) => "given up".into(),
        },
    }
}

/// The attempts as bars from the due time to the end; what lies between them is waiting.
fn timeline(attempts: &[Attempt], last: &Attempt) -> String {
    let due = last.due;
    let span = last.end.saturating_since(due).as_nanos().max(1) as f64;
    let percent = |at: crate::clock::Moment| at.saturating_since(due).as_nanos() as f64 / span * 100.0;
    let mut svg = String::from(
        "<svg class=\"attempts\" width=\"100%\" height=\"10\" aria-hidden=\"true\"><line class=\"wait\" x1=\"0\" x2=\"100%\" y1=\"5\" y2=\"5\"/>",
    );
    for attempt in attempts {
        let (start, end) = (percent(attempt.start), percent(attempt.end));
        let _ = write!(
            svg,
            "<rect class=\"o-{}\" x=\"{}%\" width=\"{}%\" height=\"10\" rx=\"1.5\"/>",
            escape(attempt.outcome.name()),
            number(start),
            number((end - start).max(0.6)),
        );
    }
    svg.push_str("</svg>");
    svg
}
