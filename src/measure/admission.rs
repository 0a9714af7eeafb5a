//! Which attempts cannot have been: a damaged file must not stretch every figure.

use std::time::Duration;

use super::phases::{Interval, Timeline};
use super::read::Record;
use crate::clock::Moment;
use crate::event::ATTEMPTS_FILE;
use crate::plan::RunPlan;

/// Attempts are written within seconds of their end; the last event may be as old as the warm-up is long.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// What the attempts of a run must be like.
pub(crate) struct Admission<'a> {
    plan: &'a RunPlan,
    /// When there was load, at most.
    load: Interval,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(plan: &'a RunPlan, timeline: &Timeline) -> Admission<'a> {
        let until = timeline.last + plan.phases.warmup.0 + WRITTEN_WITHIN;
        Admission { plan, load: Interval::new(timeline.load_start, until) }
    }

    /// Whether there can be attempts of this workload.
    pub(crate) fn knows(&self, workload: &str) -> bool {
        self.plan.workloads.contains_key(workload)
    }

    /// Whether it can have happened when it says.
    pub(crate) fn admits(&self, record: &Record) -> bool {
        self.load.start <= record.due
            && record.due <= record.start
            && record.connected.unwrap_or(Moment::START).max(record.start) <= record.end
            && record.end <= self.load.end
    }
}

/// The attempts that were not admitted.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    count: u64,
    first: Option<(u64, &'static str)>,
}

impl Refused {
    pub(crate) fn add(&mut self, op: u64, why: &'static str) {
        self.count += 1;
        self.first.get_or_insert((op, why));
    }

    /// What is missing for it, in words.
    pub(crate) fn said(&self) -> Option<String> {
        let (op, why) = self.first?;
        let count = self.count;
        Some(format!(
            "{ATTEMPTS_FILE}: {count} attempts cannot have been and were left out, first one of operation {op}: {why}"
        ))
    }
}
