//! A storage account in its region, or its copy in the paired one: serves clients and disks, ships pages, can be promoted.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::geo::{Copy, PARTITIONS, Pages, Shipment, Soundness};
use super::pages;
use super::settings::Settings;
use crate::clock::Moment;
use crate::event::What;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text, unavailable};
use crate::system::lab::kv::stamp;
use crate::system::lab::wire::{INTERNAL, ask, reply, said};
use crate::system::lab::{Body, Ground, Live};
use crate::system::{NodeState, Teller};

/// How long a shipment may take.
const SHIP_WITHIN: Duration = Duration::from_secs(2);

/// What a storage node keeps.
#[derive(Clone, Debug)]
pub(super) enum Contents {
    /// The account itself, perhaps made of a copy: then its volumes are as sound as that was.
    Account(Pages, Option<Copy>),
    /// A copy of it.
    Copy(Copy),
}

/// A machine's disk, as it is read when the machine boots.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Volume {
    /// Its pages.
    pub(super) pages: Vec<(String, String)>,
    /// How good the copy is, if it is one.
    pub(super) soundness: Option<Soundness>,
}

/// The provider asks whether a node is well, and says what it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    /// Whether it is the account.
    pub(super) account: bool,
}

/// A storage node, alive.
#[derive(Debug)]
pub(super) struct Storage {
    name: String,
    settings: Settings,
    teller: Teller,
    incarnation: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    contents: Contents,
    /// A node that comes back serves once the provider has said what it is now.
    confirmed: bool,
}

impl Storage {
    async fn run(
        self: Arc<Storage>,
        listener: std::net::TcpListener,
        peer: Option<std::net::SocketAddr>,
        inside: Inside,
    ) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        let peer = peer.map(|peer| Client::new(peer, inside.sockets.clone()));
        let storage = Arc::clone(&self);
        let handler = move |request| {
            let storage = Arc::clone(&storage);
            async move { storage.answer(&request) }
        };
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = self.ship(peer) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        if let Some(message) = request.uri().path().strip_prefix(INTERNAL) {
            return self.answer_own(message, request.body());
        }
        let mut state = self.lock();
        let serves = state.confirmed || !self.settings.fencing;
        let mut answer = match (&mut state.contents, request.uri().path()) {
            (_, "/health") => text(StatusCode::OK, "well\n"),
            (Contents::Account(account, _), _) if serves => {
                let blob = |page: &str| format!("blob/{page}");
                let (write, answer) = pages::answer(request, &|page| account.get(&blob(page)));
                if let Some((page, value)) = write {
                    account.set(&blob(&page), value);
                }
                answer
            }
            (Contents::Account(..), _) => {
                unavailable("the provider has not said yet whether this is the account still")
            }
            (Contents::Copy(_), _) => unavailable("a copy, which is not in the place of the account"),
        };
        stamp(&mut answer, &self.name, self.incarnation);
        answer
    }

    fn answer_own(&self, message: &str, body: &[u8]) -> Response<Bytes> {
        if message == "heartbeat" {
            return reply(body, |heartbeat| self.heartbeat(&heartbeat));
        }
        let mut state = self.lock();
        let serves = state.confirmed || !self.settings.fencing;
        match (message, &mut state.contents) {
            ("write", Contents::Account(pages, _)) if serves => reply(body, |(page, value): (String, String)| {
                pages.set(&format!("vm/{page}"), value);
                said(&())
            }),
            ("volume", Contents::Account(pages, of)) if serves => reply(body, |lost: Moment| {
                let soundness = of.as_ref().map(|copy| copy.soundness(lost));
                said(&Volume { pages: pages.volume("vm/"), soundness })
            }),
            ("volume", Contents::Copy(copy)) => reply(body, |lost: Moment| {
                said(&Volume { pages: copy.pages().volume("vm/"), soundness: Some(copy.soundness(lost)) })
            }),
            ("geo", Contents::Copy(copy)) => reply(body, |shipment: Shipment| {
                let partition = shipment.partition;
                copy.take(shipment);
                said(&copy.upto(partition))
            }),
            _ => unavailable("not what is asked for, just now"),
        }
    }

    /// The provider says what this node is.
    fn heartbeat(&self, heartbeat: &Heartbeat) -> Response<Bytes> {
        let (was, now) = {
            let mut state = self.lock();
            let was = role(&state);
            match (&state.contents, heartbeat.account) {
                (Contents::Copy(copy), true) => {
                    state.contents = Contents::Account(copy.pages().clone(), Some(copy.clone()));
                }
                // Replaced while it was away: what it holds is history.
                (Contents::Account(..), false) => state.contents = Contents::Copy(Copy::default()),
                _ => {}
            }
            state.confirmed = true;
            (was, role(&state))
        };
        if was != now {
            self.tell_role(now);
        }
        said(&())
    }

    fn tell_role(&self, role: &str) {
        self.teller.tell(What::Node {
            node: self.name.clone(),
            incarnation: self.incarnation,
            state: NodeState::Ready.name().to_owned(),
            role: Some(role.to_owned()),
        });
    }

    /// Ships one partition after the other to the copy, each once in the lag.
    async fn ship(&self, peer: Option<Client>) {
        let Some(peer) = peer.filter(|_| self.settings.geo) else { return std::future::pending().await };
        let mut arrived = [0; PARTITIONS];
        let pause = (self.settings.geo_lag / PARTITIONS as u32).max(Duration::from_millis(5));
        for partition in (0..PARTITIONS).cycle() {
            sleep(pause).await;
            let shipment = match &self.lock().contents {
                Contents::Account(pages, _) => Some(pages.shipment(partition, arrived[partition], self.teller.now())),
                Contents::Copy(_) => None,
            };
            let Some(shipment) = shipment else { continue };
            if let Ok(upto) = ask::<u64>(&peer, "geo", &shipment, SHIP_WITHIN).await {
                arrived[partition] = upto;
            }
        }
    }
}

const fn role(state: &State) -> &'static str {
    match state.contents {
        Contents::Account(..) => "account",
        Contents::Copy(_) => "copy",
    }
}

/// A storage node, alive or not.
#[derive(Debug)]
pub(super) struct StorageBody {
    settings: Settings,
    /// Whom pages are shipped to.
    peer: Option<&'static str>,
    disk: Contents,
    incarnation: u64,
    live: Live<Storage>,
}

impl StorageBody {
    pub(super) fn new(settings: Settings, contents: Contents, peer: Option<&'static str>) -> StorageBody {
        StorageBody { settings, peer, disk: contents, incarnation: 0, live: Live::default() }
    }
}

impl Body for StorageBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let peer = self.peer.map(|peer| ground.hop(peer)).transpose()?;
        let state = State { contents: self.disk.clone(), confirmed: self.incarnation == 0 };
        self.incarnation += 1;
        let storage = Arc::new(Storage {
            name: ground.name.clone(),
            settings: self.settings,
            teller: ground.teller,
            incarnation: self.incarnation,
            state: Mutex::new(state),
        });
        self.live.set(&storage);
        Host::start(&ground.name, move |inside| storage.run(ground.listener, peer, inside))
    }

    fn ended(&mut self) {
        if let Some(storage) = self.live.take() {
            self.disk = storage.lock().contents.clone();
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|storage| role(&storage.lock()))
    }
}
