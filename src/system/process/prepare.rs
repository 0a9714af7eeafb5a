//! What a process is started with: its files written, addresses and folders filled in everywhere.

use std::fs;

use super::server::{Known, ServerSpec};
use crate::experiment::interpolate::{self, RunTimeName};
use crate::plan::system::{ReadyWhen, Value};
use crate::system::SystemError;

/// Everything that an experiment says of a process, with nothing left to fill in.
pub(super) struct Prepared {
    /// The program with its arguments.
    pub(super) command: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// When it is ready.
    pub(super) ready: ReadyWhen,
}

impl Prepared {
    /// Fills everything in by what is `known`, and writes its files.
    pub(super) fn of(spec: &ServerSpec, known: Known<'_>) -> Result<Prepared, SystemError> {
        let node = || spec.name.clone();
        let prepare = |source| SystemError::Prepare { node: node(), source };
        let dir = spec.dir.to_string_lossy().into_owned();
        let value = |name: &str| match RunTimeName::parse(name) {
            Some(RunTimeName::Dir) => Some(dir.clone()),
            Some(RunTimeName::Node { name: "self", field: "name" }) => Some(node()),
            Some(RunTimeName::Node { name: "self", field }) => known(&format!("nodes.{}.{field}", spec.name)),
            _ => known(name),
        };
        let filled =
            |text: &str| interpolate::fill(text, value).map_err(|source| SystemError::Fill { node: node(), source });

        fs::create_dir_all(&spec.dir).map_err(prepare)?;
        for (name, content) in &spec.process.files {
            let path = spec.dir.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(prepare)?;
            }
            fs::write(path, filled(content)?).map_err(prepare)?;
        }

        let mut command = spec.process.command.iter().map(|word| filled(word)).collect::<Result<Vec<_>, _>>()?;
        if let Some(program) = command.first_mut().filter(|program| program.contains('/') && !program.starts_with('/'))
        {
            // It starts in its own folder: a relative path means from where we are.
            *program = std::env::current_dir().map_err(prepare)?.join(&program).to_string_lossy().into_owned();
        }

        let mut env: Vec<(String, String)> = ["PATH", "LANG", "TZ"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .chain([("HOME".to_owned(), dir.clone())])
            .collect();
        for (name, value) in &spec.process.env {
            let text = (spec.reveal)(value).map_err(|reason| SystemError::Launch { node: node(), reason })?;
            // A secret is taken as it is.
            let text = if matches!(value, Value::Text(_)) { filled(&text)? } else { text };
            env.push((name.clone(), text));
        }

        let ready = match &spec.process.ready.when {
            ReadyWhen::Listening => ReadyWhen::Listening,
            ReadyWhen::Http(path) => ReadyWhen::Http(filled(path)?),
            ReadyWhen::Log(text) => ReadyWhen::Log(filled(text)?),
        };
        Ok(Prepared { command, env, ready })
    }
}
