//! The embedded backend: faults on links as the conductor orders them, and the proof that each was real.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod proxy_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use brownout::backend::{Backend, BackendError, Embedded, Injection, LinkAction, Target};
use brownout::clock::RunClock;
use brownout::event::{Mechanism, Proof};
use brownout::plan::fault::{BodyShare, Direction, HttpEffect, HttpFault, Links, Toxic};
use brownout::proxy::{Engine, LinkSpec};
use brownout::seed::Seed;
use brownout::units::{ByteRate, Bytes, Share, Span};
use proxy_support::{echo, engines, latency, server, soon};

fn backend() -> Embedded {
    Embedded::start(1, RunClock::start()).unwrap()
}

fn open(backend: &Embedded, name: &str) -> SocketAddr {
    backend.open(LinkSpec::new(name, server(echo).to_string())).unwrap()
}

fn inject(backend: &Embedded, action: &LinkAction, links: &[&str]) -> Result<Injection, BackendError> {
    let targets: Vec<Target> = links.iter().map(|link| Target::both(*link)).collect();
    backend.inject("fault", action, &targets, Seed(1))
}

fn refuse(backend: &Embedded, links: &[&str]) -> Injection {
    inject(backend, &LinkAction::Refused, links).unwrap()
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Says something and hears it back within 5 s.
fn says(client: &mut TcpStream, text: &[u8]) -> bool {
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut back = vec![0; text.len()];
    client.write_all(text).is_ok() && client.read_exact(&mut back).is_ok() && back == text
}

fn connected(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    assert!(says(&mut client, b"hello"));
    client
}

fn on_all(toxic: Toxic) -> LinkAction {
    LinkAction::Toxic { toxic, share: Share::ALL }
}

fn on_requests(effect: HttpEffect) -> LinkAction {
    let links = Links::Named(Vec::new());
    LinkAction::Http(HttpFault { links, method: None, path: None, share: Share::ALL, first: None, effect })
}

/// The part of a proof that speaks for an action.
type Figure = fn(&Proof) -> u64;

/// Every action, with the figure that its proof rests on.
fn actions() -> Vec<(LinkAction, Figure)> {
    let altered: Figure = |proof| proof.altered_chunks;
    let withheld: Figure = |proof| proof.withheld_bytes + proof.dropped_segments;
    let connections: Figure = |proof| proof.connections;
    let requests: Figure = |proof| proof.requests;
    let span = |ms| Span(Duration::from_millis(ms));
    vec![
        (on_all(latency(Duration::from_millis(5))), altered),
        (on_all(Toxic::Bandwidth { rate: ByteRate(1000) }), altered),
        (on_all(Toxic::Slicer { size: Bytes(10), variation: Bytes(0), wait: span(1) }), altered),
        (on_all(Toxic::Corrupt { bytes: Share::ALL }), altered),
        (on_all(Toxic::PacketLoss { loss: Share::ALL, correlation: Share::ALL }), altered),
        (on_all(Toxic::PacketLoss { loss: Share::ALL, correlation: Share::NONE }), |proof| {
            proof.dropped_segments + proof.altered_chunks
        }),
        (on_all(Toxic::Timeout { after: span(0) }), withheld),
        (on_all(Toxic::LimitData { bytes: Bytes(3) }), connections),
        (on_all(Toxic::ResetPeer { after: span(20) }), connections),
        (LinkAction::Silent, withheld),
        (LinkAction::BlackHole, withheld),
        (LinkAction::HalfOpen, withheld),
        (LinkAction::Flap { up: Duration::from_millis(50), down: Duration::from_secs(60) }, withheld),
        (LinkAction::Reset, connections),
        (LinkAction::Refused, connections),
        (LinkAction::Drop { share: Share::ALL, reset: true, once: true }, connections),
        (LinkAction::Drop { share: Share::ALL, reset: false, once: true }, connections),
        (LinkAction::Drop { share: Share::ALL, reset: true, once: false }, connections),
        (on_requests(HttpEffect::Status { code: 503, retry_after: None }), requests),
        (on_requests(HttpEffect::Abort { at: BodyShare(500) }), requests),
        (on_requests(HttpEffect::Delay { by: span(1) }), requests),
    ]
}

#[test]
fn every_action_proves_itself_by_what_it_met_and_not_before() {
    for engine in engines() {
        let backend = Embedded::on(engine);
        for (action, figure) in actions() {
            let http = matches!(action, LinkAction::Http(_));
            let address = backend.open(LinkSpec { http, ..LinkSpec::new("link", server(echo).to_string()) }).unwrap();

            let idle = inject(&backend, &action, &["link"]).unwrap();
            let proof = backend.heal(idle).unwrap();
            assert!(!proof.real && figure(&proof) == 0, "{action:?} has met nobody: {proof:?}");

            let mut client = TcpStream::connect(address).unwrap();
            let link = backend.link("link").unwrap();
            soon("it is open", || link.counters().connected == 1);
            let fault = inject(&backend, &action, &["link"]).unwrap();
            let mut last = Proof::default();
            soon("it has met something", || {
                let _ = client.write_all(b"GET / HTTP/1.1\r\n\r\n");
                last = backend.proof(&fault).unwrap();
                figure(&last) > 0
            });
            assert!(last.real, "{action:?}: {last:?}");
            let proof = backend.heal(fault).unwrap();
            assert!(proof.real && figure(&proof) >= figure(&last), "{action:?}: {last:?}, then {proof:?}");
            backend.close("link").unwrap();
        }
    }
}

#[test]
fn refuse_is_proved_by_who_knocked_where_raw_sockets_are_permitted() {
    let permitted =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::TCP)).is_ok();
    let backend = backend();
    let address = open(&backend, "a");
    let fault = inject(&backend, &LinkAction::Refuse, &["a"]).unwrap();
    assert!(is_refused(address));
    let proof = backend.heal(fault).unwrap();
    assert_eq!((proof.real, proof.connections), (permitted, u64::from(permitted)));
}

#[test]
fn a_cut_is_proved_by_connections_that_were_left_unanswered() {
    for engine in engines() {
        let backend = Embedded::on(engine);
        let address = open(&backend, "a");
        for action in [LinkAction::Silent, LinkAction::BlackHole] {
            let fault = inject(&backend, &action, &["a"]).unwrap();
            let dialled = TcpStream::connect_timeout(&address, Duration::from_millis(100));
            assert_eq!(dialled.is_ok(), backend.mechanism() == Mechanism::Stall);
            soon("it has met the connection", || backend.proof(&fault).unwrap().real);
            assert!(backend.heal(fault).unwrap().real);
        }
    }
}

#[test]
fn a_fault_dropped_unhealed_heals_itself() {
    let backend = backend();
    let address = open(&backend, "a");
    let fault = refuse(&backend, &["a"]);
    assert!(is_refused(address));
    drop(fault);
    assert!(says(&mut TcpStream::connect(address).unwrap(), b"healed"));
}

#[test]
fn an_injection_may_outlive_its_backend() {
    let backend = backend();
    open(&backend, "a");
    let fault = refuse(&backend, &["a"]);
    drop(backend);
    drop(fault);
}

#[test]
fn targets_come_and_go_and_what_a_fault_met_on_them_still_counts() {
    let backend = backend();
    let (a, b) = (open(&backend, "a"), open(&backend, "b"));
    let (_first, mut second) = (connected(a), connected(b));
    let mut fault = refuse(&backend, &["a"]);
    let (at, last_hit) = (fault.at, fault.last_hit);
    assert_eq!(at, last_hit);
    assert!(is_refused(a) && says(&mut second, b"untouched"));

    backend.extend(&mut fault, &Target::both("b")).unwrap();
    assert!(is_refused(a) && is_refused(b));
    assert!(fault.at == at && fault.last_hit > last_hit);
    let met = backend.proof(&fault).unwrap().connections;
    assert!(met >= 2, "{met}");

    backend.retract(&mut fault, &Target::both("a")).unwrap();
    let mut again = connected(a);
    assert!(is_refused(b));
    assert!(backend.proof(&fault).unwrap().connections >= met);
    // Not hit any more, or never: no mistake. Unknown: one.
    backend.retract(&mut fault, &Target::both("a")).unwrap();
    backend.retract(&mut fault, &Target { link: "b".into(), direction: Direction::Up }).unwrap();
    assert!(is_refused(b));
    let unknown = backend.extend(&mut fault, &Target::both("c")).unwrap_err();
    assert_eq!(unknown.to_string(), "no link is called `c`");

    assert!(backend.heal(fault).unwrap().connections >= met);
    assert!(says(&mut again, b"still there"));
    connected(b);
}

#[test]
fn heal_all_heals_whoever_holds_the_injection_and_that_one_still_gets_its_proof() {
    let backend = backend();
    let (a, b) = (open(&backend, "a"), open(&backend, "b"));
    let _open = (connected(a), connected(b));
    let (first, second) = (refuse(&backend, &["a", "b"]), refuse(&backend, &["b"]));
    backend.heal_all().unwrap();
    drop((connected(a), connected(b)));
    assert!(backend.proof(&first).unwrap().real);
    let proof = backend.heal(first).unwrap();
    assert!(proof.real && proof.connections >= 2, "{proof:?}");
    assert!(!backend.heal(second).unwrap().real, "the first had met all there was");
    backend.heal_all().unwrap();
    connected(b);
}

#[test]
fn a_fault_strikes_all_its_targets_or_none() {
    let backend = backend();
    let address = open(&backend, "a");
    let mut client = connected(address);
    let unknown = inject(&backend, &LinkAction::Refused, &["a", "nobody"]).unwrap_err();
    assert!(matches!(unknown, BackendError::UnknownLink { link } if &*link == "nobody"));
    let status = on_requests(HttpEffect::Status { code: 503, retry_after: None });
    assert!(matches!(inject(&backend, &status, &["a"]), Err(BackendError::NotHttp { link }) if &*link == "a"));
    // A reset cannot be taken back, so it must not have come to that.
    assert!(says(&mut client, b"untouched"));
    connected(address);
    assert_eq!(backend.link("a").unwrap().counters().faulted_connections, 0);
}

#[test]
fn a_link_that_closes_under_a_fault_takes_no_proof_with_it() {
    let backend = backend();
    let (a, b) = (open(&backend, "a"), open(&backend, "b"));
    let _open = connected(a);
    let fault = inject(&backend, &LinkAction::Refused, &["a", "b"]).unwrap();
    backend.close("a").unwrap();
    assert_eq!(backend.proof(&fault).unwrap().connections, 1);
    assert_eq!(backend.heal(fault).unwrap().connections, 1);
    connected(b);
    // The name is free again, and the new link knows nothing of the old one's faults.
    connected(open(&backend, "a"));
}

#[test]
fn links_have_names_addresses_and_totals() {
    let backend = backend();
    let (a, b) = (open(&backend, "a"), open(&backend, "b"));
    assert!(a != b && a.ip().is_loopback());
    let taken = backend.open(LinkSpec::new("a", "127.0.0.1:1")).unwrap_err();
    assert_eq!(taken.to_string(), "a link is already called `a`");
    let client = connected(b);
    // The client may hear of bytes before they are counted.
    soon("all is counted", || backend.counters()[1].1.down_sent_bytes == 5);
    let totals = backend.counters();
    let names: Vec<&str> = totals.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((totals[0].1.accepted, totals[1].1.up_sent_bytes, totals[1].1.down_sent_bytes), (0, 5, 5));

    let peer = client.local_addr().unwrap();
    assert_eq!(backend.connection_from("b", peer), Some(1));
    assert_eq!(backend.connection_from("a", peer), None);
    assert_eq!(backend.connection_from("nobody", peer), None);

    // New connections go elsewhere; one that stands stays where it is.
    let other = server(|mut stream| drop(stream.write_all(b"elsewhere")));
    backend.set_upstream("b", &other.to_string()).unwrap();
    let mut text = String::new();
    TcpStream::connect(b).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "elsewhere");
    let mut client = client;
    assert!(says(&mut client, b"as before"));

    for error in [backend.close("nobody"), backend.set_upstream("nobody", "127.0.0.1:1")] {
        assert!(matches!(error, Err(BackendError::UnknownLink { .. })));
    }
    backend.close("b").unwrap();
    assert!(is_refused(b) && !says(&mut client, b"closed"));
}

#[test]
fn a_fault_without_targets_is_in_force_and_can_be_extended() {
    let clock = RunClock::start();
    let backend = Embedded::on(Engine::start(1, clock).unwrap());
    let address = open(&backend, "a");
    let before = clock.now();
    let mut fault = inject(&backend, &LinkAction::Refused, &[]).unwrap();
    assert!(before <= fault.at && fault.at == fault.last_hit && fault.at <= clock.now());
    assert!(!backend.proof(&fault).unwrap().real);
    backend.extend(&mut fault, &Target::both("a")).unwrap();
    assert!(is_refused(address));
    backend.heal(fault).unwrap();
    connected(address);
}
