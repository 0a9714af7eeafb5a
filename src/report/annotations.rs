//! What did not hold, beside the line of the experiment file that says it: GitHub's workflow commands.

use std::fmt::Write;

use super::summary::Entry;
use super::view::Report;
use crate::experiment::expectation::Expectation;
use crate::verdict::{Judgement, Word};

/// Annotations for GitHub Actions, a line each: what failed is an error, what nobody knows a warning, what failed as
/// expected a notice.
pub fn github(entries: &[Entry]) -> String {
    let mut out = String::new();
    for entry in entries {
        match &entry.report {
            Ok(report) => of_report(entry, report, &mut out),
            Err(why) => annotate(&mut out, "error", &entry.file, None, &format!("{}: not run", entry.name), why),
        }
    }
    out
}

fn of_report(entry: &Entry, report: &Report, out: &mut String) {
    let text = report.manifest.experiment.as_deref().unwrap_or_default();
    for (variant, line) in report.folded_expectations() {
        let (command, came_to) = match line.outcome {
            Judgement::Held => continue,
            Judgement::Failed => ("error", "failed"),
            Judgement::Inconclusive => ("warning", "inconclusive"),
            Judgement::FailedAsExpected => ("notice", "failed as expected"),
        };
        let of = if variant.is_empty() { String::new() } else { format!(", {variant}") };
        let mut message = format!("{}: it was {}", line.expectation, line.observed);
        if !line.explained().is_empty() {
            let _ = write!(message, " ({})", line.explained());
        }
        let title = format!("{}{of}: {came_to}", entry.name);
        annotate(out, command, &entry.file, line_of(text, &line.expectation), &title, &message);
    }
    // Why a run as a whole did not come to an end, or cannot be trusted, stands in its first sentence.
    let verdict = report.conclusion.verdict;
    if matches!(verdict, Word::Inconclusive | Word::Aborted | Word::NotReady)
        && let Some(sentence) = report.conclusion.sentences.first()
    {
        let command = if verdict == Word::Inconclusive { "warning" } else { "error" };
        let title = format!("{}: {}", entry.name, super::view::word(verdict));
        annotate(out, command, &entry.file, None, &title, sentence);
    }
}

/// The line of the file, from 1, on which an expectation stands; else the one of `expect`.
fn line_of(text: &str, expectation: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let line = line.trim().trim_start_matches("- ").trim();
        let line = line.split(" #").next().unwrap_or(line).trim_end();
        let bare = line.trim_matches(['"', '\'']);
        Expectation::parse(bare).is_ok_and(|parsed| parsed.to_string() == expectation)
    };
    let place = text.lines().position(is_it).or_else(|| text.lines().position(|line| line.starts_with("expect:")));
    place.map(|index| index + 1)
}

/// One command. What is data must not end its part of the line: the runner reads `%0A` and its like.
fn annotate(out: &mut String, command: &str, file: &str, line: Option<usize>, title: &str, message: &str) {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let line = line.map_or_else(String::new, |line| format!(",line={line}"));
    let _ = writeln!(out, "::{command} file={}{line},title={}::{}", property(file), property(title), data(message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_found_where_it_stands() {
        let text = "name: a\nexpect:\n  - orders.p99  <  5ms   # too slow\n  - \"orders.lost == 0\"\n";
        assert_eq!(line_of(text, "orders.p99 < 5ms"), Some(3));
        assert_eq!(line_of(text, "orders.lost == 0"), Some(4));
        assert_eq!(line_of(text, "orders.stale == 0"), Some(2), "else where expectations stand");
        assert_eq!(line_of("name: a\n", "orders.lost == 0"), None);
    }

    #[test]
    fn text_of_others_starts_no_command_of_its_own() {
        let mut out = String::new();
        annotate(&mut out, "error", "a,b.yaml", Some(3), "it: failed", "100 %\n::error::forged");
        assert_eq!(out, "::error file=a%2Cb.yaml,line=3,title=it%3A failed::100 %25%0A::error::forged\n");
    }
}
