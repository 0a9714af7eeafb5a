//! Every file in `experiments/` runs, as the README says it would: its smoke version, or in full with `BROWNOUT_FULL`.
//!
//! They wait more than they work, so four of them run side by side, also where there are fewer cores. A new file is run
//! without a word here; what is to be seen of some besides that they hold stands in [`also_seen`].

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::{Case, Ran, holds, server};
use libtest_mimic::{Arguments, Trial};

/// How many run side by side, unless `--test-threads` says otherwise.
const LANES: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(LANES);
    let files = files(Path::new("experiments")).into_iter().map(|file| file.display().to_string());
    let mut trials: Vec<Trial> = files.filter(|file| file != YOUR_ENDPOINT).map(of_file).collect();
    trials.push(trial("your endpoint: a server that the reader starts", a_server_that_the_reader_starts));
    trials.push(trial("your endpoint: over TLS, by its own name and path", over_tls_by_its_own_name_and_path));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// The experiments in a folder and those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = |path: PathBuf| {
        let within = path.strip_prefix(root).unwrap().to_owned();
        if path.is_dir() { files(&within) } else { vec![within] }
    };
    paths.into_iter().flat_map(below).collect()
}

fn of_file(file: String) -> Trial {
    let name = file.trim_start_matches("experiments/").trim_end_matches(".yaml").to_owned();
    trial(name.clone(), move || {
        if needs(&name).iter().all(|program| server(program)) {
            also_seen(&name, holds(|| Case::experiment(&file)));
        }
    })
}

/// The servers that an experiment starts.
fn needs(experiment: &str) -> &'static [&'static str] {
    match experiment {
        "web/two-origins" => &["nginx", "haproxy"],
        _ => &[],
    }
}

/// What else there is to see once an experiment has held.
fn also_seen(experiment: &str, ran: Ran) -> Ran {
    match experiment {
        "quickstart" => a_whole_run_folder(ran),
        "managed-sql/migration" => {
            ran.says("it has zone redundancy from now on").says("it has local redundancy from now on")
        }
        "managed-sql/ways-out" => {
            let report = ran.report().to_string();
            for answer in ["west takes over with what it has", "nothing was prepared", "old when it was ordered"] {
                assert!(report.contains(answer), "nobody was told `{answer}`");
            }
            ran
        }
        "regions/failover" => {
            ran.says("the machine is in north").says("step 6 of 6, remap the names").says("vm-east stays off")
        }
        "regions/provision" => {
            ran.says("behind the loss and torn").says("the machine does not boot").says("the machine works")
        }
        "regions/test-failover" => ran.says("the tested copy serves in west"),
        "web/two-origins" => two_witnesses(ran),
        _ => ran,
    }
}

fn a_whole_run_folder(ran: Ran) -> Ran {
    assert_eq!(ran.report()["conclusion"]["verdict"], "held");
    for file in ["report.html", "report.md", "junit.xml", "manifest.json", "plan.json", "experiment.yaml"] {
        assert!(ran.run_folder().join(file).is_file(), "{file}");
    }
    ran.says("held").says("retry=exponential").says("proof:").says("report.html")
}

/// The last error that users saw, against the DOWN in HAProxy's log, stamped on receipt: two independent witnesses.
fn two_witnesses(ran: Ran) -> Ran {
    let report = ran.report();
    let text = report.to_string();
    assert!(text.contains("origin-a: gone") && text.contains("origin-a: T"), "both states were read back");
    for fault in ["killed", "paused"] {
        let outage = &report["runs"][0]["workloads"]["users"]["classes"]["all"]["outages"][fault];
        let ns = |value: &serde_json::Value| value.as_i64().unwrap_or_else(|| panic!("not known: {outage:#}"));
        let last_error = ns(&outage["t0_ns"]) + ns(&outage["last_error_ns"]["known"]);
        let detected =
            outage["milestones"].as_array().unwrap().iter().find(|one| one["milestone"] == "detected").unwrap();
        assert_eq!(detected["source"], "log of haproxy");
        // Between two users pass 5 ms on average; the issue of a close lasts as long as a busy machine takes to schedule.
        let (apart, tolerance) =
            ((last_error - ns(&detected["at_ns"])).abs(), 20_000_000.max(2 * ns(&outage["resolution_ns"])));
        assert!(apart <= tolerance, "{fault}: last error and DOWN are {apart} ns apart, {tolerance} ns are allowed");
    }
    ran
}

/// It names a URL, so somebody must serve there.
const YOUR_ENDPOINT: &str = "experiments/web/your-endpoint.yaml";

fn a_server_that_the_reader_starts() {
    let server = common::PythonServer::start();
    let url = format!("url={}", server.url());
    holds(|| Case::experiment(YOUR_ENDPOINT).arg("--set").arg(&url));
}

fn over_tls_by_its_own_name_and_path() {
    let Some(server) = common::tls::TlsServer::start() else { return };
    // `localhost` is a virtual host there, and nothing but this path is found.
    let url = format!("url=https://localhost:{}/shop/health?deep=1", server.named.port());
    holds(|| {
        let case = Case::experiment(YOUR_ENDPOINT).arg("--set").arg(&url);
        case.env("SSL_CERT_FILE", &server.authority())
    });
}
