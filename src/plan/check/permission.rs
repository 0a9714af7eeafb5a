//! Whom the run may touch: loopback, and what `allow` names.

use super::Checker;
use crate::experiment::mistake::Mistake;
use crate::plan::Action;
use crate::plan::fault::FaultKind;
use crate::plan::system::{NodeKind, System};

impl Checker<'_> {
    pub(super) fn check_permissions(&mut self) {
        if let System::Nodes { nodes, .. } = &self.run.system {
            for (name, node) in nodes {
                if let NodeKind::Endpoint { address } = &node.kind {
                    self.check_host(&["system", "nodes", name, "endpoint"], host_of(address));
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
                        self.check_host(&path, host_of_url(url));
                    }
                }
            }
        }
        for (index, check) in self.run.checks.iter().enumerate() {
            if let Action::Http { url, .. } = &check.action {
                self.check_host(&["checks", &index.to_string(), "http", "url"], host_of_url(url));
            }
        }
        self.check_rates();
    }

    /// A host outside loopback must be allowed.
    fn check_host(&mut self, path: &[&str], host: &str) {
        if host.contains("${") || is_loopback(host) || self.run.allow.iter().any(|allow| allow.host == host) {
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
                matches!(self.node(&workload.to).map(|node| &node.kind),
                    Some(NodeKind::Endpoint { address }) if host_of(address) == allow.host)
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

/// The host of `host:port`.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The host of an address for requests.
fn host_of_url(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    if host.contains("${") {
        return host;
    }
    match host.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host_of(host),
        _ => host.trim_start_matches('[').trim_end_matches(']'),
    }
}

/// Whether a host is this machine alone; whatever a name resolves to is tested again when it is dialled.
pub(in crate::plan) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_addresses() {
        assert_eq!(host_of("127.0.0.1:80"), "127.0.0.1");
        assert_eq!(host_of("[::1]:80"), "::1");
        assert_eq!(host_of_url("http://db.example.com:8080/failover?now"), "db.example.com");
        assert_eq!(host_of_url("http://[::1]/x"), "::1");
        assert!(is_loopback("::ffff:127.0.0.1") && is_loopback("localhost") && !is_loopback("192.0.2.1"));
    }
}
