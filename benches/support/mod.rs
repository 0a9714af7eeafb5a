//! What the proxy benches share: processes, an echo server, clients, medians and tables.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part of it")]

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::plan::fault::{Direction, Toxic};
use brownout::proxy::{Engine, LinkSpec, Strike};
use brownout::seed::Seed;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::{Value, json};

/// A child that ends with us.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        Process(command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap())
    }

    /// User and system time so far, in seconds.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
    }
}

/// Runs ourselves in another role, and reads the addresses that it prints.
pub fn ourselves(arguments: &[&str], addresses: usize) -> (Process, Vec<SocketAddr>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses = lines.take(addresses).map(|line| line.unwrap().parse().unwrap()).collect();
    (Process(child), addresses)
}

/// Our proxy before these upstreams, in a process of its own, with a toxic on the way down, or none: the engine alone,
/// or `brownout proxy` where `THROUGH=server` asks for it.
pub fn proxied(toxic: Option<&Toxic>, upstreams: &[SocketAddr]) -> (Process, Vec<SocketAddr>) {
    if std::env::var("THROUGH").is_ok_and(|through| through == "server") {
        return served(toxic, upstreams);
    }
    let toxic = serde_json::to_string(&toxic).unwrap();
    let upstreams: Vec<String> = upstreams.iter().map(SocketAddr::to_string).collect();
    let mut arguments = vec!["role", "proxy", &toxic];
    arguments.extend(upstreams.iter().map(String::as_str));
    ourselves(&arguments, upstreams.len())
}

/// The same through `brownout proxy` and its API.
fn served(toxic: Option<&Toxic>, upstreams: &[SocketAddr]) -> (Process, Vec<SocketAddr>) {
    let port = free_port();
    let server = Process::start(Command::new(env!("CARGO_BIN_EXE_brownout")).args([
        "proxy",
        "-host",
        "127.0.0.1",
        "-port",
        &port.to_string(),
    ]));
    wait_for(port);
    let attributes = toxic.map(|toxic| match toxic {
        Toxic::Latency { add, .. } => ("latency", json!({"latency": add.0.as_millis() as u64})),
        Toxic::Bandwidth { rate } => ("bandwidth", json!({"rate": rate.0 / 1000})),
        other => panic!("no bench needs {other:?} of the server"),
    });
    let listens = upstreams.iter().enumerate().map(|(index, upstream)| {
        let name = format!("bench-{index}");
        let proxy = json!({"name": name, "listen": "127.0.0.1:0", "upstream": upstream.to_string()});
        let proxy = post(port, "/proxies", &proxy);
        if let Some((kind, attributes)) = &attributes {
            post(port, &format!("/proxies/{name}/toxics"), &json!({"type": kind, "attributes": attributes}));
        }
        proxy["listen"].as_str().unwrap().parse().unwrap()
    });
    let listens = listens.collect();
    (server, listens)
}

/// A request to an API on loopback, and the JSON of its answer.
fn post(port: u16, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}

/// Plays another role if the arguments say so: `role proxy TOXIC UPSTREAM…`, `role echo`.
pub fn play_role() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(place) = arguments.iter().position(|argument| argument == "role") else { return false };
    match arguments[place + 1].as_str() {
        "echo" => echo(),
        "proxy" => proxy(&arguments[place + 2], &arguments[place + 3..]),
        other => panic!("no role is called {other}"),
    }
    true
}

fn proxy(toxic: &str, upstreams: &[String]) {
    let threads = std::env::var("BENCH_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let engine = Engine::start(threads, RunClock::start()).unwrap();
    let links: Vec<_> =
        upstreams.iter().map(|upstream| engine.open(LinkSpec::new(upstream.as_str(), upstream)).unwrap()).collect();
    if let Some(toxic) = serde_json::from_str::<Option<Toxic>>(toxic).unwrap() {
        let strike = Strike::Toxic { direction: Direction::Down, toxic, share: 1.0 };
        for link in &links {
            link.strike("bench", strike.clone(), Seed(1)).unwrap();
        }
    }
    for link in &links {
        println!("{}", link.addr());
    }
    // Until our parent is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

/// An echo server of one thread; it also sends: a first line `send N` asks for N bytes and a FIN.
fn echo() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    rustix::net::listen(&listener, 4096).unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let poll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    epoll::add(&poll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN).unwrap();
    let mut streams: HashMap<u64, TcpStream> = HashMap::new();
    let (mut next, mut buffer, mut events) = (0u64, vec![0; 65536], Vec::with_capacity(256));
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let key = event.data.u64();
            if key == u64::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    stream.set_nonblocking(true).unwrap();
                    epoll::add(&poll, &stream, EventData::new_u64(next), EventFlags::IN | EventFlags::ET).unwrap();
                    streams.insert(next, stream);
                    next += 1;
                }
                continue;
            }
            let Some(stream) = streams.get_mut(&key) else { continue };
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => {
                        streams.remove(&key);
                        break;
                    }
                    Ok(n) if buffer.starts_with(b"send ") => {
                        let text = String::from_utf8_lossy(&buffer[5..n]).trim().to_owned();
                        let stream = streams.remove(&key).unwrap();
                        std::thread::spawn(move || {
                            let mut stream = stream;
                            stream.set_nonblocking(false).unwrap();
                            let _ = stream.write_all(&vec![7; text.parse().unwrap()]);
                        });
                        buffer[0] = 0;
                        break;
                    }
                    Ok(n) => stream.write_all(&buffer[..n]).unwrap(),
                    Err(_) => break,
                }
            }
        }
    }
}

/// Round trips of 64 bytes, one after the other, in microseconds.
pub fn ping_pong(address: SocketAddr, count: usize) -> Vec<f64> {
    let clock = RunClock::start();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (ping, mut pong) = ([1; 64], [0; 64]);
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let start = clock.now();
        stream.write_all(&ping).unwrap();
        stream.read_exact(&mut pong).unwrap();
        took.push(clock.now().saturating_since(start).as_nanos() as f64 / 1e3);
    }
    took
}

/// Pings on many connections, each every 100 ms, evenly spread: round trips in microseconds.
pub fn many_pings(address: SocketAddr, connections: usize, rounds: usize) -> Vec<f64> {
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let clock = RunClock::start();
    let poll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let mut streams: Vec<TcpStream> = (0..connections)
        .map(|index| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            let data = EventData::new_u64(index as u64);
            epoll::add(&poll, stream.as_fd(), data, EventFlags::IN | EventFlags::ET).unwrap();
            stream
        })
        .collect();
    let (gap, total) = (Duration::from_millis(100) / connections as u32, connections * rounds);
    let begin = clock.now() + Duration::from_millis(200);
    let (mut sent, mut got) = (0, 0);
    // A ping may leave before the one before it has come back.
    let mut sent_at = vec![VecDeque::new(); connections];
    let (mut took, mut events, mut pong) = (Vec::with_capacity(total), Vec::with_capacity(256), [0; 64]);
    while got < total {
        while sent < total && begin + gap * sent as u32 <= clock.now() {
            sent_at[sent % connections].push_back(clock.now());
            streams[sent % connections].write_all(&[1; 64]).unwrap();
            sent += 1;
        }
        let wait = if sent < total {
            (begin + gap * sent as u32).saturating_since(clock.now())
        } else {
            Duration::from_secs(1)
        };
        let wait = rustix::event::Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), Some(&wait)).unwrap();
        for event in &events {
            let index = event.data.u64() as usize;
            while streams[index].read_exact(&mut pong).is_ok() {
                let sent = sent_at[index].pop_front().unwrap();
                took.push(clock.now().saturating_since(sent).as_nanos() as f64 / 1e3);
                got += 1;
            }
        }
    }
    took
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

/// What a command printed.
pub fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A port that is free just now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens.
pub fn wait_for(port: u16) {
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody listens on {port}");
}

/// The machine, in one line.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {}, Linux {}", model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

pub fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// As many descriptors as the system allows.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
