//! `report.html`: one file that opens from disk, without a network, and reads well without a script.
//!
//! Drawings and tables are made here, so that print, a screen reader and a browser without scripts see all of them.
//! The script only adds a shared cursor and zoom, from the data that stands in the page as JSON. The content
//! security policy allows this page's own style and script by their hashes and nothing else, whatever a name,
//! a log line or an answer of a server contains.

mod chart;
mod definitions;
mod evidence;
mod failover;
mod machinery;
mod nodes;
mod operations;
mod outages;
mod scale;
mod series;
mod summary;
mod table;
mod topology;
mod windows;

use askama::Template;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::definitions::Definition;
use self::failover::Failover;
use self::operations::Sample;
use self::scale::{TimeAxis, ms};
use self::series::{Row, Track, occurring};
use self::table::Table;
use super::say;
use super::view::{Report, mark, variant_name, word, zero};
use crate::measure::MeasuredRun;
use crate::verdict::Word;

const STYLE: &str = include_str!("../../../reports/assets/report.css");
const SCRIPT: &str = include_str!("../../../reports/assets/report.js");

/// Variants drawn, at most: beyond that, charts side by side show nothing any more. Tables and JSON have all.
const DRAWN: usize = 12;

/// The report as one HTML file.
pub fn html(report: &Report) -> String {
    Page::of(report).render().expect("a template writes to memory")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    policy: String,
    style: &'static str,
    script: &'static str,
    data: String,
    verdict: &'static str,
    verdict_class: &'static str,
    verdict_mark: char,
    verdict_rest: String,
    started: String,
    comparison: Table,
    service_levels: Table,
    expectations: Table,
    differences: Option<Table>,
    workloads: Vec<Charts>,
    undrawn: usize,
    failovers: Vec<Failover>,
    outages: Vec<Table>,
    faults: Table,
    links: Table,
    topologies: Vec<Topology>,
    lanes: Vec<Lanes>,
    samples: Vec<Sample>,
    consistency: Option<Table>,
    examples: Vec<String>,
    checks: Table,
    notes: Table,
    windows: Vec<Table>,
    phases: Vec<Table>,
    generator: Table,
    modelled: Table,
    environment: Table,
    hashes: Table,
    definitions: Vec<Definition>,
}

/// The charts of one workload.
struct Charts {
    workload: String,
    rows: Vec<Row>,
    /// The same figures, a table each variant.
    tables: Vec<Table>,
}

/// Who took part in runs that had the same nodes and links.
struct Topology {
    variants: String,
    svg: Option<String>,
    tables: Vec<Table>,
}

/// The nodes of one run over time.
struct Lanes {
    variant: String,
    svg: String,
    table: Table,
}

impl<'a> Page<'a> {
    fn of(report: &'a Report) -> Page<'a> {
        let all = report.drawn_runs();
        let runs: Vec<&MeasuredRun> = all.iter().copied().take(DRAWN).collect();
        let axis = TimeAxis::of(&runs);
        let mut tracks: Vec<Track<'_>> = Vec::new();
        let mut workloads = Vec::new();
        let mut failovers = Vec::new();
        for workload in report.workload_names() {
            let of_workload: Vec<Track<'_>> = runs
                .iter()
                .filter_map(|run| Some(Track { run, series: &run.workloads.get(workload)?.series }))
                .collect();
            failovers.extend(failover::failovers(workload, &runs));
            // A chart of nothing would have a scale all the same, and say something.
            if of_workload.iter().all(|track| track.slices().is_empty()) {
                continue;
            }
            let table =
                |track: &Track<'_>| windows::series(track, format!("{workload}, {}", variant_name(&track.run.variant)));
            workloads.push(Charts {
                workload: workload.into(),
                rows: series::rows(axis, &of_workload, tracks.len()),
                tables: of_workload.iter().map(table).collect(),
            });
            tracks.extend(of_workload);
        }
        let lanes = |run: &&MeasuredRun| {
            let variant = variant_name(&run.variant).into();
            nodes::lanes(axis, run).map(|svg| Lanes { variant, svg, table: machinery::node_states(run) })
        };
        let of_each_workload =
            |run: &&'a MeasuredRun| run.workloads.keys().map(|name| windows::windows(run, name)).collect::<Vec<_>>();
        let verdict = report.conclusion.verdict;
        Page {
            policy: policy(),
            style: STYLE,
            script: SCRIPT,
            data: data(axis, &runs, &tracks),
            verdict: word(verdict),
            verdict_class: class(verdict),
            verdict_mark: mark(verdict),
            verdict_rest: report.headline().split_once(", ").map_or_else(String::new, |(_, rest)| rest.to_owned()),
            started: report.runs.first().map_or_else(|| "never started".into(), |run| say::wall(run.started_wall_ns)),
            comparison: summary::comparison(report),
            service_levels: summary::service_levels(report),
            expectations: summary::expectations(report),
            differences: summary::differences(report),
            undrawn: all.len() - runs.len(),
            outages: report
                .workload_names()
                .into_iter()
                .filter_map(|workload| outages::outages(report, workload))
                .collect(),
            faults: outages::faults(report),
            links: machinery::links(report),
            topologies: topologies(&runs),
            lanes: runs.iter().filter_map(lanes).collect(),
            samples: runs.iter().flat_map(|run| operations::samples(run)).collect(),
            consistency: evidence::consistency(report),
            examples: evidence::examples(report),
            checks: evidence::checks(report),
            notes: evidence::notes(report),
            windows: runs.iter().flat_map(of_each_workload).filter(Table::says_something).collect(),
            phases: runs.iter().map(|run| windows::phases(run)).filter(Table::says_something).collect(),
            generator: machinery::generator(report),
            modelled: evidence::modelled(report),
            environment: evidence::environment(report),
            hashes: evidence::hashes(report),
            definitions: definitions::all(),
            report,
            workloads,
            failovers,
        }
    }
}

/// One diagram for all runs that had the same nodes and links, and whose faults hit the same of them.
fn topologies(runs: &[&MeasuredRun]) -> Vec<Topology> {
    let same = |a: &MeasuredRun, b: &MeasuredRun| {
        (&a.topology.nodes, &a.topology.links) == (&b.topology.nodes, &b.topology.links) && hit_alike(a, b)
    };
    let mut groups: Vec<Vec<&MeasuredRun>> = Vec::new();
    for run in runs.iter().filter(|run| !run.topology.nodes.is_empty()) {
        match groups.iter_mut().find(|group| same(group[0], run)) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    let all = groups.len() == 1;
    let topology = |(index, group): (usize, Vec<&MeasuredRun>)| {
        let names: Vec<&str> = group.iter().map(|run| variant_name(&run.variant)).collect();
        let variants = if all { String::new() } else { names.join(", ") };
        Topology { variants, svg: topology::diagram(group[0], index), tables: topology::tables(group[0]) }
    };
    groups.into_iter().enumerate().map(topology).collect()
}

/// Whether faults hit the same links and nodes; the places differ with each run's ports.
fn hit_alike(a: &MeasuredRun, b: &MeasuredRun) -> bool {
    fn hits(run: &MeasuredRun) -> impl Iterator<Item = (&String, &[String], &[String])> {
        run.faults.iter().map(|(name, fault)| (name, &*fault.hit.links, &*fault.hit.nodes))
    }
    hits(a).eq(hits(b))
}

const fn class(verdict: Word) -> &'static str {
    match verdict {
        Word::Held => "held",
        Word::Failed => "failed",
        Word::Inconclusive | Word::Aborted | Word::NotReady => "doubt",
    }
}

/// What the page may load and run: its own style and script, by their hashes, and nothing else.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", base64(&Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// What the cursor reads: the tracks' figures as columns, latencies in microseconds.
fn data(axis: TimeAxis, runs: &[&MeasuredRun], tracks: &[Track<'_>]) -> String {
    let fault = |run: &MeasuredRun| -> Vec<Value> {
        let zero = zero(run);
        let spans = run.faults.iter().map(|(name, fault)| {
            let end = fault.healed.unwrap_or(run.load_end);
            json!({ "name": name, "start": ms(fault.injected, zero), "end": ms(end, zero) })
        });
        spans.collect()
    };
    let track = |track: &Track<'_>| {
        let slices = track.slices();
        let latency = |index: usize| -> Vec<Option<u64>> {
            slices.iter().map(|slice| Some(slice.latency_ns?[index] / 1_000)).collect()
        };
        let outcomes: serde_json::Map<String, Value> = occurring(&[*track])
            .into_iter()
            .map(|outcome| {
                let counts: Vec<u64> =
                    slices.iter().map(|slice| slice.attempts.get(&outcome).copied().unwrap_or(0)).collect();
                (outcome.name().replace('_', " "), json!(counts))
            })
            .collect();
        json!({
            "start": track.start(0),
            "slice": track.width(),
            "p50": latency(0),
            "p90": latency(1),
            "p99": latency(2),
            "max": latency(3),
            "due": slices.iter().map(|slice| slice.due).collect::<Vec<_>>(),
            "ok": slices.iter().map(|slice| slice.ok).collect::<Vec<_>>(),
            "good": slices.iter().map(|slice| slice.good).collect::<Vec<_>>(),
            "outcomes": outcomes,
        })
    };
    let data = json!({
        "start": axis.start_ms,
        "end": axis.end_ms,
        "faults": runs.first().map(|run| fault(run)).unwrap_or_default(),
        "tracks": tracks.iter().map(track).collect::<Vec<_>>(),
    });
    // A `<` could end the element that the data stands in.
    data.to_string().replace('<', "\\u003c")
}

/// Base64 with padding, as a content security policy writes hashes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let used = digit <= group.len();
            text.push(if used { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
