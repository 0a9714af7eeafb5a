//! The wait before each retry: a schedule, a cap and chance.

use std::time::Duration;

use crate::plan::retry::{CapOrder, Jitter, Schedule};
use crate::seed::Dice;

/// The waits of one operation, in order.
#[derive(Clone, Debug)]
pub struct Backoff {
    law: Option<Law>,
    /// Retries already waited for.
    retries: u32,
    /// The last wait in seconds; decorrelated jitter grows from it.
    previous: f64,
}

/// A schedule with its cap and jitter side by side; seconds.
#[derive(Clone, Copy, Debug)]
struct Law {
    curve: Curve,
    cap: f64,
    jitter: Jitter,
    order: CapOrder,
}

#[derive(Clone, Copy, Debug)]
enum Curve {
    Fixed(f64),
    Linear(f64),
    Exponential { base: f64, factor: f64 },
}

/// No wait is longer, whatever the schedule says: 30 years, so that no product overflows.
const LONGEST: f64 = 1e9;

impl Backoff {
    /// The waits of this schedule; `None` and `Native` have none.
    pub fn new(schedule: &Schedule) -> Backoff {
        let law = match *schedule {
            Schedule::None | Schedule::Native => None,
            Schedule::Fixed { wait, jitter } => Some(Law {
                curve: Curve::Fixed(wait.0.as_secs_f64()),
                cap: LONGEST,
                jitter,
                order: CapOrder::CapThenJitter,
            }),
            Schedule::Linear { step, cap, jitter, cap_order } => Some(Law {
                curve: Curve::Linear(step.0.as_secs_f64()),
                cap: cap.0.as_secs_f64(),
                jitter,
                order: cap_order,
            }),
            Schedule::Exponential { base, factor, cap, jitter, cap_order } => Some(Law {
                curve: Curve::Exponential { base: base.0.as_secs_f64(), factor },
                cap: cap.0.as_secs_f64(),
                jitter,
                order: cap_order,
            }),
        };
        Backoff { law, retries: 0, previous: law.map_or(0.0, |law| law.curve.base()) }
    }

    /// The wait before the next retry, or none if the schedule has no retries.
    pub fn next(&mut self, dice: &mut Dice) -> Option<Duration> {
        let law = self.law?;
        self.retries = self.retries.saturating_add(1);
        let wait = match law.jitter {
            Jitter::Decorrelated => {
                let base = law.curve.base();
                dice.uniform(base, (3.0 * self.previous).max(base)).min(law.cap)
            }
            jitter => {
                let value = law.curve.at(self.retries);
                match law.order {
                    CapOrder::CapThenJitter => spread(value.min(law.cap), jitter, dice),
                    CapOrder::JitterThenCap => spread(value, jitter, dice).min(law.cap),
                }
            }
        };
        self.previous = wait;
        Some(Duration::from_secs_f64(wait.clamp(0.0, LONGEST)))
    }
}

impl Curve {
    /// The wait before retry `n`, counted from 1, without cap or chance.
    fn at(self, n: u32) -> f64 {
        let wait = match self {
            Curve::Fixed(wait) => wait,
            Curve::Linear(step) => step * f64::from(n),
            Curve::Exponential { base, factor } => base * factor.powf(f64::from(n - 1)),
        };
        wait.min(LONGEST)
    }

    fn base(self) -> f64 {
        self.at(1)
    }
}

fn spread(value: f64, jitter: Jitter, dice: &mut Dice) -> f64 {
    match jitter {
        // Decorrelated waits are drawn from the previous wait, not from the curve.
        Jitter::None | Jitter::Decorrelated => value,
        Jitter::Full => value * dice.unit(),
        Jitter::Equal => value / 2.0 + value / 2.0 * dice.unit(),
        Jitter::PlusMinus(share) => value * dice.uniform(1.0 - share.get(), 1.0 + share.get()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;
    use crate::units::{Share, Span};

    fn span(seconds: f64) -> Span {
        Span(Duration::from_secs_f64(seconds))
    }

    fn exponential(base: f64, factor: f64, cap: f64, jitter: Jitter) -> Schedule {
        Schedule::Exponential { base: span(base), factor, cap: span(cap), jitter, cap_order: CapOrder::CapThenJitter }
    }

    fn waits_ms(schedule: Schedule, n: usize) -> Vec<f64> {
        let mut dice = Seed(7).stream("backoff");
        let mut backoff = Backoff::new(&schedule);
        (0..n).map_while(|_| backoff.next(&mut dice)).map(|wait| (wait.as_secs_f64() * 1e6).round() / 1e3).collect()
    }

    #[test]
    fn published_waits_come_out() {
        let fixed = Schedule::Fixed { wait: span(1.0), jitter: Jitter::None };
        let linear = |step: f64, cap: f64| Schedule::Linear {
            step: span(step),
            cap: span(cap),
            jitter: Jitter::None,
            cap_order: CapOrder::CapThenJitter,
        };
        let cases: [(&str, Schedule, &[f64]); 10] = [
            ("backon, constant", fixed, &[1e3, 1e3, 1e3]),
            ("backon, default", exponential(1.0, 2.0, 60.0, Jitter::None), &[1e3, 2e3, 4e3]),
            ("backon, factor 1.5", exponential(1.0, 1.5, 60.0, Jitter::None), &[1e3, 1500.0, 2250.0]),
            (
                "AWS 2026, ceilings",
                exponential(0.05, 2.0, 20.0, Jitter::None),
                &[50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0, 12800.0, 20000.0],
            ),
            ("AWS 2.0, cap 3 s", exponential(1.0, 2.0, 3.0, Jitter::None), &[1e3, 2e3, 3e3, 3e3]),
            ("Spring", exponential(0.05, 2.0, 3.0, Jitter::None), &[50.0, 100.0, 200.0, 400.0, 800.0]),
            (
                "Envoy, upper bounds",
                exponential(0.025, 2.0, 0.25, Jitter::None),
                &[25.0, 50.0, 100.0, 200.0, 250.0, 250.0],
            ),
            (
                "resilience4j",
                exponential(0.5, 1.5, 1e6, Jitter::None),
                &[500.0, 750.0, 1125.0, 1687.5, 2531.25, 3796.875],
            ),
            (
                "gRPC connection, centre",
                exponential(1.0, 1.6, 120.0, Jitter::None),
                &[1e3, 1600.0, 2560.0, 4096.0, 6553.6],
            ),
            ("Polly, linear", linear(1.0, 1e6), &[1e3, 2e3, 3e3]),
        ];
        for (name, schedule, waits) in cases {
            assert_eq!(waits_ms(schedule, waits.len()), waits, "{name}");
        }
        assert!(waits_ms(Schedule::None, 3).is_empty(), "no retry, no wait");
        assert!(waits_ms(Schedule::Native, 3).is_empty(), "the library waits by itself");
    }

    #[test]
    fn a_huge_retry_number_does_not_overflow() {
        let mut dice = Seed(7).stream("backoff");
        let mut backoff = Backoff::new(&exponential(1.0, 10.0, 20.0, Jitter::Full));
        backoff.retries = u32::MAX - 5;
        for _ in 0..10 {
            assert!(backoff.next(&mut dice).unwrap() < Duration::from_secs(20));
        }
    }

    #[test]
    fn the_cap_order_decides_whether_jitter_may_exceed_the_cap() {
        let law = |cap_order| Schedule::Exponential {
            base: span(10.0),
            factor: 2.0,
            cap: span(1.0),
            jitter: Jitter::PlusMinus(Share::new(0.2).unwrap()),
            cap_order,
        };
        let longest = |order| waits_ms(law(order), 200).into_iter().fold(0.0, f64::max);
        assert!((1100.0..1200.0).contains(&longest(CapOrder::CapThenJitter)), "gRPC: up to 20 % over the cap");
        assert_eq!(longest(CapOrder::JitterThenCap), 1000.0, "Kafka: never over it");
        // redis-py: min(1, U × 0.01 × 2^n); past the cap most waits are the cap itself.
        let redis = Schedule::Exponential {
            base: span(0.02),
            factor: 2.0,
            cap: span(1.0),
            jitter: Jitter::Full,
            cap_order: CapOrder::JitterThenCap,
        };
        let waits = waits_ms(redis, 20);
        assert!(waits[10..].iter().filter(|wait| **wait == 1000.0).count() >= 8, "{waits:?}");
    }

    fn any_jitter() -> impl Strategy<Value = Jitter> {
        prop_oneof![
            Just(Jitter::None),
            Just(Jitter::Full),
            Just(Jitter::Equal),
            Just(Jitter::Decorrelated),
            (0.0..=1.0f64).prop_map(|share| Jitter::PlusMinus(Share::new(share).unwrap())),
        ]
    }

    proptest! {
        /// The bounds of the laws as `plan::retry::Jitter` states them, for any schedule and seed.
        #[test]
        fn waits_stay_within_the_bounds_of_their_law(
            seed: u64,
            base in 0.001..5.0f64,
            factor in 1.0..4.0f64,
            cap in 0.001..60.0f64,
            jitter in any_jitter(),
            jitter_first: bool,
        ) {
            let order = if jitter_first { CapOrder::JitterThenCap } else { CapOrder::CapThenJitter };
            let schedule = Schedule::Exponential { base: span(base), factor, cap: span(cap), jitter, cap_order: order };
            let (base, cap) = (span(base).0.as_secs_f64(), span(cap).0.as_secs_f64());
            let mut dice = Seed(seed).stream("backoff");
            let mut backoff = Backoff::new(&schedule);
            let mut previous = base;
            for n in 0..12 {
                let wait = backoff.next(&mut dice).unwrap().as_secs_f64();
                let value = base * factor.powi(n);
                let capped = value.min(cap);
                let (low, high) = match (jitter, order) {
                    (Jitter::Decorrelated, _) => (base.min(cap), (3.0 * previous).max(base).min(cap)),
                    (Jitter::None, _) => (capped, capped),
                    (Jitter::Full, CapOrder::CapThenJitter) => (0.0, capped),
                    (Jitter::Full, CapOrder::JitterThenCap) => (0.0, capped),
                    (Jitter::Equal, CapOrder::CapThenJitter) => (capped / 2.0, capped),
                    (Jitter::Equal, CapOrder::JitterThenCap) => ((value / 2.0).min(cap), capped),
                    (Jitter::PlusMinus(p), CapOrder::CapThenJitter) =>
                        (capped * (1.0 - p.get()), capped * (1.0 + p.get())),
                    (Jitter::PlusMinus(p), CapOrder::JitterThenCap) =>
                        ((value * (1.0 - p.get())).min(cap), (value * (1.0 + p.get())).min(cap)),
                };
                // A wait is rounded to whole nanoseconds.
                prop_assert!((low - 2e-9..=high + 2e-9).contains(&wait), "retry {n}: {wait} not in {low}..={high}");
                previous = wait;
            }
        }
    }
}
