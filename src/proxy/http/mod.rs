//! HTTP/1: requests are counted, and some get a fault, as they pass.
//!
//! ```text
//! client ──read──▶ Tap::up ───▶ chain up ──▶ upstream
//! client ◀── chain down ◀─── Tap::down ◀──read── upstream
//! ```
//!
//! The tap is pure. Where it answers [`Passage::Whole`], which is always so without a fault, the bytes just read
//! pass as they are and were not copied; where it answers [`Passage::Taken`], it gives out by [`Tap::next`] what
//! passes instead.

mod faults;
mod tap;

pub use faults::{HttpCounts, HttpFaultId, HttpFaults};
pub use tap::{Passage, Tap, TapStep};
