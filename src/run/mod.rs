//! A run: the conductor takes a plan through its phases and heals everything on every way out.
//!
//! ```text
//!             ┌────────── stop switch ◀── Ctrl-C, q, guards, leases, a full disk
//!             ▼
//! plan ──▶ conductor ──▶ system (started under the keeper)
//!             │    └───▶ backend (links, faults)
//!             ├────────▶ loads ──attempts──▶ recorder ──▶ run folder
//!             └─────────────────events─────▶    │
//!                                               └──▶ listeners, live view
//! ```
//!
//! The run folder is the only thing that outlives a run, and all that measuring and reporting read.

mod action;
mod aim;
mod allowance;
mod aside;
mod baseline;
mod checks;
mod conductor;
pub mod descriptors;
mod faults;
mod folder;
mod in_force;
pub mod keeper;
mod loads;
mod names;
mod on_nodes;
mod pulse;
mod recorder;
mod schedule;
pub mod secrets;
mod set_up;
#[cfg(feature = "postgres")]
mod sql;
mod stop;
mod take_down;
mod ticker;
mod tls;
mod watch;

use std::io;

pub use allowance::{Allowance, refusals};
pub use baseline::JudgeBaseline;
pub use conductor::{Setup, conduct};
pub use folder::{FREE_SPACE, FolderError, LOCK_FILE, RunFolder, free_space, is_alive, lock};
pub use pulse::{Beat, Pulse, WorkloadBeat};
pub use recorder::{Listener, Recorder, SIZE_CAP};
pub use stop::StopSwitch;

use crate::backend::BackendError;
use crate::system::SystemError;
use crate::workload::LoadError;

/// Why a run could not be conducted. Everything that had started has ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run folder's files cannot be written.
    #[error("cannot write the run's files")]
    Record(#[source] io::Error),
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] secrets::SecretError),
    /// The lab is not one of ours; `check` finds this before.
    #[error("the lab cannot be had: {0}")]
    Lab(String),
    /// A link's address is none.
    #[error("link `{link}` cannot listen at `{listen}`: it is no IP address with a port")]
    Listen {
        /// Which.
        link: String,
        /// As planned.
        listen: String,
    },
    /// Names have no server, or their links no port.
    #[error("names cannot be served on loopback")]
    Names(#[source] io::Error),
    /// A link could not be opened.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The proxy engine could not start.
    #[error(transparent)]
    Proxy(#[from] crate::proxy::ProxyError),
    /// The authority of links that end TLS could not be made, or not used for an endpoint.
    #[error("TLS cannot end at a link: {0}")]
    Authority(String),
    /// The system did not start, or did not become ready.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The keeper could not start.
    #[error("the keeper cannot start")]
    Keeper(#[from] keeper::KeeperError),
    /// A workload could not start.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A stop was asked for before load began.
    #[error("stopped before load began: {0}")]
    Stopped(String),
}

impl RunError {
    /// The message with its causes, one line.
    pub fn chain(&self) -> String {
        crate::run::chain(self)
    }
}

/// An error with its causes, one line; a cause that the message has already told is not told again.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source()).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}
