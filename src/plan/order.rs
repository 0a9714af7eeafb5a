//! What a user may ask of a lab's system, as by its API.
//!
//! One more: a variant here with its words, a key in the experiment file (`written/fault.rs`), and an answer in each lab
//! that takes it. Plan, run, report and `brownout lab` treat all alike.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that a user may ask of a lab's system; as a fault it is in force until that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// To move what serves to another place.
    Failover(Failover),
    /// To upgrade its nodes, one after the other.
    Maintenance,
    /// To stand with this redundancy from now on.
    Migrate(Redundancy),
    /// To let the other instance of a failover group take over.
    FailoverGroup(GroupFailover),
    /// To make a new instance of a backup, in another region.
    GeoRestore(Backup),
}

impl Order {
    /// Every one.
    pub const ALL: [Order; 9] = [
        Order::Failover(Failover::Planned),
        Order::Failover(Failover::Simulated),
        Order::Failover(Failover::Unplanned),
        Order::Maintenance,
        Order::Migrate(Redundancy::Local),
        Order::Migrate(Redundancy::Zone),
        Order::FailoverGroup(GroupFailover::Planned),
        Order::FailoverGroup(GroupFailover::Forced),
        Order::GeoRestore(Backup::Latest),
    ];

    /// The kind of fault that it is: its key in files, its word in reports.
    pub const fn key(self) -> &'static str {
        match self {
            Order::Failover(_) => "failover",
            Order::Maintenance => "maintenance",
            Order::Migrate(_) => "migrate",
            Order::FailoverGroup(_) => "failover_group",
            Order::GeoRestore(_) => "geo_restore",
        }
    }

    /// The same as a noun.
    pub const fn noun(self) -> &'static str {
        match self {
            Order::Failover(_) => "failover",
            Order::Maintenance => "round of maintenance",
            Order::Migrate(_) => "migration",
            Order::FailoverGroup(_) => "failover of a group",
            Order::GeoRestore(_) => "geo-restore",
        }
    }

    /// Which of its kind, where there are several.
    pub const fn manner(self) -> Option<&'static str> {
        match self {
            Order::Failover(kind) => Some(kind.name()),
            Order::Maintenance => None,
            Order::Migrate(to) => Some(to.name()),
            Order::FailoverGroup(kind) => Some(kind.name()),
            Order::GeoRestore(Backup::Latest) => Some("latest"),
        }
    }

    /// Where it is given to a lab that runs by itself: `KIND/MANNER`, or `KIND`.
    pub fn path(self) -> String {
        [Some(self.key()), self.manner()].into_iter().flatten().collect::<Vec<_>>().join("/")
    }

    /// How long a run waits until it is done.
    pub const fn within(self) -> Duration {
        match self {
            Order::Failover(_) | Order::FailoverGroup(_) => Duration::from_secs(60),
            Order::Maintenance | Order::Migrate(_) | Order::GeoRestore(_) => Duration::from_secs(3_600),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Failover(kind) => write!(f, "{} failover", kind.name()),
            Order::Maintenance => f.write_str("round of maintenance"),
            Order::Migrate(to) => write!(f, "migration to {} redundancy", to.name()),
            Order::FailoverGroup(kind) => write!(f, "{} failover of the group", kind.name()),
            Order::GeoRestore(Backup::Latest) => f.write_str("geo-restore of the latest backup"),
        }
    }
}

/// How a lab is made to move what serves to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failover {
    /// A hand-over in good order, as for maintenance.
    Planned,
    /// What the system's own API for drills does.
    Simulated,
    /// As if what serves had been lost.
    Unplanned,
}

impl Failover {
    /// Every one.
    pub const ALL: [Failover; 3] = [Failover::Planned, Failover::Simulated, Failover::Unplanned];

    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Failover::Planned => "planned",
            Failover::Simulated => "simulated",
            Failover::Unplanned => "unplanned",
        }
    }
}

/// Over what a system is spread, so that it survives the loss of any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redundancy {
    /// Machines of one zone.
    Local,
    /// Zones of one region.
    Zone,
}

impl Redundancy {
    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Redundancy::Local => "local",
            Redundancy::Zone => "zone",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Redundancy {
        match self {
            Redundancy::Local => Redundancy::Zone,
            Redundancy::Zone => Redundancy::Local,
        }
    }
}

/// How the other instance of a failover group takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupFailover {
    /// Once it has everything: nothing is lost.
    Planned,
    /// With what it has.
    Forced,
}

impl GroupFailover {
    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            GroupFailover::Planned => "planned",
            GroupFailover::Forced => "forced",
        }
    }
}

/// Which backup is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backup {
    /// The newest.
    Latest,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::plan::FaultKind;

    #[test]
    fn as_a_fault_it_stands_in_a_plan_under_its_own_key() {
        for order in Order::ALL {
            let fault = FaultKind::Order(order);
            let written = serde_json::to_value(&fault).unwrap();
            let expected = order.manner().map_or(json!(order.key()), |manner| json!({ order.key(): manner }));
            assert_eq!(written, expected);
            assert_eq!(serde_json::from_value::<FaultKind>(written).unwrap(), fault);
        }
    }

    #[test]
    fn every_order_has_a_name_of_its_own() {
        let paths: BTreeSet<String> = Order::ALL.map(Order::path).into();
        assert_eq!(paths.len(), Order::ALL.len());
    }
}
