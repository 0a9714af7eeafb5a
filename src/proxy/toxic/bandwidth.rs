//! Bandwidth: bytes leave at a rate, in small quanta and without an initial burst.
//!
//! The toxic keeps a clock of its own: the moment up to which the line was busy. A quantum leaves when its own
//! transmission has ended by that clock, not so long after the last one left, so an engine that wakes late catches up
//! and the mean rate stays exact.

use std::time::Duration;

use super::{Answer, BUDGET, Behaviour, PASSING, View};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::ByteRate;

/// Quanta a second, where the rate allows: 2,000, so that a window of 10 ms sees 20 of them, give or take one.
const QUANTA_PER_SECOND: u64 = 2_000;

/// A quantum is not smaller than this, unless that took more than [`SLOWEST_QUANTUM`]: small segments are costly.
const SMALLEST_QUANTUM: u64 = 256;

/// The divisor of the rate for slow lines: 10 ms worth of bytes.
const SLOWEST_QUANTUM: u64 = 100;

/// How much lateness of the engine is caught up. More would be a burst that no line has.
const CATCH_UP: Duration = Duration::from_millis(25);

/// What the line holds, as time at its rate: more than [`CATCH_UP`] hides from a source that is read late.
const QUEUE: Duration = Duration::from_millis(40);

#[derive(Debug)]
pub(super) struct Bandwidth {
    /// Bytes a second; 0: nothing passes.
    rate: u64,
    /// The line was busy until then.
    busy_until: Moment,
    /// Bytes whose transmission has ended, and which have not left yet.
    granted: usize,
}

impl Bandwidth {
    pub(super) fn new(rate: ByteRate) -> Bandwidth {
        Bandwidth { rate: rate.0, busy_until: Moment::START, granted: 0 }
    }

    fn quantum(&self) -> u64 {
        let slow = SMALLEST_QUANTUM.min(self.rate / SLOWEST_QUANTUM);
        (self.rate / QUANTA_PER_SECOND).max(slow).max(1)
    }

    /// How long so many bytes take, rounded up.
    fn time_of(&self, bytes: u64) -> Duration {
        let ns = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.rate.max(1)));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many bytes pass in that time, rounded down.
    fn bytes_in(&self, time: Duration) -> usize {
        let bytes = time.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl Behaviour for Bandwidth {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::Bandwidth { rate } = *toxic else { return false };
        *self = Bandwidth { busy_until: self.busy_until, ..Bandwidth::new(rate) };
        true
    }

    fn ask(&mut self, view: View<'_>, _dice: &mut Dice) -> Answer {
        if self.rate == 0 {
            return Answer::Wait(None);
        }
        if self.granted == 0 {
            let wanted = self.time_of(self.quantum().min(view.held as u64));
            let start = self.busy_until.max(view.front.arrived).max(view.now - wanted - CATCH_UP);
            let ready = start + wanted;
            if ready > view.now {
                return Answer::Wait(Some(ready));
            }
            self.granted = self.bytes_in(view.now.saturating_since(start)).clamp(1, view.held);
            self.busy_until = (start + self.time_of(self.granted as u64)).min(view.now);
        }
        let len = self.granted.min(view.front.bytes.len());
        self.granted -= len;
        Answer::Pass { len, at: self.busy_until }
    }

    fn capacity(&self) -> usize {
        self.bytes_in(QUEUE).clamp(PASSING, BUDGET)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rig::{ask, bandwidth, bytes, chain, ms, run, sizes};
    use super::*;
    use crate::proxy::chain::{Chain, Step, ToxicId};

    /// A greedy source behind an engine that wakes up to `late` too late, for one second; what left when.
    fn saturate(chain: &mut Chain, chunk: usize, mut late: impl FnMut() -> Duration) -> Vec<(Moment, usize)> {
        let (mut left, mut now) = (Vec::new(), ms(0));
        while now < ms(1000) {
            while chain.room() >= chunk {
                chain.offer(Bytes::from(vec![0; chunk]), now);
            }
            let until = ask(chain, now, &mut left).expect("bytes are held");
            now = until + late();
        }
        sizes(&left)
    }

    /// Bytes in the fullest and the emptiest of all windows of 10 ms between 50 ms and 950 ms.
    fn extremes(left: &[(Moment, usize)]) -> (usize, usize) {
        let windows = (500..9_400).map(|tenth| {
            let from = Moment(tenth * 100_000);
            let to = from + Duration::from_millis(10);
            left.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, len)| len).sum()
        });
        let windows: Vec<usize> = windows.collect();
        (*windows.iter().min().unwrap(), *windows.iter().max().unwrap())
    }

    #[test]
    fn every_window_of_10_ms_sees_between_90_and_110_percent() {
        let left = saturate(&mut chain([bandwidth(1_000_000)]), 16_384, || Duration::ZERO);
        let (least, most) = extremes(&left);
        assert!(least >= 9_000 && most <= 11_000, "{least}..{most}");
    }

    #[test]
    fn windows_stay_even_when_the_engine_wakes_400_us_late_at_times() {
        let mut turn = 0;
        let left = saturate(&mut chain([bandwidth(1_000_000)]), 16_384, || {
            turn += 1;
            Duration::from_micros([0, 60, 400, 20][turn % 4])
        });
        let (least, most) = extremes(&left);
        assert!(least >= 9_000 && most <= 11_000, "{least}..{most}");
    }

    #[test]
    fn the_mean_is_exact_though_the_engine_always_wakes_late() {
        for (rate, late) in [(100_000_000, 300), (100_000_000, 5_000), (1_000_000, 2_000), (7_777, 900)] {
            let left = saturate(&mut chain([bandwidth(rate)]), 16_384, || Duration::from_micros(late));
            let sum: usize = left.iter().map(|(_, len)| len).sum();
            let seconds = left.last().unwrap().0.as_secs_f64();
            let share = sum as f64 / (rate as f64 * seconds);
            assert!((0.99..1.01).contains(&share), "{rate} B/s, {late} µs late: {share}");
        }
    }

    #[test]
    fn there_is_no_initial_burst_and_none_after_silence() {
        let mut chain = chain([bandwidth(1_000)]);
        chain.offer(Bytes::from(vec![1; 10]), ms(0));
        assert_eq!(chain.next(ms(0)), Step::Wait(Some(ms(10))));
        assert_eq!(bytes(&run(&mut chain, ms(0), ms(100))).len(), 10);
        chain.offer(Bytes::from(vec![1; 10]), ms(5_000));
        assert_eq!(chain.next(ms(5_000)), Step::Wait(Some(ms(5_010))));
    }

    #[test]
    fn a_stalled_engine_does_not_burst_afterwards() {
        let mut chain = chain([bandwidth(1_000_000)]);
        chain.offer(Bytes::from(vec![0; 60_000]), ms(0));
        let mut left = Vec::new();
        ask(&mut chain, ms(0), &mut left);
        ask(&mut chain, ms(50), &mut left);
        assert_eq!(bytes(&left).len(), 25_500, "a quantum, and at most 25 ms are caught up");
    }

    #[test]
    fn back_pressure_reaches_the_source() {
        let mut chain = chain([bandwidth(1_000)]);
        let mut offered = 0;
        while chain.room() > 0 {
            chain.offer(Bytes::from(vec![0; 4096.min(chain.room())]), ms(0));
            offered += 4096;
        }
        assert!(offered <= PASSING, "{offered}");
    }

    #[test]
    fn a_new_rate_counts_at_once() {
        let mut chain = chain([bandwidth(1)]);
        chain.offer(Bytes::from(vec![0; 1000]), ms(0));
        chain.next(ms(0));
        chain.update(ToxicId(0), bandwidth(1_000_000), ms(100));
        let left = run(&mut chain, ms(100), ms(10_000));
        assert_eq!(left.last().map(|(at, _)| *at), Some(ms(100)), "1 ms of transmission is long over");
    }

    #[test]
    fn absurd_rates_neither_panic_nor_spin() {
        for rate in [0, 1, u64::MAX] {
            let mut chain = chain([bandwidth(rate)]);
            chain.offer(Bytes::from(vec![0; 100]), ms(0));
            let left = run(&mut chain, ms(0), ms(1_000_000));
            assert_eq!(bytes(&left).len(), if rate == 0 { 0 } else { 100 }, "{rate}");
        }
    }
}
