//! What the ring's leader decides: who is suspect, who is primary, who holds copies. Pure, told the time.

use super::members::{Home, Id, Members};
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
    /// Copies and primary are to stand in this home.
    Migrates(Home),
    /// They do.
    Migrated(Home),
}

/// What was ordered is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One is going on.
    #[error("a failover is going on")]
    GoingOn,
    /// It is being moved to its other home.
    #[error("a migration is going on")]
    Migrating,
    /// There is nobody to hand over to.
    #[error("no other copy is well")]
    Alone,
    /// It stands where it is to be moved.
    #[error("it is so already")]
    There,
    /// Too few nodes are well in its other home.
    #[error("{copies} nodes are needed there, and {well} of them are well")]
    NoRoom {
        /// So many copies there are to be.
        copies: usize,
        /// So many nodes could hold one.
        well: usize,
    },
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
        let settled = settled && !self.migrating();
        settled && members.len() == self.settings.copies && !members.iter().any(|id| self.suspect(id))
    }

    /// Where each node's copy ends, as it told last: none for a node that is suspect or was never heard.
    pub fn end(&self, id: Id) -> Option<Position> {
        self.watched[id.index()].beat.filter(|_| !self.suspect(id)).map(|beat| beat.last)
    }

    /// Whether copies or primary stand elsewhere than they are to.
    pub fn migrating(&self) -> bool {
        self.standing() != self.record.home || !self.settings.home(self.record.home).contains(self.record.primary)
    }

    /// The home in which the copies stand that count.
    pub fn standing(&self) -> Home {
        let moved = self.record.members.except(self.settings.home(self.record.home)).is_empty();
        if moved { self.record.home } else { self.record.home.other() }
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
        self.free()?;
        if how == Departure::HandOver && self.readers().is_empty() {
            return Err(Refused::Alone);
        }
        // Users order restarts; a hand-over is the service's own maintenance.
        self.grant(how == Departure::Restart, now)?;
        self.asked = Some(how);
        Ok(())
    }

    /// A failover that a user orders of what runs on top of the set: here it is only granted, as in [`order`](Self::order).
    pub fn order_elsewhere(&mut self, now: Moment) -> Result<(), Refused> {
        self.grant(true, now)
    }

    /// The set is ordered to move to a home. It serves from where it stands until the copies there are built.
    pub fn migrate(&mut self, to: Home) -> Result<(), Refused> {
        self.free()?;
        if self.record.home == to {
            return Err(Refused::There);
        }
        let (copies, well) = (self.settings.copies, self.fit(self.settings.home(to)).len());
        if well < copies {
            return Err(Refused::NoRoom { copies, well });
        }
        self.proposed = Some(Record { version: self.record.version + 1, home: to, target: None, ..self.record });
        Ok(())
    }

    /// Whether nothing is under way that a user's order would come in between.
    pub fn free(&self) -> Result<(), Refused> {
        if self.migrating() {
            return Err(Refused::Migrating);
        }
        let going_on = self.proposed.is_some() || self.election.is_some() || self.errand.is_some();
        if going_on || self.route.is_none() { Err(Refused::GoingOn) } else { Ok(()) }
    }

    fn grant(&mut self, limited: bool, now: Moment) -> Result<(), Refused> {
        self.free()?;
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
        let migrated = self.migrating();
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
        if record.home != before.home {
            happenings.push(Happening::Migrates(record.home));
        } else if migrated && !self.migrating() {
            happenings.push(Happening::Migrated(record.home));
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
            self.move_primary();
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
        // Broken on purpose: whoever is to hold a copy counts as if it held one.
        let hasty = !self.settings.joint;
        let joined = self.watched[record.primary.index()]
            .beat
            .is_some_and(|beat| beat.joined && beat.version == record.version && beat.term == record.term);
        if joined || hasty {
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
        let stands = self.standing();
        let moves = stands != self.record.home;
        let arrives: Members =
            self.fit(self.settings.home(self.record.home)).iter().take(self.settings.copies).collect();
        if moves && arrives.len() == self.settings.copies {
            return Some(arrives);
        }
        // Until there is room in its home, it keeps itself up where it stands.
        let spares = self.fit(self.settings.home(stands)).except(members);
        let wanted: Members =
            kept.iter().chain(spares.iter().take(self.settings.copies.saturating_sub(kept.len()))).collect();
        let too_few = wanted.len() < members.len() && wanted.len() < self.settings.least;
        (wanted != members && !too_few).then_some(wanted)
    }

    /// Once all copies stand in the set's home, its primary hands over to one of them.
    fn move_primary(&mut self) {
        let Record { term, target, primary, home, .. } = self.record;
        let copies_are_there = target.is_none() && self.standing() == home && self.migrating();
        if copies_are_there && self.proposed.is_none() && self.errand.is_none() && self.route == Some(primary) {
            self.errand = Some(Resign { term, how: Departure::HandOver });
        }
    }

    /// Those among `nodes` that are well and could hold a copy.
    fn fit(&self, nodes: Members) -> Members {
        let well = |id: &Id| !self.suspect(*id) && self.watched[id.index()].beat.is_some();
        Members::first(self.watched.len()).among(nodes).iter().filter(well).collect()
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
mod tests;
