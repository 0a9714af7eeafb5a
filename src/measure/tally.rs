//! Counts and latencies of the operations due in a stretch of time; they add up without loss.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::history::{Op, State};
use super::model::{Quantiles, Window};
use crate::clock::Moment;
use crate::event::Outcome;

/// The histograms' unit: latencies are kept in whole microseconds.
const UNIT_NS: u64 = 1_000;

/// The longest latency that is told apart: 1 h.
const LONGEST: u64 = 3_600_000_000;

/// Times in three significant digits, from 1 µs to 1 h. Takes no memory before its first sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    histogram: Option<Histogram<u32>>,
    saturated: u64,
}

impl Times {
    pub(crate) fn record(&mut self, ns: u64) {
        let histogram = self.histogram.get_or_insert_with(|| {
            Histogram::new_with_bounds(1, LONGEST, 3).expect("1 µs to 1 h with three digits is a valid range")
        });
        let units = (ns + UNIT_NS / 2) / UNIT_NS;
        // The histogram's own range ends at a power of two above 1 h; a longer time counts as 1 h.
        self.saturated += u64::from(units > LONGEST);
        histogram.saturating_record(units.clamp(1, LONGEST));
    }

    /// A time as a histogram keeps it: the lower end of its bucket.
    pub(crate) fn kept(ns: u64) -> u64 {
        let units = ((ns + UNIT_NS / 2) / UNIT_NS).clamp(1, LONGEST);
        // Three digits take 2,048 buckets up to the first power of two, and half as many for each that follows.
        let shift = (u64::BITS - units.leading_zeros()).saturating_sub(11);
        (units >> shift << shift) * UNIT_NS
    }

    pub(crate) fn add(&mut self, other: &Times) {
        self.saturated += other.saturated;
        match (&mut self.histogram, &other.histogram) {
            (Some(histogram), Some(other)) => histogram.add(other).expect("both have the same range"),
            (none @ None, Some(other)) => *none = Some(other.clone()),
            (_, None) => {}
        }
    }

    pub(crate) fn saturated(&self) -> u64 {
        self.saturated
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let Some(histogram) = &self.histogram else { return Quantiles::default() };
        // The lower end of a bucket: 5 ms that were measured print as 5 ms, and keep a limit of 5 ms.
        let at = |quantile| histogram.lowest_equivalent(histogram.value_at_quantile(quantile)) * UNIT_NS;
        Quantiles {
            count: histogram.len(),
            mean_ns: (histogram.mean() * UNIT_NS as f64).round() as u64,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p95_ns: at(0.95),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: at(1.0),
        }
    }
}

/// Counts and latencies of some operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    operations: u64,
    ok: u64,
    failed: u64,
    indeterminate: u64,
    shed: u64,
    unfinished: u64,
    attempts: u64,
    outcomes: [u64; Outcome::ALL.len()],
    met_failure: u64,
    met_failure_ok: u64,
    latency: Times,
    ok_latency: Times,
    attempt_latency: Times,
    lateness: Times,
}

/// What an operation is counted for besides its [`Op`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// Still open when the drain ended.
    pub(crate) unfinished: bool,
    /// An attempt of it failed.
    pub(crate) met_failure: bool,
    /// It ended in its deadline.
    pub(crate) in_deadline: bool,
}

impl Tally {
    /// Counts an operation; the tally is the one of its due time.
    pub(crate) fn operation(&mut self, op: &Op, marks: Marks) {
        self.operations += 1;
        match op.state {
            State::Ok => self.ok += 1,
            State::Failed => self.failed += 1,
            State::Indeterminate => self.indeterminate += 1,
        }
        self.shed += u64::from(op.shed);
        self.unfinished += u64::from(marks.unfinished);
        self.met_failure += u64::from(marks.met_failure);
        self.met_failure_ok += u64::from(marks.met_failure && op.ok() && marks.in_deadline);
        self.latency.record(op.latency_ns());
        if op.ok() {
            self.ok_latency.record(op.latency_ns());
        }
    }

    /// Counts an attempt; the tally is the one of its operation's due time.
    pub(crate) fn attempt(&mut self, number: u32, due: Moment, start: Moment, end: Moment, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
        if outcome.was_sent() {
            self.attempts += 1;
            self.attempt_latency.record(end.0.saturating_sub(start.0));
        }
        if number == 1 {
            self.lateness.record(start.0.saturating_sub(due.0));
        }
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.ok += other.ok;
        self.failed += other.failed;
        self.indeterminate += other.indeterminate;
        self.shed += other.shed;
        self.unfinished += other.unfinished;
        self.attempts += other.attempts;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, count)| *sum += count);
        self.met_failure += other.met_failure;
        self.met_failure_ok += other.met_failure_ok;
        self.latency.add(&other.latency);
        self.ok_latency.add(&other.ok_latency);
        self.attempt_latency.add(&other.attempt_latency);
        self.lateness.add(&other.lateness);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn shed(&self) -> u64 {
        self.shed
    }

    /// Latencies of operations beyond the histogram's range.
    pub(crate) fn saturated(&self) -> u64 {
        self.latency.saturated()
    }

    /// The figures of a window of this length. `worst_second` is in attempts, `baseline_rate` in operations a second.
    pub(crate) fn window(&self, length_ns: u64, worst_second: u64, baseline_rate: Option<f64>) -> Window {
        let outcomes = Outcome::ALL.into_iter().filter(|&outcome| self.outcomes[outcome as usize] > 0);
        Window {
            length_ns,
            operations: self.operations,
            ok: self.ok,
            failed: self.failed,
            indeterminate: self.indeterminate,
            shed: self.shed,
            unfinished: self.unfinished,
            attempts: self.attempts,
            outcomes: outcomes.map(|outcome| (outcome, self.outcomes[outcome as usize])).collect::<BTreeMap<_, _>>(),
            success_rate: ratio(self.ok, self.operations),
            goodput: if length_ns == 0 { 0.0 } else { self.ok as f64 * 1e9 / length_ns as f64 },
            amplification: ratio(self.attempts, self.operations),
            amplification_worst_second: baseline_rate.map(|rate| worst_second as f64 / rate),
            met_failure: self.met_failure,
            met_failure_ok: self.met_failure_ok,
            tolerance: ratio(self.met_failure_ok, self.met_failure),
            latency: self.latency.quantiles(),
            ok_latency: self.ok_latency.quantiles(),
            attempt_latency: self.attempt_latency.quantiles(),
            lateness: self.lateness.quantiles(),
        }
    }
}

/// A share; none of nothing.
pub(crate) fn ratio(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(all: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::default();
        all.into_iter().for_each(|ns| times.record(ns));
        times
    }

    #[test]
    fn quantiles_keep_three_digits() {
        // 1, 2, … 1,000 ms: p50 is 500 ms, p99 990 ms, the mean 500.5 ms.
        let quantiles = times((1..=1000).map(|ms| ms * 1_000_000)).quantiles();
        for (ns, ms) in [
            (quantiles.p50_ns, 500.0),
            (quantiles.p90_ns, 900.0),
            (quantiles.p95_ns, 950.0),
            (quantiles.p99_ns, 990.0),
            (quantiles.p999_ns, 999.0),
            (quantiles.max_ns, 1000.0),
            (quantiles.mean_ns, 500.5),
        ] {
            assert!((ns as f64 / 1e6 / ms - 1.0).abs() < 0.001, "{ns} ns is not {ms} ms");
        }
        assert_eq!(quantiles.count, 1000);
    }

    #[test]
    fn nothing_measured_is_all_zero() {
        assert_eq!(Times::default().quantiles(), Quantiles::default());
    }

    #[test]
    fn times_beyond_an_hour_count_as_an_hour_and_are_counted() {
        let hour = 3_600_000_000_000;
        let times = times([1, hour, hour + 1_000_000, u64::MAX / 2]);
        assert_eq!(times.saturated(), 2);
        let max = times.quantiles().max_ns as f64;
        assert!((max / hour as f64 - 1.0).abs() < 0.001, "{max}");
    }

    #[test]
    fn a_time_is_kept_as_its_histogram_keeps_it() {
        let spread = (0..400).map(|i| (1.07f64.powi(i) * 700.0) as u64);
        for ns in spread.chain([0, 1_499, 1_500, 2_047_000, 2_048_000, 2_049_000, 4_095_499, 3_600_000_000_000]) {
            assert_eq!(Times::kept(ns), times([ns]).quantiles().max_ns, "{ns}");
        }
    }

    #[test]
    fn merging_is_exact() {
        let parts = [times((1..500).map(|i| i * 777_777)), times((500..900).map(|i| i * 777_777)), Times::default()];
        let mut merged = Times::default();
        parts.iter().for_each(|part| merged.add(part));
        assert_eq!(merged.quantiles(), times((1..900).map(|i| i * 777_777)).quantiles());
    }
}
