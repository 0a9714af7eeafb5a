//! Reads a run folder, whatever state it is in: what can be read is, what is missing is named.

mod attempts;
mod folder;
mod frames;
mod order;
mod record;

pub(crate) use attempts::{Batch, each_batch};
pub(crate) use folder::{events, plan};
pub(crate) use record::{Name, Record, Text};
