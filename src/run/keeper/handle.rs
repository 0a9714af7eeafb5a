//! The harness's end: calls, answers, and what the keeper tells unasked.
//!
//! A call that waits for its answer blocks, for as long as the keeper takes. What need not be waited for is posted: the
//! socket keeps the order of messages, and hands them over even if we have ended meanwhile.

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

use tokio::time::Instant;

use super::journal::Undo;
use super::wire::{Answer, Call, Notice, Request, pair, post, receive, send};
use crate::run::descriptors;
use crate::system::process::{Exit, Launch, Signal, Started, Supervisor, SupervisorError};

/// The keeper answers in well under a millisecond, but for killing and undoing. One that does not by then is lost.
pub(in crate::run) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

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

/// A call that has no answer yet.
struct Waiting {
    since: Instant,
    /// Who waits for it; none: it was posted.
    answer: Option<SyncSender<Answered>>,
}

struct Shared {
    socket: OwnedFd,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
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

    /// A fault is about to be injected that goes when we do: it may last so long. Posted.
    pub fn lease(&self, fault: &str, within: Duration) -> Result<(), KeeperError> {
        self.shared.post(lease(fault, within, None))
    }

    /// A fault is about to be injected that outlives us: it may last so long, and is undone so. Returns when that is in
    /// the journal.
    pub fn lease_journalled(&self, fault: &str, within: Duration, undo: Undo) -> Result<(), KeeperError> {
        self.shared.call(lease(fault, within, Some(undo)), None).map(drop)
    }

    /// The fault is healed, or will not be injected. Posted.
    pub fn release(&self, fault: &str) -> Result<(), KeeperError> {
        self.shared.post(Request::Release { fault: fault.to_owned() })
    }

    /// How long the keeper has owed an answer.
    pub fn silent_for(&self) -> Duration {
        let oldest = lock(&self.shared.waiting).values().map(|waiting| waiting.since).min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Ends every process that is left, and the keeper. Returns when it is gone; an error means that `heal` has work.
    pub fn end(&self) -> Result<(), KeeperError> {
        self.shared.over.store(true, Ordering::Relaxed);
        let ended = self.shared.call(Request::End, None).map(drop);
        let child = lock(&self.child).take().map(|mut child| {
            if matches!(ended, Err(KeeperError::Lost)) {
                // It would never end. What it had to do is in its journal.
                let _ = child.kill();
            }
            child.wait()
        });
        match child {
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
        lock(&self.waiting).insert(id, Waiting { since: Instant::now(), answer: Some(answer) });
        let sent = send(&self.socket, &Call { id, request }, along.map(AsFd::as_fd));
        let result = match sent {
            Ok(()) => answered.recv_timeout(ANSWER_WITHIN).map_err(|_| KeeperError::Lost),
            Err(error) => Err(unsent(&error)),
        };
        lock(&self.waiting).remove(&id);
        result?.map_err(KeeperError::Refused)
    }

    fn post(&self, request: Request) -> Result<(), KeeperError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(id, Waiting { since: Instant::now(), answer: None });
        post(&self.socket, &Call { id, request }).map_err(|error| {
            lock(&self.waiting).remove(&id);
            unsent(&error)
        })
    }

    fn listen(&self, told: impl Fn(Notice)) {
        while let Ok(Some((answer, _))) = receive::<Answer>(&self.socket) {
            match answer {
                Answer::Reply { id, result } => {
                    match lock(&self.waiting).remove(&id).map(|waiting| waiting.answer) {
                        Some(Some(answer)) => drop(answer.try_send(result)),
                        Some(None) => {
                            if let Err(error) = result {
                                tracing::warn!(error, "the keeper could not do what it was told");
                            }
                        }
                        // Nobody waits any more: then nobody needs it.
                        None => {}
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

fn lease(fault: &str, within: Duration, undo: Option<Undo>) -> Request {
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    Request::Lease { fault: fault.to_owned(), within_ms, undo }
}

fn unsent(error: &io::Error) -> KeeperError {
    match error.kind() {
        io::ErrorKind::InvalidInput => KeeperError::Refused(error.to_string()),
        _ => KeeperError::Lost,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
