//! A link over loopback sockets: bytes, ends and counts.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::proxy::{Engine, Link, LinkSpec};

fn engine() -> Engine {
    Engine::start(1, RunClock::start()).unwrap()
}

/// Serves each connection with `serve`, on threads of its own.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

fn link(engine: &Engine, upstream: SocketAddr) -> Link {
    engine.open(LinkSpec::new("test", upstream.to_string())).unwrap()
}

fn echo(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = stream;
    let _ = std::io::copy(&mut reader, &mut writer);
    let _ = writer.shutdown(Shutdown::Write);
}

#[test]
fn bytes_come_back_and_are_counted_while_the_connection_lives() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    // A byte is counted once it is written, so its reader may be here first.
    let start = tokio::time::Instant::now();
    let counted = || {
        let counters = link.counters();
        (counters.up_sent_bytes, counters.down_sent_bytes, counters.open)
    };
    while counted() != (5, 5, 1) {
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", counted());
        std::thread::yield_now();
    }
    assert_eq!(link.connection_from(client.local_addr().unwrap()), Some(1));
}

#[test]
fn the_reply_after_a_half_close_arrives() {
    let engine = engine();
    let link = link(
        &engine,
        server(|mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            thread::sleep(Duration::from_millis(50));
            stream.write_all(&all).unwrap();
        }),
    );
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, sent);
}

#[test]
fn a_long_stream_both_ways_is_spliced_and_stays_whole() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let sent: Vec<u8> = (0..50_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut reader = client.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(reading.join().unwrap() == sent);
}
