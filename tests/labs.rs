//! The labs keep their promises, and one that is broken on purpose is found out: what their experiments cannot say in a
//! line of their own.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use common::{Case, Ran, fails};
use serde_json::Value;

/// A set with local storage, whose users try again.
fn local_storage(params: &str, faults: &str, rest: &str) -> String {
    lab("managed-sql/local-storage", params, faults, rest)
}

/// An engine with remote storage, whose users try again.
fn remote_storage(params: &str, faults: &str, rest: &str) -> String {
    lab("managed-sql/remote-storage", params, faults, rest)
}

fn lab(name: &str, params: &str, faults: &str, rest: &str) -> String {
    format!(
        "
name: set
hypothesis: The set keeps its promises.
system: {{ lab: {{ {name}: {{ {params} }} }} }}
workloads:
  orders:
    to: gateway
    client: {{ http: {{}} }}
    arrival: {{ constant: 150/s }}
    operation: {{ insert: {{}} }}
    attempt_timeout: 300ms
    deadline: 4s
    retry: {{ fixed: {{ wait: 50ms, attempts: 80 }} }}
phases: {{ warmup: 300ms, baseline: 1500ms, recovery: 1500ms }}
faults: {faults}
{rest}
"
    )
}

/// The incarnations that a node had while it was ready.
fn incarnations(run: &Value, node: &str) -> Vec<u64> {
    let states = run["nodes"][node].as_array().unwrap_or_else(|| panic!("no node {node}"));
    let ready = states.iter().filter(|state| state["state"] == "ready");
    let mut incarnations: Vec<u64> = ready.map(|state| state["incarnation"].as_u64().unwrap()).collect();
    incarnations.dedup();
    incarnations
}

/// C12: in place, one incarnation more, and at most one in fifteen minutes, which are fifteen seconds here.
#[test]
fn a_simulated_failover_stays_on_its_node_and_a_second_one_is_refused_with_the_time_left() {
    let faults = "{ drill: { failover: simulated }, again: { at: 2s, failover: simulated } }";
    for redundancy in ["local", "zone"] {
        let set =
            local_storage(&format!("redundancy: {redundancy}"), faults, "expect: [ orders.success_rate == 100% ]");
        let ran = Case::text(&set).run().exits(5);
        let ran =
            ran.says("the engine of node-1 starts anew on the spot").says("at most one failover is granted in 15");
        let run = &ran.report()["runs"][0];
        assert_eq!(incarnations(run, "node-1"), [1, 2], "{:#}", run["nodes"]["node-1"]);
        for node in ["node-2", "node-3", "node-4", "spare-1"] {
            assert_eq!(incarnations(run, node), [1], "{redundancy}: {node} was not concerned");
        }
        assert_eq!(run["faults"]["again"]["proof"]["real"], false, "{:#}", run["faults"]["again"]);
        assert_eq!(
            run["workloads"]["orders"]["consistency"]["lost"], 0,
            "{:#}",
            run["workloads"]["orders"]["consistency"]
        );
    }
}

/// C12, broken on purpose: without the limit a second one is granted at once.
#[test]
fn a_service_without_a_limit_grants_every_failover() {
    let faults = "{ drill: { failover: simulated }, again: { at: 1s, failover: simulated } }";
    let (params, expect) = ("failover_limit: 0s", "expect: [ orders.success_rate == 100% ]");
    let sets = [local_storage(params, faults, expect), remote_storage(params, faults, expect)];
    for (set, node) in sets.iter().zip(["node-1", "compute-1"]) {
        let ran = Case::text(set).run().exits(0);
        assert_eq!(incarnations(&ran.report()["runs"][0], node), [1, 2, 3], "{node}");
    }
}

/// C12, the other half: without its majority the control ring grants nothing, and says so.
#[test]
fn without_a_majority_of_the_ring_no_failover_can_be_ordered() {
    let faults = "{ ring: { for: 3s, control_node_down: { nodes: 2 } }, drill: { at: 1s, failover: planned } }";
    let ran = Case::text(&local_storage("", faults, "expect: [ orders.success_rate == 100% ]")).run().exits(5);
    ran.says("no control node leads");
}

/// C5: the copy of a lost node is built on the spare, and the node comes back as the spare.
#[test]
fn a_spare_takes_the_place_of_a_lost_copy() {
    let faults = "{ lost: { for: 2s, kill: { nodes: node-3 } } }";
    let ran = Case::text(&local_storage("rebuild_after: 200ms", faults, "expect: [ orders.success_rate == 100% ]"));
    let ran = ran.run().exits(0).says("4 copies count: node-1, node-2, node-4, spare-1");
    let roles = |node: &str| -> Vec<String> {
        let run = &ran.report()["runs"][0];
        let states = run["nodes"][node].as_array().unwrap().clone();
        let mut roles: Vec<String> =
            states.iter().filter_map(|state| Some(state["role"].as_str()?.to_owned())).collect();
        roles.dedup();
        roles
    };
    assert_eq!(roles("spare-1"), ["spare", "secondary"]);
    assert_eq!(roles("node-3"), ["secondary", "spare"]);
}

/// An experiment with something in it broken; it fails, and this is what is said.
fn broken(file: &str, set: &str, says: &str) -> Ran {
    fails(|| Case::experiment(file).arg("--set").arg(set)).says(says)
}

#[test]
fn a_recovery_service_that_replicates_too_seldom_loses_more_than_was_promised() {
    broken("experiments/regions/failover.yaml", "replicate_every=4m", "✘ customers.rpo");
}

#[test]
fn a_test_failover_without_isolation_touches_production() {
    let file = "experiments/regions/test-failover.yaml";
    broken(file, "isolation=off", "✘ customers.lost");
}

#[test]
fn a_client_that_never_asks_again_never_follows() {
    let set = "resolve=once";
    broken("experiments/regions/failover.yaml", set, "✘ customers.success_rate during recovery");
}

#[test]
fn a_machine_that_was_replaced_and_is_not_fenced_serves_beside_its_successor() {
    broken("experiments/regions/failover.yaml", "fencing=off", "✘ stragglers.success_rate");
}

/// C12, with remote storage: the engine starts anew where it is, and a second order is refused with the time left.
#[test]
fn an_engine_apart_from_its_storage_starts_anew_on_the_spot_as_well() {
    let faults = "{ drill: { failover: simulated }, again: { at: 2s, failover: simulated } }";
    let engine = remote_storage("", faults, "expect: [ orders.success_rate == 100% ]");
    let ran = Case::text(&engine).run().exits(5);
    let ran = ran.says("the engine of compute-1 starts anew on the spot").says("at most one failover is granted in 15");
    let run = &ran.report()["runs"][0];
    assert_eq!(incarnations(run, "compute-1"), [1, 2], "{:#}", run["nodes"]["compute-1"]);
    for node in ["compute-2", "storage-1", "storage-2", "storage-3"] {
        assert_eq!(incarnations(run, node), [1], "{node} was not concerned");
    }
    assert_eq!(run["workloads"]["orders"]["consistency"]["lost"], 0);
}

/// C17: what an engine waits for is told, and a move that has nowhere to go is refused.
#[test]
fn an_engine_without_room_elsewhere_waits_and_says_for_what() {
    let faults = "{ drill: { failover: planned }, lost: { at: 1s, for: 2s, kill: { nodes: compute-1 } } }";
    let ran = Case::text(&remote_storage("room: off", faults, "expect: [ orders.success_rate == 100% ]")).run();
    let why = "no other compute node that is well has free capacity";
    ran.exits(5).says(&format!("refused: {why}")).says(&format!("the engine waits: {why}"));
}

/// C16, broken on purpose: a rack in which everybody stands takes everybody along.
#[test]
fn an_engine_whose_stand_in_is_in_its_own_rack_is_lost_with_it() {
    let file = "experiments/managed-sql/remote-machines-lost.yaml";
    let ran = broken(file, "spread=off", "✘ orders.unavailability during fault.rack");
    ran.says("✘ orders.unavailability during fault.copy");
}

/// C18: one round at a time, and none while a copy is missing already.
#[test]
fn maintenance_is_refused_while_a_round_is_under_way_and_while_a_copy_is_missing() {
    let faults = "{ patches: { maintenance: {} }, more: { at: 500ms, maintenance: {} } }";
    let set = local_storage("secondaries: 2, spares: 0", faults, "expect: [ orders.success_rate == 100% ]");
    let ran = Case::text(&set).run().exits(5).says("refused: maintenance is under way").says("maintenance is done");
    let run = &ran.report()["runs"][0];
    for node in ["node-1", "node-2", "node-3"] {
        assert!(incarnations(run, node).len() > 1, "{node} was started anew: {:#}", run["nodes"][node]);
    }
    assert_eq!(run["workloads"]["orders"]["consistency"]["lost"], 0);

    let faults = "{ lost: { for: 2s, kill: { nodes: node-3 } }, patches: { at: 1s, maintenance: {} } }";
    let set = local_storage("secondaries: 2, spares: 0, least_copies: 3", faults, "expect: [ orders.lost == 0 ]");
    let ran = Case::text(&set).run().exits(5).says("refused: a copy is missing");
    assert_eq!(incarnations(&ran.report()["runs"][0], "node-2"), [1], "nobody was taken");
}

/// C18, broken on purpose: a node that does not hand over before it is taken is missed first.
#[test]
fn maintenance_without_a_hand_over_is_an_outage_like_any_other() {
    let ran =
        broken("experiments/managed-sql/maintenance.yaml", "drain=off", "✘ storage=remote   orders.unavailability");
    ran.says("✘ storage=local    orders.unavailability");
}

/// C3, broken on purpose: storage that acknowledges what only one copy has loses it with that copy.
#[test]
fn storage_that_does_not_wait_for_its_copies_loses_writes() {
    let faults = "{ lost: { for: 3s, kill: { nodes: storage-1 } } }";
    for (commit, lost) in [("all", "== 0"), ("async", "> 0")] {
        let params = format!("redundancy: zone, zone_latency: 30ms, commit: {commit}");
        let expect = format!("expect: [ orders.lost {lost} ]");
        Case::text(&remote_storage(&params, faults, &expect)).run().exits(0);
    }
}

/// C10: what is so already, what is under way, and what would come in between is refused; the migration goes on.
#[test]
fn a_migration_is_refused_while_one_runs_and_to_what_is_so_already() {
    let faults =
        "{ move: { migrate: zone }, back: { at: 400ms, migrate: local }, drill: { at: 600ms, failover: simulated },
        same: { after: move.healed + 300ms, migrate: zone } }";
    for lab in [local_storage, remote_storage] {
        let expect = "expect: [ orders.success_rate == 100%, orders.lost == 0 ]";
        let ran = Case::text(&lab("migration: on, copy_time: 90s", faults, expect)).run().exits(5);
        let ran = ran.says("it has zone redundancy from now on");
        let faults = ran.report()["runs"][0]["faults"].clone();
        for (fault, said) in [
            ("move", "migrated to zone redundancy"),
            ("back", "refused: a migration is going on"),
            ("drill", "refused: a migration is going on"),
            ("same", "refused: it is so already"),
        ] {
            assert!(faults[fault].to_string().contains(said), "{fault}: {:#}", faults[fault]);
        }
    }
}

/// C10: without nodes that stand ready, `check` knows that it cannot be asked.
#[test]
fn a_set_without_a_second_home_cannot_be_migrated() {
    let ran = Case::text(&local_storage("", "{ move: { migrate: zone } }", "")).run();
    ran.exits(2).says("cannot be ordered to do a migration");
}

/// C10, broken on purpose: copies that count before they are built have nothing when the primary moves to them.
#[test]
fn a_hasty_migration_loses_what_was_acknowledged() {
    let params = "migration: hasty, copy_time: 1m, secondaries: 2, spares: 0";
    let set = local_storage(params, "{ move: { migrate: zone } }", "expect: [ orders.lost == 0 ]");
    fails(|| Case::text(&set)).says("✘ orders.lost");
}

/// Two instances in a group, with users who ask for the name again and others who never do.
fn group(params: &str, faults: &str, expect: &str) -> String {
    format!(
        "
name: group
hypothesis: The group keeps its promises.
system: {{ lab: {{ managed-sql/failover-group: {{ ttl: 30s, {params} }} }} }}
workloads:
  customers:
    to: sql.lab.test
    client: {{ http: {{ resolve: ttl }} }}
    arrival: {{ constant: 150/s }}
    operation: {{ insert: {{}} }}
    attempt_timeout: 250ms
    deadline: 250ms
  stragglers:
    to: sql.lab.test
    client: {{ http: {{ resolve: once }} }}
    arrival: {{ constant: 20/s }}
    operation: {{ request: {{ method: POST, path: \"/kv/straggler-{{op}}\", body: \"{{op}}\" }} }}
    attempt_timeout: 250ms
    deadline: 250ms
phases: {{ warmup: 300ms, baseline: 2s, recovery: 2s }}
faults: {faults}
expect: [ {expect} ]
"
    )
}

/// The zone of the first instance is lost and comes back; meanwhile the second one takes over.
const LOST: &str = "{ outage: { for: 3s, zone_down: { zone: east-1 } }, call: { at: 300ms, failover_group: forced } }";

/// C14, broken on purpose: a listener that never follows leads users to where nobody serves them any more.
#[test]
fn a_listener_that_does_not_follow_its_group_leads_nowhere() {
    let set = group("listener: stays", LOST, "customers.success_rate during recovery >= 99%");
    fails(|| Case::text(&set)).says("✘ customers.success_rate during recovery");
}

/// C14, broken on purpose: an instance that was replaced goes on taking writes when its zone is back.
#[test]
fn two_instances_take_writes_where_the_replaced_one_is_not_fenced() {
    let set = group("fencing: off", LOST, "stragglers.success_rate during recovery < 1%");
    fails(|| Case::text(&set)).says("✘ stragglers.success_rate during recovery");
}

/// C14: a group that is killed while it hands over does not keep the run; what a new instance cannot be made of is told.
#[test]
fn an_order_of_a_group_that_comes_to_nothing_is_told_as_failed() {
    let faults = "{ hung: { for: 2s, pause: { nodes: west } }, gone: { at: 250ms, for: 1s, kill: { nodes: group } },
        drill: { at: 50ms, failover_group: planned } }";
    let why = "refused: group did not say in time how the hand-over ended";
    Case::text(&group("", faults, "")).run().exits(5).says(why);

    let faults = "{ gone: { for: 4s, kill: { nodes: vault } }, call: { at: 300ms, geo_restore: latest } }";
    let set = group("recovery: restore, restore: 30s", faults, "");
    Case::text(&set).run().exits(5).says("failed: vault does not give its backup");
}

/// C14: with both instances there, the group moves there and back without a loss; what was not prepared cannot be ordered.
#[test]
fn a_planned_failover_of_a_group_loses_nothing() {
    let faults =
        "{ drill: { failover_group: planned }, back: { after: drill.healed + 1500ms, failover_group: planned } }";
    let set = group("", faults, "customers.lost == 0, customers.success_rate during recovery >= 99%");
    Case::text(&set).run().exits(0).says("east handed over to west").says("west handed over to east");
    let set = group("recovery: restore", "{ drill: { failover_group: forced } }", "");
    Case::text(&set).run().exits(2).says("cannot be ordered to do a failover of a group");
}
