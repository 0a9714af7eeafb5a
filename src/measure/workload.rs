//! One workload's figures, put together.

use std::sync::Arc;
use std::thread;

use indexmap::IndexMap;

use super::assemble::{Assembled, Cuts};
use super::history::{Class, View};
use super::model::{
    ClassFigures, Consistency, Doubt, Figure, GeneratorHealth, LinkFigures, Outage, ToldMilestone, WireCount,
    WorkloadFigures,
};
use super::outage::OutageContext;
use super::phases::{Interval, Phase, Timeline};
use super::slices::Slices;
use super::tally::Tally;
use super::{availability, doubts, pace, rpo};
use crate::event::{Event, What};
use crate::plan::workload::Arrival;
use crate::plan::{Plan, RunPlan};

/// The name under which all classes of a workload stand together.
pub(crate) const ALL: &str = "all";

/// What the figures of every workload of a run are worked out from, besides its attempts.
pub(crate) struct WorkloadContext<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) run: &'a RunPlan,
    /// The phases whose operations are compared with another run's.
    pub(crate) compared: &'a [String],
    pub(crate) events: &'a [Event],
    pub(crate) timeline: &'a Timeline,
    pub(crate) cuts: &'a Cuts,
    pub(crate) told: &'a [ToldMilestone],
    pub(crate) links: &'a IndexMap<String, LinkFigures>,
}

impl WorkloadContext<'_> {
    /// The figures of one workload; what makes its generator doubtful goes to `late`. `consistency`, what became of its
    /// writes, may have to be waited for, so it is asked for late.
    pub(crate) fn figures(
        &self,
        name: &str,
        assembled: &Assembled,
        late: &mut Vec<Doubt>,
        consistency: impl FnOnce() -> Option<Consistency>,
    ) -> WorkloadFigures {
        let history = &assembled.history;
        let arrival = self.run.workloads.get(name).map(|workload| workload.arrival);
        let by_chance = matches!(arrival, Some(Arrival::Poisson(_) | Arrival::Users { .. }));
        let closed_loop = matches!(arrival, Some(Arrival::Users { .. }));

        let mut total = vec![Tally::default(); assembled.tallies.first().map_or(0, Vec::len)];
        for tallies in &assembled.tallies {
            total.iter_mut().zip(tallies).for_each(|(sum, tally)| sum.add(tally));
        }
        // Which class comes next is drawn by chance, whatever the arrival.
        let one =
            |number: usize| self.class(history.view(Some(Class(number as u16))), &assembled.tallies[number], true);
        let several = if history.classes.len() > 1 { history.classes.len() } else { 0 };
        let (all, single, series) = thread::scope(|scope| {
            let beside = scope.spawn(|| ((0..several).map(one).collect(), assembled.series.series(history.view(None))));
            let all = self.class(history.view(None), &total, by_chance);
            let (single, series): (Vec<ClassFigures>, _) =
                beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (all, single, series)
        });
        let mut single = single.into_iter();
        let mut classes = IndexMap::from([(ALL.to_owned(), all)]);
        for class in &history.classes {
            let figures = single.next().unwrap_or_else(|| classes[ALL].clone());
            classes.insert(class.to_string(), figures);
        }
        let consistency = consistency();
        if let Some(consistency) = &consistency {
            let writes = |class: &str| {
                let number = history.classes.iter().position(|known| **known == *class);
                number.is_none_or(|number| assembled.writes[number])
            };
            for (_, figures) in classes.iter_mut().filter(|(class, _)| writes(class)) {
                rpo::fill(figures.outages.values_mut(), consistency);
            }
        }
        let all = &classes[ALL];

        late.extend(doubts::late(name, all.windows.iter()));
        for (fault, _) in &self.timeline.faults {
            let part = self.timeline.phase(&format!("fault.{fault}")).map(Phase::hull);
            late.extend(part.and_then(|part| doubts::stalled(name, history.view(None), fault, part)));
        }

        let unavailability: Vec<Figure<u64>> =
            all.outages.values().map(|outage| outage.unavailability_ns.clone()).collect();
        let resolution = all.outages.values().map(|outage| outage.resolution_ns).max().unwrap_or(0);
        let impact = self.timeline.phase("impact").map(Phase::hull);
        let view = history.view(None);
        WorkloadFigures {
            closed_loop,
            missing: if closed_loop { self.missing(&total) } else { None },
            wire: self.wire(assembled),
            consistency,
            availability: availability::at_client(view, impact, self.plan.sla.as_ref(), &unavailability, resolution),
            series,
            generator: self.generator(name, &total),
            samples: assembled.sampler.sample(),
            classes,
        }
    }

    fn class(&self, view: View<'_>, tallies: &[Tally], random: bool) -> ClassFigures {
        let starts = view.starts();
        let baseline_rate = self.rate(tallies, "baseline");
        let windows = self.timeline.phases.iter().map(|(name, phase)| {
            let tally = self.cuts.sum(tallies, phase);
            let worst = phase.parts.iter().map(|&part| pace::worst_second(&starts, part)).max().unwrap_or(0);
            (name.clone(), tally.window(phase.length_ns(), worst, baseline_rate))
        });
        let windows = windows.collect();
        let context = OutageContext::new(view, &starts, self.timeline.baseline(), random, self.told);
        let alone = self.run.system.is_one_node();
        let outage = |group| -> Outage { if alone { context.outage(group).alone() } else { context.outage(group) } };
        let outages = self.timeline.groups.iter().map(|group| (group.name.clone(), outage(group))).collect();
        ClassFigures { windows, outages, slices: self.slices(view) }
    }

    /// What a comparison draws from, by phase.
    fn slices(&self, view: View<'_>) -> IndexMap<String, Arc<Slices>> {
        let slices = |name: &String| {
            let phase = self.timeline.phase(name)?;
            Some((name.clone(), Arc::new(Slices::of(view, &self.cuts.within(phase)))))
        };
        self.compared.iter().filter_map(slices).collect()
    }

    /// The mean of operations a second in a phase.
    fn rate(&self, tallies: &[Tally], phase: &str) -> Option<f64> {
        let phase = self.timeline.phase(phase)?;
        pace::per_second(self.cuts.sum(tallies, phase).operations(), phase.length_ns())
    }

    /// Operations that the baseline's rate would have started in `impact`, minus those started.
    fn missing(&self, total: &[Tally]) -> Option<i64> {
        let impact = self.timeline.phase("impact")?;
        let expected = self.rate(total, "baseline")? * impact.length_ns() as f64 / 1e9;
        Some(expected.round() as i64 - self.cuts.sum(total, impact).operations() as i64)
    }

    /// Attempts as the client counted them and as its links did; none where no link counts requests.
    fn wire(&self, assembled: &Assembled) -> Option<WireCount> {
        let attempts = assembled.connected.values().sum();
        let starts = assembled.history.starts.iter().filter_map(|starts| starts.first());
        let load = Interval::new(starts.min().copied().unwrap_or_default(), assembled.ended);
        let links = assembled.connected.keys().filter_map(|link| self.links.get(&**link));
        let requests = links.map(|link| requests(link, load)).fold(0, u64::saturating_add);
        (requests > 0).then_some(WireCount { attempts, requests })
    }

    fn generator(&self, name: &str, total: &[Tally]) -> GeneratorHealth {
        let mut health = GeneratorHealth {
            shed: total.iter().map(Tally::shed).sum(),
            saturated: total.iter().map(Tally::saturated).sum(),
            ..GeneratorHealth::default()
        };
        for event in self.events {
            if let What::Generator { workload, shed, in_flight, dropped, .. } = &event.what
                && workload == name
            {
                health.in_flight_max = health.in_flight_max.max(*in_flight);
                health.shed = health.shed.max(*shed);
                health.dropped = health.dropped.max(*dropped);
            }
        }
        health
    }
}

/// The requests that a link counted from the last reading before the load to the first one after it: checks and final
/// reads take the same links. Where the run was cut off before such a reading, to its last one.
fn requests(link: &LinkFigures, load: Interval) -> u64 {
    let before = link.readings.iter().rfind(|(at, _)| *at <= load.start).map_or(0, |(_, counters)| counters.requests);
    let after = link.readings.iter().find(|(at, _)| *at >= load.end).or(link.readings.last());
    after.map_or(0, |(_, counters)| counters.requests).saturating_sub(before)
}
