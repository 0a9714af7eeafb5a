//! The check of a run folder against its manifest.

use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use super::files::{self, hashes, hex};
use super::key::{PublicKey, SigningKey};
use super::signature::{self, Signature, signatures};
use crate::event::{ATTEMPTS_FILE, EVENTS_FILE, PLAN_FILE};
use crate::report::{self, BASELINE_FILE, EXPERIMENT_FILE, MANIFEST_FILE, MANIFEST_SCHEMA, Manifest, ManifestError};

/// What a check of a run folder found.
#[derive(Debug)]
pub struct Checked {
    /// What the folder says of itself.
    pub manifest: Manifest,
    /// SHA-256 of `manifest.json`: the one number that stands for the whole folder.
    pub seal: String,
    /// Records that are as the run sealed them.
    pub records: usize,
    /// Reports that are as the run left them.
    pub reports: usize,
    /// Reports that are not as the run left them, but are what its records come to.
    pub remade: Vec<String>,
    /// What is wrong with the files, by path.
    pub findings: Vec<Finding>,
    /// The signatures, by key; nothing is known of one before it is checked with its key.
    pub signatures: Vec<Signature>,
    text: Vec<u8>,
}

/// One file that is not as it was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its path inside the run folder.
    pub path: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// How a file differs from what was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is another.
    Altered,
    /// It is gone.
    Missing,
    /// The run did not leave it.
    Added,
}

/// The reports that the records come to: name and content, or why there are none.
pub type Remade = Result<Vec<(&'static str, Vec<u8>)>, String>;

/// A folder that cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// There is none.
    #[error("there is no run folder `{}`", .0.display())]
    NoFolder(PathBuf),
    /// Its run goes on.
    #[error("the run in `{}` is alive; its files are sealed when it ends", .0.display())]
    Alive(PathBuf),
    /// It has no manifest.
    #[error("`{}` has no {MANIFEST_FILE}: it is no run folder, or its manifest was removed", .0.display())]
    NoManifest(PathBuf),
    /// The run did not come to its end.
    #[error("the files of `{}` were never sealed: its run was cut off", .0.display())]
    NotSealed(PathBuf),
    /// It was written by a later version.
    #[error("the manifest of `{}` has schema {schema}, and this version knows {MANIFEST_SCHEMA}; take a later version", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Of its manifest.
        schema: u32,
    },
    /// The manifest is damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It cannot be read.
    #[error("cannot read the run folder `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Checks every file of a run folder, and reads its signatures.
///
/// `remake` is asked only if a report is not as the run left it, and the records are.
pub fn check(dir: &Path, remake: impl FnOnce(&Manifest) -> Remade) -> Result<Checked, EvidenceError> {
    if !dir.is_dir() {
        return Err(EvidenceError::NoFolder(dir.to_owned()));
    }
    if crate::run::is_alive(dir) {
        return Err(EvidenceError::Alive(dir.to_owned()));
    }
    let unreadable = |source| EvidenceError::Read { path: dir.to_owned(), source };
    let text = match files::read(&dir.join(MANIFEST_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(EvidenceError::NoManifest(dir.to_owned()));
        }
        text => text.map_err(unreadable)?,
    };
    let manifest = Manifest::of_json(dir, &text)?;
    if manifest.schema > MANIFEST_SCHEMA {
        return Err(EvidenceError::Newer { path: dir.to_owned(), schema: manifest.schema });
    }
    if !manifest.is_sealed() {
        return Err(EvidenceError::NotSealed(dir.to_owned()));
    }
    let found = hashes(dir).map_err(unreadable)?;
    let mut findings = compare(&manifest.files, &found);
    let mut remade = Vec::new();
    let records_hold = findings.iter().all(|finding| report::is_report(&finding.path));
    if records_hold && findings.iter().any(|finding| finding.wrong != Wrong::Missing) {
        for (name, content) in remake(&manifest).unwrap_or_default() {
            let same = |finding: &Finding| finding.path == name && found.get(name) == Some(&sha256(&content));
            if findings.iter().any(same) {
                findings.retain(|finding| !same(finding));
                remade.push(name.to_owned());
            }
        }
    }
    let untouched = |is_report| {
        let same = found.iter().filter(|(path, hash)| manifest.files.get(*path) == Some(hash));
        same.filter(|(path, _)| report::is_report(path) == is_report).count()
    };
    Ok(Checked {
        seal: sha256(&text),
        records: untouched(false),
        reports: untouched(true),
        remade,
        findings,
        signatures: signatures(dir).map_err(unreadable)?,
        manifest,
        text,
    })
}

/// The records that a report is made of and that are not as they were sealed; none in a folder that never was.
pub fn altered_records(dir: &Path, manifest: &Manifest) -> io::Result<Vec<Finding>> {
    if !manifest.is_sealed() {
        return Ok(Vec::new());
    }
    let mut findings = compare(&manifest.files, &hashes(dir)?);
    // What else lies in the folder is not read: a note that somebody added takes nothing from the rest.
    let counts = |Finding { path, wrong }: &Finding| *wrong != Wrong::Added || is_read(path);
    findings.retain(|finding| !report::is_report(&finding.path) && counts(finding));
    Ok(findings)
}

impl Checked {
    /// Whether every file is as it was sealed, or follows from those that are.
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    /// Signs the manifest that was checked, whatever stands in the folder by now; the file of the signature.
    pub fn sign(&self, dir: &Path, key: &SigningKey) -> io::Result<PathBuf> {
        signature::sign(dir, &self.text, key)
    }

    /// Whether this key signed the manifest; none if the folder has no signature by it.
    pub fn signed_by(&self, key: &PublicKey) -> Option<bool> {
        let signature = self.signatures.iter().find(|signature| signature.key == key.name())?;
        Some(signature.is_of(key, &self.text))
    }
}

impl Wrong {
    /// What was done to it: `was removed`.
    pub const fn done(self) -> &'static str {
        match self {
            Wrong::Altered => "altered",
            Wrong::Missing => "removed",
            Wrong::Added => "added",
        }
    }

    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Wrong::Altered => "altered",
            Wrong::Missing => "missing",
            Wrong::Added => "added",
        }
    }
}

/// Whether reports are made of this file, by its path.
fn is_read(path: &str) -> bool {
    let read = [EXPERIMENT_FILE, PLAN_FILE, EVENTS_FILE, ATTEMPTS_FILE, BASELINE_FILE];
    path.rsplit('/').next().is_some_and(|name| read.contains(&name))
}

/// What differs, by path. What reports are made of must be files: nothing vouches for what a link leads to, even one
/// that was there when the folder was sealed.
fn compare(sealed: &IndexMap<String, String>, found: &IndexMap<String, String>) -> Vec<Finding> {
    let lost = sealed.iter().filter_map(|(path, hash)| {
        let wrong = match found.get(path) {
            Some(now) if now == hash && (!is_read(path) || files::is_hash(now)) => return None,
            Some(_) => Wrong::Altered,
            None => Wrong::Missing,
        };
        Some(Finding { path: path.clone(), wrong })
    });
    let added = found.keys().filter(|path| !sealed.contains_key(*path));
    let added = added.map(|path| Finding { path: path.clone(), wrong: Wrong::Added });
    let mut findings: Vec<Finding> = lost.chain(added).collect();
    findings.sort_by(|a, b| a.path.cmp(&b.path));
    findings
}

fn sha256(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}
