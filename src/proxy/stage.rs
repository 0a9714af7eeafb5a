//! One toxic in a chain: what it holds, in order, and what its behaviour lets go.

use std::collections::VecDeque;

use super::toxic::{Answer, Behaviour, Chunk, Close, View, behaviour};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;

/// What a chunk costs beside its bytes, so that many small ones are bounded too: its place in the queue and its allocation.
const CHUNK_COST: usize = 64;

/// Below this the source is not read: a slow toxic would cost a system call for each few bytes that it lets go.
const SMALLEST_READ: usize = 16 * 1024;

/// A queue longer than this gives its memory back when it runs empty.
const KEPT_PLACES: usize = 32;

/// How many bytes may be offered where so much is held. Too few for a decent read are none.
pub(super) fn room(capacity: usize, cost: usize) -> usize {
    match capacity.saturating_sub(cost) {
        free if free < SMALLEST_READ.min(capacity) => 0,
        free => free,
    }
}

/// The name of a toxic on a link; the chains of all its connections use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToxicId(pub u64);

/// What toxics have done so far; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Chunks that were made to wait, cut or changed; a close held back counts as one.
    pub altered_chunks: u64,
    /// Bytes that were taken out of the stream for good.
    pub withheld_bytes: u64,
    /// Times that a toxic ended the connection.
    pub closes: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.altered_chunks += other.altered_chunks;
        self.withheld_bytes += other.withheld_bytes;
        self.closes += other.closes;
    }
}

/// Chunks that wait, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Held {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Held {
    pub(super) fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
    }

    pub(super) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.bytes.len();
        if self.chunks.is_empty() && self.chunks.capacity() > KEPT_PLACES {
            self.chunks = VecDeque::new();
        }
        Some(chunk)
    }

    /// Takes the first `len` bytes of the front chunk, all of it at most.
    fn split(&mut self, len: usize) -> Option<Chunk> {
        let front = self.chunks.front_mut()?;
        if len >= front.bytes.len() {
            return self.pop();
        }
        let bytes = front.bytes.split_to(len);
        self.bytes -= len;
        Some(Chunk { bytes, arrived: front.arrived })
    }

    /// Empties it; how many bytes that were.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it costs to hold all this.
    pub(super) fn cost(&self) -> usize {
        self.bytes + self.chunks.len() * CHUNK_COST
    }
}

/// What a stage gives out.
#[derive(Debug)]
pub(super) enum Out {
    /// This chunk goes on.
    Chunk(Chunk),
    /// The close goes on, stamped like a chunk; nothing follows it but a harder one.
    Close(Close, Moment),
    /// Nothing before this moment.
    Wait(Option<Moment>),
}

/// One toxic in a chain.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) id: ToxicId,
    pub(super) tally: Tally,
    pub(super) held: Held,
    /// It was not asked, since the next stage was full.
    pub(super) held_back: bool,
    behaviour: Box<dyn Behaviour>,
    dice: Dice,
    close: Option<(Close, Moment)>,
    /// Its toxic has ended the connection: nothing enters any more.
    ended: bool,
    /// The front chunk is already counted as altered.
    front_counted: bool,
}

impl Stage {
    pub(super) fn new(id: ToxicId, toxic: &Toxic, dice: Dice, now: Moment) -> Stage {
        Stage {
            id,
            tally: Tally::default(),
            held: Held::default(),
            held_back: false,
            behaviour: behaviour(toxic, now),
            dice,
            close: None,
            ended: false,
            front_counted: false,
        }
    }

    /// Other settings. Where they are of another toxic, this one's place, what it holds and what it owes stay.
    pub(super) fn update(&mut self, toxic: &Toxic, now: Moment) {
        if self.behaviour.update(toxic) {
            return;
        }
        if let Some(close) = self.behaviour.owes().filter(|_| !self.ended) {
            self.end(close, now);
        }
        self.behaviour = behaviour(toxic, now);
    }

    /// Takes what the stage before gives out, or what was read.
    pub(super) fn enter(&mut self, chunk: Chunk) {
        if self.ended {
            self.tally.withheld_bytes += chunk.bytes.len() as u64;
        } else {
            self.held.push(chunk);
        }
    }

    /// Takes a close, behind what is held. A harder one replaces one that waits.
    pub(super) fn enter_close(&mut self, close: Close, at: Moment) {
        let at = self.close.map_or(at, |(_, earlier)| earlier);
        if self.close.is_none_or(|(waiting, _)| close > waiting) {
            self.close = Some((close, at));
        }
    }

    /// How many bytes may enter.
    pub(super) fn room(&self) -> usize {
        room(self.behaviour.capacity(), self.held.cost())
    }

    /// Whether the stage before has to hold back.
    pub(super) fn is_full(&self) -> bool {
        self.held.cost() >= self.behaviour.capacity()
    }

    /// When its toxic ends the connection by itself; none once it has.
    pub(super) fn ends(&self) -> Option<(Moment, Close)> {
        if self.ended { None } else { self.behaviour.ends() }
    }

    /// Whether its toxic has ended the connection, so that nothing need come any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Its toxic ends the connection: what is held is gone, and a close follows what already left.
    pub(super) fn end(&mut self, close: Close, now: Moment) {
        self.ended = true;
        self.tally.closes += 1;
        self.tally.withheld_bytes += self.held.clear() as u64;
        self.front_counted = false;
        self.enter_close(close, now);
    }

    /// The close that its removal leaves behind: one that waits, or one that the toxic owes.
    pub(super) fn left_behind(&self) -> Option<Close> {
        let waiting = self.close.map(|(close, _)| close);
        if self.ended { waiting } else { waiting.max(self.behaviour.owes()) }
    }

    /// Whether its removal loses the connection, for bytes are missing.
    pub(super) fn owes(&self) -> bool {
        !self.ended && self.behaviour.owes().is_some()
    }

    /// What leaves next.
    pub(super) fn next(&mut self, now: Moment) -> Out {
        loop {
            if !self.ended && self.behaviour.is_spent() {
                self.end(Close::End, now);
            }
            let Some(front) = self.held.chunks.front() else { return self.next_close(now) };
            let (len, arrived) = (front.bytes.len(), front.arrived);
            let answer = self.behaviour.ask(View { front, held: self.held.bytes, now }, &mut self.dice);
            match answer {
                Answer::Pass { len: taken, at } => {
                    let taken = taken.clamp(1, len);
                    let at = at.min(now).max(arrived);
                    let altered = taken < len || at > arrived;
                    self.count_front(altered);
                    self.front_counted &= taken < len;
                    if let Some(chunk) = self.held.split(taken) {
                        return Out::Chunk(Chunk { arrived: at, ..chunk });
                    }
                }
                Answer::Change(bytes) => {
                    self.count_front(true);
                    self.front_counted = false;
                    self.held.pop();
                    return Out::Chunk(Chunk { bytes, arrived });
                }
                Answer::Withhold => {
                    self.held.pop();
                    self.front_counted = false;
                    self.tally.withheld_bytes += len as u64;
                }
                Answer::End => self.end(Close::End, now),
                Answer::Wait(until) => {
                    self.count_front(true);
                    return Out::Wait(until);
                }
            }
        }
    }

    fn next_close(&mut self, now: Moment) -> Out {
        let Some((close, arrived)) = self.close else { return Out::Wait(None) };
        match self.behaviour.close(close, arrived) {
            (_, at) if at > now => {
                if !std::mem::replace(&mut self.front_counted, true) {
                    self.tally.altered_chunks += 1;
                }
                Out::Wait(Some(at))
            }
            (close, at) => {
                self.close = None;
                self.front_counted = false;
                Out::Close(close, at)
            }
        }
    }

    /// Counts the front chunk as altered, once.
    fn count_front(&mut self, altered: bool) {
        if altered && !self.front_counted {
            self.front_counted = true;
            self.tally.altered_chunks += 1;
        }
    }
}
