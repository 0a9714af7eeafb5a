//! A control node at work: talks to the other seats, watches the nodes, tells the routers. Every decision is
//! [`Control`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::cast::Cast;
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::Teller;
use crate::system::lab::gateway::Route;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::kv::stamp;
use crate::system::lab::order;
use crate::system::lab::replica_set::controller::{Happening, Refused};
use crate::system::lab::replica_set::protocol::{Beat, Departure};
use crate::system::lab::replica_set::ring::{Answer, Ask, RingDisk};
use crate::system::lab::replica_set::{Control, Id, Members, Settings};
use crate::system::lab::wire::{INTERNAL, ask, json, reply};
use crate::system::lab::{Body, Ground, Live};
use crate::units::Span;

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
    control: Mutex<Control>,
    /// Told when there is something new to say.
    news: watch::Sender<()>,
}

/// The others that it dials.
#[derive(Debug)]
struct Hops {
    seats: Vec<(Id, SocketAddr)>,
    nodes: Vec<(Id, SocketAddr)>,
    routers: Vec<SocketAddr>,
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
        for address in hops.routers {
            tokio::spawn(Arc::clone(&self).direct(client(address)));
        }
        let control = Arc::clone(&self);
        let handler = move |request| Arc::clone(&control).answer(request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.keep_time() => {}
        }
    }

    /// Who serves, while it leads, knows all nodes and has nothing to decide.
    pub fn settled(&self) -> Option<Id> {
        let control = self.lock();
        let controller = control.controller().filter(|controller| controller.idle())?;
        controller.route()
    }

    /// The primary of the record, while it leads.
    pub fn primary(&self) -> Option<Id> {
        self.lock().controller().map(|controller| controller.record().primary)
    }

    /// A failover is ordered; none if it does not lead.
    pub fn order(&self, how: Departure) -> Option<Result<(), order::Refused>> {
        let mut granted = None;
        self.with(|control, now| {
            granted = control.order(how, now);
            Vec::new()
        });
        granted.map(|granted| granted.map_err(|refused| in_words(&refused)))
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it decide, and tells the world what came of it.
    fn with(&self, act: impl FnOnce(&mut Control, Moment) -> Vec<Happening>) {
        let now = self.teller.now();
        let (happenings, news) = {
            let mut control = self.lock();
            let before = control.says();
            let happenings = act(&mut control, now);
            (happenings, control.says() != before)
        };
        if news {
            self.news.send_replace(());
        }
        for happening in happenings {
            self.teller.tell_at(now, self.in_words(happening));
        }
    }

    fn in_words(&self, happening: Happening) -> What {
        let milestone = |milestone, id| What::Milestone {
            milestone,
            node: self.cast.node(id).to_owned(),
            source: "lab".to_owned(),
        };
        let names = |members: Members| members.iter().map(|id| self.cast.node(id)).collect::<Vec<_>>().join(", ");
        match happening {
            Happening::Detected(id) => milestone(Milestone::Detected, id),
            Happening::Decided(id) => milestone(Milestone::Decided, id),
            Happening::Redirected(id) => What::Note { text: format!("{} serves as primary", self.cast.node(id)) },
            Happening::Rebuild(members) => What::Note { text: format!("copies are to be at {}", names(members)) },
            Happening::Rebuilt(members) => {
                What::Note { text: format!("{} copies count: {}", members.len(), names(members)) }
            }
        }
    }

    async fn answer(self: Arc<ControlNode>, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let mut answer = match head.uri.path().strip_prefix(INTERNAL) {
            Some("ask") => reply(&body, |ask: Ask| self.taken(ask)),
            Some("order") => match serde_json::from_slice(&body) {
                Ok(how) => ordered(self.order(how)),
                Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "no such message\n"),
        };
        stamp(&mut answer, &self.name, self.incarnation);
        answer
    }

    fn taken(&self, ask: Ask) -> Answer {
        let mut answer = None;
        self.with(|control, now| {
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
            let question = { self.lock().seat().ask() };
            if let Some(question) = question {
                match ask::<Answer>(&client, "ask", json(&question), self.settings.answer_within()).await {
                    Some(answer) => self.with(|control, now| control.answered(seat, question, answer, now)),
                    None => {
                        client.forget_idle();
                        sleep_until(due).await;
                        continue;
                    }
                }
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
            let heartbeat = { self.lock().heartbeat(node) };
            let mut heard = true;
            if let Some(heartbeat) = heartbeat {
                match ask::<Beat>(&client, "heartbeat", json(&heartbeat), self.settings.answer_within()).await {
                    Some(beat) => self.with(|control, now| control.heard(node, beat, now)),
                    None => {
                        client.forget_idle();
                        heard = false;
                    }
                }
            }
            let impatient = { self.lock().controller().is_some_and(|controller| controller.impatient(node)) };
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

    /// Tells a router where requests go, while it leads.
    async fn direct(self: Arc<ControlNode>, client: Client) {
        let mut news = self.news.subscribe();
        loop {
            let due = Instant::now() + self.settings.heartbeat;
            let route = { self.route() };
            if let Some(route) = route
                && ask::<()>(&client, "route", json(&route), self.settings.answer_within()).await.is_none()
            {
                client.forget_idle();
                sleep_until(due).await;
                continue;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                _ = news.changed() => {}
            }
        }
    }

    fn route(&self) -> Option<Route> {
        let control = self.lock();
        let controller = control.controller()?;
        let name = |id| self.cast.node(id).to_owned();
        Some(Route {
            stamp: (control.seat().term(), controller.record().version),
            term: controller.record().term,
            writes: controller.route().map(name),
            reads: controller.readers().iter().map(name).collect(),
        })
    }

    /// Calls it when its time comes.
    async fn keep_time(&self) {
        loop {
            let deadline = { self.lock().deadline() };
            // Each answer moves the deadline, always further away: looking again when it comes is enough. One that has
            // passed already waits for a moment, so that nobody is busy with nothing.
            let least = Instant::now() + IMPATIENT;
            sleep_until(self.teller.clock().instant(deadline).max(least)).await;
            self.with(|control, now| control.tick(now));
        }
    }
}

fn in_words(refused: &Refused) -> order::Refused {
    match refused {
        Refused::GoingOn => order::Refused::never(refused.to_string()),
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
        let hops = Hops {
            seats: numbered(&cast.controls)?,
            nodes: numbered(&cast.nodes)?,
            routers: numbered(&cast.routers)?.into_iter().map(|(_, address)| address).collect(),
        };
        let (seats, nodes, now) = (cast.controls.len(), cast.nodes.len(), ground.teller.now());
        let control = Control::boot(self.me, seats, nodes, settings, self.disk, now);
        let node = Arc::new(ControlNode {
            name: ground.name.clone(),
            cast,
            settings,
            teller: ground.teller,
            incarnation: control.disk().incarnation,
            control: Mutex::new(control),
            news: watch::Sender::new(()),
        });
        self.live.set(&node);
        Host::start(&ground.name, move |inside| node.run(ground.listener, hops, inside))
    }

    fn ended(&mut self) {
        if let Some(node) = self.live.take() {
            self.disk = node.lock().disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |node| node.incarnation)
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "control")
    }
}
