//! One link, byte by byte.

pub mod chain;
pub mod http;
mod stage;
mod toxic;
