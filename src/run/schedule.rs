//! What the conductor does next: pure, told the time and what has really happened.

use std::time::Duration;

use indexmap::IndexMap;

use crate::clock::Moment;
use crate::plan::RunPlan;
use crate::plan::fault::{Edge, Fault, FaultKind, Start};

/// A lease that must be in the keeper's journal before its fault strikes is asked for so long ahead.
///
/// The keeper answers within a millisecond where the disk takes what it writes; a machine whose disk is busy may hold a
/// write up for as long as this. A longer lead would only widen the time in which a harness that dies leaves something
/// to be undone that was never done.
pub(super) const LEASE_AHEAD: Duration = Duration::from_secs(1);

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing before this moment.
    Wait(Moment),
    /// Nothing before what was begun has ended.
    Listen,
    /// This, now.
    Do(Act),
    /// Every fault has struck, and every one that heals by itself is healed.
    Done,
}

/// Something to do to a fault. The moment is the one that the schedule wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask for the lease of the fault of this name, which is due at that moment.
    Lease(String, Moment),
    /// Inject it.
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

/// A fault's life. What takes its time lies between *began* and *done*; other faults do not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Its lease is asked for.
    Leasing,
    Leased,
    Striking,
    InForce {
        since: Moment,
    },
    Healing {
        since: Moment,
    },
    Healed {
        since: Moment,
        at: Moment,
    },
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
            _ => None,
        });
        let injections = self.faults.iter().filter_map(|(name, (fault, state))| {
            let due = self.due(fault)?;
            match state {
                State::Waiting if outlives_us(fault) => Some((due - LEASE_AHEAD, Act::Lease(name.clone(), due))),
                State::Waiting | State::Leased => Some((due, Act::Inject(name.clone(), due))),
                _ => None,
            }
        });
        let under_way = |state: &State| matches!(state, State::Leasing | State::Striking | State::Healing { .. });
        match heals.chain(injections).min_by_key(|(due, _)| *due) {
            Some((due, act)) if due <= now => Next::Do(act),
            Some((due, _)) => Next::Wait(due),
            None if self.faults.values().any(|(_, state)| under_way(state)) => Next::Listen,
            None => Next::Done,
        }
    }

    /// The fault's lease has been asked for.
    pub(super) fn leasing(&mut self, fault: &str) {
        self.set(fault, State::Leasing);
    }

    /// The fault has its lease.
    pub(super) fn leased(&mut self, fault: &str) {
        self.set(fault, State::Leased);
    }

    /// Injecting the fault has begun.
    pub(super) fn striking(&mut self, fault: &str) {
        self.set(fault, State::Striking);
    }

    /// The fault really struck at this moment.
    pub(super) fn injected(&mut self, fault: &str, at: Moment) {
        self.set(fault, State::InForce { since: at });
    }

    /// Healing the fault has begun.
    pub(super) fn healing(&mut self, fault: &str) {
        if let Some((_, state)) = self.faults.get_mut(fault)
            && let State::InForce { since } = *state
        {
            *state = State::Healing { since };
        }
    }

    /// The fault was really healed at this moment.
    pub(super) fn healed(&mut self, fault: &str, at: Moment) {
        if let Some((_, state)) = self.faults.get_mut(fault) {
            let (State::InForce { since } | State::Healing { since }) = *state else { return };
            *state = State::Healed { since, at };
        }
    }

    /// The fault could not be injected, and will not be.
    pub(super) fn given_up(&mut self, fault: &str, at: Moment) {
        self.set(fault, State::Healed { since: at, at });
    }

    /// The faults that have a lease, or are about to, and have not struck.
    pub(super) fn leased_in_vain(&self) -> Vec<String> {
        let leased = self.faults.iter().filter(|(_, (_, state))| matches!(state, State::Leasing | State::Leased));
        leased.map(|(name, _)| name.clone()).collect()
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
                match (edge, *state) {
                    (
                        Edge::Injected,
                        State::InForce { since } | State::Healing { since } | State::Healed { since, .. },
                    ) => Some(since + plus.0),
                    (Edge::Healed, State::Healed { at, .. }) => Some(at + plus.0),
                    _ => None,
                }
            }
        }
    }

    /// When a fault in force heals by itself at the latest; none if it lasts to the end of the run.
    ///
    /// The conductor is told when a restarted node is ready again, when the lab serves after a failover, and when an action
    /// without a way back is done.
    fn heal_due(&self, fault: &Fault, since: Moment) -> Option<Moment> {
        match (fault.hold, &fault.kind) {
            (Some(hold), _) => Some(since + hold.0),
            (None, FaultKind::Drop { .. }) => Some(since),
            (None, FaultKind::Restart(_)) => Some(since + self.restart_within),
            (None, FaultKind::Order(order)) => Some(since + order.within()),
            (None, _) => None,
        }
    }
}

/// Whether a fault stays when the harness ends, so that its way back must be known to the keeper before it strikes.
pub(super) fn outlives_us(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Action { undo: Some(_), .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Action;
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

    fn with_undo() -> FaultKind {
        let exec = || Action::Exec(vec!["true".into()]);
        FaultKind::Action { action: exec(), undo: Some(exec()) }
    }

    #[test]
    fn a_lease_is_asked_for_ahead_and_only_its_own_fault_waits_for_it() {
        let mut schedule = schedule([
            ("failover", fault(at(1_000), Some(2_000), with_undo())),
            ("cut", fault(at(1_500), Some(1_000), refuse())),
        ]);
        assert_eq!(schedule.next(ms(9_999)), Next::Wait(ms(10_000)));
        assert_eq!(schedule.next(ms(10_000)), Next::Do(Act::Lease("failover".into(), ms(11_000))));
        schedule.leasing("failover");
        assert_eq!(schedule.leased_in_vain(), ["failover"]);
        // No answer by the time at which it is due.
        assert_eq!(schedule.next(ms(11_400)), Next::Wait(ms(11_500)));
        assert_eq!(schedule.next(ms(11_500)), Next::Do(Act::Inject("cut".into(), ms(11_500))));
        schedule.injected("cut", ms(11_500));
        schedule.leased("failover");
        assert_eq!(schedule.next(ms(11_700)), Next::Do(Act::Inject("failover".into(), ms(11_000))));
        schedule.injected("failover", ms(11_700));
        assert_eq!(schedule.leased_in_vain(), [""; 0]);
        assert_eq!(schedule.next(ms(12_500)), Next::Do(Act::Heal("cut".into(), ms(12_500))));
    }

    #[test]
    fn what_takes_its_time_holds_up_no_other_fault_and_no_end() {
        let nodes = || NodeFault { nodes: Selector::All, pick: Pick::All };
        let mut schedule = schedule([
            ("stop", fault(at(0), Some(1_000), FaultKind::Stop(nodes()))),
            ("cut", fault(at(100), Some(100), refuse())),
            ("after", fault(after("stop", Edge::Healed, 0), Some(100), refuse())),
        ]);
        schedule.striking("stop");
        assert_eq!(schedule.next(ms(10_100)), Next::Do(Act::Inject("cut".into(), ms(10_100))));
        schedule.injected("cut", ms(10_100));
        schedule.healed("cut", ms(10_200));
        assert_eq!(schedule.next(ms(10_200)), Next::Listen, "it is still being stopped");
        // It had ended at 10,300 ms, and its way back begins a second after it was asked.
        schedule.injected("stop", ms(10_000));
        assert_eq!(schedule.next(ms(10_300)), Next::Wait(ms(11_000)));
        schedule.healing("stop");
        assert_eq!(schedule.next(ms(11_000)), Next::Listen);
        schedule.healed("stop", ms(11_050));
        assert_eq!(schedule.next(ms(11_050)), Next::Do(Act::Inject("after".into(), ms(11_050))));
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
