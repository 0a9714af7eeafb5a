//! What a user may ask of a lab's system, and how it says no.

use std::fmt;
use std::time::Duration;

use crate::plan::fault::Failover;
use crate::units::Span;

/// Something that a user may ask of the system, as by its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To move what serves to another place.
    Failover(Failover),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Failover(kind) => write!(f, "{} failover", kind.name()),
        }
    }
}

/// The system does not do what it was asked to, and nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}{}", .left.map(|left| format!("; {} left", Span(left))).unwrap_or_default())]
pub struct Refused {
    /// Why, as the system says it.
    pub why: String,
    /// So long until it may be asked again, where that is all that stands in the way.
    pub left: Option<Duration>,
}

impl Refused {
    /// Whenever it is asked, as things are.
    pub fn never(why: impl Into<String>) -> Refused {
        Refused { why: why.into(), left: None }
    }

    /// For a while: how long is rounded up to a whole millisecond.
    pub fn for_now(why: impl Into<String>, left: Duration) -> Refused {
        let left = Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64);
        Refused { why: why.into(), left: Some(left) }
    }
}
