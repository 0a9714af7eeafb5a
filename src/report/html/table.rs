//! Tables of a page: every cell says something, every heading that has a definition links to it.

use askama::Template;

/// A table; the first column heads its rows.
#[derive(Template)]
#[template(path = "table.html")]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) head: Vec<Cell>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// In smaller type behind it: a reason, a spread, a source.
    pub(super) note: String,
    /// CSS classes.
    pub(super) class: &'static str,
    /// The id of the definition that its text links to.
    pub(super) definition: &'static str,
}

impl Cell {
    /// Words, which stand left.
    pub(super) fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), ..Cell::default() }
    }

    /// A figure, which stands right.
    pub(super) fn number(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), class: "n", ..Cell::default() }
    }

    /// Something to read letter by letter.
    pub(super) fn code(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), class: "code", ..Cell::default() }
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Cell {
        self.note = note.into();
        self
    }

    pub(super) fn class(mut self, class: &'static str) -> Cell {
        self.class = class;
        self
    }

    pub(super) fn defined(mut self, definition: &'static str) -> Cell {
        self.definition = definition;
        self
    }
}

impl Table {
    /// Whether it has a row.
    pub(super) fn says_something(&self) -> bool {
        !self.rows.is_empty()
    }

    pub(super) fn new(caption: impl Into<String>, head: Vec<Cell>) -> Table {
        Table { caption: caption.into(), head, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.head.len(), "a row as wide as its table: {}", self.caption);
        self.rows.push(cells);
    }
}
