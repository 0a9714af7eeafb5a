//! Compute without data of its own: which node runs the engine, and how warm its cache is.

pub mod cache;
pub mod placement;
