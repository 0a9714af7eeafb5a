//! Names are looked up off the engine threads: a slow name server holds up nobody but who asked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Lookups at once; further ones wait. A name server that hangs takes some 10 s to give up.
const THREADS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that ask the system's resolver; started at the first name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolver {
    queue: Arc<Mutex<Option<Sender<Job>>>>,
}

impl Resolver {
    /// Looks up `host:port` and calls back from another thread.
    pub(crate) fn look_up(&self, upstream: String, then: impl FnOnce(Vec<SocketAddr>) + Send + 'static) {
        let job: Job = Box::new(move || then(upstream.to_socket_addrs().map(Iterator::collect).unwrap_or_default()));
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // The threads end when the last clone of the resolver, and with it the sender, is gone.
        let _ = queue.get_or_insert_with(start).send(job);
    }
}

fn start() -> Sender<Job> {
    let (sender, receiver) = channel();
    let receiver: Arc<Mutex<Receiver<Job>>> = Arc::new(Mutex::new(receiver));
    for _ in 0..THREADS {
        let receiver = Arc::clone(&receiver);
        let started = thread::Builder::new().name("brownout-names".into()).spawn(move || {
            loop {
                let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match job {
                    Ok(job) => job(),
                    Err(_) => return,
                }
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "could not start a thread for name lookups");
        }
    }
    sender
}
