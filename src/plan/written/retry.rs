//! How a retry policy is written: the schedule's name, and under it its settings beside those that all share.

use super::Count;
use crate::event::Outcome;
use crate::experiment::shape::*;
use crate::plan::retry::{Breaker, Budget, CapOrder, Hedge, Jitter, RetryAfter, RetryPolicy, Schedule};
use crate::units::{Rate, Share, Span};

/// The settings that every schedule shares.
struct Shared {
    attempts: Option<Count>,
    on: Vec<Outcome>,
    unknown_writes: bool,
    retry_after: RetryAfter,
    budget: Option<Budget>,
    breaker: Option<Breaker>,
    hedge: Option<Hedge>,
}

record! {
    /// Settings that every policy takes.
    Shared {
        /// Attempts at most, the first one included. Default: until the deadline.
        attempts: Option<Count>,
        /// Which outcomes are retried.
        on: Vec<Outcome> = "[refused, reset, timeout, unreachable, dns, tls, throttled, unavailable]",
        /// Whether a write whose effect is unknown may be retried.
        unknown_writes: bool = "true",
        /// What a Retry-After does to the wait.
        retry_after: RetryAfter = "max",
        /// Retries that the client may afford.
        budget: Option<Budget>,
        /// Refuses attempts while the system fails.
        breaker: Option<Breaker>,
        /// Sends a second attempt beside a slow one.
        hedge: Option<Hedge>,
    } => Shared { attempts, on, unknown_writes, retry_after, budget, breaker, hedge }
}

impl Shared {
    fn with(self, schedule: Schedule) -> RetryPolicy {
        let Shared { attempts, on, unknown_writes, retry_after, budget, breaker, hedge } = self;
        let attempts = attempts.map(|attempts| attempts.0);
        let on = on.into_iter().collect();
        RetryPolicy { schedule, attempts, on, unknown_writes, retry_after, budget, breaker, hedge }
    }
}

choice! {
    /// What happens after a failed attempt. `attempt_timeout` and `deadline` stand beside it in the workload.
    RetryPolicy, "a retry policy" {
        /// One attempt, whatever happens.
        none () => RetryPolicy::none(),
        /// The client's own retries, as its library does them; the harness adds none.
        native () => RetryPolicy { schedule: Schedule::Native, attempts: None, ..RetryPolicy::none() },
        /// Always the same wait.
        fixed {
            ..shared: Shared,
            /// The wait.
            wait: Span,
            /// How chance spreads it.
            jitter: Jitter = "none",
        } => shared.with(Schedule::Fixed { wait, jitter }),
        /// `step × n`, at most `cap`; n counts retries from 1.
        linear {
            ..shared: Shared,
            /// The first wait, and what each further one adds.
            step: Span,
            /// No wait is longer.
            cap: Span = "20s",
            /// How chance spreads it.
            jitter: Jitter = "none",
            /// Which comes first.
            cap_order: CapOrder = "cap_then_jitter",
        } => shared.with(Schedule::Linear { step, cap, jitter, cap_order }),
        /// `base × factor^(n-1)`, at most `cap`; n counts retries from 1.
        exponential {
            ..shared: Shared,
            /// The first wait.
            base: Span,
            /// By how much each further wait is longer.
            factor: f64 = "2",
            /// No wait is longer.
            cap: Span = "20s",
            /// How chance spreads it.
            jitter: Jitter = "full",
            /// Which comes first.
            cap_order: CapOrder = "cap_then_jitter",
        } => shared.with(Schedule::Exponential { base, factor, cap, jitter, cap_order }),
    }
}

choice! {
    /// How chance spreads a wait v (AWS Architecture Blog, "Exponential Backoff and Jitter").
    Jitter, "a jitter" {
        /// v.
        none () => Jitter::None,
        /// Evenly from 0 to v.
        full () => Jitter::Full,
        /// Evenly from v/2 to v.
        equal () => Jitter::Equal,
        /// Evenly from the base to 3 × the previous wait, at most the cap; takes the place of the factor.
        decorrelated () => Jitter::Decorrelated,
        /// Evenly from v × (1 − p) to v × (1 + p).
        plus_minus (share: Share) => Jitter::PlusMinus(share),
    }
}

words! {
    CapOrder, "an order of cap and jitter" {
        /// Cap, then jitter: `plus_minus` may exceed the cap.
        "cap_then_jitter" => CapOrder::CapThenJitter,
        /// Jitter, then cap: no wait is longer than the cap.
        "jitter_then_cap" => CapOrder::JitterThenCap,
    }
}

choice! {
    /// What a Retry-After of the answer does to the wait.
    RetryAfter, "a Retry-After rule" {
        /// Nothing.
        ignore () => RetryAfter::Ignore,
        /// It is the wait.
        exact () => RetryAfter::Exact,
        /// The longer of the two.
        max () => RetryAfter::Max,
        /// It is the wait, held between the policy's own and that plus so much.
        clamp (over: Span) => RetryAfter::Clamp(over),
        /// It is the wait; if longer than this, the operation is given up.
        give_up_over (longest: Span) => RetryAfter::GiveUpOver(longest),
    }
}

record! {
    /// A token bucket that retries draw from and operations fill.
    Budget {
        /// Tokens that each operation puts in; 20% allows one retry in five operations.
        ratio: Share,
        /// Tokens that come in by themselves.
        min: Option<Rate>,
        /// The most that it holds, and holds at the start.
        capacity: f64 = "100",
    } => Budget { ratio, min, capacity }
}

record! {
    /// A circuit breaker: closed, open, half-open.
    Breaker {
        /// Opens when at least this share of attempts failed in the window.
        failures: Share = "50%",
        /// The window.
        window: Span = "1s",
        /// Attempts in the window before it may open.
        min_attempts: Count = "20",
        /// How long it stays open.
        open_for: Span = "1s",
        /// Attempts let through when half-open; all must succeed to close it.
        probes: Count = "1",
    } => Breaker { failures, window, min_attempts: min_attempts.0, open_for, probes: probes.0 }
}

record! {
    /// A second attempt beside one that has not ended.
    Hedge {
        /// How long an attempt may stay open before the next one is sent beside it.
        after: Span,
        /// Attempts open at once, at most.
        at_once: Count = "2",
    } => Hedge { after, at_once: at_once.0 }
}

words! {
    Outcome, "an outcome that can be retried" {
        /// The connection was refused.
        "refused" => Outcome::Refused,
        /// The connection was reset, or closed before the answer was whole.
        "reset" => Outcome::Reset,
        /// No answer in time.
        "timeout" => Outcome::Timeout,
        /// No route to the host or network.
        "unreachable" => Outcome::Unreachable,
        /// The name did not resolve.
        "dns" => Outcome::Dns,
        /// The TLS handshake failed.
        "tls" => Outcome::Tls,
        /// An answer that is not of the protocol.
        "protocol" => Outcome::Protocol,
        /// 429 and kin.
        "throttled" => Outcome::Throttled,
        /// 503 and kin.
        "unavailable" => Outcome::Unavailable,
        /// Any other error answer.
        "error" => Outcome::Error,
    }
}
