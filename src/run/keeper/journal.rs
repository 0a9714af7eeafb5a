//! The journal in the run folder: what must be ended and undone if nobody who knows it is left.
//!
//! One JSON record a line, appended before the thing is done, so that a crash leaves at most a record too many. A line
//! cut short by a crash is left out. The format is the types below.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::{Action, Allow};
use crate::system::process::Started;

/// Its name in the run folder. It is removed when everything in it is done: a folder that has one needs `heal`.
pub const JOURNAL_FILE: &str = "keeper.journal.jsonl";

/// How a fault outside the harness is undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// What is done.
    pub action: Action,
    /// Hosts outside loopback that it may touch: those that the run was permitted.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// An answer that there is no such thing is as good as having taken it away: what may not have been made yet is
    /// journalled so.
    #[serde(default)]
    pub gone_is_done: bool,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// The keeper itself. Its processes are in its session, or carry its mark.
    Keeper {
        /// It.
        process: Started,
        /// The value of the mark's first part, in the environment of everything that it starts.
        mark: String,
        /// The kernel's id of this start of the host: process ids and start times mean nothing after another.
        host_boot: String,
    },
    /// A node's process was started.
    Process {
        /// For which node.
        node: String,
        /// It.
        process: Started,
    },
    /// A fault that must be undone is about to be injected.
    Fault {
        /// Its name.
        fault: String,
        /// How it is undone.
        undo: Undo,
    },
    /// The fault is no more.
    Undone {
        /// Its name.
        fault: String,
    },
}

/// What a journal comes to.
#[derive(Debug, Default)]
pub(super) struct Journalled {
    /// The keeper and its mark; none if the host has been started again since.
    pub(super) keeper: Option<(Started, String)>,
    /// Every process that was started.
    pub(super) processes: Vec<Started>,
    /// Faults that nobody has undone.
    pub(super) faults: BTreeMap<String, Undo>,
}

impl Journalled {
    /// Reads a folder's journal; none if it has none.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Journalled>> {
        let text = match std::fs::read_to_string(dir.join(JOURNAL_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut journalled = Journalled::default();
        for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match record {
                Record::Keeper { process, mark, host_boot: then } => {
                    journalled.keeper = (then == host_boot()).then_some((process, mark));
                }
                Record::Process { process, .. } => journalled.processes.push(process),
                Record::Fault { fault, undo } => drop(journalled.faults.insert(fault, undo)),
                Record::Undone { fault } => drop(journalled.faults.remove(&fault)),
            }
        }
        Ok(Some(journalled))
    }
}

/// Which start of the host this is; empty where the kernel does not tell.
pub(super) fn host_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// A journal that is written.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Goes on with a folder's journal, or begins one.
    pub(super) fn open(dir: &Path) -> io::Result<Journal> {
        let path = dir.join(JOURNAL_FILE);
        Ok(Journal { file: File::options().create(true).append(true).open(&path)?, path })
    }

    /// Adds a record; it is in the kernel's hands when this returns, and outlives us.
    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Everything is done.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(self.path)
    }
}
