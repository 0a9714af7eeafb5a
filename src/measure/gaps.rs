//! Gaps: times without a success that are too long to be the arrival's own, failing or stalled.

use std::time::Duration;

use super::history::{Trouble, View};
use super::model::Gap;
use super::phases::Interval;
use crate::clock::Moment;

/// No gap is shorter: below this, one slow answer or one late timer would count as an outage.
const SHORTEST: Duration = Duration::from_millis(100);

/// Successes in the baseline below which its gaps say too little.
pub(crate) const ENOUGH_SUCCESSES: usize = 200;

/// From which length on the time between two successes is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GapRule {
    /// A gap is longer than this: G.
    pub(crate) threshold_ns: u64,
    /// The baseline's mean time between two successes: how exactly a gap is known.
    pub(crate) mean_ns: u64,
}

impl GapRule {
    /// G = max(100 ms, 10 × mean, 2 × longest gap of the baseline); none below 200 successes.
    ///
    /// `random` operations do not come evenly: due by chance, as the answer allows, or one class among several.
    /// There e⁻¹⁰ of all gaps exceed 10 × the mean, one in 22,000, so 20 × the mean takes its place (one in 5 × 10⁸).
    pub(crate) fn of_baseline(ok_ends: &[Moment], random: bool) -> Option<GapRule> {
        let (first, last) = (ok_ends.first()?, ok_ends.last()?);
        if ok_ends.len() < ENOUGH_SUCCESSES {
            return None;
        }
        let mean_ns = (last.0 - first.0) / (ok_ends.len() as u64 - 1);
        let longest = ok_ends.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0);
        let factor = if random { 20 } else { 10 };
        let threshold_ns = (SHORTEST.as_nanos() as u64).max(factor * mean_ns).max(2 * longest);
        Some(GapRule { threshold_ns, mean_ns })
    }
}

/// The gaps of one fault: those that end in `watch`, or are still open at its end.
///
/// `ok_ends` and `troubles` are ascending. A gap that was open for longer than G before the fault struck is no work of
/// this fault: it counts from t0.
pub(crate) fn find<'a>(
    ok_ends: &[Moment],
    troubles: impl Iterator<Item = &'a Trouble>,
    watch: Interval,
    rule: GapRule,
) -> Vec<Gap> {
    let first = ok_ends.partition_point(|&end| end < watch.start);
    let behind = ok_ends.partition_point(|&end| end < watch.end);
    let mut start = match first.checked_sub(1).map(|before| ok_ends[before]) {
        Some(before) if watch.start.0 - before.0 <= rule.threshold_ns => before,
        _ => watch.start,
    };
    let mut gaps = Vec::new();
    let mut gap = |start: Moment, end: Moment, open| {
        if end.0.saturating_sub(start.0) > rule.threshold_ns {
            gaps.push(Gap { start, end, failing: false, open });
        }
    };
    for &end in &ok_ends[first..behind.max(first)] {
        gap(start, end, false);
        start = end;
    }
    gap(start, watch.end, true);
    mark_failing(&mut gaps, troubles);
    gaps
}

/// A gap is failing if an attempt failed or passed its time-out in it. One that is open at the end is failing too if
/// an attempt that started in it did so later.
fn mark_failing<'a>(gaps: &mut [Gap], troubles: impl Iterator<Item = &'a Trouble>) {
    if gaps.is_empty() {
        return;
    }
    for trouble in troubles {
        let next = gaps.partition_point(|gap| gap.end < trouble.at);
        let hit = |gap: &Gap| gap.start < trouble.at && trouble.at <= gap.end;
        if let Some(gap) = gaps.get_mut(next).filter(|gap| hit(gap)) {
            gap.failing = true;
        }
        if let Some(gap) = gaps.last_mut().filter(|gap| gap.open && trouble.at > gap.end) {
            gap.failing |= gap.start <= trouble.start && trouble.start < gap.end;
        }
    }
}

/// The ends of the ok operations that lie in the baseline.
pub(crate) fn in_baseline(ok_ends: &[Moment], baseline: Interval) -> &[Moment] {
    let from = ok_ends.partition_point(|&end| end < baseline.start);
    let to = ok_ends.partition_point(|&end| end < baseline.end);
    &ok_ends[from..to.max(from)]
}

/// The gaps of a fault for one class.
pub(crate) fn of_view(view: View<'_>, ok_ends: &[Moment], watch: Interval, rule: GapRule) -> Vec<Gap> {
    find(ok_ends, view.troubles(), watch, rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::history::Class;
    use crate::seed::Seed;

    const G100: GapRule = GapRule { threshold_ns: 100_000_000, mean_ns: 10_000_000 };

    fn ms(moments: impl IntoIterator<Item = u64>) -> Vec<Moment> {
        moments.into_iter().map(Moment::from_millis).collect()
    }

    fn trouble(start: u64, at: u64) -> Trouble {
        let [start, at] = [start, at].map(Moment::from_millis);
        Trouble { start, at, end: at, class: Class(0), failed: true }
    }

    /// Gaps as (start, end, failing, open) in milliseconds.
    fn gaps(ends: Vec<Moment>, troubles: &[Trouble], watch: (u64, u64)) -> Vec<(u64, u64, bool, bool)> {
        let watch = Interval::new(Moment::from_millis(watch.0), Moment::from_millis(watch.1));
        let ms = |moment: Moment| moment.0 / 1_000_000;
        let gaps = find(&ends, troubles.iter(), watch, G100);
        gaps.into_iter().map(|gap| (ms(gap.start), ms(gap.end), gap.failing, gap.open)).collect()
    }

    #[test]
    fn the_threshold_is_the_greatest_of_three() {
        let every = |gap: u64, n: u64| ms((0..n).map(|i| i * gap));
        // 300 successes 1 ms apart: 10 × 1 ms and 2 × 1 ms are both below 100 ms.
        let rule = GapRule::of_baseline(&every(1, 300), false).unwrap();
        assert_eq!((rule.threshold_ns, rule.mean_ns), (100_000_000, 1_000_000));
        // 40 ms apart: 10 × 40 = 400 ms; by chance 20 × 40 = 800 ms.
        assert_eq!(GapRule::of_baseline(&every(40, 300), false).unwrap().threshold_ns, 400_000_000);
        assert_eq!(GapRule::of_baseline(&every(40, 300), true).unwrap().threshold_ns, 800_000_000);
        // 1 ms apart but for one pause of 500 ms: 2 × 500 ms.
        let mut paused = every(1, 300);
        paused.extend(ms((0..10).map(|i| 799 + i)));
        assert_eq!(GapRule::of_baseline(&paused, false).unwrap().threshold_ns, 1_000_000_000);
    }

    #[test]
    fn two_hundred_successes_are_enough_and_199_are_not() {
        assert!(GapRule::of_baseline(&ms(0..200), false).is_some());
        assert!(GapRule::of_baseline(&ms(0..199), false).is_none());
        assert!(GapRule::of_baseline(&[], false).is_none());
    }

    #[test]
    fn a_gap_runs_from_success_to_success() {
        // Successes each 10 ms until 990, the fault at 1,000, then from 2,300 on: one gap of 1,310 ms.
        let ends = ms((0..100).map(|i| i * 10).chain((0..70).map(|i| 2300 + i * 10)));
        assert_eq!(gaps(ends.clone(), &[trouble(1000, 1250)], (1000, 3000)), [(990, 2300, true, false)]);
        // Nothing failed in it: the system stalled.
        assert_eq!(gaps(ends.clone(), &[], (1000, 3000)), [(990, 2300, false, false)]);
        // What failed before or after does not count; what failed at the moment of its end does.
        for (at, failing) in [(980, false), (990, false), (991, true), (2300, true), (2301, false)] {
            assert_eq!(gaps(ends.clone(), &[trouble(900, at)], (1000, 3000))[0].2, failing, "{at}");
        }
    }

    #[test]
    fn a_gap_as_long_as_the_threshold_is_none() {
        assert_eq!(gaps(ms([990, 1090, 1190, 1290]), &[], (1000, 1300)), []);
        assert_eq!(gaps(ms([990, 1091, 1190, 1290]), &[], (1000, 1300)), [(990, 1091, false, false)]);
    }

    #[test]
    fn a_gap_that_is_open_at_the_end_counts_to_the_end() {
        let ends = ms((0..100).map(|i| i * 10));
        assert_eq!(gaps(ends.clone(), &[trouble(1000, 1250)], (1000, 3000)), [(990, 3000, true, true)]);
        // The only failure comes after the end of load, from an attempt that started in the gap.
        assert_eq!(gaps(ends.clone(), &[trouble(2900, 3150)], (1000, 3000)), [(990, 3000, true, true)]);
        // A success that came in the drain, when nothing was due any more, does not close it.
        let drained = [ends, ms([3100])].concat();
        assert_eq!(gaps(drained, &[], (1000, 3000)), [(990, 3000, false, true)]);
    }

    #[test]
    fn several_gaps_are_judged_one_by_one() {
        let ends = ms([990, 1500, 1510, 2000, 2010]);
        let found = gaps(ends, &[trouble(1400, 1600)], (1000, 2050));
        assert_eq!(found, [(990, 1500, false, false), (1510, 2000, true, false)]);
    }

    #[test]
    fn a_system_that_was_down_before_the_fault_is_counted_from_the_fault() {
        assert_eq!(gaps(ms([100, 3000]), &[], (1000, 4000)), [(1000, 3000, false, false), (3000, 4000, false, true)]);
        assert_eq!(gaps(vec![], &[], (1000, 2000)), [(1000, 2000, false, true)]);
    }

    #[test]
    fn half_of_the_operations_failing_is_no_gap() {
        // 100 a second, every second one fails: successes are 20 ms apart.
        let ends = ms((0..300).map(|i| i * 20));
        let troubles: Vec<Trouble> = (0..300).map(|i| trouble(i * 20 + 9, i * 20 + 10)).collect();
        assert_eq!(gaps(ends, &troubles, (1000, 6000)), []);
    }

    #[test]
    fn a_slow_system_that_never_fails_has_at_most_a_stall() {
        // From 1,000 ms on each answer takes 2 s more: one pause of 2 s while the answers in flight age, then as before.
        let ends = ms((0..100).map(|i| i * 10).chain((100..400).map(|i| 2000 + i * 10)));
        assert_eq!(gaps(ends, &[], (1000, 5990)), [(990, 3000, false, false)]);
        // Slow by less than G: no gap at all.
        let ends = ms((0..100).map(|i| i * 10).chain((100..400).map(|i| 80 + i * 10)));
        assert_eq!(gaps(ends, &[], (1000, 4070)), []);
    }

    #[test]
    fn poisson_arrivals_without_a_fault_have_no_gap_in_a_thousand_minutes() {
        // 250 minutes at each of four rates; the baseline is the first 10 s, or what 200 successes take.
        for rate in [5.0, 25.0, 100.0, 400.0] {
            let mut dice = Seed(1).stream("poisson");
            let mean = Duration::from_secs_f64(1.0 / rate);
            let mut now = Moment::START;
            let end = Moment::START + Duration::from_secs(250 * 60);
            let ends: Vec<Moment> = std::iter::from_fn(|| {
                now = now + dice.exponential(mean);
                (now < end).then_some(now)
            })
            .collect();
            let baseline = Moment::START + Duration::from_secs(10).max(mean * 250);
            let rule = GapRule::of_baseline(in_baseline(&ends, Interval::new(Moment::START, baseline)), true).unwrap();
            let found = find(&ends, [].iter(), Interval::new(baseline, end), rule);
            assert_eq!(found, [], "at {rate}/s: {rule:?}");
        }
    }
}
