//! Whether a run folder is what its run left: hashes, signatures, and the check of both.
//!
//! ```text
//!            the run ends                                     any time later
//! records ──▶ reports ──▶ manifest.json ──────────────────▶ check ──▶ altered, missing, added
//!             (made of     SHA-256 of every file of both      ▲
//!              records)          └──▶ signatures/KEY.sig ─────┘ by whoever holds a key
//! ```
//!
//! **Records** are what a run wrote while it went on: they cannot be made again, and are good only as they were sealed.
//! **Reports** are derived: one is good if it is as the run left it, or what the records come to.
//! A manifest without hashes is not sealed: the run goes on, or was cut off.

mod check;
mod files;
mod key;
mod signature;

pub use check::{Checked, EvidenceError, Finding, Remade, Wrong, altered_records, check};
pub use files::hashes;
pub use key::{KeyError, PublicKey, SigningKey};
pub use signature::{SIGNATURES, Signature, signatures};
