//! The program: its flags, its configuration file, its start and its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::common::brownout;
use crate::support::{Server, connect, echo, upstream};

/// Runs it to its end: its exit code, and what it said.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = brownout().arg("proxy").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.into_owned())
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

#[test]
fn it_says_whose_version_it_is() {
    let (code, said) = run(&["-version"]);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("toxiproxy-server version 2."), "{said}");
}

#[test]
fn a_bad_flag_is_answered_by_the_usage() {
    for args in [&["-colour"][..], &["-port", "99999"], &["-seed=x"], &["-config"]] {
        let (code, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("--help") || said.contains("Usage"), "{said}");
    }
}

#[test]
fn a_port_that_is_taken_ends_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, said) = run(&["-port", &port, "-host=127.0.0.1"]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("the API cannot listen on 127.0.0.1:{port}: ")), "{said}");
}

#[test]
fn its_own_loopback_is_that_of_ipv4_whatever_localhost_means_here() {
    assert_eq!(Server::start(&[]).addr.ip(), std::net::Ipv4Addr::LOCALHOST);
    assert_eq!(Server::start(&["-host", "0.0.0.0"]).addr.ip(), std::net::Ipv4Addr::UNSPECIFIED);
    let (code, said) = run(&["-host", "nowhere.invalid"]);
    assert!(code == Some(1) && said.contains("the API cannot listen on nowhere.invalid:8474: lookup"), "{said}");
}

#[test]
fn it_starts_with_the_proxies_of_its_configuration() {
    let upstream = upstream(echo);
    let config = file(&format!(
        r#"[{{"name":"web","listen":"127.0.0.1:0","upstream":"{upstream}","toxics":[]}},
            {{"name":"idle","upstream":"b:1","enabled":false}}]"#
    ));
    let server = Server::start(&["-config", config.path().to_str().unwrap()]);
    let proxies = server.done("GET", "/proxies", "");
    assert_eq!(proxies["idle"]["enabled"], false);
    let mut client = connect(proxies["web"]["listen"].as_str().unwrap().parse().unwrap());
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn a_configuration_with_one_bad_proxy_says_which_and_why() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let in_use = format!(r#"[{{"name":"good","upstream":"b:1"}},{{"name":"bad","listen":"{addr}","upstream":"b:1"}}]"#);
    for (config, says) in [
        (in_use.as_str(), format!("proxy `bad`: listen tcp {addr}: bind: address already in use")),
        (
            r#"[{"name":"bad","listen":"nowhere","upstream":"b:1"}]"#,
            "proxy `bad`: listen tcp: address nowhere: ".into(),
        ),
        (r#"[{"name":"good","upstream":"b:1"},{"name":"bad"}]"#, "missing required field: upstream at proxy 2".into()),
        ("{}", "expected an array of proxies".into()),
        ("", "EOF".into()),
    ] {
        let config = file(config);
        let (code, said) = run(&["-port", "0", "-config", config.path().to_str().unwrap()]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&says), "{said}");
    }
    let (code, said) = run(&["-port", "0", "-config", "/nonexistent/toxiproxy.json"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("cannot read `/nonexistent/toxiproxy.json`"), "{said}");
}

#[test]
fn a_signal_ends_it_at_once_with_connections_open() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::start(&[]);
        let addr = server.proxy("web", upstream(echo));
        let mut client = connect(addr);
        client.write_all(b"open").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        server.toxic("web", "latency", "downstream", r#"{"latency":60000}"#);
        client.write_all(b"held").unwrap();
        let start = Instant::now();
        kill_process(Pid::from_raw(server.pid()).unwrap(), signal).unwrap();
        assert_eq!(server.wait(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

#[test]
fn it_starts_in_no_time() {
    // The best of five: the others say what else the machine was doing. An answer is had within 50 ms by the
    // release build on an idle machine; an unoptimised one on a busy machine gets ten times that.
    let best = (0..5).map(|_| {
        let start = Instant::now();
        let server = Server::start(&[]);
        server.done("GET", "/version", "");
        start.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(500), "{best:?}");
}

#[test]
fn called_by_the_name_of_the_reference_it_is_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("toxiproxy-server");
    symlink(brownout().get_program(), &link).unwrap();
    let output = std::process::Command::new(&link).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("toxiproxy-server version "));
}

#[test]
fn an_absurd_log_level_is_no_reason_to_fail() {
    let server = Server::start_with(&[], |command| {
        command.env("LOG_LEVEL", "Verbose");
    });
    server.done("GET", "/version", "");
}

#[test]
fn the_table_of_descriptors_is_large_before_the_first_connection() {
    // If it grew on the way, whoever opened the next descriptor would wait for the kernel some 10 ms.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let server = Server::start(&[]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
    assert!(size.trim().parse::<u64>().unwrap() >= limit.min(65_536), "{size}");
}

#[test]
fn ten_thousand_proxies_are_served_listed_and_ended() {
    // Each takes a descriptor; where the system gives fewer, as many as it gives.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = limit.saturating_sub(100).min(10_000) as usize;
    let mut server = Server::start(&[]);
    let upstream = upstream(echo);
    let entry = |n| json!({"name": format!("proxy-{n}"), "listen": "127.0.0.1:0", "upstream": upstream.to_string()});
    let numbers: Vec<usize> = (0..count).collect();
    let mut listens = Vec::new();
    // In portions: where others compute as well each proxy may wait for the scheduler, and a request has 25 s.
    for portion in numbers.chunks(500) {
        let list = Value::from_iter(portion.iter().map(entry));
        let made = server.done("POST", "/populate", &list.to_string());
        let made = made["proxies"].as_array().unwrap().iter();
        listens.extend(made.map(|proxy| proxy["listen"].as_str().unwrap().parse::<SocketAddr>().unwrap()));
    }
    assert_eq!(listens.len(), count);
    for n in [0, count / 2, count - 1] {
        let mut client = connect(listens[n]);
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
    }
    assert_eq!(server.done("GET", "/proxies", "").as_object().unwrap().len(), count);
    server.done("POST", "/reset", "");
    let start = Instant::now();
    kill_process(Pid::from_raw(server.pid()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(server.wait(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
