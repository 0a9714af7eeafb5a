//! Rules of the judge, each on a run made by hand.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::*;
use crate::clock::Moment;
use crate::event::{Layout, Mechanism, Outcome, StopReason};
use crate::experiment::metric::Metric;
use crate::measure::*;
use crate::plan::{Plan, Require};

mod compare;
mod doubts;
mod expected;
mod stored;
mod writes;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// A plan with these variants of the axis `retry` (none without a matrix) and so many repetitions each.
fn plan(variants: &[&str], repetitions: u32, expect: &[&str]) -> Plan {
    let ids: Vec<Option<&str>> =
        if variants.is_empty() { vec![None] } else { variants.iter().copied().map(Some).collect() };
    let mut runs = Vec::new();
    for id in ids {
        for repetition in 1..=repetitions {
            let variant = id.map_or("{}".to_owned(), |id| format!(r#"{{"retry":"{id}"}}"#));
            runs.push(format!(
                r#"{{"variant":{variant},"repetition":{repetition},"seed":7,"folder":"",
                "system":{{"nodes":{{"nodes":{{}},"links":{{}}}}}},"workloads":{{"orders":{{"to":"gateway",
                "client":{{"http":{{"pool_max_idle":64,"pool_idle_timeout":"90s"}}}},"arrival":{{"constant":"100/s"}},
                "operation":{{"echo":{{"size":"64 B"}}}},"attempt_timeout":"250ms","deadline":"3s",
                "retry":{{"schedule":"none","on":[],"unknown_writes":true,"retry_after":"max"}},"max_in_flight":100}}}},
                "phases":{{"warmup":"1s","baseline":"2s","recovery":"3s"}},"faults":{{}}}}"#
            ));
        }
    }
    let json = format!(r#"{{"schema":1,"name":"made-up","hypothesis":"","runs":[{}]}}"#, runs.join(","));
    let mut plan: Plan = serde_json::from_str(&json).unwrap();
    plan.expect = expect.iter().map(|line| (*line).to_owned()).collect();
    plan
}

/// 1,000 operations of 10 ms; the worst took 20 ms.
fn window() -> Window {
    let quantiles = |ms: u64| Quantiles {
        count: 1000,
        mean_ns: ms * MS,
        p50_ns: ms * MS,
        p90_ns: ms * MS,
        p95_ns: ms * MS,
        p99_ns: ms * MS,
        p999_ns: ms * MS,
        max_ns: 2 * ms * MS,
    };
    Window {
        length_ns: 10 * SECOND,
        operations: 1000,
        ok: 1000,
        failed: 0,
        indeterminate: 0,
        shed: 0,
        unfinished: 0,
        attempts: 1000,
        outcomes: BTreeMap::from([(Outcome::Ok, 1000)]),
        success_rate: Some(1.0),
        goodput: 100.0,
        amplification: Some(1.0),
        amplification_worst_second: Some(1.2),
        met_failure: 0,
        met_failure_ok: 0,
        tolerance: None,
        latency: quantiles(10),
        ok_latency: quantiles(10),
        attempt_latency: quantiles(9),
        lateness: Quantiles { p99_ns: MS / 10, ..quantiles(0) },
    }
}

/// The same with so many operations failed, as these attempts say.
fn failing(outcomes: &[(Outcome, u64)]) -> Window {
    let failed: u64 = outcomes.iter().map(|(_, count)| count).sum();
    let mut window = window();
    window.ok -= failed;
    window.failed = failed;
    window.success_rate = Some(window.ok as f64 / 1000.0);
    window.outcomes = outcomes.iter().copied().chain([(Outcome::Ok, window.ok)]).collect();
    window
}

/// A fault at 3 s, gone at 6 s, watched until 13 s; steady after 4 s.
fn outage(fault: &str) -> Outage {
    Outage {
        faults: vec![fault.to_owned()],
        t0: Moment(3 * SECOND),
        injection_skew_ns: 0,
        removed: Moment(6 * SECOND),
        until: Moment(13 * SECOND),
        milestones: Vec::new(),
        failover_latency_ns: Figure::Known(1310 * MS),
        last_error_ns: Figure::Known(1200 * MS),
        unavailability_ns: Figure::Known(1290 * MS),
        resolution_ns: 10 * MS,
        gap_threshold_ns: 100 * MS,
        stall_time_ns: Figure::Known(0),
        gaps: vec![Gap { start: Moment(3 * SECOND), end: Moment(4290 * MS), failing: true, open: false }],
        degraded_time_ns: SECOND,
        time_to_steady_ns: Figure::Known(4 * SECOND),
        recovery_surge: Figure::Known(1.4),
        metastable: Metastable::No,
        rpo_lost: None,
        rpo_age_ns: None,
        latency_debt_ns: 5 * SECOND,
    }
}

/// A run in which all is well and one fault, `cut`, struck.
fn run() -> MeasuredRun {
    let phases = ["baseline", "fault", "fault.cut", "recovery", "recovery.cut", "impact", "overall"];
    let class = ClassFigures {
        windows: phases.iter().map(|phase| ((*phase).to_owned(), window())).collect(),
        outages: IndexMap::from([("cut".to_owned(), outage("cut"))]),
        slices: IndexMap::new(),
    };
    let availability = Availability { request_based: Some(1.0), time_based: Some(1.0), slice_ns: SECOND, budget: None };
    let orders = WorkloadFigures {
        classes: IndexMap::from([("all".to_owned(), class.clone()), ("write".to_owned(), class)]),
        closed_loop: false,
        missing: None,
        wire: None,
        consistency: Some(Consistency {
            acknowledged: 800,
            reads_checked: 200,
            keys_seen: 80,
            ..Consistency::default()
        }),
        availability,
        series: Series::default(),
        generator: GeneratorHealth::default(),
        samples: Vec::new(),
    };
    MeasuredRun {
        variant: String::new(),
        repetition: 1,
        folder: String::new(),
        seed: 7,
        started_wall_ns: 0,
        mechanism: Mechanism::Stall,
        complete: true,
        stopped: None,
        load_end: Moment(13 * SECOND),
        phases: IndexMap::new(),
        faults: IndexMap::new(),
        workloads: IndexMap::from([("orders".to_owned(), orders)]),
        links: IndexMap::new(),
        topology: Layout::default(),
        nodes: IndexMap::new(),
        service: None,
        milestones: Vec::new(),
        checks: Vec::new(),
        ended: Vec::new(),
        notes: Vec::new(),
        inconclusive: Vec::new(),
    }
}

fn with(edit: impl FnOnce(&mut MeasuredRun)) -> MeasuredRun {
    let mut run = run();
    edit(&mut run);
    run
}

fn set(run: &mut MeasuredRun, phase: &str, window: Window) {
    run.workloads["orders"].classes["all"].windows.insert(phase.to_owned(), window);
}

fn cut(run: &mut MeasuredRun) -> &mut Outage {
    &mut run.workloads["orders"].classes["all"].outages["cut"]
}

fn consistency(run: &mut MeasuredRun) -> &mut Consistency {
    run.workloads["orders"].consistency.as_mut().unwrap()
}

/// The verdict on one run.
fn judged(run: MeasuredRun, expect: &[&str]) -> Verdict {
    judge(&Measured { plan: plan(&[], 1, expect), runs: vec![run], missing: Vec::new() }, None)
}

/// The only line of the verdict on one run.
fn line(run: MeasuredRun, expect: &str) -> Judged {
    let mut verdict = judged(run, &[expect]);
    assert_eq!(verdict.lines.len(), 1, "{expect}");
    verdict.lines.remove(0)
}

/// Outcome, observed, limit and because of that line.
fn said(run: MeasuredRun, expect: &str) -> (Judgement, String, String, String) {
    let line = line(run, expect);
    (line.outcome, line.observed, line.limit, line.because)
}

fn is(outcome: Judgement, observed: &str, limit: &str, because: &str) -> (Judgement, String, String, String) {
    (outcome, observed.into(), limit.into(), because.into())
}

fn doubtful(rule: DoubtRule) -> MeasuredRun {
    with(|run| run.inconclusive.push(Doubt { rule, detail: "something is odd".into() }))
}

use Judgement::{Failed, FailedAsExpected, Held, Inconclusive};

#[test]
fn each_comparison_is_what_its_sign_says() {
    // p99 is 10 ms.
    for (expect, outcome) in [
        ("p99 <= 10ms", Held),
        ("p99 < 10ms", Failed),
        ("p99 >= 10ms", Held),
        ("p99 > 10ms", Failed),
        ("p99 == 10ms", Held),
        ("p99 != 10ms", Failed),
        ("p99 < 11ms", Held),
        ("p99 > 9ms", Held),
        ("p99 == 11ms", Failed),
        ("p99 != 11ms", Held),
    ] {
        assert_eq!(line(run(), expect).outcome, outcome, "{expect}");
    }
}

#[test]
fn a_line_shows_subject_observed_limit_margin_and_why() {
    let run = with(|run| set(run, "impact", failing(&[(Outcome::Timeout, 149), (Outcome::Reset, 20)])));
    let line = line(run, "orders.success_rate < 99%");
    assert_eq!(line.subject, "orders.success_rate");
    assert_eq!((line.observed.as_str(), line.limit.as_str()), ("83.1 %", "< 99 %"));
    assert_eq!((line.observed_value, line.limit_value), (Some(0.831), Some(0.99)));
    assert_eq!(line.because, "169 operations failed: 149 timeout, 20 reset");
    // |0.831 − 0.99| / 0.99
    assert!((line.margin.unwrap() - 0.1606).abs() < 1e-4);
    assert_eq!((line.outcome, line.repetitions), (Held, (1, 1)));
}

#[test]
fn a_miss_smaller_than_what_is_shown_is_shown_with_more_digits() {
    let run = with(|run| {
        let mut window = window();
        window.latency.p99_ns = 250_300_000;
        set(run, "impact", window);
    });
    assert_eq!(said(run, "p99 <= 250ms"), is(Failed, "250.3 ms", "<= 250 ms", ""));
}

#[test]
fn retries_are_counted_apart_from_operations() {
    let run = with(|run| {
        let mut window = failing(&[(Outcome::Timeout, 2)]);
        window.outcomes.insert(Outcome::Timeout, 1472);
        window.attempts = 2470;
        window.amplification = Some(2.47);
        set(run, "impact", window);
    });
    let because = line(run.clone(), "success_rate >= 99%").because;
    assert_eq!(because, "2 operations failed; of all attempts 1,472 timeout");
    assert_eq!(
        said(run, "amplification <= 1.3"),
        is(Failed, "×2.47", "<= ×1.30", "2,470 attempts of 1,000 operations")
    );
}

#[test]
fn a_limit_can_follow_the_baseline() {
    // The baseline's p99 is 10 ms, that of the recovery 11 ms, which in floating point is not 1.1 × 10 ms.
    let run = || {
        with(|run| {
            let mut window = window();
            window.latency.p99_ns = 11 * MS;
            set(run, "recovery", window);
        })
    };
    for (expect, outcome, limit) in [
        ("p99 during recovery <= 1.1 * baseline", Held, "<= 11.0 ms"),
        ("p99 during recovery >= 1.1 * baseline", Held, ">= 11.0 ms"),
        ("p99 during recovery <= baseline", Failed, "<= 10.0 ms"),
        ("p99 during recovery <= baseline + 1ms", Held, "<= 11.0 ms"),
        ("p99 during recovery <= 2 * baseline - 10ms", Failed, "<= 10.0 ms"),
        ("p99 during recovery <= baseline ± 1ms", Held, "<= 10.0 ms ± 1.00 ms"),
        ("p99 during recovery == baseline ± 1ms", Held, "== 10.0 ms ± 1.00 ms"),
        ("p99 during recovery == baseline ± 500us", Failed, "== 10.0 ms ± 500 µs"),
        ("p99 during recovery != baseline ± 500us", Held, "!= 10.0 ms ± 500 µs"),
        ("p99 during recovery >= 2 * baseline ± 9ms", Held, ">= 20.0 ms ± 9.00 ms"),
    ] {
        let line = line(run(), expect);
        assert_eq!((line.outcome, line.limit.as_str()), (outcome, limit), "{expect}");
    }
}

#[test]
fn an_open_gap_decides_only_what_it_has_passed() {
    // The gap was 1.3 s long when the run ended.
    for (expect, outcome) in [
        ("unavailability <= 2s", Inconclusive),
        ("unavailability < 2s", Inconclusive),
        ("unavailability <= 1s", Failed),
        ("unavailability < 1300ms", Failed),
        ("unavailability >= 1s", Held),
        ("unavailability > 1s", Held),
        ("unavailability >= 2s", Inconclusive),
        ("unavailability == 2s", Inconclusive),
        ("unavailability == 1s", Failed),
        ("unavailability != 1s", Held),
    ] {
        let run = with(|run| cut(run).unavailability_ns = Figure::AtLeast(1300 * MS));
        assert_eq!(line(run, expect).outcome, outcome, "{expect}");
    }
    let run = with(|run| cut(run).unavailability_ns = Figure::AtLeast(1300 * MS));
    let verdict = judged(run, &["unavailability <= 2s"]);
    assert_eq!(verdict.lines[0].observed, "≥ 1.30 s");
    assert_eq!(verdict.lines[0].because, "it had not ended when the run did; one gap, ± 10.0 ms");
    assert_eq!((verdict.word, verdict.doubts[0].1.rule), (Word::Inconclusive, DoubtRule::OpenGap));
}

#[test]
fn what_never_finished_makes_a_quantile_a_lower_bound() {
    // Of 1,000 operations 20 never finished: p95 is known, p99 is not.
    let run = || {
        with(|run| {
            let mut window = window();
            window.unfinished = 20;
            set(run, "impact", window);
        })
    };
    assert_eq!(line(run(), "p95 <= 1s").outcome, Held);
    let line = line(run(), "p99 <= 1s");
    assert_eq!((line.outcome, line.observed.as_str()), (Inconclusive, "≥ 10.0 ms"));
    assert_eq!(line.because, "it had not ended when the run did; 20 operations never finished");
}

#[test]
fn what_does_not_apply_is_inconclusive() {
    let why = "fewer than 99 % of the baseline's successes came from what was hit";
    let run_ = with(|run| cut(run).failover_latency_ns = Figure::NotApplicable(why.into()));
    assert_eq!(said(run_, "failover_latency < 3s"), is(Inconclusive, "n/a", "< 3.00 s", &format!("cut: {why}")));
    let verdict =
        judged(run(), &["tolerance >= 99%", "unavailability during fault.slow < 1s", "service_availability > 99%"]);
    let because: Vec<&str> = verdict.lines.iter().map(|line| line.because.as_str()).collect();
    assert_eq!(
        because,
        ["no operation met a failed attempt in impact", "the fault slow did not strike", "no node has a probe"]
    );
    assert_eq!(verdict.word, Word::Inconclusive);
    assert!(verdict.doubts.iter().all(|(_, doubt)| doubt.rule == DoubtRule::NotApplicable));
}

#[test]
fn a_phase_without_a_sample_is_inconclusive() {
    let run = with(|run| {
        let mut window = window();
        window.operations = 0;
        set(run, "recovery", window);
    });
    let verdict = judged(
        run,
        &["failed during recovery == 0", "p99 during recovery.slow < 1s", "operations during recovery == 0"],
    );
    let outcomes: Vec<_> = verdict.lines.iter().map(|line| (line.outcome, line.because.as_str())).collect();
    assert_eq!(
        outcomes,
        [
            (Inconclusive, "no operation was due in recovery"),
            (Inconclusive, "there was no phase recovery.slow"),
            (Held, "")
        ]
    );
    assert_eq!(verdict.doubts[0].1.rule, DoubtRule::PhaseWithoutSample);
}

#[test]
fn several_faults_count_together_and_each_alone() {
    let two = || {
        with(|run| {
            let mut slow = outage("slow");
            slow.unavailability_ns = Figure::Known(500 * MS);
            slow.failover_latency_ns = Figure::Known(2 * SECOND);
            slow.metastable = Metastable::NotObserved;
            slow.gaps.clear();
            run.workloads["orders"].classes["all"].outages.insert("slow+late".into(), slow);
        })
    };
    // 1.29 s + 0.5 s, and the longer of 1.31 s and 2 s.
    assert_eq!(line(two(), "unavailability < 5s").observed, "1.79 s");
    let failover = line(two(), "failover_latency < 5s");
    assert_eq!((failover.observed.as_str(), failover.because.as_str()), ("2.00 s", "the longest is that of slow+late"));
    assert_eq!(line(two(), "failover_latency during fault.cut < 5s").observed, "1.31 s");
    assert_eq!(line(two(), "failover_latency during fault.slow < 5s").observed, "2.00 s");
    assert_eq!(line(two(), "metastable == no").outcome, Inconclusive);
    assert_eq!(line(two(), "metastable during fault.cut == no").observed, "no");
}

/// A run of this variant and repetition, with this p99 in milliseconds.
fn repeated(variant: &str, repetition: u32, p99: u64) -> MeasuredRun {
    with(|run| {
        run.variant = if variant.is_empty() { String::new() } else { format!("retry={variant}") };
        run.repetition = repetition;
        let mut window = window();
        window.latency.p99_ns = p99 * MS;
        set(run, "impact", window);
    })
}

#[test]
fn each_variant_is_judged_unless_a_line_speaks_of_one() {
    let expect = ["p99 < 50ms", "p99 > 50ms where retry=none"];
    let runs = vec![repeated("none", 1, 100), repeated("fixed", 1, 10)];
    let verdict = judge(&Measured { plan: plan(&["none", "fixed"], 1, &expect), runs, missing: Vec::new() }, None);
    let lines: Vec<_> = verdict.lines.iter().map(|line| (line.variant.as_str(), line.outcome)).collect();
    assert_eq!(lines, [("retry=none", Failed), ("retry=fixed", Held), ("retry=none", Held)]);
    assert_eq!(verdict.word, Word::Failed);
}

#[test]
fn repetitions_fold_into_one_line() {
    let repetitions = |p99: [u64; 3], require| {
        let runs = (1..).zip(p99).map(|(repetition, p99)| repeated("", repetition, p99)).collect();
        let plan = Plan { require, ..plan(&[], 3, &["p99 < 50ms"]) };
        let mut verdict = judge(&Measured { plan, runs, missing: Vec::new() }, None);
        assert_eq!(verdict.lines.len(), 1);
        verdict.lines.remove(0)
    };
    let line = repetitions([10, 20, 30], Require::All);
    // Shown is the repetition that came nearest to the limit.
    assert_eq!((line.outcome, line.repetitions, line.observed.as_str()), (Held, (3, 3), "30.0 ms"));
    assert_eq!(line.interval, Some((0.01, 0.03)));
    let line = repetitions([10, 20, 60], Require::All);
    assert_eq!((line.outcome, line.repetitions, line.observed.as_str()), (Failed, (2, 3), "60.0 ms"));
    assert_eq!(repetitions([10, 20, 60], Require::AtLeast(2)).outcome, Held);
    assert_eq!(repetitions([10, 70, 60], Require::AtLeast(2)).outcome, Failed);
}

#[test]
fn a_repetition_that_nobody_knows_counts_for_neither_side() {
    let verdict = |require, p99: [u64; 2]| {
        let runs = vec![repeated("", 1, p99[0]), repeated("", 2, p99[1])];
        judge(&Measured { plan: Plan { require, ..plan(&[], 3, &["p99 < 50ms"]) }, runs, missing: Vec::new() }, None)
    };
    let unknown = verdict(Require::All, [10, 10]);
    assert_eq!((unknown.lines[0].outcome, unknown.word), (Inconclusive, Word::Inconclusive));
    assert_eq!(unknown.doubts[0].1.detail, "repetition 3 never started");
    assert_eq!(verdict(Require::AtLeast(2), [10, 10]).word, Word::Held);
    assert_eq!(verdict(Require::AtLeast(2), [10, 60]).word, Word::Inconclusive);
    assert_eq!(verdict(Require::AtLeast(2), [60, 60]).word, Word::Failed);
    assert_eq!(verdict(Require::All, [10, 60]).word, Word::Failed);
}

#[test]
fn a_final_check_counts_like_an_expectation() {
    let mut plan = plan(&[], 1, &[]);
    let check = r#"[{"when":["before","final"],"action":{"exec":["./totals.sh"]},"timeout":"10s"}]"#;
    plan.runs[0].checks = serde_json::from_str(check).unwrap();
    let of = |checks: Vec<CheckResult>| {
        let runs = vec![with(|run| run.checks = checks)];
        judge(&Measured { plan: plan.clone(), runs, missing: Vec::new() }, None)
    };
    let result = |when: &str, ok| CheckResult {
        at: Moment(0),
        index: 0,
        when: when.into(),
        ok,
        output: "12 orders are missing\nsee totals".into(),
    };
    let failed = of(vec![result("before", true), result("final", false)]);
    assert_eq!((failed.word, failed.lines[0].because.as_str()), (Word::Failed, "12 orders are missing"));
    assert_eq!(failed.lines[0].expectation, "final check: exec ./totals.sh");
    assert_eq!(of(vec![result("final", true)]).word, Word::Held);
    assert_eq!(of(vec![result("before", true)]).word, Word::Inconclusive);
}

#[test]
fn the_baseline_is_judged_live_on_its_own_lines() {
    let expect = [
        "success_rate >= 99.9%",
        "success_rate during baseline >= 99%",
        "p99 during baseline < 50ms where retry=none",
        "p99 during baseline < 1ms where retry=fixed",
        "tolerance during baseline == 100%",
    ];
    let plan = plan(&["none", "fixed"], 1, &expect);
    let mut run = run();
    assert_eq!(
        baseline_failures(&plan, &plan.runs[0], &run),
        [""; 0],
        "its tolerance cannot be told: the judge says so"
    );
    for class in run.workloads["orders"].classes.values_mut() {
        class.windows["baseline"] = failing(&[(Outcome::Timeout, 50)]);
    }
    let slow = "`p99 during baseline < 1ms where retry=fixed`: orders had 10.0 ms";
    let failing = "`success_rate during baseline >= 99%`: orders had 95 %";
    assert_eq!(baseline_failures(&plan, &plan.runs[0], &run), [failing]);
    assert_eq!(baseline_failures(&plan, &plan.runs[1], &run), [failing, slow]);
}

#[test]
fn a_baseline_without_a_success_has_failed_whatever_is_expected() {
    let plan = plan(&[], 1, &[]);
    let mut run = run();
    for class in run.workloads["orders"].classes.values_mut() {
        class.windows["baseline"] = failing(&[(Outcome::Refused, 1000)]);
    }
    assert_eq!(baseline_failures(&plan, &plan.runs[0], &run), ["none of the 1000 operations of orders succeeded"]);
}

#[test]
fn no_metric_of_a_whole_run_is_forgotten() {
    // Each metric has a figure, or a reason of its own, but never the reason of a metric in the wrong place.
    for metric in Metric::ALL {
        let limit = match metric.unit() {
            crate::experiment::metric::Unit::Share => "99%",
            crate::experiment::metric::Unit::Time => "1s",
            crate::experiment::metric::Unit::Count => "1",
            crate::experiment::metric::Unit::Rate => "1/s",
            crate::experiment::metric::Unit::Ratio => "1.5",
            crate::experiment::metric::Unit::YesNo => "no",
        };
        let line = line(run(), &format!("{metric} == {limit}"));
        assert!(!line.because.contains("is no figure of"), "{metric}: {}", line.because);
    }
}
