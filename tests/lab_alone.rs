//! `brownout lab`: a lab by itself, used and drilled over HTTP as a person would.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brownout::clock::RunClock;
use brownout::system::dns::{Keep, Resolver};
use common::brownout;
use serde_json::Value;

/// A lab that runs, ended when dropped.
struct Lab {
    child: Child,
    status: String,
    /// The first of the addresses that clients use.
    gateway: String,
}

impl Lab {
    fn start(args: &[&str]) -> Lab {
        let mut child = brownout().arg("lab").args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut status, mut gateway) = (String::new(), String::new());
        for line in lines.by_ref().map(Result::unwrap) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["clients", _, url] if gateway.is_empty() => gateway = url.trim_start_matches("http://").to_owned(),
                ["status", url, ..] => status = url.trim_start_matches("http://").trim_end_matches('/').to_owned(),
                ["Ctrl-C", ..] => break,
                _ => {}
            }
        }
        assert!(!status.is_empty() && !gateway.is_empty(), "it says where it is");
        Lab { child, status, gateway }
    }

    fn shown(&self) -> Value {
        serde_json::from_str(&ask(&self.status, "GET", "/status.json", &[], "").1).unwrap()
    }

    fn node(&self, name: &str) -> Value {
        let shown = self.shown();
        shown["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap().clone()
    }

    fn post(&self, path: &str) -> (u16, String) {
        ask(&self.status, "POST", path, &[], "")
    }

    fn until(&self, what: &str, holds: impl Fn(&Lab) -> bool) {
        let deadline = SystemTime::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(SystemTime::now() < deadline, "never {what}: {:#}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ctrl-C; how it ended.
    fn interrupt(mut self) -> (Option<i32>, String) {
        std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request over a connection of its own: the status and the rest of the answer. 0 where none came.
fn ask(to: &str, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String) {
    let within = Duration::from_secs(1);
    let Ok(mut socket) = TcpStream::connect_timeout(&to.parse().unwrap(), within) else { return (0, String::new()) };
    socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let host = if headers.iter().any(|header| header.starts_with("Host:")) {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    if socket.read_to_string(&mut answer).is_err() && answer.is_empty() {
        return (0, String::new());
    }
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if status >= 300 { (status, format!("{head}\n\n{body}")) } else { (status, body.to_owned()) }
}

#[test]
fn a_client_of_ones_own_lives_through_a_drill_by_hand() {
    let lab = Lab::start(&["primary-standby", "--set", "heartbeat=30ms"]);
    assert_eq!(ask(&lab.gateway, "PUT", "/kv/greeting", &[], "hello").0, 200);
    let node = lab.node("node-a");
    assert_eq!((&node["role"], &node["zone"], &node["state"]), (&"primary".into(), &"1".into(), &"ready".into()));
    assert_eq!(lab.shown()["params"]["heartbeat"], "30ms");

    assert_eq!(lab.post("/nodes/node-a/kill").0, 200);
    assert_eq!(lab.node("node-a")["state"], "gone");
    lab.until("promoted", |lab| lab.node("node-b")["role"] == "primary" && lab.shown()["serves"] == true);
    assert_eq!(ask(&lab.gateway, "GET", "/kv/greeting", &[], ""), (200, "hello".to_owned()));
    assert_eq!(lab.post("/nodes/node-a/heal").0, 200);
    lab.until("back", |lab| lab.node("node-a")["role"] == "standby");

    // Cut off by silence: its role ends with its lease, and healing lets it in again.
    lab.until("in sync", |lab| lab.post("/failover/planned").0 == 200);
    lab.until("handed over", |lab| lab.node("node-a")["role"] == "primary" && lab.shown()["serves"] == true);
    assert_eq!(lab.post("/nodes/gateway/cut").0, 200);
    assert_eq!(ask(&lab.gateway, "GET", "/kv/greeting", &[], "").0, 0, "nobody is told anything");
    assert_eq!(lab.node("gateway")["cut"], true);
    assert_eq!(lab.post("/nodes/gateway/heal").0, 200);
    lab.until("reachable", |lab| ask(&lab.gateway, "GET", "/kv/greeting", &[], "").1 == "hello");

    let told = lab.shown()["events"].to_string();
    for said in ["node-a#1 gone", "promoted: node-b", "node-b handed over to node-a", "every link of gateway is silent"]
    {
        assert!(told.contains(said), "`{said}` is not in {told}");
    }
    assert_eq!(lab.interrupt(), (Some(0), "ending the lab\n".to_owned()));
}

/// Whom a DNS server says that a name means now.
fn resolve(server: &str, name: &str) -> Vec<Ipv4Addr> {
    let resolver = Arc::new(Resolver::new(server.parse().unwrap(), name, Keep::Never, RunClock::start()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(resolver.addresses()).unwrap()
}

#[test]
fn a_client_that_asks_dns_follows_a_name_to_another_region() {
    let lab = Lab::start(&["regions/vm", "--set", "time_scale=3600"]);
    let shown = lab.shown();
    let dns = shown["dns"].as_str().unwrap();
    let name = |shown: &Value| shown["names"][0].clone();
    assert_eq!((&name(&shown)["name"], &name(&shown)["nodes"][0]), (&"app.lab.test".into(), &"vm-east".into()));
    let port = name(&shown)["url"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let get = |key: &str| ask(&format!("{}:{port}", resolve(dns, "app.lab.test")[0]), "GET", key, &[], "");
    let east = resolve(dns, "app.lab.test");
    assert_eq!(get("/health"), (200, "well\n".to_owned()));

    // Refused before there is a recovery point.
    lab.until("ordered", |lab| lab.post("/failover/unplanned").0 == 200);
    lab.until("remapped", |lab| name(&lab.shown())["nodes"][0] == "vm-west");
    let west = resolve(dns, "app.lab.test");
    assert!(west.len() == 1 && west != east, "{east:?}, then {west:?}");
    lab.until("served in the west", |_| get("/health").0 == 200);
    assert_eq!(lab.post("/nodes/vm-west/cut").0, 200);
    assert_eq!(get("/health").0, 0, "the links at its names are cut as well");

    let page = ask(&lab.status, "GET", "/", &["Accept: text/html"], "").1;
    let dig = format!("dig @127.0.0.1 -p {} app.lab.test", dns.rsplit(':').next().unwrap());
    for part in [dig.as_str(), "vm-west", &format!("http://app.lab.test:{port}")] {
        assert!(page.contains(part), "`{part}` is not on the page");
    }
}

#[test]
fn a_user_orders_a_failover_at_the_address_that_clients_keep() {
    let lab = Lab::start(&["managed-sql/local-storage", "--set", "heartbeat=30ms"]);
    assert_eq!(ask(&lab.gateway, "PUT", "/kv/greeting", &[], "hello").0, 200);
    let (status, said) = ask(&lab.gateway, "POST", "/failover", &[], "");
    assert_eq!((status, said.as_str()), (202, "the engine starts anew\n"));
    lab.until("anew", |lab| lab.node("node-1")["incarnation"] == 2 && lab.shown()["serves"] == true);
    assert_eq!(ask(&lab.gateway, "GET", "/kv/greeting", &[], ""), (200, "hello".to_owned()));
    // Fifteen minutes are fifteen seconds here.
    let (status, said) = ask(&lab.gateway, "POST", "/failover", &[], "");
    assert!(status == 429 && said.contains("at most one failover is granted in 15s; 1"), "{status} {said}");
    assert!(said.contains("retry-after: 1") && said.contains(" left"), "{said}");
    assert_eq!(lab.node("node-1")["incarnation"], 2, "a refusal changes nothing");
}

#[test]
fn a_round_of_maintenance_is_ordered_by_hand_and_a_second_one_is_refused() {
    let lab = Lab::start(&["managed-sql/remote-storage", "--set", "heartbeat=30ms"]);
    let host = lab.node("compute-1")["host"].clone();
    assert_eq!((host, lab.node("gateway")["host"].clone()), ("z1-r1-h1".into(), Value::Null));
    assert_eq!(lab.post("/maintenance").0, 200);
    let (status, said) = lab.post("/maintenance");
    assert!(status == 409 && said.contains("maintenance is under way"), "{status} {said}");
    lab.until("done", |lab| lab.shown()["events"].to_string().contains("maintenance is done"));
    assert_eq!(lab.node("compute-2")["role"], "engine", "it has moved once");
    assert_eq!(ask(&lab.status, "GET", "/maintenance", &[], "").0, 405);
}

#[test]
fn a_failover_is_refused_while_another_runs_and_of_a_node_that_is_not_alive() {
    for (name, role) in [("managed-sql/local-storage", "primary"), ("managed-sql/remote-storage", "engine")] {
        let lab = Lab::start(&[name, "--set", "misses=20", "--set", "promotion=2s"]);
        assert_eq!(lab.post("/failover/planned").0, 200, "{name}");
        for kind in ["planned", "simulated", "unplanned"] {
            let (status, said) = lab.post(&format!("/failover/{kind}"));
            assert!(status == 409 && said.contains("a failover is going on"), "{name}, {kind}: {status} {said}");
        }
        lab.until("moved", |lab| lab.shown()["serves"] == true);
        let nodes = lab.shown()["nodes"].clone();
        let serving = nodes.as_array().unwrap().iter().find(|node| node["role"] == role).unwrap()["name"].clone();
        let serving = serving.as_str().unwrap();
        assert_eq!(lab.post(&format!("/nodes/{serving}/kill")).0, 200);
        // It is missed after 2 s.
        let (status, said) = lab.post("/failover/unplanned");
        assert!(status == 409 && said.contains(&format!("{serving} is not alive")), "{name}: {status} {said}");
    }
}

#[test]
fn the_page_is_for_people_at_this_machine_and_for_no_other_site() {
    let lab = Lab::start(&["primary-standby"]);
    let (status, page) = ask(&lab.status, "GET", "/", &["User-Agent: Mozilla/5.0 (X11)"], "");
    assert_eq!(status, 200);
    for part in ["node-a", "zone 1", "primary", "planned failover", "/nodes/node-b/pause", "prefers-color-scheme: dark"]
    {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    for foreign in ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Host: evil.example"] {
        assert_eq!(ask(&lab.status, "POST", "/nodes/node-a/kill", &[foreign], "").0, 403, "{foreign}");
        assert_eq!(ask(&lab.status, "GET", "/status.json", &[foreign], "").0, 403, "{foreign}");
    }
    assert_eq!(lab.node("node-a")["state"], "ready");
    // A form of its own goes back to the page.
    let own = [format!("Origin: http://{}", lab.status), "Accept: text/html".to_owned()];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let (status, head) = ask(&lab.status, "POST", "/nodes/node-b/pause", &own, "");
    assert!(status == 303 && head.contains("location: /"), "{status} {head}");
    assert_eq!(lab.node("node-b")["state"], "paused");
    assert_eq!(lab.post("/nodes/node-b/heal").0, 200);
    assert_eq!(lab.post("/nodes/node-x/kill").0, 404);
    assert_eq!(lab.post("/nodes/node-a/tickle").0, 404);
    assert_eq!(ask(&lab.status, "GET", "/nodes/node-a/kill", &[], "").0, 405, "a link that is followed kills nobody");
    // An order that cannot be followed is told. On a busy machine roles may have changed meanwhile.
    let standby = if lab.node("node-a")["role"] == "standby" { "node-a" } else { "node-b" };
    assert_eq!(lab.post(&format!("/nodes/{standby}/kill")).0, 200);
    let (status, said) = lab.post("/failover/planned");
    assert!(status == 409 && said.contains("the standby d"), "{status} {said}");
}

#[test]
fn entries_and_page_may_have_fixed_ports_and_a_taken_one_is_told() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (entry, status) = (free(), free());
    let (entry_arg, status_arg) = (format!("gateway={entry}"), status.to_string());
    let lab = Lab::start(&["primary-standby", "--entry", &entry_arg, "--status", &status_arg]);
    assert_eq!(
        (lab.gateway.clone(), lab.status.clone()),
        (format!("127.0.0.1:{entry}"), format!("127.0.0.1:{status}"))
    );
    for (args, told) in [(["--entry", &entry_arg], "client-gateway"), (["--status", &status_arg], "status page")] {
        let second = brownout().args(["lab", "primary-standby"]).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(second.status.code() == Some(3) && said.contains(told), "{said}");
    }
}

#[test]
fn labs_are_named_and_mistakes_are_told_all_at_once() {
    let said = |args: &[&str]| {
        let output = brownout().arg("lab").args(args).output().unwrap();
        let text = [output.stdout, output.stderr].map(|part| String::from_utf8(part).unwrap()).concat();
        (output.status.code(), text)
    };
    let (code, labs) = said(&[]);
    let pair = labs.lines().find(|line| line.starts_with("primary-standby ")).unwrap_or_else(|| panic!("{labs}"));
    assert!(code == Some(0) && pair.contains("  Two key-value nodes"), "{labs}");
    let (code, params) = said(&["primary-standby", "--params"]);
    assert!(
        code == Some(0) && params.contains("--set misses=3") && params.contains("orders   planned failover"),
        "{params}"
    );
    let unknown = "error: no lab is called `primary-stanby`; did you mean `primary-standby`?\n".to_owned();
    assert_eq!(said(&["primary-stanby"]), (Some(2), unknown));
    let wrong = ["primary-standby", "--set", "comit=sync", "--set", "misses=1", "--set", "fencing=false"];
    let told = "error: the lab has no parameter `comit`; did you mean `commit`?\nerror: `misses`: expected a whole number from 2 to 20\n";
    assert_eq!(said(&wrong), (Some(2), told.to_owned()));
    let (code, entries) = said(&["primary-standby", "--entry", "db=8080"]);
    assert!(code == Some(2) && entries.contains("its entries: gateway, node-a, node-b"), "{entries}");
    assert_eq!(said(&["--set", "commit=sync"]).0, Some(2), "of which lab?");
}
