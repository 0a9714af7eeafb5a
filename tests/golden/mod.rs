//! Files in the repository that the code makes: compared by default, made again with `UPDATE_GOLDEN=1`.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Fails unless the file holds exactly this, and says how to make it again.
#[track_caller]
pub(crate) fn check(path: &str, made: impl AsRef<[u8]>) {
    let made = made.as_ref();
    if updating() {
        fs::create_dir_all(file(path).parent().unwrap()).unwrap();
        fs::write(file(path), made).unwrap();
    }
    compare(path, &fs::read(file(path)).unwrap_or_default(), made);
}

/// The same for a part of a file: what stands between the line that holds `from` and the line that holds `to`, or the
/// end of the file.
#[track_caller]
pub(crate) fn check_part(path: &str, from: &str, to: Option<&str>, made: &str) {
    let whole = fs::read_to_string(file(path)).unwrap();
    let mark = whole.find(from).unwrap_or_else(|| panic!("{path} has its mark {from}"));
    let start = mark + whole[mark..].find('\n').unwrap() + 1;
    let end = to.map_or(whole.len(), |to| start + whole[start..].find(to).unwrap_or_else(|| panic!("{path} has {to}")));
    if updating() {
        fs::write(file(path), [&whole[..start], made, &whole[end..]].concat()).unwrap();
    } else {
        compare(path, &whole.as_bytes()[start..end], made.as_bytes());
    }
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
fn compare(path: &str, kept: &[u8], made: &[u8]) {
    if kept == made {
        return;
    }
    let place = kept.iter().zip(made).position(|(kept, made)| kept != made).unwrap_or(kept.len().min(made.len()));
    let line = 1 + made[..place].iter().filter(|byte| **byte == b'\n').count();
    // The lines around the place, or as much of a long one as a person can read.
    let around = |bytes: &[u8]| {
        let (from, to) = (place.saturating_sub(200), (place + 200).min(bytes.len()));
        let text = String::from_utf8_lossy(&bytes[from.min(bytes.len())..to]).into_owned();
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    panic!(
        "{path} is out of date from line {line} on; UPDATE_GOLDEN=1 makes it again\n  kept:\n{}  made:\n{}",
        around(kept),
        around(made)
    );
}
