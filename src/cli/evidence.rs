//! `brownout verify`, `sign` and `keygen`: whether a run folder is as its run left it, and who stands for that.

use std::fmt::Write;
use std::path::Path;

use super::conclude::tell;
use super::{Exit, KeygenArgs, SignArgs, VerifyArgs, chain, say, write_stdout};
use crate::evidence::{self, Checked, EvidenceError, KeyError, PublicKey, Remade, SigningKey, Wrong};
use crate::report::{self, Manifest, ManifestError};
use crate::verdict::say::counted;

/// The longest name of who answers for a run, in characters.
const LONGEST_NAME: usize = 200;

/// Checks run folders; the worst exit counts.
pub(super) fn verify(args: &VerifyArgs) -> Exit {
    let keys: Result<Vec<PublicKey>, KeyError> = args.key.iter().map(|path| PublicKey::read(path)).collect();
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => return mistake(&error),
    };
    args.runs.iter().map(|run| verify_one(run, &keys)).fold(Exit::Held, Exit::worse_of)
}

fn verify_one(run: &Path, keys: &[PublicKey]) -> Exit {
    let checked = match check(run) {
        Ok(checked) => checked,
        Err(exit) => return exit,
    };
    let signed = keys.iter().all(|key| checked.signed_by(key) == Some(true));
    write_stdout(&told(run, &checked, keys));
    if checked.holds() && signed { Exit::Held } else { Exit::Failed }
}

/// Signs run folders that hold; the worst exit counts.
pub(super) fn sign(args: &SignArgs) -> Exit {
    let key = match SigningKey::read(&args.key) {
        Ok(key) => key,
        Err(error) => return mistake(&error),
    };
    args.runs.iter().map(|run| sign_one(run, &key, &args.key)).fold(Exit::Held, Exit::worse_of)
}

fn sign_one(run: &Path, key: &SigningKey, file: &Path) -> Exit {
    if let (Ok(run), Ok(key)) = (run.canonicalize(), file.canonicalize())
        && key.starts_with(&run)
    {
        say(&format!("error: the private key `{}` is inside the run folder; move it away first\n", file.display()));
        return Exit::Mistake;
    }
    let checked = match check(run) {
        Ok(checked) => checked,
        Err(exit) => return exit,
    };
    if !checked.holds() {
        write_stdout(&told(run, &checked, &[]));
        say(&format!("not signed: `{}` is not as its run left it\n", run.display()));
        return Exit::Failed;
    }
    match checked.sign(run, key) {
        Ok(path) => {
            write_stdout(&format!("signed by key {}: {}\n", key.public().name(), path.display()));
            Exit::Held
        }
        Err(error) => {
            say(&format!("error: cannot sign `{}`: {error}\n", run.display()));
            Exit::Mistake
        }
    }
}

/// Makes a pair of keys.
pub(super) fn keygen(args: &KeygenArgs) -> Exit {
    match SigningKey::create(&args.file) {
        Ok(public) => {
            let (private, public) = (args.file.display(), public.display());
            write_stdout(&format!(
                "{private}: sign with it, `brownout sign RUN --key {private}`; keep it to yourself\n\
                 {public}: give it to others, `brownout verify RUN --key {public}`\n"
            ));
            Exit::Held
        }
        Err(error) => mistake(&error),
    }
}

/// A person's name: a line with something on it.
pub(super) fn person(name: &str) -> Result<String, String> {
    match name.trim() {
        "" => Err("a name is wanted".into()),
        name if name.chars().any(char::is_control) => Err("a name stands on one line".into()),
        name if name.chars().count() > LONGEST_NAME => Err(format!("a name has at most {LONGEST_NAME} characters")),
        name => Ok(name.to_owned()),
    }
}

fn mistake(error: &KeyError) -> Exit {
    say(&format!("error: {}\n", chain(error)));
    Exit::Mistake
}

/// The check of one folder, or the exit that its want of one comes to.
fn check(run: &Path) -> Result<Checked, Exit> {
    let remake = |manifest: &Manifest| -> Remade {
        tell(run, |_| manifest.clone(), &[]).map(|told| report::forms(&told.report).into())
    };
    evidence::check(run, remake).map_err(|error| {
        say(&format!("error: {}\n", chain(&error)));
        match error {
            EvidenceError::NoFolder(_) | EvidenceError::Alive(_) => Exit::Mistake,
            EvidenceError::Manifest(ManifestError::Format { .. }) => Exit::Failed,
            // Nobody can know.
            _ => Exit::Inconclusive,
        }
    })
}

/// What was checked and found, in lines.
fn told(run: &Path, checked: &Checked, keys: &[PublicKey]) -> String {
    let manifest = &checked.manifest;
    let mut out = String::new();
    let verdict = match checked.findings.len() {
        0 => "as the run left it".to_owned(),
        wrong => format!("not as the run left it, {}", counted(wrong as u64, "file")),
    };
    let _ = writeln!(out, "{}: {verdict}", run.display());
    for finding in &checked.findings {
        let again = match finding.wrong {
            Wrong::Added => "",
            _ if report::is_report(&finding.path) => "   (`brownout report` makes it again of the records)",
            _ => "",
        };
        let _ = writeln!(out, "  ✘ {:<8} {}{again}", finding.wrong.word(), one_line(&finding.path));
    }
    let by = if manifest.signed_off_by.is_empty() { "nobody" } else { &manifest.signed_off_by };
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<11} {}", one_line(&text));
    };
    line("records", format!("{} as sealed", counted(checked.records as u64, "file")));
    let remade = match checked.remade.as_slice() {
        [] => String::new(),
        remade => format!(", {} made again of the records: {}", remade.len(), remade.join(", ")),
    };
    line("reports", format!("{} as left by the run{remade}", counted(checked.reports as u64, "file")));
    line(
        "run",
        format!(
            "brownout {} on {}, seed {}, {}",
            manifest.brownout,
            manifest.host.name,
            manifest.seed,
            started(manifest)
        ),
    );
    line("experiment", format!("SHA-256 {}", manifest.experiment_sha256));
    line("signed off", format!("by {by}"));
    line("seal", format!("SHA-256 {} of manifest.json", checked.seal));
    for key in keys {
        let name = key.name();
        line(
            "signature",
            match checked.signed_by(key) {
                Some(true) => format!("✔ by key {name}"),
                Some(false) => format!("✘ by key {name}: it is of another manifest.json"),
                None => format!("✘ by key {name}: there is none"),
            },
        );
    }
    let unknown = checked.signatures.iter().filter(|signature| keys.iter().all(|key| key.name() != signature.key));
    for signature in unknown {
        line("signature", format!("? by key {}, not checked: name its public key with --key", signature.key));
    }
    if checked.signatures.is_empty() && keys.is_empty() {
        let who = "none: whoever can write the folder can write its manifest.json, so keep the seal elsewhere, or sign";
        line("signature", who.into());
    }
    out
}

fn started(manifest: &Manifest) -> String {
    match manifest.started_wall_ns {
        0 => "start not recorded".into(),
        ns => format!("started {}", report::wall(ns)),
    }
}

/// Text of others on one line, without what a terminal would obey.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
