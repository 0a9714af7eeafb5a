//! The lab as a whole: every body, and what users can order.

use std::sync::Arc;

use super::params::{cast, settings};
use super::{NAME, READERS};
use crate::plan::{Failover, LabDescription, Order, Redundancy};
use crate::system::lab::gateway::{Front, FrontBody, RouterBody};
use crate::system::lab::managed_sql::cast::Cast;
use crate::system::lab::managed_sql::control::{ControlBody, ControlNode};
use crate::system::lab::managed_sql::crew::Crew;
use crate::system::lab::managed_sql::layout::GATEWAY;
use crate::system::lab::managed_sql::node::{Kind, NodeBody, Service};
use crate::system::lab::params::Resolved;
use crate::system::lab::replica_set::Id;
use crate::system::lab::replica_set::protocol::{Departure, Record};
use crate::system::lab::replica_set::replica::{Disk, Role};
use crate::system::lab::replica_set::ring::RingDisk;
use crate::system::lab::{Body, Fleet, Lab, Live, Refused};
use crate::system::{SystemError, Teller};

/// A running set.
#[derive(Debug)]
pub struct LocalStorage {
    cast: Arc<Cast>,
    fleet: Arc<Fleet>,
    controls: Vec<Live<ControlNode>>,
    crew: Crew,
    fronts: [Live<Front>; 2],
}

impl LocalStorage {
    /// Binds every node's port; nothing works yet.
    pub fn bind(description: &LabDescription, teller: Teller) -> Result<LocalStorage, SystemError> {
        let params = Resolved(&description.params);
        let (cast, settings) = (Arc::new(cast(&params)), settings(&params));
        let service = Service { time: params.time("service_time"), workers: params.count("workers") as usize };
        let controls: Vec<Live<ControlNode>> = cast.controls.iter().map(|_| Live::default()).collect();
        let fronts: [Live<Front>; 2] = Default::default();
        let number = |names: &[String], name: &str| names.iter().position(|other| other == name);
        let front = |role, read_only, control: &[String], live: &Live<Front>| FrontBody {
            role,
            read_only,
            scale_out: params.word("read_scale_out") != "off",
            routers: cast.routers.clone(),
            control: control.to_vec(),
            heartbeat: settings.heartbeat,
            patience: settings.detect_after(),
            incarnation: 0,
            live: live.clone(),
        };
        let body = |name: &str| -> Box<dyn Body> {
            if let Some(id) = number(&cast.nodes, name) {
                let (me, cast, kind, disk) = (Id(id as u8), Arc::clone(&cast), Kind::Engine, Disk::default());
                return Box::new(NodeBody { me, cast, kind, settings, service, disk, live: Live::default() });
            }
            if let Some(seat) = number(&cast.controls, name) {
                let (me, disk) = (Id(seat as u8), RingDisk::new(Record::first(cast.copies)));
                let live = controls[seat].clone();
                return Box::new(ControlBody { me, cast: Arc::clone(&cast), settings, disk, live });
            }
            match name {
                GATEWAY => Box::new(front(GATEWAY, false, &cast.controls, &fronts[0])),
                READERS => Box::new(front(READERS, true, &[], &fronts[1])),
                _ => {
                    let router = RouterBody::new(cast.nodes.clone(), settings.fencing, Live::default());
                    Box::new(router.redirecting(params.on("redirect")))
                }
            }
        };
        let fleet = Arc::new(Fleet::bind(description, body, teller.clone())?);
        let crew = Crew::new(cast.engines(), &params, &fleet, &controls, teller);
        Ok(LocalStorage { cast, fleet, controls, crew, fronts })
    }

    /// What the control node that leads says; refused where none does.
    fn leader<T>(&self, ask: impl Fn(&ControlNode) -> Option<T>) -> Result<T, Refused> {
        let nobody = || Refused::never("no control node leads: nothing can be ordered now");
        self.controls.iter().filter_map(Live::get).find_map(|control| ask(&control)).ok_or_else(nobody)
    }

    /// Moves what serves, or loses it.
    fn fail_over(&self, kind: Failover) -> Result<String, Refused> {
        let primary = self.cast.node(self.leader(ControlNode::primary)?);
        match kind {
            Failover::Planned => {
                self.leader(|control| control.order(Departure::HandOver))??;
                Ok(format!("{primary} hands over to a secondary"))
            }
            Failover::Simulated => {
                self.leader(|control| control.order(Departure::Restart))??;
                Ok(format!("the engine of {primary} starts anew on the spot"))
            }
            Failover::Unplanned => {
                self.crew.idle()?;
                self.leader(ControlNode::free)??;
                self.fleet.lose(primary)?;
                Ok(format!("{primary} is lost, and does not come back"))
            }
        }
    }

    /// Moves the set to nodes that stand as a redundancy wants them.
    fn migrate(&self, to: Redundancy) -> Result<String, Refused> {
        self.crew.idle()?;
        self.leader(|control| control.migrate(to))??;
        Ok(format!("the set is migrated to {} redundancy", to.name()))
    }
}

impl Lab for LocalStorage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn ready(&self) -> bool {
        let primary = self.controls.iter().filter_map(Live::get).find_map(|control| control.settled());
        let serves = primary.is_some_and(|primary| self.serving().iter().any(|name| name == self.cast.node(primary)));
        serves && self.fronts.iter().all(|front| front.get().is_some_and(|front| front.ready()))
    }

    fn serving(&self) -> Vec<String> {
        self.fleet.in_role(Role::Primary.name())
    }

    fn probed(&self) -> Vec<String> {
        vec![GATEWAY.to_owned()]
    }

    fn order(&self, order: Order) -> Result<String, Refused> {
        match order {
            Order::Failover(kind) => self.fail_over(kind),
            Order::Maintenance => self.crew.begin(),
            Order::Migrate(to) => self.migrate(to),
            other => Err(Refused::unknown(NAME, other)),
        }
    }

    fn done(&self, order: Order) -> bool {
        let carried_out = match order {
            Order::Maintenance => !self.crew.busy(),
            Order::Migrate(_) => self.leader(ControlNode::stands) == Ok(true),
            _ => true,
        };
        carried_out && self.ready()
    }

    fn failed(&self, order: Order) -> Option<String> {
        self.crew.broken_off().filter(|_| order == Order::Maintenance)
    }
}
