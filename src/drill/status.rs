//! What a drill looks like at a moment: one model for the page and for its JSON.

use std::net::{Ipv4Addr, SocketAddr};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::names::NamesServed;
use super::{Drill, client_link, lock};
use crate::clock::Moment;
use crate::event::{Event, What};
use crate::plan;
use crate::system::NodeInfo;

/// A drill at a moment. Fields may be added; none changes its meaning.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The lab's name.
    pub lab: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Whether it serves.
    pub serves: bool,
    /// How long it has been up, in milliseconds.
    pub up_ms: u64,
    /// Its parameters, every default filled in.
    pub params: IndexMap<String, Value>,
    /// Where clients reach it, by node.
    pub entries: IndexMap<String, String>,
    /// Where its names are asked over DNS, if it has any.
    pub dns: Option<SocketAddr>,
    /// Its names, and what DNS answers now.
    pub names: Vec<Name>,
    /// Its nodes, in the order of its description.
    pub nodes: Vec<Node>,
    /// Its hops, in the order of its description.
    pub links: Vec<Link>,
    /// What it can be asked to do.
    pub orders: Vec<Order>,
    /// What happened last, the newest first.
    pub events: Vec<Line>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The label `region`, if it has one.
    pub region: Option<String>,
    /// The label `zone`, if it has one.
    pub zone: Option<String>,
    /// The label `host`, if it has one: the physical machine that it is on.
    pub host: Option<String>,
    /// Its role now; none for a node that is gone.
    pub role: Option<String>,
    /// `starting`, `ready`, `paused`, `stopped` or `gone`.
    pub state: &'static str,
    /// Whether its links are silent.
    pub cut: bool,
    /// Raised at each start and promotion.
    pub incarnation: u64,
    /// Where it listens, past every link.
    pub address: String,
}

/// A name.
#[derive(Clone, Debug, Serialize)]
pub struct Name {
    /// Itself.
    pub name: String,
    /// The nodes that it means now.
    pub nodes: Vec<String>,
    /// The addresses that DNS tells.
    pub addresses: Vec<Ipv4Addr>,
    /// How long that may be believed, in whole seconds.
    pub ttl_s: u64,
    /// What a client that asks this DNS uses.
    pub url: String,
}

/// A hop between two nodes.
#[derive(Clone, Debug, Serialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The node that dials.
    pub from: String,
    /// The node that is dialled.
    pub to: String,
    /// Where its proxy listens.
    pub address: Option<SocketAddr>,
}

/// Something that the lab can be asked to do.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    /// What, in words.
    pub name: String,
    /// The path to post to.
    pub post: String,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// What, in words.
    pub text: String,
}

impl Status {
    pub(super) fn of(drill: &Drill) -> Status {
        let Drill { kind, description, lab, links, names, clock, events, cuts, .. } = drill;
        let entry = |name: &String| Some((name.clone(), format!("http://{}", links.get(&client_link(name))?)));
        let cuts = lock(cuts);
        let node = |info: NodeInfo| Node {
            region: info.labels.get("region").cloned(),
            zone: info.labels.get("zone").cloned(),
            host: info.labels.get("host").cloned(),
            role: info.role,
            state: info.state.name(),
            cut: cuts.contains_key(&info.name),
            incarnation: info.incarnation,
            address: info.address,
            name: info.name,
        };
        let link = |(name, link): (&String, &crate::plan::LabLink)| Link {
            name: name.clone(),
            from: link.from.clone(),
            to: link.to.clone(),
            address: links.get(name).copied(),
        };
        let order = |order: &plan::Order| Order { name: order.to_string(), post: format!("/{}", order.path()) };
        Status {
            lab: kind.name,
            about: kind.about,
            serves: lab.ready(),
            up_ms: millis(clock.now()),
            params: description.params.clone(),
            entries: description.entries.iter().filter_map(entry).collect(),
            dns: names.as_ref().map(|names| names.dns().address()),
            names: names.as_ref().map(NamesServed::now).unwrap_or_default(),
            nodes: lab.fleet().nodes().into_iter().map(node).collect(),
            links: description.links.iter().map(link).collect(),
            orders: description.orders.iter().map(order).collect(),
            events: lock(events).iter().rev().filter_map(line).collect(),
        }
    }

    /// How a person asks for the first name.
    pub fn dig(&self, dns: &SocketAddr) -> String {
        let name = self.names.first().map_or("", |name| &name.name);
        format!("dig @{} -p {} {name}", dns.ip(), dns.port())
    }

    /// Nodes by region and zone, as the page groups them.
    pub(super) fn places(&self) -> IndexMap<String, Vec<&Node>> {
        let mut places: IndexMap<String, Vec<&Node>> = IndexMap::new();
        for node in &self.nodes {
            let region = node.region.as_ref().map(|region| format!("region {region}"));
            let zone = node.zone.as_ref().map(|zone| format!("zone {zone}"));
            let place: Vec<String> = region.into_iter().chain(zone).collect();
            let place = if place.is_empty() { "no zone".to_owned() } else { place.join(", ") };
            places.entry(place).or_default().push(node);
        }
        places.sort_keys();
        places
    }
}

impl Name {
    /// What DNS answers, as `dig +short` would, and for how long.
    pub fn answer(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!("{} for {} s", addresses.join(" "), self.ttl_s)
    }
}

fn millis(at: Moment) -> u64 {
    at.0 / 1_000_000
}

fn line(event: &Event) -> Option<Line> {
    let text = match &event.what {
        What::Node { node, incarnation, state, role } => {
            let role = role.as_ref().map(|role| format!(", {role}")).unwrap_or_default();
            format!("{node}#{incarnation} {state}{role}")
        }
        What::Milestone { milestone, node, .. } => format!("{}: {node}", milestone.label()),
        What::Note { text } => text.clone(),
        _ => return None,
    };
    Some(Line { at_ms: millis(event.at), text })
}
