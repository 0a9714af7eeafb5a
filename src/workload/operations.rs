//! What each operation is, as a function of its number alone.
//!
//! Operation 7 reads the same key whichever thread runs it and whatever happened before. Only reads of inserted keys
//! follow the run: they choose among keys that were acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::Access;
use crate::plan::workload::Operation;
use crate::seed::Dice;

/// The operations of one workload.
#[derive(Debug)]
pub struct Operations {
    kind: Kind,
    /// In front of each key: workloads on one system do not share keys.
    prefix: Box<str>,
    dice: Dice,
    read: Arc<str>,
    other: Arc<str>,
}

#[derive(Debug)]
enum Kind {
    /// Without a state: all alike.
    Plain,
    Keyed {
        write: Access,
        read: Access,
        reads: f64,
        keys: u64,
        /// A bit for each key that was written.
        written: Box<[AtomicU64]>,
    },
    Insert {
        reads: f64,
        /// Operations begun: 0..this.
        begun: AtomicU64,
        acknowledged: Recent,
    },
}

/// What one operation does.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its class in figures.
    pub class: Arc<str>,
    /// What it does to its key, if it has one.
    pub access: Option<Access>,
    /// The key.
    pub key: Option<Box<str>>,
    /// The key's number.
    number: u64,
}

impl Job {
    /// Whether it changes the system; for a `request`, whether its class is not `read`.
    pub fn writes(&self) -> bool {
        match self.access {
            Some(Access::Read | Access::Scan) => false,
            Some(Access::Write | Access::Insert | Access::Append) => true,
            None => &*self.class == "write",
        }
    }
}

impl Operations {
    /// The operations of the workload of this name.
    pub fn new(plan: &Operation, workload: &str, dice: Dice) -> Operations {
        let keyed = |write, read, keys: u32, reads: f64| Kind::Keyed {
            write,
            read,
            reads,
            keys: u64::from(keys.max(1)),
            written: (0..keys.max(1).div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        };
        let (kind, other) = match plan {
            Operation::Request(request) => (Kind::Plain, request.class.as_str()),
            Operation::Echo { .. } => (Kind::Plain, "echo"),
            Operation::Register(register) => {
                (keyed(Access::Write, Access::Read, register.keys, register.reads.get()), "write")
            }
            Operation::Append(append) => {
                (keyed(Access::Append, Access::Scan, append.keys, append.reads.get()), "write")
            }
            Operation::Insert(insert) => {
                let acknowledged = Recent::default();
                (Kind::Insert { reads: insert.reads.get(), begun: AtomicU64::new(0), acknowledged }, "write")
            }
        };
        Operations { kind, prefix: format!("{workload}-").into(), dice, read: "read".into(), other: other.into() }
    }

    /// What operation `op` does.
    pub fn job(&self, op: u64) -> Job {
        match &self.kind {
            Kind::Plain => Job { class: Arc::clone(&self.other), access: None, key: None, number: 0 },
            Kind::Keyed { write, read, reads, keys, .. } => {
                let mut dice = self.dice.nth(op);
                let is_read = dice.chance(*reads);
                self.keyed(if is_read { *read } else { *write }, dice.below(*keys))
            }
            Kind::Insert { reads, acknowledged, .. } => {
                let mut dice = self.dice.nth(op);
                if dice.chance(*reads) {
                    // Before anything is acknowledged it reads its own key, which nobody writes.
                    self.keyed(Access::Read, acknowledged.any(&mut dice).unwrap_or(op))
                } else {
                    self.keyed(Access::Insert, op)
                }
            }
        }
    }

    fn keyed(&self, access: Access, number: u64) -> Job {
        let is_read = matches!(access, Access::Read | Access::Scan);
        let class = Arc::clone(if is_read { &self.read } else { &self.other });
        Job { class, access: Some(access), key: Some(self.key(number)), number }
    }

    fn key(&self, number: u64) -> Box<str> {
        format!("{}{number}", self.prefix).into()
    }

    /// What an attempt writes, if it writes.
    ///
    /// Every attempt of one operation carries the operation's number plus its own, so that a double application
    /// shows. An insert carries the operation's alone: to repeat it is no change, so a system may acknowledge it.
    pub fn value(&self, job: &Job, op: u64, attempt: u32) -> Option<Box<str>> {
        match job.access? {
            Access::Write | Access::Append => Some(format!("{op}.{attempt}").into()),
            Access::Insert => Some(op.to_string().into()),
            Access::Read | Access::Scan => None,
        }
    }

    /// An attempt of this operation is about to be sent: its key counts as written.
    pub fn on_send(&self, job: &Job) {
        if !job.writes() {
            return;
        }
        match &self.kind {
            Kind::Plain => {}
            Kind::Keyed { written, .. } => {
                written[(job.number / 64) as usize].fetch_or(1 << (job.number % 64), Ordering::Relaxed);
            }
            Kind::Insert { begun, .. } => {
                begun.fetch_max(job.number + 1, Ordering::Relaxed);
            }
        }
    }

    /// An operation was acknowledged.
    pub fn on_ok(&self, job: &Job) {
        if let Kind::Insert { acknowledged, .. } = &self.kind
            && job.access == Some(Access::Insert)
        {
            acknowledged.push(job.number);
        }
    }

    /// Reads of every key that was written, to be done when the load has ended.
    pub fn final_reads(&self) -> Vec<Job> {
        match &self.kind {
            Kind::Plain => vec![],
            Kind::Keyed { read, keys, written, .. } => (0..*keys)
                .filter(|key| written[(key / 64) as usize].load(Ordering::Relaxed) >> (key % 64) & 1 == 1)
                .map(|key| self.keyed(*read, key))
                .collect(),
            Kind::Insert { begun, .. } => (0..begun.load(Ordering::Relaxed))
                .filter(|op| self.job(*op).access == Some(Access::Insert))
                .map(|op| self.keyed(Access::Read, op))
                .collect(),
        }
    }

    /// A draw of the operation's own, for the placeholder `{random}`.
    pub fn random(&self, op: u64, attempt: u32) -> u64 {
        let mut dice = self.dice.nth(op);
        // The first two draws are the operation's class and key.
        (0..attempt.saturating_add(2)).fold(0, |_, _| dice.bits())
    }
}

/// The latest few thousand of an endless series, to draw from; bounded whatever the run's length.
#[derive(Debug)]
struct Recent {
    ring: Box<[AtomicU64]>,
    pushed: AtomicU64,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent { ring: (0..4096).map(|_| AtomicU64::new(u64::MAX)).collect(), pushed: AtomicU64::new(0) }
    }
}

impl Recent {
    fn push(&self, number: u64) {
        let at = self.pushed.fetch_add(1, Ordering::Relaxed) % self.ring.len() as u64;
        self.ring[at as usize].store(number, Ordering::Relaxed);
    }

    fn any(&self, dice: &mut Dice) -> Option<u64> {
        let held = self.pushed.load(Ordering::Relaxed).min(self.ring.len() as u64);
        let number = self.ring.get(dice.below(held) as usize)?.load(Ordering::Relaxed);
        // Counted, but not stored yet.
        (number != u64::MAX).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::workload::{Append, Insert, Register};
    use crate::seed::Seed;
    use crate::units::Share;

    fn operations(plan: Operation) -> Operations {
        Operations::new(&plan, "orders", Seed(7).stream("orders/operations"))
    }

    fn share(share: f64) -> Share {
        Share::new(share).unwrap()
    }

    #[test]
    fn an_operation_is_a_function_of_its_number() {
        let plan = Operation::Register(Register { keys: 10, reads: share(0.2) });
        let forward: Vec<Job> = (0..100).map(|op| operations(plan.clone()).job(op)).collect();
        let operations = operations(plan);
        let backward: Vec<Job> = (0..100).rev().map(|op| operations.job(op)).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
    }

    #[test]
    fn keys_are_uniform_and_the_share_of_reads_holds() {
        let operations = operations(Operation::Register(Register { keys: 10, reads: share(0.2) }));
        let jobs: Vec<Job> = (0..10_000).map(|op| operations.job(op)).collect();
        let reads = jobs.iter().filter(|job| job.access == Some(Access::Read)).count();
        // Standard errors are 40 of 2,000 and 30 of 1,000; five of them are allowed.
        assert!((1_800..2_200).contains(&reads), "{reads}");
        for key in 0..10 {
            let hits = jobs.iter().filter(|job| job.number == key).count();
            assert!((850..1_150).contains(&hits), "key {key}: {hits}");
        }
    }

    #[test]
    fn each_attempt_of_a_write_has_a_value_of_its_own_and_an_insert_has_one() {
        let registers = operations(Operation::Register(Register { keys: 10, reads: Share::NONE }));
        let write = registers.job(41);
        assert_eq!(registers.value(&write, 41, 1).as_deref(), Some("41.1"));
        assert_eq!(registers.value(&write, 41, 2).as_deref(), Some("41.2"));
        let inserts = operations(Operation::Insert(Insert { reads: Share::NONE }));
        let insert = inserts.job(41);
        assert_eq!(insert.key.as_deref(), Some("orders-41"));
        assert_eq!(inserts.value(&insert, 41, 2).as_deref(), Some("41"));
    }

    #[test]
    fn every_key_that_was_sent_is_read_in_the_end_and_no_other() {
        let lists = operations(Operation::Append(Append { keys: 100, reads: share(0.5) }));
        let mut sent: Vec<u64> = vec![];
        for op in 0..40 {
            let job = lists.job(op);
            lists.on_send(&job);
            if job.writes() {
                sent.push(job.number);
            }
        }
        sent.sort_unstable();
        sent.dedup();
        let read: Vec<u64> = lists.final_reads().iter().map(|job| job.number).collect();
        assert_eq!(read, sent);
        assert!(lists.final_reads().iter().all(|job| job.access == Some(Access::Scan)));
    }

    #[test]
    fn inserted_keys_are_read_only_once_acknowledged() {
        let inserts = operations(Operation::Insert(Insert { reads: share(0.5) }));
        let first_read = (0..).map(|op| (op, inserts.job(op))).find(|(_, job)| !job.writes()).unwrap();
        assert_eq!(first_read.0, first_read.1.number, "nothing is acknowledged yet");
        let written: Vec<u64> = (0..20).filter(|op| inserts.job(*op).writes()).collect();
        for op in &written {
            let job = inserts.job(*op);
            inserts.on_send(&job);
            inserts.on_ok(&job);
        }
        let reads: Vec<Job> = (100..200).map(|op| inserts.job(op)).filter(|job| !job.writes()).collect();
        assert!(reads.iter().all(|job| written.contains(&job.number)));
        let last: Vec<u64> = inserts.final_reads().iter().map(|job| job.number).collect();
        assert_eq!(last, written);
    }
}
