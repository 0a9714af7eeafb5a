//! An engine thread: an epoll instance, the links and connections that it owns, and their alarms.
//!
//! A round trip through an idle-free link costs one wait, one read and one write a hop and nothing else: events are
//! edge-triggered and registered once, a short read means drained, and bytes are written straight from the one read
//! buffer that all connections of the thread share.
//!
//! ```text
//! loop { wait for events, alarms or orders ─▶ sockets ─▶ those whose turn comes again ─▶ alarms ─▶ orders }
//! ```

mod active;
mod connection;
mod dial;
mod links;
mod pipe;
mod port;
mod resolver;
mod seal;
mod side;
mod slab;
mod sleep;
mod splice;
mod strikes;
mod timers;

use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use self::connection::{Connection, Fate, Life, Todo, Way};
pub(crate) use self::links::{LinkState, Upstream};
pub(crate) use self::port::{Port, Post};
pub(crate) use self::resolver::Resolver;
pub(crate) use self::slab::Key;
use self::slab::Slab;
use self::sleep::Sleeper;
use self::timers::Timers;
use super::counters::Closing;
use super::shared::ConnectionInfo;
use crate::clock::{Moment, RunClock};
use crate::event::Mechanism;

/// Bytes that one read may bring. 64 KiB is the most that one segment carries over loopback.
const BUFFER: usize = 64 * 1024;

/// Events taken at once.
const EVENTS: usize = 256;

/// How long a side that was closed in good order may still send before it meets an RST.
const DRAIN: Duration = Duration::from_secs(1);

/// How long accepting pauses after it failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often segments dropped by filters are counted while there are any.
const DROPS_TICK: Duration = Duration::from_millis(100);

/// Something to do on an engine thread.
type Order = Box<dyn FnOnce(&mut Worker) + Send>;

/// The way to give orders to an engine thread, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    queue: Sender<Order>,
    bell: Arc<OwnedFd>,
}

impl Orders {
    /// Has something done; nothing if the thread has ended.
    pub(crate) fn send(&self, order: impl FnOnce(&mut Worker) + Send + 'static) {
        if self.queue.send(Box::new(order)).is_ok() {
            // It fails only if 2⁶⁴ orders are waiting.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// Has something done and waits for what comes of it; none if the thread has ended.
    pub(crate) fn ask<T: Send + 'static>(&self, order: impl FnOnce(&mut Worker) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        self.send(move |worker| {
            let _ = reply.send(order(worker));
        });
        answer.recv().ok()
    }
}

/// What every connection of a thread uses, one at a time.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) clock: RunClock,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) pipes: splice::Pool,
    alarms: Timers<Alarm>,
}

impl Tools {
    /// Wakes a pipe no later than this.
    fn wake(&mut self, set: &mut Option<Moment>, at: Moment, key: Key, way: Way) {
        if set.is_none_or(|earlier| at < earlier) {
            *set = Some(at);
            self.alarms.set(at, Alarm::Pipe(key, way));
        }
    }

    /// Wakes a tap no later than this.
    fn wake_tap(&mut self, set: &mut Option<Moment>, at: Moment, key: Key) {
        if set.is_none_or(|earlier| at < earlier) {
            *set = Some(at);
            self.alarms.set(at, Alarm::Tap(key));
        }
    }
}

/// What an alarm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Pipe(Key, Way),
    Tap(Key),
    DrainEnds(Key),
    AcceptAgain(Key),
    CountDrops(Key),
    /// A flap turns, or a share of the connections is dropped.
    Strike(Key, u64),
}

/// Whom an event concerns, packed into the 64 bits that the kernel keeps for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Bell,
    Listener(Key),
    Refusals(Key),
    Client(Key),
    Server(Key),
}

impl Token {
    const BELL: u64 = u64::MAX;

    fn pack(self) -> EventData {
        let (kind, key) = match self {
            Token::Bell => return EventData::new_u64(Token::BELL),
            Token::Client(key) => (0, key),
            Token::Server(key) => (1, key),
            Token::Listener(key) => (2, key),
            Token::Refusals(key) => (3, key),
        };
        EventData::new_u64(kind << 62 | u64::from(key.tenant) << 32 | u64::from(key.place))
    }

    fn unpack(data: u64) -> Token {
        if data == Token::BELL {
            return Token::Bell;
        }
        let key = Key { place: data as u32, tenant: (data >> 32) as u32 & 0x3fff_ffff };
        match data >> 62 {
            0 => Token::Client(key),
            1 => Token::Server(key),
            2 => Token::Listener(key),
            _ => Token::Refusals(key),
        }
    }
}

/// An engine thread's whole state.
pub(crate) struct Worker {
    epoll: OwnedFd,
    bell: Arc<OwnedFd>,
    queue: Receiver<Order>,
    sleeper: Sleeper,
    orders: Orders,
    resolver: Resolver,
    mechanism: Mechanism,
    tools: Tools,
    links: Slab<LinkState>,
    connections: Slab<Connection>,
    /// Connections whose turn comes again.
    again: Vec<Key>,
    ends: bool,
}

impl Worker {
    /// A worker, to be [`run`](Worker::run) on a thread of its own, and the way to give it orders.
    pub(crate) fn new(clock: RunClock, mechanism: Mechanism, resolver: Resolver) -> std::io::Result<(Worker, Orders)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Linux before 5.11 has no `epoll_pwait2`; that is told here, and not by a thread that cannot wait.
        epoll::wait(&epoll, spare_capacity(&mut Vec::with_capacity(1)), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &bell, Token::Bell.pack(), EventFlags::IN | EventFlags::ET)?;
        let (sender, queue) = channel();
        let orders = Orders { queue: sender, bell: Arc::clone(&bell) };
        let tools = Tools {
            clock,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            pipes: splice::Pool::default(),
            alarms: Timers::new(),
        };
        let worker = Worker {
            epoll,
            bell,
            queue,
            sleeper: Sleeper::default(),
            orders: orders.clone(),
            resolver,
            mechanism,
            tools,
            links: Slab::new(),
            connections: Slab::new(),
            again: Vec::new(),
            ends: false,
        };
        Ok((worker, orders))
    }

    /// Works until it is ordered to end.
    pub(crate) fn run(mut self) {
        // The default slack of 50 µs would be added to every toxic's delay.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut events = Vec::with_capacity(EVENTS);
        while !self.ends {
            events.clear();
            let patience = self.patience();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), patience.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "an engine thread cannot wait for events");
                    return;
                }
            }
            self.sleeper.woken(events.is_empty(), || self.tools.clock.now());
            let mut ordered = false;
            for event in &events {
                match Token::unpack(event.data.u64()) {
                    Token::Client(key) => self.on_socket(key, true, event.flags),
                    Token::Server(key) => self.on_socket(key, false, event.flags),
                    Token::Listener(link) => self.knocked(link),
                    Token::Refusals(link) => self.count_refusals(link),
                    Token::Bell => ordered = true,
                }
            }
            self.turn_again();
            self.ring();
            if ordered {
                self.obey();
            }
        }
    }

    /// How long it may sleep.
    fn patience(&mut self) -> Option<Timespec> {
        if !self.again.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let wait = self.sleeper.sleep(self.tools.alarms.next(), || self.tools.clock.now())?;
        Some(Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() })
    }

    fn on_socket(&mut self, key: Key, client: bool, flags: EventFlags) {
        let Some(mut connection) = self.connections.take(key) else { return };
        let todo = connection.note(client, flags);
        let fate = match connection.life {
            Life::Open => self.drive(key, &mut connection, todo),
            Life::Dialing { .. } if !client => self.dial_answered(key, &mut connection, flags),
            Life::Withheld | Life::Resolving | Life::Dialing { .. } => {
                Worker::waiting_client(&mut connection, &self.links)
            }
            Life::Orphaned => self.orphan_spoke(&mut connection),
            Life::Draining => self.drain(&mut connection),
        };
        self.settle(key, connection, fate);
    }

    /// Moves bytes.
    fn drive(&mut self, key: Key, connection: &mut Connection, todo: Todo) -> Fate {
        let Some(link) = self.links.get_mut(connection.link) else { return Fate::Over(Closing::Shutdown) };
        let counters = &link.counters;
        let fate = connection.drive(key, todo, &mut self.tools, &mut link.http, counters);
        if connection.tap.is_some() {
            link.count_requests();
        }
        fate
    }

    /// A client whose server side does not stand yet has sent something, or gone.
    fn waiting_client(connection: &mut Connection, links: &Slab<LinkState>) -> Fate {
        if matches!(connection.life, Life::Withheld)
            && let Some(link) = links.get(connection.link)
        {
            connection.client.count_withheld(&link.counters);
            return Fate::Waits;
        }
        if connection.client.failed { Fate::Over(Closing::Rst) } else { Fate::Waits }
    }

    /// Bytes for a server that is no longer there: withheld, and answered by RST when the fault is over.
    fn orphan_spoke(&mut self, connection: &mut Connection) -> Fate {
        let Some(link) = self.links.get(connection.link) else { return Fate::Over(Closing::Shutdown) };
        connection.client.count_withheld(&link.counters);
        let cut = connection.up.cut;
        if !cut && connection.client.readable { Fate::Over(Closing::Fault) } else { Fate::Waits }
    }

    fn drain(&mut self, connection: &mut Connection) -> Fate {
        if connection.discard(&mut self.tools) { Fate::Over(connection.closing) } else { Fate::Waits }
    }

    /// Does what a connection has come to.
    fn settle(&mut self, key: Key, mut connection: Box<Connection>, fate: Fate) {
        match fate {
            Fate::Waits => self.connections.put(key, connection),
            Fate::Again => {
                if !std::mem::replace(&mut connection.queued, true) {
                    self.again.push(key);
                }
                self.connections.put(key, connection);
            }
            Fate::Drains => self.start_draining(key, connection),
            Fate::Over(why) => self.end(key, connection, why),
        }
    }

    fn start_draining(&mut self, key: Key, mut connection: Box<Connection>) {
        self.collect_tallies(&connection);
        connection.life = Life::Draining;
        connection.client.finish();
        connection.client.readable = true;
        if let Some(server) = &mut connection.server {
            server.finish();
            server.readable = true;
        }
        connection.up.give_up();
        connection.down.give_up();
        (connection.up.closed, connection.down.closed) = (connection.up.ended, connection.down.ended);
        connection.tap = None;
        if connection.discard(&mut self.tools) {
            let closing = connection.closing;
            return self.end(key, connection, closing);
        }
        self.tools.alarms.set(self.tools.clock.now() + DRAIN, Alarm::DrainEnds(key));
        self.connections.put(key, connection);
    }

    /// Ends a connection that was taken out; its sockets close.
    fn end(&mut self, key: Key, connection: Box<Connection>, why: Closing) {
        self.connections.release(key);
        if !matches!(connection.life, Life::Draining) {
            self.collect_tallies(&connection);
        }
        let Connection { link, number, peer, member, life, mut client, server, .. } = *connection;
        if let Some(link) = self.links.get_mut(link) {
            let counters = &link.counters;
            counters.closed(why);
            counters.open.sub(1);
            client.count_drops(counters);
            let mut server = server;
            if let Some(server) = &mut server {
                server.count_drops(counters);
            }
            link.shared.peers.closed(peer, number, self.tools.clock.now());
            if let Some(moved) = link.forget(member)
                && let Some(connection) = self.connections.get_mut(moved)
            {
                connection.member = member;
            }
            if matches!(why, Closing::Rst | Closing::Fault) && !matches!(life, Life::Draining) {
                client.abort();
                if let Some(server) = server {
                    server.abort();
                }
            }
        }
    }

    /// Ends a connection, wherever it stands.
    fn end_by_key(&mut self, key: Key, why: Closing) {
        if let Some(connection) = self.connections.take(key) {
            self.end(key, connection, why);
        }
    }

    /// Gives those a turn that had more to do.
    fn turn_again(&mut self) {
        for key in std::mem::take(&mut self.again) {
            self.turn(key, Todo::BOTH);
        }
    }

    /// Gives one connection a turn.
    fn turn(&mut self, key: Key, todo: Todo) {
        let Some(mut connection) = self.connections.take(key) else { return };
        connection.queued = false;
        let fate = match connection.life {
            Life::Open | Life::Dialing { .. } => self.drive(key, &mut connection, todo),
            Life::Orphaned => self.orphan_spoke(&mut connection),
            Life::Draining => self.drain(&mut connection),
            Life::Withheld | Life::Resolving => Fate::Waits,
        };
        self.settle(key, connection, fate);
    }

    /// Does what alarms are set for.
    fn ring(&mut self) {
        if self.tools.alarms.next().is_none() {
            return;
        }
        let mut now = self.tools.clock.now();
        while let Some((at, alarm)) = self.tools.alarms.due(now) {
            match alarm {
                Alarm::Pipe(key, way) => {
                    let Some(connection) = self.connections.get_mut(key) else { continue };
                    let pipe = connection.pipe(way);
                    if pipe.alarm == Some(at) {
                        pipe.alarm = None;
                        self.turn(key, Todo { up: way == Way::Up, down: way == Way::Down });
                    }
                }
                Alarm::Tap(key) => self.wake_tap(key, at),
                Alarm::DrainEnds(key) => {
                    if let Some(connection) = self.connections.get(key)
                        && matches!(connection.life, Life::Draining)
                    {
                        let closing = connection.closing;
                        self.end_by_key(key, closing);
                    }
                }
                Alarm::AcceptAgain(link) => self.accept_again(link),
                Alarm::CountDrops(link) => self.drops_tick(link),
                Alarm::Strike(link, id) => self.strike_tick(link, id, at),
            }
            if self.tools.alarms.next().is_some_and(|next| next > now) {
                now = self.tools.clock.now();
            }
        }
    }

    fn wake_tap(&mut self, key: Key, at: Moment) {
        let Some(mut connection) = self.connections.take(key) else { return };
        let mut todo = Todo::default();
        if connection.tap_alarm == Some(at) {
            connection.tap_alarm = None;
            connection.run_tap(key, &mut todo, &mut self.tools);
        }
        let fate = self.drive(key, &mut connection, todo);
        self.settle(key, connection, fate);
    }

    /// Does what other threads have ordered.
    fn obey(&mut self) {
        let _ = rustix::io::read(self.bell.as_fd(), &mut [0u8; 8]);
        while let Ok(order) = self.queue.try_recv() {
            order(self);
        }
    }

    /// New connections of a link go elsewhere.
    pub(crate) fn set_upstream(&mut self, key: Key, upstream: Upstream) {
        if let Some(link) = self.links.get_mut(key) {
            link.upstream = upstream;
        }
    }

    /// A link's connections.
    pub(crate) fn connection_infos(&self, key: Key) -> Vec<ConnectionInfo> {
        let Some(link) = self.links.get(key) else { return Vec::new() };
        let connections = link.members.iter().filter_map(|&member| self.connections.get(member));
        connections
            .map(|connection| ConnectionInfo {
                number: connection.number,
                peer: connection.peer,
                opened: connection.opened,
                state: connection.life.name(),
            })
            .collect()
    }

    /// Ends after the present round; whatever it owns closes.
    pub(crate) fn stop(&mut self) {
        self.ends = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let key = Key { place: 7, tenant: 0x3fff_fffe };
        for token in [Token::Client(key), Token::Server(key), Token::Listener(key), Token::Refusals(key), Token::Bell] {
            assert_eq!(Token::unpack(token.pack().u64()), token);
        }
    }
}
