//! Where the body of an answer is cut off by a reset.

use super::body::{Body, Mark};
use super::faults::HttpFaultId;
use crate::plan::fault::BodyShare;

/// Where a body is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abort {
    pub(super) fault: HttpFaultId,
    at: AbortAt,
}

#[derive(Clone, Copy, Debug)]
enum AbortAt {
    /// Behind so many more bytes.
    Bytes(u64),
    /// Behind the first chunk, or the first bytes where there are none.
    FirstChunk,
    /// Before the end, so that the body never looks whole.
    End,
}

impl Abort {
    /// For an answer with this body. A share of a length that is not announced is the first chunk, and all of it the
    /// end.
    pub(super) fn new(fault: HttpFaultId, share: BodyShare, body: &Body) -> Abort {
        let share = u128::from(share.0.min(1000));
        let at = match body {
            Body::Length(length) => AbortAt::Bytes((u128::from(*length) * share / 1000) as u64),
            Body::Chunked(_) | Body::UntilClose => match share {
                0 => AbortAt::Bytes(0),
                1000 => AbortAt::End,
                _ => AbortAt::FirstChunk,
            },
        };
        Abort { fault, at }
    }

    /// Whether no byte of the body passes.
    pub(super) fn is_at_once(&self) -> bool {
        matches!(self.at, AbortAt::Bytes(0))
    }

    /// How many of so many bytes may be read on.
    pub(super) fn limit(&self, bytes: usize) -> usize {
        match self.at {
            AbortAt::Bytes(left) => usize::try_from(left).map_or(bytes, |left| left.min(bytes)),
            AbortAt::FirstChunk | AbortAt::End => bytes,
        }
    }

    /// Whether the place is reached, after so many more bytes with this mark at their end.
    pub(super) fn is_reached(&mut self, read: usize, mark: Mark, body: &Body) -> bool {
        match &mut self.at {
            AbortAt::Bytes(left) => {
                *left = left.saturating_sub(read as u64);
                *left == 0
            }
            AbortAt::FirstChunk => {
                matches!(mark, Mark::Chunk | Mark::LastChunk) || (*body == Body::UntilClose && read > 0)
            }
            AbortAt::End => mark == Mark::LastChunk,
        }
    }
}
