//! What a managed SQL service of either kind looks like: where its nodes stand, and what is around those that hold data.

use super::cast::Cast;
use crate::plan::{Failover, Order, Redundancy};
use crate::system::lab::layout::Layout;

/// The address that clients keep.
pub const GATEWAY: &str = "gateway";

/// Adds a node of the service, where it stands. Each is a virtual machine.
pub fn add(layout: &mut Layout, cast: &Cast, name: &str, role: &str) {
    let (rack, host) = cast.stand(name, role);
    layout.add(name, [("zone", &cast.zone(name)), ("rack", &rack), ("host", &host), ("vm", name), ("role", role)]);
}

/// Adds an address of the region's own: no zone takes it along, and no machine.
pub fn add_address(layout: &mut Layout, name: &str, role: &str) {
    layout.add(name, [("zone", "all"), ("role", role)]);
}

/// Adds the control ring and the routers of clients, which watch and lead to the nodes that are there already.
pub fn surround(layout: &mut Layout, cast: &Cast) {
    for name in &cast.controls {
        add(layout, cast, name, "control");
    }
    for name in &cast.routers {
        add(layout, cast, name, "router");
    }
    for router in &cast.routers {
        layout.connect(router, cast.engines());
    }
    for control in &cast.controls {
        layout.connect(control, cast.controls.iter().chain(&cast.nodes).chain(&cast.computes).chain(&cast.routers));
    }
    for node in &cast.nodes {
        layout.connect(node, &cast.nodes);
    }
}

/// What users can order: failovers, maintenance and, where there is a second home, the other redundancy and back.
pub fn orders(cast: &Cast) -> Vec<Order> {
    let mut orders = Failover::ALL.map(Order::Failover).to_vec();
    orders.push(Order::Maintenance);
    if !cast.homes()[1].is_empty() {
        orders.extend([Redundancy::Local, Redundancy::Zone].map(Order::Migrate));
    }
    orders
}

/// Adds the clients' address, which leads to the routers and passes orders on to the control ring.
pub fn add_gateway(layout: &mut Layout, cast: &Cast) {
    add_address(layout, GATEWAY, GATEWAY);
    layout.connect(GATEWAY, cast.routers.iter().chain(&cast.controls));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use indexmap::IndexMap;
    use serde_json::{Value, json};

    use crate::system::lab::LabKind;
    use crate::system::lab::managed_sql::{local_storage, remote_storage};

    /// The values of a label at the nodes of this kind.
    fn values(lab: &LabKind, params: Value, kind: &str, label: &str) -> Vec<String> {
        let given: IndexMap<String, Value> = serde_json::from_value(params).unwrap();
        let nodes = lab.describe(&given).unwrap().nodes.into_iter();
        nodes
            .filter(|(name, _)| name.starts_with(&format!("{kind}-")))
            .map(|(_, labels)| labels[label].clone())
            .collect()
    }

    #[test]
    fn whoever_stands_in_for_another_is_in_another_rack_unless_that_is_broken() {
        for redundancy in ["local", "zone"] {
            for (lab, kinds) in [
                (local_storage::LAB, ["node", "control", "router"]),
                (remote_storage::LAB, ["compute", "storage", "control"]),
            ] {
                for kind in kinds {
                    let racks = values(&lab, json!({ "redundancy": redundancy }), kind, "rack");
                    assert_eq!(racks.iter().collect::<BTreeSet<_>>().len(), racks.len(), "{kind}: {racks:?}");
                    let racks = values(&lab, json!({ "spread": "off" }), kind, "rack");
                    assert_eq!(racks.iter().collect::<BTreeSet<_>>().len(), 1, "{kind}: {racks:?}");
                    let hosts = values(&lab, json!({ "spread": "off" }), kind, "host");
                    assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), hosts.len(), "{kind}: {hosts:?}");
                }
            }
        }
    }

    #[test]
    fn a_place_takes_more_than_the_smaller_one_within() {
        let lab = local_storage::LAB;
        let with_the_primary = |label: &str| {
            let nodes = lab.describe(&IndexMap::new()).unwrap().nodes;
            let place = nodes["node-1"][label].clone();
            let there = nodes.into_iter().filter(|(_, labels)| labels.get(label) == Some(&place));
            there.map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(with_the_primary("vm"), ["node-1"]);
        assert_eq!(with_the_primary("host"), ["node-1", "control-1"]);
        assert_eq!(with_the_primary("rack"), ["node-1", "control-1", "router-1"]);
    }
}
