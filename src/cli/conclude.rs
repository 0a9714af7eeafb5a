//! What a run folder comes to: measured, judged, reported. The end of `run`, and all of `report`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::{Exit, baseline, say, write_stdout};
use crate::event::PLAN_FILE;
use crate::evidence::Finding;
use crate::measure::{Doubt, DoubtRule, Measured};
use crate::report::{self, EXPERIMENT_FILE, Manifest, Report, Style};
use crate::run::StopSwitch;
use crate::verdict::{self, Verdict, Word};

/// A run folder with its reports.
pub(super) struct Concluded {
    pub(super) measured: Measured,
    pub(super) verdict: Verdict,
    pub(super) report: Report,
    /// The HTML report, or why the reports could not be written.
    html: Result<PathBuf, String>,
    exit: Exit,
}

/// Measures, judges and reports, as [`tell`] does. `also` is what else is written once the reports are. An error:
/// nothing can be measured.
pub(super) fn conclude(
    dir: &Path,
    manifest: impl FnOnce(&Measured) -> Manifest,
    altered: &[Finding],
    stop: &StopSwitch,
    also: impl FnOnce(&Report) -> Result<(), String>,
) -> Result<Concluded, String> {
    let Told { measured, verdict, report } = tell(dir, manifest, altered)?;
    let exit = exit_of(&measured, verdict.word, stop);
    let written = report::write_all(&report, dir).map_err(|error| super::chain(&error));
    let html = written.and_then(|written| also(&report).map(|()| written.html));
    Ok(Concluded { measured, verdict, report, html, exit })
}

/// What a run folder tells; nothing is written yet.
pub(super) struct Told {
    measured: Measured,
    verdict: Verdict,
    pub(super) report: Report,
}

/// Measures and judges. `altered` are records that are not as the run sealed them: what they tell is in doubt.
pub(super) fn tell(
    dir: &Path,
    manifest: impl FnOnce(&Measured) -> Manifest,
    altered: &[Finding],
) -> Result<Told, String> {
    let mut measured = Measured::from_run(dir).map_err(|error| format!("{}; {}", super::chain(&error), advice(dir)))?;
    for Finding { path, wrong } in altered {
        let detail = format!("{path} was {} after the run had sealed its files", wrong.done());
        measured.doubt(&Doubt { rule: DoubtRule::AlteredRecords, detail });
    }
    let stored = baseline::of_run(dir)?;
    let verdict = verdict::judge(&measured, stored.as_ref());
    let report = Report::new(&measured, &verdict, &manifest(&measured));
    Ok(Told { measured, verdict, report })
}

/// What to do with a folder that cannot be measured.
fn advice(dir: &Path) -> String {
    let below = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    // Their names begin with the moment at which they began.
    let newest = below.filter(|path| path.join(PLAN_FILE).is_file()).max();
    let experiment = dir.join(EXPERIMENT_FILE);
    if let Some(newest) = newest {
        format!("it holds run folders, of which the newest is {}", newest.display())
    } else if experiment.is_file() {
        let plan = "without its plan nobody knows what the run was to show";
        format!("{plan}; `brownout run {}` makes the run again", experiment.display())
    } else {
        "give a run folder, such as runs/2026-11-20T18-41-07-quickstart".to_owned()
    }
}

impl Concluded {
    /// Prints the result; the exit is the worse one of it and `conducted`.
    pub(super) fn print(&self, conducted: Exit, json: bool) -> Exit {
        let mut exit = conducted.worse_of(self.exit);
        if let Err(why) = &self.html {
            say(&format!("error: {why}\n"));
            exit = exit.worse_of(Exit::Inconclusive);
        }
        print(&self.report, self.html.as_deref().ok(), exit, json);
        exit
    }
}

/// The exit that a verdict and what stopped the runs come to.
fn exit_of(measured: &Measured, word: Word, stop: &StopSwitch) -> Exit {
    let stops = measured.runs.iter().filter_map(|run| run.stopped.as_ref().map(|stop| stop.reason));
    let asked = stop.requested().map(|(reason, _)| reason);
    let stopped = stops.chain(asked).map(|reason| Exit::of(word, Some(reason))).reduce(Exit::worse_of);
    let judged = Exit::of(word, None);
    match stopped {
        // The word says no more than that it was stopped; the reason has a code of its own.
        Some(stopped) if matches!(word, Word::Aborted | Word::NotReady) => stopped,
        Some(stopped) => stopped.worse_of(judged),
        None => judged,
    }
}

/// The result on stdout: the summary, or the JSON report.
fn print(report: &Report, html: Option<&Path>, exit: Exit, json: bool) {
    if json {
        write_stdout(&String::from_utf8_lossy(&report::json(report)));
        return;
    }
    let terminal = std::io::stdout().is_terminal();
    let style = Style {
        colour: terminal && super::colour(),
        width: if terminal { crossterm::terminal::size().map_or(0, |(columns, _)| columns.into()) } else { 0 },
        exit_code: Some(exit.code()),
        report_path: html.map(|path| path.display().to_string()),
    };
    write_stdout(&report::terminal(report, &style));
}
