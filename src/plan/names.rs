//! Names that workloads may use in the place of a node, answered by a DNS server of the run's own.

use std::net::Ipv4Addr;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

use super::workload::Workload;
use crate::units::Span;

/// What a name means at the start, and what it may come to mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The nodes that it means at the start; an answer holds all of their addresses.
    pub to: Vec<String>,
    /// The nodes that it may mean later, because a fault or the lab maps it to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// How long an answer may be believed.
    pub ttl: Span,
}

impl Name {
    /// Every node that it may ever mean.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.to.iter().chain(&self.others).map(String::as_str)
    }

    /// It may come to mean these nodes too.
    pub(super) fn may_mean<'n>(&mut self, nodes: impl IntoIterator<Item = &'n String>) {
        for node in nodes {
            if !self.nodes().any(|known| known == node) {
                self.others.push(node.clone());
            }
        }
    }
}

/// The names of a run.
pub type Names = IndexMap<String, Name>;

/// The nodes that a workload dials: the one that it uses, or all that the name may mean which it uses.
pub fn dialled<'p>(names: &'p Names, workload: &'p Workload) -> Vec<&'p str> {
    dialled_as(names, &workload.to)
}

/// The same by what stands in `to`.
pub(super) fn dialled_as<'p>(names: &'p Names, to: &'p str) -> Vec<&'p str> {
    names.get(to).map_or_else(|| vec![to], |name| name.nodes().collect())
}

/// Each node that a name may mean, with the loopback address at which links lead to it by name.
pub fn addresses(names: &Names) -> IndexMap<String, Ipv4Addr> {
    let nodes: IndexSet<&str> = names.values().flat_map(Name::nodes).collect();
    nodes.into_iter().zip(1..=254).map(|(node, last)| (node.to_owned(), Ipv4Addr::new(127, 53, 0, last))).collect()
}

/// Whether a text is a name: two labels or more of small letters, digits and `-`, so that no node can be called so.
pub fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_dot_so_that_it_is_no_node() {
        for name in ["shop.test", "a.b.c", "xn--bcher-kva.example", "1.test"] {
            assert!(is_name(name), "{name}");
        }
        for other in ["shop", "", ".", "shop.", ".test", "Shop.test", "a_b.test", "-a.test", "a-.test", "a b.test"] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn each_node_has_one_address_however_many_names_mean_it() {
        let name = |to: &[&str], others: &[&str]| Name {
            to: to.iter().map(|node| (*node).to_owned()).collect(),
            others: others.iter().map(|node| (*node).to_owned()).collect(),
            ttl: Span::default(),
        };
        let names =
            Names::from([("a.test".to_owned(), name(&["a"], &["b"])), ("b.test".to_owned(), name(&["b"], &["c"]))]);
        let addresses: Vec<String> =
            addresses(&names).iter().map(|(node, address)| format!("{node} {address}")).collect();
        assert_eq!(addresses, ["a 127.53.0.1", "b 127.53.0.2", "c 127.53.0.3"]);
    }
}
