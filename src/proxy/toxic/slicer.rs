//! Slicer: chunks are cut into small ones, with a wait between.
//!
//! The wait counts from the moment at which the piece before left, so two pieces are never closer than it.

use std::time::Duration;

use super::{Answer, Behaviour, View};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::{Bytes, Span};

#[derive(Debug)]
pub(super) struct Slicer {
    size: u64,
    variation: u64,
    wait: Duration,
    /// The next piece may leave then.
    ready: Moment,
}

impl Slicer {
    pub(super) fn new(size: Bytes, variation: Bytes, wait: Span) -> Slicer {
        Slicer { size: size.0, variation: variation.0, wait: wait.0, ready: Moment::START }
    }

    /// A length from `size - variation` to `size + variation`, at least one byte.
    fn draw(&self, dice: &mut Dice) -> u64 {
        let span = self.variation.saturating_mul(2).saturating_add(1);
        let above = if self.variation == 0 { 0 } else { dice.below(span) };
        self.size.saturating_add(above).saturating_sub(self.variation).max(1)
    }
}

impl Behaviour for Slicer {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::Slicer { size, variation, wait } = *toxic else { return false };
        *self = Slicer::new(size, variation, wait);
        true
    }

    fn ask(&mut self, view: View<'_>, dice: &mut Dice) -> Answer {
        if self.ready > view.now {
            return Answer::Wait(Some(self.ready));
        }
        let front = view.front.bytes.len();
        let len = usize::try_from(self.draw(dice)).unwrap_or(front).min(front);
        let at = view.front.arrived.max(self.ready);
        self.ready = if self.wait.is_zero() { Moment::START } else { view.now + self.wait };
        Answer::Pass { len, at }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{bytes, chain, ms, run, sizes, span};
    use super::*;
    use crate::seed::Seed;

    fn slicer(size: u64, variation: u64, wait: &str) -> Toxic {
        Toxic::Slicer { size: Bytes(size), variation: Bytes(variation), wait: span(wait) }
    }

    #[test]
    fn pieces_leave_one_wait_apart() {
        let mut chain = chain([slicer(4, 0, "10ms")]);
        chain.offer(bytes::Bytes::from_static(b"0123456789"), ms(0));
        let left = run(&mut chain, ms(0), ms(1000));
        assert_eq!(sizes(&left), [(ms(0), 4), (ms(10), 4), (ms(20), 2)]);
        assert_eq!(bytes(&left), b"0123456789");
        assert_eq!(chain.tally().altered_chunks, 1, "one chunk, however many pieces");
        chain.offer(bytes::Bytes::from_static(b"next"), ms(21));
        assert_eq!(sizes(&run(&mut chain, ms(21), ms(1000))), [(ms(30), 4)], "the last piece is waited after as well");
    }

    #[test]
    fn sizes_have_the_mean_and_the_spread_asked_for() {
        let slicer = Slicer::new(Bytes(1000), Bytes(200), Span::default());
        let mut dice = Seed(2).stream("slices");
        let draws: Vec<u64> = (0..50_000).map(|_| slicer.draw(&mut dice)).collect();
        assert!(draws.iter().all(|len| (800..=1200).contains(len)));
        let mean = draws.iter().sum::<u64>() as f64 / 50_000.0;
        // Five standard errors: 5 × 115.8 / √50,000.
        assert!((mean - 1000.0).abs() < 2.6, "{mean}");
    }

    #[test]
    fn absurd_sizes_neither_panic_nor_stop_the_stream() {
        for (size, variation) in [(0, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (1, u64::MAX / 2), (u64::MAX, 0)] {
            let mut chain = chain([slicer(size, variation, "0s")]);
            chain.offer(bytes::Bytes::from(vec![9; 3000]), ms(0));
            assert_eq!(bytes(&run(&mut chain, ms(0), ms(0))), [9; 3000], "{size} ± {variation}");
        }
    }
}
