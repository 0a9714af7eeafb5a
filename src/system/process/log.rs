//! What a server writes: kept in its file, told as events, searched for what the experiment waits for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Moment;
use crate::event::What;
use crate::plan::system::LogMilestone;
use crate::system::Teller;

/// A longer line is cut into several.
const LINE_LIMIT: u64 = 16 * 1024;

/// So many lines a second and node become events; the others stand in the node's file alone.
const EVENTS_PER_SECOND: u32 = 200;

/// So many last lines are shown when a process dies at its start.
const LAST_LINES: usize = 20;

/// Reading what is left in a pipe takes far less.
const SETTLED_WITHIN: Duration = Duration::from_millis(200);

/// Replaces the values of secrets by their names.
pub type Conceal = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What is done with a node's output.
#[derive(Clone)]
pub struct LogSink {
    /// The node.
    pub node: Arc<str>,
    /// Where events go.
    pub teller: Teller,
    /// Applied to each line before it goes anywhere.
    pub conceal: Conceal,
    /// Lines that tell a milestone.
    pub milestones: Arc<[LogMilestone]>,
    /// The text that makes the node ready.
    pub ready_text: Option<Arc<str>>,
}

/// What is known of a node's output while it is read.
#[derive(Debug)]
pub struct Log {
    last: Mutex<VecDeque<String>>,
    ready: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

impl Log {
    /// Reads `pipe` to its end on a thread of its own, and writes it to `file`.
    pub fn follow(pipe: OwnedFd, file: File, sink: LogSink) -> io::Result<Arc<Log>> {
        let log = Arc::new(Log {
            last: Mutex::default(),
            ready: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        });
        let following = Arc::clone(&log);
        std::thread::Builder::new().name(format!("log {}", sink.node)).spawn(move || {
            following.read(BufReader::new(File::from(pipe)), file, &sink);
            following.ended.send_replace(true);
        })?;
        Ok(log)
    }

    /// Its last lines, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Returns when the text was read that makes the node ready.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// What a process that has died said last may still be in its pipe: returns when everything was read, or after a
    /// moment, as somebody else may hold the other end.
    pub async fn settle(&self) {
        let _ = timeout(SETTLED_WITHIN, self.ended.subscribe().wait_for(|ended| *ended)).await;
    }

    fn read(&self, mut from: impl BufRead, mut file: File, sink: &LogSink) {
        let mut bound = RateBound::default();
        let mut bytes = Vec::new();
        // Any error ends it, as the end of the pipe does: there is nothing left to read.
        while matches!(from.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut bytes), Ok(1..)) {
            let at = sink.teller.now();
            let line = (sink.conceal)(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
            bytes.clear();
            self.take(at, line, &mut file, &mut bound, sink);
        }
        if bound.suppressed > 0 {
            sink.teller.tell(suppressed(&sink.node, bound.suppressed));
        }
    }

    fn take(&self, at: Moment, line: String, file: &mut File, bound: &mut RateBound, sink: &LogSink) {
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!(node = &*sink.node, %error, "a line of the log is not in its file");
        }
        let node = || sink.node.to_string();
        for known in sink.milestones.iter().filter(|known| line.contains(&known.contains)) {
            let (milestone, source) = (known.milestone, format!("log of {}", sink.node));
            sink.teller.tell_at(at, What::Milestone { milestone, node: node(), source });
        }
        if sink.ready_text.as_ref().is_some_and(|text| line.contains(&**text)) {
            self.ready.send_replace(true);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back(line.clone());
        if last.len() > LAST_LINES {
            last.pop_front();
        }
        drop(last);
        let (tell, missed) = bound.admit(at);
        if missed > 0 {
            sink.teller.tell_at(at, suppressed(&sink.node, missed));
        }
        if tell {
            sink.teller.tell_at(at, What::Log { node: node(), line });
        }
    }
}

fn suppressed(node: &str, lines: u64) -> What {
    What::Note { text: format!("{lines} lines of {node} came too fast to be events; its log has them") }
}

/// Lets so many lines a second pass and counts the others.
#[derive(Debug, Default)]
struct RateBound {
    second: u64,
    passed: u32,
    suppressed: u64,
}

impl RateBound {
    /// Whether this line passes, and how many of the seconds before did not.
    fn admit(&mut self, at: Moment) -> (bool, u64) {
        let second = at.0 / Duration::from_secs(1).as_nanos() as u64;
        let mut missed = 0;
        if second != self.second {
            missed = std::mem::take(&mut self.suppressed);
            (self.second, self.passed) = (second, 0);
        }
        self.passed += 1;
        let passes = self.passed <= EVENTS_PER_SECOND;
        self.suppressed += u64::from(!passes);
        (passes, missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_bounded_and_counted() {
        let mut bound = RateBound::default();
        let passed = (0..500).filter(|_| bound.admit(Moment::from_millis(100)).0).count();
        assert_eq!(passed, EVENTS_PER_SECOND as usize);
        assert_eq!(bound.admit(Moment::from_millis(1_100)), (true, 300), "the next second passes and tells the rest");
        assert_eq!(bound.admit(Moment::from_millis(1_200)), (true, 0));
    }
}
