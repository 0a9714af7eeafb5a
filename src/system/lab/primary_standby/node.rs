//! One node at work: serves clients, answers the gateway, ships to its peer. Every decision is [`Replica`]'s.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::protocol::{Append, Heartbeat, Install, Shipment, Shipped, Side};
use super::replica::{Accepted, Confirmation, Disk, Refusal, Replica, Role};
use super::settings::{Commit, Settings};
use super::{PLACE, REPLACED, TERM};
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::lab::host::Inside;
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::store::Change;
use crate::system::{NodeState, Teller};

/// A write or read that cannot be confirmed for so long is answered with 503; its effect is unknown then.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

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
            Err(error) => return tracing::error!(node = self.me.name(), %error, "cannot listen"),
        };
        let peer = Client::new(peer, inside.sockets.clone());
        let node = Arc::clone(&self);
        let handler = move |request| Arc::clone(&node).answer(request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.ship(peer) => {}
            () = self.keep_time() => {}
        }
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
                let node = self.me.name().to_owned();
                self.teller
                    .tell_at(now, What::Milestone { milestone: Milestone::Promoted, node, source: "lab".into() });
            }
        }
        self.to_ship.notify_one();
        done
    }

    fn tell_role(&self, role: Role, incarnation: u64) {
        self.teller.tell(What::Node {
            node: self.me.name().to_owned(),
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
        if let Some(message) = path.strip_prefix("/internal/") {
            return self.answer_own(message, &body);
        }
        if !self.settings.service_time.is_zero() {
            sleep(self.settings.service_time).await;
        }
        let meant_for = meant_for(&head.headers);
        let mut answer = match (head.method, Route::of(path)) {
            (Method::GET, Route::Health) => text(StatusCode::OK, "well\n"),
            (Method::GET, Route::Register(key)) => self.read(meant_for, key).await,
            (Method::PUT, Route::Register(key)) => self.put(meant_for, key, &body).await,
            (Method::POST, Route::Register(key)) => self.insert(meant_for, key, &body).await,
            (Method::GET, Route::List(key)) => self.scan(meant_for, key).await,
            (Method::POST, Route::List(key)) => self.push(meant_for, key, &body).await,
            (Method::POST, Route::Echo) => match self.with(|replica, now| replica.admits(meant_for, now)) {
                Ok(()) => text(StatusCode::OK, body),
                Err(refusal) => refuse(refusal),
            },
            (_, Route::Unknown) => text(StatusCode::NOT_FOUND, "no such path\n"),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "no such method here\n"),
        };
        if let Ok(place) = HeaderValue::try_from(format!("{}#{}", self.me.name(), self.incarnation())) {
            answer.headers_mut().insert(PLACE, place);
        }
        answer
    }

    async fn read(&self, meant_for: Option<u64>, key: &str) -> Response<Bytes> {
        let read = self.with(|replica, now| {
            replica.admits(meant_for, now)?;
            let read = replica.register(key);
            Ok(Accepted { term: read.term, index: read.index, answer: read.answer.map(str::to_owned) })
        });
        self.when_confirmed(read, |value| match value {
            Some(value) => text(StatusCode::OK, value),
            None => text(StatusCode::NOT_FOUND, Bytes::new()),
        })
        .await
    }

    async fn put(&self, meant_for: Option<u64>, key: &str, body: &[u8]) -> Response<Bytes> {
        let Ok(value) = std::str::from_utf8(body) else { return not_text() };
        let written = self.with(|replica, now| {
            replica.admits(meant_for, now)?;
            let replaced = replica.register(key).answer.unwrap_or_default().to_owned();
            let written = replica.write(Change::Put { key: key.to_owned(), value: value.to_owned() }, now);
            Ok(Accepted { term: written.term, index: written.index, answer: replaced })
        });
        self.when_confirmed(written, |replaced| {
            let mut answer = text(StatusCode::OK, Bytes::new());
            // A value that no header can carry is not told: "absent if unknown".
            if let Ok(replaced) = HeaderValue::from_bytes(replaced.as_bytes()) {
                answer.headers_mut().insert(REPLACED, replaced);
            }
            answer
        })
        .await
    }

    async fn insert(&self, meant_for: Option<u64>, key: &str, body: &[u8]) -> Response<Bytes> {
        let Ok(value) = std::str::from_utf8(body) else { return not_text() };
        let inserted = self.with(|replica, now| {
            replica.admits(meant_for, now)?;
            let found = replica.register(key);
            let (term, index) = (found.term, found.index);
            match found.answer.map(|there| there == value) {
                Some(true) => Ok(Accepted { term, index, answer: StatusCode::OK }),
                Some(false) => Ok(Accepted { term, index, answer: StatusCode::CONFLICT }),
                None => {
                    let change = Change::Put { key: key.to_owned(), value: value.to_owned() };
                    let written = replica.write(change, now);
                    Ok(Accepted { term: written.term, index: written.index, answer: StatusCode::CREATED })
                }
            }
        });
        self.when_confirmed(inserted, |status| text(status, Bytes::new())).await
    }

    async fn scan(&self, meant_for: Option<u64>, key: &str) -> Response<Bytes> {
        let read = self.with(|replica, now| {
            replica.admits(meant_for, now)?;
            let read = replica.list(key);
            let mut lines = read.answer.join("\n");
            if !lines.is_empty() {
                lines.push('\n');
            }
            Ok(Accepted { term: read.term, index: read.index, answer: lines })
        });
        self.when_confirmed(read, |lines| text(StatusCode::OK, lines)).await
    }

    async fn push(&self, meant_for: Option<u64>, key: &str, body: &[u8]) -> Response<Bytes> {
        let Ok(item) = std::str::from_utf8(body) else { return not_text() };
        if item.contains('\n') {
            return text(StatusCode::BAD_REQUEST, "an item is one line\n");
        }
        let pushed = self.with(|replica, now| {
            replica.admits(meant_for, now)?;
            Ok(replica.write(Change::Push { key: key.to_owned(), item: item.to_owned() }, now))
        });
        self.when_confirmed(pushed, |()| text(StatusCode::OK, Bytes::new())).await
    }

    /// Answers once what was accepted is confirmed, or says that it never will be.
    async fn when_confirmed<T>(
        &self,
        accepted: Result<Accepted<T>, Refusal>,
        answer: impl FnOnce(T) -> Response<Bytes>,
    ) -> Response<Bytes> {
        let Accepted { term, index, answer: value } = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return refuse(refusal),
        };
        let mut progress = self.progress.subscribe();
        let confirmed = async {
            loop {
                match self.lock().confirm(term, index, self.teller.now()) {
                    Confirmation::Confirmed => return true,
                    Confirmation::Replaced => return false,
                    Confirmation::Waiting => {}
                }
                if progress.changed().await.is_err() {
                    return false;
                }
            }
        };
        match timeout(CONFIRM_WITHIN, confirmed).await {
            Ok(true) => answer(value),
            Ok(false) => text(StatusCode::SERVICE_UNAVAILABLE, "replaced as primary meanwhile\n"),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not confirmed in time\n"),
        }
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
                beat
            }),
            "append" => reply(body, |append: Append| self.with(|replica, _| replica.take(Shipment::Append(append)))),
            "install" => {
                reply(body, |install: Install| self.with(|replica, _| replica.take(Shipment::Install(install))))
            }
            _ => text(StatusCode::NOT_FOUND, "no such message\n"),
        }
    }

    /// Replication: one request at a time, each with all that has gathered meanwhile.
    async fn ship(&self, peer: Client) {
        loop {
            let shipment = self.lock().ship();
            let Some(shipment) = shipment else {
                self.to_ship.notified().await;
                continue;
            };
            let (term, path, body, within) = match &shipment {
                Shipment::Append(append) => (append.term, "append", json(append), self.settings.detect_after()),
                Shipment::Install(install) => (install.term, "install", json(install), INSTALL_WITHIN),
            };
            let answer = ask::<Shipped>(&peer, path, body, within).await;
            let taken = answer.is_some_and(|answer| !matches!(answer, Shipped::Fenced(_)));
            self.with(|replica, now| replica.shipped(term, answer, now));
            if !taken {
                peer.forget_idle();
                sleep(self.settings.heartbeat).await;
            } else if self.settings.commit == Commit::Async {
                sleep(self.settings.ship_every).await;
            }
        }
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

/// What a path names.
enum Route<'a> {
    Health,
    Echo,
    Register(&'a str),
    List(&'a str),
    Unknown,
}

impl Route<'_> {
    fn of(path: &str) -> Route<'_> {
        match path {
            "/health" => Route::Health,
            "/echo" => Route::Echo,
            _ => match (path.strip_prefix("/kv/"), path.strip_prefix("/list/")) {
                (Some(key), _) if !key.is_empty() => Route::Register(key),
                (_, Some(key)) if !key.is_empty() => Route::List(key),
                _ => Route::Unknown,
            },
        }
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

fn not_text() -> Response<Bytes> {
    text(StatusCode::BAD_REQUEST, "a value is UTF-8\n")
}

/// The JSON of one of our own messages.
fn json(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("own messages have string keys only").into()
}

fn reply<M: DeserializeOwned, A: Serialize>(body: &[u8], answer: impl FnOnce(M) -> A) -> Response<Bytes> {
    match serde_json::from_slice(body) {
        Ok(message) => text(StatusCode::OK, json(&answer(message))),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// Sends one of our own messages; none if there is no good answer in time.
pub(super) async fn ask<A: DeserializeOwned>(to: &Client, message: &str, body: Bytes, within: Duration) -> Option<A> {
    let request = Request::post(format!("/internal/{message}")).body(body).expect("the path is a valid one");
    let answer = timeout(within, to.send(request)).await.ok()?.ok()?;
    serde_json::from_slice(answer.body()).ok()
}

/// The body of a heartbeat.
pub(super) fn heartbeat_body(heartbeat: &Heartbeat) -> Bytes {
    json(heartbeat)
}
