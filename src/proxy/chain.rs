//! One direction of one connection: bytes in, bytes out, and the toxics between, told the time.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;

/// The name of a toxic on a link; chains of all its connections use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToxicId(pub u64);

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

/// How a chain closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// This direction ends, behind all its bytes: a half-close.
    Fin,
    /// Both directions end, with FIN.
    End,
    /// RST to both sides, at once.
    Reset,
}

/// What toxics have done so far; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Chunks that were made to wait, cut or changed.
    pub altered_chunks: u64,
    /// Bytes that were taken out of the stream for good.
    pub withheld_bytes: u64,
    /// Connections closed by a toxic.
    pub closes: u64,
}

/// The toxics of one direction of one connection, in order of injection, and what they hold.
#[derive(Debug, Default)]
pub struct Chain {
    leaving: VecDeque<Bytes>,
    closing: Option<Close>,
}

impl Chain {
    /// A chain without toxics.
    pub fn new() -> Chain {
        Chain::default()
    }

    /// Whether there is neither a toxic nor anything held: bytes may take a faster way round the chain.
    pub fn is_empty(&self) -> bool {
        self.leaving.is_empty() && self.closing.is_none()
    }

    /// Adds a toxic at the end of the chain; what earlier ones hold will pass through it.
    pub fn insert(&mut self, _id: ToxicId, _toxic: Toxic, _dice: Dice, _now: Moment) {}

    /// Gives a toxic other settings; what it has counted and when it began stay.
    pub fn update(&mut self, _id: ToxicId, _toxic: Toxic, _now: Moment) {}

    /// Removes a toxic: what it held leaves at once, in order. One that lost bytes owes a close instead.
    pub fn remove(&mut self, _id: ToxicId, _now: Moment) {}

    /// How many bytes may be offered now; 0: do not read, so that the sender feels it.
    pub fn room(&self) -> usize {
        64 * 1024
    }

    /// Takes bytes that have just been read.
    pub fn offer(&mut self, bytes: Bytes, _now: Moment) {
        self.leaving.push_back(bytes);
    }

    /// The source has sent FIN.
    pub fn finish(&mut self, _now: Moment) {
        self.closing = Some(Close::Fin);
    }

    /// What to do now; to be called until it says [`Step::Wait`].
    pub fn next(&mut self, _now: Moment) -> Step {
        match self.leaving.pop_front() {
            Some(bytes) => Step::Send(bytes),
            None => self.closing.take().map_or(Step::Wait(None), Step::Close),
        }
    }

    /// What the toxics of this chain have done so far, those already removed included.
    pub fn tally(&self) -> Tally {
        Tally::default()
    }

    /// What one of its toxics has done so far.
    pub fn tally_of(&self, _id: ToxicId) -> Option<Tally> {
        None
    }
}
