//! One try of one operation, as its client saw it.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// How an attempt ended (`docs/measurement.md`, attempts and operations).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer that the operation wanted.
    Ok,
    /// The connection was refused.
    Refused,
    /// The connection was reset, or closed before the answer was whole.
    Reset,
    /// No answer within the attempt's time-out or the operation's deadline.
    Timeout,
    /// No route to the host or network.
    Unreachable,
    /// The name did not resolve.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// An answer that is not of the protocol.
    Protocol,
    /// 429 and kin.
    Throttled,
    /// 503 and kin.
    Unavailable,
    /// Any other error answer.
    Error,
    /// A hedge that lost.
    Cancelled,
    /// Not an attempt: over `max_in_flight` at its due time, so nothing was sent.
    Shed,
    /// Not an attempt on the wire: the client's circuit breaker was open.
    BreakerOpen,
    /// Still open when the drain ended; latency is censored at that moment.
    Unfinished,
}

impl Outcome {
    /// Every outcome, in the order of reports.
    pub const ALL: [Outcome; 15] = [
        Outcome::Ok,
        Outcome::Refused,
        Outcome::Reset,
        Outcome::Timeout,
        Outcome::Unreachable,
        Outcome::Dns,
        Outcome::Tls,
        Outcome::Protocol,
        Outcome::Throttled,
        Outcome::Unavailable,
        Outcome::Error,
        Outcome::Cancelled,
        Outcome::Shed,
        Outcome::BreakerOpen,
        Outcome::Unfinished,
    ];

    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Reset => "reset",
            Outcome::Timeout => "timeout",
            Outcome::Unreachable => "unreachable",
            Outcome::Dns => "dns",
            Outcome::Tls => "tls",
            Outcome::Protocol => "protocol",
            Outcome::Throttled => "throttled",
            Outcome::Unavailable => "unavailable",
            Outcome::Error => "error",
            Outcome::Cancelled => "cancelled",
            Outcome::Shed => "shed",
            Outcome::BreakerOpen => "breaker_open",
            Outcome::Unfinished => "unfinished",
        }
    }

    /// Whether something was tried towards the system; a shed operation and an open breaker sent nothing.
    pub const fn was_sent(self) -> bool {
        !matches!(self, Outcome::Shed | Outcome::BreakerOpen)
    }

    /// Whether the attempt counts as failed: neither ok nor a hedge that lost.
    pub const fn failed(self) -> bool {
        !matches!(self, Outcome::Ok | Outcome::Cancelled)
    }
}

/// Whether the attempt took effect in the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Never connected, shed, breaker open, or an answer that is definite.
    No,
    /// Anything may have happened.
    Unknown,
    /// Acknowledged.
    Yes,
}

/// What an operation does to its key; the consistency checks read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Returns the value of a register; `value` is what was read, none if there was none.
    Read,
    /// Sets a register to `value`; `replaced` is what stood there, where the system says so.
    Write,
    /// Creates `key`, once; `value` is what it holds.
    Insert,
    /// Adds `value` to the list at `key`.
    Append,
    /// Returns the list at `key`; `value` is the list, items joined by a comma.
    Scan,
}

/// One attempt of one operation, as its client saw it.
///
/// Written when it ends. All moments count from the run's start. Attempts of one operation share `workload` and
/// `op`; the operation's last record has `last`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The workload's name.
    pub workload: Arc<str>,
    /// The operation's class: `read`, `write`, `query`, `echo` or what the workload calls it.
    pub class: Arc<str>,
    /// The operation's number within its workload, from 0.
    pub op: u64,
    /// The attempt's number within its operation, from 1; 0 for an operation that was shed.
    pub attempt: u32,
    /// Sent beside an attempt that had not ended, not after one that failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hedge: bool,
    /// No further attempt of this operation follows in the file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub last: bool,
    /// What it does to `key`; none for operations without a state, such as `request` and `echo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The key that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// The value written, or the value read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<str>>,
    /// The value that a write replaced, as the system returned it; empty if there was none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Box<str>>,
    /// When the operation was due, by its arrival schedule.
    #[serde(rename = "due_ns")]
    pub due: Moment,
    /// When this attempt started.
    #[serde(rename = "start_ns")]
    pub start: Moment,
    /// When its connection stood, if it had to make one and the client tells.
    #[serde(rename = "connected_ns", default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Moment>,
    /// When the first byte of the answer came, if the client tells.
    #[serde(rename = "first_byte_ns", default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Moment>,
    /// When it ended, with an answer or without.
    #[serde(rename = "end_ns")]
    pub end: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it took effect.
    pub applied: Applied,
    /// The protocol's own code: an HTTP status, a SQLSTATE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Who served it: `node#incarnation`, or the address reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Arc<str>>,
    /// The link that it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Arc<str>>,
    /// The connection that it took: its number on that link, from the proxy's accept record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<u64>,
    /// How long the policy waits before the next attempt; none if there will be none.
    #[serde(rename = "retry_in_ns", default, skip_serializing_if = "Option::is_none", with = "optional_ns")]
    #[schemars(with = "Option<u64>")]
    pub retry_in: Option<Duration>,
    /// Why it failed, was retried or was given up, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Box<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An optional duration as whole nanoseconds.
mod optional_ns {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference")]
    pub(super) fn serialize<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match wait {
            Some(wait) => serializer.serialize_u64(wait.as_nanos() as u64),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}
