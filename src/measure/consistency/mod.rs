//! What became of a workload's writes: lost, masked, doubled, resurrected, or hidden behind stale reads.
//!
//! Every write attempt has a value of its own, `op.attempt`, and every insert a key of its own and the value `op`. So
//! each value that shows up later (replaced by a write, returned by a read, or standing there in the end) tells where
//! it came from, and which acknowledged ones should have stood in its place.
//!
//! ```text
//! attempts ──▶ Checker ──▶ per key: register (chain of replaced values)
//!                     │             list     (positions in the longest known list)
//!                     └──▶ insert   (a key each: there or not)         ──▶ finish: Consistency
//! ```
//!
//! The checks never accuse a correct system: they conclude a loss only from what no linearizable register could have
//! shown, whichever of the attempts without an answer took effect, and whenever.

mod insert;
mod list;
mod register;
mod value;

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Consistency;
use crate::clock::Moment;
use crate::event::{Access, Applied, Attempt, Outcome};

use insert::Insert;
use list::List;
use register::Register;
use value::{Row, Tag};

/// Examples kept at most, and of each kind at most.
const EXAMPLES: usize = 20;
const EXAMPLES_OF_A_KIND: usize = 4;

/// Reads wait for so many later records before they are judged: records of several threads come almost, not quite,
/// in the order of their ends.
const REORDERED: usize = 16_384;

/// Checks the writes of one workload. Attempts first, as the file has them, then the final reads.
///
/// Holds 24 bytes for each attempt to write a register or a list, 24 for each inserted key, and a window of reads.
#[derive(Debug, Default)]
pub struct Checker {
    keys: HashMap<u64, Key>,
    inserts: HashMap<u64, Insert>,
    reads: VecDeque<Read>,
    found: Found,
}

/// A key that is written more than once.
#[derive(Debug)]
struct Key {
    name: Box<str>,
    register: Register,
    list: List,
    final_read: FinalRead,
    /// Whether a read of it was answered.
    read: bool,
}

/// What the final read said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum FinalRead {
    /// It was not answered, or there was none.
    #[default]
    Unanswered,
    /// This stood there; none: nothing.
    Answered(Option<Box<str>>),
}

/// A read that waits to be judged.
#[derive(Debug)]
struct Read {
    key: u64,
    start: u64,
    end: u64,
    value: Option<Box<str>>,
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Found {
    figures: Consistency,
    /// How many examples there are of each kind.
    kinds: HashMap<&'static str, usize>,
}

impl Found {
    fn acknowledged(&mut self) {
        self.figures.acknowledged += 1;
    }

    fn lost(&mut self, acknowledged: Moment, example: impl FnOnce() -> String) {
        self.figures.lost += 1;
        self.figures.lost_acknowledged.push(acknowledged);
        self.example("lost", example);
    }

    fn masked(&mut self, acknowledged: Moment, example: impl FnOnce() -> String) {
        self.figures.masked += 1;
        self.figures.masked_acknowledged.push(acknowledged);
        self.example("masked", example);
    }

    fn unseen(&mut self) {
        self.figures.overwritten_unseen += 1;
    }

    fn duplicate(&mut self, example: impl FnOnce() -> String) {
        self.figures.duplicates += 1;
        self.example("duplicate", example);
    }

    fn resurrected(&mut self, example: impl FnOnce() -> String) {
        self.figures.resurrected += 1;
        self.example("resurrected", example);
    }

    fn read_checked(&mut self) {
        self.figures.reads_checked += 1;
    }

    fn key_seen(&mut self) {
        self.figures.keys_seen += 1;
    }

    fn stale(&mut self, age_ns: u64, example: impl FnOnce() -> String) {
        self.figures.stale_reads += 1;
        self.figures.staleness_max_ns = self.figures.staleness_max_ns.max(age_ns);
        self.example("stale", example);
    }

    fn example(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        let of_kind = self.kinds.entry(kind).or_default();
        if *of_kind < EXAMPLES_OF_A_KIND && self.figures.examples.len() < EXAMPLES {
            *of_kind += 1;
            self.figures.examples.push(example());
        }
    }
}

impl Checker {
    /// A checker that has seen nothing.
    pub fn new() -> Checker {
        Checker::default()
    }

    /// Takes the next attempt. Those without a state, and those that sent nothing, are passed over.
    pub fn attempt(&mut self, attempt: &Attempt) {
        let (Some(access), Some(key)) = (attempt.access, attempt.key.as_deref()) else { return };
        if !attempt.outcome.was_sent() {
            return;
        }
        match access {
            Access::Read | Access::Scan => {
                if attempt.outcome == Outcome::Ok {
                    self.read(attempt, access, key);
                }
            }
            Access::Write | Access::Append | Access::Insert => self.write(attempt, access, key),
        }
        if self.reads.len() > REORDERED {
            self.judge_read();
        }
    }

    /// Takes the final read of a key: what stands there, none if nothing. Without an answer nothing is known of it.
    ///
    /// Final reads come after the last attempt.
    pub fn final_read(&mut self, key: &str, value: Option<&str>, answered: bool) {
        self.judge_reads();
        let hash = hash(key);
        if let Some(insert) = self.inserts.get_mut(&hash) {
            insert.final_read(key, value, answered, &mut self.found);
        } else if let Some(key) = self.keys.get_mut(&hash)
            && answered
        {
            key.final_read = FinalRead::Answered(value.map(Into::into));
        }
    }

    /// What became of the writes.
    pub fn finish(mut self) -> Consistency {
        self.judge_reads();
        let mut inserts: Vec<Insert> = self.inserts.into_values().collect();
        inserts.sort_unstable_by_key(|insert| insert.op());
        for insert in inserts {
            insert.finish(&mut self.found);
        }
        let mut keys: Vec<Key> = self.keys.into_values().collect();
        keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for Key { name, register, list, final_read, read } in keys {
            let written = register.is_written() || list.is_written();
            let seen = read || register.was_told() || list.was_scanned() || final_read != FinalRead::Unanswered;
            if written && seen {
                self.found.key_seen();
            }
            register.finish(&name, &final_read, &mut self.found);
            list.finish(&name, &final_read, &mut self.found);
        }
        let mut figures = self.found.figures;
        figures.lost_acknowledged.sort_unstable();
        figures.masked_acknowledged.sort_unstable();
        figures
    }

    fn write(&mut self, attempt: &Attempt, access: Access, key: &str) {
        let own = Tag::of(attempt.op, attempt.attempt);
        let tells = |value: &str| match access {
            Access::Insert => Insert::op_of(value) == own.map(|own| own.op),
            _ => Tag::parse(value) == own,
        };
        // A value that does not tell who wrote it leaves no trace to follow.
        let Some(tag) = own.filter(|_| attempt.value.as_deref().is_none_or(tells)) else {
            if attempt.applied == Applied::Yes {
                self.found.acknowledged();
                self.found.masked(attempt.end, || {
                    format!("{key}: operation {} wrote a value that does not tell who wrote it", attempt.op)
                });
            }
            return;
        };
        match access {
            Access::Insert => {
                self.inserts.entry(hash(key)).or_insert_with(|| Insert::new(tag.op)).attempt(attempt);
            }
            Access::Append => self.key(key).list.append(Row::new(tag, attempt, None)),
            _ => {
                let replaced = attempt.replaced.as_deref().filter(|_| attempt.applied == Applied::Yes);
                self.key(key).register.write(tag, attempt, replaced);
            }
        }
    }

    fn read(&mut self, attempt: &Attempt, access: Access, key: &str) {
        let value = attempt.value.clone();
        let (start, end) = (attempt.start.0, attempt.end.0);
        if access == Access::Scan {
            self.key(key).list.scan(start, value.as_deref().unwrap_or_default());
        } else {
            self.reads.push_back(Read { key: hash(key), start, end, value });
        }
    }

    fn judge_reads(&mut self) {
        while !self.reads.is_empty() {
            self.judge_read();
        }
    }

    /// Judges the read that has waited longest.
    fn judge_read(&mut self) {
        let Some(read) = self.reads.pop_front() else { return };
        if let Some(insert) = self.inserts.get(&read.key) {
            insert.read(read.start, read.value.as_deref(), &mut self.found);
        } else if let Some(key) = self.keys.get_mut(&read.key) {
            key.read = true;
            key.register.read(&key.name, read.start, read.end, read.value.as_deref(), &mut self.found);
        }
    }

    fn key(&mut self, name: &str) -> &mut Key {
        self.keys.entry(hash(name)).or_insert_with(|| Key {
            name: name.into(),
            register: Register::default(),
            list: List::default(),
            final_read: FinalRead::Unanswered,
            read: false,
        })
    }
}

/// A key as 64 bits: of ten million keys, two share one with a probability below 0.0003 %.
fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// A value for people.
fn shown(value: Option<&str>) -> String {
    match value {
        None | Some("") => "nothing".to_owned(),
        Some(value) if value.chars().count() > 60 => format!("{}…", value.chars().take(60).collect::<String>()),
        Some(value) => value.to_owned(),
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
