//! A port that is kept for a node while nobody listens on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port may be free at one address and taken at the next: so often another is tried.
const TRIES: usize = 64;

/// A port that stays ours while nobody listens on it, so that a node finds it again when it is restarted.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// Bound, never listening: connections are refused, and nobody else is given the number.
    _reservation: Socket,
}

impl Port {
    /// Any free one on loopback.
    pub fn reserve() -> io::Result<Port> {
        Port::reserve_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// This one, or any free one where the port is 0. Fails if somebody listens on it.
    pub fn reserve_at(wanted: SocketAddr) -> io::Result<Port> {
        let reservation = reusable(wanted)?;
        reservation.bind(&wanted.into())?;
        let address = reservation.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Port { address, _reservation: reservation })
    }

    /// The same one at each of these addresses.
    pub fn reserve_alike(hosts: &[IpAddr]) -> io::Result<Vec<Port>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut number = 0;
            let reserve = |host: &IpAddr| {
                let port = Port::reserve_at(SocketAddr::new(*host, number))?;
                number = port.address().port();
                Ok(port)
            };
            match hosts.iter().map(reserve).collect::<io::Result<Vec<Port>>>() {
                Ok(ports) => return Ok(ports),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to listen on it.
    pub fn listen(&self) -> io::Result<std::net::TcpListener> {
        let socket = reusable(self.address)?;
        socket.bind(&self.address.into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }
}

/// Sockets that both have SO_REUSEADDR may share a port as long as at most one of them listens.
fn reusable(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_port_is_one_that_is_free_at_each_address() {
        let hosts: Vec<IpAddr> = (1..=3).map(|last| Ipv4Addr::new(127, 53, 0, last).into()).collect();
        let ports = Port::reserve_alike(&hosts).unwrap();
        let number = ports[0].address().port();
        for (port, host) in ports.iter().zip(&hosts) {
            assert_eq!(port.address(), SocketAddr::new(*host, number));
            port.listen().unwrap();
        }
    }
}
