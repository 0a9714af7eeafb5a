//! Real servers, started, watched, killed, paused and stopped by the run.
//!
//! ```text
//!   Nodes ── Supervisor (the run's keeper) ──▶ process group of each node
//!     ▲                                              │ stdout and stderr, one pipe
//!     └────────── log: file, events, milestones ◀────┘
//! ```
//!
//! The keeper is below this module in the order of imports, so it is known here as [`Supervisor`].

pub mod log;
mod prepare;
pub mod proc;
pub mod server;
pub mod supervisor;
#[cfg(test)]
mod tests;

pub use server::{Server, ServerSpec};
pub use supervisor::{Exit, Launch, Signal, Started, Supervisor, SupervisorError};
