//! The loop on paused time with a client that follows a script: whole streams of records, to the millisecond.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::Sink;
use super::client::{Answer, Call, Client, Progress};
use super::lane::{Lane, Shared};
use super::operations::Operations;
use super::timer::Timer;
use crate::clock::{Moment, RunClock};
use crate::event::{Applied, Attempt, Outcome};
use crate::plan::RetryPolicy;
use crate::plan::retry::{Breaker, Budget, Hedge, Jitter, Schedule};
use crate::plan::workload::{Arrival, Operation, Register, Workload};
use crate::retry::Policy;
use crate::seed::Seed;
use crate::units::{Rate, Share, Span};

const MS: fn(u64) -> Duration = Duration::from_millis;
const AT: fn(u64) -> Moment = Moment::from_millis;

/// Answers each attempt as its script says: after so long, so.
struct Scripted<F>(F);

impl<F> Client for Scripted<F>
where
    F: Fn(u64, u32) -> (u64, Outcome) + Send + Sync + 'static,
{
    async fn attempt<'a>(&'a self, call: Call<'a>, _: Arc<Progress>) -> Answer {
        let (ms, outcome) = (self.0)(call.op, call.attempt);
        tokio::time::sleep(MS(ms)).await;
        let applied = if outcome == Outcome::Ok { Applied::Yes } else { Applied::Unknown };
        Answer { why: (outcome != Outcome::Ok).then(|| "script".into()), ..Answer::new(outcome, applied) }
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Attempt>>);

impl Sink for Kept {
    fn attempt(&self, attempt: Attempt) {
        self.0.lock().unwrap().push(attempt);
    }
    fn dropped(&self) -> u64 {
        0
    }
}

/// One run of the loop.
struct Case {
    plan: Workload,
    end: u64,
    stop: Option<u64>,
    cut: Option<u64>,
    /// How long the lanes are held up at first, as by a machine that is busy with something else.
    held_up: u64,
    lanes: u64,
}

impl Case {
    /// 10 operations a second for so long, attempts of 100 ms within 1 s.
    fn new(retry: RetryPolicy, end: u64) -> Case {
        let plan = Workload {
            to: "db".into(),
            labels: Default::default(),
            client: crate::plan::workload::Client::Http(crate::plan::workload::HttpClient {
                connect_timeout: None,
                pool_max_idle: 1,
                pool_idle_timeout: Span(MS(1)),
                ca: None,
                resolve: Default::default(),
                tls: Default::default(),
            }),
            arrival: Arrival::Constant(Rate::per_second(10.0).unwrap()),
            operation: Operation::Register(Register { keys: 1, reads: Share::NONE }),
            attempt_timeout: Span(MS(100)),
            deadline: Span(MS(1000)),
            retry,
            max_in_flight: 10_000,
        };
        Case { plan, end, stop: None, cut: None, held_up: 0, lanes: 1 }
    }

    fn run(self, script: impl Fn(u64, u32) -> (u64, Outcome) + Clone + Send + Sync + 'static) -> Ran {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let kept = Arc::new(Kept::default());
        let (shared, took) = runtime.block_on(async {
            let clock = RunClock::start();
            let seed = Seed(7);
            let shared = Arc::new(Shared::new(
                "w".into(),
                Some("w-db".into()),
                clock,
                &self.plan,
                Operations::new(&self.plan.operation, "w", seed.stream("operations")),
                Policy::new(&self.plan.retry, seed.stream("retry")),
                None,
                Arc::clone(&kept) as Arc<dyn Sink>,
                AT(self.end),
            ));
            for (at, act) in [(self.stop, Shared::stop as fn(&Shared, Moment)), (self.cut, Shared::cut)] {
                if let Some(at) = at {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        tokio::time::sleep_until(clock.instant(AT(at))).await;
                        act(&shared, AT(at));
                    });
                }
            }
            tokio::time::sleep_until(clock.instant(AT(self.held_up))).await;
            let lanes: Vec<_> = (0..self.lanes)
                .map(|index| {
                    let lane = Arc::new(Lane {
                        shared: Arc::clone(&shared),
                        client: Scripted(script.clone()),
                        timer: Timer::Wheel(clock),
                        index,
                        lanes: self.lanes,
                        open: Default::default(),
                        emptied: Default::default(),
                    });
                    tokio::spawn(lane.drive(self.plan.arrival, seed.stream("arrival"), Moment::START))
                })
                .collect();
            for lane in lanes {
                lane.await.unwrap();
            }
            (shared, clock.now().since_start())
        });
        drop(runtime);
        let records = std::mem::take(&mut *kept.0.lock().unwrap());
        for (op, records) in by_operation(&records) {
            let lasts: Vec<bool> = records.iter().map(|record| record.last).collect();
            assert!(lasts.iter().rev().eq([&true].into_iter().chain(vec![&false; lasts.len() - 1])), "{op}: {lasts:?}");
        }
        Ran { records, shared, took }
    }
}

fn by_operation(records: &[Attempt]) -> BTreeMap<u64, Vec<&Attempt>> {
    let mut operations: BTreeMap<u64, Vec<&Attempt>> = BTreeMap::new();
    for record in records {
        operations.entry(record.op).or_default().push(record);
    }
    operations
}

struct Ran {
    records: Vec<Attempt>,
    shared: Arc<Shared>,
    /// Until the last lane had ended.
    took: Duration,
}

impl Ran {
    /// One line a record: `op.attempt due start-end outcome …`.
    fn lines(&self) -> Vec<String> {
        let ms = |at: Moment| at.0 as f64 / 1e6;
        let line = |r: &Attempt| {
            let mut line =
                format!("{}.{} {} {}-{} {}", r.op, r.attempt, ms(r.due), ms(r.start), ms(r.end), r.outcome.name());
            if r.hedge {
                line += " hedge";
            }
            if let Some(wait) = r.retry_in {
                line += &format!(" retry {}", wait.as_millis());
            }
            if let Some(why) = &r.why {
                line += &format!(" ({why})");
            }
            line
        };
        self.records.iter().map(line).collect()
    }
}

fn fixed(ms: u64, attempts: u32) -> RetryPolicy {
    RetryPolicy {
        schedule: Schedule::Fixed { wait: Span(MS(ms)), jitter: Jitter::None },
        attempts: Some(attempts),
        ..RetryPolicy::none()
    }
}

#[test]
fn operations_are_due_whatever_happened_before() {
    // The first one never answers; the others take 30 ms.
    let ran = Case::new(RetryPolicy::none(), 300)
        .run(|op, _| if op == 0 { (10_000, Outcome::Ok) } else { (30, Outcome::Ok) });
    assert_eq!(ran.lines(), ["0.1 0 0-100 timeout (attempts spent)", "1.1 100 100-130 ok", "2.1 200 200-230 ok"]);
    assert_eq!(ran.shared.gauge.health(0).started, 3);
    assert_eq!(ran.shared.gauge.health(0).in_flight, 0);
}

#[test]
fn a_retry_follows_its_wait_and_the_last_record_says_so() {
    let ran = Case::new(fixed(50, 3), 100)
        .run(|_, attempt| if attempt < 3 { (10, Outcome::Unavailable) } else { (5, Outcome::Ok) });
    assert_eq!(
        ran.lines(),
        ["0.1 0 0-10 unavailable retry 50 (script)", "0.2 0 60-70 unavailable retry 50 (script)", "0.3 0 120-125 ok",]
    );
    let values: Vec<_> = ran.records.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, ["0.1", "0.2", "0.3"]);
}

#[test]
fn a_retry_that_would_miss_the_deadline_is_given_up_at_once_and_the_last_attempt_ends_with_it() {
    let mut case = Case::new(fixed(50, 99), 100);
    case.plan.deadline = Span(MS(250));
    let ran = case.run(|_, _| (10_000, Outcome::Ok));
    assert_eq!(
        ran.lines(),
        ["0.1 0 0-100 timeout retry 50", "0.2 0 150-250 timeout (deadline)"],
        "the second attempt had its whole 100 ms, a third would start at 300 ms"
    );
    let mut case = Case::new(fixed(50, 99), 100);
    case.plan.deadline = Span(MS(200));
    let ran = case.run(|_, _| (10_000, Outcome::Ok));
    assert_eq!(ran.lines()[1], "0.2 0 150-200 timeout (deadline)", "cut by the deadline");
}

#[test]
fn a_hedge_that_wins_cancels_the_other() {
    let hedge = Hedge { after: Span(MS(20)), at_once: 2 };
    let policy = RetryPolicy { hedge: Some(hedge), attempts: Some(3), ..fixed(50, 3) };
    let ran = Case::new(policy, 100).run(|_, attempt| if attempt == 1 { (90, Outcome::Ok) } else { (10, Outcome::Ok) });
    assert_eq!(ran.lines(), ["0.1 0 0-30 cancelled", "0.2 0 20-30 ok hedge"]);
    assert_eq!(ran.records[0].applied, Applied::Unknown, "it had been sent");
}

#[test]
fn a_failure_beside_a_hedge_waits_for_it_and_then_hedges_on() {
    let hedge = Hedge { after: Span(MS(20)), at_once: 2 };
    let policy = RetryPolicy { hedge: Some(hedge), attempts: Some(4), ..fixed(50, 4) };
    let ran = Case::new(policy, 100).run(|_, attempt| match attempt {
        1 => (30, Outcome::Unavailable),
        2 => (60, Outcome::Unavailable),
        3 => (60, Outcome::Unavailable),
        _ => (5, Outcome::Ok),
    });
    assert_eq!(
        ran.lines(),
        [
            "0.1 0 0-30 unavailable (script)",
            // 3 is due at 40 ms: 20 ms after 2 was sent.
            "0.2 0 20-80 unavailable hedge (script)",
            // 4 goes at 80 ms, as soon as there is room beside 3.
            "0.3 0 40-85 cancelled hedge",
            "0.4 0 80-85 ok hedge",
        ]
    );
}

#[test]
fn over_max_in_flight_an_operation_is_shed_at_its_due_time() {
    let mut case = Case::new(RetryPolicy::none(), 500);
    case.plan.attempt_timeout = Span(MS(250));
    case.plan.max_in_flight = 2;
    let ran = case.run(|_, _| (10_000, Outcome::Ok));
    assert_eq!(
        ran.lines(),
        [
            "2.0 200 200-200 shed (max_in_flight)",
            "0.1 0 0-250 timeout (attempts spent)",
            "1.1 100 100-350 timeout (attempts spent)",
            "3.1 300 300-550 timeout (attempts spent)",
            "4.1 400 400-650 timeout (attempts spent)",
        ]
    );
    let health = ran.shared.gauge.health(0);
    assert_eq!((health.due, health.started, health.shed), (5, 4, 1));
}

#[test]
fn a_lane_that_was_held_up_sends_nothing_whose_deadline_has_passed() {
    let mut case = Case::new(fixed(50, 3), 500);
    case.plan.deadline = Span(MS(200));
    case.held_up = 350;
    let sent = Arc::new(Mutex::new(vec![]));
    let script = Arc::clone(&sent);
    let ran = case.run(move |op, _| {
        script.lock().unwrap().push(op);
        (30, Outcome::Ok)
    });
    assert_eq!(
        ran.lines(),
        [
            // Due at 0 and 100 ms, and their latency and lateness show it.
            "0.1 0 350-350 timeout (not sent, being late; deadline)",
            "1.1 100 350-350 timeout (not sent, being late; deadline)",
            "2.1 200 350-380 ok",
            "3.1 300 350-380 ok",
            "4.1 400 400-430 ok",
        ]
    );
    assert_eq!(*sent.lock().unwrap(), [2, 3, 4]);
    assert!(ran.records[..2].iter().all(|record| record.applied == Applied::No));
}

#[test]
fn a_lane_that_is_still_behind_when_the_load_is_cut_sends_no_more_and_records_all_that_was_due() {
    // Due at 0, 100 … 300 ms; the cut is at 350 ms, and the lane wakes at 900 ms, when no deadline has passed.
    let mut case = Case::new(fixed(50, 3), 10_000);
    case.cut = Some(350);
    case.held_up = 900;
    let ran = case.run(|_, _| unreachable!("nothing is sent after the cut"));
    let unfinished = |op: u64| format!("{op}.1 {} 900-900 unfinished", op * 100);
    assert_eq!(ran.lines(), [0, 1, 2, 3].map(unfinished));
    assert!(ran.records.iter().all(|record| record.applied == Applied::No));
    let health = ran.shared.gauge.health(0);
    assert_eq!((health.due, health.started, health.failed, health.in_flight), (4, 0, 4, 0));
}

#[test]
fn an_open_breaker_sends_nothing_and_says_so() {
    let breaker =
        Breaker { failures: Share::ALL, window: Span(MS(1000)), min_attempts: 2, open_for: Span(MS(250)), probes: 1 };
    let ran = Case::new(RetryPolicy { breaker: Some(breaker), ..RetryPolicy::none() }, 500)
        .run(|op, _| if op < 2 { (10, Outcome::Refused) } else { (10, Outcome::Ok) });
    assert_eq!(
        ran.lines(),
        [
            "0.1 0 0-10 refused (script; attempts spent)",
            "1.1 100 100-110 refused (script; attempts spent)",
            "2.1 200 200-200 breaker_open (not retried)",
            "3.1 300 300-300 breaker_open (not retried)",
            "4.1 400 400-410 ok",
        ]
    );
    assert_eq!(ran.records[2].applied, Applied::No);
}

#[test]
fn an_empty_budget_ends_the_retries_of_all_operations() {
    let budget = Budget { ratio: Share::NONE, min: None, capacity: 3.0 };
    let ran = Case::new(RetryPolicy { budget: Some(budget), ..fixed(10, 3) }, 400).run(|_, _| (1, Outcome::Refused));
    let attempts: Vec<usize> = by_operation(&ran.records).values().map(Vec::len).collect();
    assert_eq!(attempts, [3, 2, 1, 1]);
}

#[test]
fn a_stop_ends_arrivals_and_lets_the_open_ones_drain() {
    let mut case = Case::new(fixed(50, 2), 10_000);
    case.stop = Some(150);
    let ran = case.run(|op, _| if op == 0 { (5, Outcome::Ok) } else { (70, Outcome::Unavailable) });
    assert_eq!(
        ran.lines(),
        [
            "0.1 0 0-5 ok",
            "1.1 100 100-170 unavailable retry 50 (script)",
            "1.2 100 220-290 unavailable (script; attempts spent)",
        ]
    );
}

#[test]
fn what_is_open_when_the_run_is_cut_is_unfinished() {
    let hedge = Hedge { after: Span(MS(20)), at_once: 2 };
    let mut case = Case::new(RetryPolicy { hedge: Some(hedge), ..fixed(900, 3) }, 10_000);
    case.cut = Some(150);
    // The first is between two attempts when the run is cut, the second has two open.
    let ran = case.run(|op, _| if op == 0 { (5, Outcome::Unavailable) } else { (90, Outcome::Ok) });
    let lines = ran.lines();
    assert_eq!(lines[0], "0.1 0 0-5 unavailable retry 900 (script)");
    let mut rest: Vec<&str> = lines[1..].iter().map(|line| line.split('-').next().unwrap()).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["0.2 0 160", "1.1 100 100", "1.2 100 120"], "{lines:?}");
    assert!(ran.records[1..].iter().all(|record| record.outcome == Outcome::Unfinished));
    assert_eq!(ran.shared.gauge.health(0).in_flight, 0);
}

#[test]
fn a_closed_loop_is_due_after_the_previous_end_and_the_think_time() {
    let mut case = Case::new(RetryPolicy::none(), 100);
    case.plan.arrival = Arrival::Users { count: 2, think: Span(MS(10)) };
    let ran = case.run(|op, _| (if op % 2 == 0 { 25 } else { 50 }, Outcome::Ok));
    assert_eq!(
        ran.lines(),
        ["0.1 0 0-25 ok", "1.1 0 0-50 ok", "2.1 35 35-60 ok", "4.1 70 70-95 ok", "3.1 60 60-110 ok"]
    );
}

#[test]
fn users_who_think_hold_up_no_drain_and_cost_nothing_while_they_do() {
    let mut case = Case::new(RetryPolicy::none(), 1_000);
    case.plan.arrival = Arrival::Users { count: 3, think: Span(MS(60_000)) };
    let ran = case.run(|_, _| (20, Outcome::Ok));
    assert_eq!(ran.lines(), ["0.1 0 0-20 ok", "1.1 0 0-20 ok", "2.1 0 0-20 ok"]);
    assert_eq!(ran.took, MS(1_000), "the next thoughts end at 60 s");
}

#[test]
fn two_lanes_carry_the_same_operations_as_one() {
    let run = |lanes| {
        let mut case = Case::new(fixed(50, 3), 2_000);
        case.plan.arrival = Arrival::Poisson(Rate::per_second(50.0).unwrap());
        case.lanes = lanes;
        let ran = case.run(|op, attempt| match (op + u64::from(attempt)) % 3 {
            0 => (20, Outcome::Unavailable),
            _ => (10, Outcome::Ok),
        });
        let mut records: Vec<_> =
            ran.records.iter().map(|r| (r.op, r.attempt, r.due, r.key.clone(), r.outcome)).collect();
        records.sort();
        records
    };
    let one = run(1);
    assert!(one.len() > 80);
    assert_eq!(one, run(2));
}

#[test]
fn a_stall_of_the_system_shows_whole_in_the_latencies() {
    // A pause of 2 s inside 10 s at 1,000/s: operations due within it end together at its end.
    let mut case = Case::new(RetryPolicy::none(), 10_000);
    case.plan.arrival = Arrival::Constant(Rate::per_second(1000.0).unwrap());
    case.plan.attempt_timeout = Span(MS(5000));
    case.plan.deadline = Span(MS(5000));
    let ran = case.run(|op, _| (if (4000..6000).contains(&op) { 6000 - op } else { 0 }, Outcome::Ok));
    let mut latencies: Vec<u64> =
        ran.records.iter().map(|r| r.end.saturating_since(r.due).as_millis() as u64).collect();
    latencies.sort_unstable();
    assert_eq!(latencies.len(), 10_000, "nothing unsent");
    // 2,000 of 10,000 waited 1..=2000 ms, so p90 is the 1,000th of these and p99 the 1,900th.
    assert_eq!((latencies[8_999], latencies[9_899]), (1000, 1900));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the outcomes, the policy and the moment of a cut: each operation that was due has records, exactly
    /// one of them last and that one the latest written (checked in `Case::run`), and no attempt outlives its time.
    #[test]
    fn every_operation_ends_in_one_last_record(
        seed: u64,
        attempts in 1u32..5,
        hedge in proptest::option::of((1u64..150, 1u32..4)),
        max_in_flight in 1u32..20,
        cut in proptest::option::of(0u64..2_000),
    ) {
        let hedge = hedge.map(|(after, at_once)| Hedge { after: Span(MS(after)), at_once });
        let mut case = Case::new(RetryPolicy { hedge, ..fixed(40, attempts) }, 1_000);
        case.plan.max_in_flight = max_in_flight;
        case.plan.deadline = Span(MS(300));
        case.plan.arrival = Arrival::Constant(Rate::per_second(50.0).unwrap());
        case.cut = cut;
        let ran = case.run(move |op, attempt| {
            let mut dice = Seed(seed).stream("script").nth(op * 8 + u64::from(attempt));
            let outcomes = [Outcome::Ok, Outcome::Refused, Outcome::Unavailable, Outcome::Error];
            (dice.below(150), outcomes[dice.below(4) as usize])
        });
        let operations = by_operation(&ran.records);
        let due = ran.shared.gauge.health(0).due;
        prop_assert_eq!(operations.len() as u64, due);
        prop_assert!(cut.is_some() || due == 50);
        for records in operations.values() {
            let numbers: Vec<u32> = records.iter().map(|record| record.attempt).collect();
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            let shed = sorted == [0];
            prop_assert!(shed || sorted.iter().copied().eq(1..=sorted.len() as u32), "{numbers:?}");
            for record in records {
                prop_assert!(record.end <= record.due + MS(300) + MS(1), "{record:?}");
            }
        }
    }
}
