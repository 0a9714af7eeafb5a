//! Whether what was expected came true: pure functions from [`Measured`](crate::measure::Measured) to [`Verdict`].
//!
//! ```text
//! expectation ─▶ each variant ─▶ each workload ─▶ each repetition: observe ─▶ compare ─▶ doubt ─▶ one line
//!                                                                              ▲
//!                                            limit: a quantity, the run's own baseline, or the stored one
//! ```
//! Where the limit is another variant's figure, all repetitions of both are compared at once.

mod baseline;
mod because;
mod compare;
mod expected;
mod judge;
mod model;
mod observe;
pub mod say;
mod stored;

pub use baseline::baseline_failures;
pub use compare::{Comparison, comparisons};
pub use judge::judge;
pub use model::*;
pub use stored::{STORED_SCHEMA, StoredBaseline, StoredError};

#[cfg(test)]
mod tests;
