//! Real processes under a real keeper (this test program, started once more).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::sleep;

use super::proc::Stat;
use crate::clock::RunClock;
use crate::event::{Event, Milestone, What};
use crate::plan;
use crate::plan::system::{LogMilestone, Node, NodeKind, Probe, Process, Ready, ReadyWhen, Secret, Stop, Value};
use crate::run::keeper::{Keeper, tests::actor};
use crate::system::{LinkAddresses, NodeAct, NodeState, Surroundings, System, SystemError, Teller};
use crate::units::Span;

const SECOND: Duration = Duration::from_secs(1);

/// A system of processes with its keeper, in a folder of its own.
struct Case {
    dir: tempfile::TempDir,
    system: System,
    events: Arc<Mutex<Vec<Event>>>,
    _keeper: Arc<Keeper>,
}

impl Case {
    fn of(nodes: impl IntoIterator<Item = (&'static str, NodeKind)>) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Arc::new(Keeper::start(actor("keeper"), dir.path(), |_| {}).unwrap());
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let surroundings = Surroundings {
            teller: Teller::new(RunClock::start(), Arc::new(move |event| sink.lock().unwrap().push(event))),
            dir: dir.path().to_owned(),
            supervisor: Arc::clone(&keeper) as Arc<dyn super::Supervisor>,
            conceal: Arc::new(|line| line.replace("hunter2", "<secret>")),
            reveal: Arc::new(|value| match value {
                Value::Text(text) => Ok(text.clone()),
                Value::Secret(_) => Ok("hunter2".to_owned()),
            }),
        };
        let node = |kind| Node { kind, labels: IndexMap::new(), probe: None };
        let nodes = nodes.into_iter().map(|(name, kind)| (name.to_owned(), node(kind))).collect();
        let system = System::bind(&plan::System::Nodes { nodes, links: IndexMap::new() }, surroundings).unwrap();
        Case { dir, system, events, _keeper: keeper }
    }

    async fn start(&self) -> Result<(), SystemError> {
        let links: LinkAddresses = BTreeMap::from([("app-db".to_owned(), "127.0.0.1:7777".parse().unwrap())]);
        self.system.start(&links).await?;
        self.system.wait_ready().await
    }

    fn has(&self, wanted: impl Fn(&What) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(|event| wanted(&event.what))
    }

    fn log(&self, node: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("logs/{node}.log"))).unwrap_or_default()
    }

    fn state(&self, node: &str) -> NodeState {
        self.system.nodes().into_iter().find(|info| info.name == node).unwrap().state
    }

    async fn until(&self, what: &str, holds: impl Fn(&Case) -> bool) {
        for _ in 0..2_000 {
            if holds(self) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("never {what}: {:?}", self.events.lock().unwrap());
    }
}

fn process(command: &[&str], ready: ReadyWhen) -> Process {
    Process {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: IndexMap::new(),
        files: IndexMap::new(),
        listen: None,
        ready: Ready { when: ready, within: Span(10 * SECOND) },
        stop: Stop { signal: "TERM".to_owned(), within: Span(5 * SECOND) },
        log_milestones: Vec::new(),
    }
}

fn shell(script: &str) -> Process {
    process(&["sh", "-c", script], ReadyWhen::Log("up".to_owned()))
}

fn kind(process: Process) -> NodeKind {
    NodeKind::Process(Box::new(process))
}

/// One worker behind a master: pausing or killing the master alone would not do.
fn nginx() -> Process {
    let config = "
        daemon off; master_process on; worker_processes 1; error_log stderr; pid ${dir}/pid;
        events {}
        http {
            access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
            fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
            server { listen ${nodes.web.address}; location / { return 200 'hello $host'; } }
        }";
    Process {
        files: IndexMap::from([("nginx.conf".to_owned(), config.to_owned())]),
        listen: Some("127.0.0.1:0".to_owned()),
        stop: Stop { signal: "QUIT".to_owned(), within: Span(5 * SECOND) },
        ..process(&["nginx", "-c", "${dir}/nginx.conf"], ReadyWhen::Http("/".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_is_started_killed_paused_and_stopped_at_one_address() {
    let case = Case::of([("web", kind(nginx()))]);
    case.start().await.unwrap();
    let address = case.system.nodes()[0].address.clone();
    let answers = async || super::super::probe::ask(&address, &Probe::Http("/".into()), SECOND).await.is_ok();
    assert!(answers().await);
    assert_eq!(case.system.place("web").unwrap(), "web#1");

    case.system.apply("web", NodeAct::Pause).await.unwrap();
    assert_eq!((case.system.read_back("web").as_str(), case.state("web")), ("T", NodeState::Paused));
    assert!(!answers().await, "the worker stands still too");
    case.system.heal("web", NodeAct::Pause).await.unwrap();
    assert!(answers().await);

    case.system.apply("web", NodeAct::Kill).await.unwrap();
    assert_eq!((case.system.read_back("web").as_str(), case.state("web")), ("gone", NodeState::Gone));
    assert!(!answers().await, "the worker is gone too");
    case.system.heal("web", NodeAct::Kill).await.unwrap();
    case.until("ready again", |case| case.state("web") == NodeState::Ready).await;
    assert!(answers().await);
    assert_eq!(case.system.nodes()[0].address, address);
    assert_eq!(case.system.place("web").unwrap(), "web#2");

    case.system.apply("web", NodeAct::Restart).await.unwrap();
    case.until("ready again", |case| case.state("web") == NodeState::Ready).await;
    assert!(answers().await);
    case.system.stop().await.unwrap();
    assert_eq!(case.system.read_back("web"), "gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_filled_in_and_what_it_sees() {
    let mut node = shell("env | sort; cat conf; echo up; exec sleep 600");
    node.files.insert("conf".into(), "link ${links.app-db.address} port ${links.app-db.port} own $${other}\n".into());
    node.env.insert("TOKEN".into(), Value::Secret(Secret::Env("ANY".into())));
    node.env.insert("WHERE".into(), Value::Text("${dir}".into()));
    node.env.insert("DOLLAR".into(), Value::Text("$${dir}".into()));
    let case = Case::of([("node", kind(node))]);
    case.start().await.unwrap();
    let log = case.log("node");
    let dir = case.dir.path().join("nodes/node").display().to_string();
    assert!(log.contains("link 127.0.0.1:7777 port 7777 own ${other}"), "{log}");
    assert!(log.contains(&format!("WHERE={dir}\n")) && log.contains(&format!("HOME={dir}\n")), "{log}");
    assert!(log.contains("DOLLAR=${dir}\n"), "{log}");
    assert!(log.contains("TOKEN=<secret>") && !log.contains("hunter2"), "{log}");
    // Nothing of the harness's own environment but the whitelist.
    let names: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let known =
        ["BROWNOUT_NODE", "DOLLAR", "HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "TOKEN", "TZ", "WHERE", "_"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(case.has(|what| matches!(what, What::Log { line, .. } if line == "TOKEN=<secret>")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tells_that_it_is_ready_is_filled_in() {
    let mut node = shell("echo ready at nowhere; sleep 0.2; echo ready at 7777; exec sleep 600");
    node.ready.when = ReadyWhen::Log("ready at ${links.app-db.port}".into());
    let mut web = nginx();
    web.ready.when = ReadyWhen::Http("/${nodes.self.name}".into());
    let config = &mut web.files["nginx.conf"];
    *config = config.replace("location / {", "location = / { return 500; } location = /web {");
    let case = Case::of([("node", kind(node)), ("web", kind(web))]);
    case.start().await.unwrap();
    assert!(case.log("node").contains("ready at 7777"), "{}", case.log("node"));
    // What was waited for is told as filled in, too.
    let mut node = shell("exec sleep 600");
    node.ready.when = ReadyWhen::Log("of ${nodes.self.name}".into());
    node.ready.within = Span(Duration::from_millis(100));
    let case = Case::of([("db", kind(node))]);
    let error = case.start().await.unwrap_err().to_string();
    assert!(error.contains("its output does not contain `of db`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_the_start_is_told_with_its_status_and_last_lines() {
    let case = Case::of([("db", kind(shell("echo first; echo cannot open the data >&2; exit 3")))]);
    let error = case.start().await.unwrap_err().to_string();
    assert_eq!(error, "node `db` exited with status 3; its last lines:\n    first\n    cannot open the data",);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_never_ready_is_told_with_what_was_waited_for() {
    let mut node = process(&["sh", "-c", "echo busy; exec sleep 600"], ReadyWhen::Listening);
    node.listen = Some("127.0.0.1:0".into());
    node.ready.within = Span(Duration::from_millis(500));
    let case = Case::of([("db", kind(node))]);
    let error = case.start().await.unwrap_err().to_string();
    let address = &case.system.nodes()[0].address;
    let expected = format!("node `db` was not ready within 500ms: nothing accepts connections at {address}");
    assert_eq!(error, format!("{expected}; its last lines:\n    busy"));
    case.system.stop().await.unwrap();
    assert_eq!(case.system.read_back("db"), "gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_and_a_link_that_is_not_there_are_named() {
    let case = Case::of([("db", kind(process(&["no-such-server"], ReadyWhen::Listening)))]);
    let error = case.start().await.unwrap_err().to_string();
    assert!(error.starts_with("node `db` cannot be started or signalled: `no-such-server`: "), "{error}");
    let case = Case::of([("db", kind(shell("echo ${links.nowhere.port}")))]);
    let error = case.start().await.unwrap_err().to_string();
    assert!(error.contains("`${links.nowhere.port}` is not known here"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_in_the_run_that_nobody_wanted_is_an_event() {
    let case = Case::of([("db", kind(shell("echo up; sleep 0.3; echo out of luck; exit 7")))]);
    case.start().await.unwrap();
    case.until("told", |case| case.state("db") == NodeState::Gone).await;
    let told = |what: &What| matches!(what, What::NodeEnded { node, how, last_lines } if node == "db" && how == "exited with status 7" && *last_lines == ["up", "out of luck"]);
    case.until("noted", |case| case.has(told)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_hear_is_killed_when_its_time_is_over() {
    let mut node = shell("trap '' TERM; echo up; while :; do sleep 0.05; done");
    node.stop.within = Span(Duration::from_millis(200));
    let case = Case::of([("deaf", kind(node))]);
    case.start().await.unwrap();
    // Even while it stands still.
    case.system.apply("deaf", NodeAct::Pause).await.unwrap();
    case.system.stop().await.unwrap();
    assert_eq!(case.system.read_back("deaf"), "gone");
    assert!(case.has(|what| matches!(what, What::Note { text } if text == "deaf did not end within 200ms; killed")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_its_log_tells_a_milestone() {
    let mut node = shell("echo up; sleep 0.2; echo Server web/a is DOWN; exec sleep 600");
    node.log_milestones.push(LogMilestone { milestone: Milestone::Detected, contains: "is DOWN".into() });
    let case = Case::of([("proxy", kind(node))]);
    case.start().await.unwrap();
    let told = |what: &What| matches!(what, What::Milestone { milestone: Milestone::Detected, source, .. } if source == "log of proxy");
    case.until("told", |case| case.has(told)).await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_told_with_what_to_do() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let case = Case::of([("shop", NodeKind::Endpoint(refused.parse().unwrap()))]);
    let error = case.start().await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("endpoint `shop` at {refused} does not answer: cannot connect: ")), "{error}");
    assert!(error.ends_with("start it, or correct its address"), "{error}");
    let error = case.system.apply("shop", NodeAct::Kill).await.unwrap_err().to_string();
    assert!(error.contains("does not kill it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_left_in_other_sessions_goes_when_it_is_killed() {
    let case =
        Case::of([("app", kind(shell("setsid sh -c 'echo $$ > left; exec sleep 600' & sleep 0.2; echo up; wait")))]);
    case.start().await.unwrap();
    let left = left_behind(&case.dir.path().join("nodes/app/left")).await;
    case.system.apply("app", NodeAct::Kill).await.unwrap();
    assert!(Stat::of(left).is_none_or(|stat| !stat.alive()), "{left} lives on");
}

async fn left_behind(file: &Path) -> u32 {
    loop {
        if let Ok(pid) = std::fs::read_to_string(file).unwrap_or_default().trim().parse() {
            return pid;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
