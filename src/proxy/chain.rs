//! One direction of one connection: bytes in, bytes out, and the toxics between, told the time.
//!
//! ```text
//! offer ──▶ stage ──▶ stage ──▶ … ──▶ released ──▶ next
//!           holds,    holds,          what removed toxics held;
//!           decides   decides         it has left the chain
//! ```
//!
//! A chain is pure: it neither reads a clock nor moves a byte through a socket. So tests play it with plain moments
//! and assert equality.
//!
//! Memory is bounded: `room` says how much may be offered, and with it a chain never holds more than
//! [`BUDGET`] bytes, each chunk counted with what it costs beside its bytes.

use bytes::Bytes;

use super::stage::{Held, Out, Stage, room};
pub use super::stage::{Tally, ToxicId};
use super::toxic::Chunk;
pub use super::toxic::{BUDGET, Close};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;

/// What to do next for one direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes, then ask again.
    Send(Bytes),
    /// Close, then ask again: after [`Close::Fin`] a toxic may still want to end the whole connection.
    Close(Close),
    /// Nothing before this moment, or before the next call of another method.
    Wait(Option<Moment>),
}

/// Where a chain is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    /// The source may still send.
    #[default]
    Open,
    /// The source has sent FIN.
    Finished,
    /// A toxic ends the connection: what still comes is of no use, what already left the toxic goes out first.
    Ending,
    /// [`Close::End`] or [`Close::Reset`] has been given out.
    Over,
}

/// The toxics of one direction of one connection, in order of injection, and what they hold.
#[derive(Debug, Default)]
pub struct Chain {
    stages: Vec<Stage>,
    released: Held,
    /// The close that has passed all stages; it goes out behind `released`.
    closing: Option<Close>,
    life: Life,
    /// The latest moment told, so that time never runs backwards.
    now: Moment,
    /// What removed toxics had done.
    past: Tally,
}

impl Chain {
    /// A chain without toxics.
    pub fn new() -> Chain {
        Chain::default()
    }

    /// Whether there is neither a toxic nor anything held: bytes may take a faster way round the chain.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.released.is_empty() && self.closing.is_none()
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.stages.iter().map(|stage| stage.held.bytes()).sum::<usize>() + self.released.bytes()
    }

    /// Adds a toxic at the end of the chain; what earlier ones hold will pass through it.
    pub fn insert(&mut self, id: ToxicId, toxic: Toxic, dice: Dice, now: Moment) {
        let now = self.at(now);
        if self.life == Life::Over {
            return;
        }
        self.stages.push(Stage::new(id, &toxic, dice, now));
    }

    /// Gives a toxic other settings, which also count for what it holds; what it has counted, and since when, stays.
    pub fn update(&mut self, id: ToxicId, toxic: Toxic, now: Moment) {
        let now = self.at(now);
        let index = self.stages.iter().position(|stage| stage.id == id);
        let Some(index) = index.filter(|_| self.life != Life::Over) else { return };
        let had_ended = self.stages[index].has_ended();
        self.stages[index].update(&toxic, now);
        if !had_ended && self.stages[index].has_ended() {
            self.end_before(index);
        }
    }

    /// Removes a toxic: what it held leaves at once, in order. One that lost bytes leaves a close behind.
    pub fn remove(&mut self, id: ToxicId, now: Moment) {
        let now = self.at(now);
        let Some(index) = self.stages.iter().position(|stage| stage.id == id) else { return };
        let mut stage = self.stages.remove(index);
        if self.life == Life::Over {
            self.past += stage.tally;
            return;
        }
        if stage.owes() {
            stage.tally.closes += 1;
            self.end_before(index);
        }
        self.past += stage.tally;
        let close = stage.left_behind();
        match self.stages.get_mut(index) {
            Some(next) => {
                while let Some(chunk) = stage.held.pop() {
                    next.enter(Chunk { arrived: now, ..chunk });
                }
                if let Some(close) = close {
                    next.enter_close(close, now);
                }
            }
            None => {
                while let Some(chunk) = stage.held.pop() {
                    self.released.push(chunk);
                }
                self.closing = self.closing.max(close);
            }
        }
    }

    /// How many bytes may be offered now; 0: do not read, so that the sender feels it.
    pub fn room(&self) -> usize {
        if self.life != Life::Open {
            return 0;
        }
        let cost = self.stages.iter().map(|stage| stage.held.cost()).sum::<usize>() + self.released.cost();
        let free = room(BUDGET, cost);
        self.stages.first().map_or(free, |first| free.min(first.room()))
    }

    /// Takes bytes that have just been read.
    pub fn offer(&mut self, bytes: Bytes, now: Moment) {
        let arrived = self.at(now);
        if bytes.is_empty() {
            return;
        }
        match self.life {
            Life::Open => match self.stages.first_mut() {
                Some(first) => first.enter(Chunk { bytes, arrived }),
                None => self.released.push(Chunk { bytes, arrived }),
            },
            Life::Finished | Life::Ending | Life::Over => self.past.withheld_bytes += bytes.len() as u64,
        }
    }

    /// The source has sent FIN.
    pub fn finish(&mut self, now: Moment) {
        let now = self.at(now);
        if self.life != Life::Open {
            return;
        }
        self.life = Life::Finished;
        match self.stages.first_mut() {
            Some(first) => first.enter_close(Close::Fin, now),
            None => self.closing = Some(Close::Fin),
        }
    }

    /// What to do now; to be called until it says [`Step::Wait`].
    pub fn next(&mut self, now: Moment) -> Step {
        let now = self.at(now);
        if self.life == Life::Over {
            return Step::Wait(None);
        }
        if self.strike(now) == Some(Close::Reset) {
            return self.over(Close::Reset);
        }
        if let Some(chunk) = self.released.pop() {
            return Step::Send(chunk.bytes);
        }
        let step = if self.closing == Some(Close::End) { Step::Wait(None) } else { self.pump(now) };
        match (step, self.closing) {
            (Step::Wait(_), Some(Close::Fin)) => {
                self.closing = None;
                Step::Close(Close::Fin)
            }
            (Step::Wait(_), Some(close)) => self.over(close),
            (step, _) => step,
        }
    }

    /// The moment at which a toxic ends the connection whatever its peers do.
    ///
    /// An engine that cannot write, and so has stopped asking [`Chain::next`], calls [`Chain::overdue`] then.
    pub fn ends_at(&self) -> Option<Moment> {
        let ends = self.stages.iter().filter_map(|stage| stage.ends().map(|(at, _)| at)).min();
        ends.filter(|&at| at != NEVER && self.life != Life::Over)
    }

    /// The close that is due though the peer does not take what came before it; nothing is held afterwards.
    pub fn overdue(&mut self, now: Moment) -> Option<Close> {
        let now = self.at(now);
        if self.life == Life::Over {
            return None;
        }
        let close = self.strike(now)?;
        self.over(close);
        Some(close)
    }

    /// What the toxics of this chain have done so far, those already removed included.
    pub fn tally(&self) -> Tally {
        let mut tally = self.past;
        for stage in &self.stages {
            tally += stage.tally;
        }
        tally
    }

    /// What one of its toxics has done so far.
    pub fn tally_of(&self, id: ToxicId) -> Option<Tally> {
        self.stages.iter().find(|stage| stage.id == id).map(|stage| stage.tally)
    }

    /// Lets toxics whose time has come end the connection; the hardest close among them.
    fn strike(&mut self, now: Moment) -> Option<Close> {
        let mut hardest = None;
        for index in 0..self.stages.len() {
            if let Some((at, close)) = self.stages[index].ends()
                && at <= now
            {
                self.stages[index].end(close, now);
                self.end_before(index);
                hardest = hardest.max(Some(close));
            }
        }
        hardest
    }

    /// Moves what may leave from stage to stage until something leaves the last one, or nothing moves.
    fn pump(&mut self, now: Moment) -> Step {
        loop {
            let mut wake = self.ends_at();
            let mut again = false;
            for index in 0..self.stages.len() {
                loop {
                    self.stages[index].held_back = self.stages.get(index + 1).is_some_and(Stage::is_full);
                    if self.stages[index].held_back {
                        break;
                    }
                    let had_ended = self.stages[index].has_ended();
                    let out = self.stages[index].next(now);
                    if !had_ended && self.stages[index].has_ended() {
                        self.end_before(index);
                        again = true;
                    }
                    match (out, self.stages.get_mut(index + 1)) {
                        (Out::Chunk(chunk), Some(next)) => next.enter(chunk),
                        (Out::Chunk(chunk), None) => return Step::Send(chunk.bytes),
                        (Out::Close(close, at), Some(next)) => next.enter_close(close, at),
                        (Out::Close(close, _), None) => self.closing = self.closing.max(Some(close)),
                        (Out::Wait(until), _) => {
                            wake = earliest(wake, until);
                            break;
                        }
                    }
                }
            }
            // A stage that was held back may have room now; one that ended has freed those before it.
            again |= self.stages.windows(2).any(|two| two[0].held_back && !two[1].is_full());
            if !again {
                debug_assert!(wake.is_none_or(|wake| wake > now), "a toxic waits for the past");
                return Step::Wait(wake);
            }
        }
    }

    /// A toxic has ended the connection: what stages before it hold is of no use any more.
    fn end_before(&mut self, index: usize) {
        self.life = Life::Ending;
        for stage in &mut self.stages[..index] {
            stage.tally.withheld_bytes += stage.held.clear() as u64;
        }
    }

    /// Gives out the last close and forgets everything held; what each toxic has done can still be asked.
    fn over(&mut self, close: Close) -> Step {
        self.life = Life::Over;
        for stage in &mut self.stages {
            stage.tally.withheld_bytes += stage.held.clear() as u64;
        }
        self.past.withheld_bytes += self.released.clear() as u64;
        self.closing = None;
        Step::Close(close)
    }

    /// The moment told, never earlier than one told before.
    fn at(&mut self, now: Moment) -> Moment {
        self.now = self.now.max(now);
        self.now
    }
}

/// A delay beyond all bounds ends here; nobody waits for it.
const NEVER: Moment = Moment(u64::MAX);

fn earliest(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    match (a, b.filter(|&b| b != NEVER)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod properties;
