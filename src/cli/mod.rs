//! The command line: one file a command, and the exit codes.

mod baseline;
mod check;
mod conclude;
mod evidence;
mod exit;
mod heal;
mod init;
mod lab;
mod live;
mod many;
mod plain;
mod proxy;
mod report;
mod resolve;
mod run;
mod signals;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::backend::Choice;
use crate::experiment;
use crate::run::{chain, descriptors, keeper};
use crate::units::Span;

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
  brownout lab primary-standby                      a lab to point your own client at
  brownout report runs/2026-11-20T18-41-07-mine     make the reports again
  brownout verify runs/2026-11-20T18-41-07-mine     is every file as the run left it?

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
    /// Check that run folders are as their runs left them, and who signed them.
    Verify(VerifyArgs),
    /// Sign run folders, after checking them.
    Sign(SignArgs),
    /// Make a pair of keys: one to sign with, one to give to others.
    Keygen(KeygenArgs),
    /// Undo what a dead run left behind: its processes and its faults.
    Heal(HealArgs),
    /// Serve proxies with toxics over HTTP, in the place of a Toxiproxy server.
    Proxy(proxy::ProxyArgs),
    /// Run a built-in lab by itself, with a status page: for a client of your own, and drills by hand.
    Lab(lab::LabArgs),
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
    Keeper,
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
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
  brownout run experiments/*.yaml --tag smoke --smoke --quiet --summary summary.md --time-budget 10m
  brownout run mine.yaml --signed-off-by \"Ada Lovelace\"

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
    /// Compare with this stored baseline; with `--save-baseline`, write it. Default: `baselines/NAME.json`.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Store what was observed, if the run held, for later runs to compare with.
    #[arg(long, conflicts_with = "no_faults")]
    pub save_baseline: bool,
    /// Who applies faults on links: `embedded`, or a server elsewhere, `toxiproxy=http://127.0.0.1:8474`.
    #[arg(long, value_name = "BACKEND", default_value = "embedded")]
    pub backend: Choice,
    /// Who answers for the run; the manifest and every report name them.
    #[arg(long, value_name = "NAME", value_parser = evidence::person)]
    pub signed_off_by: Option<String>,
    /// Where run folders go.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Keep only the newest N run folders of each experiment.
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// Also write a JUnit file here; of many experiments one with the cases of all.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also append the Markdown report here, such as to `$GITHUB_STEP_SUMMARY`; of many experiments a table, and the
    /// reports of those that did not hold.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Also print what did not hold as annotations of a CI, beside the lines of the file.
    #[arg(long, value_name = "CI")]
    pub annotations: Option<Annotations>,
    /// Start nothing that does not fit into this time: refused at once if the load alone is longer.
    #[arg(long, value_name = "TIME")]
    pub time_budget: Option<Span>,
    /// Show nothing while it runs; the result still comes on stdout.
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the JSON report on stdout instead of the summary.
    #[arg(long)]
    pub json: bool,
}

/// Whose annotations are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Annotations {
    /// Workflow commands of GitHub Actions.
    Github,
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

/// `brownout verify`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  brownout verify runs/2026-11-20T18-41-07-quickstart                     every file, by its SHA-256
  brownout verify runs/2026-11-20T18-41-07-quickstart --key release.pub   and that this key signed it

Exit codes: 0 as the run left it, 1 altered, or not signed by the key, 2 no such folder or key, or its run is
alive, 5 never sealed: the run was cut off.")]
pub struct VerifyArgs {
    /// Run folders.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The public key of who must have signed; may be given many times, and then all must have.
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
}

/// `brownout sign`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  brownout keygen release.key                                           once: release.key and release.key.pub
  brownout sign runs/2026-11-20T18-41-07-quickstart --key release.key   a folder that was altered is not signed
  brownout verify runs/2026-11-20T18-41-07-quickstart --key release.key.pub")]
pub struct SignArgs {
    /// Run folders.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The private key; only its owner may be able to read it.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// `brownout keygen`.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  brownout keygen ~/.config/brownout/release.key     writes release.key (mode 600) and release.key.pub

The files are PEM for Ed25519; `openssl genpkey -algorithm ed25519` makes such keys too.")]
pub struct KeygenArgs {
    /// The private key's file; it must not exist. The public key goes beside it, with `.pub`.
    pub file: PathBuf,
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

impl Overrides {
    fn as_experiment(&self) -> experiment::Overrides {
        experiment::Overrides {
            set: self.set.clone(),
            smoke: self.smoke,
            seed: self.seed,
            repeat: self.repeat,
            no_faults: self.no_faults,
        }
    }
}

/// Does what the command line asks for.
///
/// Returns the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse_from(proxy::arguments(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Mistake.code() } else { Exit::Held.code() };
        }
    };
    // A server's logs are its own matter.
    if !matches!(cli.command, Command::Proxy(_)) {
        logs();
    }
    let exit = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(args),
        Command::Plan(args) => check::plan(args),
        Command::Report(args) => report::report(args),
        Command::Verify(args) => evidence::verify(args),
        Command::Sign(args) => evidence::sign(args),
        Command::Keygen(args) => evidence::keygen(args),
        Command::Heal(args) => heal::heal(args),
        Command::Proxy(args) => proxy::proxy(args),
        Command::Lab(args) => lab::lab(args),
        Command::Init(args) => init::init(args),
        Command::Schema => {
            write_stdout(&format!("{:#}\n", crate::plan::json_schema()));
            Exit::Held
        }
        Command::Completions { shell } => init::completions(*shell),
        Command::Man { dir } => init::man(dir),
        Command::Keeper => return keeper::main(),
    };
    exit.code()
}

/// Logs go to stderr, and only if asked for: `BROWNOUT_LOG=debug`, or `BROWNOUT_LOG=brownout::proxy=debug,warn`.
fn logs() {
    let asked = std::env::var("BROWNOUT_LOG").unwrap_or_default();
    let asked = if asked.is_empty() { "error" } else { &asked };
    let (targets, mistake) = match asked.parse::<Targets>() {
        Ok(targets) => (targets, None),
        Err(error) => (Targets::new().with_default(LevelFilter::ERROR), Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(targets).init();
    if let Some(error) = mistake {
        tracing::error!(%error, "BROWNOUT_LOG is no level, and no list of `module=level`");
    }
}

/// Whether colour is wanted: `NO_COLOR` is not set, and stderr is a terminal that has it.
fn colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// As many descriptors as the machine allows; fewer are no reason not to begin.
fn raise_descriptors() {
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
}

/// Something for people, on stderr; a terminal that is gone is no reason to fail.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A result, on stdout; a reader that went away is no reason to fail.
fn write_stdout(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
