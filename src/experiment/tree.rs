//! The experiment as a tree that remembers where everything was written.

use indexmap::IndexMap;

use super::mistake::{At, Sources};

/// A value of the tree, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands; of a block map or list, where it begins.
    pub at: At,
    /// The key that it stands under, to point at when something is missing inside.
    pub key: Option<At>,
    /// Where `${name}` asked for it, if it is a parameter's value.
    pub used_at: Option<At>,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, a number, a word: as written, without quotes.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Values by key, in order.
    Map(Map),
}

/// A scalar as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, quotes and escapes resolved.
    pub text: String,
    /// Written without quotes, so that `null`, `true` and `5` may be more than texts.
    pub plain: bool,
}

/// A map's values by key.
pub type Map = IndexMap<String, Entry>;

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the key stands.
    pub key: At,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A node at a place.
    pub fn new(at: At, value: Value) -> Node {
        Node { at, key: None, used_at: None, value }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether it is an unquoted `null`, `~`, or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { text, plain: true }) if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// `a map`, `a list`, `nothing` or the text, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Map(_) => "a map".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Scalar(_) if self.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => super::mistake::quoted(&scalar.text),
        }
    }

    /// The node at a path of keys and list positions.
    pub fn find(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match &node.value {
            Value::Map(map) => map.get(*step).map(|entry| &entry.node),
            Value::List(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Value::Scalar(_) => None,
        })
    }

    /// The place of the value at a path, or of the deepest part of the path that was written.
    pub fn at(&self, path: &[&str]) -> At {
        (0..=path.len())
            .rev()
            .find_map(|length| {
                let node = self.find(&path[..length])?;
                // What was left to default is missing under the key of its parent.
                Some(if length == path.len() { node.at } else { node.key.unwrap_or(node.at) })
            })
            .unwrap_or(self.at)
    }

    /// The place of the last key of a path, or of the deepest part of the path that was written.
    pub fn key_at(&self, path: &[&str]) -> At {
        match self.find(path) {
            Some(node) => node.key.unwrap_or(node.at),
            None => self.at(path),
        }
    }

    /// The place of a part of a scalar's text; of all of it where quotes or escapes hide the part.
    pub fn part_at(&self, sources: &Sources, part: std::ops::Range<usize>) -> At {
        let Some(text) = self.text() else { return self.at };
        let written = sources.get(usize::from(self.at.source)).and_then(|source| source.text.get(self.at.range()));
        let (Some(written), Some(wanted)) = (written, text.get(part.clone())) else { return self.at };
        let offset = match written.find(text) {
            Some(start) => start + part.start,
            None => match written.find(wanted) {
                Some(start) if !wanted.is_empty() => start,
                _ => return self.at,
            },
        };
        let start = self.at.range().start + offset;
        At::new(self.at.source, start..start + wanted.len())
    }

    /// Visits this node and all below it.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Node)) {
        visit(self);
        match &self.value {
            Value::Scalar(_) => {}
            Value::List(list) => list.iter().for_each(|node| node.walk(visit)),
            Value::Map(map) => map.values().for_each(|entry| entry.node.walk(visit)),
        }
    }

    /// The source and the bytes that it and everything below it span.
    pub fn extent(&self) -> At {
        let mut extent = self.at;
        self.walk(&mut |node| {
            if node.at.source == extent.source && node.used_at.is_none() {
                extent.start = extent.start.min(node.at.start);
                extent.end = extent.end.max(node.at.end);
            }
        });
        extent
    }

    /// How many nodes it is, itself included; a long text counts as several, so that a bound on it bounds memory.
    pub fn size(&self) -> usize {
        let mut size = 0;
        self.walk(&mut |node| size += 1 + node.text().map_or(0, |text| text.len() / 64));
        size
    }

    /// How deep it is; 1 for a scalar.
    pub fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(list) => list.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(map) => map.values().map(|entry| entry.node.depth()).max().unwrap_or(0),
        }
    }

    /// Lays `over` on top: maps are merged key by key, a null takes its key away, anything else takes the place of
    /// what was there.
    pub fn overlay(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Map(map), Value::Map(over_map)) => {
                for (key, entry) in over_map {
                    if entry.node.is_null() {
                        map.shift_remove(&key);
                        continue;
                    }
                    match map.get_mut(&key) {
                        Some(under) => under.node.overlay(entry.node),
                        None => {
                            map.insert(key, entry);
                        }
                    }
                }
            }
            (_, value) => *self = Node { value, at: over.at, key: over.key.or(self.key), used_at: over.used_at },
        }
    }

    /// As JSON: unquoted scalars take the type that YAML gives them.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::List(list) => list.iter().map(Node::to_json).collect(),
            Value::Map(map) => map.iter().map(|(key, entry)| (key.clone(), entry.node.to_json())).collect(),
            Value::Scalar(_) if self.is_null() => Json::Null,
            Value::Scalar(Scalar { text, plain: false }) => Json::String(text.clone()),
            Value::Scalar(Scalar { text, plain: true }) => match text.as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                number => number
                    .parse::<i64>()
                    .map(Json::from)
                    .or_else(|_| number.parse::<f64>().map(Json::from))
                    // `inf` and `nan` parse as numbers that JSON does not have.
                    .ok()
                    .filter(|json| json.is_number())
                    .unwrap_or_else(|| Json::String(text.clone())),
            },
        }
    }
}
