//! Who starts and signals processes on the run's behalf.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Starts and signals the processes of nodes. Calls are short and may block for as long as they take.
pub trait Supervisor: Send + Sync {
    /// Starts a node's process as the leader of a group of its own.
    fn start(&self, launch: Launch) -> Result<Started, SupervisorError>;

    /// Signals everything that belongs to a node: its process group, and what left it.
    fn signal(&self, node: &str, signal: Signal) -> Result<(), SupervisorError>;

    /// How a process ended; none while it runs, or when it is not known.
    fn exit_of(&self, pid: u32) -> Option<Exit>;
}

/// What to start.
#[derive(Debug)]
pub struct Launch {
    /// For which node.
    pub node: String,
    /// The program with its arguments, everything filled in.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub dir: PathBuf,
    /// Its stdout and stderr.
    pub output: OwnedFd,
}

/// A process that was started. The start time tells it from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its id, and that of its group.
    pub pid: u32,
    /// From `/proc/PID/stat`, in clock ticks since the host started.
    pub start_time: u64,
}

/// What can be sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Signal {
    /// Ends it at once.
    Kill,
    /// Makes it stand still.
    Stop,
    /// Lets it go on.
    Cont,
    /// Asks it to end.
    Term,
    /// As Ctrl-C.
    Int,
    /// As many servers are asked to end in good order.
    Quit,
    /// As many servers are asked to read their configuration again.
    Hup,
}

impl Signal {
    /// The signal of this name, as in `stop: { signal: QUIT }`; `SIG` may stand before it.
    pub fn named(name: &str) -> Option<Signal> {
        match name.strip_prefix("SIG").unwrap_or(name) {
            "KILL" => Some(Signal::Kill),
            "STOP" => Some(Signal::Stop),
            "CONT" => Some(Signal::Cont),
            "TERM" => Some(Signal::Term),
            "INT" => Some(Signal::Int),
            "QUIT" => Some(Signal::Quit),
            "HUP" => Some(Signal::Hup),
            _ => None,
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exited with status {status}"),
            Exit::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// Something that the supervisor could not do.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The program did not start.
    #[error("{0}")]
    Start(String),
    /// It runs nothing for this node.
    #[error("nothing runs for node `{0}`")]
    Unknown(String),
    /// It is gone: the run must end.
    #[error("the keeper is lost")]
    Lost,
}
