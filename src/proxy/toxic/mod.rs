//! What one link does to bytes: a toxic is one file with its behaviour and its tests.
//!
//! # How to add one
//!
//! 1. Add its settings to [`plan::fault::Toxic`](crate::plan::fault::Toxic).
//! 2. Write its file here: a struct that implements [`Behaviour`], and tests with plain moments.
//! 3. Name it in [`behaviour`].
//!
//! A behaviour only decides; the [`Stage`](super::stage::Stage) around it keeps what is held, in order. So no toxic
//! can lose, double or reorder a byte unless it says so by its [`Answer`].

mod bandwidth;
mod chunk_loss;
mod corrupt;
mod latency;
mod limit_data;
mod packet_loss;
mod reset_peer;
mod slicer;
mod slow_close;
mod timeout;

use std::fmt::Debug;

use bytes::Bytes;

use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;

/// What one chain may hold: 16 MiB.
///
/// It is what a latency can have under way, so 100 ms pass a stream of up to 160 MB/s, and 10 MB pass in hardly more
/// than 100 ms. Slower toxics hold less ([`Behaviour::capacity`]), so that the
/// sender feels them.
pub const BUDGET: usize = 16 * 1024 * 1024;

/// How a chain closes, the softest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Close {
    /// This direction ends, behind all its bytes: a half-close.
    Fin,
    /// Both directions end, with FIN.
    End,
    /// RST to both sides, at once.
    Reset,
}

/// Bytes that were read together.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Never empty.
    pub(super) bytes: Bytes,
    /// When they were read, or left the toxic before. Delays count from here, so they add up once.
    pub(super) arrived: Moment,
}

/// What a toxic sees when it is asked about its front chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The chunk that would leave next.
    pub(super) front: &'a Chunk,
    /// All bytes held, those of the front among them.
    pub(super) held: usize,
    /// The present.
    pub(super) now: Moment,
}

/// What becomes of the front chunk.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Its first `len` bytes leave now; on the toxic's own time they left `at`, not later than now.
    Pass { len: usize, at: Moment },
    /// It leaves now with other bytes, as many.
    Change(Bytes),
    /// It is taken out of the stream.
    Withhold,
    /// It and all behind it are taken out of the stream, and the connection ends.
    End,
    /// It stays until this moment, or until the toxic changes.
    Wait(Option<Moment>),
}

impl Answer {
    /// The whole front leaves without delay.
    fn pass(view: View<'_>) -> Answer {
        Answer::Pass { len: view.front.bytes.len(), at: view.front.arrived }
    }
}

/// What a toxic without a need of its own may hold while the next one is full.
const PASSING: usize = 64 * 1024;

/// The decisions of one toxic in one direction of one connection.
///
/// It is told the time and never waits. Asked twice at the same moment without a chunk leaving in between it gives
/// the same answer, and a `Wait` always names a moment to come: that is what keeps the engine from spinning.
pub(super) trait Behaviour: Debug + Send {
    /// Takes other settings and keeps what it has counted; `false` if they are of another toxic.
    fn update(&mut self, toxic: &Toxic) -> bool;

    /// What becomes of the front chunk now.
    fn ask(&mut self, view: View<'_>, dice: &mut Dice) -> Answer;

    /// How many bytes may wait here before the source is no longer read.
    fn capacity(&self) -> usize {
        PASSING
    }

    /// When an orderly close that arrived at this moment goes on, behind all bytes, and as what.
    fn close(&self, close: Close, arrived: Moment) -> (Close, Moment) {
        (close, arrived)
    }

    /// Whether it has let pass all that it ever will, and ends the connection behind that.
    fn is_spent(&self) -> bool {
        false
    }

    /// When it ends the connection by itself, whatever the peers do, and how.
    fn ends(&self) -> Option<(Moment, Close)> {
        None
    }

    /// The close that its removal leaves behind, because bytes are missing.
    fn owes(&self) -> Option<Close> {
        None
    }
}

/// The behaviour of a toxic that strikes now.
pub(super) fn behaviour(toxic: &Toxic, now: Moment) -> Box<dyn Behaviour> {
    match *toxic {
        Toxic::Latency { add, jitter, law, correlation } => {
            Box::new(latency::Latency::new(add, jitter, law, correlation))
        }
        Toxic::Bandwidth { rate } => Box::new(bandwidth::Bandwidth::new(rate)),
        Toxic::PacketLoss { loss, correlation } => Box::new(packet_loss::PacketLoss::new(loss, correlation)),
        Toxic::ChunkLoss { loss, correlation } => Box::new(chunk_loss::ChunkLoss::new(loss, correlation)),
        Toxic::Slicer { size, variation, wait } => Box::new(slicer::Slicer::new(size, variation, wait)),
        Toxic::SlowClose { delay } => Box::new(slow_close::SlowClose::new(delay)),
        Toxic::Timeout { after } => Box::new(timeout::Timeout::new(after, now)),
        Toxic::ResetPeer { after } => Box::new(reset_peer::ResetPeer::new(after, now)),
        Toxic::LimitData { bytes } => Box::new(limit_data::LimitData::new(bytes)),
        Toxic::Corrupt { bytes } => Box::new(corrupt::Corrupt::new(bytes)),
    }
}

/// What chains of toxics are tested with: plain moments, and the engine's part played by a loop.
#[cfg(test)]
pub(super) mod rig {
    use std::str::FromStr;

    use super::super::chain::{Chain, Close, Step, ToxicId};
    use super::*;
    use crate::seed::Seed;
    use crate::units::{self, Share, Span};

    pub(crate) fn ms(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    pub(crate) fn span(text: &str) -> Span {
        Span::from_str(text).unwrap()
    }

    pub(crate) fn share(share: f64) -> Share {
        Share::new(share).unwrap()
    }

    pub(crate) fn latency(add: &str) -> Toxic {
        Toxic::Latency { add: span(add), jitter: Span::default(), law: Default::default(), correlation: Share::NONE }
    }

    pub(crate) fn bandwidth(rate: u64) -> Toxic {
        Toxic::Bandwidth { rate: units::ByteRate(rate) }
    }

    /// A chain of these toxics, injected at the start; their ids count from 0.
    pub(crate) fn chain(toxics: impl IntoIterator<Item = Toxic>) -> Chain {
        let mut chain = Chain::new();
        for (id, toxic) in (0..).zip(toxics) {
            chain.insert(ToxicId(id), toxic, Seed(7).stream(&format!("toxic/{id}")), Moment::START);
        }
        chain
    }

    /// What left a chain, and when.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Left {
        Bytes(Bytes),
        Close(Close),
    }

    /// Asks until the chain waits; at what moment it wants to be asked again.
    pub(crate) fn ask(chain: &mut Chain, now: Moment, left: &mut Vec<(Moment, Left)>) -> Option<Moment> {
        loop {
            match chain.next(now) {
                Step::Send(bytes) => left.push((now, Left::Bytes(bytes))),
                Step::Close(close) => left.push((now, Left::Close(close))),
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > now), "{now}: a wait until {until:?} would spin");
                    return until;
                }
            }
        }
    }

    /// Plays an engine that wakes exactly when asked to, until the chain waits for nothing before `end`.
    pub(crate) fn run(chain: &mut Chain, start: Moment, end: Moment) -> Vec<(Moment, Left)> {
        let mut left = Vec::new();
        let mut now = start;
        while let Some(until) = ask(chain, now, &mut left)
            && until <= end
        {
            now = until;
        }
        left
    }

    /// The bytes that left, put together.
    pub(crate) fn bytes(left: &[(Moment, Left)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (_, left) in left {
            if let Left::Bytes(bytes) = left {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    /// When how many bytes left, or how it closed.
    pub(crate) fn sizes(left: &[(Moment, Left)]) -> Vec<(Moment, usize)> {
        left.iter()
            .filter_map(|(at, left)| if let Left::Bytes(b) = left { Some((*at, b.len())) } else { None })
            .collect()
    }

    /// How it closed, and when.
    pub(crate) fn closes(left: &[(Moment, Left)]) -> Vec<(Moment, Close)> {
        left.iter().filter_map(|(at, left)| if let Left::Close(c) = left { Some((*at, *c)) } else { None }).collect()
    }
}
