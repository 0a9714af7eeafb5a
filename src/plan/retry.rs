//! What happens after a failed attempt: a policy with every choice made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::Outcome;
use crate::units::{Rate, Share, Span};

/// A retry policy; `retry/` turns it into decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The wait before each retry.
    pub schedule: Schedule,
    /// Attempts at most, the first one included; none: until the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Which outcomes are retried.
    pub on: BTreeSet<Outcome>,
    /// Whether a write whose effect is unknown may be retried. Default yes.
    pub unknown_writes: bool,
    /// What a Retry-After does to the wait.
    pub retry_after: RetryAfter,
    /// Retries that the client may afford.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Refuses attempts while the system fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Sends a second attempt beside a slow one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
}

impl RetryPolicy {
    /// One attempt, whatever happens.
    pub fn none() -> RetryPolicy {
        RetryPolicy {
            schedule: Schedule::None,
            attempts: Some(1),
            on: RetryPolicy::default_on(),
            unknown_writes: true,
            retry_after: RetryAfter::Max,
            budget: None,
            breaker: None,
            hedge: None,
        }
    }

    /// What is retried by default: everything that another attempt may mend.
    pub fn default_on() -> BTreeSet<Outcome> {
        use Outcome::*;
        [Refused, Reset, Timeout, Unreachable, Dns, Tls, Throttled, Unavailable].into()
    }
}

/// The wait before each retry; `n` counts retries from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// No retry.
    None,
    /// The client's own retries, as its library does them; the harness adds none.
    Native,
    /// Always the same.
    Fixed {
        /// The wait.
        wait: Span,
        /// On top of it.
        jitter: Jitter,
    },
    /// `step × n`, at most `cap`.
    Linear {
        /// The first wait, and what each further one adds.
        step: Span,
        /// No wait is longer.
        cap: Span,
        /// On top of it.
        jitter: Jitter,
        /// Which comes first.
        cap_order: CapOrder,
    },
    /// `base × factor^(n-1)`, at most `cap`.
    Exponential {
        /// The first wait.
        base: Span,
        /// Default 2.
        factor: f64,
        /// No wait is longer. Default 20 s.
        cap: Span,
        /// On top of it.
        jitter: Jitter,
        /// Which comes first.
        cap_order: CapOrder,
    },
}

/// How chance spreads a wait `v` (AWS Architecture Blog, "Exponential Backoff and Jitter").
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// `v`.
    None,
    /// `U[0, v)`.
    #[default]
    Full,
    /// `v/2 + U[0, v/2)`.
    Equal,
    /// `min(cap, U[base, 3 × previous wait))`, starting from `base`; it takes the place of the factor.
    Decorrelated,
    /// `v × U[1-p, 1+p)`.
    PlusMinus(Share),
}

/// Whether the cap bounds the wait before chance spreads it, or after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapOrder {
    /// Cap, then jitter: `plus_minus` may exceed the cap.
    #[default]
    CapThenJitter,
    /// Jitter, then cap: no wait is longer than the cap.
    JitterThenCap,
}

/// What a Retry-After of the answer does to the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Nothing.
    Ignore,
    /// It is the wait.
    Exact,
    /// The longer of the two.
    Max,
    /// It is the wait, held between the policy's own and that plus so much.
    Clamp(Span),
    /// It is the wait; if longer than this, the operation is given up.
    GiveUpOver(Span),
}

/// A token bucket that retries draw from and that operations fill (Finagle, tower: deposit per operation).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Tokens that each operation puts in; 20 % allows one retry in five operations.
    pub ratio: Share,
    /// Tokens that come in by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Rate>,
    /// The most that it holds, and holds at the start. Default 100.
    pub capacity: f64,
}

/// A circuit breaker: closed → open → half-open → closed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    /// Opens when at least this share of attempts failed in the window. Default 50 %.
    pub failures: Share,
    /// The window. Default 1 s.
    pub window: Span,
    /// Attempts in the window before it may open. Default 20.
    pub min_attempts: u32,
    /// How long it stays open. Default 1 s.
    pub open_for: Span,
    /// Attempts let through when half-open; all must succeed to close it. Default 1.
    pub probes: u32,
}

/// Hedging: a second attempt beside one that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    /// How long an attempt may stay open before the next one is sent beside it.
    pub after: Span,
    /// Attempts open at once, at most. Default 2.
    pub at_once: u32,
}
