//! Stored baselines: saved by a run, compared with by later ones, and offline by `report`.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

/// A lab that answers in less than a millisecond, slowed down for half a second. The fewer operations there are, the
/// fewer does a busy machine start late.
const EXPERIMENT: &str = "
name: remembered
hypothesis: It is not slower than it was.
seed: 7
system: { lab: { primary-standby: {} } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 20/s }
    operation: { register: {} }
    attempt_timeout: 1s
    deadline: 2s
phases: { warmup: 200ms, baseline: 500ms, recovery: 500ms }
faults:
  slow: { at: 0s, for: 500ms, latency: { links: orders-gateway, add: 20ms, direction: down } }
expect:
  - orders.p50 during fault <= 10 * stored + 200ms
  - orders.success_rate >= 90%
";

/// A user's folder: the experiment, and what brownout writes beside it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        std::fs::write(home.path("experiment.yaml"), EXPERIMENT).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `brownout ARGS` in it: exit code and all that was said. A run voided by a late generator is run again.
    fn brownout(&self, args: &[&str]) -> (Option<i32>, String) {
        let call = || -> Output {
            common::brownout().args(args).current_dir(self.0.path()).output().expect("the built binary starts")
        };
        let said = |output: &Output| {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        let late = ["operations started late", "nothing started for"];
        let voided =
            |output: &Output| output.status.code() == Some(5) && late.iter().any(|late| said(output).contains(late));
        // One operation that a busy machine starts late voids the run: three tries.
        let output = (0..2).map(|_| call()).find(|output| !voided(output)).unwrap_or_else(call);
        (output.status.code(), said(&output))
    }

    /// A run into a folder of its own.
    fn run(&self, out: &str, more: &[&str]) -> (Option<i32>, String) {
        self.brownout(&[&["run", "experiment.yaml", "--quiet", "--out", out], more].concat())
    }
}

/// The newest run folder; those of runs that were voided are older.
fn newest(dir: &Path) -> PathBuf {
    let folders = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    folders.max().expect("there is a run")
}

#[test]
fn a_run_is_held_against_what_was_saved_and_a_regression_exits_1() {
    let home = Home::new();
    let stored = home.path("baselines/remembered.json");

    let (code, said) = home.run("first", &["--save-baseline"]);
    assert_eq!(code, Some(5), "there is nothing to compare with yet: {said}");
    assert!(said.contains("`--save-baseline` writes one"), "{said}");
    assert!(said.contains("saved `baselines/remembered.json`"), "{said}");
    let text = std::fs::read_to_string(&stored).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let p50 = json["values"][""]["orders.p50 during fault"].as_f64().unwrap();
    assert!((0.02..0.2).contains(&p50), "in seconds, 20 ms of them ours: {text}");
    assert!(json["values"][""]["orders.success_rate"].is_f64(), "every line's subject is kept: {text}");

    let (code, said) = home.run("second", &[]);
    assert_eq!(code, Some(0), "{said}");
    let second = newest(&home.path("second"));
    assert_eq!(std::fs::read_to_string(second.join("baseline.json")).unwrap(), text);
    assert!(std::fs::read_to_string(second.join("manifest.json")).unwrap().contains("baseline.json"), "it is hashed");
    let markdown = std::fs::read_to_string(second.join("report.md")).unwrap();
    assert!(markdown.contains("| against stored |"), "{markdown}");

    // Once it took no time at all: 10 × nothing and 0 ms more. The fault alone adds 20 ms.
    json["values"][""]["orders.p50 during fault"] = 0.000_001.into();
    let expectation = EXPERIMENT.replace("10 * stored + 200ms", "10 * stored + 1ms");
    std::fs::write(home.path("experiment.yaml"), expectation).unwrap();
    std::fs::write(&stored, json.to_string()).unwrap();
    let (code, said) = home.run("third", &["--save-baseline"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("from another version of this experiment"), "{said}");
    assert!(said.contains("not saved") && said.contains("remove the old one"), "{said}");
    assert_eq!(std::fs::read_to_string(&stored).unwrap(), json.to_string());

    // The folder remembers what it was compared with.
    std::fs::remove_file(&stored).unwrap();
    let third = newest(&home.path("third")).display().to_string();
    let (code, said) = home.brownout(&["report", &third]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = home.brownout(&["report", &second.display().to_string()]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_baseline_that_cannot_be_had_starts_nothing() {
    let home = Home::new();
    let nothing_started = |args: &[&str], says: &[&str]| {
        let (code, said) = home.run("runs", args);
        assert_eq!(code, Some(2), "{said}");
        assert!(says.iter().all(|text| said.contains(text)), "{said}");
        assert!(!home.path("runs").exists());
    };
    nothing_started(&["--baseline", "gone.json"], &["`gone.json`", "--save-baseline", "nothing was started"]);
    std::fs::create_dir(home.path("baselines")).unwrap();
    std::fs::write(home.path("baselines/remembered.json"), "{").unwrap();
    nothing_started(&[], &["`baselines/remembered.json`", "it is damaged", "nothing was started"]);
    nothing_started(&["--no-faults", "--save-baseline"], &["--no-faults"]);
    nothing_started(&["experiment.yaml", "--baseline", "gone.json"], &["one by one", "nothing was started"]);
}
