//! Faults on one link: what strikes, and what it has met.

use super::reach::Reach;
use crate::clock::Moment;
use crate::event::Mechanism;
use crate::plan::fault::{Direction, HttpFault, Toxic};

/// A fault on one link.
#[derive(Clone, Debug, PartialEq)]
pub enum Strike {
    /// A toxic at the end of the chain.
    Toxic {
        /// Whose bytes.
        direction: Direction,
        /// What it does.
        toxic: Toxic,
        /// The share of connections that it concerns, drawn for each, from 0 to 1.
        share: f64,
    },
    /// A reach fault; it overrides toxics, and about the same aspect the newest wins.
    Reach(Reach),
    /// A fault on HTTP/1 requests; its `links` are not looked at.
    Http(HttpFault),
}

/// Names a fault in force on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrikeId(pub(crate) u64);

/// A fault that is in force now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struck {
    /// Its name, to heal it by.
    pub id: StrikeId,
    /// When it struck.
    pub at: Moment,
    /// How it is done, for silence and packet loss.
    pub mechanism: Option<Mechanism>,
    /// Bytes that the kernel already had in its send queues.
    pub in_flight_bytes: u64,
}

/// What a fault has met on one link while it was in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Chunks altered by the toxic.
    pub altered_chunks: u64,
    /// Bytes offered and withheld in user space.
    pub withheld_bytes: u64,
    /// Segments dropped by socket filters, SYNs among them.
    pub dropped_segments: u64,
    /// Connections refused, reset, dropped, orphaned or left unanswered.
    pub connections: u64,
    /// HTTP requests matched.
    pub requests: u64,
    /// Bytes of the withheld directions that passed all the same.
    pub passed_bytes: u64,
}

impl std::ops::AddAssign for Evidence {
    fn add_assign(&mut self, other: Evidence) {
        self.altered_chunks += other.altered_chunks;
        self.withheld_bytes += other.withheld_bytes;
        self.dropped_segments += other.dropped_segments;
        self.connections += other.connections;
        self.requests += other.requests;
        self.passed_bytes += other.passed_bytes;
    }
}
