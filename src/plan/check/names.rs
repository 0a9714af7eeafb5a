//! Names: whether they are some, mean nodes that there are, and are those that faults speak of.

use super::Checker;
use crate::experiment::mistake::quoted;
use crate::plan::fault::{DnsEffect, DnsFault};
use crate::plan::names::is_name;
use crate::plan::system::System;

impl Checker<'_> {
    pub(super) fn check_names(&mut self) {
        // A lab's own are sound.
        if matches!(self.run.system, System::Lab { .. }) {
            return;
        }
        for (name, meant) in &self.run.names {
            let path = ["system", "names", name];
            if !is_name(name) {
                let title = format!("{} is no name", quoted(name));
                self.key(&path, title, "expected two parts or more, such as `shop.test`, in small letters");
            }
            self.check_meant(&["system", "names", name, "to"], &meant.to);
        }
    }

    /// Whether names may mean these nodes.
    fn check_meant(&mut self, path: &[&str], nodes: &[String]) {
        for (index, node) in nodes.iter().enumerate() {
            let index = index.to_string();
            let item = [path, &[index.as_str()]].concat();
            let path = if self.root.find(&item).is_some() { &item[..] } else { path };
            let known: Vec<&str> = self.known.system_nodes().collect();
            if !known.contains(&node.as_str()) {
                if !self.known.open_nodes {
                    let mistake = self.mistake(path, format!("no node is called {}", quoted(node)));
                    self.mistakes.add(mistake.known(node, "nodes", known));
                }
            } else if let Some(endpoint) = self.run.system.endpoint(node)
                && (endpoint.tls() || endpoint.path_of("") != "/")
            {
                let title = format!("a name cannot mean `{node}`: its URL asks for more than an address");
                self.at(path, title, "expected an endpoint at `host:port`, or a process");
            }
        }
    }

    /// The names of a fault, and what it maps them to.
    pub(super) fn check_dns(&mut self, fault: &str, kind: &str, dns: &DnsFault) {
        let path = |key| ["faults", fault, kind, key];
        if self.known.open_nodes {
            return;
        }
        if self.run.names.is_empty() {
            let title = format!("`{kind}` has no name to be about");
            self.key(&["faults", fault, kind], title, "expected names under `system: { names: … }`");
            return;
        }
        for name in dns.names.iter().flatten().filter(|name| !self.run.names.contains_key(*name)) {
            let mistake = self.mistake(&path("names"), format!("there is no name {}", quoted(name)));
            self.mistakes.add(mistake.known(name, "names", self.run.names.keys().map(String::as_str)));
        }
        let DnsEffect::Remap { to, .. } = &dns.effect else { return };
        if !matches!(self.run.system, System::Lab { .. }) {
            return self.check_meant(&path("to"), to);
        }
        let concerned = |name: &String| dns.names.as_ref().is_none_or(|names| names.contains(name));
        for (name, meant) in self.run.names.iter().filter(|(name, _)| concerned(name)) {
            for node in to.iter().filter(|node| !meant.nodes().any(|known| known == *node)) {
                let mistake = self.mistake(&path("to"), format!("`{name}` cannot mean {}", quoted(node)));
                self.mistakes.add(mistake.known(node, "nodes that it may mean", meant.nodes()));
            }
        }
    }
}
