//! The server: UDP and TCP on one port, thin around the table.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::message::{Incoming, LONGEST, frame};
use super::table::Table;
use crate::system::lab::host::{Host, Inside, Socket};

/// Answers held back at once by a slow fault, and connections at once; beyond that a query goes unanswered, as by a
/// server that is overrun.
const AT_ONCE: usize = 10_000;

/// A connection on which nothing is asked for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// One port may be free for TCP and taken for UDP: so often another is tried.
const PORT_TRIES: usize = 64;

/// A DNS server on loopback, answering from a table that may change at any moment.
pub struct Server {
    address: SocketAddr,
    table: Arc<Mutex<Table>>,
    _host: Host,
}

impl Server {
    /// Serves a table on any free port, until it is dropped.
    pub fn serve(table: Table) -> io::Result<Server> {
        let (udp, tcp) = bind()?;
        let address = udp.local_addr()?;
        let table = Arc::new(Mutex::new(table));
        let shared = Arc::clone(&table);
        let host = Host::start("dns", async move |inside: Inside| {
            let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) else { return };
            let (udp, held) = (Arc::new(udp), Arc::new(Semaphore::new(AT_ONCE)));
            tokio::join!(datagrams(udp, Arc::clone(&shared), Arc::clone(&held)), streams(tcp, inside, shared, held));
        })?;
        Ok(Server { address, table, _host: host })
    }

    /// Where it is asked, over UDP and TCP alike.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its names mean.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The same free port for both.
fn bind() -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        match std::net::UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(error) if tries == PORT_TRIES => return Err(error),
            Err(_) => {}
        }
    }
}

async fn datagrams(socket: Arc<UdpSocket>, table: Arc<Mutex<Table>>, held: Arc<Semaphore>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        // An error here is about an answer sent before, to somebody who has gone.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let (packet, later) = match Incoming::read(&buffer[..length]) {
            Incoming::Nothing => continue,
            Incoming::Refused(packet) => (Some(packet), Duration::ZERO),
            Incoming::Question(question) => {
                let (reply, later) = lock(&table).answer(&question.name());
                (question.datagram(&reply), later)
            }
        };
        let Some(packet) = packet else { continue };
        if later.is_zero() {
            let _ = socket.send_to(&packet, from).await;
        } else if let Ok(permit) = Arc::clone(&held).try_acquire_owned() {
            let socket = Arc::clone(&socket);
            tokio::spawn(async move {
                sleep(later).await;
                let _ = socket.send_to(&packet, from).await;
                drop(permit);
            });
        } else {
            tracing::warn!("{AT_ONCE} answers are held back already: a query goes unanswered");
        }
    }
}

async fn streams(listener: TcpListener, inside: Inside, table: Arc<Mutex<Table>>, held: Arc<Semaphore>) {
    loop {
        let Ok(socket) = inside.sockets.accept(&listener).await else {
            // Out of descriptors, most likely: others will be closed; never spin on it.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&held).try_acquire_owned() else { continue };
        let table = Arc::clone(&table);
        tokio::spawn(async move {
            // A connection that fails concerns nobody but who asked.
            let _ = questions(socket, &table).await;
            drop(permit);
        });
    }
}

/// Answers one question after the other.
async fn questions(mut socket: Socket, table: &Mutex<Table>) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, socket.read_u16()).await??;
        let mut packet = vec![0; usize::from(length)];
        timeout(IDLE, socket.read_exact(&mut packet)).await??;
        let answer = match Incoming::read(&packet) {
            Incoming::Nothing => None,
            Incoming::Refused(packet) => frame(&packet),
            Incoming::Question(question) => {
                let (reply, later) = lock(table).answer(&question.name());
                sleep(later).await;
                question.framed(&reply)
            }
        };
        // Who sends what deserves no answer has lost its place in the stream.
        let Some(answer) = answer else { return Ok(()) };
        socket.write_all(&answer).await?;
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpStream, UdpSocket as Udp};

    use super::super::message::{Heard, answer, query};
    use super::super::table::{Effect, Record};
    use super::*;
    use crate::seed::Seed;
    use crate::units::Share;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn record(addresses: u8) -> Record {
        let addresses = (1..=addresses).map(|last| Ipv4Addr::new(127, 53, 0, last)).collect();
        Record { addresses, ttl: Duration::from_secs(5) }
    }

    fn server() -> Server {
        let mut table = Table::default();
        table.set("app.test", record(1));
        table.set("many.test", record(200));
        Server::serve(table).unwrap()
    }

    fn strike(dns: &Server, effect: Effect) {
        dns.table().strike(
            "fault",
            vec!["app.test".to_owned()],
            Share::new(1.0).unwrap(),
            effect,
            Seed(1).stream("fault"),
        );
    }

    fn udp(dns: &Server) -> Udp {
        let socket = Udp::bind("127.0.0.1:0").unwrap();
        socket.connect(dns.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn over_udp(dns: &Server, name: &str) -> Heard {
        let (socket, mut packet) = (udp(dns), [0; 4096]);
        socket.send(&query(5, name).unwrap()).unwrap();
        let length = socket.recv(&mut packet).unwrap();
        answer(&packet[..length], 5, name)
    }

    fn over_tcp(stream: &mut TcpStream, id: u16, name: &str) -> Heard {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&frame(&query(id, name).unwrap()).unwrap()).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut packet).unwrap();
        answer(&packet, id, name)
    }

    #[test]
    fn it_answers_over_udp_and_over_one_tcp_connection_again_and_again() {
        let dns = server();
        assert_eq!(over_udp(&dns, "APP.test"), Heard::Record(record(1)));
        assert_eq!(over_udp(&dns, "nobody.test"), Heard::Failed("NXDomain".into()));
        assert_eq!(over_udp(&dns, "many.test"), Heard::Truncated);
        let mut stream = TcpStream::connect(dns.address()).unwrap();
        assert_eq!(over_tcp(&mut stream, 1, "many.test"), Heard::Record(record(200)));
        assert_eq!(over_tcp(&mut stream, 2, "nobody.test"), Heard::Failed("NXDomain".into()));
    }

    #[test]
    fn every_fault_shows_and_is_gone_when_healed() {
        let dns = server();
        for (effect, heard) in [
            (Effect::NoSuchName, Heard::Failed("NXDomain".into())),
            (Effect::ServerFailure, Heard::Failed("ServFail".into())),
            (Effect::Remap(record(2)), Heard::Record(record(2))),
        ] {
            strike(&dns, effect);
            assert_eq!(over_udp(&dns, "app.test"), heard);
            assert_eq!(dns.table().heal("fault"), 1);
            assert_eq!(over_udp(&dns, "app.test"), Heard::Record(record(1)));
        }
    }

    #[test]
    fn a_slow_answer_holds_up_nobody_else() {
        let dns = server();
        strike(&dns, Effect::Slow(Duration::from_millis(300)));
        let (socket, mut packet) = (udp(&dns), [0; 512]);
        let asked = tokio::time::Instant::now();
        socket.send(&query(6, "app.test").unwrap()).unwrap();
        // A name that no record has is nobody's fault: its answer comes at once, before the one asked for first.
        assert_eq!(over_udp(&dns, "nobody.test"), Heard::Failed("NXDomain".into()));
        let length = socket.recv(&mut packet).unwrap();
        assert_eq!(answer(&packet[..length], 6, "app.test"), Heard::Record(record(1)));
        assert!(asked.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn foreign_bytes_do_it_no_harm() {
        let dns = server();
        let socket = udp(&dns);
        for packet in [&b""[..], b"\0", b"GET / HTTP/1.1\r\n\r\n", &[0xff; 600], &[0; 12]] {
            socket.send(packet).unwrap();
        }
        let mut stream = TcpStream::connect(dns.address()).unwrap();
        stream.write_all(b"\0\x03abc").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "closed");
        assert_eq!(over_udp(&dns, "app.test"), Heard::Record(record(1)));
    }
}
