//! Figures by phase and over time.

use super::series::{Track, occurring};
use super::table::{Cell, Table};
use crate::event::Outcome;
use crate::measure::{MeasuredRun, Quantiles, Window};
use crate::report::row::Quantity;
use crate::report::say;
use crate::report::view::{variant_name, zero};

/// The actual phases of a run beside the planned ones.
pub(super) fn phases(run: &MeasuredRun) -> Table {
    let mut table = Table::new(
        format!("Phases, {}", variant_name(&run.variant)),
        vec![
            Cell::text("phase"),
            Cell::number("start"),
            Cell::number("end"),
            Cell::number("length"),
            Cell::number("planned start"),
        ],
    );
    for (name, span) in &run.phases {
        table.row(vec![
            Cell::text(name).defined("phase"),
            Cell::number(say::offset(span.start, zero(run))),
            Cell::number(say::offset(span.end, zero(run))),
            Cell::number(say::span(span.end.saturating_since(span.start))),
            span.planned.map_or_else(
                || Cell::number("follows from others"),
                |planned| Cell::number(say::offset(planned, zero(run))),
            ),
        ]);
    }
    table
}

/// All figures of one run and workload by phase: a row each class and phase.
pub(super) fn windows(run: &MeasuredRun, workload: &str) -> Table {
    let heads: [(&str, &'static str); 14] = [
        ("operations", "operations"),
        ("ok", "ok"),
        ("failed", "failed"),
        ("indeterminate", "indeterminate"),
        ("success", "success_rate"),
        ("goodput", "goodput"),
        ("attempts", "amplification"),
        ("tolerance", "tolerance"),
        ("p50", "p50"),
        ("p90", "p90"),
        ("p99", "p99"),
        ("greatest", "max"),
        ("p99 of ok", "ok_p99"),
        ("p99 of attempts", "attempt_p99"),
    ];
    let mut head = vec![Cell::text("class, phase")];
    head.extend(heads.map(|(name, definition)| Cell::number(name).defined(definition)));
    let mut table = Table::new(format!("Figures by phase, {}, {workload}", variant_name(&run.variant)), head);
    let Some(figures) = run.workloads.get(workload) else { return table };
    // A workload of one class has it twice.
    let shown = if figures.classes.len() == 2 { 1 } else { figures.classes.len() };
    for (class, figures) in figures.classes.iter().take(shown) {
        for (phase, window) in &figures.windows {
            table.row(window_row(&format!("{class}, {phase}"), window));
        }
    }
    table
}

fn window_row(name: &str, window: &Window) -> Vec<Cell> {
    let optional = |value: Option<f64>, quantity: Quantity| {
        value.map_or_else(|| Cell::number("n/a"), |value| Cell::number(quantity.say(value)))
    };
    let quantile = |quantiles: &Quantiles, ns: u64| {
        if quantiles.count == 0 { Cell::number("n/a") } else { Cell::number(say::duration(ns)) }
    };
    vec![
        Cell::text(name),
        Cell::number(say::count(window.operations)),
        Cell::number(say::count(window.ok)),
        Cell::number(say::count(window.failed))
            .note(of_them(&[("shed", window.shed), ("unfinished", window.unfinished)])),
        Cell::number(say::count(window.indeterminate)),
        optional(window.success_rate, Quantity::Share),
        Cell::number(say::rate(window.goodput)),
        optional(window.amplification, Quantity::Factor).note(outcomes(window)),
        optional(window.tolerance, Quantity::Share),
        quantile(&window.latency, window.latency.p50_ns),
        quantile(&window.latency, window.latency.p90_ns),
        quantile(&window.latency, window.latency.p99_ns),
        quantile(&window.latency, window.latency.max_ns),
        quantile(&window.ok_latency, window.ok_latency.p99_ns),
        quantile(&window.attempt_latency, window.attempt_latency.p99_ns),
    ]
}

fn of_them(parts: &[(&str, u64)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, number)| format!("{} {name}", say::count(*number)))
        .collect();
    parts.join(", ")
}

/// What failed attempts met, most frequent first.
fn outcomes(window: &Window) -> String {
    let mut failed: Vec<(&Outcome, &u64)> =
        window.outcomes.iter().filter(|(outcome, count)| outcome.failed() && **count > 0).collect();
    failed.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    failed
        .iter()
        .map(|(outcome, number)| format!("{} {}", say::count(**number), outcome.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Rows of the table beside the charts, at most.
const SERIES_ROWS: usize = 40;

/// The charts of one track as a table, slices joined so that it stays readable.
pub(super) fn series(track: &Track<'_>, caption: String) -> Table {
    let outcomes = occurring(&[*track]);
    let mut head: Vec<Cell> = vec![Cell::text("from")];
    head.extend(["due", "success", "goodput", "p50", "p90", "p99", "greatest"].map(Cell::number));
    head.extend(outcomes.iter().map(|outcome| Cell::number(outcome.name().replace('_', " "))));
    let slices = &track.series.slices;
    let join = slices.len().div_ceil(SERIES_ROWS).max(1);
    let length = say::duration(track.series.slice_ns * join as u64);
    let mut table = Table::new(
        format!(
            "{caption}: slices of {length}; latencies are those of the worst {} in it",
            say::duration(track.series.slice_ns)
        ),
        head,
    );
    for (number, part) in slices.chunks(join).enumerate() {
        let due: u64 = part.iter().map(|slice| slice.due).sum();
        let ok: u64 = part.iter().map(|slice| slice.ok).sum();
        let good: u64 = part.iter().map(|slice| slice.good).sum();
        let seconds = part.len() as f64 * track.series.slice_ns as f64 / 1e9;
        let worst = |index: usize| {
            let worst = part.iter().filter_map(|slice| slice.latency_ns).map(|latency| latency[index]).max();
            Cell::number(worst.map_or_else(|| "n/a".into(), say::duration))
        };
        let start = track.start(number * join) / 1e3;
        let mut cells = vec![
            Cell::text(format!("{}{:.2} s", if start < 0.0 { '−' } else { '+' }, start.abs())),
            Cell::number(say::count(due)),
            Cell::number(if due > 0 { say::share(ok as f64 / due as f64) } else { "n/a".into() }),
            Cell::number(say::rate(good as f64 / seconds)),
            worst(0),
            worst(1),
            worst(2),
            worst(3),
        ];
        for outcome in &outcomes {
            let count: u64 = part.iter().filter_map(|slice| slice.attempts.get(outcome)).sum();
            cells.push(Cell::number(say::count(count)));
        }
        table.row(cells);
    }
    table
}
