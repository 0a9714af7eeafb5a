//! Loopback unless allowed twice: by the experiment's `allow`, and by `--allow-remote`.
//!
//! The test is on the resolved address, at connect time, for upstreams, clients and actions alike: all of them ask the
//! [`Permit`] that is made here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::permit::{Permit, is_loopback};
use crate::plan::fault::FaultKind;
use crate::plan::host::Host;
use crate::plan::system::System;
use crate::plan::{Action, Allow, CheckAction, Plan, RunPlan};

/// What a run may reach.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    hosts: Vec<Allow>,
    permit: Permit,
}

impl Allowance {
    /// Loopback, and the allowed hosts if `--allow-remote` was given; blocks while their names resolve.
    pub fn new(allow: &[Allow], allow_remote: bool) -> Allowance {
        let hosts = if allow_remote { allow.to_vec() } else { Vec::new() };
        let resolved = hosts.iter().filter_map(|allow| (allow.host.as_str(), 0).to_socket_addrs().ok()).flatten();
        let addresses: BTreeSet<IpAddr> = resolved.map(|address| address.ip().to_canonical()).collect();
        let permit =
            Permit::when(move |address| is_loopback(address.ip()) || addresses.contains(&address.ip().to_canonical()));
        Allowance { hosts, permit }
    }

    /// The hosts outside loopback that are allowed.
    pub fn hosts(&self) -> &[Allow] {
        &self.hosts
    }

    /// Whether an address may be connected to.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// What a plan would reach without permission, each in a sentence; empty if nothing.
///
/// Names are resolved here; at connect time every address is tested again.
pub fn refusals(plan: &Plan, allow_remote: bool) -> Vec<String> {
    let mut refused = BTreeSet::new();
    for run in &plan.runs {
        let allowance = Allowance::new(&run.allow, allow_remote);
        for (what, host) in hosts(run) {
            let Some(address) = first_refused(allowance.permit(), &host) else { continue };
            let next = if run.allow.iter().any(|allow| allow.host == host.name) {
                "the experiment allows it; give `--allow-remote` too".to_owned()
            } else {
                let allow = format!("`allow: [{{ host: {}, max_rate: 10/s }}]`", host.name);
                format!("name it in the experiment, {allow}, and give `--allow-remote`")
            };
            refused.insert(format!("{what} is at {host} ({address}), outside loopback: {next}"));
        }
    }
    refused.into_iter().collect()
}

/// Every host that a run would dial, with what it is. One that is filled in at run time is a node's or a link's.
fn hosts(run: &RunPlan) -> Vec<(String, Host)> {
    let mut hosts = Vec::new();
    if let System::Nodes { nodes, .. } = &run.system {
        for (name, node) in nodes {
            if let Some(endpoint) = node.kind.endpoint() {
                hosts.push((format!("endpoint `{name}`"), endpoint.host().clone()));
            }
        }
    }
    let mut add = |what: &str, action: &Action| {
        if let Action::Http { url, .. } = action {
            hosts.extend(Host::of_url(url).map(|host| (what.to_owned(), host)));
        }
    };
    for (name, fault) in &run.faults {
        if let FaultKind::Action { action, undo } = &fault.kind {
            add(&format!("fault `{name}`"), action);
            undo.iter().for_each(|undo| add(&format!("the undo of fault `{name}`"), undo));
        }
    }
    for check in &run.checks {
        if let CheckAction::Act(action) = &check.action {
            add("a check", action);
        }
    }
    let asked = run.checks.iter().filter_map(|check| match &check.action {
        CheckAction::Sql(query) => query.host(),
        CheckAction::Act(_) => None,
    });
    hosts.extend(asked.map(|host| ("a check".to_owned(), host)));
    hosts
}

fn first_refused(permit: &Permit, host: &Host) -> Option<SocketAddr> {
    (host.name.as_str(), host.port).to_socket_addrs().ok()?.find(|address| !permit.allows(*address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    fn allow(host: &str) -> Vec<Allow> {
        vec![Allow { host: host.into(), max_rate: Rate::per_second(1.0).unwrap() }]
    }

    #[test]
    fn a_remote_address_needs_both_permissions() {
        let allows = |allow: &[Allow], remote: bool, address: &str| {
            Allowance::new(allow, remote).permit().allows(address.parse().unwrap())
        };
        assert!(!allows(&[], false, "192.0.2.7:80"));
        assert!(!allows(&[], true, "192.0.2.7:80"));
        assert!(!allows(&allow("192.0.2.7"), false, "192.0.2.7:80"));
        assert!(allows(&allow("192.0.2.7"), true, "192.0.2.7:80"));
        assert!(allows(&allow("192.0.2.7"), true, "[::ffff:192.0.2.7]:80"));
        assert!(!allows(&allow("192.0.2.8"), true, "192.0.2.7:80"));
        assert!(allows(&allow("192.0.2.8"), true, "127.0.0.1:80"), "loopback is always permitted");
    }
}
