//! What gateway and nodes say to each other, as JSON bodies of HTTP requests.

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::system::lab::store::{Entry, Position, Store};

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first primary.
    A,
    /// The first standby.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The other node.
    pub const fn peer(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// Who is primary, and who must have a write before it is acknowledged. Only the gateway makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Raised with every change.
    pub version: u64,
    /// Raised with every change of the primary.
    pub term: u64,
    /// The primary of this term.
    pub primary: Side,
    /// Whether the other node holds every acknowledged write, so that it may be promoted.
    pub standby_in_sync: bool,
    /// Whether the primary is to hand over: it takes nothing new, and finishes what it has begun.
    pub yields: bool,
}

/// A moment of a node's own clock, by which the gateway shows that it heard the node then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Which start of the node.
    pub boot: u64,
    /// The moment.
    pub at: Moment,
}

/// Gateway → node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The configuration as it stands.
    pub config: Config,
    /// The stamp of the node's last answer.
    pub echo: Option<Stamp>,
}

/// Node → gateway, in answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When the answer was made.
    pub stamp: Stamp,
    /// The newest term that the node knows.
    pub term: u64,
    /// The version that the node has adopted; 0 for none.
    pub version: u64,
    /// Whether it serves as primary of that term.
    pub serving: bool,
    /// As primary: the standby has everything, and from now on no write is acknowledged without it.
    pub joined: bool,
    /// As primary: writes wait for a standby that does not take them.
    pub stalled: bool,
    /// As primary: the standby is there and has everything that was ever accepted.
    pub drained: bool,
}

/// Primary → standby: entries behind `prev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The primary's term.
    pub term: u64,
    /// Where the entries go.
    pub prev: Position,
    /// The entries; none to ask how far the standby is.
    pub entries: Vec<Entry>,
}

/// Primary → standby: everything, for a standby that no entries of the journal's tail can bring up to date.
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

/// Standby → primary, in answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shipped {
    /// The journals agree up to this index.
    Agreed(u64),
    /// The standby's journal ends here.
    Behind(Position),
    /// The standby has entries that the primary has not.
    Diverged,
    /// A newer primary exists: this term's.
    Fenced(u64),
}
