//! Writes down what happens, on threads of its own.
//!
//! ```text
//! load threads ──try_send──▶ bounded queue ──▶ recorder thread ──▶ one zstd frame a second ──▶ attempts.jsonl.zst
//! anyone ───────event()────▶ bounded queue ──▶ events thread ────▶ events.jsonl (a line each, at once)
//!                                                            └───▶ listeners (live view)
//! ```
//!
//! Neither the load nor the conductor waits for the disk: a full queue drops the record and counts it, and one dropped
//! record makes the run inconclusive; an event that cannot be queued ends the run.

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

/// Events that may wait for the disk: some come each second, so a disk that has not taken so many will take none.
const EVENT_QUEUE: usize = 65_536;

/// A frame is closed after this time, so that a crash loses no more.
const FRAME: Duration = Duration::from_secs(1);

/// A run folder grows no further than this; 1 GiB holds some 30 million attempts.
pub const SIZE_CAP: u64 = 4 * 1024 * 1024 * 1024;

/// zstd's fastest ordinary level: 400 MB/s, a seventh of the size.
const LEVEL: i32 = 1;

/// A live reader of events; called on the thread that writes them, once they are written.
pub type Listener = Box<dyn Fn(&Event) + Send>;

/// What waits for the recorder's thread.
#[expect(clippy::large_enum_variant, reason = "nearly all are attempts; a box would be one allocation each")]
enum Job {
    Attempt(Attempt),
    /// Close the frame now, then answer.
    Flush(SyncSender<()>),
}

/// What waits for the events thread.
#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
enum Note {
    Event(Event),
    /// Answer once all before it is written.
    Flush(SyncSender<()>),
}

/// The recorder of one run.
pub struct Recorder {
    clock: RunClock,
    secrets: Secrets,
    events: Mutex<Option<SyncSender<Note>>>,
    queue: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    events_thread: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
    failure: Arc<OnceLock<String>>,
}

impl Recorder {
    /// Opens the two files in `dir` and starts a thread for each.
    pub fn start(dir: &Path, clock: RunClock, secrets: Secrets, listeners: Vec<Listener>) -> io::Result<Arc<Recorder>> {
        let events_file = File::create(dir.join(EVENTS_FILE))?;
        let attempts = File::create(dir.join(ATTEMPTS_FILE))?;
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let failure = Arc::new(OnceLock::new());
        let (events, notes) = mpsc::sync_channel(EVENT_QUEUE);
        let events_thread = std::thread::Builder::new().name("events".into()).spawn({
            let (failure, secrets) = (failure.clone(), secrets.clone());
            move || write_events(&notes, events_file, &secrets, &listeners, &failure)
        })?;
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
            events: Mutex::new(Some(events)),
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            events_thread: Mutex::new(Some(events_thread)),
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
        let queue = self.events.lock().expect("no holder panics");
        // After the end there is nobody to tell.
        let Some(queue) = &*queue else { return };
        if queue.try_send(Note::Event(Event { at, what })).is_err() {
            self.failure.get_or_init(|| format!("cannot write {EVENTS_FILE}: the disk takes nothing"));
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

    /// Waits until all that was told so far stands in the files. It blocks.
    pub fn flush(&self) {
        let (answer, answered) = mpsc::sync_channel(2);
        let queue = self.queue.lock().expect("no holder panics").clone();
        let events = self.events.lock().expect("no holder panics").clone();
        // A thread that is gone has written all that it will write.
        let _ = queue.map(|queue| queue.send(Job::Flush(answer.clone())).is_ok());
        let _ = events.map(|events| events.send(Note::Flush(answer)).is_ok());
        // Each answers once, and lets go.
        while answered.recv().is_ok() {}
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why writing failed, if it did; the run must end.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Closes the last frame and writes the last event. All sinks must be gone, or this waits for them. It blocks.
    pub fn finish(&self) {
        drop(self.queue.lock().expect("no holder panics").take());
        if let Some(thread) = self.thread.lock().expect("no holder panics").take() {
            let _ = thread.join();
        }
        self.finish_events();
    }

    fn finish_events(&self) {
        drop(self.events.lock().expect("no holder panics").take());
        if let Some(thread) = self.events_thread.lock().expect("no holder panics").take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    /// A run that ends in a panic leaves all its events too.
    fn drop(&mut self) {
        self.finish_events();
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

/// Takes events until every sender is gone.
fn write_events(
    notes: &Receiver<Note>,
    mut file: File,
    secrets: &Secrets,
    listeners: &[Listener],
    failure: &OnceLock<String>,
) {
    for note in notes {
        let event = match note {
            Note::Event(event) => event,
            Note::Flush(answer) => {
                let _ = answer.send(());
                continue;
            }
        };
        // One write a line: a crash leaves whole lines.
        let written = serde_json::to_string(&event)
            .map_err(io::Error::from)
            .and_then(|line| file.write_all(format!("{}\n", secrets.conceal(&line)).as_bytes()));
        if let Err(error) = written {
            failure.get_or_init(|| format!("cannot write {EVENTS_FILE}: {error}"));
        }
        listeners.iter().for_each(|listener| listener(&event));
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
