//! The lab as a whole: three bodies, and what is on their disks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::gateway::{Gateway, GatewayDisk};
use super::node::Node;
use super::protocol::Side;
use super::replica::{Disk, Role};
use super::settings::Settings;
use super::{GATEWAY, NAME, NODE_A, NODE_B};
use crate::plan::{Failover, LabDescription, Order};
use crate::system::lab::host::Host;
use crate::system::lab::{Body, Fleet, Ground, Lab, Live, Refused};
use crate::system::{SystemError, Teller};

/// A running pair.
#[derive(Debug)]
pub struct Pair {
    settings: Settings,
    fleet: Fleet,
    gateway: Live<Gateway>,
}

impl Pair {
    /// Binds every node's port; nothing works yet.
    pub fn bind(description: &LabDescription, teller: Teller) -> Result<Pair, SystemError> {
        let settings = Settings::of(&description.params);
        let gateway = Live::default();
        let node = |side| NodeBody { side, settings, disk: Disk::default(), live: Live::default() };
        let body = |name: &str| -> Box<dyn Body> {
            match name {
                NODE_A => Box::new(node(Side::A)),
                NODE_B => Box::new(node(Side::B)),
                _ => Box::new(GatewayBody { settings, disk: GatewayDisk::default(), live: gateway.clone() }),
            }
        };
        Ok(Pair { settings, fleet: Fleet::bind(description, body, teller)?, gateway })
    }
}

impl Lab for Pair {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn ready(&self) -> bool {
        self.gateway.get().is_some_and(|gateway| gateway.ready())
    }

    fn serving(&self) -> Vec<String> {
        self.fleet.in_role(Role::Primary.name())
    }

    fn probed(&self) -> Vec<String> {
        vec![GATEWAY.to_owned()]
    }

    fn order(&self, order: Order) -> Result<String, Refused> {
        if order != Order::Failover(Failover::Planned) {
            return Err(Refused::unknown(NAME, order));
        }
        let away = || Refused::never("the gateway is not there");
        let before = self.gateway.get().ok_or_else(away)?.record();
        self.gateway.get().ok_or_else(away)?.hand_over().map_err(Refused::never)?;
        loop {
            let now = self.gateway.get().ok_or_else(away)?.record();
            if now.term > before.term {
                return Ok(format!(
                    "{} handed over to {}",
                    self.settings.name(before.primary),
                    self.settings.name(now.primary)
                ));
            }
            if !now.yields {
                return Err(Refused::never("the standby did not get every write in time"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// How often a hand-over is looked at; the controller ends it in one way or the other.
const LOOK_EVERY: Duration = Duration::from_millis(2);

#[derive(Debug)]
struct NodeBody {
    side: Side,
    settings: Settings,
    disk: Disk,
    live: Live<Node>,
}

impl Body for NodeBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let peer = ground.hop(self.settings.name(self.side.peer()))?;
        let node = Arc::new(Node::new(self.side, self.settings, std::mem::take(&mut self.disk), ground.teller));
        self.live.set(&node);
        Host::start(&ground.name, move |inside| node.run(ground.listener, peer, inside))
    }

    fn ended(&mut self) {
        if let Some(node) = self.live.take() {
            self.disk = node.take_disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |node| node.incarnation())
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|node| node.role().name())
    }

    /// It knows its place once the gateway has told it.
    fn tells_ready(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct GatewayBody {
    settings: Settings,
    disk: GatewayDisk,
    live: Live<Gateway>,
}

impl Body for GatewayBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let upstreams = [ground.hop(NODE_A)?, ground.hop(NODE_B)?];
        let gateway = Arc::new(Gateway::new(self.settings, self.disk, ground.teller));
        self.live.set(&gateway);
        Host::start(&ground.name, move |inside| gateway.run(ground.listener, upstreams, inside))
    }

    fn ended(&mut self) {
        if let Some(gateway) = self.live.take() {
            self.disk = gateway.disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |gateway| gateway.incarnation())
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| GATEWAY)
    }
}
