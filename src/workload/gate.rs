//! The rate that a target outside loopback permits.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;
use crate::units::Rate;

/// Attempts a second at most, retries included, over a second (a generic cell rate algorithm).
///
/// First attempts of an open loop always pass, as their rate was checked against the permitted one at the start; they
/// leave that much less for retries.
#[derive(Debug)]
pub(crate) struct Gate {
    gap_ns: u64,
    /// When the bucket is empty again.
    empty_at: AtomicU64,
}

/// How much may go at once.
const BURST_NS: u64 = 1_000_000_000;

impl Gate {
    pub(crate) fn new(rate: Rate) -> Gate {
        Gate { gap_ns: rate.gap().as_nanos() as u64, empty_at: AtomicU64::new(0) }
    }

    /// An attempt that goes in any case.
    pub(crate) fn pass(&self, now: Moment) {
        self.step(now, u64::MAX);
    }

    /// A retry or hedge: whether it may go.
    pub(crate) fn ask(&self, now: Moment) -> bool {
        self.step(now, BURST_NS)
    }

    /// When the next attempt is within the rate; a closed loop waits for it.
    pub(crate) fn free_at(&self) -> Moment {
        Moment(self.empty_at.load(Ordering::Relaxed).saturating_sub(BURST_NS))
    }

    fn step(&self, now: Moment, most: u64) -> bool {
        let next = |empty_at: u64| {
            let next = empty_at.max(now.0).saturating_add(self.gap_ns);
            (next - now.0 <= most).then_some(next)
        };
        self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_fill_what_first_attempts_leave() {
        let gate = Gate::new(Rate::per_second(10.0).unwrap());
        (0..7).for_each(|_| gate.pass(Moment::START));
        assert_eq!((0..10).filter(|_| gate.ask(Moment::START)).count(), 3);
        assert_eq!((0..10).filter(|_| gate.ask(Moment::from_millis(500))).count(), 5);
        gate.pass(Moment::from_millis(500));
        assert!(!gate.ask(Moment::from_millis(600)), "the first attempt took what came in");
        assert_eq!(gate.free_at(), Moment::from_millis(600));
    }
}
