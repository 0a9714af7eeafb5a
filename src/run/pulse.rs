//! What a run looks like right now: written by the conductor, read by the live view.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Moment;

/// The present state of a plan's runs; copies share it.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Beat>>);

impl Pulse {
    /// Changes it.
    pub fn update(&self, change: impl FnOnce(&mut Beat)) {
        change(&mut self.0.lock().expect("no holder panics"));
    }

    /// A copy of it.
    pub fn read(&self) -> Beat {
        self.0.lock().expect("no holder panics").clone()
    }
}

/// One look at a run.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// Which run of the plan, from 1; 0 before the first.
    pub run: usize,
    /// Of how many.
    pub runs: usize,
    /// The variant's id with the repetition, if there are several; empty else.
    pub variant: String,
    /// What it does now, where it is not in a phase of load: `starting the system`, `draining`.
    pub doing: String,
    /// The phases of load as planned: name, start, end.
    pub phases: Vec<(String, Moment, Moment)>,
    /// The run's own time; before load it stands still.
    pub now: Moment,
    /// Each workload over the last second.
    pub workloads: Vec<WorkloadBeat>,
    /// Faults in force, each with the moment at which it heals by itself.
    pub in_force: Vec<(String, Option<Moment>)>,
    /// Share of operations that did not succeed, by equal slices of the load so far, from 0 to 1.
    pub trouble: Vec<f32>,
}

/// One workload over the last second.
#[derive(Clone, Debug, Default)]
pub struct WorkloadBeat {
    /// Its name.
    pub name: String,
    /// Operations due a second.
    pub rate: f64,
    /// ok / ended; none if none ended.
    pub success: Option<f64>,
    /// Median latency.
    pub p50: Option<Duration>,
    /// 99 % latency.
    pub p99: Option<Duration>,
}
