//! Chance that can be repeated: one seed a run, a named stream for each user of chance.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The seed of a run; the report prints it, `--seed` sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The dice of one user of chance, such as `link/web-db/up`.
    ///
    /// Streams are independent: a new link does not shift another's dice.
    pub fn stream(self, name: &str) -> Dice {
        let key = Sha256::new().chain_update(self.0.to_le_bytes()).chain_update(name).finalize();
        Dice(ChaCha8Rng::from_seed(key.into()))
    }
}

/// A stream of random draws. The laws are our own, so that a seed means the same in every release.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of the `index`-th of many alike, such as the operations of a workload.
    ///
    /// Each has its own stream of the same key, so what operation 7 draws depends on no other operation, on
    /// whatever thread and in whatever order they are. The number stands alone: the fifth of the third is the fifth.
    pub fn nth(&self, index: u64) -> Dice {
        let mut dice = self.0.clone();
        // Stream 0 is this one's own.
        dice.set_stream(index.wrapping_add(1));
        dice.set_word_pos(0);
        Dice(dice)
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..n`; 0 for `n` = 0. Multiply-shift; the bias is below 2⁻⁶⁴ × n.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponential with this mean, as the gaps of a Poisson process have.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let gap = mean.as_secs_f64() * -(1.0 - self.unit()).ln();
        Duration::try_from_secs_f64(gap).unwrap_or(Duration::MAX)
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Pareto with minimum 1 and this shape (> 0).
    pub fn pareto(&mut self, shape: f64) -> f64 {
        (1.0 - self.unit()).powf(-1.0 / shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_in_every_release() {
        let mut dice = Seed(7).stream("link/web-db/up");
        let first: Vec<u64> = (0..3).map(|_| dice.below(1_000_000)).collect();
        let mut again = Seed(7).stream("link/web-db/up");
        assert_eq!(first, (0..3).map(|_| again.below(1_000_000)).collect::<Vec<_>>());
    }

    #[test]
    fn another_name_is_another_stream() {
        assert_ne!(Seed(7).stream("a").bits(), Seed(7).stream("b").bits());
    }

    #[test]
    fn the_nth_dice_depend_on_nothing_but_their_number() {
        let mut dice = Seed(7).stream("operations");
        let fresh = dice.nth(3).bits();
        dice.bits();
        assert_eq!(dice.nth(3).bits(), fresh);
        assert_ne!(dice.nth(4).bits(), fresh);
        assert_ne!(Seed(7).stream("operations").bits(), Seed(7).stream("operations").nth(0).bits());
    }

    #[test]
    fn laws_have_the_mean_that_they_promise() {
        let mut dice = Seed(1).stream("laws");
        let n = 100_000;
        let mean = |total: f64| total / f64::from(n);
        let exponential = mean((0..n).map(|_| dice.exponential(Duration::from_secs(1)).as_secs_f64()).sum());
        let normal = mean((0..n).map(|_| dice.normal()).sum());
        let pareto = mean((0..n).map(|_| dice.pareto(3.0)).sum());
        // Standard errors of these means at n = 100,000 are below 0.004; five of them are allowed.
        assert!((exponential - 1.0).abs() < 0.02, "{exponential}");
        assert!(normal.abs() < 0.02, "{normal}");
        assert!((pareto - 1.5).abs() < 0.02, "{pareto}");
    }
}
