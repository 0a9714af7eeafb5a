//! Things done outside the run: a program, a request, a person's step. Faults and checks alike.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::descriptors;
use crate::permit::Permit;
use crate::plan::host::Host;
use crate::plan::{Action, SqlQuery};
use crate::workload::client::http::tls;

/// How much of an action's output is kept.
const OUTPUT: usize = 2_000;

/// Does an action and waits for it: whether it went well, and what it said.
///
/// A program that outlasts `timeout` is killed, with the group that it leads.
pub(super) async fn act(action: &Action, timeout: Duration, permit: &Permit) -> (bool, String) {
    let doing = async {
        match action {
            Action::Exec(command) => exec(command).await,
            Action::Http { method, url, body } => request(method, url, body.clone(), permit, timeout).await,
            // Nobody can acknowledge it here yet, so it proves nothing and vouches for nothing.
            Action::Manual(step) => (false, format!("left to a person, and not acknowledged: {step}")),
        }
    };
    within(timeout, doing).await
}

/// Asks a query and waits for its answer: whether it is the expected one, and what it was.
pub(super) async fn ask(query: &SqlQuery, timeout: Duration, permit: &Permit) -> (bool, String) {
    #[cfg(feature = "postgres")]
    let asking = super::sql::ask(query, permit);
    #[cfg(not(feature = "postgres"))]
    let asking =
        async { (false, format!("{query}: this brownout was built without the feature `postgres` ({permit:?})")) };
    within(timeout, asking).await
}

/// As long as it takes, but no longer than that.
async fn within(timeout: Duration, doing: impl Future<Output = (bool, String)>) -> (bool, String) {
    match tokio::time::timeout(timeout, doing).await {
        Ok(done) => done,
        Err(_) => (false, format!("not done after {}", crate::units::Span(timeout))),
    }
}

/// Runs a program in a process group of its own.
async fn exec(command: &[String]) -> (bool, String) {
    if command.is_empty() {
        return (false, "an empty command".into());
    }
    let command = descriptors::as_given(command);
    let (program, args) = command.split_first().expect("it has a program");
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return (false, format!("cannot start `{program}`: {error}")),
    };
    let group = Group(child.id());
    let output = child.wait_with_output().await;
    group.keep();
    match output {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), format!("{}: {}", output.status, clip(&String::from_utf8_lossy(&said))))
        }
        Err(error) => (false, format!("lost `{program}`: {error}")),
    }
}

/// A process group that is killed when dropped, unless its leader has ended.
struct Group(Option<u32>);

impl Group {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| rustix::process::Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Sends a request, without redirects and without the environment's proxies.
async fn request(method: &str, url: &str, body: Option<String>, permit: &Permit, timeout: Duration) -> (bool, String) {
    let (host, addresses) = match resolve(url, permit).await {
        Ok(resolved) => resolved,
        Err(why) => return (false, why),
    };
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_backend_preconfigured(tls::unused())
        .timeout(timeout)
        .resolve_to_addrs(&host.name, &addresses)
        .build();
    let Ok(method) = reqwest::Method::from_bytes(method.as_bytes()) else {
        return (false, format!("`{method}` is no HTTP method"));
    };
    let answer = match client {
        Ok(client) => client.request(method, url).body(body.unwrap_or_default()).send().await,
        Err(error) => return (false, error.to_string()),
    };
    match answer {
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            (status.is_success(), format!("{status}: {}", clip(&text)))
        }
        Err(error) => (false, error.to_string()),
    }
}

/// The addresses of a URL's host, each of which must be permitted.
async fn resolve(url: &str, permit: &Permit) -> Result<(Host, Vec<SocketAddr>), String> {
    let host = Host::of_url(url).ok_or_else(|| format!("`{url}` is no address such as `http://host:port/path`"))?;
    let addresses = permitted(&host, permit).await?;
    Ok((host, addresses))
}

/// A host's addresses, each of which must be permitted.
pub(super) async fn permitted(host: &Host, permit: &Permit) -> Result<Vec<SocketAddr>, String> {
    let looked_up = tokio::net::lookup_host((host.name.as_str(), host.port)).await;
    let addresses: Vec<SocketAddr> = looked_up.map_err(|error| format!("{}: {error}", host.name))?.collect();
    match addresses.iter().find(|address| !permit.allows(**address)) {
        Some(address) => {
            Err(format!("{address} is outside loopback; name it in the experiment's `allow` and give `--allow-remote`"))
        }
        None => Ok(addresses),
    }
}

/// As much of an output as is kept.
pub(super) fn clip(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(OUTPUT) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &[&str]) -> Action {
        Action::Exec(command.iter().map(|word| (*word).to_owned()).collect())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_program_is_judged_by_its_exit_status() {
        let permit = Permit::default();
        let (ok, said) = act(&exec(&["sh", "-c", "echo fine"]), SECOND, &permit).await;
        assert!(ok && said.contains("fine"), "{said}");
        let (ok, said) = act(&exec(&["sh", "-c", "echo bad >&2; exit 3"]), SECOND, &permit).await;
        assert!(!ok && said.contains("bad") && said.contains('3'), "{said}");
        let (ok, said) = act(&exec(&["/no/such/program"]), SECOND, &permit).await;
        assert!(!ok && said.contains("/no/such/program"), "{said}");
    }

    #[tokio::test]
    async fn a_program_that_outlasts_its_time_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
        let (ok, said) = act(&exec(&["sh", "-c", &script]), Duration::from_millis(300), &Permit::default()).await;
        assert!(!ok && said.contains("300ms"), "{said}");
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        let gone = || !matches!(state_of(pid), Some(state) if state != 'Z');
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the program's child {pid} is still there");
    }

    fn state_of(pid: i32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    }

    #[tokio::test]
    async fn a_request_is_judged_by_its_status() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/failover", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for status in ["200 OK", "409 Conflict"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 4\r\n\r\nsaid");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let action = Action::Http { method: "POST".into(), url, body: None };
        let (ok, said) = act(&action, SECOND, &Permit::default()).await;
        assert!(ok && said.contains("200") && said.contains("said"), "{said}");
        let (ok, said) = act(&action, SECOND, &Permit::default()).await;
        assert!(!ok && said.contains("409"), "{said}");
    }

    #[tokio::test]
    async fn a_request_outside_loopback_is_refused_before_it_is_sent() {
        let action = Action::Http { method: "POST".into(), url: "http://192.0.2.1/failover".into(), body: None };
        let (ok, said) = act(&action, SECOND, &Permit::default()).await;
        assert!(!ok && said.contains("--allow-remote"), "{said}");
    }
}
