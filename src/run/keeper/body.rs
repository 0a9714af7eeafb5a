//! What `brownout __keeper` does: one thread, one loop.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal as Os, WaitStatus, getpid, getppid, kill_process_group, pidfd_open, pidfd_send_signal,
    set_child_subreaper, setsid,
};
use tokio::time::Instant;

use super::journal::{Journal, Journalled, Record, Undo, host_boot};
use super::kin::{self, Kin, MARK_ENV};
use super::wire::{Answer, Call, Notice, Request, receive, send};
use crate::run::action::act;
use crate::run::allowance::Allowance;
use crate::run::folder;
use crate::system::process::proc::Stat;
use crate::system::process::{Exit, Signal, Started};

/// How often orphans are reaped that nothing else tells of.
const REAP_TICK: Duration = Duration::from_millis(500);

/// An undo may take so long.
const UNDO_WITHIN: Duration = Duration::from_secs(10);

/// A harness that does not let go of an ended lease for so long is hung.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// Keeps until the harness ends; its socket is our stdin. Returns the exit code.
pub fn main() -> u8 {
    match keep() {
        Ok(()) => 0,
        Err(error) => {
            // Its stderr is a file in the run folder's logs.
            tracing::error!(%error, "the keeper failed");
            70
        }
    }
}

fn keep() -> io::Result<()> {
    // A terminal's Ctrl-C reaches its session alone; orphans of ours become our children.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    ignore_requests_to_end()?;
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let Some((Call { id, request: Request::Begin { dir } }, _)) = receive(&socket)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the harness did not begin"));
    };
    let mut keeper = Keeper::begin(dir, socket)?;
    keeper.reply(id, Ok(None));
    keeper.until_the_end();
    keeper.clean_up()
}

/// SIGTERM and its kin end a harness, and its end is ours: until then they mean nothing to us.
fn ignore_requests_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Handlers stay for the life of the process, whatever becomes of the runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _in_runtime = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()] {
        drop(signal(kind)?);
    }
    Ok(())
}

struct Keeper {
    dir: PathBuf,
    socket: OwnedFd,
    harness: OwnedFd,
    me: Started,
    mark: String,
    journal: Journal,
    nodes: BTreeMap<String, Child>,
    leases: BTreeMap<String, Lease>,
}

struct Child {
    process: Started,
    /// Readable once it has ended.
    pidfd: OwnedFd,
    /// Not reaped yet, so that its id and its group's are still its own.
    alive: bool,
}

struct Lease {
    until: Instant,
    undo: Option<Undo>,
    /// The harness was told.
    ended: bool,
}

impl Keeper {
    fn begin(dir: PathBuf, socket: OwnedFd) -> io::Result<Keeper> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the harness is gone");
        let harness = pidfd_open(getppid().ok_or_else(gone)?, PidfdFlags::empty())?;
        let me = started(std::process::id()).ok_or_else(gone)?;
        let mark = format!("{}-{}", me.pid, me.start_time);
        let mut journal = Journal::open(&dir)?;
        journal.write(&Record::Keeper { process: me, mark: mark.clone(), host_boot: host_boot() })?;
        Ok(Keeper { dir, socket, harness, me, mark, journal, nodes: BTreeMap::new(), leases: BTreeMap::new() })
    }

    /// Serves until the harness says so, or ends.
    fn until_the_end(&mut self) {
        loop {
            self.wait();
            self.reap();
            self.end_leases();
            while self.readable() {
                match receive::<Call>(&self.socket) {
                    Ok(Some((Call { request: Request::End, id }, _))) => {
                        // Before the answer: who hears it may rely on it.
                        self.kin().kill();
                        self.reap();
                        self.reply(id, Ok(None));
                        return;
                    }
                    Ok(Some((call, along))) => {
                        let result = self.serve(call.request, along).map_err(|error| error.to_string());
                        self.reply(call.id, result);
                    }
                    Ok(None) => return,
                    // Not to be understood: whoever it is, it is not our harness any more.
                    Err(error) => return tracing::error!(%error, "a message that is none"),
                }
            }
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let next =
            self.leases.values().map(|lease| if lease.ended { lease.until + HUNG_AFTER } else { lease.until }).min();
        let wait = next.map_or(REAP_TICK, |next| next.saturating_duration_since(now).min(REAP_TICK));
        let mut watched = vec![PollFd::new(&self.socket, PollFlags::IN)];
        watched.extend(
            self.nodes.values().filter(|child| child.alive).map(|child| PollFd::new(&child.pidfd, PollFlags::IN)),
        );
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        // Interrupted or not: everything is looked at afterwards.
        let _ = poll(&mut watched, Some(&timeout));
    }

    fn readable(&self) -> bool {
        let mut socket = [PollFd::new(&self.socket, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut socket, Some(&at_once)), Ok(1..))
    }

    fn serve(&mut self, request: Request, along: Option<OwnedFd>) -> io::Result<Option<Started>> {
        match request {
            Request::Start { node, command, env, dir } => self.start(node, &command, env, &dir, along).map(Some),
            Request::Signal { node, signal } => self.signal(&node, signal).map(|()| None),
            Request::Lease { fault, within_ms, undo } => {
                if let Some(undo) = &undo {
                    self.journal.write(&Record::Fault { fault: fault.clone(), undo: undo.clone() })?;
                }
                let until = Instant::now() + Duration::from_millis(within_ms);
                self.leases.insert(fault, Lease { until, undo, ended: false });
                Ok(None)
            }
            Request::Release { fault } => {
                if self.leases.remove(&fault).is_some_and(|lease| lease.undo.is_some() && !lease.ended) {
                    self.journal.write(&Record::Undone { fault })?;
                }
                Ok(None)
            }
            Request::Begin { .. } | Request::End => Ok(None),
        }
    }

    fn start(
        &mut self,
        node: String,
        command: &[String],
        env: Vec<(String, String)>,
        dir: &Path,
        output: Option<OwnedFd>,
    ) -> io::Result<Started> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (Some((program, args)), Some(output)) = (command.split_first(), output) else {
            return Err(invalid("it has no command".to_owned()));
        };
        // It may have ended since the last look: a start right after a kill.
        self.reap();
        if self.nodes.get(&node).is_some_and(|child| child.alive) {
            return Err(invalid("it runs already".to_owned()));
        }
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(env)
            .env(MARK_ENV, format!("{}/{node}", self.mark))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("`{program}`: {error}")))?;
        // Nobody reaps it before us: its id is its own, even if it has ended already.
        let pid = child.id();
        let process = started(pid).ok_or_else(|| invalid(format!("`{program}` cannot be seen in /proc")))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        self.journal.write(&Record::Process { node: node.clone(), process })?;
        self.nodes.insert(node, Child { process, pidfd, alive: true });
        Ok(process)
    }

    /// The group at once, then whoever left it.
    fn signal(&mut self, node: &str, signal: Signal) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "nothing runs for it");
        let child = self.nodes.get(node).ok_or_else(unknown)?;
        let leader = child.alive.then_some(child.process);
        let os = os_signal(signal);
        if let Some(group) = leader.and_then(|leader| Pid::from_raw(leader.pid as i32)) {
            kill_process_group(group, os)?;
        }
        // A server is asked to end through its leader, which knows how to end the others.
        if !matches!(signal, Signal::Kill | Signal::Stop | Signal::Cont) {
            return Ok(());
        }
        let mark = format!("{}/{node}", self.mark);
        let done = |stat: &Stat| match signal {
            Signal::Stop => stat.state == 'T',
            Signal::Cont => stat.state != 'T',
            _ => !stat.alive(),
        };
        // Those that were being forked meanwhile are found by the next pass.
        for _ in 0..50 {
            let missed: Vec<Stat> = kin::of_node(&mark, leader).into_iter().filter(|stat| !done(stat)).collect();
            if missed.is_empty() {
                break;
            }
            missed.iter().for_each(|stat| kin::signal(stat, os));
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        kin::reap(&mut |pid, status| ended.push((pid, status)));
        for (pid, status) in ended {
            let Some(child) = self.nodes.values_mut().find(|child| child.alive && child.process.pid == pid) else {
                continue;
            };
            child.alive = false;
            self.notice(Notice::Exited { pid, exit: exit_of(status) });
        }
    }

    fn end_leases(&mut self) {
        let now = Instant::now();
        if self.leases.values().any(|lease| lease.ended && now >= lease.until + HUNG_AFTER) {
            tracing::error!("the harness holds on to a fault whose lease has ended; it is killed");
            let _ = pidfd_send_signal(&self.harness, Os::KILL);
            // Once is enough: its end of the socket closes next, and what it held is undone then.
            self.leases.retain(|_, lease| !lease.ended);
        }
        let ended: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, lease)| !lease.ended && now >= lease.until)
            .map(|(fault, _)| fault.clone())
            .collect();
        for fault in ended {
            let undo = self.leases.get_mut(&fault).and_then(|lease| {
                lease.ended = true;
                lease.undo.clone()
            });
            let undone = undo.map(|undo| self.undo(&fault, &undo));
            self.notice(Notice::LeaseEnded { fault, undone });
        }
    }

    fn undo(&mut self, fault: &str, undo: &Undo) -> String {
        let (ok, said) = perform(undo);
        if ok && let Err(error) = self.journal.write(&Record::Undone { fault: fault.to_owned() }) {
            tracing::error!(fault, %error, "undone, but the journal does not say so");
        }
        said
    }

    /// The harness is gone, or wants us gone: nothing stays behind.
    fn clean_up(mut self) -> io::Result<()> {
        // Best effort: `heal` waits for us if it can be had, and does no harm if it cannot.
        let _lock: Option<File> = folder::lock(&self.dir).ok();
        let (_, left) = self.kin().kill();
        let faults = Journalled::read(&self.dir)?.unwrap_or_default().faults;
        let mut failed = Vec::new();
        for (fault, undo) in &faults {
            let (ok, said) = perform(undo);
            if ok {
                self.journal.write(&Record::Undone { fault: fault.clone() })?;
            } else {
                failed.push(format!("{fault} is not undone: {said}"));
            }
        }
        if left.is_empty() && failed.is_empty() {
            return self.journal.remove();
        }
        // The journal stays: `brownout heal` tries again.
        Err(io::Error::other(format!("left: processes {left:?}; {}", failed.join("; "))))
    }

    fn kin(&self) -> Kin {
        let leaders = self.nodes.values().map(|child| child.process).collect();
        Kin { keeper: self.me, mark: self.mark.clone(), leaders }
    }

    fn reply(&self, id: u64, result: Result<Option<Started>, String>) {
        self.tell(&Answer::Reply { id, result });
    }

    fn notice(&self, notice: Notice) {
        self.tell(&Answer::Notice(notice));
    }

    fn tell(&self, answer: &Answer) {
        // A harness that does not listen has ended, which the next read shows.
        let _ = send(&self.socket, answer, None);
    }
}

/// Does what undoes a fault.
pub(super) fn perform(undo: &Undo) -> (bool, String) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return (false, error.to_string()),
    };
    let allowance = Allowance::new(&undo.allow, true);
    let (done, said) = runtime.block_on(act(&undo.action, UNDO_WITHIN, allowance.permit()));
    let gone = undo.gone_is_done && said.starts_with("404 ");
    (done || gone, said)
}

fn started(pid: u32) -> Option<Started> {
    Stat::of(pid).map(|stat| Started { pid, start_time: stat.start_time })
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Exit::Status(status),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

const fn os_signal(signal: Signal) -> Os {
    match signal {
        Signal::Kill => Os::KILL,
        Signal::Stop => Os::STOP,
        Signal::Cont => Os::CONT,
        Signal::Term => Os::TERM,
        Signal::Int => Os::INT,
        Signal::Quit => Os::QUIT,
        Signal::Hup => Os::HUP,
    }
}
