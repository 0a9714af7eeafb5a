//! A circuit breaker: refuses attempts while the system fails.
//!
//! ```text
//! closed ──(failures ≥ share of ≥ min_attempts in the window)──▶ open ──(open_for)──▶ half-open
//!    ▲                                                             ▲                      │ │
//!    └──────────────────(all probes ok)────────────────────────────┼──────────────────────┘ │
//!                                                                  └────(a probe failed)────┘
//! ```

use std::time::Duration;

use crate::clock::Moment;
use crate::plan::retry::Breaker;

/// The breaker of one workload.
#[derive(Clone, Debug)]
pub struct Circuit {
    plan: Breaker,
    state: State,
    /// Raised at each change of state; a result of an earlier one says nothing about this one.
    generation: u64,
}

/// When an attempt was let through; goes back with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

#[derive(Clone, Debug)]
enum State {
    Closed(Window),
    Open { until: Moment },
    HalfOpen { admitted: u32, succeeded: u32 },
}

impl Circuit {
    /// A closed breaker.
    pub fn new(plan: &Breaker) -> Circuit {
        Circuit { plan: *plan, state: State::Closed(Window::new(plan.window.0)), generation: 0 }
    }

    /// Whether an attempt may be sent now.
    pub fn admit(&mut self, now: Moment) -> Option<Pass> {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.turn(State::HalfOpen { admitted: 0, succeeded: 0 });
        }
        match &mut self.state {
            State::Closed(_) => Some(Pass(self.generation)),
            State::Open { .. } => None,
            State::HalfOpen { admitted, .. } if *admitted < self.plan.probes => {
                *admitted += 1;
                Some(Pass(self.generation))
            }
            State::HalfOpen { .. } => None,
        }
    }

    /// An attempt that was let through ended; `failed` is none if it says nothing, as a hedge that lost.
    pub fn on_result(&mut self, now: Moment, pass: Pass, failed: Option<bool>) {
        if pass != Pass(self.generation) {
            return;
        }
        let next = match (&mut self.state, failed) {
            (State::Closed(window), Some(failed)) => {
                window.count(now, failed);
                let (attempts, failures) = window.totals();
                let tripped = attempts >= self.plan.min_attempts
                    && f64::from(failures) >= self.plan.failures.get() * f64::from(attempts)
                    && failures > 0;
                tripped.then_some(State::Open { until: now + self.plan.open_for.0 })
            }
            (State::HalfOpen { .. }, Some(true)) => Some(State::Open { until: now + self.plan.open_for.0 }),
            (State::HalfOpen { succeeded, .. }, Some(false)) => {
                *succeeded += 1;
                (*succeeded >= self.plan.probes).then(|| State::Closed(Window::new(self.plan.window.0)))
            }
            // The probe told nothing: another may go in its place.
            (State::HalfOpen { admitted, .. }, None) => {
                *admitted -= 1;
                None
            }
            (State::Closed(_), None) | (State::Open { .. }, _) => None,
        };
        if let Some(next) = next {
            self.turn(next);
        }
    }

    /// Whether an attempt at `now` would be refused.
    pub fn refuses(&self, now: Moment) -> bool {
        match self.state {
            State::Closed(_) => false,
            State::Open { until } => now < until,
            State::HalfOpen { admitted, .. } => admitted >= self.plan.probes,
        }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

/// Attempts and failures of the last window, in tenths of it: a count leaves between 90 % and 100 % of a window late.
#[derive(Clone, Debug)]
struct Window {
    slice_ns: u64,
    /// (slice number, attempts, failures)
    slices: [(u64, u32, u32); Window::SLICES],
}

impl Window {
    const SLICES: usize = 10;

    fn new(length: Duration) -> Window {
        let slice_ns = (length.as_nanos() as u64 / Window::SLICES as u64).max(1);
        Window { slice_ns, slices: [(0, 0, 0); Window::SLICES] }
    }

    fn count(&mut self, now: Moment, failed: bool) {
        let number = now.0 / self.slice_ns;
        for slice in &mut self.slices {
            if slice.0 + Window::SLICES as u64 <= number {
                *slice = (number, 0, 0);
            }
        }
        let slice = &mut self.slices[(number % Window::SLICES as u64) as usize];
        // A result from a thread whose clock reading is a slice older counts in the slice that took its place.
        *slice = (slice.0.max(number), slice.1 + 1, slice.2 + u32::from(failed));
    }

    fn totals(&self) -> (u32, u32) {
        self.slices.iter().fold((0, 0), |(attempts, failures), slice| (attempts + slice.1, failures + slice.2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::{Share, Span};

    const MS: fn(u64) -> Moment = Moment::from_millis;

    fn circuit(probes: u32) -> Circuit {
        Circuit::new(&Breaker {
            failures: Share::new(0.5).unwrap(),
            window: Span(Duration::from_secs(1)),
            min_attempts: 4,
            open_for: Span(Duration::from_millis(500)),
            probes,
        })
    }

    fn attempt(circuit: &mut Circuit, now: Moment, failed: bool) -> bool {
        let pass = circuit.admit(now);
        if let Some(pass) = pass {
            circuit.on_result(now, pass, Some(failed));
        }
        pass.is_some()
    }

    fn trip(circuit: &mut Circuit, now: Moment) {
        (0..4).for_each(|_| assert!(attempt(circuit, now, true)));
        assert!(circuit.refuses(now));
    }

    #[test]
    fn it_opens_at_the_share_but_not_before_enough_attempts() {
        let mut circuit = circuit(1);
        for failed in [true, true, true] {
            assert!(attempt(&mut circuit, MS(0), failed));
        }
        assert!(!circuit.refuses(MS(0)), "three of three failed, four are needed");
        attempt(&mut circuit, MS(0), false);
        assert!(circuit.refuses(MS(0)), "three of four");
        assert!(!attempt(&mut circuit, MS(499), false));
    }

    #[test]
    fn failures_leave_the_window() {
        let mut circuit = circuit(1);
        (0..3).for_each(|_| assert!(attempt(&mut circuit, MS(0), true)));
        assert!(attempt(&mut circuit, MS(1000), true));
        assert!(!circuit.refuses(MS(1000)), "the first three are a window old");
    }

    #[test]
    fn only_the_probes_pass_when_half_open_and_all_must_succeed() {
        let mut circuit = circuit(2);
        trip(&mut circuit, MS(0));
        let first = circuit.admit(MS(500)).unwrap();
        let second = circuit.admit(MS(500)).unwrap();
        assert!(circuit.refuses(MS(500)));
        assert_eq!(circuit.admit(MS(500)), None, "two probes");
        circuit.on_result(MS(510), first, Some(false));
        assert_eq!(circuit.admit(MS(510)), None, "one of two has answered");
        circuit.on_result(MS(520), second, Some(false));
        assert!(circuit.admit(MS(520)).is_some());
        (0..3).for_each(|_| assert!(attempt(&mut circuit, MS(530), true)));
        assert!(!circuit.refuses(MS(530)), "closing starts a new window");
    }

    #[test]
    fn a_failed_probe_opens_it_again_for_the_whole_time() {
        let mut circuit = circuit(1);
        trip(&mut circuit, MS(0));
        assert!(attempt(&mut circuit, MS(500), true));
        assert!(!attempt(&mut circuit, MS(999), false));
        assert!(attempt(&mut circuit, MS(1000), false));
        assert!(attempt(&mut circuit, MS(1000), false), "closed");
    }

    #[test]
    fn a_late_result_from_before_the_opening_is_no_probe() {
        let mut circuit = circuit(1);
        let slow = circuit.admit(MS(0)).unwrap();
        trip(&mut circuit, MS(0));
        let probe = circuit.admit(MS(500)).unwrap();
        circuit.on_result(MS(501), slow, Some(false));
        assert_eq!(circuit.admit(MS(501)), None, "still half-open");
        circuit.on_result(MS(502), probe, Some(false));
        assert!(circuit.admit(MS(502)).is_some());
    }

    #[test]
    fn a_probe_that_was_cancelled_lets_another_through() {
        let mut circuit = circuit(1);
        trip(&mut circuit, MS(0));
        let probe = circuit.admit(MS(500)).unwrap();
        circuit.on_result(MS(501), probe, None);
        assert!(circuit.admit(MS(501)).is_some());
    }

    proptest! {
        /// Whatever happens: refused while open, at most `probes` between two states, never stuck once all succeed.
        #[test]
        fn it_refuses_only_when_it_may_and_always_recovers(
            probes in 1u32..4,
            steps in proptest::collection::vec((0u64..300, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let mut circuit = circuit(probes);
            let mut open: Vec<Pass> = vec![];
            let mut now = 0;
            for (wait, end, failed) in steps {
                now += wait;
                if end && !open.is_empty() {
                    circuit.on_result(MS(now), open.remove(0), Some(failed));
                } else {
                    let refuses = circuit.refuses(MS(now));
                    let pass = circuit.admit(MS(now));
                    prop_assert_eq!(refuses, pass.is_none());
                    open.extend(pass);
                }
            }
            for pass in open.drain(..) {
                circuit.on_result(MS(now), pass, Some(false));
            }
            for _ in 0..=probes {
                now += 500;
                attempt(&mut circuit, MS(now), false);
            }
            prop_assert!(circuit.admit(MS(now)).is_some());
        }
    }
}
