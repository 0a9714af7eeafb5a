//! The way from clients to whoever serves: one address that stays, and routers behind it that follow the control ring.
//!
//! ```text
//!   clients ──▶ gateway ──┬─▶ router-1 ──▶ the node that the route names
//!                         └─▶ router-2 ──▶ …
//!   readers ──▶ readers ──┘   (read-only: a secondary, in turn)
//!   control ring ── route ──▶ every router
//! ```
//!
//! A router keeps the last route that it was told: without the control ring traffic goes on.

mod front;
mod router;

use serde::{Deserialize, Serialize};

pub use front::{Front, FrontBody};
pub use router::{Router, RouterBody, request};

/// The header by which a router tells a node which term a request is meant for.
pub const TERM: &str = "x-term";
/// The header by which an engine tells storage its epoch; routers pass it on.
pub const EPOCH: &str = "x-epoch";
/// The header of a request that only reads, so that a secondary will do.
pub const READ_ONLY: &str = "x-read-only";

/// Control ring → router: where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// How new it is; an older one changes nothing.
    pub stamp: (u64, u64),
    /// The term that requests are meant for.
    pub term: u64,
    /// Who takes reads and writes; none while nobody is known to serve.
    pub writes: Option<String>,
    /// Who takes reads, in turn; if nobody does, whoever takes writes.
    pub reads: Vec<String>,
}
