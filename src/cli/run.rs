//! `brownout run`: resolve all, conduct each, say what came of it.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::conclude::conclude;
use super::live::LiveView;
use super::many::{self, Budget};
use super::plain::PlainLines;
use super::resolve::{self, ResolvedFile};
use super::{Exit, RunArgs, baseline, say, signals};
use crate::backend::{Choice, LinkAction};
use crate::clock::wall_ns;
use crate::event::{PLAN_FILE, StopReason, What};
use crate::evidence;
use crate::measure::Measured;
use crate::plan::{Plan, timeline};
use crate::report::{BASELINE_FILE, EXPERIMENT_FILE, Manifest, Report};
use crate::run::secrets::Secrets;
use crate::run::{self, Allowance, Listener, Pulse, RunFolder, Setup, StopSwitch};
use crate::system::lab::Labs;
use crate::verdict::{self, Word};

/// Runs experiment files one after the other; all are tried, and the worst exit counts.
pub(super) fn run(args: &RunArgs) -> Exit {
    if let Choice::Toxiproxy(_) = args.backend {
        forget_proxies_of_the_environment();
    }
    let resolved = match resolve::files(&args.files, &args.overrides) {
        Ok(resolved) => resolved,
        Err(mistakes) => {
            say(&mistakes);
            return Exit::Mistake;
        }
    };
    let chosen: Vec<&ResolvedFile> = resolved
        .iter()
        .filter(|file| args.tag.is_empty() || file.plan.tags.iter().any(|tag| args.tag.contains(tag)))
        .collect();
    if chosen.is_empty() {
        say(&format!("error: no experiment bears the tag {}; nothing was started\n", args.tag.join(" or ")));
        return Exit::Mistake;
    }
    let mut refused: Vec<String> =
        chosen.iter().flat_map(|file| run::refusals(&file.plan, args.allow_remote)).collect();
    let runs = chosen.iter().flat_map(|file| &file.plan.runs);
    refused.extend(runs.filter_map(|run| Secrets::of(run).err()).map(|error| error.to_string()));
    refused.extend(chosen.iter().flat_map(|file| beyond_backend(args, file)));
    refused.sort();
    refused.dedup();
    if !refused.is_empty() {
        say(&refused.iter().map(|line| format!("error: {line}\n")).collect::<String>());
        say("nothing was started\n");
        return Exit::Mistake;
    }
    let baselines = match baseline::of_files(args, &chosen) {
        Ok(baselines) => baselines,
        Err(why) => {
            say(&format!("{why}nothing was started\n"));
            return Exit::Mistake;
        }
    };
    let budget = match Budget::begin(args, &chosen) {
        Ok(budget) => budget,
        Err(why) => {
            say(&format!("{why}nothing was started\n"));
            return Exit::Mistake;
        }
    };
    let stop = StopSwitch::default();
    if let Err(error) = signals::listen(stop.clone()) {
        say(&format!("error: cannot listen for signals: {error}\n"));
        return Exit::NotReady;
    }
    super::raise_descriptors();
    let (mut worst, mut entries) = (Exit::Held, Vec::new());
    for (file, stored) in chosen.iter().zip(&baselines) {
        let (exit, report) = if let Some((reason, why)) = stop.requested() {
            // The one before may have come to its end before the stop was asked for.
            (Exit::of(Word::Aborted, Some(reason)), Err(format!("not started: {why}")))
        } else if let Some(why) = budget.refuses(&file.plan) {
            say(&format!("{}: not started: {why}\n", file.plan.name));
            (Exit::Inconclusive, Err(format!("not started: {why}")))
        } else {
            one(args, file, stored.as_deref(), &stop)
        };
        worst = worst.worse_of(exit);
        entries.push(many::entry(file, report));
    }
    many::conclude(args, &entries, worst)
}

/// The client of Toxiproxy would send requests to loopback through them.
#[expect(unsafe_code, reason = "the environment may only be changed while there is one thread: none was started yet")]
fn forget_proxies_of_the_environment() {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_lowercase()] {
            unsafe { std::env::remove_var(name) }
        }
    }
}

/// What the chosen backend cannot do with links, each in a sentence.
fn beyond_backend(args: &RunArgs, file: &ResolvedFile) -> Vec<String> {
    let faults = file.plan.runs.iter().flat_map(|run| &run.faults);
    let refused = faults.filter_map(|(name, fault)| {
        let why = args.backend.refuses(&LinkAction::of(fault)?)?;
        Some(format!("fault `{name}`: {why}"))
    });
    let mut refused: Vec<String> = refused.collect();
    if !args.backend.ends_tls() {
        let links = file.plan.runs.iter().flat_map(crate::plan::RunPlan::links_that_end_tls);
        refused.extend(links.map(|link| format!("link `{link}`: a Toxiproxy server passes TLS on as it is")));
    }
    refused
}

/// One experiment, from its folder to its report; or why there is none.
fn one(
    args: &RunArgs,
    file: &ResolvedFile,
    stored: Option<&[u8]>,
    stop: &StopSwitch,
) -> (Exit, Result<Report, String>) {
    let plan = &file.plan;
    let started = wall_ns();
    let manifest = Manifest {
        command: std::env::args().collect(),
        seed: plan.runs[0].seed.0,
        started_wall_ns: started,
        experiment_sha256: plan.experiment_sha256.clone(),
        signed_off_by: args.signed_off_by.clone().unwrap_or_default(),
        experiment: Some(file.text.clone()),
        ..Manifest::of_this_machine()
    };
    let folder = match prepare(args, file, stored, &manifest) {
        Ok(folder) => folder,
        Err(why) => {
            say(&format!("error: {why}\nnothing was started\n"));
            return (Exit::Mistake, Err(why));
        }
    };
    if !args.quiet {
        say(&headline(plan));
    }
    let mut exit = Exit::Held;
    let pulse = Pulse::default();
    {
        let _view = if args.quiet { None } else { LiveView::start(pulse.clone(), stop.clone(), super::colour()) };
        for index in 0..plan.runs.len() {
            if stop.requested().is_some_and(|(reason, _)| reason != StopReason::Baseline) {
                break;
            }
            // A guard, a lease or a baseline ends one run; a person or a signal ends all of them.
            let own = stop.child();
            exit = exit.worse_of(conduct(args, plan, index, &folder, &own, &pulse));
        }
    }
    let manifest = Manifest { duration_ns: wall_ns().saturating_sub(started), ..manifest };
    let finished = finish(args, &folder, manifest, stop, exit);
    drop(folder);
    if let Some(keep) = args.keep {
        prune(&args.out, &plan.name, keep);
    }
    finished
}

/// Makes the run folder with what is known before anything starts; its manifest is sealed at the end.
fn prepare(
    args: &RunArgs,
    file: &ResolvedFile,
    stored: Option<&[u8]>,
    manifest: &Manifest,
) -> Result<RunFolder, String> {
    let plan = &file.plan;
    let mut path = args.out.join(format!("{}-{}", stamp(), plan.name));
    for again in 2.. {
        if !path.exists() {
            break;
        }
        path = args.out.join(format!("{}-{}-{again}", stamp(), plan.name));
    }
    let folder = RunFolder::create(&path).map_err(|error| error.to_string())?;
    let plan_json = serde_json::to_vec_pretty(plan).map_err(|error| error.to_string())?;
    let known = [(EXPERIMENT_FILE, file.text.as_bytes()), (PLAN_FILE, &plan_json)];
    for (name, content) in known.into_iter().chain(stored.map(|stored| (BASELINE_FILE, stored))) {
        std::fs::write(folder.path().join(name), content)
            .map_err(|error| format!("cannot write `{}`: {error}", folder.path().join(name).display()))?;
    }
    manifest.write(folder.path()).map_err(|error| super::chain(&error))?;
    Ok(folder)
}

/// One run of the plan, on a runtime of its own; a panic in it is a bug of ours, and heals all the same.
fn conduct(args: &RunArgs, plan: &Plan, index: usize, folder: &RunFolder, stop: &StopSwitch, pulse: &Pulse) -> Exit {
    let run_plan = &plan.runs[index];
    let dir = match folder.of_run(&run_plan.folder) {
        Ok(dir) => dir,
        Err(error) => {
            say(&format!("error: {error}\n"));
            return Exit::Inconclusive;
        }
    };
    let variant = match (run_plan.variant_id(), plan.runs.len()) {
        (id, _) if id.is_empty() => format!("seed {}", run_plan.seed.0),
        (id, _) => id,
    };
    pulse.update(|beat| {
        *beat = run::Beat { run: index + 1, runs: plan.runs.len(), variant: variant.clone(), ..run::Beat::default() };
    });
    let plain = !args.quiet && !std::io::stderr().is_terminal();
    if plain && plan.runs.len() > 1 {
        say(&format!("{}/{} {variant}\n", index + 1, plan.runs.len()));
    }
    let stop_told = Arc::new(AtomicBool::new(false));
    let listener: Listener = Box::new({
        let (lines, stop_told) = (plain.then(|| RefCell::new(PlainLines::of(&dir))), stop_told.clone());
        move |event| {
            if matches!(event.what, What::Stopped { .. }) {
                stop_told.store(true, Ordering::Relaxed);
            }
            for line in lines.iter().flat_map(|lines| lines.borrow_mut().take(event)) {
                say(&format!("{line}\n"));
            }
        }
    });
    let (root, whole) = (folder.path().to_owned(), plan.clone());
    let judge_baseline = move || {
        let run = &whole.runs[index];
        let measured = Measured::of_one(&root, &whole, run).map_err(|error| super::chain(&error))?;
        let failures = measured.map(|measured| verdict::baseline_failures(&whole, run, &measured)).unwrap_or_default();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    };
    let setup = Setup {
        plan: run_plan,
        backend: args.backend.clone(),
        labs: &Labs,
        dir: &dir,
        keeper: run::keeper::Keeper::command(),
        allowance: Allowance::new(&run_plan.allow, args.allow_remote),
        stop: stop.clone(),
        pulse: pulse.clone(),
        listeners: vec![listener],
        no_faults: plan.no_faults,
        judge_baseline: Arc::new(judge_baseline),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start the runtime: {error}\n"));
            return Exit::NotReady;
        }
    };
    match std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run::conduct(setup)))) {
        Ok(Ok(())) => Exit::Held,
        Ok(Err(_)) if stop.requested().is_some() => Exit::Held,
        Ok(Err(error)) => {
            // The summary has the sentence of a stop that was recorded; a report in JSON is not read by people.
            if args.json || !stop_told.load(Ordering::Relaxed) {
                say(&format!("error: {}\n", error.chain()));
            }
            Exit::NotReady
        }
        Err(_) => {
            say("error: this is a bug of brownout; everything it had started is being ended\n");
            Exit::Bug
        }
    }
}

/// Measures, judges, reports; then what only a run leaves: its files sealed, and a baseline.
fn finish(
    args: &RunArgs,
    folder: &RunFolder,
    mut manifest: Manifest,
    stop: &StopSwitch,
    conducted: Exit,
) -> (Exit, Result<Report, String>) {
    let dir = folder.path();
    // Where they cannot be read, the report says that there are none, and the files are not sealed.
    manifest.files = evidence::hashes(dir).unwrap_or_default();
    let leave = |report: &Report| {
        let files = evidence::hashes(dir).map_err(|error| format!("cannot seal the run's files: {error}"))?;
        let manifest = Manifest { files, ..report.manifest.clone() };
        manifest.write(dir).map_err(|error| super::chain(&error))
    };
    let concluded = match conclude(dir, |_| manifest, &[], stop, leave) {
        Ok(concluded) => concluded,
        Err(why) => {
            say(&format!("error: {why}; the run folder is {}\n", dir.display()));
            return (Exit::Inconclusive, Err(why));
        }
    };
    let mut exit = concluded.print(conducted, args.json);
    if args.save_baseline && !baseline::save(args, &concluded.measured, &concluded.verdict) {
        exit = exit.worse_of(Exit::Inconclusive);
    }
    (exit, Ok(concluded.report))
}

/// What stands above a run: what, and how long.
fn headline(plan: &Plan) -> String {
    let hypothesis = if plan.hypothesis.is_empty() { String::new() } else { format!("  {}\n", plan.hypothesis) };
    format!(
        "brownout {}   {}   seed {}   {}\n{hypothesis}",
        env!("CARGO_PKG_VERSION"),
        plan.name,
        plan.runs[0].seed.0,
        timeline::length(plan),
    )
}

/// Wall time for a folder's name, UTC: `2026-11-20T18-41-07`.
fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S").to_string()
}

/// Removes all but the newest run folders of an experiment. A folder that is not one of ours, or whose run is
/// alive, is left alone.
fn prune(out: &Path, name: &str, keep: usize) {
    let Ok(entries) = std::fs::read_dir(out) else { return };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let plan = std::fs::read(path.join(PLAN_FILE)).ok();
            let plan = plan.and_then(|json| serde_json::from_slice::<Plan>(&json).ok());
            plan.is_some_and(|plan| plan.name == name) && run::lock(path).is_ok()
        })
        .collect();
    folders.sort();
    for folder in folders.iter().rev().skip(keep) {
        if let Err(error) = std::fs::remove_dir_all(folder) {
            say(&format!("warning: cannot remove `{}`: {error}\n", folder.display()));
        }
    }
}
