//! Whole runs, from their folder to their figures.

use super::testing::{CONSTANT, Events, Stream, ms, plan, workload, write_run};
use super::*;
use crate::clock::Moment;
use crate::event::Outcome::{Ok as Done, Refused, Shed, Timeout, Unfinished};
use crate::event::{ATTEMPTS_FILE, Applied, Attempt, EVENTS_FILE, Milestone, PLAN_FILE, StopReason, What};

/// Measures a made-up run with one workload `w`.
fn measure(events: &Events, stream: &Stream) -> MeasuredRun {
    measure_arrival(CONSTANT, events, stream)
}

fn measure_arrival(arrival: &str, events: &Events, stream: &Stream) -> MeasuredRun {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &plan(&workload(arrival)), events, stream);
    let mut measured = Measured::from_run(dir.path()).unwrap();
    assert!(measured.missing.is_empty(), "{:?}", measured.missing);
    measured.runs.remove(0)
}

fn window<'a>(run: &'a MeasuredRun, phase: &str) -> &'a Window {
    &run.workloads["w"].classes["all"].windows[phase]
}

fn outage<'a>(run: &'a MeasuredRun, group: &str) -> &'a Outage {
    &run.workloads["w"].classes["all"].outages[group]
}

fn known(milliseconds: u64) -> Figure<u64> {
    Figure::Known(ms(milliseconds).0)
}

/// A primary is cut off at 4,000 ms for 3 s; 100 operations a second, the load ends at 16,000 ms.
///
/// `a#1` serves in 5 ms until 4,000 ms. What is due then times out after 250 ms, is retried 50 ms later and times out
/// again, …; from 5,500 ms on attempts are answered by `b#2` in 5 ms.
fn failover() -> (Events, Stream) {
    let milestone = |milestone| What::Milestone { milestone, node: "b".into(), source: "lab".into() };
    let events = Events::phases(1000, 3000, 16_000)
        .injected_on("cut", 4000, &["a#1"])
        .event(4620, milestone(Milestone::Detected))
        .event(5400, milestone(Milestone::Promoted))
        .healed("cut", 7000)
        .ended(16_100);
    let mut stream = Stream::new().place("a#1").ok_every(10, 0, 4000, 5).place("b#2");
    for due in (4000..16_000).step_by(10) {
        let mut attempts = Vec::new();
        let mut start = due;
        while start < 5500 {
            attempts.push((start, start + 250, Timeout));
            start += 300;
        }
        attempts.push((start, start + 5, Done));
        stream = stream.op(due, &attempts);
    }
    (events, stream)
}

#[test]
fn a_failover_from_end_to_end() {
    let (events, stream) = failover();
    let run = measure(&events, &stream);
    assert!(run.complete && run.inconclusive.is_empty(), "{:?}", run.inconclusive);
    let outage = outage(&run, "cut");
    // The last success of a ends at 3,995 ms, the first of b at 5,505 ms (due at 4,000, 4,300 … + 300 × n = 5,500).
    assert_eq!(outage.unavailability_ns, known(1510));
    assert_eq!(
        outage.gaps,
        [Gap { start: ms(3995), end: ms(5505), failing: true, open: false }],
        "G = max(100 ms, 10 × 10 ms, 2 × 10 ms)"
    );
    assert_eq!((outage.gap_threshold_ns, outage.resolution_ns), (100_000_000, 10_000_000));
    assert_eq!(outage.stall_time_ns, known(0));
    assert_eq!(outage.failover_latency_ns, known(1505));
    assert_eq!(outage.clone().alone().failover_latency_ns, known(1505), "somebody did serve");
    let nobody = Outage { failover_latency_ns: Figure::AtLeast(1), ..outage.clone() };
    assert!(matches!(nobody.alone().failover_latency_ns, Figure::NotApplicable(_)), "there is nobody to fail over to");
    // The last failed attempt: 5,490 ms. Steady begins at the removal: nothing fails after it.
    assert_eq!(outage.last_error_ns, known(1490));
    assert_eq!(outage.time_to_steady_ns, known(3000));
    assert_eq!(outage.recovery_surge, Figure::Known(1.0));
    // Watched for 9 s after a fault of 3 s.
    assert_eq!(outage.metastable, Metastable::No);
    let at = |milestone: Milestone| outage.milestones[milestone as usize].at;
    let milestones: Vec<Option<Moment>> = Milestone::ALL.map(at).into();
    let expected = [
        Some(ms(4000)),
        Some(ms(4250)),
        Some(ms(4620)),
        None,
        Some(ms(5400)),
        None,
        None,
        Some(ms(5505)),
        Some(ms(7000)),
    ];
    assert_eq!(milestones, expected);
    let sources: Vec<&str> = outage.milestones.iter().map(|milestone| milestone.source.as_str()).collect();
    assert_eq!(sources, ["run", "client", "lab", "", "lab", "", "", "client", "client"]);

    // Every operation is ok in the end; those due from 4,000 to 5,490 ms, 150, met a failure.
    let impact = window(&run, "impact");
    assert_eq!((impact.operations, impact.ok, impact.met_failure, impact.tolerance), (1200, 1200, 150, Some(1.0)));
    // Retries: due 4,000 + 10 i needs ⌈(1,500 − 10 i) / 300⌉ attempts that fail: 30 operations each of 5, 4, 3, 2, 1.
    assert_eq!(impact.attempts, 1200 + 30 * (5 + 4 + 3 + 2 + 1));
    assert_eq!(impact.outcomes, [(Done, 1200), (Timeout, 450)].into());
    assert_eq!(impact.amplification, Some(1650.0 / 1200.0));
    // Latency debt: attempts start on a grid of 300 ms from the due time, so each of 30 operations waits
    // 1,500, 1,200, 900, 600 or 300 ms more than the median.
    assert_eq!(outage.latency_debt_ns, ms(30 * (1500 + 1200 + 900 + 600 + 300)).0);
    assert_eq!(run.workloads["w"].availability.request_based, Some(1.0));
    // 12 slices; those from 4,000 and 5,000 ms: the first completes nothing, in the second 49 do.
    assert_eq!(run.workloads["w"].availability.time_based, Some(11.0 / 12.0));
    assert_eq!(run.workloads["w"].samples.len(), 150);
}

#[test]
fn the_stall_of_two_seconds_has_the_latency_that_arithmetic_says() {
    // 1,000 operations a second for 10 s; the system answers nothing from 4,000 to 6,000 ms, then all at once. What is
    // due in the stall waits for its end: 2,000 of 10,000 operations wait evenly from 0 to 2 s. So p90 is the wait
    // that 1,000 operations exceed, 1.0 s, and p99 the one that 100 exceed, 1.9 s.
    let stream = Stream::new().every(1, 0, 10_000, |due| {
        let served = if (4000..6000).contains(&due) { 6000 } else { due };
        (due, served + 1, Done)
    });
    let run = measure(&Events::phases(0, 1000, 10_000).ended(10_100), &stream);
    let overall = window(&run, "overall");
    assert_eq!(overall.operations, 10_000);
    for (name, ns, truth_s) in [("p90", overall.latency.p90_ns, 1.0), ("p99", overall.latency.p99_ns, 1.9)] {
        let error = (ns as f64 / 1e9 / truth_s - 1.0).abs();
        assert!(error < 0.02, "{name} is {ns} ns, {truth_s} s expected");
    }
}

#[test]
fn a_gap_open_at_the_end_prints_at_least() {
    let events = Events::phases(1000, 3000, 9000).injected("kill", 4000).ended(9500);
    let stream = Stream::new().ok_every(10, 0, 4000, 5).every(10, 4000, 9000, |due| (due, due + 1, Refused));
    let run = measure(&events, &stream);
    let outage = outage(&run, "kill");
    // From 3,995 ms to the end of load.
    assert_eq!(outage.unavailability_ns, Figure::AtLeast(ms(5005).0));
    assert_eq!(outage.last_error_ns, Figure::AtLeast(ms(4990).0));
    assert!(matches!(outage.time_to_steady_ns, Figure::NotApplicable(_)), "never removed");
    assert_eq!(outage.metastable, Metastable::NotObserved);
    // All of it lies in the failing gap.
    assert_eq!(outage.degraded_time_ns, 0);
}

#[test]
fn overlapping_faults_have_their_figures_as_one() {
    let events = Events::phases(1000, 3000, 20_000).fault("a", 4000, 6000).fault("b", 5000, 8000).ended(20_100);
    let fails = |due: u64| (4000..8500).contains(&due);
    let stream = Stream::new().every(10, 0, 20_000, |due| (due, due + 5, if fails(due) { Refused } else { Done }));
    let run = measure(&events, &stream);
    let outages = &run.workloads["w"].classes["all"].outages;
    assert_eq!(outages.keys().collect::<Vec<_>>(), ["a+b"]);
    let outage = outage(&run, "a+b");
    assert_eq!((outage.t0, outage.removed, outage.until), (ms(4000), ms(8000), ms(20_000)));
    assert_eq!(outage.unavailability_ns, known(8505 - 3995));
    assert_eq!(run.faults["b"].group, "a+b");
    assert_eq!(window(&run, "fault.a+b").operations, 400);
    assert_eq!(window(&run, "fault.a").operations, 200);
    assert_eq!(window(&run, "fault").failed, 400);
}

#[test]
fn half_of_the_operations_failing_is_degraded_and_not_down() {
    let events = Events::phases(1000, 3000, 20_000).fault("flaky", 4000, 7000).ended(20_100);
    let fails = |due: u64| (4000..7000).contains(&due) && due.is_multiple_of(20);
    let stream = Stream::new().every(10, 0, 20_000, |due| (due, due + 5, if fails(due) { Refused } else { Done }));
    let run = measure(&events, &stream);
    let outage = outage(&run, "flaky");
    assert_eq!(outage.unavailability_ns, known(0));
    assert_eq!(outage.degraded_time_ns, ms(3000).0);
    // The last failure: 6,980 ms.
    assert_eq!(outage.last_error_ns, known(2980));
    assert_eq!(window(&run, "fault.flaky").success_rate, Some(0.5));
    assert_eq!(window(&run, "fault.flaky").goodput, 50.0);
}

#[test]
fn a_slow_system_that_never_fails_shows_in_latency_alone() {
    let events = Events::phases(1000, 3000, 20_000).fault("slow", 4000, 7000).ended(20_100);
    let latency = |due: u64| if (4000..7000).contains(&due) { 85 } else { 5 };
    let run = measure(&events, &Stream::new().every(10, 0, 20_000, |due| (due, due + latency(due), Done)));
    let outage = outage(&run, "slow");
    assert_eq!((&outage.unavailability_ns, &outage.stall_time_ns), (&known(0), &known(0)));
    assert_eq!((&outage.last_error_ns, outage.degraded_time_ns), (&known(0), 0));
    assert_eq!(outage.latency_debt_ns, ms(300 * 80).0);
    assert_eq!(outage.time_to_steady_ns, known(3000));
    assert_eq!(outage.milestones[Milestone::FirstFailure as usize].at, None);
}

#[test]
fn a_system_that_stays_bad_for_three_times_the_fault_is_metastable() {
    let run = |load_end| {
        let events = Events::phases(1000, 3000, load_end).fault("cut", 4000, 6000).ended(load_end);
        let fails = |due: u64| due >= 4000;
        let stream =
            Stream::new().every(10, 0, load_end, |due| (due, due + 5, if fails(due) { Refused } else { Done }));
        let run = measure(&events, &stream);
        (outage(&run, "cut").metastable, outage(&run, "cut").time_to_steady_ns.clone())
    };
    assert_eq!(run(12_000), (Metastable::Yes, Figure::AtLeast(ms(8000).0)));
    assert_eq!(run(11_900), (Metastable::NotObserved, Figure::AtLeast(ms(7900).0)));
}

#[test]
fn retries_after_the_removal_are_the_surge() {
    // One attempt each until 6,000 ms, three each in the second from 6,000 ms on, then one each again.
    let mut stream = Stream::new().ok_every(10, 0, 6000, 5);
    for due in (6000..7000).step_by(10) {
        stream = stream.op(due, &[(due, due, Refused), (due, due, Refused), (due, due + 5, Done)]);
    }
    let stream = stream.ok_every(10, 7000, 16_000, 5);
    let run = measure(&Events::phases(1000, 3000, 16_000).fault("cut", 4000, 6000).ended(16_100), &stream);
    assert_eq!(outage(&run, "cut").recovery_surge, Figure::Known(3.0));
    assert_eq!(window(&run, "recovery").amplification_worst_second, Some(3.0));
    assert_eq!(window(&run, "recovery").amplification, Some(1.2));
}

#[test]
fn operations_are_ok_failed_or_indeterminate() {
    let write = |stream: Stream, applied| {
        stream.with(|attempt| (attempt.access, attempt.applied) = (Some(crate::event::Access::Write), applied))
    };
    let stream = Stream::new().ok_every(10, 0, 1000, 5).class("write");
    // A write that was refused, one that may have been applied, one of which a retry was ok, a shed one, and one that
    // was open at the end of the drain.
    let stream = write(stream.op(1100, &[(1100, 1101, Refused)]), Applied::No);
    let stream = write(stream.op(1200, &[(1200, 1450, Timeout)]), Applied::Unknown);
    let stream = write(stream.op(1300, &[(1300, 1550, Timeout), (1600, 1605, Done)]), Applied::Yes);
    let stream = write(stream.op(1400, &[(1400, 1400, Shed)]), Applied::No);
    let stream = write(stream.op(1500, &[(1500, 5000, Unfinished)]), Applied::Unknown);
    // A read whose effect is unknown has none.
    let stream = stream.class("read").op(1700, &[(1700, 1950, Timeout)]);
    let run = measure(&Events::phases(0, 1000, 2000).ended(5000), &stream);
    let classes = &run.workloads["w"].classes;
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["all", "read", "write"]);
    let window = &classes["write"].windows["overall"];
    assert_eq!((window.operations, window.ok, window.failed, window.indeterminate), (5, 1, 2, 2));
    assert_eq!((window.shed, window.unfinished), (1, 1));
    assert_eq!(window.attempts, 5, "one was shed, one needed two");
    assert_eq!(window.latency.count, 5);
    assert!((window.latency.max_ns as f64 / 3.5e9 - 1.0).abs() < 0.001, "censored where the drain ended");
    assert_eq!((window.met_failure, window.met_failure_ok), (5, 1));
    let read = &classes["read"].windows["overall"];
    assert_eq!((read.operations, read.ok, read.failed, read.indeterminate), (101, 100, 1, 0));
    assert_eq!(classes["all"].windows["overall"].operations, 106);
}

#[test]
fn an_operation_that_ends_ok_after_its_deadline_tolerated_nothing() {
    // The deadline is 3 s.
    let stream = Stream::new()
        .op(100, &[(100, 350, Timeout), (3095, 3100, Done)])
        .op(200, &[(200, 450, Timeout), (3195, 3201, Done)]);
    let run = measure(&Events::phases(0, 1000, 4000).ended(4000), &stream);
    let baseline = window(&run, "baseline");
    assert_eq!((baseline.ok, baseline.met_failure, baseline.tolerance), (2, 2, Some(0.5)));
}

#[test]
fn the_first_answer_of_two_hedged_attempts_counts() {
    let stream = Stream::new().op(100, &[(100, 400, Done), (150, 160, Done)]).with(|attempt| attempt.hedge = true);
    let mut stream = stream;
    // Written when they end: the hedge first, and the first attempt is the last one of the file.
    (stream.attempts[0].last, stream.attempts[1].last) = (true, false);
    let run = measure(&Events::phases(0, 1000, 1000).ended(1000), &stream);
    let baseline = window(&run, "baseline");
    assert_eq!((baseline.operations, baseline.attempts), (1, 2));
    assert!((baseline.latency.max_ns as f64 / 60e6 - 1.0).abs() < 0.001, "{:?}", baseline.latency);
}

#[test]
fn too_few_successes_in_the_baseline_and_there_are_no_gaps() {
    let events = Events::phases(0, 1900, 6000).fault("cut", 2000, 3000).ended(6000);
    let run = measure(&events, &Stream::new().ok_every(10, 0, 6000, 5));
    let why = "the baseline has 190 successes, and a gap takes 200";
    assert_eq!(outage(&run, "cut").unavailability_ns, Figure::NotApplicable(why.into()));
}

#[test]
fn closed_loops_are_marked_and_say_what_is_missing() {
    // 100 a second in the baseline, and 50 a second over 5 s of impact: 250 are missing.
    let stream = Stream::new().ok_every(10, 0, 4000, 5).ok_every(20, 4000, 9000, 5);
    let events = Events::phases(1000, 3000, 9000).fault("cut", 4000, 6000).ended(9000);
    let users = r#"{"users":{"count":4,"think":"0s"}}"#;
    let run = measure_arrival(users, &events, &stream);
    let figures = &run.workloads["w"];
    assert_eq!((figures.closed_loop, figures.missing), (true, Some(250)));
    // 20 × the mean gap, as for everything that comes by chance.
    assert_eq!(outage(&run, "cut").gap_threshold_ns, 200_000_000);
    let run = measure(&events, &stream);
    assert_eq!((run.workloads["w"].closed_loop, run.workloads["w"].missing), (false, None));
}

#[test]
fn reconnected_is_the_first_answer_on_a_connection_made_after_the_promotion() {
    let (events, stream) = failover();
    let reconnected = |stream: &Stream| {
        let run = measure(&events, stream);
        outage(&run, "cut").milestones[Milestone::Reconnected as usize].at
    };
    assert_eq!(reconnected(&stream), None, "the client tells nothing of connections");
    // The client tells that it connected: at 5,350 ms, before the promotion (5,400), and at 5,450 ms.
    let connected = |stream: Stream, due, at, conn| {
        stream.op(due, &[(due, due + 10, Done)]).with(|attempt| {
            attempt.connected = at;
            attempt.conn = conn;
        })
    };
    let told = connected(stream.clone(), 5600, Some(ms(5350)), None);
    let told = connected(told, 5700, Some(ms(5450)), None);
    assert_eq!(reconnected(&told), Some(ms(5710)));
    // It tells the number of the connection: 7 was in use before, 8 was not.
    let numbered = connected(stream, 3000, None, Some(7));
    let numbered = connected(numbered, 5600, None, Some(7));
    let numbered = connected(numbered, 5800, None, Some(8));
    assert_eq!(reconnected(&numbered), Some(ms(5810)));
}

#[test]
fn a_late_generator_makes_a_run_doubtful() {
    let events = Events::phases(1000, 3000, 9000).fault("cut", 4000, 6000).ended(9000);
    let late = |lateness| Stream::new().every(10, 0, 9000, |due| (due + lateness, due + lateness + 1, Done));
    let doubts = |stream| measure(&events, &stream).inconclusive;
    assert_eq!(doubts(late(5)), []);
    let doubts = doubts(late(6));
    assert_eq!(doubts.iter().map(|doubt| doubt.rule).collect::<Vec<_>>(), [DoubtRule::LateGenerator]);
    let expected = "w: operations started late, p99 6.00 ms in baseline, 6.00 ms in fault.cut, ";
    assert!(doubts[0].detail.starts_with(expected), "{doubts:?}");
}

#[test]
fn a_run_cut_off_by_a_kill_still_measures() {
    let (mut events, mut stream) = failover();
    // The harness died at 6,000 ms: no later event, no later attempt.
    events.list.retain(|event| event.at < ms(6000) && event.what != What::LoadEnded);
    events = events.event(6000, What::Clock { wall_ns: 6_000_000_001 });
    stream.attempts.retain(|attempt| attempt.end < ms(6000));
    let run = measure(&events, &stream);
    assert!(!run.complete);
    assert_eq!((run.load_end, run.faults["cut"].healed), (ms(6000), None));
    assert_eq!(run.inconclusive.iter().map(|doubt| doubt.rule).collect::<Vec<_>>(), [DoubtRule::IncompleteRun]);
    assert_eq!(outage(&run, "cut").unavailability_ns, known(1510));
    // Nothing tells of operations due just before the end; those that had a failed attempt are unfinished.
    assert_eq!(window(&run, "impact").unfinished, 0);
    stream.attempts.retain(|attempt| attempt.end < ms(5000));
    assert_eq!(window(&measure(&events, &stream), "impact").unfinished, 75);
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (events, stream) = failover();
    let plan = plan(&workload(CONSTANT));
    write_run(dir.path(), &plan, &events, &stream);
    let path = dir.path().join(ATTEMPTS_FILE);
    let whole = std::fs::read(&path).unwrap();

    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let measured = Measured::from_run(dir.path()).unwrap();
    assert_eq!(measured.missing.len(), 1);
    assert!(measured.missing[0].ends_with("could be read in part only: the file is cut off"), "{measured:?}");
    assert_eq!(measured.runs[0].inconclusive[0].rule, DoubtRule::IncompleteRun);
    assert!(measured.runs[0].workloads["w"].classes["all"].windows["baseline"].operations > 0);

    std::fs::remove_file(&path).unwrap();
    let measured = Measured::from_run(dir.path()).unwrap();
    assert_eq!(measured.missing, ["attempts.jsonl.zst is not there"]);
    assert_eq!(measured.runs[0].workloads["w"].classes["all"].windows["overall"].operations, 0);

    std::fs::remove_file(dir.path().join(EVENTS_FILE)).unwrap();
    let measured = Measured::from_run(dir.path()).unwrap();
    assert_eq!((measured.runs.len(), measured.missing.len()), (0, 1), "a run that never started is missing once");

    std::fs::write(dir.path().join(PLAN_FILE), "{").unwrap();
    assert!(matches!(Measured::from_run(dir.path()), Err(MeasureError::Plan { .. })));
    std::fs::remove_file(dir.path().join(PLAN_FILE)).unwrap();
    assert!(matches!(Measured::from_run(dir.path()), Err(MeasureError::Read { .. })));
}

#[test]
fn a_stop_at_the_baseline_is_a_doubt_and_other_stops_are_told() {
    let stopped = |reason| {
        let what = What::Stopped { reason, detail: "p99 too high".into() };
        let run = measure(&Events::phases(0, 1000, 1000).event(1000, what).ended(1100), &Stream::new());
        (run.stopped.map(|stop| stop.reason), run.inconclusive.into_iter().map(|doubt| doubt.rule).collect::<Vec<_>>())
    };
    assert_eq!(stopped(StopReason::Baseline), (Some(StopReason::Baseline), vec![DoubtRule::BaselineFailed]));
    assert_eq!(stopped(StopReason::Guard), (Some(StopReason::Guard), vec![]));
}

#[test]
fn figures_read_back_from_json() {
    let (events, stream) = failover();
    let run = measure(&events, &stream);
    let json = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<MeasuredRun>(&json).unwrap(), run);
}

#[test]
fn what_a_failover_lost_is_its_rpo() {
    // A write each 10 ms to a key of its own. The fault strikes at 4,000 ms; the final read finds nothing of what was
    // acknowledged from 3,805 to 3,995 ms: 20 writes, the oldest 195 ms before t0.
    let mut events = Events::phases(1000, 3000, 16_000).fault("cut", 4000, 5000).ended(16_100);
    let mut stream = Stream::new().class("write");
    for (op, due) in (0..16_000).step_by(10).enumerate() {
        let (key, value) = (format!("key-{op}"), format!("{op}.1"));
        let stands = (!(3800..4000).contains(&due)).then(|| value.clone());
        let found = What::FinalRead { workload: "w".into(), key: key.clone(), value: stands, ok: true };
        events = events.event(16_050, found);
        stream = stream.op(due, &[(due, due + 5, Done)]).with(|attempt| {
            (attempt.access, attempt.key) = (Some(crate::event::Access::Insert), Some(key.into()));
            attempt.value = Some(value.into());
        });
    }
    let run = measure(&events, &stream);
    let consistency = run.workloads["w"].consistency.as_ref().unwrap();
    assert_eq!((consistency.acknowledged, consistency.lost, consistency.masked), (1600, 20, 0));
    for class in ["all", "write"] {
        let outage = &run.workloads["w"].classes[class].outages["cut"];
        assert_eq!((outage.rpo_lost, outage.rpo_age_ns), (Some(20), Some(ms(195).0)));
    }
}

#[test]
fn last_error_is_a_lower_bound_where_attempts_fail_to_the_end() {
    // 190 successes in the baseline, too few for gaps; the fault is in force to the end, so nothing tells of steady.
    for (succeeds_again, expected) in [(false, Figure::AtLeast(ms(3990).0)), (true, known(2990))] {
        let until = if succeeds_again { 5000 } else { 6000 };
        let stream = Stream::new()
            .ok_every(10, 0, 2000, 5)
            .every(10, 2000, until, |due| (due, due + 1, Refused))
            .ok_every(10, until, 6000, 5);
        let run = measure(&Events::phases(0, 1900, 6000).injected("cut", 2000).ended(6100), &stream);
        assert_eq!(outage(&run, "cut").last_error_ns, expected, "succeeds again: {succeeds_again}");
    }
}

#[test]
fn the_wire_count_is_the_load_s_and_not_that_of_checks_and_final_reads() {
    let counted = |requests| What::Counters {
        link: "w-gateway".into(),
        counters: crate::event::LinkCounters { requests, ..Default::default() },
    };
    // A check of before made 2 requests; then the load makes 300, the last of which ends at 3,995 ms; the readings
    // after that are the load's, and those of the checks and final reads that follow.
    let events = Events::phases(100, 2900, 3900)
        .event(50, counted(2))
        .event(1000, counted(93))
        .event(3950, counted(301))
        .event(4000, counted(302))
        .event(4500, counted(350))
        .ended(5000);
    let stream = Stream::new().ok_every(13, 95, 3995, 5).with(|attempt| attempt.end = ms(3995));
    let run = measure(&events, &stream);
    assert_eq!(run.workloads["w"].wire, Some(WireCount { attempts: 300, requests: 300 }));
    // Cut off before anything was read after the load: what was counted last.
    let mut cut_off = events.clone();
    cut_off.list.retain(|event| event.at < ms(4000));
    assert_eq!(measure(&cut_off, &stream).workloads["w"].wire, Some(WireCount { attempts: 300, requests: 299 }));
}

#[test]
fn a_success_under_the_next_fault_does_not_settle_the_one_before() {
    // 190 successes in the baseline, too few for gaps. From 2,000 ms on everything fails; the second fault strikes at
    // 4,000 ms, an attempt of 3,990 ms fails under it, and from 5,000 ms on everything succeeds.
    let events = Events::phases(0, 1900, 6000).fault("a", 2000, 3500).injected("b", 4000).ended(6100);
    let stream = Stream::new()
        .ok_every(10, 0, 2000, 5)
        .every(10, 2000, 5000, |due| (due, due + if due == 3990 { 200 } else { 5 }, Refused))
        .ok_every(10, 5000, 6000, 5);
    let run = measure(&events, &stream);
    assert_eq!(outage(&run, "a").last_error_ns, Figure::AtLeast(ms(1980).0));
    assert_eq!(outage(&run, "b").last_error_ns, known(990));
}

#[test]
fn attempts_that_cannot_have_been_are_left_out_and_named() {
    let (events, stream) = failover();
    let whole = measure(&events, &stream);
    let garbage = [
        ("due", Box::new(|attempt: &mut Attempt| attempt.due = Moment(1 << 60)) as Box<dyn Fn(&mut Attempt)>),
        ("start", Box::new(|attempt| attempt.start = Moment(0))),
        ("end", Box::new(|attempt| attempt.end = Moment(u64::MAX))),
        ("connected", Box::new(|attempt| attempt.connected = Some(Moment(u64::MAX)))),
        ("workload", Box::new(|attempt| attempt.workload = "x".into())),
    ];
    for (name, damage) in garbage {
        let dir = tempfile::tempdir().unwrap();
        let mut damaged = stream.clone();
        damage(&mut damaged.attempts[350]);
        write_run(dir.path(), &plan(&workload(CONSTANT)), &events, &damaged);
        let measured = Measured::from_run(dir.path()).unwrap();
        let said = "attempts.jsonl.zst: 1 attempts cannot have been and were left out, first one of operation 350: ";
        assert!(measured.missing.len() == 1 && measured.missing[0].starts_with(said), "{name}: {:?}", measured.missing);
        let run = &measured.runs[0];
        assert_eq!(run.inconclusive[0].rule, DoubtRule::IncompleteRun, "{name}");
        let (had, has) = (window(&whole, "overall"), window(run, "overall"));
        assert_eq!((has.operations, has.latency.max_ns), (had.operations - 1, had.latency.max_ns), "{name}");
        assert_eq!(run.workloads.len(), 1, "{name}");
    }
}
