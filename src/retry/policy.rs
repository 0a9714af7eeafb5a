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
mod tests;
