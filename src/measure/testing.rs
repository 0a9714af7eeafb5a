//! Builders of made-up runs, for tables of tests: times in milliseconds, figures worked out beside them.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::admission::Admission;
use super::assemble::{Assembled, Assembler};
use super::history::History;
use super::model::{Measured, Outage};
use super::phases::{Group, Interval, Timeline};
use super::read::each_batch;
use crate::clock::Moment;
use crate::event::{
    ATTEMPTS_FILE, Applied, Attempt, EVENTS_FILE, Event, Hit, Mechanism, Outcome, PLAN_FILE, Proof, What,
};
use crate::plan::{Plan, RunPlan};

/// A moment in milliseconds.
pub(crate) fn ms(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

/// A stretch of time in milliseconds.
pub(crate) fn span(start: u64, end: u64) -> Interval {
    Interval::new(ms(start), ms(end))
}

/// A fault called `cut` that hit these places.
pub(crate) fn group(t0: u64, healed: u64, until: u64, places: &[&str]) -> Group {
    Group {
        name: "cut".into(),
        faults: vec!["cut".into()],
        t0: ms(t0),
        skew_ns: 0,
        healed: (healed < until).then_some(ms(healed)),
        until: ms(until),
        followed: false,
        places: places.iter().map(|place| place.to_string()).collect(),
    }
}

/// The attempts of a made-up workload `w`.
#[derive(Clone, Default)]
pub(crate) struct Stream {
    pub(crate) attempts: Vec<Attempt>,
    next: u64,
    class: String,
    place: Option<Arc<str>>,
}

impl Stream {
    pub(crate) fn new() -> Stream {
        Stream { class: "read".into(), ..Stream::default() }
    }

    /// The class of the operations that follow.
    pub(crate) fn class(mut self, class: &str) -> Stream {
        self.class = class.to_owned();
        self
    }

    /// Who serves the attempts that follow.
    pub(crate) fn place(mut self, place: &str) -> Stream {
        self.place = Some(place.into());
        self
    }

    /// An operation: when it is due, and each attempt's start, end and outcome.
    pub(crate) fn op(mut self, due: u64, attempts: &[(u64, u64, Outcome)]) -> Stream {
        for (index, &(start, end, outcome)) in attempts.iter().enumerate() {
            self.attempts.push(Attempt {
                workload: "w".into(),
                class: self.class.as_str().into(),
                op: self.next,
                attempt: if outcome == Outcome::Shed { 0 } else { index as u32 + 1 },
                hedge: false,
                last: index + 1 == attempts.len(),
                access: None,
                key: None,
                value: None,
                replaced: None,
                due: ms(due),
                start: ms(start),
                connected: None,
                first_byte: None,
                end: ms(end),
                outcome,
                applied: match outcome {
                    Outcome::Ok => Applied::Yes,
                    Outcome::Refused | Outcome::Shed | Outcome::BreakerOpen => Applied::No,
                    _ => Applied::Unknown,
                },
                code: None,
                place: if outcome == Outcome::Ok { self.place.clone() } else { None },
                link: Some("w-gateway".into()),
                conn: None,
                retry_in: None,
                why: None,
            });
        }
        self.next += 1;
        self
    }

    /// Operations of one ok attempt, due each `gap` from `from` to before `until`, answered after `latency`.
    pub(crate) fn ok_every(self, gap: u64, from: u64, until: u64, latency: u64) -> Stream {
        self.every(gap, from, until, |due| (due, due + latency, Outcome::Ok))
    }

    /// Operations of one attempt, due each `gap` from `from` to before `until`.
    pub(crate) fn every(self, gap: u64, from: u64, until: u64, attempt: impl Fn(u64) -> (u64, u64, Outcome)) -> Stream {
        (from..until).step_by(gap as usize).fold(self, |stream, due| stream.op(due, &[attempt(due)]))
    }

    /// Changes the last attempt.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Attempt)) -> Stream {
        change(self.attempts.last_mut().expect("an attempt to change"));
        self
    }

    /// What an assembler makes of it, in a run without phases.
    pub(crate) fn history(&self) -> History {
        self.assembled(&Events::default(), &run_plan(&workload(CONSTANT))).history
    }

    /// What an assembler makes of it.
    pub(crate) fn assembled(&self, events: &Events, plan: &RunPlan) -> Assembled {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        let timeline = Timeline::new(&events.list, false);
        let admission = Admission::new(plan, &timeline);
        let mut assembler = Assembler::new(plan, &timeline, &admission, &events.list);
        each_batch(&dir.path().join(ATTEMPTS_FILE), |batch| assembler.take(&batch)).unwrap();
        let (_, mut workloads) = assembler.finish(timeline.load_end, &mut Vec::new());
        workloads.swap_remove("w").expect("the plan has `w`")
    }

    /// Writes `attempts.jsonl.zst` as a recorder does: by end, one frame a second.
    pub(crate) fn write(&self, dir: &Path) {
        let mut attempts = self.attempts.clone();
        attempts.sort_by_key(|attempt| attempt.end);
        let mut file = std::fs::File::create(dir.join(ATTEMPTS_FILE)).unwrap();
        for second in attempts.chunk_by(|a, b| a.end.0 / 1_000_000_000 == b.end.0 / 1_000_000_000) {
            let lines: String = second.iter().map(|attempt| serde_json::to_string(attempt).unwrap() + "\n").collect();
            file.write_all(&zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
        }
    }
}

/// The events of a made-up run.
#[derive(Clone, Default)]
pub(crate) struct Events {
    pub(crate) list: Vec<Event>,
    load_end: u64,
}

impl Events {
    /// A warm-up and a baseline of these lengths, and the end of load.
    pub(crate) fn phases(warmup: u64, baseline: u64, load_end: u64) -> Events {
        let started = |phase: &str, planned| What::PhaseStarted { phase: phase.into(), planned: ms(planned) };
        let run = What::RunStarted { wall_ns: 1, variant: String::new(), seed: 7, mechanism: Mechanism::Stall };
        Events { list: Vec::new(), load_end }
            .event(0, run)
            .event(0, started("warmup", 0))
            .event(warmup, started("baseline", warmup))
            .event(warmup + baseline, started("faults", warmup + baseline))
            .event(load_end, What::LoadEnded)
    }

    pub(crate) fn event(mut self, at: u64, what: What) -> Events {
        let index = self.list.partition_point(|event| event.at <= ms(at));
        self.list.insert(index, Event { at: ms(at), what });
        self
    }

    /// A fault that is never healed.
    pub(crate) fn injected(self, fault: &str, at: u64) -> Events {
        self.injected_on(fault, at, &[])
    }

    /// A fault that hits these places.
    pub(crate) fn injected_on(self, fault: &str, at: u64, places: &[&str]) -> Events {
        let places = places.iter().map(|place| place.to_string()).collect();
        let injected = What::FaultInjected {
            fault: fault.into(),
            kind: "partition".into(),
            planned: ms(at),
            last_hit: ms(at),
            hit: Hit { places, ..Hit::default() },
            mechanism: None,
            in_flight_bytes: 0,
        };
        self.event(at, injected)
    }

    pub(crate) fn healed(self, fault: &str, at: u64) -> Events {
        let proof = Proof { real: true, connections: 1, ..Proof::default() };
        self.event(at, What::FaultHealed { fault: fault.into(), planned: ms(at), proof })
    }

    /// A fault and its removal.
    pub(crate) fn fault(self, fault: &str, at: u64, healed: u64) -> Events {
        self.injected(fault, at).healed(fault, healed)
    }

    /// The end of the run.
    pub(crate) fn ended(self, at: u64) -> Events {
        let load_end = self.load_end;
        let drain = What::PhaseStarted { phase: "drain".into(), planned: ms(load_end) };
        self.event(load_end, drain).event(at, What::RunEnded)
    }

    /// Writes `events.jsonl`.
    pub(crate) fn write(&self, dir: &Path) {
        let lines: String = self.list.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
        std::fs::write(dir.join(EVENTS_FILE), lines).unwrap();
    }
}

/// A plan of one run with these workloads (JSON).
pub(crate) fn plan(workloads: &str) -> Plan {
    let plan = format!(
        r#"{{"schema":1,"name":"made-up","hypothesis":"","runs":[{{"repetition":1,"seed":7,"folder":"",
        "system":{{"nodes":{{"nodes":{{}},"links":{{}}}}}},"workloads":{workloads},
        "phases":{{"warmup":"1s","baseline":"2s","recovery":"3s"}},"faults":{{}}}}]}}"#
    );
    serde_json::from_str(&plan).unwrap()
}

/// The only run of such a plan.
pub(crate) fn run_plan(workloads: &str) -> RunPlan {
    plan(workloads).runs.remove(0)
}

/// An arrival that comes evenly.
pub(crate) const CONSTANT: &str = r#"{"constant":"100/s"}"#;

/// A workload `w` with this arrival (JSON), time-outs of 250 ms and a deadline of 3 s.
pub(crate) fn workload(arrival: &str) -> String {
    format!(
        r#"{{"w":{{"to":"gateway","client":{{"http":{{"pool_max_idle":64,"pool_idle_timeout":"90s"}}}},
        "arrival":{arrival},"operation":{{"echo":{{"size":"64 B"}}}},"attempt_timeout":"250ms","deadline":"3s",
        "retry":{{"schedule":"none","on":[],"unknown_writes":true,"retry_after":"max"}},"max_in_flight":10000}}}}"#
    )
}

/// The outages of a made-up run of one workload, all classes together.
pub(crate) fn run_outages(events: &Events, stream: &Stream) -> IndexMap<String, Outage> {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &plan(&workload(CONSTANT)), events, stream);
    let mut measured = Measured::from_run(dir.path()).unwrap();
    measured.runs[0].workloads["w"].classes.swap_remove("all").unwrap().outages
}

/// Writes a whole run folder.
pub(crate) fn write_run(dir: &Path, plan: &Plan, events: &Events, stream: &Stream) {
    std::fs::write(dir.join(PLAN_FILE), serde_json::to_vec(plan).unwrap()).unwrap();
    events.write(dir);
    stream.write(dir);
}
