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

use crate::plan::{LabDescription, LabError};
use crate::system::lab::managed_sql::layout::{GATEWAY, add, add_address, add_gateway, orders, surround};
use crate::system::lab::params::Resolved;
use crate::system::lab::{LabKind, Layout};

pub use lab::LocalStorage;
pub use params::PARAMS;
use params::cast;

/// The name of this lab.
pub const NAME: &str = "managed-sql/local-storage";

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
    let (cast, mut layout) = (cast(params), Layout::default());
    for (id, name) in cast.nodes.iter().enumerate() {
        let role = match id {
            0 => "primary",
            _ if id < cast.copies => "secondary",
            _ => "spare",
        };
        add(&mut layout, &cast, name, role);
    }
    surround(&mut layout, &cast);
    add_address(&mut layout, READERS, READERS);
    layout.connect(READERS, &cast.routers);
    add_gateway(&mut layout, &cast);
    Ok(LabDescription {
        entries: [GATEWAY, READERS].map(str::to_owned).into_iter().chain(cast.nodes.iter().cloned()).collect(),
        serving: vec![cast.nodes[0].clone()],
        orders: orders(&cast),
        ..layout.describe()
    })
}
