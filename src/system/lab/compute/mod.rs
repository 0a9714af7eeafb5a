//! Compute without data of its own: which node runs the engine, whether it serves, and how warm its cache is.
//!
//! ```text
//!   control ring ── assignment ──▶ compute      (placement)
//!                ◀──── report ────
//!   clients ─▶ router ─▶ compute ── epoch, request ──▶ storage      (engine, cache)
//! ```
//!
//! **Why no two engines write.** Each assignment has an epoch, higher than all before it. An engine first writes its epoch
//! through storage, and serves once that is committed; every request of it carries the epoch, and storage refuses one
//! that is older than the newest that it has. So what a replaced engine still sends comes to nothing.

pub mod cache;
pub mod engine;
pub mod epoch;
pub mod placement;

pub use engine::Engine;
pub use placement::{Assignment, Placement, Report};
