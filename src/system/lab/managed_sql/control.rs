//! A control node at work: talks to the other seats, watches the nodes, tells the routers. Every decision is
//! [`Control`]'s and, where the engine runs apart from the copies, [`Placement`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::cast::{Cast, STORAGE};
use super::maintenance::{Health, Seen};
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::plan::Redundancy;
use crate::system::Teller;
use crate::system::lab::compute::placement;
use crate::system::lab::compute::{Placement, Report};
use crate::system::lab::gateway::Route;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::kv::stamp;
use crate::system::lab::order;
use crate::system::lab::replica_set::controller::{Controller, Happening, Refused};
use crate::system::lab::replica_set::protocol::{Beat, Departure};
use crate::system::lab::replica_set::ring::{Answer, Ask, RingDisk};
use crate::system::lab::replica_set::{Control, Id, Members, Settings};
use crate::system::lab::wire::{INTERNAL, ask, reply, said};
use crate::system::lab::{Body, Ground, Live};
use crate::units::Span;

/// Control node → compute node: who is to run the engine.
pub const ASSIGN: &str = "assign";
/// Why a set does not.
const NO_MIGRATION: &str = "with `migration: off` no nodes stand ready for it";
/// Why an engine does not move.
const NO_ROOM: &str = "no other compute node that is well has free capacity";

/// How often somebody is asked of whom a change is awaited.
const IMPATIENT: Duration = Duration::from_millis(10);

/// A control node, alive.
#[derive(Debug)]
pub struct ControlNode {
    name: String,
    cast: Arc<Cast>,
    settings: Settings,
    teller: Teller,
    incarnation: u64,
    decisions: Mutex<Decisions>,
    /// Told when there is something new to say.
    news: watch::Sender<()>,
}

/// What it decides from.
#[derive(Debug)]
struct Decisions {
    control: Control,
    /// Where the engine runs, while it leads and the engine runs apart from the copies.
    placement: Option<Placement>,
    /// A user's order is being recorded.
    ordered: bool,
}

impl Decisions {
    /// Whether nothing is under way that an order of the engine would come in between, where it runs apart from the copies.
    fn engine_is_free(&self) -> Result<(), Refused> {
        let Some(placement) = &self.placement else { return Ok(()) };
        let migrating = self.control.controller().is_some_and(Controller::migrating);
        if migrating || !placement.stands() && placement.route().is_some() {
            return Err(Refused::Migrating);
        }
        if placement.route().is_none() || self.ordered { Err(Refused::GoingOn) } else { Ok(()) }
    }

    /// All that others are told.
    fn says(&self) -> impl PartialEq + use<> {
        let placed = self.placement.as_ref().map(|placement| (placement.assigned(), placement.route()));
        (self.control.says(), placed)
    }
}

/// What a router leads to.
#[derive(Clone, Copy, Debug)]
enum Leads {
    /// The primary copy, or who reads.
    Copies,
    /// The engine, where it runs apart from them.
    Engine,
}

/// The others that it dials.
#[derive(Debug)]
struct Hops {
    seats: Vec<(Id, SocketAddr)>,
    nodes: Vec<(Id, SocketAddr)>,
    computes: Vec<(Id, SocketAddr)>,
    routers: Vec<(Leads, SocketAddr)>,
}

impl ControlNode {
    async fn run(self: Arc<ControlNode>, listener: std::net::TcpListener, hops: Hops, inside: Inside) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = self.name, %error, "cannot listen"),
        };
        let client = |address| Client::new(address, inside.sockets.clone());
        for (seat, address) in hops.seats {
            tokio::spawn(Arc::clone(&self).talk(seat, client(address)));
        }
        for (node, address) in hops.nodes {
            tokio::spawn(Arc::clone(&self).watch(node, client(address)));
        }
        for (compute, address) in hops.computes {
            tokio::spawn(Arc::clone(&self).place(compute.index(), client(address)));
        }
        for (leads, address) in hops.routers {
            tokio::spawn(Arc::clone(&self).direct(leads, client(address)));
        }
        let control = Arc::clone(&self);
        let handler = move |request| Arc::clone(&control).answer(request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.keep_time() => {}
        }
    }

    /// The primary copy, while it leads, knows all nodes and has nothing to decide.
    pub fn settled(&self) -> Option<Id> {
        let decisions = self.lock();
        let controller = decisions.control.controller().filter(|controller| controller.idle() && !decisions.ordered)?;
        controller.route()
    }

    /// The primary of the record, while it leads.
    pub fn primary(&self) -> Option<Id> {
        self.lock().control.controller().map(|controller| controller.record().primary)
    }

    /// Which compute node is to run the engine, while it leads, and whether it serves there.
    pub fn engine(&self) -> Option<(usize, bool)> {
        let decisions = self.lock();
        let placement = decisions.placement.as_ref()?;
        Some((placement.assigned()?.node, placement.route().is_some()))
    }

    /// How the nodes are that run engines or may, while it leads.
    pub fn seen(&self) -> Option<Seen> {
        let decisions = self.lock();
        let controller = decisions.control.controller()?;
        let whole = controller.whole() && !decisions.ordered;
        let Some(placement) = &decisions.placement else {
            let health = |id| match controller.end(id) {
                None => Health::Missing,
                Some(_) if !controller.record().members.contains(id) => Health::Idle,
                Some(end) => Health::Holds(end),
            };
            let nodes = (0..self.cast.nodes.len()).map(|id| health(Id(id as u8))).collect();
            return Some(Seen { serving: controller.route().map(Id::index), nodes, whole });
        };
        let health = |node| if placement.well(node) { Health::Idle } else { Health::Missing };
        let nodes = (0..self.cast.computes.len()).map(health).collect();
        Some(Seen { serving: placement.route().map(|route| route.node), nodes, whole })
    }

    /// Whether nothing is under way that a failover would come in between; none if it does not lead.
    pub fn free(&self) -> Option<Result<(), order::Refused>> {
        let decisions = self.lock();
        let controller = decisions.control.controller()?;
        let free = decisions.engine_is_free().and_then(|()| controller.free());
        Some(free.map_err(|refused| in_words(&refused)))
    }

    /// A failover is ordered; none if it does not lead.
    pub fn order(&self, how: Departure) -> Option<Result<(), order::Refused>> {
        let mut granted = None;
        self.with(|decisions, now| {
            if let Err(refused) = decisions.engine_is_free() {
                granted = Some(Err(in_words(&refused)));
                return Vec::new();
            }
            let Decisions { control, placement, ordered } = decisions;
            let Some(placement) = placement else {
                granted = control.order(how, now).map(|granted| granted.map_err(|refused| in_words(&refused)));
                return Vec::new();
            };
            match how {
                Departure::HandOver => match placement.leave(now) {
                    Some(happenings) => {
                        granted = Some(Ok(()));
                        return happenings.into_iter().map(Told::Engine).collect();
                    }
                    None => granted = Some(Err(order::Refused::never(NO_ROOM))),
                },
                Departure::Restart => {
                    let done = control.order_elsewhere(now);
                    *ordered = matches!(done, Some(Ok(())));
                    granted = done.map(|granted| granted.map_err(|refused| in_words(&refused)));
                }
            }
            Vec::new()
        });
        granted
    }

    /// A migration is ordered; none if it does not lead.
    pub fn migrate(&self, to: Redundancy) -> Option<Result<(), order::Refused>> {
        if self.cast.homes()[1].is_empty() {
            return Some(Err(order::Refused::never(NO_MIGRATION)));
        }
        let (to, mut granted) = (self.cast.home(to), None);
        self.with_control(|control, now| {
            granted = control.migrate(to, now).map(|granted| granted.map_err(|refused| in_words(&refused)));
            Vec::new()
        });
        granted
    }

    /// Whether everything stands where it is to, as far as it knows; none if it does not lead.
    pub fn stands(&self) -> Option<bool> {
        let decisions = self.lock();
        let controller = decisions.control.controller()?;
        let engine = decisions.placement.as_ref().is_none_or(Placement::stands);
        Some(engine && controller.proposed().is_none() && !controller.migrating())
    }

    fn lock(&self) -> MutexGuard<'_, Decisions> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the set's side decide.
    fn with_control(&self, act: impl FnOnce(&mut Control, Moment) -> Vec<Happening>) {
        self.with(|decisions, now| act(&mut decisions.control, now).into_iter().map(Told::Set).collect());
    }

    /// Lets it decide, and tells the world what came of it.
    fn with(&self, act: impl FnOnce(&mut Decisions, Moment) -> Vec<Told>) {
        let now = self.teller.now();
        let (happenings, news) = {
            let mut decisions = self.lock();
            let before = decisions.says();
            let mut happenings = act(&mut decisions, now);
            happenings.extend(self.follow_up(&mut decisions, &happenings, now));
            (happenings, decisions.says() != before)
        };
        if news {
            self.news.send_replace(());
        }
        for what in happenings.into_iter().filter_map(|told| self.in_words(told)) {
            self.teller.tell_at(now, what);
        }
    }

    /// Who leads places the engine too; an order of it that is recorded is carried out.
    fn follow_up(&self, decisions: &mut Decisions, happenings: &[Told], now: Moment) -> Vec<Told> {
        let Decisions { control, placement, ordered } = decisions;
        let Some(controller) = control.controller() else {
            (*placement, *ordered) = (None, false);
            return Vec::new();
        };
        let computes = self.cast.computes.len();
        if computes == 0 {
            return Vec::new();
        }
        let (term, detect_after) = (control.seat().term(), self.settings.detect_after());
        let placement = placement.get_or_insert_with(|| Placement::new(term, computes, detect_after, now));
        // The engine follows the copies, once they have moved.
        let stands = controller.standing();
        let mut told: Vec<Told> =
            placement.stand(self.cast.computes_in(stands), now).into_iter().map(Told::Engine).collect();
        if !happenings.contains(&Told::Set(Happening::Granted)) || !std::mem::take(ordered) {
            return told;
        }
        told.extend(placement.restart().into_iter().map(Told::Engine));
        told
    }

    fn in_words(&self, told: Told) -> Option<What> {
        let milestone = |milestone, node: &str| {
            Some(What::Milestone { milestone, node: node.to_owned(), source: "lab".to_owned() })
        };
        let note = |text| Some(What::Note { text });
        let names = |members: Members| members.iter().map(|id| self.cast.node(id)).collect::<Vec<_>>().join(", ");
        let compute = |node: usize| self.cast.computes[node].as_str();
        match told {
            Told::Set(Happening::Detected(id)) => milestone(Milestone::Detected, self.cast.node(id)),
            Told::Set(Happening::Decided(id)) => milestone(Milestone::Decided, self.cast.node(id)),
            Told::Set(Happening::Redirected(id)) => note(format!("{} serves as primary", self.cast.node(id))),
            Told::Set(Happening::Rebuild(members)) => note(format!("copies are to be at {}", names(members))),
            Told::Set(Happening::Rebuilt(members)) => {
                note(format!("{} copies count: {}", members.len(), names(members)))
            }
            Told::Set(Happening::Granted) => None,
            Told::Set(Happening::Migrates(home)) => note(format!(
                "it is to have {} redundancy: copies are built there, and it goes on here meanwhile",
                self.cast.redundancy(home).name()
            )),
            Told::Set(Happening::Migrated(home)) => {
                note(format!("it has {} redundancy from now on", self.cast.redundancy(home).name()))
            }
            Told::Engine(placement::Happening::Detected(node)) => milestone(Milestone::Detected, compute(node)),
            Told::Engine(placement::Happening::Decided(node)) => milestone(Milestone::Decided, compute(node)),
            Told::Engine(placement::Happening::Redirected(node)) => note(format!("{} runs the engine", compute(node))),
            Told::Engine(placement::Happening::Waits) => note(format!("the engine waits: {NO_ROOM}")),
        }
    }

    async fn answer(self: Arc<ControlNode>, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let mut answer = match head.uri.path().strip_prefix(INTERNAL) {
            Some("ask") => reply(&body, |ask: Ask| said(&self.taken(ask))),
            Some("order") => reply(&body, |how| ordered(self.order(how))),
            _ => text(StatusCode::NOT_FOUND, "no such message\n"),
        };
        stamp(&mut answer, &self.name, self.incarnation);
        answer
    }

    fn taken(&self, ask: Ask) -> Answer {
        let mut answer = None;
        self.with_control(|control, now| {
            answer = Some(control.take(ask, now));
            Vec::new()
        });
        answer.expect("it was just made")
    }

    /// Asks another seat what there is to ask, again and again.
    async fn talk(self: Arc<ControlNode>, seat: Id, client: Client) {
        let mut news = self.news.subscribe();
        loop {
            let due = Instant::now() + self.settings.heartbeat;
            let question = { self.lock().control.seat().ask() };
            if let Some(question) = question {
                let Ok(answer) = ask::<Answer>(&client, "ask", &question, self.settings.answer_within()).await else {
                    sleep_until(due).await;
                    continue;
                };
                self.with_control(|control, now| control.answered(seat, question, answer, now));
            }
            tokio::select! {
                () = sleep_until(due) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// Asks a node whether it is well, again and again, while it leads.
    async fn watch(self: Arc<ControlNode>, node: Id, client: Client) {
        let mut news = self.news.subscribe();
        loop {
            let asked = Instant::now();
            let heartbeat = { self.lock().control.heartbeat(node) };
            let mut heard = true;
            if let Some(heartbeat) = heartbeat {
                match ask::<Beat>(&client, "heartbeat", &heartbeat, self.settings.answer_within()).await {
                    Ok(beat) => self.with_control(|control, now| control.heard(node, beat, now)),
                    Err(_) => heard = false,
                }
            }
            let impatient = { self.lock().control.controller().is_some_and(|controller| controller.impatient(node)) };
            let wait = if impatient { IMPATIENT.min(self.settings.heartbeat) } else { self.settings.heartbeat };
            let due = sleep_until(asked + wait);
            match heard {
                // News are for the node as well: it hears them at once.
                true => tokio::select! {
                    () = due => {}
                    _ = news.changed() => {}
                },
                false => due.await,
            }
        }
    }

    /// Tells a compute node who is to run the engine, again and again, while it leads, and hears how things are there.
    async fn place(self: Arc<ControlNode>, compute: usize, client: Client) {
        let mut news = self.news.subscribe();
        loop {
            let asked = Instant::now();
            let assigned = { self.lock().placement.as_ref().map(Placement::assigned) };
            if let Some(assigned) = assigned {
                let report = ask::<Report>(&client, ASSIGN, &assigned, self.settings.answer_within()).await;
                let Ok(report) = report else {
                    sleep_until(asked + self.settings.heartbeat).await;
                    continue;
                };
                self.with(|decisions, now| {
                    let placement = decisions.placement.as_mut();
                    let happenings = placement.map(|placement| placement.heard(compute, report, now));
                    happenings.unwrap_or_default().into_iter().map(Told::Engine).collect()
                });
            }
            // Of whom a change is awaited it is asked more often.
            let awaited = { self.lock().placement.as_ref().is_some_and(|placement| placement.route().is_none()) };
            let wait = if awaited { IMPATIENT.min(self.settings.heartbeat) } else { self.settings.heartbeat };
            tokio::select! {
                () = sleep_until(asked + wait) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// Tells a router where requests go, while it leads.
    async fn direct(self: Arc<ControlNode>, leads: Leads, client: Client) {
        let mut news = self.news.subscribe();
        loop {
            let due = Instant::now() + self.settings.heartbeat;
            let route = { self.route(leads) };
            if let Some(route) = route
                && ask::<()>(&client, "route", &route, self.settings.answer_within()).await.is_err()
            {
                sleep_until(due).await;
                continue;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                _ = news.changed() => {}
            }
        }
    }

    fn route(&self, leads: Leads) -> Option<Route> {
        let decisions = self.lock();
        let term = decisions.control.seat().term();
        match leads {
            Leads::Copies => {
                let controller = decisions.control.controller()?;
                let name = |id| self.cast.node(id).to_owned();
                Some(Route {
                    stamp: (term, controller.record().version),
                    term: controller.record().term,
                    writes: controller.route().map(name),
                    reads: controller.readers().iter().map(name).collect(),
                })
            }
            Leads::Engine => {
                let placement = decisions.placement.as_ref().filter(|placement| placement.directs())?;
                let epoch = placement.assigned()?.epoch;
                let writes = placement.route().map(|route| self.cast.computes[route.node].clone());
                Some(Route { stamp: (term, epoch), term: epoch, writes, reads: Vec::new() })
            }
        }
    }

    /// Calls it when its time comes.
    async fn keep_time(&self) {
        loop {
            let deadline = {
                let decisions = self.lock();
                let placement = decisions.placement.as_ref().and_then(Placement::deadline);
                placement.into_iter().fold(decisions.control.deadline(), Moment::min)
            };
            // Each answer moves the deadline, always further away: looking again when it comes is enough. One that has
            // passed already waits for a moment, so that nobody is busy with nothing.
            let least = Instant::now() + IMPATIENT;
            sleep_until(self.teller.clock().instant(deadline).max(least)).await;
            self.with_control(|control, now| control.tick(now));
            self.with(|decisions, now| {
                let happenings = decisions.placement.as_mut().map(|placement| placement.tick(now));
                happenings.unwrap_or_default().into_iter().map(Told::Engine).collect()
            });
        }
    }
}

fn in_words(refused: &Refused) -> order::Refused {
    match refused {
        Refused::GoingOn | Refused::Migrating | Refused::There | Refused::NoRoom { .. } | Refused::Alone => {
            order::Refused::never(refused.to_string())
        }
        Refused::TooSoon { limit, left } => {
            order::Refused::for_now(format!("at most one failover is granted in {}", Span(*limit)), *left)
        }
    }
}

fn ordered(granted: Option<Result<(), order::Refused>>) -> Response<Bytes> {
    match granted {
        Some(Ok(())) => text(StatusCode::ACCEPTED, "the engine starts anew\n"),
        Some(Err(refused)) => match refused.left {
            Some(left) => {
                let mut answer = text(StatusCode::TOO_MANY_REQUESTS, format!("{refused}\n"));
                let seconds = left.as_millis().div_ceil(1_000) as u64;
                answer.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
                answer
            }
            None => text(StatusCode::CONFLICT, format!("{refused}\n")),
        },
        None => text(StatusCode::MISDIRECTED_REQUEST, "another control node leads\n"),
    }
}

/// Something that the world is told, of the set or of the engine apart from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Set(Happening),
    Engine(placement::Happening),
}

/// A control node and its disk.
#[derive(Debug)]
pub struct ControlBody {
    /// Its seat.
    pub me: Id,
    /// Who else there is.
    pub cast: Arc<Cast>,
    /// What is set.
    pub settings: Settings,
    /// What survives.
    pub disk: RingDisk,
    /// Who asks it.
    pub live: Live<ControlNode>,
}

impl Body for ControlBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let (cast, settings) = (Arc::clone(&self.cast), self.settings);
        let numbered = |names: &[String]| {
            let hop = |(id, name): (usize, &String)| Ok((Id(id as u8), ground.hop(name)?));
            names.iter().enumerate().filter(|(_, name)| **name != ground.name).map(hop).collect::<io::Result<Vec<_>>>()
        };
        let leads = if cast.computes.is_empty() { Leads::Copies } else { Leads::Engine };
        let mut routers: Vec<_> = numbered(&cast.routers)?.into_iter().map(|(_, address)| (leads, address)).collect();
        if !cast.computes.is_empty() {
            routers.push((Leads::Copies, ground.hop(STORAGE)?));
        }
        let hops = Hops {
            seats: numbered(&cast.controls)?,
            nodes: numbered(&cast.nodes)?,
            computes: numbered(&cast.computes)?,
            routers,
        };
        let (seats, nodes, now) = (cast.controls.len(), cast.nodes.len(), ground.teller.now());
        let control = Control::boot(self.me, seats, nodes, settings, self.disk, now);
        let node = Arc::new(ControlNode {
            name: ground.name.clone(),
            cast,
            settings,
            teller: ground.teller,
            incarnation: control.disk().incarnation,
            decisions: Mutex::new(Decisions { control, placement: None, ordered: false }),
            news: watch::Sender::new(()),
        });
        self.live.set(&node);
        Host::start(&ground.name, move |inside| node.run(ground.listener, hops, inside))
    }

    fn ended(&mut self) {
        if let Some(node) = self.live.take() {
            self.disk = node.lock().control.disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |node| node.incarnation)
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "control")
    }
}
