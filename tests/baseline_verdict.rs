//! A run conducted with a baseline whose verdict comes late, or is bad.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use brownout::event::{EVENTS_FILE, Event, StopReason, What};
use brownout::experiment::{self, Overrides};
use brownout::plan::Plan;
use brownout::run::{self, Allowance, Pulse, Setup, StopSwitch};
use brownout::system::lab::Labs;

/// Judging begins 100 ms before the fault: a tenth of the second of load until then.
const EXPERIMENT: &str = "
name: judged
hypothesis: A fault waits for the verdict on the baseline, and for nothing else.
system: { lab: { primary-standby: {} } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 100/s }
    operation: { register: {} }
    attempt_timeout: 250ms
    deadline: 1s
phases: { warmup: 200ms, baseline: 800ms, recovery: 400ms }
faults:
  slow: { at: 0s, for: 300ms, latency: { links: orders-gateway, add: 5ms, direction: down } }
";

/// The events of a run whose baseline is judged by `judge`, which is told how often it was called before.
fn conduct(judge: impl Fn(u32) -> Result<(), String> + Send + Sync + 'static) -> Vec<Event> {
    let experiment = experiment::parse("judged.yaml", EXPERIMENT.into(), &Overrides::default()).unwrap();
    let plan = Plan::resolve(experiment, &Labs).unwrap().plan;
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = common::brownout();
    keeper.arg("__keeper");
    let calls = AtomicU32::new(0);
    let setup = Setup {
        plan: &plan.runs[0],
        backend: brownout::backend::Choice::Embedded,
        labs: &Labs,
        dir: dir.path(),
        keeper,
        allowance: Allowance::new(&[], false),
        stop: StopSwitch::default(),
        pulse: Pulse::default(),
        listeners: Vec::new(),
        no_faults: false,
        judge_baseline: Arc::new(move || judge(calls.fetch_add(1, Ordering::Relaxed))),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run::conduct(setup)).unwrap();
    let lines = std::fs::read_to_string(dir.path().join(EVENTS_FILE)).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How much later than planned a phase began, and when it did, in milliseconds.
fn phase(events: &[Event], name: &str) -> (i64, i64) {
    let found = events.iter().find_map(|event| match &event.what {
        What::PhaseStarted { phase, planned } if phase == name => Some((event.at, *planned)),
        _ => None,
    });
    let (at, planned) = found.unwrap_or_else(|| panic!("no phase {name}: {events:#?}"));
    (at.signed_ns_since(planned) / 1_000_000, at.0 as i64 / 1_000_000)
}

/// When the fault was in force, in milliseconds; none if it never struck.
fn in_force(events: &[Event]) -> Option<(i64, i64)> {
    let at = |wanted: fn(&What) -> bool| {
        events.iter().find(|event| wanted(&event.what)).map(|event| event.at.0 as i64 / 1_000_000)
    };
    let injected = at(|what| matches!(what, What::FaultInjected { .. }));
    injected.zip(at(|what| matches!(what, What::FaultHealed { .. })))
}

/// A busy machine may be so late with each step; what is asked for is ten times that.
const TOLERANCE_MS: i64 = 60;

#[test]
fn a_verdict_that_is_there_in_time_moves_nothing() {
    let events = conduct(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let (late, faults) = phase(&events, "faults");
    assert_eq!(late, 0, "{events:#?}");
    let (injected, _) = in_force(&events).unwrap();
    assert!((0..TOLERANCE_MS).contains(&(injected - faults)), "{injected} {faults}");
}

#[test]
fn a_late_verdict_moves_all_that_follows_and_shortens_nothing() {
    let events = conduct(|_| {
        std::thread::sleep(Duration::from_millis(700));
        Ok(())
    });
    let (late, faults) = phase(&events, "faults");
    assert!((600..600 + TOLERANCE_MS).contains(&late), "it was asked for 100 ms before: {late} ms");
    let (injected, healed) = in_force(&events).unwrap();
    assert!((0..TOLERANCE_MS).contains(&(injected - faults)), "{injected} {faults}");
    assert!((300..300 + TOLERANCE_MS).contains(&(healed - injected)), "{injected} {healed}");
    let (_, recovery) = phase(&events, "recovery");
    let (_, drain) = phase(&events, "drain");
    assert!((400..400 + TOLERANCE_MS).contains(&(drain - recovery)), "{recovery} {drain}");
    let said = |event: &Event| matches!(&event.what, What::Note { text } if text.contains("verdict came"));
    assert!(events.iter().any(said), "{events:#?}");
}

#[test]
fn a_baseline_that_does_not_hold_ends_the_run_before_any_fault() {
    let events = conduct(|_| Err("p99 was 3 s".into()));
    assert_eq!(in_force(&events), None);
    let stopped = events.iter().find_map(|event| match &event.what {
        What::Stopped { reason, detail } => Some((*reason, detail.clone())),
        _ => None,
    });
    assert_eq!(stopped, Some((StopReason::Baseline, "the baseline does not hold: p99 was 3 s".into())));
    assert_eq!(events.last().unwrap().what, What::RunEnded);
}

#[test]
fn what_comes_right_by_the_end_of_the_baseline_holds() {
    let events = conduct(|call| if call == 0 { Err("too few operations".into()) } else { Ok(()) });
    assert!(in_force(&events).is_some(), "{events:#?}");
}
