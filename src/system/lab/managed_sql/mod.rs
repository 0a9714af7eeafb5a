//! A managed SQL service, in the two ways in which it keeps its data.

pub mod local_storage;
