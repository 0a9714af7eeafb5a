//! A replica set: one primary, members with a copy each, and a control ring that decides who is what.
//!
//! ```text
//!   control ring: seat ─ seat ─ seat     one record, kept by a majority      (ring)
//!                   │ heartbeat, prepare │ beat, promise
//!                   ▼                    │ decisions of whoever leads        (controller)
//!      clients ─▶ primary ──append──▶ member, member, member                 (replica, primary)
//!                         ◀──lease───
//! ```
//!
//! Everything here is pure and told the time; the labs put threads and sockets around it.
//!
//! **The record** says who is primary, of which term, and who the members are. The ring's leader changes it one thing at
//! a time, and acts on nothing that a majority of the ring does not have. So there is one line of records, each term has
//! one primary, and a leader that was replaced without knowing can say nothing new.
//!
//! **Why no acknowledged write is lost.** A write is acknowledged once W of the N members have it on disk: a majority,
//! or with [`Commit::All`] every one. A primary is chosen among N - W + 1 members that have promised to take nothing of
//! an older term any more. Any so many include one of every W, so one of them has the write, and the one whose journal
//! ends newest, by term and then by number, has it too: an entry of a later term stands only behind everything that was
//! acknowledged before that term began. For that last step a primary counts nothing as committed before the first entry
//! of its own term is.
//!
//! **Why nobody reads what is outdated.** With every answer a member promises its primary to follow nobody else for a
//! while; it counts from the answer, the primary from its own question before, so the primary's count ends first (clocks
//! need not agree, only run equally fast). A primary answers only while W members, itself included, are bound to it so.
//! A member that is bound promises nothing to an election, unless the ring knows that the primary has given up. Who
//! comes back from a kill has forgotten whom it was bound to, and waits as long as it can have been.
//!
//! **Why members can change.** The record gets a target. The primary brings the new members up to date; from one moment
//! on it needs W of the target *too*, for every write and every lease, and once W of the target have all that was ever
//! acknowledged it says so, about this version of the record. Only then the ring makes the target the members. Before,
//! elections ask the old members, who have everything; after, the new ones, who have it as well. It works even when no W
//! of the old members are left, as long as N - W + 1 of them could elect a primary: it acknowledges nothing until the
//! target is recorded. With [`Commit::All`] that is how a lost member is ejected, and how it is let in again once it has
//! everything.
//!
//! **Why a set can be migrated while it serves.** The record says in which of two [homes](Home) the set is to stand. The
//! target is then the copies of that home, all at once: it is a change of members like any other. The primary stays where
//! it is until the new members are recorded, though it is none of them, and so counts in no quorum of theirs. Only then
//! it hands over to one of them, which is the one moment at which nobody serves.
//!
//! **Why a restarted primary does no harm.** What it had granted and was granted was in memory. A node is primary of a
//! term once; after a start it says that it has given up, and is elected anew, perhaps itself.
//!
//! **What is broken on purpose.** [`Commit::Async`] acknowledges what only the primary has. Without `fencing` members
//! take what an older primary sends, and a primary needs no lease. What is not `joint` counts new copies before they are
//! built.

pub mod control;
pub mod controller;
pub mod members;
mod primary;
pub mod protocol;
pub mod replica;
pub mod ring;
pub mod settings;
#[cfg(test)]
mod tests;

pub use control::Control;
pub use members::{Home, Id, Members};
pub use replica::Replica;
pub use settings::{Commit, Settings};
