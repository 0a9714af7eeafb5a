//! Experiment files to plans: all mistakes of all files at once.

use std::path::PathBuf;

use super::Overrides;
use crate::experiment::{self, Mistakes};
use crate::plan::Plan;
use crate::system::lab::Labs;

/// A file with its plan.
pub(super) struct ResolvedFile {
    /// Where it is, as it was given.
    pub(super) path: PathBuf,
    /// Its text.
    pub(super) text: String,
    /// Its plan.
    pub(super) plan: Plan,
    /// Warnings, rendered; often empty.
    pub(super) warnings: String,
}

/// Every file's plan, or every mistake, rendered.
pub(super) fn files(paths: &[PathBuf], overrides: &Overrides) -> Result<Vec<ResolvedFile>, String> {
    let (mut resolved, mut mistakes) = (Vec::new(), String::new());
    for path in paths {
        match file(path, overrides) {
            Ok(file) => resolved.push(file),
            Err(wrong) => mistakes += &wrong.render(super::colour()),
        }
    }
    if mistakes.is_empty() { Ok(resolved) } else { Err(mistakes) }
}

fn file(path: &PathBuf, overrides: &Overrides) -> Result<ResolvedFile, Mistakes> {
    let experiment = experiment::load(path, &overrides.as_experiment())?;
    let text = experiment.text.clone();
    let resolved = Plan::resolve(experiment, &Labs)?;
    let warnings = if resolved.warnings.is_empty() { String::new() } else { resolved.warnings.render(super::colour()) };
    Ok(ResolvedFile { path: path.clone(), text, plan: resolved.plan, warnings })
}
