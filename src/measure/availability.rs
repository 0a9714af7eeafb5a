//! Availability by request and by time, at the client and at the service, and what an SLA allows.

use super::history::View;
use super::model::{Availability, Budget, Figure};
use super::phases::Interval;
use super::tally::ratio;
use crate::clock::Moment;
use crate::plan::Sla;

/// A year of 365.25 days.
const YEAR_NS: f64 = 365.25 * 86_400.0 * 1e9;

/// Over this share of failed operations a slice is bad.
const BAD: f64 = 0.05;

/// The length of a slice where no SLA says otherwise.
const SLICE_NS: u64 = 1_000_000_000;

/// What happened in one slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slice {
    due: u64,
    failed: u64,
    /// Operations that ended ok.
    completed: u64,
    /// Operations due before it and not ended when it begins.
    open: u64,
}

impl Slice {
    fn bad(self) -> bool {
        self.failed as f64 > BAD * self.due as f64 || (self.due + self.open > 0 && self.completed == 0)
    }
}

/// As a workload's clients saw it. `impact` is none where nothing was to be had an impact.
pub(crate) fn at_client(
    view: View<'_>,
    impact: Option<Interval>,
    sla: Option<&Sla>,
    unavailability: &[Figure<u64>],
    resolution_ns: u64,
) -> Availability {
    let slice_ns = slice_ns(sla);
    let impact = impact.unwrap_or(Interval::new(Moment::START, Moment::START));
    let (mut all, mut ok) = (0, 0);
    for op in view.due_in(impact) {
        all += 1;
        ok += u64::from(op.ok());
    }
    let slices = client_slices(view, impact, slice_ns);
    let good = slices.iter().filter(|slice| !slice.bad()).count() as u64;
    let total: Option<u64> = unavailability.iter().map(Figure::value).sum();
    Availability {
        request_based: ratio(ok, all),
        time_based: ratio(good, slices.len() as u64),
        slice_ns,
        budget: sla.zip(total).map(|(sla, unavailability)| budget(sla, unavailability, resolution_ns)),
    }
}

/// As a probe saw it that takes no faulted link: (when, whether it was answered well).
pub(crate) fn at_service(
    probes: &[(Moment, bool)],
    impact: Option<Interval>,
    sla: Option<&Sla>,
) -> Option<Availability> {
    let slice_ns = slice_ns(sla);
    let impact = impact?;
    let mut slices = vec![(0u64, 0u64); slice_count(impact, slice_ns)];
    let (mut all, mut ok) = (0, 0);
    for &(at, good) in probes.iter().filter(|(at, _)| impact.contains(*at)) {
        all += 1;
        ok += u64::from(good);
        if let Some((probes, failed)) = slices.get_mut(((at.0 - impact.start.0) / slice_ns) as usize) {
            *probes += 1;
            *failed += u64::from(!good);
        }
    }
    // A slice without a probe tells nothing.
    let probed: Vec<_> = slices.into_iter().filter(|(probes, _)| *probes > 0).collect();
    let bad = probed.iter().filter(|(probes, failed)| *failed as f64 > BAD * *probes as f64).count() as u64;
    (all > 0).then(|| Availability {
        request_based: ratio(ok, all),
        time_based: ratio(probed.len() as u64 - bad, probed.len() as u64),
        slice_ns,
        budget: sla.map(|sla| budget(sla, bad * slice_ns, slice_ns)),
    })
}

fn slice_ns(sla: Option<&Sla>) -> u64 {
    sla.map_or(SLICE_NS, |sla| sla.slice.0.as_nanos() as u64).max(1)
}

/// Whole slices, and one more for a rest of half a slice at least: less says too little. But always one.
fn slice_count(part: Interval, slice_ns: u64) -> usize {
    let rounded = (part.length_ns() + slice_ns / 2) / slice_ns;
    if part.length_ns() == 0 { 0 } else { rounded.max(1) as usize }
}

fn client_slices(view: View<'_>, impact: Interval, slice_ns: u64) -> Vec<Slice> {
    let mut slices = vec![Slice::default(); slice_count(impact, slice_ns)];
    let index = |at: Moment| at.0.checked_sub(impact.start.0).map(|ns| (ns / slice_ns) as usize);
    for op in view.ops() {
        // Open in every slice that begins behind its due time and before its end.
        let first_open = index(op.due).map_or(0, |due| due + 1);
        let ended = index(Moment(op.end.0.saturating_sub(1))).map_or(0, |end| end + 1);
        for slice in slices.iter_mut().take(ended).skip(first_open) {
            slice.open += 1;
        }
        if impact.contains(op.due)
            && let Some(slice) = index(op.due).and_then(|due| slices.get_mut(due))
        {
            slice.due += 1;
            slice.failed += u64::from(!op.ok());
        }
        if op.ok()
            && let Some(slice) = index(op.end).and_then(|end| slices.get_mut(end))
        {
            slice.completed += 1;
        }
    }
    slices
}

/// What the promise allows in a year, and what incidents like this one cost of it.
fn budget(sla: &Sla, unavailability_ns: u64, resolution_ns: u64) -> Budget {
    let target = sla.target.get();
    let budget_ns = ((1.0 - target) * YEAR_NS).round();
    Budget {
        target,
        budget_ns: budget_ns as u64,
        incidents_per_year: sla.incidents_per_year,
        downtime_per_year_ns: (unavailability_ns as f64 * sla.incidents_per_year).round() as u64,
        incidents_paid_for: budget_ns / unavailability_ns.max(resolution_ns).max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{Ok, Refused};
    use crate::measure::testing::{Stream, ms, span};
    use crate::units::{Share, Span};

    fn sla(target: f64, slice_s: u64) -> Sla {
        let slice = Span(std::time::Duration::from_secs(slice_s));
        Sla { target: Share::new(target).unwrap(), incidents_per_year: 12.0, slice }
    }

    fn client(stream: &Stream, impact: (u64, u64), sla: Option<&Sla>) -> Availability {
        at_client(stream.history().view(None), Some(span(impact.0, impact.1)), sla, &[], 1)
    }

    #[test]
    fn by_request_and_by_time() {
        // 100 a second for 4 s. In the second second 5 fail (5 %: good), in the third one 6 (bad): 389 of 400 ok.
        let fails = |due: u64| (1000..1050).contains(&due) || (2000..2060).contains(&due);
        let stream = Stream::new().every(10, 0, 4000, |due| (due, due + 1, if fails(due) { Refused } else { Ok }));
        let availability = client(&stream, (0, 4000), None);
        assert_eq!(availability.request_based, Some(389.0 / 400.0));
        assert_eq!(availability.time_based, Some(0.75));
        assert_eq!(availability.slice_ns, 1_000_000_000);
        // In slices of 2 s: 5 of 200 and 6 of 200 are both below 5 %.
        assert_eq!(client(&stream, (0, 4000), Some(&sla(0.999, 2))).time_based, Some(1.0));
    }

    #[test]
    fn a_slice_in_which_nothing_completes_is_bad_though_nothing_fails() {
        // Everything due from 1,000 ms on is answered at 3,500 ms: the slices of 1 s and 2 s complete nothing.
        let stream =
            Stream::new().every(10, 0, 5000, |due| (due, if due < 990 { due + 5 } else { (due + 5).max(3500) }, Ok));
        let availability = client(&stream, (0, 5000), None);
        assert_eq!(availability.request_based, Some(1.0));
        assert_eq!(availability.time_based, Some(3.0 / 5.0));
    }

    #[test]
    fn one_operation_open_for_seconds_makes_each_slice_bad_that_completes_nothing() {
        let stream = Stream::new().op(500, &[(500, 3500, Ok)]).op(3600, &[(3600, 3610, Ok)]);
        assert_eq!(client(&stream, (0, 4000), None).time_based, Some(0.25));
    }

    #[test]
    fn an_idle_slice_is_good_and_a_short_rest_does_not_count() {
        let stream = Stream::new().op(100, &[(100, 105, Ok)]);
        assert_eq!(client(&stream, (0, 3400), None).time_based, Some(1.0));
        let stream = stream.op(3100, &[(3100, 3105, Refused)]);
        assert_eq!(client(&stream, (0, 3400), None).time_based, Some(1.0), "400 ms of a slice");
        assert_eq!(client(&stream, (0, 3500), None).time_based, Some(0.75), "500 ms of a slice");
        assert_eq!(client(&Stream::new(), (0, 0), None).time_based, None);
    }

    #[test]
    fn an_error_budget_over_a_year() {
        // 99.9 % of 365.25 days leaves 31,557.6 s; 12 incidents of 30 s cost 360 s; it pays for 1,051.92 of them.
        let figures = [Figure::Known(10_000_000_000), Figure::AtLeast(20_000_000_000)];
        let view = Stream::new().history();
        let availability = at_client(view.view(None), None, Some(&sla(0.999, 1)), &figures, 10_000_000);
        let budget = availability.budget.unwrap();
        assert!((budget.budget_ns as f64 / 1e9 - 31_557.6).abs() < 1e-3, "{budget:?}");
        assert_eq!(budget.downtime_per_year_ns, 360_000_000_000);
        assert!((budget.incidents_paid_for - 1051.92).abs() < 1e-6, "{budget:?}");
    }

    #[test]
    fn an_incident_shorter_than_the_resolution_costs_the_resolution() {
        let history = Stream::new().history();
        let availability = at_client(history.view(None), None, Some(&sla(0.999, 1)), &[Figure::Known(0)], 10_000_000);
        let paid_for = availability.budget.unwrap().incidents_paid_for;
        assert!((paid_for - 3_155_760.0).abs() < 1e-3, "{paid_for}");
        let unknown = [Figure::Known(0), Figure::NotApplicable("too few successes".into())];
        assert_eq!(at_client(history.view(None), None, Some(&sla(0.999, 1)), &unknown, 1).budget, None);
    }

    #[test]
    fn the_service_is_judged_by_its_probe() {
        // A probe each 250 ms from 0 to 4 s; two of the third second fail. The one at 5 s is after the impact.
        let mut probes: Vec<(Moment, bool)> = (0..16).map(|i| (ms(i * 250), !(8..10).contains(&i))).collect();
        probes.push((ms(5000), false));
        let availability = at_service(&probes, Some(span(0, 4000)), Some(&sla(0.999, 1))).unwrap();
        assert_eq!(availability.request_based, Some(14.0 / 16.0));
        assert_eq!(availability.time_based, Some(0.75));
        assert_eq!(availability.budget.unwrap().downtime_per_year_ns, 12_000_000_000);
        assert_eq!(at_service(&[], Some(span(0, 4000)), None), None);
    }
}
