//! The windows of time that figures are given for, and the faults that they come from, out of a run's events.

use indexmap::IndexMap;

use super::model::{FaultSpan, PhaseSpan};
use crate::clock::Moment;
use crate::event::{Event, What};

/// A half-open stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval {
    /// Belongs to it.
    pub(crate) start: Moment,
    /// Does not.
    pub(crate) end: Moment,
}

impl Interval {
    pub(crate) fn new(start: Moment, end: Moment) -> Interval {
        Interval { start, end: end.max(start) }
    }

    pub(crate) fn contains(self, moment: Moment) -> bool {
        self.start <= moment && moment < self.end
    }

    pub(crate) fn length_ns(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// How much of it lies in `other`.
    pub(crate) fn overlap_ns(self, other: Interval) -> u64 {
        self.end.min(other.end).0.saturating_sub(self.start.max(other.start).0)
    }
}

/// A phase: one stretch of time, or several where it is a union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    /// When the plan wanted it to start, if it says.
    pub(crate) planned: Option<Moment>,
    /// Its stretches, ascending, apart from each other; never empty.
    pub(crate) parts: Vec<Interval>,
}

impl Phase {
    fn one(start: Moment, end: Moment, planned: Option<Moment>) -> Phase {
        Phase { planned, parts: vec![Interval::new(start, end)] }
    }

    /// From its first start to its last end.
    pub(crate) fn hull(&self) -> Interval {
        Interval::new(self.parts[0].start, self.parts[self.parts.len() - 1].end)
    }

    pub(crate) fn span(&self) -> PhaseSpan {
        PhaseSpan { planned: self.planned, start: self.hull().start, end: self.hull().end }
    }

    pub(crate) fn length_ns(&self) -> u64 {
        self.parts.iter().map(|part| part.length_ns()).sum()
    }
}

/// A fault, or faults that overlapped: their figures cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// `a`, or `a+b` in the order of injection.
    pub(crate) name: String,
    /// The faults in it.
    pub(crate) faults: Vec<String>,
    /// The first link or node hit.
    pub(crate) t0: Moment,
    /// The greatest last − first hit of its faults.
    pub(crate) skew_ns: u64,
    /// The removal of its last fault; none if one lasted to the end of load.
    pub(crate) healed: Option<Moment>,
    /// The next injection, or the end of load.
    pub(crate) until: Moment,
    /// Whether it ends with the next injection.
    pub(crate) followed: bool,
    /// The hit set.
    pub(crate) places: Vec<String>,
}

impl Group {
    /// Its removal, or the end of load.
    pub(crate) fn removed(&self) -> Moment {
        self.healed.unwrap_or(self.until)
    }

    /// What its figures look at.
    pub(crate) fn watch(&self) -> Interval {
        Interval::new(self.t0, self.until)
    }

    /// Whether what ended at this moment is its own: what fails after the next injection is that fault's.
    pub(crate) fn owns(&self, end: Moment) -> bool {
        self.t0 < end && (end <= self.until || !self.followed)
    }

    /// What was watched after its removal; none if it was never removed before the end of load.
    pub(crate) fn recovery(&self) -> Option<Interval> {
        self.healed.filter(|&healed| healed < self.until).map(|healed| Interval::new(healed, self.until))
    }
}

/// A run's phases and faults.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// By name, in the order of reports.
    pub(crate) phases: IndexMap<String, Phase>,
    /// By name, in order of injection.
    pub(crate) faults: IndexMap<String, FaultSpan>,
    /// In order of injection.
    pub(crate) groups: Vec<Group>,
    /// Nothing is due before.
    pub(crate) load_start: Moment,
    /// The end of load; the last event where the run was cut off before.
    pub(crate) load_end: Moment,
    /// The last event.
    pub(crate) last: Moment,
}

impl Timeline {
    /// Reads the events. `control` is a run without faults in its schedule: its `impact` starts where the baseline
    /// ends, so that it has figures over the same window as the runs that it is compared with.
    pub(crate) fn new(events: &[Event], control: bool) -> Timeline {
        let last = events.iter().map(|event| event.at).max().unwrap_or_default();
        let ended = events.iter().find(|event| event.what == What::LoadEnded).map(|event| event.at);
        let load_end = ended.unwrap_or(last);
        let mut faults = faults(events);
        let groups = groups(&mut faults, load_end);
        let phases = phases(events, &faults, &groups, load_end, last, control);
        let warmup = |event: &&Event| matches!(&event.what, What::PhaseStarted { phase, .. } if phase == "warmup");
        let load_start = events.iter().find(warmup).map_or(Moment::START, |event| event.at);
        Timeline { phases, faults, groups, load_start, load_end, last }
    }

    pub(crate) fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.get(name)
    }

    /// The baseline's stretch; empty where there was none.
    pub(crate) fn baseline(&self) -> Interval {
        self.phase("baseline").map_or(Interval::new(Moment::START, Moment::START), Phase::hull)
    }
}

fn faults(events: &[Event]) -> IndexMap<String, FaultSpan> {
    let mut faults: IndexMap<String, FaultSpan> = IndexMap::new();
    for event in events {
        match &event.what {
            What::FaultInjected { fault, kind, planned, last_hit, hit, mechanism, in_flight_bytes } => {
                let span = FaultSpan {
                    kind: kind.clone(),
                    group: fault.clone(),
                    planned: *planned,
                    injected: event.at,
                    last_hit: (*last_hit).max(event.at),
                    removal_planned: None,
                    healed: None,
                    hit: hit.clone(),
                    mechanism: *mechanism,
                    in_flight_bytes: *in_flight_bytes,
                    proof: None,
                };
                faults.insert(fault.clone(), span);
            }
            What::FaultHealed { fault, planned, proof } => {
                if let Some(span) = faults.get_mut(fault) {
                    span.removal_planned = Some(*planned);
                    span.healed = Some(event.at.max(span.injected));
                    span.proof = Some(proof.clone());
                }
            }
            _ => {}
        }
    }
    faults.sort_by(|_, a, _, b| a.injected.cmp(&b.injected));
    faults
}

/// Faults whose stretches overlap, directly or through others, form one group.
fn groups(faults: &mut IndexMap<String, FaultSpan>, load_end: Moment) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (name, fault) in faults.iter() {
        let healed = fault.healed.filter(|&healed| healed < load_end);
        let skew_ns = fault.last_hit.0 - fault.injected.0;
        match groups.last_mut() {
            Some(group) if group.healed.is_none_or(|healed| fault.injected < healed) => {
                group.faults.push(name.clone());
                group.skew_ns = group.skew_ns.max(skew_ns);
                group.healed = group.healed.zip(healed).map(|(a, b)| a.max(b));
                group.places.extend(fault.hit.places.iter().cloned());
            }
            _ => groups.push(Group {
                name: String::new(),
                faults: vec![name.clone()],
                t0: fault.injected,
                skew_ns,
                healed,
                until: load_end.max(fault.injected),
                followed: false,
                places: fault.hit.places.clone(),
            }),
        }
    }
    for index in 0..groups.len() {
        if let Some(next) = groups.get(index + 1) {
            (groups[index].until, groups[index].followed) = (next.t0, true);
        }
        let group = &mut groups[index];
        group.name = group.faults.join("+");
        for fault in &group.faults {
            faults[fault].group = group.name.clone();
        }
    }
    groups
}

fn phases(
    events: &[Event],
    faults: &IndexMap<String, FaultSpan>,
    groups: &[Group],
    load_end: Moment,
    last: Moment,
    control: bool,
) -> IndexMap<String, Phase> {
    let starts: Vec<(&str, Moment, Moment)> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::PhaseStarted { phase, planned } => Some((phase.as_str(), event.at, *planned)),
            _ => None,
        })
        .collect();
    let told = |name: &str| {
        let index = starts.iter().position(|(phase, ..)| *phase == name)?;
        let (_, start, planned) = starts[index];
        let next = starts.get(index + 1).map_or(load_end, |(_, next, _)| *next);
        Some(Phase::one(start, next.min(load_end), Some(planned)))
    };
    let mut phases = IndexMap::new();
    let mut add = |name: String, phase: Option<Phase>| {
        if let Some(phase) = phase {
            phases.insert(name, phase);
        }
    };
    let warmup = told("warmup");
    let baseline = told("baseline");
    let load_start = baseline.as_ref().or(warmup.as_ref()).map(|phase| phase.hull().start);
    let baseline_end = baseline.as_ref().map(|phase| phase.hull().end);
    add("warmup".into(), warmup);
    add("baseline".into(), baseline);

    let in_force = |fault: &FaultSpan| {
        let end = fault.healed.unwrap_or(load_end).min(load_end);
        Interval::new(fault.injected, end)
    };
    let next_injection = |after: Moment| {
        let later = faults.values().map(|fault| fault.injected).filter(|&injected| injected >= after);
        later.min().unwrap_or(load_end).min(load_end)
    };
    for (name, fault) in faults {
        let part = in_force(fault);
        add(format!("fault.{name}"), Some(Phase { planned: Some(fault.planned), parts: vec![part] }));
    }
    for group in groups.iter().filter(|group| group.faults.len() > 1) {
        let planned = faults.get(&group.faults[0]).map(|fault| fault.planned);
        add(format!("fault.{}", group.name), Some(Phase::one(group.t0, group.removed(), planned)));
    }
    let all = union(faults.values().map(in_force));
    add("fault".into(), (!all.is_empty()).then_some(Phase { planned: None, parts: all }));
    for (name, fault) in faults {
        let healed = fault.healed.filter(|&healed| healed < load_end);
        let recovery = healed.map(|healed| Phase::one(healed, next_injection(healed), None));
        add(format!("recovery.{name}"), recovery);
    }
    for group in groups.iter().filter(|group| group.faults.len() > 1) {
        let recovery = group.recovery().map(|part| Phase::one(part.start, part.end, None));
        add(format!("recovery.{}", group.name), recovery);
    }
    let removed: Option<Vec<Moment>> = faults.values().map(|fault| fault.healed).collect();
    let last_removal = removed.and_then(|removed| removed.into_iter().max()).filter(|&healed| healed < load_end);
    let planned = starts.iter().find(|(phase, ..)| *phase == "recovery").map(|(.., planned)| *planned);
    add("recovery".into(), last_removal.map(|healed| Phase::one(healed, load_end, planned)));

    let first_injection = faults.values().map(|fault| fault.injected).min();
    let impact_start = first_injection.or(baseline_end.filter(|_| control && faults.is_empty()));
    // The faults' own plan moves with a baseline whose verdict comes late; that of the whole does not.
    let late =
        starts.iter().find(|(phase, ..)| *phase == "faults").map(|(_, at, planned)| at.saturating_since(*planned));
    let planned = faults.values().map(|fault| fault.planned).min().zip(late).map(|(first, late)| first - late);
    add("impact".into(), impact_start.filter(|&start| start < load_end).map(|at| Phase::one(at, load_end, planned)));
    add("overall".into(), load_start.map(|start| Phase::one(start, load_end, None)));
    add("drain".into(), (load_end < last).then(|| Phase::one(load_end, last, None)));
    phases
}

/// Overlapping stretches joined.
fn union(intervals: impl Iterator<Item = Interval>) -> Vec<Interval> {
    let mut sorted: Vec<Interval> = intervals.collect();
    sorted.sort_unstable();
    let mut joined: Vec<Interval> = Vec::new();
    for interval in sorted {
        match joined.last_mut() {
            Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
            _ => joined.push(interval),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::testing::Events;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn spans(timeline: &Timeline) -> Vec<(String, Vec<(u64, u64)>)> {
        let ms = |part: &Interval| (part.start.0 / 1_000_000, part.end.0 / 1_000_000);
        timeline.phases.iter().map(|(name, phase)| (name.clone(), phase.parts.iter().map(ms).collect())).collect()
    }

    fn expect(timeline: &Timeline, expected: &[(&str, &[(u64, u64)])]) {
        let expected: Vec<_> = expected.iter().map(|(name, parts)| (name.to_string(), parts.to_vec())).collect();
        assert_eq!(spans(timeline), expected);
    }

    #[test]
    fn one_fault_makes_the_usual_phases() {
        let events = Events::phases(1000, 2000, 10_000).fault("cut", 3010, 6020).ended(11_000);
        let timeline = Timeline::new(&events.list, false);
        expect(
            &timeline,
            &[
                ("warmup", &[(0, 1000)]),
                ("baseline", &[(1000, 3000)]),
                ("fault.cut", &[(3010, 6020)]),
                ("fault", &[(3010, 6020)]),
                ("recovery.cut", &[(6020, 10_000)]),
                ("recovery", &[(6020, 10_000)]),
                ("impact", &[(3010, 10_000)]),
                ("overall", &[(1000, 10_000)]),
                ("drain", &[(10_000, 11_000)]),
            ],
        );
        assert_eq!(timeline.groups.len(), 1);
        assert_eq!((timeline.groups[0].until, timeline.groups[0].removed()), (at(10_000), at(6020)));
    }

    #[test]
    fn faults_one_after_the_other_stay_apart_and_their_union_has_two_parts() {
        let events = Events::phases(1000, 2000, 10_000).fault("a", 3000, 4000).fault("b", 6000, 7000).ended(10_000);
        let timeline = Timeline::new(&events.list, false);
        expect(
            &timeline,
            &[
                ("warmup", &[(0, 1000)]),
                ("baseline", &[(1000, 3000)]),
                ("fault.a", &[(3000, 4000)]),
                ("fault.b", &[(6000, 7000)]),
                ("fault", &[(3000, 4000), (6000, 7000)]),
                ("recovery.a", &[(4000, 6000)]),
                ("recovery.b", &[(7000, 10_000)]),
                ("recovery", &[(7000, 10_000)]),
                ("impact", &[(3000, 10_000)]),
                ("overall", &[(1000, 10_000)]),
            ],
        );
        let groups: Vec<_> = timeline.groups.iter().map(|group| (group.name.as_str(), group.until)).collect();
        assert_eq!(groups, [("a", at(6000)), ("b", at(10_000))]);
    }

    #[test]
    fn overlapping_faults_are_one_group() {
        // c starts exactly where b ends: that is no overlap.
        let events = Events::phases(1000, 2000, 12_000)
            .fault("a", 3000, 5000)
            .fault("b", 4000, 7000)
            .fault("c", 7000, 8000)
            .ended(12_000);
        let timeline = Timeline::new(&events.list, false);
        let groups: Vec<_> = timeline.groups.iter().map(|group| (group.name.as_str(), group.removed())).collect();
        assert_eq!(groups, [("a+b", at(7000)), ("c", at(8000))]);
        assert_eq!(timeline.faults["a"].group, "a+b");
        assert_eq!(timeline.phases["fault.a+b"].hull(), Interval::new(at(3000), at(7000)));
        assert_eq!(timeline.phases["recovery.a"].hull(), Interval::new(at(5000), at(7000)));
        assert!(timeline.phases.get("recovery.a+b").is_none(), "c strikes at its removal");
    }

    #[test]
    fn a_fault_that_is_never_healed_lasts_to_the_end_of_load() {
        let events = Events::phases(1000, 2000, 9000).injected("kill", 3000).ended(9500);
        let timeline = Timeline::new(&events.list, false);
        assert_eq!(timeline.phases["fault.kill"].hull(), Interval::new(at(3000), at(9000)));
        assert!(timeline.phase("recovery").is_none() && timeline.phase("recovery.kill").is_none());
        assert_eq!((timeline.groups[0].healed, timeline.groups[0].removed()), (None, at(9000)));
        // The same where it was healed only when everything ended.
        let events = Events::phases(1000, 2000, 9000).fault("kill", 3000, 9100).ended(9500);
        assert_eq!(Timeline::new(&events.list, false).groups[0].healed, None);
    }

    #[test]
    fn a_control_run_has_an_impact_without_a_fault() {
        let events = Events::phases(1000, 2000, 9000).ended(9000);
        let impact = |control| Timeline::new(&events.list, control).phase("impact").map(Phase::hull);
        assert_eq!(impact(true), Some(Interval::new(at(3000), at(9000))));
        assert_eq!(impact(false), None);
    }

    #[test]
    fn a_run_that_was_cut_off_ends_at_its_last_event() {
        let mut events = Events::phases(1000, 2000, 9000).fault("cut", 3000, 6000).ended(9000);
        events.list.retain(|event| event.at < at(6000) && event.what != What::LoadEnded);
        let timeline = Timeline::new(&events.list, false);
        assert_eq!(timeline.load_end, at(3000));
        assert_eq!(timeline.faults["cut"].healed, None);
        assert!(timeline.phase("impact").is_none(), "nothing was watched");
        assert!(Timeline::new(&[], false).phases.is_empty());
    }
}
