//! Whether what was expected came true: pure functions from [`Measured`](crate::measure::Measured) to [`Verdict`].
//!
//! ```text
//! expectation ─▶ each variant ─▶ each workload ─▶ each repetition: observe ─▶ compare ─▶ doubt ─▶ one line
//! ```

mod baseline;
mod because;
mod judge;
mod model;
mod observe;
pub mod say;

pub use baseline::baseline_failures;
pub use judge::judge;
pub use model::*;

#[cfg(test)]
mod tests;
