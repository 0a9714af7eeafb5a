//! What is under test: a lab inside the binary, or nodes that the run starts or finds.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use crate::units::Span;

/// The node name that stands for the harness's own probe; no selector matches it.
pub const PROBE: &str = "probe";

/// The system under test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// A built-in reference system, with its parameters as checked by the lab.
    Lab {
        /// Its name, such as `primary-standby`.
        name: String,
        /// Its parameters, every default filled in.
        params: IndexMap<String, serde_json::Value>,
    },
    /// Nodes and the links between them.
    Nodes {
        /// By name.
        nodes: IndexMap<String, Node>,
        /// By name; workloads' own links are not among them, they are made for each workload.
        links: IndexMap<String, Link>,
    },
}

impl System {
    /// Whether it has one node alone.
    pub fn is_one_node(&self) -> bool {
        matches!(self, System::Nodes { nodes, .. } if nodes.len() == 1)
    }

    /// The endpoint of this name, if a node of this name is one.
    pub fn endpoint(&self, node: &str) -> Option<&Endpoint> {
        match self {
            System::Nodes { nodes, .. } => nodes.get(node)?.kind.endpoint(),
            System::Lab { .. } => None,
        }
    }

    /// How long a restart of one of its nodes may take at most, from asking it to stop until it is ready again.
    pub fn restart_within(&self) -> Duration {
        /// A node of a lab is back after some heartbeats, unless a fault keeps it away.
        const LAB: Duration = Duration::from_secs(10);
        match self {
            System::Lab { .. } => LAB,
            System::Nodes { nodes, .. } => {
                let processes = nodes.values().filter_map(|node| match &node.kind {
                    NodeKind::Process(process) => Some(process.stop.within.0 + process.ready.within.0),
                    NodeKind::Endpoint(_) => None,
                });
                processes.max().unwrap_or_default()
            }
        }
    }
}

/// A node of the system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Zone, region, role and the user's own; selectors match them.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// A request that tells whether the service is well, taking no faulted link; none: a TCP connect.
    #[serde(default)]
    pub probe: Option<Probe>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Already running.
    Endpoint(Endpoint),
    /// Started, waited for, logged, killed, paused and stopped by the run.
    Process(Box<Process>),
}

impl NodeKind {
    /// What already runs.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            NodeKind::Endpoint(endpoint) => Some(endpoint),
            NodeKind::Process(_) => None,
        }
    }
}

/// A program that the run starts under its keeper.
///
/// `$${` stands for `${`.
///
/// In `command`, `env`, `files` and `ready`, `${links.NAME.address}`, `${links.NAME.port}`, `${nodes.NAME.address}`,
/// `${nodes.NAME.port}` and `${dir}` (a folder of its own inside the run folder) are filled in when it starts, and so is
/// `${links.NAME.ca}`, the file of the authority of a link that ends TLS.
/// `${nodes.self.name}`, `${nodes.self.address}` and `${nodes.self.port}` are its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The program with its arguments.
    pub command: Vec<String>,
    /// Environment on top of the whitelist (`PATH`, `LANG`, `TZ`, `HOME` = its folder).
    #[serde(default)]
    pub env: IndexMap<String, Value>,
    /// Files written into its folder before the start: name → content.
    #[serde(default)]
    pub files: IndexMap<String, String>,
    /// Where it listens: `127.0.0.1:PORT`; port 0 means that the run picks a free one, and keeps it for restarts.
    #[serde(default)]
    pub listen: Option<String>,
    /// When it is ready.
    pub ready: Ready,
    /// How it is asked to stop, before it is killed.
    pub stop: Stop,
    /// Milestones that its log tells: a line that contains the text tells the milestone.
    #[serde(default)]
    pub log_milestones: Vec<LogMilestone>,
}

/// A text, or a secret that is read when needed and never written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// As it stands.
    Text(String),
    /// By reference.
    Secret(Secret),
}

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; one trailing line break is cut.
    File(String),
}

/// When a process counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// What tells.
    pub when: ReadyWhen,
    /// How long it may take. Default 10 s.
    pub within: Span,
}

/// What tells that a process is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyWhen {
    /// Its `listen` address accepts a connection.
    Listening,
    /// A GET of this path at its `listen` address answers 2xx or 3xx.
    Http(String),
    /// Its output contains this text.
    Log(String),
}

/// How a process is stopped in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The signal: `TERM`, `INT`, `QUIT`. Default `TERM`.
    pub signal: String,
    /// How long it may take before it is killed. Default 5 s.
    pub within: Span,
}

/// A milestone that a server's log tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMilestone {
    /// Which.
    pub milestone: crate::event::Milestone,
    /// The text that the line contains.
    pub contains: String,
}

/// A request that tells whether a service is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A TCP connect.
    Tcp,
    /// A GET of this path answers 2xx or 3xx.
    Http(String),
}

/// A link: client node → server node, one proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The node that dials.
    pub from: String,
    /// The node that is dialled.
    pub to: String,
    /// Where the proxy listens; default `127.0.0.1:0`.
    pub listen: String,
    /// Whether the proxy reads HTTP/1 on it, which HTTP faults and the count of requests need.
    pub http: bool,
    /// Where TLS ends.
    #[serde(default, skip_serializing_if = "Tls::is_opaque")]
    pub tls: Tls,
    /// Where it ends here: a PEM file with the authorities to trust at the endpoint; default: those of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Where TLS ends on the way to an endpoint at `https://`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// At the endpoint: what passes is opaque to the proxy.
    #[default]
    Opaque,
    /// At the link, which speaks TLS of its own on both sides.
    Terminate,
}

impl Tls {
    /// Whether it passes as it is.
    pub fn is_opaque(&self) -> bool {
        *self == Tls::Opaque
    }
}
