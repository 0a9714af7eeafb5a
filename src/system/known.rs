//! What a running system fills in for `${links.NAME.address}` and its like.

use super::{LinkAddresses, NodeInfo};
use crate::experiment::interpolate::RunTimeName;

/// The address or port that a name asks for; none if nothing is known under it.
pub fn known(name: &str, links: &LinkAddresses, nodes: &[NodeInfo]) -> Option<String> {
    let (address, field) = match RunTimeName::parse(name)? {
        RunTimeName::Dir => return None,
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
    fn links_and_nodes_have_an_address_and_a_port() {
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
        let known = |name: &str| known(name, &links, &nodes);
        assert_eq!(known("links.app-db.address").as_deref(), Some("127.0.0.1:7001"));
        assert_eq!(known("links.app-db.port").as_deref(), Some("7001"));
        assert_eq!(known("nodes.db.address").as_deref(), Some("db.example.com:5432"));
        assert_eq!(known("nodes.db.port").as_deref(), Some("5432"));
        for nothing in ["nodes.job.address", "nodes.job.port", "nodes.db.name", "links.app-bd.port", "dir", "rate"] {
            assert_eq!(known(nothing), None, "{nothing}");
        }
    }
}
