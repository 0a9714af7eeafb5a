//! Nodes and links: whether they fit together, and whether what is filled in at run time exists.

use super::Checker;
use crate::experiment::interpolate::{self, RunTimeName};
use crate::experiment::mistake::{At, Mistake, quoted};
use crate::experiment::nearest::nearest;
use crate::experiment::tree::Node as Tree;
use crate::plan::parts::{PartKind, workload_link};
use crate::plan::system::{Node, NodeKind, Process, ReadyWhen, System};

impl Checker<'_> {
    pub(super) fn check_system(&mut self) {
        if let System::Nodes { nodes, .. } = &self.run.system {
            for (name, node) in nodes {
                if let NodeKind::Process(process) = &node.kind {
                    self.check_process(name, process);
                }
            }
        }
        self.check_links();
        self.check_run_time_names();
    }

    fn check_process(&mut self, name: &str, process: &Process) {
        let path = ["system", "nodes", name, "process"];
        if process.command.is_empty() {
            self.key(
                &path,
                format!("the process `{name}` has no program"),
                "expected `command: [program, argument, …]`",
            );
        }
        if process.listen.is_none() {
            let dialled = self.known.parts.links.values().any(|link| link.to == name);
            let why = match &process.ready.when {
                ReadyWhen::Listening => Some("it counts as ready once it listens"),
                ReadyWhen::Http(_) => Some("it counts as ready once it answers a GET"),
                ReadyWhen::Log(_) => dialled.then_some("a link leads to it"),
            };
            if let Some(why) = why {
                let mistake = Mistake::new(self.root.key_at(&path), format!("the process `{name}` has no `listen`"));
                let help = "add `listen: 127.0.0.1:0`; a process that listens nowhere can have `ready: { log: … }`";
                self.mistakes.add(mistake.label(why).help(help));
            }
        }
        for file in process.files.keys() {
            let inside = !file.is_empty() && !file.starts_with('/') && file.split('/').all(|part| part != "..");
            if !inside {
                let label = "expected a name below the process's own folder";
                let at = ["system", "nodes", name, "process", "files", file];
                self.key(&at, format!("{} leads out of the folder of `{name}`", quoted(file)), label);
            }
        }
    }

    /// Looks at the links as written: a name can be wrong in one that has other mistakes too.
    fn check_links(&mut self) {
        if self.known.open_nodes || matches!(self.run.system, System::Lab { .. }) {
            return;
        }
        let nodes: Vec<&str> = self.known.system_nodes().collect();
        let links = self.root.find(&["system", "links"]).and_then(Tree::map);
        for (name, entry) in links.into_iter().flatten() {
            let path = |key| ["system", "links", name.as_str(), key];
            let end = |key| entry.node.find(&[key]).filter(|node| !node.is_null()).and_then(Tree::text);
            let (from, to) = (end("from"), end("to"));
            if let Some(to) = to.filter(|to| !nodes.contains(to)) {
                let mistake = self.mistake(&path("to"), format!("no node is called {}", quoted(to)));
                self.mistakes.add(mistake.known(to, "nodes", nodes.iter().copied()));
            }
            if let Some(to) = to.filter(|_| from == to) {
                self.at(&path("to"), format!("the link `{name}` leads from `{to}` to itself"), "");
            }
            let stranger =
                |from: &&str| self.known.parts.nodes.get(*from).is_none_or(|node| node.kind == PartKind::Outside);
            if let Some(from) = from.filter(stranger)
                && let Some(meant) = nearest(from, nodes.iter().copied())
            {
                let title = format!("no node is called {}", quoted(from));
                let label = "taken for a client outside the run, which dials the link itself";
                let mistake = self.mistake(&path("from"), title).label(label).warning();
                self.mistakes.add(mistake.help(format!("did you mean `{meant}`?")));
            }
            let workloads = self.root.find(&["workloads"]).and_then(Tree::map).into_iter().flatten();
            let namesake =
                workloads.filter_map(|(workload, entry)| Some((workload, entry.node.find(&["to"])?.text()?)));
            if let Some((workload, _)) =
                namesake.into_iter().find(|(workload, to)| workload_link(workload, to) == *name)
            {
                let title = format!("the link `{name}` has the name of the workload `{workload}`'s own link");
                self.key(&["system", "links", name], title, "choose another name");
            }
        }
    }

    /// `${links.NAME.address}` and its like must lead somewhere; `${dir}` and `self` belong to a process.
    fn check_run_time_names(&mut self) {
        let mut found: Vec<Mistake> = Vec::new();
        let mut look = |process: Option<&str>, part: &Tree| {
            part.walk(&mut |node| {
                let Some(text) = node.text().filter(|text| text.contains("${")) else { return };
                for (name, range) in interpolate::names(text) {
                    found.extend(self.run_time_mistake(name, node.part_at(self.sources, range), process));
                }
            });
        };
        for (key, entry) in self.root.map().into_iter().flatten() {
            match entry.node.map().filter(|_| key == "system") {
                None => look(None, &entry.node),
                Some(system) => {
                    for (key, entry) in system {
                        match entry.node.map().filter(|_| key == "nodes") {
                            None => look(None, &entry.node),
                            Some(nodes) => nodes.iter().for_each(|(name, entry)| look(Some(name), &entry.node)),
                        }
                    }
                }
            }
        }
        found.into_iter().for_each(|mistake| self.mistakes.add(mistake));
    }

    /// What is wrong with a name that only the running system knows, asked for by a process or by something else.
    fn run_time_mistake(&self, name: &str, at: At, process: Option<&str>) -> Option<Mistake> {
        let (what, part, field, known, open): (_, _, _, Vec<&str>, _) = match (RunTimeName::parse(name)?, process) {
            (RunTimeName::Dir, Some(_)) => return None,
            (RunTimeName::Dir, None) => {
                return Some(Mistake::new(at, "`${dir}` is the folder of a process").label("not of this"));
            }
            (RunTimeName::Node { name: "self", field: "name" }, Some(_)) => return None,
            (RunTimeName::Node { name: "self", .. }, None) => {
                return Some(Mistake::new(at, "`self` is the process that asks").label("this is none"));
            }
            (RunTimeName::Node { name: "self", field }, Some(process)) => {
                ("node", process, field, vec![process], false)
            }
            (RunTimeName::Link { name, field }, _) => {
                ("link", name, field, self.known.links().collect(), self.known.may_be_link(name))
            }
            (RunTimeName::Node { name, field }, _) => {
                ("node", name, field, self.known.system_nodes().collect(), self.known.open_nodes)
            }
        };
        if !open && !known.contains(&part) {
            let title = format!("there is no {what} called {}", quoted(part));
            return Some(Mistake::new(at, title).known(part, &format!("{what}s"), known));
        }
        if what == "link" && field == "ca" {
            let ends = self.known.parts.links.get(part).is_none_or(|link| !link.tls.is_opaque());
            let mistake = || Mistake::new(at, format!("the link `{part}` has no authority: it does not end TLS"));
            return (!ends).then(|| mistake().help("`tls: terminate` on the link makes it end TLS"));
        }
        if !matches!(field, "address" | "port") {
            let title = format!("`${{{name}}}` is not known of a {what}");
            return Some(Mistake::new(at, title).label("expected `.address` or `.port`"));
        }
        let listens = match self.node(part).map(|node| &node.kind) {
            Some(NodeKind::Process(process)) if what == "node" => process.listen.is_some(),
            _ => true,
        };
        (!listens).then(|| {
            let mistake = Mistake::new(at, format!("the process `{part}` listens nowhere"));
            mistake.label("so it has no address").help(format!("add `listen: 127.0.0.1:0` to `{part}`"))
        })
    }

    /// The node of the system with this name, where the system is one of nodes.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        match &self.run.system {
            System::Nodes { nodes, .. } => nodes.get(name),
            System::Lab { .. } => None,
        }
    }
}
