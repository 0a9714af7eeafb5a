//! A system of the user's own: processes that the run starts, and endpoints that it finds.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::sleep;

use super::process::log::Conceal;
use super::process::server::Reveal;
use super::process::{Server, ServerSpec, Supervisor};
use super::{LinkAddresses, NodeAct, NodeInfo, NodeState, SystemError, Teller, known, probe};
use crate::plan::Endpoint;
use crate::plan::system::{Node, NodeKind, Probe};

/// What a system needs of the run around it.
#[derive(Clone)]
pub struct Surroundings {
    /// Where events go.
    pub teller: Teller,
    /// The run's folder: processes get theirs in `nodes/NAME`, their output goes to `logs/NAME.log`.
    pub dir: PathBuf,
    /// Who starts processes.
    pub supervisor: Arc<dyn Supervisor>,
    /// Replaces the values of secrets by their names.
    pub conceal: Conceal,
    /// Reads a value, secrets too.
    pub reveal: Reveal,
}

/// Processes and endpoints, by name.
#[derive(Debug)]
pub struct Nodes {
    members: IndexMap<String, Member>,
    links: Mutex<LinkAddresses>,
    /// The run's folder.
    dir: PathBuf,
}

#[derive(Debug)]
struct Member {
    plan: Node,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Endpoint(Endpoint),
    Server(Arc<Server>),
}

/// An endpoint is asked so often before it counts as not there.
const ENDPOINT_TRIES: u32 = 3;

/// So long each time.
const ENDPOINT_WITHIN: Duration = Duration::from_secs(2);

impl Nodes {
    /// Picks every port; starts nothing.
    pub fn bind(nodes: &IndexMap<String, Node>, around: Surroundings) -> Result<Nodes, SystemError> {
        // Processes start in folders of their own: a path of ours must mean the same from there.
        let prepare = |source| SystemError::Prepare { node: "all".to_owned(), source };
        let dir = std::path::absolute(&around.dir).map_err(prepare)?;
        std::fs::create_dir_all(dir.join("logs")).map_err(prepare)?;
        let mut members = IndexMap::new();
        for (name, plan) in nodes {
            let kind = match &plan.kind {
                NodeKind::Endpoint(endpoint) => Kind::Endpoint(endpoint.clone()),
                NodeKind::Process(process) => Kind::Server(Arc::new(Server::bind(ServerSpec {
                    name: name.clone(),
                    process: (**process).clone(),
                    dir: dir.join("nodes").join(name),
                    log_file: dir.join("logs").join(format!("{name}.log")),
                    supervisor: Arc::clone(&around.supervisor),
                    teller: around.teller.clone(),
                    conceal: Arc::clone(&around.conceal),
                    reveal: Arc::clone(&around.reveal),
                })?)),
            };
            members.insert(name.clone(), Member { plan: plan.clone(), kind });
        }
        Ok(Nodes { members, links: Mutex::default(), dir })
    }

    /// Starts each process in order, each once the one before is ready.
    pub async fn start(&self, links: &LinkAddresses) -> Result<(), SystemError> {
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = links.clone();
        for server in self.servers() {
            server.start(&|name| self.known(name))?;
            server.wait_ready().await?;
        }
        Ok(())
    }

    /// Asks every endpoint whether it is there.
    pub async fn reach_endpoints(&self) -> Result<(), SystemError> {
        for (name, member) in &self.members {
            if let Kind::Endpoint(endpoint) = &member.kind {
                reach(name, endpoint, member.plan.probe.as_ref().unwrap_or(&Probe::Tcp)).await?;
            }
        }
        Ok(())
    }

    /// Every node as it is now.
    pub fn infos(&self) -> Vec<NodeInfo> {
        let info = |(name, member): (&String, &Member)| {
            let (address, state, incarnation) = match &member.kind {
                Kind::Endpoint(endpoint) => (endpoint.address(), NodeState::Ready, 1),
                Kind::Server(server) => {
                    let (state, incarnation) = server.now();
                    (server.address().map(|address| address.to_string()).unwrap_or_default(), state, incarnation)
                }
            };
            let labels = member.plan.labels.clone();
            let there = !matches!(state, NodeState::Gone | NodeState::Stopped);
            // Nobody tells us the role now: it is the one that the experiment gives, while the node is there.
            let role = labels.get("role").filter(|_| there).cloned();
            NodeInfo { name: name.clone(), labels, address, incarnation, role, state }
        };
        self.members.iter().map(info).collect()
    }

    /// Does something to a process.
    pub async fn apply(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        self.server(node, act)?.apply(act, &|name| self.known(name)).await
    }

    /// Takes it back.
    pub fn heal(&self, node: &str, act: NodeAct) -> Result<(), SystemError> {
        self.server(node, act)?.heal(act, &|name| self.known(name))
    }

    /// What `/proc` says of a process.
    pub fn read_back(&self, node: &str) -> String {
        match self.members.get(node).map(|member| &member.kind) {
            Some(Kind::Server(server)) => server.read_back(),
            Some(Kind::Endpoint(_)) => "endpoint".to_owned(),
            None => "unknown".to_owned(),
        }
    }

    /// The nodes that can be asked: those with a probe of their own, else all that have an address.
    pub fn probed(&self) -> Vec<String> {
        let own: Vec<String> = self.names(|member| member.plan.probe.is_some());
        let listens = |member: &Member| match &member.kind {
            Kind::Endpoint(_) => true,
            Kind::Server(server) => server.address().is_some(),
        };
        if own.is_empty() { self.names(listens) } else { own }
    }

    /// Asks a node directly.
    pub async fn probe(&self, node: &str, within: Duration) -> bool {
        let Some(member) = self.members.get(node) else { return false };
        let probe = member.plan.probe.as_ref().unwrap_or(&Probe::Tcp);
        match &member.kind {
            Kind::Endpoint(endpoint) => probe::ask_endpoint(endpoint, probe, within).await.is_ok(),
            Kind::Server(server) => {
                let address = server.address().map(|address| address.to_string()).unwrap_or_default();
                probe::ask(&address, probe, within).await.is_ok()
            }
        }
    }

    /// Stops every process, the last started first; goes on past the first that does not obey.
    pub async fn stop(&self) -> Result<(), SystemError> {
        let mut outcome = Ok(());
        for server in self.servers().collect::<Vec<_>>().into_iter().rev() {
            outcome = outcome.and(server.stop().await);
        }
        outcome
    }

    fn names(&self, wanted: impl Fn(&Member) -> bool) -> Vec<String> {
        self.members.iter().filter(|(_, member)| wanted(member)).map(|(name, _)| name.clone()).collect()
    }

    fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.members.values().filter_map(|member| match &member.kind {
            Kind::Server(server) => Some(server),
            Kind::Endpoint(_) => None,
        })
    }

    fn server(&self, node: &str, act: NodeAct) -> Result<&Arc<Server>, SystemError> {
        match self.members.get(node).map(|member| &member.kind) {
            Some(Kind::Server(server)) => Ok(server),
            Some(Kind::Endpoint(_)) => Err(SystemError::NotOurs { node: node.to_owned(), act: act.name() }),
            None => Err(SystemError::UnknownNode { node: node.to_owned() }),
        }
    }

    fn known(&self, name: &str) -> Option<String> {
        known(name, &self.links.lock().unwrap_or_else(PoisonError::into_inner), &self.infos(), &self.dir)
    }
}

async fn reach(node: &str, endpoint: &Endpoint, probe: &Probe) -> Result<(), SystemError> {
    let mut tries = 1;
    loop {
        let why = match probe::ask_endpoint(endpoint, probe, ENDPOINT_WITHIN).await {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if tries == ENDPOINT_TRIES {
            // What a probe by TCP says, says also what was tried.
            let why = match probe {
                Probe::Tcp => why.to_string(),
                Probe::Http(path) => format!("GET {}: {why}", endpoint.path_of(path)),
            };
            return Err(SystemError::Unreachable { node: node.to_owned(), address: endpoint.address(), why });
        }
        tries += 1;
        sleep(Duration::from_millis(300)).await;
    }
}
