//! The links of an engine thread: their listeners, their connections, and what reach faults make of both.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, SocketFlags, acceptfrom_with};

use super::active::{ActiveHttp, ActiveReach, ActiveToxic};
use super::connection::{Connection, Life, Todo};
use super::side::Side;
use super::slab::Key;
use super::{ACCEPT_PAUSE, Alarm, DROPS_TICK, Token, Worker};
use crate::event::Mechanism;
use crate::permit::Permit;
use crate::plan::fault::Direction;
use crate::proxy::counters::Closing;
use crate::proxy::http::{HttpFaults, Tap};
use crate::proxy::kernel::{self, Filter};
use crate::proxy::reach::{Door, Reach, Regime};
use crate::proxy::shared::LinkShared;

/// Connections accepted in one turn.
const ACCEPTS: usize = 64;

/// Connections that the kernel completes for us while the thread is busy; the system's own limit applies too.
pub(crate) const BACKLOG: i32 = 4096;

/// A link as its engine thread has it.
#[derive(Debug)]
pub(crate) struct LinkState {
    pub(crate) shared: Arc<LinkShared>,
    pub(crate) upstream: Upstream,
    pub(crate) permit: Permit,
    pub(crate) http: HttpFaults,
    pub(super) https: Vec<ActiveHttp>,
    pub(super) toxics: Vec<ActiveToxic>,
    pub(super) reach: Vec<ActiveReach>,
    pub(super) regime: Regime,
    pub(super) members: Vec<Key>,
    speaks_http: bool,
    listener: Side,
    listens: bool,
    /// An alarm is set to accept again; until then nobody knocks in vain.
    accepts_later: bool,
    /// A tap on the SYNs that the closed port refuses, where permitted.
    refusals: Option<OwnedFd>,
    counts_drops: bool,
    next_number: u64,
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
    pub(crate) fn new(
        listener: OwnedFd,
        shared: Arc<LinkShared>,
        upstream: Upstream,
        permit: Permit,
        speaks_http: bool,
    ) -> LinkState {
        LinkState {
            shared,
            upstream,
            permit,
            http: HttpFaults::new(),
            https: Vec::new(),
            toxics: Vec::new(),
            reach: Vec::new(),
            regime: Regime::default(),
            members: Vec::new(),
            speaks_http,
            listener: Side::new(listener),
            listens: false,
            accepts_later: false,
            refusals: None,
            counts_drops: false,
            next_number: 1,
        }
    }

    /// Takes a connection off the list; says which one has moved to its place.
    pub(super) fn forget(&mut self, member: u32) -> Option<Key> {
        self.members.swap_remove(member as usize);
        self.members.get(member as usize).copied()
    }

    /// Brings the link's totals up to what the taps have seen.
    pub(super) fn count_requests(&self) {
        let (counts, counters) = (self.http.counts(), &self.shared.counters);
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
        let counters = &self.shared.counters;
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

    /// Opens or shuts the port; shut, it stays bound, so that nobody else takes it.
    fn set_listening(&mut self, key: Key, listen: bool) -> std::io::Result<()> {
        let Some(link) = self.links.get_mut(key) else { return Ok(()) };
        if listen == link.listens {
            return Ok(());
        }
        if listen {
            rustix::net::listen(link.listener.fd(), BACKLOG)?;
            epoll::add(&self.epoll, link.listener.fd(), Token::Listener(key).pack(), EventFlags::IN | EventFlags::ET)?;
            link.refusals = None;
        } else {
            epoll::delete(&self.epoll, link.listener.fd())?;
            link.refusals = kernel::tap_refusals(link.shared.addr).ok();
            if let Some(tap) = &link.refusals {
                epoll::add(&self.epoll, tap, Token::Refusals(key).pack(), EventFlags::IN | EventFlags::ET)?;
            }
            // On Linux this takes the socket out of listening and leaves it bound.
            rustix::net::shutdown(link.listener.fd(), Shutdown::Read)?;
        }
        link.listens = listen;
        Ok(())
    }

    /// Counts the connections that the shut port has refused.
    pub(super) fn count_refusals(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(tap) = &link.refusals else { return };
        let mut refused = 0;
        while rustix::net::recv(tap, &mut [0u8; 1], RecvFlags::TRUNC | RecvFlags::DONTWAIT).is_ok() {
            refused += 1;
        }
        link.shared.counters.faulted_connections.add(refused);
        if let Some(active) = link.reach.iter_mut().rev().find(|active| active.shuts()) {
            active.hits += refused;
        }
    }

    /// Somebody has come to the port.
    pub(super) fn knocked(&mut self, key: Key) {
        if self.links.get(key).is_some_and(|link| !link.accepts_later) {
            self.accept(key);
        }
    }

    /// The pause in accepting is over.
    pub(super) fn accept_again(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key) {
            link.accepts_later = false;
            self.accept(key);
        }
    }

    /// Accepts after a pause; one alarm is enough, however many knock meanwhile.
    fn accept_later(&mut self, key: Key, pause: Duration) {
        let Some(link) = self.links.get_mut(key) else { return };
        if !std::mem::replace(&mut link.accepts_later, true) {
            self.tools.alarms.set(self.tools.clock.now() + pause, Alarm::AcceptAgain(key));
        }
    }

    /// Takes in the connections that wait at the port.
    pub(super) fn accept(&mut self, key: Key) {
        for _ in 0..ACCEPTS {
            let Some(link) = self.links.get(key).filter(|link| link.listens) else { return };
            match acceptfrom_with(link.listener.fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    let peer = peer.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
                    self.admit(key, socket, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(error) => {
                    link.shared.counters.accept_failed.add(1);
                    tracing::warn!(link = %link.shared.name, %error, "could not accept; trying again soon");
                    return self.accept_later(key, ACCEPT_PAUSE);
                }
            }
        }
        self.accept_later(key, Duration::ZERO);
    }

    /// Does with a new connection what the link's door says.
    fn admit(&mut self, link_key: Key, socket: OwnedFd, peer: SocketAddr) {
        let Some(link) = self.links.get_mut(link_key) else { return };
        let counters = &link.shared.counters;
        counters.accepted.add(1);
        let side = Side::new(socket);
        let door = link.regime.door;
        if matches!(door, Door::Reset | Door::Shut) {
            counters.faulted_connections.add(1);
            counters.closed(Closing::Fault);
            if let Some(active) = link.reach.iter_mut().rev().find(|active| active.resets() || active.shuts()) {
                active.hits += 1;
            }
            return side.abort();
        }
        let now = self.tools.clock.now();
        let number = link.next_number;
        link.next_number += 1;
        let key = self.connections.reserve();
        if let Err(error) = epoll::add(&self.epoll, side.fd(), Token::Client(key).pack(), SOCKET_EVENTS) {
            tracing::warn!(link = %link.shared.name, %error, "could not watch a connection");
            self.connections.release(key);
            return;
        }
        let mut connection = Box::new(Connection::new(link_key, number, peer, side, now));
        connection.member = link.members.len() as u32;
        link.members.push(key);
        link.shared.peers.opened(peer, number);
        link.shared.counters.open.add(1);
        if link.speaks_http {
            connection.tap = Some(Box::new(Tap::new()));
        }
        for toxic in &link.toxics {
            toxic.join(&mut connection, &mut self.tools, now);
        }
        link.govern(&mut connection, self.mechanism);
        let fate = if door == Door::Silent {
            link.shared.counters.faulted_connections.add(1);
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
        if self.mechanism == Mechanism::KernelDrop {
            let filter = if regime.door == Door::Silent { Filter::Silence } else { Filter::Open };
            link.listener.filter(filter, &link.shared.counters);
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
        let counters = &link.shared.counters;
        link.listener.count_drops(counters);
        let mut filtered = link.listener.is_filtered();
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
