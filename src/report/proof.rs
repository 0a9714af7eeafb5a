//! Faults in words: what was injected, and what shows that it was real.

use indexmap::IndexMap;

use super::say;
use super::view::Report;
use crate::event::{Hit, Proof};
use crate::measure::{FaultSpan, MeasuredRun};

/// What a fault hit: `4 links and primary-a`.
pub(super) fn target(hit: &Hit) -> String {
    let mut parts = Vec::new();
    match hit.links.as_slice() {
        [] => {}
        [one] => parts.push(format!("link {one}")),
        links => parts.push(say::counted(links.len() as u64, "link")),
    }
    match hit.nodes.as_slice() {
        [] => {}
        [one] => parts.push(one.clone()),
        nodes => parts.push(say::counted(nodes.len() as u64, "node")),
    }
    match hit.names.as_slice() {
        [] => {}
        [one] => parts.push(one.clone()),
        names => parts.push(say::counted(names.len() as u64, "name")),
    }
    if parts.is_empty() { "nothing".into() } else { say::list(&parts) }
}

/// What arrived while the fault was in force: `withheld 61 connections and 4.21 kB`.
pub(super) fn evidence(kind: &str, proof: &Proof) -> String {
    if is_of_nodes(kind) {
        return node_evidence(proof);
    }
    let mut parts = Vec::new();
    let connections = say::counted(proof.connections, "connection");
    match kind {
        _ if proof.connections == 0 => {}
        "refuse" => parts.push(format!("refused {connections}")),
        "reset_peer" => parts.push(format!("reset {connections}")),
        "drop" | "limit_data" => parts.push(format!("closed {connections}")),
        _ => parts.push(format!("withheld {connections}")),
    }
    if proof.withheld_bytes > 0 {
        let verb = if parts.is_empty() || !parts[0].starts_with("withheld") { "withheld " } else { "" };
        parts.push(format!("{verb}{}", say::bytes(proof.withheld_bytes)));
    }
    if proof.dropped_segments > 0 {
        parts.push(format!("dropped {}", say::counted(proof.dropped_segments, "segment")));
    }
    if proof.altered_chunks > 0 {
        parts.push(format!("altered {}", say::counted(proof.altered_chunks, "chunk")));
    }
    if proof.requests > 0 {
        parts.push(format!("matched {}", say::counted(proof.requests, "request")));
    }
    match proof.queries {
        0 => {}
        1 => parts.push("changed the answer to 1 query".into()),
        queries => parts.push(format!("changed the answers to {queries} queries")),
    }
    parts.extend(proof.read_back.iter().cloned());
    if parts.is_empty() { "nothing arrived that it could act on".into() } else { say::list(&parts) }
}

fn is_of_nodes(kind: &str) -> bool {
    matches!(
        kind,
        "kill"
            | "stop"
            | "pause"
            | "restart"
            | "vm_down"
            | "host_down"
            | "rack_down"
            | "zone_down"
            | "region_down"
            | "storage_copy_down"
            | "control_node_down"
    )
}

/// Whether the evidence says by itself whom it concerns.
fn says_whom(kind: &str) -> bool {
    is_of_nodes(kind) || matches!(kind, "failover" | "maintenance" | "exec" | "http" | "manual")
}

/// What became of the nodes, and what was directed at them: `node-a: gone; 12 connections and 4.21 kB meant for it`.
fn node_evidence(proof: &Proof) -> String {
    let mut directed = Vec::new();
    if proof.connections > 0 {
        directed.push(say::counted(proof.connections, "connection"));
    }
    if proof.withheld_bytes > 0 {
        directed.push(say::bytes(proof.withheld_bytes));
    }
    if proof.dropped_segments > 0 {
        directed.push(say::counted(proof.dropped_segments, "segment"));
    }
    let directed = if directed.is_empty() { "nothing".to_owned() } else { say::list(&directed) };
    format!("{}; {directed} meant for it", say::list(&proof.read_back))
}

/// `cut: withheld 61 connections on 4 links (kernel-drop)`, one line a fault; of several runs the weakest proof.
pub(super) fn lines(report: &Report) -> Vec<(bool, String)> {
    let mut faults: IndexMap<&str, Vec<(&MeasuredRun, &FaultSpan)>> = IndexMap::new();
    for run in &report.runs {
        for (name, fault) in &run.faults {
            faults.entry(name).or_default().push((run, fault));
        }
    }
    faults.into_iter().map(|(name, runs)| line(name, &runs)).collect()
}

fn line(name: &str, runs: &[(&MeasuredRun, &FaultSpan)]) -> (bool, String) {
    let doubtful = runs.iter().find(|(_, fault)| !fault.proof.as_ref().is_some_and(|proof| proof.real));
    if let Some((run, fault)) = doubtful {
        let variant = if run.variant.is_empty() { String::new() } else { format!(" with {}", run.variant) };
        let why = match &fault.proof {
            Some(proof) => evidence(&fault.kind, proof),
            None => "the run was cut off before its removal".into(),
        };
        return (false, format!("{name}{variant}: {why}"));
    }
    let strength = |proof: &Proof| {
        (
            proof.connections,
            proof.withheld_bytes,
            proof.dropped_segments,
            proof.altered_chunks,
            proof.requests,
            proof.queries,
        )
    };
    let weakest = runs
        .iter()
        .filter_map(|(_, fault)| Some((fault, fault.proof.as_ref()?)))
        .min_by_key(|(_, proof)| strength(proof));
    let Some((fault, proof)) = weakest else { return (false, format!("{name} was never injected")) };
    let least = if runs.len() > 1 { "; no run had less" } else { "" };
    let how = fault.mechanism.map(|mechanism| format!(" ({})", mechanism.name())).unwrap_or_default();
    let evidence = evidence(&fault.kind, proof);
    match says_whom(&fault.kind) {
        true => (true, format!("{name}: {evidence}{how}{least}")),
        false => (true, format!("{name} {evidence} on {}{how}{least}", target(&fault.hit))),
    }
}

/// What was done to the system, as a sentence; none if nothing was.
pub(super) fn injected(report: &Report) -> Option<String> {
    let run = report.drawn_runs().into_iter().max_by_key(|run| run.faults.len())?;
    let mut said = Vec::new();
    for (name, fault) in run.faults.iter().take(3) {
        let held = match fault.healed {
            Some(healed) if healed > fault.injected => {
                format!(" for {}", say::span(healed.saturating_since(fault.injected)))
            }
            Some(_) => " once".into(),
            None => " to the end".into(),
        };
        said.push(format!("{name} ({}) on {}{held}", fault.kind, target(&fault.hit)));
    }
    match (run.faults.len(), said.is_empty()) {
        (0, _) | (_, true) => None,
        (number @ 4.., _) => Some(format!("Injected: {} and {} more.", said.join(", "), number - 3)),
        _ => Some(format!("Injected: {}.", said.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_names_what_arrived_in_the_words_of_its_kind() {
        let withheld = Proof { real: true, connections: 61, withheld_bytes: 4_213, ..Proof::default() };
        assert_eq!(evidence("partition", &withheld), "withheld 61 connections and 4.21 kB");
        let refused = Proof { real: true, connections: 1, ..Proof::default() };
        assert_eq!(evidence("refuse", &refused), "refused 1 connection");
        let gone = Proof { read_back: vec!["primary-a: gone".into()], ..withheld };
        assert_eq!(evidence("kill", &gone), "primary-a: gone; 61 connections and 4.21 kB meant for it");
        let queried = Proof { real: true, queries: 12, ..Proof::default() };
        assert_eq!(evidence("dns_stale", &queried), "changed the answers to 12 queries");
        let idle = Proof { read_back: vec!["a: T".into(), "b: T".into()], ..Proof::default() };
        assert_eq!(evidence("pause", &idle), "a: T and b: T; nothing meant for it");
        assert_eq!(evidence("latency", &Proof::default()), "nothing arrived that it could act on");
    }
}
