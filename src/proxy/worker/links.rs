//! The links of an engine thread: their connections, and what reach faults make of them.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll::{self, EventFlags};

use super::active::{ActiveHttp, ActiveReach, ActiveToxic};
use super::connection::{Connection, Life, Todo};
use super::port::Port;
use super::seal::Seal;
use super::side::Side;
use super::slab::Key;
use super::{Alarm, DROPS_TICK, Token, Worker};
use crate::event::Mechanism;
use crate::permit::Permit;
use crate::plan::fault::Direction;
use crate::proxy::authority::Termination;
use crate::proxy::counters::{Closing, Counters};
use crate::proxy::http::{HttpFaults, Tap};
use crate::proxy::kernel::{self, Filter};
use crate::proxy::reach::{Door, Reach, Regime};
use crate::proxy::shared::LinkShared;

/// A link as one of its engine threads has it: all of it but the port, which is its home thread's.
#[derive(Debug)]
pub(crate) struct LinkState {
    pub(crate) shared: Arc<LinkShared>,
    /// The totals that this thread writes.
    pub(crate) counters: Arc<Counters>,
    /// Which of the link's threads this is; 0: its home.
    pub(super) post: usize,
    pub(super) port: Option<Box<Port>>,
    pub(crate) upstream: Upstream,
    pub(crate) permit: Permit,
    pub(crate) http: HttpFaults,
    pub(super) https: Vec<ActiveHttp>,
    pub(super) toxics: Vec<ActiveToxic>,
    pub(super) reach: Vec<ActiveReach>,
    pub(super) regime: Regime,
    pub(super) members: Vec<Key>,
    speaks_http: bool,
    pub(super) tls: Option<Termination>,
    counts_drops: bool,
}

/// Where connections go.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// An address as it stands.
    Address(SocketAddr),
    /// `host:port`, looked up at each dial.
    Name(String),
}

impl Upstream {
    pub(crate) fn parse(text: &str) -> Upstream {
        text.parse().map_or_else(|_| Upstream::Name(text.to_owned()), Upstream::Address)
    }
}

impl LinkState {
    /// What one of a link's threads needs of it; its home gets the port as well.
    pub(crate) fn new(
        shared: Arc<LinkShared>,
        post: usize,
        port: Option<Port>,
        upstream: Upstream,
        permit: Permit,
        speaks_http: bool,
        tls: Option<Termination>,
    ) -> LinkState {
        LinkState {
            counters: Arc::clone(&shared.counters[post]),
            shared,
            post,
            port: port.map(Box::new),
            upstream,
            permit,
            http: HttpFaults::new(),
            https: Vec::new(),
            toxics: Vec::new(),
            reach: Vec::new(),
            regime: Regime::default(),
            members: Vec::new(),
            speaks_http,
            tls,
            counts_drops: false,
        }
    }

    /// Takes a connection off the list; says which one has moved to its place.
    pub(super) fn forget(&mut self, member: u32) -> Option<Key> {
        self.members.swap_remove(member as usize);
        self.members.get(member as usize).copied()
    }

    /// Brings the link's totals up to what the taps have seen.
    pub(super) fn count_requests(&self) {
        let (counts, counters) = (self.http.counts(), &self.counters);
        counters.requests.set(counts.requests);
        counters.faulted_requests.set(counts.matched);
    }

    /// Whether the server sides of open connections stay away.
    fn keeps_orphans(&self) -> bool {
        self.reach.iter().any(|active| active.reach == Reach::HalfOpen)
    }

    /// Sets what the pipes and sockets of a connection let through.
    pub(super) fn govern(&self, connection: &mut Connection, mechanism: Mechanism) {
        let Regime { mut up_cut, mut down_cut, .. } = self.regime;
        let counters = &self.counters;
        if matches!(connection.life, Life::Orphaned) && self.keeps_orphans() {
            (up_cut, down_cut) = (true, true);
        }
        let filter = |cut_in: bool, cut_out: bool, way: Direction| match (cut_in, cut_out) {
            (true, true) => Filter::Silence,
            (true, false) => Filter::NoBytes,
            (false, _) => self.loss(way, connection.number),
        };
        if mechanism == Mechanism::KernelDrop {
            let (at_client, at_server) =
                (filter(up_cut, down_cut, Direction::Up), filter(down_cut, up_cut, Direction::Down));
            connection.client.filter(at_client, counters);
            if let Some(server) = &mut connection.server {
                server.filter(at_server, counters);
            }
        }
        if up_cut && !connection.up.cut {
            connection.client.begin_withholding();
        }
        if down_cut
            && !connection.down.cut
            && let Some(server) = &mut connection.server
        {
            server.begin_withholding();
        }
        (connection.up.cut, connection.down.cut) = (up_cut, down_cut);
        connection.client.hold_seal(down_cut);
        if let Some(server) = &mut connection.server {
            server.hold_seal(up_cut);
        }
    }
}

impl Worker {
    /// Starts serving a link.
    pub(crate) fn open_link(&mut self, link: LinkState) -> std::io::Result<Key> {
        let key = self.links.reserve();
        self.links.put(key, Box::new(link));
        let opened = self.set_listening(key, true);
        if opened.is_err() {
            self.close_link(key);
        }
        opened.map(|()| key)
    }

    /// Ends a link with all its connections; the port is free afterwards.
    pub(crate) fn close_link(&mut self, key: Key) {
        // The listener first, so that nobody new comes in between.
        let _ = self.set_listening(key, false);
        let members = self.links.get(key).map(|link| link.members.clone()).unwrap_or_default();
        for member in members {
            self.end_by_key(member, Closing::Shutdown);
        }
        if self.links.take(key).is_some() {
            self.links.release(key);
        }
    }

    /// Takes in a connection that the link's home thread has accepted and handed over.
    pub(super) fn take_over(&mut self, link_key: Key, number: u64, socket: OwnedFd, peer: SocketAddr) {
        let Some(link) = self.links.get(link_key) else { return };
        let side = Side::new(socket);
        // A fault strikes the home thread first and leaves it last; only a flap may have turned here before.
        if matches!(link.regime.door, Door::Reset | Door::Shut) {
            link.shared.peers.closed(peer, number, self.tools.clock.now());
            return self.turn_away(link_key, side);
        }
        self.admit(link_key, number, side, peer);
    }

    /// Resets a new connection, as the link's door says.
    pub(super) fn turn_away(&mut self, link_key: Key, side: Side) {
        let Some(link) = self.links.get_mut(link_key) else { return };
        link.counters.faulted_connections.add(1);
        link.counters.closed(Closing::Fault);
        if let Some(active) = link.reach.iter_mut().rev().find(|active| active.resets() || active.shuts()) {
            active.hits += 1;
        }
        side.abort();
    }

    /// Serves a new connection, unless the link's door is silent.
    pub(super) fn admit(&mut self, link_key: Key, number: u64, mut side: Side, peer: SocketAddr) {
        let Some(link) = self.links.get_mut(link_key) else { return };
        if let Some(tls) = &link.tls {
            side.seal(Seal::towards_client(tls, &link.shared.name));
        }
        let now = self.tools.clock.now();
        let key = self.connections.reserve();
        if let Err(error) = epoll::add(&self.epoll, side.fd(), Token::Client(key).pack(), SOCKET_EVENTS) {
            tracing::warn!(link = %link.shared.name, %error, "could not watch a connection");
            link.shared.peers.closed(peer, number, now);
            link.counters.closed(Closing::Rst);
            self.connections.release(key);
            side.abort();
            return;
        }
        let mut connection = Box::new(Connection::new(link_key, number, peer, side, now));
        connection.member = link.members.len() as u32;
        link.members.push(key);
        link.counters.open.add(1);
        if link.speaks_http {
            connection.tap = Some(Box::new(Tap::new()));
        }
        for toxic in &link.toxics {
            toxic.join(&mut connection, &mut self.tools, now);
        }
        link.govern(&mut connection, self.mechanism);
        let fate = if link.regime.door == Door::Silent {
            link.counters.faulted_connections.add(1);
            if let Some(active) = link.reach.iter_mut().rev().find(|active| active.silences()) {
                active.hits += 1;
            }
            connection.life = Life::Withheld;
            super::Fate::Waits
        } else {
            self.dial(key, &mut connection)
        };
        self.settle(key, connection, fate);
    }

    /// Brings a link's listener and connections in line with the reach faults in force.
    pub(super) fn apply_reach(&mut self, key: Key) {
        let Some(link) = self.links.get(key) else { return };
        let regime = Regime::of(link.reach.iter().map(|active| (&active.reach, active.cuts_now)));
        if link.regime.door == Door::Open && regime.door != Door::Open {
            // Who stands in the kernel's queue has connected before the fault.
            self.accept(key);
        }
        let Some(link) = self.links.get_mut(key) else { return };
        link.regime = regime;
        if self.mechanism == Mechanism::KernelDrop
            && let Some(port) = &mut link.port
        {
            let filter = if regime.door == Door::Silent { Filter::Silence } else { Filter::Open };
            port.listener.filter(filter, &link.counters);
        }
        if let Err(error) = self.set_listening(key, regime.door != Door::Shut) {
            let name = self.links.get(key).map(|link| link.shared.name.clone());
            tracing::error!(link = ?name, %error, "the port could not be opened or shut");
        }
        self.govern_all(key);
        // What came while the door was shut in other ways, and was left in the queue.
        self.accept(key);
    }

    /// Sets cuts and filters of all connections of a link, and lets those move that may.
    pub(super) fn govern_all(&mut self, key: Key) {
        let Some(link) = self.links.get(key) else { return };
        let door_opens = link.regime.door == Door::Open;
        for member in link.members.clone() {
            let Some(mut connection) = self.connections.take(member) else { continue };
            let Some(link) = self.links.get(key) else { return };
            link.govern(&mut connection, self.mechanism);
            let fate = match connection.life {
                Life::Withheld if door_opens => self.dial(member, &mut connection),
                Life::Open | Life::Dialing { .. } => self.drive(member, &mut connection, Todo::BOTH),
                Life::Orphaned => self.orphan_spoke(&mut connection),
                Life::Withheld | Life::Resolving | Life::Draining => super::Fate::Waits,
            };
            self.settle(member, connection, fate);
        }
        self.drops_tick(key);
    }

    /// Counts dropped segments, and goes on doing so while a filter is set anywhere on the link.
    pub(super) fn drops_tick(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(key) else { return };
        let ticking = std::mem::take(&mut link.counts_drops);
        let filtered = self.count_drops(key);
        let Some(link) = self.links.get_mut(key) else { return };
        link.counts_drops = filtered;
        if filtered && !ticking {
            self.tools.alarms.set(self.tools.clock.now() + DROPS_TICK, Alarm::CountDrops(key));
        }
    }

    /// Adds up the segments that the filters of a link have dropped; says whether there is any filter.
    pub(super) fn count_drops(&mut self, key: Key) -> bool {
        let Some(link) = self.links.get_mut(key) else { return false };
        let counters = &link.counters;
        let mut filtered = false;
        if let Some(port) = &mut link.port {
            port.listener.count_drops(counters);
            filtered |= port.listener.is_filtered();
        }
        for &member in &link.members {
            let Some(connection) = self.connections.get_mut(member) else { continue };
            for side in [Some(&mut connection.client), connection.server.as_mut()].into_iter().flatten() {
                side.count_drops(counters);
                filtered |= side.is_filtered();
            }
        }
        filtered
    }

    /// Bytes of a link that the kernel already has in its send queues, by direction.
    pub(super) fn in_flight(&self, key: Key, direction: Direction) -> u64 {
        let Some(link) = self.links.get(key) else { return 0 };
        let connections = link.members.iter().filter_map(|&member| self.connections.get(member));
        connections
            .map(|connection| {
                let up = connection.server.as_ref().filter(|_| direction != Direction::Down);
                let down = Some(&connection.client).filter(|_| direction != Direction::Up);
                [up, down].into_iter().flatten().map(|side| kernel::unacknowledged(side.fd().as_fd())).sum::<u64>()
            })
            .sum()
    }
}

/// What is asked about a connection's sockets, once and for all.
pub(super) const SOCKET_EVENTS: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);
