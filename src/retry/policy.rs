//! The policy of a workload, and the attempts of one operation under it.

use std::time::Duration;

use super::backoff::Backoff;
use super::breaker::{Circuit, Pass};
use super::budget::Bucket;
use crate::clock::Moment;
use crate::event::{Applied, Outcome};
use crate::plan::retry::{RetryAfter, RetryPolicy};
use crate::seed::Dice;

/// A retry policy at work, shared by all operations of a workload.
#[derive(Clone, Debug)]
pub struct Policy {
    plan: RetryPolicy,
    budget: Option<Bucket>,
    breaker: Option<Circuit>,
    dice: Dice,
}

/// The attempts of one operation so far.
#[derive(Clone, Debug)]
pub struct Attempts {
    op: u64,
    deadline: Moment,
    /// A retry whose predecessor's effect is unknown could apply it twice.
    writes: bool,
    /// Attempts begun, refused ones included.
    begun: u32,
    open: u32,
    last_start: Moment,
    /// Set when no further attempt may be sent; what is open may still succeed.
    closed: Option<GiveUp>,
    hedging: bool,
    /// Made at the first failure: most operations have none.
    backoff: Option<(Backoff, Dice)>,
}

/// What may happen at the start of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is sent; the admission goes back with its result.
    Send(Admitted),
    /// The breaker is open: nothing is sent, its outcome is `breaker_open`.
    BreakerOpen,
    /// The deadline has passed, as it does for a generator that is held up: nothing is sent, its outcome is `timeout`.
    TooLate,
}

/// That an attempt was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted(Option<Pass>);

impl Admitted {
    /// For attempts that no breaker let through: it was open, or there is none.
    pub const BY_NONE: Admitted = Admitted(None);
}

/// How an attempt ended, as far as a policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// How.
    pub outcome: Outcome,
    /// Whether it took effect.
    pub applied: Applied,
    /// The answer's Retry-After.
    pub retry_after: Option<Duration>,
}

/// What follows from a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The operation is ok; attempts still open have lost.
    Done,
    /// Another attempt of this operation is still open and decides.
    Wait,
    /// Another attempt follows.
    Retry {
        /// So long after the result.
        after: Duration,
    },
    /// None follows: the operation has failed.
    GiveUp {
        /// Why not.
        why: GiveUp,
    },
}

/// Why no further attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The policy does not retry this outcome.
    Outcome,
    /// The write may have taken effect, and the policy does not repeat such.
    UnknownWrite,
    /// All attempts are spent, or the policy has no retries.
    Attempts,
    /// The answer asks for a longer wait than the policy accepts.
    RetryAfter,
    /// The next attempt could not start before the deadline.
    Deadline,
    /// The budget is empty.
    Budget,
}

impl GiveUp {
    /// In a few words, for an attempt's `why`.
    pub const fn name(self) -> &'static str {
        match self {
            GiveUp::Outcome => "not retried",
            GiveUp::UnknownWrite => "unknown write",
            GiveUp::Attempts => "attempts spent",
            GiveUp::RetryAfter => "retry-after too long",
            GiveUp::Deadline => "deadline",
            GiveUp::Budget => "budget spent",
        }
    }
}

impl Policy {
    /// The policy, with a full budget and a closed breaker.
    pub fn new(plan: &RetryPolicy, dice: Dice) -> Policy {
        Policy {
            budget: plan.budget.as_ref().map(Bucket::new),
            breaker: plan.breaker.as_ref().map(Circuit::new),
            plan: plan.clone(),
            dice,
        }
    }

    /// A new operation. `writes` says whether it changes the system.
    pub fn begin(&mut self, op: u64, writes: bool, deadline: Moment) -> Attempts {
        if let Some(budget) = &mut self.budget {
            budget.deposit();
        }
        Attempts {
            op,
            deadline,
            writes,
            begun: 0,
            open: 0,
            last_start: Moment::START,
            closed: None,
            hedging: self.plan.hedge.is_some() && (self.plan.unknown_writes || !writes),
            backoff: None,
        }
    }

    /// An attempt is about to be sent: the first, a retry that is due or a hedge.
    pub fn on_start(&mut self, attempts: &mut Attempts, now: Moment) -> Start {
        attempts.begun += 1;
        attempts.last_start = now;
        attempts.open += 1;
        if now >= attempts.deadline {
            return Start::TooLate;
        }
        match &mut self.breaker {
            None => Start::Send(Admitted(None)),
            Some(breaker) => match breaker.admit(now) {
                Some(pass) => Start::Send(Admitted(Some(pass))),
                None => Start::BreakerOpen,
            },
        }
    }

    /// An attempt ended.
    pub fn on_result(
        &mut self,
        attempts: &mut Attempts,
        now: Moment,
        admitted: Admitted,
        settled: Settled,
    ) -> Decision {
        self.tell_breaker(now, admitted, settled.outcome);
        attempts.open = attempts.open.saturating_sub(1);
        if settled.outcome == Outcome::Ok {
            return Decision::Done;
        }
        if attempts.closed.is_none() {
            attempts.closed = self.forbids(attempts, settled);
        }
        if attempts.open > 0 {
            return Decision::Wait;
        }
        if let Some(why) = attempts.closed {
            return Decision::GiveUp { why };
        }
        match self.wait(attempts, settled) {
            Err(why) => Decision::GiveUp { why },
            // A retry that cannot start before the deadline costs no token.
            Ok(after) if now + after >= attempts.deadline => Decision::GiveUp { why: GiveUp::Deadline },
            Ok(_) if !self.afford(now) => Decision::GiveUp { why: GiveUp::Budget },
            Ok(after) => Decision::Retry { after },
        }
    }

    /// An attempt ended without a result that says anything of the system, as a hedge that lost.
    pub fn on_cancel(&mut self, attempts: &mut Attempts, now: Moment, admitted: Admitted) {
        self.tell_breaker(now, admitted, Outcome::Cancelled);
        attempts.open = attempts.open.saturating_sub(1);
    }

    /// When the next attempt is due beside those that are open; none for no hedge.
    pub fn hedge_at(&self, attempts: &Attempts) -> Option<Moment> {
        let hedge = self.plan.hedge?;
        let at = attempts.last_start + hedge.after.0;
        let may = attempts.hedging
            && (1..hedge.at_once).contains(&attempts.open)
            && attempts.closed.is_none()
            && !self.spent(attempts)
            && at < attempts.deadline;
        may.then_some(at)
    }

    /// A hedge is due: whether it may be sent, given whether the caller permits it. Once refused, the operation hedges
    /// no more.
    ///
    /// A breaker that would refuse it is asked first: a hedge is no need, so its refusal costs the operation neither a
    /// token nor an attempt, and decides nothing.
    pub fn on_hedge_due(&mut self, attempts: &mut Attempts, now: Moment, permitted: bool) -> bool {
        let refused = self.breaker.as_ref().is_some_and(|breaker| breaker.refuses(now));
        attempts.hedging = permitted && !refused && self.afford(now);
        attempts.hedging
    }

    fn tell_breaker(&mut self, now: Moment, admitted: Admitted, outcome: Outcome) {
        if let (Some(breaker), Some(pass)) = (&mut self.breaker, admitted.0) {
            let failed = (outcome != Outcome::Cancelled).then_some(outcome.failed());
            breaker.on_result(now, pass, failed);
        }
    }

    /// What rules out any further attempt, whatever the siblings of this one do.
    fn forbids(&self, attempts: &Attempts, settled: Settled) -> Option<GiveUp> {
        if !self.plan.on.contains(&settled.outcome) {
            Some(GiveUp::Outcome)
        } else if attempts.writes && settled.applied == Applied::Unknown && !self.plan.unknown_writes {
            Some(GiveUp::UnknownWrite)
        } else if self.spent(attempts) {
            Some(GiveUp::Attempts)
        } else {
            None
        }
    }

    fn spent(&self, attempts: &Attempts) -> bool {
        self.plan.attempts.is_some_and(|most| attempts.begun >= most)
    }

    /// The wait before the next attempt, by schedule and Retry-After.
    fn wait(&self, attempts: &mut Attempts, settled: Settled) -> Result<Duration, GiveUp> {
        let (backoff, dice) =
            attempts.backoff.get_or_insert_with(|| (Backoff::new(&self.plan.schedule), self.dice.nth(attempts.op)));
        let own = backoff.next(dice).ok_or(GiveUp::Attempts)?;
        let Some(asked) = settled.retry_after else { return Ok(own) };
        match self.plan.retry_after {
            RetryAfter::Ignore => Ok(own),
            RetryAfter::Exact => Ok(asked),
            RetryAfter::Max => Ok(asked.max(own)),
            RetryAfter::Clamp(above) => Ok(asked.clamp(own, own.saturating_add(above.0))),
            RetryAfter::GiveUpOver(limit) if asked > limit.0 => Err(GiveUp::RetryAfter),
            RetryAfter::GiveUpOver(_) => Ok(asked),
        }
    }

    fn afford(&mut self, now: Moment) -> bool {
        self.budget.as_mut().is_none_or(|budget| budget.withdraw(now))
    }
}

impl Attempts {
    /// Attempts begun so far, refused ones included: the number of the latest, from 1.
    pub fn begun(&self) -> u32 {
        self.begun
    }

    /// After this no attempt starts, and those that are open end.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
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

    const UNAVAILABLE: Settled =
        Settled { outcome: Outcome::Unavailable, applied: Applied::Unknown, retry_after: None };

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
        let plan =
            RetryPolicy { schedule: Schedule::Fixed { wait: Span(MS(1000)), jitter: Jitter::Full }, ..doubling() };
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
}
