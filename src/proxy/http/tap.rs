//! The tap on one connection: reads both directions, and lets its link's faults do their work.

use bytes::Bytes;

use super::{HttpFaultId, HttpFaults};
use crate::clock::Moment;

/// What becomes of bytes shown to the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They pass as they are; nothing else is waiting in the tap for that direction.
    Whole,
    /// The tap has taken them; [`Tap::next`] says what passes.
    Taken,
}

/// What the tap wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapStep {
    /// These bytes go on towards the upstream.
    Up(Bytes),
    /// These bytes go on towards the client.
    Down(Bytes),
    /// The client's FIN goes on, behind its bytes.
    FinUp,
    /// The upstream's FIN goes on, behind its bytes.
    FinDown,
    /// Both directions end with FIN, behind the bytes given out so far.
    End,
    /// RST to both sides, when the bytes given out so far have been written to the client.
    Reset,
    /// Nothing before this moment, or before the next call of another method.
    Wait(Option<Moment>),
}

/// The tap on one connection. Idle, it owns no buffer.
#[derive(Debug, Default)]
pub struct Tap {
    fin_up: bool,
    fin_down: bool,
}

impl Tap {
    /// For a connection just accepted on a link that speaks HTTP/1.
    pub fn new() -> Tap {
        Tap::default()
    }

    /// Reads bytes from the client.
    pub fn up(&mut self, _bytes: &[u8], _faults: &mut HttpFaults, _now: Moment) -> Passage {
        Passage::Whole
    }

    /// Reads bytes from the upstream.
    pub fn down(&mut self, _bytes: &[u8], _faults: &mut HttpFaults, _now: Moment) -> Passage {
        Passage::Whole
    }

    /// The client has sent FIN. Its passing on comes out of [`Tap::next`].
    pub fn finish_up(&mut self) {
        self.fin_up = true;
    }

    /// The upstream has sent FIN. Its passing on comes out of [`Tap::next`].
    pub fn finish_down(&mut self) {
        self.fin_down = true;
    }

    /// A fault is no longer in force: what it holds here leaves, what it planned is dropped.
    pub fn healed(&mut self, _id: HttpFaultId) {}

    /// How many bytes of the upstream may be shown now; 0: do not read, so that the upstream feels it.
    pub fn room_down(&self) -> usize {
        usize::MAX
    }

    /// Bytes from the client that need not be shown, such as the rest of a body: they may take a faster way (splice)
    /// and are told by [`Tap::skipped_up`]. [`u64::MAX`]: no byte of this direction will ever be looked at again.
    pub fn opaque_up(&self) -> u64 {
        0
    }

    /// The same towards the client; told by [`Tap::skipped_down`].
    pub fn opaque_down(&self) -> u64 {
        0
    }

    /// So many bytes of the client went round the tap; at most [`Tap::opaque_up`].
    pub fn skipped_up(&mut self, _bytes: u64) {}

    /// So many bytes of the upstream went round the tap; at most [`Tap::opaque_down`].
    pub fn skipped_down(&mut self, _bytes: u64) {}

    /// What to do now; to be called until it says [`TapStep::Wait`], whenever [`Passage::Taken`] was answered, after
    /// `finish_*` and `healed`, and at the moment that it waits for.
    pub fn next(&mut self, _now: Moment) -> TapStep {
        if std::mem::take(&mut self.fin_up) {
            TapStep::FinUp
        } else if std::mem::take(&mut self.fin_down) {
            TapStep::FinDown
        } else {
            TapStep::Wait(None)
        }
    }
}
