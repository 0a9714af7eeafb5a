//! A lab by itself, for drills by hand: point a client of your own at it, and take its nodes away.
//!
//! ```text
//! your client ──▶ client-gateway ──▶ gateway ──gateway-node-a──▶ node-a …      every arrow a proxy of its own
//!             ──▶ DNS: a name ──▶ named-vm-east ──▶ vm-east …                  where the lab has names
//!  you ──▶ status page, JSON: kill, pause, stop, cut, heal a node; order a failover
//! ```

mod guard;
mod names;
mod page;
mod server;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use serde_json::Value;

use crate::backend::{Backend, BackendError, Choice, Injection, LinkAction, Target};
use crate::clock::RunClock;
use crate::event::{Event, What};
use crate::permit::Permit;
use crate::plan::{LabDescription, Order};
use crate::proxy::LinkSpec;
use crate::seed::Seed;
use crate::system::lab::{self, Lab, LabKind, Refused};
use crate::system::{LinkAddresses, NodeAct, SystemError, Teller};

use names::{NamesServed, named_link};
pub use server::Server;
pub use status::Status;

/// Events that the status page shows.
const REMEMBERED: usize = 200;

/// A lab that runs by itself.
#[derive(Debug)]
pub struct Drill {
    kind: &'static LabKind,
    description: LabDescription,
    lab: Arc<dyn Lab>,
    backend: Arc<dyn Backend>,
    links: LinkAddresses,
    /// Who answers for its names, if it has any.
    names: Option<NamesServed>,
    clock: RunClock,
    events: Arc<Mutex<VecDeque<Event>>>,
    /// Nodes whose links are silent.
    cuts: Mutex<BTreeMap<String, Injection>>,
}

/// Why a drill cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// No node of this name is one that clients use.
    #[error("no entry of {lab} is called `{entry}`; its entries: {entries}")]
    UnknownEntry {
        /// The lab.
        lab: &'static str,
        /// As given.
        entry: String,
        /// Those that there are.
        entries: String,
    },
    /// Its names have no server, or their links no port.
    #[error("names cannot be served on loopback")]
    Names(#[source] io::Error),
    /// A proxy of a link cannot listen.
    #[error(transparent)]
    Link(#[from] BackendError),
    /// The lab cannot be set up, or does not serve.
    #[error(transparent)]
    System(#[from] SystemError),
}

impl DrillError {
    /// Whether the command line is wrong, and nothing was started.
    pub fn is_mistake(&self) -> bool {
        matches!(self, DrillError::UnknownEntry { .. } | DrillError::System(SystemError::Lab(_)))
    }
}

/// What can be done to a node by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// What node faults do.
    Act(NodeAct),
    /// Every link of the node falls silent.
    Cut,
    /// All of it is taken back.
    Heal,
}

impl Hand {
    /// Every one, as the page offers them.
    const ALL: [Hand; 6] = [
        Hand::Act(NodeAct::Kill),
        Hand::Act(NodeAct::Pause),
        Hand::Act(NodeAct::Stop),
        Hand::Act(NodeAct::Restart),
        Hand::Cut,
        Hand::Heal,
    ];

    /// The word in paths and on buttons.
    const fn name(self) -> &'static str {
        match self {
            Hand::Act(act) => act.name(),
            Hand::Cut => "cut",
            Hand::Heal => "heal",
        }
    }
}

impl Drill {
    /// Starts a lab, a proxy on each of its hops and one before each entry, and waits until it serves.
    ///
    /// `ports` says where the proxies before some entries listen; the others pick a free port of loopback.
    pub async fn start(
        kind: &'static LabKind,
        params: &IndexMap<String, Value>,
        ports: &BTreeMap<String, u16>,
    ) -> Result<Drill, DrillError> {
        let description = kind.describe(params).map_err(SystemError::Lab)?;
        if let Some(entry) = ports.keys().find(|entry| !description.entries.contains(*entry)) {
            let entries = description.entries.join(", ");
            return Err(DrillError::UnknownEntry { lab: kind.name, entry: entry.clone(), entries });
        }
        let clock = RunClock::start();
        let events = Arc::new(Mutex::new(VecDeque::new()));
        let sink = Arc::clone(&events);
        let teller = Teller::new(clock, Arc::new(move |event| remember(&sink, event)));
        let lab = (kind.bind)(&description, teller)?;
        let backend = Choice::Embedded.start(&Permit::default(), clock)?;
        let names = NamesServed::start(&description.names).map_err(DrillError::Names)?;
        if let Some(names) = &names {
            lab.name_server(names.dns());
        }
        let mut links = LinkAddresses::new();
        for (name, upstream, listen) in wanted(&description, &*lab, ports, names.as_ref()) {
            let address = backend.open(LinkSpec { listen, http: true, ..LinkSpec::new(name.as_str(), upstream) })?;
            links.insert(name, address);
        }
        lab.fleet().start(&links)?;
        let drill = Drill { kind, description, lab, backend, links, names, clock, events, cuts: Mutex::default() };
        match lab::serves(&*drill.lab).await {
            Ok(()) => Ok(drill),
            Err(error) => {
                drill.stop().await;
                Err(error.into())
            }
        }
    }

    /// What it looks like now.
    pub async fn status(self: &Arc<Drill>) -> Status {
        let drill = Arc::clone(self);
        off(move || Status::of(&drill)).await
    }

    /// Does something to a node; returns when it is done.
    pub async fn act(self: &Arc<Drill>, node: &str, hand: Hand) -> Result<(), DrillError> {
        let (drill, node) = (Arc::clone(self), node.to_owned());
        off(move || drill.act_now(&node, hand)).await
    }

    fn act_now(&self, node: &str, hand: Hand) -> Result<(), DrillError> {
        let fleet = self.lab.fleet();
        match hand {
            Hand::Act(act) => fleet.apply(node, act)?,
            Hand::Cut => self.cut(node)?,
            Hand::Heal => {
                // A node that was never hit is healed already.
                for act in [NodeAct::Kill, NodeAct::Stop, NodeAct::Pause] {
                    fleet.heal(node, act)?;
                }
                if let Some(silence) = lock(&self.cuts).remove(node) {
                    self.backend.heal(silence)?;
                    self.note(format!("the links of {node} carry again"));
                }
            }
        }
        Ok(())
    }

    fn cut(&self, node: &str) -> Result<(), DrillError> {
        if !self.description.nodes.contains_key(node) {
            return Err(SystemError::UnknownNode { node: node.to_owned() }.into());
        }
        let mut cuts = lock(&self.cuts);
        if !cuts.contains_key(node) {
            let hops = self.description.links.iter().filter(|(_, link)| link.from == node || link.to == node);
            let mut targets: Vec<Target> = hops.map(|(name, _)| Target::both(name.as_str())).collect();
            let clients = [client_link(node), named_link(node)];
            targets.extend(clients.into_iter().filter(|link| self.links.contains_key(link)).map(Target::both));
            let silence = self.backend.inject(&format!("cut-{node}"), &LinkAction::Silent, &targets, Seed(0))?;
            cuts.insert(node.to_owned(), silence);
            self.note(format!("every link of {node} is silent"));
        }
        Ok(())
    }

    /// Gives an order; what the lab said.
    pub async fn order(self: &Arc<Drill>, order: Order) -> Result<String, Refused> {
        let drill = Arc::clone(self);
        let answer = off(move || drill.lab.order(order)).await;
        self.note(match &answer {
            Ok(said) => said.clone(),
            Err(refused) => format!("{order} refused: {refused}"),
        });
        answer
    }

    /// Ends every node, then every link.
    pub async fn stop(&self) {
        let lab = Arc::clone(&self.lab);
        off(move || lab.fleet().stop()).await;
        for link in self.links.keys() {
            // One that is closed already is what was wanted.
            let _ = self.backend.close(link);
        }
    }

    fn note(&self, text: String) {
        remember(&self.events, Event { at: self.clock.now(), what: What::Note { text } });
    }
}

/// Every link with what it leads to and where it listens.
fn wanted(
    description: &LabDescription,
    lab: &dyn Lab,
    ports: &BTreeMap<String, u16>,
    names: Option<&NamesServed>,
) -> Vec<(String, String, SocketAddr)> {
    let nodes = lab.fleet().nodes();
    let address = |name: &str| {
        let node = nodes.iter().find(|node| node.name == name);
        node.map(|node| node.address.clone()).unwrap_or_default()
    };
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let hops = description.links.iter().map(|(name, link)| (name.clone(), address(&link.to), at(0)));
    let entries = description.entries.iter();
    let clients =
        entries.map(|entry| (client_link(entry), address(entry), at(ports.get(entry).copied().unwrap_or_default())));
    let named = names.into_iter().flat_map(NamesServed::listens);
    let named = named.map(|(node, listen)| (named_link(node), address(node), listen));
    hops.chain(clients).chain(named).collect()
}

/// The link by which clients use an entry.
fn client_link(entry: &str) -> String {
    format!("client-{entry}")
}

fn remember(events: &Mutex<VecDeque<Event>>, event: Event) {
    let mut events = lock(events);
    events.push_back(event);
    if events.len() > REMEMBERED {
        events.pop_front();
    }
}

/// A node takes a moment to end: never on the runtime.
async fn off<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic, and is not aborted")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
