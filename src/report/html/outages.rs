//! What each fault did, and what shows that it was real.

use super::chart::cut;
use super::table::{Cell, Table};
use crate::clock::Moment;
use crate::measure::{Figure, Metastable, Outage};
use crate::report::proof;
use crate::report::row::all;
use crate::report::say;
use crate::report::view::{Report, variant_name, zero};

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
                Cell::number(say::offset(fault.injected, zero(run))).note(beside_plan(fault.injected, fault.planned)),
                match fault.healed {
                    Some(healed) => {
                        let planned = fault.removal_planned.filter(|&planned| planned < run.load_end);
                        let note = planned.map(|planned| format!("removed {}", beside_plan(healed, planned)));
                        Cell::number(say::span(healed.saturating_since(fault.injected))).note(note.unwrap_or_default())
                    }
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

/// How far from the plan something happened.
fn beside_plan(actual: Moment, planned: Moment) -> String {
    let late = actual.signed_ns_since(planned);
    let side = if late >= 0 { "after" } else { "before" };
    format!("{} {side} the plan", say::duration(late.unsigned_abs()))
}

fn places(places: &[String]) -> String {
    if places.is_empty() { String::new() } else { format!("hit set: {}", cut(&places.join(", "), 120)) }
}

fn passed(passed: u64, in_flight: u64) -> String {
    format!("{} passed after t0; the kernel already had {}", say::bytes(passed), say::bytes(in_flight))
}
