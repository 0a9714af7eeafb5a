//! Evidence: a run folder is sealed by its run, checked by `verify`, signed by `sign`; whatever is changed is named.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// A lab, a load and a fault of a second and a half.
const SHORT: &str = "
name: short
hypothesis: What a run leaves can be checked.
seed: 11
system: { lab: { primary-standby: {} } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 20/s }
    operation: { register: {} }
    attempt_timeout: 1s
    deadline: 2s
phases: { warmup: 200ms, baseline: 500ms, recovery: 400ms }
faults:
  slow: { at: 0s, for: 400ms, latency: { links: orders-gateway, add: 20ms, direction: down } }
expect: [ orders.success_rate >= 10% ]
";

const REPORTS: [&str; 4] = ["report.html", "report.json", "report.md", "junit.xml"];

/// A place of the user's own, with brownout to call in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// One with a run that was recorded once, as the sample report is made of; it has no reports of its own.
    fn recorded() -> Home {
        let home = Home::new();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/quickstart"), &home.path("run"));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `brownout ARGS`: the exit code and all that was said.
    fn brownout(&self, args: &[&str]) -> (Option<i32>, String) {
        let output =
            common::brownout().args(args).current_dir(self.0.path()).output().expect("the built binary starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    #[track_caller]
    fn exits(&self, code: i32, args: &[&str]) -> String {
        let (exit, said) = self.brownout(args);
        assert_eq!(exit, Some(code), "{args:?}: {said}");
        said
    }

    /// The only run folder.
    fn run_folder(&self) -> String {
        let folders: Vec<_> = fs::read_dir(self.path("runs")).unwrap().flatten().map(|entry| entry.path()).collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders[0].display().to_string()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_run_is_sealed_named_and_can_be_signed() {
    let home = Home::new();
    fs::write(home.path("short.yaml"), SHORT).unwrap();
    let (code, said) = home.brownout(&["run", "short.yaml", "--quiet", "--signed-off-by", "Ada *Lovelace*"]);
    // A busy machine may void the run; it is sealed all the same.
    assert!(matches!(code, Some(0 | 5)), "{said}");
    let run = home.run_folder();
    let said = home.exits(0, &["verify", &run]);
    for words in [": as the run left it\n", "reports     4 files as left by the run\n", "seed 11", "Ada *Lovelace*"] {
        assert!(said.contains(words), "{words}: {said}");
    }

    // The manifest and every report tell who, where and what.
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&run).join("manifest.json")).unwrap()).unwrap();
    let (host, sha256) = (manifest["host"]["name"].as_str().unwrap(), manifest["experiment_sha256"].as_str().unwrap());
    assert_eq!(manifest["files"]["experiment.yaml"], sha256, "the file as written is the file as run");
    assert_eq!((manifest["seed"].as_u64(), manifest["signed_off_by"].as_str()), (Some(11), Some("Ada *Lovelace*")));
    let read = |name: &str| fs::read_to_string(Path::new(&run).join(name)).unwrap();
    assert!(read("report.md").contains(&format!("{}, signed off by Ada \\*Lovelace\\*", &sha256[..12])));
    for name in ["report.html", "report.json"] {
        let report = read(name);
        assert!([host, sha256, "Ada *Lovelace*", "0.1.0"].iter().all(|what| report.contains(what)), "{name}");
    }

    // Made again they are what they were, to the byte, and the manifest stays.
    let before: Vec<String> = REPORTS.iter().chain(&["manifest.json"]).map(|name| read(name)).collect();
    home.brownout(&["report", &run]);
    let after: Vec<String> = REPORTS.iter().chain(&["manifest.json"]).map(|name| read(name)).collect();
    assert!(before == after, "a report is a function of its records");
    home.exits(0, &["verify", &run]);

    // Signed: by this key and no other, and no secret is in the folder.
    home.exits(0, &["keygen", "release.key"]);
    home.exits(0, &["keygen", "other.key"]);
    let said = home.exits(1, &["verify", &run, "--key", "release.key.pub"]);
    assert!(said.contains("there is none"), "{said}");
    home.exits(0, &["sign", &run, "--key", "release.key"]);
    let said = home.exits(0, &["verify", &run, "--key", "release.key.pub"]);
    assert!(said.contains("signature   ✔ by key "), "{said}");
    let said = home.exits(0, &["verify", &run]);
    assert!(said.contains("not checked: name its public key with --key"), "{said}");
    home.exits(1, &["verify", &run, "--key", "release.key.pub", "--key", "other.key.pub"]);
    home.exits(0, &["sign", &run, "--key", "other.key"]);
    home.exits(0, &["verify", &run, "--key", "release.key.pub", "--key", "other.key.pub"]);
    let secret = fs::read_to_string(home.path("release.key")).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    let leaked = Command::new("grep").args(["-rqF", "--", secret, &run]).status().unwrap();
    assert_eq!(leaked.code(), Some(1), "the private key is nowhere in the folder");

    // Whoever rewrites the manifest to fit an altered file is found by the key alone.
    fs::write(Path::new(&run).join("plan.json"), read("plan.json") + "\n").unwrap();
    let said = home.exits(1, &["verify", &run]);
    assert!(said.contains("✘ altered  plan.json"), "{said}");
    let sum = Command::new("sha256sum").arg(Path::new(&run).join("plan.json")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let was = manifest["files"]["plan.json"].as_str().unwrap();
    let forged = read("manifest.json").replace(was, &sum[..64]);
    fs::write(Path::new(&run).join("manifest.json"), forged).unwrap();
    home.exits(0, &["report", &run]);
    home.exits(0, &["verify", &run]);
    let said = home.exits(1, &["verify", &run, "--key", "release.key.pub"]);
    assert!(said.contains("it is of another manifest.json"), "{said}");
}

#[test]
fn every_altered_missing_and_added_file_is_named() {
    let home = Home::recorded();
    home.exits(0, &["report", "run"]);
    home.exits(0, &["verify", "run"]);
    let events = home.path("run/retry=fixed/events.jsonl");
    let text = fs::read_to_string(&events).unwrap();
    // One byte of it, and its length and time stay.
    fs::write(&events, text.replacen('1', "2", 1)).unwrap();
    fs::remove_file(home.path("run/retry=none/logs/keeper.log")).unwrap();
    fs::write(home.path("run/retry=none/logs/a\x1bnote.txt"), "").unwrap();
    symlink("/etc/hostname", home.path("run/link")).unwrap();
    fs::remove_file(home.path("run/experiment.yaml")).unwrap();
    symlink(home.path("run/plan.json"), home.path("run/experiment.yaml")).unwrap();
    let said = home.exits(1, &["verify", "run"]);
    for line in [
        "run: not as the run left it, ",
        "  ✘ altered  experiment.yaml\n",
        "  ✘ added    link\n",
        "  ✘ altered  retry=fixed/events.jsonl\n",
        "  ✘ added    retry=none/logs/a note.txt\n",
        "  ✘ missing  retry=none/logs/keeper.log\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
}

#[test]
fn a_report_is_good_if_its_records_come_to_it() {
    let home = Home::recorded();
    let said = home.exits(1, &["verify", "run"]);
    assert!(said.contains("✘ missing  report.html   (`brownout report` makes it again"), "{said}");
    // Another version of brownout wrote them; what this one makes of the same records stands for them.
    home.exits(0, &["report", "run"]);
    let said = home.exits(0, &["verify", "run"]);
    assert!(said.contains(" made again of the records: ") && said.contains("report.html"), "{said}");
    let report = home.path("run/report.md");
    let text = fs::read_to_string(&report).unwrap();
    fs::write(&report, text.replace("✅", "☑")).unwrap();
    let said = home.exits(1, &["verify", "run"]);
    assert!(said.contains("✘ altered  report.md") && said.contains("1 file\n"), "{said}");
    home.exits(0, &["report", "run"]);
    home.exits(0, &["verify", "run"]);
    // Of altered records no report follows.
    let log = home.path("run/retry=none/logs/keeper.log");
    fs::write(&log, "nothing happened\n").unwrap();
    let said = home.exits(1, &["verify", "run"]);
    let line = |path: &str| format!("✘ altered  {path}");
    assert!(said.contains(&line("retry=none/logs/keeper.log")) && said.contains(&line("report.html")), "{said}");
}

#[test]
fn a_report_of_altered_records_is_never_certain() {
    let home = Home::recorded();
    // Somebody's note beside the records takes nothing from them.
    fs::write(home.path("run/notes.txt"), "looked at by Ada\n").unwrap();
    home.exits(0, &["report", "run"]);
    let events = home.path("run/retry=none/events.jsonl");
    let text = fs::read_to_string(&events).unwrap();
    fs::write(&events, text + "\n").unwrap();
    let said = home.exits(5, &["report", "run"]);
    assert!(said.contains("retry=none/events.jsonl was altered after the run had sealed its files"), "{said}");
    let report = fs::read_to_string(home.path("run/report.json")).unwrap();
    assert!(report.contains("\"altered_records\""));
}

#[test]
fn nothing_is_sealed_before_the_run_has_ended() {
    let home = Home::new();
    let long = SHORT.replace("baseline: 500ms", "baseline: 60s");
    fs::write(home.path("long.yaml"), long).unwrap();
    let mut command = common::brownout();
    command.args(["run", "long.yaml", "--quiet", "--signed-off-by", "Grace Hopper"]).current_dir(home.path(""));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = SystemTime::now();
    let recorded = || {
        let run = fs::read_dir(home.path("runs")).ok()?.flatten().next()?.path();
        fs::read_to_string(run.join("events.jsonl")).ok()?.contains("baseline").then_some(())
    };
    // 20 s are for a machine that is busy with other tests.
    while recorded().is_none() {
        assert!(start.elapsed().unwrap() < Duration::from_secs(20), "the run did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = home.run_folder();
    let said = home.exits(2, &["verify", &run]);
    assert!(said.contains("is alive"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
    // A busy kernel closes the files of the dead a moment after it told of their end.
    while home.brownout(&["verify", &run]).0 == Some(2) {
        assert!(start.elapsed().unwrap() < Duration::from_secs(30), "the dead run's lock is held");
    }
    for _ in 0..2 {
        let said = home.exits(5, &["verify", &run]);
        assert!(said.contains("never sealed"), "{said}");
        // A report of what was recorded seals nothing; it names what is known.
        let said = home.exits(5, &["report", &run]);
        assert!(said.contains("Not certain"), "{said}");
    }
    let markdown = fs::read_to_string(Path::new(&run).join("report.md")).unwrap();
    assert!(markdown.contains("seed 11") && markdown.contains("signed off by Grace Hopper"), "{markdown}");
    home.exits(0, &["keygen", "key"]);
    home.exits(5, &["sign", &run, "--key", "key"]);
    assert!(!Path::new(&run).join("signatures").exists());
}

#[test]
fn a_folder_that_cannot_be_known_is_not_said_to_hold() {
    let home = Home::recorded();
    let said = home.exits(2, &["verify", "gone"]);
    assert!(said.contains("no run folder `gone`"), "{said}");
    let manifest = home.path("run/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"schema\": 1", "\"schema\": 99")).unwrap();
    home.exits(5, &["verify", "run"]);
    fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    let said = home.exits(1, &["verify", "run"]);
    assert!(said.contains("is not a manifest"), "{said}");
    fs::remove_file(&manifest).unwrap();
    let said = home.exits(5, &["verify", "run"]);
    assert!(said.contains("has no manifest.json"), "{said}");
    // Of many folders all are told.
    let said = home.exits(2, &["verify", "run", "gone"]);
    assert!(said.contains("no run folder") && said.contains("has no manifest.json"), "{said}");
}

#[test]
fn what_keeps_its_reader_waiting_is_not_read() {
    let home = Home::recorded();
    home.exits(0, &["report", "run"]);
    let pipe = |name: &str| {
        let _ = fs::remove_file(home.path(name));
        assert!(Command::new("mkfifo").arg(home.path(name)).status().unwrap().success());
    };
    pipe("run/run.lock");
    let said = home.exits(1, &["verify", "run"]);
    assert!(said.contains("✘ added    run.lock"), "{said}");
    pipe("run/experiment.yaml");
    let said = home.exits(1, &["verify", "run"]);
    assert!(said.contains("✘ altered  experiment.yaml"), "{said}");
    pipe("run/manifest.json");
    let said = home.exits(5, &["verify", "run"]);
    assert!(said.contains("manifest.json` is no file"), "{said}");
}

#[test]
fn a_record_that_is_a_link_is_altered_even_if_it_was_sealed_as_one() {
    let home = Home::recorded();
    home.exits(0, &["report", "run"]);
    let plan = home.path("run/plan.json");
    fs::rename(&plan, home.path("plan.json")).unwrap();
    symlink("../plan.json", &plan).unwrap();
    let manifest = home.path("run/manifest.json");
    let mut sealed: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    sealed["files"]["plan.json"] = "symbolic link to ../plan.json".into();
    fs::write(&manifest, sealed.to_string()).unwrap();
    let said = home.exits(1, &["verify", "run"]);
    assert!(said.contains("✘ altered  plan.json"), "{said}");
    home.exits(0, &["keygen", "key"]);
    home.exits(1, &["sign", "run", "--key", "key"]);
}

#[test]
fn a_journal_is_no_record_and_what_was_checked_is_what_is_signed() {
    let home = Home::recorded();
    home.exits(0, &["report", "run"]);
    // Left by a run that could not heal; `brownout heal` removes it.
    fs::write(home.path("run/retry=none/keeper.journal.jsonl"), "").unwrap();
    home.exits(0, &["verify", "run"]);
    home.exits(0, &["keygen", "key"]);
    let key = brownout::evidence::SigningKey::read(&home.path("key")).unwrap();
    let run = home.path("run");
    let checked = brownout::evidence::check(&run, |_| Ok(Vec::new())).unwrap();
    let manifest = fs::read(home.path("run/manifest.json")).unwrap();
    fs::write(home.path("run/manifest.json"), "{}").unwrap();
    checked.sign(&run, &key).unwrap();
    let signatures = brownout::evidence::signatures(&run).unwrap();
    assert!(signatures[0].is_of(&key.public(), &manifest));
}

#[test]
fn a_key_that_others_may_read_or_inside_the_folder_does_not_sign() {
    let home = Home::recorded();
    home.exits(0, &["report", "run"]);
    home.exits(0, &["keygen", "key"]);
    let said = home.exits(2, &["keygen", "key"]);
    assert!(said.contains("cannot write the key"), "{said}");
    let only = |mode| fs::set_permissions(home.path("key"), fs::Permissions::from_mode(mode)).unwrap();
    only(0o644);
    let said = home.exits(2, &["sign", "run", "--key", "key"]);
    assert!(said.contains("chmod 600 key"), "{said}");
    only(0o600);
    fs::rename(home.path("key"), home.path("run/key")).unwrap();
    let said = home.exits(2, &["sign", "run", "--key", "run/key"]);
    assert!(said.contains("inside the run folder"), "{said}");
    fs::rename(home.path("run/key"), home.path("key")).unwrap();
    fs::write(home.path("run/added"), "").unwrap();
    let said = home.exits(1, &["sign", "run", "--key", "key"]);
    assert!(said.contains("not signed") && said.contains("✘ added    added"), "{said}");
    fs::remove_file(home.path("run/added")).unwrap();
    home.exits(0, &["sign", "run", "--key", "key"]);
    for name in ["", "two\nlines"] {
        let said = home.exits(2, &["run", "short.yaml", "--signed-off-by", name]);
        assert!(said.contains("a name"), "{said}");
    }
}

#[test]
fn openssl_makes_keys_and_checks_signatures_too() {
    let home = Home::recorded();
    let openssl = |args: &[&str]| Command::new("openssl").args(args).current_dir(home.path("")).output();
    if openssl(&["version"]).is_err() {
        assert!(std::env::var_os("BROWNOUT_REQUIRE_SERVERS").is_none(), "openssl is not installed");
        eprintln!("skipped: no openssl is installed");
        return;
    }
    let does = |args: &[&str]| {
        let output = openssl(args).unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    };
    home.exits(0, &["report", "run"]);
    let signature = || {
        let folder = fs::read_dir(home.path("run/signatures")).unwrap();
        folder.flatten().next().unwrap().path().display().to_string()
    };
    let checks = |public: &str, signature: &str| {
        does(&[
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            "-in",
            "run/manifest.json",
            "-sigfile",
            signature,
        ]);
    };
    home.exits(0, &["keygen", "ours"]);
    home.exits(0, &["sign", "run", "--key", "ours"]);
    checks("ours.pub", &signature());
    fs::remove_dir_all(home.path("run/signatures")).unwrap();

    does(&["genpkey", "-algorithm", "ed25519", "-out", "theirs"]);
    does(&["pkey", "-in", "theirs", "-pubout", "-out", "theirs.pub"]);
    fs::set_permissions(home.path("theirs"), fs::Permissions::from_mode(0o600)).unwrap();
    home.exits(0, &["sign", "run", "--key", "theirs"]);
    home.exits(0, &["verify", "run", "--key", "theirs.pub"]);
    checks("theirs.pub", &signature());
    does(&["pkey", "-in", "ours", "-pubout", "-out", "again.pub"]);
    assert_eq!(fs::read(home.path("again.pub")).unwrap(), fs::read(home.path("ours.pub")).unwrap());
}
