//! `report.md`: the whole story in a pull request's comment, always under [`LIMIT`] characters.

use std::fmt::Write;

use super::change;
use super::manifest::Manifest;
use super::proof;
use super::row::COLUMNS;
use super::say;
use super::terminal::failover_parts;
use super::view::{Report, judgement_mark, variant_name};
use crate::experiment::metric::Unit;
use crate::measure::{Difference, Interval, MeasuredRun, Series};
use crate::verdict::{Comparison, Judged, Judgement, Word};

/// The report in Markdown is shorter than this, in characters.
pub const LIMIT: usize = 4_000;

/// Columns of a sparkline.
const SPARK_WIDTH: usize = 48;

/// The report in Markdown.
///
/// Its parts are written in order of importance, and each only if what must follow still fits.
pub fn markdown(report: &Report) -> String {
    let last = reproduce(report);
    let mut out = Bounded { text: String::new(), left: LIMIT - 1 - last.chars().count() };
    out.push(&heading(report));
    out.push(&sentences(report));
    out.rows(&expectations_head(report), &expectations(report), "expectations");
    out.rows(&variants_head(report), &variant_rows(report), "variants");
    out.rows("", &sparklines(report), "variants");
    out.rows(&differences_head(report), &differences(report), "differences");
    if let Some((variant, text)) = failover_parts(report) {
        let of = if variant.is_empty() { String::new() } else { format!(" ({})", escape(&variant)) };
        out.push(&format!("**Failover**{of}: {}\n\n", escape(&text)));
    }
    for (real, text) in proof::lines(report) {
        // As with the sparklines, two spaces keep each on its line.
        out.push(&format!("{}: {}  \n", if real { "Proof" } else { "**No proof**" }, escape(&text)));
    }
    out.text + &last
}

/// Text that never outgrows its bound.
struct Bounded {
    text: String,
    left: usize,
}

impl Bounded {
    /// Appends a part whole, or not at all.
    fn push(&mut self, part: &str) -> bool {
        let length = part.chars().count();
        let fits = length <= self.left;
        if fits {
            self.text.push_str(part);
            self.left -= length;
        }
        fits
    }

    /// Appends as many rows as fit, with a word on how many there are beyond.
    fn rows(&mut self, head: &str, rows: &[String], noun: &str) {
        // Room for the line that counts the rest.
        const REST: usize = 60;
        if rows.is_empty() || head.chars().count() + rows[0].chars().count() + REST > self.left || !self.push(head) {
            return;
        }
        let mut shown = 0;
        while shown < rows.len() && rows[shown].chars().count() + REST <= self.left {
            self.push(&rows[shown]);
            shown += 1;
        }
        self.push("\n");
        if shown < rows.len() {
            self.push(&format!("… and {} more {noun} in the full report.\n\n", rows.len() - shown));
        }
    }
}

fn heading(report: &Report) -> String {
    let emoji = match report.conclusion.verdict {
        Word::Held => "✅",
        Word::Failed => "❌",
        Word::Inconclusive => "❔",
        Word::Aborted | Word::NotReady => "🛑",
    };
    let mut text = format!("### {emoji} {}: {}\n\n", clip(&report.experiment.name, 80), report.headline());
    if !report.experiment.hypothesis.is_empty() {
        let _ = write!(text, "> {}\n\n", clip(&report.experiment.hypothesis, 300));
    }
    if !report.experiment.claims.is_empty() {
        let _ = write!(text, "<sub>Claims: {}</sub>\n\n", clip(&report.experiment.claims.join(", "), 120));
    }
    text
}

fn sentences(report: &Report) -> String {
    let mut text = String::new();
    for sentence in report.conclusion.sentences.iter().take(6) {
        let _ = writeln!(text, "{}  ", clip(sentence, 220));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn expectations_head(report: &Report) -> String {
    let (stored, rule) = if change::has_stored(report) { (" against stored |", "--:|") } else { ("", "") };
    format!("| | expectation | observed | limit | margin |{stored}\n|:-:|:--|--:|:--|--:|{rule}\n")
}

/// The expectations, those that failed first.
fn expectations(report: &Report) -> Vec<String> {
    let mut lines = report.folded_expectations();
    lines.sort_by_key(|(_, line)| match line.outcome {
        Judgement::Failed => 0,
        Judgement::Inconclusive => 1,
        Judgement::FailedAsExpected => 2,
        Judgement::Held => 3,
    });
    let stored = change::has_stored(report);
    lines.iter().map(|(variant, line)| expectation(variant, line, stored)).collect()
}

fn expectation(variant: &str, line: &Judged, stored: bool) -> String {
    let variant = if variant.is_empty() { String::new() } else { format!(" ({})", clip(variant, 60)) };
    let margin = line.margin.map_or_else(|| "n/a".into(), change::percent);
    let change = if stored { format!(" {} |", change::against_stored(line)) } else { String::new() };
    format!(
        "| {} | {}{variant} | {} | {} | {margin} |{change}\n",
        judgement_mark(line.outcome),
        clip(&line.subject, 80),
        clip(&line.observed, 40),
        clip(&line.limit, 60),
    )
}

fn variants_head(report: &Report) -> String {
    let many = report.workload_names().len() > 1;
    let mut head = format!("| {} |", if many { "variant, workload" } else { "variant" });
    let mut rule = String::from("|:--|");
    for column in &COLUMNS {
        let _ = write!(head, " {} |", column.heading);
        rule.push_str("--:|");
    }
    format!("{head}\n{rule}\n")
}

fn variant_rows(report: &Report) -> Vec<String> {
    let many = report.workload_names().len() > 1;
    let row = |row: &super::row::Row| {
        let mut line = format!("| {}", clip(variant_name(&row.variant), 60));
        if many {
            let _ = write!(line, ", {}", clip(&row.workload, 40));
        }
        for column in &COLUMNS {
            let _ = write!(line, " | {}", (column.cell)(row).say(column.quantity));
        }
        line + " |\n"
    };
    report.variants.iter().map(row).collect()
}

fn differences_head(report: &Report) -> String {
    let against = report.comparisons.first().map_or("", |comparison| &comparison.against);
    format!("| against {} | p50 | p99 |\n|:--|--:|--:|\n", clip(against, 60))
}

/// How far the latency of each further variant is from that of the first, where that has an interval.
fn differences(report: &Report) -> Vec<String> {
    let cell = |difference: &Option<Difference>| match difference {
        Some(difference) => {
            format!("{} ({})", say::signed(Unit::Time, difference.value), say::interval(Unit::Time, difference))
        }
        None => "n/a".into(),
    };
    let row = |comparison: &Comparison| {
        let of = format!("{}, {}, {}", comparison.variant, comparison.of, comparison.phase);
        format!("| {} | {} | {} |\n", clip(&of, 100), cell(&comparison.p50), cell(&comparison.p99))
    };
    let sure = |difference: &Option<Difference>| difference.is_some_and(|one| one.interval != Interval::None);
    report.comparisons.iter().filter(|one| sure(&one.p50) || sure(&one.p99)).map(row).collect()
}

/// A line each variant and workload: the share of operations that succeeded over time, the faults in brackets.
fn sparklines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for run in report.drawn_runs() {
        for (name, workload) in &run.workloads {
            let Some(spark) = sparkline(run, &workload.series) else { continue };
            let variant = if run.variant.is_empty() { String::new() } else { format!(" {}", clip(&run.variant, 60)) };
            lines.push(format!("`{spark}` {}{variant}\n", clip(name, 40)));
        }
    }
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, "Success over time, `[` fault `]`:\n\n");
    }
    // A list would be wrapped by a renderer; two spaces at the end keep each on its line.
    lines.into_iter().map(|line| line.trim_end().to_owned() + "  \n").collect()
}

/// The share of operations due that ended ok, in eighths, from the first to the last operation.
fn sparkline(run: &MeasuredRun, series: &Series) -> Option<String> {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = series.slices.iter().rposition(|slice| slice.due > 0)?;
    let slices = &series.slices[..=last];
    let columns = SPARK_WIDTH.min(slices.len());
    let column_of = |ns: u64| (ns / series.slice_ns.max(1)) as usize * columns / slices.len();
    let edges: Vec<(usize, usize)> = run
        .faults
        .values()
        .map(|fault| (column_of(fault.injected.0), column_of(fault.healed.unwrap_or(run.load_end).0)))
        .collect();
    let mut spark = String::new();
    for column in 0..columns {
        let part = &slices[column * slices.len() / columns..(column + 1) * slices.len() / columns];
        let (due, ok) = part.iter().fold((0, 0), |(due, ok), slice| (due + slice.due, ok + slice.ok));
        if edges.iter().any(|(start, _)| *start == column) {
            spark.push('[');
        }
        spark.push(if due == 0 { ' ' } else { LEVELS[((ok * 8).div_ceil(due).max(1) - 1) as usize] });
        if edges.iter().any(|(_, end)| *end == column) {
            spark.push(']');
        }
    }
    Some(spark)
}

fn reproduce(report: &Report) -> String {
    let mut text = String::from("\n");
    if !report.experiment.again.is_empty() {
        let _ = writeln!(text, "Run it locally: `{}`  ", code(&report.experiment.again, 200));
    }
    let modelled: Vec<String> =
        report.modelled().into_iter().map(|one| format!("{} {}", one.param, one.value)).collect();
    if !modelled.is_empty() {
        let _ = writeln!(text, "<sub>Modelled, as set: {}</sub>  ", clip(&modelled.join(", "), 300));
    }
    let version = clip(&report.manifest.brownout, 20);
    let version = if version.is_empty() { "version not recorded".to_owned() } else { version };
    let Manifest { seed, host, signed_off_by, .. } = &report.manifest;
    let _ = write!(text, "<sub>Everything else is in `report.html`. brownout {version}");
    if !host.name.is_empty() {
        let _ = write!(text, " on {}", clip(&host.name, 60));
    }
    let _ = write!(text, ", seed {seed}");
    if let Some(start) = report.experiment.experiment_sha256.get(..12) {
        let _ = write!(text, ", experiment {}", clip(start, 12));
    }
    if !signed_off_by.is_empty() {
        let _ = write!(text, ", signed off by {}", clip(signed_off_by, 60));
    }
    text + "</sub>\n"
}

/// Text of others inside a code span: one line, without the characters that would end it.
fn code(text: &str, limit: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| *c != '`').collect();
    cut(&line, limit)
}

/// Escaped text of at most so many characters of the original.
fn clip(text: &str, limit: usize) -> String {
    escape(&cut(text, limit))
}

pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

/// Text of others that stays text: no markup, no cell, no line, no mention and no link of its own.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' | '$' => out.extend(['\\', c]),
            // An invisible joiner keeps a mention from calling a person, and an address from becoming a link.
            '@' => out.push_str("@\u{2060}"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.replace("://", ":\u{2060}//")
}
