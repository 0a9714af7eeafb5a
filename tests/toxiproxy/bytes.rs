//! Every toxic through its API, and what it does to bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Server, connect, echo, soon, upstream};

/// A server with a proxy `web` in front of an echo.
fn web() -> (Server, SocketAddr) {
    let server = Server::start(&[]);
    let addr = server.proxy("web", upstream(echo));
    (server, addr)
}

/// How long `text` takes there and back.
fn round_trip(stream: &mut TcpStream, text: &[u8]) -> Duration {
    let start = Instant::now();
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == text);
    start.elapsed()
}

/// A server that sends so many bytes at once, and the end behind them.
fn flood(bytes: usize) -> SocketAddr {
    upstream(move |mut stream| drop(stream.write_all(&vec![7; bytes])))
}

#[test]
fn latency_comes_and_goes_on_an_open_connection() {
    let (server, addr) = web();
    let mut client = connect(addr);
    round_trip(&mut client, b"before");
    server.toxic("web", "latency", "downstream", r#"{"latency":200}"#);
    assert!(round_trip(&mut client, b"slow") >= Duration::from_millis(200));
    server.done("PATCH", "/proxies/web/toxics/latency_downstream", r#"{"attributes":{"latency":400}}"#);
    assert!(round_trip(&mut client, b"slower") >= Duration::from_millis(400));
    server.toxic("web", "latency", "upstream", r#"{"latency":100}"#);
    assert!(round_trip(&mut client, b"both add up") >= Duration::from_millis(500));
    server.done("POST", "/reset", "");
    assert!(round_trip(&mut client, b"as before") < Duration::from_millis(200));
}

#[test]
fn bandwidth_counts_kilobytes_of_1000_bytes_and_zero_lets_nothing_pass() {
    let server = Server::start(&[]);
    let addr = server.proxy("web", flood(100_000));
    server.toxic("web", "bandwidth", "downstream", r#"{"rate":200}"#);
    let start = Instant::now();
    let mut got = Vec::new();
    connect(addr).read_to_end(&mut got).unwrap();
    let took = start.elapsed().as_secs_f64();
    assert_eq!(got.len(), 100_000);
    // Half a second at 200,000 B/s; with 1024 bytes to a kilobyte it would be 0.488 s. Above, a busy machine speaks.
    assert!((0.495..3.0).contains(&took), "{took}");

    server.done("PATCH", "/proxies/web/toxics/bandwidth_downstream", r#"{"attributes":{"rate":0}}"#);
    let mut client = connect(addr);
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    server.done("DELETE", "/proxies/web/toxics/bandwidth_downstream", "");
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 200_000, "what was held is not lost");
}

#[test]
fn slow_close_holds_back_the_end_alone() {
    let server = Server::start(&[]);
    let addr = server.proxy("web", flood(5));
    server.toxic("web", "slow_close", "downstream", r#"{"delay":300}"#);
    let start = Instant::now();
    let mut client = connect(addr);
    client.read_exact(&mut [0; 5]).unwrap();
    assert!(start.elapsed() < Duration::from_millis(250));
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn timeout_withholds_and_closes_and_its_removal_ends_what_has_lost_bytes() {
    let (server, addr) = web();
    server.toxic("web", "timeout", "upstream", r#"{"timeout":300}"#);
    let start = Instant::now();
    let mut client = connect(addr);
    client.write_all(b"lost").unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(290));

    server.done("PATCH", "/proxies/web/toxics/timeout_upstream", r#"{"attributes":{"timeout":0}}"#);
    let (mut harmed, mut unharmed) = (connect(addr), connect(addr));
    harmed.write_all(b"lost").unwrap();
    harmed.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(harmed.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock, "0 never closes");
    harmed.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    server.done("DELETE", "/proxies/web/toxics/timeout_upstream", "");
    assert_eq!(harmed.read(&mut [0; 1]).unwrap(), 0);
    round_trip(&mut unharmed, b"lives on");
}

#[test]
fn reset_peer_resets_idle_and_new_connections() {
    let (server, addr) = web();
    let mut idle = connect(addr);
    round_trip(&mut idle, b"open");
    server.toxic("web", "reset_peer", "downstream", r#"{"timeout":50}"#);
    assert_eq!(idle.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(connect(addr).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn removing_a_reset_that_waits_does_not_block() {
    let (server, addr) = web();
    let mut client = connect(addr);
    server.toxic("web", "reset_peer", "upstream", r#"{"timeout":60000}"#);
    let start = Instant::now();
    server.done("DELETE", "/proxies/web/toxics/reset_peer_upstream", "");
    assert!(start.elapsed() < Duration::from_secs(2));
    round_trip(&mut client, b"unharmed");
}

#[test]
fn slicer_cuts_without_losing_a_byte() {
    let server = Server::start(&[]);
    let addr = server.proxy("web", flood(20_000));
    server.toxic("web", "slicer", "downstream", r#"{"average_size":1000,"size_variation":100,"delay":2000}"#);
    let start = Instant::now();
    let mut client = connect(addr);
    let mut sizes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        match client.read(&mut buffer).unwrap() {
            0 => break,
            size => sizes.push(size),
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 20_000);
    // 20 pieces, 2 ms apart; a reader that is late sees some of them together.
    assert!(start.elapsed() >= Duration::from_millis(36), "{:?}", start.elapsed());
    assert!(sizes[0] <= 1100, "{sizes:?}");
}

#[test]
fn limit_data_cuts_where_it_says_and_counts_on_through_an_update() {
    let server = Server::start(&[]);
    let addr = server.proxy("web", upstream(echo));
    server.toxic("web", "limit_data", "downstream", r#"{"bytes":10}"#);
    let mut client = connect(addr);
    round_trip(&mut client, b"12345");
    server.done("PATCH", "/proxies/web/toxics/limit_data_downstream", r#"{"attributes":{"bytes":12}}"#);
    client.write_all(b"6789012345").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"6789012", "12 in all");
}

#[test]
fn packet_loss_takes_whole_chunks_out_and_in_the_other_mode_none() {
    let (server, addr) = web();
    server.toxic("web", "packet_loss", "upstream", r#"{"loss_rate":1}"#);
    let mut client = connect(addr);
    client.write_all(b"gone").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    server.done(
        "PATCH",
        "/proxies/web/toxics/packet_loss_upstream",
        r#"{"attributes":{"mode":"stall","loss_rate":0}}"#,
    );
    round_trip(&mut client, b"the rest");
}

#[test]
fn noop_does_nothing() {
    let (server, addr) = web();
    server.toxic("web", "noop", "upstream", "{}");
    round_trip(&mut connect(addr), b"as if it were not there");
}

#[test]
fn a_toxicity_takes_its_share_of_connections_and_the_same_with_the_same_seed() {
    let taken = |seed: &str| -> Vec<bool> {
        let server = Server::start(&["-seed", seed]);
        let addr = server.proxy("web", upstream(echo));
        let half = r#"{"type":"limit_data","toxicity":0.5,"attributes":{"bytes":0}}"#;
        server.done("POST", "/proxies/web/toxics", half);
        (0..40)
            .map(|_| {
                let mut client = connect(addr);
                client.write_all(b"x").unwrap();
                client.read(&mut [0; 1]).is_ok_and(|read| read == 1)
            })
            .collect()
    };
    let one = taken("7");
    assert_eq!(one, taken("7"));
    assert_ne!(one, taken("-8"));
    let survived = one.iter().filter(|survived| **survived).count();
    assert!((5..=35).contains(&survived), "{survived} of 40");
}

#[test]
fn a_toxicity_is_rolled_once_and_not_again_for_a_neighbour_s_sake() {
    let (server, addr) = web();
    let half = r#"{"type":"latency","toxicity":0.5,"attributes":{"latency":100}}"#;
    server.done("POST", "/proxies/web/toxics", half);
    let mut clients: Vec<_> = (0..12).map(|_| connect(addr)).collect();
    let mut slow = || -> Vec<bool> {
        clients.iter_mut().map(|client| round_trip(client, b"x") >= Duration::from_millis(100)).collect()
    };
    let before = slow();
    server.toxic("web", "noop", "downstream", "{}");
    server.toxic("web", "slicer", "downstream", r#"{"average_size":100}"#);
    server.done("PATCH", "/proxies/web/toxics/latency_downstream", r#"{"attributes":{"latency":100}}"#);
    assert_eq!(before, slow());
}

#[test]
fn disabling_closes_every_connection_and_frees_the_port() {
    let (server, addr) = web();
    let mut client = connect(addr);
    round_trip(&mut client, b"open");
    server.done("PATCH", "/proxies/web", r#"{"enabled":false}"#);
    assert!(matches!(client.read(&mut [0; 1]), Ok(0)));
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(std::net::TcpListener::bind(addr).unwrap());
    server.done("PATCH", "/proxies/web", r#"{"enabled":true}"#);
    round_trip(&mut connect(addr), b"open again");
    server.done("DELETE", "/proxies/web", "");
    drop(std::net::TcpListener::bind(addr).unwrap());
}

#[test]
fn another_upstream_closes_connections_and_keeps_toxics() {
    let (server, addr) = web();
    let mut client = connect(addr);
    round_trip(&mut client, b"to the first");
    server.toxic("web", "latency", "downstream", r#"{"latency":100}"#);
    let second = upstream(|mut stream| {
        stream.read_exact(&mut [0; 1]).unwrap();
        stream.write_all(b"second").unwrap();
    });
    server.done("PATCH", "/proxies/web", &format!(r#"{{"upstream":"{second}"}}"#));
    assert!(matches!(client.read(&mut [0; 1]), Ok(0)));
    let mut client = connect(addr);
    let start = Instant::now();
    client.write_all(b"x").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"second");
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[test]
fn the_reply_after_a_client_s_fin_arrives() {
    let server = Server::start(&[]);
    let addr = server.proxy(
        "web",
        upstream(|mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        }),
    );
    server.toxic("web", "latency", "downstream", r#"{"latency":50}"#);
    let mut client = connect(addr);
    client.write_all(b"half closed").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"half closed");
}

#[test]
fn a_dial_that_fails_closes_the_client_and_nothing_else() {
    let server = Server::start(&[]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addr = server.proxy("web", free);
    for _ in 0..3 {
        let read = connect(addr).read(&mut [0; 1]);
        assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
    server.done("PATCH", "/proxies/web", &format!(r#"{{"upstream":"{}"}}"#, upstream(echo)));
    round_trip(&mut connect(addr), b"now it is there");
}

#[test]
fn counters_move_while_a_connection_lives() {
    let server = Server::start(&["-proxy-metrics"]);
    let addr = server.proxy("web", upstream(echo));
    let mut client = connect(addr);
    round_trip(&mut client, &[7; 1234]);
    let sample = |name: &str, direction: &str| {
        let metrics = server.call("GET", "/metrics", "").body;
        let start = format!("{name}{{direction=\"{direction}\",listener=\"{addr}\",proxy=\"web\",upstream=");
        let line = metrics.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    for name in ["toxiproxy_proxy_received_bytes_total", "toxiproxy_proxy_sent_bytes_total"] {
        for direction in ["upstream", "downstream"] {
            soon("it is counted", || sample(name, direction) == 1234);
        }
    }
    server.done("PATCH", "/proxies/web", r#"{"enabled":false}"#);
    server.done("PATCH", "/proxies/web", r#"{"enabled":true}"#);
    round_trip(&mut connect(addr), &[7; 1000]);
    soon("they go on through a stop", || sample("toxiproxy_proxy_sent_bytes_total", "upstream") == 2234);
}
