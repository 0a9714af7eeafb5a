//! HTTP faults through real sockets: what the client sees, what the server has served, and what is counted.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod proxy_support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::plan::fault::{BodyShare, HttpEffect, HttpFault, Links};
use brownout::proxy::{Engine, Link, LinkSpec, Strike, StrikeId};
use brownout::seed::Seed;
use brownout::units::{Share, Span};
use proxy_support::{engine, server, soon};

/// What an upstream has served: `METHOD path body`, in order.
#[derive(Clone, Debug, Default)]
struct Served(Arc<Mutex<Vec<String>>>);

impl Served {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The body that the upstream answers everything with.
const BODY: &str = "0123456789";

/// An origin that notes what it serves. `/chunked` is answered in two chunks, `/slow` after 200 ms.
fn origin() -> (SocketAddr, Served) {
    let served = Served::default();
    let notes = served.clone();
    let addr = server(move |stream| {
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        while let Some((first, _, body)) = message(&mut reader, true) {
            let request = first.trim_end_matches(" HTTP/1.1").to_owned();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            notes.0.lock().unwrap().push(format!("{request} {}", String::from_utf8(body).unwrap()).trim().to_owned());
            if path.starts_with("/slow") {
                thread::sleep(Duration::from_millis(200));
            }
            let answer = if path == "/chunked" {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n".to_owned()
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len())
            };
            let _ = writer.write_all(answer.as_bytes());
        }
    });
    (addr, served)
}

/// The first line, the header lines and the body of one message; none at the end of the stream.
fn message(reader: &mut impl BufRead, is_request: bool) -> Option<(String, Vec<String>, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    assert!(is_request || length.is_some(), "{lines:?}");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((lines.remove(0), lines, body))
}

/// A client with one keep-alive connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(link: &Link) -> Client {
        let stream = TcpStream::connect(link.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, method: &str, path: &str, body: &str) {
        let text = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The code, the header lines and the body of the next answer.
    fn hear(&mut self) -> (u16, Vec<String>, String) {
        let (first, headers, body) = message(&mut self.0, false).unwrap();
        (first.split(' ').nth(1).unwrap().parse().unwrap(), headers, String::from_utf8(body).unwrap())
    }

    fn code(&mut self, method: &str, path: &str) -> u16 {
        self.send(method, path, "");
        self.hear().0
    }

    /// All that comes until the connection is reset.
    fn hear_to_reset(&mut self) -> String {
        let mut got = Vec::new();
        let error = self.0.read_to_end(&mut got).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        String::from_utf8(got).unwrap()
    }
}

fn link(engine: &Engine, upstream: SocketAddr) -> Link {
    engine.open(LinkSpec { http: true, ..LinkSpec::new("web", upstream.to_string()) }).unwrap()
}

fn any(effect: HttpEffect) -> HttpFault {
    HttpFault { links: Links::Named(Vec::new()), method: None, path: None, share: Share::ALL, first: None, effect }
}

fn status(code: u16) -> HttpEffect {
    HttpEffect::Status { code, retry_after: None }
}

fn delay(by: Duration) -> HttpEffect {
    HttpEffect::Delay { by: Span(by) }
}

fn strike(link: &Link, fault: HttpFault) -> StrikeId {
    strike_seeded(link, fault, 1)
}

fn strike_seeded(link: &Link, fault: HttpFault, seed: u64) -> StrikeId {
    link.strike("http", Strike::Http(fault), Seed(seed)).unwrap().id
}

#[test]
fn a_status_keeps_the_connection_and_the_server_never_sees_the_request() {
    let (upstream, served) = origin();
    let engine = engine();
    let link = link(&engine, upstream);
    let mut client = Client::of(&link);
    assert_eq!(client.code("GET", "/before"), 200);
    let effect = HttpEffect::Status { code: 429, retry_after: Some(Span(Duration::from_millis(1500))) };
    let fault = strike(&link, any(effect));
    client.send("GET", "/plain", "");
    let (code, headers, _) = client.hear();
    assert_eq!(code, 429);
    assert!(headers.contains(&"Retry-After: 2".to_owned()), "{headers:?}");
    // A request with a body is taken whole, so that the next one is not read out of its middle.
    client.send("POST", "/body", &"GET /smuggled HTTP/1.1\r\n\r\n".repeat(10_000));
    assert_eq!(client.hear().0, 429);
    // Pipelined ones are answered in order.
    client.send("GET", "/one", "");
    client.send("GET", "/two", "");
    assert_eq!((client.hear().0, client.hear().0), (429, 429));
    assert_eq!(link.heal(fault).unwrap().requests, 4);
    client.send("PUT", "/after", "kept");
    assert_eq!(client.hear().2, BODY);
    assert_eq!(served.all(), ["GET /before", "PUT /after kept"]);
    let counters = link.counters();
    assert_eq!((counters.accepted, counters.requests, counters.faulted_requests), (1, 6, 4));
}

#[test]
fn an_abort_lets_its_share_of_the_body_pass_then_resets_and_the_server_has_served() {
    let (upstream, served) = origin();
    let engine = engine();
    let link = link(&engine, upstream);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY.len());
    for (thousandths, bytes) in [(0, 0), (500, 5), (999, 9), (1000, 10)] {
        let fault = strike(&link, any(HttpEffect::Abort { at: BodyShare(thousandths) }));
        let mut client = Client::of(&link);
        client.send("GET", "/cut", "");
        assert_eq!(client.hear_to_reset(), format!("{head}{}", &BODY[..bytes]), "{thousandths} ‰");
        assert_eq!(link.heal(fault).unwrap().requests, 1);
    }
    // Where the length is not announced, the first chunk passes.
    let fault = strike(&link, any(HttpEffect::Abort { at: BodyShare(500) }));
    let mut client = Client::of(&link);
    client.send("GET", "/chunked", "");
    let got = client.hear_to_reset();
    assert!(got.ends_with("4\r\n0123\r\n") || got.ends_with("4\r\n0123"), "{got:?}");
    link.heal(fault).unwrap();
    soon("the server has noted all", || served.all().len() == 5);
    assert_eq!(served.all()[3..], ["GET /cut", "GET /chunked"]);
    assert_eq!(link.counters().closed.get("fault"), Some(&5));
    assert_eq!(Client::of(&link).code("GET", "/healed"), 200);
}

#[test]
fn a_delay_holds_the_answer_back_and_two_delays_add_up() {
    let (upstream, served) = origin();
    let engine = engine();
    let link = link(&engine, upstream);
    let mut client = Client::of(&link);
    let clock = RunClock::start();
    let mut took = |path: &str| {
        let sent = clock.now();
        assert_eq!(client.code("GET", path), 200);
        clock.now().saturating_since(sent)
    };
    let slow = Duration::from_millis(150);
    let first = strike(&link, any(delay(slow)));
    let second = strike(&link, HttpFault { path: Some("/twice".into()), ..any(delay(slow)) });
    let once = took("/once");
    assert!((slow..2 * slow).contains(&once), "{once:?}");
    let twice = took("/twice");
    assert!((2 * slow..4 * slow).contains(&twice), "{twice:?}");
    assert_eq!(link.heal(first).unwrap().requests, 2);
    assert_eq!(link.heal(second).unwrap().requests, 1);
    assert!(took("/twice") < slow);
    assert_eq!(served.all().len(), 3);
}

#[test]
fn method_path_and_first_n_say_whom_it_takes() {
    let (upstream, served) = origin();
    let engine = engine();
    let link = link(&engine, upstream);
    let fault = HttpFault { method: Some("post".into()), path: Some("/kv".into()), first: Some(3), ..any(status(503)) };
    let fault = strike(&link, fault);
    // The first three of the link, whichever connection they came by.
    let mut clients = [Client::of(&link), Client::of(&link)];
    let mut codes = Vec::new();
    for (turn, (method, path)) in [
        ("POST", "/kv/1"),
        ("GET", "/kv/1"),
        ("POST", "/other/kv"),
        ("POST", "/kv?x"),
        ("POST", "/kv/2"),
        ("POST", "/kv/3"),
    ]
    .into_iter()
    .enumerate()
    {
        codes.push(clients[turn % 2].code(method, path));
    }
    assert_eq!(codes, [503, 200, 200, 503, 503, 200]);
    assert_eq!(served.all(), ["GET /kv/1", "POST /other/kv", "POST /kv/3"]);
    assert_eq!(link.heal(fault).unwrap().requests, 3);
    assert_eq!(link.connections().len(), 2);
}

#[test]
fn a_share_is_drawn_for_each_request_and_a_seed_draws_it_again() {
    let (upstream, served) = origin();
    let engine = engine();
    let taken = |seed| -> Vec<bool> {
        let link = link(&engine, upstream);
        let fault = HttpFault { share: Share::new(0.3).unwrap(), ..any(status(503)) };
        let fault = strike_seeded(&link, fault, seed);
        let mut client = Client::of(&link);
        let taken: Vec<bool> = (0..400).map(|_| client.code("GET", "/") == 503).collect();
        let hits = taken.iter().filter(|taken| **taken).count() as u64;
        assert_eq!(link.heal(fault).unwrap().requests, hits);
        // Five standard deviations: 5 × √(400 × 0.21).
        assert!((120 - 46..=120 + 46).contains(&hits), "{hits}");
        taken
    };
    let first = taken(1);
    let passed = first.iter().filter(|taken| !**taken).count();
    assert_eq!(served.all().len(), passed);
    assert_eq!(first, taken(1));
    assert_ne!(first, taken(2));
}

#[test]
fn what_a_healed_fault_had_planned_for_a_live_connection_does_not_happen() {
    let (upstream, served) = origin();
    let engine = engine();
    let link = link(&engine, upstream);
    let mut client = Client::of(&link);

    // An answer that is held back for an hour comes at once.
    let fault = strike(&link, any(delay(Duration::from_secs(3600))));
    client.send("GET", "/held", "");
    soon("the answer is held", || link.counters().down_received_bytes > 0);
    assert_eq!(link.heal(fault).unwrap().requests, 1);
    assert_eq!(client.hear().2, BODY);

    // An abort of an answer that is still to come does not happen.
    let fault = strike(&link, any(HttpEffect::Abort { at: BodyShare(500) }));
    client.send("GET", "/slow", "");
    soon("the request has passed", || served.all().len() == 2);
    assert_eq!(link.heal(fault).unwrap().requests, 1);
    assert_eq!(client.hear().2, BODY);

    // Requests that a status took stay answered, also those whose turn has not come.
    client.send("GET", "/slow", "");
    soon("the request has passed", || served.all().len() == 3);
    let fault = strike(&link, any(status(503)));
    client.send("GET", "/status", "");
    soon("it is taken", || link.counters().faulted_requests == 3);
    link.heal(fault).unwrap();
    client.send("GET", "/after", "");
    assert_eq!((client.hear().0, client.hear().0, client.hear().0), (200, 503, 200));
    assert_eq!(served.all(), ["GET /held", "GET /slow", "GET /slow", "GET /after"]);
    assert_eq!(link.counters().accepted, 1);
}
