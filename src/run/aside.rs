//! What may block is done beside the conductor, whose thread keeps the schedule and carries the probes.

use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

/// Does it on a thread of its own and waits for it; meanwhile the runtime goes on.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    came_of(spawn_blocking(work).await)
}

/// What a piece of work came to; its panic goes on here.
pub(super) fn came_of<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => unreachable!("nobody breaks it off: {error}"),
    })
}

/// Work that both waits and blocks, for a thread of its own; what it spawns lives in this runtime.
pub(super) fn in_turn<T>(work: impl AsyncFnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static {
    let runtime = Handle::current();
    move || runtime.block_on(work())
}
