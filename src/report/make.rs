//! What was measured and judged becomes the view model.

use super::manifest::Manifest;
use super::row::rows;
use super::sentences;
use super::view::{Conclusion, Experiment, REPORT_SCHEMA, Report, VariantDoubt};
use crate::measure::Measured;
use crate::plan::Plan;
use crate::verdict::{self, Judgement, Verdict};

impl Report {
    /// The report on what was measured and judged.
    pub fn new(measured: &Measured, verdict: &Verdict, manifest: &Manifest) -> Report {
        let count = |outcome| verdict.lines.iter().filter(|line| line.outcome == outcome).count();
        let doubts = verdict.doubts.iter();
        let mut report = Report {
            schema: REPORT_SCHEMA,
            experiment: Experiment::of(&measured.plan),
            conclusion: Conclusion {
                verdict: verdict.word,
                held: count(Judgement::Held),
                failed: count(Judgement::Failed),
                failed_as_expected: count(Judgement::FailedAsExpected),
                inconclusive: count(Judgement::Inconclusive),
                sentences: Vec::new(),
            },
            variants: rows(&measured.runs),
            comparisons: verdict::comparisons(measured),
            expectations: verdict.lines.clone(),
            doubts: doubts
                .map(|(variant, doubt)| VariantDoubt { variant: variant.clone(), doubt: doubt.clone() })
                .collect(),
            runs: measured.runs.clone(),
            missing: measured.missing.clone(),
            manifest: manifest.clone().without(&super::NAMES),
        };
        report.conclusion.sentences = sentences::of(&report);
        report
    }
}

impl Experiment {
    fn of(plan: &Plan) -> Experiment {
        Experiment {
            name: plan.name.clone(),
            hypothesis: plan.hypothesis.clone(),
            claims: plan.claims.clone(),
            tags: plan.tags.clone(),
            params: plan.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            again: plan.again.clone(),
            experiment_sha256: plan.experiment_sha256.clone(),
            smoke: plan.smoke,
            no_faults: plan.no_faults,
            planned_runs: plan.runs.len(),
        }
    }
}
