//! What a run folder holds, as one line each file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use super::signature::is_signature;
use crate::report::MANIFEST_FILE;
use crate::run::LOCK_FILE;
use crate::run::keeper::JOURNAL_FILE;

/// SHA-256 of every file of a run folder in hexadecimal, by path inside it.
///
/// Its manifest, its signatures, its lock and the keeper's journals are left out: they come after the hashes, or say
/// nothing of the run, and `brownout heal` removes a journal. A symbolic link is told as such and never followed; what
/// is no file at all is told and never opened.
pub fn hashes(dir: &Path) -> io::Result<IndexMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = name(path.strip_prefix(dir).unwrap_or(&path).as_os_str());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                found.insert(name, format!("symbolic link to {}", self::name(target.as_os_str())));
            } else if !kind.is_file() {
                found.insert(name, "not a file".into());
            } else if name != MANIFEST_FILE && name != LOCK_FILE && !is_journal(&name) && !is_signature(&name) {
                found.insert(name, of_file(&path)?);
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Whether this stands for what is in a file, and not for a link or what is no file.
pub(super) fn is_hash(told: &str) -> bool {
    told.len() == 64 && told.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is in a file; of anything else that would keep its reader waiting, an error.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no file", path.display())));
    }
    fs::read(path)
}

/// A hash in hexadecimal.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it is the keeper's of one of the runs in the folder.
fn is_journal(path: &str) -> bool {
    path.rsplit('/').next() == Some(JOURNAL_FILE)
}

fn of_file(path: &Path) -> io::Result<String> {
    let (mut hash, mut file, mut block) = (Sha256::new(), File::open(path)?, vec![0; 1 << 16]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&block[..read]),
        }
    }
}

/// A name as text, also one that is none.
fn name(name: &OsStr) -> String {
    name.to_str().map_or_else(|| format!("bytes:{}", name.as_bytes().escape_ascii()), str::to_owned)
}
