//! The keeper: whatever happens to the harness, nothing that it started stays behind.
//!
//! ```text
//!   harness ═══ socket pair ═══ keeper (`brownout __keeper`: own session, child subreaper)
//!      ▲                           │ parent of every process of every node
//!      └── pipes: their output ────┴── journal in the run folder: who was started, what must be undone
//! ```
//!
//! - The harness ends, by whatever: the pair's other end closes, and the keeper kills every descendant (daemons too:
//!   it is the subreaper of all of them), undoes what the journal says, removes the journal and exits.
//! - A fault outlives its lease: the keeper undoes it, and tells the harness to stop. A harness that does not let go of
//!   the lease even then is taken for hung, and is killed: its faults go with it.
//! - The keeper dies: the harness sees its end close, ends the run, and does the keeper's last work itself ([`sweep()`]).
//! - Both die: `brownout heal` reads the journal ([`heal()`]).

mod body;
mod handle;
mod heal;
mod journal;
mod kin;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use body::main;
pub(super) use handle::ANSWER_WITHIN;
pub use handle::{Keeper, KeeperError};
pub use heal::{HealError, Healed, heal, sweep};
pub use journal::{JOURNAL_FILE, Undo};
pub use wire::Notice;
