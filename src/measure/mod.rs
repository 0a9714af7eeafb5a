//! What happened, in figures: pure functions from a run folder's events and attempts to [`Measured`].
//!
//! ```text
//! events.jsonl ──▶ phases, faults, groups ─┐            ┌─▶ tallies ─▶ windows
//!                                           ├─▶ assemble ┼─▶ history ─▶ outages, availability, series
//! attempts.jsonl.zst ──▶ read (in order) ──┤            └─▶ sampler
//!                                           └─▶ checking ──▶ consistency          (on a thread of its own)
//! ```
//! Attempts are read once and never held as such: an operation is a row of 40 bytes, counts and histograms are
//! kept for each stretch of time between two borders of phases, and added up for each phase. Where
//! one run each of several variants is compared, the operations of the phases in question are kept by slices of time as
//! well, for `compare`.
//! Each definition of `docs/measurement.md` has a file of its own.

use std::io;
use std::path::{Path, PathBuf};

mod admission;
mod assemble;
mod availability;
mod checking;
mod compare;
pub mod consistency;
mod degraded;
mod doubts;
mod failover;
mod gaps;
mod history;
mod model;
mod outage;
mod pace;
mod phases;
mod read;
mod rpo;
mod run;
mod samples;
mod series;
mod slices;
mod steady;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod workload;

pub use compare::{Difference, Interval};
pub(crate) use compare::{Draws, Statistic};
pub use doubts::NO_ATTEMPTS;
pub use model::*;
pub use slices::Slices;

use crate::plan::{Plan, RunPlan};

/// A run folder that cannot be measured at all; anything less is named in [`Measured::missing`].
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A file that must be read cannot be.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The plan is not one.
    #[error("`{}` is no plan of this version of brownout", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Measured {
    /// Measures every run of a run folder, also one that was cut off or damaged.
    pub fn from_run(dir: &Path) -> Result<Measured, MeasureError> {
        let plan = read::plan(dir)?;
        let mut missing = Vec::new();
        let compared = compare::compared(&plan);
        let mut runs = Vec::new();
        for run in &plan.runs {
            runs.extend(run::measure(&dir.join(&run.folder), &plan, run, &compared, &mut missing)?);
        }
        Ok(Measured { plan, runs, missing })
    }

    /// A reason to doubt all that was measured, told from outside.
    pub fn doubt(&mut self, doubt: &Doubt) {
        self.runs.iter_mut().for_each(|run| run.inconclusive.push(doubt.clone()));
    }

    /// Measures one run of a plan as far as it has come, while it goes on; none if nothing was recorded yet.
    pub fn of_one(root: &Path, plan: &Plan, run: &RunPlan) -> Result<Option<MeasuredRun>, MeasureError> {
        // What is missing of a run under way is what has not happened yet.
        run::measure(&root.join(&run.folder), plan, run, &[], &mut Vec::new())
    }
}
