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
}

impl Order {
    /// Every one.
    pub const ALL: [Order; 4] = [
        Order::Failover(Failover::Planned),
        Order::Failover(Failover::Simulated),
        Order::Failover(Failover::Unplanned),
        Order::Maintenance,
    ];

    /// The kind of fault that it is: its key in files, its word in reports.
    pub const fn key(self) -> &'static str {
        match self {
            Order::Failover(_) => "failover",
            Order::Maintenance => "maintenance",
        }
    }

    /// Which of its kind, where there are several.
    pub const fn manner(self) -> Option<&'static str> {
        match self {
            Order::Failover(kind) => Some(kind.name()),
            Order::Maintenance => None,
        }
    }

    /// Where it is given to a lab that runs by itself: `KIND/MANNER`, or `KIND`.
    pub fn path(self) -> String {
        [Some(self.key()), self.manner()].into_iter().flatten().collect::<Vec<_>>().join("/")
    }

    /// How long a run waits until it is done.
    pub const fn within(self) -> Duration {
        match self {
            Order::Failover(_) => Duration::from_secs(60),
            Order::Maintenance => Duration::from_secs(3_600),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Failover(kind) => write!(f, "{} failover", kind.name()),
            Order::Maintenance => f.write_str("round of maintenance"),
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
