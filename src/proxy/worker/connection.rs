//! One connection: two sockets, two pipes, and the stages of its life.

use std::net::SocketAddr;

use rustix::event::epoll::EventFlags;

use super::Tools;
use super::pipe::{Flushed, Pipe};
use super::side::{Got, Side};
use crate::clock::Moment;
use crate::proxy::chain::{BUDGET, Close};
use crate::proxy::counters::{Closing, Counters};
use crate::proxy::http::{HttpFaults, Passage, Tap, TapStep};
use crate::proxy::worker::slab::Key;

/// Bytes that one direction may move before others have their turn.
const FAIR_SHARE: usize = 1024 * 1024;

/// Below so many bytes that a tap need not see, splicing does not pay.
const WORTH_SPLICING: u64 = 256 * 1024;

/// One connection through a link.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) link: Key,
    /// Its number on its link, from 1.
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) opened: Moment,
    pub(crate) life: Life,
    pub(crate) client: Side,
    pub(crate) server: Option<Side>,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) tap: Option<Box<Tap>>,
    /// The alarm that is set for the tap.
    pub(crate) tap_alarm: Option<Moment>,
    /// What the tap wants after the client has got the bytes given out so far.
    last_word: Option<Close>,
    /// Requests wait until the client has read more of what the proxy answered.
    client_must_read: bool,
    /// Its place in its link's list.
    pub(crate) member: u32,
    /// It stands in the queue of those whose turn comes again.
    pub(crate) queued: bool,
    /// Why it ends, while it drains.
    pub(crate) closing: Closing,
}

/// The stages of a connection's life; it goes down this list, and may leave it at any stage.
#[derive(Debug)]
pub(crate) enum Life {
    /// Accepted on a silent link, and left alone.
    Withheld,
    /// The upstream's name is being looked up.
    Resolving,
    /// Dialling; these addresses are left to try.
    Dialing {
        /// In the resolver's order, reversed.
        rest: Vec<SocketAddr>,
    },
    /// Both sides stand.
    Open,
    /// The server side went away without a word.
    Orphaned,
    /// It was ended with FIN, mostly by a fault: what still comes in is thrown away, so that the kernel makes no RST of it.
    Draining,
}

impl Life {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Life::Withheld => "withheld",
            Life::Resolving | Life::Dialing { .. } => "dialing",
            Life::Open => "open",
            Life::Orphaned => "orphaned",
            Life::Draining => "draining",
        }
    }
}

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Client → server.
    Up,
    /// Server → client.
    Down,
}

impl Way {
    /// The other one.
    fn back(self) -> Way {
        match self {
            Way::Up => Way::Down,
            Way::Down => Way::Up,
        }
    }
}

/// What becomes of a connection after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for an event or an alarm.
    Waits,
    /// It has more to do, after others.
    Again,
    /// It ends with FIN both ways.
    Drains,
    /// It has ended; with RST unless both sides have had their FIN.
    Over(Closing),
}

impl Connection {
    pub(crate) fn new(link: Key, number: u64, peer: SocketAddr, client: Side, opened: Moment) -> Connection {
        Connection {
            link,
            number,
            peer,
            opened,
            life: Life::Withheld,
            client,
            server: None,
            up: Pipe::default(),
            down: Pipe::default(),
            tap: None,
            tap_alarm: None,
            last_word: None,
            client_must_read: false,
            member: 0,
            queued: false,
            closing: Closing::Fault,
        }
    }

    /// Takes note of an event on one side; says which directions have something to do now.
    pub(crate) fn note(&mut self, client: bool, flags: EventFlags) -> Todo {
        let side = if client { Some(&mut self.client) } else { self.server.as_mut() };
        let Some(side) = side else { return Todo::default() };
        let drains = side.note(flags);
        let reads = side.readable;
        if client { Todo { up: reads, down: drains } } else { Todo { up: drains, down: reads } }
    }

    pub(crate) fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// Moves all that can be moved.
    pub(crate) fn drive(
        &mut self,
        key: Key,
        todo: Todo,
        tools: &mut Tools,
        http: &mut HttpFaults,
        counters: &Counters,
    ) -> Fate {
        let mut todo = todo;
        let mut fate = Fate::Waits;
        while todo.up || todo.down {
            let way = if todo.up { Way::Up } else { Way::Down };
            match way {
                Way::Up => todo.up = false,
                Way::Down => todo.down = false,
            }
            match self.pump(key, way, &mut todo, tools, http, counters) {
                Fate::Waits => {}
                Fate::Again => fate = Fate::Again,
                over => return over,
            }
        }
        self.verdict().unwrap_or(fate)
    }

    /// Whether it is over, by what its pipes have come to.
    fn verdict(&self) -> Option<Fate> {
        if self.up.closed && self.down.closed && !self.up.has_failed() && !self.down.has_failed() {
            let flushed = self.client.is_flushed() && self.server.as_ref().is_none_or(Side::is_flushed);
            return flushed.then_some(Fate::Over(Closing::Fin));
        }
        if (self.up.has_failed() && !self.up.cut) || (self.down.has_failed() && !self.down.cut) {
            return Some(Fate::Over(Closing::Rst));
        }
        None
    }

    /// Moves what can be moved in one direction.
    fn pump(
        &mut self,
        key: Key,
        way: Way,
        todo: &mut Todo,
        tools: &mut Tools,
        http: &mut HttpFaults,
        counters: &Counters,
    ) -> Fate {
        let is_open = matches!(self.life, Life::Open);
        let Some(server) = &mut self.server else { return Fate::Waits };
        let (pipe, other, from, to, flow) = match way {
            Way::Up => (&mut self.up, &mut self.down, &mut self.client, server, &counters.up),
            Way::Down => (&mut self.down, &mut self.up, server, &mut self.client, &counters.down),
        };
        if pipe.cut {
            from.count_withheld(counters);
            return Fate::Waits;
        }
        let mut budget = FAIR_SHARE;
        loop {
            match pipe.flush(to, tools.clock, counters, flow, other.closed) {
                Flushed::Empty | Flushed::Held(None) => {}
                Flushed::Held(Some(until)) => tools.wake(&mut pipe.alarm, until, key, way),
                Flushed::Blocked(_) if from.failed => return Fate::Over(Closing::Rst),
                Flushed::Blocked(asks) => {
                    if let Some(at) = asks {
                        tools.wake(&mut pipe.alarm, at, key, way);
                    }
                    return Fate::Waits;
                }
                Flushed::Broken => return broken(pipe, other, todo, way),
                Flushed::Close(Close::Reset) => return Fate::Over(Closing::Fault),
                Flushed::Close(Close::Fin | Close::End) => return Fate::Drains,
            }
            if way == Way::Down && self.last_word.is_some() && pipe.holds_nothing() {
                match self.last_word {
                    Some(Close::Reset) => return Fate::Over(Closing::Fault),
                    Some(_) => return Fate::Drains,
                    None => {}
                }
            }
            // Only answers of the proxy can pile up beyond what a chain takes in: their requests wait then.
            if self.tap.is_some() {
                match way {
                    Way::Up if other.backlog() > BUDGET => {
                        self.client_must_read = true;
                        return Fate::Waits;
                    }
                    Way::Down if self.client_must_read && pipe.backlog() <= BUDGET => {
                        self.client_must_read = false;
                        todo.up = true;
                    }
                    Way::Up | Way::Down => {}
                }
            }
            if !from.readable || !is_open {
                return Fate::Waits;
            }
            // A client's handshake is answered when the upstream's has succeeded: so it learns how that went.
            if way == Way::Up && to.is_handshaking() {
                return if from.failed { Fate::Over(Closing::Rst) } else { Fate::Waits };
            }
            if !pipe.is_flowing() {
                // An error after the end of the stream is only seen by asking for it.
                if from.failed && from.error().is_some() {
                    return Fate::Over(Closing::Rst);
                }
                from.readable = false;
                return Fate::Waits;
            }
            if budget == 0 {
                return Fate::Again;
            }
            let mut room = pipe.room();
            let mut unseen = usize::MAX;
            if let Some(tap) = &self.tap {
                let opaque = if way == Way::Up { tap.opaque_up() } else { tap.opaque_down() };
                unseen = if opaque >= WORTH_SPLICING { usize::try_from(opaque).unwrap_or(usize::MAX) } else { 0 };
                if way == Way::Down {
                    room = room.min(tap.room_down());
                }
            }
            if room == 0 {
                return Fate::Waits;
            }
            if from.is_sealed() || to.is_sealed() {
                unseen = 0;
            }
            if pipe.wants_splice()
                && unseen > 0
                && let Some(got) = pipe.splice_in(from, unseen, tools, flow)
            {
                match got {
                    Got::Bytes(bytes) => {
                        budget = budget.saturating_sub(bytes);
                        match (&mut self.tap, way) {
                            (Some(tap), Way::Up) => tap.skipped_up(bytes as u64),
                            (Some(tap), Way::Down) => tap.skipped_down(bytes as u64),
                            (None, _) => {}
                        }
                    }
                    Got::Dry => {
                        pipe.rest(tools);
                        return Fate::Waits;
                    }
                    Got::End => {
                        pipe.rest(tools);
                        let failed = from.failed;
                        self.source_ended(way, failed, todo, key, tools);
                        return Fate::Waits;
                    }
                }
                continue;
            }
            let most = room.min(tools.buffer.len());
            let handshaking = from.is_handshaking();
            let got = from.read(&mut tools.buffer[..most]);
            if from.take_opened() {
                todo.also(way.back());
            }
            if way == Way::Down && handshaking && from.failed && to.is_handshaking() {
                counters.dial_failed.add(1);
                to.refuse_handshake_like(from);
                self.closing = Closing::Rst;
                return Fate::Drains;
            }
            if got == Got::End {
                to.leave_like(from);
            }
            match got {
                Got::Bytes(0) => continue,
                Got::Bytes(bytes) => {
                    budget = budget.saturating_sub(bytes);
                    flow.received.add(bytes as u64);
                    if let Some(tap) = &mut self.tap {
                        let now = tools.clock.now();
                        let passage = match way {
                            Way::Up => tap.up(&tools.buffer[..bytes], http, now),
                            Way::Down => tap.down(&tools.buffer[..bytes], http, now),
                        };
                        if passage == Passage::Taken {
                            self.run_tap(key, todo, tools);
                            todo.also(way);
                            return Fate::Waits;
                        }
                    }
                    match pipe.pass(&tools.buffer[..bytes], to, tools.clock, flow) {
                        Flushed::Broken => return broken(pipe, other, todo, way),
                        // The common case: all was read and written, and nothing is held anywhere.
                        _ if !from.readable && pipe.is_drained() => {
                            return Fate::Waits;
                        }
                        _ => {}
                    }
                }
                Got::Dry => return Fate::Waits,
                Got::End => {
                    let failed = from.failed;
                    self.source_ended(way, failed, todo, key, tools);
                    return Fate::Waits;
                }
            }
        }
    }

    /// The source of a direction has sent FIN, or RST.
    fn source_ended(&mut self, way: Way, failed: bool, todo: &mut Todo, key: Key, tools: &mut Tools) {
        let clock = tools.clock;
        todo.also(way);
        self.pipe(way).ended = true;
        match &mut self.tap {
            Some(tap) if !failed => {
                match way {
                    Way::Up => tap.finish_up(),
                    Way::Down => tap.finish_down(),
                }
                self.run_tap(key, todo, tools);
            }
            _ => self.pipe(way).finish(failed, || clock.now()),
        }
    }

    /// Does what the tap wants done.
    pub(crate) fn run_tap(&mut self, key: Key, todo: &mut Todo, tools: &mut Tools) {
        let Some(tap) = &mut self.tap else { return };
        let now = tools.clock.now();
        loop {
            match tap.next(now) {
                TapStep::Up(bytes) => {
                    self.up.offer(bytes, now);
                    todo.up = true;
                }
                TapStep::Down(bytes) => {
                    self.down.offer(bytes, now);
                    todo.down = true;
                }
                TapStep::FinUp => {
                    self.up.finish(false, || now);
                    todo.up = true;
                }
                TapStep::FinDown => {
                    self.down.finish(false, || now);
                    todo.down = true;
                }
                TapStep::End => {
                    self.last_word.get_or_insert(Close::End);
                    todo.down = true;
                }
                TapStep::Reset => {
                    self.last_word = Some(Close::Reset);
                    todo.down = true;
                }
                TapStep::Wait(until) => {
                    if let Some(until) = until {
                        tools.wake_tap(&mut self.tap_alarm, until, key);
                    }
                    return;
                }
            }
        }
    }

    /// Reads and throws away; true when both sides have ended.
    pub(crate) fn discard(&mut self, tools: &mut Tools) -> bool {
        let mut discard = |side: &mut Side, done: &mut bool| {
            side.flush_seal();
            // Bounded, so that a fast sender cannot hold up the thread.
            for _ in 0..16 {
                if *done || !side.readable {
                    return;
                }
                *done = side.read(&mut tools.buffer) == Got::End;
            }
        };
        discard(&mut self.client, &mut self.up.closed);
        match &mut self.server {
            Some(server) => discard(server, &mut self.down.closed),
            None => self.down.closed = true,
        }
        self.up.closed && self.down.closed
    }
}

/// The destination takes nothing any more: what it has still sent may pass, then both sides are reset.
fn broken(pipe: &mut Pipe, other: &mut Pipe, todo: &mut Todo, way: Way) -> Fate {
    pipe.give_up();
    if other.closed {
        return Fate::Over(Closing::Rst);
    }
    match way {
        Way::Up => todo.down = true,
        Way::Down => todo.up = true,
    }
    Fate::Waits
}

/// Directions that have something to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Todo {
    pub(crate) up: bool,
    pub(crate) down: bool,
}

impl Todo {
    pub(crate) const BOTH: Todo = Todo { up: true, down: true };

    fn also(&mut self, way: Way) {
        match way {
            Way::Up => self.up = true,
            Way::Down => self.down = true,
        }
    }
}
