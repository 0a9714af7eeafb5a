//! The proxy engine behind an HTTP API: Toxiproxy's, so that its clients need not know, and one of our own.
//!
//! ```text
//! request ─▶ route ─▶ guard ─▶ wire (bodies, pure) ─▶ proxies ─▶ proxy ─▶ standing ─▶ engine
//!            404 405   401 403  400                    404 409    500       toxics,
//!                                                                           faults
//! ```
//!
//! What stands on a proxy outlives its stops and starts; the engine knows only what is in force. `docs/toxiproxy.md`
//! says where this server differs from the reference, and why.

mod answer;
mod api;
mod events;
mod fault;
mod figures;
mod guard;
mod metrics;
mod news;
mod openapi;
mod process;
mod proxies;
mod proxy;
mod refusal;
mod route;
mod server;
mod standing;
mod wire;

pub use guard::Token;
pub(crate) use guard::from_other_site;
pub use openapi::document as openapi;
pub use server::{Server, ServerError, ServerOptions};

/// The release of Toxiproxy whose API this is.
pub const COMPATIBLE_WITH: &str = api::COMPATIBLE_WITH;
