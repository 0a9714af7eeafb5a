//! Many experiments in one summary: a table on the terminal and in Markdown. Their cases in one file are [`junit`]'s.
//!
//! [`junit`]: super::junit::junit_of

use std::fmt::Write;

use super::markdown::{cut, escape, markdown};
use super::say;
use super::sentences::KNOWN;
use super::terminal::{Style, paint, printable, verdict_colour, width};
use super::view::{Report, mark, word};
use crate::verdict::Word;

/// The Markdown of all experiments is shorter than this, in characters: a CI's job summary has some 1 MiB.
const LIMIT: usize = 500_000;

/// One experiment of many.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its file, as it was given.
    pub file: String,
    /// What it came to, or why there is no report.
    pub report: Result<Report, String>,
}

impl Entry {
    fn word(&self) -> Option<Word> {
        self.report.as_ref().ok().map(|report| report.conclusion.verdict)
    }

    fn mark(&self) -> char {
        self.word().map_or('■', mark)
    }

    fn said(&self) -> &'static str {
        self.word().map_or("not run", word)
    }

    /// `3 of 4 expectations`, and how long its runs took.
    fn figures(&self) -> (String, String) {
        let Ok(report) = &self.report else { return (String::new(), String::new()) };
        let conclusion = &report.conclusion;
        let all = report.expectations.len();
        let held = format!("{} of {}", conclusion.held, say::counted(all as u64, "expectation"));
        let took = match report.manifest.duration_ns {
            0 => String::new(),
            ns => say::duration(ns),
        };
        (held, took)
    }

    /// The first sentence that matters: of what held, what is tolerated; none where all is well.
    fn trouble(&self) -> &str {
        let report = match &self.report {
            Ok(report) => report,
            Err(why) => return why,
        };
        let mut sentences = report.conclusion.sentences.iter();
        let told = match report.conclusion.verdict {
            Word::Held => sentences.find(|sentence| sentence.starts_with(KNOWN)),
            _ => sentences.next(),
        };
        told.map_or("", String::as_str)
    }
}

/// `5 experiments: 3 held, 1 failed, 1 not run`.
fn headline(entries: &[Entry]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let order = [Word::Held, Word::Failed, Word::Inconclusive, Word::Aborted, Word::NotReady].map(word);
    for said in order.into_iter().chain(["not run"]) {
        match entries.iter().filter(|entry| entry.said() == said).count() {
            0 => {}
            count => counts.push((said, count)),
        }
    }
    let counts: Vec<String> = counts.into_iter().map(|(said, count)| format!("{count} {said}")).collect();
    format!("{}: {}", say::counted(entries.len() as u64, "experiment"), counts.join(", "))
}

/// The table on the terminal: a line each experiment.
pub fn terminal_of(entries: &[Entry], style: &Style) -> String {
    let mut out = format!("\n{}", headline(entries));
    if let Some(code) = style.exit_code {
        let _ = write!(out, "   exit {code}");
    }
    out.push_str("\n\n");
    let rows: Vec<[String; 4]> = entries
        .iter()
        .map(|entry| {
            let (expectations, took) = entry.figures();
            [format!("{} {}", entry.mark(), entry.said()), printable(&entry.name), expectations, took]
        })
        .collect();
    let widths = [0, 1, 2, 3].map(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
    for (entry, row) in entries.iter().zip(&rows) {
        let (start, end) = paint(style, entry.word().map_or(verdict_colour(Word::NotReady), verdict_colour));
        let [said, name, expectations, took] = row;
        let pad = |column: usize| widths[column].saturating_sub(width(&row[column]));
        let mut line = format!("  {start}{said}{end}{:1$}", "", pad(0));
        let _ = write!(line, "   {name}{:1$}", "", pad(1));
        let _ = write!(line, "   {expectations}{:1$}", "", pad(2));
        let _ = write!(line, "   {:1$}{took}", "", pad(3));
        let _ = writeln!(out, "{}", line.trim_end());
        if !entry.trouble().is_empty() {
            let _ = writeln!(out, "      {}", printable(entry.trouble()));
        }
    }
    out
}

/// The same in Markdown, with the whole report of each experiment that did not hold. One alone is its report.
pub fn markdown_of(entries: &[Entry]) -> String {
    if let [Entry { report: Ok(report), .. }] = entries {
        return markdown(report);
    }
    let good = entries.iter().all(|entry| entry.word() == Some(Word::Held));
    let mut out = format!("### {} {}\n\n", if good { "✅" } else { "❌" }, headline(entries));
    out.push_str("| | experiment | expectations held | took | what matters |\n|:-:|:--|--:|--:|:--|\n");
    for entry in entries {
        let (expectations, took) = entry.figures();
        let trouble = escape(&cut(entry.trouble(), 220));
        let name = escape(&cut(&entry.name, 80));
        let _ = writeln!(out, "| {} | {name} | {expectations} | {took} | {trouble} |", entry.mark());
    }
    out.push('\n');
    let (mut left, mut untold) = (LIMIT.saturating_sub(out.chars().count()), 0);
    for entry in entries {
        let Ok(report) = &entry.report else { continue };
        if report.conclusion.verdict == Word::Held {
            continue;
        }
        let summary = format!("{} {}", entry.mark(), escape(&cut(&entry.name, 80)));
        let details = format!("<details><summary>{summary}</summary>\n\n{}\n</details>\n\n", markdown(report));
        match left.checked_sub(details.chars().count()) {
            Some(rest) => {
                left = rest;
                out.push_str(&details);
            }
            None => untold += 1,
        }
    }
    if untold > 0 {
        let _ = writeln!(out, "… and {} in their run folders.", say::counted(untold, "more report"));
    }
    out
}
