//! `primary-standby`: two HTTP key-value nodes in two zones behind a gateway that detects failure and promotes.
//!
//! ```text
//!   clients ──▶ gateway ──gateway-node-a──▶ node-a (primary)  ──node-a-node-b──▶ node-b (standby)
//!                  └──────gateway-node-b──▶ node-b            ──node-b-node-a──▶ node-a, after a failover
//! ```
//!
//! It is no [`replica_set`](super::replica_set) of two: the right to serve comes from the gateway and not from members, so that a
//! primary serves on while its standby is out of reach, and `ship_every` is a window of loss that a set does not have.
//! As switches of the set both would cost more than they save.

pub mod controller;
pub mod gateway;
pub mod node;
mod pair;
pub mod protocol;
pub mod replica;
mod settings;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod sockets;

use std::sync::Arc;

pub use pair::Pair;
pub use settings::{Commit, PARAMS, Settings};

use super::params::Resolved;
use super::{LabKind, Layout};
use crate::plan::{Failover, LabDescription, LabError, Order};

/// The name of this lab.
pub const NAME: &str = "primary-standby";

/// Its first primary.
pub const NODE_A: &str = "node-a";
/// Its first standby.
pub const NODE_B: &str = "node-b";
/// Who forwards, watches and decides.
pub const GATEWAY: &str = "gateway";

/// The header by which the gateway tells a node which term a request is meant for.
const TERM: &str = "x-term";

/// The lab.
pub const LAB: LabKind = LabKind {
    name: NAME,
    about: "Two key-value nodes in two zones behind a gateway that detects failure and promotes.",
    params: PARAMS,
    describe,
    bind: |description, teller| Ok(Arc::new(Pair::bind(description, teller)?)),
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of every lab's; no parameters of this one exclude each other"
)]
fn describe(_params: &Resolved<'_>) -> Result<LabDescription, Vec<LabError>> {
    let mut layout = Layout::default();
    layout.add(NODE_A, [("zone", "1"), ("role", "primary")]);
    layout.add(NODE_B, [("zone", "2"), ("role", "standby")]);
    // A zone of its own: the loss of either data zone leaves somebody to decide.
    layout.add(GATEWAY, [("zone", "3"), ("role", "gateway")]);
    for dials in [GATEWAY, NODE_A, NODE_B] {
        layout.connect(dials, [NODE_A, NODE_B]);
    }
    Ok(LabDescription {
        entries: [GATEWAY, NODE_A, NODE_B].map(str::to_owned).to_vec(),
        serving: vec![NODE_A.to_owned()],
        orders: vec![Order::Failover(Failover::Planned)],
        ..layout.describe()
    })
}
