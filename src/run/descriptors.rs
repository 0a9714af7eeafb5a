//! The limit of open descriptors: raised for the harness, and left as it was for what the harness starts.
//!
//! Clients, links and labs of a run share one process: an operation under way may hold four descriptors, and a soft
//! limit of 1,024 would end what the experiment asks for. The hard limit is the machine's word and stays.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// What this process was started with, once that was changed.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one.
pub fn raise() -> io::Result<()> {
    let given = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..given })?;
    // A second call finds what the first one set.
    let _ = GIVEN.set(given);
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
