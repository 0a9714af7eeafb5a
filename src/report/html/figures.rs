//! The tables of a page, from the first screen to the last detail.

use super::chart::cut;
use super::nodes;
use super::series::{Track, occurring};
use super::table::{Cell, Table};
use crate::event::Outcome;
use crate::measure::{Figure, MeasuredRun, Metastable, Outage, Quantiles, Window};
use crate::report::markdown::margin;
use crate::report::proof;
use crate::report::row::{COLUMNS, Quantity, all};
use crate::report::say;
use crate::report::view::{Report, judgement_mark, judgement_word, variant_name, zero};
use crate::verdict::Judgement;

/// The comparison on the first screen: a row each variant and workload.
pub(super) fn comparison(report: &Report) -> Table {
    let many = report.workload_names().len() > 1;
    let matrix = !report.variant_ids().contains("");
    let mut head = Vec::new();
    head.extend(matrix.then(|| Cell::text("variant")));
    head.extend((many || !matrix).then(|| Cell::text("workload")));
    head.extend(COLUMNS.iter().map(|column| Cell::number(column.heading).defined(column.definition)));
    let mut table = Table::new("What users lived through", head);
    for row in &report.variants {
        let mut cells = Vec::new();
        cells.extend(matrix.then(|| Cell::text(&row.variant)));
        cells.extend((many || !matrix).then(|| Cell::text(&row.workload)));
        for column in &COLUMNS {
            let cell = (column.cell)(row);
            let note = cell
                .range(column.quantity)
                .unwrap_or_else(|| cell.why_not().trim_start_matches("not measured: ").to_owned());
            cells.push(Cell::number(cell.say(column.quantity)).note(note));
        }
        table.row(cells);
    }
    table
}

/// Service levels and error budgets.
pub(super) fn service_levels(report: &Report) -> Table {
    let mut table = Table::new(
        "Service level and error budget",
        vec![
            Cell::text("variant, workload"),
            Cell::number("by request").defined("availability"),
            Cell::number("by time").defined("time_availability"),
            Cell::number("seen at the service").defined("service_availability"),
            Cell::number("promised").defined("error_budget"),
            Cell::number("budget a year").defined("error_budget"),
            Cell::number("these incidents a year").defined("error_budget"),
            Cell::number("incidents it pays for").defined("error_budget"),
        ],
    );
    let share = |share: Option<f64>, why: &str| {
        share.map_or_else(|| Cell::number("not measured").note(why), |share| Cell::number(say::share(share)))
    };
    for run in report.drawn_runs() {
        for (name, workload) in &run.workloads {
            let seen = &workload.availability;
            let service = run.service.as_ref().and_then(|service| service.time_based);
            let mut cells = vec![
                Cell::text(format!("{}, {name}", variant_name(&run.variant))),
                share(seen.request_based, "no operation was due"),
                share(seen.time_based, "no slice"),
                share(service, "no probe"),
            ];
            match seen.budget {
                Some(budget) => cells.extend([
                    Cell::number(say::share(budget.target)),
                    Cell::number(say::duration(budget.budget_ns)),
                    Cell::number(say::duration(budget.downtime_per_year_ns))
                        .note(format!("{} a year", say::number(budget.incidents_per_year))),
                    Cell::number(if budget.incidents_paid_for >= 10.0 {
                        say::count(budget.incidents_paid_for as u64)
                    } else {
                        format!("{:.1}", budget.incidents_paid_for)
                    }),
                ]),
                None => cells.extend([
                    Cell::number("none stated"),
                    Cell::number("n/a").note("no sla"),
                    Cell::number("n/a").note("no sla"),
                    Cell::number("n/a").note("no sla"),
                ]),
            }
            table.row(cells);
        }
    }
    table
}

/// What was expected, and what came of it.
pub(super) fn expectations(report: &Report) -> Table {
    let mut table = Table::new(
        "What was expected",
        vec![
            Cell::text("outcome"),
            Cell::text("variant"),
            Cell::text("expectation"),
            Cell::number("observed"),
            Cell::number("limit"),
            Cell::number("margin").defined("margin"),
            Cell::text("because"),
        ],
    );
    for (variant, line) in report.folded_expectations() {
        let (class, mark) = match line.outcome {
            Judgement::Held => ("held", judgement_mark(line.outcome)),
            Judgement::Failed => ("failed", judgement_mark(line.outcome)),
            Judgement::Inconclusive => ("doubt", judgement_mark(line.outcome)),
        };
        let repetitions = match line.repetitions {
            (_, 0 | 1) => String::new(),
            (held, of) => format!("{held} of {of} runs"),
        };
        table.row(vec![
            Cell::text(format!("{mark} {}", judgement_word(line.outcome))).class(class),
            Cell::text(variant_name(&variant)),
            Cell::code(&line.expectation),
            Cell::number(&line.observed).note(repetitions),
            Cell::number(&line.limit),
            line.margin.map_or_else(|| Cell::number("n/a").note("the limit is 0"), |share| Cell::number(margin(share))),
            Cell::text(if line.because.is_empty() { "–" } else { &line.because }),
        ]);
    }
    table
}

/// A figure's name, the id of its definition, and how it is said.
type OutageRow = (&'static str, &'static str, fn(&Outage) -> Cell);

/// Every figure of every outage of a workload: a row a figure, a column a variant and fault.
pub(super) fn outages(report: &Report, workload: &str) -> Option<Table> {
    let mut columns: Vec<(String, &Outage)> = Vec::new();
    for run in report.drawn_runs() {
        let class = run.workloads.get(workload).and_then(all);
        for (group, outage) in class.into_iter().flat_map(|class| &class.outages) {
            columns.push((format!("{}, {group}", variant_name(&run.variant)), outage));
        }
    }
    if columns.is_empty() {
        return None;
    }
    let mut head = vec![Cell::text("figure")];
    head.extend(columns.iter().map(|(name, _)| Cell::number(name)));
    let mut table = Table::new(format!("What each fault did to {workload}"), head);
    let rows: [OutageRow; 13] = [
        ("failover", "failover_latency", |outage| time(&outage.failover_latency_ns)),
        ("unavailability", "unavailability", |outage| {
            time(&outage.unavailability_ns).note(unavailability_note(outage))
        }),
        ("stall time", "stall_time", |outage| time(&outage.stall_time_ns)),
        ("degraded time", "degraded_time", |outage| Cell::number(say::duration(outage.degraded_time_ns))),
        ("last error", "last_error", |outage| time(&outage.last_error_ns)),
        ("time to steady", "time_to_steady", |outage| time(&outage.time_to_steady_ns)),
        ("gaps", "gap", |outage| {
            Cell::number(say::count(outage.gaps.len() as u64))
                .note(format!("a gap is over {}", say::duration(outage.gap_threshold_ns)))
        }),
        ("recovery surge", "recovery_surge", |outage| match &outage.recovery_surge {
            Figure::Known(surge) => Cell::number(say::factor(*surge)),
            Figure::AtLeast(surge) => Cell::number(format!("≥ {}", say::factor(*surge))),
            Figure::NotApplicable(why) => Cell::number("n/a").note(why),
        }),
        ("metastable", "metastable", |outage| match outage.metastable {
            Metastable::Yes => Cell::number("yes"),
            Metastable::No => Cell::number("no"),
            Metastable::NotObserved => {
                Cell::number("not observed").note("watched for less than 3 × the fault's length")
            }
        }),
        ("lost writes", "lost", |outage| outage.rpo_lost.map_or_else(stateless, |lost| Cell::number(say::count(lost)))),
        ("age of the oldest lost write", "rpo", |outage| {
            outage.rpo_age_ns.map_or_else(stateless, |ns| Cell::number(say::duration(ns)))
        }),
        ("latency debt", "latency_debt", |outage| {
            Cell::number(format!("{} operation-seconds", say::count(outage.latency_debt_ns / 1_000_000_000)))
        }),
        ("injection skew", "t0", |outage| Cell::number(say::duration(outage.injection_skew_ns))),
    ];
    for (name, definition, cell) in rows {
        let mut cells = vec![Cell::text(name).defined(definition)];
        cells.extend(columns.iter().map(|(_, outage)| cell(outage)));
        table.row(cells);
    }
    Some(table)
}

fn time(figure: &Figure<u64>) -> Cell {
    Cell::number(say::figure(figure)).note(say::why_not(figure))
}

fn stateless() -> Cell {
    Cell::number("not measured").note("these operations have no state")
}

fn unavailability_note(outage: &Outage) -> String {
    match &outage.unavailability_ns {
        Figure::NotApplicable(why) => why.clone(),
        _ => format!("± {}", say::duration(outage.resolution_ns)),
    }
}

/// Each fault of each run, with what it hit and what shows that it was real.
pub(super) fn faults(report: &Report) -> Table {
    let mut table = Table::new(
        "What was injected, and what shows that it was real",
        vec![
            Cell::text("fault"),
            Cell::text("variant"),
            Cell::number("injected").defined("t0"),
            Cell::number("in force"),
            Cell::text("hit").defined("hit_set"),
            Cell::text("mechanism").defined("mechanism"),
            Cell::text("proof").defined("proof"),
        ],
    );
    for run in report.drawn_runs() {
        for (name, fault) in &run.faults {
            let late = fault.injected.signed_ns_since(fault.planned);
            let late = if late >= 0 {
                format!("{} after the plan", say::duration(late as u64))
            } else {
                format!("{} before the plan", say::duration(late.unsigned_abs()))
            };
            let hit: Vec<&str> = fault.hit.links.iter().chain(&fault.hit.nodes).map(String::as_str).collect();
            let (class, proof, note) = match &fault.proof {
                Some(proof) if proof.real => (
                    "held",
                    format!("✔ {}", proof::evidence(&fault.kind, proof)),
                    passed(proof.passed_bytes, fault.in_flight_bytes),
                ),
                Some(proof) => ("doubt", format!("? {}", proof::evidence(&fault.kind, proof)), String::new()),
                None => ("doubt", "? none: the run was cut off before its removal".to_owned(), String::new()),
            };
            table.row(vec![
                Cell::text(name).note(&fault.kind),
                Cell::text(variant_name(&run.variant)),
                Cell::number(say::offset(fault.injected, zero(run))).note(late),
                match fault.healed {
                    Some(healed) => Cell::number(say::span(healed.saturating_since(fault.injected))),
                    None => Cell::number("to the end"),
                },
                Cell::text(if hit.is_empty() { "nothing".into() } else { cut(&hit.join(", "), 160) })
                    .note(places(&fault.hit.places)),
                Cell::text(fault.mechanism.map_or("n/a", |mechanism| mechanism.name()))
                    .note(if fault.mechanism.is_none() { "not a silent fault" } else { "" }),
                Cell::text(proof).class(class).note(note),
            ]);
        }
    }
    table
}

fn places(places: &[String]) -> String {
    if places.is_empty() { String::new() } else { format!("hit set: {}", cut(&places.join(", "), 120)) }
}

fn passed(passed: u64, in_flight: u64) -> String {
    format!("{} passed after t0; the kernel already had {}", say::bytes(passed), say::bytes(in_flight))
}

/// The counters of each link at the end of each run.
pub(super) fn links(report: &Report) -> Table {
    let heads = [
        "accepted",
        "connected",
        "dials failed",
        "received up",
        "received down",
        "requests",
        "altered chunks",
        "withheld",
        "dropped segments",
        "faulted connections",
    ];
    let mut head = vec![Cell::text("link"), Cell::text("variant")];
    head.extend(heads.map(|head| Cell::number(head).defined("link")));
    head.push(Cell::text("closings"));
    let mut table = Table::new("What each link counted", head);
    for run in report.drawn_runs() {
        for (name, link) in &run.links {
            let total = &link.total;
            let pair = |received: u64, sent: u64| {
                let note = if received == sent { String::new() } else { format!("{} passed on", say::bytes(sent)) };
                Cell::number(say::bytes(received)).note(note).class("n pair")
            };
            let closed: Vec<String> =
                total.closed.iter().map(|(kind, count)| format!("{} {kind}", say::count(*count))).collect();
            table.row(vec![
                Cell::text(name),
                Cell::text(variant_name(&run.variant)),
                Cell::number(say::count(total.accepted)),
                Cell::number(say::count(total.connected)),
                Cell::number(say::count(total.dial_failed)),
                pair(total.up_received_bytes, total.up_sent_bytes),
                pair(total.down_received_bytes, total.down_sent_bytes),
                Cell::number(say::count(total.requests)),
                Cell::number(say::count(total.altered_chunks)),
                Cell::number(say::bytes(total.withheld_bytes)),
                Cell::number(say::count(total.dropped_segments)),
                Cell::number(say::count(total.faulted_connections)),
                Cell::text(if closed.is_empty() { "none".into() } else { closed.join(", ") }),
            ]);
        }
    }
    table
}

/// The load generator's own health, and the two counts of attempts.
pub(super) fn generator(report: &Report) -> Table {
    let mut table = Table::new(
        "The load generator",
        vec![
            Cell::text("variant, workload"),
            Cell::number("lateness p99, worst phase").defined("lateness_p99"),
            Cell::number("open at once, at most"),
            Cell::number("shed").defined("shed"),
            Cell::number("records dropped"),
            Cell::number("latencies off the scale"),
            Cell::number("attempts by client"),
            Cell::number("requests on the wire"),
            Cell::text("loop").defined("closed_loop"),
        ],
    );
    for run in &report.runs {
        for (name, workload) in &run.workloads {
            let windows = || {
                all(workload)
                    .into_iter()
                    .flat_map(|class| &class.windows)
                    .filter(|(_, window)| window.lateness.count > 0)
            };
            let lateness = windows().max_by_key(|(_, window)| window.lateness.p99_ns);
            let (client, wire) = match workload.wire {
                Some(wire) => (Cell::number(say::count(wire.attempts)), Cell::number(say::count(wire.requests))),
                None => (
                    Cell::number("not measured").note("the link does not count requests"),
                    Cell::number("not measured").note("the link does not count requests"),
                ),
            };
            table.row(vec![
                Cell::text(format!("{}, {name}", variant_name(&run.variant))).note(repetition(run)),
                lateness.map_or_else(
                    || Cell::number("not measured").note("no operation"),
                    |(phase, window)| Cell::number(say::duration(window.lateness.p99_ns)).note(phase),
                ),
                Cell::number(say::count(workload.generator.in_flight_max)),
                Cell::number(say::count(workload.generator.shed)),
                Cell::number(say::count(workload.generator.dropped)),
                Cell::number(say::count(workload.generator.saturated)),
                client,
                wire,
                match (workload.closed_loop, workload.missing) {
                    (false, _) => Cell::text("open"),
                    (true, Some(missing)) => {
                        Cell::text("closed").note(format!("{missing} operations missing in impact"))
                    }
                    (true, None) => Cell::text("closed"),
                },
            ]);
        }
    }
    table
}

fn repetition(run: &MeasuredRun) -> String {
    if run.repetition > 1 { format!("run {}", run.repetition) } else { String::new() }
}

/// What became of the writes; none where no workload has a state.
pub(super) fn consistency(report: &Report) -> Option<Table> {
    let names: [(&str, &'static str); 7] = [
        ("acknowledged", "acknowledged"),
        ("lost", "lost"),
        ("masked", "masked"),
        ("duplicates", "duplicates"),
        ("resurrected", "resurrected"),
        ("stale reads", "stale_reads"),
        ("stalest", "staleness"),
    ];
    let mut head = vec![Cell::text("variant, workload")];
    head.extend(names.map(|(name, definition)| Cell::number(name).defined(definition)));
    let mut table = Table::new("What became of the writes", head);
    for run in &report.runs {
        for (name, workload) in &run.workloads {
            let Some(found) = &workload.consistency else { continue };
            let count = |count: u64| Cell::number(say::count(count)).class(if count > 0 { "n bad" } else { "n" });
            table.row(vec![
                Cell::text(format!("{}, {name}", variant_name(&run.variant))).note(repetition(run)),
                Cell::number(say::count(found.acknowledged)),
                count(found.lost),
                count(found.masked),
                count(found.duplicates),
                count(found.resurrected),
                count(found.stale_reads),
                Cell::number(say::duration(found.staleness_max_ns)),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Examples of what was found wrong, with variant and workload.
pub(super) fn examples(report: &Report) -> Vec<String> {
    let mut examples = Vec::new();
    for run in &report.runs {
        for (name, workload) in &run.workloads {
            let found = workload.consistency.iter().flat_map(|consistency| &consistency.examples);
            examples.extend(found.map(|example| format!("{}, {name}: {example}", variant_name(&run.variant))));
        }
    }
    examples
}

/// The user's checks.
pub(super) fn checks(report: &Report) -> Table {
    let mut table = Table::new(
        "Checks",
        vec![
            Cell::text("outcome"),
            Cell::text("variant"),
            Cell::text("check"),
            Cell::number("at"),
            Cell::text("what it said"),
        ],
    );
    for run in &report.runs {
        for check in &run.checks {
            let (class, word) = if check.ok { ("held", "✔ held") } else { ("failed", "✘ failed") };
            table.row(vec![
                Cell::text(word).class(class),
                Cell::text(variant_name(&run.variant)).note(repetition(run)),
                Cell::text(format!("number {}, {}", check.index + 1, check.when)),
                Cell::number(say::offset(check.at, zero(run))),
                Cell::text(if check.output.trim().is_empty() {
                    "nothing".into()
                } else {
                    cut(check.output.trim(), 2_000)
                }),
            ]);
        }
    }
    table
}

/// The notes of all runs, in order of time within each.
pub(super) fn notes(report: &Report) -> Table {
    let mut table = Table::new("Notes", vec![Cell::text("variant"), Cell::number("at"), Cell::text("note")]);
    for run in &report.runs {
        for (at, text) in &run.notes {
            table.row(vec![
                Cell::text(variant_name(&run.variant)).note(repetition(run)),
                Cell::number(say::offset(*at, zero(run))),
                Cell::text(cut(text, 2_000)),
            ]);
        }
    }
    table
}

/// States and roles of the nodes of a run.
pub(super) fn node_states(run: &MeasuredRun) -> Table {
    let mut table = Table::new(
        format!("Nodes, {}", variant_name(&run.variant)),
        vec![Cell::text("node"), Cell::number("from"), Cell::text("is")],
    );
    for (node, states) in &run.nodes {
        for state in states {
            table.row(vec![
                Cell::text(node),
                Cell::number(say::offset(state.at, zero(run))),
                Cell::text(nodes::words(state.role.as_deref(), &state.state, state.incarnation)),
            ]);
        }
    }
    table
}

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

/// Where and with what it ran.
pub(super) fn environment(report: &Report) -> Table {
    let manifest = &report.manifest;
    let mut table = Table::new("Environment", vec![Cell::text("what"), Cell::text("value")]);
    let recorded = |text: &str| Cell::text(if text.is_empty() { "not recorded" } else { text });
    let host = &manifest.host;
    let seeds: Vec<String> = report.runs.iter().map(|run| run.seed.to_string()).collect();
    let mut seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    seeds.dedup();
    table.row(vec![Cell::text("brownout"), recorded(&manifest.brownout)]);
    table.row(vec![Cell::text("command"), recorded(&manifest.command.join(" ")).class("code")]);
    table.row(vec![
        Cell::text("started"),
        Cell::text(if manifest.started_wall_ns == 0 {
            "not recorded".into()
        } else {
            say::wall(manifest.started_wall_ns)
        }),
    ]);
    table.row(vec![
        Cell::text("took"),
        Cell::text(if manifest.duration_ns == 0 { "not recorded".into() } else { say::duration(manifest.duration_ns) }),
    ]);
    table.row(vec![
        Cell::text("seeds of the runs"),
        Cell::text(if seeds.is_empty() { "no run".into() } else { cut(&seeds.join(", "), 200) }),
    ]);
    table.row(vec![Cell::text("host"), recorded(&host.name)]);
    table.row(vec![Cell::text("system"), recorded(format!("{} {} {}", host.os, host.kernel, host.arch).trim())]);
    table.row(vec![
        Cell::text("processors"),
        Cell::text(if host.cpus == 0 {
            "not recorded".into()
        } else {
            format!("{} × {}", host.cpus, if host.cpu.is_empty() { "unnamed" } else { &host.cpu })
        }),
    ]);
    table.row(vec![
        Cell::text("memory"),
        Cell::text(if host.memory_bytes == 0 { "not recorded".into() } else { say::bytes(host.memory_bytes) }),
    ]);
    for (node, version) in &manifest.versions {
        table.row(vec![Cell::text(format!("version of {node}")), Cell::text(version)]);
    }
    table.row(vec![
        Cell::text("experiment file, SHA-256"),
        recorded(&report.experiment.experiment_sha256).class("code"),
    ]);
    for (name, value) in &report.experiment.params {
        table.row(vec![Cell::text(format!("param {name}")), Cell::text(value)]);
    }
    table
}

/// The hashes of the run folder's files.
pub(super) fn hashes(report: &Report) -> Table {
    let mut table = Table::new("Files of the run, SHA-256", vec![Cell::text("file"), Cell::text("SHA-256")]);
    for (file, hash) in &report.manifest.files {
        table.row(vec![Cell::text(file), Cell::code(hash)]);
    }
    table
}
