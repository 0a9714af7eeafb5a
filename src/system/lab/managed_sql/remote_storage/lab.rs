//! The lab as a whole: every body, and what users can order.

use std::sync::Arc;

use super::NAME;
use super::compute::ComputeBody;
use super::params::{cast, engine, settings};
use crate::plan::{Failover, LabDescription, Order, Redundancy};
use crate::system::lab::gateway::{Front, FrontBody, RouterBody};
use crate::system::lab::managed_sql::cast::{Cast, STORAGE};
use crate::system::lab::managed_sql::control::{ControlBody, ControlNode};
use crate::system::lab::managed_sql::crew::Crew;
use crate::system::lab::managed_sql::layout::GATEWAY;
use crate::system::lab::managed_sql::node::{Kind, NodeBody, Service};
use crate::system::lab::params::Resolved;
use crate::system::lab::replica_set::protocol::{Departure, Record};
use crate::system::lab::replica_set::replica::Disk;
use crate::system::lab::replica_set::ring::RingDisk;
use crate::system::lab::replica_set::{Home, Id};
use crate::system::lab::{Body, Fleet, Lab, Live, Refused};
use crate::system::{SystemError, Teller};

/// A copy works on a request for no modelled time of its own.
const SERVICE: Service = Service { time: std::time::Duration::ZERO, workers: 1_024 };

/// A running engine with its storage.
#[derive(Debug)]
pub struct RemoteStorage {
    cast: Arc<Cast>,
    fleet: Arc<Fleet>,
    controls: Vec<Live<ControlNode>>,
    crew: Crew,
    front: Live<Front>,
}

impl RemoteStorage {
    /// Binds every node's port; nothing works yet.
    pub fn bind(description: &LabDescription, teller: Teller) -> Result<RemoteStorage, SystemError> {
        let params = Resolved(&description.params);
        let (cast, settings, fencing) = (Arc::new(cast(&params)), settings(&params), params.on("fencing"));
        let controls: Vec<Live<ControlNode>> = cast.controls.iter().map(|_| Live::default()).collect();
        let front: Live<Front> = Live::default();
        let number = |names: &[String], name: &str| names.iter().position(|other| other == name);
        let body = |name: &str| -> Box<dyn Body> {
            if let Some(id) = number(&cast.nodes, name) {
                return Box::new(NodeBody {
                    me: Id(id as u8),
                    cast: Arc::clone(&cast),
                    kind: Kind::Storage { fencing },
                    settings,
                    service: SERVICE,
                    disk: Disk::default(),
                    live: Live::default(),
                });
            }
            if let Some(me) = number(&cast.computes, name) {
                return Box::new(ComputeBody {
                    me,
                    cast: Arc::clone(&cast),
                    settings: engine(&params),
                    page_read: params.time("page_read"),
                    room: me == 0 || params.on("room") || cast.computes_in(Home::Second).contains(Id(me as u8)),
                    incarnation: 0,
                    live: Live::default(),
                });
            }
            if let Some(seat) = number(&cast.controls, name) {
                let (me, disk) = (Id(seat as u8), RingDisk::new(Record::first(cast.copies)));
                let live = controls[seat].clone();
                return Box::new(ControlBody { me, cast: Arc::clone(&cast), settings, disk, live });
            }
            match name {
                GATEWAY => Box::new(FrontBody {
                    role: GATEWAY,
                    read_only: false,
                    scale_out: false,
                    routers: cast.routers.clone(),
                    control: cast.controls.clone(),
                    heartbeat: settings.heartbeat,
                    patience: settings.detect_after(),
                    incarnation: 0,
                    live: front.clone(),
                }),
                STORAGE => Box::new(RouterBody::new(cast.nodes.clone(), settings.fencing, Live::default())),
                _ => Box::new(RouterBody::new(cast.computes.clone(), fencing, Live::default())),
            }
        };
        let fleet = Arc::new(Fleet::bind(description, body, teller.clone())?);
        let crew = Crew::new(cast.engines(), &params, &fleet, &controls, teller);
        Ok(RemoteStorage { cast, fleet, controls, crew, front })
    }

    /// What the control node that leads says; refused where none does.
    fn leader<T>(&self, ask: impl Fn(&ControlNode) -> Option<T>) -> Result<T, Refused> {
        let nobody = || Refused::never("no control node leads: nothing can be ordered now");
        self.controls.iter().filter_map(Live::get).find_map(|control| ask(&control)).ok_or_else(nobody)
    }

    /// Moves what serves, or loses it.
    fn fail_over(&self, kind: Failover) -> Result<String, Refused> {
        let (engine, _) = self.leader(ControlNode::engine)?;
        let compute = &self.cast.computes[engine];
        match kind {
            Failover::Planned => {
                self.leader(|control| control.order(Departure::HandOver))??;
                Ok(format!("the engine leaves {compute} for another compute node"))
            }
            Failover::Simulated => {
                self.leader(|control| control.order(Departure::Restart))??;
                Ok(format!("the engine of {compute} starts anew on the spot"))
            }
            Failover::Unplanned => {
                self.crew.idle()?;
                self.leader(ControlNode::free)??;
                self.fleet.lose(compute)?;
                Ok(format!("{compute} is lost, and does not come back"))
            }
        }
    }

    /// Moves copies and engine to nodes that stand as a redundancy wants them.
    fn migrate(&self, to: Redundancy) -> Result<String, Refused> {
        self.crew.idle()?;
        self.leader(|control| control.migrate(to))??;
        Ok(format!("engine and storage are migrated to {} redundancy", to.name()))
    }
}

impl Lab for RemoteStorage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn ready(&self) -> bool {
        let settled = self.leader(ControlNode::settled).is_ok();
        let engine_serves = self.leader(ControlNode::engine).is_ok_and(|(_, serves)| serves);
        settled && engine_serves && self.front.get().is_some_and(|front| front.ready())
    }

    fn serving(&self) -> Vec<String> {
        self.fleet.in_role("engine")
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
