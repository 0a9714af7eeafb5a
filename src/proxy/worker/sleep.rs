//! Sleeping until an alarm, and not past it.
//!
//! A timer rings some microseconds late, and a core that has rested takes up to a hundred more to come back. A sleeper
//! learns how late it wakes, asks to be woken that much earlier, and waits out the rest awake. Nor does it fall asleep
//! at once when an alarm has rung: what the alarm let go is answered within microseconds, and the way back from sleep
//! would be added to the delay that was asked for.

use std::time::Duration;

use crate::clock::Moment;

/// Shorter sleeps end on time as they are, and there may be so many that waiting awake would cost a core.
const LONG: Duration = Duration::from_micros(800);

/// The most that is waited awake before an alarm, and after it.
const BEFORE: Duration = Duration::from_micros(200);
const AFTER: Duration = Duration::from_micros(100);

/// Neither takes more than this part of the sleep, so that waiting awake costs a fifth of a core at the very most.
const PART: u32 = 10;

/// How late an engine thread wakes, learnt from its sleeps.
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    /// By how much long sleeps ended late: a running mean, and that of its deviation.
    late: Duration,
    strays: Duration,
    /// Until then it stays awake; the start if it need not.
    awake_until: Moment,
    /// When the present sleep is to end, where that is something to learn from.
    asked: Option<Moment>,
}

impl Sleeper {
    /// For how long to sleep with the next alarm at `alarm`; none: until something comes.
    pub(crate) fn sleep(&mut self, alarm: Option<Moment>, now: impl FnOnce() -> Moment) -> Option<Duration> {
        if alarm.is_none() && self.awake_until == Moment::START {
            return None;
        }
        let now = now();
        if now < self.awake_until {
            return Some(Duration::ZERO);
        }
        self.awake_until = Moment::START;
        let alarm = alarm?;
        let wait = alarm.saturating_since(now);
        if wait < LONG {
            return Some(wait);
        }
        let early = (self.late + self.strays).min(BEFORE).min(wait / PART);
        self.awake_until = alarm + AFTER.min(wait / PART);
        self.asked = Some(alarm - early);
        Some(wait - early)
    }

    /// A sleep has ended: by itself, or since something came.
    pub(crate) fn woken(&mut self, by_itself: bool, now: impl FnOnce() -> Moment) {
        let Some(asked) = self.asked.take() else { return };
        if !by_itself {
            self.awake_until = Moment::START;
            return;
        }
        let late = now().saturating_since(asked);
        // Gains of 1/8 and 1/4, as in RFC 6298, section 2, where a round trip's time is learnt.
        self.strays = (self.strays * 3 + self.late.abs_diff(late)) / 4;
        self.late = (self.late * 7 + late) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// Sleeps of so long that end late by `late`: how long the last one was.
    fn last_of(sleeper: &mut Sleeper, count: u32, wait: Duration, late: Duration) -> Duration {
        let mut now = Moment::START;
        let mut last = Duration::ZERO;
        for _ in 0..count {
            last = sleeper.sleep(Some(now + wait), || now).unwrap();
            now = now + last + late;
            sleeper.woken(true, || now);
            // What is waited awake passes.
            now = now + BEFORE + AFTER + wait;
        }
        last
    }

    #[test]
    fn sleeps_that_end_late_are_cut_short_by_that() {
        let mut sleeper = Sleeper::default();
        assert_eq!(sleeper.sleep(Some(Moment::from_millis(5)), || Moment::START), Some(us(5000)), "nothing is learnt");
        let last = last_of(&mut Sleeper::default(), 60, us(5000), us(70));
        assert!((us(4925)..=us(4931)).contains(&last), "{last:?}");
    }

    #[test]
    fn no_more_than_a_tenth_of_a_sleep_is_waited_awake() {
        assert_eq!(last_of(&mut Sleeper::default(), 60, us(1000), us(3000)), us(900));
        assert_eq!(last_of(&mut Sleeper::default(), 60, us(100_000), us(3000)), us(99_800));
    }

    #[test]
    fn it_stays_awake_until_the_alarm_and_a_little_longer() {
        let mut sleeper = Sleeper::default();
        last_of(&mut sleeper, 60, us(5000), us(70));
        let begin = Moment::from_millis(9000);
        let slept = sleeper.sleep(Some(begin + us(5000)), || begin).unwrap();
        assert!(slept < us(5000));
        sleeper.woken(true, || begin + slept + us(20));
        for awake in [us(4960), us(5000), us(5099)] {
            assert_eq!(sleeper.sleep(Some(begin + us(9000)), || begin + awake), Some(us(0)));
        }
        assert_eq!(sleeper.sleep(None, || begin + us(5100)), None, "it may sleep until something comes");
        assert_eq!(sleeper.sleep(None, || unreachable!("the clock is not read for nothing")), None);
    }

    #[test]
    fn a_sleep_that_was_interrupted_is_gone_on_with() {
        let mut sleeper = Sleeper::default();
        assert_eq!(sleeper.sleep(Some(Moment::from_millis(100)), || Moment::START), Some(us(100_000)));
        sleeper.woken(false, || unreachable!());
        assert_eq!(sleeper.sleep(Some(Moment::from_millis(100)), || Moment::from_millis(1)), Some(us(99_000)));
    }

    #[test]
    fn short_sleeps_are_as_long_as_asked() {
        let mut sleeper = Sleeper::default();
        last_of(&mut sleeper, 60, us(5000), us(70));
        let begin = Moment::from_millis(9000);
        assert_eq!(sleeper.sleep(Some(begin + us(700)), || begin), Some(us(700)));
        sleeper.woken(true, || unreachable!());
    }
}
