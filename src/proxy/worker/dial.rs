//! Dialling the upstream without ever waiting for it.

use std::net::SocketAddr;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::connection::{Connection, Fate, Life, Todo};
use super::links::{SOCKET_EVENTS, Upstream};
use super::seal::Seal;
use super::side::Side;
use super::slab::Key;
use super::{Token, Worker};
use crate::proxy::counters::Closing;

impl Worker {
    /// Starts to dial for a connection.
    pub(super) fn dial(&mut self, key: Key, connection: &mut Connection) -> Fate {
        let Some(link) = self.links.get(connection.link) else { return Fate::Over(Closing::Shutdown) };
        match link.upstream.clone() {
            Upstream::Address(address) => self.dial_next(key, connection, vec![address]),
            Upstream::Name(name) => {
                connection.life = Life::Resolving;
                let orders = self.orders.clone();
                self.resolver.look_up(name, move |mut addresses| {
                    addresses.reverse();
                    orders.send(move |worker| worker.resolved(key, addresses));
                });
                Fate::Waits
            }
        }
    }

    /// The addresses of an upstream have come, in reverse order; none: the name is not known.
    fn resolved(&mut self, key: Key, addresses: Vec<SocketAddr>) {
        let Some(mut connection) = self.connections.take(key) else { return };
        let fate = match connection.life {
            Life::Resolving => self.dial_next(key, &mut connection, addresses),
            _ => Fate::Waits,
        };
        self.settle(key, connection, fate);
    }

    /// Dials the last of these addresses that can be dialled.
    fn dial_next(&mut self, key: Key, connection: &mut Connection, mut rest: Vec<SocketAddr>) -> Fate {
        let Some(link) = self.links.get(connection.link) else { return Fate::Over(Closing::Shutdown) };
        let counters = &link.counters;
        while let Some(address) = rest.pop() {
            if !link.permit.allows(address) {
                tracing::warn!(link = %link.shared.name, %address, "upstream is outside what is permitted");
                continue;
            }
            let server = match open(address) {
                Ok(server) => server,
                Err(error) => {
                    tracing::warn!(link = %link.shared.name, %address, %error, "no socket to dial with");
                    continue;
                }
            };
            let mut server = Side::new(server);
            if let Some(tls) = &link.tls {
                server.seal(Seal::towards_upstream(tls, &link.shared.name));
            }
            connection.server = Some(server);
            // Before the first segment, so that a silent or lossy link is so from the handshake on.
            link.govern(connection, self.mechanism);
            let Some(server) = &mut connection.server else { continue };
            server.writable = false;
            match rustix::net::connect(server.fd(), &address) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => {
                    tracing::debug!(link = %link.shared.name, %address, %error, "dial failed");
                    connection.server = None;
                    continue;
                }
            }
            if let Err(error) = epoll::add(&self.epoll, server.fd(), Token::Server(key).pack(), SOCKET_EVENTS) {
                tracing::warn!(link = %link.shared.name, %error, "could not watch a connection");
                connection.server = None;
                continue;
            }
            connection.life = Life::Dialing { rest };
            // Nothing is read yet, but a toxic's time may come.
            return if connection.up.is_chained() || connection.down.is_chained() {
                self.drive(key, connection, Todo::BOTH)
            } else {
                Fate::Waits
            };
        }
        counters.dial_failed.add(1);
        Fate::Over(Closing::Rst)
    }

    /// A dial has come to its end.
    pub(super) fn dial_answered(&mut self, key: Key, connection: &mut Connection, flags: EventFlags) -> Fate {
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            if let Some(link) = self.links.get(connection.link) {
                let error = connection.server.as_ref().and_then(Side::error);
                tracing::debug!(link = %link.shared.name, ?error, "dial failed");
            }
            connection.server = None;
            let Life::Dialing { rest } = std::mem::replace(&mut connection.life, Life::Resolving) else {
                return Fate::Waits;
            };
            return self.dial_next(key, connection, rest);
        }
        if !flags.contains(EventFlags::OUT) {
            return Fate::Waits;
        }
        connection.life = Life::Open;
        if let Some(link) = self.links.get(connection.link) {
            link.counters.connected.add(1);
        }
        self.drive(key, connection, Todo::BOTH)
    }
}

/// A socket to dial with: without delay on the way of small writes.
fn open(address: SocketAddr) -> Result<std::os::fd::OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}
