//! Who uses the system: operations that are due by a schedule, whatever happened to the ones before.
//!
//! ```text
//!  arrival ──due──▶ the one loop ──a call──▶ client ──▶ the system
//!                     ▲      │ ◀──an answer──
//!           retry::Policy    ├──▶ Sink: one record an attempt
//!                            └──▶ Gauge: what guards and the live view read
//! ```
//!
//! [`Load`] runs one workload on threads of its own. The [loop](flight) is written once; a [`client`] differs in
//! one attempt, and an [`arrival`] in when the next operation is due. Latency counts from the due time, so a
//! client that is held up cannot hide an outage.

pub mod arrival;
pub mod client;
mod flight;
mod gate;
pub mod gauge;
mod lane;
mod load;
#[cfg(test)]
mod load_tests;
pub mod operations;
mod scheduling;
#[cfg(test)]
mod tests;
mod timer;

use crate::event::Attempt;

pub use gauge::{Gauge, GeneratorHealth, Window};
pub use load::{ConnOf, Load, LoadError, LoadSpec, Named, NamedLink};

/// Where finished attempts go.
///
/// Called on the threads that carry load, so it must never block: a sink that is full drops the record and counts it,
/// which makes the run inconclusive.
pub trait Sink: Send + Sync {
    /// Takes one record. The records of one operation come in order; `last` is on the last one.
    fn attempt(&self, attempt: Attempt);

    /// Records dropped so far.
    fn dropped(&self) -> u64;
}
