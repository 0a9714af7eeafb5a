//! What is known of a run's nodes and links though some of the file is wrong: enough to tell a misspelt name.
//!
//! Whatever is declared counts as there, sound or not: it must not be called unknown where it is used. What cannot be
//! known at all, such as the nodes of a lab that does not exist, is said to be open, and nobody judges it.

use indexmap::IndexMap;

use crate::experiment::tree::Node as Tree;
use crate::plan::names::{Names, dialled_as};
use crate::plan::parts::{LinkPart, NodePart, PartKind, Parts, workload_link};
use crate::plan::system::{System, Tls};
use crate::plan::{LabDescription, Order, Workload};

/// The nodes and links of a run, as far as they can be told.
pub(in crate::plan) struct Known {
    /// Those that are declared.
    pub(super) parts: Parts,
    /// There may be nodes beside these.
    pub(super) open_nodes: bool,
    /// There may be links beside these.
    open_links: bool,
    /// Workloads that use nobody knows whom, so that nobody knows what their link is called.
    astray: Vec<String>,
    /// These nodes may have labels beside theirs.
    pub(super) open_labels: bool,
    /// What the lab can be asked to do.
    pub(super) orders: Vec<Order>,
    /// Everything could be read, so that what they are can be judged too, not only what they are called.
    whole: bool,
}

impl Known {
    /// Of what could be read, and of what is declared beside it. A lab has a description if its nodes can be told.
    pub(in crate::plan) fn of(
        root: &Tree,
        system: Option<&(System, Option<LabDescription>)>,
        names: &Names,
        workloads: &IndexMap<String, Workload>,
    ) -> Known {
        let none = System::Nodes { nodes: IndexMap::new(), links: IndexMap::new() };
        let (read, lab) = system.map_or((&none, None), |(system, lab)| (system, lab.as_ref()));
        let parts = Parts::assemble(read, lab, names, workloads);
        let mut known = Known {
            parts,
            open_nodes: false,
            open_links: false,
            astray: Vec::new(),
            open_labels: false,
            orders: lab.map(|lab| lab.orders.clone()).unwrap_or_default(),
            whole: system.is_some(),
        };
        let written = |path: &[&str]| root.find(path).filter(|node| !node.is_null());
        match (written(&["system", "nodes"]).and_then(Tree::map), read) {
            (Some(nodes), System::Nodes { nodes: sound, links }) if written(&["system", "lab"]).is_none() => {
                for (name, entry) in nodes.iter().filter(|(name, _)| !sound.contains_key(*name)) {
                    known.add_node(name, &entry.node);
                }
                match written(&["system", "links"]).map(Tree::map) {
                    None => {}
                    Some(None) => known.open_links(),
                    Some(Some(written)) => {
                        for (name, entry) in written.iter().filter(|(name, _)| !links.contains_key(*name)) {
                            known.add_link(name, &entry.node);
                        }
                    }
                }
            }
            (None, System::Lab { .. }) if lab.is_some() => {}
            _ => known.open_all(),
        }
        match written(&["workloads"]).map(Tree::map) {
            None => {}
            Some(None) => known.open_all(),
            Some(Some(written)) => {
                for (name, entry) in written.iter().filter(|(name, _)| !workloads.contains_key(*name)) {
                    known.add_workload(name, names, &entry.node);
                }
                let is_entry =
                    |to: &str| names.contains_key(to) || known.parts.nodes.get(to).is_some_and(|node| node.entry);
                let astray = written.iter().filter(|(_, entry)| !text(&entry.node, "to").is_some_and(is_entry));
                known.astray = astray.map(|(name, _)| name.clone()).collect();
            }
        }
        known
    }

    /// Whether a link may have this name.
    pub(super) fn may_be_link(&self, name: &str) -> bool {
        let of = |workload: &String| name.strip_prefix(workload.as_str()).is_some_and(|rest| rest.starts_with('-'));
        self.open_links || self.parts.links.contains_key(name) || self.astray.iter().any(of)
    }

    /// The links by name, those that somebody would want to be reminded of.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        let sure = |(_, link): &(&String, &LinkPart)| !self.astray.contains(&link.from);
        self.parts.links.iter().filter(sure).map(|(name, _)| name.as_str())
    }

    /// The parts, where everything could be read.
    pub(super) fn whole(&self) -> Option<&Parts> {
        self.whole.then_some(&self.parts)
    }

    /// The nodes of the system by name.
    pub(super) fn system_nodes(&self) -> impl Iterator<Item = &str> {
        self.parts.nodes.iter().filter(|(_, node)| node.kind.is_system()).map(|(name, _)| name.as_str())
    }

    fn add_node(&mut self, name: &str, written: &Tree) {
        // One of an unknown kind is taken for one that everything can be done to.
        let kind = if written.find(&["endpoint"]).is_some() { PartKind::Endpoint } else { PartKind::Process };
        self.add(name, kind, true, written);
    }

    fn add_workload(&mut self, name: &str, names: &Names, written: &Tree) {
        self.add(name, PartKind::Workload, false, written);
        if let Some(to) = text(written, "to") {
            let http = written.find(&["client", "tcp"]).is_none();
            for to in dialled_as(names, to) {
                self.parts.links.insert(workload_link(name, to), link(name, to, http));
            }
        }
    }

    fn add(&mut self, name: &str, kind: PartKind, entry: bool, written: &Tree) {
        self.whole = false;
        let mut labels = IndexMap::new();
        match written.find(&["labels"]).filter(|node| !node.is_null()).map(Tree::map) {
            None => {}
            Some(None) => self.open_labels = true,
            Some(Some(map)) => {
                for (label, entry) in map {
                    match entry.node.text() {
                        Some(value) => drop(labels.insert(label.clone(), value.to_owned())),
                        None => self.open_labels = true,
                    }
                }
            }
        }
        self.parts.nodes.insert(name.to_owned(), NodePart { kind, labels, entry });
    }

    fn add_link(&mut self, name: &str, written: &Tree) {
        self.whole = false;
        let (from, to) = (text(written, "from").unwrap_or_default(), text(written, "to").unwrap_or_default());
        self.parts.links.insert(name.to_owned(), link(from, to, true));
    }

    fn open_links(&mut self) {
        (self.open_links, self.whole) = (true, false);
    }

    fn open_all(&mut self) {
        (self.open_nodes, self.open_labels) = (true, true);
        self.open_links();
    }
}

fn text<'t>(written: &'t Tree, key: &str) -> Option<&'t str> {
    written.find(&[key]).filter(|node| !node.is_null()).and_then(Tree::text)
}

fn link(from: &str, to: &str, http: bool) -> LinkPart {
    LinkPart {
        from: from.to_owned(),
        to: to.to_owned(),
        listen: String::new(),
        http,
        workload: false,
        tls: Tls::Opaque,
        ca: None,
    }
}
