//! The nodes of a lab, alive or not: their ports, threads and disks, and what can be done to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use indexmap::IndexMap;

use super::body::{Body, Ground};
use super::host::Host;
use super::order::Refused;
use crate::event::What;
use crate::plan::LabDescription;
use crate::system::port::Port;
use crate::system::{LinkAddresses, NodeAct, NodeInfo, NodeState, SystemError, Teller};

/// Every node of a lab, in the order of its description.
#[derive(Debug)]
pub struct Fleet {
    teller: Teller,
    /// The links that the nodes dial each other by.
    hops: Vec<String>,
    links: OnceLock<Arc<LinkAddresses>>,
    /// Everything is to end: nothing is started any more.
    ended: AtomicBool,
    members: IndexMap<String, Mutex<Member>>,
}

#[derive(Debug)]
struct Member {
    labels: IndexMap<String, String>,
    port: Port,
    state: NodeState,
    /// From the bind on, so that links have an upstream before anything works.
    listener: Option<std::net::TcpListener>,
    host: Option<Host>,
    body: Box<dyn Body>,
}

impl Fleet {
    /// Binds the port of every node that is described, and asks `body` for what is to run there; nothing works yet.
    pub fn bind(
        description: &LabDescription,
        mut body: impl FnMut(&str) -> Box<dyn Body>,
        teller: Teller,
    ) -> Result<Fleet, SystemError> {
        let mut members = IndexMap::new();
        for (name, labels) in &description.nodes {
            let bind = |source| SystemError::Bind {
                node: name.clone(),
                listen: "a free port of 127.0.0.1".to_owned(),
                source,
            };
            let port = Port::reserve().map_err(bind)?;
            let listener = Some(port.listen().map_err(bind)?);
            let (labels, body, state) = (labels.clone(), body(name), NodeState::Starting);
            members.insert(name.clone(), Mutex::new(Member { labels, port, state, listener, host: None, body }));
        }
        let hops = description.links.keys().cloned().collect();
        Ok(Fleet { teller, hops, links: OnceLock::new(), ended: AtomicBool::new(false), members })
    }

    /// Starts every node; each hop dials the address of its link.
    pub fn start(&self, links: &LinkAddresses) -> Result<(), SystemError> {
        if let Some(link) = self.hops.iter().find(|hop| !links.contains_key(*hop)) {
            return Err(SystemError::NoLink { link: link.clone() });
        }
        self.links.get_or_init(|| Arc::new(links.clone()));
        self.members.iter().try_for_each(|(name, member)| self.launch(name, &mut lock(member)))
    }

    /// Everything about its nodes now.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.members.iter().map(|(name, member)| info(name, &lock(member))).collect()
    }

    /// The nodes that have this role now.
    pub fn in_role(&self, role: &str) -> Vec<String> {
        let nodes = self.nodes().into_iter().filter(|info| info.role.as_deref() == Some(role));
        nodes.map(|info| info.name).collect()
    }

    /// Does something to a node; blocks until it is done.
    pub fn apply(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        let mut member = self.member(node)?;
        match act {
            // One that was stopped is lost as well: whoever stopped it must not start it before it is healed.
            NodeAct::Kill if member.state == NodeState::Stopped => self.set_state(node, &mut member, NodeState::Gone),
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

    /// Takes back what [`apply`](Self::apply) did, and nothing else: a node that was killed after it was stopped is started
    /// by who killed it.
    pub fn heal(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        let mut member = self.member(node)?;
        match act {
            NodeAct::Kill if member.host.is_none() && member.state != NodeState::Stopped => {
                self.launch(node, &mut member)
            }
            NodeAct::Stop if member.host.is_none() && member.state != NodeState::Gone => self.launch(node, &mut member),
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

    /// Loses a node for good, as a user orders it; refused where it is not alive.
    pub fn lose(&self, node: &str) -> Result<(), Refused> {
        let failed = |error: SystemError| Refused::never(error.to_string());
        if self.member(node).map_err(failed)?.host.is_none() {
            return Err(Refused::never(format!("{node} is not alive")));
        }
        self.apply(node, NodeAct::Kill).map_err(failed)
    }

    /// Whether everything was ended.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends everything for good, the last described first: who watches others stands behind them, and must not see them go
    /// and decide something.
    pub fn stop(&self) {
        self.ended.store(true, Ordering::Release);
        for (name, member) in self.members.iter().rev() {
            self.end(name, &mut lock(member), Host::stop, NodeState::Stopped);
        }
    }

    fn member(&self, node: &str) -> Result<MutexGuard<'_, Member>, SystemError> {
        self.members.get(node).map(lock).ok_or_else(|| SystemError::UnknownNode { node: node.to_owned() })
    }

    fn launch(&self, name: &str, member: &mut Member) -> Result<(), SystemError> {
        if self.ended() {
            let (node, reason) = (name.to_owned(), "the lab has ended".to_owned());
            return Err(SystemError::Launch { node, reason });
        }
        let failed =
            |source| SystemError::Bind { node: name.to_owned(), listen: "its port of before".to_owned(), source };
        let listener = match member.listener.take() {
            Some(listener) => listener,
            None => member.port.listen().map_err(failed)?,
        };
        self.set_state(name, member, NodeState::Starting);
        let ground = Ground {
            name: name.to_owned(),
            listener,
            links: self.links.get().cloned().unwrap_or_default(),
            teller: self.teller.clone(),
        };
        let launch = |source: std::io::Error| SystemError::Launch { node: name.to_owned(), reason: source.to_string() };
        member.host = Some(member.body.launch(ground).map_err(launch)?);
        if member.body.tells_ready() {
            member.state = NodeState::Ready;
        } else {
            self.set_state(name, member, NodeState::Ready);
        }
        Ok(())
    }

    /// Ends a node's thread and keeps what is on its disk.
    fn end(&self, name: &str, member: &mut Member, how: impl FnOnce(&mut Host), state: NodeState) {
        member.listener = None;
        let Some(mut host) = member.host.take() else { return };
        how(&mut host);
        member.body.ended();
        self.set_state(name, member, state);
    }

    fn set_state(&self, name: &str, member: &mut Member, state: NodeState) {
        member.state = state;
        let NodeInfo { name: node, incarnation, role, .. } = info(name, member);
        self.teller.tell(What::Node { node, incarnation, state: state.name().to_owned(), role });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.members.values().for_each(|member| drop(lock(member).host.take()));
    }
}

fn info(name: &str, member: &Member) -> NodeInfo {
    NodeInfo {
        name: name.to_owned(),
        labels: member.labels.clone(),
        address: member.port.address().to_string(),
        incarnation: member.body.incarnation(),
        role: member.body.role().map(str::to_owned),
        state: member.state,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::RunClock;
    use crate::event::Event;
    use crate::system::lab::body::Live;
    use crate::system::lab::layout::Layout;

    /// Sleeps; its disk is a number that each start raises.
    #[derive(Debug, Default)]
    struct Sleeper {
        disk: u64,
        live: Live<AtomicU64>,
    }

    impl Body for Sleeper {
        fn launch(&mut self, ground: Ground) -> io::Result<Host> {
            if ground.name == "a" {
                ground.hop("b")?;
            }
            self.live.set(&Arc::new(AtomicU64::new(self.disk + 1)));
            Host::start(&ground.name, |mut inside| async move { inside.stopped().await })
        }

        fn ended(&mut self) {
            self.disk = self.live.take().unwrap().load(Ordering::Relaxed);
        }

        fn incarnation(&self) -> u64 {
            self.live.get().map_or(self.disk, |live| live.load(Ordering::Relaxed))
        }

        fn role(&self) -> Option<&'static str> {
            self.live.get().map(|_| "sleeper")
        }
    }

    fn fleet() -> (Fleet, LinkAddresses, Arc<Mutex<Vec<Event>>>) {
        let mut layout = Layout::default();
        ["a", "b"].into_iter().for_each(|name| layout.add(name, [("zone", "1")]));
        layout.connect("a", ["b"]);
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let teller = Teller::new(RunClock::start(), Arc::new(move |event| sink.lock().unwrap().push(event)));
        let fleet = Fleet::bind(&layout.describe(), |_| Box::<Sleeper>::default(), teller).unwrap();
        let links = [("a-b".to_owned(), "127.0.0.1:1".parse().unwrap())].into();
        (fleet, links, events)
    }

    fn seen(fleet: &Fleet) -> Vec<String> {
        let role = |info: &NodeInfo| info.role.clone().unwrap_or_else(|| "nobody".to_owned());
        fleet.nodes().iter().map(|info| format!("{} {} {}", info.place(), role(info), info.state.name())).collect()
    }

    #[test]
    fn a_node_keeps_its_disk_and_its_address_over_every_end() {
        let (fleet, links, _) = fleet();
        assert_eq!(seen(&fleet), ["a#0 nobody starting", "b#0 nobody starting"]);
        fleet.start(&links).unwrap();
        let address = fleet.nodes()[0].address.clone();
        fleet.apply("a", NodeAct::Kill).unwrap();
        fleet.apply("b", NodeAct::Stop).unwrap();
        assert_eq!(seen(&fleet), ["a#1 nobody gone", "b#1 nobody stopped"]);
        fleet.heal("a", NodeAct::Kill).unwrap();
        fleet.heal("a", NodeAct::Kill).unwrap();
        fleet.heal("b", NodeAct::Stop).unwrap();
        fleet.apply("b", NodeAct::Restart).unwrap();
        assert_eq!(seen(&fleet), ["a#2 sleeper ready", "b#3 sleeper ready"], "healing twice starts once");
        fleet.apply("a", NodeAct::Pause).unwrap();
        assert_eq!(seen(&fleet)[0], "a#2 sleeper paused");
        fleet.heal("a", NodeAct::Pause).unwrap();
        assert_eq!(seen(&fleet)[0], "a#2 sleeper ready");
        assert_eq!(fleet.nodes()[0].address, address);
    }

    #[test]
    fn a_node_that_is_killed_while_it_is_stopped_is_started_by_who_killed_it() {
        let (fleet, links, _) = fleet();
        fleet.start(&links).unwrap();
        fleet.apply("a", NodeAct::Stop).unwrap();
        fleet.heal("a", NodeAct::Kill).unwrap();
        assert_eq!(seen(&fleet)[0], "a#1 nobody stopped", "nobody killed it");
        fleet.apply("a", NodeAct::Kill).unwrap();
        fleet.heal("a", NodeAct::Stop).unwrap();
        assert_eq!(seen(&fleet)[0], "a#1 nobody gone");
        assert_eq!(fleet.lose("a"), Err(Refused::never("a is not alive")));
        fleet.heal("a", NodeAct::Kill).unwrap();
        assert_eq!(seen(&fleet)[0], "a#2 sleeper ready");
        assert_eq!(fleet.lose("a"), Ok(()));
        assert_eq!(seen(&fleet)[0], "a#2 nobody gone");
    }

    #[test]
    fn it_starts_only_with_every_link_and_tells_each_state() {
        let (fleet, links, events) = fleet();
        assert!(matches!(fleet.start(&LinkAddresses::new()), Err(SystemError::NoLink { link }) if link == "a-b"));
        fleet.start(&links).unwrap();
        fleet.stop();
        let events = events.lock().unwrap();
        let told = events.iter().map(|event| match &event.what {
            What::Node { node, incarnation, state, .. } => format!("{node}#{incarnation} {state}"),
            other => format!("{other:?}"),
        });
        let told: Vec<String> = told.collect();
        assert_eq!(
            told,
            ["a#0 starting", "a#1 ready", "b#0 starting", "b#1 ready", "b#1 stopped", "a#1 stopped"],
            "the last described ends first"
        );
        assert!(matches!(fleet.apply("c", NodeAct::Kill), Err(SystemError::UnknownNode { .. })));
    }
}
