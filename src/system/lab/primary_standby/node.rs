//! One node at work: serves clients, answers the gateway, ships to its peer. Every decision is [`Replica`]'s.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::TERM;
use super::protocol::{Append, Heartbeat, Install, Shipment, Shipped, Side};
use super::replica::{Disk, Refusal, Replica, Role};
use super::settings::{Commit, Settings};
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::lab::host::Inside;
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::kv::{self, Accepted, Confirmation, Keeper, Step, Taken, stamp};
use crate::system::lab::store::Store;
use crate::system::lab::wire::{INTERNAL, ask, reply, said};
use crate::system::{NodeState, Teller};

/// How long a whole store may take to be shipped.
const INSTALL_WITHIN: Duration = Duration::from_secs(10);

/// One of the two nodes, alive.
#[derive(Debug)]
pub struct Node {
    me: Side,
    settings: Settings,
    teller: Teller,
    replica: Mutex<Replica>,
    /// Told when something may be confirmed, or never will be.
    progress: watch::Sender<()>,
    /// Told when something may have to be shipped.
    to_ship: Notify,
    /// Told when the replica's deadline may have moved.
    deadline_moved: Notify,
}

impl Node {
    /// A node that starts with what is on its disk.
    pub fn new(me: Side, settings: Settings, disk: Disk, teller: Teller) -> Node {
        let replica = Mutex::new(Replica::boot(me, settings, disk));
        let (progress, to_ship, deadline_moved) = (watch::Sender::new(()), Notify::new(), Notify::new());
        Node { me, settings, teller, replica, progress, to_ship, deadline_moved }
    }

    /// Works until it is stopped; `peer` is the link to the other node.
    pub async fn run(self: Arc<Node>, listener: std::net::TcpListener, peer: SocketAddr, inside: Inside) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = self.settings.name(self.me), %error, "cannot listen"),
        };
        let peer = Client::new(peer, inside.sockets.clone());
        let node = Arc::clone(&self);
        let handler = move |request| Arc::clone(&node).answer(request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.ship(peer), if self.settings.ships => {}
            () = self.keep_time() => {}
        }
    }

    /// What it has, to be kept elsewhere; only while it serves.
    pub fn backup(&self) -> Option<Store> {
        let replica = self.lock();
        (replica.role(self.teller.now()) == Role::Primary).then(|| replica.store().snapshot())
    }

    /// What it is now.
    pub fn role(&self) -> Role {
        self.lock().role(self.teller.now())
    }

    /// Raised at each start and promotion.
    pub fn incarnation(&self) -> u64 {
        self.lock().incarnation()
    }

    /// What is left of it after a kill; it must not be used any more.
    pub fn take_disk(&self) -> Disk {
        let taken = Replica::boot(self.me, self.settings, Disk::default());
        std::mem::replace(&mut *self.lock(), taken).into_disk()
    }

    /// Does something to the replica and tells whom it may concern.
    fn with<T>(&self, act: impl FnOnce(&mut Replica, Moment) -> T) -> T {
        let now = self.teller.now();
        let (done, before, after, incarnation) = {
            let mut replica = self.lock();
            let before = replica.progress(now);
            let done = act(&mut replica, now);
            (done, before, replica.progress(now), replica.incarnation())
        };
        if before != after {
            self.progress.send_replace(());
        }
        if before.role != after.role || before.term != after.term {
            self.deadline_moved.notify_one();
            // A new term in the same place is no news to others.
            if before.role.name() != after.role.name() {
                self.tell_role(after.role, incarnation);
            }
            if after.role == Role::Primary && before.role == Role::Promoting {
                let node = self.settings.name(self.me).to_owned();
                self.teller
                    .tell_at(now, What::Milestone { milestone: Milestone::Promoted, node, source: "lab".into() });
            }
        }
        self.to_ship.notify_one();
        done
    }

    fn tell_role(&self, role: Role, incarnation: u64) {
        self.teller.tell(What::Node {
            node: self.settings.name(self.me).to_owned(),
            incarnation,
            state: NodeState::Ready.name().to_owned(),
            role: Some(role.name().to_owned()),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Node>, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if let Some(message) = path.strip_prefix(INTERNAL) {
            return self.answer_own(message, &body);
        }
        if !self.settings.service_time.is_zero() {
            sleep(self.settings.service_time).await;
        }
        let meant_for = meant_for(&head.headers);
        let mut answer = kv::answer(&*self, meant_for, &head.method, path, &body).await;
        stamp(&mut answer, self.settings.name(self.me), self.incarnation());
        answer
    }

    /// The gateway's and the peer's messages.
    fn answer_own(&self, message: &str, body: &[u8]) -> Response<Bytes> {
        match message {
            "heartbeat" => reply(body, |heartbeat: Heartbeat| {
                let first = self.lock().version() == 0;
                let beat = self.with(|replica, now| replica.heartbeat(heartbeat, now));
                if first && beat.version > 0 && !beat.serving {
                    // Only now it knows its place; one that serves has told its new role already.
                    self.tell_role(self.role(), self.incarnation());
                }
                said(&beat)
            }),
            "append" => reply(body, |append: Append| said(&self.taken(Shipment::Append(append)))),
            "install" => reply(body, |install: Install| said(&self.taken(Shipment::Install(install)))),
            _ => text(StatusCode::NOT_FOUND, "no such message\n"),
        }
    }

    fn taken(&self, shipment: Shipment) -> Shipped {
        self.with(|replica, _| replica.take(shipment))
    }

    /// Replication: one request at a time, each with all that has gathered meanwhile.
    async fn ship(&self, peer: Client) {
        loop {
            let shipment = self.lock().ship();
            let Some(shipment) = shipment else {
                self.to_ship.notified().await;
                continue;
            };
            let (term, answer) = match &shipment {
                Shipment::Append(append) => {
                    (append.term, ask::<Shipped>(&peer, "append", append, self.settings.detect_after()).await)
                }
                Shipment::Install(install) => (install.term, ask(&peer, "install", install, INSTALL_WITHIN).await),
            };
            let answer = answer.ok();
            let taken = answer.is_some_and(|answer| !matches!(answer, Shipped::Fenced(_)));
            self.with(|replica, now| replica.shipped(term, answer, now));
            if !taken {
                sleep(self.settings.heartbeat).await;
            } else if self.settings.commit == Commit::Async {
                self.gather().await;
            }
        }
    }

    /// Lets writes gather until the next shipment is due; a hand-over does not wait for that.
    async fn gather(&self) {
        let mut progress = self.progress.subscribe();
        let yields = progress.wait_for(|()| self.lock().yields());
        let _ = timeout(self.settings.ship_every, yields).await;
    }

    /// Calls the replica when its time comes.
    async fn keep_time(&self) {
        loop {
            let deadline = self.lock().deadline(self.teller.now());
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
    /// The term that a request is meant for.
    type Intent = Option<u64>;

    fn take(&self, meant_for: Option<u64>, act: impl FnOnce(&Store) -> Step) -> Result<Taken, kv::Refused> {
        self.with(|replica, now| {
            replica.admits(meant_for, now).map_err(|refusal| Box::new(refuse(refusal)))?;
            let Step { change, rests_on, answer } = act(replica.store());
            let accepted = match change {
                Some(change) => replica.write(change, now),
                None => replica.read(rests_on),
            };
            Ok((accepted, answer))
        })
    }

    fn confirm(&self, _: Option<u64>, Accepted { term, index }: Accepted) -> Confirmation {
        self.lock().confirm(term, index, self.teller.now())
    }

    fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }
}

fn meant_for(headers: &HeaderMap) -> Option<u64> {
    headers.get(TERM)?.to_str().ok()?.parse().ok()
}

fn refuse(refusal: Refusal) -> Response<Bytes> {
    let status = match refusal {
        Refusal::NotPrimary => StatusCode::MISDIRECTED_REQUEST,
        Refusal::NoLease => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, format!("{refusal}\n"))
}
