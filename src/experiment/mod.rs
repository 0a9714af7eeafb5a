//! What the user wrote: a tree with places, and everything that is wrong with it, told at once.
//!
//! ```text
//! YAML ──▶ tree ──▶ smoke overlay ──▶ --set ──▶ matrix ──▶ ${params} ──▶ one tree for each variant
//!         (spans)                                                      │ decode, by the shapes of `plan::written`
//!                                                                      ▼
//!                                                                    Plan
//! ```
//!
//! An [`Experiment`] is as written: nothing is left out, nothing is filled in but what the file itself asks for.
//! What each key means is told once, next to the type that it becomes ([`shape`]); the decoder, `brownout schema`
//! and the reference page read the same table.

pub mod decode;
pub mod expectation;
pub mod interpolate;
mod matrix;
pub mod metric;
pub mod mistake;
pub mod nearest;
pub mod reference;
pub mod schema;
pub mod shape;
pub mod tree;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

pub use matrix::{Axes, Axis, Variant};
pub use mistake::{At, Mistake, Mistakes, Severity, Source, Sources};
use tree::{Entry, Node, Value};

/// The largest file that is read; an experiment that brings its servers' configurations is some kilobytes.
const LARGEST: u64 = 1 << 20;

/// A commented first experiment that passes `check` and runs: what `brownout init` writes.
pub const FIRST: &str = include_str!("first.yaml");

/// What the command line changes in an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--set name=value`, in order.
    pub set: Vec<String>,
    /// Apply the `smoke:` overlay.
    pub smoke: bool,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--repeat`.
    pub repeat: Option<u32>,
    /// `--no-faults`: a control run.
    pub no_faults: bool,
}

/// An experiment as written, one tree for each variant of its matrix.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The file's path as given.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// The texts that places point into.
    pub sources: Sources,
    /// The variants, in the order of the matrix; one without an axis if there is no matrix.
    pub variants: Vec<Variant>,
    /// The axes of the matrix as written, for those who name one.
    pub axes: Axes,
    /// Parameters as used.
    pub params: IndexMap<String, String>,
    /// What the command line changed.
    pub overrides: Overrides,
    /// What is wrong so far; resolving goes on and tells it with the rest.
    pub mistakes: Mistakes,
}

impl Experiment {
    /// SHA-256 of the file as written, in hexadecimal.
    pub fn sha256(&self) -> String {
        Sha256::digest(&self.text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads an experiment file.
///
/// Fails only where there is no tree to go on with; everything else that is wrong is kept in
/// [`Experiment::mistakes`], which `Plan::resolve` tells together with what it finds itself.
pub fn load(path: impl AsRef<Path>, overrides: &Overrides) -> Result<Experiment, Mistakes> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let told = |title: String, help: &str| {
        let mut mistakes = Mistakes::default();
        mistakes.add(Mistake::nowhere(title).help(help));
        mistakes
    };
    let bytes = std::fs::metadata(path)
        .and_then(|file| if file.len() > LARGEST { Ok(Vec::new()) } else { std::fs::read(path) })
        .map_err(|error| {
            told(format!("could not read {name}: {error}"), "`brownout init` writes a first experiment")
        })?;
    if bytes.is_empty() && std::fs::metadata(path).is_ok_and(|file| file.len() > LARGEST) {
        return Err(told(format!("{name} is larger than 1 MiB"), "an experiment is a page of YAML"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| told(format!("{name} is not UTF-8: {error}"), "save the file as UTF-8"))?;
    parse(&name, text, overrides)
}

/// Reads an experiment from a text; `name` is shown in messages.
pub fn parse(name: &str, text: String, overrides: &Overrides) -> Result<Experiment, Mistakes> {
    let mut sources = vec![Source { name: name.to_owned(), text }];
    sources.extend(overrides.set.iter().map(|set| Source { name: "--set".to_owned(), text: set.clone() }));
    let sources: Sources = Arc::new(sources);
    let mut mistakes = Mistakes::of(sources.clone());
    let text = sources[0].text.clone();

    let Some(mut root) = yaml::parse(0, &text, &mut mistakes) else {
        if mistakes.errors() == 0 {
            let empty = Mistake::nowhere(format!("{name} is empty"));
            mistakes.add(empty.help("`brownout init` writes a first experiment"));
        }
        return Err(mistakes);
    };
    if root.map().is_none() {
        let label = "expected keys such as `name:` and `system:`";
        mistakes.add(Mistake::new(root.at, "an experiment is a map").label(label));
        return Err(mistakes);
    }

    if let Some(smoke) = take(&mut root, "smoke").filter(|_| overrides.smoke) {
        root.overlay(Node { key: None, ..smoke });
    }
    let declared = set_params(&mut root, overrides, &mut mistakes);
    let (variants, axes) = matrix::expand(root, &sources, &mut mistakes);
    let params = declared.iter().map(|(name, node)| (name.clone(), node.text().unwrap_or_default().to_owned()));
    Ok(Experiment {
        path: name.to_owned(),
        text,
        params: params.collect(),
        variants,
        axes,
        overrides: overrides.clone(),
        sources,
        mistakes,
    })
}

/// Takes a key out of a map.
fn take(root: &mut Node, key: &str) -> Option<Node> {
    match &mut root.value {
        Value::Map(map) => map.shift_remove(key).map(|entry| entry.node),
        _ => None,
    }
}

/// Reads `params`, and puts what `--set` says in the place of what the file says.
fn set_params(root: &mut Node, overrides: &Overrides, mistakes: &mut Mistakes) -> IndexMap<String, Node> {
    let mut params = IndexMap::new();
    match root.find(&["params"]).map(|node| (&node.value, node.is_null())) {
        None | Some((_, true)) => {}
        Some((Value::Map(map), _)) => {
            for (name, Entry { key, node }) in map {
                if interpolate::RunTimeName::parse(name).is_some() || !decode::is_name(name) {
                    let title = format!("{} cannot be the name of a parameter", mistake::quoted(name));
                    mistakes.add(Mistake::new(*key, title).label("expected letters, digits, `-` and `_`; not `dir`"));
                } else if node.text().is_none() {
                    let title = format!("the parameter `{name}` is {}", node.describe());
                    mistakes.add(Mistake::new(*key, title).label("expected a text or a number"));
                } else if let Some((other, _)) = interpolate::names(node.text().unwrap_or_default()).next() {
                    let title = format!("the parameter `{name}` asks for `${{{other}}}`");
                    mistakes.add(Mistake::new(node.at, title).label("a parameter stands for itself"));
                }
                params.insert(name.clone(), node.clone());
            }
        }
        Some(_) => {
            let at = root.key_at(&["params"]);
            mistakes.add(Mistake::new(at, "`params` is a map").label("expected `params: { rate: 500/s }`"));
        }
    }
    for (index, set) in overrides.set.iter().enumerate() {
        let source = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let Some((name, value)) = set.split_once('=') else {
            let title = format!("`--set {set}` has no `=`");
            mistakes.add(Mistake::new(At::new(source, 0..set.len()), title).label("expected `--set name=value`"));
            continue;
        };
        match params.get_mut(name) {
            Some(param) => {
                let at = At::new(source, name.len() + 1..set.len());
                *param = Node { key: param.key, ..decode::scalar_node(at, value) };
                if let Some(Value::Map(map)) = find_mut(root, "params").map(|node| &mut node.value)
                    && let Some(entry) = map.get_mut(name)
                {
                    entry.node = param.clone();
                }
            }
            None => {
                let at = At::new(source, 0..name.len());
                let known: Vec<&str> = params.keys().map(String::as_str).collect();
                let title = format!("`--set`: no parameter is called {}", mistake::quoted(name));
                mistakes.add(Mistake::new(at, title).known(name, "params of this experiment", known));
            }
        }
    }
    for (name, node) in params.iter().filter(|(_, node)| node.is_null()) {
        let title = format!("the parameter `{name}` must be set");
        let help = format!("add `--set {name}=…`");
        let at = node.key.unwrap_or(node.at);
        mistakes.add(Mistake::new(at, title).label("null in the file").help(help));
        mistakes.is_told(at);
    }
    params
}

fn find_mut<'n>(root: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match &mut root.value {
        Value::Map(map) => map.get_mut(key).map(|entry| &mut entry.node),
        _ => None,
    }
}

/// A file as JSON, as it is written: to check it against the schema. None if it cannot be read.
pub fn to_json(text: &str) -> Option<serde_json::Value> {
    yaml::parse(0, text, &mut Mistakes::default()).map(|root| root.to_json())
}
