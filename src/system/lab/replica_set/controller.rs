//! What the ring's leader decides: who is suspect, who is primary, who holds copies. Pure, told the time.

use super::members::{Id, Members};
use super::protocol::{Beat, Departure, Heartbeat, Prepare, Record, Resign};
use super::settings::Settings;
use crate::clock::Moment;
use crate::system::lab::detector::Detector;
use crate::system::lab::store::Position;

/// The decisions of a leader whose record a majority of the ring has.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: Settings,
    record: Record,
    /// Every node that can hold a copy, by its number.
    watched: Vec<Watched>,
    election: Option<Election>,
    /// A departure that was granted, of the primary of this term.
    errand: Option<Resign>,
    /// A departure that is granted as soon as that is recorded.
    asked: Option<Departure>,
    /// What the ring is to record next; nothing else is decided meanwhile.
    proposed: Option<Record>,
    route: Option<Id>,
    told: Told,
}

/// What the world was told since somebody served last. A set that lacks a majority looks for a primary again and again,
/// and finds the same ones: that is no news.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    detected: Members,
    decided: Members,
}

impl Told {
    /// Whether it is news; it is none from now on.
    fn notes(&mut self, happening: Happening) -> bool {
        let (told, id) = match happening {
            Happening::Detected(id) => (&mut self.detected, id),
            Happening::Decided(id) => (&mut self.decided, id),
            _ => return true,
        };
        let news = !told.contains(id);
        *told = told.with(id);
        news
    }
}

/// What is known of one node.
#[derive(Clone, Copy, Debug)]
struct Watched {
    detector: Detector,
    beat: Option<Beat>,
}

/// A search for a primary.
#[derive(Clone, Copy, Debug)]
struct Election {
    term: u64,
    since: Moment,
}

/// Something that the world is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The primary is suspect.
    Detected(Id),
    /// This node is to be primary.
    Decided(Id),
    /// It serves: requests go to it from now on.
    Redirected(Id),
    /// These are to hold the copies; new ones among them catch up first.
    Rebuild(Members),
    /// These hold the copies from now on.
    Rebuilt(Members),
    /// A failover that a user ordered is recorded.
    Granted,
}

/// A failover that was ordered is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One is going on.
    #[error("a failover is going on")]
    GoingOn,
    /// One was granted not long ago.
    #[error("a failover was ordered less than {limit:?} ago; the next is granted in {left:?}")]
    TooSoon {
        /// So long must be between two.
        limit: std::time::Duration,
        /// So long is left.
        left: std::time::Duration,
    },
}

impl Controller {
    /// A leader that begins with this record, and gives each of the first `nodes` its full time.
    pub fn new(settings: Settings, nodes: usize, record: Record, now: Moment) -> Controller {
        let watched = Watched { detector: Detector::new(settings.detect_after(), now), beat: None };
        Controller {
            settings,
            record,
            watched: vec![watched; nodes],
            election: None,
            errand: None,
            asked: None,
            proposed: None,
            route: None,
            told: Told::default(),
        }
    }

    /// The record that is in force.
    pub fn record(&self) -> Record {
        self.record
    }

    /// What the ring is to record next.
    pub fn proposed(&self) -> Option<Record> {
        self.proposed
    }

    /// Who serves, as far as is known.
    pub fn route(&self) -> Option<Id> {
        self.route
    }

    /// Who takes reads beside the primary: members of whom nobody suspects that they are lost.
    pub fn readers(&self) -> Members {
        self.record.members.without(self.record.primary).iter().filter(|id| !self.suspect(*id)).collect()
    }

    /// Whether every node that is not suspect has told that it knows its place, and no failover is going on.
    pub fn idle(&self) -> bool {
        let knows = |watched: &Watched| watched.detector.suspect() || watched.beat.is_some_and(|beat| beat.version > 0);
        let going_on = self.election.is_some() || self.errand.is_some() || self.asked.is_some();
        !going_on && self.watched.iter().all(knows)
    }

    /// Whether there are as many copies as there should be, nobody among them is missing, and nothing changes.
    pub fn whole(&self) -> bool {
        let Record { members, target, .. } = self.record;
        let settled = self.idle() && self.route.is_some() && self.proposed.is_none() && target.is_none();
        settled && members.len() == self.settings.copies && !members.iter().any(|id| self.suspect(id))
    }

    /// Where each node's copy ends, as it told last: none for a node that is suspect or was never heard.
    pub fn end(&self, id: Id) -> Option<Position> {
        self.watched[id.index()].beat.filter(|_| !self.suspect(id)).map(|beat| beat.last)
    }

    /// What to say to a node.
    pub fn heartbeat(&self, to: Id) -> Heartbeat {
        let asked = self.election.filter(|_| self.record.members.contains(to));
        let released = if self.given_up() { self.record.term } else { 0 };
        Heartbeat {
            record: self.record,
            prepare: asked.map(|election| Prepare { term: election.term, released }),
            resign: self.errand.filter(|errand| errand.term == self.record.term && to == self.record.primary),
        }
    }

    /// Whether something is awaited of this node, so that it is asked more often than each heartbeat.
    pub fn impatient(&self, of: Id) -> bool {
        let awaited = match self.election {
            Some(_) => self.record.members.contains(of),
            None => {
                let changing = self.route.is_none() || self.record.target.is_some() || self.errand.is_some();
                of == self.record.primary && changing
            }
        };
        awaited && !self.suspect(of)
    }

    /// A node answered.
    pub fn heard(&mut self, from: Id, beat: Beat, now: Moment) -> Vec<Happening> {
        let watched = &mut self.watched[from.index()];
        watched.detector.heard(now);
        watched.beat = Some(beat);
        let mut happenings = Vec::new();
        let serves = beat.serving && from == self.record.primary && beat.term == self.record.term;
        if serves {
            self.told = Told::default();
        }
        if serves && self.route != Some(from) {
            self.route = Some(from);
            happenings.push(Happening::Redirected(from));
        }
        happenings.extend(self.consider(now));
        self.news(happenings)
    }

    /// Time passed. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) -> Vec<Happening> {
        let mut happenings = Vec::new();
        for (id, watched) in self.watched.iter_mut().enumerate() {
            if watched.detector.tick(now) && id == self.record.primary.index() && self.election.is_none() {
                happenings.push(Happening::Detected(self.record.primary));
            }
        }
        happenings.extend(self.consider(now));
        self.news(happenings)
    }

    /// When something may have to be decided although nothing is heard.
    pub fn deadline(&self) -> Option<Moment> {
        let of = |watched: &Watched| match watched.detector.suspect() {
            false => watched.detector.deadline(),
            true => watched.detector.deadline() + self.settings.rebuild_after,
        };
        self.watched.iter().map(of).min()
    }

    /// A failover is ordered. It is granted once that is recorded, so that no other leader grants another too soon.
    pub fn order(&mut self, how: Departure, now: Moment) -> Result<(), Refused> {
        // Users order restarts; a hand-over is the service's own maintenance.
        self.grant(how == Departure::Restart, now)?;
        self.asked = Some(how);
        Ok(())
    }

    /// A failover that a user orders of what runs on top of the set: here it is only granted, as in [`order`](Self::order).
    pub fn order_elsewhere(&mut self, now: Moment) -> Result<(), Refused> {
        self.grant(true, now)
    }

    fn grant(&mut self, limited: bool, now: Moment) -> Result<(), Refused> {
        if self.proposed.is_some() || self.election.is_some() || self.errand.is_some() || self.route.is_none() {
            return Err(Refused::GoingOn);
        }
        let limit = self.settings.failover_limit;
        if let Some(last) = self.record.ordered.filter(|last| limited && now < *last + limit) {
            return Err(Refused::TooSoon { limit, left: (last + limit).saturating_since(now) });
        }
        let ordered = if limited { Some(now) } else { self.record.ordered };
        self.proposed = Some(Record { version: self.record.version + 1, ordered, ..self.record });
        Ok(())
    }

    /// A majority of the ring has this record.
    pub fn recorded(&mut self, record: Record, now: Moment) -> Vec<Happening> {
        let before = std::mem::replace(&mut self.record, record);
        self.proposed = None;
        if let Some(how) = self.asked.take() {
            self.errand = Some(Resign { term: record.term, how });
        }
        let mut happenings = Vec::new();
        if record.ordered != before.ordered {
            happenings.push(Happening::Granted);
        }
        if record.term != before.term {
            (self.election, self.errand, self.route) = (None, None, None);
            // It has its full time to begin.
            self.watched[record.primary.index()].detector.heard(now);
            happenings.push(Happening::Decided(record.primary));
        } else if record.members != before.members {
            happenings.push(Happening::Rebuilt(record.members));
        } else if let Some(target) = record.target.filter(|target| before.target != Some(*target)) {
            happenings.push(Happening::Rebuild(target));
        }
        self.news(happenings)
    }

    fn news(&mut self, mut happenings: Vec<Happening>) -> Vec<Happening> {
        happenings.retain(|happening| self.told.notes(*happening));
        happenings
    }

    /// Decides what there is to decide, one thing at a time.
    fn consider(&mut self, now: Moment) -> Option<Happening> {
        if self.proposed.is_some() {
            return None;
        }
        let primary = self.record.primary;
        let suspect = self.suspect(primary);
        if !suspect && !self.given_up() {
            self.election = None;
            self.review_members(now);
            return None;
        }
        // One that says that it is none is found without any suspicion; one that was told to leave is no news.
        let news = self.election.is_none() && !suspect && self.errand.is_none();
        self.elect(now);
        news.then_some(Happening::Detected(primary))
    }

    /// Looks for a primary: one that has everything that was ever acknowledged.
    fn elect(&mut self, now: Moment) {
        let seen = self.beats().map(|(_, beat)| beat.term).max().unwrap_or_default().max(self.record.term);
        let election = self.election.get_or_insert(Election { term: seen + 1, since: now });
        // Somebody has promised a later term, to a leader before us.
        election.term = election.term.max(if seen > election.term { seen + 1 } else { 0 });
        let Election { term, since } = *election;
        let promised: Vec<(Id, Beat)> =
            self.beats().filter(|(id, beat)| beat.term == term && !self.suspect(*id)).collect();
        if promised.len() < self.settings.commit.blocking(self.record.members) {
            return;
        }
        let rank = |beat: &Beat| (beat.last.term, beat.last.index);
        let newest = promised.iter().map(|(_, beat)| rank(beat)).max();
        let wanted = |id: Id| match self.errand.map(|errand| errand.how) {
            Some(Departure::Restart) => id == self.record.primary,
            Some(Departure::HandOver) => id != self.record.primary,
            None => true,
        };
        let fit = promised.iter().filter(|(_, beat)| Some(rank(beat)) == newest).map(|(id, _)| *id);
        let chosen = fit.clone().find(|id| wanted(*id));
        // Whom we want may not have promised yet; but not for ever.
        let any = || fit.clone().next().filter(|_| now >= since + self.settings.detect_after());
        if let Some(primary) = chosen.or_else(any) {
            let version = self.record.version + 1;
            self.proposed = Some(Record { version, term, primary, target: None, ..self.record });
        }
    }

    /// Takes out who is lost, and lets a spare in.
    fn review_members(&mut self, now: Moment) {
        let wanted = self.wanted_members(now);
        let (record, version) = (self.record, self.record.version + 1);
        let Some(target) = record.target else {
            if wanted.is_some() {
                self.proposed = Some(Record { version, target: wanted, ..record });
            }
            return;
        };
        let joined = self.watched[record.primary.index()]
            .beat
            .is_some_and(|beat| beat.joined && beat.version == record.version && beat.term == record.term);
        if joined {
            self.proposed = Some(Record { version, members: target, target: None, ..record });
        } else if wanted != Some(target) && target.iter().any(|id| self.suspect(id)) {
            self.proposed = Some(Record { version, target: None, ..record });
        }
    }

    /// The members that there should be, if they are others.
    fn wanted_members(&self, now: Moment) -> Option<Members> {
        let members = self.record.members;
        let lost = |id: &Id| {
            let detector = &self.watched[id.index()].detector;
            detector.suspect() && now >= detector.deadline() + self.settings.rebuild_after
        };
        let kept: Members = members.iter().filter(|id| !lost(id)).collect();
        let spares = Members::first(self.watched.len()).except(members);
        let fit = spares.iter().filter(|id| !self.suspect(*id) && self.watched[id.index()].beat.is_some());
        let wanted: Members = kept.iter().chain(fit.take(self.settings.copies.saturating_sub(kept.len()))).collect();
        let too_few = wanted.len() < members.len() && wanted.len() < self.settings.least;
        (wanted != members && !too_few).then_some(wanted)
    }

    fn suspect(&self, id: Id) -> bool {
        self.watched[id.index()].detector.suspect()
    }

    /// Whether the primary of the record says that it is none, and never will be in this term.
    fn given_up(&self) -> bool {
        self.watched[self.record.primary.index()].beat.is_some_and(|beat| beat.given_up >= self.record.term)
    }

    /// The newest answers of the members.
    fn beats(&self) -> impl Iterator<Item = (Id, Beat)> {
        self.record.members.iter().filter_map(|id| Some((id, self.watched[id.index()].beat?)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    /// What a node says that has nothing to say.
    fn beat(term: u64, index: u64) -> Beat {
        let last = Position { index, term: 1 };
        Beat { term, last, given_up: term - 1, version: 1, serving: false, joined: false }
    }

    /// Four copies and a spare; the primary serves, and everybody was heard at 0.
    fn controller() -> Controller {
        let mut controller = Controller::new(Settings::for_tests(), 5, Record::first(4), at(0));
        assert_eq!(
            controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(0)),
            [Happening::Redirected(Id(0))]
        );
        for id in 1..5 {
            controller.heard(Id(id), beat(1, 9), at(0));
        }
        controller
    }

    /// The ring has what was proposed.
    fn recorded(controller: &mut Controller, now: Moment) -> Record {
        let record = controller.proposed().expect("something is proposed");
        controller.recorded(record, now);
        record
    }

    #[test]
    fn the_newest_of_enough_promises_is_chosen() {
        let mut controller = controller();
        assert_eq!(controller.tick(at(200)), [Happening::Detected(Id(0))]);
        assert_eq!(controller.heartbeat(Id(1)).prepare, Some(Prepare { term: 2, released: 0 }));
        assert_eq!(controller.heartbeat(Id(4)).prepare, None, "a spare has no say");
        controller.heard(Id(1), beat(2, 7), at(210));
        assert_eq!(controller.proposed(), None, "of four members two must have promised");
        controller.heard(Id(4), beat(2, 9), at(210));
        assert_eq!(controller.proposed(), None);
        controller.heard(Id(3), beat(2, 9), at(220));
        let record = controller.proposed().unwrap();
        assert_eq!((record.term, record.primary, record.members), (2, Id(3), Members::first(4)));
        assert_eq!(controller.recorded(record, at(230)), [Happening::Decided(Id(3))]);
    }

    #[test]
    fn a_later_term_counts_for_more_than_a_longer_journal() {
        let mut controller = controller();
        controller.tick(at(200));
        controller.heard(Id(1), beat(2, 90), at(210));
        controller.heard(Id(2), Beat { last: Position { index: 8, term: 2 }, ..beat(3, 0) }, at(210));
        assert_eq!(controller.heartbeat(Id(1)).prepare.unwrap().term, 4, "somebody had promised 3 before");
        controller.heard(Id(1), beat(4, 90), at(220));
        controller.heard(Id(2), Beat { last: Position { index: 8, term: 2 }, ..beat(4, 0) }, at(220));
        assert_eq!(controller.proposed().unwrap().primary, Id(2));
    }

    #[test]
    fn a_primary_that_gave_up_needs_no_suspicion_and_frees_its_members() {
        let mut controller = controller();
        let happenings = controller.heard(Id(0), Beat { given_up: 1, ..beat(1, 9) }, at(50));
        assert_eq!(happenings, [Happening::Detected(Id(0))]);
        assert_eq!(controller.heartbeat(Id(1)).prepare, Some(Prepare { term: 2, released: 1 }));
    }

    #[test]
    fn a_primary_that_is_found_again_and_again_without_serving_is_told_once() {
        let mut controller = controller();
        // It keeps one member, which is enough to be elected and too few to serve.
        let round = |controller: &mut Controller, term: u64| {
            let now = at(term * 100);
            let mut told = controller.heard(Id(0), Beat { given_up: term, ..beat(term, 9) }, now);
            for id in [0, 1] {
                told.extend(controller.heard(Id(id), Beat { given_up: term, ..beat(term + 1, 9) }, now));
            }
            let record = controller.proposed().expect("it is elected again");
            assert_eq!((record.primary, record.term), (Id(0), term + 1));
            told.extend(controller.recorded(record, now));
            told
        };
        assert_eq!(round(&mut controller, 1), [Happening::Detected(Id(0)), Happening::Decided(Id(0))]);
        assert_eq!(round(&mut controller, 2), []);
        assert_eq!(
            controller.heard(Id(0), Beat { serving: true, ..beat(3, 9) }, at(250)),
            [Happening::Redirected(Id(0))]
        );
        assert_eq!(
            round(&mut controller, 3),
            [Happening::Detected(Id(0)), Happening::Decided(Id(0))],
            "served between"
        );
    }

    #[test]
    fn a_lost_member_is_replaced_by_a_spare_once_the_primary_says_that_it_can_be() {
        let mut controller = controller();
        let alive = |controller: &mut Controller, now| {
            for id in [0, 1, 2, 4] {
                controller.heard(Id(id), Beat { serving: id == 0, ..beat(1, 9) }, now);
            }
        };
        alive(&mut controller, at(190));
        controller.tick(at(200));
        alive(&mut controller, at(390));
        assert_eq!(controller.proposed(), None, "node 3 is suspect since 200, not for long enough");
        controller.tick(at(400));
        let target: Members = [0, 1, 2, 4].map(Id).into_iter().collect();
        assert_eq!(recorded(&mut controller, at(400)).target, Some(target));
        let joined = Beat { joined: true, version: 1, ..beat(1, 9) };
        controller.heard(Id(0), joined, at(410));
        assert_eq!(controller.proposed(), None, "that was about another version");
        controller.heard(Id(0), Beat { version: 2, ..joined }, at(420));
        let record = recorded(&mut controller, at(420));
        assert_eq!((record.members, record.target), (target, None));
    }

    #[test]
    fn without_spares_it_shrinks_but_not_below_the_least() {
        let mut controller = Controller::new(Settings::for_tests(), 4, Record::first(4), at(0));
        for now in [0, 150, 300, 450].map(at) {
            controller.heard(Id(0), beat(1, 9), now);
            controller.tick(now);
        }
        assert_eq!(controller.proposed(), None, "one copy alone is less than two");
        controller.heard(Id(2), beat(1, 9), at(460));
        let two: Members = [0, 2].map(Id).into_iter().collect();
        assert_eq!(controller.proposed().unwrap().target, Some(two));
    }

    #[test]
    fn an_ordered_failover_goes_where_it_should() {
        for (how, index, chosen) in
            [(Departure::HandOver, 9, 1), (Departure::Restart, 9, 0), (Departure::Restart, 8, 0)]
        {
            let mut controller = controller();
            controller.order(how, at(10)).unwrap();
            recorded(&mut controller, at(10));
            assert_eq!(controller.heartbeat(Id(0)).resign, Some(Resign { term: 1, how }));
            assert_eq!(controller.heard(Id(0), Beat { given_up: 1, ..beat(1, 9) }, at(20)), [], "it was told to");
            for id in [1, 2, 0] {
                controller.heard(Id(id), Beat { given_up: 1, ..beat(2, if id == 0 { 9 } else { index }) }, at(30));
            }
            assert_eq!(controller.proposed().map(|record| record.primary), Some(Id(chosen)), "{how:?}");
        }
    }

    #[test]
    fn a_second_failover_is_refused_while_one_goes_on_and_within_the_limit() {
        let mut controller = controller();
        controller.order(Departure::Restart, at(10)).unwrap();
        assert_eq!(controller.order(Departure::HandOver, at(11)), Err(Refused::GoingOn));
        let ordered = recorded(&mut controller, at(12));
        assert_eq!(controller.order(Departure::HandOver, at(13)), Err(Refused::GoingOn));
        // Whoever leads afterwards knows of it.
        let mut controller = Controller::new(Settings::for_tests(), 5, ordered, at(20));
        controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(20));
        let left = Duration::from_millis(10 + 1_000 - 30);
        let limit = Duration::from_secs(1);
        assert_eq!(controller.order(Departure::Restart, at(30)), Err(Refused::TooSoon { limit, left }));
        assert_eq!(controller.order(Departure::Restart, at(1_010)), Ok(()));
    }
}
