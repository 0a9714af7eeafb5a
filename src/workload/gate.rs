//! The rate that a target outside loopback permits.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::units::Rate;

/// Attempts a second at most, retries included: in no window of a second are there more.
///
/// Attempts have places, so many in each window. First attempts of an open loop take theirs by schedule: its rate was
/// checked against the permitted one at the start, and its places are nobody else's. The rest is booked for the moment
/// when the attempt will be sent, by retries, hedges and the users of a closed loop.
#[derive(Debug)]
pub(crate) struct Gate {
    /// A second, or as long as the permitted rate needs for whole attempts.
    window: Duration,
    places: u64,
    /// Places booked, by moment.
    booked: Mutex<BTreeMap<Moment, u64>>,
}

/// No window is longer: nobody permits less than an attempt a year.
const LONGEST: Duration = Duration::from_secs(31_557_600);

impl Gate {
    /// A gate for so many attempts, of which a schedule with this peak takes its part.
    pub(crate) fn new(permitted: Rate, scheduled: Option<Rate>) -> Gate {
        let all = permitted.get().ceil();
        let window = Duration::try_from_secs_f64(all / permitted.get()).unwrap_or(Duration::MAX).min(LONGEST);
        let scheduled = scheduled.map_or(0.0, |rate| (rate.get() * window.as_secs_f64()).ceil());
        Gate { window, places: (all - scheduled).max(0.0) as u64, booked: Mutex::default() }
    }

    /// Books a place for a retry or hedge that would be sent `at` a moment; whether there is one.
    pub(crate) fn book(&self, now: Moment, at: Moment) -> bool {
        let mut booked = self.booked(now);
        let free = self.crowded(&booked, at).is_none();
        if free {
            *booked.entry(at).or_default() += 1;
        }
        free
    }

    /// Books the first place from `now` on, and tells when it is; a closed loop waits for it.
    pub(crate) fn next(&self, now: Moment) -> Moment {
        let mut booked = self.booked(now);
        let mut at = now;
        while let Some(earliest) = self.crowded(&booked, at) {
            at = earliest + self.window;
        }
        *booked.entry(at).or_default() += 1;
        at
    }

    /// The earliest booking less than a window from `at`, if one more there could be one too many in some window.
    fn crowded(&self, booked: &BTreeMap<Moment, u64>, at: Moment) -> Option<Moment> {
        let near = booked
            .range(at - self.window..=at + self.window)
            .filter(|(moment, _)| moment.signed_ns_since(at).unsigned_abs() < self.window.as_nanos() as u64);
        let (mut earliest, mut count) = (None, 0);
        for (moment, places) in near {
            earliest = earliest.or(Some(*moment));
            count += places;
        }
        (count >= self.places).then(|| earliest.unwrap_or(at))
    }

    /// The bookings that still matter.
    fn booked(&self, now: Moment) -> MutexGuard<'_, BTreeMap<Moment, u64>> {
        // A panic elsewhere leaves the bookings as they are.
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(oldest) = booked.first_entry()
            && now.saturating_since(*oldest.key()) >= self.window
        {
            oldest.remove();
        }
        booked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: fn(u64) -> Moment = Moment::from_millis;

    fn gate(permitted: f64, scheduled: Option<f64>) -> Gate {
        let rate = |rate| Rate::per_second(rate).unwrap();
        Gate::new(rate(permitted), scheduled.map(rate))
    }

    #[test]
    fn retries_have_what_the_schedule_leaves() {
        let gate = gate(10.0, Some(7.0));
        assert_eq!((0..10).filter(|_| gate.book(AT(0), AT(0))).count(), 3);
        assert!(!gate.book(AT(999), AT(999)));
        assert_eq!((0..10).filter(|_| gate.book(AT(1000), AT(1000))).count(), 3);
        let full = self::gate(10.0, Some(10.0));
        assert!(!full.book(AT(0), AT(0)), "a schedule of the whole rate leaves nothing");
    }

    #[test]
    fn a_retry_takes_its_place_when_it_is_sent_and_not_when_it_is_decided() {
        let gate = gate(2.0, None);
        // Failures at 0 and 900 ms, to be tried again at 2 s and 2.1 s: the places of the third second.
        assert!(gate.book(AT(0), AT(2000)) && gate.book(AT(900), AT(2100)));
        assert!(!gate.book(AT(1000), AT(2050)), "none is left there");
        assert!(gate.book(AT(1000), AT(1000)), "but here");
    }

    #[test]
    fn users_queue_for_the_permitted_rate() {
        let gate = gate(2.0, None);
        let turns: Vec<Moment> = (0..5).map(|_| gate.next(AT(100))).collect();
        assert_eq!(turns, [AT(100), AT(100), AT(1100), AT(1100), AT(2100)]);
    }

    #[test]
    fn a_rate_below_one_a_second_has_a_longer_window() {
        let slow = gate(0.5, None);
        assert_eq!([slow.next(AT(0)), slow.next(AT(0)), slow.next(AT(0))], [AT(0), AT(2000), AT(4000)]);
        let uneven = gate(1.5, None);
        let turns: Vec<f64> = (0..4).map(|_| uneven.next(AT(0)).as_secs_f64()).collect();
        assert!(turns[1] == 0.0 && (turns[2] - 4.0 / 3.0).abs() < 1e-6, "two in each 1.33 s: {turns:?}");
    }

    proptest! {
        /// Whoever asks, in whatever order, for whatever moment: no second has more than is permitted.
        #[test]
        fn no_second_has_more_than_is_permitted(
            permitted in 1u64..20,
            steps in proptest::collection::vec((0u64..400, proptest::option::of(0u64..3_000)), 1..150),
        ) {
            let gate = gate(permitted as f64, None);
            let (mut now, mut sent) = (0, vec![]);
            for (wait, after) in steps {
                now += wait;
                match after {
                    Some(after) if gate.book(AT(now), AT(now + after)) => sent.push(AT(now + after)),
                    Some(_) => {}
                    None => sent.push(gate.next(AT(now))),
                }
            }
            for from in &sent {
                let within = sent.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(*at));
                prop_assert!(within.count() as u64 <= permitted);
            }
        }
    }
}
