//! A link that is served by several engine threads is one link all the same: by its numbers, totals and faults.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod proxy_support;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::event::Mechanism;
use brownout::plan::fault::{Direction, Toxic};
use brownout::proxy::{Engine, Link, Reach, Strike, StrikeId};
use brownout::seed::Seed;
use brownout::units::Span;
use proxy_support::{echo, engine, engines_of, latency, link, server, soon, toxic};

/// Enough that each of three threads has some.
const CLIENTS: usize = 60;

const THREADS: usize = 3;

fn crowd(link: &Link) -> Vec<TcpStream> {
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(link.addr()).unwrap()).collect();
    soon("all connected", || link.counters().connected >= CLIENTS as u64);
    clients
}

fn strike(link: &Link, reach: Reach) -> StrikeId {
    link.strike("reach", Strike::Reach(reach), Seed(1)).unwrap().id
}

fn all_say(clients: &mut [TcpStream], text: &[u8]) {
    for client in clients.iter_mut() {
        client.write_all(text).unwrap();
    }
    all_hear(clients, text);
}

fn all_hear(clients: &mut [TcpStream], text: &[u8]) {
    for client in clients {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    }
}

/// How a client's connection stands, seen by reading for a moment.
fn ending(client: &mut TcpStream, patience: Duration) -> Result<usize, ErrorKind> {
    client.set_read_timeout(Some(patience)).unwrap();
    client.read(&mut [0; 1]).map_err(|error| error.kind())
}

#[test]
fn numbers_follow_the_order_of_accepting_and_totals_are_of_the_whole_link() {
    for engine in engines_of(THREADS) {
        let link = link(&engine, server(echo));
        let mut clients = crowd(&link);
        for (index, client) in clients.iter().enumerate() {
            let number = link.connection_from(client.local_addr().unwrap());
            assert_eq!(number, Some(index as u64 + 1), "loopback connections are accepted in the order of connecting");
        }
        let infos = link.connections();
        let numbers: BTreeSet<u64> = infos.iter().map(|info| info.number).collect();
        assert_eq!((infos.len(), numbers.len()), (CLIENTS, CLIENTS));
        all_say(&mut clients, b"hello");
        soon("all is counted", || link.counters().down_sent_bytes == 5 * CLIENTS as u64);
        let counters = link.counters();
        assert_eq!((counters.accepted, counters.open), (CLIENTS as u64, CLIENTS as u64));
        assert_eq!((counters.up_received_bytes, counters.up_sent_bytes), (300, 300));
        drop(clients);
        soon("all closed", || link.counters().open == 0);
        assert_eq!(link.counters().closed["fin"], CLIENTS as u64);
    }
}

#[test]
fn a_share_concerns_the_same_connections_on_any_number_of_threads() {
    let concerned = |engine: &Engine| -> Vec<bool> {
        let link = link(engine, server(echo));
        let mut clients = crowd(&link);
        let withhold = Toxic::Timeout { after: Span(Duration::ZERO) };
        let strike = Strike::Toxic { direction: Direction::Down, toxic: withhold, share: 0.5 };
        link.strike("half", strike, Seed(7)).unwrap();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        thread::sleep(Duration::from_millis(200));
        clients.iter_mut().map(|client| ending(client, Duration::from_millis(1)) != Ok(1)).collect()
    };
    let alone = concerned(&engine());
    let spread = concerned(&Engine::start(THREADS, RunClock::start()).unwrap());
    assert!(alone.contains(&true) && alone.contains(&false), "{alone:?}");
    assert_eq!(alone, spread);
}

#[test]
fn a_silent_cut_concerns_all_and_its_evidence_is_the_sum() {
    for engine in engines_of(THREADS) {
        let link = link(&engine, server(echo));
        let mut clients = crowd(&link);
        all_say(&mut clients, b"before");
        let cut = strike(&link, Reach::Silent(Direction::Both));
        for client in &mut clients {
            client.write_all(b"during").unwrap();
        }
        thread::sleep(Duration::from_millis(100));
        assert!(clients.iter_mut().all(|client| ending(client, Duration::from_millis(1)).is_err()));
        let met = link.heal(cut).unwrap();
        assert_eq!(met.passed_bytes, 0);
        match engine.mechanism() {
            Mechanism::KernelDrop => assert!(met.dropped_segments >= CLIENTS as u64, "{met:?}"),
            Mechanism::Stall => assert_eq!(met.withheld_bytes, 6 * CLIENTS as u64, "{met:?}"),
        }
        all_hear(&mut clients, b"during");
        assert_eq!(link.evidence(cut), None);
    }
}

#[test]
fn a_reset_hits_each_connection_once_whoever_serves_it() {
    for engine in engines_of(THREADS) {
        let link = link(&engine, server(echo));
        // Nobody waits: some stand in the kernel's queue, some are on their way from thread to thread.
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(link.addr()).unwrap()).collect();
        let reset = strike(&link, Reach::Reset);
        for client in &mut clients {
            assert_eq!(ending(client, Duration::from_secs(5)), Err(ErrorKind::ConnectionReset));
        }
        let mut late = TcpStream::connect(link.addr()).unwrap();
        assert_eq!(ending(&mut late, Duration::from_secs(5)), Err(ErrorKind::ConnectionReset));
        soon("the late one is counted", || link.counters().accepted == CLIENTS as u64 + 1);
        assert_eq!(link.heal(reset).unwrap().connections, CLIENTS as u64 + 1);
        soon("all closed", || link.counters().open == 0);
        let counters = link.counters();
        assert_eq!((counters.closed["fault"], counters.faulted_connections), (61, 61));
        all_say(&mut [TcpStream::connect(link.addr()).unwrap()], b"after");
    }
}

#[test]
fn toxics_join_change_and_leave_everywhere() {
    let engine = Engine::start(THREADS, RunClock::start()).unwrap();
    let link = link(&engine, server(echo));
    let mut clients = crowd(&link);
    let clock = RunClock::start();
    let id = link.strike("slow", toxic(Direction::Down, latency(Duration::from_millis(150))), Seed(1)).unwrap().id;
    all_say(&mut clients, b"slow");
    assert!(clock.now().as_secs_f64() >= 0.15);
    link.update_toxic(id, latency(Duration::from_secs(20)), 1.0);
    for client in &mut clients {
        client.write_all(b"held").unwrap();
    }
    thread::sleep(Duration::from_millis(50));
    assert!(clients.iter_mut().all(|client| ending(client, Duration::from_millis(1)).is_err()));
    let met = link.heal(id).unwrap();
    assert_eq!(met.altered_chunks, 2 * CLIENTS as u64);
    all_hear(&mut clients, b"held");
}

#[test]
fn a_dropped_share_is_drawn_on_every_thread() {
    let engine = Engine::start(THREADS, RunClock::start()).unwrap();
    let link = link(&engine, server(echo));
    let mut clients = crowd(&link);
    let drop = strike(&link, Reach::Drop { share: 0.5, reset: true, once: true });
    let gone = clients.iter_mut().filter_map(|client| ending(client, Duration::from_millis(30)).err());
    let gone = gone.filter(|kind| *kind == ErrorKind::ConnectionReset).count();
    assert_eq!(link.heal(drop).unwrap().connections, gone as u64);
    // Of 60 coins some 30; beyond these bounds lies one seed of 100,000.
    assert!((13..=47).contains(&gone), "{gone}");
}

#[test]
fn a_long_stream_through_a_thread_that_is_not_home_stays_whole() {
    let engine = Engine::start(2, RunClock::start()).unwrap();
    let link = link(&engine, server(echo));
    let clients = crowd(&link);
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    thread::scope(|scope| {
        for client in &clients[CLIENTS - 8..] {
            let mut writer = client;
            let sent = &sent;
            scope.spawn(move || {
                writer.write_all(sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut back = Vec::new();
                let mut reader = client;
                reader.read_to_end(&mut back).unwrap();
                assert!(back == *sent);
            });
        }
    });
}

#[test]
fn closing_a_link_closes_its_connections_everywhere_and_frees_the_port() {
    let engine = Engine::start(THREADS, RunClock::start()).unwrap();
    let link = link(&engine, server(echo));
    let mut clients = crowd(&link);
    link.close();
    assert_eq!(link.counters().closed["shutdown"], CLIENTS as u64);
    assert!(clients.iter_mut().all(|client| matches!(ending(client, Duration::from_secs(5)), Ok(0) | Err(_))));
    TcpListener::bind(link.addr()).unwrap();
}
