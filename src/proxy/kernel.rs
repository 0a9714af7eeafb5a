//! What the kernel does for us: socket filters that drop segments, and figures about sockets.
//!
//! A filter on a TCP socket sees each arriving segment from its TCP header on: the header's length is the upper half
//! of byte 12 in words of four bytes, the flags are byte 13. What it refuses was never received: it is not
//! acknowledged, the sender retransmits it, and counts towards the sender's `TCP_USER_TIMEOUT`.
//!
//! ```text
//!            SYN, bytes, FIN, RST                      SYN-ACK, bytes, FIN, RST
//!   client ───────────────────────▶ ✕ │ our sockets │ ✕ ◀──────────────────────── server
//!                            filter                   filter
//! ```

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

/// What a socket lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Everything.
    #[default]
    Open,
    /// Nothing at all.
    Silence,
    /// Pure acknowledgements only: one direction of bytes is cut, the other goes on.
    NoBytes,
    /// Segments with bytes are lost with probability `threshold` / 2³².
    Lossy {
        /// From 1 to `u32::MAX`.
        threshold: u32,
    },
}

const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const LOAD_LENGTH: u16 = 0x80;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const SUBTRACT_X: u16 = 0x1c;
const A_TO_X: u16 = 0x07;
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_BYTE_AT_X: u16 = 0x50;
const HEADER_TO_X: u16 = 0xb1;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const PASS: u32 = u32::MAX;
const DROP: u32 = 0;
/// FIN, SYN and RST: what takes a place in the stream, or ends it, without carrying bytes.
const FIN_SYN_RST: u32 = 0x07;
const SYN_ACK: u32 = 0x12;
const SYN: u32 = 0x02;
/// Where the kernel hands out 32 random bits (`SKF_AD_OFF + SKF_AD_RANDOM`).
const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;

impl Filter {
    /// Sets what a socket lets in; the change is atomic.
    pub(crate) fn set(self, socket: impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(&socket);
        match self {
            Filter::Open => match socket.detach_filter() {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                other => other,
            },
            Filter::Silence => socket.attach_filter(&[op(RETURN, 0, 0, DROP)]),
            Filter::NoBytes => {
                let mut program = Vec::from(payload_length());
                program.extend([
                    op(IF_GREATER, 3, 0, 0),
                    op(LOAD_BYTE, 0, 0, 13),
                    op(IF_ANY_BIT, 1, 0, FIN_SYN_RST),
                    op(RETURN, 0, 0, PASS),
                    op(RETURN, 0, 0, DROP),
                ]);
                socket.attach_filter(&program)
            }
            Filter::Lossy { threshold } => {
                let mut program = Vec::from(payload_length());
                program.extend([
                    op(IF_EQUAL, 2, 0, 0),
                    op(LOAD_WORD, 0, 0, RANDOM),
                    op(IF_AT_LEAST, 0, 1, threshold),
                    op(RETURN, 0, 0, PASS),
                    op(RETURN, 0, 0, DROP),
                ]);
                socket.attach_filter(&program)
            }
        }
    }
}

/// A ← bytes that the segment carries.
fn payload_length() -> [SockFilter; 6] {
    [
        op(LOAD_BYTE, 0, 0, 12),
        op(AND, 0, 0, 0xf0),
        op(SHIFT_RIGHT, 0, 0, 2),
        op(A_TO_X, 0, 0, 0),
        op(LOAD_LENGTH, 0, 0, 0),
        op(SUBTRACT_X, 0, 0, 0),
    ]
}

fn op(code: u16, jump_true: u8, jump_false: u8, k: u32) -> SockFilter {
    SockFilter::new(code, jump_true, jump_false, k)
}

/// Segments that a socket has dropped since it was made, by its filter or for want of memory. Wraps.
#[expect(unsafe_code, reason = "no wrapper knows SO_MEMINFO; the kernel writes at most `length` bytes into `figures`")]
pub(crate) fn dropped(socket: impl AsFd) -> u32 {
    const FIGURES: usize = libc::SK_MEMINFO_DROPS as usize + 1;
    let mut figures = [0u32; FIGURES];
    let mut length = size_of_val(&figures) as libc::socklen_t;
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { figures[FIGURES - 1] } else { 0 }
}

/// Bytes written to a socket that its peer has not acknowledged.
#[expect(unsafe_code, reason = "no wrapper knows SIOCOUTQ; the kernel writes one int")]
pub(crate) fn unacknowledged(socket: impl AsFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { bytes.max(0) as u64 } else { 0 }
}

/// Bytes received by the kernel and not yet read.
pub(crate) fn unread(socket: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(socket).unwrap_or(0)
}

/// Whether socket filters drop here what they should, tried on one connection of our own over loopback.
pub(crate) fn can_drop() -> bool {
    let attempt = || -> io::Result<bool> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let sender = std::net::TcpStream::connect(listener.local_addr()?)?;
        let (receiver, _) = listener.accept()?;
        Filter::NoBytes.set(&receiver)?;
        let before = dropped(&receiver);
        io::Write::write_all(&mut &sender, b"x")?;
        // Loopback delivers within the write, unless the softirq is deferred; 50 ms is a scheduler's bad day.
        for _ in 0..50 {
            if dropped(&receiver) != before {
                return Ok(unread(&receiver) == 0);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(false)
    };
    attempt().unwrap_or(false)
}

/// A socket that hears the SYNs sent to a port that does not listen. Only where raw sockets are permitted.
pub(crate) fn tap_refusals(port: SocketAddr) -> io::Result<OwnedFd> {
    let tap = Socket::new(Domain::for_address(port), Type::RAW.nonblocking().cloexec(), Some(Protocol::TCP))?;
    let number = u32::from(port.port());
    let program = match port {
        // A raw socket of IPv4 sees the IP header, of IPv6 only the TCP header.
        SocketAddr::V4(_) => vec![
            op(HEADER_TO_X, 0, 0, 0),
            op(LOAD_HALF_AT_X, 0, 0, 2),
            op(IF_EQUAL, 0, 4, number),
            op(LOAD_BYTE_AT_X, 0, 0, 13),
            op(AND, 0, 0, SYN_ACK),
            op(IF_EQUAL, 0, 1, SYN),
            op(RETURN, 0, 0, 1),
            op(RETURN, 0, 0, DROP),
        ],
        SocketAddr::V6(_) => vec![
            op(LOAD_HALF, 0, 0, 2),
            op(IF_EQUAL, 0, 4, number),
            op(LOAD_BYTE, 0, 0, 13),
            op(AND, 0, 0, SYN_ACK),
            op(IF_EQUAL, 0, 1, SYN),
            op(RETURN, 0, 0, 1),
            op(RETURN, 0, 0, DROP),
        ],
    };
    tap.attach_filter(&program)?;
    // What came before the filter was set.
    while rustix::net::recv(&tap, &mut [0u8; 1], RecvFlags::DONTWAIT).is_ok() {}
    Ok(tap.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn a_byteless_socket_still_hears_acknowledgements() {
        let (mut sender, mut receiver) = pair();
        Filter::NoBytes.set(&receiver).unwrap();
        sender.write_all(b"withheld").unwrap();
        receiver.write_all(b"the other way").unwrap();
        let mut back = [0; 13];
        sender.read_exact(&mut back).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(unread(&receiver), 0);
        assert!(unacknowledged(&sender) >= 8);
        assert_eq!(unacknowledged(&receiver), 0, "the sender's acknowledgement passed");
        assert!(dropped(&receiver) >= 1);

        Filter::Open.set(&receiver).unwrap();
        let mut got = [0; 8];
        receiver.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"withheld", "retransmission brings it");
    }

    #[test]
    fn a_silent_socket_hears_nothing_and_counts_it() {
        let (mut sender, mut receiver) = pair();
        Filter::Silence.set(&receiver).unwrap();
        receiver.write_all(b"sent, never acknowledged").unwrap();
        sender.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(unacknowledged(&receiver) > 0);
        assert_eq!(unread(&receiver), 0);
        assert!(dropped(&receiver) >= 2);
    }

    #[test]
    fn a_lossy_socket_loses_segments_and_no_byte() {
        let (mut sender, mut receiver) = pair();
        Filter::Lossy { threshold: u32::MAX / 2 }.set(&receiver).unwrap();
        for byte in 0..20u8 {
            sender.write_all(&[byte]).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut got = [0; 20];
        receiver.read_exact(&mut got).unwrap();
        assert_eq!(got.to_vec(), (0..20).collect::<Vec<u8>>());
        assert!(dropped(&receiver) >= 1);
    }

    #[test]
    fn filters_can_be_removed_twice() {
        let (ours, _peer) = pair();
        Filter::Open.set(&ours).unwrap();
        Filter::Silence.set(&ours).unwrap();
        Filter::Open.set(&ours).unwrap();
        Filter::Open.set(&ours).unwrap();
    }
}
