//! The lab as a whole: three hosts, what is on their disks, and what can be done to them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use serde_json::Value;

use super::gateway::{Gateway, GatewayDisk};
use super::node::Node;
use super::protocol::Side;
use super::replica::Disk;
use super::settings::Settings;
use super::{GATEWAY, NAME, NODE_A, NODE_B};
use crate::event::What;
use crate::plan::LabDescription;
use crate::system::lab::describe;
use crate::system::lab::host::Host;
use crate::system::port::Port;
use crate::system::{LinkAddresses, NodeAct, NodeInfo, NodeState, SystemError, Teller};

/// A running pair.
#[derive(Debug)]
pub struct Pair {
    description: LabDescription,
    settings: Settings,
    teller: Teller,
    links: Mutex<LinkAddresses>,
    members: IndexMap<&'static str, Mutex<Member>>,
}

/// One of the three, alive or not.
#[derive(Debug)]
struct Member {
    port: Port,
    state: NodeState,
    /// From the bind on, so that links have an upstream before anything works.
    listener: Option<std::net::TcpListener>,
    host: Option<Host>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Node { side: Side, disk: Disk, live: Option<Arc<Node>> },
    Gateway { disk: GatewayDisk, live: Option<Arc<Gateway>> },
}

impl Pair {
    /// Binds every node's port; nothing works yet.
    pub fn bind(params: &IndexMap<String, Value>, teller: Teller) -> Result<Pair, SystemError> {
        let description = describe(NAME, params).map_err(SystemError::Lab)?;
        let settings = Settings::of(&description.params);
        let node = |side| Body::Node { side, disk: Disk::default(), live: None };
        let bodies = [
            (NODE_A, node(Side::A)),
            (NODE_B, node(Side::B)),
            (GATEWAY, Body::Gateway { disk: GatewayDisk::default(), live: None }),
        ];
        let mut members = IndexMap::new();
        for (name, body) in bodies {
            let bind = |source| SystemError::Bind {
                node: name.to_owned(),
                listen: "a free port of 127.0.0.1".to_owned(),
                source,
            };
            let port = Port::reserve().map_err(bind)?;
            let listener = Some(port.listen().map_err(bind)?);
            members.insert(name, Mutex::new(Member { port, state: NodeState::Starting, listener, host: None, body }));
        }
        Ok(Pair { description, settings, teller, links: Mutex::default(), members })
    }

    /// Starts work; each hop dials the address of its link.
    pub fn start(&self, links: &LinkAddresses) -> Result<(), SystemError> {
        for link in self.description.links.keys() {
            if !links.contains_key(link) {
                return Err(SystemError::NoLink { link: link.clone() });
            }
        }
        *lock(&self.links) = links.clone();
        self.members.iter().try_for_each(|(name, member)| self.launch(name, &mut lock(member)))
    }

    /// Whether it serves.
    pub fn ready(&self) -> bool {
        match &lock(&self.members[GATEWAY]).body {
            Body::Gateway { live: Some(gateway), .. } => gateway.ready(),
            _ => false,
        }
    }

    /// Everything about its nodes now.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.members.iter().map(|(name, member)| self.info(name, &lock(member))).collect()
    }

    /// Does something to a node; blocks until it is done.
    pub fn apply(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        let mut member = self.member(node)?;
        match act {
            NodeAct::Kill => self.end(node, &mut member, Host::kill, NodeState::Gone),
            NodeAct::Stop => self.end(node, &mut member, Host::stop, NodeState::Stopped),
            NodeAct::Restart => {
                self.end(node, &mut member, Host::stop, NodeState::Stopped);
                return self.launch(node, &mut member);
            }
            NodeAct::Pause => {
                if let Some(host) = &mut member.host {
                    host.pause();
                    self.set_state(node, &mut member, NodeState::Paused);
                }
            }
        }
        Ok(())
    }

    /// Takes back what [`apply`](Self::apply) did.
    pub fn heal(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        let mut member = self.member(node)?;
        match act {
            NodeAct::Kill | NodeAct::Stop if member.host.is_none() => self.launch(node, &mut member),
            NodeAct::Pause if member.state == NodeState::Paused => {
                if let Some(host) = &mut member.host {
                    host.resume();
                }
                self.set_state(node, &mut member, NodeState::Ready);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends everything.
    pub fn stop(&self) {
        // The gateway first: it must not see the others go and decide something.
        for (name, member) in self.members.iter().rev() {
            self.end(name, &mut lock(member), Host::stop, NodeState::Stopped);
        }
    }

    fn member(&self, node: &str) -> Result<MutexGuard<'_, Member>, SystemError> {
        self.members.get(node).map(lock).ok_or_else(|| SystemError::UnknownNode { node: node.to_owned() })
    }

    fn launch(&self, name: &str, member: &mut Member) -> Result<(), SystemError> {
        let failed =
            |source| SystemError::Bind { node: name.to_owned(), listen: "its port of before".to_owned(), source };
        let listener = match member.listener.take() {
            Some(listener) => listener,
            None => member.port.listen().map_err(failed)?,
        };
        self.set_state(name, member, NodeState::Starting);
        let link = |from: &str, to: &str| self.link(&format!("{from}-{to}"));
        let host = match &mut member.body {
            Body::Node { side, disk, live } => {
                let (side, peer) = (*side, link(side.name(), side.peer().name())?);
                let node = Arc::new(Node::new(side, self.settings, std::mem::take(disk), self.teller.clone()));
                *live = Some(Arc::clone(&node));
                Host::start(name, move |inside| node.run(listener, peer, inside))
            }
            Body::Gateway { disk, live } => {
                let upstreams = [link(GATEWAY, NODE_A)?, link(GATEWAY, NODE_B)?];
                let gateway = Arc::new(Gateway::new(self.settings, *disk, self.teller.clone()));
                *live = Some(Arc::clone(&gateway));
                Host::start(name, move |inside| gateway.run(listener, upstreams, inside))
            }
        };
        member.host = Some(host.map_err(failed)?);
        if matches!(member.body, Body::Gateway { .. }) {
            self.set_state(name, member, NodeState::Ready);
        }
        // A node is ready when the gateway has told it its place; it says so itself.
        member.state = NodeState::Ready;
        Ok(())
    }

    /// Ends a node's thread and keeps what is on its disk.
    fn end(&self, name: &str, member: &mut Member, how: impl FnOnce(&mut Host), state: NodeState) {
        member.listener = None;
        let Some(mut host) = member.host.take() else { return };
        how(&mut host);
        match &mut member.body {
            Body::Node { disk, live, .. } => {
                if let Some(node) = live.take() {
                    *disk = node.take_disk();
                }
            }
            Body::Gateway { disk, live } => {
                if let Some(gateway) = live.take() {
                    *disk = gateway.disk();
                }
            }
        }
        self.set_state(name, member, state);
    }

    fn set_state(&self, name: &str, member: &mut Member, state: NodeState) {
        member.state = state;
        let NodeInfo { incarnation, role, .. } = self.info(name, member);
        let (node, state) = (name.to_owned(), state.name().to_owned());
        self.teller.tell(What::Node { node, incarnation, state, role });
    }

    fn info(&self, name: &str, member: &Member) -> NodeInfo {
        let (incarnation, role) = match &member.body {
            Body::Node { live: Some(node), .. } => (node.incarnation(), Some(node.role().name())),
            Body::Node { disk, live: None, .. } => (disk.incarnation, None),
            Body::Gateway { live: Some(gateway), .. } => (gateway.incarnation(), Some(GATEWAY)),
            Body::Gateway { disk, live: None } => (disk.incarnation, None),
        };
        NodeInfo {
            name: name.to_owned(),
            labels: self.description.nodes.get(name).cloned().unwrap_or_default(),
            address: member.port.address().to_string(),
            incarnation,
            role: role.map(str::to_owned),
            state: member.state,
        }
    }

    fn link(&self, name: &str) -> Result<SocketAddr, SystemError> {
        lock(&self.links).get(name).copied().ok_or_else(|| SystemError::NoLink { link: name.to_owned() })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.members.values().for_each(|member| drop(lock(member).host.take()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
