//! Rules of the stored baseline: what is compared with it, and what may become one.

use super::*;

const NOON: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

fn measured(runs: Vec<MeasuredRun>, expect: &[&str]) -> Measured {
    Measured { plan: plan(&[], runs.len() as u32, expect), runs, missing: Vec::new() }
}

/// A baseline that has these values of a run without a matrix.
fn stored(values: &[(&str, f64)]) -> StoredBaseline {
    let values = values.iter().map(|(subject, value)| ((*subject).to_owned(), *value)).collect();
    StoredBaseline {
        values: IndexMap::from([(String::new(), values)]),
        ..StoredBaseline::of(&measured(vec![run()], &[]), NOON)
    }
}

/// The only line of the verdict on a run in which all is well: its p99 is 10 ms.
fn against(values: &[(&str, f64)], expect: &str) -> Judged {
    let mut verdict = judge(&measured(vec![run()], &[expect]), Some(&stored(values)));
    assert_eq!(verdict.lines.len(), 1, "{expect}");
    verdict.lines.remove(0)
}

#[test]
fn a_limit_can_follow_the_stored_baseline() {
    for (expect, outcome, limit) in [
        ("p99 <= 1.1 * stored", Failed, "<= 8.80 ms"),
        ("p99 <= 1.1 * stored + 5ms", Held, "<= 13.8 ms"),
        ("p99 <= 1.25 * stored", Held, "<= 10.0 ms"),
        ("p99 <= stored ± 1ms", Failed, "<= 8.00 ms ± 1.00 ms"),
        ("p99 == stored ± 2ms", Held, "== 8.00 ms ± 2.00 ms"),
    ] {
        let line = against(&[("orders.p99", 0.008)], expect);
        assert_eq!((line.outcome, line.limit.as_str()), (outcome, limit), "{expect}");
        assert_eq!(line.stored_value, Some(0.008));
    }
}

#[test]
fn a_line_that_does_not_compare_shows_the_stored_value_too() {
    let line = against(&[("orders.p99", 0.008)], "p99 <= 1s");
    assert_eq!((line.outcome, line.stored_value), (Held, Some(0.008)));
}

#[test]
fn the_default_phase_is_the_same_written_or_not() {
    let values = [("orders.p99", 0.02), ("orders.p99 during recovery", 0.005), ("orders/write.p99", 0.001)];
    assert_eq!(against(&values, "p99 during impact <= stored").outcome, Held);
    assert_eq!(against(&values, "orders.p99 <= stored").outcome, Held);
    assert_eq!(against(&values, "p99 during recovery <= stored").outcome, Failed);
    assert_eq!(against(&values, "orders/write.p99 <= stored").outcome, Failed);
}

#[test]
fn without_a_stored_baseline_nobody_can_know() {
    let because = "there is no stored baseline; `--save-baseline` writes one";
    assert_eq!(said(run(), "p99 <= 1.1 * stored"), is(Inconclusive, "10.0 ms", "<= 1.1 * stored", because));
}

#[test]
fn a_subject_that_is_not_stored_is_named_with_what_to_do() {
    let line = against(&[("orders.p99", 0.008)], "p95 during recovery <= stored");
    assert_eq!((line.outcome, line.stored_value), (Inconclusive, None));
    assert_eq!(line.because, "the stored baseline has no `orders.p95 during recovery`; `--save-baseline` adds it");
    let expect = ["p99 <= stored"];
    let verdict = judge(
        &Measured { plan: plan(&["none"], 1, &expect), runs: vec![repeated("none", 1, 10)], missing: Vec::new() },
        Some(&stored(&[("orders.p99", 0.008)])),
    );
    assert_eq!(
        verdict.lines[0].because,
        "the stored baseline has no `orders.p99` (retry=none); `--save-baseline` adds it"
    );
    assert_eq!((verdict.word, verdict.doubts[0].1.rule), (Word::Inconclusive, DoubtRule::NothingStored));
}

#[test]
fn a_baseline_worse_than_the_stored_one_is_a_regression() {
    assert_eq!(against(&[("orders.p99 during baseline", 0.008)], "p99 during baseline <= stored").outcome, Failed);
    // The same against a number of its own is a system that was not well to begin with.
    assert_eq!(line(run(), "p99 during baseline <= 8ms").outcome, Inconclusive);
    let expect = ["p99 during baseline <= 0.1 * stored"];
    let plan = plan(&[], 1, &expect);
    assert!(baseline_failures(&plan, &plan.runs[0], &run()).is_empty(), "the run goes on");
}

#[test]
fn a_doubt_about_the_generator_excuses_a_regression() {
    let late = doubtful(DoubtRule::LateGenerator);
    let verdict = judge(&measured(vec![late], &["p99 <= stored"]), Some(&stored(&[("orders.p99", 0.008)])));
    assert_eq!(verdict.word, Word::Inconclusive);
    assert!(!verdict.may_be_stored());
}

#[test]
fn what_the_lines_name_is_stored_and_holds_against_itself() {
    let expect = ["p99 <= stored", "orders/write.p50 during recovery <= 1.1 * stored", "orders.success_rate >= 99%"];
    let measured = measured(vec![run()], &expect);
    let first = judge(&measured, None);
    assert_eq!(first.word, Word::Inconclusive);
    assert!(first.may_be_stored(), "nothing but what is not stored yet stands in the way");
    let stored = StoredBaseline::of(&measured, NOON);
    let values: Vec<_> = stored.values[""].iter().map(|(subject, value)| (subject.as_str(), *value)).collect();
    let expected = [("orders.p99", 0.01), ("orders/write.p50 during recovery", 0.01), ("orders.success_rate", 1.0)];
    assert_eq!(values, expected);
    let read = StoredBaseline::from_json(&stored.to_json()).unwrap();
    assert_eq!(read, stored);
    assert_eq!(judge(&measured, Some(&read)).word, Word::Held);
}

#[test]
fn of_repetitions_the_median_of_those_beyond_doubt_is_stored() {
    let value = |p99: &[u64], doubtful: usize| {
        let mut runs: Vec<_> = (1..).zip(p99).map(|(repetition, p99)| repeated("", repetition, *p99)).collect();
        let doubt = Doubt { rule: DoubtRule::ClockJumped, detail: String::new() };
        runs.iter_mut().take(doubtful).for_each(|run| run.inconclusive = vec![doubt.clone()]);
        StoredBaseline::of(&measured(runs, &["p99 <= stored"]), NOON).values[""].get("orders.p99").copied()
    };
    assert_eq!(value(&[30, 10, 20], 0), Some(0.02));
    assert_eq!(value(&[30, 10], 0), Some(0.02));
    assert_eq!(value(&[30, 10, 20], 1), Some(0.015));
    assert_eq!(value(&[30], 1), None);
}

#[test]
fn a_lower_bound_is_not_stored() {
    let open = with(|run| cut(run).unavailability_ns = Figure::AtLeast(1300 * MS));
    let stored = StoredBaseline::of(&measured(vec![open], &["unavailability >= 1s", "p99 < 1s"]), NOON);
    assert_eq!(stored.values[""].keys().collect::<Vec<_>>(), ["orders.p99"]);
}

#[test]
fn only_what_held_but_for_what_is_not_stored_may_be_stored() {
    let may = |run: MeasuredRun, expect: &[&str]| judge(&measured(vec![run], expect), None).may_be_stored();
    assert!(may(run(), &["p99 < 1s"]));
    assert!(may(run(), &["p99 < 1s", "p99 <= stored"]));
    assert!(!may(run(), &["p99 < 1ms", "p99 <= stored"]));
    assert!(!may(
        with(|run| cut(run).unavailability_ns = Figure::AtLeast(MS)),
        &["unavailability < 1s", "p99 <= stored"]
    ));
    assert!(!may(doubtful(DoubtRule::FaultWithoutProof), &["p99 <= stored"]));
    let regression = judge(&measured(vec![run()], &["p99 <= stored"]), Some(&stored(&[("orders.p99", 0.008)])));
    assert!(!regression.may_be_stored());
}

#[test]
fn what_is_no_stored_baseline_is_told_apart_from_another_version_of_one() {
    for damaged in ["", "{", "[]", r#"{"schema":1}"#, r#"{"schema":1,"values":{"":{"orders.p99":"10ms"}}}"#] {
        assert!(matches!(StoredBaseline::from_json(damaged.as_bytes()), Err(StoredError::Format(_))), "{damaged}");
    }
    let error = StoredBaseline::from_json(br#"{"schema":2,"anything":true}"#).unwrap_err();
    assert_eq!(error.to_string(), "it has schema 2, this brownout reads schema 1");
}
