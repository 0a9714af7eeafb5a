//! TLS on one of the two sockets of a connection: what is sealed passes the socket, what is open passes the pipes.
//!
//! ```text
//!          ┌──────────────── side ────────────────┐
//! socket ──┤ read ─▶ opened records ─▶            ├── pipe (tap, chain)
//!        ◀─┤      ◀─ sealed records ◀─ write      │
//!          └──────────────────────────────────────┘
//! ```
//!
//! Records that the socket does not take wait here, some [`MOST_SEALED`] bytes at the most; then the side counts as full.
//! Handshakes are answered from here as well: toxics, which act on what is inside, do not touch them. A cut does.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustls::{AlertDescription, ClientConnection, Connection, ServerConnection};

use crate::proxy::authority::Termination;

/// Sealed bytes that wait for the socket. Two records: less would cost a system call for each.
const MOST_SEALED: usize = 32 * 1024;

/// A TLS machine on a socket.
#[derive(Debug)]
pub(super) struct Seal {
    machine: Connection,
    /// The handshake has come to its end, and nobody has asked for it yet.
    opened: bool,
    /// Behind the last record comes the FIN.
    ends: bool,
    /// A cut withholds what would be sent.
    pub(super) held: bool,
    /// Why it has failed, as TLS tells it.
    alert: AlertDescription,
    link: Arc<str>,
}

/// What came of reading sealed bytes.
pub(super) enum Opened {
    /// So many open ones.
    Bytes(usize),
    /// The socket has nothing for now.
    Dry,
    /// The stream has ended, with a word of farewell or without.
    End { farewell: bool },
    /// The peer has reset the connection, or broken the protocol.
    Failed,
}

/// What became of sealed bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// The socket has them all.
    All,
    /// The socket is full, or may not be written to.
    Blocked,
    /// The socket takes nothing any more.
    Broken,
}

impl Seal {
    pub(super) fn towards_client(tls: &Termination, link: &Arc<str>) -> Seal {
        let machine = ServerConnection::new(Arc::clone(&tls.towards_clients));
        Seal::of(machine.expect("a configuration that rustls has built").into(), link)
    }

    pub(super) fn towards_upstream(tls: &Termination, link: &Arc<str>) -> Seal {
        let machine = ClientConnection::new(Arc::clone(&tls.towards_upstream), tls.upstream.clone());
        Seal::of(machine.expect("a configuration that rustls has built").into(), link)
    }

    fn of(mut machine: Connection, link: &Arc<str>) -> Seal {
        machine.set_buffer_limit(Some(MOST_SEALED));
        Seal {
            machine,
            opened: false,
            ends: false,
            held: false,
            alert: AlertDescription::InternalError,
            link: Arc::clone(link),
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.machine.is_handshaking()
    }

    /// Whether the handshake has ended since this was asked last.
    pub(super) fn take_opened(&mut self) -> bool {
        std::mem::take(&mut self.opened)
    }

    /// Why it has failed, as TLS tells it.
    pub(super) fn alert(&self) -> AlertDescription {
        self.alert
    }

    /// Whether nothing waits for the socket.
    pub(super) fn is_flushed(&self) -> bool {
        !self.machine.wants_write() && !self.ends
    }

    /// Reads until there are open bytes, or no sealed ones; goes through the handshake on the way.
    pub(super) fn read(&mut self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Opened {
        loop {
            match self.machine.reader().read(into) {
                Ok(0) => return Opened::End { farewell: true },
                Ok(bytes) => return Opened::Bytes(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Opened::End { farewell: false },
            }
            let handshook = self.machine.is_handshaking();
            match self.machine.read_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Opened::Dry,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Opened::Failed,
            }
            let processed = self.machine.process_new_packets();
            if let Err(error) = processed {
                // The peer is told why before it is left.
                self.flush(socket);
                match self.machine {
                    Connection::Client(_) => tracing::warn!(link = %self.link, %error, "TLS with the upstream failed"),
                    Connection::Server(_) => tracing::info!(link = %self.link, %error, "TLS with a client failed"),
                }
                self.alert = alert_of(&error);
                return Opened::Failed;
            }
            self.opened |= handshook && !self.machine.is_handshaking();
            if self.flush(socket) == Flushed::Broken {
                return Opened::Failed;
            }
        }
    }

    /// Seals bytes and writes them; says how many were taken, and what became of them.
    pub(super) fn write(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> (usize, Flushed) {
        if self.machine.is_handshaking() {
            return (0, Flushed::Blocked);
        }
        let mut taken = 0;
        loop {
            // It writes to memory, which does not fail.
            taken += self.machine.writer().write(&bytes[taken..]).unwrap_or(0);
            match self.flush(socket) {
                Flushed::All if taken < bytes.len() => {}
                flushed => return (taken, flushed),
            }
        }
    }

    /// Sends the FIN behind all bytes and a farewell. Without one the peer takes it for the end of a process that was
    /// killed.
    pub(super) fn finish(&mut self, socket: BorrowedFd<'_>, farewell: bool) -> Flushed {
        if farewell {
            self.machine.send_close_notify();
        }
        self.ends = true;
        self.flush(socket)
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> Flushed {
        if self.held && !self.is_flushed() {
            return Flushed::Blocked;
        }
        while self.machine.wants_write() {
            match self.machine.write_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
        if std::mem::take(&mut self.ends) {
            // It fails only if the peer has reset meanwhile; the event of that is on its way.
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
        Flushed::All
    }
}

/// The record that tells a peer, before any key is agreed, that there will be no handshake: an alert, fatal.
pub(super) fn refusal(why: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, why.into()]
}

/// The alert that a failure has made, or was made by.
fn alert_of(error: &rustls::Error) -> AlertDescription {
    match error {
        rustls::Error::InvalidCertificate(why) => why.clone().into(),
        rustls::Error::AlertReceived(alert) => *alert,
        _ => AlertDescription::InternalError,
    }
}

/// A socket as rustls wants it.
struct Socket<'a>(BorrowedFd<'a>);

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::net::recv(self.0, into, RecvFlags::empty())?.1)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
