//! A node with a copy at work: serves clients, answers the control ring, ships to the others. Every decision is
//! [`Replica`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, sleep_until};

use super::cast::Cast;
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::lab::compute::epoch;
use crate::system::lab::gateway::{EPOCH, READ_ONLY, TERM};
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::kv::{self, Accepted, Confirmation, Keeper, Step, Taken, stamp};
use crate::system::lab::replica_set::protocol::{Append, Heartbeat, Install, Shipment, Shipped};
use crate::system::lab::replica_set::replica::{Disk, Intent, Refusal, Role};
use crate::system::lab::replica_set::{Id, Replica, Settings};
use crate::system::lab::store::Store;
use crate::system::lab::wire::{INTERNAL, ask, reply, said};
use crate::system::lab::{Body, Ground, Live};
use crate::system::{NodeState, Teller};

/// How long a whole store may take to be shipped.
const INSTALL_WITHIN: Duration = Duration::from_secs(10);

/// How a node serves, apart from what it decides.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// How long it works on each request.
    pub time: Duration,
    /// On how many at once.
    pub workers: usize,
}

/// Where an engine that runs elsewhere writes its epoch before anything else.
pub const ATTACH: &str = "/attach";

/// What nodes with copies are to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Engines, each beside its copy.
    Engine,
    /// Storage of an engine that runs elsewhere. An engine whose epoch is not the newest is refused unless that is
    /// broken on purpose.
    Storage {
        /// Whether it is.
        fencing: bool,
    },
}

impl Kind {
    /// The word in labels and events.
    fn name(self, role: Role) -> &'static str {
        match (self, role) {
            (Kind::Engine, role) => role.name(),
            (Kind::Storage { .. }, Role::Spare) => "ejected",
            (Kind::Storage { .. }, _) => "storage",
        }
    }
}

/// As what a request came.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    intent: Intent,
    /// The epoch of the engine that asks.
    epoch: Option<u64>,
}

/// A node, alive.
#[derive(Debug)]
pub struct Node {
    kind: Kind,
    me: Id,
    cast: Arc<Cast>,
    settings: Settings,
    service: Service,
    teller: Teller,
    replica: Mutex<Replica>,
    workers: Semaphore,
    /// The newest term of which the world was told that it is primary: one that gets its lease back is no news.
    promoted_in: AtomicU64,
    /// Told when something may be confirmed, or never will be.
    progress: watch::Sender<()>,
    /// Told when something may have to be shipped, one for each node.
    to_ship: Vec<Notify>,
    /// Told when the replica's deadline may have moved.
    deadline_moved: Notify,
}

impl Node {
    fn name(&self) -> &str {
        self.cast.node(self.me)
    }

    async fn run(self: Arc<Node>, listener: std::net::TcpListener, others: Vec<(Id, SocketAddr)>, inside: Inside) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = self.name(), %error, "cannot listen"),
        };
        for (id, address) in others {
            let client = Client::new(address, inside.sockets.clone());
            tokio::spawn(Arc::clone(&self).ship(id, client));
        }
        let node = Arc::clone(&self);
        let handler = move |request| Arc::clone(&node).answer(request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.keep_time() => {}
        }
    }

    /// What it is now.
    pub fn role(&self) -> &'static str {
        self.kind.name(self.lock().role(self.teller.now()))
    }

    /// Raised at each start and promotion.
    pub fn incarnation(&self) -> u64 {
        self.lock().incarnation()
    }

    fn take_disk(&self) -> Disk {
        let taken = Replica::boot(self.me, self.settings, Disk::default(), self.teller.now());
        std::mem::replace(&mut *self.lock(), taken).into_disk()
    }

    fn lock(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the replica and tells whom it may concern.
    fn with<T>(&self, act: impl FnOnce(&mut Replica, Moment) -> T) -> T {
        let now = self.teller.now();
        let (done, before, after, incarnation, knew_its_place) = {
            let mut replica = self.lock();
            let (before, knew) = (replica.progress(now), replica.record().is_some());
            let done = act(&mut replica, now);
            if replica.wants_restart() {
                let disk =
                    std::mem::replace(&mut *replica, Replica::boot(self.me, self.settings, Disk::default(), now));
                *replica = Replica::boot(self.me, self.settings, disk.into_disk(), now);
            }
            let knows = replica.record().is_some();
            (done, before, replica.progress(now), replica.incarnation(), knew || !knows)
        };
        if before != after {
            self.progress.send_replace(());
        }
        if before.role != after.role || before.term != after.term {
            self.deadline_moved.notify_one();
        }
        // A new term in the same place is no news to others.
        if self.kind.name(before.role) != self.kind.name(after.role) || !knew_its_place {
            self.tell_role(after.role, incarnation);
        }
        if after.role == Role::Primary && self.promoted_in.fetch_max(after.term, Ordering::Relaxed) < after.term {
            self.tell_promoted(now);
        }
        self.to_ship.iter().for_each(Notify::notify_one);
        done
    }

    /// Whether an engine that asks is kept out, as another has been attached since.
    fn fences(&self, store: &Store, epoch: Option<u64>) -> bool {
        self.kind == Kind::Storage { fencing: true } && epoch::outdated(store, epoch)
    }

    fn tell_role(&self, role: Role, incarnation: u64) {
        self.teller.tell(What::Node {
            node: self.name().to_owned(),
            incarnation,
            state: NodeState::Ready.name().to_owned(),
            role: Some(self.kind.name(role).to_owned()),
        });
    }

    fn tell_promoted(&self, now: Moment) {
        let (node, source) = (self.name().to_owned(), "lab".to_owned());
        self.teller.tell_at(now, What::Milestone { milestone: Milestone::Promoted, node, source });
    }

    async fn answer(self: Arc<Node>, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if let Some(message) = path.strip_prefix(INTERNAL) {
            return self.answer_own(message, &body);
        }
        let asked = asked(&head.headers);
        let worker = self.workers.acquire().await;
        if !self.service.time.is_zero() {
            sleep(self.service.time).await;
        }
        // It is free again while the write waits for others.
        drop(worker);
        let mut answer = match (self.kind, path, asked.epoch) {
            (Kind::Storage { .. }, ATTACH, Some(epoch)) => kv::make(&*self, asked, epoch::attach(epoch)).await,
            _ => kv::answer(&*self, asked, &head.method, path, &body).await,
        };
        stamp(&mut answer, self.name(), self.incarnation());
        answer
    }

    /// The control ring's and the primary's messages.
    fn answer_own(&self, message: &str, body: &[u8]) -> Response<Bytes> {
        match message {
            "heartbeat" => {
                reply(body, |heartbeat: Heartbeat| said(&self.with(|replica, now| replica.heartbeat(heartbeat, now))))
            }
            "append" => reply(body, |append: Append| said(&self.taken(Shipment::Append(append)))),
            "install" => reply(body, |install: Install| said(&self.taken(Shipment::Install(install)))),
            _ => text(StatusCode::NOT_FOUND, "no such message\n"),
        }
    }

    fn taken(&self, shipment: Shipment) -> Shipped {
        self.with(|replica, now| replica.take(shipment, now))
    }

    /// Replication to one other: one request at a time, each with all that has gathered meanwhile.
    async fn ship(self: Arc<Node>, to: Id, client: Client) {
        let way = self.cast.delay(self.name(), self.cast.node(to));
        loop {
            let shipment = { self.lock().ship(to, self.teller.now()) };
            let Some((ticket, shipment)) = shipment else {
                self.to_ship[to.index()].notified().await;
                continue;
            };
            if !way.is_zero() {
                sleep(way).await;
            }
            let answer = match &shipment {
                Shipment::Append(append) => ask(&client, "append", append, self.settings.answer_within()).await,
                Shipment::Install(install) => ask(&client, "install", install, INSTALL_WITHIN).await,
            };
            let answer: Option<Shipped> = answer.ok();
            let taken = answer.is_some_and(|answer| !matches!(answer, Shipped::Fenced(_)));
            self.with(|replica, now| replica.shipped(to, ticket, answer, now));
            if !taken {
                sleep(self.settings.heartbeat / 4).await;
            }
        }
    }

    /// Calls the replica when its time comes.
    async fn keep_time(&self) {
        loop {
            let deadline = { self.lock().deadline(self.teller.now()) };
            match deadline {
                Some(deadline) => tokio::select! {
                    () = sleep_until(self.teller.clock().instant(deadline)) => {}
                    () = self.deadline_moved.notified() => {}
                },
                None => self.deadline_moved.notified().await,
            }
            self.with(|replica, now| replica.tick(now));
        }
    }
}

impl Keeper for Node {
    type Intent = Asked;

    fn take(&self, asked: Asked, act: impl FnOnce(&Store) -> Step) -> Result<Taken, kv::Refused> {
        self.with(|replica, now| {
            replica.admits(asked.intent, now).map_err(|refusal| Box::new(refuse(refusal)))?;
            if self.fences(replica.store(), asked.epoch) {
                return Err(Box::new(text(StatusCode::PRECONDITION_FAILED, "a newer engine is attached\n")));
            }
            let Step { change, rests_on, answer } = act(replica.store());
            let accepted = match (change, asked.intent) {
                (Some(_), Intent::ReadOnly) => {
                    return Err(Box::new(text(StatusCode::FORBIDDEN, "this came to read only\n")));
                }
                (Some(change), Intent::ReadWrite(_)) => replica.write(change),
                (None, _) => replica.read(rests_on),
            };
            Ok((accepted, answer))
        })
    }

    fn confirm(&self, asked: Asked, Accepted { term, index }: Accepted) -> Confirmation {
        self.lock().confirm(asked.intent, term, index, self.teller.now())
    }

    fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }
}

fn asked(headers: &HeaderMap) -> Asked {
    let number = |name: &str| headers.get(name).and_then(|number| number.to_str().ok()?.parse().ok());
    let reads = headers.contains_key(READ_ONLY);
    Asked { intent: if reads { Intent::ReadOnly } else { Intent::ReadWrite(number(TERM)) }, epoch: number(EPOCH) }
}

fn refuse(refusal: Refusal) -> Response<Bytes> {
    let status = match refusal {
        Refusal::NotPrimary | Refusal::NotCurrent => StatusCode::MISDIRECTED_REQUEST,
        Refusal::NoLease => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, format!("{refusal}\n"))
}

/// A node and its disk.
#[derive(Debug)]
pub struct NodeBody {
    /// Which.
    pub me: Id,
    /// Who else there is.
    pub cast: Arc<Cast>,
    /// What it is to the world.
    pub kind: Kind,
    /// What is set.
    pub settings: Settings,
    /// How it serves.
    pub service: Service,
    /// What survives.
    pub disk: Disk,
    /// Who asks it.
    pub live: Live<Node>,
}

impl Body for NodeBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let others = (0..self.cast.nodes.len()).map(|id| Id(id as u8)).filter(|id| *id != self.me);
        let others = others.map(|id| Ok((id, ground.hop(self.cast.node(id))?))).collect::<io::Result<Vec<_>>>()?;
        let now = ground.teller.now();
        let node = Arc::new(Node {
            kind: self.kind,
            me: self.me,
            cast: Arc::clone(&self.cast),
            settings: self.settings,
            service: self.service,
            teller: ground.teller,
            replica: Mutex::new(Replica::boot(self.me, self.settings, std::mem::take(&mut self.disk), now)),
            // Whoever is primary in the first term was not promoted.
            promoted_in: AtomicU64::new(1),
            workers: Semaphore::new(self.service.workers),
            progress: watch::Sender::new(()),
            to_ship: self.cast.nodes.iter().map(|_| Notify::new()).collect(),
            deadline_moved: Notify::new(),
        });
        self.live.set(&node);
        Host::start(&ground.name, move |inside| node.run(ground.listener, others, inside))
    }

    fn ended(&mut self) {
        if let Some(node) = self.live.take() {
            self.disk = node.take_disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |node| node.incarnation())
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|node| node.role())
    }

    /// It knows its place once the control ring has told it.
    fn tells_ready(&self) -> bool {
        true
    }
}
