//! How long does a report take that is made from 5 million recorded attempts, and how much memory?
//!
//! Must reach: 5 s and 500 MiB on 2 cores. `cargo bench --bench report [-- ATTEMPTS]`
//!
//! The run is made up: 20,000 operations a second, a fault in its middle during which attempts time out and are
//! retried, and recorded as a real run's are: JSON lines in zstd frames, one a second.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use brownout::clock::Moment;
use brownout::event::{
    ATTEMPTS_FILE, Access, Applied, Attempt, EVENTS_FILE, Event, Hit, Mechanism, Outcome, PLAN_FILE, Proof, What,
};
use brownout::seed::Seed;
use rustix::time::ClockId;

const RATE: u64 = 20_000;
const SECOND: u64 = 1_000_000_000;

fn main() {
    // `cargo bench` passes `--bench`.
    let attempts = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5_000_000);
    println!("`brownout report` of {attempts} recorded attempts, on {} cores", cores());
    println!(
        "{:<28} {:>9} {:>12} {:>9} {:>9} {:>11} {:>10}",
        "run", "on disk", "as text", "took", "CPU", "a second", "memory"
    );
    for (name, stateful) in [("requests", false), ("register reads and writes", true)] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = make(dir.path(), attempts, stateful);
        let cost = Cost::of(Command::new(env!("CARGO_BIN_EXE_brownout")).arg("report").arg(dir.path()));
        check(dir.path(), &made, stateful);
        println!(
            "{name:<28} {:>5} MiB {:>8} MiB {:>7.2} s {:>7.2} s {:>7.2} M/s {:>6} MiB",
            made.disk >> 20,
            made.text >> 20,
            cost.took.as_secs_f64(),
            cost.cpu.as_secs_f64(),
            made.attempts as f64 / cost.took.as_secs_f64() / 1e6,
            cost.memory_kib >> 10
        );
    }
}

/// What a process cost from its start to its end.
#[derive(Default)]
struct Cost {
    took: Duration,
    cpu: Duration,
    memory_kib: u64,
}

impl Cost {
    fn of(command: &mut Command) -> Cost {
        let start = now(ClockId::Monotonic);
        let mut child = command.stdout(Stdio::null()).spawn().expect("the built binary starts");
        let mut cost = Cost::default();
        while child.try_wait().expect("a child to wait for").is_none() {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            let ticks = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
            let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
            cost.cpu = cost.cpu.max(Duration::from_millis(ticks * 10));
            cost.memory_kib = cost.memory_kib.max(peak_kib(child.id()));
            std::thread::sleep(Duration::from_millis(5));
        }
        cost.took = now(ClockId::Monotonic) - start;
        cost
    }
}

/// The most memory that a process has had; 0 once it is gone.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// What was written.
struct Made {
    attempts: u64,
    operations: u64,
    writes: u64,
    disk: u64,
    text: u64,
}

/// The figures must be right, or their speed says nothing.
fn check(dir: &Path, made: &Made, stateful: bool) {
    for file in ["report.html", "report.md", "junit.xml"] {
        assert!(dir.join(file).is_file(), "{file} was not written");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("report.json")).expect("a report")).expect("JSON");
    assert_eq!(report["missing"], serde_json::json!([]));
    let orders = &report["runs"][0]["workloads"]["orders"];
    let overall = &orders["classes"]["all"]["windows"]["overall"];
    assert_eq!(
        (overall["operations"].as_u64(), overall["attempts"].as_u64()),
        (Some(made.operations), Some(made.attempts))
    );
    let outage = &orders["classes"]["all"]["outages"]["cut"]["unavailability_ns"]["known"];
    let outage = outage.as_u64().unwrap_or_else(|| panic!("{outage}"));
    assert!(outage.abs_diff(SECOND) < SECOND / 50, "1 s of outage was made, {outage} ns were measured");
    if stateful {
        let found = &orders["consistency"];
        let counts = ["acknowledged", "lost", "stale_reads"].map(|name| found[name].as_u64());
        assert_eq!(counts, [Some(made.writes), Some(0), Some(0)], "{found}");
    }
}

fn make(dir: &Path, wanted: u64, stateful: bool) -> Made {
    std::fs::write(dir.join(PLAN_FILE), PLAN).expect("a plan");
    let mut file = File::create(dir.join(ATTEMPTS_FILE)).expect("a file");
    let mut dice = Seed(1).stream("bench");
    let mut made = Made { attempts: 0, operations: 0, writes: 0, disk: 0, text: 0 };
    let mut registers = vec![None::<String>; 1000];
    // The outage is 1 s in the middle: an operation due in it fails twice and ends well at its end.
    let seconds = (wanted / (RATE + 2 * RATE / (wanted / RATE).max(1))).max(4);
    let cut = seconds / 2 * SECOND;
    let mut lines = Vec::new();
    // Attempts that end in a later second than the one that is written.
    let mut later: Vec<Attempt> = Vec::new();
    for second in 0..seconds + 2 {
        let mut attempts = std::mem::take(&mut later);
        for index in 0..if second < seconds { RATE } else { 0 } {
            let op = second * RATE + index;
            let due = op * (SECOND / RATE);
            made.operations += 1;
            let latency = dice.exponential(Duration::from_millis(2)).as_nanos() as u64 + 200_000;
            let outage = (cut..cut + SECOND).contains(&due);
            let template = attempt(op, due, stateful, dice.below(1000));
            if outage {
                for (number, start) in [(1, due + 20_000), (2, due + 120_000_000)] {
                    let mut failed = template.clone();
                    (failed.attempt, failed.last) = (number, false);
                    failed.value = (failed.access == Some(Access::Write)).then(|| format!("{op}.{number}").into());
                    (failed.start, failed.end) = (Moment(start), Moment(start + 100_000_000));
                    (failed.outcome, failed.applied, failed.code) = (Outcome::Timeout, Applied::Unknown, None);
                    failed.retry_in = Some(Duration::from_millis(20));
                    failed.why = Some("no answer within 100ms".into());
                    attempts.push(failed);
                }
            }
            let start = if outage { (cut + SECOND).max(due + 220_000_000) } else { due + 20_000 };
            let mut last = template;
            last.attempt = if outage { 3 } else { 1 };
            (last.start, last.end) = (Moment(start), Moment(start + latency));
            attempts.push(last);
        }
        let end = (second + 1) * SECOND;
        let (mut now, next): (Vec<_>, Vec<_>) = attempts.into_iter().partition(|attempt| attempt.end.0 < end);
        later = next;
        now.sort_by_key(|attempt| attempt.end);
        if stateful {
            now.iter_mut()
                .filter(|attempt| attempt.outcome == Outcome::Ok)
                .for_each(|attempt| serve(attempt, &mut registers, &mut made));
        }
        lines.clear();
        for attempt in &now {
            serde_json::to_writer(&mut lines, attempt).expect("an attempt is JSON");
            lines.push(b'\n');
        }
        made.attempts += now.len() as u64;
        made.text += lines.len() as u64;
        let frame = zstd::bulk::compress(&lines, 1).expect("compression");
        made.disk += frame.len() as u64;
        file.write_all(&frame).expect("room on the disk");
    }
    events(dir, seconds * SECOND, cut);
    made
}

/// Answers as a register does that takes effect when it answers.
fn serve(attempt: &mut Attempt, registers: &mut [Option<String>], made: &mut Made) {
    let key = attempt.key.as_deref().and_then(|key| key.strip_prefix("key-")).and_then(|key| key.parse::<usize>().ok());
    let register = &mut registers[key.expect("a key")];
    if attempt.access == Some(Access::Write) {
        made.writes += 1;
        let value = format!("{}.{}", attempt.op, attempt.attempt);
        attempt.value = Some(value.as_str().into());
        attempt.replaced = Some(register.replace(value).unwrap_or_default().into());
    } else {
        attempt.value = register.clone().map(Into::into);
    }
}

fn attempt(op: u64, due: u64, stateful: bool, key: u64) -> Attempt {
    let write = op.is_multiple_of(5);
    Attempt {
        workload: "orders".into(),
        class: if write { "write".into() } else { "read".into() },
        op,
        attempt: 1,
        hedge: false,
        last: true,
        access: stateful.then_some(if write { Access::Write } else { Access::Read }),
        key: stateful.then(|| format!("key-{key}").into()),
        value: None,
        replaced: None,
        due: Moment(due),
        start: Moment(due),
        connected: None,
        first_byte: Some(Moment(due + 250_000)),
        end: Moment(due),
        outcome: Outcome::Ok,
        applied: Applied::Yes,
        code: Some(200),
        place: Some("kv-a#1".into()),
        link: Some("orders-gateway".into()),
        conn: Some(op % 64),
        retry_in: None,
        why: None,
    }
}

fn events(dir: &Path, end: u64, cut: u64) {
    let phase = |phase: &str| What::PhaseStarted { phase: phase.into(), planned: Moment(0) };
    let injected = What::FaultInjected {
        fault: "cut".into(),
        kind: "partition".into(),
        planned: Moment(cut),
        last_hit: Moment(cut),
        hit: Hit { places: vec!["kv-a#1".into()], ..Hit::default() },
        mechanism: None,
        in_flight_bytes: 0,
    };
    let proof = Proof { real: true, ..Proof::default() };
    let healed = What::FaultHealed { fault: "cut".into(), planned: Moment(cut + SECOND), proof };
    let started = What::RunStarted { wall_ns: 0, variant: String::new(), seed: 1, mechanism: Mechanism::KernelDrop };
    let all = [
        (0, started),
        (0, phase("baseline")),
        (cut, phase("faults")),
        (cut, injected),
        (cut + SECOND, healed),
        (end, What::LoadEnded),
        (end + SECOND, What::RunEnded),
    ];
    let mut lines = String::new();
    for (at, what) in all {
        let event = serde_json::to_string(&Event { at: Moment(at), what }).expect("an event is JSON");
        writeln!(lines, "{event}").expect("a string takes everything");
    }
    std::fs::write(dir.join(EVENTS_FILE), lines).expect("events");
}

const PLAN: &str = r#"{"schema":1,"name":"bench","hypothesis":"","runs":[{"repetition":1,"seed":1,"folder":"",
"system":{"nodes":{"nodes":{},"links":{}}},"phases":{"warmup":"0s","baseline":"2s","recovery":"3s"},"faults":{},
"workloads":{"orders":{"to":"gateway","client":{"http":{"pool_max_idle":64,"pool_idle_timeout":"90s"}},
"arrival":{"constant":"20000/s"},"operation":{"echo":{"size":"64 B"}},"attempt_timeout":"100ms","deadline":"3s",
"retry":{"schedule":"none","on":[],"unknown_writes":true,"retry_after":"max"},"max_in_flight":100000}}}]}"#;

fn now(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
