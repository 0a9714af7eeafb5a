//! `brownout check` and `brownout plan`: what would happen, and what is wrong; nothing is started.

use super::{CheckArgs, Exit, PlanArgs, resolve, say, write_stdout};
use crate::system::lab::Labs;

/// Every mistake of every file.
pub(super) fn check(args: &CheckArgs) -> Exit {
    match resolve::files(&args.files, &args.overrides) {
        Ok(files) => {
            files.iter().for_each(|file| say(&file.warnings));
            let runs: usize = files.iter().map(|file| file.plan.runs.len()).sum();
            let counted = |n: usize, noun| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
            let (experiments, runs) = (counted(files.len(), "experiment"), counted(runs, "run"));
            write_stdout(&format!("{experiments} with {runs}: no mistakes\n"));
            Exit::Held
        }
        Err(mistakes) => {
            say(&mistakes);
            Exit::Mistake
        }
    }
}

/// What a run would do, to whom, for how long and at most.
pub(super) fn plan(args: &PlanArgs) -> Exit {
    let file = match resolve::files(std::slice::from_ref(&args.file), &args.overrides) {
        Ok(mut files) => files.remove(0),
        Err(mistakes) => {
            say(&mistakes);
            return Exit::Mistake;
        }
    };
    say(&file.warnings);
    if args.json {
        match serde_json::to_string_pretty(&file.plan) {
            Ok(json) => write_stdout(&(json + "\n")),
            Err(error) => {
                say(&format!("error: {error}\n"));
                return Exit::Bug;
            }
        }
    } else {
        write_stdout(&format!("{}\n", crate::plan::timeline::render(&file.plan, &Labs).trim_end()));
    }
    Exit::Held
}
