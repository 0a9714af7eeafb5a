//! The stored baseline: what an earlier run observed, kept beside the experiment so that later runs compare with it.

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::judge::variants;
use super::observe::{Subject, observe};
use super::{Judged, Judgement, Verdict, Word};
use crate::experiment::expectation::{Expectation, Phase};
use crate::measure::{DoubtRule, Measured};

/// The version of a stored baseline; raised when a field changes its meaning.
pub const STORED_SCHEMA: u32 = 1;

/// What an earlier run observed of each subject that its expectations name: `baselines/NAME.json`.
///
/// It is meant to be committed: people read its changes in a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredBaseline {
    /// [`STORED_SCHEMA`] of the writer.
    pub schema: u32,
    /// The experiment's name.
    pub experiment: String,
    /// SHA-256 of the experiment file as written, in hexadecimal.
    pub experiment_sha256: String,
    /// Whether it was the short version that `smoke:` describes.
    pub smoke: bool,
    /// When it was saved.
    pub saved: Timestamp,
    /// The version of brownout.
    pub brownout: String,
    /// By variant (empty without a matrix) and subject, such as `orders/write.p99 during recovery`; in the metric's
    /// base unit: seconds, shares, counts. Of repetitions it is the median.
    pub values: IndexMap<String, IndexMap<String, f64>>,
}

/// A text that is no stored baseline.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is damaged, or something else.
    #[error("it is damaged")]
    Format(#[from] serde_json::Error),
    /// It was written by another version of brownout.
    #[error("it has schema {0}, this brownout reads schema {STORED_SCHEMA}")]
    Schema(u32),
}

impl StoredBaseline {
    /// Takes what a run observed. What is not known exactly, or only by a doubtful repetition, is not stored.
    pub fn of(measured: &Measured, saved: Timestamp) -> StoredBaseline {
        let plan = &measured.plan;
        let expectations: Vec<Expectation> =
            plan.expect.iter().filter_map(|line| Expectation::parse(line).ok()).collect();
        let mut values: IndexMap<String, IndexMap<String, f64>> = IndexMap::new();
        for variant in variants(measured, None) {
            let of_variant = values.entry(variant.id.clone()).or_default();
            for expectation in expectations.iter().filter(|expectation| variant.is_meant_by(expectation)) {
                let phase = expectation.phase();
                for subject in variant.subjects(expectation) {
                    let observed = variant.beyond_doubt().filter_map(|run| observe(run, subject, &phase).known());
                    if let Some(value) = median(observed.collect()) {
                        of_variant.insert(title(subject, &phase), value);
                    }
                }
            }
        }
        StoredBaseline {
            schema: STORED_SCHEMA,
            experiment: plan.name.clone(),
            experiment_sha256: plan.experiment_sha256.clone(),
            smoke: plan.smoke,
            saved,
            brownout: env!("CARGO_PKG_VERSION").to_owned(),
            values,
        }
    }

    /// Reads it.
    pub fn from_json(json: &[u8]) -> Result<StoredBaseline, StoredError> {
        // The schema first: of another one, nothing else is known.
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        match serde_json::from_slice(json)? {
            Versioned { schema: STORED_SCHEMA } => Ok(serde_json::from_slice(json)?),
            Versioned { schema } => Err(StoredError::Schema(schema)),
        }
    }

    /// Writes it, a value a line.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a stored baseline has only string keys");
        json.push(b'\n');
        json
    }

    /// What it has of a subject.
    pub(super) fn value(&self, variant: &str, subject: Subject<'_>, phase: &Phase) -> Result<f64, String> {
        let title = title(subject, phase);
        let value = self.values.get(variant).and_then(|values| values.get(&title)).copied();
        value.ok_or_else(|| {
            let of = if variant.is_empty() { String::new() } else { format!(" ({variant})") };
            format!("the stored baseline has no `{title}`{of}; `--save-baseline` adds it")
        })
    }
}

impl Verdict {
    /// Whether the run held, but for comparisons for which nothing is stored yet: then it is good enough to store.
    pub fn may_be_stored(&self) -> bool {
        let not_stored = |line: &Judged| {
            line.stored_value.is_none() && Expectation::parse(&line.expectation).is_ok_and(|line| line.names_stored())
        };
        match self.word {
            Word::Held => true,
            Word::Inconclusive => {
                self.doubts.iter().all(|(_, doubt)| doubt.rule == DoubtRule::NothingStored)
                    && self.lines.iter().all(|line| line.outcome == Judgement::Held || not_stored(line))
            }
            Word::Failed | Word::Aborted | Word::NotReady => false,
        }
    }
}

/// `orders/write.p99 during recovery`; a phase is named where it is not the default, written or not.
fn title(subject: Subject<'_>, phase: &Phase) -> String {
    if *phase == Phase::default() { subject.to_string() } else { format!("{subject} during {phase}") }
}

/// The median; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(values[last / 2].midpoint(values[last.div_ceil(2)]))
}
