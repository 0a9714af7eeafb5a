//! A link over loopback sockets: bytes, ends and counts.

mod proxy_support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::plan::fault::Direction;
use brownout::seed::Seed;
use proxy_support::{echo, engine, latency, link, server, soon, toxic};

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
    soon("both directions are counted", || {
        let counters = link.counters();
        (counters.up_sent_bytes, counters.down_sent_bytes, counters.open) == (5, 5, 1)
    });
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

/// The least of many round trips: a busy machine makes some of them longer, rounding to a timer's tick all.
#[test]
fn delays_below_a_millisecond_are_not_rounded_up_to_one() {
    let engine = engine();
    let link = link(&engine, server(echo));
    link.strike("short", toxic(Direction::Down, latency(Duration::from_micros(200))), Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.set_nodelay(true).unwrap();
    let clock = RunClock::start();
    let least = (0..200).map(|_| {
        let sent = clock.now();
        client.write_all(b"ping").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        clock.now().saturating_since(sent)
    });
    let least = least.min().unwrap();
    assert!((Duration::from_micros(200)..Duration::from_millis(1)).contains(&least), "{least:?}");
}
