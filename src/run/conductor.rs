//! One run, from its first process to its last: starts, loads, goes through the phases, ends.
//!
//! What happens when is decided elsewhere ([`Schedule`], guards, the plan); here it is done. Faults are in `faults`. Whatever ends the run,
//! [`Running::take_down`] heals everything and says so.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::allowance::Allowance;
use super::aside::{aside, came_of};
use super::baseline::{self, JudgeBaseline};
use super::faults::Told;
use super::in_force::InForce;
use super::keeper::Keeper;
use super::pulse::Pulse;
use super::recorder::{Listener, Recorder};
use super::schedule::{Act, Next, Schedule};
use super::secrets::Secrets;
use super::stop::StopSwitch;
use super::tls::Terminations;
use super::watch::Watch;
use super::{RunError, ticker};
use crate::backend::{self, Backend};
use crate::clock::{Moment, RunClock};
use crate::event::{Event, StopReason, What};
use crate::plan::{CheckWhen, LabCatalogue, RunPlan};
use crate::said;
use crate::system::dns::Dns;
use crate::system::{LinkAddresses, NodeState, System};
use crate::topology::Topology;
use crate::workload::Load;

/// From the end of the preparations to the first operation, so that no first operation is late.
const RUN_UP: Duration = Duration::from_millis(100);

/// What a run needs from outside.
pub struct Setup<'a> {
    /// The run.
    pub plan: &'a RunPlan,
    /// The built-in labs.
    pub labs: &'a dyn LabCatalogue,
    /// Its folder, already made.
    pub dir: &'a Path,
    /// How the keeper is started: [`Keeper::command`], but in tests.
    pub keeper: std::process::Command,
    /// Who applies its faults on links.
    pub backend: backend::Choice,
    /// What it may reach.
    pub allowance: Allowance,
    /// How it is stopped.
    pub stop: StopSwitch,
    /// What it looks like right now.
    pub pulse: Pulse,
    /// Who listens to its events.
    pub listeners: Vec<Listener>,
    /// The schedule without its faults.
    pub no_faults: bool,
    /// Tells whether the baseline holds.
    pub judge_baseline: JudgeBaseline,
}

/// The run stops; why is in the [`StopSwitch`].
struct Stopping;

/// Conducts one run. An error means that its system was not ready; every other end is in the run folder's events.
pub async fn conduct(mut setup: Setup<'_>) -> Result<(), RunError> {
    let clock = RunClock::start();
    let secrets = Secrets::of(setup.plan)?;
    let listeners = std::mem::take(&mut setup.listeners);
    let recorder = Recorder::start(setup.dir, clock, secrets, listeners).map_err(RunError::Record)?;
    let ended = match Running::set_up(&mut setup, clock, recorder.clone()).await {
        Ok(mut running) => {
            let _ = running.perform(&setup).await;
            running.take_down(&setup).await;
            Ok(())
        }
        Err(error) => {
            let (reason, detail) = setup.stop.requested().unwrap_or((StopReason::System, error.chain()));
            recorder.event(What::Stopped { reason, detail });
            Err(error)
        }
    };
    recorder.event(What::RunEnded);
    aside(move || recorder.finish()).await;
    ended
}

/// Everything that a run has running.
pub(super) struct Running {
    pub(super) clock: RunClock,
    pub(super) recorder: Arc<Recorder>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) system: Arc<System>,
    /// Who answers for the names of the run, if there are any.
    pub(super) dns: Option<Arc<Dns>>,
    pub(super) topology: Topology,
    pub(super) news: mpsc::UnboundedReceiver<Event>,
    /// What was begun, each to its end.
    pub(super) begun: JoinSet<Told>,
    /// Names of faults whose actions are done.
    pub(super) done: mpsc::UnboundedSender<String>,
    pub(super) told_done: mpsc::UnboundedReceiver<String>,
    pub(super) schedule: Schedule,
    pub(super) in_force: IndexMap<String, InForce>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) loads: Vec<Arc<Load>>,
    pub(super) links: LinkAddresses,
    /// The run's folder, whoever asks from wherever.
    pub(super) dir: PathBuf,
    pub(super) terminations: Option<Terminations>,
    pub(super) watch: Option<Watch>,
    pub(super) probes: JoinSet<()>,
}

impl Running {
    /// The phases, until the last one ends or a stop is asked for.
    async fn perform(&mut self, setup: &Setup<'_>) -> Result<(), Stopping> {
        let plan = setup.plan;
        self.check(setup, CheckWhen::Before).await;
        let begin = self.clock.now() + RUN_UP;
        let phases = plan.phases;
        let baseline = begin + phases.warmup.0;
        let planned = baseline + phases.baseline.0;
        self.tell_counters().await;
        if let Err(error) = self.start_load(setup, begin) {
            setup.stop.request(StopReason::System, error.chain());
            return Err(Stopping);
        }
        let window = if setup.no_faults { Duration::ZERO } else { plan.fault_window() };
        let show = |origin: Moment| {
            let recovery = origin + window;
            let end = recovery + phases.recovery.0;
            let named = [("warmup", begin, baseline), ("baseline", baseline, origin)];
            let later = [("fault", origin, recovery), ("recovery", recovery, end)];
            let all = named.into_iter().chain(later).filter(|(_, from, to)| to > from);
            let all = all.map(|(name, from, to)| (name.to_owned(), from, to)).collect();
            setup.pulse.update(|beat| beat.phases = all);
        };
        show(planned);

        self.start_probes();
        self.phase("warmup", begin, begin);
        self.until(setup, baseline).await?;
        self.phase("baseline", baseline, baseline);
        self.watch = self.start_watch(setup).ok();
        // Where the verdict is late, everything after it moves by as much: no fault and no phase gets shorter.
        let origin = planned + self.baseline_judged(setup, planned).await?;
        show(origin);

        if !setup.no_faults && !plan.faults.is_empty() {
            self.phase("faults", origin, planned);
            self.schedule = Schedule::new(plan, origin);
            self.run_schedule(setup).await?;
        }
        let recovery = self.clock.now().max(origin);
        self.phase("recovery", recovery, planned + window);
        self.until(setup, recovery + phases.recovery.0).await
    }

    /// Waits for the end of the baseline and for its verdict; says how late that came.
    async fn baseline_judged(&mut self, setup: &Setup<'_>, ends: Moment) -> Result<Duration, Stopping> {
        self.until(setup, baseline::begins(setup.plan.phases, ends)).await?;
        let judging = baseline::judge(&self.recorder, &setup.judge_baseline);
        self.until(setup, ends).await?;
        let in_time = judging.is_finished();
        let mut verdict = came_of(self.meanwhile(setup, judging).await?);
        let by_a_part = verdict.is_err();
        if by_a_part {
            // Bad news needs all of it.
            let judging = baseline::judge(&self.recorder, &setup.judge_baseline);
            verdict = came_of(self.meanwhile(setup, judging).await?);
        }
        if let Err(why) = verdict {
            setup.stop.request(StopReason::Baseline, format!("the baseline does not hold: {why}"));
            return Err(Stopping);
        }
        if in_time && !by_a_part {
            return Ok(Duration::ZERO);
        }
        let late = self.clock.now().saturating_since(ends);
        let text = format!("the baseline's verdict came {} late, and all that follows with it", said::span(late));
        self.recorder.event(What::Note { text });
        Ok(late)
    }

    /// Injects and heals until nothing is left to do.
    async fn run_schedule(&mut self, setup: &Setup<'_>) -> Result<(), Stopping> {
        loop {
            self.absorb_news(setup).await;
            self.end_restarts(setup).await;
            match self.schedule.next(self.clock.now()) {
                // Whatever happens first may change what comes next.
                Next::Wait(moment) => drop(self.reach(setup, moment).await?),
                Next::Listen => drop(self.first_of(setup, std::pin::pin!(std::future::pending::<()>())).await?),
                Next::Do(Act::Lease(name, due)) => self.lease(setup, &name, due),
                Next::Do(Act::Inject(name, planned)) => self.inject(setup, &name, planned).await,
                Next::Do(Act::Heal(name, planned)) => self.heal(setup, &name, planned).await,
                Next::Done => return Ok(()),
            }
        }
    }

    /// Waits until a moment.
    async fn until(&mut self, setup: &Setup<'_>, moment: Moment) -> Result<(), Stopping> {
        self.meanwhile(setup, tokio::time::sleep_until(self.clock.instant(moment))).await
    }

    /// Waits until a moment, or until something happens before it; whether the moment was reached.
    async fn reach(&mut self, setup: &Setup<'_>, moment: Moment) -> Result<bool, Stopping> {
        let sleep = std::pin::pin!(tokio::time::sleep_until(self.clock.instant(moment)));
        Ok(self.first_of(setup, sleep).await?.is_some())
    }

    /// Waits for something; meanwhile what happens to the system is heard.
    async fn meanwhile<T>(&mut self, setup: &Setup<'_>, done: impl Future<Output = T>) -> Result<T, Stopping> {
        let mut done = std::pin::pin!(done);
        loop {
            if let Some(done) = self.first_of(setup, done.as_mut()).await? {
                return Ok(done);
            }
        }
    }

    /// Waits for something, or until something happens to the system before it; then none.
    async fn first_of<T>(
        &mut self,
        setup: &Setup<'_>,
        done: Pin<&mut impl Future<Output = T>>,
    ) -> Result<Option<T>, Stopping> {
        tokio::select! {
            biased;
            _ = setup.stop.wait() => return Err(Stopping),
            Some(event) = self.news.recv() => {
                self.hear(setup, &event).await;
                self.end_restarts(setup).await;
            }
            Some(told) = self.begun.join_next() => {
                self.hear_told(setup, came_of(told)).await;
                self.end_restarts(setup).await;
            }
            Some(name) = self.told_done.recv() => self.action_done(setup, &name).await,
            done = done => return Ok(Some(done)),
        }
        Ok(None)
    }

    /// A restart is over when its nodes are ready again.
    async fn end_restarts(&mut self, setup: &Setup<'_>) {
        let over: Vec<String> =
            self.in_force.iter().filter(|(_, fault)| fault.is_over()).map(|(name, _)| name.clone()).collect();
        for name in over {
            let now = self.clock.now();
            self.heal(setup, &name, now).await;
        }
    }

    /// An action without a way back is over when it is done; one with a way back lasts until it is healed.
    async fn action_done(&mut self, setup: &Setup<'_>, name: &str) {
        if let Some(InForce::Action { undo: None, .. }) = self.in_force.get(name)
            && setup.plan.faults[name].hold.is_none()
        {
            let now = self.clock.now();
            self.heal(setup, name, now).await;
        }
    }

    async fn absorb_news(&mut self, setup: &Setup<'_>) {
        while let Ok(event) = self.news.try_recv() {
            self.hear(setup, &event).await;
        }
    }

    /// A node changed: it may be ready again, and selectors that look at roles mean somebody else now.
    async fn hear(&mut self, setup: &Setup<'_>, event: &Event) {
        let What::Node { node, incarnation, state, role } = &event.what else { return };
        if state == NodeState::Ready.name() {
            self.in_force.values_mut().for_each(|fault| fault.ready(node, *incarnation));
        }
        let Some(role) = role else { return };
        self.topology.set_label(node, "role", role);
        let following: Vec<String> = self.in_force.keys().cloned().collect();
        for name in following {
            let Some(fault) = setup.plan.faults.get(&name).filter(|fault| fault.follow) else { continue };
            if let Err(error) = self.retarget(setup, &name, fault).await {
                self.recorder.event(What::Note { text: format!("fault {name} could not follow: {error}") });
            }
        }
    }

    fn phase(&self, name: &str, at: Moment, planned: Moment) {
        self.recorder.event_at(at, What::PhaseStarted { phase: name.into(), planned });
    }

    pub(super) async fn tell_counters(&self) {
        let (recorder, backend) = (self.recorder.clone(), self.backend.clone());
        aside(move || ticker::tell_counters(&recorder, &*backend)).await;
    }
}
