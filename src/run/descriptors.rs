//! The limit of open descriptors: raised for the harness, and left as it was for what the harness starts.
//!
//! Clients, links and labs of a run share one process: an operation under way may hold four descriptors, and a soft
//! limit of 1,024 would end what the experiment asks for. The hard limit is the machine's word and stays.
//!
//! The kernel's table of them grows by doubling, and in a process of several threads whoever opens the next one waits
//! for a grace period of RCU then: 8 to 20 ms in which a thread of load starts nothing, twice or more in the first
//! seconds of a fault, when time-outs pile up. So the table is made large at once, while there is one thread alone.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// What this process was started with, once that was changed.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// So many descriptors are had without a wait: 10,000 operations under way, and half a MiB of the kernel's memory.
const ROOM: u64 = 65_536;

/// Raises the soft limit to the hard one, and makes room for many; to be called before the first thread starts.
pub fn raise() -> io::Result<()> {
    let given = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..given })?;
    // A second call finds what the first one set.
    let _ = GIVEN.set(given);
    let highest = given.maximum.unwrap_or(ROOM).min(ROOM).saturating_sub(1);
    // The table grows to hold this one, which is closed at once, and never shrinks.
    let at_least = RawFd::try_from(highest).unwrap_or(RawFd::MAX);
    drop(rustix::io::fcntl_dupfd_cloexec(io::stderr().as_fd(), at_least)?);
    Ok(())
}

/// Gives a process of ours the limit that we were given: servers size their tables by it, and what is under test is to
/// behave as it would without us.
pub(super) fn give_back(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let (Some(given), Some(process)) = (GIVEN.get(), process)
        && let Err(error) = prlimit(Some(process), Resource::Nofile, *given)
    {
        tracing::warn!(%error, "what the run starts has a raised limit of descriptors");
    }
}

/// A command that starts with the limit that we were given.
///
/// By a shell, which lowers its own limit and becomes the program: a limit that is set once the program runs may come
/// too late, and our own must not fall for a moment.
pub(super) fn as_given(command: &[String]) -> Vec<String> {
    let Some(soft) = GIVEN.get().and_then(|given| given.current) else { return command.to_vec() };
    let shell = ["sh", "-c", r#"ulimit -Sn "$0"; exec "$@""#].map(str::to_owned);
    shell.into_iter().chain([soft.to_string()]).chain(command.iter().cloned()).collect()
}
