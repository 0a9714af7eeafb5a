//! Writes down what happens: attempts on a thread of its own, events as they come.
//!
//! ```text
//! load threads ──try_send──▶ bounded queue ──▶ recorder thread ──▶ one zstd frame a second ──▶ attempts.jsonl.zst
//! anyone ───────event()────▶ events.jsonl (a line each, at once) ──▶ listeners (live view)
//! ```
//!
//! The load never waits for the disk: a full queue drops the record and counts it, and one dropped record makes
//! the run inconclusive.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Moment, RunClock};
use crate::event::{ATTEMPTS_FILE, Attempt, EVENTS_FILE, Event, What};
use crate::workload::Sink;

use super::folder::{FREE_SPACE, free_space};
use super::secrets::Secrets;

/// Attempts that may wait for the recorder: 6 s of 10,000 a second, some 20 MB.
const QUEUE: usize = 65_536;

/// A frame is closed after this time, so that a crash loses no more.
const FRAME: Duration = Duration::from_secs(1);

/// A run folder grows no further than this; 1 GiB holds some 30 million attempts.
pub const SIZE_CAP: u64 = 4 * 1024 * 1024 * 1024;

/// zstd's fastest ordinary level: 400 MB/s, a seventh of the size.
const LEVEL: i32 = 1;

/// A live reader of events; called on the thread that reports them, so it must be quick.
pub type Listener = Box<dyn Fn(&Event) + Send + Sync>;

/// What waits for the recorder's thread.
#[expect(clippy::large_enum_variant, reason = "nearly all are attempts; a box would be one allocation each")]
enum Job {
    Attempt(Attempt),
    /// Close the frame now, then answer.
    Flush(SyncSender<()>),
}

/// The recorder of one run.
pub struct Recorder {
    clock: RunClock,
    secrets: Secrets,
    events: Mutex<File>,
    listeners: Vec<Listener>,
    queue: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
    failure: Arc<OnceLock<String>>,
}

impl Recorder {
    /// Opens the two files in `dir` and starts the thread.
    pub fn start(dir: &Path, clock: RunClock, secrets: Secrets, listeners: Vec<Listener>) -> io::Result<Arc<Recorder>> {
        let events = File::create(dir.join(EVENTS_FILE))?;
        let attempts = File::create(dir.join(ATTEMPTS_FILE))?;
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let failure = Arc::new(OnceLock::new());
        let thread = std::thread::Builder::new().name("recorder".into()).spawn({
            let (failure, dir, secrets) = (failure.clone(), dir.to_owned(), secrets.clone());
            move || {
                if let Err(error) = write_attempts(&receiver, attempts, &dir, &secrets) {
                    failure.get_or_init(|| format!("cannot write {ATTEMPTS_FILE}: {error}"));
                    // Records that still come are lost, and the run ends; draining keeps the senders free.
                    while receiver.recv().is_ok() {}
                }
            }
        })?;
        Ok(Arc::new(Recorder {
            clock,
            secrets,
            events: Mutex::new(events),
            listeners,
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            dropped: Arc::default(),
            failure,
        }))
    }

    /// The moment that [`event`](Recorder::event) would write now.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Writes down what happens now.
    pub fn event(&self, what: What) {
        self.event_at(self.now(), what);
    }

    /// Writes down what happened at a moment.
    pub fn event_at(&self, at: Moment, what: What) {
        let event = Event { at, what };
        let written = serde_json::to_string(&event).map_err(io::Error::from).and_then(|line| {
            let line = self.secrets.conceal(&line);
            let mut file = self.events.lock().expect("no writer panics while it holds the file");
            // One write a line: a crash leaves whole lines.
            file.write_all(format!("{line}\n").as_bytes())
        });
        if let Err(error) = written {
            self.failure.get_or_init(|| format!("cannot write {EVENTS_FILE}: {error}"));
        }
        for listener in &self.listeners {
            listener(&event);
        }
    }

    /// The run's secrets, to conceal them elsewhere too.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// A handle for a load thread.
    pub fn sink(&self) -> Arc<dyn Sink> {
        let queue = self.queue.lock().expect("no holder panics").clone();
        Arc::new(QueueSink { queue, dropped: self.dropped.clone() })
    }

    /// Waits until every attempt told so far stands in the file.
    pub fn flush(&self) {
        let queue = self.queue.lock().expect("no holder panics").clone();
        let (answer, answered) = mpsc::sync_channel(1);
        if queue.is_some_and(|queue| queue.send(Job::Flush(answer)).is_ok()) {
            let _ = answered.recv();
        }
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why writing failed, if it did; the run must end.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Closes the last frame. All sinks must be gone, or this waits for them.
    pub fn finish(&self) {
        drop(self.queue.lock().expect("no holder panics").take());
        if let Some(thread) = self.thread.lock().expect("no holder panics").take() {
            let _ = thread.join();
        }
    }
}

struct QueueSink {
    queue: Option<SyncSender<Job>>,
    dropped: Arc<AtomicU64>,
}

impl Sink for QueueSink {
    fn attempt(&self, attempt: Attempt) {
        let sent = self.queue.as_ref().is_some_and(|queue| queue.try_send(Job::Attempt(attempt)).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Takes attempts until every sender is gone; one zstd frame a second.
fn write_attempts(receiver: &Receiver<Job>, mut file: File, dir: &Path, secrets: &Secrets) -> io::Result<()> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut lines: Vec<u8> = Vec::with_capacity(1 << 20);
    let mut written = 0u64;
    let mut close_at = Instant::now() + FRAME;
    loop {
        let mut flushed = None;
        let more = match receiver.recv_timeout(close_at.saturating_duration_since(Instant::now())) {
            Ok(Job::Attempt(attempt)) => {
                if secrets.is_empty() {
                    serde_json::to_writer(&mut lines, &attempt)?;
                } else {
                    // A server may send a secret back, as a value or a place.
                    lines.extend_from_slice(secrets.conceal(&serde_json::to_string(&attempt)?).as_bytes());
                }
                lines.push(b'\n');
                true
            }
            Ok(Job::Flush(answer)) => {
                flushed = Some(answer);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        if more && flushed.is_none() && Instant::now() < close_at {
            continue;
        }
        if !lines.is_empty() {
            let frame = compressor.compress(&lines)?;
            file.write_all(&frame)?;
            written += frame.len() as u64;
            lines.clear();
        }
        if let Some(answer) = flushed {
            let _ = answer.send(());
        }
        if !more {
            return file.flush();
        }
        if written > SIZE_CAP {
            return Err(io::Error::other(format!("it has reached its cap of {}", crate::units::Bytes(SIZE_CAP))));
        }
        if free_space(dir)? < FREE_SPACE / 2 {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is nearly full"));
        }
        close_at = Instant::now() + FRAME;
    }
}
