//! The run folder: where a run writes, and the lock that says that it is alive.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held while a run is alive; `heal` refuses a folder whose lock is held.
pub const LOCK_FILE: &str = "run.lock";

/// A run needs at least so much free space to start, and stops when less than half of it is left.
///
/// A minute of 10,000 operations a second writes some 30 MB.
pub const FREE_SPACE: u64 = 256 * 1024 * 1024;

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made, or not written to.
    #[error("cannot write the run folder `{}`: {source}; choose another with `--out DIR`", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk is nearly full.
    #[error("only {free} left on the disk of `{}`, a run needs {needed}; free some, or choose another folder with `--out DIR`", path.display())]
    NoSpace {
        /// Which.
        path: PathBuf,
        /// Free bytes.
        free: crate::units::Bytes,
        /// Needed bytes.
        needed: crate::units::Bytes,
    },
    /// Somebody else's run is alive in it.
    #[error("a run is alive in `{}`; wait for it, or choose another folder with `--out DIR`", path.display())]
    Alive {
        /// Which.
        path: PathBuf,
    },
}

/// A run folder that is ours while this value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes `path` and takes its lock. Refused where the disk is nearly full or the folder is not writable, before
    /// anything has started.
    pub fn create(path: &Path) -> Result<RunFolder, FolderError> {
        let unwritable = |source| FolderError::Unwritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritable)?;
        let free = free_space(path).map_err(unwritable)?;
        if free < FREE_SPACE {
            let (free, needed) = (crate::units::Bytes(free), crate::units::Bytes(FREE_SPACE));
            return Err(FolderError::NoSpace { path: path.to_owned(), free, needed });
        }
        let lock = lock(path)?;
        fs::create_dir_all(path.join("logs")).map_err(unwritable)?;
        Ok(RunFolder { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of one run of the plan; `""` is the root itself.
    pub fn of_run(&self, folder: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(folder);
        fs::create_dir_all(path.join("logs"))
            .map_err(|source| FolderError::Unwritable { path: path.clone(), source })?;
        Ok(path)
    }
}

/// Takes the lock of a run folder, or says that its run is alive.
pub fn lock(path: &Path) -> Result<File, FolderError> {
    let unwritable = |source| FolderError::Unwritable { path: path.to_owned(), source };
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path.join(LOCK_FILE))
        .map_err(unwritable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(FolderError::Alive { path: path.to_owned() }),
        Err(errno) => return Err(unwritable(errno.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unwritable)?;
    Ok(file)
}

/// Whether a run is alive in a folder; nothing is written to find out.
pub fn is_alive(path: &Path) -> bool {
    let path = path.join(LOCK_FILE);
    // What is no file could keep us waiting, and is nobody's lock.
    if !fs::metadata(&path).is_ok_and(|lock| lock.is_file()) {
        return false;
    }
    File::open(path)
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}

/// Bytes that an ordinary user may still write on the disk of `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_live_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = RunFolder::create(&path).unwrap();
        assert!(matches!(RunFolder::create(&path), Err(FolderError::Alive { .. })));
        assert!(is_alive(&path));
        drop(first);
        assert!(!is_alive(&path));
        assert!(RunFolder::create(&path).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunFolder::create(&file.join("run")).unwrap_err();
        assert!(error.to_string().contains("--out DIR"), "{error}");
    }
}
