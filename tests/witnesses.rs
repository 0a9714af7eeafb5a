//! What the client, the links and the lab say of one run agrees.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use common::Case;
use serde_json::Value;

/// A primary that is cut off, under registers that are read a last time at the end.
const CUT: &str = "
name: witnesses
hypothesis: Client, links and lab tell the same story.
system: { lab: { primary-standby: { commit: sync } } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 200/s }
    operation: { register: { keys: 50, reads: 20% } }
    attempt_timeout: 250ms
    deadline: 3s
    retry: { fixed: { wait: 50ms, attempts: 30 } }
phases: { warmup: 300ms, baseline: 1500ms, recovery: 1s }
faults:
  cut: { at: 0s, for: 1500ms, partition: { a: { role: primary }, b: all } }
";

fn run() -> Value {
    let ran = Case::text(CUT).run();
    let report = ran.report();
    assert!(report["runs"][0]["complete"].as_bool().unwrap(), "{}", ran.stdout());
    report["runs"][0].clone()
}

#[test]
fn attempts_are_the_same_number_at_the_client_and_on_the_wire_and_the_lab_knows_who_reconnected() {
    let run = run();
    let orders = &run["workloads"]["orders"];
    let wire = &orders["wire"];
    assert_eq!(wire["attempts"], wire["requests"], "final reads are none of the load's");
    let total = run["links"]["orders-gateway"]["total"]["requests"].as_u64().unwrap();
    assert!(total >= wire["requests"].as_u64().unwrap() + 50, "50 keys were read: {total}");

    let milestones = orders["classes"]["all"]["outages"]["cut"]["milestones"].as_array().unwrap();
    let at = |name: &str| {
        let found = milestones.iter().find(|one| one["milestone"] == name).unwrap();
        found["at_ns"].as_u64().unwrap_or_else(|| panic!("{name} is unknown: {milestones:#?}"))
    };
    // The gateway notes its answer before the client has it.
    let in_order = ["injected", "detected", "decided", "promoted", "reconnected", "first_success"].map(at);
    assert!(in_order.is_sorted(), "{milestones:#?}");
}
