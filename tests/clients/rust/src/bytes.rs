//! What bytes feel of each toxic, whichever client has made it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A server that sends everything back; its address.
pub fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = std::io::copy(&mut &stream, &mut &stream);
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

pub fn connect(listen: &str) -> TcpStream {
    let stream = TcpStream::connect(listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn refuses(listen: &str) -> bool {
    TcpStream::connect(listen).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Milliseconds for so many bytes there and back.
pub fn round_trip(stream: &mut TcpStream, bytes: usize) -> u128 {
    let start = Instant::now();
    stream.write_all(&vec![7; bytes]).unwrap();
    stream.read_exact(&mut vec![0; bytes]).unwrap();
    start.elapsed().as_millis()
}

/// The bytes of a new connection behave as a toxic of this type makes them: 100 ms, 100 kB/s, 100 bytes, whatever it
/// counts in.
pub fn behave(listen: &str, kind: &str) {
    let mut stream = connect(listen);
    match kind {
        "latency" => assert!(round_trip(&mut stream, 5) >= 99),
        "bandwidth" => assert!(round_trip(&mut stream, 10_000) >= 90),
        "slicer" => assert!(round_trip(&mut stream, 1000) >= 8, "9 waits of 1 ms"),
        "slow_close" => {
            round_trip(&mut stream, 5);
            let start = Instant::now();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
            assert!(start.elapsed().as_millis() >= 99);
        }
        "timeout" => {
            stream.write_all(b"lost").unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        }
        "limit_data" => {
            stream.write_all(&[7; 1000]).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert_eq!(got.len(), 100);
        }
        "noop" => assert!(round_trip(&mut stream, 1000) < 90),
        other => panic!("{other}"),
    }
}
