//! Faults that come and go while bytes flow over real sockets: whatever happens, the stream stays whole.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod proxy_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::plan::fault::{BodyShare, Direction, HttpEffect, HttpFault, Law, Links, Toxic};
use brownout::proxy::{Engine, Link, LinkSpec, Strike};
use brownout::seed::{Dice, Seed};
use brownout::units::{ByteRate, Bytes, Share, Span};
use proxy_support::{echo, engine, link, server};
use tokio::time::Instant;

fn span(ms: u64) -> Span {
    Span(Duration::from_millis(ms))
}

fn toxic(direction: Direction, toxic: Toxic) -> Strike {
    Strike::Toxic { direction, toxic, share: 1.0 }
}

fn latency(ms: u64) -> Toxic {
    Toxic::Latency { add: span(ms), jitter: Span::default(), law: Law::Uniform, correlation: Share::NONE }
}

/// A toxic that loses nothing, of settings drawn by chance, quick enough for a test.
fn lossless(dice: &mut Dice) -> Toxic {
    match dice.below(5) {
        0 => Toxic::Latency {
            add: span(dice.below(20)),
            jitter: span(dice.below(10)),
            law: Law::Normal,
            correlation: Share::NONE,
        },
        1 => Toxic::Bandwidth { rate: ByteRate(500_000 + dice.below(50_000_000)) },
        2 => Toxic::PacketLoss { loss: Share::new(0.0005).unwrap(), correlation: Share::NONE },
        3 => Toxic::Slicer { size: Bytes(1 + dice.below(5000)), variation: Bytes(500), wait: Span::default() },
        _ => Toxic::SlowClose { delay: span(dice.below(30)) },
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_stream_stays_whole_while_toxics_come_change_and_go() {
    for seed in 0..6 {
        let engine = engine();
        let link = link(&engine, server(echo));
        let client = TcpStream::connect(link.addr()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sent = noise(6_000_000);
        let (mut reader, mut writer) = (client.try_clone().unwrap(), client);
        let reading = thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).map(|_| got)
        });
        let bytes = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&bytes).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut dice = Seed(seed).stream("storm");
        let mut live = Vec::new();
        let end = Instant::now() + Duration::from_millis(700);
        while Instant::now() < end {
            match dice.below(3) {
                0 if live.len() < 4 => {
                    let direction = [Direction::Up, Direction::Down, Direction::Both][dice.below(3) as usize];
                    let strike = toxic(direction, lossless(&mut dice));
                    live.push(link.strike("storm", strike, Seed(seed)).unwrap().id);
                }
                1 if !live.is_empty() => {
                    let id = live.remove(dice.below(live.len() as u64) as usize);
                    link.heal(id).unwrap();
                }
                _ if !live.is_empty() => {
                    let id = live[dice.below(live.len() as u64) as usize];
                    link.update_toxic(id, lossless(&mut dice), 1.0);
                }
                _ => {}
            }
            thread::sleep(Duration::from_millis(dice.below(25)));
        }
        for id in live {
            link.heal(id).unwrap();
        }
        writing.join().unwrap();
        let got = reading.join().unwrap();
        let got = got.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(got.len(), sent.len(), "seed {seed}");
        assert!(got == sent, "seed {seed}");
    }
}

#[test]
fn a_half_close_waits_behind_latency_and_the_reply_still_comes() {
    let engine = engine();
    let upstream = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let link = link(&engine, upstream);
    link.strike("slow", toxic(Direction::Both, latency(50)), Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let sent = noise(300_000);
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got == sent);
}

#[test]
fn reset_peer_strikes_though_the_client_does_not_read() {
    let engine = engine();
    let upstream = server(|mut stream| {
        let _ = stream.write_all(&vec![7; 64_000_000]);
        thread::sleep(Duration::from_secs(10));
    });
    let link = link(&engine, upstream);
    link.strike("slow", toxic(Direction::Down, latency(1)), Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    thread::sleep(Duration::from_millis(300)); // Everything between the two is full by now.
    link.strike("reset", toxic(Direction::Down, Toxic::ResetPeer { after: span(200) }), Seed(1)).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(link.counters().open, 0);
    let mut buffer = vec![0; 65_536];
    let error = loop {
        match client.read(&mut buffer) {
            Ok(0) => panic!("a FIN"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn web(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(1..)) {
        let _ = stream.write_all(ANSWER.as_bytes());
    }
}

fn http_link(engine: &Engine, upstream: SocketAddr) -> Link {
    engine.open(LinkSpec { http: true, ..LinkSpec::new("web", upstream.to_string()) }).unwrap()
}

fn http(effect: HttpEffect) -> Strike {
    Strike::Http(HttpFault {
        links: Links::Named(Vec::new()),
        method: None,
        path: Some("/hit".into()),
        share: Share::ALL,
        first: None,
        effect,
    })
}

#[test]
fn an_abort_resets_behind_a_latency_as_well() {
    let engine = engine();
    let link = http_link(&engine, server(web));
    link.strike("slow", toxic(Direction::Both, latency(30)), Seed(1)).unwrap();
    let abort = link.strike("abort", http(HttpEffect::Abort { at: BodyShare(500) }), Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.write_all(b"GET /hit HTTP/1.1\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{}", String::from_utf8_lossy(&got));
    assert_eq!(got, &ANSWER.as_bytes()[..ANSWER.len() - 3]);
    assert_eq!(link.heal(abort.id).unwrap().requests, 1);
    assert_eq!(link.counters().requests, 1);
}

#[test]
fn a_status_a_delay_and_plain_requests_share_one_connection() {
    let engine = engine();
    let link = http_link(&engine, server(web));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut ask = |path: &str| {
        let sent = Instant::now();
        client.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        let mut byte = [0];
        while !(text.ends_with("hello") || text.ends_with("Unavailable\n")) {
            client.read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
        (text.lines().next().unwrap().to_owned(), sent.elapsed())
    };
    assert_eq!(ask("/hit").0, "HTTP/1.1 200 OK");
    let status = HttpEffect::Status { code: 503, retry_after: Some(span(1500)) };
    let status = link.strike("status", http(status), Seed(1)).unwrap();
    assert_eq!(ask("/hit").0, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(ask("/other").0, "HTTP/1.1 200 OK");
    assert_eq!(link.heal(status.id).unwrap().requests, 1);
    let delay = link.strike("delay", http(HttpEffect::Delay { by: span(80) }), Seed(1)).unwrap();
    let (answer, took) = ask("/hit");
    assert!(answer == "HTTP/1.1 200 OK" && took >= Duration::from_millis(80), "{answer} {took:?}");
    assert!(ask("/other").1 < Duration::from_millis(80));
    link.heal(delay.id).unwrap();
    assert!(ask("/hit").1 < Duration::from_millis(80));
    assert_eq!((link.counters().requests, link.counters().faulted_requests), (6, 2));
}

#[test]
fn limit_and_timeout_close_with_fin_in_time() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let limit = toxic(Direction::Down, Toxic::LimitData { bytes: Bytes(1000) });
    let limit = link.strike("limit", limit, Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.write_all(&noise(5000)).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got == noise(5000)[..1000]);
    link.heal(limit.id).unwrap();
    let timeout = toxic(Direction::Up, Toxic::Timeout { after: span(100) });
    let timeout = link.strike("timeout", timeout, Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let accepted = Instant::now();
    client.write_all(b"lost").unwrap();
    got.clear();
    assert_eq!(client.read_to_end(&mut got).unwrap(), 0, "FIN, and nothing before it");
    let took = accepted.elapsed();
    assert!(took >= Duration::from_millis(95) && took < Duration::from_millis(400), "{took:?}");
    let evidence = link.heal(timeout.id).unwrap();
    assert_eq!((evidence.withheld_bytes, evidence.connections), (4, 1));
}

#[test]
fn a_share_that_grows_takes_open_connections_and_one_that_shrinks_lets_them_go() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let mut took = || {
        let sent = Instant::now();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        sent.elapsed()
    };
    let (slow, add) = (latency(100), Duration::from_millis(100));
    let strike = Strike::Toxic { direction: Direction::Down, toxic: slow, share: 0.0 };
    let id = link.strike("some", strike, Seed(1)).unwrap().id;
    assert!(took() < add);
    link.update_toxic(id, slow, 1.0);
    assert!(took() >= add);
    link.update_toxic(id, slow, 0.0);
    assert!(took() < add);
    assert_eq!(link.heal(id).unwrap().altered_chunks, 1);
}
