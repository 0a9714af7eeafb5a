//! Kernel pipes that carry bytes from socket to socket without a copy through user space.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// How much one splice may move. The default pipe has 16 places, and a place holds a fragment of up to 32 KiB.
const MOST: usize = 512 * 1024;

/// How many idle pipes a thread keeps. The per-user limit is 16,384 pages of 4 KiB, 1,024 pipes, for everything.
const KEPT: usize = 32;

/// A pipe with the number of bytes that it holds.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

impl Pipe {
    /// Bytes taken from a source and not yet given to the destination.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Moves bytes in; the pipe must be empty, so that "would block" speaks of the socket. 0: end of stream.
    pub(crate) fn fill(&mut self, from: BorrowedFd<'_>, most: usize) -> Result<usize, Errno> {
        debug_assert_eq!(self.filled, 0);
        let moved = splice(from, None, &self.write, None, most.min(MOST), SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?;
        self.filled = moved;
        Ok(moved)
    }

    /// Moves bytes out.
    pub(crate) fn drain(&mut self, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let moved = splice(&self.read, None, to, None, self.filled, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?;
        self.filled -= moved;
        Ok(moved)
    }

    /// Takes bytes out into user space.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let read = rustix::io::read(&self.read, into)?;
        self.filled -= read;
        Ok(read)
    }
}

/// Idle pipes of one engine thread.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Vec<Pipe>,
}

impl Pool {
    /// An empty pipe; none if the system has none left, then bytes are copied.
    pub(crate) fn take(&mut self) -> Option<Pipe> {
        self.idle.pop().or_else(|| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            Some(Pipe { read, write, filled: 0 })
        })
    }

    /// Keeps an empty pipe for the next flow; one that still holds bytes is closed with them.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        if pipe.filled == 0 && self.idle.len() < KEPT {
            self.idle.push(pipe);
        }
    }
}
