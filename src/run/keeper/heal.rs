//! `brownout heal`: what is left when harness and keeper both died.

use std::io;
use std::path::{Path, PathBuf};

use super::body::perform;
use super::journal::{Journal, Journalled, Record};
use super::kin::Kin;
use crate::run::folder::{self, FolderError};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// Processes that were killed.
    pub killed: usize,
    /// Faults that were undone.
    pub undone: Vec<String>,
    /// Whether there was a journal at all; without one there was nothing to do.
    pub journal: bool,
}

/// It cannot be healed, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// Its run is alive.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal cannot be read or written.
    #[error("the journal in `{}` cannot be read or written: {source}", path.display())]
    Journal {
        /// The run folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is left; the journal stays, so that it can be tried again.
    #[error("something is left: {}", .0.join("; "))]
    Left(Vec<String>),
}

/// Kills what a dead run left running and undoes its faults. Refuses a folder whose run is alive.
///
/// A keeper that still lives is cleaning up itself; it holds the folder's lock while it does.
pub fn heal(dir: &Path) -> Result<Healed, HealError> {
    let _lock = folder::lock(dir)?;
    sweep(dir)
}

/// The same for a run that is ours and whose keeper is lost ([`super::Notice::Lost`]): its lock is held by ourselves.
pub fn sweep(dir: &Path) -> Result<Healed, HealError> {
    let journal_error = |source| HealError::Journal { path: dir.to_owned(), source };
    let Some(journalled) = Journalled::read(dir).map_err(journal_error)? else { return Ok(Healed::default()) };
    let mut healed = Healed { journal: true, ..Healed::default() };
    let mut left = Vec::new();
    if let Some((keeper, mark)) = journalled.keeper {
        let (killed, stubborn) = Kin { keeper, mark, leaders: journalled.processes }.kill();
        healed.killed = killed;
        left.extend(stubborn.iter().map(|pid| format!("process {pid} does not end")));
    }
    let mut journal = Journal::open(dir).map_err(journal_error)?;
    for (fault, undo) in &journalled.faults {
        let (ok, said) = perform(undo);
        if ok {
            journal.write(&Record::Undone { fault: fault.clone() }).map_err(journal_error)?;
            healed.undone.push(fault.clone());
        } else {
            left.push(format!("`{fault}` is not undone: {said}"));
        }
    }
    if !left.is_empty() {
        return Err(HealError::Left(left));
    }
    journal.remove().map_err(journal_error)?;
    Ok(healed)
}
