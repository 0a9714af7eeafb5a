//! `managed-sql/local-storage`: a primary and its secondaries, each with the data on its own disk, and a quorum commit.
//!
//! ```text
//!   clients ─▶ gateway ─┬▶ router-1 ─┬▶ node-1 (primary) ─▶ node-2, node-3, node-4 (secondaries) ─▶ spare-1
//!   readers ─▶ readers ─┴▶ router-2 ─┘
//!                            ▲ routes        ▲ heartbeats, elections, members
//!                            └── control-1, control-2, control-3
//! ```
//!
//! Everything that it decides is a [`replica_set`](crate::system::lab::replica_set)'s; here are its threads.

pub mod lab;
pub mod params;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::plan::fault::Failover;
use crate::plan::{LabDescription, LabError};
use crate::system::lab::params::Resolved;
use crate::system::lab::{LabKind, hop, labels};

pub use lab::LocalStorage;
pub use params::PARAMS;
use params::cast;

/// The name of this lab.
pub const NAME: &str = "managed-sql/local-storage";

/// The address that clients keep.
pub const GATEWAY: &str = "gateway";
/// The address of those who only read.
pub const READERS: &str = "readers";

/// The lab.
pub const LAB: LabKind = LabKind {
    name: NAME,
    about: "A primary with up to three secondaries on local disks, quorum commit, spares and a control ring of three.",
    params: PARAMS,
    describe,
    bind: |description, teller| Ok(Arc::new(LocalStorage::bind(description, teller)?)),
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of every lab's; no parameters of this one exclude each other"
)]
fn describe(params: &Resolved<'_>) -> Result<LabDescription, Vec<LabError>> {
    let cast = cast(params);
    let mut nodes = IndexMap::new();
    let mut add = |name: &str, zone: &str, role: &str| {
        nodes.insert(name.to_owned(), labels([("zone", zone), ("role", role)]));
    };
    for (id, name) in cast.nodes.iter().enumerate() {
        let role = match id {
            0 => "primary",
            _ if id < cast.copies => "secondary",
            _ => "spare",
        };
        add(name, &cast.zone(id), role);
    }
    for (index, name) in cast.controls.iter().enumerate() {
        add(name, &cast.zone(index), "control");
    }
    for (index, name) in cast.routers.iter().enumerate() {
        // The first router stands in another zone than the first primary.
        add(name, &cast.zone(index + 1), "router");
    }
    // The region's own address: no zone takes it along.
    add(READERS, "all", "readers");
    add(GATEWAY, "all", "gateway");
    let mut links = IndexMap::new();
    let mut connect = |from: &str, to: &mut dyn Iterator<Item = &String>| {
        links.extend(to.filter(|to| *to != from).map(|to| hop(from, to)));
    };
    connect(GATEWAY, &mut cast.routers.iter().chain(&cast.controls));
    connect(READERS, &mut cast.routers.iter());
    for router in &cast.routers {
        connect(router, &mut cast.nodes.iter());
    }
    for control in &cast.controls {
        connect(control, &mut cast.controls.iter().chain(&cast.nodes).chain(&cast.routers));
    }
    for node in &cast.nodes {
        connect(node, &mut cast.nodes.iter());
    }
    Ok(LabDescription {
        nodes,
        links,
        entries: [GATEWAY, READERS].map(str::to_owned).into_iter().chain(cast.nodes.iter().cloned()).collect(),
        serving: vec![cast.nodes[0].clone()],
        failovers: vec![Failover::Planned, Failover::Simulated, Failover::Unplanned],
        ..LabDescription::default()
    })
}
