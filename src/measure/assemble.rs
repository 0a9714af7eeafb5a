//! Puts attempts together into operations, counts them, and keeps the rows that outage figures need. One pass.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::admission::{Admission, Refused};
use super::history::{Class, History, Op, Place, State, Trouble};
use super::phases::{Interval, Phase, Timeline};
use super::read::{Batch, Name, Record};
use super::samples::Sampler;
use super::series::AttemptSeries;
use super::tally::{Marks, Tally};
use crate::clock::Moment;
use crate::event::{Access, Applied, Event, Milestone, Outcome, What};
use crate::plan::RunPlan;
use crate::plan::Workload;
use crate::plan::workload::Operation;

/// What the attempts of one workload add up to.
pub(crate) struct Assembled {
    /// Rows, sorted.
    pub(crate) history: History,
    /// Counts by class and stretch between the [`Cuts`].
    pub(crate) tallies: Vec<Vec<Tally>>,
    /// Attempts over time.
    pub(crate) series: AttemptSeries,
    /// Operations that failed or needed several attempts.
    pub(crate) sampler: Sampler,
    /// Attempts that were sent and connected, by link.
    pub(crate) connected: IndexMap<Arc<str>, u64>,
    /// When its last attempt ended.
    pub(crate) ended: Moment,
    /// Which classes write.
    pub(crate) writes: Vec<bool>,
}

/// Where phases begin or end: between two neighbours every operation belongs to the same phases.
#[derive(Clone, Debug)]
pub(crate) struct Cuts(Vec<Moment>);

impl Cuts {
    pub(crate) fn new(timeline: &Timeline) -> Cuts {
        let parts = timeline.phases.values().flat_map(|phase| &phase.parts);
        let mut cuts: Vec<Moment> = parts.flat_map(|part| [part.start, part.end]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        Cuts(cuts)
    }

    /// The stretch that a moment lies in: 0 before the first cut.
    pub(crate) fn stretch(&self, moment: Moment) -> usize {
        self.0.partition_point(|&cut| cut <= moment)
    }

    /// The stretches of a phase that last at all.
    pub(crate) fn within(&self, phase: &Phase) -> Vec<Interval> {
        let mut stretches = Vec::new();
        for part in &phase.parts {
            let inner = self.0.iter().filter(|cut| part.start < **cut && **cut < part.end);
            let mut start = part.start;
            for &end in inner.chain([&part.end]) {
                stretches.push(Interval::new(start, end));
                start = end;
            }
        }
        stretches.retain(|stretch| stretch.length_ns() > 0);
        stretches
    }

    /// The sum over the stretches of a phase.
    pub(crate) fn sum(&self, tallies: &[Tally], phase: &Phase) -> Tally {
        let mut sum = Tally::default();
        for part in &phase.parts {
            for stretch in self.stretch(part.start)..self.stretch(part.end) {
                if let Some(tally) = tallies.get(stretch) {
                    sum.add(tally);
                }
            }
        }
        sum
    }
}

/// Takes the attempts of a run, in the order of its file.
pub(crate) struct Assembler<'a> {
    plan: &'a RunPlan,
    cuts: Cuts,
    horizon: Interval,
    admission: &'a Admission<'a>,
    refused: Refused,
    promotions: Vec<Moment>,
    names: IndexSet<Arc<str>>,
    /// By number of the name, in the order of the first attempts.
    workloads: Vec<Option<Box<OneWorkload>>>,
}

/// The numbers of a batch's names among all names.
struct Known(Vec<usize>);

impl Known {
    fn number(&self, name: Name) -> usize {
        self.0[name.0 as usize]
    }
}

impl<'a> Assembler<'a> {
    pub(crate) fn new(
        plan: &'a RunPlan,
        timeline: &Timeline,
        admission: &'a Admission<'a>,
        events: &[Event],
    ) -> Assembler<'a> {
        let promotions = events.iter().filter_map(|event| match event.what {
            What::Milestone { milestone: Milestone::Promoted, .. } => Some(event.at),
            _ => None,
        });
        // Attempts end in the drain, which lasts no longer than the longest deadline; time-outs may overrun it.
        let drained = timeline.load_end + plan.longest_deadline();
        Assembler {
            plan,
            cuts: Cuts::new(timeline),
            horizon: Interval::new(Moment::START, drained.min(timeline.last.max(timeline.load_end))),
            admission,
            refused: Refused::default(),
            promotions: promotions.collect(),
            names: IndexSet::new(),
            workloads: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, batch: &Batch) {
        let known = Known(batch.names.iter().map(|name| self.names.insert_full(name.clone()).0).collect());
        self.workloads.resize_with(self.names.len(), || None);
        for record in &batch.records {
            if !self.admission.admits(record) {
                self.refused.add(record.op, "its moments are out of order, or outside the run");
                continue;
            }
            let number = known.number(record.workload);
            let workload = match &mut self.workloads[number] {
                Some(workload) => workload,
                none => match self.plan.workloads.get(&*self.names[number]) {
                    Some(plan) => none.insert(Box::new(OneWorkload::new(plan, &self.promotions, self.horizon))),
                    None => {
                        self.refused.add(record.op, "its workload is not in the plan");
                        continue;
                    }
                },
            };
            workload.take(record, &known, &self.names, &self.cuts, &batch.text);
        }
    }

    /// Ends the operations that a run cut off left open, and sorts. `end` is where they are censored. What was left out
    /// is named in `missing`.
    pub(crate) fn finish(self, end: Moment, missing: &mut Vec<String>) -> (Cuts, IndexMap<String, Assembled>) {
        missing.extend(self.refused.said());
        let places: Vec<Arc<str>> = self.names.iter().cloned().collect();
        let planned = self.plan.workloads.iter().map(|(name, plan)| {
            // One that nothing was recorded of has figures all the same: none of anything.
            (name.clone(), OneWorkload::new(plan, &self.promotions, self.horizon).done)
        });
        let mut workloads: IndexMap<String, Assembled> = planned.collect();
        for (name, workload) in self.names.iter().zip(self.workloads) {
            let Some(mut workload) = workload else { continue };
            workload.leave_open(end, &self.cuts);
            let mut done = workload.done;
            done.connected = places
                .iter()
                .cloned()
                .zip(workload.connected)
                .filter_map(|(link, count)| Some((link, count?)))
                .collect();
            done.history.places = places.clone();
            done.history.sort();
            workloads.insert(name.to_string(), done);
        }
        (self.cuts, workloads)
    }
}

struct OneWorkload {
    done: Assembled,
    open: HashMap<u64, OpenOp>,
    /// The class of each name, by number.
    classes: Vec<Option<Class>>,
    /// Attempts that were sent and connected, by number of the link's name.
    connected: Vec<Option<u64>>,
    promotions: Vec<Promotion>,
    attempt_timeout_ns: u64,
    deadline_ns: u64,
    /// Whether an attempt without `access` may change something.
    writes: bool,
}

/// What happens to connections around one promotion.
struct Promotion {
    at: Moment,
    /// The highest number of a connection used before, by link.
    before: HashMap<usize, u64>,
}

/// An operation of which more attempts may follow.
#[derive(Clone, Copy)]
struct OpenOp {
    op: Op,
    marks: Marks,
}

impl OneWorkload {
    fn new(plan: &Workload, promotions: &[Moment], horizon: Interval) -> OneWorkload {
        OneWorkload {
            done: Assembled {
                history: History {
                    reconnected: promotions.iter().map(|&at| (at, Vec::new())).collect(),
                    ..History::default()
                },
                tallies: Vec::new(),
                series: AttemptSeries::new(horizon),
                sampler: Sampler::default(),
                connected: IndexMap::new(),
                ended: Moment::START,
                writes: Vec::new(),
            },
            open: HashMap::new(),
            classes: Vec::new(),
            connected: Vec::new(),
            promotions: promotions.iter().map(|&at| Promotion { at, before: HashMap::new() }).collect(),
            attempt_timeout_ns: plan.attempt_timeout.0.as_nanos() as u64,
            deadline_ns: plan.deadline.0.as_nanos() as u64,
            writes: match &plan.operation {
                Operation::Request(request) => !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS"),
                _ => false,
            },
        }
    }

    fn take(&mut self, record: &Record, known: &Known, names: &IndexSet<Arc<str>>, cuts: &Cuts, text: &[u8]) {
        let class = self.class(known.number(record.class), names, cuts);
        let index = usize::from(class.0);
        let stretch = cuts.stretch(record.due);
        self.done.tallies[index][stretch].attempt(record.attempt, record.due, record.start, record.end, record.outcome);
        if record.outcome.was_sent() {
            self.done.history.starts[index].push(record.start);
        }
        self.done.ended = self.done.ended.max(record.end);
        self.done.series.take(record.start, record.outcome);
        self.trouble(record, class);
        self.count_connected(record, known);
        self.reconnection(record, class, known);

        let writes = record
            .access
            .map_or(self.writes, |access| matches!(access, Access::Write | Access::Insert | Access::Append));
        self.done.writes[index] |= writes;
        let place =
            record.place.and_then(|place| u16::try_from(known.number(place)).ok()).map_or(Place::UNKNOWN, Place);
        let before = if self.open.is_empty() { None } else { self.open.remove(&record.op) };
        self.done.sampler.take(record, before.is_none(), stretch, text);
        let open = OpenOp::after(before, record, class, place, writes);
        if record.last {
            self.close(open, cuts);
        } else {
            self.open.insert(record.op, open);
        }
    }

    fn close(&mut self, mut open: OpenOp, cuts: &Cuts) {
        open.marks.in_deadline = open.op.latency_ns() <= self.deadline_ns;
        let index = usize::from(open.op.class.0);
        self.done.tallies[index][cuts.stretch(open.op.due)].operation(&open.op, open.marks);
        self.done.history.ops.push(open.op);
    }

    /// Operations that no last attempt was recorded of: the run was cut off, so they stay unfinished.
    fn leave_open(&mut self, end: Moment, cuts: &Cuts) {
        let mut left: Vec<(u64, OpenOp)> = self.open.drain().collect();
        left.sort_unstable_by_key(|(op, _)| *op);
        for (_, mut open) in left {
            if !open.op.ok() {
                open.op.end = open.op.end.max(end);
                open.marks.unfinished = true;
            }
            self.close(open, cuts);
        }
    }

    fn class(&mut self, name: usize, names: &IndexSet<Arc<str>>, cuts: &Cuts) -> Class {
        if let Some(Some(class)) = self.classes.get(name) {
            return *class;
        }
        let class = Class(self.done.history.classes.len() as u16);
        self.classes.resize(self.classes.len().max(name + 1), None);
        self.classes[name] = Some(class);
        self.done.history.classes.push(names[name].clone());
        self.done.history.starts.push(Vec::new());
        self.done.history.reconnected.iter_mut().for_each(|(_, ends)| ends.push(None));
        self.done.tallies.push(vec![Tally::default(); cuts.0.len() + 1]);
        self.done.writes.push(false);
        class
    }

    fn trouble(&mut self, record: &Record, class: Class) {
        let passed = record.start.0.saturating_add(self.attempt_timeout_ns);
        let late = record.outcome.was_sent() && record.end.0 > passed;
        let failed = record.outcome.failed();
        if failed || late {
            let at = if late { Moment(passed) } else { record.end };
            self.done.history.troubles.push(Trouble { start: record.start, at, end: record.end, class, failed });
        }
    }

    /// Sent and connected: answered, or with an effect that is unknown, or on a connection that is known.
    fn count_connected(&mut self, record: &Record, known: &Known) {
        let Some(link) = record.link.map(|link| known.number(link)) else { return };
        let connected = record.outcome.was_sent()
            && (answered(record.outcome) || record.applied != Applied::No || record.conn.is_some());
        if link >= self.connected.len() {
            self.connected.resize(link + 1, None);
        }
        *self.connected[link].get_or_insert(0) += u64::from(connected);
    }

    /// An attempt that made its own connection tells when; one on a pooled connection tells its number, and numbers
    /// count accepted connections, so one above all that were in use before the promotion was accepted after it.
    fn reconnection(&mut self, record: &Record, class: Class, known: &Known) {
        let link = record.link.map_or(usize::MAX, |link| known.number(link));
        for (promotion, (_, ends)) in self.promotions.iter_mut().zip(&mut self.done.history.reconnected) {
            if record.start < promotion.at
                && let Some(conn) = record.conn
            {
                let highest = promotion.before.entry(link).or_default();
                *highest = conn.max(*highest);
            }
            let fresh = match (record.connected, record.conn) {
                (Some(connected), _) => connected >= promotion.at,
                (None, Some(conn)) => {
                    record.start >= promotion.at && promotion.before.get(&link).is_none_or(|&highest| conn > highest)
                }
                (None, None) => false,
            };
            if fresh && answered(record.outcome) {
                let end = &mut ends[usize::from(class.0)];
                *end = Some(end.map_or(record.end, |end| end.min(record.end)));
            }
        }
    }
}

impl OpenOp {
    /// The operation with one attempt more.
    fn after(before: Option<OpenOp>, record: &Record, class: Class, place: Place, writes: bool) -> OpenOp {
        let mut open = before.unwrap_or(OpenOp {
            op: Op {
                due: record.due,
                start: record.start,
                end: record.end,
                won: record.start,
                place: Place::UNKNOWN,
                class,
                state: State::Failed,
                shed: false,
            },
            marks: Marks::default(),
        });
        let op = &mut open.op;
        op.start = op.start.min(record.start);
        op.shed |= record.outcome == Outcome::Shed;
        open.marks.met_failure |= record.outcome.failed();
        open.marks.unfinished |= record.outcome == Outcome::Unfinished && !op.ok();
        if record.outcome == Outcome::Ok {
            // Of two hedged attempts that were both answered, the first one counts.
            if !op.ok() || record.end < op.end {
                (op.end, op.won, op.place) = (record.end, record.start, place);
            }
            op.state = State::Ok;
            open.marks.unfinished = false;
        } else if !op.ok() {
            op.end = op.end.max(record.end);
            if writes && record.applied == Applied::Unknown {
                op.state = State::Indeterminate;
            }
        }
        open
    }
}

/// Whether the system gave an answer of whatever kind.
fn answered(outcome: Outcome) -> bool {
    use Outcome::{Error, Ok, Protocol, Throttled, Unavailable};
    matches!(outcome, Ok | Error | Protocol | Throttled | Unavailable)
}
