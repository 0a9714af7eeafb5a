//! `regions/vm`: an application on a machine in one of three regions, its disk in a storage account, site recovery, DNS.
//!
//! ```text
//!   clients ─ app.lab.test ──▶ vm-east ────────▶ storage-east ◀── disk.lab.test ─ clients
//!                              │  ▲  (its disk)     │ ▲ geo, piece by piece
//!                     writes   ▼  │ plan            ▼ │heartbeats
//!                             recovery           storage-west ◀── provider: a loss for good,
//!                              │  ▲                 ▲ image                  a machine of the image
//!                              ▼  │                 │
//!                     vm-west, vm-north          vm-west
//! ```
//!
//! The ways out of a regional outage are the source document's: a failover by the recovery service, to any region; waiting; a
//! machine of the geo-replicated image, without a promise; and the provider's own remapping of names in a final loss.

mod geo;
mod lab;
mod machine;
mod pages;
mod provider;
mod recovery;
mod settings;
#[cfg(test)]
mod sockets;
mod storage;

use std::sync::Arc;

pub use lab::VmRegions;
pub use settings::{PARAMS, Settings};

use super::domain::Domain;
use super::params::Resolved;
use super::{LabKind, Layout};
use crate::plan::{Failover, LabDescription, LabError, Name, Order};
use crate::units::Span;

/// The name of this lab.
pub const NAME: &str = "regions/vm";

/// The regions; the machine is in the first, whose storage is paired with the second's.
pub const REGIONS: [&str; 3] = ["east", "west", "north"];
/// The storage account.
pub const STORAGE_EAST: &str = "storage-east";
/// Its copy.
pub const STORAGE_WEST: &str = "storage-west";
/// The recovery service.
pub const RECOVERY: &str = "recovery";
/// The provider.
pub const PROVIDER: &str = "provider";
/// The application's name.
pub const APP: &str = "app.lab.test";
/// The storage account's name.
pub const DISK: &str = "disk.lab.test";

/// The lab.
pub const LAB: LabKind = LabKind {
    name: NAME,
    about: "An application on a machine in one of three regions, with geo-replicated storage, site recovery and DNS.",
    params: PARAMS,
    describe,
    bind: |description, teller| Ok(Arc::new(VmRegions::bind(description, teller)?)),
};

/// The place of a machine in a region.
fn machine_in(region: &str) -> String {
    format!("vm-{region}")
}

/// The region of a machine's place.
fn region_of(machine: &str) -> &'static str {
    REGIONS.into_iter().find(|region| machine_in(region) == machine).unwrap_or(REGIONS[0])
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of every lab's; no parameters of this one exclude each other"
)]
fn describe(params: &Resolved<'_>) -> Result<LabDescription, Vec<LabError>> {
    let mut layout = Layout::default();
    let mut add = |name: &str, region: &str, role: &str| {
        layout.add(name, [("region", region), ("zone", &format!("{region}-1")), ("role", role)]);
    };
    // Of no region that can be lost here.
    add(PROVIDER, "provider", "provider");
    add(RECOVERY, "provider", "recovery");
    add(STORAGE_WEST, REGIONS[1], "copy");
    add(STORAGE_EAST, REGIONS[0], "account");
    for region in REGIONS {
        add(&machine_in(region), region, if region == REGIONS[0] { "app" } else { "idle" });
    }
    layout.connect(STORAGE_EAST, [STORAGE_WEST]);
    layout.connect(PROVIDER, [STORAGE_EAST, STORAGE_WEST, &machine_in(REGIONS[1])]);
    layout.connect(&machine_in(REGIONS[0]), [STORAGE_EAST]);
    layout.connect(&machine_in(REGIONS[1]), [STORAGE_WEST]);
    for machine in REGIONS.map(machine_in) {
        layout.connect(&machine, [RECOVERY]);
        layout.connect(RECOVERY, [machine]);
    }
    let ttl = Span(Settings::of(params).ttl);
    let name = |to: &str, others: &[String]| Name { to: vec![to.to_owned()], others: others.to_vec(), ttl };
    let elsewhere: Vec<String> = REGIONS[1..].iter().map(|region| machine_in(region)).collect();
    Ok(LabDescription {
        entries: layout.names().cloned().collect(),
        serving: vec![machine_in(REGIONS[0]), STORAGE_EAST.to_owned()],
        orders: Failover::ALL.map(Order::Failover).to_vec(),
        names: [
            (APP.to_owned(), name(&machine_in(REGIONS[0]), &elsewhere)),
            (DISK.to_owned(), name(STORAGE_EAST, &[STORAGE_WEST.to_owned()])),
        ]
        .into(),
        ..layout.describe()
    })
}
