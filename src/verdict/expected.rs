//! Expected failures: what is known not to hold is tolerated until a date, and only as long as it is true.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Judged, Judgement};
use crate::experiment::expectation::Expectation;
use crate::measure::Measured;
use crate::plan::ExpectedFailure;

/// Applies a plan's expected failures to what was judged, on the day on which its runs started.
pub(super) fn apply(measured: &Measured, lines: &mut Vec<Judged>) {
    let started = measured.runs.iter().map(|run| run.started_wall_ns).min();
    let Some(today) = started.and_then(date) else { return };
    let known = &measured.plan.expected_failures;
    // What is said of a line goes before what is said of all.
    let (of_lines, of_all): (Vec<_>, Vec<_>) = known.iter().partition(|known| known.expect.is_some());
    for known in of_lines.into_iter().chain(of_all) {
        tolerate(known, today, lines);
    }
}

fn tolerate(known: &ExpectedFailure, today: Date, lines: &mut Vec<Judged>) {
    let ExpectedFailure { expect, until, reason } = known;
    let wanted =
        expect.as_deref().map(|line| Expectation::parse(line).map_or(line.to_owned(), |line| line.to_string()));
    let is_meant = |line: &Judged| wanted.as_ref().is_none_or(|wanted| *wanted == line.expectation);
    let expired = today > *until;
    let mut meant: Vec<&mut Judged> = lines.iter_mut().filter(|line| is_meant(line)).collect();
    let came_to = |outcome| meant.iter().any(|line| line.outcome == outcome);
    if came_to(Judgement::Failed) || came_to(Judgement::FailedAsExpected) {
        for line in meant.iter_mut().filter(|line| line.outcome == Judgement::Failed) {
            line.expected_failure = match expired {
                true => format!("was expected to fail until {until}, which has passed: {reason}"),
                false => {
                    line.outcome = Judgement::FailedAsExpected;
                    format!("expected to fail until {until}: {reason}")
                }
            };
        }
        return;
    }
    if came_to(Judgement::Inconclusive) {
        return;
    }
    let why =
        format!("it holds, and was expected to fail until {until} ({reason}): take it out of `expected_failures`");
    if wanted.is_none() {
        lines.push(whole(why));
        return;
    }
    for line in &mut meant {
        (line.outcome, line.expected_failure) = (Judgement::Failed, why.clone());
    }
}

/// The line of an experiment that was expected to fail and did not.
fn whole(expected_failure: String) -> Judged {
    Judged {
        expectation: "expected failure of the experiment".to_owned(),
        variant: String::new(),
        outcome: Judgement::Failed,
        subject: "the experiment".to_owned(),
        observed: "held".to_owned(),
        observed_value: None,
        limit: "fails".to_owned(),
        limit_value: None,
        stored_value: None,
        margin: None,
        interval: None,
        difference: None,
        repetitions: (0, 0),
        because: String::new(),
        expected_failure,
    }
}

/// The day in UTC.
fn date(wall_ns: u64) -> Option<Date> {
    let at = jiff::Timestamp::from_nanosecond(i128::from(wall_ns)).ok()?;
    Some(at.to_zoned(TimeZone::UTC).date())
}
