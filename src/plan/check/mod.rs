//! What can be known to be wrong before anything starts: names, times, permissions, expectations.

mod endpoints;
mod expect;
mod faults;
mod known;
mod names;
mod permission;
mod system;
mod workloads;

use super::{CheckAction, Plan, RunPlan};
use crate::experiment::mistake::{At, Mistake, Mistakes, Sources};
use crate::experiment::tree::Node;
use crate::experiment::{Axes, decode};

pub(super) use known::Known;

/// Checks one variant; mistakes point into its tree.
pub(super) struct Checker<'a> {
    /// The variant's tree.
    pub(super) root: &'a Node,
    /// The texts that places point into.
    pub(super) sources: &'a Sources,
    /// What all runs share.
    pub(super) common: &'a Plan,
    /// The run, without what could not be read.
    pub(super) run: &'a RunPlan,
    /// Its nodes and links, as far as they can be told.
    pub(super) known: &'a Known,
    /// The axes of the matrix, for `where`.
    pub(super) axes: &'a Axes,
    /// How often each variant is run.
    pub(super) repeat: u32,
    /// Where mistakes go.
    pub(super) mistakes: &'a mut Mistakes,
}

impl Checker<'_> {
    pub(super) fn check(mut self) {
        self.check_common();
        self.check_system();
        self.check_endpoints();
        self.check_names();
        self.check_workloads();
        self.check_faults();
        self.check_permissions();
        self.check_expectations();
        self.check_features();
    }

    /// What this program was built without.
    fn check_features(&mut self) {
        if cfg!(feature = "postgres") {
            return;
        }
        for (index, check) in self.run.checks.iter().enumerate() {
            if let CheckAction::Sql(_) = check.action {
                let mistake = Mistake::new(
                    self.root.key_at(&["checks", &index.to_string(), "sql"]),
                    "this brownout was built without the feature `postgres`",
                );
                self.mistakes.add(mistake.help("build it with `cargo build --release --features postgres`"));
            }
        }
    }

    fn check_common(&mut self) {
        let name = &self.common.name;
        if self.root.find(&["name"]).is_some() && !name.is_empty() && !decode::is_name(name) {
            let label = "expected letters, digits, `-` and `_`, 64 at most";
            self.at(&["name"], "this cannot be a name", label);
        }
    }

    /// Adds a mistake about the value at a path.
    fn at(&mut self, path: &[&str], title: impl Into<String>, label: impl Into<String>) {
        let mistake = self.mistake(path, title).label(label);
        self.mistakes.add(mistake);
    }

    /// Adds a mistake about the key at a path.
    fn key(&mut self, path: &[&str], title: impl Into<String>, label: impl Into<String>) {
        let at = self.root.key_at(path);
        self.mistakes.add(Mistake::new(at, title).label(label));
    }

    /// A mistake about the value at a path.
    fn mistake(&self, path: &[&str], title: impl Into<String>) -> Mistake {
        match self.root.find(path) {
            Some(node) => decode::at_node(node, title),
            None => Mistake::new(self.root.at(path), title),
        }
    }

    /// The place of a part of the text at a path.
    fn part(&self, path: &[&str], part: std::ops::Range<usize>) -> At {
        match self.root.find(path) {
            Some(node) => node.part_at(self.sources, part),
            None => self.root.at(path),
        }
    }
}
