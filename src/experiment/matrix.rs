//! `matrix`: any path × named values; one tree for each combination.

use indexmap::IndexMap;

use super::decode::{Decode, Named};
use super::mistake::{At, Mistake, Mistakes, Sources, quoted};
use super::shape::{Shape, about, key, read_fields, record, tell_fields};
use super::tree::{Entry, Map, Node, Value};
use super::{interpolate, take};

/// Variants that a matrix may come to; each is at least one run of seconds.
const VARIANTS: usize = 500;
/// Values that all variants together may come to.
const NODES: usize = 2_000_000;

/// One combination of the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Axis → name of its value.
    pub values: IndexMap<String, String>,
    /// The experiment with these values and all parameters filled in; without `matrix` and `smoke`.
    pub root: Node,
}

/// The axes of a matrix by name, sound or not, each with the names of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Axes {
    /// The names of an axis's values; none where they cannot be told.
    pub values: IndexMap<String, Option<Vec<String>>>,
    /// The matrix could not be read at all: there may be any axis.
    pub open: bool,
}

impl Axes {
    fn of(matrix: &Node) -> Axes {
        let values = |axis: &Node| axis.find(&["values"])?.map().map(|values| values.keys().cloned().collect());
        let axes = matrix.map().into_iter().flatten();
        Axes {
            values: axes.map(|(name, entry)| (name.clone(), values(&entry.node))).collect(),
            open: matrix.map().is_none() && !matrix.is_null(),
        }
    }
}

/// An axis as written.
pub struct Axis {
    path: String,
    values: IndexMap<String, Node>,
}

record! {
    /// One axis of the matrix: a path in this file, and the values that stand there in turn.
    Axis {
        /// Where the values go: keys joined by dots, such as `workloads.orders.retry` or `params.rate`.
        path: String,
        /// The values by name; the names make the variant's id, such as `retry=none`.
        values: IndexMap<String, Node>,
    } => Axis { path, values }
}

/// A part of the file that something else reads once it is in its place.
impl Decode for Node {
    fn shape() -> Shape {
        Shape::Any
    }

    fn decode(node: &Node, _mistakes: &mut Mistakes) -> Option<Node> {
        Some(node.clone())
    }
}

/// Takes `matrix` out of the tree and makes a tree of each combination, parameters filled in; also which axes it names.
pub(super) fn expand(mut root: Node, sources: &Sources, mistakes: &mut Mistakes) -> (Vec<Variant>, Axes) {
    let matrix = take(&mut root, "matrix");
    let declared = matrix.as_ref().map(Axes::of).unwrap_or_default();
    let axes = matrix
        .as_ref()
        .and_then(|matrix| Named::<Axis>::decode(matrix, mistakes))
        .map_or_else(Default::default, |axes| axes.0);
    let mut variants = vec![Variant { values: IndexMap::new(), root }];
    for (name, axis) in &axes {
        let at = |path: &[&str]| matrix.as_ref().map_or_else(At::default, |matrix| matrix.at(path));
        check_axis(name, axis, matrix.as_ref(), mistakes);
        let count = variants.len() * axis.values.len().max(1);
        let size = variants.first().map_or(0, |variant| variant.root.size()) * count;
        if count > VARIANTS || size > NODES {
            let title = format!("the matrix comes to more than {VARIANTS} variants");
            mistakes.add(Mistake::new(at(&[name]), title).label("this axis is one too many"));
            break;
        }
        let place = at(&[name, "path"]);
        variants = variants
            .iter()
            .flat_map(|variant| axis.values.iter().map(move |value| (variant, value)))
            .map(|(variant, (value_name, value))| {
                let mut next = variant.clone();
                next.values.insert(name.clone(), value_name.clone());
                put(&mut next.root, &axis.path, place, value, mistakes);
                next
            })
            .collect();
    }
    for variant in &mut variants {
        let params = params_of(&variant.root);
        interpolate::params(&mut variant.root, &params, sources, mistakes);
    }
    (variants, declared)
}

fn check_axis(name: &str, axis: &Axis, matrix: Option<&Node>, mistakes: &mut Mistakes) {
    let Some(matrix) = matrix else { return };
    if axis.values.is_empty() {
        let title = format!("the axis `{name}` has no values");
        mistakes.add(Mistake::new(matrix.key_at(&[name]), title).label("expected `values: { name: value, … }`"));
    }
    for value in axis.values.keys() {
        // The names go into file names, `where` clauses and the variant's id.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '%' | '+');
        if value.is_empty() || value.len() > 64 || !value.chars().all(fits) || value.starts_with('.') {
            let title = format!("{} cannot be the name of a value", quoted(value));
            let at = matrix.key_at(&[name, "values", value]);
            mistakes.add(Mistake::new(at, title).label("expected letters, digits and `-_.%+`"));
        }
    }
}

fn params_of(root: &Node) -> IndexMap<String, Node> {
    let params = root.find(&["params"]).and_then(Node::map);
    params.into_iter().flatten().map(|(name, entry)| (name.clone(), entry.node.clone())).collect()
}

/// Puts a value where a path leads; the last key may be new, the ones before it must be there.
fn put(root: &mut Node, path: &str, at: At, value: &Node, mistakes: &mut Mistakes) {
    let mut node = root;
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        if node.is_null() {
            node.value = Value::Map(Map::new());
        }
        let last = steps.peek().is_none();
        let node_at = node.at;
        let next = match &mut node.value {
            Value::Map(map) => {
                if last && !map.contains_key(step) && !step.is_empty() {
                    // An unknown key is told at the path, by whoever reads the map.
                    let node = Node { key: Some(at), ..value.clone() };
                    map.insert(step.to_owned(), Entry { key: at, node });
                    return;
                }
                if !map.contains_key(step) {
                    let title = format!("the path `{path}` leads nowhere: there is no {}", quoted(step));
                    mistakes.add(Mistake::new(at, title).known(step, "keys there", map.keys().map(String::as_str)));
                    return;
                }
                map.get_mut(step).map(|entry| &mut entry.node)
            }
            Value::List(list) => step.parse::<usize>().ok().and_then(|index| list.get_mut(index)),
            Value::Scalar(_) => None,
        };
        let Some(next) = next else {
            let title = format!("the path `{path}` leads nowhere: there is nothing at {}", quoted(step));
            mistakes.add(Mistake::new(at, title).also(node_at, "beyond this"));
            return;
        };
        if last {
            *next = Node { key: next.key, ..value.clone() };
            return;
        }
        node = next;
    }
}
