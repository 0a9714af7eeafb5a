//! Whom the run may touch: loopback, and what `allow` names.

use super::Checker;
use crate::experiment::mistake::Mistake;
use crate::plan::Action;
use crate::plan::fault::FaultKind;
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
        for (name, fault) in &self.run.faults {
            if let FaultKind::Action { action, undo } = &fault.kind {
                for key in ["http", "undo"] {
                    let action = if key == "http" { Some(action) } else { undo.as_ref() };
                    if let Some(Action::Http { url, .. }) = action {
                        let path = match key {
                            "http" => vec!["faults", name, "http", "url"],
                            _ => vec!["faults", name],
                        };
                        self.check_host(&path, Host::of_url(url));
                    }
                }
            }
        }
        for (index, check) in self.run.checks.iter().enumerate() {
            if let Action::Http { url, .. } = &check.action {
                self.check_host(&["checks", &index.to_string(), "http", "url"], Host::of_url(url));
            }
        }
        self.check_rates();
    }

    /// A host outside loopback must be allowed.
    ///
    /// One that is filled in at run time is that of a link or a node, and checked there.
    fn check_host(&mut self, path: &[&str], host: Option<Host>) {
        let Some(Host { name: host, .. }) = host.filter(|host| !host.is_loopback()) else { return };
        if self.run.allow.iter().any(|allow| allow.host == host) {
            return;
        }
        let mistake = self.mistake(path, format!("`{host}` is outside loopback")).label("not allowed by this file");
        let help = format!("add `allow: [{{ host: {host}, max_rate: 100/s }}]`, and run with `--allow-remote`");
        self.mistakes.add(mistake.help(help));
    }

    /// What is sent to an allowed host must stay under its rate.
    fn check_rates(&mut self) {
        for (index, allow) in self.run.allow.iter().enumerate() {
            let users = self.run.workloads.iter().filter(|(_, workload)| {
                self.run.system.endpoint(&workload.to).is_some_and(|endpoint| endpoint.host().name == allow.host)
            });
            let wanted: f64 = users.filter_map(|(_, workload)| workload.arrival.peak()).map(|rate| rate.get()).sum();
            if wanted > allow.max_rate.get() {
                let index = index.to_string();
                let at = self.root.at(&["allow", &index, "max_rate"]);
                let title = format!("the workloads want {wanted}/s of `{}`", allow.host);
                self.mistakes.add(Mistake::new(at, title).label("more than this allows, before any retry"));
            }
        }
    }
}
