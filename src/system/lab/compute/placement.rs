//! Which compute node runs the engine. Pure, told the time.
//!
//! Whoever leads the control ring decides, and keeps nothing on disk. The epoch that it gives an engine is higher than
//! any that a node tells of, and begins with its term of the ring, so that no two leaders give the same. Storage serves
//! only the highest epoch that it has heard of: two leaders may each place an engine, and one of the two is refused, so
//! that no write of it is ever acknowledged.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::system::lab::detector::Detector;
use crate::system::lab::replica_set::{Id, Members};

/// The node that is to run the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its number among the compute nodes.
    pub node: usize,
    /// Raised with every move.
    pub epoch: u64,
}

/// What a compute node tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The newest assignment that it knows of.
    pub known: Option<Assignment>,
    /// Whether it has room for the engine beside what else it runs.
    pub room: bool,
    /// Whether it serves under the newest assignment that it knows of.
    pub serving: bool,
    /// Whether storage has refused it under that: it knows of a newer engine.
    pub refused: bool,
}

/// The place of a leader's term of the ring in the epochs that it gives.
const TERM_SHIFT: u32 = 20;

/// Something that the world is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The node with the engine is suspect.
    Detected(usize),
    /// The engine is to move here.
    Decided(usize),
    /// The engine has no node to move to: none that is well has room.
    Waits,
    /// It serves here from now on.
    Redirected(usize),
}

/// What the placement of one engine is decided from.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The leader's term of the ring.
    term: u64,
    watched: Vec<Watched>,
    assigned: Option<Assignment>,
    /// Until then it listens, so that it does not move what runs well.
    listens_until: Moment,
    route: Option<usize>,
    waits: bool,
    leaves: bool,
    /// The nodes on which the engine may run.
    stands: Members,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    detector: Detector,
    report: Option<Report>,
}

impl Placement {
    /// A leader that begins in this term of the ring: it gives each of `nodes` its full time to be heard.
    pub fn new(term: u64, nodes: usize, detect_after: Duration, now: Moment) -> Placement {
        let watched = Watched { detector: Detector::new(detect_after, now), report: None };
        Placement {
            term,
            watched: vec![watched; nodes],
            assigned: None,
            listens_until: now + detect_after,
            route: None,
            waits: false,
            leaves: false,
            stands: Members::ALL,
        }
    }

    /// Who is to run the engine, told to every node.
    pub fn assigned(&self) -> Option<Assignment> {
        self.assigned
    }

    /// Who serves, as far as is known.
    pub fn route(&self) -> Option<Assignment> {
        self.assigned.filter(|assigned| self.route == Some(assigned.node))
    }

    /// Whether routers are to be told the [`route`](Self::route): a leader that has not heard yet who serves has no say.
    pub fn directs(&self) -> bool {
        self.route().is_some() || self.assigned.is_some_and(|assigned| assigned.epoch >> TERM_SHIFT == self.term)
    }

    /// Whether a node is well.
    pub fn well(&self, node: usize) -> bool {
        !self.suspect(node) && self.watched[node].report.is_some()
    }

    /// Whether the engine waits for a node with room.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// The engine is to move in good order, as its node is to be maintained. None if it has nowhere to go.
    pub fn leave(&mut self, now: Moment) -> Option<Vec<Happening>> {
        self.free()?;
        self.leaves = true;
        Some(self.consider(now))
    }

    /// The engine is to run on one of these nodes, and to move if it does not.
    pub fn stand(&mut self, on: Members, now: Moment) -> Vec<Happening> {
        if self.stands == on {
            return Vec::new();
        }
        self.stands = on;
        self.consider(now)
    }

    /// Whether it serves where it is to.
    pub fn stands(&self) -> bool {
        self.route().is_some_and(|route| self.stands.contains(Id(route.node as u8)))
    }

    /// The engine is to start anew, where it is.
    pub fn restart(&mut self) -> Vec<Happening> {
        let Some(Assignment { node, .. }) = self.assigned.filter(|_| !self.replaced()) else { return Vec::new() };
        self.assign(node);
        vec![Happening::Decided(node)]
    }

    /// A node answered.
    pub fn heard(&mut self, from: usize, report: Report, now: Moment) -> Vec<Happening> {
        self.watched[from].detector.heard(now);
        self.watched[from].report = Some(report);
        if report.known.map(|known| known.epoch) > self.assigned.map(|assigned| assigned.epoch) {
            // Another leader decided it before us.
            (self.assigned, self.route) = (report.known, None);
        }
        let mut happenings = self.consider(now);
        let serves = report.serving && report.known == self.assigned && self.assigned.is_some_and(|it| it.node == from);
        if serves && self.route != Some(from) {
            self.route = Some(from);
            happenings.push(Happening::Redirected(from));
        } else if !serves && self.route == Some(from) {
            self.route = None;
        }
        happenings
    }

    /// Time passed. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) -> Vec<Happening> {
        let mut happenings = Vec::new();
        for (node, watched) in self.watched.iter_mut().enumerate() {
            if watched.detector.tick(now) && self.assigned.is_some_and(|assigned| assigned.node == node) {
                self.route = None;
                happenings.push(Happening::Detected(node));
            }
        }
        happenings.extend(self.consider(now));
        happenings
    }

    /// When something may have to be decided although nothing is heard.
    pub fn deadline(&self) -> Option<Moment> {
        let well = self.watched.iter().filter(|watched| !watched.detector.suspect());
        let first = self.assigned.is_none().then_some(self.listens_until);
        well.map(|watched| watched.detector.deadline()).chain(first).min()
    }

    /// Moves the engine if it has to move and there is somewhere to go.
    fn consider(&mut self, now: Moment) -> Vec<Happening> {
        let stays = match self.assigned {
            None => self.listens(now),
            Some(assigned) => {
                !self.suspect(assigned.node) && !self.leaves && self.stands.contains(Id(assigned.node as u8))
            }
        };
        if stays || self.replaced() {
            self.waits = false;
            return if self.outlived(now) { self.restart() } else { Vec::new() };
        }
        let Some(node) = self.free() else {
            return if std::mem::replace(&mut self.waits, true) { Vec::new() } else { vec![Happening::Waits] };
        };
        self.assign(node);
        // It has its full time to begin.
        self.watched[node].detector.heard(now);
        vec![Happening::Decided(node)]
    }

    /// Whether it may still hear of an engine that runs well.
    fn listens(&self, now: Moment) -> bool {
        now < self.listens_until && !self.watched.iter().all(|watched| watched.report.is_some())
    }

    /// Whether storage refuses the newest engine that anybody tells of, as a leader before us gave a newer one: whoever knew
    /// of it is lost, and by its old epoch this one never serves again.
    fn outlived(&self, now: Moment) -> bool {
        let refused = |assigned: Assignment| {
            let report = self.watched[assigned.node].report;
            report.is_some_and(|report| report.refused && report.known == self.assigned)
        };
        let before_us = |assigned: &Assignment| assigned.epoch >> TERM_SHIFT < self.term;
        !self.listens(now) && self.assigned.filter(before_us).is_some_and(refused)
    }

    fn assign(&mut self, node: usize) {
        let known = self.assigned.map_or(0, |assigned| assigned.epoch);
        let epoch = known.max(self.term << TERM_SHIFT) + 1;
        self.assigned = Some(Assignment { node, epoch });
        (self.route, self.waits, self.leaves) = (None, false, false);
    }

    /// A node that is well and has room, other than the engine's.
    fn free(&self) -> Option<usize> {
        let from = self.assigned.map(|assigned| assigned.node);
        let fit = |node: &usize| {
            let watched = &self.watched[*node];
            let fits = Some(*node) != from && self.stands.contains(Id(*node as u8)) && !self.suspect(*node);
            fits && watched.report.is_some_and(|report| report.room)
        };
        (0..self.watched.len()).find(fit)
    }

    /// Whether a leader after us has decided something: then we decide nothing any more.
    fn replaced(&self) -> bool {
        self.assigned.is_some_and(|assigned| assigned.epoch >> TERM_SHIFT > self.term)
    }

    fn suspect(&self, node: usize) -> bool {
        self.watched[node].detector.suspect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine::{Engine, EngineSettings};
    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    const fn idle(known: Option<Assignment>) -> Report {
        Report { known, room: true, serving: false, refused: false }
    }

    const fn serving(known: Option<Assignment>) -> Report {
        Report { known, room: false, serving: true, refused: false }
    }

    /// The `number`-th epoch of the ring's first term.
    const fn on(node: usize, number: u64) -> Option<Assignment> {
        Some(Assignment { node, epoch: (1 << TERM_SHIFT) + number })
    }

    /// Two nodes, the engine on the first.
    fn running() -> Placement {
        let mut placement = Placement::new(1, 2, LIMIT, at(0));
        assert_eq!(placement.heard(0, idle(None), at(1)), []);
        assert_eq!(placement.heard(1, idle(None), at(2)), [Happening::Decided(0)], "once all were heard");
        assert_eq!(placement.route(), None);
        let serves = serving(on(0, 1));
        assert_eq!(placement.heard(0, serves, at(3)), [Happening::Redirected(0)]);
        assert_eq!(placement.heard(0, serves, at(4)), [], "told once");
        assert_eq!(placement.route(), on(0, 1));
        placement
    }

    #[test]
    fn an_engine_moves_to_a_node_with_room_when_its_own_is_lost() {
        let mut placement = running();
        placement.heard(1, idle(on(0, 1)), at(300));
        assert_eq!(placement.deadline(), Some(at(304)));
        assert_eq!(placement.tick(at(304)), [Happening::Detected(0), Happening::Decided(1)]);
        assert_eq!((placement.assigned(), placement.route()), (on(1, 2), None));
        let serves = serving(on(1, 2));
        assert_eq!(placement.heard(1, serves, at(350)), [Happening::Redirected(1)]);
    }

    #[test]
    fn with_no_room_anywhere_it_waits_and_says_so_once() {
        let mut placement = running();
        let full = Report { room: false, ..idle(on(0, 1)) };
        placement.heard(1, full, at(300));
        assert_eq!(placement.tick(at(304)), [Happening::Detected(0), Happening::Waits]);
        assert_eq!(placement.heard(1, full, at(310)), []);
        assert!(placement.waits());
        assert_eq!(placement.heard(1, idle(on(0, 1)), at(320)), [Happening::Decided(1)], "somebody made room");
        assert!(!placement.waits());
    }

    #[test]
    fn its_own_node_takes_it_back_while_it_waits() {
        let mut placement = running();
        placement.heard(1, Report { room: false, ..idle(on(0, 1)) }, at(300));
        placement.tick(at(304));
        let serves = serving(on(0, 1));
        placement.heard(0, serves, at(320));
        assert!(!placement.waits());
        assert_eq!(placement.route(), on(0, 1));
    }

    #[test]
    fn a_new_leader_leaves_an_engine_where_it_is() {
        let mut placement = Placement::new(2, 2, LIMIT, at(0));
        assert!(!placement.directs());
        let serves = serving(on(1, 7));
        assert_eq!(placement.heard(1, serves, at(5)), [Happening::Redirected(1)]);
        assert_eq!(placement.heard(0, idle(on(1, 7)), at(6)), []);
        assert_eq!(placement.tick(at(299)), []);
        assert_eq!(placement.assigned(), on(1, 7));
        assert!(placement.directs());
        // What it decides is newer than all that the leader before it can have decided.
        placement.heard(0, idle(on(1, 7)), at(290));
        placement.tick(at(305));
        assert_eq!(placement.assigned(), Some(Assignment { node: 0, epoch: (2 << TERM_SHIFT) + 1 }));
    }

    #[test]
    fn who_hears_of_a_later_leader_decides_nothing_any_more() {
        let mut placement = running();
        let later = Some(Assignment { node: 1, epoch: (3 << TERM_SHIFT) + 1 });
        placement.heard(1, idle(later), at(10));
        assert_eq!(placement.tick(at(400)), [Happening::Detected(1)]);
        assert_eq!((placement.assigned(), placement.restart()), (later, vec![]));
    }

    #[test]
    fn an_engine_that_starts_anew_stays_where_it_is_and_is_told_by_its_epoch() {
        let mut placement = running();
        assert_eq!(placement.restart(), [Happening::Decided(0)]);
        assert_eq!((placement.assigned(), placement.route(), placement.directs()), (on(0, 2), None, true));
    }

    #[test]
    fn an_assignment_of_the_past_takes_nothing_back() {
        let mut placement = running();
        placement.heard(1, idle(on(0, 1)), at(300));
        placement.tick(at(304));
        // The former node has not heard of the move yet.
        let old = serving(on(0, 1));
        assert_eq!(placement.heard(0, old, at(330)), []);
        assert_eq!((placement.assigned(), placement.route()), (on(1, 2), None));
    }

    #[test]
    fn maintenance_moves_it_in_good_order() {
        let mut placement = running();
        assert_eq!(placement.leave(at(10)), Some(vec![Happening::Decided(1)]));
        assert_eq!(placement.assigned(), on(1, 2));
        assert_eq!(placement.leave(at(11)), None, "the other one has not said yet that it has room again");
        placement.heard(0, idle(on(1, 2)), at(12));
        assert_eq!(placement.leave(at(13)), Some(vec![Happening::Decided(0)]));
    }

    #[test]
    fn an_engine_that_is_to_stand_elsewhere_moves_once_and_serves_until_then() {
        let mut placement = running();
        let second = Members::default().with(Id(1));
        let full = Report { room: false, ..idle(on(0, 1)) };
        placement.heard(1, full, at(5));
        assert_eq!(placement.stand(second, at(10)), [Happening::Waits], "there is no room yet");
        assert_eq!((placement.route(), placement.stands()), (on(0, 1), false));
        assert_eq!(placement.heard(1, idle(on(0, 1)), at(20)), [Happening::Decided(1)]);
        let serves = serving(on(1, 2));
        assert_eq!(placement.heard(1, serves, at(30)), [Happening::Redirected(1)]);
        assert!(placement.stands());
        assert_eq!(placement.leave(at(31)), None, "the other node is not one of those any more");
    }

    /// The first node was cut off while the engine moved on; now who placed it anew and where it ran are lost together.
    #[test]
    fn an_engine_that_storage_refuses_is_placed_anew_once_nobody_knows_of_a_newer_one() {
        let settings = EngineSettings { start: Duration::ZERO, promotion: Duration::from_millis(60), pretends: false };
        let mut engine = Engine::boot(0, settings, true, 0);
        engine.assigned(on(0, 1), at(0));
        engine.tick(at(60));
        engine.attached((1 << TERM_SHIFT) + 1);
        engine.refused((1 << TERM_SHIFT) + 1);
        let told = |placement: &Placement, engine: &mut Engine, now| engine.assigned(placement.assigned(), now);

        let mut next = Placement::new(2, 2, LIMIT, at(1_000));
        let report = told(&next, &mut engine, at(1_010));
        assert_eq!(next.heard(0, report, at(1_010)), [], "the newer one may be heard of yet");
        let mut knows = next.clone();
        assert_eq!(knows.heard(1, serving(on(1, 2)), at(1_020)), [Happening::Redirected(1)]);
        assert_eq!(knows.heard(0, report, at(1_300)), [], "it is left where it runs");

        assert_eq!(next.heard(0, report, at(1_300)), [Happening::Decided(0)]);
        let anew = Assignment { node: 0, epoch: (2 << TERM_SHIFT) + 1 };
        assert_eq!(next.assigned(), Some(anew));
        let report = told(&next, &mut engine, at(1_310));
        assert_eq!(next.heard(0, report, at(1_310)), [], "it is told once");
        assert_eq!(engine.attaches(), Some(anew.epoch));
        engine.attached(anew.epoch);
        let report = told(&next, &mut engine, at(1_320));
        assert_eq!(next.heard(0, report, at(1_320)), [Happening::Redirected(0)]);
        engine.refused(anew.epoch);
        let report = told(&next, &mut engine, at(1_330));
        assert_eq!(next.heard(0, report, at(1_330)), [], "whoever was given a newer one has a leader after us");
    }

    #[test]
    fn whoever_is_never_heard_does_not_hold_up_the_first_placement() {
        let mut placement = Placement::new(1, 2, LIMIT, at(0));
        placement.heard(1, idle(None), at(250));
        assert_eq!(placement.tick(at(299)), []);
        assert_eq!(placement.tick(at(300)), [Happening::Decided(1)]);
    }
}
