//! A PostgreSQL server of Debian's package, started for one test.

use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// `nobody`: the server does not run as root.
const NOBODY: u32 = 65_534;

/// Ended when dropped.
pub struct Postgres {
    child: Child,
    /// `host:port`.
    pub address: String,
    _dir: tempfile::TempDir,
}

impl Postgres {
    /// A server with the user `checker` and this password; none where it is not installed, unless CI demands it.
    pub fn start(password: &str) -> Option<Postgres> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("BROWNOUT_REQUIRE_SERVERS").is_none(), "`postgresql` is not installed");
            eprintln!("skipped: `postgresql` is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let (data, given, log) = (dir.path().join("data"), dir.path().join("password"), dir.path().join("log"));
        std::fs::write(&given, password).unwrap();
        if is_root() {
            for path in [dir.path(), &given] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let mut initdb = as_nobody(&programs.join("initdb"));
        initdb.args(["--no-sync", "--auth=scram-sha-256", "--username=checker", "--locale=C", "--encoding=UTF8"]);
        let made = initdb.arg("--pwfile").arg(&given).arg("-D").arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = as_nobody(&programs.join("postgres"));
        server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F", "-k"]).arg(dir.path()).arg("-D").arg(&data);
        let child = server.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let server = Postgres { child, address: format!("127.0.0.1:{port}"), _dir: dir };
        let begun = SystemTime::now();
        while !std::fs::read_to_string(&log).unwrap().contains("ready to accept connections") {
            let text = || std::fs::read_to_string(&log).unwrap();
            assert!(begun.elapsed().unwrap() < Duration::from_secs(30), "it is not ready: {}", text());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, with all its processes; what it leaves in shared memory goes too, unlike after a kill.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Where the newest version's programs are: Debian does not put them on the path.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").is_file()).max()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A program as who may run the server.
fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"]).arg(program);
    command
}
