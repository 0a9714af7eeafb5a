//! The gateway's decisions: who is suspect, who is promoted, where requests go. Pure, told the time.
//!
//! **Why no acknowledged write is lost with `commit: sync`.** The gateway may promote a standby only while its own
//! record says `standby_in_sync`. The primary acknowledges without the standby only after it has adopted a record
//! that says otherwise. So the two changes of the record have an order each:
//! - *taking out*: the gateway records it first, then tells the primary, which then acknowledges alone;
//! - *letting in*: the primary first waits for the standby with every write, then says so (`joined`), then the gateway
//!   records it. A report counts only with the version that it was made under, so that an old one changes nothing.
//!
//! At every moment the standby either has every acknowledged write, or may not be promoted.
//!
//! **Why a hand-over loses nothing.** A primary that is to hand over takes nothing new, and says under that version of the
//! record that the standby has all the rest; until then the standby is not told. So there is no lease to wait for, and
//! with `commit: async` nothing is left behind either.
//!
//! **Why a replaced primary is harmless.** Its writes need the standby, which refuses an older term (fencing); its
//! reads need a lease, and a standby is promoted only after the last lease that the old primary can hold has ended.

use super::protocol::{Beat, Config, Heartbeat, Side, Stamp};
use super::settings::{Commit, Settings};
use crate::clock::Moment;
use crate::system::lab::detector::Detector;

/// What the gateway's decisions come from.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: Settings,
    config: Config,
    watched: [Watched; 2],
    route: Option<Side>,
    /// When the primary was told to hand over; or when this gateway started with a record that says so.
    yields_since: Moment,
}

/// What the gateway knows of one node.
#[derive(Clone, Copy, Debug)]
struct Watched {
    detector: Detector,
    echo: Option<Stamp>,
}

/// Something that the world is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The primary is suspect.
    Detected(Side),
    /// This node is to be primary.
    Decided(Side),
    /// Requests go to this node from now on.
    Redirected(Side),
    /// The standby was taken out of the set of those that every write waits for.
    TakenOut(Side),
    /// The standby is in it again.
    LetIn(Side),
    /// The primary hands over.
    Yields(Side),
    /// It did not get that far in time, and goes on as primary.
    Keeps(Side),
}

impl Controller {
    /// The record at the first start of all.
    pub const FIRST: Config = Config { version: 1, term: 1, primary: Side::A, standby_in_sync: true, yields: false };

    /// A gateway that starts with the record on its disk; it gives every node its full time.
    pub fn new(settings: Settings, config: Config, now: Moment) -> Controller {
        let watched = Watched { detector: Detector::new(settings.detect_after(), now), echo: None };
        Controller { settings, config, watched: [watched; 2], route: None, yields_since: now }
    }

    /// The record; who acts writes it to disk before anything that follows from it is sent.
    pub fn config(&self) -> Config {
        self.config
    }

    /// Where requests go, and the term that they are meant for.
    pub fn route(&self) -> Option<(Side, u64)> {
        let side = self.route?;
        (!self.watched[side as usize].detector.suspect()).then_some((side, self.config.term))
    }

    /// What to say to a node.
    pub fn heartbeat(&self, to: Side) -> Heartbeat {
        Heartbeat { config: self.config, echo: self.watched[to as usize].echo }
    }

    /// Whether a change is awaited from this node, so that it is asked more often than each heartbeat.
    pub fn impatient(&self, side: Side) -> bool {
        self.config.primary == side && self.route != Some(side) && !self.watched[side as usize].detector.suspect()
    }

    /// Begins to move the service to the standby in good order; the reason where that cannot be.
    pub fn hand_over(&mut self, now: Moment) -> Result<Vec<Happening>, &'static str> {
        let (primary, standby) = (self.config.primary, self.config.primary.peer());
        if self.config.yields {
            return Err("a hand-over is under way");
        }
        if self.route().is_none() {
            return Err("no primary serves");
        }
        if self.watched[standby as usize].detector.suspect() || !self.config.standby_in_sync {
            return Err("the standby does not have every write");
        }
        self.config.version += 1;
        self.config.yields = true;
        self.yields_since = now;
        self.route = None;
        Ok(vec![Happening::Yields(primary)])
    }

    /// A node answered.
    pub fn heard(&mut self, from: Side, beat: Beat, now: Moment) -> Vec<Happening> {
        let watched = &mut self.watched[from as usize];
        watched.detector.heard(now);
        watched.echo = Some(beat.stamp);
        if from != self.config.primary || beat.term != self.config.term {
            return Vec::new();
        }
        let mut happenings = Vec::new();
        if beat.version == self.config.version {
            happenings.extend(self.review_standby(beat));
        }
        // It said so under this very version, so it takes nothing any more: there is no lease to wait for.
        if self.config.yields && beat.version == self.config.version && !beat.serving && beat.drained {
            happenings.push(self.promote());
        } else if beat.serving && !self.config.yields && self.route != Some(from) {
            self.route = Some(from);
            happenings.push(Happening::Redirected(from));
        }
        happenings
    }

    /// Time passed. To be called at [`deadline`](Self::deadline) or before it.
    pub fn tick(&mut self, now: Moment) -> Vec<Happening> {
        let mut happenings = Vec::new();
        let (primary, standby) = (self.config.primary, self.config.primary.peer());
        if self.watched[standby as usize].detector.tick(now) {
            happenings.extend(self.take_out(standby));
        }
        if self.watched[primary as usize].detector.tick(now) {
            happenings.push(Happening::Detected(primary));
        }
        if self.may_promote(now) {
            happenings.push(self.promote());
        }
        if self.config.yields && now >= self.yields_until() {
            self.config.version += 1;
            self.config.yields = false;
            happenings.push(Happening::Keeps(primary));
        }
        happenings
    }

    /// When something may have to be decided although nothing is heard.
    pub fn deadline(&self) -> Option<Moment> {
        let suspicions = self
            .watched
            .iter()
            .filter(|watched| !watched.detector.suspect())
            .map(|watched| watched.detector.deadline());
        suspicions.chain(self.promotion_due()).chain(self.config.yields.then(|| self.yields_until())).min()
    }

    /// A hand-over that takes longer is broken off: nobody serves meanwhile.
    fn yields_until(&self) -> Moment {
        self.yields_since + self.settings.detect_after() * 2
    }

    fn promote(&mut self) -> Happening {
        let standby = self.config.primary.peer();
        self.config = Config {
            version: self.config.version + 1,
            term: self.config.term + 1,
            primary: standby,
            standby_in_sync: false,
            yields: false,
        };
        self.route = None;
        Happening::Decided(standby)
    }

    /// A standby that does not take writes goes out, one that has taken all of them comes in.
    fn review_standby(&mut self, beat: Beat) -> Option<Happening> {
        let standby = self.config.primary.peer();
        if beat.stalled && (self.config.standby_in_sync || beat.joined) {
            return self.take_out(standby);
        }
        let let_in = beat.joined && !self.config.standby_in_sync && !self.watched[standby as usize].detector.suspect();
        let_in.then(|| {
            self.config.version += 1;
            self.config.standby_in_sync = true;
            Happening::LetIn(standby)
        })
    }

    /// With asynchronous commit nobody waits for the standby, and one that lags may be promoted all the same.
    fn take_out(&mut self, standby: Side) -> Option<Happening> {
        (self.settings.commit == Commit::Sync).then(|| {
            // The version is raised even if the standby is out already: it answers a primary that waits for it
            // because it had just let it in by itself.
            self.config.version += 1;
            self.config.standby_in_sync = false;
            Happening::TakenOut(standby)
        })
    }

    fn may_promote(&self, now: Moment) -> bool {
        self.promotion_due().is_some_and(|due| now >= due)
    }

    /// When the standby may be promoted: once the primary is suspect and no lease of it can be in force.
    fn promotion_due(&self) -> Option<Moment> {
        let primary = &self.watched[self.config.primary as usize].detector;
        let standby = &self.watched[self.config.primary.peer() as usize].detector;
        let fit = primary.suspect() && !standby.suspect() && self.config.standby_in_sync;
        fit.then(|| match self.settings.fencing {
            true => primary.last_heard() + self.settings.lease(),
            false => primary.last_heard(),
        })
    }
}
