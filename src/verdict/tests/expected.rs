//! Expected failures: tolerated until a date, told when it has passed or when they no longer fail.

use super::*;
use crate::plan::ExpectedFailure;

/// 2026-11-20, 12:00 UTC.
const NOON: u64 = 1_795_176_000_000_000_000;

/// A run whose p99 is 10 ms, with these expectations and expected failures.
fn judged(expect: &[&str], expected: &[(Option<&str>, &str)]) -> Verdict {
    let expected_failures = expected.iter().map(|(line, until)| ExpectedFailure {
        expect: line.map(str::to_owned),
        until: until.parse().unwrap(),
        reason: "SHOP-417".into(),
    });
    let plan = Plan { expected_failures: expected_failures.collect(), ..plan(&[], 1, expect) };
    let run = with(|run| run.started_wall_ns = NOON);
    judge(&Measured { plan, runs: vec![run], missing: Vec::new() }, None)
}

/// The verdict with each line's outcome.
fn came_to(verdict: &Verdict) -> (Word, Vec<Judgement>) {
    (verdict.word, verdict.lines.iter().map(|line| line.outcome).collect())
}

#[test]
fn a_line_that_is_expected_to_fail_is_tolerated_to_the_end_of_its_last_day() {
    let lines = ["p99 < 5ms", "p99 < 50ms"];
    let verdict = judged(&lines, &[(Some("p99   < 5ms"), "2026-11-20")]);
    assert_eq!(came_to(&verdict), (Word::Held, vec![FailedAsExpected, Held]));
    assert!(verdict.lines[0].expected_failure.contains("expected to fail until 2026-11-20: SHOP-417"), "{verdict:?}");
    let verdict = judged(&lines, &[(Some("p99 < 5ms"), "2026-11-19")]);
    assert_eq!(came_to(&verdict), (Word::Failed, vec![Failed, Held]));
    assert!(verdict.lines[0].expected_failure.contains("2026-11-19, which has passed: SHOP-417"), "{verdict:?}");
}

#[test]
fn what_holds_although_it_was_expected_to_fail_fails() {
    for until in ["2026-11-19", "2027-01-31"] {
        let verdict = judged(&["p99 < 50ms"], &[(Some("p99 < 50ms"), until)]);
        assert_eq!(came_to(&verdict), (Word::Failed, vec![Failed]));
        assert!(verdict.lines[0].expected_failure.starts_with("it holds, and was expected to fail"), "{verdict:?}");
    }
}

#[test]
fn an_experiment_as_a_whole_may_be_expected_to_fail() {
    let whole = [(None, "2027-01-31")];
    let verdict = judged(&["p99 < 5ms", "p99 < 50ms"], &whole);
    assert_eq!(came_to(&verdict), (Word::Held, vec![FailedAsExpected, Held]), "some of its lines may hold");
    let verdict = judged(&["p99 < 50ms"], &whole);
    assert_eq!(came_to(&verdict), (Word::Failed, vec![Held, Failed]), "all of them may not");
    assert_eq!(verdict.lines[1].subject, "the experiment");
    let verdict = judged(&["p99 < 5ms"], &[(None, "2026-11-01")]);
    assert_eq!(came_to(&verdict), (Word::Failed, vec![Failed]));
}

#[test]
fn another_line_than_the_expected_one_fails_as_ever() {
    let verdict = judged(&["p99 < 5ms", "p50 < 5ms"], &[(Some("p99 < 5ms"), "2027-01-31")]);
    assert_eq!(came_to(&verdict), (Word::Failed, vec![FailedAsExpected, Failed]));
}

#[test]
fn what_nobody_knows_is_neither_a_failure_nor_a_surprise() {
    let verdict = judged(&["p99 during fault.gone < 5ms"], &[(Some("p99 during fault.gone < 5ms"), "2027-01-31")]);
    assert_eq!(came_to(&verdict), (Word::Inconclusive, vec![Inconclusive]));
}
