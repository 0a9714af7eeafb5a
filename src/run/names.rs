//! Ports for links that are dialled by name: an answer of DNS tells an address, and the port is the same at each.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::system::port::Port;
use crate::topology::Topology;

/// Where each link listens that a workload dials by name; the ports are kept until this is dropped.
#[derive(Debug, Default)]
pub(super) struct NamedPorts {
    listen: BTreeMap<String, SocketAddr>,
    _kept: Vec<Port>,
}

impl NamedPorts {
    /// One port for each workload that uses a name.
    pub(super) fn pick(topology: &Topology) -> io::Result<NamedPorts> {
        let mut groups: BTreeMap<&str, Vec<(&str, IpAddr)>> = BTreeMap::new();
        for (name, link) in &topology.parts().links {
            let host = link.listen.parse().map(|listen: SocketAddr| listen.ip());
            if let (true, Ok(host)) = (topology.is_dialled_by_name(name), host) {
                groups.entry(&link.from).or_default().push((name, host));
            }
        }
        let mut ports = NamedPorts::default();
        for links in groups.into_values() {
            let hosts: Vec<IpAddr> = links.iter().map(|(_, host)| *host).collect();
            for ((link, _), port) in links.iter().zip(Port::reserve_alike(&hosts)?) {
                ports.listen.insert((*link).to_owned(), port.address());
                ports._kept.push(port);
            }
        }
        Ok(ports)
    }

    /// Where a link listens, if it is dialled by name.
    pub(super) fn of(&self, link: &str) -> Option<SocketAddr> {
        self.listen.get(link).copied()
    }
}
