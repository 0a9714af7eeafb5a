//! Every file in `experiments/` runs, as the README says it would: its smoke version, or in full with `BROWNOUT_FULL`.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use common::{Case, holds, server};

#[test]
fn quickstart() {
    let ran = holds(|| Case::experiment("experiments/quickstart.yaml"));
    let ran = ran.says("held").says("retry=exponential").says("proof:").says("report.html");
    let report = ran.report();
    assert_eq!(report["conclusion"]["verdict"], "held");
    for file in ["report.html", "report.md", "junit.xml", "manifest.json", "plan.json", "experiment.yaml"] {
        assert!(ran.run_folder().join(file).is_file(), "{file}");
    }
}

#[test]
fn managed_sql_primary_lost() {
    holds(|| Case::experiment("experiments/managed-sql/primary-lost.yaml"));
}

#[test]
fn managed_sql_old_primary() {
    holds(|| Case::experiment("experiments/managed-sql/old-primary.yaml"));
}

#[test]
fn managed_sql_two_copies_lost() {
    holds(|| Case::experiment("experiments/managed-sql/two-copies-lost.yaml"));
}

#[test]
fn managed_sql_zone_lost() {
    holds(|| Case::experiment("experiments/managed-sql/zone-lost.yaml"));
}

#[test]
fn managed_sql_control_ring() {
    holds(|| Case::experiment("experiments/managed-sql/control-ring.yaml"));
}

#[test]
fn managed_sql_compute_moves() {
    holds(|| Case::experiment("experiments/managed-sql/compute-moves.yaml"));
}

#[test]
fn managed_sql_storage_copies() {
    holds(|| Case::experiment("experiments/managed-sql/storage-copies.yaml"));
}

#[test]
fn managed_sql_free_capacity() {
    holds(|| Case::experiment("experiments/managed-sql/free-capacity.yaml"));
}

#[test]
fn managed_sql_old_engine() {
    holds(|| Case::experiment("experiments/managed-sql/old-engine.yaml"));
}

#[test]
fn managed_sql_remote_zone_lost() {
    holds(|| Case::experiment("experiments/managed-sql/remote-zone-lost.yaml"));
}

#[test]
fn managed_sql_commit_latency() {
    holds(|| Case::experiment("experiments/managed-sql/commit-latency.yaml"));
}

#[test]
fn managed_sql_redirects() {
    holds(|| Case::experiment("experiments/managed-sql/redirects.yaml"));
}

#[test]
fn managed_sql_read_scale_out() {
    holds(|| Case::experiment("experiments/managed-sql/read-scale-out.yaml"));
}

#[test]
fn managed_sql_migration() {
    let ran = holds(|| Case::experiment("experiments/managed-sql/migration.yaml"));
    ran.says("it has zone redundancy from now on").says("it has local redundancy from now on");
}

#[test]
fn managed_sql_remote_migration() {
    holds(|| Case::experiment("experiments/managed-sql/remote-migration.yaml"));
}

#[test]
fn managed_sql_ways_out() {
    let ran = holds(|| Case::experiment("experiments/managed-sql/ways-out.yaml"));
    ran.says("west takes over with what it has").says("nothing was prepared").says("old when it was ordered");
}

#[test]
fn managed_sql_failovers() {
    holds(|| Case::experiment("experiments/managed-sql/failovers.yaml"));
}

#[test]
fn managed_sql_patching() {
    holds(|| Case::experiment("experiments/managed-sql/patching.yaml"));
}

#[test]
fn managed_sql_machines_lost() {
    holds(|| Case::experiment("experiments/managed-sql/machines-lost.yaml"));
}

#[test]
fn managed_sql_remote_machines_lost() {
    holds(|| Case::experiment("experiments/managed-sql/remote-machines-lost.yaml"));
}

#[test]
fn managed_sql_maintenance() {
    holds(|| Case::experiment("experiments/managed-sql/maintenance.yaml"));
}

#[test]
fn two_origins_behind_haproxy() {
    if server("nginx") && server("haproxy") {
        let ran = holds(|| Case::experiment("experiments/web/two-origins.yaml"));
        let report = ran.report().to_string();
        assert!(report.contains("origin-a: gone") && report.contains("origin-a: T"), "both states were read back");
        for fault in ["killed", "paused"] {
            users_and_haproxy_agree(&ran.report(), fault);
        }
    }
}

/// The last error that users saw, against the DOWN in HAProxy's log, stamped on receipt: two independent witnesses.
#[track_caller]
fn users_and_haproxy_agree(report: &serde_json::Value, fault: &str) {
    let outage = &report["runs"][0]["workloads"]["users"]["classes"]["all"]["outages"][fault];
    let ns = |value: &serde_json::Value| value.as_i64().unwrap_or_else(|| panic!("not known: {outage:#}"));
    let last_error = ns(&outage["t0_ns"]) + ns(&outage["last_error_ns"]["known"]);
    let detected = outage["milestones"].as_array().unwrap().iter().find(|one| one["milestone"] == "detected").unwrap();
    assert_eq!(detected["source"], "log of haproxy");
    // Between two users pass 5 ms on average; the issue of a close lasts as long as a busy machine takes to schedule.
    let (apart, tolerance) =
        ((last_error - ns(&detected["at_ns"])).abs(), 20_000_000.max(2 * ns(&outage["resolution_ns"])));
    assert!(apart <= tolerance, "{fault}: last error and DOWN are {apart} ns apart, {tolerance} ns are allowed");
}

#[test]
fn your_endpoint_against_a_server_that_the_reader_starts() {
    let server = common::PythonServer::start();
    let url = format!("url={}", server.url());
    holds(|| Case::experiment("experiments/web/your-endpoint.yaml").arg("--set").arg(&url));
}

#[test]
fn your_endpoint_over_tls_by_its_own_name_and_path() {
    let Some(server) = common::tls::TlsServer::start() else { return };
    // `localhost` is a virtual host there, and nothing but this path is found.
    let url = format!("url=https://localhost:{}/shop/health?deep=1", server.named.port());
    holds(|| {
        let case = Case::experiment("experiments/web/your-endpoint.yaml").arg("--set").arg(&url);
        case.env("SSL_CERT_FILE", &server.authority())
    });
}

#[test]
fn a_machine_comes_up_in_any_region_by_one_order() {
    let ran = holds(|| Case::experiment("experiments/regions/failover.yaml"));
    ran.says("the machine is in north").says("step 6 of 6, remap the names").says("vm-east stays off");
}

#[test]
fn a_failover_is_tested_without_touching_production() {
    holds(|| Case::experiment("experiments/regions/test-failover.yaml")).says("the tested copy serves in west");
}

#[test]
fn who_waits_is_down_for_as_long_as_the_region() {
    holds(|| Case::experiment("experiments/regions/wait.yaml"));
}

#[test]
fn a_machine_of_the_copied_image_comes_without_a_promise() {
    let ran = holds(|| Case::experiment("experiments/regions/provision.yaml"));
    ran.says("behind the loss and torn").says("the machine does not boot").says("the machine works");
}

#[test]
fn clients_follow_a_remapped_name_by_its_ttl_or_never() {
    holds(|| Case::experiment("experiments/regions/final-loss.yaml"));
}

#[test]
fn local_copies_are_lost_with_their_region_and_geo_copies_serve() {
    holds(|| Case::experiment("experiments/regions/redundancy.yaml"));
}

#[test]
fn every_file_is_run_by_a_test() {
    let this = include_str!("experiments.rs");
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/experiments"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
                assert!(this.contains(&name), "no test runs {name}");
            }
        }
    }
}
