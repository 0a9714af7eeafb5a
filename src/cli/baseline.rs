//! Stored baselines: found before anything starts, kept with the run, saved after one that held.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::resolve::ResolvedFile;
use super::{RunArgs, say};
use crate::experiment::expectation::Expectation;
use crate::measure::Measured;
use crate::plan::Plan;
use crate::report::{self, BASELINE_FILE};
use crate::verdict::{StoredBaseline, Verdict};

/// Where stored baselines are, unless `--baseline` says otherwise.
const FOLDER: &str = "baselines";

/// The text of each experiment's stored baseline, where it is to be compared with one; or every mistake.
pub(super) fn of_files(args: &RunArgs, files: &[&ResolvedFile]) -> Result<Vec<Option<Vec<u8>>>, String> {
    if args.baseline.is_some() && files.len() > 1 {
        let count = files.len();
        return Err(format!("error: `--baseline` is one experiment's, and here are {count}; run them one by one\n"));
    }
    let (mut texts, mut mistakes) = (Vec::new(), String::new());
    for file in files {
        match of_plan(args, &file.plan) {
            Ok(text) => texts.push(text),
            Err(why) => mistakes += &format!("error: {why}\n"),
        }
    }
    if mistakes.is_empty() { Ok(texts) } else { Err(mistakes) }
}

/// A plan's: wanted where an expectation names `stored`, or the command line does.
fn of_plan(args: &RunArgs, plan: &Plan) -> Result<Option<Vec<u8>>, String> {
    let names_stored = |line: &String| Expectation::parse(line).is_ok_and(|expectation| expectation.names_stored());
    if args.baseline.is_none() && !plan.expect.iter().any(names_stored) {
        return Ok(None);
    }
    let path = path(args, &plan.name);
    let Some((text, stored)) = read(&path)? else {
        return match args.baseline {
            Some(_) if !args.save_baseline => {
                Err(format!("there is no stored baseline `{}`; `--save-baseline` writes it", path.display()))
            }
            _ => Ok(None),
        };
    };
    let of = match () {
        () if stored.experiment_sha256 != plan.experiment_sha256 => "from another version of this experiment",
        () if stored.smoke && !plan.smoke => "with `--smoke`, and this run is in full",
        () if !stored.smoke && plan.smoke => "by a run in full, and this one has `--smoke`",
        () => return Ok(Some(text)),
    };
    say(&format!("warning: `{}` was saved {of}\n", path.display()));
    Ok(Some(text))
}

/// The one that a run was compared with, as kept in its folder.
pub(super) fn of_run(dir: &Path) -> Result<Option<StoredBaseline>, String> {
    Ok(read(&dir.join(BASELINE_FILE))?.map(|(_, stored)| stored))
}

/// Stores what a run observed, if it held; says what came of it. False if it was to be written and could not be.
pub(super) fn save(args: &RunArgs, measured: &Measured, verdict: &Verdict) -> bool {
    let path = path(args, &measured.plan.name);
    if !verdict.may_be_stored() {
        let advice = if path.exists() { "; to accept what it shows, remove the old one and save again" } else { "" };
        say(&format!("not saved to `{}`: the run did not hold{advice}\n", path.display()));
        return true;
    }
    let now = jiff::Timestamp::now();
    let stored = StoredBaseline::of(measured, jiff::Timestamp::from_second(now.as_second()).unwrap_or(now));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = std::fs::create_dir_all(folder).and_then(|()| report::files::replace(&path, &stored.to_json()));
    match &written {
        Ok(()) => say(&format!("saved `{}`; later runs compare with it\n", path.display())),
        Err(error) => say(&format!("error: cannot write `{}`: {error}\n", path.display())),
    }
    written.is_ok()
}

fn path(args: &RunArgs, name: &str) -> PathBuf {
    args.baseline.clone().unwrap_or_else(|| Path::new(FOLDER).join(format!("{name}.json")))
}

/// A stored baseline with its text; none if there is no such file.
fn read(path: &Path) -> Result<Option<(Vec<u8>, StoredBaseline)>, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the stored baseline `{}`: {error}", path.display())),
    };
    match StoredBaseline::from_json(&text) {
        Ok(stored) => Ok(Some((text, stored))),
        Err(error) => Err(format!(
            "cannot use the stored baseline `{}`: {}; restore it, or remove it and save it again with `--save-baseline`",
            path.display(),
            super::chain(&error)
        )),
    }
}
