//! What a key-value node keeps: registers, lists, and the journal of changes that made them.
//!
//! A node's disk is modelled: it is this value, which outlives the node's threads. A change is on disk before
//! anybody is told of it, and a kill loses only what was in memory.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Where an entry stands in the journal: its number from 1, and the term in which it was made.
///
/// The two together name one entry for ever; two journals that agree in their last position agree in all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Its number; 0 before the first entry.
    pub index: u64,
    /// The term of the primary that made it.
    pub term: u64,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Sets a register.
    Put {
        /// Which.
        key: String,
        /// To what.
        value: String,
    },
    /// Adds to the end of a list.
    Push {
        /// Which.
        key: String,
        /// What.
        item: String,
    },
    /// Nothing but the beginning of a primary's term.
    Begin,
}

/// A change in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub at: Position,
    /// What.
    pub change: Change,
}

/// A register's value and the entry that set it: who reads it may have to wait until that entry is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The index of the entry that made it so.
    pub index: u64,
}

/// Registers and lists, with the tail of the journal that made them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    last: Position,
    registers: HashMap<String, Versioned<String>>,
    lists: HashMap<String, Versioned<Vec<String>>>,
    /// The newest entries, oldest first; a snapshot carries none.
    #[serde(skip)]
    tail: VecDeque<Entry>,
}

/// So many entries are kept to bring a follower up to date; one that is further behind gets the whole store.
const TAIL: usize = 16_384;

/// Why entries do not fit behind a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The journal ends before them.
    Gap,
    /// The journal holds something else in their place, or more than its primary has.
    Diverged,
}

impl Store {
    /// The last entry's position.
    pub fn last(&self) -> Position {
        self.last
    }

    /// A register, with the entry that set it.
    pub fn register(&self, key: &str) -> Option<&Versioned<String>> {
        self.registers.get(key)
    }

    /// A list, with the entry that changed it last.
    pub fn list(&self, key: &str) -> Option<&Versioned<Vec<String>>> {
        self.lists.get(key)
    }

    /// Every register, in no order.
    pub fn registers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.registers.iter().map(|(key, versioned)| (key.as_str(), versioned.value.as_str()))
    }

    /// Adds a change made in `term` at the end; returns its index.
    pub fn push(&mut self, term: u64, change: Change) -> u64 {
        let at = Position { index: self.last.index + 1, term };
        self.apply(Entry { at, change });
        at.index
    }

    /// Entries after `after` to send to a follower whose journal ends there, at most `limit`;
    /// none if its end is not in our tail, so that it needs the whole store.
    pub fn entries_after(&self, after: Position, limit: usize) -> Option<Vec<Entry>> {
        if after == self.last {
            return Some(Vec::new());
        }
        let first = self.tail.front()?.at.index;
        // The entry at `after` itself must be in the tail to compare its term; the empty journal needs no comparison.
        let start = if after.index == 0 { 1 } else { after.index };
        if start < first || after.index >= self.last.index {
            return None;
        }
        let skip = (after.index + 1 - first) as usize;
        let agrees = after.index == 0 || self.tail[skip - 1].at == after;
        agrees.then(|| self.tail.iter().skip(skip).take(limit).cloned().collect())
    }

    /// Adds entries that a primary of `term` sent, whose predecessor is `prev`. Entries that are here already are skipped.
    /// Returns up to which index this journal agrees with the primary's.
    pub fn follow(&mut self, term: u64, prev: Position, entries: Vec<Entry>) -> Result<u64, Misfit> {
        let agreed = entries.last().map_or(prev, |entry| entry.at).index;
        if prev.index > self.last.index {
            return Err(Misfit::Gap);
        }
        if prev == self.last {
            entries.into_iter().for_each(|entry| self.apply(entry));
            return Ok(agreed);
        }
        // An overlap: a batch sent again, or the journal of a former primary which goes on where the new one begins.
        if prev.index > 0 && self.position(prev.index) != Some(prev) {
            return Err(Misfit::Diverged);
        }
        for entry in entries {
            if entry.at.index > self.last.index {
                self.apply(entry);
            } else if self.position(entry.at.index) != Some(entry.at) {
                return Err(Misfit::Diverged);
            }
        }
        let more_than_the_primary_has = self.last.index > agreed && self.last.term != term;
        if more_than_the_primary_has { Err(Misfit::Diverged) } else { Ok(agreed) }
    }

    /// The store without its tail, to send whole.
    pub fn snapshot(&self) -> Store {
        Store { tail: VecDeque::new(), ..self.clone() }
    }

    /// The position of an entry, as far as it is known still.
    pub fn position(&self, index: u64) -> Option<Position> {
        if index == self.last.index {
            return Some(self.last);
        }
        let first = self.tail.front()?.at.index;
        self.tail.get(usize::try_from(index.checked_sub(first)?).ok()?).map(|entry| entry.at)
    }

    fn apply(&mut self, entry: Entry) {
        debug_assert_eq!(entry.at.index, self.last.index + 1, "the journal has no gaps");
        let index = entry.at.index;
        match entry.change.clone() {
            Change::Put { key, value } => drop(self.registers.insert(key, Versioned { value, index })),
            Change::Push { key, item } => {
                let list = self.lists.entry(key).or_insert(Versioned { value: Vec::new(), index });
                list.value.push(item);
                list.index = index;
            }
            Change::Begin => {}
        }
        self.last = entry.at;
        self.tail.push_back(entry);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(n: u64) -> Change {
        Change::Put { key: format!("k{}", n % 3), value: n.to_string() }
    }

    fn of(terms: &[u64]) -> Store {
        let mut store = Store::default();
        for (n, term) in terms.iter().enumerate() {
            store.push(*term, put(n as u64));
        }
        store
    }

    const fn position(index: u64, term: u64) -> Position {
        Position { index, term }
    }

    #[test]
    fn a_follower_that_gets_the_entries_after_its_end_is_equal() {
        let primary = of(&[1, 1, 1, 2, 2]);
        for have in 0..=5 {
            let mut follower = of(&[1, 1, 1, 2, 2][..have]);
            let entries = primary.entries_after(follower.last(), 100).unwrap();
            let prev = follower.last();
            assert_eq!(follower.follow(2, prev, entries), Ok(5));
            assert_eq!(follower, primary);
        }
    }

    #[test]
    fn a_batch_sent_again_changes_nothing() {
        let primary = of(&[1, 1, 1]);
        let mut follower = of(&[1, 1, 1]);
        let again = primary.entries_after(position(1, 1), 1).unwrap();
        assert_eq!(follower.follow(1, position(1, 1), again), Ok(2), "agreed up to the batch's end, not further");
        assert_eq!(follower, primary);
    }

    #[test]
    fn a_gap_is_told() {
        let primary = of(&[1, 1, 1, 1]);
        let entries = primary.entries_after(position(3, 1), 9).unwrap();
        assert_eq!(of(&[1]).follow(1, position(3, 1), entries), Err(Misfit::Gap));
    }

    #[test]
    fn a_former_primary_with_a_tail_of_its_own_has_diverged() {
        let new_primary = of(&[1, 1, 2]);
        let mut former = of(&[1, 1, 1, 1]);
        let entries = new_primary.entries_after(position(2, 1), 9).unwrap();
        assert_eq!(former.clone().follow(2, position(2, 1), entries), Err(Misfit::Diverged));
        // Even before the new primary has written anything.
        assert_eq!(former.follow(2, position(2, 1), Vec::new()), Err(Misfit::Diverged));
    }

    #[test]
    fn whose_end_is_unknown_gets_no_entries() {
        assert_eq!(of(&[1, 1, 2]).entries_after(position(3, 1), 9), None, "another term");
        assert_eq!(of(&[1, 1]).entries_after(position(5, 1), 9), None, "longer than ours");
    }

    #[test]
    fn the_tail_is_bounded_and_a_snapshot_replaces_it() {
        let mut store = Store::default();
        for n in 0..(TAIL as u64 + 10) {
            store.push(1, put(n));
        }
        assert_eq!(store.tail.len(), TAIL);
        assert_eq!(store.entries_after(position(3, 1), 9), None);
        let mut copy: Store = serde_json::from_str(&serde_json::to_string(&store.snapshot()).unwrap()).unwrap();
        assert_eq!(copy.last(), store.last());
        assert_eq!(copy.register("k1"), store.register("k1"));
        store.push(1, put(1));
        let entries = store.entries_after(copy.last(), 9).unwrap();
        assert_eq!(copy.follow(1, copy.last(), entries), Ok(TAIL as u64 + 11));
    }
}
