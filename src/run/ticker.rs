//! What is told each tick: counters, clocks and the generator's health each second, the live view each time.

use std::sync::Arc;
use std::time::Duration;

use super::pulse::{Pulse, WorkloadBeat};
use super::recorder::Recorder;
use super::watch::{LOOK_BACK, Look};
use crate::backend::Backend;
use crate::clock::{Moment, RunClock, wall_ns};
use crate::event::What;
use crate::workload::Load;

/// How much of the load one cell of the live view's history stands for.
const HISTORY: Duration = Duration::from_millis(500);

/// A look that never ends the run.
pub(super) fn look(
    clock: RunClock,
    recorder: Arc<Recorder>,
    backend: Arc<dyn Backend>,
    loads: &[Arc<Load>],
    pulse: &Pulse,
) -> Look {
    let (loads, pulse) = (loads.iter().map(Arc::downgrade).collect::<Vec<_>>(), pulse.clone());
    let (mut next_second, mut next_cell) = (clock.now(), clock.now());
    Box::new(move |now| {
        let loads: Vec<Arc<Load>> = loads.iter().filter_map(std::sync::Weak::upgrade).collect();
        if now >= next_second {
            recorder.event(What::Clock { wall_ns: wall_ns() });
            tell_counters(&recorder, &*backend);
            tell_generators(&recorder, &loads);
            next_second = next_second + Duration::from_secs(1);
        }
        let trouble = (now >= next_cell).then(|| trouble(&loads, now));
        if trouble.is_some() {
            next_cell = next_cell + HISTORY;
        }
        pulse.update(|beat| {
            beat.now = now;
            beat.workloads = loads.iter().map(|load| beat_of(load, now)).collect();
            beat.trouble.extend(trouble);
        });
        None
    })
}

/// Every link's counters, as events. Whatever was counted by their moment is in them.
pub(super) fn tell_counters(recorder: &Recorder, backend: &dyn Backend) {
    let at = recorder.now();
    for (link, counters) in backend.counters() {
        recorder.event_at(at, What::Counters { link: link.to_string(), counters });
    }
}

/// Every workload's generator, as events.
pub(super) fn tell_generators(recorder: &Recorder, loads: &[Arc<Load>]) {
    for load in loads {
        let health = load.health();
        recorder.event(What::Generator {
            workload: load.name().to_string(),
            due: health.due,
            started: health.started,
            shed: health.shed,
            in_flight: health.in_flight,
            dropped: health.dropped,
        });
    }
}

fn beat_of(load: &Load, now: Moment) -> WorkloadBeat {
    let window = load.window(now, LOOK_BACK);
    WorkloadBeat {
        name: load.name().to_string(),
        rate: window.due as f64 / LOOK_BACK.as_secs_f64(),
        success: window.success_rate(),
        p50: window.latency(0.5),
        p99: window.latency(0.99),
    }
}

/// The worst share of operations without success among all workloads.
fn trouble(loads: &[Arc<Load>], now: Moment) -> f32 {
    let share = |load: &Arc<Load>| load.window(now, HISTORY).success_rate().map_or(0.0, |success| 1.0 - success);
    loads.iter().map(share).fold(0.0, f64::max) as f32
}
