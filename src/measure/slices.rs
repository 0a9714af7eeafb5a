//! The operations of a window, cut by due time into slices: what a comparison of variants draws its blocks from.

use super::history::View;
use super::phases::Interval;
use super::tally::Times;

/// A slice's length, unless the window is so long that it would hold more than [`SLICES`].
const SLICE_NS: u64 = 100_000_000;

/// Slices of a window, at most; one more for each stretch that does not end with a slice.
const SLICES: u64 = 1_000;

/// Operations due in a window, by slice of time; latencies as the histograms keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// The length of a slice; the last one of a stretch may be shorter.
    pub(crate) slice_ns: u64,
    /// The window's length.
    pub(crate) length_ns: u64,
    /// How many slices each stretch between two borders of phases has; within one, no time is unlike another by design.
    pub(crate) stretches: Vec<usize>,
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
    /// Cuts the stretches of a phase; one follows the other without the time between them.
    pub(crate) fn of(view: View<'_>, stretches: &[Interval]) -> Slices {
        let lengths: Vec<u64> = stretches.iter().map(|stretch| stretch.length_ns()).collect();
        let mut before = 0;
        let ops = stretches.iter().flat_map(|&stretch| {
            let since = before;
            before += stretch.length_ns();
            view.due_in(stretch).map(move |op| (since + (op.due.0 - stretch.start.0), op.latency_ns(), op.ok()))
        });
        Slices::new(&lengths, ops)
    }

    /// Of operations that were due so long after the beginning, in this order, each with its latency and whether it was
    /// ok; the window consists of stretches of these lengths.
    pub fn new(lengths_ns: &[u64], ops: impl Iterator<Item = (u64, u64, bool)>) -> Slices {
        let length_ns = lengths_ns.iter().sum::<u64>();
        let slice_ns = SLICE_NS.max(length_ns.div_ceil(SLICES));
        let stretches: Vec<usize> = lengths_ns.iter().map(|length| length.div_ceil(slice_ns) as usize).collect();
        let starts: Vec<(u64, usize)> = lengths_ns
            .iter()
            .zip(&stretches)
            .scan((0, 0), |(start, first), (length, slices)| {
                let this = (*start, *first);
                (*start, *first) = (*start + length, *first + slices);
                Some(this)
            })
            .collect();
        let mut due = vec![Due::default(); stretches.iter().sum()];
        let mut latencies = Vec::new();
        // Counted slice by slice, so that what is held are distinct latencies and not operations.
        let mut within: Vec<u64> = Vec::new();
        let mut current = 0;
        for (at, latency_ns, ok) in ops.filter(|(at, ..)| *at < length_ns) {
            let (start, first) = starts[starts.partition_point(|(start, _)| *start <= at) - 1];
            let slice = first + ((at - start) / slice_ns) as usize;
            if slice != current {
                count(&mut within, current, &mut latencies);
                current = slice;
            }
            due[slice].all += 1;
            due[slice].ok += u32::from(ok);
            within.push(Times::kept(latency_ns));
        }
        count(&mut within, current, &mut latencies);
        latencies.sort_unstable_by_key(|row| (row.ns, row.slice));
        latencies.shrink_to_fit();
        Slices { slice_ns, length_ns, stretches, due, latencies }
    }
}

/// Adds what was due in a slice to the rows, and forgets it.
fn count(latencies_ns: &mut Vec<u64>, slice: usize, rows: &mut Vec<Latency>) {
    latencies_ns.sort_unstable();
    let row = |same: &[u64]| Latency { ns: same[0], slice: slice as u16, operations: same.len() as u32 };
    rows.extend(latencies_ns.chunk_by(|a, b| a == b).map(row));
    latencies_ns.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::Refused;
    use crate::measure::assemble::Cuts;
    use crate::measure::phases::Timeline;
    use crate::measure::testing::{Events, Stream, ms, span};

    #[test]
    fn operations_are_counted_where_they_were_due() {
        // 10 a second, of 5 ms each, from 1,000 to 2,000 ms; the one at 1,950 ms is refused after 7 ms.
        let stream = Stream::new().ok_every(100, 1000, 2000, 5).every(100, 1950, 2000, |due| (due, due + 7, Refused));
        let slices = Slices::of(stream.history().view(None), &[span(1000, 2000)]);
        assert_eq!((slices.slice_ns, slices.length_ns), (100_000_000, 1_000_000_000));
        assert_eq!(slices.due[..9], [Due { all: 1, ok: 1 }; 9]);
        assert_eq!(slices.due[9], Due { all: 2, ok: 1 });
        assert_eq!(slices.latencies.len(), 11);
        assert_eq!(slices.latencies[10], Latency { ns: 7_000_000, slice: 9, operations: 1 });
    }

    #[test]
    fn parts_stand_side_by_side_without_the_time_between() {
        let stream = Stream::new().ok_every(100, 0, 3000, 5);
        let slices = Slices::of(stream.history().view(None), &[span(0, 500), span(2000, 2500)]);
        assert_eq!(slices.stretches, [5, 5]);
        assert_eq!(slices.due, vec![Due { all: 1, ok: 1 }; 10]);
        assert_eq!(ms(1000).0, slices.length_ns);
    }

    #[test]
    fn a_phase_is_cut_where_another_begins_or_ends() {
        let events = Events::phases(0, 2000, 9000).fault("cut", 3000, 5000);
        let timeline = Timeline::new(&events.list, false);
        let cuts = Cuts::new(&timeline);
        let within = |phase| cuts.within(timeline.phase(phase).unwrap());
        assert_eq!(within("impact"), [span(3000, 5000), span(5000, 9000)]);
        assert_eq!(within("overall"), [span(0, 2000), span(2000, 3000), span(3000, 5000), span(5000, 9000)]);
        assert_eq!(within("fault"), [span(3000, 5000)]);
    }

    #[test]
    fn no_slice_reaches_over_the_border_of_two_stretches() {
        // Due at 200, 240, 260 and 300 ms; the border is at 250 ms.
        let ops = [200, 240, 260, 300].map(|at| (ms(at).0, ms(1).0, true));
        let slices = Slices::new(&[ms(250).0, ms(100).0], ops.into_iter());
        assert_eq!((slices.stretches.as_slice(), slices.length_ns), (&[3, 1][..], ms(350).0));
        assert_eq!(slices.due.iter().map(|due| due.all).collect::<Vec<_>>(), [0, 0, 2, 2]);
    }

    #[test]
    fn a_long_window_has_longer_slices() {
        let hour = 3_600_000_000_000;
        let slices = Slices::new(&[hour], [(hour - 1, 1_234_567, true)].into_iter());
        assert_eq!((slices.due.len(), slices.slice_ns), (1000, 3_600_000_000));
        // As a histogram keeps it: whole microseconds up to 2 ms.
        assert_eq!(slices.latencies, [Latency { ns: 1_235_000, slice: 999, operations: 1 }]);
    }
}
