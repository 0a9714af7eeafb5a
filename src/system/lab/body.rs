//! What runs in a lab's node, and what stays of it while nothing runs.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::host::Host;
use crate::system::{LinkAddresses, Teller};

/// What a node of a lab is made of: it runs while the node lives, and keeps its disk when the node does not.
pub trait Body: fmt::Debug + Send {
    /// Starts it with what is on its disk.
    fn launch(&mut self, ground: Ground) -> io::Result<Host>;

    /// Its thread has ended, in whatever way: what is to survive is taken from it.
    fn ended(&mut self);

    /// Raised at each start and each promotion; still told when it is gone.
    fn incarnation(&self) -> u64;

    /// Its role now; none while it is not alive.
    fn role(&self) -> Option<&'static str>;

    /// Whether it tells by itself that it is ready, once it knows its place. Otherwise it is ready when it starts.
    fn tells_ready(&self) -> bool {
        false
    }
}

/// Everything that a node needs to begin.
#[derive(Debug)]
pub struct Ground {
    /// The node's name.
    pub name: String,
    /// Its socket, listening.
    pub listener: std::net::TcpListener,
    /// Every link of the run, those of workloads among them.
    pub links: Arc<LinkAddresses>,
    /// Where it tells what happens.
    pub teller: Teller,
}

impl Ground {
    /// Where to dial for another node: the link `NAME-TO`, so that whatever befalls the hop befalls what is sent.
    pub fn hop(&self, to: &str) -> io::Result<SocketAddr> {
        let link = format!("{}-{to}", self.name);
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the lab describes no link `{link}`"));
        self.links.get(&link).copied().ok_or_else(missing)
    }
}

/// Who works in a body while it lives; a lab keeps a copy of those that it asks.
pub struct Live<T>(Arc<Mutex<Option<Arc<T>>>>);

impl<T> Live<T> {
    /// Somebody begins to work.
    pub fn set(&self, worker: &Arc<T>) {
        *self.lock() = Some(Arc::clone(worker));
    }

    /// Who works now.
    pub fn get(&self) -> Option<Arc<T>> {
        self.lock().clone()
    }

    /// Takes away who worked.
    pub fn take(&self) -> Option<Arc<T>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live(Arc::clone(&self.0))
    }
}

impl<T> Default for Live<T> {
    fn default() -> Live<T> {
        Live(Arc::default())
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.lock().is_some()).finish()
    }
}
