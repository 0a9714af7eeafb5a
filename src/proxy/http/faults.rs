//! The HTTP faults of one link and its counts: shared by its connections, owned by its engine thread.

use crate::plan::fault::HttpFault;
use crate::seed::Dice;

/// The name of an HTTP fault on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpFaultId(pub u64);

/// What a link saw of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Requests whose head passed or was answered here: attempts on the wire.
    pub requests: u64,
    /// Requests that a fault took, once for each fault.
    pub matched: u64,
    /// Connections that turned out not to speak HTTP/1.
    pub foreign: u64,
}

/// The HTTP faults of one link, in order of injection, and its counts.
#[derive(Debug, Default)]
pub struct HttpFaults {
    counts: HttpCounts,
}

impl HttpFaults {
    /// No fault yet.
    pub fn new() -> HttpFaults {
        HttpFaults::default()
    }

    /// Whether no fault is in force.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Puts a fault in force; its links are not looked at.
    pub fn insert(&mut self, _id: HttpFaultId, _fault: HttpFault, _dice: Dice) {}

    /// Takes a fault out of force. Each connection's [`Tap::healed`](super::Tap::healed) must be told as well.
    pub fn remove(&mut self, _id: HttpFaultId) {}

    /// What the link saw so far.
    pub fn counts(&self) -> HttpCounts {
        self.counts
    }

    /// Requests that one fault took so far; none if it is not in force.
    pub fn matched(&self, _id: HttpFaultId) -> Option<u64> {
        None
    }
}
