//! Secrets by reference: read when needed, and replaced by their names in everything that is written.

use std::sync::Arc;

use crate::plan::system::{NodeKind, Secret, System, Value};
use crate::plan::workload::Operation;
use crate::plan::{CheckAction, RunPlan};

/// A secret that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the secret `env: {0}` is not set in the environment; set it and run again")]
    NoVariable(String),
    /// The file cannot be read.
    #[error("the secret `file: {path}` cannot be read: {source}")]
    NoFile {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The values of a run's secrets with their names.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Vec<(String, String)>>);

impl Secrets {
    /// Reads every secret that a run refers to, once.
    pub fn of(plan: &RunPlan) -> Result<Secrets, SecretError> {
        let mut values: Vec<&Value> = Vec::new();
        if let System::Nodes { nodes, .. } = &plan.system {
            for node in nodes.values() {
                if let NodeKind::Process(process) = &node.kind {
                    values.extend(process.env.values());
                }
            }
        }
        for workload in plan.workloads.values() {
            if let Operation::Request(request) = &workload.operation {
                values.extend(request.headers.values());
            }
        }
        let values = values.into_iter().filter_map(|value| match value {
            Value::Secret(secret) => Some(secret),
            Value::Text(_) => None,
        });
        let of_checks = plan.checks.iter().filter_map(|check| match &check.action {
            CheckAction::Sql(query) => query.password.as_ref(),
            CheckAction::Act(_) => None,
        });
        Secrets::read(values.chain(of_checks))
    }

    /// Reads every one of these secrets once.
    pub fn read<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Result<Secrets, SecretError> {
        let mut known = Vec::new();
        for secret in secrets {
            let (name, text) = (secret_name(secret), read(secret)?);
            // Writers work on JSON text: the value as it stands there must be found too.
            let quoted = serde_json::to_string(&text).unwrap_or_default();
            let escaped = quoted.trim_matches('"').to_owned();
            known.push((name.clone(), text.clone()));
            if escaped != text {
                known.push((name, escaped));
            }
        }
        // Longest first, so that a secret within another leaves no rest of it.
        known.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        known.retain(|(_, text)| !text.is_empty());
        known.dedup();
        Ok(Secrets(Arc::new(known)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with each secret's value replaced by its name.
    pub fn conceal<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        let mut concealed = std::borrow::Cow::Borrowed(text);
        for (name, value) in self.0.iter() {
            if concealed.contains(value.as_str()) {
                concealed = concealed.replace(value.as_str(), &format!("<{name}>")).into();
            }
        }
        concealed
    }
}

/// The text of a value, secrets read.
pub fn resolve(value: &Value) -> Result<String, SecretError> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Secret(secret) => read(secret),
    }
}

fn secret_name(secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => format!("secret env {name}"),
        Secret::File(path) => format!("secret file {path}"),
    }
}

/// The text of a secret.
pub fn read(secret: &Secret) -> Result<String, SecretError> {
    match secret {
        Secret::Env(name) => std::env::var(name).map_err(|_| SecretError::NoVariable(name.clone())),
        Secret::File(path) => std::fs::read_to_string(path)
            .map(|text| text.strip_suffix('\n').map_or(text.clone(), str::to_owned))
            .map_err(|source| SecretError::NoFile { path: path.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_replaced_by_its_name_wherever_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3\"cret\n").unwrap();
        let secret = Secret::File(path.to_str().unwrap().into());
        let secrets = Secrets::read([&secret]).unwrap();
        let line = serde_json::json!({ "line": "token s3\"cret was refused" }).to_string();
        assert!(!secrets.conceal(&line).contains("cret was"), "{}", secrets.conceal(&line));
        assert!(secrets.conceal(&line).contains("<secret file "));
        assert_eq!(read(&secret).unwrap(), "s3\"cret");
    }

    #[test]
    fn a_secret_that_is_not_set_is_named() {
        let secret = Secret::Env("BROWNOUT_NO_SUCH_SECRET".into());
        assert!(Secrets::read([&secret]).unwrap_err().to_string().contains("BROWNOUT_NO_SUCH_SECRET"));
    }
}
