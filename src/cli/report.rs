//! `brownout report`: every report of a run folder, made again.

use super::conclude::conclude;
use super::{Exit, ReportArgs, say};
use crate::evidence::altered_records;
use crate::measure::Measured;
use crate::report::{EXPERIMENT_FILE, Manifest};
use crate::run::StopSwitch;

/// Makes the reports of a run folder again, also of a run that was cut off; exits as the run would have.
///
/// The manifest stays as it is: it tells what the run left, and `verify` finds that these reports follow from it.
pub(super) fn report(args: &ReportArgs) -> Exit {
    let dir = &args.run;
    let known = Manifest::read(dir).ok();
    let altered = match known.as_ref().map_or(Ok(Vec::new()), |known| altered_records(dir, known)) {
        Ok(altered) => altered,
        Err(error) => {
            say(&format!("error: cannot read every file of `{}`: {error}\n", dir.display()));
            return Exit::Mistake;
        }
    };
    let manifest = |measured: &Measured| {
        known.unwrap_or_else(|| Manifest {
            // It is gone, or damaged; what the plan knows stands in for it.
            experiment_sha256: measured.plan.experiment_sha256.clone(),
            seed: measured.plan.runs.first().map_or(0, |run| run.seed.0),
            started_wall_ns: measured.runs.first().map_or(0, |run| run.started_wall_ns),
            experiment: std::fs::read_to_string(dir.join(EXPERIMENT_FILE)).ok(),
            ..Manifest::default()
        })
    };
    match conclude(dir, manifest, &altered, &StopSwitch::default(), |_| Ok(())) {
        Ok(concluded) => concluded.print(Exit::Held, args.json),
        Err(why) => {
            say(&format!("error: {why}\n"));
            Exit::Mistake
        }
    }
}
