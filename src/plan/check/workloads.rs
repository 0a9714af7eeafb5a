//! Workloads: whom they use, whether client and operation fit, and whether a retry could ever run.

use std::time::Duration;

use super::Checker;
use crate::experiment::mistake::{Mistake, quoted};
use crate::experiment::tree::Node as Tree;
use crate::plan::parts::PartKind;
use crate::plan::retry::{Jitter, RetryPolicy, Schedule};
use crate::plan::workload::{Arrival, Client, Operation, Resolve, Workload};

impl Checker<'_> {
    pub(super) fn check_workloads(&mut self) {
        if self.run.workloads.is_empty() && self.root.find(&["workloads"]).is_none_or(|node| node.size() <= 1) {
            let at = self.root.key_at(&["workloads"]);
            let mistake = Mistake::new(at, "nothing uses the system").label("expected a workload under `workloads:`");
            self.mistakes.add(mistake);
        }
        // As written: a name can be wrong in a workload that has other mistakes too.
        for (name, entry) in self.root.find(&["workloads"]).and_then(Tree::map).into_iter().flatten() {
            self.check_name(name);
            if let Some(to) = entry.node.find(&["to"]).filter(|to| !to.is_null()).and_then(Tree::text) {
                self.check_target(name, to);
            }
        }
        for (name, workload) in &self.run.workloads {
            self.check_client(name, workload);
            self.check_policy(name, &workload.retry);
            self.check_patience(name, workload);
        }
    }

    fn check_name(&mut self, name: &str) {
        let taken = self.known.parts.nodes.get(name).is_some_and(|node| node.kind.is_system());
        // `probe` is the harness's own.
        if taken || name == crate::plan::system::PROBE {
            self.key(&["workloads", name], format!("`{name}` is also a node"), "a workload needs a name of its own");
        }
    }

    fn check_target(&mut self, name: &str, to: &str) {
        let parts = &self.known.parts;
        let nodes = || parts.nodes.iter().filter(|(_, node)| node.entry).map(|(name, _)| name.as_str());
        let entries = || nodes().chain(self.run.names.keys().map(String::as_str));
        if self.known.open_nodes || entries().any(|entry| entry == to) {
            return;
        }
        let title = match parts.nodes.get(to).map(|node| node.kind) {
            Some(PartKind::Lab) => format!("workloads do not use `{to}` of this lab"),
            Some(PartKind::Workload) => format!("`{to}` is a workload itself"),
            _ => format!("no node is called {}", quoted(to)),
        };
        let mistake = self.mistake(&["workloads", name, "to"], title);
        let what = match self.run.names.is_empty() {
            true => "nodes that a workload may use",
            false => "nodes and names that a workload may use",
        };
        self.mistakes.add(mistake.known(to, what, entries()));
    }

    fn check_client(&mut self, name: &str, workload: &Workload) {
        if matches!(workload.client, Client::Tcp(_)) && !matches!(workload.operation, Operation::Echo { .. }) {
            let operation = workload.operation.name();
            let mistake = self
                .mistake(&["workloads", name, "operation"], format!("the `tcp` client has no operation `{operation}`"))
                .label("expected `echo: {}`")
                .help(format!("`client: {{ http: {{}} }}` has `{operation}`"));
            self.mistakes.add(mistake);
        }
        let named = self.run.names.contains_key(&workload.to);
        match &workload.client {
            Client::Tcp(_) if named => {
                let title = format!("the `tcp` client does not resolve `{}`", workload.to);
                self.at(&["workloads", name, "client"], title, "expected `http: {}`");
            }
            Client::Http(http) if !named && http.resolve != Resolve::Ttl => {
                let title = format!("`resolve` has no effect: `{}` is no name", workload.to);
                let mistake = self.mistake(&["workloads", name, "client", "http", "resolve"], title);
                self.mistakes.add(mistake.warning());
            }
            _ => {}
        }
        if let Operation::Request(request) = &workload.operation {
            for (header, value) in &request.headers {
                let path = ["workloads", name, "operation", "request", "headers", header];
                let secret =
                    ["authorization", "cookie", "proxy-authorization"].contains(&header.to_lowercase().as_str());
                if secret && matches!(value, crate::plan::system::Value::Text(_)) {
                    let mistake =
                        self.mistake(&path, format!("`{header}` holds a secret")).label("written in the file");
                    self.mistakes.add(mistake.help("give it by reference: `{ secret: { env: NAME } }`"));
                }
            }
        }
        if workload.arrival.peak().is_some_and(|rate| rate.get() > 1_000_000.0) {
            let title = "no generator on one machine reaches this rate";
            self.at(&["workloads", name, "arrival"], title, "expected at most 1,000,000 operations a second");
        }
        if let Arrival::Users { count, .. } = workload.arrival
            && count > workload.max_in_flight
        {
            let title = format!("{count} users, and at most {} operations open at once", workload.max_in_flight);
            let mistake = self.mistake(&["workloads", name, "arrival"], title).label("the rest is shed");
            self.mistakes.add(mistake.help(format!("raise `max_in_flight` to {count}")));
        }
    }

    /// A policy's own numbers.
    fn check_policy(&mut self, name: &str, retry: &RetryPolicy) {
        if let Schedule::Exponential { factor, .. } = retry.schedule
            && factor < 1.0
        {
            let title = format!("with a factor of {factor} the waits of `{name}` shrink");
            self.at(&["workloads", name, "retry", "exponential", "factor"], title, "expected 1 or more");
        }
        if let Some(budget) = &retry.budget
            && budget.capacity < 1.0
        {
            let schedule =
                self.root.find(&["workloads", name, "retry"]).and_then(Tree::map).into_iter().flatten().next();
            let kind = schedule.map(|(kind, _)| kind.as_str()).unwrap_or_default();
            let title = format!("the budget of `{name}` never holds a whole retry");
            self.at(&["workloads", name, "retry", kind, "budget", "capacity"], title, "expected 1 or more");
        }
    }

    /// Time-out, deadline and waits: each attempt must have a chance.
    fn check_patience(&mut self, name: &str, workload: &Workload) {
        let (attempt, deadline) = (workload.attempt_timeout, workload.deadline);
        if attempt.0.is_zero() || deadline.0.is_zero() {
            let key = if attempt.0.is_zero() { "attempt_timeout" } else { "deadline" };
            self.at(&["workloads", name, key], format!("`{key}` is zero: every operation fails"), "");
            return;
        }
        if deadline < attempt {
            let which =
                if self.root.find(&["workloads", name, "deadline"]).is_some() { "deadline" } else { "attempt_timeout" };
            let mistake = self
                .mistake(
                    &["workloads", name, which],
                    format!("the deadline of `{name}` is shorter than one attempt's time-out"),
                )
                .label(format!("deadline {deadline}, attempt_timeout {attempt}: no attempt that times out is retried"));
            self.mistakes.add(mistake.help("a deadline spans all attempts of an operation and the waits between them"));
            return;
        }
        let retries = workload.retry.attempts != Some(1) && workload.retry.schedule != Schedule::None;
        let wait = shortest_first_wait(&workload.retry);
        if retries && wait >= deadline.0 {
            let wait = crate::units::Span(wait);
            let title = format!("the retries of `{name}` can never run");
            let label = format!("the first one waits {wait}, and the deadline is {deadline}");
            self.at(&["workloads", name, "retry"], title, label);
        }
    }
}

/// The shortest wait before the first retry that chance allows.
fn shortest_first_wait(retry: &RetryPolicy) -> Duration {
    let (wait, jitter) = match retry.schedule {
        Schedule::None | Schedule::Native => return Duration::ZERO,
        Schedule::Fixed { wait, jitter } => (wait.0, jitter),
        Schedule::Linear { step, cap, jitter, .. } => (step.0.min(cap.0), jitter),
        Schedule::Exponential { base, cap, jitter, .. } => (base.0.min(cap.0), jitter),
    };
    match jitter {
        Jitter::None | Jitter::Decorrelated => wait,
        Jitter::Full => Duration::ZERO,
        Jitter::Equal => wait / 2,
        Jitter::PlusMinus(share) => wait.mul_f64(1.0 - share.get()),
    }
}
