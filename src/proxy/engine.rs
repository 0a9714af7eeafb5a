//! The threads that move bytes.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use socket2::{Domain, Socket, Type};

use super::ProxyError;
use super::kernel;
use super::link::{Link, LinkSpec};
use super::peers::Peers;
use super::shared::LinkShared;
use super::worker::{LinkState, Orders, Port, Post, Resolver, Upstream, Worker};
use crate::clock::{Moment, RunClock};
use crate::event::Mechanism;

/// Engine threads unless told otherwise: more would only take cores from what is measured.
const THREADS: usize = 2;

/// Owns its threads; a link has its home on one of them. Dropping it closes everything.
#[derive(Debug)]
pub struct Engine {
    threads: Vec<(Orders, JoinHandle<()>)>,
    next: AtomicUsize,
    ids: Arc<AtomicU64>,
    mechanism: Mechanism,
    clock: RunClock,
}

impl Engine {
    /// Starts so many threads; 0: two, or one where there is one core. Silent faults are made by the kernel if a
    /// probe shows that it does so.
    pub fn start(threads: usize, clock: RunClock) -> Result<Engine, ProxyError> {
        let mechanism = if kernel::can_drop() { Mechanism::KernelDrop } else { Mechanism::Stall };
        Engine::with_mechanism(threads, clock, mechanism)
    }

    /// The same with a mechanism of one's choice.
    pub fn with_mechanism(threads: usize, clock: RunClock, mechanism: Mechanism) -> Result<Engine, ProxyError> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { THREADS.min(cores) } else { threads };
        let resolver = Resolver::default();
        let mut engine = Engine {
            threads: Vec::with_capacity(threads),
            next: AtomicUsize::new(0),
            ids: Arc::new(AtomicU64::new(1)),
            mechanism,
            clock,
        };
        for index in 0..threads {
            let (worker, orders) =
                Worker::new(clock, mechanism, resolver.clone()).map_err(|source| ProxyError::Start { source })?;
            let handle = thread::Builder::new()
                .name(format!("brownout-proxy-{index}"))
                .spawn(move || worker.run())
                .map_err(|source| ProxyError::Start { source })?;
            engine.threads.push((orders, handle));
        }
        Ok(engine)
    }

    /// The present moment, by the clock that the engine was started with.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// How silent faults are made.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Opens a link whose home is the next thread in turn. The others serve it too, unless HTTP is read on it: its
    /// faults count requests over all connections, in one order.
    pub fn open(&self, spec: LinkSpec) -> Result<Link, ProxyError> {
        let failed = |source| ProxyError::Listen { link: Arc::clone(&spec.name), listen: spec.listen, source };
        let listener = bind(spec.listen).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?.as_socket().unwrap_or(spec.listen);
        let served_by = if spec.http { 1 } else { self.threads.len() };
        let shared = Arc::new(LinkShared {
            name: Arc::clone(&spec.name),
            addr,
            counters: (0..served_by).map(|_| Arc::default()).collect(),
            peers: Peers::default(),
        });
        let home = self.next.fetch_add(1, Ordering::Relaxed);
        let settle = |post: usize, port| {
            let (orders, _) = &self.threads[(home + post) % self.threads.len()];
            let upstream = Upstream::parse(&spec.upstream);
            let state = LinkState::new(
                Arc::clone(&shared),
                post,
                port,
                upstream,
                spec.permit.clone(),
                spec.http,
                spec.tls.clone(),
            );
            let opened = orders.ask(move |worker| worker.open_link(state));
            let key = opened.ok_or_else(|| ProxyError::Closed { link: Arc::clone(&spec.name) })?.map_err(failed)?;
            Ok(Post { orders: orders.clone(), key })
        };
        // As soon as its home listens, it may hand connections over.
        let mut link = Link {
            shared: Arc::clone(&shared),
            posts: Vec::new(),
            ids: Arc::clone(&self.ids),
            changes: Mutex::default(),
        };
        for post in 1..served_by {
            link.posts.push(settle(post, None)?);
        }
        let others = link.posts.iter().cloned().zip(shared.counters[1..].iter().cloned());
        let port = Port::new(OwnedFd::from(listener), others);
        link.posts.insert(0, settle(0, Some(port))?);
        Ok(link)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for (orders, _) in &self.threads {
            orders.send(Worker::stop);
        }
        for (_, handle) in self.threads.drain(..) {
            let _ = handle.join();
        }
    }
}

/// A socket bound to an address, not yet listening, with a port of its own choice that it keeps while it does not.
fn bind(listen: SocketAddr) -> std::io::Result<Socket> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        std::io::Result::Ok(socket)
    };
    let socket = open(listen)?;
    if listen.port() != 0 {
        return Ok(socket);
    }
    // A port that the kernel chose is lost when the socket stops listening; one that was asked for is not. Both
    // sockets may be bound to it, since neither listens.
    let chosen = socket.local_addr()?.as_socket().unwrap_or(listen);
    open(chosen)
}
