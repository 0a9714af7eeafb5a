//! What happens after a failed attempt: policies as pure state machines that are told the time.
//!
//! ```text
//!               on_start ──▶ Send, or refused by the breaker
//!  begin ──▶ Attempts
//!               on_result ─▶ Done · Wait · Retry { after } · GiveUp { why }
//!               hedge_at ──▶ when to send the next one beside
//! ```
//!
//! One [`Policy`] serves a whole workload and holds what its operations share: the [`budget`] and the [`breaker`].
//! [`Attempts`] is the state of one operation. Nothing here reads a clock or does I/O, so the same decisions can be
//! simulated. `docs/retry.md` says what each rule means to a user.

pub mod backoff;
pub mod breaker;
pub mod budget;
mod policy;

pub use policy::{Admitted, Attempts, Decision, GiveUp, Policy, Settled, Start};
