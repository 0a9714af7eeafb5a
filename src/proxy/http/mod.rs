//! HTTP/1: requests are counted, and some get a fault, as they pass.
//!
//! ```text
//! client ──read──▶ Tap::up ──────▶ chain up ──▶ upstream
//!                     │ answers of its own
//!                     ▼
//! client ◀── chain down ◀── Tap::down ◀──read── upstream
//! ```
//!
//! The tap is pure and sits before the chains, at the sockets that are read. Where it answers [`Passage::Whole`],
//! which is always so without a fault, the bytes just read pass as they are and were not copied; where it answers
//! [`Passage::Taken`], it gives out by [`Tap::next`] what passes instead.
//!
//! What turns out not to be HTTP/1 passes untouched from there on, and is counted.

mod abort;
mod body;
mod exchange;
mod faults;
mod head;
mod inbox;
mod outbox;
mod tap;

pub use faults::{HttpCounts, HttpFaultId, HttpFaults};
pub use tap::{Passage, Tap, TapStep};
