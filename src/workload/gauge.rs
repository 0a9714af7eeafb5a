//! What guards and the live view read while load runs: counts in slices of 100 ms, and a sketch of latencies.
//!
//! Read from threads that carry no load, so that a starved generator cannot hide itself. These are not the figures of
//! a report, which come from the records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// The width of a slice.
pub const SLICE: Duration = Duration::from_millis(100);

/// How many slices are kept: 12.8 s, more than any guard looks back.
const SLICES: usize = 128;

/// The present state of one workload.
#[derive(Debug)]
pub struct Gauge {
    /// An operation open for longer counts as failed: it ran past its attempt's time-out.
    overdue_after: Duration,
    pub(super) due: AtomicU64,
    pub(super) started: AtomicU64,
    pub(super) shed: AtomicU64,
    pub(super) in_flight: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    slices: Box<[Mutex<Slice>]>,
}

/// Totals since the workload's start, for the event `Generator`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GeneratorHealth {
    /// Operations due.
    pub due: u64,
    /// Operations started.
    pub started: u64,
    /// Operations shed.
    pub shed: u64,
    /// Operations open now.
    pub in_flight: u64,
    /// Operations that ended ok.
    pub ok: u64,
    /// Operations that ended otherwise, shed ones included.
    pub failed: u64,
    /// Records that the sink dropped.
    pub dropped: u64,
}

/// The operations due within a window that ends now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Due.
    pub due: u64,
    /// Of these, ended ok.
    pub ok: u64,
    /// Of these, ended otherwise.
    pub failed: u64,
    /// Of these, open for longer than an attempt may last; guards count them as failed.
    pub overdue: u64,
    /// The latest start after its due time.
    pub lateness_max: Duration,
    latency: Sketch,
}

impl Window {
    /// ok / (ok + failed + overdue); none while nothing is decided.
    pub fn success_rate(&self) -> Option<f64> {
        let decided = self.ok + self.failed + self.overdue;
        (decided > 0).then(|| self.ok as f64 / decided as f64)
    }

    /// A quantile of the latencies within the window, overdue operations at their present age; within 4 %.
    pub fn latency(&self, quantile: f64) -> Option<Duration> {
        self.latency.quantile(quantile)
    }
}

#[derive(Debug, Default)]
struct Slice {
    /// Which slice of the run it holds now.
    number: u64,
    due: u64,
    ok: u64,
    failed: u64,
    lateness_max: Duration,
    latency: Sketch,
}

impl Gauge {
    pub(super) fn new(overdue_after: Duration) -> Gauge {
        Gauge {
            overdue_after,
            due: AtomicU64::new(0),
            started: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slices: (0..SLICES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Totals so far.
    pub fn health(&self, dropped: u64) -> GeneratorHealth {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        GeneratorHealth {
            due: read(&self.due),
            started: read(&self.started),
            shed: read(&self.shed),
            in_flight: read(&self.in_flight),
            ok: read(&self.ok),
            failed: read(&self.failed),
            dropped,
        }
    }

    /// The last `length` before `now`, in whole slices, the one that is under way left out. At most 12 s.
    pub fn window(&self, now: Moment, length: Duration) -> Window {
        let end = number(now);
        let slices = (length.as_nanos() / SLICE.as_nanos()).clamp(1, SLICES as u128 - 8) as u64;
        let mut window = Window::default();
        for number in end.saturating_sub(slices)..end {
            let slice = self.slice(number);
            if slice.number != number {
                continue;
            }
            window.due += slice.due;
            window.ok += slice.ok;
            window.failed += slice.failed;
            window.lateness_max = window.lateness_max.max(slice.lateness_max);
            window.latency.merge(&slice.latency);
            let open = slice.due.saturating_sub(slice.ok + slice.failed);
            let age = now.saturating_since(Moment(number * SLICE.as_nanos() as u64) + SLICE);
            if age > self.overdue_after {
                window.overdue += open;
                window.latency.add(age, open);
            }
        }
        window
    }

    pub(super) fn on_due(&self, due: Moment) {
        self.due.fetch_add(1, Ordering::Relaxed);
        self.with_slice(due, |slice| slice.due += 1);
    }

    pub(super) fn on_start(&self, due: Moment, start: Moment) {
        self.started.fetch_add(1, Ordering::Relaxed);
        let late = start.saturating_since(due);
        self.with_slice(due, |slice| slice.lateness_max = slice.lateness_max.max(late));
    }

    pub(super) fn on_shed(&self, due: Moment) {
        self.shed.fetch_add(1, Ordering::Relaxed);
        self.on_end(due, due, false);
    }

    pub(super) fn on_end(&self, due: Moment, end: Moment, ok: bool) {
        let total = if ok { &self.ok } else { &self.failed };
        total.fetch_add(1, Ordering::Relaxed);
        self.with_slice(due, |slice| {
            *(if ok { &mut slice.ok } else { &mut slice.failed }) += 1;
            slice.latency.add(end.saturating_since(due), 1);
        });
    }

    /// The slice of a due time, unless it has already made room for a later one.
    fn with_slice(&self, due: Moment, change: impl FnOnce(&mut Slice)) {
        let number = number(due);
        let mut slice = self.slice(number);
        if slice.number < number {
            *slice = Slice { number, ..Slice::default() };
        }
        if slice.number == number {
            change(&mut slice);
        }
    }

    fn slice(&self, number: u64) -> MutexGuard<'_, Slice> {
        let slice = &self.slices[(number % SLICES as u64) as usize];
        slice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(at: Moment) -> u64 {
    at.0 / SLICE.as_nanos() as u64
}

/// Counts by logarithm: 16 steps an octave from 16 µs to over an hour. A value reads back within 4 %.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sketch {
    counts: [u32; Sketch::STEPS],
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch { counts: [0; Sketch::STEPS] }
    }
}

impl Sketch {
    /// 28 octaves above 16 µs.
    const STEPS: usize = 28 * 16 + 16;

    fn add(&mut self, value: Duration, times: u64) {
        let us = (value.as_micros() as u64).max(1);
        let octave = us.ilog2().saturating_sub(4);
        let step = octave as usize * 16 + (us >> octave) as usize;
        let count = &mut self.counts[step.min(Sketch::STEPS - 1)];
        *count = count.saturating_add(times.try_into().unwrap_or(u32::MAX));
    }

    fn merge(&mut self, other: &Sketch) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.saturating_add(*other);
        }
    }

    fn quantile(&self, quantile: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        let rank = ((quantile * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        // The middle of the step: below 32 steps are a microsecond wide.
        let (octave, rest) = if step < 32 { (0, step) } else { (step / 16 - 1, step % 16 + 16) };
        Some(Duration::from_nanos((rest as u64 * 1000 + 500) << octave))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const AT: fn(u64) -> Moment = Moment::from_millis;

    #[test]
    fn a_sketch_reads_back_within_four_percent() {
        for us in [1u64, 15, 16, 31, 32, 33, 63, 64, 100, 999, 12_345, 1_000_000, 60_000_000, 3_600_000_000] {
            let mut sketch = Sketch::default();
            sketch.add(Duration::from_micros(us), 1);
            let read = sketch.quantile(0.5).unwrap().as_secs_f64() * 1e6;
            // Half a microsecond is half of the smallest step.
            assert!((read - us as f64).abs() <= (us as f64 * 0.04).max(0.51), "{us} reads {read}");
        }
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn quantiles_are_of_all_values() {
        let mut sketch = Sketch::default();
        (1..=100).for_each(|ms| sketch.add(MS(ms), 1));
        for (quantile, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let read = sketch.quantile(quantile).unwrap().as_secs_f64() * 1e3;
            assert!((read / ms - 1.0).abs() < 0.04, "{quantile}: {read}");
        }
    }

    #[test]
    fn operations_that_stay_open_count_as_failed_once_overdue() {
        let gauge = Gauge::new(MS(250));
        for ms in (0..1000).step_by(10) {
            gauge.on_due(AT(ms));
            // After 500 ms nothing answers any more.
            if ms < 500 {
                gauge.on_end(AT(ms), AT(ms + 2), true);
            }
        }
        let window = gauge.window(AT(1000), MS(1000));
        assert_eq!((window.due, window.ok, window.failed), (100, 50, 0));
        // The slices that ended before 750 ms: those of 500 and 600 ms.
        assert_eq!(window.overdue, 20);
        assert_eq!(window.success_rate(), Some(50.0 / 70.0));
        assert!(window.latency(0.99).unwrap() > MS(250), "a stall shows before anything ends");
        assert_eq!(gauge.window(AT(3000), MS(500)).success_rate(), None, "no data is no success");
    }

    #[test]
    fn an_end_counts_in_the_slice_of_its_due_time_while_that_is_kept() {
        let gauge = Gauge::new(MS(250));
        gauge.on_due(AT(50));
        gauge.on_end(AT(50), AT(950), false);
        assert_eq!(gauge.window(AT(1000), MS(1000)).failed, 1);
        gauge.on_due(AT(12_850));
        gauge.on_end(AT(50), AT(12_900), true);
        let window = gauge.window(AT(12_900), MS(1000));
        assert_eq!((window.due, window.ok), (1, 0), "slice 0 has made room for slice 128");
    }
}
