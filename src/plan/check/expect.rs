//! Expectations and guards: whether what they name exists, applies, and can be told at all.

use std::time::Duration;

use super::Checker;
use crate::experiment::expectation::{
    Condition, Expectation, ExpectationError, Faulty, Limit, Phase, Quantity, Subject,
};
use crate::experiment::metric::{Metric, Needs, Scope};
use crate::experiment::mistake::{Mistake, quoted};
use crate::experiment::tree::{Node as Tree, Value};
use crate::plan::Require;
use crate::plan::fault::{DnsEffect, FaultKind};
use crate::plan::system::System;
use crate::plan::workload::{Arrival, Workload};

/// Ok operations in the baseline from which gaps are told (`docs/measurement.md`, failover and outage).
const GAP_SUCCESSES: f64 = 200.0;

impl Checker<'_> {
    pub(super) fn check_expectations(&mut self) {
        // As written, since a line that is no text has its place among the others.
        let items = |list: &str| match self.root.find(&[list]).map(|list| &list.value) {
            Some(Value::List(list)) => list.iter().enumerate().collect(),
            _ => Vec::new(),
        };
        let (lines, guards) = (items("expect"), items("guards"));
        for (index, line) in lines {
            let (index, Some(text)) = (index.to_string(), line.text()) else { continue };
            let path = ["expect", index.as_str()];
            match Expectation::read(text) {
                Ok(expectation) => self.check_expectation(&path, text, &expectation),
                Err(faulty) => self.check_faulty(&path, text, *faulty),
            }
        }
        for (index, guard) in guards {
            let (index, Some(text)) = (index.to_string(), guard.find(&["abort_if"]).and_then(Tree::text)) else {
                continue;
            };
            let path = ["guards", index.as_str(), "abort_if"];
            match Condition::read(text) {
                Ok(Condition { subject, .. }) => {
                    self.check_subject(&path, text, subject.workload.as_deref(), subject.class.as_deref());
                }
                Err(faulty) => self.check_faulty(&path, text, *faulty),
            }
        }
        self.check_require();
        self.check_expected_failures();
    }

    /// Each speaks of a line that stands under `expect`, and says why.
    fn check_expected_failures(&mut self) {
        let canonical = |line: &str| Expectation::parse(line).map_or(line.to_owned(), |line| line.to_string());
        let lines: Vec<String> = self.common.expect.iter().map(|line| canonical(line)).collect();
        for (index, known) in self.common.expected_failures.iter().enumerate() {
            let index = index.to_string();
            if let Some(line) = known.expect.as_ref().filter(|line| !lines.contains(&canonical(line))) {
                let mistake = self.mistake(&["expected_failures", &index, "expect"], "no line of `expect` says this");
                let lines = self.common.expect.iter().map(String::as_str);
                self.mistakes.add(mistake.known(line, "lines here", lines));
            } else if known.expect.as_deref().is_some_and(is_of_baseline) {
                let path = ["expected_failures", index.as_str(), "expect"];
                let label = "a baseline that does not hold it leaves the run inconclusive";
                self.at(&path, "what the baseline must hold cannot be tolerated", label);
            }
            if known.reason.trim().is_empty() {
                let path = ["expected_failures", index.as_str(), "reason"];
                self.at(&path, "nobody will know why this is tolerated", "expected a reason");
            }
        }
    }

    fn check_require(&mut self) {
        let written = self.root.find(&["require"]).and_then(|node| node.text());
        let of = written.and_then(|text| text.split_once(" of ")).and_then(|(_, n)| n.trim().parse::<u32>().ok());
        if let (Require::AtLeast(_), Some(of)) = (self.common.require, of)
            && of != self.repeat
        {
            let label = format!("each variant is run {} times", self.repeat);
            self.at(&["require"], format!("there are not {of} repetitions"), label);
        }
    }

    fn grammar(&mut self, path: &[&str], error: ExpectationError) {
        let mistake = Mistake::new(self.part(path, error.at), error.message);
        self.mistakes.add(match error.help {
            Some(help) => mistake.help(help),
            None => mistake,
        });
    }

    /// What can be read of a wrong line may be wrong too.
    fn check_faulty(&mut self, path: &[&str], text: &str, faulty: Faulty) {
        self.check_subject(path, text, faulty.workload.as_deref(), faulty.class.as_deref());
        self.check_phase(path, text, faulty.during.as_ref());
        self.check_where(path, text, &faulty.variants);
        faulty.mistakes.into_iter().for_each(|mistake| self.grammar(path, mistake));
    }

    fn check_expectation(&mut self, path: &[&str], text: &str, expectation: &Expectation) {
        let known =
            self.check_where(path, text, &expectation.variants) & self.check_other_variant(path, text, expectation);
        if known && !expectation.speaks_of(|axis| self.run.variant.get(axis).map(String::as_str)) {
            return;
        }
        let Subject { workload, class, .. } = &expectation.subject;
        let known = self.check_subject(path, text, workload.as_deref(), class.as_deref())
            & self.check_phase(path, text, expectation.during.as_ref());
        if known && self.check_needs(path, text, expectation) {
            self.check_resolution(path, text, expectation);
        }
    }

    /// `where` names an axis of the matrix and one of its values; whether it does.
    fn check_where(&mut self, path: &[&str], text: &str, variants: &[(String, String)]) -> bool {
        let clause = text.find(" where ").unwrap_or(0);
        let mut known = !self.axes.open;
        for (axis, value) in variants {
            known &= self.check_variant(path, text, clause, axis, value);
        }
        known
    }

    /// So does a limit that is another variant's figure.
    fn check_other_variant(&mut self, path: &[&str], text: &str, expectation: &Expectation) -> bool {
        let Some((axis, value)) = expectation.other_variant() else { return true };
        let clause = text.find(&format!("{axis}={value}")).unwrap_or(0);
        self.check_variant(path, text, clause, axis, value)
    }

    /// The matrix has this axis and this value, which stand in the text from `clause` on; whether it does.
    fn check_variant(&mut self, path: &[&str], text: &str, clause: usize, axis: &str, value: &str) -> bool {
        if self.axes.open {
            return false;
        }
        let at =
            |word: &str| text[clause..].find(word).map_or(0..text.len(), |at| clause + at..clause + at + word.len());
        let Some(values) = self.axes.values.get(axis) else {
            let title = format!("the matrix has no axis {}", quoted(axis));
            let mistake = Mistake::new(self.part(path, at(axis)), title);
            self.mistakes.add(mistake.known(axis, "axes", self.axes.values.keys().map(String::as_str)));
            return false;
        };
        // An axis without values is told where it stands.
        let Some(values) = values.as_ref().filter(|values| !values.iter().any(|known| known == value)) else {
            return true;
        };
        let title = format!("the axis `{axis}` has no value {}", quoted(value));
        let at = text[clause..].find('=').map_or(0..text.len(), |equals| {
            let start = text[clause + equals..].find(value).map_or(clause, |at| clause + equals + at);
            start..start + value.len()
        });
        let mistake = Mistake::new(self.part(path, at), title);
        self.mistakes.add(mistake.known(value, "values", values.iter().map(String::as_str)));
        false
    }

    /// The workload and the class exist; whether they do.
    fn check_subject(&mut self, path: &[&str], text: &str, workload: Option<&str>, class: Option<&str>) -> bool {
        let Some(name) = workload else { return true };
        let Some(workload) = self.run.workloads.get(name) else {
            // One that is there but wrong is told where it stands.
            let declared = self.declared("workloads");
            if !declared.contains(&name) {
                let at = self.part(path, 0..name.len());
                let known = declared;
                let mistake = Mistake::new(at, format!("no workload is called {}", quoted(name)));
                self.mistakes.add(mistake.known(name, "workloads", known));
            }
            return false;
        };
        let Some(class) = class else { return true };
        let classes = workload.operation.classes();
        if !classes.contains(&class) {
            let start = text.find('/').map_or(0, |slash| slash + 1);
            let at = self.part(path, start..start + class.len());
            let mistake = Mistake::new(at, format!("the workload `{name}` has no class {}", quoted(class)));
            self.mistakes.add(mistake.known(class, "classes", classes));
            return false;
        }
        true
    }

    /// The phase exists.
    fn check_phase(&mut self, path: &[&str], text: &str, phase: Option<&Phase>) -> bool {
        let Some(phase) = phase else { return true };
        let words = phase.to_string();
        let start = text.find(" during ").map_or(0, |during| during + " during ".len());
        let at = self.part(path, start..(start + words.len()).min(text.len()));
        let of_fault = words.starts_with("fault") || words.starts_with("recovery");
        if let Some(fault) = phase.fault() {
            let declared = self.declared("faults");
            if declared.contains(&fault) {
                return true;
            }
            let start = start + words.len() - fault.len();
            let at = self.part(path, start..start + fault.len());
            let mistake = Mistake::new(at, format!("no fault is called {}", quoted(fault)));
            self.mistakes.add(mistake.known(fault, "faults", declared));
            return false;
        }
        let length = match words.as_str() {
            "baseline" => self.run.phases.baseline.0,
            "recovery" => self.run.phases.recovery.0,
            _ => Duration::MAX,
        };
        let title = if of_fault && self.declared("faults").is_empty() {
            format!("there is no phase `{words}` without a fault")
        } else if length.is_zero() {
            format!("the phase `{words}` has no length")
        } else {
            return true;
        };
        self.mistakes.add(Mistake::new(at, title));
        false
    }

    /// The metric applies to this run; whether it does.
    fn check_needs(&mut self, path: &[&str], text: &str, expectation: &Expectation) -> bool {
        let metric = expectation.subject.metric;
        // Nobody knows of one that could not be read.
        let unread = self.run.workloads.len() < self.declared("workloads").len();
        let stateful =
            unread || self.subjects(&expectation.subject).any(|(_, workload)| workload.operation.is_stateful());
        let declared_faults = self.declared("faults").len();
        let faults = declared_faults > 0;
        // A check that could not be read is told where it stands.
        let checks = self.root.find(&["checks"]).is_some_and(|checks| checks.size() > 1);
        let probe = match &self.run.system {
            System::Nodes { nodes, .. } => {
                self.known.whole().is_none() || nodes.values().any(|node| node.probe.is_some())
            }
            System::Lab { .. } => true,
        };
        let lacks = match metric.needs() {
            Needs::Nothing => None,
            Needs::Fault | Needs::Gaps => (!faults).then_some("a fault"),
            Needs::State => (!stateful).then_some("an operation with a state: `register`, `insert` or `append`"),
            Needs::StateAndFault => match (stateful, faults) {
                (false, _) => Some("an operation with a state: `register`, `insert` or `append`"),
                (true, false) => Some("a fault"),
                (true, true) => None,
            },
            Needs::Probe => (!probe).then_some("a node with a `probe`"),
            Needs::Check => (!checks).then_some("a check under `checks:`"),
        };
        if let Some(lacks) = lacks {
            let at = self.part(path, metric_range(text, metric));
            let title = format!("`{metric}` does not apply to this experiment");
            self.mistakes.add(Mistake::new(at, title).label(format!("it needs {lacks}")));
            return false;
        }
        // An action's hit set is nothing that the run knows, and DNS takes a place away only by telling another.
        let hits = |kind: &FaultKind| match kind {
            FaultKind::Dns(dns) => matches!(dns.effect, DnsEffect::Remap { .. }),
            kind => !matches!(kind, FaultKind::Action { .. }),
        };
        let unread = self.run.faults.len() < declared_faults;
        if metric == Metric::FailoverLatency && !unread && !self.run.faults.values().any(|fault| hits(&fault.kind)) {
            let at = self.part(path, metric_range(text, metric));
            let title = "`failover_latency` does not apply: no fault here hits a node or a link of the run";
            self.mistakes.add(Mistake::new(at, title).label("an action's reach is not known"));
            return false;
        }
        true
    }

    /// Limits that the figures are too coarse for, and baselines too short to tell a gap: warnings.
    fn check_resolution(&mut self, path: &[&str], text: &str, expectation: &Expectation) {
        let metric = expectation.subject.metric;
        let mut warnings = Vec::new();
        for (name, workload) in self.subjects(&expectation.subject) {
            let Some(gap) = mean_gap(workload, expectation.subject.class.as_deref()) else { continue };
            let baseline = self.run.phases.baseline.0;
            let successes = baseline.as_secs_f64() / gap.as_secs_f64();
            if metric.needs() == Needs::Gaps && successes < GAP_SUCCESSES {
                let at = self.part(path, metric_range(text, metric));
                let needed = crate::units::Span(gap.mul_f64(GAP_SUCCESSES));
                let title = format!("the baseline is too short to tell a gap of `{name}`");
                let label = format!("about {successes:.0} operations, and {GAP_SUCCESSES:.0} are needed");
                let help = format!("make the baseline {needed} or longer, or the rate higher");
                warnings.push(Mistake::new(at, title).label(label).help(help));
                continue;
            }
            let coarse = match metric.needs() {
                Needs::Gaps => Some(shortest_gap(workload, gap)),
                _ => metric.resolution().span(gap, self.run.phases.recovery.0),
            };
            if let (Some(coarse), Limit::Quantity(Quantity::Time(limit))) = (coarse, &expectation.limit)
                && !limit.is_zero()
                && *limit < coarse
            {
                let end = text.find(" where ").unwrap_or(text.len());
                let start = text[..end].rfind(' ').map_or(0, |space| space + 1);
                let title = format!("the limit is below what `{metric}` of `{name}` can tell");
                let label = format!("the resolution is {}", crate::units::Span(coarse));
                warnings.push(Mistake::new(self.part(path, start..end), title).label(label));
            }
        }
        warnings.into_iter().for_each(|warning| self.mistakes.add(warning.warning()));
    }

    /// The names under a key of the file, of what is sound and of what is not.
    fn declared(&self, key: &str) -> Vec<&'_ str> {
        self.root.find(&[key]).and_then(Tree::map).into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The workloads that a subject speaks of.
    fn subjects<'s>(&'s self, subject: &'s Subject) -> impl Iterator<Item = (&'s String, &'s Workload)> {
        let takes = subject.metric.scope() != Scope::Run;
        let named = subject.workload.as_ref();
        self.run.workloads.iter().filter(move |(name, _)| takes && named.is_none_or(|named| named == *name))
    }
}

/// Whether a line is one that a baseline must hold before anything can be said of the fault: it has a limit of its own.
fn is_of_baseline(line: &str) -> bool {
    let compares = |line: &Expectation| line.names_stored() || line.other_variant().is_some();
    Expectation::parse(line).is_ok_and(|line| line.during == Some(Phase::Baseline) && !compares(&line))
}

/// Where the metric stands in a line.
fn metric_range(text: &str, metric: Metric) -> std::ops::Range<usize> {
    // `p99` stands in `ok_p99` too, and a workload may be called like a metric.
    let subject = text.split_whitespace().next().unwrap_or_default();
    let start = subject.rfind('.').map_or(0, |dot| dot + 1) + text.len() - text.trim_start().len();
    start..(start + metric.name().len()).min(text.len())
}

/// The mean time between two operations of a workload, or of one class of it; none for a closed loop.
fn mean_gap(workload: &Workload, class: Option<&str>) -> Option<Duration> {
    use crate::plan::workload::Operation::*;
    // The slowest part of a ramp is what the baseline sees, where it sees the ramp at all.
    let rate = match workload.arrival {
        Arrival::Constant(rate) | Arrival::Poisson(rate) => rate.get(),
        Arrival::Ramp { from, to, .. } => from.get().min(to.get()),
        Arrival::Users { .. } => return None,
    };
    let reads = match &workload.operation {
        Register(register) => register.reads.get(),
        Insert(insert) => insert.reads.get(),
        Append(append) => append.reads.get(),
        Request(_) | Echo { .. } => 0.0,
    };
    let share = match class {
        Some("read") if workload.operation.is_stateful() => reads,
        Some("write") if workload.operation.is_stateful() => 1.0 - reads,
        _ => 1.0,
    };
    let gap = 1.0 / (rate * share);
    (gap.is_finite() && gap < 1e9).then(|| Duration::from_secs_f64(gap))
}

/// The shortest silence that counts as a gap (`docs/measurement.md`, unavailability).
fn shortest_gap(workload: &Workload, mean: Duration) -> Duration {
    let factor = if matches!(workload.arrival, Arrival::Poisson(_)) { 20 } else { 10 };
    (mean * factor).max(Duration::from_millis(100))
}
