//! The command line: one file a command, and the exit codes.

mod exit;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use exit::Exit;

/// Chaos testing from the client's side: what do users live through when the thing behind them fails?
#[derive(Debug, Parser)]
#[command(name = "brownout", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  brownout run experiments/quickstart.yaml          the first two minutes
  brownout check experiments/*.yaml                 every mistake, nothing started
  brownout plan experiments/quickstart.yaml         what would happen, to whom, for how long
  brownout init mine.yaml                           a commented first experiment
  brownout report runs/2026-11-20T18-41-07-mine     make the reports again

Exit codes: 0 held, 1 failed, 2 nothing started, 3 system not ready, 4 aborted by a guard or lease,
5 inconclusive, 70 our own bug, 130 Ctrl-C, 143 SIGTERM.";

/// What `brownout` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run experiments: start, load, inject, heal, measure, judge, report.
    Run(RunArgs),
    /// Say every mistake of experiment files; nothing is started.
    Check(CheckArgs),
    /// Print what a run would do, to whom, for how long and at most; nothing is started.
    Plan(PlanArgs),
    /// Make every report of a run again, also of one that was cut off.
    Report(ReportArgs),
    /// Undo what a dead run left behind: its processes and its faults.
    Heal(HealArgs),
    /// Write a commented first experiment.
    Init(InitArgs),
    /// Print the JSON schema of experiment files, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command into a folder.
    Man {
        /// The folder.
        dir: PathBuf,
    },
    /// The run's keeper; started by `run`, of no use by hand.
    #[command(name = "__keeper", hide = true)]
    Keeper {
        /// The arguments that the run gives.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// What changes an experiment from outside.
#[derive(Args, Clone, Debug, Default)]
pub struct Overrides {
    /// Set a parameter of the experiment; may be given many times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Use this seed instead of the file's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Apply the file's `smoke:` overlay: the short version, as CI runs it.
    #[arg(long)]
    pub smoke: bool,
    /// Run each variant so many times, with seeds seed, seed+1, …
    #[arg(long, value_name = "N")]
    pub repeat: Option<u32>,
    /// Run the schedule without its faults: a control run.
    #[arg(long)]
    pub no_faults: bool,
}

/// `brownout run`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  brownout run experiments/quickstart.yaml
  brownout run experiments/web/your-endpoint.yaml --set url=http://127.0.0.1:8080/
  brownout run experiments/*.yaml --tag smoke --smoke --quiet --summary summary.md

Running an experiment file is running a script: it may start programs and send requests.
`brownout plan` shows all of them.")]
pub struct RunArgs {
    /// Experiment files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What changes them.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Only experiments that bear this tag; may be given many times.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Permit what the experiment's `allow` names outside loopback.
    #[arg(long)]
    pub allow_remote: bool,
    /// Where run folders go.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Keep only the newest N run folders of each experiment.
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// Also write the JUnit file here.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also append the Markdown report here, such as to `$GITHUB_STEP_SUMMARY`.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Show nothing while it runs; the result still comes on stdout.
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the JSON report on stdout instead of the summary.
    #[arg(long)]
    pub json: bool,
}

/// `brownout check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Experiment files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What changes them.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// `brownout plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The experiment file.
    pub file: PathBuf,
    /// What changes it.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `brownout report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The run folder.
    pub run: PathBuf,
    /// Print the JSON report on stdout instead of the summary.
    #[arg(long)]
    pub json: bool,
}

/// `brownout heal`.
#[derive(Args, Debug)]
pub struct HealArgs {
    /// The run folder; default: every folder below `runs`.
    pub run: Option<PathBuf>,
}

/// `brownout init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The file to write; it must not exist.
    #[arg(default_value = "experiment.yaml")]
    pub file: PathBuf,
}
