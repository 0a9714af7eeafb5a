//! Policies by table and by property: told the time, with seeds, and never a clock.

use proptest::prelude::*;

use super::*;
use crate::plan::retry::{Breaker, Budget, CapOrder, Hedge, Jitter, Schedule};
use crate::seed::Seed;
use crate::units::{Share, Span};

const MS: fn(u64) -> Duration = Duration::from_millis;
const AT: fn(u64) -> Moment = Moment::from_millis;

fn doubling() -> RetryPolicy {
    RetryPolicy {
        schedule: Schedule::Exponential {
            base: Span(MS(50)),
            factor: 2.0,
            cap: Span(MS(20_000)),
            jitter: Jitter::None,
            cap_order: CapOrder::CapThenJitter,
        },
        attempts: Some(5),
        ..RetryPolicy::none()
    }
}

fn policy(plan: &RetryPolicy) -> Policy {
    Policy::new(plan, Seed(7).stream("retry"))
}

fn settled(outcome: Outcome, applied: Applied) -> Settled {
    Settled { outcome, applied, retry_after: None }
}

const UNAVAILABLE: Settled = Settled { outcome: Outcome::Unavailable, applied: Applied::Unknown, retry_after: None };

/// Starts an attempt and ends it at once with this result.
fn attempt(policy: &mut Policy, attempts: &mut Attempts, now: Moment, settled: Settled) -> Decision {
    match policy.on_start(attempts, now) {
        Start::Send(admitted) => policy.on_result(attempts, now, admitted, settled),
        Start::BreakerOpen => {
            let refused = Settled { outcome: Outcome::BreakerOpen, applied: Applied::No, retry_after: None };
            policy.on_result(attempts, now, Admitted::BY_NONE, refused)
        }
        Start::TooLate => {
            let late = Settled { outcome: Outcome::Timeout, applied: Applied::No, retry_after: None };
            policy.on_result(attempts, now, Admitted::BY_NONE, late)
        }
    }
}

/// The decisions of an operation whose every attempt ends so, retried on time.
fn course(policy: &mut Policy, writes: bool, deadline: u64, settled: Settled) -> Vec<Decision> {
    let mut attempts = policy.begin(0, writes, AT(deadline));
    let (mut now, mut decisions) = (Moment::START, vec![]);
    loop {
        let decision = attempt(policy, &mut attempts, now, settled);
        decisions.push(decision);
        match decision {
            Decision::Retry { after } => now = now + after,
            _ => return decisions,
        }
    }
}

fn retries(ms: &[u64], why: GiveUp) -> Vec<Decision> {
    ms.iter().map(|ms| Decision::Retry { after: MS(*ms) }).chain([Decision::GiveUp { why }]).collect()
}

#[test]
fn waits_double_until_the_attempts_are_spent() {
    let decisions = course(&mut policy(&doubling()), false, 60_000, UNAVAILABLE);
    assert_eq!(decisions, retries(&[50, 100, 200, 400], GiveUp::Attempts));
}

#[test]
fn a_retry_that_cannot_start_before_the_deadline_is_given_up_at_once() {
    // Retries are due at 50, 150 and 350 ms.
    for (deadline, waits) in [(351, &[50, 100, 200][..]), (350, &[50, 100]), (50, &[])] {
        let decisions = course(&mut policy(&doubling()), false, deadline, UNAVAILABLE);
        assert_eq!(decisions, retries(waits, GiveUp::Deadline), "{deadline} ms");
    }
}

#[test]
fn nothing_is_sent_once_the_deadline_has_passed_and_the_breaker_hears_nothing_of_it() {
    let breaker = Breaker {
        failures: Share::new(0.5).unwrap(),
        window: Span(MS(1000)),
        min_attempts: 1,
        open_for: Span(MS(100)),
        probes: 1,
    };
    let mut policy = policy(&RetryPolicy { breaker: Some(breaker), ..doubling() });
    let mut late = policy.begin(0, false, AT(100));
    assert_eq!(policy.on_start(&mut late, AT(100)), Start::TooLate);
    let timeout = settled(Outcome::Timeout, Applied::No);
    let decision = policy.on_result(&mut late, AT(100), Admitted::BY_NONE, timeout);
    assert_eq!(decision, Decision::GiveUp { why: GiveUp::Deadline });
    let mut other = policy.begin(1, false, AT(200));
    assert!(matches!(policy.on_start(&mut other, AT(199)), Start::Send(_)), "one failure would have opened it");
}

#[test]
fn what_is_not_retried_says_why() {
    let plan = |change: fn(&mut RetryPolicy)| {
        let mut plan = doubling();
        change(&mut plan);
        plan
    };
    let cases: [(&str, RetryPolicy, bool, Settled, GiveUp); 5] = [
        ("no policy", RetryPolicy::none(), false, UNAVAILABLE, GiveUp::Attempts),
        (
            "the library retries by itself",
            plan(|plan| plan.schedule = Schedule::Native),
            false,
            UNAVAILABLE,
            GiveUp::Attempts,
        ),
        ("an error answer", doubling(), false, settled(Outcome::Error, Applied::Unknown), GiveUp::Outcome),
        (
            "a write that may have been applied",
            plan(|plan| plan.unknown_writes = false),
            true,
            UNAVAILABLE,
            GiveUp::UnknownWrite,
        ),
        ("a breaker that is open", doubling(), false, settled(Outcome::BreakerOpen, Applied::No), GiveUp::Outcome),
    ];
    for (name, plan, writes, settled, why) in cases {
        assert_eq!(course(&mut policy(&plan), writes, 60_000, settled), retries(&[], why), "{name}");
    }
    let careful = plan(|plan| plan.unknown_writes = false);
    let refused = settled(Outcome::Refused, Applied::No);
    let waits = retries(&[50, 100, 200, 400], GiveUp::Attempts);
    assert_eq!(course(&mut policy(&careful), true, 60_000, refused), waits, "never connected");
    assert_eq!(course(&mut policy(&careful), false, 60_000, UNAVAILABLE), waits, "a read");
}

#[test]
fn retry_after_follows_its_rule() {
    let asked = Settled { retry_after: Some(MS(2000)), ..UNAVAILABLE };
    let cases = [
        (RetryAfter::Ignore, Ok(50)),
        (RetryAfter::Exact, Ok(2000)),
        (RetryAfter::Max, Ok(2000)),
        // AWS 2026: clamp(RA, t, t + 5 s).
        (RetryAfter::Clamp(Span(MS(5000))), Ok(2000)),
        (RetryAfter::Clamp(Span(MS(500))), Ok(550)),
        (RetryAfter::GiveUpOver(Span(MS(2000))), Ok(2000)),
        (RetryAfter::GiveUpOver(Span(MS(1999))), Err(GiveUp::RetryAfter)),
    ];
    for (rule, expected) in cases {
        let mut policy = policy(&RetryPolicy { retry_after: rule, ..doubling() });
        let mut attempts = policy.begin(0, false, AT(60_000));
        let decision = attempt(&mut policy, &mut attempts, Moment::START, asked);
        let expected = match expected {
            Ok(ms) => Decision::Retry { after: MS(ms) },
            Err(why) => Decision::GiveUp { why },
        };
        assert_eq!(decision, expected, "{rule:?}");
    }
    let soon = Settled { retry_after: Some(MS(10)), ..UNAVAILABLE };
    for (rule, ms) in [(RetryAfter::Max, 50), (RetryAfter::Clamp(Span(MS(5000))), 50), (RetryAfter::Exact, 10)] {
        let mut policy = policy(&RetryPolicy { retry_after: rule, ..doubling() });
        let mut attempts = policy.begin(0, false, AT(60_000));
        let decision = attempt(&mut policy, &mut attempts, Moment::START, soon);
        assert_eq!(decision, Decision::Retry { after: MS(ms) }, "{rule:?}");
    }
}

#[test]
fn an_empty_budget_gives_up_and_a_missed_deadline_costs_no_token() {
    let budget = Budget { ratio: Share::new(0.2).unwrap(), min: None, capacity: 3.0 };
    let mut policy = policy(&RetryPolicy { budget: Some(budget), ..doubling() });
    assert_eq!(course(&mut policy, false, 50, UNAVAILABLE), retries(&[], GiveUp::Deadline));
    assert_eq!(course(&mut policy, false, 60_000, UNAVAILABLE), retries(&[50, 100, 200], GiveUp::Budget));
    for _ in 0..4 {
        assert_eq!(course(&mut policy, false, 60_000, UNAVAILABLE), retries(&[], GiveUp::Budget));
    }
    assert_eq!(course(&mut policy, false, 60_000, UNAVAILABLE), retries(&[50], GiveUp::Budget), "five deposits");
}

#[test]
fn an_open_breaker_refuses_and_its_refusal_may_be_retried() {
    let breaker = Breaker {
        failures: Share::new(0.5).unwrap(),
        window: Span(MS(1000)),
        min_attempts: 2,
        open_for: Span(MS(100)),
        probes: 1,
    };
    let mut plan = RetryPolicy { breaker: Some(breaker), ..doubling() };
    plan.on.insert(Outcome::BreakerOpen);
    let mut policy = policy(&plan);
    let mut attempts = policy.begin(0, false, AT(60_000));
    // Attempts at 0 and 50 ms trip it until 150 ms; the third, due at 150 ms, is the probe.
    for (now, wait) in [(0, 50), (50, 100)] {
        let decision = attempt(&mut policy, &mut attempts, AT(now), UNAVAILABLE);
        assert_eq!(decision, Decision::Retry { after: MS(wait) });
    }
    let mut other = policy.begin(1, false, AT(60_000));
    assert_eq!(policy.on_start(&mut other, AT(100)), Start::BreakerOpen);
    assert!(matches!(policy.on_start(&mut attempts, AT(150)), Start::Send(_)));
}

#[test]
fn grpc_hedges_are_sent_at_even_intervals_up_to_the_attempts() {
    // gRPC A6: delay 0.5 s, 4 attempts: 0, 0.5, 1.0, 1.5.
    let hedge = Hedge { after: Span(MS(500)), at_once: 4 };
    let mut policy = policy(&RetryPolicy { hedge: Some(hedge), attempts: Some(4), ..RetryPolicy::none() });
    let mut attempts = policy.begin(0, false, AT(60_000));
    let mut now = Moment::START;
    let mut sends = vec![now];
    policy.on_start(&mut attempts, now);
    while let Some(at) = policy.hedge_at(&attempts) {
        now = at;
        assert!(policy.on_hedge_due(&mut attempts, now, true));
        policy.on_start(&mut attempts, now);
        sends.push(now);
    }
    assert_eq!(sends, [AT(0), AT(500), AT(1000), AT(1500)]);
}

#[test]
fn a_failure_beside_an_open_hedge_waits_for_it() {
    let hedge = Hedge { after: Span(MS(100)), at_once: 2 };
    let mut policy = policy(&RetryPolicy { hedge: Some(hedge), ..doubling() });
    let mut attempts = policy.begin(0, false, AT(60_000));
    let Start::Send(first) = policy.on_start(&mut attempts, AT(0)) else { unreachable!() };
    assert_eq!(policy.hedge_at(&attempts), Some(AT(100)));
    policy.on_start(&mut attempts, AT(100));
    assert_eq!(policy.hedge_at(&attempts), None, "two at once");
    assert_eq!(policy.on_result(&mut attempts, AT(250), first, UNAVAILABLE), Decision::Wait);
    assert_eq!(policy.hedge_at(&attempts), Some(AT(200)), "overdue: the next goes at once");
    let fatal = settled(Outcome::Error, Applied::No);
    let decision = policy.on_result(&mut attempts, AT(300), Admitted::BY_NONE, fatal);
    assert_eq!(decision, Decision::GiveUp { why: GiveUp::Outcome });
}

#[test]
fn an_outcome_that_is_not_retried_stops_hedging_but_an_open_sibling_may_win() {
    let hedge = Hedge { after: Span(MS(100)), at_once: 3 };
    let mut policy = policy(&RetryPolicy { hedge: Some(hedge), ..doubling() });
    let mut attempts = policy.begin(0, false, AT(60_000));
    policy.on_start(&mut attempts, AT(0));
    policy.on_start(&mut attempts, AT(100));
    let fatal = settled(Outcome::Error, Applied::No);
    assert_eq!(policy.on_result(&mut attempts, AT(110), Admitted::BY_NONE, fatal), Decision::Wait);
    assert_eq!(policy.hedge_at(&attempts), None);
    let ok = settled(Outcome::Ok, Applied::Yes);
    assert_eq!(policy.on_result(&mut attempts, AT(120), Admitted::BY_NONE, ok), Decision::Done);
}

#[test]
fn hedges_draw_from_the_budget_and_spare_careful_writes() {
    let hedge = Hedge { after: Span(MS(100)), at_once: 2 };
    let budget = Budget { ratio: Share::NONE, min: None, capacity: 1.0 };
    let plan = RetryPolicy { hedge: Some(hedge), budget: Some(budget), unknown_writes: false, ..doubling() };
    let mut policy = policy(&plan);
    for allowed in [true, false] {
        let mut attempts = policy.begin(0, false, AT(60_000));
        policy.on_start(&mut attempts, AT(0));
        assert!(policy.hedge_at(&attempts).is_some());
        assert_eq!(policy.on_hedge_due(&mut attempts, AT(100), true), allowed);
    }
    let mut write = policy.begin(1, true, AT(60_000));
    policy.on_start(&mut write, AT(0));
    assert_eq!(policy.hedge_at(&write), None);
}

#[test]
fn a_hedge_that_the_breaker_would_refuse_is_not_begun() {
    let breaker = Breaker {
        failures: Share::new(0.5).unwrap(),
        window: Span(MS(1000)),
        min_attempts: 1,
        open_for: Span(MS(200)),
        probes: 1,
    };
    let hedge = Hedge { after: Span(MS(100)), at_once: 2 };
    let budget = Budget { ratio: Share::NONE, min: None, capacity: 1.0 };
    let plan = RetryPolicy { breaker: Some(breaker), hedge: Some(hedge), budget: Some(budget), ..doubling() };
    let mut policy = policy(&plan);
    let mut slow = policy.begin(0, false, AT(60_000));
    policy.on_start(&mut slow, AT(0));
    let mut other = policy.begin(1, false, AT(50));
    attempt(&mut policy, &mut other, AT(10), UNAVAILABLE);
    assert!(!policy.on_hedge_due(&mut slow, AT(100), true), "open until 210 ms");
    assert_eq!(policy.hedge_at(&slow), None);
    // The slow attempt fails in its turn, and is tried again with the token that the hedge did not take.
    let decision = policy.on_result(&mut slow, AT(300), Admitted::BY_NONE, UNAVAILABLE);
    assert_eq!(decision, Decision::Retry { after: MS(50) });
}

#[test]
fn a_retry_draws_the_same_whatever_other_operations_do() {
    let plan = RetryPolicy { schedule: Schedule::Fixed { wait: Span(MS(1000)), jitter: Jitter::Full }, ..doubling() };
    let wait = |others: u64| {
        let mut policy = policy(&plan);
        for op in 0..others {
            let mut attempts = policy.begin(op, false, AT(60_000));
            attempt(&mut policy, &mut attempts, Moment::START, UNAVAILABLE);
        }
        let mut attempts = policy.begin(99, false, AT(60_000));
        attempt(&mut policy, &mut attempts, Moment::START, UNAVAILABLE)
    };
    assert_eq!(wait(0), wait(10));
}

proptest! {
    /// Whatever the outcomes: attempts and deadline hold, and each operation ends.
    #[test]
    fn no_retry_starts_at_or_after_the_deadline_nor_beyond_the_attempts(
        seed: u64,
        most in 1u32..8,
        deadline in 1u64..5_000,
        asked in proptest::option::of(0u64..3_000),
        took in 0u64..400,
    ) {
        let mut plan = doubling();
        plan.attempts = Some(most);
        plan.schedule = Schedule::Fixed { wait: Span(MS(70)), jitter: Jitter::Equal };
        let mut policy = Policy::new(&plan, Seed(seed).stream("retry"));
        let mut attempts = policy.begin(seed, false, AT(deadline));
        let mut now = Moment::START;
        for number in 1.. {
            prop_assert!(number <= most);
            prop_assert!(number == 1 || now < AT(deadline));
            policy.on_start(&mut attempts, now);
            now = now + MS(took);
            let failed = Settled { retry_after: asked.map(MS), ..UNAVAILABLE };
            match policy.on_result(&mut attempts, now, Admitted::BY_NONE, failed) {
                Decision::Retry { after } => now = now + after,
                decision => {
                    let gave_up = matches!(decision, Decision::GiveUp { .. });
                    prop_assert!(gave_up);
                    break;
                }
            }
        }
    }
}
