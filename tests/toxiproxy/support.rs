//! A server to drive, and a client that hides nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::brownout;
pub(crate) use crate::proxy_support::{echo, server as upstream, soon};

/// `brownout proxy` on a port of its own; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::start_with(args, |_| {})
    }

    /// With something else about its process, such as its environment.
    pub(crate) fn start_with(args: &[&str], also: impl FnOnce(&mut std::process::Command)) -> Server {
        let mut command = brownout();
        command.args(["proxy", "-port", "0"]).args(args).stdout(Stdio::piped()).stderr(Stdio::inherit());
        also(&mut command);
        let mut child = command.spawn().unwrap();
        let mut logs = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = logs.find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            line["address"].as_str().map(|address| address.parse().unwrap())
        });
        // Whoever logs to a pipe that nobody reads comes to a halt.
        thread::spawn(move || logs.for_each(drop));
        Server { child, addr: addr.expect("it says where it listens") }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// How it ends, waited for.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// One request on a connection of its own.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Response {
        self.call_with(method, path, body, &[])
    }

    pub(crate) fn call_with(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.addr);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        // A server that has answered need not read the rest.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Response::parse(&answer)
    }

    /// A request that is done, and what comes of it.
    #[track_caller]
    pub(crate) fn done(&self, method: &str, path: &str, body: &str) -> Value {
        let response = self.call(method, path, body);
        assert!(response.status < 300, "{method} {path} {body}: {} {}", response.status, response.body);
        serde_json::from_str(&response.body).unwrap_or_default()
    }

    /// A proxy on any port; where it listens.
    pub(crate) fn proxy(&self, name: &str, upstream: SocketAddr) -> SocketAddr {
        let body = format!(r#"{{"name":"{name}","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        self.done("POST", "/proxies", &body)["listen"].as_str().unwrap().parse().unwrap()
    }

    /// A toxic of a type on a proxy, with these attributes.
    pub(crate) fn toxic(&self, proxy: &str, kind: &str, stream: &str, attributes: &str) {
        let body = format!(r#"{{"type":"{kind}","stream":"{stream}","attributes":{attributes}}}"#);
        self.done("POST", &format!("/proxies/{proxy}/toxics"), &body);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, head and body.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    fn parse(answer: &[u8]) -> Response {
        let answer = String::from_utf8_lossy(answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Response { status, headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that gives up after 5 s.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
