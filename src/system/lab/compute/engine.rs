//! One compute node's decisions: whether it runs the engine, and whether that serves. Pure, told the time.

use std::time::Duration;

use super::cache::{Cache, Touch};
use super::placement::{Assignment, Report};
use crate::clock::Moment;

/// The settings of an engine; every compute node has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// How long it takes to start where it ran before.
    pub start: Duration,
    /// How long it takes to start on another node.
    pub promotion: Duration,
    /// Whether it claims that its cache is warm at once. Broken on purpose.
    pub pretends: bool,
}

/// What a compute node does about its assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// The engine is elsewhere, or nowhere.
    Idle,
    /// The engine starts.
    Starting { epoch: u64, until: Moment },
    /// It writes its epoch through storage.
    Attaching { epoch: u64 },
    /// It serves.
    Serving { epoch: u64 },
    /// It is assigned to this node, and storage knows of a newer one.
    Refused,
}

/// A compute node, with the engine or without.
#[derive(Clone, Debug)]
pub struct Engine {
    me: usize,
    settings: EngineSettings,
    known: Option<Assignment>,
    duty: Duty,
    cache: Cache,
    incarnation: u64,
    /// No engine has run since the node was started.
    fresh: bool,
    /// Whether it has room for an engine beside what else runs there.
    room: bool,
}

impl Engine {
    /// A compute node that was just started; it remembers nothing but how often it was.
    pub fn boot(me: usize, settings: EngineSettings, room: bool, incarnation: u64) -> Engine {
        let (duty, cache) = (Duty::Idle, Cache::cold());
        Engine { me, settings, known: None, duty, cache, incarnation: incarnation + 1, fresh: true, room }
    }

    /// Raised at each start of the node, and of an engine after the first on it.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether it serves.
    pub fn serves(&self) -> bool {
        matches!(self.duty, Duty::Serving { .. })
    }

    /// The control ring tells who runs the engine; it says how things are here.
    pub fn assigned(&mut self, assignment: Option<Assignment>, now: Moment) -> Report {
        let epoch = |assignment: Option<Assignment>| assignment.map_or(0, |assignment| assignment.epoch);
        if epoch(assignment) > epoch(self.known) {
            let before = std::mem::replace(&mut self.known, assignment);
            let here = |assignment: Option<Assignment>| assignment.is_some_and(|it| it.node == self.me);
            self.duty = match (here(before), here(assignment)) {
                (stays, true) => {
                    let takes = if stays { self.settings.start } else { self.settings.promotion };
                    Duty::Starting { epoch: epoch(assignment), until: now + takes }
                }
                (_, false) => Duty::Idle,
            };
        }
        self.tick(now);
        let refused = self.duty == Duty::Refused;
        let room = self.room && (refused || self.duty == Duty::Idle);
        Report { known: self.known, room, serving: self.serves(), refused }
    }

    /// Time passed. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) {
        if let Duty::Starting { epoch, until } = self.duty
            && now >= until
        {
            self.duty = Duty::Attaching { epoch };
        }
    }

    /// When it has something to do although nothing is heard.
    pub fn deadline(&self) -> Option<Moment> {
        match self.duty {
            Duty::Starting { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The epoch that is to be written through storage, over and over until storage has [answered](Self::attached).
    pub fn attaches(&self) -> Option<u64> {
        match self.duty {
            Duty::Attaching { epoch } => Some(epoch),
            _ => None,
        }
    }

    /// Storage has the epoch: the engine serves, with a cold cache.
    pub fn attached(&mut self, epoch: u64) {
        if self.attaches() == Some(epoch) {
            self.incarnation += u64::from(!self.fresh);
            self.fresh = false;
            self.cache = Cache::cold();
            self.duty = Duty::Serving { epoch };
        }
    }

    /// Storage refused this epoch, as it has a newer one.
    pub fn refused(&mut self, epoch: u64) {
        let ours = match self.duty {
            Duty::Idle | Duty::Refused => None,
            Duty::Starting { epoch, .. } | Duty::Attaching { epoch } | Duty::Serving { epoch } => Some(epoch),
        };
        if ours == Some(epoch) {
            self.duty = Duty::Refused;
        }
    }

    /// Lets a request in: the epoch that it goes to storage with. None unless the engine serves in the epoch that the
    /// request was routed by.
    pub fn admits(&self, meant_for: Option<u64>) -> Option<u64> {
        match self.duty {
            Duty::Serving { epoch } if meant_for.is_none_or(|meant_for| meant_for == epoch) => Some(epoch),
            _ => None,
        }
    }

    /// A request needs this key.
    pub fn touch(&mut self, key: &str) -> Touch {
        if self.settings.pretends { Touch::Warm } else { self.cache.touch(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: EngineSettings =
        EngineSettings { start: Duration::from_millis(20), promotion: Duration::from_millis(60), pretends: false };

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    const fn on(node: usize, epoch: u64) -> Option<Assignment> {
        Some(Assignment { node, epoch })
    }

    /// Node 1, which serves in epoch 5 from 60 ms on.
    fn serving() -> Engine {
        let mut engine = Engine::boot(1, SETTINGS, true, 0);
        let report = engine.assigned(on(1, 5), at(0));
        assert_eq!(report, Report { known: on(1, 5), ..Report::default() });
        assert_eq!((engine.deadline(), engine.attaches()), (Some(at(60)), None));
        engine.tick(at(60));
        assert_eq!((engine.attaches(), engine.admits(None)), (Some(5), None), "not before storage has its epoch");
        engine.attached(5);
        assert!(engine.assigned(on(1, 5), at(61)).serving);
        engine
    }

    #[test]
    fn an_engine_serves_in_the_epoch_that_storage_has_of_it_and_in_no_other() {
        let engine = serving();
        assert_eq!([None, Some(5), Some(4)].map(|epoch| engine.admits(epoch)), [Some(5), Some(5), None]);
        assert_eq!(engine.incarnation(), 1);
    }

    #[test]
    fn a_newer_epoch_on_the_spot_is_a_start_with_a_cold_cache_and_one_incarnation_more() {
        let mut engine = serving();
        engine.touch("k");
        assert_eq!(engine.touch("k"), Touch::Warm);
        engine.assigned(on(1, 6), at(100));
        assert_eq!((engine.deadline(), engine.admits(None)), (Some(at(120)), None));
        engine.tick(at(120));
        engine.attached(6);
        assert_eq!((engine.incarnation(), engine.touch("k")), (2, Touch::Cold));
    }

    #[test]
    fn an_engine_that_is_moved_away_serves_no_more_and_leaves_room() {
        let mut engine = serving();
        let report = engine.assigned(on(0, 6), at(100));
        assert_eq!(report, Report { known: on(0, 6), room: true, ..Report::default() });
        engine.attached(5);
        assert_eq!((engine.admits(None), engine.assigned(on(1, 5), at(110)).known), (None, on(0, 6)), "the past");
    }

    #[test]
    fn an_engine_that_storage_refuses_serves_no_more() {
        let mut engine = serving();
        engine.refused(4);
        assert!(engine.serves(), "that was the one before");
        engine.refused(5);
        assert_eq!(engine.admits(None), None);
        let report = engine.assigned(on(1, 5), at(100));
        assert_eq!(
            report,
            Report { known: on(1, 5), room: true, serving: false, refused: true },
            "by that it is never back"
        );
        assert_eq!(engine.assigned(on(1, 6), at(110)), Report { known: on(1, 6), ..Report::default() }, "but anew");
    }

    #[test]
    fn a_cache_that_is_pretended_is_warm_at_once() {
        let mut engine = Engine::boot(0, EngineSettings { pretends: true, ..SETTINGS }, true, 3);
        assert_eq!((engine.touch("k"), engine.incarnation()), (Touch::Warm, 4));
    }
}
