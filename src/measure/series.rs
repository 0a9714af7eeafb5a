//! Figures over time: slices of equal length for the report's charts.

use super::history::{Op, View};
use super::model::{Series, Slice};
use super::phases::Interval;
use super::steady::quantile_of;
use crate::clock::Moment;
use crate::event::Outcome;

/// The shortest slice.
const SHORTEST_NS: u64 = 100_000_000;

/// The most slices: what a chart can show.
const MOST: u64 = 1_000;

/// The first row of the heat map holds latencies up to this.
const LOWEST_ROW_NS: f64 = 100_000.0;

/// Each row's bound over the one below: six rows for a factor of ten.
const ROWS_A_DECADE: f64 = 6.0;

/// The length of a slice: whole multiples of 100 ms, so that there are at most 1,000.
pub(crate) fn slice_ns(horizon: Interval) -> u64 {
    horizon.end.0.div_ceil(MOST * SHORTEST_NS).max(1) * SHORTEST_NS
}

/// Attempts counted by slice and outcome while they are read.
#[derive(Clone, Debug)]
pub(crate) struct AttemptSeries {
    slice_ns: u64,
    counts: Vec<[u32; Outcome::ALL.len()]>,
}

impl AttemptSeries {
    pub(crate) fn new(horizon: Interval) -> AttemptSeries {
        let slice_ns = slice_ns(horizon);
        let slices = horizon.end.0 / slice_ns + 1;
        AttemptSeries { slice_ns, counts: vec![Default::default(); slices as usize] }
    }

    /// An attempt that starts after the end counts in the last slice.
    pub(crate) fn take(&mut self, start: Moment, outcome: Outcome) {
        let slice = ((start.0 / self.slice_ns) as usize).min(self.counts.len() - 1);
        self.counts[slice][outcome as usize] += 1;
    }

    /// The slices of a workload, all classes together.
    pub(crate) fn series(&self, view: View<'_>) -> Series {
        let last = self.counts.len() - 1;
        let index = |at: Moment| ((at.0 / self.slice_ns) as usize).min(last);
        let mut slices: Vec<Slice> = self.counts.iter().map(attempts).collect();
        for op in view.ops().filter(|op| op.ok()) {
            slices[index(op.end)].good += 1;
        }
        let bounds = heat_bounds(view.ops().map(Op::latency_ns).max().unwrap_or(0));
        let mut latencies: Vec<u64> = Vec::new();
        let mut ops = view.ops().peekable();
        for (number, slice) in slices.iter_mut().enumerate() {
            latencies.clear();
            while let Some(op) = ops.next_if(|op| index(op.due) == number) {
                slice.due += 1;
                slice.ok += u64::from(op.ok());
                latencies.push(op.latency_ns());
            }
            slice.heat = heat(&latencies, &bounds);
            slice.latency_ns = spread(&mut latencies);
        }
        let used = slices.iter().rposition(|slice| *slice != Slice::default()).map_or(0, |last| last + 1);
        slices.truncate(used);
        Series { slice_ns: self.slice_ns, slices, heat_bounds_ns: bounds }
    }
}

fn attempts(counts: &[u32; Outcome::ALL.len()]) -> Slice {
    let known = Outcome::ALL.into_iter().filter(|&outcome| counts[outcome as usize] > 0);
    Slice {
        attempts: known.map(|outcome| (outcome, u64::from(counts[outcome as usize]))).collect(),
        ..Slice::default()
    }
}

/// p50, p90, p99 and the greatest.
fn spread(latencies: &mut [u64]) -> Option<[u64; 4]> {
    let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|quantile| quantile_of(latencies, quantile));
    Some([p50?, p90?, p99?, max?])
}

/// Bounds from 100 µs on, so far that the greatest latency has a row.
fn heat_bounds(max_ns: u64) -> Vec<u64> {
    let mut bounds = Vec::new();
    for row in 0.. {
        let bound = (LOWEST_ROW_NS * 10f64.powf(f64::from(row) / ROWS_A_DECADE)).round() as u64;
        bounds.push(bound);
        if bound >= max_ns {
            break;
        }
    }
    bounds
}

fn heat(latencies: &[u64], bounds: &[u64]) -> Vec<u32> {
    let mut rows = Vec::new();
    for latency in latencies {
        let row = bounds.partition_point(|bound| bound < latency);
        rows.resize(rows.len().max(row + 1), 0);
        rows[row] += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{Ok, Timeout};
    use crate::measure::testing::{Stream, span};

    fn series(stream: &Stream, end: u64) -> Series {
        let mut attempts = AttemptSeries::new(span(0, end));
        for attempt in &stream.attempts {
            attempts.take(attempt.start, attempt.outcome);
        }
        attempts.series(stream.history().view(None))
    }

    #[test]
    fn there_are_at_most_a_thousand_slices_of_whole_tenths() {
        for (end_s, slice_ms) in [(1, 100), (30, 100), (100, 100), (101, 200), (3600, 3600)] {
            assert_eq!(slice_ns(span(0, end_s * 1000)), slice_ms * 1_000_000, "{end_s} s");
        }
    }

    #[test]
    fn operations_count_by_due_attempts_by_start_goodput_by_end() {
        // Due at 50 ms; a time-out until 150 ms, a retry from 210 to 320 ms.
        let stream = Stream::new().op(50, &[(60, 150, Timeout), (210, 320, Ok)]).op(390, &[(390, 391, Ok)]);
        let series = series(&stream, 1000);
        assert_eq!(series.slices.len(), 4, "empty slices at the end are cut");
        let columns: Vec<_> = series.slices.iter().map(|s| (s.due, s.ok, s.good, s.attempts.clone())).collect();
        assert_eq!(
            columns,
            [
                (1, 1, 0, [(Timeout, 1)].into()),
                (0, 0, 0, [].into()),
                (0, 0, 0, [(Ok, 1)].into()),
                (1, 1, 2, [(Ok, 1)].into()),
            ]
        );
        assert_eq!(series.slices[0].latency_ns, Some([270_000_000; 4]));
        assert_eq!(series.slices[1].latency_ns, None);
    }

    #[test]
    fn the_heat_map_has_six_rows_a_decade() {
        let bounds = heat_bounds(1_000_000);
        assert_eq!(bounds, [100_000, 146_780, 215_443, 316_228, 464_159, 681_292, 1_000_000]);
        assert_eq!(heat(&[1, 100_000, 100_001, 1_000_000], &bounds), [2, 1, 0, 0, 0, 0, 1]);
        assert_eq!(heat_bounds(0), [100_000]);
    }
}
