//! What made a run, on which machine, and what its files are: `manifest.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The manifest's file in a run folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The experiment as run, in a run folder.
pub const EXPERIMENT_FILE: &str = "experiment.yaml";

/// The stored baseline that a run was compared with, in a run folder.
pub const BASELINE_FILE: &str = "baseline.json";

/// The version of `manifest.json`; raised when a field changes its meaning.
pub const MANIFEST_SCHEMA: u32 = 1;

/// What made a run, on which machine, and what its files are.
///
/// Every field has a value that means *not recorded* (empty, or 0), so that a run that was cut off has a report too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`] of the writer.
    pub schema: u32,
    /// The version of brownout.
    pub brownout: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// The seed of the first run.
    pub seed: u64,
    /// When the first run started, nanoseconds since 1970.
    pub started_wall_ns: u64,
    /// From the start of the first run to the end of the last.
    pub duration_ns: u64,
    /// SHA-256 of the experiment file as written, in hexadecimal.
    pub experiment_sha256: String,
    /// Who answers for the run (`--signed-off-by`).
    pub signed_off_by: String,
    /// Where it ran.
    pub host: Host,
    /// Versions of the programs under test, by node, as far as they tell.
    pub versions: IndexMap<String, String>,
    /// SHA-256 of each file of the run folder but this one, in hexadecimal, by path inside it; of a symbolic link, where
    /// it leads. Empty until the run has ended: nothing is sealed before.
    pub files: IndexMap<String, String>,
    /// The text of `experiment.yaml`, for the report; not part of `manifest.json`.
    #[serde(skip)]
    pub experiment: Option<String>,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its operating system.
    pub os: String,
    /// The release of its kernel.
    pub kernel: String,
    /// Its processor's architecture.
    pub arch: String,
    /// What its processor calls itself.
    pub cpu: String,
    /// The processors that the run could use.
    pub cpus: usize,
    /// Its main memory.
    pub memory_bytes: u64,
}

/// A manifest that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no manifest.
    #[error("`{path}` is not a manifest")]
    Format {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
}

impl Manifest {
    /// The same without these files: a report can tell the hashes of what it was made from, not its own.
    pub(super) fn without(mut self, names: &[&str]) -> Manifest {
        self.files.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// Whether the run came to its end, and its files were hashed.
    pub fn is_sealed(&self) -> bool {
        !self.files.is_empty()
    }

    /// A manifest of this program on this machine; command, times, versions and files are left to fill in.
    pub fn of_this_machine() -> Manifest {
        Manifest {
            schema: MANIFEST_SCHEMA,
            brownout: env!("CARGO_PKG_VERSION").into(),
            host: Host::this(),
            ..Manifest::default()
        }
    }

    /// The manifest of a run folder, with the experiment's text beside it if that is there.
    pub fn read(dir: &Path) -> Result<Manifest, ManifestError> {
        let path = dir.join(MANIFEST_FILE);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(source) => return Err(ManifestError::Read { path, source }),
        };
        Manifest::of_json(dir, &json)
    }

    /// The same of what was read of `manifest.json` before.
    pub(crate) fn of_json(dir: &Path, json: &[u8]) -> Result<Manifest, ManifestError> {
        let format = |source| ManifestError::Format { path: dir.join(MANIFEST_FILE), source };
        let mut manifest: Manifest = serde_json::from_slice(json).map_err(format)?;
        // What is no file could keep us waiting.
        let experiment = Some(dir.join(EXPERIMENT_FILE)).filter(|path| path.is_file());
        manifest.experiment = experiment.and_then(|path| fs::read_to_string(path).ok());
        Ok(manifest)
    }

    /// Writes `manifest.json` into a run folder, whole or not at all.
    pub fn write(&self, dir: &Path) -> Result<(), ManifestError> {
        let path = dir.join(MANIFEST_FILE);
        let json = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        super::files::replace(&path, &json).map_err(|source| ManifestError::Write { path, source })
    }
}

impl Host {
    /// This machine, as far as it tells.
    pub fn this() -> Host {
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let field = |path: &str, name: &str| {
            let text = line(path);
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        Host {
            name: line("/proc/sys/kernel/hostname"),
            os: std::env::consts::OS.into(),
            kernel: line("/proc/sys/kernel/osrelease"),
            arch: std::env::consts::ARCH.into(),
            cpu: field("/proc/cpuinfo", "model name"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory.strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_with_the_experiment_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::of_this_machine();
        manifest.files.insert("events.jsonl".into(), "00ff".into());
        manifest.write(dir.path()).unwrap();
        fs::write(dir.path().join(EXPERIMENT_FILE), "name: mine\n").unwrap();
        let read = Manifest::read(dir.path()).unwrap();
        assert_eq!(read.experiment.as_deref(), Some("name: mine\n"));
        assert_eq!(Manifest { experiment: None, ..read }, manifest);
    }

    #[test]
    fn a_folder_without_a_manifest_says_which_file_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let error = Manifest::read(dir.path()).unwrap_err();
        assert!(error.to_string().contains(MANIFEST_FILE), "{error}");
        fs::write(dir.path().join(MANIFEST_FILE), "{").unwrap();
        assert!(matches!(Manifest::read(dir.path()), Err(ManifestError::Format { .. })));
    }
}
