//! One direction of one connection: from its source's socket to its destination's.
//!
//! ```text
//!            ┌── nothing in the way: read and write, or splice ──┐
//! source ────┤                                                   ├──▶ pending ──▶ destination
//!            └── tap ──▶ chain of toxics (told the time) ────────┘   (only what the socket
//!                                                                      did not take)
//! ```
//!
//! Bytes wait at one place at a time, so their order needs no care: either in `pending` or in a splice pipe or in the
//! chain; a chain's output may be pending, and then goes first.

use bytes::{Buf, Bytes};

use super::side::{Got, Put, Side};
use super::{Tools, splice};
use crate::clock::{Moment, RunClock};
use crate::plan::fault::Toxic;
use crate::proxy::chain::{Chain, Close, Step, Tally, ToxicId};
use crate::proxy::counters::{Counters, Flow};
use crate::seed::Dice;

/// Continuous flow after which bytes are spliced. Setting a pipe up costs some 10 µs; 256 KiB repay it.
const SPLICE_AFTER: u32 = 256 * 1024;

/// Reads of at least this size count as continuous flow.
const LARGE: usize = 16 * 1024;

/// A read below this ends a continuous flow.
const SMALL: usize = 4 * 1024;

/// One direction of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Read, and not yet taken by the destination's socket.
    pending: Bytes,
    splice: Option<splice::Pipe>,
    chain: Option<Box<Chain>>,
    tally: Tally,
    /// Bytes of continuous flow so far.
    streak: u32,
    source: Source,
    /// The source has said all; what stands between may still have to pass that on.
    pub(crate) ended: bool,
    /// A reach fault withholds this direction.
    pub(crate) cut: bool,
    /// The end was passed on, or the destination takes nothing any more.
    pub(crate) closed: bool,
    /// The alarm that is set for the chain.
    pub(crate) alarm: Option<Moment>,
}

/// What the source may still send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Flowing,
    /// It sent FIN.
    Finished,
    /// It sent RST.
    Failed,
}

/// What became of bytes on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is held.
    Empty,
    /// The chain holds bytes back until this moment, or until something changes.
    Held(Option<Moment>),
    /// The destination's socket is full; the chain wants to be asked at this moment all the same.
    Blocked(Option<Moment>),
    /// The destination has failed.
    Broken,
    /// A toxic closes the connection.
    Close(Close),
}

impl Pipe {
    /// Whether a toxic or held bytes stand between source and destination.
    pub(crate) fn is_chained(&self) -> bool {
        self.chain.is_some()
    }

    /// Whether the source may still send.
    pub(crate) fn is_flowing(&self) -> bool {
        !self.ended && !self.closed
    }

    /// Whether all that was read has been written.
    pub(crate) fn is_drained(&self) -> bool {
        self.pending.is_empty() && self.chain.is_none() && self.splice.as_ref().is_none_or(|pipe| pipe.filled() == 0)
    }

    /// Whether nothing is held, be it that toxics stand ready.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.pending.is_empty()
            && self.chain.as_ref().is_none_or(|chain| chain.held() == 0)
            && self.splice.as_ref().is_none_or(|pipe| pipe.filled() == 0)
    }

    /// Bytes that wait in user space.
    pub(crate) fn backlog(&self) -> usize {
        self.pending.len() + self.chain.as_ref().map_or(0, |chain| chain.held())
    }

    /// Whether the source has reset the connection and every byte before that has left.
    pub(crate) fn has_failed(&self) -> bool {
        self.source == Source::Failed && (self.closed || self.is_drained())
    }

    /// Adds a toxic; what waits in a splice pipe or for a full socket is stamped now and passes through it.
    pub(crate) fn insert(&mut self, id: ToxicId, toxic: Toxic, dice: Dice, tools: &mut Tools, now: Moment) {
        if self.closed {
            return;
        }
        let fresh = self.chain.is_none();
        let chain = self.chain.get_or_insert_with(|| Box::new(Chain::new()));
        chain.insert(id, toxic, dice, now);
        if !fresh {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            chain.offer(pending, now);
        }
        if let Some(mut pipe) = self.splice.take() {
            while pipe.filled() > 0 {
                let Ok(read @ 1..) = pipe.read(&mut tools.buffer) else { break };
                chain.offer(Bytes::copy_from_slice(&tools.buffer[..read]), now);
            }
            tools.pipes.give_back(pipe);
        }
        if self.source != Source::Flowing {
            chain.finish(now);
        }
    }

    /// Gives a toxic other settings.
    pub(crate) fn update(&mut self, id: ToxicId, toxic: Toxic, now: Moment) {
        if let Some(chain) = &mut self.chain {
            chain.update(id, toxic, now);
        }
    }

    /// Removes a toxic; what it held leaves at the next flush.
    pub(crate) fn remove(&mut self, id: ToxicId, now: Moment) {
        if let Some(chain) = &mut self.chain {
            chain.remove(id, now);
        }
    }

    /// Whether this toxic stands here.
    pub(crate) fn carries(&self, id: ToxicId) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.tally_of(id).is_some())
    }

    /// What one toxic has done here.
    pub(crate) fn tally_of(&self, id: ToxicId) -> Tally {
        self.chain.as_ref().and_then(|chain| chain.tally_of(id)).unwrap_or_default()
    }

    /// Takes bytes that a tap gives out.
    pub(crate) fn offer(&mut self, bytes: Bytes, now: Moment) {
        if !self.closed {
            self.chain.get_or_insert_with(|| Box::new(Chain::new())).offer(bytes, now);
        }
    }

    /// The source has come to its end; the destination learns of it behind all bytes.
    pub(crate) fn finish(&mut self, failed: bool, now: impl FnOnce() -> Moment) {
        self.source = if failed { Source::Failed } else { Source::Finished };
        if let Some(chain) = &mut self.chain {
            chain.finish(now());
        }
    }

    /// The destination takes nothing any more: what waits is dropped.
    pub(crate) fn give_up(&mut self) {
        self.pending = Bytes::new();
        self.chain = None;
        self.splice = None;
        self.closed = true;
    }

    /// Writes what waits and may leave, in order. If the other direction has ended already, the sockets are about to
    /// be closed, which sends the FIN as well.
    pub(crate) fn flush(
        &mut self,
        to: &mut Side,
        clock: RunClock,
        counters: &Counters,
        flow: &Flow,
        other_ended: bool,
    ) -> Flushed {
        if !self.pending.is_empty() {
            match self.write_pending(to, flow) {
                Flushed::Empty => {}
                Flushed::Blocked(_) => return self.blocked(clock, counters),
                other => return other,
            }
        }
        if let Some(pipe) = &mut self.splice {
            while pipe.filled() > 0 {
                if !to.writable {
                    return Flushed::Blocked(None);
                }
                match pipe.drain(to.fd()) {
                    Ok(moved) => flow.sent.add(moved as u64),
                    Err(error) => {
                        if to.refused_write(error) == Put::Broken {
                            return Flushed::Broken;
                        }
                    }
                }
            }
        }
        if self.chain.is_some() {
            return self.flush_chain(to, clock, counters, flow);
        }
        if self.source == Source::Finished && !self.closed {
            if !other_ended || to.is_sealed() {
                to.finish();
            }
            self.closed = true;
        }
        Flushed::Empty
    }

    fn write_pending(&mut self, to: &mut Side, flow: &Flow) -> Flushed {
        while !self.pending.is_empty() {
            if !to.writable {
                return Flushed::Blocked(None);
            }
            match to.write(&self.pending) {
                Put::Bytes(written) => {
                    flow.sent.add(written as u64);
                    self.pending.advance(written);
                }
                Put::Broken => return Flushed::Broken,
            }
        }
        // A slice of nothing would keep its whole buffer alive.
        self.pending = Bytes::new();
        Flushed::Empty
    }

    fn flush_chain(&mut self, to: &mut Side, clock: RunClock, counters: &Counters, flow: &Flow) -> Flushed {
        let mut now = clock.now();
        let flushed = loop {
            let Some(chain) = &mut self.chain else { break Flushed::Empty };
            match chain.next(now) {
                Step::Send(bytes) => {
                    self.pending = bytes;
                    match self.write_pending(to, flow) {
                        Flushed::Empty => {}
                        Flushed::Blocked(_) => return self.blocked(clock, counters),
                        other => break other,
                    }
                }
                Step::Close(Close::Fin) if self.source == Source::Failed => {
                    self.drop_chain(counters);
                    return Flushed::Empty;
                }
                Step::Close(Close::Fin) => {
                    to.finish();
                    self.closed = true;
                }
                Step::Close(close) => break Flushed::Close(close),
                Step::Wait(until) => {
                    if chain.is_empty() {
                        self.drop_chain(counters);
                        // A chain that was emptied before its end was told has left that to us.
                        if self.source == Source::Finished && !self.closed {
                            to.finish();
                            self.closed = true;
                        }
                        return Flushed::Empty;
                    }
                    // What became due while we wrote leaves now, not after a round of the loop.
                    let later = clock.now();
                    if later > now && until.is_some_and(|until| until <= later) {
                        now = later;
                        continue;
                    }
                    break Flushed::Held(until);
                }
            }
        };
        self.count(counters);
        flushed
    }

    /// The destination is full: a toxic may end the connection all the same, now or later.
    fn blocked(&mut self, clock: RunClock, counters: &Counters) -> Flushed {
        self.count(counters);
        let Some(chain) = &mut self.chain else { return Flushed::Blocked(None) };
        match chain.ends_at() {
            Some(at) if at <= clock.now() => {
                let overdue = chain.overdue(clock.now());
                self.count(counters);
                overdue.map_or(Flushed::Blocked(None), Flushed::Close)
            }
            later => Flushed::Blocked(later),
        }
    }

    /// Brings the link's totals up to what the chain has done.
    fn count(&mut self, counters: &Counters) {
        if let Some(chain) = &self.chain {
            let tally = chain.tally();
            counters.altered_chunks.add(tally.altered_chunks.saturating_sub(self.tally.altered_chunks));
            self.tally = tally;
        }
    }

    fn drop_chain(&mut self, counters: &Counters) {
        self.count(counters);
        self.chain = None;
        self.tally = Tally::default();
    }

    /// How much may be read now.
    pub(crate) fn room(&self) -> usize {
        self.chain.as_ref().map_or(usize::MAX, |chain| chain.room())
    }

    /// Whether bytes are to be spliced: the flow is continuous, and nobody looks at it.
    pub(crate) fn wants_splice(&self) -> bool {
        self.streak >= SPLICE_AFTER && self.chain.is_none()
    }

    /// Takes bytes from the source into a kernel pipe; none if the system has no pipe left.
    pub(crate) fn splice_in(&mut self, from: &mut Side, most: usize, tools: &mut Tools, flow: &Flow) -> Option<Got> {
        if self.splice.is_none() {
            self.splice = tools.pipes.take();
        }
        let pipe = self.splice.as_mut()?;
        Some(match pipe.fill(from.fd(), most) {
            Ok(0) => from.end(),
            Ok(moved) => {
                flow.received.add(moved as u64);
                self.note_size(moved);
                Got::Bytes(moved)
            }
            Err(rustix::io::Errno::AGAIN) => from.dry(),
            Err(rustix::io::Errno::INTR) => Got::Bytes(0),
            Err(_) => from.fail(),
        })
    }

    /// An empty pipe goes back to the others.
    pub(crate) fn rest(&mut self, tools: &mut Tools) {
        if let Some(pipe) = self.splice.take_if(|pipe| pipe.filled() == 0) {
            tools.pipes.give_back(pipe);
        }
    }

    /// Passes bytes on that were just read: straight to the socket, or through the chain.
    pub(crate) fn pass(&mut self, bytes: &[u8], to: &mut Side, clock: RunClock, flow: &Flow) -> Flushed {
        self.note_size(bytes.len());
        if let Some(chain) = &mut self.chain {
            chain.offer(Bytes::copy_from_slice(bytes), clock.now());
            return Flushed::Empty;
        }
        match to.write(bytes) {
            Put::Bytes(written) => {
                flow.sent.add(written as u64);
                if written < bytes.len() {
                    self.pending = Bytes::copy_from_slice(&bytes[written..]);
                }
                Flushed::Empty
            }
            Put::Broken => Flushed::Broken,
        }
    }

    fn note_size(&mut self, bytes: usize) {
        if bytes >= LARGE {
            self.streak = self.streak.saturating_add(bytes as u32);
        } else if bytes < SMALL {
            self.streak = 0;
        }
    }
}
