//! What drives the system and what watches it: loads, guards, probes.

use std::sync::Arc;
use std::time::Duration;

use super::conductor::{Running, Setup};
use super::keeper::ANSWER_WITHIN;
use super::watch::{GuardWatch, LOOK_BACK, Look, Watch};
use super::{RunError, ticker};
use crate::clock::Moment;
use crate::event::{StopReason, What};
use crate::plan::{RunPlan, Workload};
use crate::said;
use crate::workload::{ConnOf, Load, LoadSpec, Named, NamedLink};

/// Load may last this much longer than planned, for faults that heal late; it is stopped at its real end.
const OVERTIME: Duration = Duration::from_secs(3600);

/// How often the service is probed.
const PROBE_EVERY: Duration = Duration::from_millis(100);

impl Running {
    pub(super) fn start_load(&mut self, setup: &Setup<'_>, begin: Moment) -> Result<(), RunError> {
        let plan = setup.plan;
        let end = begin + plan.load_duration() + OVERTIME;
        for (name, workload) in &plan.workloads {
            let link = crate::plan::parts::workload_link(name, &workload.to);
            let named = self.named(name, workload, plan);
            let target = match &named {
                Some(named) => named.target(),
                None => self.links.get(&link).map(ToString::to_string).unwrap_or_default(),
            };
            let allowed = setup.allowance.hosts().iter().map(|allow| allow.max_rate);
            let load = Load::start(LoadSpec {
                name: name.clone(),
                plan: match &self.terminations {
                    Some(terminations) => terminations.trusted_by(workload),
                    None => workload.clone(),
                },
                target,
                endpoint: plan.system.endpoint(&workload.to).cloned(),
                link: named.is_none().then(|| link.as_str().into()),
                conn_of: self.conn_of(&link),
                named,
                seed: plan.seed,
                clock: self.clock,
                begin,
                end,
                sink: self.recorder.sink(),
                permit: setup.allowance.permit().clone(),
                max_rate: allowed.min_by(|a, b| a.get().total_cmp(&b.get())),
            })?;
            self.loads.push(Arc::new(load));
        }
        setup.pulse.update(|beat| beat.doing.clear());
        Ok(())
    }

    /// Who tells the number of a connection on a link.
    fn conn_of(&self, link: &str) -> ConnOf {
        let (backend, link) = (self.backend.clone(), link.to_owned());
        Arc::new(move |peer| backend.connection_from(&link, peer))
    }

    /// How a workload reaches what it uses by name; none if that is a node.
    fn named(&self, workload: &str, plan: &Workload, run: &RunPlan) -> Option<Named> {
        let (dns, meant) = (self.dns.as_ref()?, run.names.get(&plan.to)?);
        let link = |node: &str| {
            let name = crate::plan::parts::workload_link(workload, node);
            Some(NamedLink { address: *self.links.get(&name)?, conn_of: self.conn_of(&name), name: name.into() })
        };
        let links = meant.nodes().filter_map(link).collect();
        Some(Named { server: dns.address(), name: plan.to.clone(), links })
    }

    /// The watch: guards, leases, a recorder that fails, and what the live view and the events need each tick.
    pub(super) fn start_watch(&self, setup: &Setup<'_>) -> std::io::Result<Watch> {
        let mut looks: Vec<Look> = Vec::new();
        looks.push(ticker::look(self.clock, self.recorder.clone(), self.backend.clone(), &self.loads, &setup.pulse));
        let recorder = self.recorder.clone();
        looks.push(Box::new(move |_| recorder.failure().map(|why| (StopReason::Disk, why.to_owned()))));
        let keeper = self.keeper.clone();
        looks.push(Box::new(move |_| {
            let why = || format!("the keeper has not answered for {}", said::span(ANSWER_WITHIN));
            (keeper.silent_for() > ANSWER_WITHIN).then(|| (StopReason::Keeper, why()))
        }));
        for guard in &setup.plan.guards {
            let Some(watched) = GuardWatch::new(guard) else { continue };
            for load in self.loads.iter().filter(|load| watched.workload().is_none_or(|name| name == &**load.name())) {
                let (mut watched, gauge) = (watched.clone(), load.gauge());
                looks.push(Box::new(move |now| {
                    watched.look(now, &gauge(now, LOOK_BACK)).map(|why| (StopReason::Guard, why))
                }));
            }
        }
        Watch::start(self.clock, setup.stop.clone(), looks)
    }

    /// The probe at the service: it asks directly, over no link, and so meets no fault of a link.
    pub(super) fn start_probes(&mut self) {
        for node in self.system.probed() {
            let (system, recorder) = (self.system.clone(), self.recorder.clone());
            self.probes.spawn(async move {
                let mut ticks = tokio::time::interval(PROBE_EVERY);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let ok = system.probe(&node).await;
                    recorder.event(What::Probe { node: node.clone(), ok });
                }
            });
        }
    }
}
