//! `brownout report`: every report of a run folder, made again.

use super::conclude::conclude;
use super::{Exit, ReportArgs, say};
use crate::measure::Measured;
use crate::report::{EXPERIMENT_FILE, Manifest};
use crate::run::StopSwitch;

/// Makes the reports of a run folder again, also of a run that was cut off; exits as the run would have.
pub(super) fn report(args: &ReportArgs) -> Exit {
    let manifest = |measured: &Measured| {
        Manifest::read(&args.run).unwrap_or_else(|_| Manifest {
            // A run that was cut off has none; what the plan knows stands in for it.
            seed: measured.plan.runs.first().map_or(0, |run| run.seed.0),
            started_wall_ns: measured.runs.first().map_or(0, |run| run.started_wall_ns),
            experiment: std::fs::read_to_string(args.run.join(EXPERIMENT_FILE)).ok(),
            ..Manifest::default()
        })
    };
    match conclude(&args.run, manifest, &StopSwitch::default(), |_| Ok(())) {
        Ok(concluded) => concluded.print(Exit::Held, args.json),
        Err(why) => {
            say(&format!("error: {why}\n"));
            Exit::Mistake
        }
    }
}
