//! What happened, in figures: pure functions from a run folder's events and attempts to [`Measured`].

mod model;

pub use model::*;
