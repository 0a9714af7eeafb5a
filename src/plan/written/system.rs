//! How a system is written.

use indexmap::IndexMap;

use super::{OneOrMore, neither, ruled, texts};
use crate::event::Milestone;
use crate::experiment::decode::{Decode, Named, Template, parsed, scalar};
use crate::experiment::mistake::{Mistake, Mistakes};
use crate::experiment::shape::*;
use crate::experiment::tree::Node as Tree;
use crate::plan::endpoint::{Endpoint, EndpointError};
use crate::plan::names::{Name, Names};
use crate::plan::system::{
    Link, LogMilestone, Node, NodeKind, Probe, Process, Ready, ReadyWhen, Secret, Stop, Tls, Value,
};
use crate::units::Span;

/// A system as written.
pub(in crate::plan) struct WrittenSystem {
    pub(in crate::plan) kind: WrittenKind,
    pub(in crate::plan) links: IndexMap<String, Link>,
    pub(in crate::plan) names: Names,
}

/// What a system is.
pub(in crate::plan) enum WrittenKind {
    /// A lab's name with its parameters: exactly one.
    Lab(IndexMap<String, IndexMap<String, serde_json::Value>>),
    /// Nodes by name.
    Nodes(IndexMap<String, Node>),
}

choice! {
    /// A system is a lab, or nodes.
    WrittenKind, "what is under test" {
        /// A built-in reference system, by name, with its parameters: `lab: { primary-standby: { commit: sync } }`.
        lab (lab: IndexMap<String, IndexMap<String, serde_json::Value>>) => WrittenKind::Lab(lab),
        /// Nodes that the run starts or finds, by name.
        nodes (nodes: Named<Node>) => WrittenKind::Nodes(nodes.0),
    }
}

record! {
    /// What is under test: a lab inside the binary, or nodes of your own with the links between them.
    WrittenSystem {
        ..kind: WrittenKind,
        /// The links between nodes, by name; each is a proxy of its own. Workloads bring theirs, called `WORKLOAD-TO`.
        links: Named<Link>,
        /// Names that workloads may use in the place of a node. A DNS server inside the run answers them, and `dns_…`
        /// faults are about them; a lab brings its own.
        names: Names,
    } => WrittenSystem { kind, links: links.0, names }
}

record! {
    /// What a name means. A workload that uses it has a link to each node that it may mean.
    Name {
        /// The node, or the nodes.
        to: OneOrMore,
        /// How long an answer may be believed: whole seconds, parts of one count as one.
        ttl: Span = "5s",
    } => Name { to: to.0, others: Vec::new(), ttl }
}

record! {
    /// A link: one node dials another, and a proxy stands between.
    Link {
        /// The node that dials.
        from: String,
        /// The node that is dialled.
        to: String,
        /// Where the proxy listens; port 0 means a free one, which `${links.NAME.address}` tells.
        listen: Listen = "'127.0.0.1:0'",
        /// Whether the proxy reads HTTP/1 on it, which HTTP faults need.
        http: bool = "false",
        /// Where TLS towards an endpoint at `https://` ends. `${links.NAME.ca}` tells whoever dials a link that ends it
        /// whom to trust.
        tls: Tls = "opaque",
        /// Where the link ends TLS: a PEM file with the certificates of the authorities to trust at the endpoint. Default:
        /// those that this machine trusts.
        ca: Option<String>,
    } => Link { from, to, listen: listen.0, http, tls, ca }
}

words! {
    Tls, "where TLS ends" {
        /// At the endpoint; the proxy passes it on as it is.
        "opaque" => Tls::Opaque,
        /// At the link, under a certificate of the run's own authority; towards the endpoint the link speaks TLS itself.
        "terminate" => Tls::Terminate,
    }
}

choice! {
    /// What a node is.
    NodeKind, "what the node is" {
        /// Already running, at `host:port`, `http://host/path` or `https://host/path`. An `http` client asks for it by
        /// this name, and below this path, though it dials the link.
        endpoint (endpoint: Endpoint) => NodeKind::Endpoint(endpoint),
        /// Started, waited for, logged, killed, paused and stopped by the run.
        process (process: Box<Process>) => NodeKind::Process(process),
    }
}

record! {
    /// A node of the system.
    Node {
        ..kind: NodeKind,
        /// Zone, region, role and labels of your own; selectors match them.
        labels: IndexMap<String, String>,
        /// How to ask whether the service is well, past all faults. Default: a TCP connect.
        probe: Option<Probe>,
    } => Node { kind, labels, probe }
}

record! {
    /// A program that the run starts. In `command`, `env`, `files` and `ready`, `${links.NAME.address}`,
    /// `${links.NAME.port}`, `${nodes.NAME.address}`, `${nodes.NAME.port}` and `${dir}` (a folder of its own) are
    /// filled in when it starts, and so is `${links.NAME.ca}`, the file of the authority of a link that ends TLS; `$${`
    /// stands for `${`.
    Process {
        /// The program with its arguments.
        command: Vec<Template>,
        /// Environment on top of `PATH`, `LANG`, `TZ` and `HOME` (its folder).
        env: IndexMap<String, Value>,
        /// Files written into its folder before the start: name → content.
        files: IndexMap<String, Template>,
        /// Where it listens; port 0 means a free one, kept over restarts.
        listen: Option<Listen>,
        /// When it is ready.
        ready: Ready = "listening",
        /// How it is asked to stop before it is killed.
        stop: Stop = "{}",
        /// Milestones of a failover that its log tells.
        log_milestones: Vec<LogMilestone>,
    } => Process {
        command: texts(command),
        env,
        files: files.into_iter().map(|(name, text)| (name, text.0)).collect(),
        listen: listen.map(|listen| listen.0),
        ready,
        stop,
        log_milestones,
    }
}

choice! {
    /// What tells that a process is ready.
    ReadyWhen, "what tells that it is ready" {
        /// Its `listen` address accepts a connection.
        listening () => ReadyWhen::Listening,
        /// A GET of this path at its `listen` address answers 2xx or 3xx.
        http (path: Template) => ReadyWhen::Http(path.0),
        /// Its output contains this text.
        log (text: Template) => ReadyWhen::Log(text.0),
    }
}

record! {
    /// When a process counts as ready.
    Ready {
        ..when: ReadyWhen,
        /// How long it may take.
        within: Span = "10s",
    } => Ready { when, within }
}

record! {
    /// How a process is stopped in good order.
    Stop {
        /// The signal: `TERM`, `INT` or `QUIT`.
        signal: Signal = "TERM",
        /// How long it may take before it is killed.
        within: Span = "5s",
    } => Stop { signal: signal.0, within }
}

ruled! {
    /// A signal that asks a process to stop.
    Signal(String), "a signal to stop by", "`TERM`, `INT` or `QUIT`", "string", |text| {
        matches!(text, "TERM" | "INT" | "QUIT").then(|| text.to_owned())
    };
    /// An address of ours to listen at.
    Listen(String), "an address to listen at", "a loopback address with a port, such as `127.0.0.1:0`", "string", |text| {
        let address: std::net::SocketAddr = text.parse().ok()?;
        address.ip().is_loopback().then(|| address.to_string())
    };
}

record! {
    /// A line of a process's log that tells a milestone.
    LogMilestone {
        /// Which.
        milestone: Milestone,
        /// The text that the line contains.
        contains: String,
    } => LogMilestone { milestone, contains }
}

words! {
    Milestone, "a milestone that a server can tell" {
        /// The failure detector raised its suspicion.
        "detected" => Milestone::Detected,
        /// The system decided to fail over.
        "decided" => Milestone::Decided,
        /// A new place accepts writes.
        "promoted" => Milestone::Promoted,
        /// New requests are routed to the new place.
        "redirected" => Milestone::Redirected,
    }
}

choice! {
    /// A request that tells whether a service is well.
    Probe, "a probe" {
        /// A TCP connect.
        tcp () => Probe::Tcp,
        /// A GET of this path answers 2xx or 3xx.
        http (path: String) => Probe::Http(path),
    }
}

/// A secret by reference.
pub(super) struct SecretReference(pub(super) Secret);

record! {
    /// A value that is read when needed and never written; every writer replaces it by its name.
    SecretReference {
        /// Where it is read from.
        secret: Secret,
    } => SecretReference(secret)
}

choice! {
    /// Where a secret is read from.
    Secret, "where a secret is read from" {
        /// An environment variable.
        env (name: String) => Secret::Env(name),
        /// A file; one trailing line break is cut.
        file (path: String) => Secret::File(path),
    }
}

impl Decode for Value {
    fn shape() -> Shape {
        Shape::Either(vec![Template::shape(), SecretReference::shape()])
    }

    fn decode(node: &Tree, mistakes: &mut Mistakes) -> Option<Value> {
        if node.map().is_some() {
            return SecretReference::decode(node, mistakes).map(|reference| Value::Secret(reference.0));
        }
        match node.text() {
            Some(_) => Template::decode(node, mistakes).map(|text| Value::Text(text.0)),
            None => neither(node, "a text or `{ secret: … }`", mistakes),
        }
    }
}

/// A value of a request: as [`Value`], but with nothing that only a running system knows.
pub(super) struct Header(pub(super) Value);

impl Decode for Header {
    fn shape() -> Shape {
        Shape::Either(vec![String::shape(), SecretReference::shape()])
    }

    fn decode(node: &Tree, mistakes: &mut Mistakes) -> Option<Header> {
        match node.text() {
            Some(_) => String::decode(node, mistakes).map(|text| Header(Value::Text(text))),
            None => Value::decode(node, mistakes).map(Header),
        }
    }
}

impl Decode for Endpoint {
    fn shape() -> Shape {
        Shape::Scalar(ScalarShape { noun: "an endpoint", expected: Endpoint::EXPECTED.to_owned(), json: "string" })
    }

    fn decode(node: &Tree, mistakes: &mut Mistakes) -> Option<Endpoint> {
        let text = scalar(node, "an endpoint", mistakes)?;
        if text.parse::<Endpoint>() == Err(EndpointError::Credentials) {
            // Not repeated in the message: it holds a password, probably.
            let mistake = Mistake::new(node.at, "an address with credentials").label("expected it without them").help(
                "secrets are given by reference: `{ secret: { env: NAME } }`, where a header or `env` takes a value",
            );
            mistakes.add(mistake);
            return None;
        }
        parsed(node, "an endpoint", mistakes, |text| text.parse().map_err(|error: EndpointError| error.to_string()))
    }
}
