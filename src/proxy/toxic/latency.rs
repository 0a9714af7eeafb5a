//! Latency: each chunk leaves so long after its arrival, in order.
//!
//! The delay counts from arrival, so that it is paid once by a stream and not once per chunk: a latency never turns
//! into a bandwidth limit, up to what a chain may hold. What leaves bears the moment at which it was due, so the
//! delays of two latencies add up exactly, however late the engine woke.

use std::time::Duration;

use super::{Answer, BUDGET, Behaviour, View};
use crate::clock::Moment;
use crate::plan::fault::{Law, Toxic};
use crate::seed::Dice;
use crate::units::{Share, Span};

/// The shape of [`Law::Pareto`]; with 3 its mean is 1.5 and its variance finite.
const PARETO_SHAPE: f64 = 3.0;

#[derive(Debug)]
pub(super) struct Latency {
    add: Duration,
    jitter: Duration,
    law: Law,
    correlation: f64,
    /// The spread drawn last, in jitters.
    spread: Option<f64>,
    /// When the front chunk leaves; drawn once for each chunk.
    due: Option<Moment>,
    /// When the chunk before was due. A later one never overtakes it.
    last: Moment,
}

impl Latency {
    pub(super) fn new(add: Span, jitter: Span, law: Law, correlation: Share) -> Latency {
        Latency {
            add: add.0,
            jitter: jitter.0,
            law,
            correlation: correlation.get(),
            spread: None,
            due: None,
            last: Moment::START,
        }
    }

    /// The delay of the next chunk, never below zero.
    fn draw(&mut self, dice: &mut Dice) -> Duration {
        if self.jitter.is_zero() {
            return self.add;
        }
        let ns = self.add.as_nanos() as f64 + self.jitter.as_nanos() as f64 * self.draw_spread(dice);
        Duration::from_nanos(ns as u64)
    }

    /// A spread in jitters. With the probability of the correlation it is that of the chunk before, which keeps the
    /// law exact for every chunk and makes the correlation of two neighbours just that probability.
    fn draw_spread(&mut self, dice: &mut Dice) -> f64 {
        if let Some(spread) = self.spread
            && self.correlation > 0.0
            && dice.chance(self.correlation)
        {
            return spread;
        }
        let spread = match self.law {
            Law::Uniform => dice.uniform(-1.0, 1.0),
            Law::Normal => dice.normal(),
            Law::Pareto => dice.pareto(PARETO_SHAPE) - 1.0,
        };
        self.spread = Some(spread);
        spread
    }
}

impl Behaviour for Latency {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::Latency { add, jitter, law, correlation } = *toxic else { return false };
        *self = Latency { last: self.last, ..Latency::new(add, jitter, law, correlation) };
        true
    }

    fn ask(&mut self, view: View<'_>, dice: &mut Dice) -> Answer {
        let due = match self.due {
            Some(due) => due,
            None => (view.front.arrived + self.draw(dice)).max(self.last),
        };
        if due > view.now {
            self.due = Some(due);
            return Answer::Wait(Some(due));
        }
        self.due = None;
        self.last = due;
        Answer::Pass { len: view.front.bytes.len(), at: due }
    }

    fn capacity(&self) -> usize {
        BUDGET
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::rig::{Left, ask, bytes, chain, closes, latency, ms, run, share, sizes, span};
    use super::*;
    use crate::proxy::chain::{Chain, Close, Step, ToxicId};
    use crate::seed::Seed;

    #[test]
    fn latency_is_paid_once_not_once_per_chunk() {
        let mut chain = chain([latency("100ms")]);
        for _ in 0..10 {
            chain.offer(Bytes::from_static(b"chunk"), ms(5));
        }
        assert_eq!(sizes(&run(&mut chain, ms(5), ms(1000))), [(ms(105), 5); 10]);
    }

    #[test]
    fn two_latencies_add_up_however_late_the_engine_wakes() {
        let mut chain = chain([latency("100ms"), latency("20ms")]);
        chain.offer(Bytes::from_static(b"a"), ms(0));
        assert_eq!(chain.next(ms(0)), Step::Wait(Some(ms(100))));
        // 7 ms late; the second delay still counts from 100 ms.
        assert_eq!(chain.next(ms(107)), Step::Wait(Some(ms(120))));
        assert_eq!(chain.next(ms(120)), Step::Send(Bytes::from_static(b"a")));
    }

    #[test]
    fn ten_megabytes_pass_100_ms_at_once() {
        let mut chain = chain([latency("100ms")]);
        for _ in 0..160 {
            assert!(chain.room() >= 65_536, "the pipe holds 10 MB");
            chain.offer(Bytes::from(vec![7; 65_536]), ms(0));
        }
        let left = run(&mut chain, ms(0), ms(1000));
        assert_eq!(left.last().map(|(at, _)| *at), Some(ms(100)));
        assert_eq!(bytes(&left).len(), 160 * 65_536);
    }

    #[test]
    fn a_close_comes_behind_the_bytes_and_is_not_delayed_further() {
        let mut chain = chain([latency("100ms")]);
        chain.offer(Bytes::from_static(b"bye"), ms(10));
        chain.finish(ms(20));
        let left = run(&mut chain, ms(20), ms(1000));
        assert_eq!(sizes(&left), [(ms(110), 3)]);
        assert_eq!(closes(&left), [(ms(110), Close::Fin)]);
    }

    #[test]
    fn a_shorter_delay_waits_for_the_chunk_before() {
        let mut latency = Latency::new(span("10ms"), span("10ms"), Law::Uniform, Share::NONE);
        let mut dice = Seed(3).stream("jitter");
        let mut last = Moment::START;
        for at in 0..1000 {
            let front = super::super::Chunk { bytes: Bytes::from_static(b"x"), arrived: ms(at) };
            let Answer::Pass { at: due, .. } = latency.ask(View { front: &front, held: 1, now: ms(5000) }, &mut dice)
            else {
                panic!("all are due")
            };
            assert!(due >= last && due <= ms(at + 20).max(last));
            last = due;
        }
    }

    /// The delays of many chunks that do not meet one another.
    fn delays(law: Law, correlation: f64) -> Vec<f64> {
        let mut latency = Latency::new(span("1s"), span("100ms"), law, share(correlation));
        let mut dice = Seed(11).stream("delays");
        (0..50_000).map(|_| latency.draw(&mut dice).as_secs_f64() * 1e3).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn each_law_has_the_mean_and_spread_that_it_promises() {
        let uniform = delays(Law::Uniform, 0.0);
        assert!(uniform.iter().all(|d| (900.0..1100.0).contains(d)));
        // Five standard errors at n = 50,000: 100/√3/√n, 100/√n, and 87/√n for Pareto's.
        assert!((mean(&uniform) - 1000.0).abs() < 1.3);
        let normal = delays(Law::Normal, 0.0);
        assert!((mean(&normal) - 1000.0).abs() < 2.3);
        let variance = mean(&normal.iter().map(|d| (d - 1000.0).powi(2)).collect::<Vec<_>>());
        assert!((variance.sqrt() - 100.0).abs() < 2.0);
        let pareto = delays(Law::Pareto, 0.0);
        assert!((mean(&pareto) - 1050.0).abs() < 2.0);
        assert!(pareto.iter().all(|&d| d >= 1000.0) && pareto.iter().any(|&d| d > 1500.0), "a long tail");
    }

    #[test]
    fn neighbours_correlate_as_much_as_was_asked() {
        for (law, want) in [(Law::Uniform, 0.0), (Law::Uniform, 0.5), (Law::Normal, 0.9)] {
            let delays = delays(law, want);
            let mean = mean(&delays);
            let both: f64 = delays.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
            let each: f64 = delays.iter().map(|d| (d - mean).powi(2)).sum();
            assert!((both / each - want).abs() < 0.03, "{law:?} {want}: {}", both / each);
        }
    }

    #[test]
    fn removal_releases_what_is_held_at_once_and_in_order() {
        let mut chain = chain([latency("10s")]);
        chain.offer(Bytes::from_static(b"one "), ms(0));
        chain.offer(Bytes::from_static(b"two"), ms(1));
        chain.finish(ms(2));
        let mut left = Vec::new();
        ask(&mut chain, ms(3), &mut left);
        assert_eq!(left, []);
        chain.remove(ToxicId(0), ms(4));
        ask(&mut chain, ms(4), &mut left);
        assert_eq!(bytes(&left), b"one two");
        assert_eq!(left.last(), Some(&(ms(4), Left::Close(Close::Fin))));
        assert!(chain.is_empty());
    }

    #[test]
    fn an_update_counts_for_what_is_held_from_its_arrival() {
        let mut chain = chain([latency("10s")]);
        chain.offer(Bytes::from_static(b"x"), ms(0));
        chain.next(ms(0));
        chain.update(ToxicId(0), latency("50ms"), ms(20));
        assert_eq!(sizes(&run(&mut chain, ms(20), ms(1000))), [(ms(50), 1)]);
    }

    #[test]
    fn a_delay_beyond_all_bounds_waits_for_ever() {
        let mut chain = Chain::new();
        let forever = Toxic::Latency {
            add: Span(Duration::MAX),
            jitter: Span(Duration::MAX),
            law: Law::Pareto,
            correlation: Share::ALL,
        };
        chain.insert(ToxicId(0), forever, Seed(1).stream("x"), Moment(u64::MAX - 5));
        chain.offer(Bytes::from_static(b"x"), Moment(u64::MAX - 5));
        assert_eq!(chain.next(Moment(u64::MAX - 5)), Step::Wait(None));
    }
}
