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

use crate::plan::{LabDescription, LabError};
use crate::system::lab::managed_sql::cast::STORAGE;
use crate::system::lab::managed_sql::layout::{GATEWAY, add, add_address, add_gateway, orders, surround};
use crate::system::lab::params::Resolved;
use crate::system::lab::{LabKind, Layout};

pub use lab::RemoteStorage;
pub use params::PARAMS;
use params::cast;

/// The name of this lab.
pub const NAME: &str = "managed-sql/remote-storage";

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
    let (cast, mut layout) = (cast(params), Layout::default());
    for (index, name) in cast.nodes.iter().enumerate() {
        // Those of the other home hold no copy that counts.
        add(&mut layout, &cast, name, if index < cast.copies { "storage" } else { "ejected" });
    }
    for (index, name) in cast.computes.iter().enumerate() {
        add(&mut layout, &cast, name, if index == 0 { "engine" } else { "spare" });
    }
    surround(&mut layout, &cast);
    add_address(&mut layout, STORAGE, "router");
    layout.connect(STORAGE, &cast.nodes);
    for dials in cast.computes.iter().chain(&cast.controls) {
        layout.connect(dials, [STORAGE]);
    }
    add_gateway(&mut layout, &cast);
    Ok(LabDescription {
        entries: std::iter::once(GATEWAY.to_owned()).chain(cast.computes.iter().cloned()).collect(),
        serving: vec![cast.computes[0].clone()],
        orders: orders(&cast),
        ..layout.describe()
    })
}
