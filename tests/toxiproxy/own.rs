//! What goes beyond Toxiproxy: faults, leases, connections, events, metrics, and who may ask.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::golden;
use crate::support::{Server, connect, echo, soon, upstream};

fn web(args: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(args);
    let addr = server.proxy("web", upstream(echo));
    (server, addr)
}

fn echoes(addr: SocketAddr) -> bool {
    let Ok(mut client) = TcpStream::connect(addr) else { return false };
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    client.write_all(b"hello").is_ok() && client.read_exact(&mut [0; 5]).is_ok()
}

#[test]
fn a_fault_strikes_says_what_it_met_and_heals() {
    let (server, addr) = web(&[]);
    let made = server.done("POST", "/v1/proxies/web/faults", r#"{"name":"shut","fault":{"refused":{}}}"#);
    assert_eq!((&made["name"], &made["fault"]), (&json!("shut"), &json!({"refused": {}})));
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(server.done("GET", "/proxies/web/toxics", ""), json!([]), "the other API knows fewer words");
    let healed = server.done("DELETE", "/v1/proxies/web/faults/shut", "");
    assert_eq!(healed["name"], "shut");
    assert!(echoes(addr));
    assert_eq!(server.call("DELETE", "/v1/proxies/web/faults/shut", "").status, 404);
}

#[test]
fn faults_of_every_kind_are_taken_and_survive_a_stop() {
    let (server, addr) = web(&[]);
    server.done("PATCH", "/v1/proxies/web", r#"{"http":true}"#);
    for fault in [
        json!({"latency": {"add": "1ms", "jitter": "1ms", "law": "pareto", "correlation": "50%"}}),
        json!({"bandwidth": {"rate": "10 MB/s"}}),
        json!({"packet_loss": {"loss": "1%"}}),
        json!({"chunk_loss": {"loss": "0%"}}),
        json!({"slicer": {"size": "1 KB"}}),
        json!({"slow_close": {"delay": "1ms"}}),
        json!({"timeout": {"after": "1h"}}),
        json!({"reset_peer": {"after": "1h"}}),
        json!({"limit_data": {"bytes": "1 GB"}}),
        json!({"corrupt": {"bytes": "0.1%"}}),
        json!({"silent": {}}),
        json!({"black_hole": {}}),
        json!({"refuse": {}}),
        json!({"refused": {}}),
        json!({"reset": {}}),
        json!({"half_open": {}}),
        json!({"flap": {"up": "10ms", "down": "10ms"}}),
        json!({"drop": {"share": "10%", "reset": true}}),
        json!({"http_status": {"code": 503, "retry_after": "1s", "only": {"path": "/slow"}}}),
        json!({"http_abort": {"at": "50%"}}),
        json!({"http_delay": {"by": "10ms"}}),
    ] {
        let made = server.done("POST", "/v1/proxies/web/faults", &json!({"fault": fault}).to_string());
        let (given, shown) = (fault.as_object().unwrap(), made["fault"].as_object().unwrap());
        assert_eq!(given.keys().next(), shown.keys().next());
    }
    let before = server.done("GET", "/v1/proxies/web/faults", "");
    assert_eq!(before.as_array().unwrap().len(), 21);
    server.done("PATCH", "/proxies/web", r#"{"enabled":false}"#);
    server.done("PATCH", "/proxies/web", r#"{"enabled":true}"#);
    assert_eq!(server.done("GET", "/v1/proxies/web/faults", "").as_array().unwrap().len(), 21);
    server.done("POST", "/reset", "");
    assert_eq!(server.done("GET", "/v1/proxies/web/faults", ""), json!([]));
    assert!(echoes(addr));
}

#[test]
fn names_are_shared_by_toxics_and_faults() {
    let (server, _) = web(&[]);
    server.toxic("web", "latency", "upstream", "{}");
    let taken = server.call("POST", "/v1/proxies/web/faults", r#"{"name":"latency_upstream","fault":{"reset":{}}}"#);
    assert_eq!(taken.status, 409);
    let toxic = server.done("GET", "/v1/proxies/web/faults/latency_upstream", "");
    assert_eq!(toxic["toxic"]["type"], "latency");
    assert_eq!(server.call("POST", "/v1/proxies/web/faults", r#"{"fault":{"http_delay":{"by":"1s"}}}"#).status, 409);
}

#[test]
fn a_fault_on_http_answers_in_the_server_s_place() {
    let server = Server::start(&[]);
    let addr = server.proxy("web", upstream(echo));
    server.done("PATCH", "/v1/proxies/web", r#"{"http":true}"#);
    server.done("POST", "/v1/proxies/web/faults", r#"{"fault":{"http_status":{"code":429,"retry_after":"2s"}}}"#);
    let mut client = connect(addr);
    client.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.to_lowercase().contains("retry-after: 2"), "{answer}");
    let fault = server.done("GET", "/v1/proxies/web/faults/http_status", "");
    assert_eq!(fault["met"]["requests"], 1);
}

#[test]
fn a_fault_replaced_by_one_of_the_same_kind_goes_on_counting() {
    let (server, addr) = web(&[]);
    let limit =
        |bytes| json!({"name": "limit", "fault": {"limit_data": {"bytes": bytes}}, "direction": "down"}).to_string();
    server.done("POST", "/v1/proxies/web/faults", &limit("10 B"));
    let mut client = connect(addr);
    client.write_all(b"12345").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    server.done("PUT", "/v1/proxies/web/faults/limit", &limit("7 B"));
    client.write_all(b"6789").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"67");
}

#[test]
fn a_lease_heals_by_itself_unless_it_is_renewed() {
    let (server, addr) = web(&[]);
    server.done("POST", "/proxies/web/toxics", r#"{"type":"timeout","ttl":400}"#);
    let start = Instant::now();
    assert!(!echoes(addr));
    server.done("PATCH", "/proxies/web/toxics/timeout_downstream", r#"{"ttl":"600ms"}"#);
    soon("the lease has ended", || server.done("GET", "/proxies/web/toxics", "") == json!([]));
    assert!(start.elapsed() >= Duration::from_millis(850), "{:?}", start.elapsed());
    assert!(echoes(addr));

    server.done("POST", "/v1/proxies/web/faults", r#"{"fault":{"refuse":{}},"ttl":"200ms"}"#);
    assert!(!echoes(addr));
    soon("the lease has ended", || echoes(addr));
    server.done("POST", "/proxies/web/toxics", r#"{"type":"noop","ttl":200}"#);
    server.done("PATCH", "/proxies/web/toxics/noop_downstream", r#"{"ttl":0}"#);
    std::thread::sleep(Duration::from_millis(400));
    let toxics = server.done("GET", "/proxies/web/toxics", "");
    assert_eq!((toxics[0]["name"].as_str(), toxics[0].get("ttl")), (Some("noop_downstream"), None));
}

#[test]
fn connections_are_listed_while_they_live() {
    let (server, addr) = web(&[]);
    let mut clients: Vec<_> = (0..3).map(|_| connect(addr)).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
    }
    let listed = server.done("GET", "/v1/proxies/web/connections", "");
    let peers: Vec<_> = listed.as_array().unwrap().iter().map(|one| one["peer"].as_str().unwrap().to_owned()).collect();
    assert_eq!(peers, clients.iter().map(|client| client.local_addr().unwrap().to_string()).collect::<Vec<_>>());
    assert!(listed.as_array().unwrap().iter().all(|one| one["state"] == "open"));
    drop(clients);
    soon("they are gone", || server.done("GET", "/v1/proxies/web/connections", "") == json!([]));
}

#[test]
fn what_changes_is_streamed() {
    let server = Server::start(&[]);
    let mut stream = connect(server.addr);
    write!(stream, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with(": ")), "the stream has begun");
    server.proxy("web", upstream(echo));
    server.done("POST", "/proxies/web/toxics", r#"{"type":"noop","ttl":50}"#);
    let mut next = || {
        let word = lines.find_map(|line| line.strip_prefix("event: ").map(str::to_owned)).unwrap();
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
        (word, serde_json::from_str::<Value>(&data).unwrap())
    };
    let (word, data) = next();
    assert_eq!(
        (word.as_str(), &data["proxy"], &data["what"]["enabled"]),
        ("proxy_created", &json!("web"), &json!(true))
    );
    let (word, data) = next();
    assert_eq!((word.as_str(), &data["what"]["type"]), ("toxic_added", &json!("noop")));
    let (word, data) = next();
    assert_eq!((word.as_str(), &data["what"]), ("lease_ended", &json!({"name": "noop_downstream"})));
    server.done("DELETE", "/proxies/web", "");
    assert_eq!(next().0, "proxy_deleted");
}

#[test]
fn faults_met_and_closings_are_metrics() {
    let (server, addr) = web(&["-proxy-metrics", "-runtime-metrics"]);
    server.done("POST", "/v1/proxies/web/faults", r#"{"fault":{"reset":{}}}"#);
    for _ in 0..3 {
        let _ = TcpStream::connect(addr).unwrap().read(&mut [0; 1]);
    }
    soon("they are counted", || {
        let metrics = server.call("GET", "/metrics", "").body;
        metrics.contains("brownout_proxy_faulted_connections_total{proxy=\"web\"} 3\n")
            && metrics.contains("brownout_proxy_closings_total{kind=\"fault\",proxy=\"web\"} 3\n")
            && metrics.contains("\nprocess_open_fds ")
    });
}

#[test]
fn a_token_keeps_others_out() {
    let server = Server::start_with(&[], |command| {
        command.env("BROWNOUT_PROXY_TOKEN", "secret");
    });
    let refused = server.call("GET", "/proxies", "");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(server.call("POST", "/reset", "").status, 401);
    let bearer = [("Authorization", "Bearer secret")];
    assert_eq!(server.call_with("GET", "/proxies", "", &bearer).status, 200);
}

#[test]
fn browsers_and_other_sites_are_turned_away() {
    let server = Server::start(&[]);
    for header in [("User-Agent", "Mozilla/5.0"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example")] {
        let refused = server.call_with("POST", "/reset", "", &[header]);
        assert_eq!(refused.status, 403, "{header:?}");
        assert!(refused.header("x-toxiproxy-request-id").is_some());
    }
    assert_eq!(server.call_with("GET", "/nowhere", "", &[("User-Agent", "Mozilla/5.0")]).status, 404);
}

#[test]
fn the_openapi_document_is_served_and_kept() {
    let served = Server::start(&[]).done("GET", "/v1/openapi.json", "");
    assert_eq!(served, brownout::admin::openapi());
    golden::check("docs/proxy-openapi.json", format!("{served:#}\n"));
}
