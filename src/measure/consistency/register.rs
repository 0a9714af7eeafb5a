//! A register: one value, replaced whole. Acknowledged writes tell what they replaced, which makes a chain.
//!
//! ```text
//! nothing ─▶ 1.1 ─▶ 2.1 ─▶ 4.1        3.1 ─▶ 5.1 ─▶ 6.1 = final
//!            └ a path: each told that it replaced the one before ┘
//!                              └ 3.1 had no answer, so nobody knows what it replaced: a new path begins
//! ```
//!
//! In a linearizable register the values form such paths, one after the other, the first from nothing and the last
//! to the final value; no value is replaced twice. Each of these rules finds acknowledged writes that fit nowhere:
//!
//! 1. *Fork*: of several writes that replaced the same value, those that do not lead to the final value are lost.
//! 2. *Whole history*: where the path of the final value begins with nothing, every write outside it is lost.
//! 3. *Too late*: a write that began after the first value of the last path was there belongs to that path, or is lost.
//! 4. *No room*: between a value and the write that replaced it there was nothing else; a write that fits into that time
//!    alone is lost.
//!
//! What took effect, and when, is known within bounds: not before its start, nor before that of anything that it
//! follows; not after its acknowledgement, nor after that of anything that followed or saw it. An attempt without an
//! answer has no latest time of its own, so it can explain whatever it could.

use std::collections::HashMap;

use super::value::{Row, Shown, Tag};
use super::{FinalRead, Found, Touch, shown};
use crate::clock::Moment;
use crate::event::Applied;

/// Before everything, and after everything.
const BEFORE: i64 = i64::MIN;
const NEVER: i64 = i64::MAX;

/// A register under one key.
#[derive(Debug, Default)]
pub(super) struct Register {
    /// Attempts to write, in the order of their ends.
    rows: Vec<Row>,
    /// Values that are not ours.
    foreign: Vec<Box<str>>,
    /// Values without an acknowledgement (yet) that a read returned: when the first such read ended.
    seen: HashMap<Shown, u64>,
}

impl Register {
    pub(super) fn write(&mut self, tag: Tag, touch: &Touch<'_>, replaced: Option<&str>) {
        let replaced = replaced.map(|value| self.shown(Some(value)));
        // One that replaced itself was applied twice on its way; what it first replaced was not told.
        let row = Row::new(tag, touch, replaced.filter(|replaced| *replaced != Shown::Value(tag)));
        if self.rows.len() == self.rows.capacity() {
            // Half as much again, not twice: these rows are most of what is held.
            self.rows.reserve_exact(self.rows.len() / 2 + 8);
        }
        let place = self.rows.iter().rposition(|other| other.end() <= row.end()).map_or(0, |before| before + 1);
        self.rows.insert(place, row);
    }

    pub(super) fn is_written(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Whether a write told what it replaced.
    pub(super) fn was_told(&self) -> bool {
        self.rows.iter().any(|row| row.replaced().is_some())
    }

    /// Judges a read once every write that ended before it began has been taken.
    pub(super) fn read(&mut self, key: &str, start: u64, end: u64, value: Shown, found: &mut Found) {
        // The latest moment at which the value was there for the first time.
        let there = match value {
            Shown::Nothing => Some(0),
            Shown::Value(tag) => self.acknowledged(tag),
            Shown::Foreign(_) => None,
        };
        let there = there.or_else(|| {
            let seen = self.seen.entry(value).or_insert(end);
            *seen = (*seen).min(end);
            // This read itself is no reason to doubt it.
            Some(*seen).filter(|seen| *seen < start)
        });
        let Some(there) = there else { return };
        if self.rows.iter().take_while(|row| row.end() < start).any(|row| row.acknowledged()) {
            found.read_checked();
        }
        // Newer than the value, and acknowledged before the read began; of those the first.
        let later = self.rows.partition_point(|row| row.end() <= there);
        let newer = self.rows[later..]
            .iter()
            .take_while(|row| row.end() < start)
            .find(|row| row.acknowledged() && (row.start() > there || value == Shown::Nothing));
        if let Some(newer) = newer {
            found.stale(start - newer.end(), || {
                format!(
                    "{key}: a read at {} returned {}, although {} was acknowledged at {}",
                    Moment(start),
                    self.name(value),
                    newer.tag(),
                    newer.end_moment()
                )
            });
        }
    }

    /// What became of the acknowledged writes.
    pub(super) fn finish(mut self, key: &str, final_read: &FinalRead, found: &mut Found) {
        if self.rows.is_empty() {
            return;
        }
        let last = match final_read {
            FinalRead::Answered(value) => Some(self.shown(value.as_deref())),
            FinalRead::Unanswered => None,
        };
        let fates = Graph::new(&self.rows, &self.seen, last).fates();
        self.resurrected(key, last, found);

        // An operation fared as the best of its acknowledged attempts did.
        let mut operations: HashMap<u32, (u64, Fate)> = HashMap::new();
        for (row, fate) in self.rows.iter().zip(&fates).filter(|(row, _)| row.acknowledged()) {
            let operation = operations.entry(row.tag().op).or_insert((row.end(), *fate));
            *operation = (operation.0.min(row.end()), operation.1.min(*fate));
        }
        let mut operations: Vec<_> = operations.into_iter().collect();
        operations.sort_unstable_by_key(|(op, (end, _))| (*end, *op));
        let there = match final_read {
            FinalRead::Answered(value) => shown(value.as_deref()),
            FinalRead::Unanswered => "no answer".to_owned(),
        };
        for (op, (end, fate)) in operations {
            found.acknowledged();
            let at = Moment(end);
            match fate {
                Fate::Kept => {}
                Fate::Unseen => found.unseen(),
                Fate::Masked => found.masked(at, || {
                    format!("{key}: operation {op}, acknowledged at {at}, may be gone: in the end {there} is there")
                }),
                Fate::Lost => found.lost(at, || {
                    format!(
                        "{key}: operation {op}, acknowledged at {at}, is gone: later an older value stood in its place"
                    )
                }),
            }
        }
    }

    /// Values that showed up although all attempts of their operation were definitely refused.
    fn resurrected(&self, key: &str, last: Option<Shown>, found: &mut Found) {
        let replaced = self.rows.iter().filter_map(|row| row.replaced());
        let shown = replaced.chain(self.seen.keys().copied()).chain(last);
        let mut refused: HashMap<u32, bool> = HashMap::new();
        for row in &self.rows {
            *refused.entry(row.tag().op).or_insert(true) &= row.applied() == Applied::No;
        }
        let mut operations: Vec<u32> = shown
            .filter_map(|shown| if let Shown::Value(tag) = shown { Some(tag.op) } else { None })
            .filter(|op| refused.get(op) == Some(&true))
            .collect();
        operations.sort_unstable();
        operations.dedup();
        for op in operations {
            found.resurrected(|| format!("{key}: operation {op} was there, although it was definitely refused"));
        }
    }

    /// When this value was acknowledged.
    fn acknowledged(&self, tag: Tag) -> Option<u64> {
        // From the latest on: what a read returns is fresh, but for the reads that are looked for.
        self.rows.iter().rfind(|row| row.tag() == tag).filter(|row| row.acknowledged()).map(|row| row.end())
    }

    fn shown(&mut self, value: Option<&str>) -> Shown {
        match value {
            None | Some("") => Shown::Nothing,
            Some(value) => Tag::parse(value).map_or_else(|| self.foreign(value), Shown::Value),
        }
    }

    /// A value that is not ours.
    pub(super) fn foreign(&mut self, value: &str) -> Shown {
        let known = self.foreign.iter().position(|known| **known == *value);
        let number = known.unwrap_or_else(|| {
            self.foreign.push(value.into());
            self.foreign.len() - 1
        });
        Shown::Foreign(u16::try_from(number).unwrap_or(u16::MAX))
    }

    fn name(&self, value: Shown) -> String {
        match value {
            Shown::Nothing => "nothing".to_owned(),
            Shown::Value(tag) => tag.to_string(),
            Shown::Foreign(number) => shown(self.foreign.get(usize::from(number)).map(|value| &**value)),
        }
    }
}

/// What became of an acknowledged write; the better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It stands there in the end, or a write that stayed replaced it.
    Kept,
    /// A newer value stood there, whose own write had no answer.
    Unseen,
    /// An attempt without an answer may have overwritten it, or it may be gone.
    Masked,
    /// No linearizable register could have shown what was seen later.
    Lost,
}

/// The chain of one register: a node for each attempt, and for each other value that was seen.
struct Graph<'a> {
    rows: &'a [Row],
    /// What each node replaced.
    parent: Vec<Option<u32>>,
    /// The node of the final value.
    last: Option<u32>,
    /// Acknowledged, replaced or final: it took effect.
    applied: Vec<bool>,
    /// The first node of each node's path.
    head: Vec<u32>,
    /// The next node on a path that was kept.
    next: Vec<Option<u32>>,
    /// On a path that was kept.
    kept: Vec<bool>,
    /// It did not take effect before this moment.
    from: Vec<i64>,
    /// It had taken effect by this moment.
    by: Vec<i64>,
    /// The node of nothing.
    nothing: u32,
}

impl<'a> Graph<'a> {
    fn new(rows: &'a [Row], seen: &HashMap<Shown, u64>, last: Option<Shown>) -> Graph<'a> {
        let mut nodes: HashMap<Shown, u32> = HashMap::with_capacity(rows.len() + 1);
        for (index, row) in (0..).zip(rows) {
            nodes.insert(Shown::Value(row.tag()), index);
        }
        let nothing = rows.len() as u32;
        nodes.insert(Shown::Nothing, nothing);
        let mut count = nothing + 1;
        let mut node = |shown: Shown| {
            *nodes.entry(shown).or_insert_with(|| {
                count += 1;
                count - 1
            })
        };
        let mut parent: Vec<Option<u32>> =
            rows.iter().map(|row| row.replaced().filter(|_| row.acknowledged()).map(&mut node)).collect();
        // A value that stood there before it was written is left from another run; what it was is not known.
        for (row, parent) in rows.iter().zip(&mut parent) {
            if parent.and_then(|parent| rows.get(parent as usize)).is_some_and(|before| before.start() > row.end()) {
                *parent = None;
            }
        }
        let last = last.map(node);
        let size = count as usize;
        parent.resize(size, None);
        let mut applied = vec![false; size];
        for (index, row) in rows.iter().enumerate() {
            applied[index] |= row.acknowledged();
            if let Some(parent) = parent[index] {
                applied[parent as usize] = true;
            }
        }
        if let Some(last) = last {
            applied[last as usize] = true;
        }
        let mut from = vec![BEFORE; size];
        let mut by = vec![NEVER; size];
        for (index, row) in rows.iter().enumerate() {
            from[index] = time(row.start());
            if row.acknowledged() {
                by[index] = time(row.end());
            }
        }
        by[nothing as usize] = BEFORE;
        for (shown, end) in seen {
            if let Some(node) = nodes.get(shown) {
                let by = &mut by[*node as usize];
                *by = (*by).min(time(*end));
            }
        }
        let head = heads(&mut parent);
        Graph { rows, parent, last, applied, head, next: vec![None; size], kept: vec![false; size], from, by, nothing }
    }

    /// What became of each row; meaningful for acknowledged ones.
    fn fates(mut self) -> Vec<Fate> {
        self.keep_paths();
        let mut fates = vec![Fate::Kept; self.rows.len()];
        let mut lost = |node: u32| fates[node as usize] = Fate::Lost;
        for node in self.acknowledged() {
            if !self.kept[node as usize] || self.is_outside_of_history(node) {
                lost(node);
            }
        }
        let windows = self.windows(&fates);
        for node in self.acknowledged() {
            let (from, by) = (self.from[node as usize], self.by[node as usize]);
            // Of the windows that open before it the one that closes last.
            let before = windows.partition_point(|(open, _)| *open < from);
            if before > 0 && windows[before - 1].1 > by {
                fates[node as usize] = Fate::Lost;
            }
        }
        for node in self.acknowledged() {
            let fate = &mut fates[node as usize];
            if *fate != Fate::Lost && self.next[node as usize].is_none() && self.last != Some(node) {
                *fate = Fate::Masked;
            }
        }
        self.explain(&mut fates);
        fates
    }

    fn acknowledged(&self) -> impl Iterator<Item = u32> + use<'a> {
        let rows = self.rows;
        (0..).zip(rows).filter(|(_, row)| row.acknowledged()).map(|(node, _)| node)
    }

    /// Chooses one path in each tree: the one to the final value, else the one that was written to last. Then narrows
    /// the bounds along each.
    fn keep_paths(&mut self) {
        let mut tips: HashMap<u32, (i64, u32)> = HashMap::new();
        let mut replaced = vec![false; self.parent.len()];
        for parent in self.parent.iter().flatten() {
            replaced[*parent as usize] = true;
        }
        let ends = |node: &u32| self.applied[*node as usize] && !replaced[*node as usize];
        for node in (0..self.parent.len() as u32).filter(ends) {
            let latest = if node < self.nothing { time(self.rows[node as usize].end()) } else { BEFORE };
            let tip = tips.entry(self.head[node as usize]).or_insert((latest, node));
            *tip = (*tip).max((latest, node));
        }
        if let Some(last) = self.last {
            tips.insert(self.head[last as usize], (NEVER, last));
        }
        for (_, tip) in tips.into_values() {
            let mut path = vec![tip];
            while let Some(parent) = self.parent[path[path.len() - 1] as usize] {
                path.push(parent);
            }
            path.reverse();
            let mut from = BEFORE;
            for &node in &path {
                let node = node as usize;
                self.kept[node] = true;
                from = from.max(self.from[node]);
                self.from[node] = from;
            }
            let mut by = NEVER;
            for &node in path.iter().rev() {
                let node = node as usize;
                by = by.min(self.by[node]);
                self.by[node] = by;
            }
            for pair in path.windows(2) {
                self.next[pair[0] as usize] = Some(pair[1]);
            }
        }
    }

    /// Rules 2 and 3: whether a kept node should be on the last path, and is not.
    fn is_outside_of_history(&self, node: u32) -> bool {
        let Some(last) = self.last else { return false };
        let first = self.head[last as usize];
        let node = node as usize;
        self.head[node] != first && (first == self.nothing || self.from[node] > self.by[first as usize])
    }

    /// Rule 4: the times in which a value was there for certain, by opening; each with the latest closing so far.
    fn windows(&self, fates: &[Fate]) -> Vec<(i64, i64)> {
        let mut windows: Vec<(i64, i64)> = self
            .acknowledged()
            .filter(|node| self.kept[*node as usize] && fates[*node as usize] != Fate::Lost)
            .filter_map(|node| Some((self.by[self.parent[node as usize]? as usize], self.from[node as usize])))
            .filter(|(open, close)| open < close)
            .collect();
        windows.sort_unstable();
        let mut latest = BEFORE;
        for window in &mut windows {
            latest = latest.max(window.1);
            window.1 = latest;
        }
        windows
    }

    /// Masked writes over which a newer value is known to have stood, or another attempt of their own operation.
    fn explain(&self, fates: &mut [Fate]) {
        // Values that took effect without an answer: each begins a path of its own.
        let unanswered: Vec<usize> = (0..self.rows.len())
            .filter(|node| self.applied[*node] && self.kept[*node] && !self.rows[*node].acknowledged())
            .collect();
        let newest = unanswered.iter().map(|node| time(self.rows[*node].start())).max().unwrap_or(BEFORE);
        // For each operation with such a value: when the write that replaced it began, at the latest.
        let mut seen: HashMap<u32, i64> = HashMap::new();
        for &node in &unanswered {
            let replaced = match self.next[node] {
                Some(next) => self.from[next as usize],
                None if self.last == Some(node as u32) => NEVER,
                None => continue,
            };
            let latest = seen.entry(self.rows[node].tag().op).or_insert(replaced);
            *latest = (*latest).max(replaced);
        }
        for (row, fate) in self.rows.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Masked) {
            let end = time(row.end());
            if seen.get(&row.tag().op).is_some_and(|replaced| *replaced > end) {
                *fate = Fate::Kept;
            } else if newest > end {
                *fate = Fate::Unseen;
            }
        }
    }
}

/// The first node of each node's path. A circle, which no register makes, is cut where it closes.
fn heads(parent: &mut [Option<u32>]) -> Vec<u32> {
    const UNKNOWN: u32 = u32::MAX;
    const ON_THE_WAY: u32 = u32::MAX - 1;
    let mut head = vec![UNKNOWN; parent.len()];
    let mut way = Vec::new();
    for start in 0..parent.len() as u32 {
        let mut node = start;
        let first = loop {
            match head[node as usize] {
                UNKNOWN => {}
                ON_THE_WAY => {
                    parent[node as usize] = None;
                    break node;
                }
                known => break known,
            }
            head[node as usize] = ON_THE_WAY;
            way.push(node);
            match parent[node as usize] {
                Some(before) => node = before,
                None => break node,
            }
        };
        for node in way.drain(..) {
            head[node as usize] = first;
        }
    }
    head
}

/// Nanoseconds, to compare with [`BEFORE`] and [`NEVER`].
fn time(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(NEVER)
}
