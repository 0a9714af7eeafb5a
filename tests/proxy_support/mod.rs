//! Servers, links and patience for tests of the proxy.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::event::Mechanism;
use brownout::plan::fault::{Direction, Law, Toxic};
use brownout::proxy::{Engine, Link, LinkSpec, Strike};
use brownout::units::{Share, Span};

/// An engine of one thread.
pub fn engine() -> Engine {
    Engine::start(1, RunClock::start()).unwrap()
}

/// An engine for each mechanism that works here.
pub fn engines() -> Vec<Engine> {
    engines_of(1)
}

/// The same with so many threads each.
pub fn engines_of(threads: usize) -> Vec<Engine> {
    let natural = Engine::start(threads, RunClock::start()).unwrap();
    let stall = Engine::with_mechanism(threads, RunClock::start(), Mechanism::Stall).unwrap();
    if natural.mechanism() == Mechanism::Stall { vec![natural] } else { vec![natural, stall] }
}

/// Serves each connection on a thread of its own.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Sends everything back, and the end as well.
pub fn echo(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = stream;
    let _ = writer.set_nodelay(true);
    let _ = std::io::copy(&mut reader, &mut writer);
    let _ = writer.shutdown(Shutdown::Write);
}

pub fn link(engine: &Engine, upstream: SocketAddr) -> Link {
    engine.open(LinkSpec::new("test", upstream.to_string())).unwrap()
}

pub fn toxic(direction: Direction, toxic: Toxic) -> Strike {
    Strike::Toxic { direction, toxic, share: 1.0 }
}

pub fn latency(add: Duration) -> Toxic {
    Toxic::Latency { add: Span(add), jitter: Span(Duration::ZERO), law: Law::Uniform, correlation: Share::NONE }
}

/// Waits up to 5 s for something that takes milliseconds on an idle machine.
pub fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2500 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("not within 5 s: {what}");
}
