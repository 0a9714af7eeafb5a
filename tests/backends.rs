//! One script for every backend: what a link and a fault on it are, whoever makes them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod proxy_support;
#[path = "toxiproxy/support.rs"]
#[allow(dead_code, reason = "it is made for another test")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use brownout::backend::{Backend, BackendError, Choice, LinkAction, Target};
use brownout::clock::RunClock;
use brownout::permit::Permit;
use brownout::plan::fault::{Direction, Law, Toxic};
use brownout::proxy::LinkSpec;
use brownout::seed::Seed;
use brownout::units::{Bytes, Share, Span};
use support::{connect, echo, soon, upstream};
use tokio::time::Instant;

const SEED: Seed = Seed(7);

#[test]
fn the_embedded_engine() {
    conforms(&*Choice::Embedded.start(&Permit::default(), RunClock::start()).unwrap());
}

#[cfg(feature = "toxiproxy")]
mod toxiproxy {
    use std::sync::Arc;

    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::json;
    use support::Server;

    fn remote(server: &Server) -> Arc<dyn Backend> {
        let choice = Choice::Toxiproxy(format!("http://{}", server.addr));
        choice.start(&Permit::default(), RunClock::start()).unwrap()
    }

    #[test]
    fn a_toxiproxy_server() {
        let server = Server::start(&[]);
        server.done("POST", "/proxies", r#"{"name":"a-b","upstream":"b:1"}"#);
        let backend = remote(&server);
        conforms(&*backend);
        drop(backend);
        let left = server.done("GET", "/proxies", "");
        assert_eq!(left.as_object().unwrap().keys().collect::<Vec<_>>(), ["a-b"], "what was not ours");
    }

    #[test]
    fn what_a_server_cannot_do_is_named_before() {
        let server = Choice::Toxiproxy("http://127.0.0.1:8474".to_owned());
        for (action, says) in [
            (LinkAction::HalfOpen, "has no half-open connections; it has latency"),
            (toxic(Toxic::Corrupt { bytes: Share::ALL }), "has no corrupt; it has latency"),
        ] {
            let why = server.refuses(&action).unwrap();
            assert!(why.contains(says), "{why}");
        }
        assert_eq!(server.refuses(&latency(20)), None);
        assert_eq!(Choice::Embedded.refuses(&LinkAction::HalfOpen), None);
    }

    #[test]
    fn a_toxic_that_somebody_takes_away_is_no_proof() {
        let server = Server::start(&[]);
        let backend = remote(&server);
        backend.open(LinkSpec::new("a-b", upstream(echo).to_string())).unwrap();
        let injection = backend.inject("slow", &latency(20), &[Target::both("a-b")], SEED).unwrap();
        let proxies = server.done("GET", "/proxies", "");
        let ours = proxies.as_object().unwrap().keys().next().unwrap();
        server.done("POST", "/reset", "");
        assert_eq!(server.done("GET", &format!("/proxies/{ours}/toxics"), ""), json!([]));
        let proof = backend.heal(injection).unwrap();
        assert_eq!((proof.real, proof.read_back), (false, vec!["a-b: gone".to_owned()]));
    }

    #[test]
    fn a_server_that_goes_away_is_said_so_and_does_not_hang() {
        let server = Server::start(&[]);
        let backend = remote(&server);
        backend.open(LinkSpec::new("a-b", upstream(echo).to_string())).unwrap();
        drop(server);
        for _ in 0..2 {
            let failed = backend.inject("slow", &latency(20), &[Target::both("a-b")], SEED).unwrap_err();
            assert!(matches!(failed, BackendError::Remote { .. }), "{failed}");
        }
    }

    #[test]
    fn nobody_there_and_nothing_permitted() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let start = |url: String, permit: &Permit| {
            Choice::Toxiproxy(url).start(permit, RunClock::start()).unwrap_err().to_string()
        };
        assert!(start(format!("http://{free}"), &Permit::default()).contains("does not answer"));
        let none = Permit::when(|_| false);
        assert!(start(format!("http://{free}"), &none).contains("outside what is permitted"));
        assert!(start("http://".to_owned(), &none).contains("no address"));
    }

    /// This build, which has the feature; the one that CI names may not have it.
    fn run(server: &Server, experiment: &str, out: &std::path::Path) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_brownout"));
        let backend = format!("toxiproxy=http://{}", server.addr);
        command.args(["run", experiment, "--smoke", "--quiet", "--backend", &backend, "--out"]).arg(out);
        // A proxy of the environment is not for loopback.
        command.env("HTTP_PROXY", "http://127.0.0.1:1").env("NO_COLOR", "1");
        command
    }

    #[test]
    fn a_run_makes_its_faults_there_and_leaves_nothing() {
        let (server, out) = (Server::start(&[]), tempfile::tempdir().unwrap());
        let ran = run(&server, "experiments/quickstart.yaml", out.path()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        // A machine that is busy makes a run inconclusive; its fault is there all the same.
        assert!(matches!(ran.status.code(), Some(0 | 5)), "{said}");
        assert!(said.contains("proof: cut altered ") && said.contains(": in place"), "{said}");
        assert_eq!(server.done("GET", "/proxies", ""), json!({}));
    }

    #[test]
    fn a_run_that_is_killed_leaves_nothing_either() {
        let (server, out) = (Server::start(&[]), tempfile::tempdir().unwrap());
        let mut child = run(&server, "experiments/quickstart.yaml", out.path()).spawn().unwrap();
        soon("its links are there", || server.done("GET", "/proxies", "") != json!({}));
        child.kill().unwrap();
        child.wait().unwrap();
        soon("its keeper has taken them away", || server.done("GET", "/proxies", "") == json!({}));
    }

    /// The keeper of the run in a folder, as its journal tells.
    fn keeper_of(run: &std::path::Path) -> Pid {
        let parts = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
        let mut journals = parts.chain([run.to_owned()]).map(|dir| dir.join("keeper.journal.jsonl"));
        let journal = journals.find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
        let first: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
        let pid = first["keeper"]["process"]["pid"].as_i64().unwrap();
        Pid::from_raw(pid.try_into().unwrap()).unwrap()
    }

    #[test]
    fn heal_takes_away_what_nobody_was_left_to() {
        let (server, out) = (Server::start(&[]), tempfile::tempdir().unwrap());
        server.done("POST", "/proxies", r#"{"name":"theirs","upstream":"b:1"}"#);
        let proxies = || server.done("GET", "/proxies", "").as_object().unwrap().len();
        let mut harness = run(&server, "experiments/quickstart.yaml", out.path()).spawn().unwrap();
        // Every link is there by then.
        soon("its fault is in force", || {
            let proxies = server.done("GET", "/proxies", "");
            proxies.as_object().unwrap().values().any(|proxy| proxy["toxics"] != json!([]))
        });
        let folder = std::fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
        let keeper = keeper_of(&folder);
        // Stopped first, or the one that is left a moment longer would clean up after the other.
        kill_process(Pid::from_child(&harness), Signal::STOP).unwrap();
        kill_process(keeper, Signal::KILL).unwrap();
        soon("the keeper is gone", || match std::fs::read_to_string(format!("/proc/{keeper}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        });
        harness.kill().unwrap();
        harness.wait().unwrap();
        assert!(proxies() > 1, "nobody has cleaned up");

        let heal = || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_brownout"));
            let healed = command.arg("heal").arg(&folder).env("HTTP_PROXY", "http://127.0.0.1:1").output().unwrap();
            let said = [healed.stdout, healed.stderr].concat();
            (healed.status.code(), String::from_utf8(said).unwrap())
        };
        let (code, said) = heal();
        assert!(code == Some(0) && said.contains("undone: "), "{code:?}: {said}");
        let left = server.done("GET", "/proxies", "");
        assert_eq!(left.as_object().unwrap().keys().collect::<Vec<_>>(), ["theirs"], "what was not the run's stays");
        assert_eq!(heal(), (Some(0), "nothing was left behind\n".to_owned()));
    }

    #[test]
    fn a_run_is_not_started_whose_faults_the_server_cannot_make() {
        let (server, out) = (Server::start(&[]), tempfile::tempdir().unwrap());
        let experiment = out.path().join("half.yaml");
        let quickstart = std::fs::read_to_string("experiments/quickstart.yaml").unwrap();
        let faults = quickstart.find("\nfaults:").unwrap() + 1;
        let rest = faults + quickstart[faults..].find("\nmatrix:").unwrap();
        let half = "faults:\n  cut: { at: 0s, for: 1s, half_open: { links: orders-gateway } }";
        std::fs::write(&experiment, [&quickstart[..faults], half, &quickstart[rest..]].concat()).unwrap();
        let ran = run(&server, experiment.to_str().unwrap(), out.path()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(
            said.contains("fault `cut`: a Toxiproxy server has no half-open connections; it has latency"),
            "{said}"
        );
        assert!(said.contains("nothing was started"), "{said}");
    }

    #[test]
    fn a_run_is_not_started_whose_links_the_server_cannot_make() {
        let (server, out) = (Server::start(&[]), tempfile::tempdir().unwrap());
        let experiment = out.path().join("tls.yaml");
        let yaml = "name: tls\nsystem: { nodes: { shop: { endpoint: 'https://127.0.0.1:1/' } } }\nworkloads:\n  users: \
                    { to: shop, client: { http: { tls: terminate } }, arrival: { constant: 9/s }, \
                    operation: { request: {} } }\nphases: { baseline: 1s }\n";
        std::fs::write(&experiment, yaml).unwrap();
        let ran = run(&server, experiment.to_str().unwrap(), out.path()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains("link `users-shop`: a Toxiproxy server passes TLS on as it is"), "{said}");
        assert!(said.contains("nothing was started"), "{said}");
    }

    #[test]
    fn what_a_dead_run_would_leave_is_known_before_it_is_there() {
        let server = Server::start(&[]);
        let backend = remote(&server);
        let Some(brownout::plan::Action::Http { method, url, .. }) = backend.leaves_behind("a-b") else { panic!() };
        backend.open(LinkSpec::new("a-b", upstream(echo).to_string())).unwrap();
        let path = url.strip_prefix(&format!("http://{}", server.addr)).unwrap();
        assert_eq!(server.call(&method, path, "").status, 204);
        assert_eq!(server.done("GET", "/proxies", ""), json!({}));
    }
}

fn toxic(toxic: Toxic) -> LinkAction {
    LinkAction::Toxic { toxic, share: Share::ALL }
}

fn latency(ms: u64) -> LinkAction {
    let add = Span(Duration::from_millis(ms));
    toxic(Toxic::Latency { add, jitter: Span::default(), law: Law::Uniform, correlation: Share::NONE })
}

fn down(link: &str) -> Target {
    Target { link: link.into(), direction: Direction::Down }
}

fn round_trip(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    start.elapsed()
}

/// The script.
fn conforms(backend: &dyn Backend) {
    let upstream = upstream(echo);
    let addr = backend.open(LinkSpec::new("a-b", upstream.to_string())).unwrap();
    links_are_opened_once(backend, upstream);
    shaping_comes_and_goes_on_open_connections(backend, addr);
    directions_are_kept_apart(backend, addr);
    targets_come_and_go(backend, addr);
    a_fault_is_healed_when_it_is_forgotten(backend, addr);
    silence_holds_bytes_until_it_is_healed(backend, addr);
    a_refused_link_takes_nobody(backend, addr);
    limits_and_closes(backend, addr);
    all_at_once(backend, addr);
    an_upstream_moves(backend, addr);
    backend.close("a-b").unwrap();
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(matches!(backend.close("a-b"), Err(BackendError::UnknownLink { .. })));
}

fn links_are_opened_once(backend: &dyn Backend, upstream: SocketAddr) {
    let again = backend.open(LinkSpec::new("a-b", upstream.to_string()));
    assert!(matches!(again, Err(BackendError::DuplicateLink { .. })));
    let unknown = backend.inject("slow", &latency(1), &[Target::both("nowhere")], SEED);
    assert!(matches!(unknown, Err(BackendError::UnknownLink { .. })));
}

fn shaping_comes_and_goes_on_open_connections(backend: &dyn Backend, addr: SocketAddr) {
    let mut client = connect(addr);
    round_trip(&mut client);
    let injection = backend.inject("slow", &latency(100), &[Target::both("a-b")], SEED).unwrap();
    assert!(injection.at <= injection.last_hit);
    assert!(round_trip(&mut client) >= Duration::from_millis(200), "both ways");
    assert!(backend.proof(&injection).unwrap().real);
    let proof = backend.heal(injection).unwrap();
    assert!(proof.real && proof.altered_chunks >= 2, "{proof:?}");
    assert!(round_trip(&mut client) < Duration::from_millis(100));
    let unmet = backend.inject("slow", &latency(100), &[Target::both("a-b")], SEED).unwrap();
    assert!(!backend.heal(unmet).unwrap().real, "nothing has come its way");
}

fn directions_are_kept_apart(backend: &dyn Backend, addr: SocketAddr) {
    let injection = backend.inject("slow", &latency(100), &[down("a-b")], SEED).unwrap();
    let took = round_trip(&mut connect(addr));
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(200), "{took:?}");
    // Two faults of one kind on one link add up.
    let second = backend.inject("slower", &latency(100), &[down("a-b")], SEED).unwrap();
    assert!(round_trip(&mut connect(addr)) >= Duration::from_millis(200));
    backend.heal(injection).unwrap();
    assert!(round_trip(&mut connect(addr)) >= Duration::from_millis(100));
    backend.heal(second).unwrap();
}

fn targets_come_and_go(backend: &dyn Backend, addr: SocketAddr) {
    let mut injection = backend.inject("slow", &latency(100), &[], SEED).unwrap();
    assert!(round_trip(&mut connect(addr)) < Duration::from_millis(100));
    backend.extend(&mut injection, &down("a-b")).unwrap();
    assert!(round_trip(&mut connect(addr)) >= Duration::from_millis(100));
    backend.retract(&mut injection, &down("a-b")).unwrap();
    backend.retract(&mut injection, &down("a-b")).unwrap();
    assert!(round_trip(&mut connect(addr)) < Duration::from_millis(100));
    assert!(backend.heal(injection).unwrap().altered_chunks >= 1, "what it met there still counts");
}

fn a_fault_is_healed_when_it_is_forgotten(backend: &dyn Backend, addr: SocketAddr) {
    drop(backend.inject("slow", &latency(100), &[down("a-b")], SEED).unwrap());
    assert!(round_trip(&mut connect(addr)) < Duration::from_millis(100));
}

fn silence_holds_bytes_until_it_is_healed(backend: &dyn Backend, addr: SocketAddr) {
    let mut client = connect(addr);
    round_trip(&mut client);
    let cut = backend.inject("cut", &LinkAction::Silent, &[Target::both("a-b")], SEED).unwrap();
    assert!(cut.mechanism.is_some());
    client.write_all(b"later").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(backend.heal(cut).unwrap().real);
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut got = [0; 5];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"later");
}

fn a_refused_link_takes_nobody(backend: &dyn Backend, addr: SocketAddr) {
    let mut client = connect(addr);
    round_trip(&mut client);
    let cut = backend.inject("cut", &LinkAction::Refused, &[Target::both("a-b")], SEED).unwrap();
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)), "open connections end");
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(backend.heal(cut).unwrap().real);
    round_trip(&mut connect(addr));
}

fn limits_and_closes(backend: &dyn Backend, addr: SocketAddr) {
    let limit = toxic(Toxic::LimitData { bytes: Bytes(3) });
    let injection = backend.inject("limit", &limit, &[down("a-b")], SEED).unwrap();
    let mut client = connect(addr);
    client.write_all(b"hello").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"hel");
    soon("it is counted", || backend.proof(&injection).unwrap().real);
    backend.heal(injection).unwrap();
}

fn all_at_once(backend: &dyn Backend, addr: SocketAddr) {
    let one = backend.inject("one", &latency(100), &[down("a-b")], SEED).unwrap();
    let two = backend.inject("two", &latency(100), &[down("a-b")], SEED).unwrap();
    round_trip(&mut connect(addr));
    backend.heal_all().unwrap();
    assert!(round_trip(&mut connect(addr)) < Duration::from_millis(100));
    assert!(backend.heal(one).unwrap().altered_chunks + backend.heal(two).unwrap().altered_chunks >= 2);
}

fn an_upstream_moves(backend: &dyn Backend, addr: SocketAddr) {
    let elsewhere = upstream(|mut stream| drop(stream.write_all(b"elsewhere")));
    backend.set_upstream("a-b", &elsewhere.to_string()).unwrap();
    let mut got = String::new();
    connect(addr).read_to_string(&mut got).unwrap();
    assert_eq!(got, "elsewhere");
    let (_, counters) = backend.counters().into_iter().find(|(link, _)| &**link == "a-b").unwrap();
    assert!(counters.accepted > 0 && counters.down_sent_bytes > 0);
}
