//! How fast, how exact and how small is the load generator, with every attempt recorded?
//!
//! One nginx worker on loopback serves; `wrk` in the same minute is the baseline without us. Records are written by the
//! recorder of a run, and every figure is read from its file. Prints the machine and a Markdown table.
//! `cargo bench --bench generator`, or with `-- throughput memory lateness stall` for some of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use brownout::clock::{Moment, RunClock};
use brownout::event::{ATTEMPTS_FILE, Attempt, Outcome};
use brownout::permit::Permit;
use brownout::plan::RetryPolicy;
use brownout::plan::workload::{Arrival, Client, HttpClient, OkWhen, Operation, Request, Workload};
use brownout::run::Recorder;
use brownout::run::secrets::Secrets;
use brownout::seed::Seed;
use brownout::units::{Rate, Span};
use brownout::workload::{Load, LoadSpec};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let mut table = Table::default();
    println!("{}\n", machine());
    if wants("throughput") {
        throughput(&mut table)?;
    }
    if wants("memory") {
        memory(&mut table)?;
    }
    if wants("lateness") {
        lateness(&mut table)?;
    }
    if wants("stall") {
        stall(&mut table)?;
    }
    table.print();
    Ok(())
}

/// As many users as wrk has connections, who never rest.
const FLAT_OUT: Arrival = Arrival::Users { count: 64, think: Span(Duration::ZERO) };

/// Requests a second and CPU a request, flat out on 64 connections.
fn throughput(table: &mut Table) -> Result<()> {
    let nginx = Nginx::start()?;
    let wrk = wrk(nginx.address)?;
    let ran = run(nginx.address, FLAT_OUT, Duration::from_secs(10), |_| {})?;
    let again = wrk.max(self::wrk(nginx.address)?);
    let rate = ran.records.ok as f64 / ran.elapsed.as_secs_f64();
    let cpu = ran.load_cpu.as_secs_f64() * 1e6 / ran.records.all as f64;
    table.row("wrk, one thread, 64 connections", format!("{again:.0} requests/s"), "the baseline", true);
    table.row("ours, 64 users on two threads", format!("{rate:.0} requests/s"), "≥ 40,000", rate >= 40_000.0);
    table.row("… CPU of the load's threads a request", format!("{cpu:.1} µs"), "≤ 25 µs", cpu <= 25.0);
    table.row("… records dropped, failed", format!("{}, {}", ran.dropped, ran.records.failed), "0, 0", ran.clean());
    Ok(())
}

/// A minute flat out: what is recorded must not stay in memory.
fn memory(table: &mut Table) -> Result<()> {
    let nginx = Nginx::start()?;
    let ran = run(nginx.address, FLAT_OUT, Duration::from_secs(60), |_| {})?;
    let (early, late) = (ran.rss[9], ran.rss[59]);
    let most = ran.rss.iter().copied().max().unwrap_or(0);
    table.row(
        &format!("memory with {} records in 60 s: after 10 s, after 60 s, at most", ran.records.all),
        format!("{}, {}, {} MiB", early >> 20, late >> 20, most >> 20),
        "≤ 100 MiB, constant",
        most <= 100 << 20 && late <= early + (8 << 20),
    );
    table.row("… records dropped, failed", format!("{}, {}", ran.dropped, ran.records.failed), "0, 0", ran.clean());
    Ok(())
}

/// How late operations start, at rates that leave the machine idle in between.
fn lateness(table: &mut Table) -> Result<()> {
    let nginx = Nginx::start()?;
    for (rate, p50, p99) in [(5_000.0, 0.06, 0.3), (10_000.0, f64::INFINITY, 1.0)] {
        let arrival = Arrival::Constant(Rate::per_second(rate)?);
        let mut ran = run(nginx.address, arrival, Duration::from_secs(6), |_| {})?;
        let (own_p50, own_p99) = (quantile(&mut ran.records.lateness, 0.5), quantile(&mut ran.records.lateness, 0.99));
        let goal = if p50.is_finite() { format!("≤ {p50} / {p99} ms") } else { format!("p99 ≤ {p99} ms") };
        table.row(
            &format!("lateness at {rate}/s, p50 / p99"),
            format!("{own_p50:.3} / {own_p99:.3} ms"),
            &goal,
            own_p50 <= p50 && own_p99 <= p99,
        );
        let most = ran.records.starts_in_a_millisecond.values().copied().max().unwrap_or(0);
        let expected = rate / 1000.0;
        let bursts = ran.records.starts_in_a_millisecond.values().filter(|n| **n as f64 > 2.0 * expected).count();
        let share = bursts as f64 / ran.records.starts_in_a_millisecond.len() as f64;
        table.row(
            "… milliseconds with over twice their share of starts; the most in one",
            format!("{:.2} %; {most}", share * 100.0),
            "< 1 %",
            share < 0.01,
        );
        table.row("… dropped, failed", format!("{}, {}", ran.dropped, ran.records.failed), "0, 0", ran.clean());
    }
    Ok(())
}

/// A server that stands still for 2 s in 10 s at 1,000/s. Operations due in it wait for its end: of 10,000, 2,000
/// wait evenly between 0 and 2 s, so p90 is 1.0 s and p99 1.9 s.
fn stall(table: &mut Table) -> Result<()> {
    let nginx = Nginx::start()?;
    let pid = nginx.pid();
    let arrival = Arrival::Constant(Rate::per_second(1000.0)?);
    let mut ran = run(nginx.address, arrival, Duration::from_secs(10), move |begin| {
        begin.sleep(Duration::from_secs(4));
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
        begin.sleep(Duration::from_secs(6));
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
    })?;
    let (p90, p99) = (quantile(&mut ran.records.latency, 0.9), quantile(&mut ran.records.latency, 0.99));
    let within = |ms: f64, truth: f64| (ms / truth - 1.0).abs() <= 0.02;
    table.row("2 s stall in 10 s at 1,000/s, p90", format!("{p90:.0} ms"), "1,000 ms ± 2 %", within(p90, 1000.0));
    table.row("… p99", format!("{p99:.0} ms"), "1,900 ms ± 2 %", within(p99, 1900.0));
    let sent = ran.records.all;
    table.row("… sent", format!("{sent} of 10000"), "all", sent == 10_000 && ran.clean());
    Ok(())
}

/// What one run of the generator left.
struct Ran {
    records: Records,
    dropped: u64,
    elapsed: Duration,
    load_cpu: Duration,
    /// Resident memory after each second of load.
    rss: Vec<u64>,
}

impl Ran {
    fn clean(&self) -> bool {
        self.dropped == 0 && self.records.failed == 0
    }
}

/// The start of a run, to count from.
struct Begin {
    clock: RunClock,
    at: Moment,
}

impl Begin {
    fn sleep(&self, since: Duration) {
        thread::sleep((self.at + since).saturating_since(self.clock.now()));
    }
}

fn run(
    address: SocketAddr,
    arrival: Arrival,
    length: Duration,
    meanwhile: impl FnOnce(&Begin) + Send + 'static,
) -> Result<Ran> {
    let clock = RunClock::start();
    let begin = clock.now() + Duration::from_millis(200);
    let folder = tempfile::tempdir()?;
    let recorder = Recorder::start(folder.path(), clock, Secrets::default(), Vec::new())?;
    let load = Load::start(LoadSpec {
        name: "bench".into(),
        plan: workload(arrival),
        target: address.to_string(),
        endpoint: None,
        named: None,
        link: Some("bench-nginx".into()),
        seed: Seed(7),
        clock,
        begin,
        end: begin + length,
        sink: recorder.sink(),
        conn_of: Arc::new(|local| Some(u64::from(local.port()))),
        permit: Permit::default(),
        max_rate: None,
    })?;
    let aside = thread::spawn(move || meanwhile(&Begin { clock, at: begin }));
    let begun = Begin { clock, at: begin };
    let mut rss = Vec::new();
    for second in 1..=length.as_secs() {
        begun.sleep(Duration::from_secs(second));
        rss.push(self::rss());
    }
    let load_cpu = cpu_of_threads("load-");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(load.drained());
    aside.join().map_err(|_| "the one aside panicked")?;
    let dropped = load.health().dropped;
    drop(load);
    recorder.finish();
    if let Some(failure) = recorder.failure() {
        return Err(failure.into());
    }
    let records = Records::read(&folder.path().join(ATTEMPTS_FILE))?;
    Ok(Ran { records, dropped, elapsed: length, load_cpu, rss })
}

fn workload(arrival: Arrival) -> Workload {
    let request = Request {
        method: "GET".into(),
        path: "/".into(),
        headers: Default::default(),
        body: None,
        ok: OkWhen { status: vec![(200, 299)], body_contains: None },
        class: "read".into(),
        place_header: "x-place".into(),
    };
    let client = HttpClient {
        connect_timeout: None,
        pool_max_idle: 1024,
        pool_idle_timeout: Span(Duration::from_secs(90)),
        ca: None,
        resolve: Default::default(),
        tls: Default::default(),
    };
    Workload {
        to: "nginx".into(),
        labels: Default::default(),
        client: Client::Http(client),
        arrival,
        operation: Operation::Request(Box::new(request)),
        attempt_timeout: Span(Duration::from_secs(5)),
        deadline: Span(Duration::from_secs(10)),
        retry: RetryPolicy::none(),
        max_in_flight: 10_000,
    }
}

/// What was recorded.
#[derive(Default)]
struct Records {
    all: u64,
    ok: u64,
    failed: u64,
    /// Milliseconds.
    latency: Vec<f64>,
    lateness: Vec<f64>,
    starts_in_a_millisecond: BTreeMap<u64, u64>,
}

impl Records {
    fn read(file: &Path) -> Result<Records> {
        let mut text = BufReader::new(zstd::Decoder::new(fs::File::open(file)?)?);
        let (mut line, mut records) = (Vec::new(), Records::default());
        while text.read_until(b'\n', &mut line)? > 0 {
            let Attempt { due, start, end, outcome, .. } = serde_json::from_slice(&line)?;
            line.clear();
            records.all += 1;
            *(if outcome == Outcome::Ok { &mut records.ok } else { &mut records.failed }) += 1;
            let ms = |to: Moment| to.saturating_since(due).as_secs_f64() * 1e3;
            records.latency.push(ms(end));
            records.lateness.push(ms(start));
            *records.starts_in_a_millisecond.entry(start.0 / 1_000_000).or_default() += 1;
        }
        Ok(records)
    }
}

fn quantile(values: &mut [f64], quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (quantile * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// One nginx process without a master, on a free port of loopback.
struct Nginx {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Result<Nginx> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let dir = folder.path().display();
        let config = format!(
            "daemon off; master_process off; error_log {dir}/error.log; pid {dir}/pid;
            events {{ worker_connections 16384; }}
            http {{
                access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
                client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
                uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
                server {{ listen {address} backlog=4096; location / {{ return 200 \"hello\"; }} }}
            }}"
        );
        fs::write(folder.path().join("nginx.conf"), config)?;
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let process = Command::new(nginx.ok_or("nginx is not installed")?)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()?;
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Ok(Nginx { process, address, _folder: folder });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("nginx does not answer".into())
    }

    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.process)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Requests a second of wrk with one thread.
fn wrk(address: SocketAddr) -> Result<f64> {
    let out = Command::new("wrk").args(["-t1", "-c64", "-d4s", &format!("http://{address}/")]).output()?;
    let text = String::from_utf8(out.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).ok_or("wrk said nothing")?;
    Ok(line.trim().parse()?)
}

/// Time on a core so far of our threads whose names begin so.
fn cpu_of_threads(prefix: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
    let of_load = tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(prefix)));
    of_load
        .filter_map(|task| fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// Our resident memory in bytes.
fn rss() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} × {}, Linux {}, load average {}",
        thread::available_parallelism().map_or(0, usize::from),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default()
    )
}

#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    fn row(&mut self, what: &str, measured: String, goal: &str, reached: bool) {
        let reached = if reached { "yes" } else { "**no**" };
        self.0.push([what.into(), measured, goal.into(), reached.into()]);
    }

    fn print(&self) {
        println!("| | measured | goal | reached |\n|---|---|---|---|");
        for row in &self.0 {
            println!("| {} |", row.join(" | "));
        }
    }
}
