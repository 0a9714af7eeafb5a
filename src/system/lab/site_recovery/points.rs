//! A disk's copy in another region, and the recovery points that it can be brought back to. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::system::lab::store::{Entry, Misfit, Position, Store};

/// How sound a recovery point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What was on the disk, as after a power loss: the application has to recover before it serves.
    Crash,
    /// The application had written down all that it had in memory: it serves at once.
    App,
}

impl Consistency {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Consistency::Crash => "crash-consistent",
            Consistency::App => "app-consistent",
        }
    }
}

/// A moment that a disk can be brought back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Every entry up to this one.
    pub index: u64,
    /// When the source's disk was so.
    pub at: Moment,
    /// How sound it is.
    pub consistency: Consistency,
}

/// Which point to recover to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverTo {
    /// Everything that has arrived: the least loss.
    Latest,
    /// The newest recovery point: no time to process what came after it.
    LatestPoint,
    /// The newest one that is app-consistent.
    LatestApp,
}

/// When recovery points are due.
#[derive(Clone, Copy, Debug)]
pub struct Pointer {
    every: Duration,
    app_every: Duration,
    next: Moment,
    next_app: Moment,
}

impl Pointer {
    /// A crash-consistent point each `every`, an app-consistent one each `app_every`; both at once at first.
    pub fn new(every: Duration, app_every: Duration, now: Moment) -> Pointer {
        Pointer { every, app_every, next: now, next_app: now }
    }

    /// Which point is due now; an app-consistent one stands for both.
    pub fn due(&mut self, now: Moment) -> Option<Consistency> {
        let app = now >= self.next_app;
        if !app && now < self.next {
            return None;
        }
        if app {
            self.next_app = now + self.app_every;
        }
        self.next = now + self.every;
        Some(if app { Consistency::App } else { Consistency::Crash })
    }

    /// When the next one is.
    pub fn deadline(&self) -> Moment {
        self.next.min(self.next_app)
    }
}

/// A disk's copy: what has arrived of it, as far back as its oldest recovery point.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The disk at the oldest point.
    base: Store,
    /// What came after it, oldest first.
    journal: VecDeque<Entry>,
    /// Oldest first; the newest may be of entries that have not arrived yet.
    points: VecDeque<Point>,
    keep: usize,
    /// When the source's disk was as this copy is.
    as_of: Moment,
}

impl Replica {
    /// A copy of an empty disk, with room for so many recovery points.
    pub fn new(keep: usize) -> Replica {
        let (journal, points) = (VecDeque::new(), VecDeque::new());
        Replica { base: Store::default(), journal, points, keep: keep.max(1), as_of: Moment::START }
    }

    /// Up to where it has arrived.
    pub fn last(&self) -> Position {
        self.journal.back().map_or(self.base.last(), |entry| entry.at)
    }

    /// Entries of the source arrive that follow `prev`; the source's disk was so at `as_of`. What is here already is
    /// skipped.
    pub fn take(&mut self, prev: Position, entries: Vec<Entry>, as_of: Moment) -> Result<u64, Misfit> {
        if prev.index > self.last().index {
            return Err(Misfit::Gap);
        }
        for entry in entries {
            if entry.at.index == self.last().index + 1 {
                self.journal.push_back(entry);
            }
        }
        self.as_of = self.as_of.max(as_of);
        Ok(self.last().index)
    }

    /// The whole disk arrives; points of before are gone.
    pub fn install(&mut self, disk: Store, as_of: Moment) {
        (self.base, self.as_of) = (disk, as_of);
        self.journal.clear();
        self.points.clear();
    }

    /// A recovery point; one of entries that have not arrived counts once they have.
    pub fn mark(&mut self, point: Point) {
        self.points.push_back(point);
        while self.points.len() > self.keep {
            let oldest = self.points.pop_front();
            let until = self.points.front().or(oldest.as_ref()).map_or(0, |point| point.index);
            while self.journal.front().is_some_and(|entry| entry.at.index <= until) {
                let prev = self.base.last();
                let entry = self.journal.pop_front().expect("there is a first one");
                // The journal has no gaps, and follows the base.
                let _ = self.base.follow(entry.at.term, prev, vec![entry]);
            }
        }
    }

    /// The point to recover to; none if there is none of the kind.
    pub fn point(&self, wanted: RecoverTo) -> Option<Point> {
        let last = self.last().index;
        let newest = |fits: &dyn Fn(&Point) -> bool| {
            self.points.iter().rev().find(|point| point.index <= last && fits(point)).copied()
        };
        match wanted {
            // Without any point nothing was ever processed.
            RecoverTo::Latest => newest(&|_| true).map(|newest| match newest.index == last {
                true => Point { at: newest.at.max(self.as_of), ..newest },
                false => Point { index: last, at: self.as_of, consistency: Consistency::Crash },
            }),
            RecoverTo::LatestPoint => newest(&|_| true),
            RecoverTo::LatestApp => newest(&|point| point.consistency == Consistency::App),
        }
    }

    /// The disk as it was at a point.
    pub fn image(&self, point: Point) -> Store {
        let mut disk = self.base.clone();
        for entry in self.journal.iter().take_while(|entry| entry.at.index <= point.index) {
            let prev = disk.last();
            // The journal has no gaps, and follows the base.
            let _ = disk.follow(entry.at.term, prev, vec![entry.clone()]);
        }
        disk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::lab::store::Change;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    const fn point(index: u64, ms: u64, consistency: Consistency) -> Point {
        Point { index, at: at(ms), consistency }
    }

    /// A source that has written so many entries.
    fn source(writes: u64) -> Store {
        let mut store = Store::default();
        for n in 1..=writes {
            store.push(1, Change::Put { key: format!("k{}", n % 5), value: n.to_string() });
        }
        store
    }

    fn ship(source: &Store, replica: &mut Replica, limit: usize, ms: u64) {
        let prev = replica.last();
        replica.take(prev, source.entries_after(prev, limit).unwrap(), at(ms)).unwrap();
    }

    #[test]
    fn points_are_due_each_so_often_and_an_app_consistent_one_stands_for_both() {
        let mut pointer = Pointer::new(Duration::from_secs(5), Duration::from_secs(20), at(0));
        let due: Vec<(u64, Consistency)> =
            (0..=40).filter_map(|second| Some((second, pointer.due(at(second * 1000))?))).collect();
        use Consistency::{App, Crash};
        assert_eq!(
            due,
            [
                (0, App),
                (5, Crash),
                (10, Crash),
                (15, Crash),
                (20, App),
                (25, Crash),
                (30, Crash),
                (35, Crash),
                (40, App)
            ]
        );
        assert_eq!(pointer.deadline(), at(45_000));
    }

    #[test]
    fn the_image_of_a_point_is_the_source_s_disk_at_that_point() {
        let full = source(40);
        let mut replica = Replica::new(3);
        ship(&full, &mut replica, 10, 100);
        replica.mark(point(10, 100, Consistency::App));
        ship(&full, &mut replica, 15, 200);
        replica.mark(point(25, 200, Consistency::Crash));
        ship(&full, &mut replica, 100, 300);
        for (wanted, index) in [(RecoverTo::Latest, 40), (RecoverTo::LatestPoint, 25), (RecoverTo::LatestApp, 10)] {
            let found = replica.point(wanted).unwrap();
            assert_eq!(found.index, index, "{wanted:?}");
            assert_eq!(replica.image(found).snapshot(), source(index).snapshot(), "{wanted:?}");
        }
        assert_eq!(replica.point(RecoverTo::Latest).unwrap().at, at(300));
    }

    #[test]
    fn a_point_counts_once_all_of_it_has_arrived() {
        let full = source(20);
        let mut replica = Replica::new(3);
        ship(&full, &mut replica, 10, 100);
        replica.mark(point(20, 150, Consistency::App));
        assert_eq!(replica.point(RecoverTo::LatestApp), None);
        ship(&full, &mut replica, 100, 200);
        assert_eq!(replica.point(RecoverTo::LatestApp).unwrap().index, 20);
    }

    #[test]
    fn without_a_point_there_is_nothing_to_recover_to() {
        let mut replica = Replica::new(3);
        ship(&source(5), &mut replica, 100, 10);
        for wanted in [RecoverTo::Latest, RecoverTo::LatestPoint, RecoverTo::LatestApp] {
            assert_eq!(replica.point(wanted), None);
        }
    }

    #[test]
    fn old_points_go_and_the_journal_with_them() {
        let full = source(100);
        let mut replica = Replica::new(2);
        for index in (10..=100).step_by(10) {
            ship(&full, &mut replica, 10, index);
            replica.mark(point(index, index, Consistency::Crash));
        }
        assert_eq!((replica.points.len(), replica.journal.len()), (2, 10));
        let oldest = replica.points[0];
        assert_eq!(replica.image(oldest).snapshot(), source(90).snapshot());
    }

    #[test]
    fn a_gap_is_told_and_what_comes_twice_changes_nothing() {
        let full = source(10);
        let mut replica = Replica::new(2);
        ship(&full, &mut replica, 4, 1);
        let later = full.entries_after(Position { index: 6, term: 1 }, 9).unwrap();
        assert_eq!(replica.take(Position { index: 6, term: 1 }, later, at(2)), Err(Misfit::Gap));
        let again = full.entries_after(Position { index: 2, term: 1 }, 5).unwrap();
        assert_eq!(replica.take(Position { index: 2, term: 1 }, again, at(3)), Ok(7));
        replica.mark(point(7, 3, Consistency::Crash));
        assert_eq!(replica.image(point(7, 3, Consistency::Crash)).snapshot(), source(7).snapshot());
    }
}
