//! What was found and said: writes, checks, notes, and where and with what it ran.

use super::chart::cut;
use super::machinery::repetition;
use super::table::{Cell, Table};
use crate::report::say;
use crate::report::view::{Report, variant_name, zero};

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

/// What was set in the place of real machines.
pub(super) fn modelled(report: &Report) -> Table {
    let head = vec![Cell::text("parameter"), Cell::text("as set"), Cell::text("what it stands for")];
    let mut table = Table::new("What the lab models; everything else took as long as it took", head);
    for one in report.modelled() {
        table.row(vec![Cell::code(one.param), Cell::text(one.value), Cell::text(one.what)]);
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
    let nobody = |name: &str| if name.is_empty() { "nobody".to_owned() } else { name.to_owned() };
    table.row(vec![Cell::text("signed off by"), Cell::text(nobody(&manifest.signed_off_by))]);
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
