//! The names of a lab that runs by itself: a DNS server, and links at the addresses that it tells.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use indexmap::IndexMap;

use super::status::Name;
use crate::plan;
use crate::system::dns::Dns;
use crate::system::port::Port;

/// Who answers for the names, and where the links listen that lead to what they mean.
#[derive(Debug)]
pub(super) struct NamesServed {
    dns: Arc<Dns>,
    names: plan::Names,
    /// For each node that a name may mean, all with the same number: an answer of DNS tells none.
    ports: IndexMap<String, Port>,
}

impl NamesServed {
    /// Serves the names; none if there are none.
    pub(super) fn start(names: &plan::Names) -> io::Result<Option<NamesServed>> {
        if names.is_empty() {
            return Ok(None);
        }
        let addresses = plan::names::addresses(names);
        let hosts: Vec<IpAddr> = addresses.values().map(|address| IpAddr::from(*address)).collect();
        let ports = addresses.into_keys().zip(Port::reserve_alike(&hosts)?).collect();
        Ok(Some(NamesServed { dns: Arc::new(Dns::serve(names)?), names: names.clone(), ports }))
    }

    /// The server.
    pub(super) fn dns(&self) -> &Arc<Dns> {
        &self.dns
    }

    /// Where the link listens that leads to a node by its names.
    pub(super) fn listens(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.ports.iter().map(|(node, port)| (node.as_str(), port.address()))
    }

    /// What each name means now.
    pub(super) fn now(&self) -> Vec<Name> {
        let port = self.ports.values().next().map_or(0, |port| port.address().port());
        let table = self.dns.table();
        let now = |name: &String| {
            let record = table.record(name).cloned().unwrap_or_default();
            let means = self.listens().filter(|(_, at)| record.addresses.iter().any(|told| at.ip() == *told));
            Name {
                name: name.clone(),
                nodes: means.map(|(node, _)| node.to_owned()).collect(),
                addresses: record.addresses,
                ttl_s: record.ttl.as_secs_f64().ceil() as u64,
                url: format!("http://{name}:{port}"),
            }
        };
        self.names.keys().map(now).collect()
    }
}

/// The link by which clients reach a node by its names.
pub(super) fn named_link(node: &str) -> String {
    format!("named-{node}")
}
