//! `brownout proxy` as its clients see it: the built binary, over HTTP, and the bytes behind it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../golden/mod.rs"]
mod golden;
#[path = "../proxy_support/mod.rs"]
mod proxy_support;

mod bodies;
mod bytes;
mod exchanges;
mod own;
mod program;
mod support;
