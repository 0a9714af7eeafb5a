//! What the conductor does next: pure, told the time and what has really happened.

use std::time::Duration;

use indexmap::IndexMap;

use crate::clock::Moment;
use crate::plan::RunPlan;
use crate::plan::fault::{Edge, Fault, FaultKind, Start};

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing before this moment.
    Wait(Moment),
    /// This, now.
    Do(Act),
    /// Every fault has struck, and every one that heals by itself is healed.
    Done,
}

/// Something to do to a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Inject the fault of this name; the plan wanted it at this moment.
    Inject(String, Moment),
    /// Heal it.
    Heal(String, Moment),
}

/// The schedule of one run's faults.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    origin: Moment,
    /// A restart is over once its nodes are ready again, at the latest after this.
    restart_within: Duration,
    faults: IndexMap<String, (Fault, State)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InForce { since: Moment },
    Healed { since: Moment, at: Moment },
}

impl Schedule {
    /// The faults of a run whose baseline ends at `origin`.
    pub(super) fn new(plan: &RunPlan, origin: Moment) -> Schedule {
        let faults = plan.faults.iter().map(|(name, fault)| (name.clone(), (fault.clone(), State::Waiting))).collect();
        Schedule { origin, restart_within: plan.system.restart_within(), faults }
    }

    /// What to do at `now`. Healing comes before injecting where both are due, the order of the file after that.
    pub(super) fn next(&self, now: Moment) -> Next {
        let heals = self.faults.iter().filter_map(|(name, (fault, state))| match state {
            State::InForce { since } => self.heal_due(fault, *since).map(|due| (due, Act::Heal(name.clone(), due))),
            State::Waiting | State::Healed { .. } => None,
        });
        let injections = self.faults.iter().filter_map(|(name, (fault, state))| match state {
            State::Waiting => self.due(fault).map(|due| (due, Act::Inject(name.clone(), due))),
            State::InForce { .. } | State::Healed { .. } => None,
        });
        match heals.chain(injections).min_by_key(|(due, _)| *due) {
            Some((due, act)) if due <= now => Next::Do(act),
            Some((due, _)) => Next::Wait(due),
            None => Next::Done,
        }
    }

    /// The fault really struck at this moment.
    pub(super) fn injected(&mut self, fault: &str, at: Moment) {
        self.set(fault, State::InForce { since: at });
    }

    /// The fault was really healed at this moment.
    pub(super) fn healed(&mut self, fault: &str, at: Moment) {
        if let Some((_, state)) = self.faults.get_mut(fault) {
            let since = if let State::InForce { since } = *state { since } else { at };
            *state = State::Healed { since, at };
        }
    }

    /// The faults in force with when each heals by itself, if that is known, in the order of the file.
    pub(super) fn in_force(&self) -> Vec<(&str, Option<Moment>)> {
        let mut in_force = Vec::new();
        for (name, (fault, state)) in &self.faults {
            if let State::InForce { since } = state {
                let known = fault.hold.and_then(|_| self.heal_due(fault, *since));
                in_force.push((name.as_str(), known));
            }
        }
        in_force
    }

    fn set(&mut self, fault: &str, to: State) {
        if let Some((_, state)) = self.faults.get_mut(fault) {
            *state = to;
        }
    }

    /// When a waiting fault strikes; none while what it waits for has not happened.
    fn due(&self, fault: &Fault) -> Option<Moment> {
        match &fault.start {
            Start::At(offset) => Some(self.origin + offset.0),
            Start::After { fault: other, edge, plus } => {
                let (_, state) = self.faults.get(other)?;
                match (edge, state) {
                    (Edge::Injected, State::InForce { since } | State::Healed { since, .. }) => Some(*since + plus.0),
                    (Edge::Healed, State::Healed { at, .. }) => Some(*at + plus.0),
                    (Edge::Injected, State::Waiting) | (Edge::Healed, State::Waiting | State::InForce { .. }) => None,
                }
            }
        }
    }

    /// When a fault in force heals by itself at the latest; none if it lasts to the end of the run.
    ///
    /// The conductor is told when a restarted node is ready again, and when an action without a way back is done.
    fn heal_due(&self, fault: &Fault, since: Moment) -> Option<Moment> {
        match (fault.hold, &fault.kind) {
            (Some(hold), _) => Some(since + hold.0),
            (None, FaultKind::Drop { .. }) => Some(since),
            (None, FaultKind::Restart(_)) => Some(since + self.restart_within),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fault::{Links, NodeFault, Pick, Selector};
    use crate::units::Span;

    const ORIGIN: Moment = Moment::from_millis(10_000);

    fn fault(start: Start, hold: Option<u64>, kind: FaultKind) -> Fault {
        let span = |ms| Span(Duration::from_millis(ms));
        let hold = hold.map(span);
        Fault { start, planned_at: span(0), hold, lease: span(60_000), follow: false, kind }
    }

    fn refuse() -> FaultKind {
        FaultKind::Refuse { links: Links::Named(vec!["a-b".into()]) }
    }

    fn at(ms: u64) -> Start {
        Start::At(Span(Duration::from_millis(ms)))
    }

    fn after(other: &str, edge: Edge, ms: u64) -> Start {
        Start::After { fault: other.into(), edge, plus: Span(Duration::from_millis(ms)) }
    }

    fn schedule<const N: usize>(faults: [(&str, Fault); N]) -> Schedule {
        let faults = faults.map(|(name, fault)| (name.to_owned(), (fault, State::Waiting))).into_iter().collect();
        Schedule { origin: ORIGIN, restart_within: Duration::from_secs(15), faults }
    }

    fn ms(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn a_fault_strikes_and_heals_from_its_actual_injection() {
        let mut schedule = schedule([("cut", fault(at(500), Some(1_000), refuse()))]);
        assert_eq!(schedule.next(ms(0)), Next::Wait(ms(10_500)));
        assert_eq!(schedule.next(ms(10_500)), Next::Do(Act::Inject("cut".into(), ms(10_500))));
        schedule.injected("cut", ms(10_507));
        assert_eq!(schedule.next(ms(10_507)), Next::Wait(ms(11_507)));
        assert_eq!(schedule.in_force(), [("cut", Some(ms(11_507)))]);
        assert_eq!(schedule.next(ms(11_507)), Next::Do(Act::Heal("cut".into(), ms(11_507))));
        schedule.healed("cut", ms(11_509));
        assert_eq!(schedule.next(ms(11_509)), Next::Done);
    }

    #[test]
    fn a_fault_after_another_waits_for_what_really_happened() {
        let mut schedule = schedule([
            ("late", fault(after("cut", Edge::Healed, 1_000), Some(500), refuse())),
            ("cut", fault(at(0), Some(1_000), refuse())),
        ]);
        assert_eq!(schedule.next(ms(10_000)), Next::Do(Act::Inject("cut".into(), ms(10_000))));
        schedule.injected("cut", ms(10_000));
        assert_eq!(schedule.next(ms(10_500)), Next::Wait(ms(11_000)));
        schedule.healed("cut", ms(11_250));
        assert_eq!(schedule.next(ms(11_250)), Next::Wait(ms(12_250)));
    }

    #[test]
    fn healing_comes_before_injecting_at_the_same_moment() {
        let mut schedule =
            schedule([("b", fault(at(1_000), Some(1_000), refuse())), ("a", fault(at(0), Some(1_000), refuse()))]);
        schedule.injected("a", ms(10_000));
        assert_eq!(schedule.next(ms(11_000)), Next::Do(Act::Heal("a".into(), ms(11_000))));
    }

    #[test]
    fn a_restart_lasts_until_it_is_healed_but_not_for_ever_and_a_kill_lasts() {
        let nodes = || NodeFault { nodes: Selector::All, pick: Pick::All };
        let mut schedule = schedule([
            ("restart", fault(at(0), None, FaultKind::Restart(nodes()))),
            ("kill", fault(at(0), None, FaultKind::Kill(nodes()))),
            ("later", fault(after("restart", Edge::Healed, 500), Some(100), refuse())),
        ]);
        schedule.injected("restart", ms(10_000));
        schedule.injected("kill", ms(10_001));
        assert_eq!(schedule.next(ms(10_001)), Next::Wait(ms(25_000)), "at the latest");
        assert_eq!(schedule.next(ms(25_000)), Next::Do(Act::Heal("restart".into(), ms(25_000))));
        // Its nodes are ready again.
        schedule.healed("restart", ms(11_200));
        assert_eq!(schedule.next(ms(11_200)), Next::Wait(ms(11_700)));
        schedule.injected("later", ms(11_700));
        schedule.healed("later", ms(11_800));
        assert_eq!(schedule.next(ms(99_000)), Next::Done);
        assert_eq!(schedule.in_force(), [("kill", None)]);
    }
}
