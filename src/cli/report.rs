//! `brownout report`: every report of a run folder, made again.

use super::{Exit, ReportArgs, baseline, run, say};
use crate::measure::Measured;
use crate::report::{self, Manifest, Report};
use crate::run::StopSwitch;
use crate::verdict;

/// Makes the reports of a run folder again, also of a run that was cut off; exits as the run would have.
pub(super) fn report(args: &ReportArgs) -> Exit {
    let measured = match Measured::from_run(&args.run) {
        Ok(measured) => measured,
        Err(error) => {
            say(&format!(
                "error: {}; give a run folder, such as runs/2026-11-20T18-41-07-quickstart\n",
                super::chain(&error)
            ));
            return Exit::Mistake;
        }
    };
    let stored = match baseline::of_run(&args.run) {
        Ok(stored) => stored,
        Err(why) => {
            say(&format!("error: {why}\n"));
            return Exit::Mistake;
        }
    };
    let verdict = verdict::judge(&measured, stored.as_ref());
    let manifest = Manifest::read(&args.run).unwrap_or_else(|_| Manifest {
        // A run that was cut off has none; what the plan knows stands in for it.
        seed: measured.plan.runs.first().map_or(0, |run| run.seed.0),
        started_wall_ns: measured.runs.first().map_or(0, |run| run.started_wall_ns),
        experiment: std::fs::read_to_string(args.run.join(report::EXPERIMENT_FILE)).ok(),
        ..Manifest::default()
    });
    let report = Report::new(&measured, &verdict, &manifest);
    let exit = run::exit_of(&measured, verdict.word, &StopSwitch::default());
    match report::write_all(&report, &args.run) {
        Ok(written) => {
            run::print(&report, Some(&written.html), exit, args.json);
            exit
        }
        Err(error) => {
            run::print(&report, None, exit, args.json);
            say(&format!("error: {}\n", super::chain(&error)));
            exit.worse_of(Exit::Inconclusive)
        }
    }
}
