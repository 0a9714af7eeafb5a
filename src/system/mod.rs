//! What is under test: a lab inside the binary, or processes and endpoints.
//!
//! The order of a start: [`System::bind`] (every node has its address) → the run opens a proxy for each link →
//! [`System::start`] is told each link's address and starts work → [`System::wait_ready`].

pub mod lab;
pub mod probe;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::clock::{Moment, RunClock};
use crate::event::{Event, What};

/// Where each link listens, by its name.
pub type LinkAddresses = BTreeMap<String, SocketAddr>;

/// Where a system tells what happens, stamped at once.
#[derive(Clone)]
pub struct Teller {
    clock: RunClock,
    sink: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Teller {
    /// Events go to `sink`, which must not block.
    pub fn new(clock: RunClock, sink: Arc<dyn Fn(Event) + Send + Sync>) -> Teller {
        Teller { clock, sink }
    }

    /// The run's clock.
    pub fn clock(&self) -> RunClock {
        self.clock
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Something happens now.
    pub fn tell(&self, what: What) {
        self.tell_at(self.now(), what);
    }

    /// Something happened.
    pub fn tell_at(&self, at: Moment, what: What) {
        (self.sink)(Event { at, what });
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

/// A node now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// Its labels as written; `role` is the one at the start.
    pub labels: IndexMap<String, String>,
    /// `host:port`, what its links dial; a name is resolved at each dial. Empty for a process that does not listen.
    pub address: String,
    /// Raised at each start or promotion.
    pub incarnation: u64,
    /// The role that it has now, if the system knows; none for a node that is gone.
    pub role: Option<String>,
    /// Its state.
    pub state: NodeState,
}

impl NodeInfo {
    /// `node#incarnation`.
    pub fn place(&self) -> String {
        format!("{}#{}", self.name, self.incarnation)
    }
}

/// What a node does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Not ready yet.
    Starting,
    /// Works.
    Ready,
    /// Stands still.
    Paused,
    /// Was stopped in good order.
    Stopped,
    /// Was killed, or died.
    Gone,
}

impl NodeState {
    /// The word in events.
    pub const fn name(self) -> &'static str {
        match self {
            NodeState::Starting => "starting",
            NodeState::Ready => "ready",
            NodeState::Paused => "paused",
            NodeState::Stopped => "stopped",
            NodeState::Gone => "gone",
        }
    }
}

/// What a node fault does to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeAct {
    /// Ends it at once; healed by a start.
    Kill,
    /// Makes it stand still; healed by letting it go on.
    Pause,
    /// Ends it in good order; healed by a start.
    Stop,
    /// Ends it in good order and starts it again; nothing to heal.
    Restart,
}

/// A system that does not start, or a node that does not obey.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The lab's parameters are wrong; `check` finds this before anything starts.
    #[error("the lab cannot be set up: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Lab(Vec<lab::LabError>),
    /// A node's port cannot be had.
    #[error("node `{node}` cannot listen: {source}")]
    Bind {
        /// Which.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// The run gave no address for a link.
    #[error("link `{link}` has no address")]
    NoLink {
        /// Which.
        link: String,
    },
    /// No node has this name.
    #[error("no node is called `{node}`")]
    UnknownNode {
        /// As given.
        node: String,
    },
    /// The node is not the run's to kill, pause or stop.
    #[error(
        "node `{node}` is an endpoint: the run did not start it, and does not {act} it; use an `exec` or `http` action"
    )]
    NotOurs {
        /// Which.
        node: String,
        /// What was asked.
        act: &'static str,
    },
    /// An endpoint does not answer.
    #[error("endpoint `{node}` at {address} does not answer: {why}; start it, or correct its address")]
    Unreachable {
        /// Which.
        node: String,
        /// Where.
        address: String,
        /// What was tried, and what came.
        why: String,
    },
    /// The lab does not serve in time.
    #[error("lab `{lab}` does not serve after {waited:?}: {state}")]
    LabNotReady {
        /// Which.
        lab: String,
        /// How long was waited.
        waited: Duration,
        /// Its nodes' states.
        state: String,
    },
}
