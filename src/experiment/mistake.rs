//! Everything that is wrong with an experiment, told at once: where, what was expected, what was probably meant.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Mistakes shown at most; a file of garbage is told by its first lines.
const SHOWN: usize = 50;

/// A stretch of bytes of one [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Which source: its number among the [`Sources`].
    pub source: u16,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl At {
    /// A stretch of the source of this number.
    pub fn new(source: u16, range: Range<usize>) -> At {
        let clamp = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
        At { source, start: clamp(range.start), end: clamp(range.end.max(range.start)) }
    }

    /// As a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A text that mistakes point into: the experiment file, or one `--set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path as given, or `--set`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Every text that an experiment was read from; the file is number 0.
pub type Sources = Arc<Vec<Source>>;

/// Whether a mistake keeps the experiment from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but is worth a look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Whether it keeps the experiment from running.
    pub severity: Severity,
    /// Where; none for what concerns no place in a text.
    pub at: Option<At>,
    /// What is wrong, in a line.
    pub title: String,
    /// What stands under the place: what was expected.
    pub label: Option<String>,
    /// A second place that explains the first.
    pub also: Option<(At, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Mistake {
    /// A mistake at a place.
    pub fn new(at: At, title: impl Into<String>) -> Mistake {
        Mistake { at: Some(at), ..Mistake::nowhere(title) }
    }

    /// A mistake that concerns no place in a text.
    pub fn nowhere(title: impl Into<String>) -> Mistake {
        Mistake { severity: Severity::Error, at: None, title: title.into(), label: None, also: None, help: None }
    }

    /// Worth a look, no more.
    pub fn warning(self) -> Mistake {
        Mistake { severity: Severity::Warning, ..self }
    }

    /// What stands under the place.
    pub fn label(self, label: impl Into<String>) -> Mistake {
        Mistake { label: Some(label.into()), ..self }
    }

    /// A second place.
    pub fn also(self, at: At, label: impl Into<String>) -> Mistake {
        Mistake { also: Some((at, label.into())), ..self }
    }

    /// What to do.
    pub fn help(self, help: impl Into<String>) -> Mistake {
        Mistake { help: Some(help.into()), ..self }
    }

    /// The nearest known word as help, if one is near; the known words as label.
    pub fn known<'a>(self, wrong: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Mistake {
        let known: Vec<&str> = known.into_iter().collect();
        let nearest = super::nearest::nearest(wrong, known.iter().copied());
        let listed = match known.len() {
            0 => format!("{what}: none"),
            1..=12 => format!("{what}: {}", known.join(", ")),
            n => format!("{what}: {} and {} more", known[..12].join(", "), n - 12),
        };
        let mistake = if self.label.is_none() { self.label(listed) } else { self };
        match nearest {
            Some(nearest) => mistake.help(format!("did you mean `{nearest}`?")),
            None => mistake,
        }
    }
}

/// All mistakes of an experiment, with the texts that they point into.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    sources: Sources,
    list: Vec<Mistake>,
    seen: BTreeSet<(Option<At>, String)>,
    told: BTreeSet<At>,
}

impl Mistakes {
    /// None yet.
    pub fn of(sources: Sources) -> Mistakes {
        Mistakes { sources, ..Mistakes::default() }
    }

    /// One more; the same mistake at the same place counts once, as a matrix reads the file once for each variant.
    pub fn add(&mut self, mistake: Mistake) {
        if mistake.at.is_some_and(|at| self.told.contains(&at)) {
            return;
        }
        if self.seen.insert((mistake.at, mistake.title.clone())) {
            self.list.push(mistake);
        }
    }

    /// Whatever else is said of this place follows from a mistake that was told: it is not added.
    pub fn is_told(&mut self, at: At) {
        self.told.insert(at);
    }

    /// All mistakes and warnings, in the order of the texts.
    pub fn list(&self) -> Vec<&Mistake> {
        let mut list: Vec<&Mistake> = self.list.iter().collect();
        list.sort_by_key(|mistake| mistake.at);
        list
    }

    /// The texts that mistakes point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether nothing at all was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many keep the experiment from running.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|mistake| mistake.severity == Severity::Error).count()
    }

    /// How many are worth a look, no more.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// As text for a terminal: each with file, line, column and snippet, then how many there are.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(140);
        let mut text = String::new();
        for mistake in self.list().into_iter().take(SHOWN) {
            text.push_str(&renderer.render(&[self.group(mistake)]));
            text.push_str("\n\n");
        }
        if self.list.len() > SHOWN {
            text.push_str(&format!("… and {} more\n\n", self.list.len() - SHOWN));
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// `2 mistakes, nothing was started`, or `1 warning`.
    fn summary(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        match (self.errors(), self.warnings()) {
            (0, warnings) => count(warnings, "warning"),
            (errors, 0) => format!("{}, nothing was started", count(errors, "mistake")),
            (errors, warnings) => {
                format!("{}, {}, nothing was started", count(errors, "mistake"), count(warnings, "warning"))
            }
        }
    }

    fn group<'a>(&'a self, mistake: &'a Mistake) -> Group<'a> {
        let level = match mistake.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(mistake.title.as_str());
        let mut group = match mistake.at {
            Some(at) => {
                let also = mistake.also.as_ref();
                let mut snippet = self.snippet(at).annotation(
                    AnnotationKind::Primary.span(self.clamp(at)).label(mistake.label.as_deref().unwrap_or_default()),
                );
                let beside = also.filter(|(other, _)| other.source == at.source);
                if let Some((other, label)) = beside {
                    snippet =
                        snippet.annotation(AnnotationKind::Context.span(self.clamp(*other)).label(label.as_str()));
                }
                let mut group = title.element(snippet);
                if let (None, Some((other, label))) = (beside, also) {
                    group = group.element(
                        self.snippet(*other)
                            .annotation(AnnotationKind::Context.span(self.clamp(*other)).label(label.as_str())),
                    );
                }
                group
            }
            None => Group::with_title(title),
        };
        if let Some(help) = &mistake.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    fn snippet<'a, T: Clone>(&'a self, at: At) -> Snippet<'a, T> {
        match self.sources.get(usize::from(at.source)) {
            Some(source) => Snippet::source(source.text.as_str()).path(source.name.as_str()),
            None => Snippet::source(""),
        }
    }

    /// A range that lies in its text, on borders of characters, on one line: a snippet shows where something starts.
    fn clamp(&self, at: At) -> Range<usize> {
        let text = self.sources.get(usize::from(at.source)).map_or("", |source| source.text.as_str());
        let mut start = at.range().start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = at.range().end.clamp(start, text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = text[start..end].find(['\n', '\r']).map_or(end, |length| start + length);
        start..line
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Mistakes {}

/// A user's text inside a message: one line, no control characters, not too long.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
