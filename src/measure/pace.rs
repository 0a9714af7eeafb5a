//! How fast attempts come: rates and the worst second.

use super::history::View;
use super::phases::Interval;
use crate::clock::Moment;

const SECOND: u64 = 1_000_000_000;

/// The most of these moments (ascending) that any second holds, wherever in `part` it begins.
pub(crate) fn worst_second(moments: &[Moment], part: Interval) -> u64 {
    let from = moments.partition_point(|&moment| moment < part.start);
    let to = moments.partition_point(|&moment| moment < part.end);
    let moments = &moments[from..to.max(from)];
    let mut first = 0;
    let mut worst = 0;
    for (index, moment) in moments.iter().enumerate() {
        while moment.0 - moments[first].0 >= SECOND {
            first += 1;
        }
        worst = worst.max(index + 1 - first);
    }
    worst as u64
}

/// So many in this time, a second; none where there was no time or nothing came.
pub(crate) fn per_second(count: u64, length_ns: u64) -> Option<f64> {
    (count > 0 && length_ns > 0).then(|| count as f64 * SECOND as f64 / length_ns as f64)
}

/// The mean rate of attempts sent in a stretch of time.
pub(crate) fn attempts_per_second(starts: &[Moment], part: Interval) -> Option<f64> {
    let from = starts.partition_point(|&start| start < part.start);
    let to = starts.partition_point(|&start| start < part.end);
    per_second(to.saturating_sub(from) as u64, part.length_ns())
}

/// Σ (latency − `median`)⁺ over the operations due in `part`.
pub(crate) fn latency_debt_ns(view: View<'_>, part: Interval, median_ns: u64) -> u64 {
    view.due_in(part).map(|op| op.latency_ns().saturating_sub(median_ns)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{Ok, Timeout};
    use crate::measure::testing::{Stream, ms, span};

    #[test]
    fn the_worst_second_may_begin_anywhere() {
        // 10 a second from 0 to 3 s, and a burst of 20 from 1,900 to 2,090 ms: calendar seconds would cut it in two.
        // The worst second, such as 1,100 to 2,099 ms, holds the burst and 10 of the others.
        let mut moments: Vec<Moment> = (0..30).map(|i| ms(i * 100)).chain((0..20).map(|i| ms(1900 + i * 10))).collect();
        moments.sort();
        assert_eq!(worst_second(&moments, span(0, 3000)), 30);
        // From 2,050 ms on: five of the burst, and nine others until 2,950 ms.
        assert_eq!(worst_second(&moments, span(2050, 3000)), 14);
        assert_eq!(worst_second(&moments, span(5000, 6000)), 0);
        assert_eq!(worst_second(&[], span(0, 1000)), 0);
    }

    #[test]
    fn a_second_is_half_open() {
        assert_eq!(worst_second(&[ms(0), ms(1000)], span(0, 2000)), 1);
        assert_eq!(worst_second(&[ms(0), ms(999)], span(0, 2000)), 2);
    }

    #[test]
    fn rates_count_what_lies_in_the_stretch() {
        let starts: Vec<Moment> = (0..300).map(|i| ms(i * 10)).collect();
        assert_eq!(attempts_per_second(&starts, span(1000, 3000)), Some(100.0));
        assert_eq!(attempts_per_second(&starts, span(5000, 6000)), None);
        assert_eq!(per_second(5, 0), None);
    }

    #[test]
    fn latency_debt_is_what_users_waited_longer_than_usual() {
        // The usual is 5 ms. Waits of 5, 2, 105 and 255 ms: 0 + 0 + 100 + 250 = 350 ms; the last one is due too late.
        let stream = Stream::new()
            .op(1000, &[(1000, 1005, Ok)])
            .op(1010, &[(1010, 1012, Ok)])
            .op(1020, &[(1020, 1125, Ok)])
            .op(1030, &[(1030, 1285, Timeout)])
            .op(2000, &[(2000, 2999, Ok)]);
        assert_eq!(latency_debt_ns(stream.history().view(None), span(1000, 2000), 5_000_000), 350_000_000);
    }
}
