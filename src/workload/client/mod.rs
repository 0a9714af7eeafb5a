//! The clients: each carries one attempt through a real library with its own pool.
//!
//! How to add one: a file with a type that implements [`Client`], a variant of `plan::workload::Client`, and a line
//! in `Load::start`. The loop gives the time-out by dropping the attempt, so a client must not put a connection back
//! in its pool before the answer was read whole, and must tell through [`Progress`] what is known by then.

mod dial;
pub mod http;
pub mod retry_after;
pub mod tcp;

use std::borrow::Cow;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::operations::{Job, Operations};
use crate::clock::Moment;
use crate::event::{Applied, Outcome};

/// One attempt: what differs between clients.
pub trait Client: Send + Sync + 'static {
    /// Carries one attempt to its end. Dropped when its time is over.
    fn attempt<'a>(&'a self, call: Call<'a>, progress: Arc<Progress>) -> impl Future<Output = Answer> + Send + 'a;
}

/// What one attempt is to do.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The operation's number.
    pub op: u64,
    /// The attempt's number within it, from 1.
    pub attempt: u32,
    /// What the operation does.
    pub job: &'a Job,
    /// The value to write, if it writes.
    pub value: Option<Box<str>>,
    /// The workload's operations, for the attempt's own random bits.
    pub operations: &'a Operations,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How.
    pub outcome: Outcome,
    /// Whether it took effect.
    pub applied: Applied,
    /// The protocol's own code.
    pub code: Option<u16>,
    /// Who served it.
    pub place: Option<Arc<str>>,
    /// What was read.
    pub value: Option<Box<str>>,
    /// What a write replaced; empty if nothing.
    pub replaced: Option<Box<str>>,
    /// How long the system asks to wait.
    pub retry_after: Option<Duration>,
    /// Why it failed.
    pub why: Option<Cow<'static, str>>,
}

impl Answer {
    /// An answer that says no more than this.
    pub fn new(outcome: Outcome, applied: Applied) -> Answer {
        Answer { outcome, applied, code: None, place: None, value: None, replaced: None, retry_after: None, why: None }
    }

    /// Acknowledged.
    pub fn ok() -> Answer {
        Answer::new(Outcome::Ok, Applied::Yes)
    }

    /// The same, with a reason.
    pub fn because(self, why: impl Into<Cow<'static, str>>) -> Answer {
        Answer { why: Some(why.into()), ..self }
    }
}

/// What is known of an attempt while it is open, and remains known when it is dropped.
#[derive(Debug)]
pub struct Progress {
    unsent: AtomicBool,
    connected: AtomicU64,
    first_byte: AtomicU64,
    conn: AtomicU64,
    link: OnceLock<Arc<str>>,
}

/// No moment, no connection.
const NONE: u64 = u64::MAX;

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            unsent: AtomicBool::new(false),
            connected: AtomicU64::new(NONE),
            first_byte: AtomicU64::new(NONE),
            conn: AtomicU64::new(NONE),
            link: OnceLock::new(),
        }
    }
}

impl Progress {
    /// From here on it waits for a connection of its own: nothing can have been sent.
    pub fn connecting(&self) {
        self.unsent.store(true, Ordering::Relaxed);
    }

    /// Its connection stands.
    pub fn connected(&self, at: Moment) {
        self.connected.store(at.0, Ordering::Relaxed);
        self.maybe_sent();
    }

    /// Something may have been sent.
    pub fn maybe_sent(&self) {
        self.unsent.store(false, Ordering::Relaxed);
    }

    /// The answer began.
    pub fn first_byte(&self, at: Moment) {
        self.first_byte.store(at.0, Ordering::Relaxed);
    }

    /// The number of its connection on its link, if that is known.
    pub fn on_connection(&self, conn: Option<u64>) {
        self.conn.store(conn.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// The link that it takes, where the workload has several.
    pub fn on_link(&self, link: &Arc<str>) {
        // An attempt has one connection; the first that is told is the one.
        let _ = self.link.set(Arc::clone(link));
    }

    /// Whether it took effect, if it ends without an answer.
    pub fn applied(&self) -> Applied {
        if self.unsent.load(Ordering::Relaxed) { Applied::No } else { Applied::Unknown }
    }

    pub(super) fn connected_at(&self) -> Option<Moment> {
        some(&self.connected).map(Moment)
    }

    pub(super) fn first_byte_at(&self) -> Option<Moment> {
        some(&self.first_byte).map(Moment)
    }

    pub(super) fn conn(&self) -> Option<u64> {
        some(&self.conn)
    }

    pub(super) fn link(&self) -> Option<Arc<str>> {
        self.link.get().cloned()
    }
}

fn some(value: &AtomicU64) -> Option<u64> {
    Some(value.load(Ordering::Relaxed)).filter(|value| *value != NONE)
}
