//! When operations are due.
//!
//! An endless iterator of times since the workload's start rather than a question `due(index)`: a Poisson process is
//! a sum of gaps, and nothing asks for an operation out of order. Evenly spaced schedules are computed from the
//! index all the same, so that no rounding adds up.

use std::time::Duration;

use crate::plan::workload::Arrival;
use crate::seed::Dice;

/// The due times of an open loop, in order, counted from the workload's start.
#[derive(Clone, Debug)]
pub struct Arrivals {
    law: Law,
    index: u64,
}

#[derive(Clone, Debug)]
enum Law {
    Constant { rate: f64 },
    Poisson { mean: Duration, dice: Box<Dice>, at: Duration },
    Ramp { from: f64, to: f64, over: f64 },
}

impl Arrivals {
    /// The schedule, drawing from these dice; none for a closed loop, which has no schedule.
    pub fn new(plan: &Arrival, dice: Dice) -> Option<Arrivals> {
        let law = match *plan {
            Arrival::Constant(rate) => Law::Constant { rate: rate.get() },
            Arrival::Poisson(rate) => Law::Poisson { mean: rate.gap(), dice: Box::new(dice), at: Duration::ZERO },
            Arrival::Ramp { from, to, over } => {
                Law::Ramp { from: from.get(), to: to.get(), over: over.0.as_secs_f64() }
            }
            Arrival::Users { .. } => return None,
        };
        Some(Arrivals { law, index: 0 })
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let index = self.index as f64;
        self.index += 1;
        Some(match &mut self.law {
            Law::Constant { rate } => after(index / *rate),
            Law::Poisson { mean, dice, at } => {
                *at = at.saturating_add(dice.exponential(*mean));
                *at
            }
            Law::Ramp { from, to, over } => after(ramp(index, *from, *to, *over)),
        })
    }
}

/// So many seconds; longer than any run, if they are more than a duration holds.
fn after(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// When a rate that goes linearly `from → to` within `over`, then stays, has let `n` operations go.
///
/// Solves `from·t + (to − from)·t² / (2·over) = n`, in the form that stays exact where the rate hardly changes.
fn ramp(n: f64, from: f64, to: f64, over: f64) -> f64 {
    let during = (from + to) / 2.0 * over;
    if n >= during {
        return over + (n - during) / to;
    }
    let bend = 2.0 * n * (to - from) / over;
    2.0 * n / (from + (from * from + bend).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::units::{Rate, Span};

    fn arrivals(plan: Arrival) -> Arrivals {
        Arrivals::new(&plan, Seed(7).stream("arrival")).unwrap()
    }

    fn rate(rate: f64) -> Rate {
        Rate::per_second(rate).unwrap()
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let mut due = arrivals(Arrival::Constant(rate(3.0)));
        assert_eq!(due.next(), Some(Duration::ZERO));
        assert_eq!(due.next(), Some(Duration::from_nanos(333_333_333)));
        // A billion operations later it is still where it belongs.
        due.index = 3_000_000_000;
        assert_eq!(due.next(), Some(Duration::from_secs(1_000_000_000)));
    }

    #[test]
    fn a_ramp_lets_go_the_area_under_its_rate() {
        // 0 → 10 s from 10/s to 30/s: 200 operations, 75 of them in the first half; then 30/s.
        let plan = Arrival::Ramp { from: rate(10.0), to: rate(30.0), over: Span(Duration::from_secs(10)) };
        let due: Vec<f64> = arrivals(plan).take(321).map(|at| at.as_secs_f64()).collect();
        let close = |index: usize, seconds: f64| (due[index] - seconds).abs() < 1e-6;
        assert!(close(0, 0.0) && close(75, 5.0) && close(200, 10.0) && close(320, 14.0), "{due:?}");
        assert!(due.is_sorted());
        let falling = Arrival::Ramp { from: rate(30.0), to: rate(10.0), over: Span(Duration::from_secs(10)) };
        let due: Vec<f64> = arrivals(falling).take(211).map(|at| at.as_secs_f64()).collect();
        assert!((due[125] - 5.0).abs() < 1e-6 && (due[210] - 11.0).abs() < 1e-6, "{due:?}");
        let flat = Arrival::Ramp { from: rate(10.0), to: rate(10.0), over: Span(Duration::from_secs(10)) };
        assert_eq!(arrivals(flat).nth(7), Some(Duration::from_millis(700)));
    }

    #[test]
    fn the_slowest_and_steepest_rates_are_due_later_than_any_run_and_do_not_panic() {
        let (least, fast) = (rate(f64::MIN_POSITIVE), rate(1e6));
        let over = Span(Duration::from_secs(1));
        for plan in [
            Arrival::Constant(least),
            Arrival::Poisson(least),
            Arrival::Ramp { from: least, to: least, over },
            Arrival::Ramp { from: least, to: fast, over },
            Arrival::Ramp { from: fast, to: least, over },
            Arrival::Ramp { from: fast, to: fast, over: Span(Duration::ZERO) },
        ] {
            let due: Vec<Duration> = arrivals(plan).take(600_000).collect();
            assert!(due.is_sorted(), "{plan:?}");
        }
        assert_eq!(arrivals(Arrival::Constant(least)).nth(1), Some(Duration::MAX));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_spread_of_their_law() {
        let due: Vec<f64> = arrivals(Arrival::Poisson(rate(100.0))).take(20_000).map(|at| at.as_secs_f64()).collect();
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // The standard error of the mean is 0.7 % at 20,000 gaps; four of them are allowed.
        assert!((mean - 0.01).abs() < 0.0003, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.03, "an exponential law spreads as wide as its mean");
        let again: Vec<f64> = arrivals(Arrival::Poisson(rate(100.0))).take(20_000).map(|at| at.as_secs_f64()).collect();
        assert_eq!(due, again, "the same seed, the same arrivals");
    }
}
