//! What a plan must know of the built-in labs, without starting one.
//!
//! The labs themselves stand further down in the crate, so whoever resolves a plan hands in a [`LabCatalogue`].

use indexmap::IndexMap;
use serde_json::Value;

use super::names::Names;
use super::order::Order;
use crate::event::Modelled;

/// The built-in labs, as far as a plan needs them.
pub trait LabCatalogue {
    /// Every lab's name, in the order of the documentation.
    fn names(&self) -> Vec<String>;

    /// What the lab of this name would consist of with these parameters, or everything that is wrong with them.
    ///
    /// Parameters are as written in the experiment; a quantity such as `100ms` is a text.
    fn describe(&self, name: &str, params: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>>;

    /// What it consists of although something is wrong with these parameters; none where nobody can tell, as for a lab
    /// that does not exist, or whose nodes follow from the wrong parameter.
    fn outline(&self, name: &str, params: &IndexMap<String, Value>) -> Option<LabDescription>;
}

/// What a lab consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabDescription {
    /// Its parameters, every default filled in.
    pub params: IndexMap<String, Value>,
    /// Its nodes, each with the labels that it has at the start, `role` among them.
    pub nodes: IndexMap<String, IndexMap<String, String>>,
    /// The links between its nodes.
    pub links: IndexMap<String, LabLink>,
    /// The nodes that a workload may use.
    pub entries: Vec<String>,
    /// The nodes whose places serve operations when nothing is wrong, such as the primary; figures of a failover need them.
    pub serving: Vec<String>,
    /// What a user may ask of it.
    pub orders: Vec<Order>,
    /// The names that a workload may use.
    pub names: Names,
    /// Which of its parameters model what takes real machines; filled in with `params`.
    pub modelled: Vec<Modelled>,
}

/// A link between two nodes of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabLink {
    /// The node that dials.
    pub from: String,
    /// The node that is dialled.
    pub to: String,
    /// Whether it carries HTTP/1.
    pub http: bool,
}

/// What is wrong with the name or a parameter of a lab.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabError {
    /// No lab has this name.
    #[error("no lab is called `{name}`")]
    UnknownLab {
        /// As written.
        name: String,
    },
    /// The lab has no such parameter.
    #[error("the lab has no parameter `{param}`")]
    UnknownParam {
        /// As written.
        param: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A parameter's value cannot be used.
    #[error("`{param}`: expected {expected}")]
    BadValue {
        /// The parameter.
        param: String,
        /// What was expected, such as `a duration from 10ms to 10s`.
        expected: String,
        /// Words that it may be, if it is one of a few.
        known: Vec<String>,
    },
}

/// No labs at all: for experiments that bring nodes of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLabs;

impl LabCatalogue for NoLabs {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn describe(&self, name: &str, _params: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
        Err(vec![LabError::UnknownLab { name: name.to_owned() }])
    }

    fn outline(&self, _name: &str, _params: &IndexMap<String, Value>) -> Option<LabDescription> {
        None
    }
}
