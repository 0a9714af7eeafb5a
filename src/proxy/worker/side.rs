//! One of the two sockets of a connection, with what its engine thread knows of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustls::AlertDescription;

use super::seal::{self, Opened, Seal};
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
    /// TLS is spoken on the socket, and ends here.
    seal: Option<Box<Seal>>,
    /// Its TLS stream has ended with no more than a FIN.
    left_unsaid: bool,
    says_no_farewell: bool,
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
            seal: None,
            left_unsaid: false,
            says_no_farewell: false,
        }
    }

    /// From the first byte on, TLS is spoken on the socket.
    pub(crate) fn seal(&mut self, seal: Seal) {
        self.seal = Some(Box::new(seal));
        self.writable = false;
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Whether its TLS handshake is still to be made.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.is_handshaking())
    }

    /// Whether its TLS handshake has ended since this was asked last: bytes may be written now.
    pub(crate) fn take_opened(&mut self) -> bool {
        self.seal.as_mut().is_some_and(|seal| seal.take_opened())
    }

    /// Whether the kernel has all that was written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.failed || self.seal.as_ref().is_none_or(|seal| seal.is_flushed())
    }

    /// Withholds what TLS would send by itself, or no longer.
    pub(crate) fn hold_seal(&mut self, hold: bool) {
        if let Some(seal) = &mut self.seal
            && std::mem::replace(&mut seal.held, hold)
            && !hold
        {
            self.flush_seal();
        }
    }

    /// Writes what TLS has sealed and not written; true if bytes may be written again after they could not.
    pub(crate) fn flush_seal(&mut self) -> bool {
        let Some(seal) = &mut self.seal else { return false };
        let waited = !self.writable || !seal.is_flushed();
        let flushed = seal.flush(self.socket.as_fd());
        self.seal_flushed(flushed);
        waited && self.writable
    }

    fn seal_flushed(&mut self, flushed: seal::Flushed) {
        match flushed {
            seal::Flushed::All => self.writable = !self.is_handshaking(),
            seal::Flushed::Blocked => self.writable = false,
            seal::Flushed::Broken => (self.failed, self.readable) = (true, true),
        }
    }

    /// Tells a client that waits for the handshake's answer that there will be none, for the reason for which another
    /// side has failed. What it still sends is not opened.
    pub(crate) fn refuse_handshake_like(&mut self, other: &Side) {
        self.seal = None;
        let why = other.seal.as_ref().map_or(AlertDescription::InternalError, |seal| seal.alert());
        // If the socket takes nothing, the client is gone.
        let _ = rustix::net::send(&self.socket, &seal::refusal(why), SendFlags::NOSIGNAL);
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
        if self.seal.is_some() {
            let sound = flags.contains(EventFlags::OUT) && !flags.intersects(EventFlags::ERR | EventFlags::HUP);
            return sound && self.flush_seal();
        }
        let drains = !self.writable && flags.contains(EventFlags::OUT);
        self.writable |= drains;
        drains
    }

    /// Reads once; a short read means that there is nothing more for now, without asking again.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Got {
        if let Some(seal) = &mut self.seal {
            let opened = seal.read(self.socket.as_fd(), into);
            self.writable = seal.is_flushed() && !seal.is_handshaking();
            return match opened {
                Opened::Bytes(bytes) => Got::Bytes(bytes),
                Opened::Dry => self.dry(),
                Opened::End { farewell } => {
                    self.left_unsaid = !farewell;
                    self.end()
                }
                Opened::Failed => self.fail(),
            };
        }
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
        if let Some(seal) = &mut self.seal {
            let (taken, flushed) = seal.write(self.socket.as_fd(), bytes);
            self.seal_flushed(flushed);
            return if flushed == seal::Flushed::Broken { Put::Broken } else { Put::Bytes(taken) };
        }
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

    /// Ends as another side has ended: without a farewell if that one said none.
    pub(crate) fn leave_like(&mut self, other: &Side) {
        self.says_no_farewell = other.left_unsaid;
    }

    /// Passes a half-close on.
    pub(crate) fn finish(&mut self) {
        if let Some(seal) = &mut self.seal {
            let flushed = seal.finish(self.socket.as_fd(), !self.says_no_farewell);
            return self.seal_flushed(flushed);
        }
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
