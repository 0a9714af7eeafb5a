//! Ports for links that are dialled by name: an answer of DNS tells an address, and the port is the same at each.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::system::port::Port;
use crate::topology::Topology;

/// A port may be free at one address and taken at the next: so often another is tried.
const TRIES: usize = 64;

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
            for ((link, _), port) in links.iter().zip(common(&hosts)?) {
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

/// A port that is free at each of these addresses.
fn common(hosts: &[IpAddr]) -> io::Result<Vec<Port>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut number = 0;
        let reserve = |host: &IpAddr| {
            let port = Port::reserve_at(SocketAddr::new(*host, number))?;
            number = port.address().port();
            Ok(port)
        };
        match hosts.iter().map(reserve).collect::<io::Result<Vec<Port>>>() {
            Ok(ports) => return Ok(ports),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_common_port_is_one_that_is_free_at_each_address() {
        let hosts: Vec<IpAddr> = (1..=3).map(|last| Ipv4Addr::new(127, 53, 0, last).into()).collect();
        let ports = common(&hosts).unwrap();
        let number = ports[0].address().port();
        for (port, host) in ports.iter().zip(&hosts) {
            assert_eq!(port.address(), SocketAddr::new(*host, number));
            port.listen().unwrap();
        }
    }
}
