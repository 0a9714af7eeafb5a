//! The way up of a run: backend, keeper, names, system, links, until everything is ready.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::RunError;
use super::aside::aside;
use super::conductor::{Running, Setup};
use super::keeper::{Keeper, Notice, Undo};
use super::names::NamedPorts;
use super::recorder::Recorder;
use super::schedule::Schedule;
use super::tls::Terminations;
use crate::backend::Backend;
use crate::clock::{Moment, RunClock, wall_ns};
use crate::event::{Event, StopReason, What};
use crate::proxy::LinkSpec;
use crate::system::dns::Dns;
use crate::system::{LinkAddresses, Surroundings, System, Teller};
use crate::topology::Topology;

/// No run lasts so long: 30 days. A link elsewhere may stay until its run ends.
const LONGEST_RUN: Duration = Duration::from_secs(30 * 86_400);

impl Running {
    /// Starts the system, opens the links, and waits until it is ready.
    pub(super) async fn set_up(
        setup: &mut Setup<'_>,
        clock: RunClock,
        recorder: Arc<Recorder>,
    ) -> Result<Running, RunError> {
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
