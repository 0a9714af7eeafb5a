//! The parts of a run by name: every node with its labels, every link with its ends, and what a selector means.

use std::net::Ipv4Addr;

use indexmap::IndexMap;

use super::endpoint::Endpoint;
use super::fault::{Blackout, Crossing, Direction, Selector, Which};
use super::names::{Names, addresses, dialled};
use super::system::{Link, Node, NodeKind, System, Tls};
use super::workload::{Client, Workload};
use super::{LabCatalogue, LabDescription, LabError, RunPlan};
use crate::event::Modelled;

/// Every node and link of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// The nodes: those of the system, then one for each workload, then clients of the user's own.
    pub nodes: IndexMap<String, NodePart>,
    /// The links: those of the system, then one for each workload.
    pub links: IndexMap<String, LinkPart>,
    /// What of the system is modelled.
    pub modelled: Vec<Modelled>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePart {
    /// What it is.
    pub kind: PartKind,
    /// Its labels at the start.
    pub labels: IndexMap<String, String>,
    /// Whether a workload may use it.
    pub entry: bool,
}

/// What a node of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A node of a lab.
    Lab,
    /// A process that the run starts.
    Process,
    /// Already running.
    Endpoint,
    /// A workload.
    Workload,
    /// A client of the user's own that dials a link; the run knows nothing else of it.
    Outside,
}

impl PartKind {
    /// Whether the run can kill, pause, stop and restart it.
    pub const fn is_managed(self) -> bool {
        matches!(self, PartKind::Lab | PartKind::Process)
    }

    /// Whether it is of the system under test.
    pub const fn is_system(self) -> bool {
        matches!(self, PartKind::Lab | PartKind::Process | PartKind::Endpoint)
    }

    /// The word in events.
    pub const fn word(self) -> &'static str {
        match self {
            PartKind::Lab => "lab",
            PartKind::Process => "process",
            PartKind::Endpoint => "endpoint",
            PartKind::Workload => "workload",
            PartKind::Outside => "outside",
        }
    }

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            PartKind::Lab => "node of the lab",
            PartKind::Process => "process",
            PartKind::Endpoint => "endpoint",
            PartKind::Workload => "workload",
            PartKind::Outside => "client outside the run",
        }
    }
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPart {
    /// The node that dials.
    pub from: String,
    /// The node that is dialled.
    pub to: String,
    /// Where the proxy listens, as the plan asks.
    pub listen: String,
    /// Whether the proxy reads HTTP/1 on it.
    pub http: bool,
    /// Whether a workload dials it.
    pub workload: bool,
    /// Where TLS ends on it.
    pub tls: Tls,
    /// Whom it trusts at the endpoint, where it ends TLS; none: whom the platform does.
    pub ca: Option<String>,
}

/// Labels that changed since the start, such as the role of a promoted node: node → label → value.
pub type LiveLabels = IndexMap<String, IndexMap<String, String>>;

impl Parts {
    /// The parts of a run.
    pub fn of(run: &RunPlan, labs: &dyn LabCatalogue) -> Result<Parts, Vec<LabError>> {
        let lab = match &run.system {
            System::Lab { name, params } => Some(labs.describe(name, params)?),
            System::Nodes { .. } => None,
        };
        Ok(Parts::assemble(&run.system, lab.as_ref(), &run.names, &run.workloads))
    }

    /// The parts of a system and its workloads; of a lab, by its description.
    pub(super) fn assemble(
        system: &System,
        lab: Option<&LabDescription>,
        names: &Names,
        workloads: &IndexMap<String, Workload>,
    ) -> Parts {
        let mut parts = Parts::default();
        match (system, lab) {
            (System::Nodes { nodes, links }, _) => parts.add_nodes(nodes, links),
            (System::Lab { .. }, Some(lab)) => parts.add_lab(lab),
            (System::Lab { .. }, None) => {}
        }
        let addresses = addresses(names);
        for (name, workload) in workloads {
            let labels = workload.labels.clone();
            let node = NodePart { kind: PartKind::Workload, labels, entry: false };
            // A node of the same name is a mistake of the file, and stays what it is.
            parts.nodes.entry(name.clone()).or_insert(node);
            let by_name = names.contains_key(&workload.to);
            for to in dialled(names, workload) {
                // What a name means has an address of its own, which is all that an answer of DNS tells.
                let host = addresses.get(to).filter(|_| by_name).copied().unwrap_or(Ipv4Addr::LOCALHOST);
                let (http, tls, ca) = match &workload.client {
                    Client::Http(client) => {
                        (!client.tls.is_opaque() || !speaks_tls(system, to), client.tls, client.ca.clone())
                    }
                    Client::Tcp(_) => (false, Tls::Opaque, None),
                };
                let link = LinkPart {
                    from: name.clone(),
                    to: to.to_owned(),
                    listen: format!("{host}:0"),
                    http,
                    workload: true,
                    tls,
                    ca,
                };
                parts.links.insert(workload_link(name, to), link);
            }
        }
        let outside: Vec<String> = parts.links.values().map(|link| link.from.clone()).collect();
        for name in outside {
            let part = NodePart { kind: PartKind::Outside, labels: IndexMap::new(), entry: false };
            parts.nodes.entry(name).or_insert(part);
        }
        parts
    }

    fn add_lab(&mut self, lab: &LabDescription) {
        self.modelled.clone_from(&lab.modelled);
        for (name, labels) in &lab.nodes {
            let entry = lab.entries.contains(name);
            self.nodes.insert(name.clone(), NodePart { kind: PartKind::Lab, labels: labels.clone(), entry });
        }
        for (name, link) in &lab.links {
            let (from, to, http) = (link.from.clone(), link.to.clone(), link.http);
            let listen = "127.0.0.1:0".to_owned();
            self.links
                .insert(name.clone(), LinkPart { from, to, listen, http, workload: false, tls: Tls::Opaque, ca: None });
        }
    }

    fn add_nodes(&mut self, nodes: &IndexMap<String, Node>, links: &IndexMap<String, Link>) {
        for (name, node) in nodes {
            let kind = match node.kind {
                NodeKind::Endpoint(_) => PartKind::Endpoint,
                NodeKind::Process(_) => PartKind::Process,
            };
            self.nodes.insert(name.clone(), NodePart { kind, labels: node.labels.clone(), entry: true });
        }
        for (name, link) in links {
            let Link { from, to, listen, http, tls, ca } = link.clone();
            self.links.insert(name.clone(), LinkPart { from, to, listen, http, workload: false, tls, ca });
        }
    }

    /// The nodes that a selector means, in order; `live` holds labels that changed since the start.
    ///
    /// `all` is every node here. In a partition it means the others: see [`Parts::sides`].
    pub fn select(&self, selector: &Selector, live: &LiveLabels) -> Vec<&str> {
        let names = self.nodes.iter();
        names.filter(|(name, node)| is_selected(name, node, selector, live)).map(|(name, _)| name.as_str()).collect()
    }

    /// The nodes of a lab that have this role at the start, in order.
    pub fn of_role(&self, role: &str) -> Vec<&str> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.kind == PartKind::Lab);
        let of_role = nodes.filter(|(_, node)| node.labels.get("role").is_some_and(|known| known == role));
        of_role.map(|(name, _)| name.as_str()).collect()
    }

    /// The nodes of the system that a loss of power takes, in order. Users in the place live through its loss.
    pub fn without_power(&self, blackout: &Blackout, live: &LiveLabels) -> Vec<&str> {
        let stands = |(name, node): (&str, &NodePart)| label(name, node, blackout.place.label(), live).cloned();
        let places: Vec<String> = match &blackout.which {
            Which::Named(place) => vec![place.clone()],
            Which::Of(who) => {
                self.select(who, live).into_iter().filter_map(|name| stands((name, &self.nodes[name]))).collect()
            }
        };
        let of_the_system = self.nodes.iter().filter(|(_, node)| node.kind.is_system());
        let lost =
            of_the_system.filter(|(name, node)| stands((name, node)).is_some_and(|place| places.contains(&place)));
        lost.map(|(name, _)| name.as_str()).collect()
    }

    /// The links from or to one of these nodes.
    pub fn touching(&self, nodes: &[&str]) -> Vec<&str> {
        let touches = |link: &LinkPart| nodes.contains(&link.from.as_str()) || nodes.contains(&link.to.as_str());
        self.links.iter().filter(|(_, link)| touches(link)).map(|(name, _)| name.as_str()).collect()
    }

    /// The two sides of a partition: `all` is every node that is not on the other side.
    pub fn sides(&self, a: &Selector, b: &Selector, live: &LiveLabels) -> (Vec<&str>, Vec<&str>) {
        let (mut left, mut right) = (self.select(a, live), self.select(b, live));
        match (a, b) {
            (_, Selector::All) => right.retain(|name| !left.contains(name)),
            (Selector::All, _) => left.retain(|name| !right.contains(name)),
            _ => {}
        }
        (left, right)
    }

    /// The links between two sides of a partition, each with the direction of bytes that it withholds.
    pub fn crossing(&self, a: &[&str], b: &[&str], crossing: Crossing) -> Vec<(&str, Direction)> {
        let direction = |link: &LinkPart| {
            let (from, to) = (link.from.as_str(), link.to.as_str());
            // Bytes go up from the node that dials; whose bytes are withheld does not depend on who dialled.
            let forward = if a.contains(&from) && b.contains(&to) {
                true
            } else if b.contains(&from) && a.contains(&to) {
                false
            } else {
                return None;
            };
            Some(match (crossing, forward) {
                (Crossing::Both, _) => Direction::Both,
                (Crossing::AToB, true) | (Crossing::BToA, false) => Direction::Up,
                (Crossing::AToB, false) | (Crossing::BToA, true) => Direction::Down,
            })
        };
        self.links.iter().filter_map(|(name, link)| Some((name.as_str(), direction(link)?))).collect()
    }

    /// The links from one of these nodes to one of those.
    pub fn between(&self, from: &[&str], to: &[&str]) -> Vec<&str> {
        let links = self.links.iter();
        links
            .filter(|(_, link)| from.contains(&link.from.as_str()) && to.contains(&link.to.as_str()))
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// Whether a node's users speak TLS to it, so that no proxy can read what passes unless it ends TLS itself.
fn speaks_tls(system: &System, node: &str) -> bool {
    system.endpoint(node).is_some_and(Endpoint::tls)
}

/// The name of the link by which a workload uses a node.
pub fn workload_link(workload: &str, to: &str) -> String {
    format!("{workload}-{to}")
}

fn is_selected(name: &str, node: &NodePart, selector: &Selector, live: &LiveLabels) -> bool {
    match selector {
        Selector::All => true,
        Selector::Node(wanted) => wanted == name,
        Selector::Any(any) => any.iter().any(|selector| is_selected(name, node, selector, live)),
        Selector::Labels(labels) => labels.iter().all(|(key, wanted)| label(name, node, key, live) == Some(wanted)),
    }
}

/// A label of a node as it is now.
fn label<'l>(name: &str, node: &'l NodePart, label: &str, live: &'l LiveLabels) -> Option<&'l String> {
    live.get(name).and_then(|live| live.get(label)).or_else(|| node.labels.get(label))
}
