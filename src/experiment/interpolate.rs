//! `${name}`: the only interpolation.
//!
//! Parameters are filled in here. Names that only a running system knows (`links.…`, `nodes.…`, `dir`) stay, for
//! whoever starts it. `$${` stands for `${` itself.

use indexmap::IndexMap;

use super::mistake::{Mistake, Sources, quoted};
use super::tree::{Node, Scalar, Value};
use super::{Mistakes, decode};

/// Bytes that all filled-in texts of an experiment may come to.
const BYTES: usize = 16 << 20;

/// The names that a text asks for, without `${` and `}`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Name { name, .. } => Some(name),
        Piece::Text(_) => None,
    })
}

/// The names that a text asks for, with the place of each in it.
pub fn name_ranges(text: &str) -> impl Iterator<Item = (&str, std::ops::Range<usize>)> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Name { name, range } => Some((name, range)),
        Piece::Text(_) => None,
    })
}

/// `$${` as `${`.
pub fn unescape(text: &str) -> String {
    text.replace("$${", "${")
}

/// A text with its names filled in; a name that `value` does not know stays.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    pieces(text)
        .map(|piece| match piece {
            Piece::Text(text) => unescape(text),
            Piece::Name { name, .. } => value(name).unwrap_or_else(|| format!("${{{name}}}")),
        })
        .collect()
}

/// Whether a name is one that only a running system knows.
pub fn is_run_time(name: &str) -> bool {
    name == "dir" || name.starts_with("links.") || name.starts_with("nodes.")
}

enum Piece<'t> {
    Text(&'t str),
    Name { name: &'t str, range: std::ops::Range<usize> },
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        // The first `${` that is not escaped.
        let open = rest.match_indices("${").map(|(open, _)| open).find(|open| !rest[..*open].ends_with('$'));
        let (piece, length) = match open {
            Some(0) => match rest.find('}') {
                Some(close) => (Piece::Name { name: rest[2..close].trim(), range: at..at + close + 1 }, close + 1),
                None => (Piece::Text(rest), rest.len()),
            },
            Some(open) => (Piece::Text(&rest[..open]), open),
            None => (Piece::Text(rest), rest.len()),
        };
        at += length;
        Some(piece)
    })
}

/// Fills parameters into every scalar below `node`.
///
/// A scalar that is nothing but `${name}` becomes the parameter's node, so that a mistake points at the value.
pub(super) fn params(node: &mut Node, params: &IndexMap<String, Node>, sources: &Sources, mistakes: &mut Mistakes) {
    Filler { params, sources, mistakes, bytes: 0 }.visit(node);
}

struct Filler<'a> {
    params: &'a IndexMap<String, Node>,
    sources: &'a Sources,
    mistakes: &'a mut Mistakes,
    bytes: usize,
}

impl Filler<'_> {
    fn visit(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Map(map) => map.values_mut().for_each(|entry| self.visit(&mut entry.node)),
            Value::List(list) => list.iter_mut().for_each(|node| self.visit(node)),
            Value::Scalar(scalar) if scalar.text.contains("${") => self.fill(node),
            Value::Scalar(_) => {}
        }
    }

    fn fill(&mut self, node: &mut Node) {
        let text = node.text().unwrap_or_default().to_owned();
        let asked: Vec<_> = name_ranges(&text).collect();
        let mut known = true;
        for (name, range) in &asked {
            // A null parameter is told where it is declared.
            known &= !self.params.get(*name).is_some_and(Node::is_null)
                & self.check(name, node.part_at(self.sources, range.clone()));
        }
        if !known {
            self.mistakes.is_told(node.at);
            return;
        }
        if let [(name, range)] = &asked[..]
            && *range == (0..text.len())
            && let Some(param) = self.params.get(*name)
        {
            self.bytes += param.size() * 64;
            *node = Node { key: node.key, used_at: Some(node.at), ..param.clone() };
        } else {
            // `$${` stays as it is: what reads the text takes the escape away.
            let filled: String = pieces(&text)
                .map(|piece| match piece {
                    Piece::Text(text) => text.to_owned(),
                    Piece::Name { name, range } => {
                        match self.params.get(name).filter(|p| !p.is_null()).and_then(Node::text) {
                            Some(value) => value.to_owned(),
                            None => text[range].to_owned(),
                        }
                    }
                })
                .collect();
            self.bytes += filled.len();
            let plain = matches!(&node.value, Value::Scalar(Scalar { plain: true, .. }));
            node.value = Value::Scalar(Scalar { text: filled, plain });
        }
        if self.bytes > BYTES {
            self.mistakes.add(decode::at_node(node, format!("parameters fill in more than {} MiB", BYTES >> 20)));
            node.value = Value::Scalar(Scalar { text: String::new(), plain: false });
        }
    }

    /// Whether a name can be filled in, now or at run time.
    fn check(&mut self, name: &str, at: super::At) -> bool {
        if is_run_time(name) {
            return true;
        }
        if !self.params.contains_key(name) {
            let title = format!("no parameter is called {}", quoted(name));
            let known = self.params.keys().map(String::as_str);
            self.mistakes.add(Mistake::new(at, title).known(name, "params here", known));
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_escapes_are_not() {
        let found: Vec<&str> = names("a ${rate} $${no} ${ links.app-db.address } ${open").collect();
        assert_eq!(found, ["rate", "links.app-db.address"]);
    }

    #[test]
    fn filling_in_takes_the_escape_away() {
        let filled = fill("${a}-$${b}-${c}", |name| (name == "a").then(|| "1".to_owned()));
        assert_eq!(filled, "1-${b}-${c}");
    }
}
