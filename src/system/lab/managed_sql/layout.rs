//! What a managed SQL service of either kind looks like: where its nodes stand, and what is around those that hold data.

use super::cast::Cast;
use crate::system::lab::layout::Layout;

/// The address that clients keep.
pub const GATEWAY: &str = "gateway";

/// Adds a node of the service: the `index`-th of its kind, which says where it stands.
pub fn add(layout: &mut Layout, cast: &Cast, name: &str, index: usize, role: &str) {
    layout.add(name, [("zone", &cast.zone(index)), ("role", role)]);
}

/// Adds an address of the region's own: no zone takes it along.
pub fn add_address(layout: &mut Layout, name: &str, role: &str) {
    layout.add(name, [("zone", "all"), ("role", role)]);
}

/// Adds the control ring and the routers of clients, which watch and lead to the nodes that are there already.
pub fn surround(layout: &mut Layout, cast: &Cast) {
    for (index, name) in cast.controls.iter().enumerate() {
        add(layout, cast, name, index, "control");
    }
    for (index, name) in cast.routers.iter().enumerate() {
        // The first router stands in another zone than the first engine.
        add(layout, cast, name, index + 1, "router");
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

/// Adds the clients' address, which leads to the routers and passes orders on to the control ring.
pub fn add_gateway(layout: &mut Layout, cast: &Cast) {
    add_address(layout, GATEWAY, GATEWAY);
    layout.connect(GATEWAY, cast.routers.iter().chain(&cast.controls));
}
