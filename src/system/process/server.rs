//! One node that is a process: started, waited for, and whatever a fault does to it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::log::{Conceal, Log, LogSink};
use super::prepare::Prepared;
use super::proc;
use super::supervisor::{Launch, Signal, Started, Supervisor, SupervisorError};
use crate::event::What;
use crate::plan::system::{Probe, Process, ReadyWhen, Value};
use crate::system::port::Port;
use crate::system::{NodeAct, NodeState, SystemError, Teller, probe};

/// How often readiness is looked at.
const READY_TICK: Duration = Duration::from_millis(20);

/// SIGKILL ends a process at once, but for one that hangs in the kernel.
const KILL_WITHIN: Duration = Duration::from_secs(5);

/// Reads a value, secrets too; the error says which secret cannot be read.
pub type Reveal = Arc<dyn Fn(&Value) -> Result<String, String> + Send + Sync>;

/// What a server is made from.
#[derive(Clone)]
pub struct ServerSpec {
    /// The node's name.
    pub name: String,
    /// As planned.
    pub process: Process,
    /// A folder of its own, made at its first start.
    pub dir: PathBuf,
    /// Where its output is kept.
    pub log_file: PathBuf,
    /// Who starts it.
    pub supervisor: Arc<dyn Supervisor>,
    /// Where events go.
    pub teller: Teller,
    /// Applied to each line of its output.
    pub conceal: Conceal,
    /// Reads its environment's values.
    pub reveal: Reveal,
}

/// A node that is a process.
pub struct Server {
    spec: ServerSpec,
    address: Option<SocketAddr>,
    /// Ours until its first start, so that no two nodes are given the same one.
    port: Mutex<Option<Port>>,
    running: Mutex<Running>,
}

struct Running {
    state: NodeState,
    incarnation: u64,
    process: Option<Started>,
    log: Option<Arc<Log>>,
    /// When it is ready, filled in at its last start.
    ready: ReadyWhen,
}

/// What is known of links and nodes, for `${…}`.
pub type Known<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

impl Server {
    /// Picks its port if it listens; starts nothing.
    pub fn bind(spec: ServerSpec) -> Result<Server, SystemError> {
        let bind = |source| SystemError::Bind {
            node: spec.name.clone(),
            listen: spec.process.listen.clone().unwrap_or_default(),
            source,
        };
        let port = match &spec.process.listen {
            Some(listen) => Some(reserve(listen).map_err(bind)?),
            None => None,
        };
        let ready = spec.process.ready.when.clone();
        let running = Running { state: NodeState::Stopped, incarnation: 0, process: None, log: None, ready };
        let address = port.as_ref().map(Port::address);
        Ok(Server { spec, address, port: Mutex::new(port), running: Mutex::new(running) })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Its state, and how often it was started.
    pub fn now(&self) -> (NodeState, u64) {
        let running = self.running();
        (running.state, running.incarnation)
    }

    /// Starts it; `known` fills addresses in. Does not wait until it is ready.
    pub fn start(self: &Arc<Server>, known: Known<'_>) -> Result<(), SystemError> {
        let node = || self.spec.name.clone();
        let prepare = |source| SystemError::Prepare { node: node(), source };
        let launch = |reason: String| SystemError::Launch { node: node(), reason };
        let (reads, writes) = io::pipe().map_err(prepare)?;
        let Prepared { command, env, ready } = Prepared::of(&self.spec, known)?;
        let command = Launch { node: node(), command, env, dir: self.spec.dir.clone(), output: writes.into() };
        let file = File::options().create(true).append(true).open(&self.spec.log_file).map_err(prepare)?;
        drop(self.port.lock().unwrap_or_else(PoisonError::into_inner).take());
        let started = self.spec.supervisor.start(command).map_err(|error| launch(error.to_string()))?;
        let log = Log::follow(reads.into(), file, self.log_sink(&ready)).map_err(prepare)?;
        {
            let mut running = self.running();
            running.incarnation += 1;
            (running.process, running.log) = (Some(started), Some(Arc::clone(&log)));
            running.ready = ready;
        }
        self.set_state(NodeState::Starting);
        self.watch(started, log);
        Ok(())
    }

    /// Waits until it is ready; an early death or a time-out is an error with its last lines.
    pub async fn wait_ready(&self) -> Result<(), SystemError> {
        let (process, log, when) = {
            let running = self.running();
            (running.process, running.log.clone(), running.ready.clone())
        };
        let (Some(process), Some(log)) = (process, log) else { return Ok(()) };
        let within = self.spec.process.ready.within.0;
        let ready = async {
            tokio::select! {
                ready = self.ready(&when, &log) => ready,
                died = self.died(process) => Err(died),
            }
        };
        let failed = |how| SystemError::NotReady {
            node: self.spec.name.clone(),
            how,
            last_lines: last_lines(&log.last_lines()),
        };
        match timeout(within, ready).await {
            Ok(Ok(())) => {
                self.set_state(NodeState::Ready);
                Ok(())
            }
            Ok(Err(how)) => {
                log.settle().await;
                Err(failed(how))
            }
            Err(_) => {
                Err(failed(format!("was not ready within {}: {}", self.spec.process.ready.within, self.awaited(&when))))
            }
        }
    }

    /// Does something to it. A kill or stop returns when it is gone, a pause when it stands still.
    pub async fn apply(self: &Arc<Server>, act: NodeAct, known: Known<'_>) -> Result<(), SystemError> {
        match act {
            NodeAct::Kill => self.end(None, NodeState::Gone).await,
            NodeAct::Stop => self.stop().await,
            NodeAct::Restart => {
                self.stop().await?;
                self.start_again(known)
            }
            NodeAct::Pause => {
                self.signal(Signal::Stop)?;
                self.until(KILL_WITHIN, "does not stand still", |stat| stat.is_none_or(|stat| stat.state == 'T'))
                    .await?;
                self.set_state(NodeState::Paused);
                Ok(())
            }
        }
    }

    /// Takes back what [`apply`](Self::apply) did. A start is not waited for: an event tells when it is ready.
    pub fn heal(self: &Arc<Server>, act: NodeAct, known: Known<'_>) -> Result<(), SystemError> {
        match act {
            NodeAct::Restart => Ok(()),
            NodeAct::Kill | NodeAct::Stop => self.start_again(known),
            NodeAct::Pause => {
                if self.now().0 == NodeState::Paused {
                    self.signal(Signal::Cont)?;
                    self.set_state(NodeState::Ready);
                }
                Ok(())
            }
        }
    }

    /// Asks it to end, and kills it if it does not in time.
    pub async fn stop(&self) -> Result<(), SystemError> {
        let signal = Signal::named(&self.spec.process.stop.signal).unwrap_or(Signal::Term);
        self.end(Some(signal), NodeState::Stopped).await
    }

    /// What `/proc` says of it: `gone`, or the letter of its state (`T` is stopped).
    pub fn read_back(&self) -> String {
        self.stat().map_or_else(|| "gone".to_owned(), |stat| stat.state.to_string())
    }

    fn start_again(self: &Arc<Server>, known: Known<'_>) -> Result<(), SystemError> {
        if self.stat().is_some() {
            return Ok(());
        }
        self.start(known)?;
        let server = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = server.wait_ready().await {
                server.spec.teller.tell(What::Note { text: error.to_string() });
            }
        });
        Ok(())
    }

    async fn end(&self, ask: Option<Signal>, state: NodeState) -> Result<(), SystemError> {
        if self.stat().is_none() {
            self.set_state(state);
            return Ok(());
        }
        // Set first: a death is not unexpected from here on.
        self.running().state = state;
        let gone = |stat: Option<proc::Stat>| stat.is_none();
        if let Some(ask) = ask {
            // A process that stands still hears no request to end.
            self.signal(Signal::Cont)?;
            self.signal(ask)?;
            let within = self.spec.process.stop.within.0;
            if self.until(within, "", gone).await.is_err() {
                let text = format!("{} did not end within {}; killed", self.spec.name, self.spec.process.stop.within);
                self.spec.teller.tell(What::Note { text });
            }
        }
        // Whatever its own end left behind goes too.
        self.signal(Signal::Kill)?;
        self.until(KILL_WITHIN, "does not end", gone).await?;
        self.set_state(state);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), SystemError> {
        match self.spec.supervisor.signal(&self.spec.name, signal) {
            // Gone already: so be it.
            Ok(()) | Err(SupervisorError::Unknown(_)) => Ok(()),
            Err(error) => Err(SystemError::Launch { node: self.spec.name.clone(), reason: error.to_string() }),
        }
    }

    async fn until(
        &self,
        within: Duration,
        what: &'static str,
        holds: impl Fn(Option<proc::Stat>) -> bool,
    ) -> Result<(), SystemError> {
        let reached = async {
            while !holds(self.stat()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let late = |_| SystemError::Disobeys { node: self.spec.name.clone(), what };
        timeout(within, reached).await.map_err(late)
    }

    /// Its leader, if it is alive.
    fn stat(&self) -> Option<proc::Stat> {
        let process = self.running().process?;
        proc::same(process.pid, process.start_time).filter(proc::Stat::alive)
    }

    fn log_sink(&self, ready: &ReadyWhen) -> LogSink {
        LogSink {
            node: self.spec.name.as_str().into(),
            teller: self.spec.teller.clone(),
            conceal: Arc::clone(&self.spec.conceal),
            milestones: self.spec.process.log_milestones.clone().into(),
            ready_text: match ready {
                ReadyWhen::Log(text) => Some(text.as_str().into()),
                _ => None,
            },
        }
    }

    async fn ready(&self, when: &ReadyWhen, log: &Log) -> Result<(), String> {
        let probe = match when {
            ReadyWhen::Log(_) => {
                log.ready().await;
                return Ok(());
            }
            ReadyWhen::Listening => Probe::Tcp,
            ReadyWhen::Http(path) => Probe::Http(path.clone()),
        };
        let Some(address) = self.address else {
            return Err("has no `listen` address to be ready at".to_owned());
        };
        while probe::ask(&address.to_string(), &probe, Duration::from_secs(1)).await.is_err() {
            sleep(READY_TICK).await;
        }
        Ok(())
    }

    /// What it was waited for, in words.
    fn awaited(&self, when: &ReadyWhen) -> String {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        match when {
            ReadyWhen::Listening => format!("nothing accepts connections at {address}"),
            ReadyWhen::Http(path) => format!("http://{address}{path} does not answer 2xx or 3xx"),
            ReadyWhen::Log(text) => format!("its output does not contain `{text}`"),
        }
    }

    /// Returns how it died, when it does.
    async fn died(&self, process: Started) -> String {
        // An error means that no thread could be started: then nobody knows, and it counts as alive.
        if ended(process).wait_for(|ended| *ended).await.is_err() {
            std::future::pending::<()>().await;
        }
        // The supervisor learns it at the same moment; a little later it can say how.
        for _ in 0..100 {
            if let Some(exit) = self.spec.supervisor.exit_of(process.pid) {
                return exit.to_string();
            }
            sleep(Duration::from_millis(5)).await;
        }
        "ended".to_owned()
    }

    /// Tells when it dies although nobody wanted it to.
    fn watch(self: &Arc<Server>, process: Started, log: Arc<Log>) {
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let how = server.died(process).await;
            let wanted = {
                let running = server.running();
                running.process != Some(process) || matches!(running.state, NodeState::Gone | NodeState::Stopped)
            };
            if !wanted {
                let at = server.spec.teller.now();
                server.set_state(NodeState::Gone);
                log.settle().await;
                let (node, last_lines) = (server.spec.name.clone(), log.last_lines());
                server.spec.teller.tell_at(at, What::NodeEnded { node, how, last_lines });
            }
        });
    }

    fn set_state(&self, state: NodeState) {
        let incarnation = {
            let mut running = self.running();
            running.state = state;
            running.incarnation
        };
        let (node, state) = (self.spec.name.clone(), state.name().to_owned());
        self.spec.teller.tell(What::Node { node, incarnation, state, role: None });
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns true when the process has ended, watched by a thread of its own: its end is known at once.
fn ended(process: Started) -> watch::Receiver<bool> {
    let (ended, told) = watch::channel(false);
    let wait = move || {
        let pidfd = Pid::from_raw(process.pid as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // The id may be somebody else's by now.
        if let Some(pidfd) = pidfd.filter(|_| proc::same(process.pid, process.start_time).is_some()) {
            let mut wait = [PollFd::new(&pidfd, PollFlags::IN)];
            while poll(&mut wait, None) == Err(Errno::INTR) {}
        }
        ended.send_replace(true);
    };
    if let Err(error) = std::thread::Builder::new().name(format!("end of {}", process.pid)).spawn(wait) {
        tracing::warn!(pid = process.pid, %error, "nobody watches this process");
    }
    told
}

/// The port that it is to listen on; one that is taken is better learnt now than from the server's own words.
fn reserve(listen: &str) -> io::Result<Port> {
    let wanted = listen.parse().map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("`{listen}` is no address such as `127.0.0.1:0`"))
    })?;
    Port::reserve_at(wanted)
}

/// Last lines as they follow a message.
fn last_lines(lines: &[String]) -> String {
    match lines {
        [] => "; it wrote nothing".to_owned(),
        _ => format!("; its last lines:\n    {}", lines.join("\n    ")),
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.spec.name).field("address", &self.address).finish_non_exhaustive()
    }
}
