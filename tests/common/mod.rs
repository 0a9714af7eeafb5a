//! Drives the built binary, in the words of the domain.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part of it")]

pub mod postgres;
pub mod tls;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::RwLock;

/// The built binary, without colour and without a keyboard.
pub fn brownout() -> Command {
    // CI names the release build: it is the one that users run, and a slow generator would void runs.
    plain(std::env::var_os("BROWNOUT_BIN").unwrap_or_else(built))
}

/// The build that belongs to these tests.
fn built() -> OsString {
    let built: Option<OsString> = option_env!("CARGO_BIN_EXE_brownout").map(Into::into);
    built.expect("cargo has built the binary")
}

fn plain(binary: OsString) -> Command {
    let mut command = Command::new(binary);
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// One call of `brownout`, from the project's root, with a run folder of its own.
pub struct Case {
    args: Vec<String>,
    env: Vec<(String, PathBuf)>,
    dir: tempfile::TempDir,
    /// Not the release build that CI names, but the one that belongs to these tests: with their features.
    own_build: bool,
}

impl Case {
    /// `brownout COMMAND FILE`.
    pub fn new(command: &str, file: impl AsRef<Path>) -> Case {
        let args = vec![command.to_owned(), file.as_ref().display().to_string()];
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        Case { args, env: Vec::new(), dir, own_build: false }
    }

    /// `brownout run FILE --smoke`, or without the overlay where `BROWNOUT_FULL` is set.
    pub fn experiment(file: &str) -> Case {
        let case = Case::new("run", file);
        if std::env::var_os("BROWNOUT_FULL").is_some() { case } else { case.arg("--smoke") }
    }

    /// `brownout run` of an experiment given as text.
    pub fn text(yaml: &str) -> Case {
        let mut case = Case::new("run", "");
        let file = case.dir.path().join("experiment.yaml");
        std::fs::write(&file, yaml).expect("the temporary folder is writable");
        case.args[1] = file.display().to_string();
        case
    }

    /// By the build that has the features that these tests were built with.
    pub fn with_features(mut self) -> Case {
        self.own_build = true;
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: &str) -> Case {
        self.args.push(arg.to_owned());
        self
    }

    /// A variable of its environment that names a file.
    pub fn env(mut self, name: &str, path: &Path) -> Case {
        self.env.push((name.to_owned(), path.to_owned()));
        self
    }

    /// The command as it will be started, its run folders in a place of its own.
    pub fn command(&self) -> Command {
        let mut command = if self.own_build { plain(built()) } else { brownout() };
        command.args(&self.args).envs(self.env.iter().cloned()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if self.args[0] == "run" {
            command.arg("--out").arg(self.runs());
        }
        command
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        let output = self.command().output().expect("the built binary starts");
        Ran { output, case: self }
    }

    /// Starts it and goes on.
    pub fn start(self) -> (Child, Case) {
        let child =
            self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the built binary starts");
        (child, self)
    }

    /// Where its run folders are.
    pub fn runs(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    /// Its only run folder.
    pub fn run_folder(&self) -> PathBuf {
        let folders: Vec<_> = std::fs::read_dir(self.runs()).expect("there is a run").flatten().collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders[0].path()
    }
}

/// A call that has ended.
pub struct Ran {
    output: Output,
    case: Case,
}

impl Ran {
    /// Its exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.everything());
        self
    }

    /// It says this, on stdout or stderr.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.everything().contains(text), "`{text}` is not in:\n{}", self.everything());
        self
    }

    /// It does not say this.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Ran {
        assert!(!self.everything().contains(text), "`{text}` is in:\n{}", self.everything());
        self
    }

    /// Its exit code.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// What it printed as its result.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Its only run folder.
    pub fn run_folder(&self) -> PathBuf {
        self.case.run_folder()
    }

    /// Its JSON report.
    pub fn report(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.run_folder().join("report.json")).expect("there is a report");
        serde_json::from_str(&text).expect("the report is JSON")
    }

    fn everything(&self) -> String {
        format!("{}\n--- stderr\n{}", self.stdout(), String::from_utf8_lossy(&self.output.stderr))
    }
}

/// Experiments run side by side, one a test thread; who must be alone waits for all others.
static LANES: RwLock<()> = RwLock::new(());

/// Runs an experiment that must fail, again and alone if it was voided because the harness was late.
pub fn fails(case: impl Fn() -> Case) -> Ran {
    let first = {
        let _lane = LANES.read();
        case().run()
    };
    if first.code() == Some(5) {
        let _alone = LANES.write();
        return case().run().exits(1);
    }
    first.exits(1)
}

/// Runs an experiment that must hold. One of which nobody can know whether it does is run again alone, once: these
/// machines are shared, and a late generator, a late fault or a disturbed baseline voids a run.
pub fn holds(case: impl Fn() -> Case) -> Ran {
    let first = {
        let _lane = LANES.read();
        case().run()
    };
    if first.code() == Some(5) {
        let _alone = LANES.write();
        return case().run().exits(0);
    }
    first.exits(0)
}

/// The server of the README: `python3 -m http.server`, ended when dropped.
pub struct PythonServer {
    child: Child,
    port: u16,
}

impl PythonServer {
    /// Starts it on a free port and waits until it listens.
    pub fn start() -> PythonServer {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("python3")
            .args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        PythonServer { child, port }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a server is installed; a test returns early if not, unless CI demands it.
pub fn server(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .any(|dir| dir.join(program).is_file())
    });
    if !found {
        assert!(std::env::var_os("BROWNOUT_REQUIRE_SERVERS").is_none(), "`{program}` is not installed");
        eprintln!("skipped: `{program}` is not installed");
    }
    found
}
