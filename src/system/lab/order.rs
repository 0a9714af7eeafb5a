//! How a lab's system says no to an order.

use std::time::Duration;

use crate::plan::Order;
use crate::units::Span;

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
    /// By a lab that does not know the order.
    pub fn unknown(lab: &str, order: Order) -> Refused {
        Refused::never(format!("{lab} knows no {order}"))
    }

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
