//! Faults: whether they hit somebody, when they strike, and whether the way back is known.

use std::time::Duration;

use indexmap::IndexMap;

use super::Checker;
use crate::experiment::decode::Decode;
use crate::experiment::mistake::{Mistake, Mistakes, quoted};
use crate::experiment::tree::Node as Tree;
use crate::plan::Order;
use crate::plan::fault::{Blackout, Fault, FaultKind, LinkFault, Links, Selector, Toxic, Which};
use crate::plan::parts::{LiveLabels, PartKind, Parts};
use crate::plan::system::System;
use crate::units::Span;

/// The longest run: a `for` beyond it is a slip of the unit, most likely.
const LONGEST_RUN: Duration = Duration::from_secs(24 * 3600);

impl Checker<'_> {
    pub(super) fn check_faults(&mut self) {
        for (name, fault) in &self.run.faults {
            self.check_time(name, fault);
            self.check_kind(name, fault);
        }
        self.check_names_of_broken();
        if self.run.load_duration() > LONGEST_RUN {
            let (mut path, mut longest) = (vec!["phases"], self.run.phases.baseline.0.max(self.run.phases.recovery.0));
            for (name, fault) in &self.run.faults {
                if fault.hold.is_some_and(|hold| hold.0 > longest) {
                    (path, longest) = (vec!["faults", name, "for"], fault.hold.unwrap_or_default().0);
                }
            }
            let title = format!("this run lasts {}", Span(self.run.load_duration()));
            self.at(&path, title, "a run lasts 24h at most");
        }
    }

    /// The names in faults that could not be read as a whole.
    fn check_names_of_broken(&mut self) {
        for (name, entry) in self.root.find(&["faults"]).and_then(Tree::map).into_iter().flatten() {
            if self.run.faults.contains_key(name) {
                continue;
            }
            for (kind, body) in entry.node.map().into_iter().flatten() {
                for (key, part) in body.node.map().into_iter().flatten() {
                    // What is wrong with its form was told.
                    let told = &mut Mistakes::default();
                    match key.as_str() {
                        "links" => drop(Links::decode(&part.node, told).map(|links| {
                            self.check_fault_links(name, kind, &links);
                        })),
                        "vm" | "host" | "rack" | "zone" | "region" => {
                            if let Some(value) = String::decode(&part.node, told) {
                                let labels = [(key.clone(), value)].into_iter().collect();
                                self.check_selector(&["faults", name, kind], &Selector::Labels(labels));
                            }
                        }
                        // A number of nodes.
                        "nodes" if kind == "control_node_down" => {}
                        "nodes" | "of" | "a" | "b" => drop(Selector::decode(&part.node, told).map(|selector| {
                            self.check_selector(&["faults", name, kind, key], &selector);
                        })),
                        _ => {}
                    }
                }
            }
        }
    }

    fn check_time(&mut self, name: &str, fault: &Fault) {
        let written = |key| self.root.find(&["faults", name, key]).is_some_and(|node| !node.is_null());
        if written("at") && written("after") {
            let at = self.root.key_at(&["faults", name, "after"]);
            let first = self.root.key_at(&["faults", name, "at"]);
            let mistake = Mistake::new(at, format!("`{name}` has both `at` and `after`")).also(first, "and this");
            self.mistakes.add(mistake.label("one of the two"));
        }
        match (fault.hold, &fault.kind) {
            (Some(hold), _) if hold.0.is_zero() => {
                self.at(
                    &["faults", name, "for"],
                    format!("`{name}` lasts for no time at all"),
                    "expected more than 0s",
                );
            }
            (Some(_), FaultKind::Restart(_)) => {
                let label = "a restart is over when the node is ready again";
                self.key(&["faults", name, "for"], "a restart has no length", label);
            }
            (Some(_), FaultKind::Order(order)) => {
                let title = format!("a {} has no length", order.noun());
                self.key(&["faults", name, "for"], title, "it is over when the lab has done what it was asked");
            }
            (Some(hold), _) if fault.lease < hold => {
                let label = format!("shorter than `for: {hold}`");
                self.at(&["faults", name, "lease"], format!("the lease of `{name}` ends before the fault"), label);
            }
            (None, _) if !fault.kind.ends_by_itself() && !written("for") && self.run.phases.recovery.0.is_zero() => {
                self.key(
                    &["faults", name],
                    format!("`{name}` is over at once"),
                    "no `for`, and no recovery to last in",
                );
            }
            _ => {}
        }
    }

    fn check_kind(&mut self, name: &str, fault: &Fault) {
        let kind = written_kind(self.root, name);
        let path = |key| ["faults", name, kind, key];
        match &fault.kind {
            FaultKind::Toxic(LinkFault { links, toxic, .. }) => {
                self.check_fault_links(name, kind, links);
                self.check_toxic(name, kind, toxic);
                let damages =
                    matches!(toxic, Toxic::Corrupt { .. } | Toxic::LimitData { .. } | Toxic::ChunkLoss { .. });
                if damages && !self.run.allow_data_damage {
                    self.check_damage(name, kind, links);
                }
            }
            FaultKind::Refuse { links }
            | FaultKind::BlackHole { links }
            | FaultKind::HalfOpen { links }
            | FaultKind::Drop { links, .. } => {
                self.check_fault_links(name, kind, links);
            }
            FaultKind::Flap { links, up, down } => {
                self.check_fault_links(name, kind, links);
                for (key, span) in [("up", up), ("down", down)] {
                    if span.0 < Duration::from_millis(1) {
                        self.at(&path(key), format!("`{key}` is too short to flap"), "expected 1ms or more");
                    }
                }
            }
            FaultKind::Http(http) => {
                let hit = self.check_fault_links(name, kind, &http.links);
                let Some(parts) = self.known.whole() else { return };
                if let Some(link) = hit.iter().find(|link| self.carries_tls(link)) {
                    let mistake = self
                        .mistake(&path("links"), format!("the link `{link}` carries TLS"))
                        .label("an HTTP fault must read the requests, and the proxy has no key to them");
                    let place = if parts.links.get(*link).is_some_and(|link| link.workload) {
                        "its workload's client: `client: { http: { tls: terminate } }`".to_owned()
                    } else {
                        format!("the link: `{link}: {{ …, http: true, tls: terminate }}`")
                    };
                    let help = format!("let the proxy end TLS, on {place}; or use a fault of links, such as `latency`");
                    self.mistakes.add(mistake.help(help));
                    return;
                }
                let plain = hit.iter().find(|link| parts.links.get(**link).is_some_and(|link| !link.http));
                if let Some(plain) = plain {
                    let title = format!("the link `{plain}` does not carry HTTP");
                    let mistake = self.mistake(&path("links"), title);
                    self.mistakes.add(mistake.help(format!("say so on the link: `{plain}: {{ …, http: true }}`")));
                }
            }
            FaultKind::Partition { a, b, direction, .. } => {
                let known = self.check_selector(&path("a"), a) & self.check_selector(&path("b"), b);
                let Some(parts) = self.known.whole().filter(|_| known) else { return };
                let (left, right) = parts.sides(a, b, &LiveLabels::new());
                if let Some(both) = left.iter().find(|node| right.contains(node)) {
                    self.key(&path("b"), format!("`{both}` is on both sides of the partition `{name}`"), "");
                } else if parts.crossing(&left, &right, *direction).is_empty() {
                    let label = format!("{} | {}", left.join(", "), right.join(", "));
                    self.key(&["faults", name, kind], format!("no link crosses the partition `{name}`"), label);
                }
            }
            FaultKind::Dns(dns) => self.check_dns(name, kind, dns),
            FaultKind::Kill(nodes) | FaultKind::Pause(nodes) | FaultKind::Stop(nodes) | FaultKind::Restart(nodes) => {
                self.check_nodes(kind, &path("nodes"), &nodes.nodes);
            }
            FaultKind::Blackout(blackout) => self.check_blackout(name, kind, blackout),
            FaultKind::StorageCopyDown { .. } | FaultKind::ControlNodeDown { .. } => self.check_loss(name, kind, fault),
            FaultKind::Order(order) => self.check_order(name, *order),
            FaultKind::Action { undo, .. } => self.check_undo(name, kind, undo.is_some()),
        }
    }

    fn check_undo(&mut self, name: &str, kind: &str, undo: bool) {
        let irreversible = self.root.find(&["faults", name, kind, "irreversible"]).and_then(Tree::text) == Some("true");
        let title = match (undo, irreversible) {
            (true, true) => format!("`{name}` has a way back and is irreversible"),
            (false, false) => format!("the action `{name}` has no way back"),
            _ => return,
        };
        let label = "expected `undo: { exec: […] }` or `irreversible: true`";
        self.key(&["faults", name, kind], title, label);
    }

    fn check_toxic(&mut self, name: &str, kind: &str, toxic: &Toxic) {
        if let Toxic::Slicer { size, variation, .. } = toxic
            && (size.0 == 0 || variation > size)
        {
            self.at(&["faults", name, kind, "size"], "a slice of no bytes", "expected a size above `variation`");
        }
    }

    /// Corrupting what an endpoint stores is nothing that a proxy can heal.
    fn check_damage(&mut self, name: &str, kind: &str, links: &Links) {
        let Some(parts) = self.known.whole() else { return };
        let endpoint = links_of(parts, links).into_iter().find_map(|link| {
            let to = &parts.links.get(link)?.to;
            (parts.nodes.get(to)?.kind == PartKind::Endpoint).then_some(to)
        });
        if let Some(endpoint) = endpoint {
            let mistake = Mistake::new(
                self.root.key_at(&["faults", name, kind]),
                format!("`{kind}` may damage what the endpoint `{endpoint}` stores"),
            );
            self.mistakes.add(mistake.help("if that is fine, add `allow: [data-damage]`"));
        }
    }

    /// Checks the links of a fault; those that it hits at the start.
    fn check_fault_links<'l>(&mut self, name: &str, kind: &str, links: &'l Links) -> Vec<&'l str> {
        let parts = &self.known.parts;
        let path = ["faults", name, kind, "links"];
        match links {
            Links::Named(names) => {
                for (index, link) in names.iter().enumerate() {
                    if self.known.may_be_link(link) {
                        continue;
                    }
                    let index = index.to_string();
                    let item = ["faults", name, kind, "links", &index];
                    let path = if self.root.find(&item).is_some() { &item[..] } else { &path[..] };
                    let title = format!("no link is called {}", quoted(link));
                    let mistake = self.mistake(path, title);
                    self.mistakes.add(mistake.known(link, "links", self.known.links()));
                }
                names.iter().map(String::as_str).collect()
            }
            Links::Between { from, to } => {
                let known = self.check_selector(&["faults", name, kind, "links", "from"], from)
                    & self.check_selector(&["faults", name, kind, "links", "to"], to);
                if known && self.known.whole().is_some() && links_of(parts, links).is_empty() {
                    let ends = |selector| parts.select(selector, &LiveLabels::new()).join(", ");
                    let title = format!("no link leads from {} to {}", ends(from), ends(to));
                    self.at(&path, title, "from the node that dials to the node that is dialled");
                }
                Vec::new()
            }
        }
    }

    /// Whether the nodes of a lab are there that a loss of some of a role takes.
    fn check_loss(&mut self, name: &str, kind: &str, fault: &Fault) {
        let (Some((role, count)), Some(parts)) = (fault.kind.loss(), self.known.whole()) else { return };
        let there = parts.of_role(role).len() as u64;
        if there == 0 {
            let mut roles: Vec<&str> = Vec::new();
            for role in parts.nodes.values().filter_map(|node| node.labels.get("role")) {
                roles.extend(Some(role.as_str()).filter(|role| !roles.contains(role)));
            }
            let title = format!("`{kind}` finds no node of a lab with the role `{role}`");
            let label = match roles.is_empty() {
                true => String::new(),
                false => format!("roles here: {}", roles.join(", ")),
            };
            self.key(&["faults", name, kind], title, label);
        } else if !(1..=there).contains(&count) {
            let key = if role == "storage" { "copies" } else { "nodes" };
            let title = format!("`{kind}` cannot take {count} of the {role} nodes");
            self.at(&["faults", name, kind, key], title, format!("expected a number from 1 to {there}"));
        }
    }

    /// Whether somebody can be asked that.
    fn check_order(&mut self, name: &str, order: Order) {
        if self.known.whole().is_none() || self.known.orders.contains(&order) {
            return;
        }
        let key = order.key();
        let alike = self.known.orders.iter().filter(|known| known.key() == key);
        let can: Vec<&str> = alike.filter_map(|known| known.manner()).collect();
        let path = ["faults", name, key];
        let (title, label) = match &self.run.system {
            System::Lab { name: lab, .. } if can.is_empty() => {
                (format!("the lab `{lab}` cannot be ordered to do a {}", order.noun()), String::new())
            }
            System::Lab { name: lab, .. } => {
                (format!("the lab `{lab}` knows no {order}"), format!("expected `{}`", can.join("` or `")))
            }
            System::Nodes { .. } => (format!("`{key}` is an order to a lab"), "there is none here".to_owned()),
        };
        let mut mistake = self.mistake(&path, title).label(label);
        if matches!(self.run.system, System::Nodes { .. }) {
            mistake = mistake.help("ask your own system by an action: `exec`, `http`, `manual`");
        } else if can.is_empty() && key == "failover" {
            mistake = mistake.help("make it fail over by itself: `kill`, `pause` or `partition` what serves");
        }
        self.mistakes.add(mistake);
    }

    /// Whether there is such a place, and one alone is meant.
    fn check_blackout(&mut self, name: &str, kind: &str, blackout: &Blackout) {
        let (path, label) = (["faults", name, kind], blackout.place.label());
        let written = |key| self.root.find(&["faults", name, kind, key]).is_some_and(|node| !node.is_null());
        if written(label) == written("of") {
            let title = match written("of") {
                true => format!("`{name}` names its {label} twice"),
                false => format!("`{name}` names no {label}"),
            };
            return self.key(&path, title, format!("expected `{label}: NAME`, or `of:` with whoever stands in it"));
        }
        let known = match &blackout.which {
            Which::Named(place) => {
                let labels = [(label.to_owned(), place.clone())].into_iter().collect();
                self.check_selector(&path, &Selector::Labels(labels))
            }
            Which::Of(who) => self.check_selector(&["faults", name, kind, "of"], who),
        };
        let Some(parts) = self.known.whole().filter(|_| known) else { return };
        let lost = parts.without_power(blackout, &LiveLabels::new());
        if lost.is_empty() && matches!(blackout.which, Which::Of(_)) {
            let title = format!("nobody there has a label `{label}`");
            return self.at(&["faults", name, kind, "of"], title, format!("expected nodes that stand in a {label}"));
        }
        self.check_hit(kind, &path, &lost, true);
    }

    fn check_nodes(&mut self, kind: &str, path: &[&str], selector: &Selector) {
        if !self.check_selector(path, selector) {
            return;
        }
        let Some(parts) = self.known.whole() else { return };
        // `all` is every node of the system; whoever is named must be one that the run holds in its hands.
        let named = !matches!(selector, Selector::All);
        self.check_hit(kind, path, &parts.select(selector, &LiveLabels::new()), named);
    }

    /// Whether the run holds in its hands whom a fault on nodes takes.
    fn check_hit(&mut self, kind: &str, path: &[&str], hit: &[&str], named: bool) {
        let parts = &self.known.parts;
        let foreign = hit.iter().find(|node| !parts.nodes[**node].kind.is_managed());
        if let Some(foreign) = foreign.filter(|_| named) {
            let what = parts.nodes[*foreign].kind.name();
            let title = format!(
                "`{kind}` cannot reach `{foreign}`: it is {} {what}",
                if what.starts_with('e') { "an" } else { "a" }
            );
            let mistake = self.mistake(path, title).label("expected a process or a node of a lab");
            self.mistakes.add(mistake.help("cut its links, or use an action: `exec`, `http`, `manual`"));
        } else if !hit.iter().any(|node| parts.nodes[*node].kind.is_managed()) {
            self.at(path, format!("`{kind}` finds no process and no node of a lab"), "");
        }
    }

    /// Whether every name and label of a selector is known.
    fn check_selector(&mut self, path: &[&str], selector: &Selector) -> bool {
        let parts = &self.known.parts;
        match selector {
            Selector::All => true,
            Selector::Node(name) if self.known.open_nodes || parts.nodes.contains_key(name) => true,
            Selector::Node(name) => {
                let title = format!("no node is called {}", quoted(name));
                let mistake = self.mistake(path, title);
                self.mistakes.add(mistake.known(name, "nodes", parts.nodes.keys().map(String::as_str)));
                false
            }
            Selector::Any(any) => {
                let mut known = true;
                for (index, selector) in any.iter().enumerate() {
                    let index = index.to_string();
                    known &= self.check_selector(&[path, &[index.as_str()]].concat(), selector);
                }
                known
            }
            Selector::Labels(labels) => self.check_labels(path, parts, labels),
        }
    }

    fn check_labels(&mut self, path: &[&str], parts: &Parts, labels: &IndexMap<String, String>) -> bool {
        if self.known.open_nodes || self.known.open_labels {
            return true;
        }
        let mut known = true;
        for (label, value) in labels {
            let mut values: Vec<&str> = Vec::new();
            for node in parts.nodes.values() {
                values.extend(node.labels.get(label).map(String::as_str).filter(|value| !values.contains(value)));
            }
            if values.contains(&value.as_str()) {
                continue;
            }
            known = false;
            let path = [path, &[label.as_str()]].concat();
            if values.is_empty() {
                let mut keys: Vec<&str> = Vec::new();
                for key in parts.nodes.values().flat_map(|node| node.labels.keys()) {
                    keys.extend(Some(key.as_str()).filter(|key| !keys.contains(key)));
                }
                let mistake = Mistake::new(self.root.key_at(&path), format!("no node has a label {}", quoted(label)));
                self.mistakes.add(mistake.known(label, "labels here", keys));
            } else {
                let mistake = self.mistake(&path, format!("no node has the label {label}: {value}"));
                self.mistakes.add(mistake.known(value, &format!("{label}s here"), values));
            }
        }
        let selector = Selector::Labels(labels.clone());
        if known && self.known.whole().is_some() && parts.select(&selector, &LiveLabels::new()).is_empty() {
            known = false;
            self.at(path, "no node has all of these labels", "each is known, but of different nodes");
        }
        known
    }
}

/// The kind of a fault, as the key that it is written under.
fn written_kind<'t>(root: &'t Tree, name: &str) -> &'t str {
    const BESIDE: [&str; 5] = ["at", "after", "for", "follow", "lease"];
    let keys = root.find(&["faults", name]).and_then(Tree::map).into_iter().flat_map(indexmap::IndexMap::keys);
    keys.map(String::as_str).find(|key| !BESIDE.contains(key)).unwrap_or_default()
}

/// The links that a fault hits at the start.
fn links_of<'p>(parts: &'p Parts, links: &'p Links) -> Vec<&'p str> {
    match links {
        Links::Named(names) => names.iter().map(String::as_str).collect(),
        Links::Between { from, to } => {
            let live = LiveLabels::new();
            parts.between(&parts.select(from, &live), &parts.select(to, &live))
        }
    }
}
