//! Defects that other proxies have been found with: each has a test here that names it.
//!
//! Those of chains alone (absurd settings, the `timeout` that starts over, chance that a seed does not repeat) are
//! played again with sockets here, since that is where they hurt.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod proxy_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::permit::Permit;
use brownout::plan::fault::{Direction, Toxic};
use brownout::proxy::{LinkSpec, Strike};
use brownout::seed::Seed;
use brownout::units::{ByteRate, Bytes, Share, Span};
use proxy_support::{echo, engine, latency, link, server, soon, toxic};

#[test]
fn absurd_settings_kill_nobody() {
    let engine = engine();
    let link = link(&engine, server(echo));
    for absurd in [
        Toxic::Bandwidth { rate: ByteRate(0) },
        Toxic::Bandwidth { rate: ByteRate(u64::MAX) },
        Toxic::Slicer { size: Bytes(0), variation: Bytes(0), wait: Span(Duration::ZERO) },
        Toxic::Slicer { size: Bytes(0), variation: Bytes(u64::MAX), wait: Span(Duration::MAX) },
        Toxic::LimitData { bytes: Bytes(0) },
        Toxic::Corrupt { bytes: Share::ALL },
        Toxic::PacketLoss { loss: Share::ALL, correlation: Share::ALL },
        Toxic::SlowClose { delay: Span(Duration::MAX) },
    ] {
        let struck = link.strike("absurd", toxic(Direction::Both, absurd), Seed(1)).unwrap();
        let mut client = TcpStream::connect(link.addr()).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        let _ = client.write_all(b"hello");
        let _ = client.read(&mut [0; 5]);
        link.heal(struck.id).unwrap();
        let mut next = TcpStream::connect(link.addr()).unwrap();
        next.write_all(b"alive").unwrap();
        next.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        next.read_exact(&mut [0; 5]).unwrap_or_else(|error| panic!("after {absurd:?}: {error}"));
    }
}

#[test]
fn limit_data_and_reset_peer_leave_nothing_behind() {
    let engine = engine();
    let link = link(
        &engine,
        server(|mut stream| {
            // Goes on sending, whatever the client does: what leaked elsewhere were the stages that it blocked.
            while stream.write_all(&[7; 65536]).is_ok() {}
        }),
    );
    for cut in [Toxic::LimitData { bytes: Bytes(1000) }, Toxic::ResetPeer { after: Span(Duration::from_millis(1)) }] {
        let struck = link.strike("cut", toxic(Direction::Down, cut), Seed(1)).unwrap();
        for _ in 0..50 {
            let mut client = TcpStream::connect(link.addr()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            while client.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
        }
        soon("every connection is forgotten", || link.counters().open == 0 && link.connections().is_empty());
        let evidence = link.heal(struck.id).unwrap();
        assert!(evidence.connections >= 50, "{cut:?}: {evidence:?}");
    }
}

#[test]
fn a_hanging_dial_blocks_neither_accepts_nor_orders() {
    let engine = engine();
    // A listener whose backlog is full leaves further SYNs unanswered.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let hanging = full.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..4)
        .map(|_| {
            let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.connect(&hanging.into());
            stream
        })
        .collect();
    let link = link(&engine, hanging);
    let clock = RunClock::start();
    let _stuck: Vec<_> = (0..20).map(|_| TcpStream::connect(link.addr()).unwrap()).collect();
    soon("all are accepted", || link.counters().accepted == 20);
    link.set_upstream(&server(echo).to_string());
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    drop(link);
    assert!(clock.now().as_secs_f64() < 5.0);
}

#[test]
fn the_reply_after_the_clients_fin_is_not_lost_whatever_the_toxic() {
    let engine = engine();
    let upstream = server(|mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = stream.write_all(&all);
    });
    let sent: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    for shaping in [
        latency(Duration::from_millis(30)),
        Toxic::Bandwidth { rate: ByteRate(3_000_000) },
        Toxic::Slicer { size: Bytes(1000), variation: Bytes(500), wait: Span(Duration::from_micros(100)) },
        Toxic::SlowClose { delay: Span(Duration::from_millis(30)) },
    ] {
        let link = link(&engine, upstream);
        link.strike("shape", toxic(Direction::Both, shaping), Seed(1)).unwrap();
        let mut client = TcpStream::connect(link.addr()).unwrap();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got == sent, "{shaping:?}: {} of {} bytes", got.len(), sent.len());
    }
}

#[test]
fn removing_a_latency_loses_no_byte() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let sent: Vec<u8> = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut reader = client.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    for chunk in sent.chunks(200_000) {
        let strike = toxic(Direction::Both, latency(Duration::from_millis(50)));
        let struck = link.strike("slow", strike, Seed(1)).unwrap();
        client.write_all(chunk).unwrap();
        thread::sleep(Duration::from_millis(10));
        link.heal(struck.id).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert!(reading.join().unwrap() == sent);
}

#[test]
fn reset_peer_fires_on_an_idle_connection_with_rst_and_its_removal_does_not_block() {
    let engine = engine();
    let (link, clock) = (link(&engine, server(echo)), RunClock::start());
    let mut idle = TcpStream::connect(link.addr()).unwrap();
    soon("it is open", || link.counters().connected == 1);
    let reset = Toxic::ResetPeer { after: Span(Duration::from_millis(50)) };
    link.strike("reset", toxic(Direction::Down, reset), Seed(1)).unwrap();
    let error = idle.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let late = Toxic::ResetPeer { after: Span(Duration::from_secs(60)) };
    let struck = link.strike("later", toxic(Direction::Down, late), Seed(1)).unwrap();
    link.heal(struck.id).unwrap();
    assert!(clock.now().as_secs_f64() < 2.0);
}

#[test]
fn the_timeout_closes_a_busy_connection_too() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let timeout = Toxic::Timeout { after: Span(Duration::from_millis(300)) };
    link.strike("timeout", toxic(Direction::Up, timeout), Seed(1)).unwrap();
    let clock = RunClock::start();
    loop {
        let _ = client.write_all(b"busy");
        match client.read(&mut [0; 1]) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("FIN was expected, not {other:?}"),
        }
        assert!(clock.now().as_secs_f64() < 2.0, "it started over");
    }
}

#[test]
fn the_same_seed_takes_the_same_connections() {
    let taken = |seed| -> Vec<bool> {
        let engine = engine();
        let link = link(&engine, server(echo));
        let strike =
            Strike::Toxic { direction: Direction::Down, toxic: Toxic::LimitData { bytes: Bytes(0) }, share: 0.5 };
        link.strike("half", strike, Seed(seed)).unwrap();
        (0..24)
            .map(|_| {
                let mut client = TcpStream::connect(link.addr()).unwrap();
                client.write_all(b"x").unwrap();
                client.read(&mut [0; 1]).is_ok_and(|n| n == 1)
            })
            .collect()
    };
    assert_eq!(taken(7), taken(7));
    assert_ne!(taken(7), taken(8));
    assert!(taken(7).contains(&true) && taken(7).contains(&false));
}

#[test]
fn small_writes_are_not_held_back_by_nagle() {
    let engine = engine();
    let link = link(&engine, server(echo));
    let mut client = TcpStream::connect(link.addr()).unwrap();
    client.set_nodelay(true).unwrap();
    let clock = RunClock::start();
    // Two writes and a read each: with Nagle and delayed acknowledgements, 40 ms a round.
    for _ in 0..25 {
        client.write_all(b"a").unwrap();
        client.write_all(b"b").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
    assert!(clock.now().as_secs_f64() < 0.5, "{}", clock.now());
}

#[test]
fn latency_does_not_become_a_bandwidth_limit() {
    let engine = engine();
    let link = link(&engine, server(|mut stream| drop(stream.write_all(&vec![7; 10_000_000]))));
    link.strike("slow", toxic(Direction::Down, latency(Duration::from_millis(100))), Seed(1)).unwrap();
    let clock = RunClock::start();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 10_000_000);
    // A latency a chunk of 32 KiB would be 30 s; the rest is for a loaded machine.
    let took = clock.now().as_secs_f64();
    assert!((0.1..1.0).contains(&took), "{took}");
}

#[test]
fn a_server_that_answers_and_closes_early_is_still_heard() {
    let engine = engine();
    let link = link(
        &engine,
        server(|mut stream| {
            let _ = stream.read(&mut [0; 10]);
            let _ = stream.write_all(b"too large");
        }),
    );
    let mut client = TcpStream::connect(link.addr()).unwrap();
    let _ = client.write_all(&vec![1; 3_000_000]);
    let mut got = Vec::new();
    let _ = client.read_to_end(&mut got);
    assert_eq!(got, b"too large");
}

#[test]
fn addresses_outside_the_permit_are_not_dialled() {
    let engine = engine();
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut spec = LinkSpec::new("guarded", upstream.local_addr().unwrap().to_string());
    spec.permit = Permit::when(|_| false);
    let link = engine.open(spec).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(link.counters().dial_failed, 1);
    upstream.set_nonblocking(true).unwrap();
    assert!(upstream.accept().is_err());
}

/// Names the upstream to the child process of the test below.
const SHORT_OF_DESCRIPTORS: &str = "BROWNOUT_TEST_SHORT_OF_DESCRIPTORS";

/// The limit holds for a whole process, so the proxy that meets it has one of its own: this same test, run again.
#[test]
fn running_out_of_descriptors_in_accept_stops_a_link_only_as_long_as_it_lasts() {
    if let Ok(upstream) = std::env::var(SHORT_OF_DESCRIPTORS) {
        return short_of_descriptors(&upstream);
    }
    let name = "running_out_of_descriptors_in_accept_stops_a_link_only_as_long_as_it_lasts";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(SHORT_OF_DESCRIPTORS, server(echo).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

fn short_of_descriptors(upstream: &str) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::fd::AsRawFd;

    let engine = engine();
    let link = engine.open(LinkSpec::new("short", upstream)).unwrap();
    let says = |client: &mut TcpStream, text: &[u8]| {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    let mut before = TcpStream::connect(link.addr()).unwrap();
    says(&mut before, b"before");
    // The clients' own descriptors are taken beforehand.
    let waiting: Vec<_> =
        (0..40).map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()).collect();

    // A new descriptor gets the lowest free number: with that one forbidden there is none.
    let lowest = before.try_clone().unwrap().as_raw_fd() as u64;
    let plenty = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(lowest), ..plenty }).unwrap();
    // Whatever the test harness may have given back in between is taken.
    let _gaps: Vec<_> = std::iter::from_fn(|| before.try_clone().ok()).collect();
    let clock = RunClock::start();
    for client in &waiting {
        client.connect(&link.addr().into()).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    soon("accepting has failed", || link.accept_failures() > 0);
    says(&mut before, b"goes on");
    thread::sleep(Duration::from_millis(300));
    // It tries again each 50 ms, however many wait at the port.
    let (failures, tries) = (link.accept_failures(), clock.now().as_secs_f64() / 0.05 + 2.0);
    assert!((failures as f64) <= tries, "{failures} failures in {}", clock.now());
    assert_eq!(link.counters().accepted, 1);

    // One more is enough for accept, and none is left to dial with: the client is told.
    setrlimit(Resource::Nofile, Rlimit { current: Some(lowest + 1), ..plenty }).unwrap();
    soon("a dial has failed", || link.counters().dial_failed > 0);
    // One after the other of those who wait is accepted and told: in between there is only the one from before.
    soon("nothing is left of it", || link.counters().open == 1);

    setrlimit(Resource::Nofile, plenty).unwrap();
    soon("nobody waits at the port any more", || link.counters().accepted == 41);
    let told = link.counters().dial_failed as usize;
    let mut served = 0;
    for client in waiting {
        let mut client = TcpStream::from(client);
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        if client.write_all(b"after").is_ok() && client.read_exact(&mut [0; 5]).is_ok() {
            served += 1;
        }
    }
    assert_eq!(served, 40 - told);
    says(&mut TcpStream::connect(link.addr()).unwrap(), b"as ever");
}
