//! Requests and their answers, recorded: each file of `exchanges/` is one server's life.
//!
//! A line is a request, `METHOD PATH [BODY]`; the indented lines below it are the answer, with what headers it has of
//! those that matter, whether it has a request id, and the body. `#` begins a comment. `@upstream` and `@taken` are
//! addresses that are listened on, `@free` one that is not. A port of the system's choice is written as PORT.

use std::fmt::Write;
use std::net::TcpListener;

use crate::golden;
use crate::support::{Server, echo, upstream};

/// What an answer's lines begin with.
const INDENT: &str = "    ";

#[test]
fn answers_are_those_that_were_recorded() {
    let dir = "tests/toxiproxy/exchanges";
    let files = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap();
    let mut names: Vec<String> = files.flatten().map(|file| file.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let path = format!("{dir}/{name}");
        let kept = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        golden::check(&path, played(kept.lines().filter(|line| !line.starts_with(INDENT))));
    }
}

/// Requests with their answers.
fn played<'a>(script: impl Iterator<Item = &'a str>) -> String {
    let server = Server::start(&[]);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let places = [
        ("@upstream", upstream(echo).to_string()),
        ("@taken", taken.local_addr().unwrap().to_string()),
        ("@free", free.to_string()),
    ];
    let mut record = String::new();
    for line in script {
        writeln!(record, "{line}").unwrap();
        if line.starts_with('#') {
            continue;
        }
        let mut parts = line.splitn(3, ' ');
        let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
        let mut body = parts.next().unwrap_or_default().to_owned();
        for (place, addr) in &places {
            body = body.replace(place, addr);
        }
        let response = server.call(method, path, &body);
        write!(record, "{INDENT}{}", response.status).unwrap();
        for header in ["content-type", "location", "allow"] {
            if let Some(value) = response.header(header) {
                write!(record, " {header}: {value}").unwrap();
            }
        }
        let id = response.header("x-toxiproxy-request-id").map_or("no id", |_| "id");
        writeln!(record, " ({id})").unwrap();
        if !response.body.is_empty() {
            writeln!(record, "{INDENT}{}", without_ports(&response.body).replace('\n', "⏎")).unwrap();
        }
    }
    record
}

/// The same with PORT for the port of every loopback address.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        write!(out, "127.0.0.1:PORT{rest}").unwrap();
    }
    out
}
