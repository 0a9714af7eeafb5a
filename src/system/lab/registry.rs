//! Every lab by name: the one table that checking, running and the reference are made of.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::params::{self, Param, Resolved};
use super::{Lab, managed_sql, primary_standby, regions};
use crate::plan::{LabCatalogue, LabDescription, LabError};
use crate::system::{SystemError, Teller};

/// The labs of this binary, in the order of the documentation.
pub const LABS: &[LabKind] = &[
    primary_standby::LAB,
    managed_sql::local_storage::LAB,
    managed_sql::remote_storage::LAB,
    managed_sql::failover_group::LAB,
    regions::LAB,
];

/// Makes a lab of its description.
pub type Bind = fn(&LabDescription, Teller) -> Result<Arc<dyn Lab>, SystemError>;

/// A lab that can be made: its row in the table.
pub struct LabKind {
    /// Its name in `lab: { NAME: { … } }`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// What can be set on it.
    pub params: &'static [Param],
    /// What it consists of; told all its parameters, it may refuse some that do not go together. Its own `params` are
    /// filled in by the table.
    pub describe: fn(&Resolved<'_>) -> Result<LabDescription, Vec<LabError>>,
    /// Gives every node its port; nothing works yet.
    pub bind: Bind,
}

impl fmt::Debug for LabKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabKind").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LabKind {
    /// What it consists of with these parameters; every mistake at once where there are any.
    pub fn describe(&self, given: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
        let params = params::resolve(self.params, given)?;
        let description = (self.describe)(&Resolved(&params))?;
        let modelled = params::modelled(self.params, &params);
        Ok(LabDescription { params, modelled, ..description })
    }

    /// What it consists of although something is wrong with these parameters; none if that depends on what is wrong.
    ///
    /// A wrong parameter is tried at the ends of its range and at each of its words: if all of them make the same lab,
    /// its nodes do not follow from it. A parameter that does not exist may be any misspelt one that is not given.
    fn outline(&self, given: &IndexMap<String, Value>) -> Option<LabDescription> {
        let wrong = match self.describe(given) {
            Ok(description) => return Some(description),
            Err(wrong) => wrong,
        };
        let mut right = given.clone();
        let mut open: Vec<&Param> = Vec::new();
        for error in wrong {
            match error {
                LabError::UnknownLab { .. } => return None,
                LabError::UnknownParam { param, .. } => {
                    right.shift_remove(&param);
                    open.extend(self.params.iter().filter(|known| !given.contains_key(known.name)));
                }
                LabError::BadValue { param, .. } => {
                    right.shift_remove(&param);
                    open.extend(self.params.iter().filter(|known| known.name == param));
                }
            }
        }
        let outline = self.describe(&right).ok()?;
        let same = |param: &Param, value: Value| {
            let mut tried = right.clone();
            tried.insert(param.name.to_owned(), value);
            let (params, modelled) = (outline.params.clone(), outline.modelled.clone());
            self.describe(&tried).is_ok_and(|other| LabDescription { params, modelled, ..other } == outline)
        };
        open.iter().all(|param| param.kind.extremes().into_iter().all(|value| same(param, value))).then_some(outline)
    }
}

/// The lab of this name.
pub fn find(name: &str) -> Result<&'static LabKind, Vec<LabError>> {
    LABS.iter().find(|lab| lab.name == name).ok_or_else(|| vec![LabError::UnknownLab { name: name.to_owned() }])
}

/// A lab with these parameters, every port bound; nothing works yet.
pub fn bind(name: &str, given: &IndexMap<String, Value>, teller: Teller) -> Result<Arc<dyn Lab>, SystemError> {
    let kind = find(name).map_err(SystemError::Lab)?;
    let description = kind.describe(given).map_err(SystemError::Lab)?;
    (kind.bind)(&description, teller)
}

/// The labs of this binary, as a plan asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labs;

impl LabCatalogue for Labs {
    fn names(&self) -> Vec<String> {
        LABS.iter().map(|lab| lab.name.to_owned()).collect()
    }

    fn describe(&self, name: &str, params: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
        find(name)?.describe(params)
    }

    fn outline(&self, name: &str, params: &IndexMap<String, Value>) -> Option<LabDescription> {
        find(name).ok()?.outline(params)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::system::lab::Layout;

    /// Has as many nodes as it is told.
    const HERD: LabKind = LabKind {
        name: "herd",
        about: "",
        params: &[Param::count("heads", 2, 1..=9, ""), Param::word("mood", &["calm", "wild"], "")],
        describe: |params| {
            let mut layout = Layout::default();
            (1..=params.count("heads")).for_each(|index| layout.add(&format!("head-{index}"), [("role", "head")]));
            Ok(layout.describe())
        },
        bind: |_, _| unreachable!("only described"),
    };

    fn outlined(given: Value) -> Option<usize> {
        Some(HERD.outline(&serde_json::from_value(given).unwrap())?.nodes.len())
    }

    #[test]
    fn an_outline_is_told_only_if_what_is_wrong_does_not_decide_it() {
        assert_eq!(outlined(json!({ "heads": 3 })), Some(3));
        assert_eq!(outlined(json!({ "heads": 3, "mood": "odd" })), Some(3), "moods change no node");
        assert_eq!(outlined(json!({ "heads": 30 })), None, "nobody knows how many were meant");
        assert_eq!(outlined(json!({ "haeds": 3 })), None, "`heads` may have been meant");
        assert_eq!(outlined(json!({ "heads": 3, "moood": "wild" })), Some(3), "`heads` is given");
    }

    #[test]
    fn every_lab_has_a_name_of_its_own_describes_itself_and_links_its_own_nodes() {
        for (index, lab) in LABS.iter().enumerate() {
            assert!(LABS[..index].iter().all(|other| other.name != lab.name), "{}", lab.name);
            assert!(
                lab.about.ends_with('.') && lab.params.iter().all(|param| param.doc.ends_with('.')),
                "{}",
                lab.name
            );
            let description = lab.describe(&IndexMap::new()).unwrap();
            let exists = |node: &String| description.nodes.contains_key(node);
            for (name, link) in &description.links {
                assert!(exists(&link.from) && exists(&link.to), "{}: {name}", lab.name);
                assert_eq!(*name, format!("{}-{}", link.from, link.to));
            }
            assert!(description.entries.iter().chain(&description.serving).all(exists), "{}", lab.name);
            for (node, labels) in &description.nodes {
                let all = ["zone", "role"].iter().all(|label| labels.contains_key(*label));
                assert!(all, "{}: {node} lacks a label", lab.name);
            }
        }
    }
}
