//! The first screen's tables: what users lived through, what was promised, what was expected.

use super::table::{Cell, Table};
use crate::experiment::metric::Unit;
use crate::measure::Difference;
use crate::report::change;
use crate::report::row::COLUMNS;
use crate::report::say;
use crate::report::view::{Report, judgement_mark, judgement_word, variant_name};
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

/// Each further variant's latency against that of the first.
pub(super) fn differences(report: &Report) -> Option<Table> {
    let against = &report.comparisons.first()?.against;
    let mut table = Table::new(
        format!("Latency, and how far it is from that of {against}"),
        vec![
            Cell::text("variant"),
            Cell::text("workload, phase"),
            Cell::number("p50").defined("difference"),
            Cell::number("p99").defined("difference"),
        ],
    );
    for comparison in &report.comparisons {
        let cell = |difference: &Option<Difference>| match difference {
            Some(difference) => {
                Cell::number(say::signed(Unit::Time, difference.value)).note(say::interval(Unit::Time, difference))
            }
            None => Cell::number("n/a").note("nothing was due"),
        };
        table.row(vec![
            Cell::text(&comparison.variant),
            Cell::text(format!("{}, {}", comparison.of, comparison.phase)),
            cell(&comparison.p50),
            cell(&comparison.p99),
        ]);
    }
    Some(table)
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
    let mut head = vec![
        Cell::text("outcome"),
        Cell::text("variant"),
        Cell::text("expectation"),
        Cell::number("observed"),
        Cell::number("limit"),
        Cell::number("margin").defined("margin"),
    ];
    let stored = change::has_stored(report);
    head.extend(stored.then(|| Cell::number("against stored")));
    head.push(Cell::text("because"));
    let mut table = Table::new("What was expected", head);
    for (variant, line) in report.folded_expectations() {
        let (class, mark) = match line.outcome {
            Judgement::Held => ("held", judgement_mark(line.outcome)),
            Judgement::Failed => ("failed", judgement_mark(line.outcome)),
            Judgement::FailedAsExpected => ("doubt", judgement_mark(line.outcome)),
            Judgement::Inconclusive => ("doubt", judgement_mark(line.outcome)),
        };
        let repetitions = match line.repetitions {
            (_, 0 | 1) => String::new(),
            (held, of) => format!("{held} of {of} runs"),
        };
        let mut cells = vec![
            Cell::text(format!("{mark} {}", judgement_word(line.outcome))).class(class),
            Cell::text(variant_name(&variant)),
            Cell::code(&line.expectation),
            Cell::number(&line.observed).note(repetitions),
            Cell::number(&line.limit),
            match (line.margin, line.limit_value) {
                (Some(share), _) => Cell::number(change::percent(share)),
                (None, Some(0.0)) => Cell::number("n/a").note("the limit is 0"),
                (None, _) => Cell::number("n/a"),
            },
        ];
        cells.extend(stored.then(|| Cell::number(change::against_stored(line))));
        let explained = line.explained();
        cells.push(Cell::text(if explained.is_empty() { "–".to_owned() } else { explained }));
        table.row(cells);
    }
    table
}
