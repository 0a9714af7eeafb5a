//! The harness's end: calls, answers, and what the keeper tells unasked.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::journal::Undo;
use super::wire::{Answer, Call, Notice, Request, pair, receive, send};
use crate::run::descriptors;
use crate::system::process::{Exit, Launch, Signal, Started, Supervisor, SupervisorError};

/// The keeper answers in well under a millisecond, but for killing and undoing.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The keeper does not start, or is gone.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It cannot be started.
    #[error("the keeper does not start: {0}")]
    Start(io::Error),
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// It is gone, or does not answer.
    #[error("the keeper is lost")]
    Lost,
}

/// A running keeper. It ends, and everything that it started with it, when this is dropped or its process ends.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    child: Mutex<Option<Child>>,
    pid: u32,
}

/// What came of a call; an error in words.
type Answered = Result<Option<Started>, String>;

struct Shared {
    socket: OwnedFd,
    next: AtomicU64,
    /// Who waits for which answer.
    waiting: Mutex<HashMap<u64, SyncSender<Answered>>>,
    exits: Mutex<HashMap<u32, Exit>>,
    /// An end of the keeper is wanted, or was seen.
    over: AtomicBool,
}

impl Keeper {
    /// The command that starts a keeper: this program, once more.
    pub fn command() -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("__keeper");
        command
    }

    /// Starts one; its journal and log go into `dir`. `told` hears what it tells unasked; it must not block.
    pub fn start(
        mut command: Command,
        dir: &Path,
        told: impl Fn(Notice) + Send + 'static,
    ) -> Result<Keeper, KeeperError> {
        let dir = std::path::absolute(dir).map_err(KeeperError::Start)?;
        std::fs::create_dir_all(dir.join("logs")).map_err(KeeperError::Start)?;
        let log =
            File::options().create(true).append(true).open(dir.join("logs/keeper.log")).map_err(KeeperError::Start)?;
        let (ours, theirs) = pair().map_err(KeeperError::Start)?;
        let child = command.stdin(theirs).stdout(Stdio::null()).stderr(log).spawn().map_err(KeeperError::Start)?;
        // It starts nothing before it is told to begin.
        descriptors::give_back(child.id());
        // The command holds the other end until it is dropped; ours must be the only one besides the keeper's.
        drop(command);
        let shared = Arc::new(Shared {
            socket: ours,
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
            exits: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let listening = Arc::clone(&shared);
        let listener = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || listening.listen(told));
        let pid = child.id();
        let keeper = Keeper { shared, child: Mutex::new(Some(child)), pid };
        listener.map_err(KeeperError::Start)?;
        keeper.shared.call(Request::Begin { dir }, None)?;
        Ok(keeper)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A fault is about to be injected: it may last so long, and is undone so. A second lease replaces the first.
    pub fn lease(&self, fault: &str, within: Duration, undo: Option<Undo>) -> Result<(), KeeperError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.shared.call(Request::Lease { fault: fault.to_owned(), within_ms, undo }, None).map(drop)
    }

    /// The fault is healed.
    pub fn release(&self, fault: &str) -> Result<(), KeeperError> {
        self.shared.call(Request::Release { fault: fault.to_owned() }, None).map(drop)
    }

    /// Ends every process that is left, and the keeper. Returns when it is gone; an error means that `heal` has work.
    pub fn end(&self) -> Result<(), KeeperError> {
        self.shared.over.store(true, Ordering::Relaxed);
        let ended = self.shared.call(Request::End, None).map(drop);
        match lock(&self.child).take().map(|mut child| child.wait()) {
            Some(Ok(status)) if !status.success() => {
                Err(KeeperError::Refused(format!("the keeper left something behind ({status}); see logs/keeper.log")))
            }
            Some(Err(error)) => Err(KeeperError::Refused(error.to_string())),
            _ => ended,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if lock(&self.child).is_some()
            && let Err(error) = self.end()
        {
            tracing::error!(%error, "the keeper did not end well");
        }
    }
}

impl Supervisor for Keeper {
    fn start(&self, launch: Launch) -> Result<Started, SupervisorError> {
        let Launch { node, command, env, dir, output } = launch;
        match self.shared.call(Request::Start { node, command, env, dir }, Some(&output)) {
            Ok(Some(started)) => Ok(started),
            Ok(None) | Err(KeeperError::Lost) => Err(SupervisorError::Lost),
            Err(error) => Err(SupervisorError::Start(error.to_string())),
        }
    }

    fn signal(&self, node: &str, signal: Signal) -> Result<(), SupervisorError> {
        match self.shared.call(Request::Signal { node: node.to_owned(), signal }, None) {
            Ok(_) => Ok(()),
            Err(KeeperError::Refused(_)) => Err(SupervisorError::Unknown(node.to_owned())),
            Err(_) => Err(SupervisorError::Lost),
        }
    }

    fn exit_of(&self, pid: u32) -> Option<Exit> {
        lock(&self.shared.exits).get(&pid).copied()
    }
}

impl Shared {
    fn call(&self, request: Request, along: Option<&OwnedFd>) -> Result<Option<Started>, KeeperError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = sync_channel(1);
        lock(&self.waiting).insert(id, answer);
        let sent = send(&self.socket, &Call { id, request }, along.map(AsFd::as_fd));
        let result = match sent {
            Ok(()) => answered.recv_timeout(ANSWER_WITHIN).map_err(|_| KeeperError::Lost),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(KeeperError::Refused(error.to_string())),
            Err(_) => Err(KeeperError::Lost),
        };
        lock(&self.waiting).remove(&id);
        result?.map_err(KeeperError::Refused)
    }

    fn listen(&self, told: impl Fn(Notice)) {
        while let Ok(Some((answer, _))) = receive::<Answer>(&self.socket) {
            match answer {
                Answer::Reply { id, result } => {
                    if let Some(waiting) = lock(&self.waiting).remove(&id) {
                        // Nobody waits any more: then nobody needs it.
                        let _ = waiting.try_send(result);
                    }
                }
                Answer::Notice(notice) => {
                    if let Notice::Exited { pid, exit } = notice {
                        lock(&self.exits).insert(pid, exit);
                    }
                    told(notice);
                }
            }
        }
        // Whoever waits for an answer waits in vain.
        lock(&self.waiting).clear();
        if !self.over.swap(true, Ordering::Relaxed) {
            told(Notice::Lost);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
