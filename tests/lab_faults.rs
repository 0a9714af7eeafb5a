//! Faults of places and of labs: a zone without power, a region of processes, an ordered failover. What a run makes of
//! them, and that they are healed whatever ends it.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use common::Case;
use serde_json::Value;

/// The pair, with users of its gateway and users who go straight to node-a.
fn pair(faults: &str, rest: &str) -> String {
    format!(
        "
name: places
hypothesis: A lost place is lived through.
system: {{ lab: {{ primary-standby: {{ heartbeat: 50ms }} }} }}
workloads:
  orders:
    to: gateway
    client: {{ http: {{}} }}
    arrival: {{ constant: 200/s }}
    operation: {{ register: {{}} }}
    attempt_timeout: 250ms
    deadline: 3s
    retry: {{ fixed: {{ wait: 50ms, attempts: 40 }} }}
  straight:
    to: node-a
    client: {{ http: {{}} }}
    arrival: {{ constant: 50/s }}
    operation: {{ echo: {{ size: 10 B }} }}
    attempt_timeout: 200ms
    deadline: 200ms
phases: {{ warmup: 300ms, baseline: 2s, recovery: 1500ms }}
faults: {faults}
{rest}
"
    )
}

/// The states of a node over time, each with its incarnation.
fn states<'r>(run: &'r Value, node: &str) -> Vec<(&'r str, u64)> {
    let states = run["nodes"][node].as_array().unwrap_or_else(|| panic!("no node {node}"));
    states.iter().map(|state| (state["state"].as_str().unwrap(), state["incarnation"].as_u64().unwrap())).collect()
}

fn lines(proof: &Value) -> Vec<&str> {
    proof["read_back"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

#[test]
fn a_zone_without_power_says_nothing_to_anybody_and_comes_back() {
    let faults = "{ fire: { for: 1500ms, zone_down: { zone: 1 } } }";
    let ran = Case::text(&pair(faults, "expect: [ orders.lost == 0, orders.success_rate == 100% ]")).run();
    let report = ran.report();
    let run = &report["runs"][0];
    let fire = &run["faults"]["fire"];
    assert_eq!(fire["proof"]["real"], true, "{fire:#}");
    assert_eq!(lines(&fire["proof"]), ["node-a: gone"]);
    assert_eq!(fire["hit"]["nodes"], serde_json::json!(["node-a"]));
    let links = fire["hit"]["links"].as_array().unwrap();
    assert_eq!(links.len(), 4, "gateway-node-a, node-a-node-b, node-b-node-a, straight-node-a: {links:?}");
    // Nobody was told: who went straight there waited in vain, and was never reset or refused.
    let outcomes = &run["workloads"]["straight"]["classes"]["all"]["windows"]["fault.fire"]["outcomes"];
    assert!(outcomes["timeout"].as_u64() >= Some(40), "{outcomes:#}");
    let told = ["reset", "refused", "protocol"].iter().any(|outcome| outcomes[outcome].as_u64() > Some(0));
    assert!(!told, "a killed node was heard: {outcomes:#}");
    assert!(states(run, "node-a").contains(&("ready", 2)), "it was started again: {:?}", states(run, "node-a"));
}

#[test]
fn a_zone_is_healed_when_a_guard_ends_the_run() {
    let faults = "{ fire: { for: 60s, zone_down: { zone: 1 } } }";
    let guard = "guards: [ { abort_if: straight.success_rate < 50%, for: 500ms } ]";
    let ran = Case::text(&pair(faults, guard)).run().exits(4);
    let run = &ran.report()["runs"][0];
    let fire = &run["faults"]["fire"];
    assert!(fire["healed_ns"].is_i64(), "{fire:#}");
    assert_eq!(fire["proof"]["real"], true, "{fire:#}");
    assert!(states(run, "node-a").contains(&("starting", 1)), "{:?}", states(run, "node-a"));
}

#[test]
fn a_region_of_processes_goes_down_and_comes_back_under_its_users() {
    let server = |region: &str| {
        format!(
            "{{ process: {{ command: [python3, -m, http.server, '${{nodes.self.port}}', --bind, 127.0.0.1],
               listen: 127.0.0.1:0, ready: {{ http: / }} }}, labels: {{ region: {region} }} }}"
        )
    };
    let users = |to: &str| {
        format!(
            "{{ to: {to}, client: {{ http: {{}} }}, arrival: {{ constant: 50/s }}, operation: {{ request: {{}} }},
               attempt_timeout: 300ms, deadline: 300ms, labels: {{ region: north }} }}"
        )
    };
    let text = format!(
        "
name: regions
hypothesis: Only the region that is lost is lost.
system: {{ nodes: {{ oslo: {}, rome: {} }} }}
workloads: {{ to-oslo: {}, to-rome: {} }}
phases: {{ warmup: 300ms, baseline: 1s, recovery: 2s }}
faults: {{ flood: {{ for: 1s, region_down: {{ region: north }} }} }}
",
        server("north"),
        server("south"),
        users("oslo"),
        users("rome")
    );
    let ran = Case::text(&text).run();
    let run = &ran.report()["runs"][0];
    let flood = &run["faults"]["flood"];
    assert_eq!((lines(&flood["proof"]), &flood["proof"]["real"]), (vec!["oslo: gone"], &Value::Bool(true)));
    assert_eq!(flood["hit"]["links"], serde_json::json!(["to-oslo-oslo"]), "users in the region live on");
    let window = |workload: &str| {
        let windows = &run["workloads"][workload]["classes"]["all"]["windows"];
        windows["fault.flood"]["success_rate"].as_f64().unwrap()
    };
    assert!(window("to-oslo") < 0.1 && window("to-rome") > 0.9, "{} {}", window("to-oslo"), window("to-rome"));
    assert_eq!(states(run, "oslo").last().unwrap().1, 2, "{:?}", states(run, "oslo"));
}

#[test]
fn a_planned_failover_hands_over_and_is_over_when_the_lab_serves_again() {
    let expect = "expect: [ orders.lost == 0, orders.success_rate == 100%, orders.failover_latency < 3s ]";
    let ran = Case::text(&pair("{ drill: { failover: planned } }", expect)).run().says("drill");
    let report = ran.report();
    let run = &report["runs"][0];
    let drill = &run["faults"]["drill"];
    assert_eq!(lines(&drill["proof"]), ["node-a handed over to node-b"]);
    assert_eq!((&drill["kind"], &drill["proof"]["real"]), (&Value::from("failover"), &Value::Bool(true)));
    assert_eq!(drill["hit"]["nodes"], serde_json::json!(["node-a"]), "whom it takes the service from");
    let lasted = drill["healed_ns"].as_i64().unwrap() - drill["injected_ns"].as_i64().unwrap();
    assert!((200_000_000..5_000_000_000).contains(&lasted), "a promotion alone takes 200 ms: {lasted} ns");
    for expectation in report["conclusion"]["expectations"].as_array().into_iter().flatten() {
        assert_ne!(expectation["verdict"], "failed", "{expectation:#}");
    }
}

#[test]
fn a_refused_failover_changes_nothing_and_is_no_proof() {
    let faults = "{ gone: { for: 2s, kill: { nodes: node-b } }, drill: { at: 1s, failover: planned } }";
    let ran = Case::text(&pair(faults, "expect: [ orders.success_rate >= 50% ]")).run().exits(5);
    let ran = ran.says("nothing shows that drill (failover) was real: refused: the standby does not have every write");
    let run = &ran.report()["runs"][0];
    assert_eq!(run["faults"]["drill"]["proof"]["real"], false);
    assert!(states(run, "node-a").iter().all(|(_, incarnation)| *incarnation <= 1), "it is primary as ever");
}
