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

use crate::plan::{LabCatalogue, LabDescription, LabError, LabLink};

pub use params::{Param, ParamKind};

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
        _ => Err(vec![LabError::UnknownLab { name: name.to_owned() }]),
    }
}

/// A map of labels from pairs.
fn labels<const N: usize>(pairs: [(&str, &str); N]) -> IndexMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The hop from one node to another, by its name `FROM-TO`.
fn hop(from: &str, to: &str) -> (String, LabLink) {
    (format!("{from}-{to}"), LabLink { from: from.to_owned(), to: to.to_owned(), http: true })
}

/// The labs of this binary, as a plan asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labs;

impl LabCatalogue for Labs {
    fn names(&self) -> Vec<String> {
        names().into_iter().map(str::to_owned).collect()
    }

    fn describe(&self, name: &str, params: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
        describe(name, params)
    }

    fn outline(&self, name: &str, _params: &IndexMap<String, Value>) -> Option<LabDescription> {
        // No parameter of a lab so far decides which nodes and links it has.
        describe(name, &IndexMap::new()).ok()
    }
}
