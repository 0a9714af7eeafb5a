//! Experiment → plan: nothing left to default, and every mistake told.

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;

use super::check::{Checker, Known};
use super::fault::{DnsEffect, DnsFault, Edge, Fault, FaultKind, Start};
use super::names::Names;
use super::workload::Operation;
use super::written::{After, Written, WrittenAllow, WrittenFault, WrittenKind, WrittenSystem};
use super::{LabCatalogue, LabDescription, LabError, PLAN_SCHEMA, Phases, Plan, RunPlan, System, Workload, variant_id};
use crate::experiment::mistake::{Mistake, Mistakes};
use crate::experiment::tree::Node as Tree;
use crate::experiment::{Experiment, Variant, decode};
use crate::seed::Seed;
use crate::units::Span;

/// How much longer than planned a lease lasts by default: a slow removal is no reason for the keeper to step in.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// Runs that one plan may hold, repetitions included.
const RUNS: usize = 1_000;

/// A plan, with what is worth a look before it runs.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The plan.
    pub plan: Plan,
    /// Warnings; often none.
    pub warnings: Mistakes,
}

impl Plan {
    /// Fills in every default and checks everything that can be checked without starting anything.
    ///
    /// The mistakes hold those of the experiment too, so that all are told at once.
    pub fn resolve(experiment: Experiment, labs: &dyn LabCatalogue) -> Result<Resolved, Mistakes> {
        let mut mistakes = experiment.mistakes.clone();
        let mut runs = Vec::new();
        let mut first = None;
        for variant in &experiment.variants {
            let Some(written) = decode::part::<Written>(&variant.root, &mut mistakes) else { continue };
            let repeat = experiment.overrides.repeat.or(written.repeat.as_ref().map(|count| count.0)).unwrap_or(1);
            let (common, run) =
                Resolver { experiment: &experiment, variant, labs, mistakes: &mut mistakes }.resolve(written, repeat);
            first.get_or_insert(common);
            if runs.len() + repeat as usize > RUNS {
                let at = variant.root.key_at(&["repeat"]);
                mistakes.add(Mistake::new(at, format!("this plan comes to more than {RUNS} runs")));
                break;
            }
            runs.extend(run.into_iter().flat_map(|run| repetitions(run, repeat)));
        }
        if mistakes.errors() > 0 {
            return Err(mistakes);
        }
        if let [only] = &mut runs[..] {
            only.folder = String::new();
        }
        let common = first.unwrap_or_default();
        let plan = Plan {
            schema: PLAN_SCHEMA,
            again: again(&experiment),
            experiment_sha256: experiment.sha256(),
            smoke: experiment.overrides.smoke,
            no_faults: experiment.overrides.no_faults,
            params: experiment.params,
            runs,
            ..common
        };
        Ok(Resolved { plan, warnings: mistakes })
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            schema: PLAN_SCHEMA,
            name: String::new(),
            hypothesis: String::new(),
            claims: Vec::new(),
            tags: Vec::new(),
            params: IndexMap::new(),
            again: String::new(),
            experiment_sha256: String::new(),
            smoke: false,
            no_faults: false,
            runs: Vec::new(),
            sla: None,
            expect: Vec::new(),
            require: super::Require::All,
            expected_failures: Vec::new(),
        }
    }
}

/// The command that runs the same again.
fn again(experiment: &Experiment) -> String {
    let overrides = &experiment.overrides;
    let mut words = vec!["brownout".to_owned(), "run".to_owned(), shell_word(&experiment.path)];
    words.extend(overrides.set.iter().flat_map(|set| ["--set".to_owned(), shell_word(set)]));
    words.extend(overrides.smoke.then(|| "--smoke".to_owned()));
    words.extend(overrides.no_faults.then(|| "--no-faults".to_owned()));
    words.extend(overrides.repeat.map(|repeat| format!("--repeat {repeat}")));
    let written = experiment.variants.first().and_then(|variant| variant.root.find(&["seed"])?.text()?.parse().ok());
    words.push(format!("--seed {}", overrides.seed.or(written).unwrap_or(DEFAULT_SEED)));
    words.join(" ")
}

/// The seed of an experiment that names none.
const DEFAULT_SEED: u64 = 1;

/// A word as a shell takes it.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=%+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A run for each repetition, with a seed and a folder of its own.
fn repetitions(run: RunPlan, repeat: u32) -> impl Iterator<Item = RunPlan> {
    let variant = variant_id(&run.variant);
    (1..=repeat).map(move |repetition| {
        let mut folder = vec![variant.clone()];
        if repeat > 1 {
            folder.push(format!("repetition-{repetition}"));
        }
        folder.retain(|part| !part.is_empty());
        let seed = Seed(run.seed.0.wrapping_add(u64::from(repetition - 1)));
        RunPlan { repetition, seed, folder: folder.join("/"), ..run.clone() }
    })
}

/// Resolves one variant.
struct Resolver<'a> {
    experiment: &'a Experiment,
    variant: &'a Variant,
    labs: &'a dyn LabCatalogue,
    mistakes: &'a mut Mistakes,
}

impl Resolver<'_> {
    /// What all runs share, and the run, if the parts of it that matter could be read.
    fn resolve(mut self, written: Written, repeat: u32) -> (Plan, Option<RunPlan>) {
        let root = &self.variant.root;
        let common = Plan {
            name: written.name.unwrap_or_default(),
            hypothesis: written.hypothesis.unwrap_or_default(),
            claims: written.claims.unwrap_or_default(),
            tags: written.tags.unwrap_or_default(),
            sla: written.sla.flatten(),
            expect: written.expect.unwrap_or_default(),
            require: written.require.unwrap_or_default(),
            expected_failures: written.expected_failures.unwrap_or_default(),
            ..Plan::default()
        };

        let mut workloads = written.workloads.map(|workloads| workloads.0).unwrap_or_default();
        let names = written.system.as_ref().map(|system| system.names.clone()).unwrap_or_default();
        let system = written.system.and_then(|system| self.system(system));
        if let Some((system, _)) = &system {
            workloads.values_mut().for_each(|workload| fill_path(workload, system));
        }
        let phases = written.phases.unwrap_or_default();
        let faults = written.faults.map(|faults| faults.0).unwrap_or_default();
        let restart_within = system.as_ref().map_or(Duration::ZERO, |(system, _)| system.restart_within());
        let faults = self.faults(faults, phases, restart_within);
        let names = match system.as_ref().and_then(|(_, lab)| lab.as_ref()) {
            Some(lab) => lab.names.clone(),
            None => with_remaps(names, &faults),
        };
        let known = Known::of(root, system.as_ref(), &names, &workloads);

        let mut allow = Vec::new();
        let mut allow_data_damage = false;
        for item in written.allow.unwrap_or_default() {
            match item {
                WrittenAllow::Host(host) => allow.push(host),
                WrittenAllow::DataDamage => allow_data_damage = true,
            }
        }
        let has_system = system.is_some();
        let run = RunPlan {
            variant: self.variant.values.clone(),
            repetition: 1,
            seed: Seed(self.experiment.overrides.seed.or(written.seed).unwrap_or(DEFAULT_SEED)),
            folder: String::new(),
            allow,
            allow_data_damage,
            system: system
                .map_or(System::Nodes { nodes: IndexMap::new(), links: IndexMap::new() }, |(system, _)| system),
            names,
            workloads,
            phases,
            faults,
            guards: written.guards.unwrap_or_default(),
            checks: written.checks.unwrap_or_default(),
        };
        Checker {
            root,
            sources: &self.experiment.sources,
            common: &common,
            run: &run,
            known: &known,
            axes: &self.experiment.axes,
            repeat,
            mistakes: self.mistakes,
        }
        .check();
        (common, has_system.then_some(run))
    }

    /// The system, and the lab's description if it is one whose nodes can be told.
    fn system(&mut self, written: WrittenSystem) -> Option<(System, Option<LabDescription>)> {
        let root = &self.variant.root;
        let WrittenSystem { kind, links, names } = written;
        match kind {
            WrittenKind::Nodes(nodes) => {
                if nodes.is_empty() && root.find(&["system", "nodes"]).is_some_and(|nodes| nodes.size() <= 1) {
                    let at = root.key_at(&["system", "nodes"]);
                    self.mistakes.add(Mistake::new(at, "a system without a node"));
                }
                Some((System::Nodes { nodes, links }, None))
            }
            WrittenKind::Lab(labs) => {
                if !links.is_empty() {
                    let at = root.key_at(&["system", "links"]);
                    self.mistakes.add(Mistake::new(at, "a lab brings its own links").label("`links` go with `nodes`"));
                }
                if !names.is_empty() {
                    let at = root.key_at(&["system", "names"]);
                    self.mistakes.add(Mistake::new(at, "a lab brings its own names").label("`names` go with `nodes`"));
                }
                let at = root.key_at(&["system", "lab"]);
                let mut labs = labs.into_iter();
                let (Some((name, params)), None) = (labs.next(), labs.next()) else {
                    let title = "`lab` names exactly one lab";
                    self.mistakes.add(Mistake::new(at, title).label("expected `lab: { NAME: { … } }`"));
                    return None;
                };
                match self.labs.describe(&name, &params) {
                    Ok(lab) => {
                        let params = lab.params.clone();
                        Some((System::Lab { name, params }, Some(lab)))
                    }
                    Err(errors) => {
                        errors.into_iter().for_each(|error| self.lab_error(&name, error));
                        let outline = self.labs.outline(&name, &params);
                        Some((System::Lab { name, params }, outline))
                    }
                }
            }
        }
    }

    fn lab_error(&mut self, lab: &str, error: LabError) {
        let root = &self.variant.root;
        let title = match &error {
            LabError::BadValue { param, .. } => {
                let value = root.find(&["system", "lab", lab, param]).map_or("nothing".to_owned(), Tree::describe);
                format!("{value} does not fit the parameter `{param}` of `{lab}`")
            }
            other => other.to_string(),
        };
        let mistake = match error {
            LabError::UnknownLab { name } => {
                let known = self.labs.names();
                let mistake = Mistake::new(root.key_at(&["system", "lab", lab]), title);
                mistake.known(&name, "labs", known.iter().map(String::as_str))
            }
            LabError::UnknownParam { param, known } => {
                let mistake = Mistake::new(root.key_at(&["system", "lab", lab, &param]), title);
                mistake.known(&param, "params of the lab", known.iter().map(String::as_str))
            }
            LabError::BadValue { param, expected, known } => {
                let node = root.find(&["system", "lab", lab, &param]);
                let mistake = match node {
                    Some(node) => decode::at_node(node, title),
                    None => Mistake::new(root.key_at(&["system", "lab", lab]), title),
                };
                let wrong = node.and_then(Tree::text).unwrap_or_default();
                mistake.label(format!("expected {expected}")).known(wrong, "values", known.iter().map(String::as_str))
            }
        };
        self.mistakes.add(mistake);
    }

    /// The faults with their planned times and leases.
    fn faults(
        &mut self,
        written: IndexMap<String, WrittenFault>,
        phases: Phases,
        restart_within: Duration,
    ) -> IndexMap<String, Fault> {
        let mut planned: HashMap<String, Option<Duration>> = HashMap::new();
        for name in written.keys() {
            self.planned_at(name, &written, &mut planned, &mut Vec::new());
        }
        let mut without_lease = Vec::new();
        let mut faults: IndexMap<String, Fault> = IndexMap::new();
        for (name, fault) in written {
            let WrittenFault { at, after, hold, follow, lease, kind: Some(kind) } = fault else { continue };
            let start = match after.flatten() {
                Some(After { fault, edge, plus }) => Start::After { fault, edge, plus },
                None => Start::At(at.flatten().unwrap_or_default()),
            };
            let lease = lease.flatten().unwrap_or_else(|| {
                without_lease.push(name.clone());
                Span::default()
            });
            let planned_at = Span(planned.get(&name).copied().flatten().unwrap_or_default());
            let (hold, follow) = (hold.flatten(), follow.unwrap_or_default());
            faults.insert(name, Fault { start, planned_at, hold, lease, follow, kind });
        }
        let end = faults.values().map(Fault::planned_end).max().unwrap_or_default() + phases.recovery.0;
        for name in without_lease {
            let fault = &mut faults[&name];
            let to_the_end = end.saturating_sub(fault.planned_at.0);
            let lasts = match (&fault.kind, fault.hold) {
                (_, Some(hold)) => hold.0,
                (FaultKind::Restart(_), None) => restart_within.max(to_the_end),
                (FaultKind::Order(order), None) => order.within().max(to_the_end),
                (_, None) => to_the_end,
            };
            fault.lease = Span(lasts.saturating_add(LEASE_MARGIN));
        }
        faults
    }

    /// When a fault is planned to strike, after the end of the baseline; none if that cannot be told.
    ///
    /// Walks the chain of `after`; `path` is the chain so far. Every mistake on it is told at the fault that makes it.
    fn planned_at(
        &mut self,
        name: &str,
        faults: &IndexMap<String, WrittenFault>,
        planned: &mut HashMap<String, Option<Duration>>,
        path: &mut Vec<String>,
    ) -> Option<Duration> {
        if let Some(at) = planned.get(name) {
            return *at;
        }
        let fault = faults.get(name)?;
        let root = &self.variant.root;
        let at = match &fault.after {
            // What is wrong is told where it stands.
            None => None,
            Some(None) => Some(fault.at.flatten().unwrap_or_default().0),
            Some(Some(after)) => {
                let node = root.find(&["faults", name, "after"])?;
                let other_at = node.part_at(&self.experiment.sources, 0..after.fault.len());
                let declared = root.find(&["faults"]).and_then(Tree::map);
                if after.fault == name || path.contains(&after.fault) {
                    path.push(name.to_owned());
                    let title = format!("`{name}` waits for itself: {} → {}", path.join(" → "), after.fault);
                    self.mistakes.add(Mistake::new(other_at, title));
                    None
                } else if !declared.is_some_and(|faults| faults.contains_key(&after.fault)) {
                    let title = format!("no fault is called `{}`", after.fault);
                    let known: Vec<&str> = faults.keys().map(String::as_str).filter(|known| *known != name).collect();
                    self.mistakes.add(Mistake::new(other_at, title).known(&after.fault, "faults here", known));
                    None
                } else {
                    path.push(name.to_owned());
                    let before = self.planned_at(&after.fault, faults, planned, path);
                    let other = faults.get(&after.fault);
                    let lasts = match (after.edge, other.and_then(|other| Some((other.hold?, other.kind.as_ref()?)))) {
                        (Edge::Injected, _) => Some(Duration::ZERO),
                        (Edge::Healed, Some((Some(hold), _))) => Some(hold.0),
                        // Over at once, or as soon as the node is ready again: nobody can plan when.
                        (
                            Edge::Healed,
                            Some((None, FaultKind::Drop { .. } | FaultKind::Restart(_) | FaultKind::Order(_))),
                        ) => Some(Duration::ZERO),
                        (Edge::Healed, Some((None, _))) => {
                            let title = format!("`{}` is not healed before the end of the run", after.fault);
                            let at = root.key_at(&["faults", &after.fault]);
                            let help = format!("give `{0}` a `for`, or wait for `{0}.injected`", after.fault);
                            self.mistakes.add(Mistake::new(node.at, title).also(at, "no `for` here").help(help));
                            None
                        }
                        (Edge::Healed, None) => None,
                    };
                    before.zip(lasts).map(|(before, lasts)| before.saturating_add(lasts).saturating_add(after.plus.0))
                }
            }
        };
        planned.insert(name.to_owned(), at);
        at
    }
}

/// Names with the nodes that faults will map them to.
fn with_remaps(mut names: Names, faults: &IndexMap<String, Fault>) -> Names {
    for fault in faults.values() {
        let FaultKind::Dns(DnsFault { names: which, effect: DnsEffect::Remap { to, .. }, .. }) = &fault.kind else {
            continue;
        };
        let meant = |name: &String| which.as_ref().is_none_or(|which| which.contains(name));
        names.iter_mut().filter(|(name, _)| meant(name)).for_each(|(_, name)| name.may_mean(to));
    }
    names
}

/// The path of a request as it is sent: below the URL of the endpoint that it goes to.
fn fill_path(workload: &mut Workload, system: &System) {
    let Operation::Request(request) = &mut workload.operation else { return };
    if let Some(endpoint) = system.endpoint(&workload.to) {
        request.path = endpoint.path_of(&request.path);
    } else if request.path.is_empty() {
        request.path = "/".to_owned();
    }
}
