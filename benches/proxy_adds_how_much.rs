//! How much does the proxy add? Direct, through HAProxy and through us, in interleaved rounds of one run.
//!
//! Needs iperf3, nginx, wrk, redis-server, redis-benchmark, haproxy and python3. `ROUNDS` (default 3) and `SECONDS` (default 3)
//! set its length; arguments that are part of a row's name select rows; `THROUGH=server` goes through `brownout proxy`.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use brownout::clock::RunClock;
use support::{Process, free_port, median, ourselves, output, ping_pong, proxied, quantile, wait_for};

fn main() {
    if support::play_role() {
        return;
    }
    support::raise_descriptor_limit();
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (rounds, seconds) = (number("ROUNDS", 3), number("SECONDS", 3));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();

    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path(), seconds);
    let rows: Vec<Row> =
        ROWS.into_iter().filter(|row| wanted.is_empty() || wanted.iter().any(|name| row.name.contains(name))).collect();
    let mut measured = vec![[(); 3].map(|()| Vec::new()); rows.len()];
    for _ in 0..rounds {
        for (row, results) in rows.iter().zip(&mut measured) {
            for (path, results) in results.iter_mut().enumerate() {
                results.push((row.measure)(&bench, path));
            }
        }
    }

    println!("{}; {rounds} rounds of {seconds} s, medians\n", support::machine());
    println!("| | direct | HAProxy | brownout | HAProxy / direct | brownout / direct | brownout / HAProxy |");
    println!("|---|---|---|---|---|---|---|");
    for (row, results) in rows.iter().zip(&measured) {
        let figures = (row.figures)(results);
        for (name, [direct, haproxy, ours]) in figures {
            let text = |value: f64| if value.is_nan() { "–".to_owned() } else { significant(value) };
            let ratio = |a: f64, b: f64| if (a / b).is_finite() { format!("{:.2}", a / b) } else { "–".to_owned() };
            println!(
                "| {name} | {} | {} | {} | {} | {} | {} |",
                text(direct),
                text(haproxy),
                text(ours),
                ratio(haproxy, direct),
                ratio(ours, direct),
                ratio(ours, haproxy)
            );
        }
    }
}

fn significant(value: f64) -> String {
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 3) as usize;
    format!("{value:.digits$}")
}

/// What one measurement gives: the figure, and the proxy's CPU seconds a unit, where that is asked for.
type Sample = Vec<f64>;
type Figures = Vec<(&'static str, [f64; 3])>;

struct Row {
    name: &'static str,
    measure: fn(&Bench, usize) -> Sample,
    figures: fn(&[Vec<Sample>; 3]) -> Figures,
}

const ROWS: [Row; 9] = [
    // The first, and its first round counts: later ones find memory that earlier connections have given back.
    Row {
        name: "memory",
        measure: |bench, path| bench.memory(path),
        figures: |all| vec![("memory per idle connection, bytes", [0, 1, 2].map(|path| all[path][0][0]))],
    },
    Row {
        name: "bulk1",
        measure: |bench, path| bench.iperf(path, 1),
        figures: |all| vec![("bulk, 1 stream, GB/s", column(all, 0)), ("proxy CPU per GB, s", column(all, 1))],
    },
    Row {
        name: "bulk4",
        measure: |bench, path| bench.iperf(path, 4),
        figures: |all| {
            vec![("bulk, 4 streams, GB/s", column(all, 0)), ("proxy CPU per GB, 4 streams, s", column(all, 1))]
        },
    },
    Row {
        name: "http",
        measure: |bench, path| bench.wrk(path, &["-c64"]),
        figures: |all| {
            vec![
                ("HTTP keep-alive, 64 connections, 1/s", column(all, 0)),
                ("proxy CPU per request, µs", column(all, 1).map(|seconds| seconds * 1e6)),
            ]
        },
    },
    Row {
        name: "redis1",
        measure: |bench, path| bench.redis(path, "1", "150000"),
        figures: |all| vec![("redis GET, 50 connections, 1/s", column(all, 0))],
    },
    Row {
        name: "redis16",
        measure: |bench, path| bench.redis(path, "16", "2000000"),
        figures: |all| vec![("redis GET, pipeline 16, 1/s", column(all, 0))],
    },
    Row {
        name: "ping",
        measure: |bench, path| {
            let took = ping_pong(bench.echo[path], 20_000);
            vec![quantile(&took, 0.5), quantile(&took, 0.99)]
        },
        figures: |all| vec![("ping-pong 64 B, p50, µs", column(all, 0)), ("ping-pong 64 B, p99, µs", column(all, 1))],
    },
    Row {
        name: "connections",
        measure: |bench, path| bench.opened(path),
        figures: |all| {
            vec![
                ("new connections, opened and closed by one client, 1/s", column(all, 0)),
                ("proxy CPU per new connection, µs", column(all, 1).map(|seconds| seconds * 1e6)),
            ]
        },
    },
    Row {
        name: "connections with a request",
        measure: |bench, path| bench.wrk(path, &["-c16", "-HConnection: close"]),
        figures: |all| {
            vec![
                ("one request a connection, 16 at a time, 1/s", column(all, 0)),
                ("proxy CPU per such connection, µs", column(all, 1).map(|seconds| seconds * 1e6)),
            ]
        },
    },
];

fn column(all: &[Vec<Sample>; 3], index: usize) -> [f64; 3] {
    [0, 1, 2].map(|path| {
        let values: Vec<f64> = all[path].iter().map(|sample| sample[index]).filter(|value| !value.is_nan()).collect();
        if values.is_empty() { f64::NAN } else { median(&values) }
    })
}

/// Servers and proxies; each path is direct, HAProxy, ours.
struct Bench {
    seconds: u64,
    iperf: [SocketAddr; 3],
    http: [SocketAddr; 3],
    redis: [SocketAddr; 3],
    echo: [SocketAddr; 3],
    proxies: [Option<Process>; 3],
    _servers: Vec<Process>,
}

impl Bench {
    fn start(folder: &Path, seconds: u64) -> Bench {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (iperf, http, redis) = (free_port(), free_port(), free_port());
        support::write(
            &folder.join("nginx.conf"),
            &format!(
                "worker_processes 1; daemon off; master_process off; pid {0}/nginx.pid; error_log /dev/null;
                 events {{ worker_connections 4096; }}
                 http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {0}/b;
                 proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
                 server {{ listen 127.0.0.1:{http} backlog=4096; location / {{ return 200 'hello, brownout\n'; }} }} }}",
                folder.display()
            ),
        );
        let port = |port: u16| port.to_string();
        let (echo_server, echo) = ourselves(&["role", "echo"], 1);
        let servers = vec![
            Process::start(Command::new("iperf3").args(["-s", "-B", "127.0.0.1", "-p", &port(iperf)])),
            Process::start(Command::new("nginx").arg("-c").arg(folder.join("nginx.conf"))),
            Process::start(Command::new("redis-server").args([
                "--port",
                &port(redis),
                "--save",
                "",
                "--bind",
                "127.0.0.1",
            ])),
            echo_server,
        ];
        let upstreams = [at(iperf), at(http), at(redis), echo[0]];
        upstreams[..3].iter().for_each(|upstream| wait_for(upstream.port()));

        let fronts = [(); 4].map(|()| free_port());
        let mut config =
            "global\n maxconn 7000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
                .to_owned();
        for (index, (front, upstream)) in fronts.iter().zip(&upstreams).enumerate() {
            config += &format!(
                "listen l{index}\n bind 127.0.0.1:{front} backlog 4096\n server s {upstream}\n option splice-auto\n"
            );
        }
        support::write(&folder.join("haproxy.cfg"), &config);
        let haproxy = Process::start(Command::new("haproxy").arg("-f").arg(folder.join("haproxy.cfg")));
        fronts.iter().for_each(|front| wait_for(*front));

        let (ours, links) = proxied(None, &upstreams);
        let paths = |index: usize| [upstreams[index], at(fronts[index]), links[index]];
        Bench {
            seconds,
            iperf: paths(0),
            http: paths(1),
            redis: paths(2),
            echo: paths(3),
            proxies: [None, Some(haproxy), Some(ours)],
            _servers: servers,
        }
    }

    /// Measures, and the proxy's CPU time per unit besides.
    fn with_cpu(&self, path: usize, measure: impl FnOnce() -> (f64, f64)) -> Sample {
        let cpu = || self.proxies[path].as_ref().map_or(f64::NAN, Process::cpu);
        let before = cpu();
        let (figure, units) = measure();
        vec![figure, (cpu() - before) / units]
    }

    fn iperf(&self, path: usize, streams: usize) -> Sample {
        self.with_cpu(path, || {
            let (port, time, streams) =
                (self.iperf[path].port().to_string(), self.seconds.to_string(), streams.to_string());
            // The server of the previous test may still be closing it.
            std::thread::sleep(Duration::from_millis(300));
            let json = output(Command::new("iperf3").args([
                "-c",
                "127.0.0.1",
                "-p",
                &port,
                "-t",
                &time,
                "-P",
                &streams,
                "-J",
            ]));
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            let sum = &json["end"]["sum_received"];
            (sum["bits_per_second"].as_f64().unwrap() / 8e9, sum["bytes"].as_f64().unwrap() / 1e9)
        })
    }

    fn wrk(&self, path: usize, arguments: &[&str]) -> Sample {
        self.with_cpu(path, || {
            let (url, time) = (format!("http://{}/", self.http[path]), format!("-d{}s", self.seconds));
            let text = output(Command::new("wrk").args(["-t1", &time]).args(arguments).arg(url));
            let rate =
                text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap().trim().parse().unwrap();
            (rate, rate * self.seconds as f64)
        })
    }

    /// One client that opens a connection and closes it, and opens the next: of an interpreted language, as many
    /// clients are, so that the other core has time for proxy and server.
    fn opened(&self, path: usize) -> Sample {
        const CLIENT: &str = "
import socket, sys, time
address, end, opened = ('127.0.0.1', int(sys.argv[1])), time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    client = socket.socket()
    client.connect(address)
    client.close()
    opened += 1
print(opened)";
        self.with_cpu(path, || {
            let (port, time) = (self.http[path].port().to_string(), self.seconds.to_string());
            let opened: f64 =
                output(Command::new("python3").args(["-c", CLIENT, &port, &time])).trim().parse().unwrap();
            (opened / self.seconds as f64, opened)
        })
    }

    fn redis(&self, path: usize, pipeline: &str, count: &str) -> Sample {
        let port = self.redis[path].port().to_string();
        let text = output(
            Command::new("redis-benchmark")
                .args(["-p", &port, "-t", "get", "-c", "50", "-n", count, "-P", pipeline, "--csv"]),
        );
        vec![text.lines().last().unwrap().split(',').nth(1).unwrap().trim_matches('"').parse().unwrap()]
    }

    /// Resident memory that each of 4,000 idle connections adds.
    fn memory(&self, path: usize) -> Sample {
        const CONNECTIONS: usize = 4000;
        let Some(proxy) = &self.proxies[path] else { return vec![f64::NAN] };
        // Allocators warm up with the first ones; they are not counted.
        let connect =
            |count| -> Vec<TcpStream> { (0..count).map(|_| TcpStream::connect(self.echo[path]).unwrap()).collect() };
        let _warm = connect(200);
        std::thread::sleep(Duration::from_millis(200));
        let before = proxy.memory();
        let clock = RunClock::start();
        let open = connect(CONNECTIONS);
        std::thread::sleep(Duration::from_millis(500));
        let grown = proxy.memory() - before;
        drop(open);
        assert!(clock.now().as_secs_f64() < 60.0);
        std::thread::sleep(Duration::from_millis(300));
        vec![grown / CONNECTIONS as f64]
    }
}
