//! How exact are injected faults? The error of the round trip, of rates and of volumes, through our proxy alone.
//!
//! Beside each latency stands what this machine allows just then: a direct round trip plus the error of one kernel
//! timer, or the same pings without a proxy.
//!
//! Arguments that are part of a row's name select rows; `THROUGH=server` goes through `brownout proxy`.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::plan::fault::{Law, Toxic};
use brownout::units::{ByteRate, Share, Span};
use support::{Process, many_pings, ourselves, ping_pong, proxied, quantile};

fn main() {
    if support::play_role() {
        return;
    }
    support::raise_descriptor_limit();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    println!("{}\n", support::machine());
    println!("| fault | measured | wanted | without us |");
    println!("|---|---|---|---|");
    let (_server, echo) = ourselves(&["role", "echo"], 1);

    for (ms, count, bound) in [(1u64, 2000, "≤ 60 / 150 µs"), (5, 600, "≤ 90 / 250 µs"), (100, 40, "≤ 220 / 400 µs")]
    {
        let name = format!("latency {ms} ms, error p50 / p99");
        if wants(&name) {
            let (_proxy, address) = faulty(latency(ms), echo[0]);
            let errors: Vec<f64> = ping_pong(address, count).iter().map(|took| took - ms as f64 * 1e3).collect();
            let direct = paced_pings(echo[0], Duration::from_millis(ms), count);
            let (timer, ping): (Vec<f64>, Vec<f64>) = direct.into_iter().unzip();
            println!(
                "| {name} | {} µs | {bound} | timer {} µs, round trip {} µs |",
                pair(&errors),
                pair(&timer),
                pair(&ping)
            );
        }
    }
    for (connections, bound) in [(1000, "≤ 220 µs / 1.5 ms"), (3000, "≤ 0.5 / 3 ms")] {
        let name = format!("100 ms on {connections} connections, a ping each 100 ms, error p50 / p99");
        if wants(&name) {
            let (_proxy, address) = faulty(latency(100), echo[0]);
            let errors: Vec<f64> = many_pings(address, connections, 20).iter().map(|took| took - 1e5).collect();
            let direct = many_pings(echo[0], connections, 20);
            println!("| {name} | {} µs | {bound} | round trip {} µs |", pair(&errors), pair(&direct));
        }
    }
    if wants("10 MB through 100 ms") {
        let (_proxy, address) = faulty(latency(100), echo[0]);
        let times: Vec<f64> = (0..5).map(|_| arrivals(address, 10_000_000).last().unwrap().0).collect();
        println!("| 10 MB through 100 ms | {:.3} s | ≤ 0.115 s | |", quantile(&times, 0.5));
    }
    if wants("bandwidth 1,000 KB/s") {
        let (_proxy, address) = faulty(Toxic::Bandwidth { rate: ByteRate(1_000_000) }, echo[0]);
        let arrived = arrivals(address, 2_000_000);
        let (first, last) = (arrived[0].0, arrived.last().unwrap().0);
        let windows = ((last - first) / 0.01) as usize;
        let mut bytes = vec![0.0; windows + 1];
        for (at, size) in &arrived {
            bytes[(((at - first) / 0.01) as usize).min(windows)] += *size as f64;
        }
        // The first and the last window are cut.
        let rates: Vec<f64> = bytes[1..windows].iter().map(|bytes| bytes / 10_000.0 * 100.0).collect();
        println!(
            "| bandwidth 1,000 KB/s, rate in 10 ms windows, p1 – p99 (min – max) | {:.0} – {:.0} % ({:.0} – {:.0} %) | 90 – 110 % | |",
            quantile(&rates, 0.01),
            quantile(&rates, 0.99),
            quantile(&rates, 0.0),
            quantile(&rates, 1.0)
        );
    }
    if wants("bandwidth 100,000 KB/s") {
        let (_proxy, address) = faulty(Toxic::Bandwidth { rate: ByteRate(100_000_000) }, echo[0]);
        let arrived = arrivals(address, 200_000_000);
        let bytes: usize = arrived[1..].iter().map(|(_, size)| size).sum();
        let rate = bytes as f64 / (arrived.last().unwrap().0 - arrived[0].0) / 1e8 * 100.0;
        println!("| bandwidth 100,000 KB/s, mean | {rate:.1} % | 99 – 101 % | |");
    }
}

/// Median and 99th percentile.
fn pair(values: &[f64]) -> String {
    format!("{:.0} / {:.0}", quantile(values, 0.5), quantile(values, 0.99))
}

/// Direct round trips after a rest each: how late the kernel's timer ended the rest, and how long the round trip
/// took, in microseconds. The rest lets the cores fall asleep, as an injected latency does.
fn paced_pings(address: SocketAddr, rest: Duration, count: usize) -> Vec<(f64, f64)> {
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let clock = RunClock::start();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let micros = |from, to: brownout::clock::Moment| to.saturating_since(from).as_nanos() as f64 / 1e3;
    (0..count)
        .map(|_| {
            let due = clock.now() + rest;
            std::thread::sleep(rest);
            let woken = clock.now();
            stream.write_all(&[1; 64]).unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
            (micros(due, woken), micros(woken, clock.now()))
        })
        .collect()
}

fn latency(ms: u64) -> Toxic {
    let add = Span(Duration::from_millis(ms));
    Toxic::Latency { add, jitter: Span(Duration::ZERO), law: Law::Uniform, correlation: Share::NONE }
}

/// Our proxy in a process of its own, with a toxic on the way down.
fn faulty(toxic: Toxic, upstream: SocketAddr) -> (Process, SocketAddr) {
    let (process, addresses) = proxied(Some(&toxic), &[upstream]);
    (process, addresses[0])
}

/// When the bytes of a stream arrive, in seconds since it was asked for.
fn arrivals(address: SocketAddr, bytes: usize) -> Vec<(f64, usize)> {
    let mut stream = TcpStream::connect(address).unwrap();
    let clock = RunClock::start();
    stream.write_all(format!("send {bytes}\n").as_bytes()).unwrap();
    let (mut arrived, mut buffer, mut total) = (Vec::new(), vec![0; 65536], 0);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            size => {
                arrived.push((clock.now().as_secs_f64(), size));
                total += size;
            }
        }
    }
    assert_eq!(total, bytes);
    arrived
}
