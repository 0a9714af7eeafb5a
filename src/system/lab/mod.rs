//! Labs: reference systems inside the binary, real sockets and all, each with a way to break it on purpose.
//!
//! A lab decides in pure state machines that are told the time (`detector`, `lease`, each lab's own), and acts in
//! thin threads (`host`: one thread and runtime a node; `http`: the wire). [`describe`] tells what a lab consists of
//! without starting anything; that is all that `check` and `plan` need.

pub mod detector;
pub mod host;
pub mod http;
pub mod params;
pub mod primary_standby;
pub mod store;

use indexmap::IndexMap;
use serde_json::Value;

pub use params::{Param, ParamKind};

/// What a lab consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabDescription {
    /// Nodes by name, with their labels; `role` is the one at the start.
    pub nodes: IndexMap<String, IndexMap<String, String>>,
    /// Every hop between its nodes.
    pub links: Vec<LabLink>,
    /// The nodes that a workload may be sent to; the usual one first.
    pub entries: Vec<String>,
    /// Parameters in canonical form, every default filled in.
    pub params: IndexMap<String, Value>,
}

/// One hop of a lab; it goes through a proxy of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabLink {
    /// Its name, `FROM-TO`.
    pub name: String,
    /// The node that dials.
    pub from: String,
    /// The node that is dialled.
    pub to: String,
    /// Whether HTTP/1 is spoken on it.
    pub http: bool,
}

/// A mistake in what an experiment says of a lab.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabError {
    /// No lab has this name.
    #[error("there is no lab `{name}`")]
    UnknownLab {
        /// As given.
        name: String,
        /// Every lab, for the nearest word.
        known: Vec<&'static str>,
    },
    /// The lab has no such parameter.
    #[error("lab `{lab}` has no parameter `{param}`")]
    UnknownParam {
        /// The lab.
        lab: &'static str,
        /// As given.
        param: String,
        /// Every parameter, for the nearest word.
        known: Vec<&'static str>,
    },
    /// The value is of the wrong kind, or out of range.
    #[error("`{param}` of lab `{lab}` is {given}, expected {expected}")]
    BadParam {
        /// The lab.
        lab: &'static str,
        /// Which parameter.
        param: &'static str,
        /// As given, in JSON.
        given: String,
        /// What may stand there.
        expected: String,
    },
}

impl LabError {
    /// The parameter that it concerns, to place the mistake in the file.
    pub fn param(&self) -> Option<&str> {
        match self {
            LabError::UnknownLab { .. } => None,
            LabError::UnknownParam { param, .. } => Some(param),
            LabError::BadParam { param, .. } => Some(param),
        }
    }

    /// The words that could have been meant.
    pub fn known(&self) -> &[&'static str] {
        match self {
            LabError::UnknownLab { known, .. } | LabError::UnknownParam { known, .. } => known,
            LabError::BadParam { .. } => &[],
        }
    }
}

/// The names of all labs.
pub fn names() -> Vec<&'static str> {
    vec![primary_standby::NAME]
}

/// The parameters of a lab, for the reference; none for an unknown lab.
pub fn params_of(name: &str) -> &'static [Param] {
    match name {
        primary_standby::NAME => primary_standby::PARAMS,
        _ => &[],
    }
}

/// What a lab with these parameters consists of; every mistake at once where there are any.
pub fn describe(name: &str, params: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
    match name {
        primary_standby::NAME => primary_standby::describe(params),
        _ => Err(vec![LabError::UnknownLab { name: name.to_owned(), known: names() }]),
    }
}

/// A map of labels from pairs.
fn labels<const N: usize>(pairs: [(&str, &str); N]) -> IndexMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The hop from one node to another.
fn hop(from: &str, to: &str) -> LabLink {
    LabLink { name: format!("{from}-{to}"), from: from.to_owned(), to: to.to_owned(), http: true }
}
