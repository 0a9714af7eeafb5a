//! A virtual clock, and a network on which every message may be lost or, what is worse, arrive after the fault that held
//! it up.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::Moment;
use crate::seed::Dice;

/// What happens when, and what is under way between places.
pub(in crate::system::lab) struct Network<E> {
    /// All chance of the run.
    pub(in crate::system::lab) dice: Dice,
    now: Moment,
    times: Times,
    order: u64,
    queue: BinaryHeap<Queued<E>>,
    /// How many cuts are in force from one place to another.
    cuts: Vec<Vec<u8>>,
}

/// The course of a run.
#[derive(Clone, Copy, Debug)]
pub(in crate::system::lab) struct Times {
    /// No fault strikes from then on, and no message is lost: "serves again" must not hang on the last heartbeat's luck.
    pub(in crate::system::lab) faults_end: Moment,
    /// Everything is healed by then, and nothing of the past arrives any more.
    pub(in crate::system::lab) past_ends: Moment,
    /// The end.
    pub(in crate::system::lab) end: Moment,
}

struct Queued<E> {
    at: Moment,
    order: u64,
    event: E,
}

impl<E> PartialEq for Queued<E> {
    fn eq(&self, other: &Queued<E>) -> bool {
        self.order == other.order
    }
}

impl<E> Eq for Queued<E> {}

impl<E> PartialOrd for Queued<E> {
    fn partial_cmp(&self, other: &Queued<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Queued<E> {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Queued<E>) -> Ordering {
        (other.at.0, other.order).cmp(&(self.at.0, self.order))
    }
}

impl<E> Network<E> {
    /// Between so many places.
    pub(in crate::system::lab) fn new(places: usize, times: Times, dice: Dice) -> Network<E> {
        let cuts = vec![vec![0; places]; places];
        Network { dice, now: Moment::START, times, order: 0, queue: BinaryHeap::new(), cuts }
    }

    pub(in crate::system::lab) fn now(&self) -> Moment {
        self.now
    }

    /// Whether faults still strike.
    pub(in crate::system::lab) fn rages(&self) -> bool {
        self.now <= self.times.faults_end
    }

    /// Goes on to what happens next; none at the end.
    pub(in crate::system::lab) fn next(&mut self) -> Option<E> {
        let Queued { at, event, .. } = self.queue.pop()?;
        if at > self.times.end {
            return None;
        }
        self.now = at;
        Some(event)
    }

    pub(in crate::system::lab) fn after(&mut self, delay: Duration, event: E) {
        self.order += 1;
        self.queue.push(Queued { at: self.now + delay, order: self.order, event });
    }

    /// A message from one to another: 1 to 12 ms, lost at times, held or lost by a cut.
    pub(in crate::system::lab) fn send(&mut self, from: usize, to: usize, arrives: E) {
        let cut = self.cuts[from][to] > 0;
        let loss = if self.rages() { 0.01 } else { 0.0 };
        if self.dice.chance(if cut { 0.5 } else { loss }) {
            return;
        }
        // Held until some moment after which most cuts are healed: a message of the past.
        let held = if cut { Duration::from_millis(100 + self.dice.below(2_000)) } else { Duration::ZERO };
        let held = held.min(self.times.past_ends.saturating_since(self.now));
        let travel = Duration::from_micros(1_000 + self.dice.below(11_000));
        self.after(held + travel, arrives);
    }

    /// No message from one to another is safe until as many cuts are mended.
    pub(in crate::system::lab) fn cut(&mut self, from: usize, to: usize) {
        self.cuts[from][to] += 1;
    }

    pub(in crate::system::lab) fn mend(&mut self, from: usize, to: usize) {
        self.cuts[from][to] -= 1;
    }
}
