//! The reference page of the experiment file, from the same tables as the decoder.

use std::collections::HashSet;
use std::fmt::Write;

use super::shape::{Field, MapShape, Shape};

/// Every key of a file of this shape: a heading for each map, a row for each key.
pub fn reference(root: &Shape) -> String {
    let mut page = Page { text: String::new(), queue: Vec::new(), seen: HashSet::new() };
    page.value(root);
    let mut next = 0;
    while let Some((name, shape)) = page.queue.get(next).cloned() {
        page.section(&name, &shape);
        next += 1;
    }
    page.text
}

struct Page {
    text: String,
    /// Headings in the order in which they are met.
    queue: Vec<(String, Shape)>,
    seen: HashSet<String>,
}

impl Page {
    fn section(&mut self, name: &str, shape: &Shape) {
        let _ = writeln!(self.text, "## {name}\n");
        match shape {
            Shape::Keys(keys) => self.keys(name, keys),
            other => {
                let value = self.value(other);
                let _ = writeln!(self.text, "{}{}.\n", value[..1].to_uppercase(), &value[1..]);
            }
        }
    }

    fn keys(&mut self, name: &str, keys: &MapShape) {
        if !keys.about.is_empty() {
            let _ = writeln!(self.text, "{}\n", plain(keys.about));
        }
        if !keys.fields.is_empty() {
            let _ = writeln!(self.text, "| key | value | default | meaning |\n|---|---|---|---|");
            for field in &keys.fields {
                self.row(name, field, true);
            }
            self.text.push('\n');
        }
        if !keys.options.is_empty() {
            let beside = if keys.fields.is_empty() { "Exactly one of" } else { "Beside these, exactly one of" };
            let _ = writeln!(self.text, "{beside}:\n\n| key | value | meaning |\n|---|---|---|");
            for option in &keys.options {
                self.row(name, option, false);
            }
            self.text.push('\n');
        }
    }

    fn row(&mut self, parent: &str, field: &Field, with_default: bool) {
        let shape = (field.shape)();
        let value = match &shape {
            Shape::Keys(keys) if keys.fields.is_empty() && keys.options.is_empty() => {
                format!("the word `{}` alone", field.key)
            }
            // Settings of one option: a heading of their own.
            Shape::Keys(_) => self.link(format!("{parent}: {}", field.key), shape.clone()),
            _ => self.value(&shape),
        };
        let about = plain(field.about);
        let _ = match (with_default, field.required, field.default) {
            (false, ..) => writeln!(self.text, "| `{}` | {value} | {about} |", field.key),
            (true, true, _) => writeln!(self.text, "| `{}` | {value} | **required** | {about} |", field.key),
            (true, false, Some(default)) => {
                writeln!(self.text, "| `{}` | {value} | `{default}` | {about} |", field.key)
            }
            (true, false, None) => writeln!(self.text, "| `{}` | {value} | – | {about} |", field.key),
        };
    }

    /// What may stand in a place, in a few words; maps get a heading of their own.
    fn value(&mut self, shape: &Shape) -> String {
        match shape {
            Shape::Scalar(scalar) => scalar.expected.replace('|', "\\|"),
            Shape::Words(words) => {
                let few = words.len() <= 4;
                let meaning = |about: &str| match about.trim_end_matches('.') {
                    about if few => format!(" ({})", plain(about)),
                    _ => String::new(),
                };
                words.iter().map(|(word, about)| format!("`{word}`{}", meaning(about))).collect::<Vec<_>>().join(", ")
            }
            Shape::List(items) => format!("a list of: {}", self.value(&items())),
            Shape::Map(values) => format!("a map, name → {}", self.value(&values())),
            Shape::Keys(_) => "a map".to_owned(),
            Shape::Either(shapes) => shapes.iter().map(|shape| self.value(shape)).collect::<Vec<_>>().join("; or "),
            Shape::Named(name, inner) => self.link(heading(name), inner()),
            Shape::Any => "anything".to_owned(),
        }
    }

    fn link(&mut self, name: String, shape: Shape) -> String {
        let anchor: String = name.to_lowercase().replace(' ', "-").chars().filter(|c| *c != ':').collect();
        let link = format!("[{}](#{anchor})", name.to_lowercase());
        if self.seen.insert(name.clone()) {
            self.queue.push((name, shape));
        }
        link
    }
}

/// `WrittenSystem` as `System`, `ActionRequest` as `Action request`.
fn heading(name: &str) -> String {
    let name = match name.strip_prefix("Written") {
        Some("") => "Experiment",
        Some(rest) => rest,
        None => name,
    };
    let mut text = String::new();
    for (index, c) in name.char_indices() {
        if index > 0 && c.is_uppercase() {
            text.push(' ');
            text.extend(c.to_lowercase());
        } else {
            text.push(c);
        }
    }
    text
}

/// The lines of a doc comment as one.
fn plain(about: &str) -> String {
    about.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
