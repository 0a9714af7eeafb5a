//! The one view model: everything that a report says, before any writer gives it a form.

use indexmap::{IndexMap, IndexSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::row::Row;
use crate::clock::Moment;
use crate::event::Modelled;
use crate::measure::{Doubt, MeasuredRun};
use crate::verdict::{Comparison, Judged, Judgement, Word};

/// The version of `report.json`; raised when a field changes its meaning or goes away, not when one is added.
pub const REPORT_SCHEMA: u32 = 1;

/// A report of one plan's runs. It is `report.json`, and every other form is made of it alone.
///
/// Moments count nanoseconds from their run's start; names of nanoseconds end in `_ns`, of bytes in `_bytes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "brownout report")]
pub struct Report {
    /// [`REPORT_SCHEMA`] of the writer.
    pub schema: u32,
    /// What was asked.
    pub experiment: Experiment,
    /// The answer.
    pub conclusion: Conclusion,
    /// One line each variant and workload: the figures that people compare.
    pub variants: Vec<Row>,
    /// How latencies of each further variant differ from those of the first.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// Each expectation of each variant it speaks of, in the order of the file.
    pub expectations: Vec<Judged>,
    /// Why the verdict is inconclusive, aborted or not ready.
    pub doubts: Vec<VariantDoubt>,
    /// Every run with all its figures, in the order of the plan.
    pub runs: Vec<MeasuredRun>,
    /// What could not be read of the run folder.
    pub missing: Vec<String>,
    /// What made the runs, and where.
    pub manifest: Manifest,
}

/// What was asked, as it was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// What was believed.
    pub hypothesis: String,
    /// Ids of the claims that it shows.
    pub claims: Vec<String>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// Parameters as used.
    pub params: Vec<(String, String)>,
    /// How to run it again.
    pub again: String,
    /// SHA-256 of the experiment file as written, in hexadecimal.
    pub experiment_sha256: String,
    /// Whether it is the short version that `smoke:` describes.
    pub smoke: bool,
    /// A control run: nothing was injected.
    pub no_faults: bool,
    /// How many runs the plan has; fewer were measured if some never started.
    pub planned_runs: usize,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conclusion {
    /// In one word.
    pub verdict: Word,
    /// Expectations that came true, variants counted one by one.
    pub held: usize,
    /// Expectations that did not.
    pub failed: usize,
    /// Expectations that did not, as `expected_failures` says.
    #[serde(default)]
    pub failed_as_expected: usize,
    /// Expectations of which nobody can know.
    pub inconclusive: usize,
    /// The sentences that matter, the most important first.
    pub sentences: Vec<String>,
}

/// A reason to doubt, with the variant that it concerns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VariantDoubt {
    /// The variant's id; empty without a matrix.
    pub variant: String,
    /// The reason.
    #[serde(flatten)]
    pub doubt: Doubt,
}

impl Report {
    /// `held, 4 of 4 expectations`.
    pub(crate) fn headline(&self) -> String {
        let Conclusion { verdict, held, failed, failed_as_expected, inconclusive, .. } = self.conclusion;
        let all = held + failed + failed_as_expected + inconclusive;
        let noun = if all == 1 { "expectation" } else { "expectations" };
        match verdict {
            _ if all == 0 => format!("{}, nothing was expected", word(verdict)),
            Word::Held if failed_as_expected > 0 => {
                format!("held, {held} of {all} {noun}, {failed_as_expected} failed as expected")
            }
            Word::Held => format!("held, {held} of {all} {noun}"),
            Word::Failed => format!("failed, {failed} of {all} {noun}"),
            Word::Inconclusive | Word::Aborted | Word::NotReady => {
                format!("{}, {held} of {all} {noun} held", word(verdict))
            }
        }
    }

    /// The variants' ids, in the order of the plan; one empty id without a matrix.
    pub(crate) fn variant_ids(&self) -> IndexSet<&str> {
        self.runs.iter().map(|run| run.variant.as_str()).collect()
    }

    /// The run that is drawn for each variant: its first repetition.
    pub(crate) fn drawn_runs(&self) -> Vec<&MeasuredRun> {
        let first = |variant: &str| self.runs.iter().find(|run| run.variant == variant);
        self.variant_ids().into_iter().filter_map(first).collect()
    }

    /// What of the system is modelled; what differs between variants has each value.
    pub(crate) fn modelled(&self) -> Vec<Modelled> {
        let mut all: IndexMap<&str, (IndexSet<&str>, &str)> = IndexMap::new();
        for one in self.runs.iter().flat_map(|run| &run.topology.modelled) {
            all.entry(&one.param).or_insert((IndexSet::new(), &one.what)).0.insert(&one.value);
        }
        let one = |(param, (values, what)): (&str, (IndexSet<&str>, &str))| Modelled {
            param: param.to_owned(),
            value: values.into_iter().collect::<Vec<_>>().join(" or "),
            what: what.to_owned(),
        };
        all.into_iter().map(one).collect()
    }

    /// The workloads' names, in the order of the plan.
    pub(crate) fn workload_names(&self) -> IndexSet<&str> {
        self.runs.iter().flat_map(|run| run.workloads.keys()).map(String::as_str).collect()
    }

    /// The expectations, those that came out alike in every variant on one line.
    pub(crate) fn folded_expectations(&self) -> Vec<(String, &Judged)> {
        let variants = self.variant_ids().len();
        let alike = |a: &Judged, b: &Judged| {
            (&a.expectation, a.outcome, &a.observed, &a.limit, a.stored_value)
                == (&b.expectation, b.outcome, &b.observed, &b.limit, b.stored_value)
        };
        let mut lines: Vec<(String, &Judged)> = Vec::new();
        for line in &self.expectations {
            let group = || self.expectations.iter().filter(|other| alike(line, other));
            let covered: IndexSet<&str> = group().map(|line| line.variant.as_str()).collect();
            if variants < 2 || covered.len() < variants {
                lines.push((line.variant.clone(), line));
            } else if group().next().is_some_and(|first| std::ptr::eq(first, line)) {
                lines.push(("every variant".into(), line));
            }
        }
        lines
    }
}

/// The moment that a run's figures are told from: its first injection, or its start if nothing was injected.
pub(crate) fn zero(run: &MeasuredRun) -> Moment {
    run.faults.values().map(|fault| fault.injected).min().unwrap_or(Moment::START)
}

/// The verdict as a word.
pub(crate) const fn word(word: Word) -> &'static str {
    match word {
        Word::Held => "held",
        Word::Failed => "failed",
        Word::Inconclusive => "inconclusive",
        Word::Aborted => "aborted",
        Word::NotReady => "not ready",
    }
}

/// The sign of a verdict, so that colour is never the only one to tell.
pub(crate) const fn mark(word: Word) -> char {
    match word {
        Word::Held => '✔',
        Word::Failed => '✘',
        Word::Inconclusive => '?',
        Word::Aborted | Word::NotReady => '■',
    }
}

/// The sign of one expectation.
pub(crate) const fn judgement_mark(outcome: Judgement) -> char {
    match outcome {
        Judgement::Held => '✔',
        Judgement::Failed => '✘',
        Judgement::FailedAsExpected => '~',
        Judgement::Inconclusive => '?',
    }
}

/// One expectation's outcome as a word.
pub(crate) const fn judgement_word(outcome: Judgement) -> &'static str {
    match outcome {
        Judgement::Held => "held",
        Judgement::Failed => "failed",
        Judgement::FailedAsExpected => "failed as expected",
        Judgement::Inconclusive => "inconclusive",
    }
}

/// How a variant is called where its id would be empty.
pub(crate) fn variant_name(id: &str) -> &str {
    if id.is_empty() { "this run" } else { id }
}
