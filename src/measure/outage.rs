//! What one fault did to one class: every figure of `docs/measurement.md`, failover and outage, put together.

use super::degraded;
use super::failover;
use super::gaps::{self, ENOUGH_SUCCESSES, GapRule};
use super::history::View;
use super::model::{Figure, Gap, Metastable, MilestoneFigure, Outage, ToldMilestone};
use super::pace;
use super::phases::{Group, Interval};
use super::steady::{self, Reference};
use crate::clock::Moment;
use crate::event::Milestone;

/// So many times the fault's length must be watched after its removal to call a system metastable.
const METASTABLE_WATCH: u64 = 3;

/// What the outages of a class have in common.
pub(crate) struct OutageContext<'a> {
    /// The class.
    pub(crate) view: View<'a>,
    /// Its ok ends, ascending.
    pub(crate) ok_ends: Vec<Moment>,
    /// Its attempts' starts, ascending.
    pub(crate) starts: &'a [Moment],
    /// The baseline.
    pub(crate) baseline: Interval,
    /// From when on a time without success is a gap; none below 200 successes in the baseline.
    pub(crate) rule: Option<GapRule>,
    /// Half of the baseline's operations took no longer.
    pub(crate) median_ns: u64,
    /// What the system told.
    pub(crate) told: &'a [ToldMilestone],
}

impl<'a> OutageContext<'a> {
    /// `random`: operations of this class do not come evenly ([`GapRule::of_baseline`]).
    pub(crate) fn new(
        view: View<'a>,
        starts: &'a [Moment],
        baseline: Interval,
        random: bool,
        told: &'a [ToldMilestone],
    ) -> OutageContext<'a> {
        let ok_ends = view.ok_ends();
        let rule = GapRule::of_baseline(gaps::in_baseline(&ok_ends, baseline), random);
        let mut latencies: Vec<u64> = view.due_in(baseline).map(|op| op.latency_ns()).collect();
        let median_ns = steady::quantile_of(&mut latencies, 0.5).unwrap_or(0);
        OutageContext { view, ok_ends, starts, baseline, rule, median_ns, told }
    }

    /// Everything about one fault, or group of faults, but what was lost.
    pub(crate) fn outage(&self, group: &Group) -> Outage {
        let watch = group.watch();
        let gaps = self.rule.map(|rule| gaps::of_view(self.view, &self.ok_ends, watch, rule));
        let (time_to_steady_ns, steady) = self.time_to_steady(group);
        let gaps_or_none = gaps.clone().unwrap_or_default();
        let open = gaps_or_none.iter().any(|gap| gap.open);
        // Errors may go on where it never got steady, and where nothing succeeded at the end.
        let settled = match time_to_steady_ns {
            Figure::Known(_) => true,
            Figure::AtLeast(_) => false,
            // Below 200 successes in the baseline there are no gaps to be open: a success after the last failure tells.
            Figure::NotApplicable(_) => !open && self.succeeded_last(group),
        };
        let last_error_ns = failover::last_error(self.view, group, steady.unwrap_or(group.until), settled);
        Outage {
            faults: group.faults.clone(),
            t0: group.t0,
            injection_skew_ns: group.skew_ns,
            removed: group.removed(),
            until: group.until,
            milestones: self.milestones(group, steady),
            failover_latency_ns: failover::latency(self.view, self.baseline, group),
            last_error_ns,
            unavailability_ns: self.sum(gaps.as_deref(), true),
            resolution_ns: self.rule.map_or(0, |rule| rule.mean_ns),
            gap_threshold_ns: self.rule.map_or(0, |rule| rule.threshold_ns),
            stall_time_ns: self.sum(gaps.as_deref(), false),
            degraded_time_ns: degraded::time_ns(self.view, watch, &gaps_or_none),
            gaps: gaps_or_none,
            metastable: metastable(group, &time_to_steady_ns),
            time_to_steady_ns,
            recovery_surge: self.recovery_surge(group),
            rpo_lost: None,
            rpo_age_ns: None,
            latency_debt_ns: pace::latency_debt_ns(self.view, watch, self.median_ns),
        }
    }

    /// Whether an attempt succeeded that started after the last one that failed; also where nothing failed.
    fn succeeded_last(&self, group: &Group) -> bool {
        let failures = self.view.failures().filter(|failure| group.owns(failure.end));
        let Some(last) = failures.map(|failure| failure.start).max() else { return true };
        self.view.ops().any(|op| op.ok() && op.won > last && group.owns(op.end))
    }

    /// The sum of the failing gaps, or of the stalls.
    fn sum(&self, gaps: Option<&[Gap]>, failing: bool) -> Figure<u64> {
        let Some(gaps) = gaps else {
            return Figure::NotApplicable(format!(
                "the baseline has {} successes, and a gap takes {ENOUGH_SUCCESSES}",
                gaps::in_baseline(&self.ok_ends, self.baseline).len()
            ));
        };
        let gaps = gaps.iter().filter(|gap| gap.failing == failing);
        let (sum, open) = gaps.fold((0, false), |(sum, open), gap| (sum + gap.end.0 - gap.start.0, open | gap.open));
        if open { Figure::AtLeast(sum) } else { Figure::Known(sum) }
    }

    fn time_to_steady(&self, group: &Group) -> (Figure<u64>, Option<Moment>) {
        let na = |why: &str| (Figure::NotApplicable(why.to_owned()), None);
        let Some(recovery) = group.recovery() else { return na("the fault was in force to the end") };
        let window_ns = steady::window_ns(recovery.length_ns());
        if recovery.length_ns() < 2 * window_ns {
            return na("less than two windows of 1 s were watched after its removal");
        }
        let Some(reference) = Reference::of_baseline(self.view, self.baseline, window_ns) else {
            return na("nothing was due in the baseline");
        };
        match steady::first(self.view, recovery, &reference) {
            Some(steady) => (Figure::Known(steady.0 - group.t0.0), Some(steady)),
            None => (Figure::AtLeast(group.watch().length_ns()), None),
        }
    }

    fn recovery_surge(&self, group: &Group) -> Figure<f64> {
        let Some(recovery) = group.recovery() else {
            return Figure::NotApplicable("the fault was in force to the end".to_owned());
        };
        match pace::attempts_per_second(self.starts, self.baseline) {
            Some(mean) => Figure::Known(pace::worst_second(self.starts, recovery) as f64 / mean),
            None => Figure::NotApplicable("no attempt was sent in the baseline".to_owned()),
        }
    }

    fn milestones(&self, group: &Group, steady: Option<Moment>) -> Vec<MilestoneFigure> {
        let told =
            |milestone| self.told.iter().find(|told| told.milestone == milestone && group.watch().contains(told.at));
        let first_failure = failover::first_failure(self.view, group.watch());
        let promoted = told(Milestone::Promoted).map(|told| told.at);
        let by_client = |milestone| match milestone {
            Milestone::FirstFailure => first_failure,
            Milestone::FirstSuccess => failover::first_success(&self.ok_ends, first_failure),
            Milestone::Steady => steady,
            _ => None,
        };
        let figure = |milestone| {
            let known = match milestone {
                Milestone::Injected => Some((group.t0, "run".to_owned())),
                Milestone::Detected | Milestone::Decided | Milestone::Promoted | Milestone::Redirected => {
                    told(milestone).map(|told| (told.at, told.source.clone()))
                }
                // Behind a gateway that keeps its clients' connections, the gateway is who reconnects.
                Milestone::Reconnected => {
                    let client = promoted.and_then(|promoted| self.view.reconnected(promoted));
                    let gateway = told(milestone).map(|told| (told.at, told.source.clone()));
                    client.map(|at| (at, "client".to_owned())).into_iter().chain(gateway).min_by_key(|(at, _)| *at)
                }
                _ => by_client(milestone).map(|at| (at, "client".to_owned())),
            };
            let (at, source) = known.map_or((None, String::new()), |(at, source)| (Some(at), source));
            MilestoneFigure { milestone, at, source }
        };
        Milestone::ALL.into_iter().map(figure).collect()
    }
}

impl Outage {
    /// The same in a system of one node: where nobody else has served, there was nobody to fail over to.
    pub(crate) fn alone(mut self) -> Outage {
        if let Figure::AtLeast(_) = self.failover_latency_ns {
            let why = "the system has one node, so there is nobody to fail over to";
            self.failover_latency_ns = Figure::NotApplicable(why.to_owned());
        }
        self
    }
}

fn metastable(group: &Group, time_to_steady: &Figure<u64>) -> Metastable {
    let fault = group.removed().0 - group.t0.0;
    let watched = group.recovery().map_or(0, |recovery| recovery.length_ns());
    match time_to_steady {
        _ if watched < METASTABLE_WATCH * fault => Metastable::NotObserved,
        Figure::Known(_) => Metastable::No,
        Figure::AtLeast(_) => Metastable::Yes,
        Figure::NotApplicable(_) => Metastable::NotObserved,
    }
}
