//! Whom the run may touch: loopback, and what `allow` names.

use super::Checker;
use crate::experiment::mistake::Mistake;
use crate::experiment::tree::{Node as Tree, Value};
use crate::plan::CheckAction;
use crate::plan::host::Host;
use crate::plan::system::System;

impl Checker<'_> {
    pub(super) fn check_permissions(&mut self) {
        if let System::Nodes { nodes, .. } = &self.run.system {
            for (name, node) in nodes {
                if let Some(endpoint) = node.kind.endpoint() {
                    self.check_host(&["system", "nodes", name, "endpoint"], Some(endpoint.host().clone()));
                }
            }
        }
        // Requests as written: each has its place, also beside one that could not be read.
        let mut urls: Vec<Vec<String>> = Vec::new();
        for (name, entry) in self.root.find(&["faults"]).and_then(Tree::map).into_iter().flatten() {
            urls.push(vec!["faults".into(), name.clone(), "http".into(), "url".into()]);
            for kind in entry.node.map().into_iter().flat_map(indexmap::IndexMap::keys) {
                let undo = ["faults", name, kind, "undo", "http", "url"];
                urls.push(undo.map(str::to_owned).to_vec());
            }
        }
        if let Some(Value::List(checks)) = self.root.find(&["checks"]).map(|checks| &checks.value) {
            urls.extend(
                (0..checks.len()).map(|index| vec!["checks".into(), index.to_string(), "http".into(), "url".into()]),
            );
        }
        for (index, check) in self.run.checks.iter().enumerate() {
            if let CheckAction::Sql(query) = &check.action {
                let index = index.to_string();
                let path = ["checks", index.as_str(), "sql", "address"];
                // One that is filled in at run time has no host yet.
                match query.host() {
                    None if !query.address.contains("${") => {
                        self.at(&path, "this is no address", "expected `host:port`, such as `127.0.0.1:5432`");
                    }
                    host => self.check_host(&path, host),
                }
            }
        }
        for path in &urls {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Some(url) = self.root.find(&path).and_then(Tree::text) {
                self.check_host(&path, Host::of_url(url));
            }
        }
        self.check_rates();
    }

    /// A host outside loopback must be allowed.
    ///
    /// One that is filled in at run time is that of a link or a node, and checked there.
    fn check_host(&mut self, path: &[&str], host: Option<Host>) {
        let known = |host: &Host| !host.is_loopback() && !host.name.contains("${");
        let Some(Host { name: host, .. }) = host.filter(known) else { return };
        if self.run.allow.iter().any(|allow| allow.host == host) {
            return;
        }
        let mistake = self.mistake(path, format!("`{host}` is outside loopback")).label("not allowed by this file");
        let help = format!("add `allow: [{{ host: {host}, max_rate: 100/s }}]`, and run with `--allow-remote`");
        self.mistakes.add(mistake.help(help));
    }

    /// What is sent to an allowed host must stay under its rate.
    fn check_rates(&mut self) {
        let written = self.root.find(&["allow"]).map(|allow| &allow.value);
        for allow in &self.run.allow {
            let users = self.run.workloads.iter().filter(|(_, workload)| {
                self.run.system.endpoint(&workload.to).is_some_and(|endpoint| endpoint.host().name == allow.host)
            });
            let wanted: f64 = users.filter_map(|(_, workload)| workload.arrival.peak()).map(|rate| rate.get()).sum();
            if wanted > allow.max_rate.get() {
                let Some(Value::List(written)) = written else { continue };
                let of_host = |item: &&Tree| item.find(&["host"]).and_then(Tree::text) == Some(&allow.host);
                let Some(at) = written.iter().find(of_host).map(|item| item.at(&["max_rate"])) else { continue };
                let title = format!("the workloads want {wanted}/s of `{}`", allow.host);
                self.mistakes.add(Mistake::new(at, title).label("more than this allows, before any retry"));
            }
        }
    }
}
