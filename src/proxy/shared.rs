//! What the engine threads of a link share with everyone.

use std::net::SocketAddr;
use std::sync::Arc;

use super::counters::Counters;
use super::peers::Peers;
use crate::clock::Moment;

/// One connection, as it is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its number on its link, from 1.
    pub number: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub opened: Moment,
    /// Where it stands: `withheld`, `dialing`, `open`, `orphaned`, `draining`.
    pub state: &'static str,
}

/// A link's address, its live totals, and whose its connections are.
#[derive(Debug)]
pub(crate) struct LinkShared {
    pub(crate) name: Arc<str>,
    pub(crate) addr: SocketAddr,
    /// Of each engine thread that serves it, the home thread first.
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) peers: Peers,
}
