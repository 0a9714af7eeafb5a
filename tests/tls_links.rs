//! A link that ends TLS: real TLS on both sides, faults on what is inside, and TCP faults as real as ever.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod proxy_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use brownout::event::Mechanism;
use brownout::plan::fault::{BodyShare, Direction, HttpEffect, HttpFault, Links, Toxic};
use brownout::proxy::{Authority, Engine, Link, LinkSpec, Reach, Strike, Termination};
use brownout::seed::Seed;
use brownout::units::{Bytes, Share};
use common::tls::TlsServer;
use proxy_support::{engine, engines_of, latency, server, soon, toxic};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// Trusts one authority.
fn trusting(authority: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn of_file(pem: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(pem).unwrap()
}

/// A TLS client of the link, its handshake still to be made.
fn dial(address: SocketAddr, name: &str, authority: CertificateDer<'static>) -> Client {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(trusting(authority)), name).unwrap(), socket)
}

/// A request over a connection that stays open, and its whole answer.
fn ask(client: &mut Client, path: &str) -> std::io::Result<String> {
    write!(client, "GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 4096];
        match client.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&part[..read]),
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines = head.lines().map(str::to_ascii_lowercase);
            let length = lines.filter_map(|line| line.strip_prefix("content-length: ").map(str::to_owned)).next();
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                return Ok(text);
            }
        }
    }
}

/// An upstream that speaks TLS under an authority of its own, one thread a connection.
fn sealed_server(serve: fn(StreamOwned<ServerConnection, TcpStream>)) -> (SocketAddr, CertificateDer<'static>) {
    let authority = Arc::new(Authority::generate().unwrap());
    let config = authority.server_config("upstream.example").unwrap();
    let address = server(move |socket| {
        socket.set_nodelay(true).unwrap();
        serve(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket));
    });
    (address, authority.certificate())
}

fn echo(mut stream: StreamOwned<ServerConnection, TcpStream>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let _ = stream.sock.shutdown(std::net::Shutdown::Write);
    let _ = stream.sock.read_to_end(&mut buffer);
}

/// A link that ends TLS before an echo server, and whom its clients are to trust.
fn echo_link(engine: &Engine) -> (Link, CertificateDer<'static>) {
    link_to(engine, echo)
}

fn link_to(engine: &Engine, serve: fn(StreamOwned<ServerConnection, TcpStream>)) -> (Link, CertificateDer<'static>) {
    let (upstream, trusted) = sealed_server(serve);
    let authority = Arc::new(Authority::generate().unwrap());
    let tls = Termination::new(&authority, "upstream.example", trusting(trusted)).unwrap();
    let spec = LinkSpec { tls: Some(tls), ..LinkSpec::new("sealed", upstream.to_string()) };
    (engine.open(spec).unwrap(), authority.certificate())
}

fn web_link(engine: &Engine, upstream: SocketAddr, ca: &Path) -> (Link, CertificateDer<'static>) {
    let authority = Arc::new(Authority::generate().unwrap());
    let tls = Termination::new(&authority, "shop.example", trusting(of_file(ca))).unwrap();
    let spec = LinkSpec { tls: Some(tls), http: true, ..LinkSpec::new("shop", upstream.to_string()) };
    (engine.open(spec).unwrap(), authority.certificate())
}

fn on_requests(effect: HttpEffect) -> Strike {
    let links = Links::Named(Vec::new());
    Strike::Http(HttpFault { links, method: None, path: None, share: Share::ALL, first: None, effect })
}

fn says(client: &mut Client, text: &[u8]) {
    client.write_all(text).unwrap();
    hears(client, text);
}

fn hears(client: &mut Client, text: &[u8]) {
    let mut back = vec![0; text.len()];
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

#[test]
fn http_faults_strike_requests_to_a_real_server_of_tls() {
    let Some(server) = TlsServer::start() else { return };
    let engine = engine();
    let (link, trusted) = web_link(&engine, server.named, &server.authority());
    let mut client = dial(link.addr(), "shop.example", trusted.clone());
    let answer = ask(&mut client, "/shop/health").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("shop.example shop.example /shop/health"),
        "{answer}"
    );

    let status = HttpEffect::Status { code: 503, retry_after: None };
    let fault = link.strike("busy", on_requests(status), Seed(1)).unwrap().id;
    let answer = ask(&mut client, "/shop/health").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "on the connection that was open: {answer}");
    assert_eq!(link.heal(fault).unwrap().requests, 1);
    assert!(ask(&mut client, "/shop/health").unwrap().starts_with("HTTP/1.1 200"));

    let fault = link.strike("cut", on_requests(HttpEffect::Abort { at: BodyShare(500) }), Seed(1)).unwrap().id;
    let error = ask(&mut client, "/shop/health").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    link.heal(fault);
    let counters = link.counters();
    assert_eq!((counters.requests, counters.faulted_requests, counters.connected), (4, 2, 1));
}

#[test]
fn a_client_gets_a_certificate_of_the_name_that_it_asks_for() {
    let engine = engine();
    let (link, trusted) = echo_link(&engine);
    for name in ["upstream.example", "other.example", "192.0.2.7"] {
        let mut client = dial(link.addr(), name, trusted.clone());
        let heard = client.write_all(b"hello").and_then(|()| client.read_exact(&mut [0; 5]));
        // An address is never named in a handshake: the certificate is the upstream's then.
        assert_eq!(heard.is_ok(), name != "192.0.2.7", "{name}: {heard:?}");
    }
    let stranger = Authority::generate().unwrap().certificate();
    let refused = dial(link.addr(), "upstream.example", stranger).write_all(b"hello").unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    soon("nobody is left", || link.counters().open == 0);
}

#[test]
fn a_client_is_told_in_its_handshake_that_the_upstream_is_not_trusted() {
    let Some(server) = TlsServer::start() else { return };
    let engine = engine();
    let (link, trusted) = web_link(&engine, server.named, &server.stranger());
    let error = ask(&mut dial(link.addr(), "shop.example", trusted), "/").unwrap_err();
    assert!(error.to_string().contains("UnknownCA"), "{error}");
    soon("it is counted", || link.counters().dial_failed == 1);
    assert_eq!(link.counters().requests, 0);
    soon("nobody is left", || link.counters().open == 0);
}

#[test]
fn a_long_stream_stays_whole_while_toxics_come_and_go() {
    for engine in engines_of(2) {
        let (link, trusted) = echo_link(&engine);
        let mut clients: Vec<Client> = (0..12).map(|_| dial(link.addr(), "a.example", trusted.clone())).collect();
        clients.iter_mut().for_each(|client| says(client, b"hello"));
        thread::scope(|scope| {
            for (n, client) in clients.iter_mut().enumerate() {
                scope.spawn(move || {
                    let sent: Vec<u8> = (0..1_500_000u32).map(|at| (at ^ (at >> 9)) as u8 ^ n as u8).collect();
                    let mut back = Vec::new();
                    for part in sent.chunks(30_011) {
                        client.write_all(part).unwrap();
                        let mut heard = vec![0; part.len()];
                        client.read_exact(&mut heard).unwrap();
                        back.extend_from_slice(&heard);
                    }
                    assert!(back == sent);
                    assert_eq!(ending(client), Ok(0), "the reply's end follows the request's");
                });
            }
            for round in 0..6 {
                let id = link.strike("slow", toxic(Direction::Both, latency(Duration::from_millis(3))), Seed(round));
                thread::sleep(Duration::from_millis(20));
                link.heal(id.unwrap().id).unwrap();
                let cut = link.strike("cut", Strike::Reach(Reach::Silent(Direction::Both)), Seed(round)).unwrap();
                thread::sleep(Duration::from_millis(20));
                link.heal(cut.id).unwrap();
            }
        });
        soon("all have left in good order", || link.counters().closed.get("fin") == Some(&12));
        let counters = link.counters();
        assert_eq!((counters.up_received_bytes, counters.down_sent_bytes), (12 * 1_500_005, 12 * 1_500_005));
    }
}

/// Ends what a client says, and reads on.
fn ending(client: &mut Client) -> Result<usize, ErrorKind> {
    client.conn.send_close_notify();
    client.flush().map_err(|error| error.kind())?;
    client.read(&mut [0; 1]).map_err(|error| error.kind())
}

#[test]
fn a_reader_that_stops_reading_stops_the_sender() {
    const ALL: usize = 64 << 20;
    fn flood(mut stream: StreamOwned<ServerConnection, TcpStream>) {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() {
            let _ = stream.write_all(&vec![byte[0]; ALL]);
            stream.conn.send_close_notify();
            let _ = stream.flush();
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut byte);
        }
    }
    let engine = engine();
    let (link, trusted) = link_to(&engine, flood);
    let mut client = dial(link.addr(), "upstream.example", trusted);
    client.write_all(b"x").unwrap();
    soon("it flows", || link.counters().down_received_bytes > 0);
    let mut before = 0;
    soon("it stands still", || {
        thread::sleep(Duration::from_millis(100));
        let now = link.counters().down_received_bytes;
        std::mem::replace(&mut before, now) == now
    });
    let counters = link.counters();
    assert!(counters.down_received_bytes - counters.down_sent_bytes <= 128 * 1024, "{counters:?}");
    assert!(counters.down_received_bytes < ALL as u64 / 2, "the kernel's buffers are smaller: {counters:?}");
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert!(heard.len() == ALL && heard.iter().all(|byte| *byte == b'x'));
}

#[test]
fn the_reply_after_a_half_close_arrives() {
    fn count(mut stream: StreamOwned<ServerConnection, TcpStream>) {
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let _ = stream.write_all(heard.len().to_string().as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    let engine = engine();
    let (link, trusted) = link_to(&engine, count);
    let mut client = dial(link.addr(), "upstream.example", trusted);
    client.write_all(&[1; 100_000]).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "100000");
}

#[test]
fn silence_and_resets_are_those_of_tcp() {
    for engine in engines_of(1) {
        let (link, trusted) = echo_link(&engine);
        let mut client = dial(link.addr(), "a.example", trusted.clone());
        says(&mut client, b"before");
        let cut = link.strike("cut", Strike::Reach(Reach::Silent(Direction::Both)), Seed(1)).unwrap().id;
        client.write_all(b"during").unwrap();
        thread::sleep(Duration::from_millis(100));
        client.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(client.read(&mut [0; 1]).is_err());
        client.sock.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let met = link.heal(cut).unwrap();
        assert_eq!(met.passed_bytes, 0);
        match engine.mechanism() {
            Mechanism::KernelDrop => assert!(met.dropped_segments >= 1, "{met:?}"),
            Mechanism::Stall => assert!(met.withheld_bytes > 6, "sealed bytes are a few more: {met:?}"),
        }
        hears(&mut client, b"during");

        let mut waiting = dial(link.addr(), "a.example", trusted.clone());
        let reset = link.strike("reset", Strike::Reach(Reach::Reset), Seed(1)).unwrap().id;
        for client in [&mut client, &mut waiting] {
            let gone = client.write_all(b"x").and_then(|()| client.read(&mut [0; 1])).unwrap_err().kind();
            assert!(matches!(gone, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{gone}");
        }
        assert_eq!(link.heal(reset).unwrap().connections, 2);
        says(&mut dial(link.addr(), "a.example", trusted), b"after");
    }
}

#[test]
fn a_toxic_that_closes_says_farewell_behind_the_last_byte() {
    let engine = engine();
    let (link, trusted) = echo_link(&engine);
    let mut client = dial(link.addr(), "a.example", trusted);
    says(&mut client, b"before");
    let limit = toxic(Direction::Down, Toxic::LimitData { bytes: Bytes(1000) });
    let id = link.strike("limit", limit, Seed(1)).unwrap().id;
    client.write_all(&[7; 5000]).unwrap();
    let mut heard = Vec::new();
    // Without a farewell this would be an error.
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), 1000);
    soon("it has ended", || link.counters().open == 0);
    assert_eq!(link.counters().closed["fault"], 1);
    assert_eq!(link.heal(id).unwrap().connections, 1);
}

#[test]
fn an_upstream_that_is_killed_does_not_seem_to_say_farewell() {
    fn die(mut stream: StreamOwned<ServerConnection, TcpStream>) {
        let mut heard = [0; 5];
        let _ = stream.read_exact(&mut heard).and_then(|()| stream.write_all(b"half an ans"));
    }
    let engine = engine();
    let (link, trusted) = link_to(&engine, die);
    let mut client = dial(link.addr(), "upstream.example", trusted);
    client.write_all(b"hello").unwrap();
    let mut heard = Vec::new();
    let error = client.read_to_end(&mut heard).unwrap_err();
    assert_eq!((&heard[..], error.kind()), (&b"half an ans"[..], ErrorKind::UnexpectedEof), "{error}");
}

#[test]
fn what_cannot_be_trusted_is_an_outcome_of_its_own_in_a_run() {
    let Some(server) = TlsServer::start() else { return };
    let yaml = r#"
name: stranger
system: { nodes: { shop: { endpoint: "https://localhost:PORT/shop/health" } } }
workloads:
  users:
    to: shop
    client: { http: { ca: "STRANGER", tls: terminate } }
    arrival: { constant: 50/s }
    operation: { request: {} }
phases: { warmup: 100ms, baseline: 400ms, recovery: 100ms }
expect: [ users.success_rate >= 99% ]
"#;
    let yaml = yaml.replace("PORT", &server.named.port().to_string());
    let yaml = yaml.replace("STRANGER", &server.stranger().display().to_string());
    let ran = common::Case::text(&yaml).run().exits(5).says("the baseline does not hold");
    let attempts = std::fs::read(ran.run_folder().join("attempts.jsonl.zst")).unwrap();
    let attempts = String::from_utf8(zstd::decode_all(&attempts[..]).unwrap()).unwrap();
    assert!(attempts.lines().count() > 5, "{attempts}");
    assert!(attempts.lines().all(|attempt| attempt.contains(r#""tls""#)), "{attempts}");
    assert!(attempts.contains("UnknownCA"), "{attempts}");
}

#[test]
fn in_a_run_requests_to_an_https_endpoint_are_struck_and_everyone_knows_whom_to_trust() {
    let Some(server) = TlsServer::start() else { return };
    if !common::server("curl") {
        return;
    }
    let yaml = r#"
name: shop-over-tls
seed: 3
system:
  nodes: { shop: { endpoint: "https://localhost:PORT/shop/health" } }
  links: { app-shop: { from: app, to: shop, http: true, tls: terminate, ca: "AUTHORITY" } }
workloads:
  users:
    to: shop
    client: { http: { ca: "AUTHORITY", tls: terminate } }
    arrival: { constant: 100/s }
    operation: { request: { ok: { body_contains: localhost } } }
phases: { warmup: 300ms, baseline: 500ms, recovery: 500ms }
faults:
  busy: { at: 0s, for: 600ms, http_status: { links: [users-shop, app-shop], code: 503 } }
checks:
  - exec:
      - sh
      - -c
      - curl -s --cacert ${links.app-shop.ca} https://localhost:${links.app-shop.port}/shop/health | grep -q localhost
expect:
  - users.success_rate during baseline >= 99%
  - users.success_rate during recovery >= 50%
"#;
    let yaml = yaml.replace("PORT", &server.named.port().to_string());
    let yaml = yaml.replace("AUTHORITY", &server.authority().display().to_string());
    let ran = common::Case::text(&yaml).run().exits(0);
    let report = ran.report();
    let text = report.to_string();
    assert!(text.contains("unavailable"), "503 was seen: {text}");
    let folder = ran.run_folder();
    let kept: Vec<_> = walk(&folder).filter(|path| path.extension().is_some_and(|ext| ext == "pem")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let pem = std::fs::read_to_string(&kept[0]).unwrap();
    assert!(pem.contains("BEGIN CERTIFICATE") && !pem.contains("KEY"), "{pem}");
}

/// Every file below a folder.
fn walk(folder: &Path) -> Box<dyn Iterator<Item = std::path::PathBuf>> {
    Box::new(std::fs::read_dir(folder).unwrap().flatten().flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() { walk(&path) } else { Box::new(std::iter::once(path)) }
    }))
}
