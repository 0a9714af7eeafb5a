//! The summary at the end of a run: readable without colour, in a log as on a screen.

use std::fmt::Write;

use super::change;
use super::proof;
use super::row::{COLUMNS, Row};
use super::sentences;
use super::view::{Report, judgement_mark};
use crate::clock::Moment;
use crate::event::Milestone;
use crate::measure::{MilestoneFigure, Outage};
use crate::verdict::{Judgement, Word};

/// How the summary is to look.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Whether to use colour; the caller knows the terminal and `NO_COLOR`.
    pub colour: bool,
    /// Columns of the terminal; lines that would be longer lose their least part, if they have one. 0: no limit.
    pub width: usize,
    /// The exit code to name, if the process is to end with one.
    pub exit_code: Option<u8>,
    /// Where the HTML report is, to name it.
    pub report_path: Option<String>,
}

/// The summary, with a line break at its end.
pub fn terminal(report: &Report, style: &Style) -> String {
    let mut out = String::new();
    headline(&mut out, report, style);
    for sentence in troubles(report) {
        line(&mut out, style, &format!("  {sentence}"));
    }
    out.push('\n');
    table(&mut out, report, style);
    failover(&mut out, report, style);
    expectations(&mut out, report, style);
    footer(&mut out, report, style);
    out
}

fn headline(out: &mut String, report: &Report, style: &Style) {
    let verdict = report.conclusion.verdict;
    let text = format!("{}: {}", printable(&report.experiment.name), report.headline());
    let exit = style.exit_code.map(|code| format!("exit {code}")).unwrap_or_default();
    // The exit code stands at the right edge, where it does not disturb who does not need it.
    let edge = if style.width == 0 { 90 } else { style.width.min(90) };
    let gap = edge.saturating_sub(width(&text) + width(&exit)).max(2);
    let (start, end) = paint(style, verdict_colour(verdict));
    let _ = writeln!(
        out,
        "{start}{text}{end}{}",
        if exit.is_empty() { String::new() } else { format!("{:gap$}{exit}", "") }
    );
}

/// Stops and doubts, the first sentences where there are any; what ended by itself, and what is missing.
fn troubles(report: &Report) -> Vec<String> {
    let certain = matches!(report.conclusion.verdict, Word::Held | Word::Failed);
    let leading = report.conclusion.sentences.iter().take_while(|sentence| {
        let doubtful =
            sentence.starts_with("Stopped") || sentence.starts_with("Not certain") || sentence.contains(" more r");
        doubtful && !certain
    });
    leading
        .cloned()
        .chain(sentences::ended(report))
        .map(|sentence| printable(&sentence))
        .chain(report.missing.iter().map(|missing| format!("missing: {}", printable(missing))))
        .collect()
}

fn table(out: &mut String, report: &Report, style: &Style) {
    // Without an operation there is no figure, and the sentences above say why.
    if report.variants.iter().all(|row| row.success_rate.median().is_none()) {
        return;
    }
    let many = report.workload_names().len() > 1 || report.variant_ids().contains("");
    let matrix = !report.variant_ids().contains("");
    let mut heads: Vec<String> = Vec::new();
    heads.extend(matrix.then(|| "variant".to_owned()));
    heads.extend(many.then(|| "workload".to_owned()));
    let left = heads.len();
    heads.extend(COLUMNS.iter().map(|column| column.heading.to_owned()));
    let cells = |row: &Row| {
        let mut cells: Vec<String> = Vec::new();
        cells.extend(matrix.then(|| printable(&row.variant)));
        cells.extend(many.then(|| printable(&row.workload)));
        cells.extend(COLUMNS.iter().map(|column| (column.cell)(row).say(column.quantity)));
        cells
    };
    let rows: Vec<Vec<String>> = report.variants.iter().map(cells).collect();
    let wide = |index: usize| rows.iter().chain([&heads]).map(|row| width(&row[index])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(wide).collect();
    let (dim, end) = paint(style, DIM);
    for (number, row) in [&heads].into_iter().chain(&rows).enumerate() {
        let mut text = String::from("  ");
        for (index, cell) in row.iter().enumerate() {
            let pad = widths[index] - width(cell);
            // Words stand left, figures right.
            let _ = match index {
                0 if left > 0 => write!(text, "{cell}{:pad$}", ""),
                _ if index < left => write!(text, "   {cell}{:pad$}", ""),
                _ => write!(text, "   {:pad$}{cell}", ""),
            };
        }
        let text = text.trim_end();
        if number == 0 { writeln!(out, "{dim}{text}{end}") } else { writeln!(out, "{text}") }
            .expect("writing to memory");
    }
    out.push('\n');
}

/// The parts of the failover, of the variant that users came through best with.
fn failover(out: &mut String, report: &Report, style: &Style) {
    let Some((of, text)) = failover_parts(report) else { return };
    let of = if of.is_empty() { String::new() } else { format!(" ({})", printable(&of)) };
    line(out, style, &format!("  failover{of}: {text}"));
    out.push('\n');
}

/// `injected 0 ─ detected 0.62 ─ first success 1.41 s`, with the variant that it is of, and of several faults the fault.
pub(super) fn failover_parts(report: &Report) -> Option<(String, String)> {
    let mut best: Option<(&Row, String, &Outage)> = None;
    for row in &report.variants {
        let run = report.runs.iter().find(|run| run.variant == row.variant)?;
        let Some(class) = run.workloads.get(&row.workload).and_then(super::row::all) else { continue };
        let Some((fault, outage)) = class.outages.iter().find(|(_, outage)| known(outage).count() > 1) else {
            continue;
        };
        if best.as_ref().is_none_or(|(other, ..)| row.as_users_see_it(other).is_ge()) {
            let fault = (run.faults.len() > 1).then_some(fault.as_str());
            let of: Vec<&str> =
                Some(row.variant.as_str()).filter(|id| !id.is_empty()).into_iter().chain(fault).collect();
            best = Some((row, of.join(", "), outage));
        }
    }
    let (_, of, outage) = best?;
    let seconds = |at: Moment| at.signed_ns_since(outage.t0) as f64 / 1e9;
    let part = |(milestone, at): (Milestone, Moment)| match milestone {
        Milestone::Injected => "injected 0".to_owned(),
        _ => format!("{} {:.2}", milestone.label(), seconds(at)),
    };
    // In the order of time, which is not always the expected one.
    let mut parts: Vec<(Milestone, Moment)> =
        known(outage).filter_map(|figure| Some((figure.milestone, figure.at?))).collect();
    parts.sort_by_key(|(milestone, at)| (*at, *milestone));
    let parts: Vec<String> = parts.into_iter().map(part).collect();
    Some((of, format!("{} s", parts.join(" ─ "))))
}

fn known(outage: &Outage) -> impl Iterator<Item = &MilestoneFigure> {
    outage.milestones.iter().filter(|figure| figure.at.is_some())
}

fn expectations(out: &mut String, report: &Report, style: &Style) {
    let stored = change::has_stored(report);
    let told = troubles(report);
    let lines: Vec<[String; 6]> = report
        .folded_expectations()
        .iter()
        .map(|(variant, judged)| {
            let change =
                if stored { format!("{} against stored", change::against_stored(judged)) } else { String::new() };
            // A doubt that stands above is not told again with each line that it spoils.
            let explained = judged.explained();
            let because = match explained.split_once(", but ") {
                Some((seems, why)) if told.iter().any(|sentence| sentence.contains(&printable(why))) => seems,
                _ => &explained,
            };
            let cells = [variant.as_str(), &judged.subject, &judged.observed, &judged.limit, &change, because];
            cells.map(printable)
        })
        .collect();
    let wide = |index: usize| lines.iter().map(|line| width(&line[index])).max().unwrap_or(0);
    let widths = [wide(0), wide(1), wide(2), wide(3), wide(4)];
    for ([variant, subject, observed, limit, change, because], (_, judged)) in
        lines.iter().zip(report.folded_expectations())
    {
        let (start, end) = paint(style, judgement_colour(judged.outcome));
        let mut text = format!("  {} ", judgement_mark(judged.outcome));
        if widths[0] > 0 {
            let _ = write!(text, "{variant}{:pad$}   ", "", pad = widths[0] - width(variant));
        }
        let _ = write!(text, "{subject}{:pad$}   ", "", pad = widths[1] - width(subject));
        let _ = write!(text, "{:pad$}{observed}   ", "", pad = widths[2] - width(observed));
        let _ = write!(text, "{limit}{:pad$}", "", pad = widths[3] - width(limit));
        if stored {
            let _ = write!(text, "   {:pad$}{change}", "", pad = widths[4] - width(change));
        }
        // The explanation is the part of a line that may go.
        let with_because = format!("{text}   {because}");
        let fits = style.width == 0 || width(&with_because) <= style.width;
        let text = if because.is_empty() || !fits { text } else { with_because };
        let text = text.trim_end();
        let (head, tail) = text.split_at(text.char_indices().nth(3).map_or(text.len(), |(at, _)| at));
        let _ = writeln!(out, "{start}{head}{end}{tail}");
    }
}

fn footer(out: &mut String, report: &Report, style: &Style) {
    for (real, text) in proof::lines(report) {
        let text = printable(&text);
        line(out, style, &if real { format!("  proof: {text}") } else { format!("  no proof: {text}") });
    }
    let path = style.report_path.as_deref().map(|path| format!("report: {path}"));
    let again =
        (!report.experiment.again.is_empty()).then(|| format!("again: {}", printable(&report.experiment.again)));
    let parts: Vec<String> = path.into_iter().chain(again).collect();
    // Both on one line where they fit; they are for copying, so neither is ever cut.
    let one = format!("  {}", parts.join("   "));
    match parts.as_slice() {
        [] => {}
        _ if style.width == 0 || width(&one) <= style.width => {
            let _ = writeln!(out, "{one}");
        }
        parts => parts.iter().for_each(|part| {
            let _ = writeln!(out, "  {part}");
        }),
    }
}

/// A line of prose, wrapped between words at the terminal's width, with its indent kept.
fn line(out: &mut String, style: &Style, text: &str) {
    let indent = text.len() - text.trim_start().len();
    let mut column = 0;
    for (index, word) in text.split_whitespace().enumerate() {
        let needed = width(word) + usize::from(index > 0);
        if index == 0 {
            let _ = write!(out, "{:indent$}{word}", "");
            column = indent + needed;
        } else if style.width > 0 && column + needed > style.width {
            let _ = write!(out, "\n{:indent$}  {word}", "");
            column = indent + 2 + width(word);
        } else {
            let _ = write!(out, " {word}");
            column += needed;
        }
    }
    out.push('\n');
}

/// Text of others on one line, without the control characters by which it could steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
}

/// Columns that text takes; names and figures are of narrow characters.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

const DIM: &str = "2";

pub(super) const fn verdict_colour(word: Word) -> &'static str {
    match word {
        Word::Held => "1;32",
        Word::Failed => "1;31",
        Word::Inconclusive | Word::Aborted | Word::NotReady => "1;33",
    }
}

const fn judgement_colour(outcome: Judgement) -> &'static str {
    match outcome {
        Judgement::Held => "32",
        Judgement::Failed => "31",
        Judgement::Inconclusive | Judgement::FailedAsExpected => "33",
    }
}

/// The escape sequences around a coloured text; empty without colour.
pub(super) fn paint(style: &Style, code: &str) -> (String, &'static str) {
    if style.colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_wraps_between_words_and_keeps_its_indent() {
        let mut out = String::new();
        line(&mut out, &Style { width: 20, ..Style::default() }, "  one two three four five");
        assert_eq!(out, "  one two three four\n    five\n");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}d"), "a[2Jb cd");
    }
}
