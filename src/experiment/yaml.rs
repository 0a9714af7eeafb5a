//! YAML text → [`Node`]s. The only module that knows the parser.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use indexmap::map::Entry as Slot;

use super::mistake::{At, Mistake, Mistakes, quoted};
use super::tree::{Entry, Map, Node, Scalar, Value};

/// Nodes that a file may come to, aliases expanded. The largest experiments have some thousands.
const NODES: usize = 100_000;
/// Levels of nesting; deeper ones are no experiment, and every walk over the tree recurses.
const LEVELS: usize = 64;

/// Reads one document; adds every mistake that the parser can go on from, and the first that it cannot.
///
/// None if there is no tree at all.
pub(super) fn parse(source: u16, text: &str, mistakes: &mut Mistakes) -> Option<Node> {
    let mut builder = Builder { mistakes, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let options = granit_parser::options! {
        flow_nesting_limit: LEVELS / 2,
        block_nesting_limit: LEVELS / 2,
        emit_comments: false,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => {
                let range = span.byte_range().unwrap_or(0..0);
                builder.event(event, At::new(source, range), text)
            }
            Err(error) => {
                let start = error.marker().byte_offset().unwrap_or(0);
                let mistake = Mistake::new(At::new(source, start..start + 1), format!("not YAML: {}", error.info()));
                builder.end(mistake.help("check the indentation and the quotes here and on the line above"))
            }
        };
        step?;
    }
    builder.root
}

/// A collection that has begun and not ended.
enum Open {
    List { at: At, anchor: usize, items: Vec<Node> },
    Map { at: At, anchor: usize, map: Map, merged: Vec<(At, Node)>, key: Option<(String, At, bool)> },
}

struct Builder<'m> {
    mistakes: &'m mut Mistakes,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    /// Takes one event; none ends the reading, and the mistake is told.
    fn event(&mut self, event: Event<'_>, at: At, text: &str) -> Option<()> {
        if let Some(tag) = event.tag() {
            self.mistakes.add(Mistake::new(at, format!("tags such as `{tag}` are not supported")));
        }
        match event {
            Event::Scalar(value, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let node = Node::new(at, Value::Scalar(Scalar { text: value.into_owned(), plain }));
                let size = node.size();
                self.finish(node, anchor, size)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open::List { at, anchor, items: Vec::new() });
                Some(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open::Map { at, anchor, map: Map::new(), merged: Vec::new(), key: None });
                Some(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at: start, anchor, items }) => {
                    let at = whole(start, at, text);
                    self.finish(Node::new(at, Value::List(items)), anchor, 1)
                }
                Some(Open::Map { at: start, anchor, mut map, merged, .. }) => {
                    for (at, node) in merged {
                        self.merge(&mut map, at, node);
                    }
                    let at = whole(start, at, text);
                    self.finish(Node::new(at, Value::Map(map)), anchor, 1)
                }
                None => Some(()),
            },
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return self.end(Mistake::new(at, "an alias cannot stand inside what it stands for"));
                };
                if node.depth() + self.open.len() > LEVELS {
                    return self.end(Mistake::new(at, format!("nested deeper than {LEVELS} levels")));
                }
                let size = node.size();
                self.finish(node, 0, size)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                self.end(Mistake::new(at, "a second document in one file").label("one file is one experiment"))
            }
            _ => Some(()),
        }
    }

    /// A mistake that nothing can be read behind.
    fn end(&mut self, mistake: Mistake) -> Option<()> {
        self.mistakes.add(mistake);
        None
    }

    /// A node is whole: it goes where it belongs.
    fn finish(&mut self, mut node: Node, anchor: usize, size: usize) -> Option<()> {
        self.nodes += size;
        if self.nodes > NODES {
            return self.end(Mistake::new(node.at, format!("more than {NODES} values, with aliases expanded")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { map, merged, key, .. }) => match key.take() {
                None => *key = Some(key_of(node, self.mistakes)),
                Some((name, at, true)) if name == "<<" => merged.push((at, node)),
                Some((name, at, _)) => {
                    node.key = Some(at);
                    match map.entry(name) {
                        Slot::Vacant(slot) => {
                            slot.insert(Entry { key: at, node });
                        }
                        Slot::Occupied(slot) => {
                            let title = format!("the key {} is there twice", quoted(slot.key()));
                            self.mistakes.add(Mistake::new(at, title).also(slot.get().key, "first here"));
                        }
                    }
                }
            },
        }
        Some(())
    }

    /// `<<: *base`: what the map does not say itself comes from the base, or from the first of several.
    fn merge(&mut self, map: &mut Map, at: At, node: Node) {
        match node.value {
            Value::Map(base) => {
                for (key, entry) in base {
                    map.entry(key).or_insert(entry);
                }
            }
            Value::List(bases) => bases.into_iter().for_each(|base| self.merge(map, at, base)),
            Value::Scalar(_) => {
                self.mistakes.add(Mistake::new(at, "`<<` merges a map, such as `<<: *base`"));
            }
        }
    }
}

/// A node in the position of a key: its name, its place, and whether it is unquoted.
fn key_of(node: Node, mistakes: &mut Mistakes) -> (String, At, bool) {
    match node.value {
        Value::Scalar(scalar) => (scalar.text, node.at, scalar.plain),
        _ => {
            mistakes.add(Mistake::new(node.at, "a key must be a word").label("not a list or a map"));
            (format!("({})", node.at.start), node.at, false)
        }
    }
}

/// The place of a collection: all of `{ … }` and `[ … ]`, only the beginning of one in block style.
fn whole(start: At, end: At, text: &str) -> At {
    let flow = text.get(start.range().start..).is_some_and(|rest| rest.starts_with(['{', '[']));
    if flow { At { end: end.end.max(start.end), ..start } } else { start }
}
