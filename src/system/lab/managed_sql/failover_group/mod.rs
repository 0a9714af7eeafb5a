//! `managed-sql/failover-group`: an instance without zone redundancy, and what is left to do when its zone is lost.
//!
//! ```text
//!   clients ─ sql.lab.test ──▶ east ── journal, a little late ──▶ west       recovery: group
//!                               │  backup, now and then
//!                               ▼
//!                             vault ── backup ──▶ group ── install ──▶ west  recovery: restore
//!
//!   group ── leases, who is primary ──▶ east, west;  sql.lab.test follows
//! ```
//!
//! An instance is one node here, as the zone that is lost takes all of it along; how one survives less is shown by the other
//! labs. Who is primary, and what is shipped, is decided as in [`primary_standby`](crate::system::lab::primary_standby), but
//! nothing is decided without an order: a user weighs the loss of the last writes against the wait.

mod group;
mod instance;
mod lab;
mod params;
mod vault;

use std::sync::Arc;

use crate::plan::{Backup, GroupFailover, LabDescription, LabError, Name, Order};
use crate::system::lab::params::Resolved;
use crate::system::lab::{LabKind, Layout};
use crate::units::Span;

pub use lab::FailoverGroup;
pub use params::PARAMS;
use params::{Recovery, recovery};

/// The name of this lab.
pub const NAME: &str = "managed-sql/failover-group";

/// The first primary instance.
pub const EAST: &str = "east";
/// Where another one can take over.
pub const WEST: &str = "west";
/// Who grants leases, takes orders and moves the name.
pub const GROUP: &str = "group";
/// Where backups are kept: in the other region.
pub const VAULT: &str = "vault";
/// The listener: the name that clients use.
pub const LISTENER: &str = "sql.lab.test";

/// The lab.
pub const LAB: LabKind = LabKind {
    name: NAME,
    about: "An instance in one zone, a second one in another region that follows it, backups there, and a name that follows the group.",
    params: PARAMS,
    describe,
    bind: |description, teller| Ok(Arc::new(FailoverGroup::bind(description, teller)?)),
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of every lab's; no parameters of this one exclude each other"
)]
fn describe(params: &Resolved<'_>) -> Result<LabDescription, Vec<LabError>> {
    let mut layout = Layout::default();
    layout.add(EAST, [("region", "east"), ("zone", "east-1"), ("role", "primary")]);
    layout.add(WEST, [("region", "west"), ("zone", "west-1"), ("role", "standby")]);
    layout.add(VAULT, [("region", "west"), ("zone", "west-1"), ("role", "vault")]);
    // The service's own, in no region that can be lost here.
    layout.add(GROUP, [("region", "service"), ("zone", "service"), ("role", "group")]);
    layout.connect(EAST, [WEST, VAULT]);
    layout.connect(WEST, [EAST, VAULT]);
    layout.connect(GROUP, [EAST, WEST, VAULT]);
    let listener = Name { to: vec![EAST.to_owned()], others: vec![WEST.to_owned()], ttl: Span(params::ttl(params)) };
    Ok(LabDescription {
        entries: [EAST, WEST, GROUP].map(str::to_owned).to_vec(),
        serving: vec![EAST.to_owned()],
        orders: match recovery(params) {
            Recovery::Wait => Vec::new(),
            Recovery::Group => [GroupFailover::Planned, GroupFailover::Forced].map(Order::FailoverGroup).to_vec(),
            Recovery::Restore => vec![Order::GeoRestore(Backup::Latest)],
        },
        names: [(LISTENER.to_owned(), listener)].into(),
        ..layout.describe()
    })
}
