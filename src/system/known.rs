//! What a running system fills in for `${links.NAME.address}` and its like.

use std::path::Path;

use super::{LinkAddresses, NodeInfo};
use crate::experiment::interpolate::RunTimeName;

/// The certificate of the run's own authority, in its folder; only where a link ends TLS.
pub const AUTHORITY: &str = "ca.pem";

/// The address or port that a name asks for, or the authority of a link, which is in the run's folder; none if nothing is
/// known under it.
pub fn known(name: &str, links: &LinkAddresses, nodes: &[NodeInfo], dir: &Path) -> Option<String> {
    let (address, field) = match RunTimeName::parse(name)? {
        RunTimeName::Dir => return None,
        RunTimeName::Link { field: "ca", .. } => return Some(dir.join(AUTHORITY).display().to_string()),
        RunTimeName::Link { name, field } => (links.get(name)?.to_string(), field),
        RunTimeName::Node { name, field } => (nodes.iter().find(|node| node.name == name)?.address.clone(), field),
    };
    match field {
        "address" => Some(address).filter(|address| !address.is_empty()),
        "port" => address.rsplit_once(':').map(|(_, port)| port.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::system::NodeState;

    #[test]
    fn links_and_nodes_have_an_address_and_a_port_and_links_an_authority() {
        let links = LinkAddresses::from([("app-db".to_owned(), "127.0.0.1:7001".parse().unwrap())]);
        let node = |name: &str, address: &str| NodeInfo {
            name: name.to_owned(),
            labels: IndexMap::new(),
            address: address.to_owned(),
            incarnation: 1,
            role: None,
            state: NodeState::Ready,
        };
        let nodes = [node("db", "db.example.com:5432"), node("job", "")];
        let known = |name: &str| known(name, &links, &nodes, Path::new("/runs/1"));
        assert_eq!(known("links.app-db.ca").as_deref(), Some("/runs/1/ca.pem"));
        assert_eq!(known("links.app-db.address").as_deref(), Some("127.0.0.1:7001"));
        assert_eq!(known("links.app-db.port").as_deref(), Some("7001"));
        assert_eq!(known("nodes.db.address").as_deref(), Some("db.example.com:5432"));
        assert_eq!(known("nodes.db.port").as_deref(), Some("5432"));
        for nothing in ["nodes.job.address", "nodes.job.port", "nodes.db.name", "links.app-bd.port", "dir", "rate"] {
            assert_eq!(known(nothing), None, "{nothing}");
        }
    }
}
