//! What carried the run, counted: links, nodes, the load generator.

use super::nodes;
use super::table::{Cell, Table};
use crate::measure::MeasuredRun;
use crate::report::row::all;
use crate::report::say;
use crate::report::view::{Report, variant_name, zero};

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

/// `run 2`, where a run is not the first of its variant.
pub(super) fn repetition(run: &MeasuredRun) -> String {
    if run.repetition > 1 { format!("run {}", run.repetition) } else { String::new() }
}
