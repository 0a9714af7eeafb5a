//! What will happen: an experiment with nothing left to default.
//!
//! A [`Plan`] holds one [`RunPlan`] for each variant of the matrix and each repetition. It is what `brownout plan`
//! prints, what `run` conducts and what a report is made with; it reads back from `plan.json`.
//! Selectors stay selectors here: they resolve when their fault strikes.

pub mod catalogue;
mod check;
pub mod endpoint;
pub mod fault;
pub mod host;
pub mod names;
pub mod order;
pub mod parts;
mod resolve;
pub mod retry;
pub mod sql;
pub mod system;
pub mod timeline;
pub mod workload;
mod written;

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::seed::Seed;
use crate::units::{Rate, Share, Span};

pub use catalogue::{LabCatalogue, LabDescription, LabError, LabLink, NoLabs};
pub use endpoint::Endpoint;
pub use fault::{Fault, FaultKind};
pub use names::{Name, Names};
pub use order::{Backup, Failover, GroupFailover, Order, Redundancy};
pub use parts::Parts;
pub use resolve::Resolved;
pub use retry::RetryPolicy;
pub use sql::SqlQuery;
pub use system::System;
pub use workload::Workload;

/// What an experiment file may hold; the schema and the reference page are made of it.
pub fn shape() -> crate::experiment::shape::Shape {
    use crate::experiment::decode::Decode;
    written::Written::shape()
}

/// The JSON schema of the experiment file: `brownout schema`.
pub fn json_schema() -> serde_json::Value {
    crate::experiment::schema::schema("brownout experiment", &shape())
}

/// Every key of the experiment file, as `docs/experiment.md` holds it.
pub fn reference() -> String {
    crate::experiment::reference::reference(&shape())
}

/// The version of `plan.json`; raised when a field changes its meaning.
pub const PLAN_SCHEMA: u32 = 1;

/// One experiment, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA`] of the writer.
    pub schema: u32,
    /// The experiment's name: letters, digits, `-` and `_`.
    pub name: String,
    /// What is believed, in a sentence.
    pub hypothesis: String,
    /// Ids of the claims that it shows, such as `C4`.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Words to select it by, `--tag`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Parameters as used.
    #[serde(default)]
    pub params: IndexMap<String, String>,
    /// How to run it again, such as `brownout run experiments/quickstart.yaml --seed 7`.
    #[serde(default)]
    pub again: String,
    /// SHA-256 of the experiment file as written, in hexadecimal.
    #[serde(default)]
    pub experiment_sha256: String,
    /// Whether the `smoke:` overlay was applied.
    #[serde(default)]
    pub smoke: bool,
    /// A control run: the schedule without its faults (`--no-faults`).
    #[serde(default)]
    pub no_faults: bool,
    /// The runs, in order; one each variant and repetition.
    pub runs: Vec<RunPlan>,
    /// Service levels to compare with, such as 99.9 %.
    #[serde(default)]
    pub sla: Option<Sla>,
    /// The expectations as written, in order; each was parsed by `experiment::expectation`.
    #[serde(default)]
    pub expect: Vec<String>,
    /// How many repetitions must hold an expectation.
    #[serde(default)]
    pub require: Require,
    /// What is known not to hold yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_failures: Vec<ExpectedFailure>,
}

/// Something that is known not to hold, and tolerated for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectedFailure {
    /// The line of `expect`; none: the experiment as a whole.
    pub expect: Option<String>,
    /// The last day on which it is tolerated, in UTC.
    pub until: jiff::civil::Date,
    /// Why, and where it is followed up.
    pub reason: String,
}

/// One run of a plan: one variant, one repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The variant: axis → name of its value, in the order of the matrix; empty without a matrix.
    #[serde(default)]
    pub variant: IndexMap<String, String>,
    /// The repetition, from 1.
    pub repetition: u32,
    /// Its seed.
    pub seed: Seed,
    /// Where in the run folder its files go; empty for the folder itself (a plan of one run).
    pub folder: String,
    /// Hosts outside loopback that it may touch.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// Faults on an endpoint may damage data (`corrupt`, byte-dropping).
    #[serde(default)]
    pub allow_data_damage: bool,
    /// What is under test.
    pub system: System,
    /// Names that workloads may use in the place of a node.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub names: Names,
    /// Who uses it, by name.
    pub workloads: IndexMap<String, Workload>,
    /// How long the phases last.
    pub phases: Phases,
    /// What goes wrong, by name, in the order of the file.
    pub faults: IndexMap<String, Fault>,
    /// Abort conditions.
    #[serde(default)]
    pub guards: Vec<Guard>,
    /// Checks of the user's own.
    #[serde(default)]
    pub checks: Vec<Check>,
}

impl RunPlan {
    /// The variant's id, such as `retry=none,loss=5%`; empty without a matrix.
    pub fn variant_id(&self) -> String {
        variant_id(&self.variant)
    }

    /// Links of the file and of workloads that end TLS, by name.
    pub fn links_that_end_tls(&self) -> Vec<String> {
        let written = match &self.system {
            System::Nodes { links, .. } => links.iter().filter(|(_, link)| !link.tls.is_opaque()).collect(),
            System::Lab { .. } => Vec::new(),
        };
        let own = self.workloads.iter().filter_map(|(name, workload)| match &workload.client {
            workload::Client::Http(client) if !client.tls.is_opaque() => Some(parts::workload_link(name, &workload.to)),
            _ => None,
        });
        written.into_iter().map(|(name, _)| name.clone()).chain(own).collect()
    }

    /// From the start of load to its end.
    pub fn load_duration(&self) -> Duration {
        self.phases.warmup.0 + self.phases.baseline.0 + self.fault_window() + self.phases.recovery.0
    }

    /// From the end of the baseline to the last planned removal; zero without faults.
    pub fn fault_window(&self) -> Duration {
        self.faults.values().map(|fault| fault.planned_end()).max().unwrap_or_default()
    }

    /// The longest deadline of its workloads: how long the drain may last.
    pub fn longest_deadline(&self) -> Duration {
        self.workloads.values().map(|workload| workload.deadline.0).max().unwrap_or_default()
    }
}

/// `axis=value,axis=value`, in the order of the matrix.
pub fn variant_id(variant: &IndexMap<String, String>) -> String {
    variant.iter().map(|(axis, value)| format!("{axis}={value}")).collect::<Vec<_>>().join(",")
}

/// How long each part of a run lasts; the fault window between baseline and recovery follows from the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Load whose figures are not used. Default 1 s.
    pub warmup: Span,
    /// Load without a fault, to compare with. Default 5 s.
    pub baseline: Span,
    /// Load after the last removal. Default 5 s.
    pub recovery: Span,
}

impl Default for Phases {
    fn default() -> Phases {
        let seconds = |s| Span(Duration::from_secs(s));
        Phases { warmup: seconds(1), baseline: seconds(5), recovery: seconds(5) }
    }
}

/// A host outside loopback that a run may touch; `--allow-remote` must say so too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allow {
    /// A host name, or an address.
    pub host: String,
    /// The most attempts a second that may go there.
    pub max_rate: Rate,
}

/// A condition that ends the run at once, heals everything and exits 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// `workload.metric op limit` over a sliding second, as written; parsed by `experiment::expectation`.
    pub abort_if: String,
    /// For how long it must hold. Default 0 s.
    #[serde(rename = "for", default)]
    pub hold: Span,
}

/// A check of the user's own: a program, a request or a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// When it runs. The final one counts for the verdict; default: all three.
    pub when: Vec<CheckWhen>,
    /// What it does.
    pub action: CheckAction,
    /// How long it may take. Default 10 s.
    pub timeout: Span,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckAction {
    /// Asks a database.
    Sql(SqlQuery),
    /// Runs a program, or makes a request.
    #[serde(untagged)]
    Act(Action),
}

/// When a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckWhen {
    /// Before load starts.
    Before,
    /// After the last removal.
    After,
    /// After the drain.
    Final,
}

/// Something done outside the run: a program, a request, or a person's step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A program with its arguments; exit status 0 is good.
    Exec(Vec<String>),
    /// A request; a 2xx answer is good.
    Http {
        /// The method, in capitals.
        method: String,
        /// The address.
        url: String,
        /// The body, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A person's step: the instruction; acknowledged at the terminal.
    Manual(String),
}

/// Service levels to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sla {
    /// The promise, such as 99.9 %.
    pub target: Share,
    /// How often a year an incident like this one happens. Default 12.
    pub incidents_per_year: f64,
    /// The length of a slice that is good or bad. Default 1 s.
    pub slice: Span,
}

/// How many repetitions must hold an expectation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Require {
    /// Each of them.
    #[default]
    All,
    /// At least so many of all.
    AtLeast(u32),
}
