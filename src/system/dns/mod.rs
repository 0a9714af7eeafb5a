//! Names: a DNS server of ours, what its names mean from moment to moment, and how clients remember what it said.
//!
//! ```text
//!   client ── cache (pure) ── resolver ──UDP, TCP──▶ server ── message (pure) ── table (pure) ◀── faults, labs
//! ```
//!
//! A node that a name may mean has a loopback address of its own, and every link that leads to it by name listens
//! there: an answer is an ordinary A record, and what a client dials is still a link. Queries take no link; what goes
//! wrong with them is a fault of the table.

pub mod cache;
pub mod message;
pub mod resolver;
pub mod server;
pub mod table;
mod zone;

pub use cache::Keep;
pub use resolver::{LookupError, Resolver};
pub use table::{Effect, Record, Reply, Table};
pub use zone::Dns;
