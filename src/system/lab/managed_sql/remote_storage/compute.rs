//! A compute node at work: runs the engine if it is told to, and reads and writes through storage. Every decision is
//! [`Engine`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout};

use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::lab::compute::Engine;
use crate::system::lab::compute::cache::Touch;
use crate::system::lab::compute::engine::EngineSettings;
use crate::system::lab::gateway::{EPOCH, TERM, request};
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::kv::{PLACE, passed_on, stamp};
use crate::system::lab::managed_sql::cast::{Cast, STORAGE};
use crate::system::lab::managed_sql::control::ASSIGN;
use crate::system::lab::managed_sql::node::ATTACH;
use crate::system::lab::wire::{INTERNAL, reply, said};
use crate::system::lab::{Body, Ground, Live};
use crate::system::{NodeState, Teller};

/// An engine whose epoch storage does not take asks again after so long.
const ATTACH_AGAIN: Duration = Duration::from_millis(20);
/// How long storage may take to answer that.
const ATTACH_WITHIN: Duration = Duration::from_millis(500);

/// A compute node, alive.
#[derive(Debug)]
pub struct Compute {
    me: usize,
    cast: Arc<Cast>,
    page_read: Duration,
    teller: Teller,
    engine: Mutex<Engine>,
    /// Told when the engine may have to attach, or its deadline may have moved.
    to_do: Notify,
    /// The number of the copy that answered last: by its zone, what the way to storage takes.
    storage: AtomicUsize,
}

impl Compute {
    fn name(&self) -> &str {
        &self.cast.computes[self.me]
    }

    async fn run(self: Arc<Compute>, listener: std::net::TcpListener, storage: SocketAddr, inside: Inside) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = self.name(), %error, "cannot listen"),
        };
        let storage = Arc::new(Client::new(storage, inside.sockets.clone()));
        let (compute, client) = (Arc::clone(&self), Arc::clone(&storage));
        let handler = move |request| Arc::clone(&compute).answer(Arc::clone(&client), request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.keep_time(&storage) => {}
        }
    }

    /// What it is now.
    pub fn role(&self) -> &'static str {
        role(self.lock().serves())
    }

    /// Raised at each start, of the node and of an engine on it.
    pub fn incarnation(&self) -> u64 {
        self.lock().incarnation()
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the engine and tells whom it may concern.
    fn with<T>(&self, act: impl FnOnce(&mut Engine, Moment) -> T) -> T {
        let now = self.teller.now();
        let (done, before, after, incarnation) = {
            let mut engine = self.lock();
            let before = engine.serves();
            let done = act(&mut engine, now);
            (done, before, engine.serves(), engine.incarnation())
        };
        if before != after {
            self.teller.tell_at(
                now,
                What::Node {
                    node: self.name().to_owned(),
                    incarnation,
                    state: NodeState::Ready.name().to_owned(),
                    role: Some(role(after).to_owned()),
                },
            );
        }
        if after && !before {
            let (node, source) = (self.name().to_owned(), "lab".to_owned());
            self.teller.tell_at(now, What::Milestone { milestone: Milestone::Promoted, node, source });
        }
        self.to_do.notify_one();
        done
    }

    async fn answer(self: Arc<Compute>, storage: Arc<Client>, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let meant_for = head.headers.get(TERM).and_then(|term| term.to_str().ok()?.parse().ok());
        let mut answer = match head.uri.path() {
            "/health" => text(StatusCode::OK, "well\n"),
            path if path.strip_prefix(INTERNAL) == Some(ASSIGN) => {
                return reply(&body, |assigned| said(&self.with(|engine, now| engine.assigned(assigned, now))));
            }
            path if clients_ask(path) => return self.work(&storage, meant_for, &head.method, path, body).await,
            _ => text(StatusCode::NOT_FOUND, "no such path\n"),
        };
        stamp(&mut answer, self.name(), self.incarnation());
        answer
    }

    /// One operation: the page, if it is not in memory yet, then storage.
    async fn work(
        &self,
        storage: &Client,
        meant_for: Option<u64>,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Response<Bytes> {
        let (epoch, touch, incarnation) = {
            let mut engine = self.lock();
            let Some(epoch) = engine.admits(meant_for) else {
                return text(StatusCode::MISDIRECTED_REQUEST, "the engine is not here\n");
            };
            (epoch, engine.touch(path), engine.incarnation())
        };
        if touch == Touch::Cold {
            sleep(self.page_read).await;
        }
        let way = self.cast.delay(self.name(), &self.cast.nodes[self.storage.load(Ordering::Relaxed)]);
        if !way.is_zero() {
            sleep(way).await;
        }
        let Some(request) = request(method, path, body, [(EPOCH, epoch.to_string().as_str())]) else {
            return text(StatusCode::BAD_REQUEST, "no such path\n");
        };
        let mut answer = match storage.send(request).await {
            Ok(answer) if answer.status() == StatusCode::PRECONDITION_FAILED => {
                self.with(|engine, _| engine.refused(epoch));
                text(StatusCode::MISDIRECTED_REQUEST, "the engine was replaced\n")
            }
            Ok(answer) => {
                self.learn_the_way(&answer);
                passed_on(answer)
            }
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("no storage: {error}\n")),
        };
        stamp(&mut answer, self.name(), incarnation);
        answer
    }

    /// Who answered for storage stands in its answer.
    fn learn_the_way(&self, answer: &Response<Bytes>) {
        let place = answer.headers().get(PLACE).and_then(|place| place.to_str().ok()?.split('#').next());
        if let Some(copy) = self.cast.nodes.iter().position(|node| Some(node.as_str()) == place) {
            self.storage.store(copy, Ordering::Relaxed);
        }
    }

    /// Starts the engine when its time comes, and attaches it to storage.
    async fn keep_time(&self, storage: &Client) {
        loop {
            let (deadline, attaches) = {
                let engine = self.lock();
                (engine.deadline(), engine.attaches())
            };
            match (attaches, deadline) {
                (Some(epoch), _) => self.attach(storage, epoch).await,
                (None, Some(deadline)) => {
                    tokio::select! {
                        () = sleep_until(self.teller.clock().instant(deadline)) => {}
                        () = self.to_do.notified() => {}
                    }
                    self.lock().tick(self.teller.now());
                }
                (None, None) => self.to_do.notified().await,
            }
        }
    }

    /// Writes the engine's epoch through storage, once.
    async fn attach(&self, storage: &Client, epoch: u64) {
        let request = request(&Method::POST, ATTACH, Bytes::new(), [(EPOCH, epoch.to_string().as_str())]);
        let answer = timeout(ATTACH_WITHIN, storage.send(request.expect("the path is a valid one"))).await;
        match answer.map(|answer| answer.map(|answer| answer.status())) {
            Ok(Ok(StatusCode::OK)) => return self.with(|engine, _| engine.attached(epoch)),
            Ok(Ok(StatusCode::PRECONDITION_FAILED)) => return self.with(|engine, _| engine.refused(epoch)),
            Ok(Ok(_)) => {}
            _ => storage.forget_idle(),
        }
        sleep(ATTACH_AGAIN).await;
    }
}

/// The paths of registers, lists and the echo: no others are passed on to storage.
fn clients_ask(path: &str) -> bool {
    path == "/echo" || path.starts_with("/kv/") || path.starts_with("/list/")
}

const fn role(serves: bool) -> &'static str {
    if serves { "engine" } else { "spare" }
}

/// A compute node and what stays of it: how often it was started. It has no disk.
#[derive(Debug)]
pub struct ComputeBody {
    /// Which.
    pub me: usize,
    /// Who else there is.
    pub cast: Arc<Cast>,
    /// What is set.
    pub settings: EngineSettings,
    /// What the first touch of a page takes.
    pub page_read: Duration,
    /// Whether it has room for an engine.
    pub room: bool,
    /// Raised at each start, of the node and of an engine on it.
    pub incarnation: u64,
    /// Who asks it.
    pub live: Live<Compute>,
}

impl Body for ComputeBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let storage = ground.hop(STORAGE)?;
        let compute = Arc::new(Compute {
            me: self.me,
            cast: Arc::clone(&self.cast),
            page_read: self.page_read,
            teller: ground.teller,
            engine: Mutex::new(Engine::boot(self.me, self.settings, self.room, self.incarnation)),
            to_do: Notify::new(),
            storage: AtomicUsize::new(0),
        });
        self.live.set(&compute);
        Host::start(&ground.name, move |inside| compute.run(ground.listener, storage, inside))
    }

    fn ended(&mut self) {
        if let Some(compute) = self.live.take() {
            self.incarnation = compute.incarnation();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.incarnation, |compute| compute.incarnation())
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|compute| compute.role())
    }
}
