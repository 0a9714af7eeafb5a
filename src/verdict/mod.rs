//! Whether what was expected came true: pure functions from [`Measured`](crate::measure::Measured) to [`Verdict`].

mod model;

pub use model::*;
