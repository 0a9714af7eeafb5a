//! What a run says to people and to machines: one view model, five forms.
//!
//! ```text
//! Measured + Verdict + Manifest ──▶ Report ──▶ report.html   read by people, from disk, without a network
//!                                         ──▶ report.md     a pull request's comment
//!                                         ──▶ report.json   for machines, with a schema
//!                                         ──▶ junit.xml     for a CI's test view
//!                                         ──▶ terminal      the last words of `brownout run`
//! ```
//!
//! [`Report::new`] decides what is said, `say` how a figure is written, and each writer only where it stands.
//! A word on the page is a word of `docs/measurement.md`; its definition is one click away.

mod annotations;
mod change;
#[cfg(test)]
mod damaged;
pub(crate) mod files;
mod html;
mod json;
mod junit;
mod make;
mod manifest;
mod markdown;
mod proof;
mod row;
mod say;
mod sentences;
mod summary;
mod terminal;
mod view;

use std::io;
use std::path::{Path, PathBuf};

pub use annotations::github;
pub use html::html;
pub use json::{json, schema};
pub use junit::{junit, junit_of};
pub use manifest::{BASELINE_FILE, EXPERIMENT_FILE, Host, MANIFEST_FILE, MANIFEST_SCHEMA, Manifest, ManifestError};
pub use markdown::{LIMIT as MARKDOWN_LIMIT, markdown};
pub use row::{Cell, Row, Spread};
pub(crate) use say::wall;
pub use summary::{Entry, markdown_of, terminal_of};
pub use terminal::{Style, terminal};
pub use view::{Conclusion, Experiment, REPORT_SCHEMA, Report, VariantDoubt};

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write the report `{path}`")]
pub struct ReportError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The names of the files of a report.
const NAMES: [&str; 4] = ["report.json", "junit.xml", "report.md", "report.html"];

/// The files of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `report.html`.
    pub html: PathBuf,
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
}

/// Whether a file of a run folder is derived from the others, by its path inside it.
pub(crate) fn is_report(path: &str) -> bool {
    NAMES.contains(&path)
}

/// Every form of the report in a file, by name.
pub(crate) fn forms(report: &Report) -> [(&'static str, Vec<u8>); 4] {
    let [json_name, junit_name, markdown_name, html_name] = NAMES;
    [
        (json_name, json(report)),
        (junit_name, junit(report)),
        (markdown_name, markdown(report).into_bytes()),
        (html_name, html(report).into_bytes()),
    ]
}

/// Writes every form of the report into a run folder; each file is whole or not there.
pub fn write_all(report: &Report, dir: &Path) -> Result<Written, ReportError> {
    // The page comes last: who sees it finds the others.
    for (name, content) in forms(report) {
        let path = dir.join(name);
        files::replace(&path, &content).map_err(|source| ReportError { path, source })?;
    }
    let [json, junit, markdown, html] = NAMES.map(|name| dir.join(name));
    Ok(Written { html, markdown, json, junit })
}
