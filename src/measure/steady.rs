//! When a system is back at its baseline: failures and latency of two adjacent windows.

use std::time::Duration;

use super::history::View;
use super::phases::Interval;
use crate::clock::Moment;

/// A window begins at every multiple of this after the removal, and so exactly the time to steady is known; of a
/// recovery of more than 100 s a thousandth takes its place.
const STEP: Duration = Duration::from_millis(100);

/// What counts as steady: the baseline, with what it allows itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    /// The length of a window.
    pub(crate) window_ns: u64,
    /// The quantile of latency that is compared.
    pub(crate) quantile: f64,
    /// A window fails no more of its operations.
    pub(crate) failures_max: f64,
    /// The quantile of a window is no higher.
    pub(crate) latency_max_ns: u64,
}

/// The length of a window: a third of the recovery, but 1 s to 5 s.
pub(crate) fn window_ns(recovery_ns: u64) -> u64 {
    (recovery_ns / 3).clamp(1_000_000_000, 5_000_000_000)
}

/// The highest quantile that so many operations tell: at least ten of them lie beyond it.
pub(crate) fn quantile(operations: f64) -> f64 {
    match operations.round() {
        n if n >= 1000.0 => 0.99,
        n if n >= 200.0 => 0.95,
        n if n >= 100.0 => 0.90,
        _ => 0.50,
    }
}

impl Reference {
    /// failures ≤ max(baseline rate + 0.1 point, worst baseline window), latency ≤ max(1.10 × baseline,
    /// baseline + 1 ms, worst baseline window). None where nothing was due in the baseline.
    pub(crate) fn of_baseline(view: View<'_>, baseline: Interval, window_ns: u64) -> Option<Reference> {
        let mut scratch = Vec::new();
        // The quantile follows from the number of operations that a window holds at the baseline's rate.
        let due = view.due_in(baseline).count() as f64;
        let quantile = quantile(due * window_ns as f64 / baseline.length_ns().max(1) as f64);
        let whole = Sample::of(view, baseline, quantile, &mut scratch)?;
        let (mut worst_failures, mut worst_latency) = (0.0f64, 0);
        let mut start = baseline.start;
        while start.0 + window_ns <= baseline.end.0 {
            let end = Moment(start.0 + window_ns);
            if let Some(window) = Sample::of(view, Interval::new(start, end), quantile, &mut scratch) {
                worst_failures = worst_failures.max(window.failures);
                worst_latency = worst_latency.max(window.latency_ns);
            }
            start = end;
        }
        let tenth_more = (whole.latency_ns as f64 * 1.10).round() as u64;
        Some(Reference {
            window_ns,
            quantile,
            failures_max: (whole.failures + 0.001).max(worst_failures),
            latency_max_ns: tenth_more.max(whole.latency_ns + 1_000_000).max(worst_latency),
        })
    }

    fn holds(&self, view: View<'_>, window: Interval, scratch: &mut Vec<u64>) -> bool {
        Sample::of(view, window, self.quantile, scratch)
            .is_some_and(|window| window.failures <= self.failures_max && window.latency_ns <= self.latency_max_ns)
    }
}

/// Start of the first of two adjacent windows in `recovery` that are as good as the baseline.
pub(crate) fn first(view: View<'_>, recovery: Interval, reference: &Reference) -> Option<Moment> {
    let window = reference.window_ns;
    let step = (STEP.as_nanos() as u64).max(recovery.length_ns() / 1000);
    let mut scratch = Vec::new();
    let mut good =
        |start: u64| reference.holds(view, Interval::new(Moment(start), Moment(start + window)), &mut scratch);
    let mut start = recovery.start.0;
    while start + 2 * window <= recovery.end.0 {
        if good(start) && good(start + window) {
            return Some(Moment(start));
        }
        start += step;
    }
    None
}

/// Failures and latency of the operations due in a stretch of time.
struct Sample {
    failures: f64,
    latency_ns: u64,
}

impl Sample {
    fn of(view: View<'_>, part: Interval, quantile: f64, scratch: &mut Vec<u64>) -> Option<Sample> {
        scratch.clear();
        let mut failed = 0u64;
        for op in view.due_in(part) {
            failed += u64::from(!op.ok());
            scratch.push(op.latency_ns());
        }
        let failures = failed as f64 / scratch.len() as f64;
        quantile_of(scratch, quantile).map(|latency_ns| Sample { failures, latency_ns })
    }
}

/// The smallest value that at least `quantile` of them do not exceed; reorders them.
pub(crate) fn quantile_of(values: &mut [u64], quantile: f64) -> Option<u64> {
    let rank = (values.len() as f64 * quantile).ceil() as usize;
    let index = rank.max(1) - 1;
    (index < values.len()).then(|| *values.select_nth_unstable(index).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{self, Refused};
    use crate::measure::testing::{Stream, ms, span};

    /// 1,000 operations a second answered in 5 ms over the baseline, 0 to 3,000 ms.
    fn baseline() -> Stream {
        Stream::new().ok_every(1, 0, 3000, 5)
    }

    fn time_to_steady(stream: &Stream, recovery: (u64, u64)) -> Option<u64> {
        let history = stream.history();
        let view = history.view(None);
        let recovery = span(recovery.0, recovery.1);
        let reference = Reference::of_baseline(view, span(0, 3000), window_ns(recovery.length_ns())).unwrap();
        first(view, recovery, &reference).map(|at| at.0 / 1_000_000)
    }

    #[test]
    fn a_window_is_a_third_of_the_recovery_from_1_s_to_5_s() {
        for (recovery, window) in [(2_000, 1_000), (3_000, 1_000), (9_000, 3_000), (15_000, 5_000), (60_000, 5_000)] {
            assert_eq!(window_ns(recovery * 1_000_000), window * 1_000_000);
        }
    }

    #[test]
    fn the_quantile_follows_from_the_operations_of_a_window() {
        for (operations, expected) in
            [(1000.0, 0.99), (999.6, 0.99), (999.4, 0.95), (200.0, 0.95), (199.0, 0.90), (100.0, 0.90), (99.0, 0.5)]
        {
            assert_eq!(quantile(operations), expected, "{operations}");
        }
    }

    #[test]
    fn a_quantile_is_the_value_that_so_many_do_not_exceed() {
        let mut values: Vec<u64> = (1..=100).rev().collect();
        for (quantile, expected) in [(0.5, 50), (0.9, 90), (0.99, 99), (0.999, 100), (0.0, 1)] {
            assert_eq!(quantile_of(&mut values, quantile), Some(expected), "{quantile}");
        }
        assert_eq!(quantile_of(&mut [], 0.5), None);
    }

    #[test]
    fn the_baseline_allows_a_tenth_or_a_millisecond_more_or_its_own_worst() {
        let reference = |stream: Stream| {
            let history = stream.history();
            Reference::of_baseline(history.view(None), span(0, 3000), 1_000_000_000).unwrap()
        };
        // 5 ms: + 1 ms is more than × 1.10.
        let fast = reference(baseline());
        assert_eq!((fast.quantile, fast.latency_max_ns), (0.99, 6_000_000));
        assert!((fast.failures_max - 0.001).abs() < 1e-12);
        // 50 ms: × 1.10.
        assert_eq!(reference(Stream::new().ok_every(1, 0, 3000, 50)).latency_max_ns, 55_000_000);
        // One second of three at 50 ms, two at 5 ms: the p99 of all is 50 ms already; with 20 such operations in one
        // window (2 % of it, 0.67 % of all) the p99 of all is 5 ms and that of the worst window 50 ms.
        let worst = Stream::new().ok_every(1, 0, 2980, 5).ok_every(1, 2980, 3000, 50);
        assert_eq!(reference(worst).latency_max_ns, 50_000_000);
        // 30 failures of 3,000, all in one window: its 3 % is more than 1 % + 0.1 point.
        let failing = Stream::new().ok_every(1, 0, 2970, 5).every(1, 2970, 3000, |due| (due, due + 5, Refused));
        assert!((reference(failing).failures_max - 0.03).abs() < 1e-12);
    }

    #[test]
    fn it_is_steady_where_two_good_windows_begin() {
        // Removal at 5,000 ms, recovery to 11,000 ms: windows of 2 s. Operations fail until 6,250 ms. A window may
        // hold 0.1 % + 0.1 point… of 2,000 operations: 2 failures. The first start on the 100 ms grid whose window
        // holds at most 2 is 6,300 ms.
        let stream = baseline().every(1, 5000, 6250, |due| (due, due + 5, Refused)).ok_every(1, 6250, 11_000, 5);
        assert_eq!(time_to_steady(&stream, (5000, 11_000)), Some(6300));
    }

    #[test]
    fn one_good_window_between_bad_ones_is_not_steady() {
        // Good from 6,000 to 8,500 ms: one window of 2 s, but not two. Then good from 9,000 ms on: two until 13,000 ms.
        let fail = |due| (due, due + 5, Refused);
        let stream = baseline()
            .every(1, 5000, 6000, fail)
            .ok_every(1, 6000, 8500, 5)
            .every(1, 8500, 9000, fail)
            .ok_every(1, 9000, 13_000, 5);
        assert_eq!(time_to_steady(&stream, (5000, 11_000)), None);
        // With more recovery watched the windows are 8,000 / 3 ms, too long for what is left.
        assert_eq!(time_to_steady(&stream, (5000, 13_000)), None);
        let stream = stream.ok_every(1, 13_000, 15_000, 5);
        // 10,000 / 3 = 3,333 ms; two of them from 9,000 ms on end at 15,667 ms, after the end.
        assert_eq!(time_to_steady(&stream, (5000, 15_000)), None);
        let stream = stream.ok_every(1, 15_000, 20_000, 5);
        assert_eq!(time_to_steady(&stream, (5000, 20_000)), Some(9000));
    }

    #[test]
    fn a_system_that_answers_well_but_slowly_is_not_steady() {
        // 6 ms is the limit; 7 ms is above it.
        let slow = |latency| baseline().ok_every(1, 5000, 11_000, latency);
        assert_eq!(time_to_steady(&slow(7), (5000, 11_000)), None);
        assert_eq!(time_to_steady(&slow(6), (5000, 11_000)), Some(5000));
    }

    #[test]
    fn latency_counts_by_due_time_while_a_backlog_drains() {
        // A backlog: the operation due at t is answered at 7,000 ms or after 5 ms, whichever is later.
        let drain = |due: u64| (due, (due + 5).max(7000), Outcome::Ok);
        let stream = baseline().every(1, 5000, 11_000, drain);
        // Latency is below 6 ms for those due from 6,994 ms on; 1 % of a window of 2 s are 20 operations, so a window
        // from 6,974 ms on has its p99 there: 7,000 ms on the grid.
        assert_eq!(time_to_steady(&stream, (5000, 11_000)), Some(7000));
    }

    #[test]
    fn a_recovery_too_short_for_two_windows_shows_nothing() {
        let stream = baseline().ok_every(1, 5000, 6999, 5);
        assert_eq!(time_to_steady(&stream, (5000, 6999)), None);
        assert_eq!(first_of_empty(), None);
    }

    fn first_of_empty() -> Option<Moment> {
        let history = Stream::new().history();
        let reference =
            Reference { window_ns: 1_000_000_000, quantile: 0.99, failures_max: 1.0, latency_max_ns: u64::MAX };
        first(history.view(None), Interval::new(ms(0), ms(9000)), &reference)
    }
}
