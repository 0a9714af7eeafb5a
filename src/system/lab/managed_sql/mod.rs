//! A managed SQL service, in the two ways in which it keeps its data; what both are made of stands here.

pub mod cast;
pub mod control;
pub mod crew;
pub mod failover_group;
pub mod layout;
pub mod local_storage;
pub mod maintenance;
pub mod node;
pub mod params;
pub mod remote_storage;
