//! The operations of a window, cut by due time into slices: what a comparison of variants draws its blocks from.

use super::history::{Op, View};
use super::phases::Phase;
use super::tally::Times;

/// A slice's length, unless the window is so long that it would hold more than [`SLICES`].
const SLICE_NS: u64 = 100_000_000;

/// Slices of a window, at most.
const SLICES: u64 = 1_000;

/// Operations due in a window, by slice of time; latencies as the histograms keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// The length of a slice; the last one may be shorter.
    pub(crate) slice_ns: u64,
    /// The window's length.
    pub(crate) length_ns: u64,
    /// What was due in each slice.
    pub(crate) due: Vec<Due>,
    /// By latency, ascending; so many operations of the same slice had the same.
    pub(crate) latencies: Vec<Latency>,
}

/// Operations due in one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// All.
    pub(crate) all: u32,
    /// Those that were ok.
    pub(crate) ok: u32,
}

/// Operations of one slice with the same latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    /// In nanoseconds, three significant digits.
    pub(crate) ns: u64,
    /// The number of the slice.
    pub(crate) slice: u16,
    /// How many operations.
    pub(crate) operations: u32,
}

impl Slices {
    /// Cuts a phase; of several parts one follows the other without the time between them.
    pub(crate) fn of(view: View<'_>, phase: &Phase) -> Slices {
        let mut before = 0;
        let mut ops: Vec<(u64, &Op)> = Vec::new();
        for &part in &phase.parts {
            ops.extend(view.due_in(part).map(|op| (before + (op.due.0 - part.start.0), op)));
            before += part.length_ns();
        }
        Slices::new(phase.length_ns(), ops.into_iter().map(|(at, op)| (at, op.latency_ns(), op.ok())))
    }

    /// Of operations that were due so long after the beginning, each with its latency and whether it was ok.
    pub fn new(length_ns: u64, ops: impl Iterator<Item = (u64, u64, bool)>) -> Slices {
        let slice_ns = SLICE_NS.max(length_ns.div_ceil(SLICES));
        let mut due = vec![Due::default(); length_ns.div_ceil(slice_ns) as usize];
        let mut latencies: Vec<(u64, u16)> = Vec::new();
        for (at, latency_ns, ok) in ops {
            let slice = (at / slice_ns) as usize;
            let Some(counts) = due.get_mut(slice) else { continue };
            counts.all += 1;
            counts.ok += u32::from(ok);
            latencies.push((Times::kept(latency_ns), slice as u16));
        }
        latencies.sort_unstable();
        let mut counted: Vec<Latency> = Vec::new();
        for (ns, slice) in latencies {
            match counted.last_mut() {
                Some(last) if (last.ns, last.slice) == (ns, slice) => last.operations += 1,
                _ => counted.push(Latency { ns, slice, operations: 1 }),
            }
        }
        Slices { slice_ns, length_ns, due, latencies: counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::Refused;
    use crate::measure::testing::{Stream, ms, span};

    #[test]
    fn operations_are_counted_where_they_were_due() {
        // 10 a second, of 5 ms each, from 1,000 to 2,000 ms; the one at 1,950 ms is refused after 7 ms.
        let stream = Stream::new().ok_every(100, 1000, 2000, 5).every(100, 1950, 2000, |due| (due, due + 7, Refused));
        let phase = Phase { planned: None, parts: vec![span(1000, 2000)] };
        let slices = Slices::of(stream.history().view(None), &phase);
        assert_eq!((slices.slice_ns, slices.length_ns), (100_000_000, 1_000_000_000));
        assert_eq!(slices.due[..9], [Due { all: 1, ok: 1 }; 9]);
        assert_eq!(slices.due[9], Due { all: 2, ok: 1 });
        assert_eq!(slices.latencies.len(), 11);
        assert_eq!(slices.latencies[10], Latency { ns: 7_000_000, slice: 9, operations: 1 });
    }

    #[test]
    fn parts_stand_side_by_side_without_the_time_between() {
        let stream = Stream::new().ok_every(100, 0, 3000, 5);
        let phase = Phase { planned: None, parts: vec![span(0, 500), span(2000, 2500)] };
        let slices = Slices::of(stream.history().view(None), &phase);
        assert_eq!(slices.due, vec![Due { all: 1, ok: 1 }; 10]);
        assert_eq!(ms(1000).0, slices.length_ns);
    }

    #[test]
    fn a_long_window_has_longer_slices() {
        let hour = 3_600_000_000_000;
        let slices = Slices::new(hour, [(hour - 1, 1_234_567, true)].into_iter());
        assert_eq!((slices.due.len(), slices.slice_ns), (1000, 3_600_000_000));
        // As a histogram keeps it: whole microseconds up to 2 ms.
        assert_eq!(slices.latencies, [Latency { ns: 1_235_000, slice: 999, operations: 1 }]);
    }
}
