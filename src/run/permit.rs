//! Loopback unless allowed twice: by the experiment's `allow`, and by `--allow-remote`.
//!
//! The test is on the resolved address, at connect time, for upstreams, clients and actions alike.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, RwLock};

use crate::plan::fault::FaultKind;
use crate::plan::system::{NodeKind, System};
use crate::plan::{Action, Allow, Plan, RunPlan};

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub struct Permits {
    allow: Arc<Vec<Allow>>,
    addresses: Arc<RwLock<BTreeSet<IpAddr>>>,
}

impl Permits {
    /// Loopback, and the allowed hosts if `--allow-remote` was given.
    pub fn new(allow: &[Allow], allow_remote: bool) -> Permits {
        let allow = if allow_remote { allow.to_vec() } else { Vec::new() };
        let permits = Permits { allow: Arc::new(allow), addresses: Arc::default() };
        permits.refresh();
        permits
    }

    /// Resolves the allowed hosts again and adds what they are now called; blocks while names resolve.
    ///
    /// Addresses seen before stay permitted, since the connections to them are still ours.
    pub fn refresh(&self) {
        let resolved = self.allow.iter().filter_map(|allow| (allow.host.as_str(), 0).to_socket_addrs().ok()).flatten();
        let resolved: Vec<IpAddr> = resolved.map(|address| address.ip()).collect();
        self.addresses.write().expect("no holder panics").extend(resolved);
    }

    /// Whether this address may be dialled.
    pub fn allows(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || self.addresses.read().expect("no holder panics").contains(&ip)
    }

    /// The hosts outside loopback that are permitted.
    pub fn allowed(&self) -> &[Allow] {
        &self.allow
    }

    /// The same as a function, for proxies and clients.
    pub fn as_fn(&self) -> Arc<dyn Fn(SocketAddr) -> bool + Send + Sync> {
        let permits = self.clone();
        Arc::new(move |address| permits.allows(address))
    }
}

/// What a plan would reach without permission, each in a sentence; empty if nothing.
///
/// Names are resolved here; at connect time every address is tested again.
pub fn refusals(plan: &Plan, allow_remote: bool) -> Vec<String> {
    let mut refused = BTreeSet::new();
    for run in &plan.runs {
        let permits = Permits::new(&run.allow, allow_remote);
        for (what, host) in hosts(run) {
            let Some(address) = first_refused(&permits, &host) else { continue };
            let bare = host.rsplit_once(':').map_or(host.as_str(), |(bare, _)| bare).trim_matches(['[', ']']);
            let named = run.allow.iter().any(|allow| allow.host == bare);
            let next = if named {
                "the experiment allows it; give `--allow-remote` too".to_owned()
            } else {
                format!(
                    "name it in the experiment, `allow: [{{ host: {bare}, max_rate: 10/s }}]`, and give `--allow-remote`"
                )
            };
            refused.insert(format!("{what} is at {host} ({address}), outside loopback: {next}"));
        }
    }
    refused.into_iter().collect()
}

/// Every `host:port` that a run would dial, with what it is.
fn hosts(run: &RunPlan) -> Vec<(String, String)> {
    let mut hosts = Vec::new();
    if let System::Nodes { nodes, .. } = &run.system {
        for (name, node) in nodes {
            if let NodeKind::Endpoint { address } = &node.kind {
                hosts.push((format!("endpoint `{name}`"), address.clone()));
            }
        }
    }
    let mut add = |what: &str, action: &Action| {
        let url = if let Action::Http { url, .. } = action { reqwest::Url::parse(url).ok() } else { None };
        if let Some((host, port)) = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?))) {
            hosts.push((what.to_owned(), format!("{host}:{port}")));
        }
    };
    for (name, fault) in &run.faults {
        if let FaultKind::Action { action, undo } = &fault.kind {
            add(&format!("fault `{name}`"), action);
            undo.iter().for_each(|undo| add(&format!("the undo of fault `{name}`"), undo));
        }
    }
    run.checks.iter().for_each(|check| add("a check", &check.action));
    hosts
}

fn first_refused(permits: &Permits, host: &str) -> Option<SocketAddr> {
    host.to_socket_addrs().ok()?.find(|address| !permits.allows(*address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    fn allow(host: &str) -> Vec<Allow> {
        vec![Allow { host: host.into(), max_rate: Rate::per_second(1.0).unwrap() }]
    }

    #[test]
    fn loopback_is_always_permitted_whatever_its_notation() {
        let permits = Permits::new(&[], false);
        for address in ["127.0.0.1:80", "127.9.9.9:1", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(permits.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_remote_address_needs_both_permissions() {
        let address = "192.0.2.7:80".parse().unwrap();
        assert!(!Permits::new(&[], false).allows(address));
        assert!(!Permits::new(&[], true).allows(address));
        assert!(!Permits::new(&allow("192.0.2.7"), false).allows(address));
        assert!(Permits::new(&allow("192.0.2.7"), true).allows(address));
        assert!(!Permits::new(&allow("192.0.2.8"), true).allows(address));
    }
}
