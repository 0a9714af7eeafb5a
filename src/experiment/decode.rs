//! [`Node`]s → types: every mistake is collected, none is reported twice, and what is sound is read all the same.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::interpolate::UnknownName;
use super::mistake::{At, Mistake, Mistakes, quoted};
use super::shape::{MapShape, ScalarShape, Shape};
use super::tree::{Entry, Map, Node, Scalar, Value};
use crate::units::{ByteRate, Bytes, Rate, Share, Span};

/// A type that can be written in an experiment.
pub trait Decode: Sized {
    /// What may be written.
    fn shape() -> Shape;

    /// Reads it; none if it is wrong, which `mistakes` then says.
    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Self>;

    /// What it is when its key is not given; none: the key is required.
    fn when_absent() -> Option<Self> {
        None
    }
}

/// A part of a map: keys that may stand beside others.
pub trait Part: Sized {
    /// Tells its keys.
    fn keys(shape: &mut MapShape);

    /// Reads them.
    fn read(map: &mut MapReader<'_>) -> Option<Self>;
}

/// Reads a map all of whose keys belong to one part.
pub fn part<T: Part>(node: &Node, mistakes: &mut Mistakes) -> Option<T> {
    let mut reader = MapReader::of(node, node.key.unwrap_or(node.at), T::keys, mistakes)?;
    T::read(&mut reader)
}

/// A map with known keys, while it is read.
pub struct MapReader<'a> {
    /// Where to point when a key is missing.
    name_at: At,
    map: std::borrow::Cow<'a, Map>,
    /// Keys that an unknown key probably meant: they are not reported as missing too.
    meant: HashSet<&'static str>,
    /// Whether there was an unknown key: it may be the option that is missing.
    unknown: bool,
    mistakes: &'a mut Mistakes,
}

impl<'a> MapReader<'a> {
    /// Checks that `node` is a map without unknown keys; nothing counts as an empty map.
    fn of(node: &'a Node, name_at: At, keys: fn(&mut MapShape), mistakes: &'a mut Mistakes) -> Option<MapReader<'a>> {
        let shape = MapShape::of(keys);
        let map = match &node.value {
            Value::Map(map) => std::borrow::Cow::Borrowed(map),
            Value::Scalar(_) if node.is_null() => std::borrow::Cow::Owned(Map::new()),
            Value::Scalar(scalar) if shape.words.iter().any(|(word, _)| *word == scalar.text) => {
                let entry = Entry { key: node.at, node: Node::new(node.at, Value::Map(Map::new())) };
                std::borrow::Cow::Owned(Map::from([(scalar.text.clone(), entry)]))
            }
            _ => {
                mistakes.add(not_a_map(node, &shape));
                return None;
            }
        };
        let mut meant = HashSet::new();
        let mut unknown = false;
        for (key, entry) in map.iter() {
            if !shape.keys().any(|known| known == key) {
                let absent: Vec<&str> = shape.keys().filter(|known| !map.contains_key(*known)).collect();
                let title = format!("{} is not a key here", quoted(key));
                mistakes.add(Mistake::new(entry.key, title).known(key, "keys here", absent.iter().copied()));
                let nearest = super::nearest::nearest(key, absent);
                unknown = true;
                meant.extend(shape.keys().find(|known| Some(*known) == nearest));
            }
        }
        Some(MapReader { name_at, map, meant, unknown, mistakes })
    }

    /// The value under a key; what the type is without it, if the key is not given.
    pub fn field<T: Decode>(&mut self, key: &'static str) -> Option<T> {
        match self.map.get(key) {
            Some(Entry { node, .. }) => T::decode(node, self.mistakes),
            None => {
                let absent = T::when_absent();
                if absent.is_none() {
                    self.missing(key, &expectation(&T::shape()));
                }
                absent
            }
        }
    }

    /// The value under a key, or its default, as it would be written.
    pub fn field_or<T: Decode>(&mut self, key: &'static str, default: &str) -> Option<T> {
        match self.map.get(key) {
            Some(Entry { node, .. }) if !node.is_null() => T::decode(node, self.mistakes),
            _ => {
                let mut mistakes = Mistakes::default();
                let node = super::yaml::parse(0, default, &mut mistakes)?;
                let value = T::decode(&node, &mut mistakes);
                debug_assert!(value.is_some(), "the default of `{key}` is wrong: {mistakes}");
                value
            }
        }
    }

    /// The one option that is given; a mistake if there is none, or more than one.
    pub fn choose(&mut self, noun: &str, options: &[&'static str]) -> Option<&'static str> {
        let given: Vec<&'static str> =
            options.iter().copied().filter(|option| self.map.contains_key(*option)).collect();
        match given[..] {
            [one] => Some(one),
            [] => {
                if !self.unknown {
                    let label = format!("one of: {}", options.join(", "));
                    self.mistakes.add(Mistake::new(self.name_at, format!("this lacks {noun}")).label(label));
                }
                None
            }
            [first, second, ..] => {
                let at = |key: &str| self.map.get(key).map_or(self.name_at, |entry| entry.key);
                let title = format!("{noun} is exactly one of these; here are `{first}` and `{second}`");
                self.mistakes.add(Mistake::new(at(second), title).also(at(first), "and this"));
                None
            }
        }
    }

    /// Checks that nothing stands under an option that has no settings.
    pub fn nothing(&mut self, key: &'static str) -> Option<()> {
        self.enter(key, |_| {}).map(|_| ())
    }

    /// The map under a key.
    pub fn enter(&mut self, key: &'static str, keys: fn(&mut MapShape)) -> Option<MapReader<'_>> {
        let entry = self.map.get(key)?;
        MapReader::of(&entry.node, entry.key, keys, self.mistakes)
    }

    /// Whether a key is given.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    fn missing(&mut self, key: &'static str, expected: &str) {
        if !self.meant.contains(key) {
            let title = format!("`{key}` is missing");
            self.mistakes.add(Mistake::new(self.name_at, title).label(format!("`{key}`: {expected}")));
        }
    }
}

/// What a shape expects, in a few words.
fn expectation(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(scalar) => scalar.expected.clone(),
        Shape::Words(words) => words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Shape::List(_) => "a list".to_owned(),
        Shape::Map(_) => "a map".to_owned(),
        Shape::Keys(keys) if !keys.options.is_empty() => {
            format!("one of {}", keys.options.iter().map(|option| option.key).collect::<Vec<_>>().join(", "))
        }
        Shape::Keys(_) => "a map".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(expectation).collect::<Vec<_>>().join(", or "),
        Shape::Named(_, inner) => expectation(&inner()),
        Shape::Any => "a value".to_owned(),
    }
}

/// A mistake about something that stands where a map belongs.
fn not_a_map(node: &Node, shape: &MapShape) -> Mistake {
    let expected = if shape.choice.is_empty() { "a map" } else { shape.choice };
    let mistake = misplaced(node, expected);
    match node.text() {
        Some(text) if shape.options.iter().any(|option| option.key == text) => {
            mistake.label("it has settings").help(format!("write `{{ {text}: {{ … }} }}`"))
        }
        Some(text) if !shape.options.is_empty() => mistake.known(text, "one of", shape.keys()),
        _ => mistake.label(format!("keys here: {}", shape.keys().collect::<Vec<_>>().join(", "))),
    }
}

/// A mistake about a node of the wrong kind.
pub fn misplaced(node: &Node, expected: &str) -> Mistake {
    at_node(node, format!("{} stands where {expected} belongs", node.describe()))
}

/// A mistake at a node; where it is a parameter's value, the place that asked for it is told too.
pub fn at_node(node: &Node, title: impl Into<String>) -> Mistake {
    let at = if node.is_null() { node.key.unwrap_or(node.at) } else { node.at };
    let mistake = Mistake::new(at, title);
    match node.used_at {
        Some(used_at) => mistake.also(used_at, "used here"),
        None => mistake,
    }
}

/// The text of a scalar that is not null; a mistake otherwise.
pub fn scalar<'n>(node: &'n Node, noun: &str, mistakes: &mut Mistakes) -> Option<&'n str> {
    match node.text() {
        Some(text) if !node.is_null() => Some(text),
        _ => {
            mistakes.add(misplaced(node, noun));
            None
        }
    }
}

/// One of these words.
pub fn word<'w>(node: &Node, noun: &str, words: &[&'w str], mistakes: &mut Mistakes) -> Option<&'w str> {
    let text = scalar(node, noun, mistakes)?;
    let found = words.iter().copied().find(|word| *word == text);
    if found.is_none() {
        let title = format!("{} is not {noun}", quoted(text));
        mistakes.add(at_node(node, title).known(text, "words here", words.iter().copied()));
    }
    found
}

/// Reads a scalar by a function that says what it expected.
pub fn parsed<T>(
    node: &Node,
    noun: &str,
    mistakes: &mut Mistakes,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = scalar(node, noun, mistakes)?;
    match read(text) {
        Ok(value) => Some(value),
        Err(expected) => {
            mistakes.add(at_node(node, format!("{} is not {noun}", quoted(text))).label(expected));
            None
        }
    }
}

/// Scalars that read themselves from text.
macro_rules! scalars {
    ($($ty:ty, $noun:literal, $expected:expr, $json:literal;)*) => {$(
        impl Decode for $ty {
            fn shape() -> Shape {
                Shape::Scalar(ScalarShape { noun: $noun, expected: $expected, json: $json })
            }

            fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<$ty> {
                parsed(node, $noun, mistakes, |text| text.parse().map_err(|_| format!("expected {}", $expected)))
            }
        }
    )*};
}

/// What a unit expects, as it says itself.
fn unit<T: std::str::FromStr<Err = crate::units::UnitError>>() -> String {
    let error = "".parse::<T>().err().map(|error| error.to_string()).unwrap_or_default();
    error.trim_start_matches("expected ").to_owned()
}

scalars! {
    Span, "a duration", unit::<Span>(), "string";
    Rate, "a rate", unit::<Rate>(), "string";
    Share, "a share", unit::<Share>(), "string";
    Bytes, "a number of bytes", unit::<Bytes>(), "string";
    ByteRate, "a rate of bytes", unit::<ByteRate>(), "string";
    bool, "true or false", "`true` or `false`".to_owned(), "boolean";
    u16, "a whole number", "a whole number from 0 to 65535".to_owned(), "integer";
    u32, "a whole number", "a whole number, such as `1000`".to_owned(), "integer";
    u64, "a whole number", "a whole number, such as `1000`".to_owned(), "integer";
    usize, "a whole number", "a whole number, such as `1000`".to_owned(), "integer";
}

impl Decode for f64 {
    fn shape() -> Shape {
        Shape::Scalar(ScalarShape { noun: "a number", expected: "a number, such as `1.5`".to_owned(), json: "number" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<f64> {
        parsed(node, "a number", mistakes, |text| match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("expected a number, such as `1.5`".to_owned()),
        })
    }
}

impl Decode for String {
    fn shape() -> Shape {
        Shape::Scalar(ScalarShape { noun: "a text", expected: "a text".to_owned(), json: "string" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<String> {
        let text = scalar(node, "a text", mistakes)?;
        match super::interpolate::fill(text, |_| None) {
            Ok(text) => Some(text),
            // Parameters are filled in by now.
            Err(UnknownName { name }) => {
                let title = format!("`${{{name}}}` is known only once the system runs, and not used here");
                mistakes.add(at_node(node, title).label("works in a process, a check and an action"));
                None
            }
        }
    }
}

/// A text in which `${links.NAME.address}` and its like are filled in at run time.
pub struct Template(pub String);

impl Decode for Template {
    fn shape() -> Shape {
        let expected = "a text; `${links.NAME.address}` and its like are filled in".to_owned();
        Shape::Scalar(ScalarShape { noun: "a text", expected, json: "string" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Template> {
        scalar(node, "a text", mistakes).map(|text| Template(text.to_owned()))
    }
}

/// A name of the user's own, as the key of a map: letters, digits, `-` and `_`.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// A map whose keys are names that figures, files and expectations use.
pub struct Named<T>(pub IndexMap<String, T>);

impl<T: Decode> Decode for Named<T> {
    fn shape() -> Shape {
        Shape::Map(T::shape)
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Named<T>> {
        for (key, entry) in node.map().into_iter().flatten() {
            if !is_name(key) {
                let title = format!("{} cannot be a name", quoted(key));
                mistakes.add(Mistake::new(entry.key, title).label("expected letters, digits, `-` and `_`, 64 at most"));
            }
        }
        IndexMap::decode(node, mistakes).map(Named)
    }

    fn when_absent() -> Option<Named<T>> {
        Some(Named(IndexMap::new()))
    }
}

impl<T: Decode> Decode for IndexMap<String, T> {
    fn shape() -> Shape {
        Shape::Map(T::shape)
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<IndexMap<String, T>> {
        match &node.value {
            Value::Map(map) => {
                // All are read, also behind a bad one; the bad ones are left out, for the checks that follow.
                let read = map.iter().map(|(key, entry)| Some((key.clone(), T::decode(&entry.node, mistakes)?)));
                Some(read.collect::<Vec<_>>().into_iter().flatten().collect())
            }
            _ if node.is_null() => Some(IndexMap::new()),
            _ => {
                mistakes.add(misplaced(node, "a map"));
                None
            }
        }
    }

    fn when_absent() -> Option<IndexMap<String, T>> {
        Some(IndexMap::new())
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn shape() -> Shape {
        Shape::List(T::shape)
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Vec<T>> {
        match &node.value {
            Value::List(list) => {
                let read: Vec<Option<T>> = list.iter().map(|node| T::decode(node, mistakes)).collect();
                Some(read.into_iter().flatten().collect())
            }
            _ if node.is_null() => Some(Vec::new()),
            _ => {
                mistakes.add(misplaced(node, "a list"));
                None
            }
        }
    }

    fn when_absent() -> Option<Vec<T>> {
        Some(Vec::new())
    }
}

impl<T: Decode> Decode for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Option<T>> {
        if node.is_null() { Some(None) } else { T::decode(node, mistakes).map(Some) }
    }

    fn when_absent() -> Option<Option<T>> {
        Some(None)
    }
}

impl<T: Decode> Decode for Box<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Box<T>> {
        T::decode(node, mistakes).map(Box::new)
    }

    fn when_absent() -> Option<Box<T>> {
        T::when_absent().map(Box::new)
    }
}

/// Any tree, as JSON.
impl Decode for serde_json::Value {
    fn shape() -> Shape {
        Shape::Any
    }

    fn decode(node: &Node, _mistakes: &mut Mistakes) -> Option<serde_json::Value> {
        Some(node.to_json())
    }
}

/// A scalar node of one's own making, for a default or a command line.
pub fn scalar_node(at: At, text: &str) -> Node {
    Node::new(at, Value::Scalar(Scalar { text: text.to_owned(), plain: true }))
}
