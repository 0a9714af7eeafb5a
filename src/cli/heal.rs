//! `brownout heal` and the keeper's own command: what ends and undoes.

use std::path::{Path, PathBuf};

use super::{Exit, HealArgs, chain, say, write_stdout};
use crate::run::keeper::{self, Healed, JOURNAL_FILE};
use crate::run::lock;

/// Cleans up after runs whose harness and keeper both died. A live run's folder is refused.
pub(super) fn heal(args: &HealArgs) -> Exit {
    let roots = match &args.run {
        Some(run) if !run.is_dir() => {
            say(&format!("error: there is no run folder `{}`\n", run.display()));
            return Exit::Mistake;
        }
        Some(run) => vec![run.clone()],
        None => folders(Path::new("runs")),
    };
    let mut exit = Exit::Held;
    let (mut killed, mut undone) = (0, 0);
    for root in roots {
        // The lock of the whole run tells whether it is alive; each part of it is then healed by itself.
        let healed = lock(&root).map(drop).map_err(|error| error.to_string()).and_then(|()| parts(&root));
        match healed {
            Ok(parts) => {
                for part in parts {
                    killed += part.killed;
                    undone += part.undone.len();
                    part.undone.iter().for_each(|fault| write_stdout(&format!("undone: {fault}\n")));
                }
            }
            Err(why) => {
                say(&format!("error: {why}\n"));
                exit = exit.worse_of(if args.run.is_some() { Exit::Mistake } else { Exit::Failed });
            }
        }
    }
    let (s, were) = if killed == 1 { ("", "was") } else { ("es", "were") };
    write_stdout(&match (killed, undone) {
        (0, 0) => "nothing was left behind\n".to_owned(),
        _ => format!("{killed} process{s} {were} ended, {undone} faults undone\n"),
    });
    exit
}

/// Heals every part of a run folder that has a journal.
fn parts(root: &Path) -> Result<Vec<Healed>, String> {
    journalled(root).iter().map(|dir| keeper::heal(dir).map_err(|error| chain(&error))).collect()
}

/// The folders that have a journal: a repetition's, a variant's, the run's own.
fn journalled(root: &Path) -> Vec<PathBuf> {
    let variants = folders(root);
    let repetitions: Vec<PathBuf> = variants.iter().flat_map(|variant| folders(variant)).collect();
    let mut dirs = [repetitions, variants, vec![root.to_owned()]].concat();
    dirs.retain(|dir| dir.join(JOURNAL_FILE).is_file());
    dirs
}

/// The folders in a folder, by name; none if there is no such folder.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repetition_of_every_variant_is_healed() {
        let run = tempfile::tempdir().unwrap();
        let with_journal = ["retry=none/repetition-1", "retry=none/repetition-2", "retry=fixed"];
        for part in with_journal.iter().chain(&["retry=none/logs"]) {
            std::fs::create_dir_all(run.path().join(part)).unwrap();
        }
        for part in with_journal {
            std::fs::write(run.path().join(part).join(JOURNAL_FILE), "").unwrap();
        }
        let mut found = journalled(run.path());
        found.sort();
        let mut expected = with_journal.map(|part| run.path().join(part));
        expected.sort();
        assert_eq!(found, expected);
    }
}
