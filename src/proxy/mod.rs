//! One link, byte by byte: it accepts, dials, moves bytes both ways, and does to them what faults say.
//!
//! ```text
//!                       engine thread (epoll, one heap of alarms)
//!            ┌──────────────────────────────────────────────────────────┐
//! client ◀──▶│ accept ─▶ dial ─▶  up:   read ─▶ [tap ─▶ chain] ─▶ write │◀──▶ upstream
//!            │                   down: write ◀─ [chain ◀─ tap] ◀─ read  │
//!            └──────────────────────────────────────────────────────────┘
//! ```
//!
//! Where a [`Termination`] is asked for, TLS ends at both sockets, and what passes between them is open.
//!
//! An [`Engine`] owns its threads; a link is accepted for on one of them and served by all. A [`Link`] is a handle that
//! can be used from any thread. What is decided (toxic chains, HTTP, reach) is pure and told the time; what acts is in
//! `worker`.

mod authority;
pub mod chain;
mod counters;
mod engine;
pub mod http;
mod kernel;
mod link;
mod peers;
mod reach;
mod shared;
mod stage;
mod strike;
mod toxic;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub use authority::{Authority, Termination};
pub use engine::Engine;
pub use link::{Link, LinkSpec};
pub use reach::Reach;
pub use shared::ConnectionInfo;
pub use strike::{Evidence, Strike, StrikeId, Struck};

/// What can go wrong with links.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address is in use, or not ours.
    #[error("could not listen on {listen} for link `{link}`")]
    Listen {
        /// The link.
        link: Arc<str>,
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An engine thread could not be started.
    #[error("could not start the proxy engine")]
    Start {
        /// Why.
        source: io::Error,
    },
    /// The link has been closed.
    #[error("link `{link}` is closed")]
    Closed {
        /// The link.
        link: Arc<str>,
    },
}
