//! One heap of alarms for an engine thread; the thread sleeps until the first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Moment;

/// Alarms by moment. An alarm is never taken back: who set it tells a stale one by its moment.
#[derive(Debug)]
pub(crate) struct Timers<T: Ord> {
    heap: BinaryHeap<Reverse<(Moment, T)>>,
}

impl<T: Ord> Timers<T> {
    pub(crate) const fn new() -> Timers<T> {
        Timers { heap: BinaryHeap::new() }
    }

    /// Rings `what` at this moment.
    pub(crate) fn set(&mut self, at: Moment, what: T) {
        self.heap.push(Reverse((at, what)));
    }

    /// The moment of the first alarm.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The first alarm whose moment has come.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(Moment, T)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(alarm)| alarm)
    }
}
