//! One link, byte by byte.

pub mod chain;
pub mod http;
