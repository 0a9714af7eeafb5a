//! The place of a machine in a region: with nothing there, or with the application on a machine that has a disk.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Mutex as Turn;
use tokio::time::sleep;

use super::pages;
use super::recovery::{Ship, Shipped};
use super::settings::{MISSES, Settings};
use super::storage::Volume;
use super::{REGIONS, region_of};
use crate::clock::Moment;
use crate::event::What;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text, unavailable};
use crate::system::lab::kv::stamp;
use crate::system::lab::store::{Change, Position, Store};
use crate::system::lab::wire::{INTERNAL, ask, heard, reply, said};
use crate::system::lab::{Body, Ground, Live};
use crate::system::{NodeState, Teller};

/// How long another node may take to answer.
const WITHIN: Duration = Duration::from_secs(1);

/// Why a machine has no disk to use.
const NO_ACCOUNT: &str = "no storage account in this region";

/// The header by which somebody in the network of a test reaches the copy there.
const NETWORK: &str = "x-network";

/// What stands here while nothing runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Installed {
    disk: Disk,
    /// In a network of its own: a test.
    isolated: bool,
    /// It starts when its region comes back.
    on: bool,
}

/// A machine's disk.
#[derive(Clone, Debug, Default)]
enum Disk {
    #[default]
    None,
    /// In the storage account: each write goes there.
    Account,
    /// The machine's own, made of a recovery point.
    Own(Store),
}

/// The place of a machine, alive.
#[derive(Debug)]
pub(super) struct Machine {
    name: String,
    settings: Settings,
    teller: Teller,
    state: Mutex<State>,
    /// Writes take turns: each is on disk before the next is looked at.
    writing: Turn<()>,
}

#[derive(Debug, Default)]
struct State {
    incarnation: u64,
    installed: Option<Installed>,
    /// What the running application has in memory.
    memory: Option<Store>,
}

struct Hops {
    recovery: Client,
    storage: Option<Client>,
}

/// A disk that the recovery service attaches.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attach {
    pub(super) disk: Store,
    pub(super) isolated: bool,
}

impl Machine {
    async fn run(
        self: Arc<Machine>,
        listener: std::net::TcpListener,
        hops: [Option<std::net::SocketAddr>; 2],
        inside: Inside,
    ) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        let [Some(recovery), storage] = hops.map(|hop| hop.map(|hop| Client::new(hop, inside.sockets.clone()))) else {
            return;
        };
        let hops = Arc::new(Hops { recovery, storage });
        let (machine, on) = (Arc::clone(&self), Arc::clone(&hops));
        let handler = move |request| Arc::clone(&machine).answer(Arc::clone(&on), request);
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = async { tokio::join!(self.boot(&hops), self.replicate(&hops)); } => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn region(&self) -> &'static str {
        region_of(&self.name)
    }

    /// A machine that was on when its region went starts by itself, unless it is no longer the one.
    async fn boot(&self, hops: &Hops) {
        let (installed, first) = {
            let state = self.lock();
            (state.installed.clone(), state.incarnation == 0)
        };
        let Some(Installed { disk, isolated, on: true }) = installed else { return };
        if !first && !isolated && self.settings.fencing {
            let source = loop {
                match ask::<String>(&hops.recovery, "source", &(), self.settings.heartbeat * MISSES).await {
                    Ok(source) => break source,
                    Err(_) => sleep(self.settings.heartbeat).await,
                }
            };
            if source != self.region() {
                let text = format!("{} stays off: the machine is in {source} now", self.name);
                self.teller.tell(What::Note { text });
                return self.install(None);
            }
        }
        if !first {
            sleep(self.settings.times.boot + self.settings.times.application).await;
        }
        let memory = match disk {
            Disk::None => return,
            Disk::Own(disk) => disk,
            Disk::Account => loop {
                match self.read_account(hops, Moment::START).await {
                    Ok((memory, _)) => break memory,
                    Err(_) => sleep(self.settings.heartbeat).await,
                }
            },
        };
        self.start(memory);
    }

    /// The disk in the storage account, with what is to be said of it if it is a copy.
    async fn read_account(&self, hops: &Hops, lost: Moment) -> Result<(Store, Volume), String> {
        let storage = hops.storage.as_ref().ok_or(NO_ACCOUNT)?;
        let volume: Volume = ask(storage, "volume", &lost, self.settings.heartbeat * MISSES).await?;
        let mut memory = Store::default();
        let term = self.lock().incarnation + 1;
        for (key, value) in &volume.pages {
            memory.push(term, Change::Put { key: key.clone(), value: value.clone() });
        }
        Ok((memory, volume))
    }

    fn install(&self, installed: Option<Installed>) {
        {
            let mut state = self.lock();
            (state.installed, state.memory) = (installed, None);
        }
        self.tell_role();
    }

    fn start(&self, memory: Store) {
        {
            let mut state = self.lock();
            state.incarnation += 1;
            state.memory = Some(memory);
            if let Some(installed) = &mut state.installed {
                installed.on = true;
            }
        }
        self.tell_role();
    }

    fn tell_role(&self) {
        let (incarnation, role) = {
            let state = self.lock();
            (state.incarnation, role(&state))
        };
        let state = NodeState::Ready.name().to_owned();
        self.teller.tell(What::Node { node: self.name.clone(), incarnation, state, role: Some(role.to_owned()) });
    }

    async fn answer(self: Arc<Machine>, hops: Arc<Hops>, request: Request<Bytes>) -> Response<Bytes> {
        if let Some(message) = request.uri().path().strip_prefix(INTERNAL) {
            return self.answer_own(&hops, message, request.body()).await;
        }
        let mut answer = self.serve_user(&hops, &request).await;
        stamp(&mut answer, &self.name, self.lock().incarnation);
        answer
    }

    async fn serve_user(&self, hops: &Hops, request: &Request<Bytes>) -> Response<Bytes> {
        let reads = request.method() == http::Method::GET;
        let _turn = if reads { None } else { Some(self.writing.lock().await) };
        let (write, answer, on_account, incarnation) = {
            let state = self.lock();
            let (Some(memory), Some(installed)) = (&state.memory, &state.installed) else {
                return unavailable("no machine runs here");
            };
            let from_test = request.headers().get(NETWORK).is_some();
            if installed.isolated && self.settings.isolation && !from_test || !installed.isolated && from_test {
                return unavailable("the machine is in another network");
            }
            let (write, answer) = pages::answer(request, &|page| Some(memory.register(page)?.value.as_str()));
            (write, answer, matches!(installed.disk, Disk::Account), state.incarnation)
        };
        let Some((page, value)) = write else { return answer };
        if on_account {
            let Some(storage) = &hops.storage else { return unavailable(NO_ACCOUNT) };
            if let Err(why) = ask::<()>(storage, "write", &(&page, &value), WITHIN).await {
                return unavailable(format_args!("the disk does not take the write: {why}"));
            }
        }
        let mut state = self.lock();
        match &mut state.memory {
            Some(memory) if incarnation > 0 => drop(memory.push(incarnation, Change::Put { key: page, value })),
            _ => return unavailable("the machine went while it wrote"),
        }
        answer
    }

    async fn answer_own(&self, hops: &Hops, message: &str, body: &[u8]) -> Response<Bytes> {
        match message {
            "make" => {
                if self.lock().memory.is_some() {
                    return refused("a machine runs here");
                }
                self.install(Some(Installed::default()));
                said(&())
            }
            "attach" => reply(body, |Attach { disk, isolated }| {
                self.install(Some(Installed { disk: Disk::Own(disk), isolated, on: false }));
                said(&())
            }),
            "start" => {
                let disk = self.lock().installed.as_ref().map(|installed| installed.disk.clone());
                let Some(Disk::Own(disk)) = disk else { return refused("the machine has no disk") };
                self.start(disk);
                said(&())
            }
            "shut-down" => {
                let _turn = self.writing.lock().await;
                let memory = self.lock().memory.take();
                self.install(None);
                match memory {
                    Some(memory) => said(&memory.snapshot()),
                    None => refused("no machine runs here"),
                }
            }
            "clean-up" => {
                self.install(None);
                said(&())
            }
            "provision" => match heard(body) {
                Ok(lost) => self.provision(hops, lost).await,
                Err(foreign) => *foreign,
            },
            _ => text(StatusCode::NOT_FOUND, "no such message\n"),
        }
    }

    /// Makes a machine of the image that the copy of the storage account holds.
    async fn provision(&self, hops: &Hops, lost: Moment) -> Response<Bytes> {
        let times = self.settings.times;
        sleep(times.machine + times.boot + times.log + times.application).await;
        let (memory, volume) = match self.read_account(hops, lost).await {
            Ok(read) => read,
            Err(why) => return refused(&format!("there is no image: {why}")),
        };
        let torn = volume.soundness.is_some_and(|soundness| soundness.torn > 0);
        if !torn || self.settings.torn_boots {
            self.install(Some(Installed { disk: Disk::Own(memory.snapshot()), isolated: false, on: false }));
            self.start(memory);
        }
        said(&volume.soundness)
    }

    /// Ships what was written to the recovery service, again and again; whole at first.
    async fn replicate(&self, hops: &Hops) {
        let (mut arrived, mut of, mut flush) = (Position::default(), 0, false);
        loop {
            sleep(self.settings.replicate_every.max(Duration::from_millis(5))).await;
            // Between two writes everything that the application has in memory is on its disk.
            let turn = if flush { Some(self.writing.lock().await) } else { None };
            let ship = {
                let state = self.lock();
                let isolated = state.installed.as_ref().is_some_and(|installed| installed.isolated);
                let Some(memory) = state.memory.as_ref().filter(|_| !isolated) else { continue };
                let entries = match of == state.incarnation {
                    true => memory.entries_after(arrived, usize::MAX),
                    false => None,
                };
                of = state.incarnation;
                let whole = entries.is_none().then(|| memory.snapshot());
                Ship {
                    region: self.region().to_owned(),
                    whole,
                    prev: arrived,
                    entries: entries.unwrap_or_default(),
                    as_of: self.teller.now(),
                    app_consistent: flush,
                }
            };
            drop(turn);
            match ask::<Shipped>(&hops.recovery, "ship", &ship, WITHIN).await {
                Ok(shipped) => (arrived, flush) = (shipped.last, shipped.flush),
                // Whatever it has, it says so when it answers again.
                Err(_) => of = 0,
            }
        }
    }
}

fn role(state: &State) -> &'static str {
    match (&state.memory, &state.installed) {
        (Some(_), Some(Installed { isolated: true, .. })) => "tested",
        (Some(_), _) => "app",
        (None, _) => "idle",
    }
}

fn refused(why: &str) -> Response<Bytes> {
    text(StatusCode::CONFLICT, format!("{why}\n"))
}

/// The place of a machine, alive or not.
#[derive(Debug)]
pub(super) struct MachineBody {
    settings: Settings,
    storage: Option<&'static str>,
    installed: Option<Installed>,
    incarnation: u64,
    live: Live<Machine>,
}

impl MachineBody {
    /// The machine of the start is in the first region, with its disk in the storage account.
    pub(super) fn new(
        settings: Settings,
        region: &str,
        storage: Option<&'static str>,
        live: Live<Machine>,
    ) -> MachineBody {
        let installed = (region == REGIONS[0]).then_some(Installed { disk: Disk::Account, isolated: false, on: true });
        MachineBody { settings, storage, installed, incarnation: 0, live }
    }
}

impl Machine {
    /// Whether users are served.
    pub(super) fn serves(&self) -> bool {
        role(&self.lock()) == "app"
    }
}

impl Body for MachineBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let hops = [Some(ground.hop(super::RECOVERY)?), self.storage.map(|storage| ground.hop(storage)).transpose()?];
        let state = State { incarnation: self.incarnation, installed: self.installed.take(), memory: None };
        let machine = Arc::new(Machine {
            name: ground.name.clone(),
            settings: self.settings,
            teller: ground.teller,
            state: Mutex::new(state),
            writing: Turn::new(()),
        });
        self.live.set(&machine);
        Host::start(&ground.name, move |inside| machine.run(ground.listener, hops, inside))
    }

    fn ended(&mut self) {
        let Some(machine) = self.live.take() else { return };
        let mut state = machine.lock();
        self.incarnation = state.incarnation;
        let memory = state.memory.take();
        self.installed = state.installed.take();
        // A disk of its own has every write that was acknowledged.
        if let (Some(memory), Some(Installed { disk: disk @ Disk::Own(_), .. })) = (memory, &mut self.installed) {
            *disk = Disk::Own(memory);
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.incarnation, |machine| machine.lock().incarnation)
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|machine| role(&machine.lock()))
    }
}
