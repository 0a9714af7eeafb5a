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
    /// When the standby was ordered to take over with what it has.
    forced: Option<Moment>,
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
    /// This node was ordered to take over and is suspect: the order is dropped, and the other one stays primary.
    Dropped(Side),
}

impl Controller {
    /// The record at the first start of all.
    pub const FIRST: Config = Config { version: 1, term: 1, primary: Side::A, standby_in_sync: true, yields: false };

    /// A gateway that starts with the record on its disk; it gives every node its full time.
    pub fn new(settings: Settings, config: Config, now: Moment) -> Controller {
        let watched = Watched { detector: Detector::new(settings.detect_after(), now), echo: None };
        Controller { settings, config, watched: [watched; 2], route: None, yields_since: now, forced: None }
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
        // A primary that is to be replaced hears nothing that would renew its lease.
        let ends = self.forced.is_some() && to == self.config.primary;
        Heartbeat { config: self.config, echo: self.watched[to as usize].echo.filter(|_| !ends) }
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

    /// Makes the standby primary with what it has, once no lease of the primary can be in force; the reason where that
    /// cannot be.
    pub fn force(&mut self, now: Moment) -> Result<Vec<Happening>, &'static str> {
        if self.config.yields || self.forced.is_some() {
            return Err("a failover is under way");
        }
        if self.watched[self.config.primary.peer() as usize].detector.suspect() {
            return Err("the other one is not well");
        }
        (self.forced, self.route) = (Some(now), None);
        Ok(Vec::new())
    }

    /// Whether an order is being carried out.
    pub fn busy(&self) -> bool {
        self.config.yields || self.forced.is_some() || self.route.is_none()
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
        } else if beat.serving && !self.config.yields && self.forced.is_none() && self.route != Some(from) {
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
            // Whoever is well is not kept from serving for one who may never come back.
            happenings.extend(self.forced.take().map(|_| Happening::Dropped(standby)));
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

    fn yields_until(&self) -> Moment {
        self.yields_since + self.settings.hand_over_within()
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
        (self.route, self.forced) = (None, None);
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
        let lost = self.settings.automatic && primary.suspect() && self.config.standby_in_sync;
        let fit = (lost || self.forced.is_some()) && !standby.suspect();
        // A lease counts from what the primary was told that we had heard.
        let from = self.forced.map_or(primary.last_heard(), |at| at.min(primary.last_heard()));
        fit.then(|| match self.settings.fencing {
            true => from + self.settings.lease(),
            false => from,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    /// Nothing is decided without an order; a lease lasts 400 ms.
    fn controller() -> Controller {
        let settings = Settings {
            commit: Commit::Async,
            heartbeat: Duration::from_millis(100),
            misses: 3,
            promotion: Duration::ZERO,
            fencing: true,
            ship_every: Duration::ZERO,
            service_time: Duration::ZERO,
            names: ["a", "b"],
            automatic: false,
            ships: true,
            stubborn: false,
        };
        let mut controller = Controller::new(settings, Controller::FIRST, at(0));
        hear(&mut controller, &Side::BOTH, 10);
        controller
    }

    fn hear(controller: &mut Controller, sides: &[Side], ms: u64) {
        for side in sides {
            let beat = Beat {
                stamp: Stamp { boot: 1, at: at(ms) },
                term: 1,
                version: 1,
                serving: *side == Side::A,
                joined: false,
                stalled: false,
                drained: false,
            };
            controller.heard(*side, beat, at(ms));
        }
    }

    #[test]
    fn a_lost_primary_is_replaced_by_order_alone_and_after_its_lease() {
        let mut controller = controller();
        hear(&mut controller, &[Side::B], 300);
        assert_eq!(controller.tick(at(310)), [Happening::Detected(Side::A)]);
        hear(&mut controller, &[Side::B], 450);
        assert_eq!(controller.tick(at(500)), [], "nobody ordered it");
        assert_eq!(controller.force(at(500)), Ok(Vec::new()));
        assert_eq!(controller.force(at(501)), Err("a failover is under way"));
        assert_eq!(controller.tick(at(502)), [Happening::Decided(Side::B)], "its last lease ended at 410");
        assert_eq!((controller.config().primary, controller.config().term), (Side::B, 2));
    }

    #[test]
    fn a_primary_that_is_well_is_replaced_once_the_lease_that_it_had_at_the_order_has_ended() {
        let mut controller = controller();
        controller.force(at(100)).unwrap();
        assert_eq!(controller.heartbeat(Side::A).echo, None, "nothing renews it");
        assert!(controller.heartbeat(Side::B).echo.is_some());
        hear(&mut controller, &Side::BOTH, 300);
        assert_eq!((controller.route(), controller.tick(at(499))), (None, vec![]));
        assert_eq!(controller.tick(at(500)), [Happening::Decided(Side::B)]);
        assert!(controller.heartbeat(Side::A).echo.is_some(), "it is to hear that it was replaced");
    }

    #[test]
    fn a_standby_that_is_lost_before_it_takes_over_leaves_the_primary_its_place() {
        let mut controller = controller();
        controller.force(at(100)).unwrap();
        hear(&mut controller, &[Side::A], 300);
        assert_eq!(controller.tick(at(310)), [Happening::Dropped(Side::B)], "last heard at 10");
        assert!(controller.heartbeat(Side::A).echo.is_some(), "its lease is renewed again");
        hear(&mut controller, &[Side::A], 320);
        assert_eq!((controller.route(), controller.busy()), (Some((Side::A, 1)), false));
        hear(&mut controller, &Side::BOTH, 550);
        assert_eq!(controller.tick(at(560)), [], "the order does not come back with it");
        assert_eq!(controller.force(at(560)), Ok(Vec::new()), "another one is taken");
    }

    #[test]
    fn nobody_takes_over_who_is_not_well() {
        let mut controller = controller();
        hear(&mut controller, &[Side::A], 300);
        controller.tick(at(310));
        assert_eq!(controller.force(at(320)), Err("the other one is not well"));
        assert_eq!(controller.route(), Some((Side::A, 1)), "nothing changed");
    }
}
