//! The recovery service at work: takes in what the machine writes, takes orders, carries out a plan. It decides nothing:
//! [`Service`] does.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::machine::Attach;
use super::settings::Settings;
use super::{APP, Domain, REGIONS, machine_in};
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::Teller;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::order::Refused;
use crate::system::lab::site_recovery::{
    Consistency, Drill, Happening, Order, Point, Pointer, RecoverTo, Replica, Service, Step, service,
};
use crate::system::lab::store::{Entry, Position, Store};
use crate::system::lab::wire::{INTERNAL, ask, reply, said};
use crate::system::lab::{Body, Ground, Live};
use crate::units::Span;

/// So many recovery points are kept.
const POINTS: usize = 24;

/// How long a machine may take to carry out a step, beside the time that the step takes by itself.
const STEP_WITHIN: Duration = Duration::from_secs(2);

/// What a machine wrote since it shipped last.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ship {
    pub(super) region: String,
    /// The whole disk, where entries would not do.
    pub(super) whole: Option<Store>,
    pub(super) prev: Position,
    pub(super) entries: Vec<Entry>,
    pub(super) as_of: Moment,
    /// The application had written down all that it had in memory.
    pub(super) app_consistent: bool,
}

/// What has arrived.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shipped {
    pub(super) last: Position,
    /// The next shipment is to be app-consistent.
    pub(super) flush: bool,
}

/// The recovery service, alive.
#[derive(Debug)]
pub(super) struct Recovery {
    settings: Settings,
    teller: Teller,
    domain: Domain,
    state: Mutex<State>,
    /// Told when a step may be due.
    ordered: Notify,
}

/// What it keeps.
#[derive(Clone, Debug)]
struct State {
    service: Service,
    /// What has arrived of the source's disk. The service keeps a copy in every region that it may fail over to.
    replica: Replica,
    pointer: Pointer,
    /// Where the machine of a test is to be taken away.
    cleaning: Option<String>,
    /// Why the last plan was given up, if it was.
    given_up: Option<String>,
}

impl State {
    fn new(settings: &Settings, now: Moment) -> State {
        let service = service::Settings { regions: REGIONS.map(str::to_owned).to_vec(), times: settings.times };
        State {
            service: Service::new(service),
            replica: Replica::new(POINTS),
            pointer: Pointer::new(settings.point_every, settings.app_every, now),
            cleaning: None,
            given_up: None,
        }
    }
}

impl Recovery {
    async fn run(self: Arc<Recovery>, listener: std::net::TcpListener, hops: Vec<SocketAddr>, inside: Inside) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        let machines: Vec<Client> = hops.into_iter().map(|hop| Client::new(hop, inside.sockets.clone())).collect();
        let recovery = Arc::clone(&self);
        let handler = move |request| {
            let recovery = Arc::clone(&recovery);
            async move { recovery.answer(&request) }
        };
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.walk(&machines) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        match (request.method(), path.strip_prefix(INTERNAL)) {
            (_, Some("ship")) => reply(request.body(), |ship| self.take(ship)),
            (_, Some("source")) => said(&self.lock().service.source().to_owned()),
            (&Method::GET, None) if path == "/health" => text(StatusCode::OK, "well\n"),
            (&Method::GET, None) if path == "/replication" => self.replication(),
            (&Method::POST, None) => match order_of(path) {
                Some(order) => answered(self.order(&order)),
                None => text(StatusCode::NOT_FOUND, format!("no such order; there are {ORDERS}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "no such path\n"),
        }
    }

    /// Takes an order or refuses it.
    pub(super) fn order(&self, order: &Order) -> Result<String, Refused> {
        let now = self.teller.now();
        let mut state = self.lock();
        let State { service, replica, cleaning, given_up, .. } = &mut *state;
        let tested = service.tested().map(str::to_owned);
        service.order(order, |_| replica.point(self.settings.recover_to), now)?;
        *given_up = None;
        let Some(Drill { to, point, test, walk, .. }) = service.under_way() else {
            let text = format!("the test in {} is cleaned up", tested.as_deref().unwrap_or_default());
            *cleaning = tested;
            self.ordered.notify_one();
            return Ok(text);
        };
        let (_, steps) = walk.progress();
        let what = if *test { "test failover" } else { "failover" };
        let age = Span(Duration::from_millis(now.saturating_since(point.at).as_millis() as u64));
        let text = format!("{what} to {to}: {steps} steps, to a {} point {age} old", point.consistency.name());
        let milestone = (!*test).then(|| machine_in(to));
        drop(state);
        if let Some(node) = milestone {
            self.tell(Milestone::Decided, &node);
        }
        self.note(text.clone());
        self.ordered.notify_one();
        Ok(text)
    }

    /// Why the last plan was given up, if it was.
    pub(super) fn given_up(&self) -> Option<String> {
        self.lock().given_up.clone()
    }

    /// Whether a plan is being carried out.
    pub(super) fn under_way(&self) -> bool {
        self.lock().service.under_way().is_some()
    }

    /// Whether replication goes on: how old the newest recovery point is.
    fn replication(&self) -> Response<Bytes> {
        let (newest, now) = (self.lock().replica.point(RecoverTo::LatestPoint), self.teller.now());
        let Some(newest) = newest else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "there is no recovery point yet\n");
        };
        let age = now.saturating_since(newest.at);
        let due = self.settings.point_every + 2 * self.settings.replicate_every + STEP_WITHIN;
        let status = if age <= due { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let age = Span(Duration::from_millis(age.as_millis() as u64));
        text(status, format!("the newest recovery point is {age} old\n"))
    }

    fn tell(&self, milestone: Milestone, node: &str) {
        self.teller.tell(What::Milestone { milestone, node: node.to_owned(), source: "lab".to_owned() });
    }

    fn note(&self, text: String) {
        self.teller.tell(What::Note { text });
    }

    /// A shipment arrives; recovery points are made of it as they are due.
    fn take(&self, ship: Ship) -> Response<Bytes> {
        let mut state = self.lock();
        if ship.region != state.service.source() {
            return text(StatusCode::CONFLICT, "not the machine that is protected\n");
        }
        match ship.whole {
            Some(disk) => state.replica.install(disk, ship.as_of),
            None if state.replica.take(ship.prev, ship.entries, ship.as_of).is_ok() => {}
            None => return text(StatusCode::CONFLICT, "what came before is missing\n"),
        }
        let due = state.pointer.due(self.teller.now());
        let consistency = match due {
            _ if ship.app_consistent => Some(Consistency::App),
            // An app-consistent one takes the application's help, which comes with the next shipment; until then this will do.
            Some(_) => Some(Consistency::Crash),
            None => None,
        };
        let last = state.replica.last();
        if let Some(consistency) = consistency {
            state.replica.mark(Point { index: last.index, at: ship.as_of, consistency });
        }
        said(&Shipped { last, flush: due == Some(Consistency::App) })
    }

    /// Carries out each step when it has taken its time.
    async fn walk(&self, machines: &[Client]) {
        loop {
            let (deadline, cleaning) = {
                let mut state = self.lock();
                (state.service.deadline(), state.cleaning.take())
            };
            if let Some(machine) = cleaning.and_then(|region| machine_of(machines, &region)) {
                // One that cannot be reached has gone with its region, or is taken away by the next order there.
                let _ = ask::<()>(machine, "clean-up", &(), STEP_WITHIN).await;
            }
            match deadline {
                None => self.ordered.notified().await,
                Some(deadline) => sleep_until(self.teller.clock().instant(deadline)).await,
            }
            let (step, drill, source) = {
                let state = self.lock();
                let due = state.service.due(self.teller.now());
                let (Some(step), Some(drill)) = (due, state.service.under_way()) else { continue };
                (step, drill.clone(), state.service.source().to_owned())
            };
            let carried_out = self.carry_out(machines, step, &drill, &source).await;
            let told = {
                let mut state = self.lock();
                let told = state.service.done(carried_out, self.teller.now());
                state.given_up = told.iter().find_map(given_up);
                told
            };
            told.into_iter().for_each(|happening| self.happened(happening));
        }
    }

    async fn carry_out(&self, machines: &[Client], step: Step, drill: &Drill, source: &str) -> Result<(), String> {
        let machine = |region: &str| machine_of(machines, region).ok_or_else(|| format!("no machine in {region}"));
        let target = machine(&drill.to)?;
        match step {
            Step::ShutDown => {
                let disk: Store = ask(machine(source)?, "shut-down", &(), STEP_WITHIN).await?;
                let (now, mut state) = (self.teller.now(), self.lock());
                state.replica.install(disk, now);
                let point = Point { index: state.replica.last().index, at: now, consistency: Consistency::App };
                state.replica.mark(point);
                state.service.take_point(point);
                Ok(())
            }
            Step::Machine => Ok(ask(target, "make", &(), STEP_WITHIN).await?),
            Step::Disk => {
                let disk = self.lock().replica.image(drill.point);
                Ok(ask(target, "attach", &Attach { disk, isolated: drill.test }, STEP_WITHIN).await?)
            }
            // They take their time, and nobody else has a part in them.
            Step::Boot | Step::Log => Ok(()),
            Step::Application => {
                ask::<()>(target, "start", &(), STEP_WITHIN).await?;
                if !drill.test {
                    self.tell(Milestone::Promoted, &machine_in(&drill.to));
                } else if !self.settings.isolation {
                    // Broken on purpose: the copy announces itself like the machine that it is a copy of.
                    self.domain.map(APP, &[machine_in(&drill.to)]);
                }
                Ok(())
            }
            Step::Names => {
                self.domain.map(APP, &[machine_in(&drill.to)]);
                self.tell(Milestone::Redirected, &machine_in(&drill.to));
                Ok(())
            }
        }
    }

    fn happened(&self, happening: Happening) {
        let real = |took: Duration| Span(Duration::from_secs((took * self.settings.scale).as_secs()));
        let short = |took: Duration| Span(Duration::from_millis(took.as_millis() as u64));
        self.note(match happening {
            Happening::StepDone { step, number, of, took } => {
                format!("step {number} of {of}, {}, took {} ({} unscaled)", step.name(), short(took), real(took))
            }
            Happening::FailedOver { to, took } => {
                format!("the machine is in {to}, {} after the order ({} unscaled)", short(took), real(took))
            }
            Happening::Tested { to, took } => {
                format!("the tested copy serves in {to}, {} after the order ({} unscaled)", short(took), real(took))
            }
            Happening::GivenUp { step, why } => gave_up(step, &why),
        });
    }
}

fn given_up(happening: &Happening) -> Option<String> {
    match happening {
        Happening::GivenUp { step, why } => Some(gave_up(*step, why)),
        _ => None,
    }
}

fn gave_up(step: Step, why: &str) -> String {
    format!("the plan was given up at `{}`: {why}", step.name())
}

fn machine_of<'m>(machines: &'m [Client], region: &str) -> Option<&'m Client> {
    machines.get(REGIONS.iter().position(|known| *known == region)?)
}

/// The orders that the service takes.
const ORDERS: &str = "/failover/REGION, /planned-failover/REGION, /test-failover/REGION, /clean-up, /failback";

fn order_of(path: &str) -> Option<Order> {
    let (order, region) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let to = region.to_owned();
    match order {
        "failover" => Some(Order::Failover { to, planned: false }),
        "planned-failover" => Some(Order::Failover { to, planned: true }),
        "test-failover" => Some(Order::Test { to }),
        "clean-up" => Some(Order::CleanUp),
        "failback" => Some(Order::Failback),
        _ => None,
    }
}

fn answered(ordered: Result<String, Refused>) -> Response<Bytes> {
    match ordered {
        Ok(text_) => text(StatusCode::ACCEPTED, format!("{text_}\n")),
        Err(refused) => {
            let status = if refused.left.is_some() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::CONFLICT };
            let mut answer = text(status, format!("{refused}\n"));
            if let Some(left) = refused.left {
                let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            answer
        }
    }
}

/// The recovery service, alive or not.
#[derive(Debug)]
pub(super) struct RecoveryBody {
    settings: Settings,
    domain: Domain,
    disk: Option<State>,
    incarnation: u64,
    live: Live<Recovery>,
}

impl RecoveryBody {
    pub(super) fn new(settings: Settings, domain: Domain, live: Live<Recovery>) -> RecoveryBody {
        RecoveryBody { settings, domain, disk: None, incarnation: 0, live }
    }
}

impl Body for RecoveryBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let hops = REGIONS.iter().map(|region| ground.hop(&machine_in(region))).collect::<io::Result<Vec<_>>>()?;
        let state = self.disk.take().unwrap_or_else(|| State::new(&self.settings, ground.teller.now()));
        self.incarnation += 1;
        let recovery = Arc::new(Recovery {
            settings: self.settings,
            teller: ground.teller,
            domain: self.domain.clone(),
            state: Mutex::new(state),
            ordered: Notify::new(),
        });
        self.live.set(&recovery);
        Host::start(&ground.name, move |inside| recovery.run(ground.listener, hops, inside))
    }

    fn ended(&mut self) {
        if let Some(recovery) = self.live.take() {
            self.disk = Some(recovery.lock().clone());
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "recovery")
    }
}
