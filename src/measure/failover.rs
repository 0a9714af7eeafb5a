//! Milestones at the client, and the time until somebody else serves.

use super::history::{Place, View};
use super::model::Figure;
use super::phases::{Group, Interval};
use crate::clock::Moment;

/// The share of the baseline's successes that must come from the hit set, so that a success elsewhere means a failover.
const FROM_HIT_SET: f64 = 0.99;

/// End of the first ok operation whose winning attempt started at or after t0 and was served outside the hit set, − t0.
pub(crate) fn latency(view: View<'_>, baseline: Interval, group: &Group) -> Figure<u64> {
    let na = |why: &str| Figure::NotApplicable(why.to_owned());
    if group.places.is_empty() {
        return na("the fault stopped, cut or demoted no place");
    }
    let places = &view.history.places;
    let hit = |place: Place| {
        places.get(usize::from(place.0)).is_some_and(|place| group.places.iter().any(|hit| **hit == **place))
    };
    let (mut successes, mut from_hit_set) = (0u64, 0u64);
    // What was in flight at t0 and answered after it, by whoever serves then, tells nothing about the baseline.
    for op in view.due_in(baseline).filter(|op| op.ok() && op.end <= group.t0) {
        successes += 1;
        from_hit_set += u64::from(hit(op.place));
    }
    if successes == 0 {
        return na("nothing succeeded in the baseline");
    }
    let share = from_hit_set as f64 / successes as f64;
    if share < FROM_HIT_SET {
        return Figure::NotApplicable(format!(
            "{:.1} % of the baseline's successes came from what was hit, and it takes 99 %",
            share * 100.0
        ));
    }
    let elsewhere =
        view.ops().filter(|op| op.ok() && op.won >= group.t0 && op.place != Place::UNKNOWN && !hit(op.place));
    match elsewhere.map(|op| op.end).min().filter(|&end| end <= group.until) {
        Some(end) => Figure::Known(end.0 - group.t0.0),
        None => Figure::AtLeast(group.watch().length_ns()),
    }
}

/// End of the first failed attempt that ended after t0.
pub(crate) fn first_failure(view: View<'_>, watch: Interval) -> Option<Moment> {
    let after = view.failures().filter(|failure| failure.end > watch.start && failure.start < watch.end);
    after.map(|failure| failure.end).min()
}

/// End of the first ok operation after the first failure.
pub(crate) fn first_success(ok_ends: &[Moment], first_failure: Option<Moment>) -> Option<Moment> {
    let first_failure = first_failure?;
    ok_ends.get(ok_ends.partition_point(|&end| end <= first_failure)).copied()
}

/// Start of the last failed attempt before steady, − t0; 0 if none failed that started after t0. `steady` is where the
/// search ends, and `settled` tells whether nothing worse can follow.
pub(crate) fn last_error(view: View<'_>, group: &Group, steady: Moment, settled: bool) -> Figure<u64> {
    let failures = view.failures().filter(|failure| group.owns(failure.end) && failure.start < steady);
    let last = failures.map(|failure| failure.start).max().map_or(0, |last| last.0.saturating_sub(group.t0.0));
    if settled { Figure::Known(last) } else { Figure::AtLeast(last) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{Ok as Done, Refused, Timeout};
    use crate::measure::testing::{Stream, group, ms, span};

    /// 100 operations a second for 1 s from `a#1`, the fault at 1,000 ms.
    fn baseline() -> Stream {
        Stream::new().place("a#1").ok_every(10, 0, 1000, 5)
    }

    fn known(t: u64) -> Figure<u64> {
        Figure::Known(t * 1_000_000)
    }

    #[test]
    fn failover_ends_with_the_first_success_elsewhere() {
        // Due at 1,000 ms, answered by b at 1,705 ms: 705 ms.
        let history = baseline().place("b#2").op(1000, &[(1000, 1250, Timeout), (1700, 1705, Done)]).history();
        assert_eq!(latency(history.view(None), span(0, 1000), &group(1000, 2000, 3000, &["a#1"])), known(705));
    }

    #[test]
    fn what_the_hit_place_still_answers_is_no_failover() {
        // In flight at t0, and answered by a#1 after it: neither counts. A success of b that started before t0 neither.
        let history = baseline()
            .op(995, &[(995, 1040, Done)])
            .op(1010, &[(1010, 1015, Done)])
            .place("b#2")
            .op(998, &[(998, 1030, Done)])
            .op(1500, &[(1500, 1510, Done)])
            .history();
        assert_eq!(latency(history.view(None), span(0, 990), &group(1000, 2000, 3000, &["a#1"])), known(510));
    }

    #[test]
    fn the_same_node_in_a_new_incarnation_is_elsewhere() {
        let history = baseline().place("a#2").op(1500, &[(1500, 1510, Done)]).history();
        assert_eq!(latency(history.view(None), span(0, 1000), &group(1000, 2000, 3000, &["a#1"])), known(510));
    }

    #[test]
    fn without_a_success_elsewhere_it_took_at_least_as_long_as_was_watched() {
        let history = baseline().op(1000, &[(1000, 1250, Timeout)]).history();
        let figure = latency(history.view(None), span(0, 1000), &group(1000, 2000, 3000, &["a#1"]));
        assert_eq!(figure, Figure::AtLeast(2_000_000_000));
    }

    #[test]
    fn it_is_defined_only_where_99_percent_came_from_the_hit_set() {
        // 100 successes of a#1 and 1 of b#1: 99.01 %. With 2 of b#1: 98.04 %.
        let elsewhere = |n: u64| {
            let stream = (0..n).fold(baseline().place("b#1"), |stream, _| stream.op(500, &[(500, 505, Done)]));
            stream.op(1200, &[(1200, 1210, Done)]).history()
        };
        let group = group(1000, 2000, 3000, &["a#1"]);
        assert_eq!(latency(elsewhere(1).view(None), span(0, 1000), &group), known(210));
        let Figure::NotApplicable(why) = latency(elsewhere(2).view(None), span(0, 1000), &group) else {
            panic!("98 % are too few")
        };
        assert_eq!(why, "98.0 % of the baseline's successes came from what was hit, and it takes 99 %");
    }

    #[test]
    fn what_was_in_flight_at_t0_says_nothing_about_the_baseline() {
        // 100 successes of a#1, and 5 due before t0 that b#2 answered: after t0 they do not count, at t0 they do.
        let history = |end: u64| {
            let stream = (0..5).fold(baseline().place("b#2"), |stream, i| stream.op(995 + i, &[(995 + i, end, Done)]));
            stream.op(1200, &[(1200, 1210, Done)]).history()
        };
        let group = group(1000, 2000, 3000, &["a#1"]);
        assert_eq!(latency(history(1700).view(None), span(0, 1000), &group), known(210));
        let at_t0 = latency(history(1000).view(None), span(0, 1000), &group);
        assert!(matches!(at_t0, Figure::NotApplicable(_)), "95 % are too few: {at_t0:?}");
    }

    #[test]
    fn a_fault_that_hits_no_place_has_no_failover() {
        let history = baseline().history();
        let figure = latency(history.view(None), span(0, 1000), &group(1000, 2000, 3000, &[]));
        assert_eq!(figure, Figure::NotApplicable("the fault stopped, cut or demoted no place".into()));
    }

    #[test]
    fn first_failure_and_first_success_are_ends() {
        // Failures end at 900 (before t0), 1,240 and 1,300; successes end at 1,240 (not after it) and 1,400.
        let history = baseline()
            .op(895, &[(895, 900, Refused)])
            .op(1050, &[(1050, 1300, Timeout)])
            .op(990, &[(990, 1240, Timeout)])
            .op(1235, &[(1235, 1240, Done)])
            .op(1395, &[(1395, 1400, Done)])
            .history();
        let view = history.view(None);
        let first = first_failure(view, span(1000, 3000));
        assert_eq!(first, Some(ms(1240)));
        assert_eq!(first_success(&view.ok_ends(), first), Some(ms(1400)));
        assert_eq!(first_success(&view.ok_ends(), None), None, "nothing failed");
    }

    #[test]
    fn last_error_is_the_start_of_the_last_failed_attempt_before_steady() {
        let history = baseline()
            .op(1100, &[(1100, 1350, Timeout), (1400, 1650, Timeout), (1700, 1705, Done)])
            .op(5000, &[(5000, 5001, Refused)])
            .history();
        let view = history.view(None);
        let fault = |t0| group(t0, 1900, 6000, &[]);
        // The attempt of 1,400 ms, also where its operation ended well; the one of 5,000 ms is after steady.
        assert_eq!(last_error(view, &fault(1000), ms(2000), true), known(400));
        assert_eq!(last_error(view, &fault(1000), ms(6000), false), Figure::AtLeast(4_000_000_000));
        assert_eq!(last_error(view, &fault(2000), ms(3000), true), known(0), "none failed");
    }

    #[test]
    fn what_fails_after_the_next_injection_is_no_error_of_the_fault_before() {
        // Open from 1,900 ms on, and failed at 2,150 ms; the next fault strikes at 2,000 ms.
        let history = baseline()
            .op(1100, &[(1100, 1350, Timeout), (1400, 1405, Done)])
            .op(1900, &[(1900, 2150, Timeout), (2200, 2205, Done)])
            .history();
        let view = history.view(None);
        let mut first = group(1000, 1500, 2000, &[]);
        assert_eq!(last_error(view, &first, ms(2000), true), known(900), "without a next one it would be");
        first.followed = true;
        assert_eq!(last_error(view, &first, ms(2000), true), known(100));
        // Of the next one it is: it started before t0, so at 0.
        assert_eq!(last_error(view, &group(2000, 2500, 6000, &[]), ms(6000), true), known(0));
    }
}
