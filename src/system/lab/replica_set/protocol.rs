//! What control nodes, primaries and members say to each other.

use serde::{Deserialize, Serialize};

use super::members::{Home, Id, Members};
use crate::clock::Moment;
use crate::system::lab::store::{Entry, Position, Store};

/// Who is primary and who holds copies. Only a majority of the control ring makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Raised with every change.
    pub version: u64,
    /// Raised with every change of the primary.
    pub term: u64,
    /// The primary of this term.
    pub primary: Id,
    /// Whose majority must have a write before it is acknowledged, and who is asked in an election.
    pub members: Members,
    /// The members that are to be; the primary says when a majority of them has everything.
    pub target: Option<Members>,
    /// When a user ordered a failover last: at most one is granted in a while.
    pub ordered: Option<Moment>,
    /// Where copies and primary are to stand.
    pub home: Home,
}

impl Record {
    /// The record at the first start of all: node 0 is primary of the first `copies` nodes.
    pub fn first(copies: usize) -> Record {
        Record {
            version: 1,
            term: 1,
            primary: Id(0),
            members: Members::first(copies),
            target: None,
            ordered: None,
            home: Home::First,
        }
    }

    /// Everybody whom the primary keeps up to date.
    pub fn copies(&self) -> Members {
        self.members.and(self.target.unwrap_or_default())
    }
}

/// Control ring → node, over and over; in answer comes a [`Beat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The record, as a majority of the ring has it.
    pub record: Record,
    /// An election is held.
    pub prepare: Option<Prepare>,
    /// To the primary: its time is to end.
    pub resign: Option<Resign>,
}

/// The question of an election: will you follow nobody of an older term?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// The term that is to be.
    pub term: u64,
    /// No primary of this term or an older one can serve any more: no lease of theirs needs to be waited for.
    pub released: u64,
}

/// The primary of a term is asked to make an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resign {
    /// Which term's.
    pub term: u64,
    /// How.
    pub how: Departure,
}

/// How a primary makes an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// It finishes what it has accepted, and becomes a secondary.
    HandOver,
    /// Its engine is started anew, on the spot.
    Restart,
}

/// Node → control ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// It follows nobody of an older term than this.
    pub term: u64,
    /// Its journal's end. With the promise of a term it stays so until that term's primary writes.
    pub last: Position,
    /// It does not serve in this term or an older one, and never will.
    pub given_up: u64,
    /// The version that it acts by; 0 for none.
    pub version: u64,
    /// Whether it serves as primary of `term`.
    pub serving: bool,
    /// As primary of `term`: a majority of the target of `version` has everything, and nothing is acknowledged without one.
    pub joined: bool,
}

/// Primary → member: entries behind `prev`; none of them to renew the lease, or to ask how far the member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The primary's term.
    pub term: u64,
    /// Everything up to here is committed.
    pub committed: u64,
    /// Where the entries go.
    pub prev: Position,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Primary → member: everything, for one that no entries of the journal's tail can bring up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// The primary's term.
    pub term: u64,
    /// Its store.
    pub store: Store,
}

/// What replication sends next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipment {
    /// Entries.
    Append(Append),
    /// Everything.
    Install(Install),
}

impl Shipment {
    /// The primary's term.
    pub fn term(&self) -> u64 {
        match self {
            Shipment::Append(append) => append.term,
            Shipment::Install(install) => install.term,
        }
    }
}

/// Member → primary, in answer. Unless it is a refusal, it is a lease as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shipped {
    /// The journals agree up to this index.
    Agreed(u64),
    /// The member's journal ends here.
    Behind(Position),
    /// The member has entries that the primary has not.
    Diverged,
    /// It follows nobody of an older term than this one.
    Fenced(u64),
}

/// The counterfoil of a shipment: what the primary knew when it sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The shipment's number; only the newest to a member is awaited.
    pub number: u64,
    /// The primary's term.
    pub term: u64,
    /// By the primary's own clock: leases count from here.
    pub sent: Moment,
    /// Its journal's end.
    pub last: u64,
}
