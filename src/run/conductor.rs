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

use super::RunError;
use super::action::{act, ask};
use super::allowance::Allowance;
use super::aside::{aside, came_of, in_turn};
use super::baseline::{self, JudgeBaseline};
use super::faults::Told;
use super::in_force::InForce;
use super::keeper::{self, ANSWER_WITHIN, Keeper, Notice, Undo};
use super::names::NamedPorts;
use super::pulse::Pulse;
use super::recorder::{Listener, Recorder};
use super::schedule::{Act, Next, Schedule};
use super::secrets::Secrets;
use super::stop::StopSwitch;
use super::ticker;
use super::tls::Terminations;
use super::watch::{GuardWatch, LOOK_BACK, Look, Watch};
use crate::backend::{self, Backend};
use crate::clock::{Moment, RunClock, wall_ns};
use crate::event::{Event, StopReason, What};
use crate::experiment::interpolate::{self, UnknownName};
use crate::plan::{Action, CheckAction, CheckWhen, LabCatalogue, RunPlan, SqlQuery, Workload};
use crate::proxy::LinkSpec;
use crate::said;
use crate::system::dns::Dns;
use crate::system::{LinkAddresses, NodeState, Surroundings, System, Teller, known};
use crate::topology::Topology;
use crate::workload::{ConnOf, Load, LoadSpec, Named, NamedLink};

/// From the end of the preparations to the first operation, so that no first operation is late.
const RUN_UP: Duration = Duration::from_millis(100);

/// Load may last this much longer than planned, for faults that heal late; it is stopped at its real end.
const OVERTIME: Duration = Duration::from_secs(3600);

/// How long what is open may take to finish after a stop that somebody asked for.
const SHORT_DRAIN: Duration = Duration::from_secs(1);

/// How long loads that were cut may take to record what they had open: a generator far behind its schedule has millions.
const LAST_RECORDS: Duration = Duration::from_secs(10);

/// No run lasts so long: 30 days. A link elsewhere may stay until its run ends.
const LONGEST_RUN: Duration = Duration::from_secs(30 * 86_400);

/// How often the service is probed.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// How long the final reads may take.
const FINAL_READS: Duration = Duration::from_secs(10);

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
    /// Starts the system, opens the links, waits until it is ready, and runs the checks of before.
    async fn set_up(setup: &mut Setup<'_>, clock: RunClock, recorder: Arc<Recorder>) -> Result<Running, RunError> {
        let plan = setup.plan;
        setup.pulse.update(|beat| beat.doing = "starting the system".into());
        let (choice, permit) = (setup.backend.clone(), setup.allowance.permit().clone());
        let backend = aside(move || choice.start(&permit, clock)).await?;
        let mechanism = backend.mechanism();
        let seed = plan.seed.0;
        recorder.event_at(
            Moment::START,
            What::RunStarted { wall_ns: wall_ns() - clock.now().0, variant: plan.variant_id(), seed, mechanism },
        );
        recorder.event(What::PhaseStarted { phase: "startup".into(), planned: Moment::START });
        let topology = Topology::of(plan, setup.labs).map_err(|mistakes| RunError::Lab(mistakes[0].to_string()))?;
        recorder.event_at(Moment::START, What::Topology(topology.layout()));

        let (tell, news) = mpsc::unbounded_channel();
        let teller = Teller::new(clock, {
            let recorder = recorder.clone();
            Arc::new(move |event: Event| {
                recorder.event_at(event.at, event.what.clone());
                if matches!(event.what, What::Node { .. }) {
                    let _ = tell.send(event);
                }
            })
        });
        let keeper = Arc::new(start_keeper(setup).await?);
        let secrets = recorder.secrets().clone();
        let surroundings = Surroundings {
            teller,
            dir: setup.dir.to_owned(),
            supervisor: keeper.clone(),
            conceal: Arc::new(move |text| secrets.conceal(text).into_owned()),
            reveal: Arc::new(|value| super::secrets::resolve(value).map_err(|error| error.to_string())),
        };
        let system = Arc::new(System::bind(&plan.system, surroundings)?);
        let dns = match plan.names.is_empty() {
            true => None,
            false => Some(Arc::new(Dns::serve(&plan.names).map_err(RunError::Names)?)),
        };
        if let Some(dns) = &dns {
            system.name_server(dns);
        }
        let terminations = Terminations::prepare(topology.parts(), setup.dir)?;
        let started = async {
            let links = open_links(&backend, &keeper, &system, &topology, setup, terminations.as_ref()).await?;
            system.start(&links).await?;
            system.wait_ready().await?;
            Ok::<_, RunError>(links)
        };
        let started = tokio::select! {
            biased;
            (_, detail) = setup.stop.wait() => Err(RunError::Stopped(detail)),
            started = started => started,
        };
        let links = match started {
            Ok(links) => links,
            Err(error) => {
                // What it says now would only hide why it did not start.
                let _ = system.stop().await;
                return Err(error);
            }
        };
        let schedule = Schedule::new(plan, Moment(u64::MAX));
        let (done, told_done) = mpsc::unbounded_channel();
        let dir = std::path::absolute(setup.dir).map_err(RunError::Record)?;
        Ok(Running {
            clock,
            recorder,
            backend,
            system,
            dns,
            topology,
            news,
            begun: JoinSet::new(),
            done,
            told_done,
            schedule,
            in_force: IndexMap::new(),
            keeper,
            loads: Vec::new(),
            links,
            dir,
            terminations,
            watch: None,
            probes: JoinSet::new(),
        })
    }

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

    fn start_load(&mut self, setup: &Setup<'_>, begin: Moment) -> Result<(), RunError> {
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
    fn start_watch(&self, setup: &Setup<'_>) -> std::io::Result<Watch> {
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
    fn start_probes(&mut self) {
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

    pub(super) async fn tell_counters(&self) {
        let (recorder, backend) = (self.recorder.clone(), self.backend.clone());
        aside(move || ticker::tell_counters(&recorder, &*backend)).await;
    }

    /// A text with the addresses of links and nodes filled in.
    fn fill(&self, text: &str) -> Result<String, UnknownName> {
        let nodes = self.system.nodes();
        interpolate::fill(text, |name| known(name, &self.links, &nodes, &self.dir))
    }

    fn filled_query(&self, query: &SqlQuery) -> Result<SqlQuery, UnknownName> {
        let (address, text) = (self.fill(&query.address)?, self.fill(&query.query)?);
        Ok(SqlQuery { address, query: text, ..query.clone() })
    }

    /// An action with the addresses of links and nodes filled in.
    pub(super) fn filled(&self, action: &Action) -> Result<Action, UnknownName> {
        let fill = |text: &String| self.fill(text);
        Ok(match action {
            Action::Exec(command) => Action::Exec(command.iter().map(fill).collect::<Result<_, _>>()?),
            Action::Http { method, url, body } => {
                Action::Http { method: method.clone(), url: fill(url)?, body: body.as_ref().map(fill).transpose()? }
            }
            // A person reads it as it is written.
            Action::Manual(step) => Action::Manual(step.clone()),
        })
    }

    async fn check(&self, setup: &Setup<'_>, when: CheckWhen) {
        for (index, check) in setup.plan.checks.iter().enumerate().filter(|(_, check)| check.when.contains(&when)) {
            let (within, permit) = (check.timeout.0, setup.allowance.permit());
            let (ok, output) = match &check.action {
                CheckAction::Act(action) => match self.filled(action) {
                    Ok(action) => act(&action, within, permit).await,
                    Err(unknown) => (false, unknown.to_string()),
                },
                CheckAction::Sql(query) => match self.filled_query(query) {
                    Ok(query) => ask(&query, within, permit).await,
                    Err(unknown) => (false, unknown.to_string()),
                },
            };
            let when = match when {
                CheckWhen::Before => "before",
                CheckWhen::After => "after",
                CheckWhen::Final => "final",
            };
            self.recorder.event(What::Check { index, when: when.into(), ok, output });
        }
    }

    /// The one way down, whatever ended the run: heal, drain, read a last time, end everything.
    async fn take_down(mut self, setup: &Setup<'_>) {
        let stopped = setup.stop.requested();
        if let Some((reason, detail)) = &stopped {
            self.recorder.event(What::Stopped { reason: *reason, detail: detail.clone() });
        }
        let load_end = self.clock.now();
        for load in &self.loads {
            load.stop(load_end);
        }
        self.recorder.event_at(load_end, What::LoadEnded);
        setup.pulse.update(|beat| beat.doing = "healing and draining".into());
        self.end_begun(setup).await;
        for name in self.schedule.leased_in_vain() {
            // Else the keeper would undo what was never done.
            let _ = self.keeper.release(&name);
        }
        let in_force: Vec<String> = self.in_force.keys().rev().cloned().collect();
        for name in in_force {
            self.heal(setup, &name, load_end).await;
            self.end_begun(setup).await;
        }
        let backend = self.backend.clone();
        let _ = aside(move || backend.heal_all()).await;

        self.recorder.event(What::PhaseStarted { phase: "drain".into(), planned: load_end });
        let longest = setup.plan.longest_deadline();
        let drain = if stopped.is_some() { longest.min(SHORT_DRAIN) } else { longest };
        if tokio::time::timeout(drain, self.drained()).await.is_err() {
            self.loads.iter().for_each(|load| load.cut(self.clock.now()));
            // What was open leaves its last records, and the totals told below count them.
            let _ = tokio::time::timeout(LAST_RECORDS, self.drained()).await;
        }
        // Checks and final reads take the same links; what they add is not the load's.
        self.tell_counters().await;
        if stopped.is_none() {
            self.check(setup, CheckWhen::After).await;
            self.final_reads(setup).await;
            self.check(setup, CheckWhen::Final).await;
        }
        self.tell_counters().await;
        self.probes.shutdown().await;
        drop(self.watch.take());
        ticker::tell_generators(&self.recorder, &self.loads);
        setup.pulse.update(|beat| beat.doing = "ending the system".into());
        // Their sinks must be gone before the recorder can close its file.
        drop(std::mem::take(&mut self.loads));
        let system = self.system.clone();
        if let Err(error) = aside(in_turn(async move || system.stop().await)).await {
            self.recorder.event(What::Note { text: format!("the system did not end in good order: {error}") });
        }
        let keeper = self.keeper.clone();
        if let Err(error) = aside(move || keeper.end()).await {
            self.recorder.event(What::Note { text: error.to_string() });
            // Without a keeper its work is ours.
            let dir = setup.dir.to_owned();
            if let Err(error) = aside(move || keeper::sweep(&dir).map_err(|error| error.to_string())).await {
                self.recorder.event(What::Note { text: format!("{error}; `brownout heal` tries again") });
            }
        }
    }

    /// Waits for the end of everything that was begun. Each of them has a bound of its own.
    async fn end_begun(&mut self, setup: &Setup<'_>) {
        while let Some(told) = self.begun.join_next().await {
            self.hear_told(setup, came_of(told)).await;
        }
    }

    /// Returns when every load has ended.
    async fn drained(&self) {
        for load in &self.loads {
            load.drained().await;
        }
    }

    async fn final_reads(&self, setup: &Setup<'_>) {
        let until = self.clock.now() + FINAL_READS;
        for load in &self.loads {
            let read = tokio::select! {
                biased;
                _ = setup.stop.wait() => return,
                read = load.final_reads(until) => read,
            };
            match read {
                Ok(events) => events.into_iter().for_each(|event| self.recorder.event_at(event.at, event.what)),
                Err(error) => self.recorder.event(What::Note { text: format!("no final reads: {error}") }),
            }
        }
    }
}

/// The keeper of this run; what it tells unasked ends the run.
async fn start_keeper(setup: &mut Setup<'_>) -> Result<Keeper, RunError> {
    let command = std::mem::replace(&mut setup.keeper, std::process::Command::new("/bin/false"));
    let (stop, dir) = (setup.stop.clone(), setup.dir.to_owned());
    let told = move |notice| match notice {
        Notice::LeaseEnded { fault, undone } => {
            let undone = undone.map(|said| format!("; undone by the keeper: {said}")).unwrap_or_default();
            stop.request(StopReason::Lease, format!("fault {fault} outlived its lease{undone}"));
        }
        Notice::Lost => stop.request(StopReason::Keeper, "the keeper is lost"),
        // The system looks at its own processes.
        Notice::Exited { .. } => {}
    };
    Ok(aside(move || Keeper::start(command, &dir, told)).await?)
}

/// A proxy for each link; says where each listens.
async fn open_links(
    backend: &Arc<dyn Backend>,
    keeper: &Arc<Keeper>,
    system: &System,
    topology: &Topology,
    setup: &Setup<'_>,
    terminations: Option<&Terminations>,
) -> Result<LinkAddresses, RunError> {
    let upstreams: IndexMap<String, String> =
        system.nodes().into_iter().map(|node| (node.name, node.address)).collect();
    let mut addresses = LinkAddresses::new();
    let by_name = NamedPorts::pick(topology).map_err(RunError::Names)?;
    for (name, link) in &topology.parts().links {
        let listen = match by_name.of(name) {
            Some(listen) => listen,
            None => {
                link.listen.parse().map_err(|_| RunError::Listen { link: name.clone(), listen: link.listen.clone() })?
            }
        };
        let spec = LinkSpec {
            name: name.as_str().into(),
            listen,
            upstream: upstreams.get(&link.to).cloned().unwrap_or_default(),
            http: link.http,
            permit: setup.allowance.permit().clone(),
            tls: match terminations {
                Some(terminations) => terminations.of(link, setup.plan.system.endpoint(&link.to))?,
                None => None,
            },
        };
        let (backend, keeper, name, allow) =
            (backend.clone(), keeper.clone(), name.clone(), setup.allowance.hosts().to_vec());
        let opened = aside(move || {
            if let Some(action) = backend.leaves_behind(&name) {
                // Before it is there: the keeper, or `heal` in its place, takes it away whoever else has died.
                let undo = Undo { action, allow, gone_is_done: true };
                keeper.lease_journalled(&format!("link {name}"), LONGEST_RUN, undo)?;
            }
            Ok::<_, RunError>((backend.open(spec)?, name))
        });
        let (address, name) = opened.await?;
        addresses.insert(name, address);
    }
    Ok(addresses)
}
