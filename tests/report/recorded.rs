//! The sample report: what `brownout report` makes of a run that was recorded once, `tests/recorded/quickstart`.
//!
//! Where the records change their form, it is recorded anew: `brownout run experiments/quickstart.yaml`, and the run
//! folder without its reports and locks takes the old one's place.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::golden;

#[test]
fn the_sample_report_is_what_a_recorded_run_comes_to() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("quickstart");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/quickstart"), &run);
    let binary = std::env::var_os("BROWNOUT_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_brownout").into());
    let output = Command::new(binary).arg("report").arg(&run).env("NO_COLOR", "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for name in ["report.html", "report.md", "report.json", "junit.xml"] {
        golden::check(&format!("reports/sample/{name}"), fs::read(run.join(name)).unwrap());
    }
    let said = String::from_utf8(output.stdout).unwrap().replace(&run.display().to_string(), "runs/quickstart");
    golden::check("reports/sample/terminal.txt", said);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}
