//! `managed-sql/remote-storage`: an engine without data of its own, and storage that keeps three copies.
//!
//! ```text
//!   clients ─▶ gateway ─┬▶ router-1 ─┬▶ compute-1 (engine) ─▶ storage ─▶ storage-1 (leads) ─▶ storage-2, storage-3
//!                       └▶ router-2 ─┘  compute-2 (spare)
//!                            ▲ routes        ▲ who runs the engine; heartbeats, ejections
//!                            └── control-1, control-2, control-3
//! ```
//!
//! Where the engine runs is [`compute`](crate::system::lab::compute)'s to say; the copies are a
//! [`replica_set`](crate::system::lab::replica_set) that commits on all of them.

pub mod compute;
pub mod lab;
pub mod params;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::plan::fault::Failover;
use crate::plan::{LabDescription, LabError};
use crate::system::lab::managed_sql::cast::STORAGE;
use crate::system::lab::params::Resolved;
use crate::system::lab::{LabKind, hop, labels};

pub use lab::RemoteStorage;
pub use params::PARAMS;
use params::cast;

/// The name of this lab.
pub const NAME: &str = "managed-sql/remote-storage";

/// The address that clients keep.
pub const GATEWAY: &str = "gateway";

/// The lab.
pub const LAB: LabKind = LabKind {
    name: NAME,
    about: "A stateless engine that moves between compute nodes, three copies of its data in storage, and a control ring of three.",
    params: PARAMS,
    describe,
    bind: |description, teller| Ok(Arc::new(RemoteStorage::bind(description, teller)?)),
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
    for (index, name) in cast.nodes.iter().enumerate() {
        add(name, &cast.zone(index), "storage");
    }
    for (index, name) in cast.computes.iter().enumerate() {
        add(name, &cast.zone(index), if index == 0 { "engine" } else { "spare" });
    }
    for (index, name) in cast.controls.iter().enumerate() {
        add(name, &cast.zone(index), "control");
    }
    for (index, name) in cast.routers.iter().enumerate() {
        // The first router stands in another zone than the first engine.
        add(name, &cast.zone(index + 1), "router");
    }
    // The region's own addresses: no zone takes them along.
    add(STORAGE, "all", "router");
    add(GATEWAY, "all", "gateway");
    let mut links = IndexMap::new();
    let mut connect = |from: &str, to: &mut dyn Iterator<Item = &String>| {
        links.extend(to.filter(|to| *to != from).map(|to| hop(from, to)));
    };
    let storage = STORAGE.to_owned();
    connect(GATEWAY, &mut cast.routers.iter().chain(&cast.controls));
    for router in &cast.routers {
        connect(router, &mut cast.computes.iter());
    }
    for compute in &cast.computes {
        connect(compute, &mut std::iter::once(&storage));
    }
    connect(STORAGE, &mut cast.nodes.iter());
    for control in &cast.controls {
        let watched = cast.nodes.iter().chain(&cast.computes);
        connect(control, &mut cast.controls.iter().chain(watched).chain(&cast.routers).chain([&storage]));
    }
    for node in &cast.nodes {
        connect(node, &mut cast.nodes.iter());
    }
    Ok(LabDescription {
        nodes,
        links,
        entries: std::iter::once(GATEWAY.to_owned()).chain(cast.computes.iter().cloned()).collect(),
        serving: vec![cast.computes[0].clone()],
        failovers: vec![Failover::Planned, Failover::Simulated, Failover::Unplanned],
        ..LabDescription::default()
    })
}
