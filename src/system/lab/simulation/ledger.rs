//! What clients were told, and whether it was true.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::system::lab::store::Store;

/// What a simulated run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) acknowledged: usize,
    /// Acknowledged and not there at the end.
    pub(super) lost: usize,
    /// Acknowledged, and a primary answered later that it is not there.
    pub(super) stale_reads: usize,
    /// Read from a secondary, and not there at the end.
    pub(super) dirty_reads: usize,
    /// Writes that a second node accepted in the same term.
    pub(super) second_primaries: usize,
    /// Writes of an engine that were taken after a newer one had begun to serve, and acknowledged.
    pub(super) second_engines: usize,
    pub(super) failovers: usize,
    pub(super) moves: usize,
    pub(super) rebuilds: usize,
    pub(super) migrations: usize,
    pub(super) serves_at_the_end: bool,
}

impl Outcome {
    /// What must not be, in any run.
    pub(super) fn broken(&self) -> bool {
        self.lost + self.stale_reads + self.dirty_reads + self.second_primaries + self.second_engines > 0
    }
}

/// Everything that the checks need to know of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) outcome: Outcome,
    acknowledged: Vec<u64>,
    last: Moment,
    read: Vec<u64>,
    accepted_by: BTreeMap<u64, usize>,
    newest_engine: u64,
}

impl Ledger {
    /// A node accepted a write as the primary of a term, perhaps of an engine; whether that engine had been replaced.
    pub(super) fn accepts(&mut self, node: usize, term: u64, epoch: Option<u64>) -> bool {
        let first = *self.accepted_by.entry(term).or_insert(node);
        self.outcome.second_primaries += usize::from(first != node);
        epoch.is_some_and(|epoch| epoch < self.newest_engine)
    }

    /// An engine serves from now on.
    pub(super) fn serves(&mut self, epoch: u64) {
        self.newest_engine = self.newest_engine.max(epoch);
    }

    /// A client is told that its write is done.
    pub(super) fn acknowledges(&mut self, key: u64, of_a_replaced_engine: bool, now: Moment) {
        self.outcome.second_engines += usize::from(of_a_replaced_engine);
        self.acknowledged.push(key);
        self.last = now;
    }

    /// A key that was acknowledged last.
    pub(super) fn known(&self) -> Option<u64> {
        self.acknowledged.last().copied()
    }

    /// A client who only reads was told what a secondary has.
    pub(super) fn was_read(&mut self, key: u64) {
        self.read.push(key);
    }

    /// The end: what is there, where clients are sent; and the moment since when writes must have been acknowledged.
    pub(super) fn close(mut self, data: Option<&Store>, since: Moment) -> Outcome {
        if let Some(data) = data {
            let missing = |key: &&u64| data.register(&key.to_string()).is_none();
            self.outcome.lost = self.acknowledged.iter().filter(missing).count();
            self.outcome.dirty_reads = self.read.iter().filter(missing).count();
            self.outcome.serves_at_the_end = self.last > since;
        }
        self.outcome.acknowledged = self.acknowledged.len();
        self.outcome
    }
}
