//! What is under test: a lab inside the binary, or processes and endpoints.

pub mod lab;
