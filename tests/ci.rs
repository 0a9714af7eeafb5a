//! What a pipeline sees: many experiments in one summary, expected failures, a time budget, and the stage in `ci/`,
//! which is run as a CI would run it.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// A lab under a load of a second and a half, slowed down for a part of it.
fn experiment(name: &str, more: &str) -> String {
    format!(
        "
name: {name}
hypothesis: A pipeline understands it.
seed: 3
system: {{ lab: {{ primary-standby: {{}} }} }}
workloads:
  orders:
    to: gateway
    client: {{ http: {{}} }}
    arrival: {{ constant: 20/s }}
    operation: {{ register: {{}} }}
    attempt_timeout: 1s
    deadline: 2s
phases: {{ warmup: 200ms, baseline: 500ms, recovery: 400ms }}
faults:
  slow: {{ at: 0s, for: 400ms, latency: {{ links: orders-gateway, add: 20ms, direction: down }} }}
{more}
"
    )
}

const HOLDS: &str = "tags: [smoke]\nexpect:\n  - orders.success_rate >= 50%";
/// Nothing is that fast through a link that adds 20 ms.
const FAILS: &str = "expect:\n  - orders.success_rate >= 50%\n  - orders.p50 during fault < 1ms # never";

/// A user's folder, with brownout to call in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(experiments: &[(&str, &str)]) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        fs::create_dir(home.path("experiments")).unwrap();
        for (name, more) in experiments {
            fs::write(home.path(&format!("experiments/{name}.yaml")), experiment(name, more)).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `brownout run ARGS`: exit code and all that was said. What a busy machine voided is run again.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let call = || {
            for left in ["summary.md", "junit.xml"] {
                let _ = fs::remove_file(self.path(left));
            }
            common::brownout().args(["run", "--quiet"]).args(args).current_dir(self.0.path()).output().unwrap()
        };
        again_if_voided(call)
    }
}

/// The exit and what was said, of the first of three tries that a late generator did not void.
fn again_if_voided(call: impl Fn() -> Output) -> (Option<i32>, String) {
    let voided = |output: &Output| {
        let late = ["operations started late", "nothing started for", "later than planned"];
        output.status.code() == Some(5) && late.iter().any(|late| said(output).contains(late))
    };
    let output = (0..2).map(|_| call()).find(|output| !voided(output)).unwrap_or_else(&call);
    (output.status.code(), said(&output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn many_experiments_make_one_table_one_summary_and_one_file_of_cases() {
    let known = format!(
        "{FAILS}\nexpected_failures: [ {{ expect: orders.p50 during fault < 1ms, until: 2999-12-31, reason: SHOP-417 }} ]"
    );
    let home = Home::new(&[("first", HOLDS), ("second", FAILS), ("third", &known)]);
    let files = ["first", "second", "third"].map(|name| format!("experiments/{name}.yaml"));
    let mut args: Vec<&str> = files.iter().map(String::as_str).collect();
    args.extend(["--summary", "summary.md", "--junit", "junit.xml", "--annotations", "github"]);
    let (code, text) = home.run(&args);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("3 experiments: 2 held, 1 failed   exit 1"), "{text}");
    let row = text.lines().find(|line| line.starts_with("  ✘ failed") && line.contains("second")).unwrap();
    assert!(row.contains("1 of 2 expectations"), "{row}");
    assert!(text.contains("\n      Expected orders.p50 during fault < 1.00 ms; it was "), "{text}");
    // The line of the file on which the expectation stands.
    let line = experiment("second", FAILS).lines().position(|line| line.contains("# never")).unwrap() + 1;
    let annotation = format!("::error file=experiments/second.yaml,line={line},title=second%3A failed::");
    assert!(text.contains(&annotation), "{annotation} is not in {text}");
    assert_eq!(text.matches("::error ").count(), 1, "{text}");

    let summary = home.read("summary.md");
    assert!(summary.starts_with("### ❌ 3 experiments: 2 held, 1 failed\n"), "{summary}");
    assert!(summary.contains("| ✔ | first | 1 of 1 expectation |"), "{summary}");
    for told in [&text, &summary] {
        assert!(told.contains("Known: orders.p50 during fault was "), "what is tolerated is not forgotten: {told}");
    }
    assert_eq!(summary.matches("<details>").count(), 1, "only what did not hold is told in full: {summary}");
    assert!(summary.contains("### ❌ second: failed, 1 of 2 expectations"), "{summary}");
    let junit = home.read("junit.xml");
    assert!(junit.contains("<testsuites name=\"brownout\" tests=\"8\" failures=\"1\" errors=\"0\">"), "{junit}");
    for name in ["first", "second", "third"] {
        assert_eq!(junit.matches(&format!("<testsuite name=\"{name}: this run\"")).count(), 1, "{junit}");
    }
}

#[test]
fn a_tag_selects_and_a_file_alone_is_its_own_summary() {
    let home = Home::new(&[("first", HOLDS), ("second", FAILS)]);
    let args = ["experiments/first.yaml", "experiments/second.yaml", "--tag", "smoke", "--summary", "summary.md"];
    let (code, text) = home.run(&args);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("experiments:"), "there is one: {text}");
    assert!(home.read("summary.md").starts_with("### ✅ first: held"));
    let (code, text) = home.run(&["experiments/second.yaml", "--tag", "smoke"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no experiment bears the tag smoke"), "{text}");
}

#[test]
fn what_does_not_fit_into_the_time_budget_is_not_started() {
    let home = Home::new(&[("first", HOLDS), ("second", HOLDS)]);
    let files = ["experiments/first.yaml", "experiments/second.yaml"];
    // 1.5 s of load each: together they cannot fit.
    let (code, text) = home.run(&[files[0], files[1], "--time-budget", "2s"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("3.00 s of load, and the time budget is 2.00 s") && text.contains("nothing was started"),
        "{text}"
    );
    assert!(!home.path("runs").exists());
    // They would fit, were it not for the start of the lab, the drain and the report of the first.
    let args = [files[0], files[1], "--time-budget", "3010ms", "--junit", "junit.xml"];
    let output = common::brownout().args(["run", "--quiet"]).args(args).current_dir(home.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("second: not started: "), "{}", said(&output));
    let junit = home.read("junit.xml");
    assert!(junit.contains("<testsuite name=\"second: this run\" tests=\"1\" failures=\"0\" errors=\"1\""), "{junit}");
    assert!(junit.contains("left of the time budget of 3.01 s"), "{junit}");
    assert_eq!(fs::read_dir(home.path("runs")).unwrap().count(), 1);
}

#[test]
fn an_expected_failure_is_tolerated_until_its_date() {
    let known = |line: &str, until: &str| {
        format!("{FAILS}\nexpected_failures:\n  - {{ {line} until: {until}, reason: \"the cache is cold, SHOP-417\" }}")
    };
    let line = "expect: orders.p50 during fault < 1ms,";
    let surprise = "expect: orders.success_rate >= 50%,";
    let cases = [
        ("tolerated", known(line, "2999-12-31"), 0, "failed as expected"),
        ("expired", known(line, "2020-01-31"), 1, "was expected to fail until 2020-01-31, which has passed"),
        ("surprise", known(surprise, "2999-12-31"), 1, "it holds, and was expected to fail until 2999-12-31"),
        ("whole", known("", "2999-12-31"), 0, "failed as expected"),
    ];
    for (name, more, exit, says) in cases {
        let home = Home::new(&[(name, &more)]);
        let args = [&format!("experiments/{name}.yaml"), "--summary", "summary.md", "--junit", "junit.xml"];
        let (code, text) = home.run(&args);
        assert_eq!(code, Some(exit), "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
        assert!(home.read("summary.md").contains("SHOP-417"), "{name}: {}", home.read("summary.md"));
        assert_eq!(
            home.read("junit.xml").contains("<skipped message="),
            exit == 0,
            "{name}: {}",
            home.read("junit.xml")
        );
        // The day of the run counts, not of the report.
        let run = fs::read_dir(home.path("runs")).unwrap().flatten().map(|entry| entry.path()).max().unwrap();
        let output = common::brownout().arg("report").arg(run).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{name}: {}", said(&output));
    }
}

#[test]
fn an_expected_failure_of_no_line_or_without_a_reason_is_a_mistake() {
    let more = format!(
        "{HOLDS}\n  - orders.p50 during baseline < 1ms\n\
         expected_failures:\n  - {{ expect: orders.success_rate >= 5%, until: 2027-01-31, reason: x }}\n  \
         - {{ until: tomorrow, reason: x }}\n  - {{ until: 2027-01-31, reason: \" \" }}"
    );
    let home = Home::new(&[("mine", &more)]);
    let output =
        common::brownout().args(["check", "experiments/mine.yaml"]).current_dir(home.path("")).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for mistake in
        ["no line of `expect` says this", "did you mean `orders.success_rate >= 50%`", "`tomorrow` is not a date"]
    {
        assert!(text.contains(mistake), "{mistake}: {text}");
    }
}

#[test]
fn what_a_baseline_must_hold_cannot_be_expected_to_fail() {
    let known = |line: &str| {
        format!("expect: [ {line} ]\nexpected_failures: [ {{ expect: {line}, until: 2999-12-31, reason: x }} ]")
    };
    let (own, stored) =
        (known("orders.p50 during baseline < 1ms"), known("orders.p50 during baseline < stored + 10ms"));
    let home = Home::new(&[("own", &own), ("stored", &stored)]);
    let check = |name: &str| {
        let file = format!("experiments/{name}.yaml");
        common::brownout().args(["check", &file]).current_dir(home.path("")).output().unwrap()
    };
    let output = check("own");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("what the baseline must hold cannot be tolerated"), "{}", said(&output));
    let output = check("stored");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_line_of_the_whole_experiment_is_no_variant_that_never_started() {
    let more = format!(
        "{HOLDS}\nmatrix: {{ rate: {{ path: workloads.orders.arrival.constant, values: {{ low: 20/s, high: 30/s }} }} }}\n\
         expected_failures: [ {{ until: 2999-12-31, reason: SHOP-417 }} ]"
    );
    let home = Home::new(&[("mine", &more)]);
    let (code, text) = home.run(&["experiments/mine.yaml", "--junit", "junit.xml"]);
    assert_eq!(code, Some(1), "{text}");
    let junit = home.read("junit.xml");
    // A line and the trust of each variant, and the failure that was missed.
    assert!(junit.contains("<testsuites name=\"mine\" tests=\"5\" failures=\"1\" errors=\"0\">"), "{junit}");
    assert!(!junit.contains("it never started"), "{junit}");
}

#[test]
fn a_file_that_cannot_be_written_takes_nothing_from_the_other() {
    let home = Home::new(&[("first", HOLDS)]);
    let args = ["experiments/first.yaml", "--junit", "nowhere/junit.xml", "--summary", "summary.md"];
    let (code, text) = home.run(&args);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("cannot write `nowhere/junit.xml`"), "{text}");
    assert!(home.read("summary.md").starts_with("### ✅ first: held"));
}

/// A repository of a user's, with the stage copied into it, and the variables that a CI sets.
struct Pipeline(Home);

impl Pipeline {
    fn new(experiments: &[(&str, &str)]) -> Pipeline {
        let home = Home::new(experiments);
        fs::copy(own("ci/stage"), home.path("stage")).unwrap();
        Pipeline(home)
    }

    fn stage(&self, variables: &[(&str, &str)]) -> Output {
        self.command(variables).output().unwrap()
    }

    fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new("sh");
        let brownout = common::brownout();
        command.arg("stage").current_dir(self.0.path("")).env("BROWNOUT", brownout.get_program()).env("NO_COLOR", "1");
        for name in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITLAB_CI"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        command
    }

    /// A program in the user's folder.
    fn program(&self, name: &str, script: &str) {
        fs::write(self.0.path(name), format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(self.0.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_stage_on_github_leaves_summary_annotations_outputs_and_evidence() {
    let pipeline = Pipeline::new(&[("first", HOLDS), ("second", FAILS)]);
    let home = &pipeline.0;
    let (step, output) = (home.path("step.md"), home.path("output"));
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_STEP_SUMMARY", step.to_str().unwrap()),
        ("GITHUB_OUTPUT", output.to_str().unwrap()),
        ("BROWNOUT_SIGNED_OFF_BY", "Ada Lovelace"),
        ("BROWNOUT_TRIES", "3"),
    ];
    let ran = pipeline.stage(&variables);
    let text = said(&ran);
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(text.contains("::error file=experiments/second.yaml,line="), "{text}");
    assert!(text.contains("::group::Evidence\n") && text.contains("signature   none"), "{text}");
    assert!(home.read("step.md").starts_with("### ❌ 2 experiments: 1 held, 1 failed\n"));
    assert_eq!(home.read("output"), "exit-code=1\nresults=brownout-results\n");
    assert!(home.read("brownout-results/junit.xml").contains("failures=\"1\""));
    let verified = home.read("brownout-results/verify.txt");
    assert!(verified.matches(": as the run left it\n").count() >= 2, "{verified}");
    assert!(verified.contains("signed off  by Ada Lovelace"), "{verified}");
}

#[test]
fn the_stage_elsewhere_holds_selects_by_tag_and_keeps_its_reports() {
    let pipeline = Pipeline::new(&[("first", HOLDS), ("second", FAILS)]);
    let call = || pipeline.stage(&[("BROWNOUT_TAG", "smoke"), ("GITLAB_CI", "true"), ("BROWNOUT_TRIES", "3")]);
    let ran = call();
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    assert!(!said(&ran).contains("::"), "no commands of another CI: {}", said(&ran));
    let home = &pipeline.0;
    assert!(home.read("brownout-results/summary.md").contains("first: held"));
    let gitlab = fs::read_to_string(own("ci/gitlab.yml")).unwrap();
    assert!(gitlab.contains("junit: brownout-results/junit.xml"));
    assert!(home.read("brownout-results/junit.xml").contains("<testsuite name=\"first: this run\""));
}

#[test]
fn the_stage_names_what_is_wrong_before_anything_starts() {
    let pipeline = Pipeline::new(&[("wrong", "expect: [ orders.nothing == 1 ]"), ("good", HOLDS)]);
    let ran = pipeline.stage(&[]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    assert!(said(&ran).contains("experiments/wrong.yaml:"), "{}", said(&ran));
    assert!(!pipeline.0.path("brownout-results").exists());
    let ran = pipeline.stage(&[("BROWNOUT_EXPERIMENTS", "experiments/good.yaml"), ("BROWNOUT_TIME_BUDGET", "1s")]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    let ran = pipeline.stage(&[("BROWNOUT", "/nowhere/brownout")]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    assert!(said(&ran).contains("name it in BROWNOUT"), "{}", said(&ran));
    fs::create_dir(pipeline.0.path("empty")).unwrap();
    let ran = pipeline.stage(&[("BROWNOUT_EXPERIMENTS", "empty")]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
}

#[test]
fn the_stage_starts_nothing_beside_run_folders_that_it_did_not_make() {
    let pipeline = Pipeline::new(&[("first", HOLDS)]);
    let home = &pipeline.0;
    fs::create_dir_all(home.path("brownout-results/runs/forged")).unwrap();
    let output = home.path("output");
    let ran = pipeline.stage(&[("GITHUB_OUTPUT", output.to_str().unwrap())]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    assert!(said(&ran).contains("brownout-results/runs is there already"), "{}", said(&ran));
    assert_eq!(fs::read_dir(home.path("brownout-results/runs")).unwrap().count(), 1);
    assert_eq!(home.read("output"), "exit-code=2\nresults=brownout-results\n", "an early end has its outputs too");
    fs::remove_dir_all(home.path("brownout-results/runs")).unwrap();
    std::os::unix::fs::symlink("/nowhere", home.path("brownout-results/runs")).unwrap();
    assert_eq!(pipeline.stage(&[]).status.code(), Some(2));
}

#[test]
fn the_stage_tries_again_so_often_and_keeps_what_the_last_try_left() {
    let pipeline = Pipeline::new(&[("first", HOLDS)]);
    let home = &pipeline.0;
    // Inconclusive each time, and from the second on it dies before it has written anything.
    pipeline.program(
        "fake",
        r#"
[ "$1" = run ] || exit 0
echo try >>tries
[ "$(wc -l <tries)" = 1 ] || exit 5
while [ $# -gt 1 ]; do
    case $1 in --summary | --junit) echo first >"$2" ;; esac
    shift
done
exit 5
"#,
    );
    let ran = pipeline.stage(&[("BROWNOUT", "./fake"), ("BROWNOUT_TRIES", "3")]);
    assert_eq!(ran.status.code(), Some(5), "{}", said(&ran));
    assert_eq!(home.read("tries").lines().count(), 3);
    for left in ["summary.md", "junit.xml"] {
        assert_eq!(home.read(&format!("brownout-results/{left}")), "first\n");
    }
    for tries in ["0", "many", "-1", "1000", " 2"] {
        let ran = pipeline.stage(&[("BROWNOUT", "./fake"), ("BROWNOUT_TRIES", tries)]);
        assert_eq!(ran.status.code(), Some(2), "{tries}: {}", said(&ran));
    }
    // A search that fails has not found all.
    fs::create_dir(home.path("bin")).unwrap();
    pipeline.program("bin/find", "echo experiments/first.yaml\nexit 1\n");
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    let ran = pipeline.stage(&[("BROWNOUT", "./fake"), ("PATH", &path)]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
    assert_eq!(home.read("tries").lines().count(), 3, "nothing more was started");
}

#[test]
fn a_stage_that_is_told_to_end_ends_its_try_and_leaves_what_there_is() {
    let pipeline = Pipeline::new(&[("long", HOLDS)]);
    let home = &pipeline.0;
    let file = home.path("experiments/long.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("baseline: 500ms", "baseline: 60s")).unwrap();
    let output = home.path("output");
    let mut command = pipeline.command(&[("GITHUB_OUTPUT", output.to_str().unwrap())]);
    let mut stage = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = SystemTime::now();
    let under_load = || {
        let run = fs::read_dir(home.path("brownout-results/runs")).ok()?.flatten().next()?.path();
        fs::read_to_string(run.join("events.jsonl")).ok()?.contains("baseline").then_some(())
    };
    // 20 s are for a machine that is busy with other tests.
    while under_load().is_none() {
        assert!(start.elapsed().unwrap() < Duration::from_secs(20), "the run did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&stage);
    // As a CI does that cancels: the shell alone, and not once.
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        rustix::process::kill_process(pid, signal).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(stage.wait().unwrap().code(), Some(143));
    assert!(start.elapsed().unwrap() < Duration::from_secs(50), "it did not wait for the load's end");
    assert_eq!(home.read("output"), "exit-code=143\nresults=brownout-results\n");
    assert!(home.read("brownout-results/summary.md").contains("SIGTERM"), "brownout was told");
    assert!(home.read("brownout-results/verify.txt").contains(": as the run left it\n"));
}

#[test]
fn every_variable_that_a_template_sets_is_one_that_the_stage_reads() {
    let stage = fs::read_to_string(own("ci/stage")).unwrap();
    let described = |name: &str| stage.lines().any(|line| line.starts_with(&format!("#   {name} ")));
    let mode = fs::metadata(own("ci/stage")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "it can be executed");
    let action = fs::read_to_string(own("ci/github-action.yml")).unwrap();
    for (template, text) in
        [("gitlab.yml", fs::read_to_string(own("ci/gitlab.yml")).unwrap()), ("github-action.yml", action.clone())]
    {
        for line in text.lines() {
            let name = line.trim().split(':').next().unwrap();
            if name.starts_with("BROWNOUT") && name != "BROWNOUT_IMAGE" {
                assert!(described(name), "{template}: the stage knows no {name}");
            }
        }
    }
    // What a workflow gives to the action is an input of it, and each input reaches the stage.
    let inputs: Vec<&str> = action.split("inputs.").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect();
    let declared = action.split("\noutputs:").next().unwrap();
    let workflow = fs::read_to_string(own("ci/github-workflow.yml")).unwrap();
    let given = workflow.split("with:\n").nth(1).unwrap().lines().take_while(|line| line.starts_with("          "));
    let given = given.map(|line| line.trim().split(':').next().unwrap());
    for input in inputs.iter().copied().chain(given) {
        assert!(declared.contains(&format!("\n  {input}:\n")), "the action has no input {input}");
    }
    assert!(!action.contains("run: '${{"), "an input is never a part of a script");
}

/// The commands of the Dockerfile's stage that builds, with its folders in a place of the test's own.
fn build_steps(out: &Path) -> Vec<String> {
    let dockerfile = fs::read_to_string(own("ci/Dockerfile")).unwrap();
    let build = dockerfile.split("\nFROM ").nth(1).unwrap();
    let runs = build.lines().filter_map(|line| line.strip_prefix("RUN "));
    let own = |step: &str| {
        let (target, root) = (out.join("build").display().to_string(), out.join("out").display().to_string());
        step.replace("/build", &target).replace(" /out", &format!(" {root}"))
    };
    runs.filter(|step| !step.starts_with("apt-get")).map(own).collect()
}

#[test]
fn the_dockerfile_copies_what_there_is_and_gives_up_its_rights() {
    let steps = build_steps(Path::new("/tmp"));
    assert_eq!(steps.len(), 3, "{steps:?}");
    let dockerfile = fs::read_to_string(own("ci/Dockerfile")).unwrap();
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    let user = last.find("\nUSER brownout\n").expect("it is not root");
    assert!(last.find("useradd").unwrap() < user && user < last.find("\nENTRYPOINT").unwrap());
    let toolchain = fs::read_to_string(own("Cargo.toml")).unwrap();
    let version = toolchain.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "the image has the Rust that the manifest wants");
}

/// Minutes of compiling: with `BROWNOUT_FULL` only, as `ci/test --full` has it.
#[test]
fn the_dockerfile_builds_a_static_program_that_runs_without_rights() {
    if std::env::var_os("BROWNOUT_FULL").is_none() {
        eprintln!("skipped: BROWNOUT_FULL is not set");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for step in build_steps(dir.path()) {
        let output = Command::new("sh").args(["-c", &step]).current_dir(own("")).output().unwrap();
        assert!(output.status.success(), "{step}: {}", said(&output));
    }
    let binary = dir.path().join("out/usr/local/bin/brownout");
    let linked = said(&Command::new("ldd").arg(&binary).output().unwrap());
    assert!(linked.contains("statically linked") || linked.contains("not a dynamic"), "{linked}");
    // As the image's user has it: no rights, nothing but a folder of its own.
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    for open in [dir.path(), &work] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(work.join("first.yaml"), experiment("first", HOLDS)).unwrap();
    let call = || {
        let mut command = Command::new("setpriv");
        // Whoever runs the tests without rights has none to give up.
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs"]);
        }
        command.arg(&binary).args(["run", "first.yaml", "--quiet"]).current_dir(&work).env_clear().output().unwrap()
    };
    let (code, text) = again_if_voided(call);
    assert_eq!(code, Some(0), "{text}");
}
