//! A keeper in earnest: this test program, started once more, plays it (and a harness that is killed).

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::plan::Action;
use crate::run::folder;
use crate::system::process::{Exit, Launch, Signal, Started, Supervisor, proc};

/// Not tests: what this program does when it is started once more with [`ROLE`] set.
const ROLE: &str = "BROWNOUT_TEST_ROLE";

/// This test program as another actor.
pub(crate) fn actor(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "run::keeper::tests::plays_its_role", "--nocapture"]).env(ROLE, role);
    command
}

#[test]
fn plays_its_role() {
    match std::env::var(ROLE).as_deref() {
        Ok("keeper") => std::process::exit(i32::from(main())),
        Ok(harness) if harness.starts_with("harness ") => {
            let dir = PathBuf::from(&harness["harness ".len()..]);
            let _lock = folder::lock(&dir).unwrap();
            let keeper = Keeper::start(actor("keeper"), &dir, |_| {}).unwrap();
            let undo = Undo {
                action: exec(&format!("touch {}", dir.join("undone").display())),
                allow: vec![],
                gone_is_done: false,
            };
            keeper.lease_journalled("remote", Duration::from_secs(600), undo).unwrap();
            start(&keeper, "plain", "exec sleep 600", &dir);
            start(&keeper, "daemon", DAEMONS, &dir);
            let pids = wait_for_pids(&dir, 3);
            fs::write(dir.join("keeper.pid"), keeper.pid().to_string()).unwrap();
            fs::write(dir.join("up"), format!("{pids:?}")).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        _ => {}
    }
}

/// Leaves daemons behind: in sessions of their own, one without its environment, and ends.
const DAEMONS: &str = "
    setsid sh -c 'echo $$ > one.pid; exec sleep 600' &
    env -i setsid sh -c 'echo $$ > two.pid; exec sleep 600' &
    (setsid sh -c 'sleep 600 & echo $! > three.pid; exit 0' &)
    while ! [ -s one.pid -a -s two.pid -a -s three.pid ]; do sleep 0.01; done";

fn wait_for_pids(dir: &Path, count: usize) -> Vec<u32> {
    let read = || -> Vec<u32> {
        ["one.pid", "two.pid", "three.pid"]
            .iter()
            .filter_map(|name| fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok())
            .collect()
    };
    until("the daemons are up", || read().len() == count);
    read()
}

fn exec(script: &str) -> Action {
    Action::Exec(["sh", "-c", script].map(str::to_owned).to_vec())
}

fn start(keeper: &Keeper, node: &str, script: &str, dir: &Path) -> Started {
    let output: OwnedFd = fs::File::create(dir.join(format!("{node}.out"))).unwrap().into();
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let env = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
    keeper_start(keeper, Launch { node: node.to_owned(), command, env, dir: dir.to_owned(), output }).unwrap()
}

fn keeper_start(keeper: &Keeper, launch: Launch) -> Result<Started, crate::system::process::SupervisorError> {
    Supervisor::start(keeper, launch)
}

fn keeper(dir: &Path) -> (Keeper, Receiver<Notice>) {
    let (told, notices) = channel();
    (Keeper::start(actor("keeper"), dir, move |notice| drop(told.send(notice))).unwrap(), notices)
}

fn alive(pid: u32) -> bool {
    proc::Stat::of(pid).is_some_and(|stat| stat.alive())
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not within 10 s: {what}");
}

fn is_gone(process: Started) -> bool {
    proc::same(process.pid, process.start_time).is_none_or(|stat| !stat.alive())
}

#[test]
fn a_harness_killed_by_kill_9_leaves_nothing_not_even_daemons() {
    let dir = tempfile::tempdir().unwrap();
    let role = format!("harness {}", dir.path().display());
    let mut harness = actor(&role).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    until("the harness is up", || dir.path().join("up").exists());
    let daemons = wait_for_pids(dir.path(), 3);
    assert!(daemons.iter().all(|pid| alive(*pid)), "{daemons:?}");
    assert!(matches!(heal(dir.path()), Err(HealError::Folder(_))), "a live run is not healed");
    let keeper: u32 = fs::read_to_string(dir.path().join("keeper.pid")).unwrap().parse().unwrap();

    harness.kill().unwrap();
    harness.wait().unwrap();

    until("the keeper is gone", || !alive(keeper));
    assert!(!daemons.iter().any(|pid| alive(*pid)), "{daemons:?}");
    assert!(dir.path().join("undone").exists(), "the journalled fault is undone");
    assert!(!dir.path().join(JOURNAL_FILE).exists());
    assert_eq!(heal(dir.path()).unwrap(), Healed::default(), "nothing is left to heal");
}

#[test]
fn when_harness_and_keeper_both_died_heal_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let role = format!("harness {}", dir.path().display());
    let mut harness = actor(&role).stdout(Stdio::null()).spawn().unwrap();
    until("the harness is up", || dir.path().join("up").exists());
    let daemons = wait_for_pids(dir.path(), 3);
    let keeper: i32 = fs::read_to_string(dir.path().join("keeper.pid")).unwrap().parse().unwrap();
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    // Stopped first, so that it cannot clean up between the two.
    rustix::process::kill_process(keeper, rustix::process::Signal::STOP).unwrap();
    let keeper_stat = || proc::Stat::of(keeper.as_raw_nonzero().get() as u32);
    until("the keeper stands still", || keeper_stat().is_some_and(|stat| stat.state == 'T'));
    harness.kill().unwrap();
    harness.wait().unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    until("the keeper is gone", || !alive(keeper.as_raw_nonzero().get() as u32));

    let healed = heal(dir.path()).unwrap();
    assert_eq!(healed.undone, ["remote"]);
    // A daemon that left the session and threw its environment away cannot be told from a stranger's process.
    let marked = [daemons[0], daemons[2]];
    assert!(healed.killed >= 3 && !marked.iter().any(|pid| alive(*pid)), "{healed:?}");
    assert!(!dir.path().join(JOURNAL_FILE).exists());
    let unmarked = proc::Stat::of(daemons[1]).filter(|stat| stat.alive());
    if let Some(pid) = unmarked.and_then(|stat| rustix::process::Pid::from_raw(stat.pid as i32)) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn a_node_is_paused_and_killed_with_all_that_belongs_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (keeper, notices) = keeper(dir.path());
    let other = start(&keeper, "other", "exec sleep 600", dir.path());
    // A group of two, and one that has left it.
    let script = "sleep 600 & echo $! > a.pid; setsid sh -c 'echo $$ > b.pid; exec sleep 600' & wait";
    let node = start(&keeper, "node", script, dir.path());
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok()?.trim().parse::<u32>().ok();
    until("both are up", || read("a.pid").is_some() && read("b.pid").is_some());
    let all = [node.pid, read("a.pid").unwrap(), read("b.pid").unwrap()];
    let state = |pid: u32| proc::Stat::of(pid).map(|stat| stat.state);

    keeper.signal("node", Signal::Stop).unwrap();
    until("all stand still", || all.iter().all(|pid| state(*pid) == Some('T')));
    assert_ne!(state(other.pid), Some('T'));
    keeper.signal("node", Signal::Cont).unwrap();
    until("all go on", || all.iter().all(|pid| state(*pid) == Some('S')));
    keeper.signal("node", Signal::Kill).unwrap();
    until("all are gone", || !all.iter().any(|pid| alive(*pid)));
    assert!(alive(other.pid));
    let exited = notices.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(exited, Notice::Exited { pid: node.pid, exit: Exit::Signal(9) });
    assert_eq!(keeper.exit_of(node.pid), Some(Exit::Signal(9)));
    assert!(keeper.signal("nobody", Signal::Kill).is_err());

    keeper.end().unwrap();
    assert!(is_gone(other), "the end of the keeper is the end of all");
    assert!(!dir.path().join(JOURNAL_FILE).exists());
}

#[test]
fn a_fault_that_outlives_its_lease_is_undone_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let (keeper, notices) = keeper(dir.path());
    let file = dir.path().join("undone");
    let undo = Undo { action: exec(&format!("echo here >> {}", file.display())), allow: vec![], gone_is_done: false };
    keeper.lease_journalled("released", Duration::from_millis(100), undo.clone()).unwrap();
    keeper.release("released").unwrap();
    keeper.lease_journalled("forgotten", Duration::from_millis(200), undo).unwrap();
    match notices.recv_timeout(Duration::from_secs(5)).unwrap() {
        Notice::LeaseEnded { fault, undone: Some(_) } => assert_eq!(fault, "forgotten"),
        other => panic!("{other:?}"),
    }
    keeper.release("forgotten").unwrap();
    keeper.end().unwrap();
    assert_eq!(fs::read_to_string(file).unwrap(), "here\n", "once, not again at the end");
}

#[test]
fn the_loss_of_the_keeper_is_told_and_the_run_sweeps() {
    let dir = tempfile::tempdir().unwrap();
    let (keeper, notices) = keeper(dir.path());
    let node = start(&keeper, "node", "exec sleep 600", dir.path());
    let pid = rustix::process::Pid::from_raw(keeper.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(notices.recv_timeout(Duration::from_secs(5)).unwrap(), Notice::Lost);
    assert!(matches!(keeper.lease("x", Duration::from_secs(1)), Err(KeeperError::Lost)));
    assert_eq!(sweep(dir.path()).unwrap().killed, 1);
    assert!(is_gone(node));
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (keeper, _notices) = keeper(dir.path());
    let output: OwnedFd = fs::File::create(dir.path().join("out")).unwrap().into();
    let launch =
        Launch { node: "n".into(), command: vec!["/no/such".into()], env: vec![], dir: dir.path().into(), output };
    let error = keeper_start(&keeper, launch).unwrap_err().to_string();
    assert!(error.contains("/no/such"), "{error}");
}

#[test]
fn what_is_not_there_is_undone_only_where_that_was_to_be_expected() {
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/proxies/gone", server.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut client, _)) = server.accept() {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    for gone_is_done in [true, false] {
        let action = Action::Http { method: "DELETE".into(), url: url.clone(), body: None };
        let (undone, said) = super::body::perform(&Undo { action, allow: vec![], gone_is_done });
        assert_eq!(undone, gone_is_done, "{said}");
    }
}
