//! The gateway at work: watches both nodes, forwards to the primary. Every decision is [`Controller`]'s.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::controller::{Controller, Happening};
use super::protocol::{Beat, Config, Side};
use super::settings::Settings;
use super::{GATEWAY, TERM};
use crate::event::{Milestone, What};
use crate::system::Teller;
use crate::system::lab::host::Inside;
use crate::system::lab::http::{Client, NewConnection, serve, text, unavailable};
use crate::system::lab::kv::{passed_on, stamp};
use crate::system::lab::wire::ask;

/// How often a node is asked that is about to become primary.
const IMPATIENT: Duration = Duration::from_millis(10);

/// What survives a kill of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct GatewayDisk {
    /// The record of who is primary.
    pub config: Config,
    /// How often it was started.
    pub incarnation: u64,
}

impl Default for GatewayDisk {
    fn default() -> GatewayDisk {
        GatewayDisk { config: Controller::FIRST, incarnation: 0 }
    }
}

/// The gateway, alive.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    teller: Teller,
    incarnation: u64,
    controller: Mutex<Controller>,
    /// The term of the last primary that answered a request over a connection made for it.
    reconnected: AtomicU64,
    /// Told when the route or the record may have changed.
    changed: watch::Sender<()>,
}

impl Gateway {
    /// A gateway that starts with what is on its disk.
    pub fn new(settings: Settings, disk: GatewayDisk, teller: Teller) -> Gateway {
        let controller = Mutex::new(Controller::new(settings, disk.config, teller.now()));
        // With the primary that it found it is not connected *again*.
        let reconnected = AtomicU64::new(disk.config.term);
        let changed = watch::Sender::new(());
        Gateway { settings, incarnation: disk.incarnation + 1, controller, reconnected, changed, teller }
    }

    /// Works until it is stopped; `upstreams` are the links to the two nodes.
    pub async fn run(self: Arc<Gateway>, listener: std::net::TcpListener, upstreams: [SocketAddr; 2], inside: Inside) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = GATEWAY, %error, "cannot listen"),
        };
        let traffic = Arc::new(upstreams.map(|address| Client::new(address, inside.sockets.clone())));
        let gateway = Arc::clone(&self);
        let handler = move |request| Arc::clone(&gateway).forward(Arc::clone(&traffic), request);
        tokio::select! {
            () = serve(listener, inside.clone(), handler) => {}
            () = self.attend(upstreams, &inside) => {}
        }
    }

    /// Watches both nodes and decides, without forwarding anything.
    pub async fn attend(&self, upstreams: [SocketAddr; 2], inside: &Inside) {
        // Heartbeats have a connection of their own: no request stands before them.
        let [ask_a, ask_b] = upstreams.map(|address| Client::new(address, inside.sockets.clone()));
        tokio::select! {
            () = self.watch(Side::A, ask_a) => {}
            () = self.watch(Side::B, ask_b) => {}
            () = self.keep_time() => {}
        }
    }

    /// Raised at each start.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether requests have somewhere to go, and both nodes know their place.
    pub fn ready(&self) -> bool {
        let controller = self.lock();
        controller.route().is_some() && Side::BOTH.iter().all(|side| controller.heartbeat(*side).echo.is_some())
    }

    /// What is left of it after a kill.
    pub fn disk(&self) -> GatewayDisk {
        GatewayDisk { config: self.record(), incarnation: self.incarnation }
    }

    /// Begins to move the service to the standby in good order; the reason where that cannot be.
    pub fn hand_over(&self) -> Result<(), &'static str> {
        let mut begun = Ok(());
        let now = self.teller.now();
        self.decide(|controller| {
            controller.hand_over(now).unwrap_or_else(|why| {
                begun = Err(why);
                Vec::new()
            })
        });
        begun
    }

    /// Makes the standby primary with what it has; the reason where that cannot be.
    pub fn force(&self) -> Result<(), &'static str> {
        let (now, mut begun) = (self.teller.now(), Ok(()));
        self.decide(|controller| {
            controller.force(now).unwrap_or_else(|why| {
                begun = Err(why);
                Vec::new()
            })
        });
        // The primary is to hear it, and the time until the lease ends runs.
        self.changed.send_replace(());
        begun
    }

    /// Whether an order is being carried out, or nobody serves.
    pub fn busy(&self) -> bool {
        self.lock().busy()
    }

    /// Whether requests have somewhere to go.
    pub fn leads(&self) -> bool {
        self.lock().route().is_some()
    }

    /// Calls it with whoever serves, each time that it is another.
    pub async fn follow(&self, mut act: impl FnMut(Side)) {
        let (mut changed, mut known) = (self.changed.subscribe(), None);
        loop {
            let route = self.lock().route().map(|(side, _)| side);
            if route.is_some() && route != known {
                known = route;
                route.into_iter().for_each(&mut act);
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// The record as it stands.
    pub fn record(&self) -> Config {
        self.lock().config()
    }

    fn lock(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the controller decide and tells the world what came of it.
    ///
    /// The record is on disk as soon as it is changed: the disk is this process's memory ([`Gateway::disk`]).
    fn decide(&self, decide: impl FnOnce(&mut Controller) -> Vec<Happening>) {
        let now = self.teller.now();
        let happenings = decide(&mut self.lock());
        if happenings.is_empty() {
            return;
        }
        self.changed.send_replace(());
        for happening in happenings {
            let milestone = |milestone, side: Side| What::Milestone {
                milestone,
                node: self.settings.name(side).to_owned(),
                source: "lab".to_owned(),
            };
            let note = |side: Side, text| What::Note { text: format!("{} {text}", self.settings.name(side)) };
            self.teller.tell_at(
                now,
                match happening {
                    Happening::Detected(side) => milestone(Milestone::Detected, side),
                    Happening::Decided(side) => milestone(Milestone::Decided, side),
                    Happening::Redirected(side) => milestone(Milestone::Redirected, side),
                    Happening::TakenOut(side) => {
                        note(side, "was taken out of the in-sync set: writes do not wait for it")
                    }
                    Happening::LetIn(side) => note(side, "is in the in-sync set again: writes wait for it"),
                    Happening::Yields(side) => note(side, "hands over to its standby, as it was ordered to"),
                    Happening::Keeps(side) => {
                        note(side, "did not get its writes to the standby in time, and stays primary")
                    }
                    Happening::Dropped(side) => note(side, "was lost before it could take over: the order is dropped"),
                },
            );
        }
    }

    /// Asks one node whether it is well, again and again.
    async fn watch(&self, side: Side, client: Client) {
        let mut changed = self.changed.subscribe();
        loop {
            let asked = Instant::now();
            let heartbeat = self.lock().heartbeat(side);
            let beat = ask::<Beat>(&client, "heartbeat", &heartbeat, self.settings.detect_after()).await;
            let heard = beat.is_ok();
            if let Ok(beat) = beat {
                let now = self.teller.now();
                self.decide(|controller| controller.heard(side, beat, now));
            }
            let wait = match self.lock().impatient(side) {
                true => IMPATIENT.min(self.settings.heartbeat),
                false => self.settings.heartbeat,
            };
            let due = sleep_until(asked + wait);
            match heard {
                // A change is news for the node: it hears it at once.
                true => tokio::select! {
                    () = due => {}
                    _ = changed.changed() => {}
                },
                false => due.await,
            }
        }
    }

    /// Calls the controller when its time comes.
    async fn keep_time(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            let deadline = self.lock().deadline();
            // Each answer moves the deadline, always further away: looking again when it comes is enough.
            match deadline {
                Some(deadline) => tokio::select! {
                    () = sleep_until(self.teller.clock().instant(deadline)) => {}
                    _ = changed.changed() => {}
                },
                // Everybody is suspect: only an answer changes that.
                None => tokio::time::sleep(self.settings.heartbeat).await,
            }
            let now = self.teller.now();
            self.decide(|controller| controller.tick(now));
        }
    }

    async fn forward(self: Arc<Gateway>, upstreams: Arc<[Client; 2]>, request: Request<Bytes>) -> Response<Bytes> {
        let mut changed = self.changed.subscribe();
        if request.uri().path() == "/health" {
            return match self.lock().route() {
                Some(_) => text(StatusCode::OK, "well\n"),
                None => self.unavailable("no primary"),
            };
        }
        let Some((side, term)) = self.lock().route() else { return self.unavailable("no primary") };
        let (head, body) = request.into_parts();
        let forwarded = Request::builder().method(head.method).uri(head.uri.path()).header(TERM, term).body(body);
        let Ok(forwarded) = forwarded else { return text(StatusCode::BAD_REQUEST, "no such path\n") };
        let replaced = async {
            while self.lock().route() == Some((side, term)) || !self.settings.fencing {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            answer = upstreams[side as usize].send(forwarded) => match answer {
                Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => self.unavailable("the primary moved"),
                Ok(answer) => {
                    if answer.extensions().get::<NewConnection>().is_some() {
                        self.tell_reconnected(side, term);
                    }
                    passed_on(answer)
                }
                Err(error) => self.unavailable(&error.to_string()),
            },
            // Without fencing a replaced primary's answer is passed on, however late: part of what is broken.
            () = replaced => self.unavailable("the primary was replaced"),
        }
    }

    /// Clients keep their connections to the gateway, so who reconnects to a new primary is the gateway.
    fn tell_reconnected(&self, side: Side, term: u64) {
        if self.reconnected.fetch_max(term, Ordering::Relaxed) < term {
            let (node, source) = (self.settings.name(side).to_owned(), "lab".to_owned());
            self.teller.tell(What::Milestone { milestone: Milestone::Reconnected, node, source });
        }
    }

    fn unavailable(&self, why: &str) -> Response<Bytes> {
        let mut answer = unavailable(why);
        stamp(&mut answer, GATEWAY, self.incarnation);
        answer
    }
}
