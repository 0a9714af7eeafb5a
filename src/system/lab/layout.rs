//! The nodes of a lab and the hops between them, put together one by one.

use indexmap::IndexMap;

use crate::plan::{LabDescription, LabLink};

/// What a lab's description says of its nodes and links, in the order in which they were named.
#[derive(Debug, Default)]
pub struct Layout {
    nodes: IndexMap<String, IndexMap<String, String>>,
    links: IndexMap<String, LabLink>,
}

impl Layout {
    /// One node more. Whoever watches others comes after them: the last one ends first.
    pub fn add<const N: usize>(&mut self, name: &str, pairs: [(&str, &str); N]) {
        let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.nodes.insert(name.to_owned(), labels.into());
    }

    /// A hop `FROM-TO` from one node to each of these but itself.
    pub fn connect<S: AsRef<str>>(&mut self, from: &str, to: impl IntoIterator<Item = S>) {
        for to in to.into_iter().filter(|to| to.as_ref() != from) {
            let to = to.as_ref().to_owned();
            self.links.insert(format!("{from}-{to}"), LabLink { from: from.to_owned(), to, http: true });
        }
    }

    /// The nodes so far.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    /// A description of them, and of nothing else yet.
    pub fn describe(self) -> LabDescription {
        LabDescription { nodes: self.nodes, links: self.links, ..LabDescription::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_connected_to_itself_and_order_is_kept() {
        let mut layout = Layout::default();
        let herd = ["b", "a", "c"];
        for name in herd {
            layout.add(name, [("zone", "1"), ("role", "cow")]);
        }
        layout.connect("a", herd);
        let description = layout.describe();
        assert_eq!(description.nodes.keys().collect::<Vec<_>>(), herd.iter().collect::<Vec<_>>());
        assert_eq!(description.links.keys().collect::<Vec<_>>(), ["a-b", "a-c"]);
    }
}
