//! `${name}`: the only interpolation.
//!
//! Parameters are filled in here. Names that only a running system knows (`links.…`, `nodes.…`, `dir`) stay, for
//! whoever starts it. `$${` stands for `${` itself.

use std::ops::Range;

use indexmap::IndexMap;

use super::mistake::{Mistake, Sources, quoted};
use super::tree::{Node, Scalar, Value};
use super::{Mistakes, decode};

/// Bytes that all filled-in texts of an experiment may come to.
const BYTES: usize = 16 << 20;

/// A name that nobody knows a value for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`${{{name}}}` is not known here")]
pub struct UnknownName {
    /// Without `${` and `}`.
    pub name: String,
}

/// The names that a text asks for, without `${` and `}`, with the place of each in it.
pub fn names(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Name(name, range) => Some((name, range)),
        Piece::Text(_) | Piece::Escape | Piece::Unclosed(_) => None,
    })
}

/// A text with its names filled in, and `$${` as `${`. Fails at the first name that `value` does not know.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, UnknownName> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Escape => filled.push_str("${"),
            Piece::Name(name, _) => {
                filled.push_str(&value(name).ok_or_else(|| UnknownName { name: name.to_owned() })?);
            }
            Piece::Unclosed(range) => filled.push_str(&text[range]),
        }
    }
    Ok(filled)
}

/// A name that only a running system knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunTimeName<'t> {
    /// `dir`: the folder of the process that asks.
    Dir,
    /// `links.NAME.FIELD`.
    Link {
        /// Which.
        name: &'t str,
        /// `address` or `port`; of one that ends TLS also `ca`.
        field: &'t str,
    },
    /// `nodes.NAME.FIELD`.
    Node {
        /// Which; `self` is the process that asks.
        name: &'t str,
        /// `address` or `port`; of `self` also `name`.
        field: &'t str,
    },
}

impl RunTimeName<'_> {
    /// The name as one of these; none for a parameter's.
    pub fn parse(name: &str) -> Option<RunTimeName<'_>> {
        if name == "dir" {
            return Some(RunTimeName::Dir);
        }
        let (kind, rest) = name.split_once('.')?;
        let (name, field) = rest.split_once('.').unwrap_or((rest, ""));
        match kind {
            "links" => Some(RunTimeName::Link { name, field }),
            "nodes" => Some(RunTimeName::Node { name, field }),
            _ => None,
        }
    }
}

/// What a text is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// Itself.
    Text(&'t str),
    /// `$${`.
    Escape,
    /// A name, and where it stands with its `${` and `}`.
    Name(&'t str, Range<usize>),
    /// A `${` that no `}` follows, and where.
    Unclosed(Range<usize>),
}

/// The one parser of `${…}`.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let open = rest.find("${").unwrap_or(rest.len());
        let (piece, length) = if rest.starts_with("$${") {
            (Piece::Escape, 3)
        } else if open > 0 {
            // The `$` that makes an escape of it is no text.
            let end = if open < rest.len() && rest[..open].ends_with('$') { open - 1 } else { open };
            (Piece::Text(&rest[..end]), end)
        } else {
            match rest.find('}') {
                Some(close) => (Piece::Name(rest[2..close].trim(), at..at + close + 1), close + 1),
                None => (Piece::Unclosed(at..at + 2), 2),
            }
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
        let mut known = true;
        for piece in pieces(&text) {
            known &= match piece {
                Piece::Text(_) | Piece::Escape => true,
                // A null parameter is told where it is declared.
                Piece::Name(name, range) => {
                    !self.params.get(name).is_some_and(Node::is_null)
                        & self.check(name, node.part_at(self.sources, range))
                }
                Piece::Unclosed(range) => {
                    let mistake = Mistake::new(node.part_at(self.sources, range), "`${` is not closed");
                    self.mistakes.add(mistake.label("expected `${name}`; `$${` stands for `${` itself"));
                    false
                }
            };
        }
        if !known {
            self.mistakes.is_told(node.at);
            return;
        }
        if let Some((name, range)) = names(&text).next()
            && range == (0..text.len())
            && let Some(param) = self.params.get(name)
        {
            self.bytes += param.size() * 64;
            *node = Node { key: node.key, used_at: Some(node.at), ..param.clone() };
        } else {
            // `$${` stays as it is: what reads the text takes the escape away.
            let filled: String = pieces(&text)
                .map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Escape => "$${",
                    Piece::Name(name, range) => self.params.get(name).and_then(Node::text).unwrap_or(&text[range]),
                    Piece::Unclosed(range) => &text[range],
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
        if RunTimeName::parse(name).is_some() {
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

    fn filled(text: &str) -> Result<String, String> {
        let value = |name: &str| match name {
            "a" => Some("1".to_owned()),
            "links.app-db.port" => Some("7001".to_owned()),
            _ => None,
        };
        fill(text, value).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_found_with_their_places_and_escapes_are_not() {
        let text = "a ${rate} $${no} ${ links.app-db.address } ${open";
        let found: Vec<_> = names(text).map(|(name, range)| (name, &text[range])).collect();
        assert_eq!(found, [("rate", "${rate}"), ("links.app-db.address", "${ links.app-db.address }")]);
    }

    #[test]
    fn an_escape_comes_out_as_what_it_stands_for() {
        for (text, came) in [
            ("plain", "plain"),
            ("${a}${links.app-db.port}", "17001"),
            ("${a}-$${b}-$$${c}", "1-${b}-$${c}"),
            ("set $host $${HOME} $", "set $host ${HOME} $"),
            ("$${", "${"),
            ("open ${ended never", "open ${ended never"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(came), "{text}");
        }
    }

    #[test]
    fn a_name_without_a_value_is_named() {
        assert_eq!(filled("x ${links.app-bd.address}"), Err("`${links.app-bd.address}` is not known here".to_owned()));
    }

    #[test]
    fn names_of_a_running_system_are_no_parameters() {
        assert_eq!(RunTimeName::parse("dir"), Some(RunTimeName::Dir));
        let link = RunTimeName::Link { name: "app-db", field: "port" };
        assert_eq!(RunTimeName::parse("links.app-db.port"), Some(link));
        assert_eq!(RunTimeName::parse("nodes.web"), Some(RunTimeName::Node { name: "web", field: "" }));
        assert_eq!(RunTimeName::parse("links"), None);
        assert_eq!(RunTimeName::parse("rate"), None);
    }
}
