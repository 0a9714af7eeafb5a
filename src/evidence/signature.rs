//! Signatures of a manifest: 64 bytes each, in a file named after its key, as `openssl pkeyutl -verify` takes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::key::{PublicKey, SigningKey};
use crate::report::files;

/// The folder of signatures in a run folder.
pub const SIGNATURES: &str = "signatures";

/// A signature of a run folder's manifest, and thereby of every hash in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// [`PublicKey::name`] of who signed, as its file is called.
    pub key: String,
    bytes: Vec<u8>,
}

impl Signature {
    /// Whether this key made it, of this manifest.
    pub fn is_of(&self, key: &PublicKey, manifest: &[u8]) -> bool {
        self.key == key.name() && key.signed(manifest, &self.bytes)
    }
}

/// Puts a signature of this manifest into a run folder; the file of the signature.
pub(super) fn sign(dir: &Path, manifest: &[u8], key: &SigningKey) -> io::Result<PathBuf> {
    let signature = key.sign(manifest);
    let folder = dir.join(SIGNATURES);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.sig", key.public().name()));
    files::replace(&path, &signature)?;
    Ok(path)
}

/// The signatures in a run folder, by key; none are read of a folder that has none.
pub fn signatures(dir: &Path) -> io::Result<Vec<Signature>> {
    let entries = match fs::read_dir(dir.join(SIGNATURES)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let key = name.to_str().and_then(|name| name.strip_suffix(".sig"));
        if let (Some(key), true) = (key, entry.file_type()?.is_file()) {
            found.push(Signature { key: key.to_owned(), bytes: fs::read(entry.path())? });
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Whether a file of a run folder is a signature, by its path inside it.
pub(super) fn is_signature(path: &str) -> bool {
    let name = path.strip_prefix(SIGNATURES).and_then(|rest| rest.strip_prefix('/')?.strip_suffix(".sig"));
    name.is_some_and(|name| !name.contains('/'))
}
