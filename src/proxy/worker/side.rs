//! One of the two sockets of a connection, with what its engine thread knows of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::proxy::counters::Counters;
use crate::proxy::kernel::{self, Filter};

/// A non-blocking socket, and what edge-triggered events have told of it so far.
#[derive(Debug)]
pub(crate) struct Side {
    socket: OwnedFd,
    /// There may be bytes, an end or an error to read.
    pub(crate) readable: bool,
    /// The last write was not cut short.
    pub(crate) writable: bool,
    /// The peer has sent FIN: after a short read there is more to learn.
    hung_up: bool,
    /// The last bytes before the FIN have been read.
    at_end: bool,
    /// The peer has sent RST, or the socket has failed otherwise.
    pub(crate) failed: bool,
    filter: Filter,
    drops_seen: u32,
    unread_seen: u64,
}

impl Side {
    pub(crate) fn new(socket: OwnedFd) -> Side {
        Side {
            socket,
            readable: false,
            writable: true,
            hung_up: false,
            at_end: false,
            failed: false,
            filter: Filter::Open,
            drops_seen: 0,
            unread_seen: 0,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes note of an event; true if the socket takes bytes again after it was full.
    pub(crate) fn note(&mut self, flags: EventFlags) -> bool {
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.readable = true;
            self.hung_up |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
            self.failed |= flags.contains(EventFlags::ERR);
        }
        let drains = !self.writable && flags.contains(EventFlags::OUT);
        self.writable |= drains;
        drains
    }

    /// Reads once; a short read means that there is nothing more for now, without asking again.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Got {
        if self.at_end {
            return self.end();
        }
        let room = into.len();
        match rustix::net::recv(&self.socket, into, RecvFlags::empty()) {
            Ok((_, 0)) => self.end(),
            Ok((_, bytes)) => {
                if bytes < room {
                    // Behind a FIN that has arrived already nothing can follow: no need to ask.
                    self.at_end = self.hung_up && !self.failed;
                    self.readable = self.hung_up;
                }
                Got::Bytes(bytes)
            }
            Err(Errno::AGAIN) => self.dry(),
            Err(Errno::INTR) => Got::Bytes(0),
            Err(_) => self.fail(),
        }
    }

    /// There is nothing to read for now.
    pub(crate) fn dry(&mut self) -> Got {
        self.readable = false;
        Got::Dry
    }

    /// The stream has ended.
    pub(crate) fn end(&mut self) -> Got {
        self.readable = false;
        Got::End
    }

    /// The peer has reset the connection.
    pub(crate) fn fail(&mut self) -> Got {
        self.readable = false;
        self.failed = true;
        Got::End
    }

    /// Writes once.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Put {
        match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(written) => {
                if written < bytes.len() {
                    self.writable = false;
                }
                Put::Bytes(written)
            }
            Err(error) => self.refused_write(error),
        }
    }

    /// What a failed write means.
    pub(crate) fn refused_write(&mut self, error: Errno) -> Put {
        match error {
            Errno::AGAIN => {
                self.writable = false;
                Put::Bytes(0)
            }
            Errno::INTR => Put::Bytes(0),
            _ => {
                self.failed = true;
                self.readable = true;
                Put::Broken
            }
        }
    }

    /// Passes a half-close on.
    pub(crate) fn finish(&self) {
        // It fails only if the peer has reset meanwhile; the event of that is on its way.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Makes the close an RST.
    pub(crate) fn abort(self) {
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO));
    }

    /// The socket's pending error, which is cleared.
    pub(crate) fn error(&self) -> Option<Errno> {
        rustix::net::sockopt::socket_error(&self.socket).ok().and_then(Result::err)
    }

    /// Sets what the kernel lets in; says whether it could.
    pub(crate) fn filter(&mut self, filter: Filter, counters: &Counters) -> bool {
        if filter == self.filter {
            return true;
        }
        if self.filter == Filter::Open {
            self.drops_seen = kernel::dropped(&self.socket);
        }
        let set = filter.set(&self.socket);
        self.count_drops(counters);
        if let Err(error) = &set {
            tracing::warn!(%error, ?filter, "socket filter refused");
        } else {
            self.filter = filter;
        }
        set.is_ok()
    }

    /// Whether the kernel drops anything here.
    pub(crate) fn is_filtered(&self) -> bool {
        self.filter != Filter::Open
    }

    /// Adds the segments dropped since it was asked last.
    pub(crate) fn count_drops(&mut self, counters: &Counters) {
        if self.filter == Filter::Open {
            return;
        }
        let drops = kernel::dropped(&self.socket);
        counters.dropped_segments.add(u64::from(drops.wrapping_sub(self.drops_seen)));
        self.drops_seen = drops;
    }

    /// From here on, what comes in is withheld.
    pub(crate) fn begin_withholding(&mut self) {
        self.unread_seen = kernel::unread(&self.socket);
    }

    /// Counts what the kernel took in since then, and has not been read.
    pub(crate) fn count_withheld(&mut self, counters: &Counters) {
        let unread = kernel::unread(&self.socket);
        if unread > self.unread_seen {
            counters.withheld_bytes.add(unread - self.unread_seen);
            self.unread_seen = unread;
        }
    }
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now; an event will tell.
    Dry,
    /// The stream has ended: by FIN, or by RST if the side has failed.
    End,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// So many bytes were taken; an event will tell if it was not all.
    Bytes(usize),
    /// The socket takes no bytes any more.
    Broken,
}
