//! Degraded time: seconds in which too many failed, though not all.

use super::history::View;
use super::model::Gap;
use super::phases::Interval;
use crate::clock::Moment;

const SLICE_NS: u64 = 1_000_000_000;

/// Below this share of ok operations a slice is degraded.
const GOOD: f64 = 0.95;

/// The length of the 1 s slices of `watch`, from its start, in which under 95 % of the operations due were ok,
/// without what lies in failing gaps. The last slice may be shorter.
pub(crate) fn time_ns(view: View<'_>, watch: Interval, gaps: &[Gap]) -> u64 {
    let slices = watch.length_ns().div_ceil(SLICE_NS) as usize;
    let mut counts = vec![(0u64, 0u64); slices];
    for op in view.due_in(watch) {
        let (due, ok) = &mut counts[((op.due.0 - watch.start.0) / SLICE_NS) as usize];
        *due += 1;
        *ok += u64::from(op.ok());
    }
    let failing = |slice: Interval| -> u64 {
        gaps.iter().filter(|gap| gap.failing).map(|gap| slice.overlap_ns(Interval::new(gap.start, gap.end))).sum()
    };
    counts
        .into_iter()
        .enumerate()
        .filter(|(_, (due, ok))| *due > 0 && (*ok as f64) < GOOD * *due as f64)
        .map(|(index, _)| {
            let start = Moment(watch.start.0 + index as u64 * SLICE_NS);
            let slice = Interval::new(start, Moment(start.0 + SLICE_NS).min(watch.end));
            slice.length_ns() - failing(slice)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{Ok, Refused};
    use crate::measure::testing::{Stream, ms, span};

    /// 100 operations a second from 1,000 to 4,000 ms; those fail that `fails` says.
    fn stream(fails: impl Fn(u64) -> bool) -> Stream {
        Stream::new().every(10, 1000, 4000, |due| (due, due + 1, if fails(due) { Refused } else { Ok }))
    }

    fn degraded(stream: &Stream, watch: (u64, u64), gaps: &[Gap]) -> u64 {
        time_ns(stream.history().view(None), span(watch.0, watch.1), gaps) / 1_000_000
    }

    #[test]
    fn half_of_the_operations_failing_is_degraded_all_the_time() {
        assert_eq!(degraded(&stream(|due| due.is_multiple_of(20)), (1000, 4000), &[]), 3000);
    }

    #[test]
    fn a_slice_of_95_percent_is_good() {
        // 5 of 100 fail in the first second, 6 in the second, none in the third.
        let fails = |due: u64| due < 1050 || (2000..2060).contains(&due);
        assert_eq!(degraded(&stream(fails), (1000, 4000), &[]), 1000);
    }

    #[test]
    fn what_lies_in_a_failing_gap_is_outage_and_not_degraded() {
        // Everything fails from 1,500 to 2,200 ms: two slices, of which the gap takes 700 ms.
        let stream = stream(|due| (1500..2200).contains(&due));
        let gap = |failing| Gap { start: ms(1491), end: ms(2201), failing, open: false };
        assert_eq!(degraded(&stream, (1000, 4000), &[gap(true)]), 2000 - 710);
        assert_eq!(degraded(&stream, (1000, 4000), &[gap(false)]), 2000, "a stall is no outage");
    }

    #[test]
    fn the_last_slice_may_be_shorter() {
        assert_eq!(degraded(&stream(|_| true), (1000, 2300), &[]), 1300);
        assert_eq!(degraded(&Stream::new(), (1000, 4000), &[]), 0, "nothing due, nothing degraded");
    }
}
