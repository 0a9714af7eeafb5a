//! Rules for an expectation whose limit is another variant's figure.

use super::*;

/// One run each of `retry=none` and `retry=fixed`, with these p99 in milliseconds.
fn two(none: u64, fixed: u64) -> Vec<MeasuredRun> {
    vec![repeated("none", 1, none), repeated("fixed", 1, fixed)]
}

fn verdict_on(runs: Vec<MeasuredRun>, repetitions: u32, expect: &str) -> Verdict {
    let plan = plan(&["none", "fixed"], repetitions, &[expect]);
    judge(&Measured { plan, runs, missing: Vec::new() }, None)
}

/// The line on `retry=fixed`, which is compared with `retry=none`.
fn compared(runs: Vec<MeasuredRun>, repetitions: u32, expect: &str) -> Judged {
    let mut verdict = verdict_on(runs, repetitions, expect);
    assert_eq!(verdict.lines.len(), 1, "the variant that is compared with is not judged itself");
    verdict.lines.remove(0)
}

/// Ten seconds at 100 operations a second whose latencies lie between these, in milliseconds, some twice as high.
fn noisy(mut run: MeasuredRun, from: u64, to: u64) -> MeasuredRun {
    let latency = |i: u64| (from * MS + i * 7919 % ((to - from) * MS)) * (1 + u64::from((i / 13).is_multiple_of(10)));
    let mut all: Vec<u64> = (0..1000).map(latency).collect();
    let class = &mut run.workloads["orders"].classes["all"];
    let slices = Slices::new(&[10 * SECOND], (0..1000).map(|i| (i * 10 * MS, latency(i), true)));
    class.slices.insert("impact".to_owned(), slices.into());
    all.sort_unstable();
    class.windows["impact"].latency.p50_ns = all[499] / 10_000 * 10_000;
    run
}

#[test]
fn one_run_of_each_are_two_numbers_where_nothing_can_be_drawn() {
    let line = compared(two(10, 100), 1, "p99 > retry=none + 50ms where retry=fixed");
    assert_eq!((line.outcome, line.observed.as_str(), line.limit.as_str()), (Held, "100 ms", "> 60.0 ms"));
    assert_eq!(line.because, "90.0 ms more than retry=none; one run of each, no interval");
    let difference = line.difference.unwrap();
    assert!((difference.value - 0.09).abs() < 1e-12 && difference.interval == Interval::None);
    assert_eq!(compared(two(10, 100), 1, "p99 < 2 * retry=none").outcome, Failed);
    let twice = compared(two(10, 100), 1, "p99 >= 2 * retry=none");
    assert_eq!(twice.because, "80.0 ms more than 2 times retry=none; one run of each, no interval");
}

#[test]
fn it_holds_or_fails_where_all_of_the_interval_does_and_else_nobody_knows() {
    let runs = || vec![noisy(repeated("none", 1, 10), 10, 14), noisy(repeated("fixed", 1, 10), 20, 24)];
    for (expect, outcome) in [
        ("p50 > retry=none + 2ms", Held),
        ("p50 < retry=none + 40ms", Held),
        ("p50 < retry=none + 2ms", Failed),
        ("p50 > retry=none + 40ms", Failed),
        ("p50 == retry=none ± 40ms", Held),
        ("p50 == retry=none ± 2ms", Failed),
    ] {
        let line = compared(runs(), 1, expect);
        assert_eq!(line.outcome, outcome, "{expect}: {}", line.because);
    }
    let line = compared(runs(), 1, "p50 > retry=none");
    let (low, high) = line.difference.unwrap().bounds();
    let middle = format!("p50 > retry=none + {:.3}ms", (low + high) * 500.0);
    let verdict = verdict_on(runs(), 1, &middle);
    assert_eq!((verdict.lines[0].outcome, verdict.word), (Inconclusive, Word::Inconclusive), "{middle}");
    assert_eq!(verdict.doubts[0].1.rule, DoubtRule::DifferenceUnclear);
}

#[test]
fn repetitions_are_compared_all_with_all() {
    let runs = |none: [u64; 3], fixed: [u64; 3]| {
        let of = |variant, all: [u64; 3]| (1..).zip(all).map(move |(at, p99)| repeated(variant, at, p99));
        of("none", none).chain(of("fixed", fixed)).collect()
    };
    let line = compared(runs([10, 20, 30], [100, 110, 120]), 3, "p99 > retry=none + 50ms");
    assert_eq!((line.outcome, line.repetitions, line.observed.as_str()), (Held, (3, 3), "110 ms"));
    assert_eq!(line.because, "90.0 ms more than retry=none; each run against each: +70.0 ms to +110 ms");
    assert_eq!(line.interval, Some((0.1, 0.12)));
    // 100 − 60 is less than 50.
    let line = compared(runs([10, 20, 60], [100, 110, 120]), 3, "p99 > retry=none + 50ms");
    assert_eq!((line.outcome, line.repetitions), (Inconclusive, (0, 3)));
}

#[test]
fn a_doubt_about_either_variant_is_one_about_the_line() {
    let doubtful = |at: usize| {
        let mut runs = two(10, 100);
        runs[at].inconclusive.push(Doubt { rule: DoubtRule::LateGenerator, detail: "it was late".into() });
        runs
    };
    for at in [0, 1] {
        let line = compared(doubtful(at), 1, "p99 > retry=none");
        assert_eq!((line.outcome, line.because.as_str()), (Inconclusive, "it seems to hold, but it was late"));
        let line = compared(doubtful(at), 1, "p99 < retry=none");
        assert_eq!((line.outcome, line.because.as_str()), (Inconclusive, "it seems to have failed, but it was late"));
    }
}

#[test]
fn without_the_other_variant_nobody_knows() {
    let gone = verdict_on(vec![repeated("fixed", 1, 100)], 1, "p99 > retry=none");
    assert_eq!(gone.lines[0].because, "the run never started");
    let unplanned = compared(two(10, 100), 1, "p99 > retry=slow where retry=fixed");
    let because = "the plan has no variant retry=slow to compare with";
    assert_eq!((unplanned.outcome, unplanned.because.as_str()), (Inconclusive, because));
    assert_eq!(unplanned.limit, "> retry=slow");
}

#[test]
fn a_gap_that_is_open_in_one_of_them_may_be_any_longer() {
    let mut runs = two(10, 100);
    cut(&mut runs[1]).unavailability_ns = Figure::AtLeast(5 * SECOND);
    // 1.29 s in the other.
    assert_eq!(compared(runs.clone(), 1, "unavailability > retry=none + 3s").outcome, Held);
    assert_eq!(compared(runs.clone(), 1, "unavailability < retry=none + 3s").outcome, Failed);
    let verdict = verdict_on(runs, 1, "unavailability < retry=none + 9s");
    assert_eq!((verdict.lines[0].outcome, verdict.doubts[0].1.rule), (Inconclusive, DoubtRule::OpenGap));
}

#[test]
fn every_report_has_each_further_variant_against_the_first() {
    let measured = Measured { plan: plan(&["none", "fixed"], 1, &[]), runs: two(10, 100), missing: Vec::new() };
    let all = comparisons(&measured);
    let said: Vec<(&str, &str, &str, &str)> =
        all.iter().map(|one| (&*one.variant, &*one.against, &*one.of, &*one.phase)).collect();
    let of = |phase| ("retry=fixed", "retry=none", "orders", phase);
    assert_eq!(said, [of("baseline"), of("impact")]);
    assert!((all[1].p99.unwrap().value - 0.09).abs() < 1e-12);
    assert_eq!(all[0].p99.unwrap().value, 0.0);
}
