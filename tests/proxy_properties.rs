//! What holds for any chain of toxics over real sockets, at any moment of change.
//!
//! The chains alone have their properties in `src/proxy/chain/properties.rs`; here it is the way round them as well:
//! splice, full sockets, half-closes, and an engine thread that is given orders while bytes flow.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod proxy_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::event::Mechanism;
use brownout::plan::fault::{Direction, HttpEffect, HttpFault, Law, Links, Toxic};
use brownout::proxy::chain::BUDGET;
use brownout::proxy::{Engine, Link, LinkSpec, Strike, StrikeId};
use brownout::seed::Seed;
use brownout::units::{ByteRate, Bytes, Share, Span};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use proxy_support::{engine, latency, soon, toxic};

/// What is done to the link while bytes flow.
#[derive(Clone, Debug)]
enum Deed {
    Insert(Direction, Toxic),
    Update(usize, Toxic),
    Remove(usize),
    Wait(Duration),
}

/// Who sends the first FIN.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// Each side when it has said all.
    Alone,
    /// The client; the server goes on sending, and says its last words when it has seen that.
    ClientFirst,
    /// The other way round.
    ServerFirst,
}

#[derive(Clone, Debug)]
struct Case {
    mechanism: Mechanism,
    deeds: Vec<Deed>,
    /// Whether toxics are still in force when the ends pass.
    heals: bool,
    up: Vec<usize>,
    down: Vec<usize>,
    ends: Ends,
}

/// Toxics that take no byte and change none, quick enough for megabytes within a second.
fn lossless() -> impl Strategy<Value = Toxic> {
    let law = prop_oneof![Just(Law::Uniform), Just(Law::Normal), Just(Law::Pareto)];
    let span = |most: u64| (0..=most).prop_map(|micros| Span(Duration::from_micros(micros)));
    let share = |most: f64| (0.0..=most).prop_map(|share| Share::new(share).unwrap());
    prop_oneof![
        (span(30_000), span(15_000), law, share(1.0)).prop_map(|(add, jitter, law, correlation)| Toxic::Latency {
            add,
            jitter,
            law,
            correlation
        }),
        (3_000_000..300_000_000u64).prop_map(|rate| Toxic::Bandwidth { rate: ByteRate(rate) }),
        (share(0.002), prop_oneof![Just(Share::NONE), share(0.5)])
            .prop_map(|(loss, correlation)| Toxic::PacketLoss { loss, correlation }),
        (200..50_000u64, 0..60_000u64, span(20)).prop_map(|(size, variation, wait)| Toxic::Slicer {
            size: Bytes(size),
            variation: Bytes(variation),
            wait
        }),
        span(30_000).prop_map(|delay| Toxic::SlowClose { delay }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let direction = prop_oneof![Just(Direction::Up), Just(Direction::Down), Just(Direction::Both)];
    prop_oneof![
        3 => (direction, lossless()).prop_map(|(direction, toxic)| Deed::Insert(direction, toxic)),
        1 => (0..4usize, lossless()).prop_map(|(which, toxic)| Deed::Update(which, toxic)),
        2 => (0..4usize).prop_map(Deed::Remove),
        4 => (0..40_000u64).prop_map(|micros| Deed::Wait(Duration::from_micros(micros))),
    ]
}

/// The sizes of one side's writes: words, reads of more than one buffer, and what is worth splicing.
fn writes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![4 => 1..300usize, 4 => 1..150_000usize, 1 => 300_000..900_000usize], 0..12)
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop_oneof![Just(Mechanism::KernelDrop), Just(Mechanism::Stall)],
        prop::collection::vec(deed(), 1..16),
        any::<bool>(),
        (writes(), writes()),
        prop_oneof![Just(Ends::Alone), Just(Ends::ClientFirst), Just(Ends::ServerFirst)],
    )
        .prop_map(|(mechanism, deeds, heals, (up, down), ends)| Case { mechanism, deeds, heals, up, down, ends })
}

/// Bytes of which no two places look alike, and no two streams either.
fn noise(stream: u32, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| ((i as u32 ^ stream).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// One side of a connection: says its writes, sends FIN, and hears the other out.
struct Talk {
    stream: u32,
    writes: Vec<usize>,
    /// It keeps its last words, and its FIN, until the other's FIN has come.
    waits: bool,
}

const LAST_WORDS: usize = 1000;

impl Talk {
    fn said(&self) -> Vec<u8> {
        let last = if self.waits { LAST_WORDS } else { 0 };
        noise(self.stream, 0, self.writes.iter().sum::<usize>() + last)
    }

    /// What was heard until the other's FIN.
    fn hold(&self, socket: TcpStream) -> std::io::Result<Vec<u8>> {
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.set_write_timeout(Some(Duration::from_secs(20)))?;
        let (mut reader, mut writer) = (socket.try_clone()?, socket);
        let hearing = thread::spawn(move || {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).map(|_| heard)
        });
        let mut at = 0;
        for &len in &self.writes {
            writer.write_all(&noise(self.stream, at, len))?;
            at += len;
            if len % 3 == 0 {
                thread::sleep(Duration::from_micros(len as u64 % 5000));
            }
        }
        if !self.waits {
            writer.shutdown(Shutdown::Write)?;
            return hearing.join().unwrap();
        }
        let heard = hearing.join().unwrap()?;
        writer.write_all(&noise(self.stream, at, LAST_WORDS))?;
        writer.shutdown(Shutdown::Write)?;
        Ok(heard)
    }
}

/// Plays the deeds; the toxics that are left in force.
fn play(link: &Link, deeds: &[Deed]) -> Vec<StrikeId> {
    let mut live = Vec::new();
    for deed in deeds {
        match *deed {
            Deed::Insert(direction, add) if live.len() < 4 => {
                live.push(link.strike("property", toxic(direction, add), Seed(live.len() as u64)).unwrap().id);
            }
            Deed::Update(which, to) if which < live.len() => link.update_toxic(live[which], to, 1.0),
            Deed::Remove(which) if which < live.len() => {
                link.heal(live.remove(which)).unwrap();
            }
            Deed::Wait(span) => thread::sleep(span),
            Deed::Insert(..) | Deed::Update(..) | Deed::Remove(_) => {}
        }
    }
    live
}

#[test]
fn no_byte_is_lost_doubled_or_reordered_and_half_closes_are_kept() {
    let engines = [Mechanism::KernelDrop, Mechanism::Stall].map(|mechanism| {
        let natural = engine();
        if natural.mechanism() == mechanism {
            natural
        } else {
            Engine::with_mechanism(1, RunClock::start(), Mechanism::Stall).unwrap()
        }
    });
    let config = ProptestConfig { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..Default::default() };
    let dice = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, dice).run(&case(), |case| {
        let engine = &engines[usize::from(case.mechanism == Mechanism::Stall)];
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let link = proxy_support::link(engine, listener.local_addr().unwrap());
        let client = Talk { stream: 0, writes: case.up.clone(), waits: case.ends == Ends::ServerFirst };
        let server = Talk { stream: 7 << 20, writes: case.down.clone(), waits: case.ends == Ends::ClientFirst };
        let (said_up, said_down) = (client.said(), server.said());
        let near = TcpStream::connect(link.addr()).unwrap();
        let serving = thread::spawn(move || server.hold(listener.accept()?.0));
        let talking = thread::spawn(move || client.hold(near));
        let live = play(&link, &case.deeds);
        if case.heals {
            for id in live {
                link.heal(id).unwrap();
            }
        }
        let heard_up = serving.join().unwrap();
        let heard_down = talking.join().unwrap();
        for (way, heard, said) in [("up", heard_up, &said_up), ("down", heard_down, &said_down)] {
            let heard = heard.map_err(|error| TestCaseError::fail(format!("{way}: {error}")))?;
            let alike = heard.iter().zip(said).take_while(|(heard, said)| heard == said).count();
            prop_assert!(&heard == said, "{way}: {} of {} bytes, {alike} alike", heard.len(), said.len());
        }
        soon("the connection is over", || link.counters().open == 0);
        let counters = link.counters();
        prop_assert_eq!(counters.up_sent_bytes, said_up.len() as u64);
        prop_assert_eq!(counters.down_sent_bytes, said_down.len() as u64);
        prop_assert_eq!(counters.closed.get("fin"), Some(&1));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Takes connections and leaves them unread.
fn deaf() -> (SocketAddr, Receiver<TcpStream>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, streams) = channel();
    thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| sender.send(stream)));
    (addr, streams)
}

/// What the kernel may take in from a sender on its way through a proxy: two send and two receive buffers.
fn kernel_buffers() -> usize {
    let most = |name: &str| -> usize {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        text.split_whitespace().last().unwrap().parse().unwrap()
    };
    2 * (most("tcp_rmem") + most("tcp_wmem"))
}

/// Writes until nothing is taken for half a second; how much was taken by then.
fn fill(client: &mut TcpStream, text: &[u8], limit: usize) -> usize {
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut taken = 0;
    while taken <= limit {
        // The next write goes on where the last one was cut short.
        match client.write(&text[taken % text.len()..]) {
            Ok(written) => taken += written,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the sender was never stopped, though {taken} bytes were taken");
}

#[test]
fn a_receiver_that_does_not_read_stops_the_sender_and_a_pipe_stays_within_its_budget() {
    let engine = engine();
    // What a pipe without toxic may hold: what a short write has left of one read, or a splice pipe.
    const BARE: usize = 128 * 1024;
    let hour = Duration::from_secs(3600);
    for (shaping, http, budget) in [
        (None, false, BARE),
        (Some(latency(hour)), false, BUDGET),
        (Some(Toxic::Bandwidth { rate: ByteRate(1000) }), false, 512 * 1024),
        (Some(Toxic::Slicer { size: Bytes(1000), variation: Bytes(0), wait: Span(hour) }), false, 512 * 1024),
        (None, true, BARE),
        (Some(latency(hour)), true, BUDGET),
    ] {
        let (upstream, streams) = deaf();
        let link = engine.open(LinkSpec { http, ..LinkSpec::new("full", upstream.to_string()) }).unwrap();
        let struck = shaping.map(|shaping| link.strike("shape", toxic(Direction::Up, shaping), Seed(1)).unwrap());
        let mut client = TcpStream::connect(link.addr()).unwrap();
        let head = b"PUT /large HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n";
        if http {
            client.write_all(head).unwrap();
        }
        let bytes = noise(1, 0, 1 << 20);
        let taken = fill(&mut client, &bytes, kernel_buffers() + budget + BARE);
        let counters = link.counters();
        let held = (counters.up_received_bytes - counters.up_sent_bytes) as usize;
        assert!(held <= budget + BARE, "{shaping:?}, http {http}: {held} bytes held");

        // The wait over, all that was taken arrives.
        let mut server = streams.recv().unwrap();
        if let Some(struck) = struck {
            link.heal(struck.id).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        server.read_to_end(&mut got).unwrap();
        let body = if http { got.strip_prefix(head).unwrap() } else { &got[..] };
        assert_eq!(body.len(), taken, "{shaping:?}, http {http}");
        assert!(body.chunks(bytes.len()).all(|chunk| chunk == &bytes[..chunk.len()]), "{shaping:?}, http {http}");
    }
}

#[test]
fn who_asks_and_never_reads_the_proxys_own_answers_is_stopped_too() {
    let engine = engine();
    let (upstream, _streams) = deaf();
    let link = engine.open(LinkSpec { http: true, ..LinkSpec::new("answers", upstream.to_string()) }).unwrap();
    let fault = HttpFault {
        links: Links::Named(Vec::new()),
        method: None,
        path: None,
        share: Share::ALL,
        first: None,
        effect: HttpEffect::Status { code: 503, retry_after: None },
    };
    link.strike("status", Strike::Http(fault), Seed(1)).unwrap();
    let mut client = TcpStream::connect(link.addr()).unwrap();
    // Answers are longer than these requests, so what the kernel may take bounds both ways.
    let text = b"GET / HTTP/1.1\r\n\r\n".repeat(10_000);
    fill(&mut client, &text, kernel_buffers() + BUDGET);
}
