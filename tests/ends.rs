//! Every way in which a run can end: what it says, what it exits with, and that nothing is left.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, SystemTime};

use common::Case;

/// A lab under a partition that would last a minute.
const LONG: &str = "
name: long
hypothesis: Nobody waits for the end of this one.
system: { lab: { primary-standby: {} } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 100/s }
    operation: { register: {} }
    attempt_timeout: 250ms
    deadline: 2s
    retry: { fixed: { wait: 100ms, attempts: 10 } }
phases: { warmup: 200ms, baseline: 3s, recovery: 1s }
faults:
  cut: { at: 0s, for: 60s, partition: { a: { role: primary }, b: all } }
expect: [ orders.success_rate >= 10% ]
";

/// A process that the run starts, which starts a daemon of its own; `NAME` makes it findable.
fn with_daemon(name: &str) -> String {
    format!(
        "
name: daemon
hypothesis: Daemons end with their run.
system:
  nodes:
    server:
      process:
        command: [sh, -c, \"(setsid python3 -c 'import time; time.sleep(600)' {name} &) ; exec python3 -m http.server $PORT --bind 127.0.0.1\"]
        env: {{ PORT: \"${{nodes.server.port}}\" }}
        listen: 127.0.0.1:0
        ready: {{ http: / }}
workloads:
  users:
    to: server
    client: {{ http: {{}} }}
    arrival: {{ constant: 50/s }}
    operation: {{ request: {{ path: / }} }}
phases: {{ warmup: 200ms, baseline: 5s, recovery: 1s }}
faults:
  pause: {{ at: 0s, for: 60s, pause: {{ nodes: server }} }}
expect: [ users.success_rate >= 10% ]
"
    )
}

/// Waits until `condition` holds; 20 s are for a machine that is busy with other tests.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = SystemTime::now();
    while !condition() {
        assert!(start.elapsed().unwrap() < Duration::from_secs(20), "{what} did not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn events(case: &Case) -> String {
    let Ok(runs) = std::fs::read_dir(case.runs()) else { return String::new() };
    let read = |path: &Path| std::fs::read_to_string(path.join("events.jsonl")).unwrap_or_default();
    runs.flatten().map(|run| read(&run.path())).collect()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Whether a process whose command line has this word is alive.
fn alive(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    })
}

fn output(child: Child) -> (Output, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
    (output, text)
}

#[test]
fn ctrl_c_heals_reports_and_exits_130() {
    let (child, case) = Case::text(LONG).start();
    eventually("the fault", || events(&case).contains("fault_injected"));
    signal(&child, "INT");
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(events(&case).contains("fault_healed"), "{}", events(&case));
    assert!(events(&case).contains("run_ended"));
    assert!(case.run_folder().join("report.html").is_file());
    assert!(text.contains("Ctrl-C"), "{text}");
}

#[test]
fn sigterm_heals_and_exits_143() {
    let (child, case) = Case::text(LONG).start();
    eventually("the fault", || events(&case).contains("fault_injected"));
    signal(&child, "TERM");
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(143), "{text}");
    assert!(events(&case).contains("fault_healed"));
}

#[test]
fn a_killed_harness_leaves_no_process_and_a_report() {
    let name = format!("brownout-test-daemon-{}", std::process::id());
    let (mut child, case) = Case::text(&with_daemon(&name)).start();
    eventually("the daemon", || alive(&name));
    eventually("load", || events(&case).contains("baseline"));
    std::thread::sleep(Duration::from_millis(2500));
    signal(&child, "KILL");
    child.wait().unwrap();
    eventually("the daemon's end", || !alive(&name));
    let report = Case::new("report", case.run_folder()).run();
    report.exits(5).says("inconclusive");
    assert!(case.run_folder().join("report.html").is_file());
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_the_keeper_cleans_up() {
    let name = format!("brownout-test-second-{}", std::process::id());
    let (child, case) = Case::text(&with_daemon(&name)).start();
    eventually("the fault", || events(&case).contains("fault_injected"));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(5));
    signal(&child, "INT");
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(130), "{text}");
    eventually("the daemon's end", || !alive(&name));
}

#[test]
fn a_lost_keeper_ends_the_run_and_nothing_is_left() {
    let name = format!("brownout-test-keeper-{}", std::process::id());
    let (child, case) = Case::text(&with_daemon(&name)).start();
    eventually("the fault", || events(&case).contains("fault_injected"));
    let keeper = child_named(child.id(), "__keeper").expect("a run has a keeper");
    assert!(Command::new("kill").args(["-KILL", &keeper.to_string()]).status().unwrap().success());
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("the keeper is lost"), "{text}");
    eventually("the daemon's end", || !alive(&name));
    assert!(events(&case).contains("fault_healed"));
}

/// The child of a process whose command line has this word.
fn child_named(parent: u32, word: &str) -> Option<u32> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let of: u32 = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let named = line.split(|byte| *byte == 0).any(|part| part == word.as_bytes());
        (of == parent && named).then(|| entry.file_name().to_str()?.parse().ok())?
    })
}

/// A keeper that stands still, as on a machine whose disk does: it goes on when this is dropped.
struct Still(u32);

impl Still {
    fn make(harness: &Child) -> Still {
        let keeper = child_named(harness.id(), "__keeper").expect("a run has a keeper");
        assert!(Command::new("kill").args(["-STOP", &keeper.to_string()]).status().unwrap().success());
        Still(keeper)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0.to_string()]).status();
    }
}

#[test]
fn a_slow_keeper_holds_up_only_the_fault_whose_way_back_it_must_journal() {
    let faults = "
  cut: { at: 0s, for: 300ms, partition: { a: { role: primary }, b: all } }
  again: { after: cut.healed + 100ms, for: 300ms, partition: { a: { role: primary }, b: all } }
  failover: { at: 0s, for: 200ms, exec: { command: ['true'], undo: { exec: ['true'] } } }
";
    let yaml = LONG.replace("\n  cut: { at: 0s, for: 60s, partition: { a: { role: primary }, b: all } }\n", faults);
    let (child, case) = Case::text(&yaml).start();
    eventually("the baseline", || events(&case).contains("\"baseline\""));
    let still = Still::make(&child);
    let healed = |fault: &str| events(&case).contains(&format!("\"fault_healed\",\"fault\":\"{fault}\""));
    eventually("the removal of `again`", || healed("again"));
    assert!(!healed("failover"), "it struck before its way back was journalled");
    drop(still);
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("failover struck") && text.contains("later than planned"), "{text}");
    assert!(!text.contains("cut struck") && !text.contains("again struck"), "{text}");
    assert!(!text.contains("cut was removed") && !text.contains("again was removed"), "{text}");
}

#[test]
fn a_kill_that_comes_late_is_never_held() {
    let kill = with_daemon("brownout-test-late")
        .replace("pause: { at: 0s, for: 60s, pause:", "kill: { at: 0s, for: 500ms, kill:")
        .replace("baseline: 5s", "baseline: 2s");
    let (child, case) = Case::text(&kill).start();
    eventually("the baseline", || events(&case).contains("\"baseline\""));
    let still = Still::make(&child);
    eventually("the faults", || events(&case).contains("\"faults\""));
    std::thread::sleep(Duration::from_millis(700));
    assert!(!events(&case).contains("fault_injected"));
    drop(still);
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("kill struck") && text.contains("later than planned; 100 ms is allowed"), "{text}");
}

#[test]
fn a_stop_asked_for_while_a_lease_is_awaited_undoes_nothing() {
    let undone = tempfile::tempdir().unwrap();
    let mark = undone.path().join("undone");
    let fault =
        format!("e: {{ at: 500ms, exec: {{ command: ['true'], undo: {{ exec: [touch, '{}'] }} }} }}", mark.display());
    let (child, case) = Case::text(&with_action(&fault)).start();
    eventually("the baseline", || events(&case).contains("\"baseline\""));
    let still = Still::make(&child);
    eventually("the faults", || events(&case).contains("\"faults\""));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(200));
    drop(still);
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(!mark.exists(), "{text}");
}

#[test]
fn a_guard_aborts_heals_and_exits_4() {
    let guarded = LONG.replace("retry: { fixed: { wait: 100ms, attempts: 10 } }", "retry: { none: {} }")
        + "guards: [ { abort_if: orders.success_rate < 90%, for: 200ms } ]\n";
    let ran = Case::text(&guarded).run().exits(4).says("orders.success_rate < 90%");
    assert!(std::fs::read_to_string(ran.run_folder().join("events.jsonl")).unwrap().contains("fault_healed"));
}

/// The lab with one action as its fault.
fn with_action(fault: &str) -> String {
    let cut = "cut: { at: 0s, for: 60s, partition: { a: { role: primary }, b: all } }";
    LONG.replace(cut, fault).replace("baseline: 3s", "baseline: 1s")
}

#[test]
fn an_action_that_cannot_be_undone_is_never_held() {
    let fault = "e: { at: 0s, for: 200ms, exec: { command: ['true'], undo: { exec: ['false'] } } }";
    Case::text(&with_action(fault)).run().exits(5).says("could not be undone");
}

#[test]
fn an_action_that_hangs_holds_up_nobody() {
    let name = format!("brownout-test-hang-{}", std::process::id());
    let hang =
        format!("exec: {{ command: [python3, -c, 'import time; time.sleep(600)', {name}], irreversible: true }}");
    let (child, case) = Case::text(&with_action(&format!("e: {{ at: 0s, {hang} }}"))).start();
    eventually("the action", || alive(&name));
    eventually("the recovery", || events(&case).contains("recovery"));
    signal(&child, "INT");
    let (output, text) = output(child);
    assert_eq!(output.status.code(), Some(130), "{text}");
    eventually("the action's end", || !alive(&name));
}

#[test]
fn addresses_are_filled_into_actions() {
    let fault =
        "e: { at: 0s, exec: { command: [sh, -c, 'test ${links.orders-gateway.port} -gt 0'], irreversible: true } }";
    let ran = Case::text(&with_action(fault)).run();
    let events = std::fs::read_to_string(ran.run_folder().join("events.jsonl")).unwrap();
    let healed = events.lines().find(|line| line.contains("fault_healed")).expect("the action was done");
    assert!(healed.contains("\"real\":true"), "{healed}");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let yaml = with_daemon("brownout-test-port").replace("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:{port}"));
    Case::text(&yaml).run().exits(3).says("server").says(&port.to_string());
    assert!(!alive("brownout-test-port"));
}

#[test]
fn a_process_that_dies_at_start_shows_its_last_words() {
    let yaml = with_daemon("x")
        .replace("command: [sh, -c,", "command: [sh, -c, \"echo the configuration is missing >&2; exit 7\", unused,");
    Case::text(&yaml).run().exits(3).says("server").says("the configuration is missing").says("7");
}

#[test]
fn an_endpoint_that_does_not_answer_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = format!(
        "
name: nobody
hypothesis: Nobody is there.
system: {{ nodes: {{ shop: {{ endpoint: '{free}' }} }} }}
workloads:
  users:
    to: shop
    client: {{ http: {{}} }}
    arrival: {{ constant: 10/s }}
    operation: {{ request: {{ path: / }} }}
phases: {{ warmup: 200ms, baseline: 1s, recovery: 1s }}
"
    );
    Case::text(&yaml).run().exits(3).says("shop").says(&free.to_string());
}

#[test]
fn a_target_outside_loopback_needs_both_permissions() {
    let yaml = |allow: &str| {
        format!(
            "
name: far
hypothesis: It is far away.
{allow}
system: {{ nodes: {{ shop: {{ endpoint: '192.0.2.1:80' }} }} }}
workloads:
  users:
    to: shop
    client: {{ http: {{}} }}
    arrival: {{ constant: 10/s }}
    operation: {{ request: {{ path: / }} }}
phases: {{ warmup: 200ms, baseline: 1s, recovery: 1s }}
"
        )
    };
    let allow = "allow: [ { host: 192.0.2.1, max_rate: 10/s } ]";
    Case::text(&yaml("")).run().exits(2).says("192.0.2.1").says("nothing was started");
    Case::text(&yaml("")).arg("--allow-remote").run().exits(2).says("allow:");
    Case::text(&yaml(allow)).run().exits(2).says("--allow-remote");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_before_anything_starts() {
    let case = Case::text(LONG);
    std::fs::write(case.runs(), "a file where the folder should be").unwrap();
    case.run().exits(2).says("--out").says("nothing was started");
}

/// Needs the right to mount; containers of CIs have it in a user namespace of their own, or not at all.
#[test]
fn a_full_disk_is_said_before_the_first_fault() {
    let case = Case::text(LONG);
    std::fs::create_dir_all(case.runs()).unwrap();
    let brownout = case.command();
    let words: Vec<String> = std::iter::once(brownout.get_program())
        .chain(brownout.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let script = format!("mount -t tmpfs -o size=2m tmpfs {} && exec {}", case.runs().display(), words.join(" "));
    let mut unshared = Command::new("unshare");
    unshared.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    unshared.current_dir(env!("CARGO_MANIFEST_DIR")).process_group(0);
    let output = unshared.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.contains("unshare:") || text.contains("mount:") {
        assert!(std::env::var_os("BROWNOUT_REQUIRE_SERVERS").is_none(), "no mount namespace here: {text}");
        eprintln!("skipped: no mount namespace here: {text}");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("left on the disk"), "{text}");
}

#[test]
fn a_broken_run_folder_is_reported_as_far_as_it_goes() {
    let yaml = LONG.replace("for: 60s", "for: 500ms").replace("baseline: 3s", "baseline: 2500ms");
    let ran = Case::text(&yaml).run();
    let attempts = ran.run_folder().join("attempts.jsonl.zst");
    let whole = std::fs::read(&attempts).unwrap();
    std::fs::write(&attempts, &whole[..whole.len() * 2 / 3]).unwrap();
    Case::new("report", ran.run_folder()).run().says("attempts.jsonl.zst");
    let runs = ran.run_folder().parent().unwrap().to_owned();
    let newest = ran.run_folder().display().to_string();
    Case::new("report", &runs).run().exits(2).says("it holds run folders").says(&newest);
    std::fs::remove_file(ran.run_folder().join("plan.json")).unwrap();
    Case::new("report", ran.run_folder()).run().exits(2).says("plan.json").says("experiment.yaml` makes the run again");
    Case::new("report", ran.run_folder().join("logs")).run().exits(2).says("give a run folder");
}

#[test]
fn a_run_that_never_began_has_a_report_without_charts_of_nothing() {
    let yaml = with_daemon("x").replace("command: [sh, -c,", "command: [sh, -c, \"exit 7\", unused,");
    let ran = Case::text(&yaml).run().exits(3);
    let html = std::fs::read_to_string(ran.run_folder().join("report.html")).unwrap();
    assert!(html.contains("Not measured: no operation was due."));
    assert!(html.contains("Nodes and their roles"), "it was started, after all");
    for absurd in ["operations in a cell", "These charts as tables", "Figures by phase, this run", "NaN"] {
        let text = html.split("<h2>Definitions</h2>").next().unwrap();
        let body = &text[text.find("<main").unwrap_or(0)..];
        assert!(!body.contains(absurd), "`{absurd}` is on the page");
    }
}
