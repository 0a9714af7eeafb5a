//! What is under test: a lab inside the binary, or processes and endpoints.
//!
//! The order of a start: [`System::bind`] (every node has its address) → the run opens a proxy for each link →
//! [`System::start`] is told each link's address and starts work → [`System::wait_ready`].
pub mod dns;
mod known;
pub mod lab;
mod nodes;
pub mod port;
pub mod probe;
pub mod process;

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
use crate::experiment::interpolate::UnknownName;
use crate::plan::{self, Order};
use dns::Dns;
pub use known::{AUTHORITY, known};
use lab::{Lab, Refused};
use nodes::Nodes;
pub use nodes::Surroundings;

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

/// The system under test.
#[derive(Debug)]
pub enum System {
    /// A built-in one.
    Lab(Arc<dyn Lab>),
    /// Processes and endpoints.
    Nodes(Nodes),
}

impl System {
    /// Gives every node its address; nothing works yet.
    pub fn bind(system: &plan::System, surroundings: Surroundings) -> Result<System, SystemError> {
        match system {
            plan::System::Lab { name, params } => {
                Ok(System::Lab(lab::registry::bind(name, params, surroundings.teller)?))
            }
            plan::System::Nodes { nodes, .. } => Ok(System::Nodes(Nodes::bind(nodes, surroundings)?)),
        }
    }

    /// Who answers for its names; told before it starts.
    pub fn name_server(&self, dns: &Arc<Dns>) {
        if let System::Lab(lab) = self {
            lab.name_server(dns);
        }
    }

    /// Every node as it is now, in the order of the experiment.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        match self {
            System::Lab(lab) => lab.fleet().nodes(),
            System::Nodes(nodes) => nodes.infos(),
        }
    }

    /// `node#incarnation` of a node.
    pub fn place(&self, node: &str) -> Option<String> {
        self.nodes().iter().find(|info| info.name == node).map(NodeInfo::place)
    }

    /// Starts work; whoever dials over a link is told the link's address.
    ///
    /// Processes start in the order of the experiment, each once the one before is ready.
    pub async fn start(&self, links: &LinkAddresses) -> Result<(), SystemError> {
        match self {
            System::Lab(lab) => lab.fleet().start(links),
            System::Nodes(nodes) => nodes.start(links).await,
        }
    }

    /// Waits until it serves: a lab says so, every endpoint answers.
    pub async fn wait_ready(&self) -> Result<(), SystemError> {
        match self {
            System::Nodes(nodes) => nodes.reach_endpoints().await,
            System::Lab(lab) => lab::serves(&**lab).await,
        }
    }

    /// Whether an order was carried out, as far as anybody tells.
    pub fn done(&self, order: Order) -> bool {
        match self {
            System::Lab(lab) => lab.done(order),
            System::Nodes(_) => true,
        }
    }

    /// Why an order came to nothing that was granted and is [`done`](Self::done), as far as anybody tells.
    pub fn failed(&self, order: Order) -> Option<String> {
        match self {
            System::Lab(lab) => lab.failed(order),
            System::Nodes(_) => None,
        }
    }

    /// The nodes whose places serve operations now, as far as the system knows.
    pub fn serving(&self) -> Vec<String> {
        match self {
            System::Lab(lab) => lab.serving(),
            System::Nodes(_) => Vec::new(),
        }
    }

    /// Asks the system itself to do something, as a user would by its API; what it says is under way.
    pub async fn order(&self, order: Order) -> Result<String, Refused> {
        match self {
            System::Lab(lab) => blocking(lab, move |lab| lab.order(order)).await,
            System::Nodes(_) => Err(Refused::never(format!("nobody here takes the order to do a {order}"))),
        }
    }

    /// Does something to a node; returns when it is done: gone, standing still, stopped.
    pub async fn apply(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        match self {
            System::Lab(lab) => {
                let node = node.to_owned();
                blocking(lab, move |lab| lab.fleet().apply(&node, act)).await
            }
            System::Nodes(nodes) => nodes.apply(node, act).await,
        }
    }

    /// Takes back what [`apply`](Self::apply) did. A start is not waited for: an event tells when the node is ready.
    pub async fn heal(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        match self {
            System::Lab(lab) => {
                let node = node.to_owned();
                blocking(lab, move |lab| lab.fleet().heal(&node, act)).await
            }
            System::Nodes(nodes) => nodes.heal(node, act),
        }
    }

    /// A node's state, read back as proof: `gone`, `T` for a process that stands still, `paused` in a lab.
    pub fn read_back(&self, node: &str) -> String {
        match self {
            System::Lab(_) => {
                let state = self.nodes().into_iter().find(|info| info.name == node).map(|info| info.state);
                match state {
                    // A lab's node that was stopped is as gone as one that was killed.
                    Some(NodeState::Stopped) => NodeState::Gone.name().to_owned(),
                    Some(state) => state.name().to_owned(),
                    None => "unknown".to_owned(),
                }
            }
            System::Nodes(nodes) => nodes.read_back(node),
        }
    }

    /// The nodes that the probe at the service asks.
    pub fn probed(&self) -> Vec<String> {
        match self {
            System::Lab(lab) => lab.probed(),
            System::Nodes(nodes) => nodes.probed(),
        }
    }

    /// Asks a node directly, over no link, whether the service is well.
    pub async fn probe(&self, node: &str) -> bool {
        match self {
            System::Lab(lab) => {
                let address = lab.fleet().nodes().into_iter().find(|info| info.name == node).map(|info| info.address);
                let health = plan::system::Probe::Http("/health".to_owned());
                probe::ask(&address.unwrap_or_default(), &health, PROBE_WITHIN).await.is_ok()
            }
            System::Nodes(nodes) => nodes.probe(node, PROBE_WITHIN).await,
        }
    }

    /// Ends everything that was started. What does not end by itself is killed.
    pub async fn stop(&self) -> Result<(), SystemError> {
        match self {
            System::Lab(lab) => {
                blocking(lab, |lab| lab.fleet().stop()).await;
                Ok(())
            }
            System::Nodes(nodes) => nodes.stop().await,
        }
    }
}

/// The probe's own time-out.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// A lab's node may take a moment to end: never on the caller's runtime.
async fn blocking<T: Send + 'static>(lab: &Arc<dyn Lab>, act: impl FnOnce(&dyn Lab) -> T + Send + 'static) -> T {
    let lab = Arc::clone(lab);
    tokio::task::spawn_blocking(move || act(&*lab)).await.expect("it does not panic, and is not aborted")
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

impl NodeAct {
    /// The word in experiments and messages.
    pub const fn name(self) -> &'static str {
        match self {
            NodeAct::Kill => "kill",
            NodeAct::Pause => "pause",
            NodeAct::Stop => "stop",
            NodeAct::Restart => "restart",
        }
    }
}

/// A system that does not start, or a node that does not obey.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The lab's parameters are wrong; `check` finds this before anything starts.
    #[error("the lab cannot be set up: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Lab(Vec<plan::LabError>),
    /// A node's port cannot be had.
    #[error("node `{node}` cannot listen at {listen}: {source}")]
    Bind {
        /// Which.
        node: String,
        /// Where.
        listen: String,
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
    /// Its folder or files cannot be made.
    #[error("node `{node}` cannot be prepared: {source}")]
    Prepare {
        /// Which.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// Its texts name something that does not exist.
    #[error("node `{node}`: {source}")]
    Fill {
        /// Which.
        node: String,
        /// What.
        source: UnknownName,
    },
    /// The process cannot be started or signalled.
    #[error("node `{node}` cannot be started or signalled: {reason}")]
    Launch {
        /// Which.
        node: String,
        /// Why.
        reason: String,
    },
    /// It died at its start, or took too long.
    #[error("node `{node}` {how}{last_lines}")]
    NotReady {
        /// Which.
        node: String,
        /// How it died, or what was waited for.
        how: String,
        /// Its last lines of output, ready to follow the message.
        last_lines: String,
    },
    /// A signal had no effect.
    #[error("node `{node}` {what}")]
    Disobeys {
        /// Which.
        node: String,
        /// What it does not do.
        what: &'static str,
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
