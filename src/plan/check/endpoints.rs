//! Endpoints: whether those who use one can speak to it as its URL says.

use super::Checker;
use crate::experiment::tree::Node as Tree;
use crate::plan::Endpoint;
use crate::plan::system::{Probe, System};
use crate::plan::workload::{Client, Operation, Workload};

impl Checker<'_> {
    pub(super) fn check_endpoints(&mut self) {
        for (name, workload) in &self.run.workloads {
            let endpoint = self.run.system.endpoint(&workload.to);
            let tls = endpoint.is_some_and(Endpoint::tls);
            if let Client::Tcp(_) = &workload.client
                && tls
            {
                let title = format!("the `tcp` client speaks no TLS, and `{}` is at `https://`", workload.to);
                self.at(&["workloads", name, "client"], title, "expected `http: {}`");
            }
            if let Client::Http(settings) = &workload.client
                && settings.ca.is_some()
                && !tls
            {
                let title = format!("`ca` has no effect: `{}` is not at `https://`", workload.to);
                let mistake = self.mistake(&["workloads", name, "client", "http", "ca"], title);
                self.mistakes.add(mistake.warning());
            }
            if let Client::Http(settings) = &workload.client
                && !settings.tls.is_opaque()
                && !tls
            {
                self.nothing_to_end(&["workloads", name, "client", "http", "tls"], &workload.to);
            }
            if let Some(endpoint) = endpoint {
                self.check_query(name, workload, endpoint);
            }
        }
        let System::Nodes { nodes, links } = &self.run.system else { return };
        for (name, node) in nodes {
            if let (Some(endpoint), Some(Probe::Http(_))) = (node.kind.endpoint(), &node.probe)
                && endpoint.tls()
            {
                let title = format!("`{name}` is at `https://`, and a probe speaks no TLS");
                self.at(&["system", "nodes", name, "probe"], title, "expected `tcp`");
            }
        }
        for (name, link) in links {
            if link.http && self.carries_tls(name) {
                let title = format!("the link `{name}` carries TLS: `{}` is at `https://`", link.to);
                let mistake = self.mistake(&["system", "links", name, "http"], title);
                let mistake = mistake.label("the proxy cannot read HTTP on it");
                self.mistakes.add(mistake.help("with `tls: terminate` the link ends TLS, and can"));
            }
            if !link.tls.is_opaque() && nodes.contains_key(&link.to) && !self.leads_to_tls(name) {
                self.nothing_to_end(&["system", "links", name, "tls"], &link.to);
            }
            if link.ca.is_some() && link.tls.is_opaque() {
                let title = format!("`ca` has no effect: the link `{name}` does not end TLS");
                let mistake = self.mistake(&["system", "links", name, "ca"], title);
                self.mistakes.add(mistake.help("add `tls: terminate`, or leave out `ca`").warning());
            }
        }
    }

    /// A URL with a query is a whole request: nothing can be put below its path.
    fn check_query(&mut self, name: &str, workload: &Workload, endpoint: &Endpoint) {
        let (Some(query), Client::Http(_)) = (endpoint.query(), &workload.client) else { return };
        let path = ["workloads", name, "operation", "request", "path"];
        let (at, help) = match &workload.operation {
            Operation::Request(_) if self.root.find(&path).is_none_or(Tree::is_null) => return,
            Operation::Request(_) => {
                (&path[..], "leave out `path` to ask for the URL itself, or put the query behind this path")
            }
            _ => (&path[..3], "leave out the query"),
        };
        let title = format!("the URL of `{}` has a query, and the operation a path of its own", workload.to);
        let mistake = self.mistake(at, title).label(format!("`?{query}` could not stand at its end"));
        self.mistakes.add(mistake.help(help));
    }

    fn nothing_to_end(&mut self, path: &[&str], to: &str) {
        let title = format!("there is no TLS to end: `{to}` is not at `https://`");
        let mistake = self.mistake(path, title);
        self.mistakes.add(mistake.help("leave out `tls`, or give the endpoint as a URL at `https://`"));
    }

    /// Whether what passes on a link is TLS to the proxy.
    pub(super) fn carries_tls(&self, link: &str) -> bool {
        self.leads_to_tls(link) && self.known.parts.links.get(link).is_some_and(|link| link.tls.is_opaque())
    }

    /// Whether TLS is spoken to the server side of a link.
    fn leads_to_tls(&self, link: &str) -> bool {
        let to = self.known.parts.links.get(link).map(|link| link.to.as_str());
        to.and_then(|to| self.run.system.endpoint(to)).is_some_and(Endpoint::tls)
    }
}
