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
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::Consistency;
use crate::clock::Moment;
use crate::event::{Access, Applied, Outcome};

use insert::Insert;
use list::List;
use register::Register;
use value::{Row, Shown, Tag};

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
    keys: HashMap<u64, Key, Hashed>,
    inserts: HashMap<u64, Insert, Hashed>,
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

/// An attempt as the checks read it: what it did to which key. Its texts are borrowed, for millions pass.
#[derive(Clone, Copy, Debug)]
pub struct Touch<'a> {
    /// The operation's number.
    pub op: u64,
    /// The attempt's number within it.
    pub attempt: u32,
    /// What it does.
    pub access: Access,
    /// To what.
    pub key: &'a str,
    /// The value written or read.
    pub value: Option<&'a str>,
    /// The value that a write replaced, as the system returned it.
    pub replaced: Option<&'a str>,
    /// When it started.
    pub start: Moment,
    /// When it ended.
    pub end: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it took effect.
    pub applied: Applied,
}

/// A read that waits to be judged.
#[derive(Debug)]
struct Read {
    key: u64,
    start: u64,
    end: u64,
    value: ReadValue,
}

/// What a read returned, without a text of its own where that can be.
#[derive(Debug)]
enum ReadValue {
    Nothing,
    Tag(Tag),
    Text(Box<str>),
}

impl ReadValue {
    fn of(value: Option<&str>) -> ReadValue {
        match value {
            None | Some("") => ReadValue::Nothing,
            Some(value) => Tag::parse(value).map_or_else(|| ReadValue::Text(value.into()), ReadValue::Tag),
        }
    }
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

    /// Takes the next attempt; one that sent nothing is passed over.
    pub fn touch(&mut self, touch: &Touch<'_>) {
        if !touch.outcome.was_sent() {
            return;
        }
        match touch.access {
            Access::Read | Access::Scan => {
                if touch.outcome == Outcome::Ok {
                    self.read(touch);
                }
            }
            Access::Write | Access::Append | Access::Insert => self.write(touch),
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

    fn write(&mut self, touch: &Touch<'_>) {
        let own = Tag::of(touch.op, touch.attempt);
        let tells = |value: &str| match touch.access {
            Access::Insert => Insert::op_of(value) == own.map(|own| own.op),
            _ => Tag::parse(value) == own,
        };
        // A value that does not tell who wrote it leaves no trace to follow.
        let Some(tag) = own.filter(|_| touch.value.is_none_or(tells)) else {
            if touch.applied == Applied::Yes {
                self.found.acknowledged();
                self.found.masked(touch.end, || {
                    format!("{}: operation {} wrote a value that does not tell who wrote it", touch.key, touch.op)
                });
            }
            return;
        };
        match touch.access {
            Access::Insert => {
                self.inserts.entry(hash(touch.key)).or_insert_with(|| Insert::new(tag.op)).touch(touch);
            }
            Access::Append => self.key(touch.key).list.append(Row::new(tag, touch, None)),
            _ => {
                let replaced = touch.replaced.filter(|_| touch.applied == Applied::Yes);
                self.key(touch.key).register.write(tag, touch, replaced);
            }
        }
    }

    fn read(&mut self, touch: &Touch<'_>) {
        let (start, end) = (touch.start.0, touch.end.0);
        if touch.access == Access::Scan {
            self.key(touch.key).list.scan(start, touch.value.unwrap_or_default());
        } else {
            self.reads.push_back(Read { key: hash(touch.key), start, end, value: ReadValue::of(touch.value) });
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
            insert.read(read.start, matches!(read.value, ReadValue::Nothing), &mut self.found);
        } else if let Some(key) = self.keys.get_mut(&read.key) {
            key.read = true;
            let value = match &read.value {
                ReadValue::Nothing => Shown::Nothing,
                ReadValue::Tag(tag) => Shown::Value(*tag),
                ReadValue::Text(text) => key.register.foreign(text),
            };
            key.register.read(&key.name, read.start, read.end, value, &mut self.found);
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

/// What is hashed already is its own hash.
type Hashed = BuildHasherDefault<Same>;

#[derive(Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes are hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
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
