//! Site recovery: a machine's disk is replicated to other regions, and a plan of ordered steps brings it up there.
//!
//! ```text
//!   source ──entries──▶ replica of each region ──points──▶ plan: machine, disk, boot, application, names
//! ```
//!
//! Everything here is pure and told the time; whoever runs it carries out each step and says how it went.
//! What is measured of it: the recovery time is the plan's, in parts; the data loss is what the source acknowledged after the
//! recovery point.

pub mod plan;
pub mod points;
pub mod service;

pub use plan::{Step, Walk};
pub use points::{Consistency, Point, Pointer, RecoverTo, Replica};
pub use service::{Drill, Happening, Order, Service, Settings};
