//! What waits for its way to the client: bytes, delays, and how it ends.

use std::collections::VecDeque;

use bytes::Bytes;

use super::faults::HttpFaultId;
use super::inbox::Inbox;
use crate::clock::Moment;

/// Bytes for the client, in order, and what is to happen between them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// One thing for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// Nothing behind it leaves before that moment.
    Until(Moment, HttpFaultId),
    Reset,
    End,
}

impl Outbox {
    /// Puts bytes behind all else.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.pieces.push_back(Piece::Bytes(bytes));
        }
    }

    /// Puts everything behind all else that has passed of a read so far.
    pub(super) fn push_all(&mut self, inbox: &mut Inbox<'_>) {
        for bytes in inbox.take() {
            self.push(bytes);
        }
    }

    /// Puts a delay or an end behind all else.
    pub(super) fn mark(&mut self, piece: Piece) {
        self.pieces.push_back(piece);
    }

    /// What leaves now; the moment to wait for where something is held; none where nothing is.
    pub(super) fn next(&mut self, now: Moment) -> Option<Result<Piece, Moment>> {
        loop {
            if let Piece::Until(until, _) = self.pieces.front()?
                && *until > now
            {
                return Some(Err(*until));
            }
            match self.pieces.pop_front()? {
                Piece::Until(..) => {}
                piece => {
                    if let Piece::Bytes(bytes) = &piece {
                        self.bytes -= bytes.len();
                    }
                    return Some(Ok(piece));
                }
            }
        }
    }

    /// A fault was healed: it delays nothing any more.
    pub(super) fn forget(&mut self, id: HttpFaultId) {
        self.pieces.retain(|piece| !matches!(piece, Piece::Until(_, fault) if *fault == id));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
