//! One run, put together.

use std::cell::LazyCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use indexmap::IndexMap;

use super::MeasureError;
use super::admission::Admission;
use super::assemble::Assembler;
use super::model::{
    Availability, CheckResult, Doubt, LinkFigures, MeasuredRun, NodeEnded, NodeState, Stop, ToldMilestone,
    WorkloadFigures,
};
use super::phases::{Phase, Timeline};
use super::read::Batch;
use super::workload::WorkloadContext;
use super::{availability, checking, doubts, read};
use crate::clock::Moment;
use crate::event::{ATTEMPTS_FILE, EVENTS_FILE, Event, Layout, Mechanism, What};
use crate::plan::{Plan, RunPlan};

/// Batches of attempts that wait for the checks of consistency.
const BATCHES_AHEAD: usize = 4;

/// Measures one run, with slices of the phases that are `compared`. None if it never started; what is missing is named
/// in `missing`, with the run's variant.
pub(super) fn measure(
    dir: &Path,
    plan: &Plan,
    run: &RunPlan,
    compared: &[String],
    missing: &mut Vec<String>,
) -> Result<Option<MeasuredRun>, MeasureError> {
    let mut own = Vec::new();
    let events = read::events(dir, &mut own)?;
    let measured = match events.is_empty() {
        true => {
            let why = if own.is_empty() { format!("{EVENTS_FILE} is empty") } else { own.join("; ") };
            own = vec![format!("the run never started, or nothing that it wrote can be read: {why}")];
            None
        }
        false => Some(of_events(dir, plan, run, compared, &events, &mut own)?),
    };
    let who = match (run.variant_id(), plan.runs.len()) {
        (_, 1) => String::new(),
        (variant, _) if variant.is_empty() => format!("repetition {}: ", run.repetition),
        (variant, _) => format!("{variant}, repetition {}: ", run.repetition),
    };
    missing.extend(own.into_iter().map(|what| format!("{who}{what}")));
    Ok(measured)
}

fn of_events(
    dir: &Path,
    plan: &Plan,
    run: &RunPlan,
    compared: &[String],
    events: &[Event],
    missing: &mut Vec<String>,
) -> Result<MeasuredRun, MeasureError> {
    let control = plan.no_faults || run.faults.is_empty();
    let timeline = Timeline::new(events, control);
    let admission = Admission::new(run, &timeline);
    let mut assembler = Assembler::new(run, &timeline, &admission, events);
    let (told, links, mut late) = (milestones(events), links(events), Vec::new());
    let path = dir.join(ATTEMPTS_FILE);
    let workloads = thread::scope(|scope| {
        let (send, batches) = sync_channel::<Arc<Batch>>(BATCHES_AHEAD);
        let checking = scope.spawn(|| checking::check(batches, &admission, events));
        let read = read::each_batch(&path, |batch| {
            missing.extend(batch.missing.iter().map(|what| format!("{ATTEMPTS_FILE}: {what}")));
            let batch = Arc::new(batch);
            if batch.records.iter().any(|record| record.access.is_some()) {
                // Gone only if it panicked, which joining it tells.
                let _ = send.send(Arc::clone(&batch));
            }
            assembler.take(&batch);
        });
        drop(send);
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(doubts::NO_ATTEMPTS.to_owned());
            }
            Err(source) => return Err(MeasureError::Read { path, source }),
        }
        let (cuts, assembled) = assembler.finish(timeline.load_end, missing);
        let context = WorkloadContext {
            plan,
            run,
            compared,
            events,
            timeline: &timeline,
            cuts: &cuts,
            told: &told,
            links: &links,
        };
        // Not waited for before it is needed.
        let checked = LazyCell::new(|| checking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let figures = assembled.into_iter().map(|(name, assembled)| {
            let figures = context.figures(&name, &assembled, &mut late, || checked.get(name.as_str()).cloned());
            (name, figures)
        });
        Ok(figures.collect::<IndexMap<String, WorkloadFigures>>())
    })?;

    let stopped = stopped(events);
    let complete = events.iter().any(|event| event.what == What::RunEnded);
    let inconclusive = doubts_of(plan, run, events, &timeline, &workloads, &links, late, stopped.as_ref(), missing);
    let (started_wall_ns, mechanism) = started(events);
    Ok(MeasuredRun {
        variant: run.variant_id(),
        repetition: run.repetition,
        folder: run.folder.clone(),
        seed: run.seed.0,
        started_wall_ns,
        mechanism,
        complete,
        stopped,
        load_end: timeline.load_end,
        phases: timeline.phases.iter().map(|(name, phase)| (name.clone(), phase.span())).collect(),
        service: service(plan, run, events, &timeline),
        workloads,
        links,
        topology: topology(events),
        nodes: nodes(events),
        milestones: told,
        checks: checks(events),
        ended: ended(events, &timeline),
        notes: notes(events),
        inconclusive,
        faults: timeline.faults,
    })
}

#[expect(clippy::too_many_arguments, reason = "each rule reads another part of the run")]
fn doubts_of(
    plan: &Plan,
    run: &RunPlan,
    events: &[Event],
    timeline: &Timeline,
    workloads: &IndexMap<String, WorkloadFigures>,
    links: &IndexMap<String, LinkFigures>,
    late: Vec<Doubt>,
    stopped: Option<&Stop>,
    missing: &[String],
) -> Vec<Doubt> {
    let complete = events.iter().any(|event| event.what == What::RunEnded);
    // A run that stopped early, or was cut off, has its reason elsewhere.
    let expected = run.faults.keys().filter(|_| complete && stopped.is_none() && !plan.no_faults);
    let never_struck = expected.filter(|name| !timeline.faults.contains_key(*name));
    let mut all = doubts::without_proof(timeline.faults.iter(), complete, never_struck);
    all.extend(doubts::late_faults(timeline.faults.iter(), timeline.load_end));
    all.extend(doubts::baseline_failed(stopped));
    all.extend(late);
    all.extend(workloads.iter().filter_map(|(name, workload)| doubts::dropped(name, &workload.generator)));
    all.extend(doubts::could_not_accept(links.iter()));
    all.extend(doubts::clock_jumped(events));
    all.extend(doubts::incomplete(complete, missing));
    all
}

fn started(events: &[Event]) -> (u64, Mechanism) {
    let started = events.iter().find_map(|event| match event.what {
        What::RunStarted { wall_ns, mechanism, .. } => Some((wall_ns, mechanism)),
        _ => None,
    });
    started.unwrap_or((0, Mechanism::Stall))
}

fn stopped(events: &[Event]) -> Option<Stop> {
    events.iter().find_map(|event| match &event.what {
        What::Stopped { reason, detail } => Some(Stop { at: event.at, reason: *reason, detail: detail.clone() }),
        _ => None,
    })
}

fn milestones(events: &[Event]) -> Vec<ToldMilestone> {
    let told = events.iter().filter_map(|event| match &event.what {
        What::Milestone { milestone, node, source } => {
            Some(ToldMilestone { at: event.at, milestone: *milestone, node: node.clone(), source: source.clone() })
        }
        _ => None,
    });
    let mut told: Vec<ToldMilestone> = told.collect();
    told.sort_by_key(|told| told.at);
    told
}

fn links(events: &[Event]) -> IndexMap<String, LinkFigures> {
    let mut links: IndexMap<String, LinkFigures> = IndexMap::new();
    for event in events {
        if let What::Counters { link, counters } = &event.what {
            let figures = links.entry(link.clone()).or_default();
            figures.total = counters.clone();
            figures.readings.push((event.at, counters.clone()));
        }
    }
    links
}

fn topology(events: &[Event]) -> Layout {
    let told = events.iter().find_map(|event| match &event.what {
        What::Topology(layout) => Some(layout.clone()),
        _ => None,
    });
    told.unwrap_or_default()
}

fn nodes(events: &[Event]) -> IndexMap<String, Vec<NodeState>> {
    let mut nodes: IndexMap<String, Vec<NodeState>> = IndexMap::new();
    for event in events {
        if let What::Node { node, incarnation, state, role } = &event.what {
            let now = NodeState { at: event.at, incarnation: *incarnation, state: state.clone(), role: role.clone() };
            nodes.entry(node.clone()).or_default().push(now);
        }
    }
    nodes
}

fn checks(events: &[Event]) -> Vec<CheckResult> {
    let checks = events.iter().filter_map(|event| match &event.what {
        What::Check { index, when, ok, output } => {
            Some(CheckResult { at: event.at, index: *index, when: when.clone(), ok: *ok, output: output.clone() })
        }
        _ => None,
    });
    checks.collect()
}

fn ended(events: &[Event], timeline: &Timeline) -> Vec<NodeEnded> {
    let in_force = |at: Moment| {
        let faults = timeline.faults.iter();
        let in_force =
            faults.filter(|(_, fault)| fault.injected <= at && fault.healed.is_none_or(|healed| at < healed));
        in_force.map(|(name, _)| name.clone()).collect()
    };
    let ended = events.iter().filter_map(|event| match &event.what {
        What::NodeEnded { node, how, last_lines } => Some(NodeEnded {
            at: event.at,
            node: node.clone(),
            how: how.clone(),
            last_lines: last_lines.clone(),
            during: in_force(event.at),
        }),
        _ => None,
    });
    ended.collect()
}

fn notes(events: &[Event]) -> Vec<(Moment, String)> {
    let notes = events.iter().filter_map(|event| match &event.what {
        What::Note { text } => Some((event.at, text.clone())),
        What::NodeEnded { node, how, last_lines } if last_lines.is_empty() => {
            Some((event.at, format!("{node} {how} by itself; it wrote nothing")))
        }
        What::NodeEnded { node, how, last_lines } => {
            Some((event.at, format!("{node} {how} by itself; its last lines:\n{}", last_lines.join("\n"))))
        }
        _ => None,
    });
    notes.collect()
}

/// The probes of the nodes that the workloads use are the service; without any, every probe is.
fn service(plan: &Plan, run: &RunPlan, events: &[Event], timeline: &Timeline) -> Option<Availability> {
    let probes = |wanted: &dyn Fn(&str) -> bool| -> Vec<(Moment, bool)> {
        let probes = events.iter().filter_map(|event| match &event.what {
            What::Probe { node, ok } if wanted(node) => Some((event.at, *ok)),
            _ => None,
        });
        probes.collect()
    };
    let used = probes(&|node| run.workloads.values().any(|workload| workload.to == node));
    let probes = if used.is_empty() { probes(&|_| true) } else { used };
    availability::at_service(&probes, timeline.phase("impact").map(Phase::hull), plan.sla.as_ref())
}
