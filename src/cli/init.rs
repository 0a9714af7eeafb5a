//! `brownout init`, `completions` and `man`: what is written for people and shells.

use std::io;
use std::path::Path;

use clap::CommandFactory;

use super::{Cli, Exit, InitArgs, say, write_stdout};

/// Writes a commented first experiment; never over a file that is there.
pub(super) fn init(args: &InitArgs) -> Exit {
    let path = &args.file;
    let written = std::fs::File::create_new(path)
        .and_then(|mut file| io::Write::write_all(&mut file, crate::experiment::FIRST.as_bytes()));
    match written {
        Ok(()) => {
            let path = path.display();
            write_stdout(&format!("wrote {path}; next: brownout plan {path}, then brownout run {path}\n"));
            Exit::Held
        }
        Err(error) => {
            let help = if error.kind() == io::ErrorKind::AlreadyExists { "; give another name" } else { "" };
            say(&format!("error: cannot write `{}`: {error}{help}\n", path.display()));
            Exit::Mistake
        }
    }
}

/// A completion script on stdout.
pub(super) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "brownout", &mut script);
    write_stdout(&String::from_utf8_lossy(&script));
    Exit::Held
}

/// A manual page for each command.
pub(super) fn man(dir: &Path) -> Exit {
    match std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir)) {
        Ok(()) => {
            say(&format!("wrote a page for each command into {0}; read one: man -l {0}/brownout.1\n", dir.display()));
            Exit::Held
        }
        Err(error) => {
            say(&format!("error: cannot write manual pages into `{}`: {error}\n", dir.display()));
            Exit::Mistake
        }
    }
}
