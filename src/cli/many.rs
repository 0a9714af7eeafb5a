//! What a command that runs many experiments has of them together: a time budget, one summary, files for a CI.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::resolve::ResolvedFile;
use super::{Annotations, Exit, RunArgs, say, write_stdout};
use crate::clock::wall_ns;
use crate::plan::{Plan, RunPlan};
use crate::report::{self, Entry, Report, Style};
use crate::said::span;

/// The time that all experiments of a command have together, from its start.
pub(super) struct Budget {
    whole: Option<Duration>,
    started_ns: u64,
}

impl Budget {
    /// Begins it, if there is one and all fits in.
    pub(super) fn begin(args: &RunArgs, files: &[&ResolvedFile]) -> Result<Budget, String> {
        let whole = args.time_budget.map(|budget| budget.0);
        let load: Duration = files.iter().map(|file| length(&file.plan)).sum();
        match whole {
            Some(whole) if load > whole => Err(format!(
                "error: the experiments take {} of load, and the time budget is {}; choose some with `--tag`, or shorten \
                 them with `--smoke`\n",
                span(load),
                span(whole)
            )),
            _ => Ok(Budget { whole, started_ns: wall_ns() }),
        }
    }

    /// Why a plan is not begun any more: what is left is less than its load alone.
    pub(super) fn refuses(&self, plan: &Plan) -> Option<String> {
        let whole = self.whole?;
        let left = whole.saturating_sub(Duration::from_nanos(wall_ns().saturating_sub(self.started_ns)));
        let needed = length(plan);
        (needed > left).then(|| {
            format!(
                "{} are left of the time budget of {}, and it takes {} of load",
                span(left),
                span(whole),
                span(needed)
            )
        })
    }
}

fn length(plan: &Plan) -> Duration {
    plan.runs.iter().map(RunPlan::load_duration).sum()
}

/// An experiment that was chosen, with what it came to.
pub(super) fn entry(file: &ResolvedFile, report: Result<Report, String>) -> Entry {
    Entry { name: file.plan.name.clone(), file: file.path.display().to_string(), report }
}

/// Says what all came to, and leaves what a CI asked for. The exit is the worst of all.
pub(super) fn conclude(args: &RunArgs, entries: &[Entry], mut exit: Exit) -> Exit {
    if let Err(why) = copies(args, entries) {
        say(&format!("error: {why}\n"));
        exit = exit.worse_of(Exit::Inconclusive);
    }
    if entries.len() > 1 {
        let colour = std::io::stdout().is_terminal() && super::colour();
        let style = Style { colour, exit_code: Some(exit.code()), ..Style::default() };
        let table = report::terminal_of(entries, &style);
        // A program reads the reports on stdout; the table is for people.
        if args.json { say(&table) } else { write_stdout(&table) }
    }
    if let Some(Annotations::Github) = args.annotations {
        // The runner reads them wherever they stand.
        let commands = report::github(entries);
        if args.json { say(&commands) } else { write_stdout(&commands) }
    }
    exit
}

/// The files that a CI asked for; that one cannot be written takes nothing from the other.
fn copies(args: &RunArgs, entries: &[Entry]) -> Result<(), String> {
    let write_junit = |path: &PathBuf| (path.clone(), report::files::replace(path, &report::junit_of(entries)));
    let write_summary = |path: &PathBuf| {
        let file = std::fs::File::options().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(report::markdown_of(entries).as_bytes()));
        (path.clone(), written)
    };
    let written = args.junit.as_ref().map(write_junit).into_iter().chain(args.summary.as_ref().map(write_summary));
    let failed: Vec<String> = written
        .filter_map(|(path, written)| Some(format!("cannot write `{}`: {}", path.display(), written.err()?)))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}
