//! Lists that grow at their end: every acknowledged item is there in the end, once.
//!
//! A scan of a healthy list is a beginning of the longest one known, so it is kept as a length. Only a scan that
//! differs (after a loss, or from a replica that went another way) starts another version of the list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::value::{Row, Tag};
use super::{FinalRead, Found};
use crate::clock::Moment;
use crate::event::Applied;

/// Versions of a list that are told apart; beyond that the oldest is forgotten, with the scans that saw it.
const VERSIONS: usize = 64;

/// A list under one key.
#[derive(Debug, Default)]
pub(super) struct List {
    appends: Vec<Row>,
    versions: Vec<Version>,
}

/// One history of the list, and the scans that saw a beginning of it.
#[derive(Debug, Default)]
struct Version {
    items: Vec<Option<Tag>>,
    /// When each scan began, and how many items it saw.
    scans: Vec<(u64, u32)>,
}

impl List {
    pub(super) fn append(&mut self, row: Row) {
        self.appends.push(row);
    }

    pub(super) fn is_written(&self) -> bool {
        !self.appends.is_empty()
    }

    pub(super) fn was_scanned(&self) -> bool {
        !self.versions.is_empty()
    }

    pub(super) fn scan(&mut self, start: u64, list: &str) {
        let items = parse(list);
        let length = u32::try_from(items.len()).unwrap_or(u32::MAX);
        // The latest version is the likeliest.
        let known = self.versions.iter_mut().rev().find(|version| {
            let common = version.items.len().min(items.len());
            version.items[..common] == items[..common]
        });
        match known {
            Some(version) => {
                if items.len() > version.items.len() {
                    version.items = items;
                }
                version.scans.push((start, length));
            }
            None => {
                if self.versions.len() == VERSIONS {
                    self.versions.remove(0);
                }
                self.versions.push(Version { items, scans: vec![(start, length)] });
            }
        }
    }

    pub(super) fn finish(mut self, key: &str, final_read: &FinalRead, found: &mut Found) {
        if self.appends.is_empty() {
            return;
        }
        self.appends.sort_unstable_by_key(|row| row.end());
        let last = match final_read {
            FinalRead::Answered(value) => Some(parse(value.as_deref().unwrap_or_default())),
            FinalRead::Unanswered => None,
        };
        self.doubled_or_resurrected(key, last.as_deref(), found);
        self.lost(key, last.as_deref(), found);
        self.stale(key, found);
    }

    /// Items that were ever seen twice in one list, or that nobody can have put there.
    fn doubled_or_resurrected(&self, key: &str, last: Option<&[Option<Tag>]>, found: &mut Found) {
        let mut twice = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let lists = self.versions.iter().map(|version| version.items.as_slice()).chain(last);
        for list in lists {
            let mut times: HashMap<u32, u32> = HashMap::with_capacity(list.len());
            for tag in list.iter().flatten() {
                *times.entry(tag.op).or_default() += 1;
            }
            twice.extend(times.iter().filter(|(_, times)| **times > 1).map(|(op, _)| *op));
            seen.extend(times.into_keys());
        }
        for op in &twice {
            found.duplicate(|| format!("{key}: operation {op} stands in the list more than once"));
        }
        let mut possible: HashMap<u32, bool> = HashMap::new();
        for row in &self.appends {
            *possible.entry(row.tag().op).or_default() |= row.applied() != Applied::No;
        }
        for op in seen.into_iter().filter(|op| possible.get(op) == Some(&false)) {
            found.resurrected(|| format!("{key}: operation {op} is in the list, although it was definitely refused"));
        }
    }

    fn lost(&self, key: &str, last: Option<&[Option<Tag>]>, found: &mut Found) {
        let there: Option<BTreeSet<u32>> = last.map(|list| list.iter().flatten().map(|tag| tag.op).collect());
        // Rows are in the order of their ends, so the first acknowledgement of an operation comes first.
        let mut acknowledged = BTreeMap::new();
        for row in self.appends.iter().filter(|row| row.acknowledged()) {
            acknowledged.entry(row.tag().op).or_insert_with(|| row.end_moment());
        }
        for (op, at) in acknowledged {
            found.acknowledged();
            match &there {
                None => found.masked(at, || format!("{key}: operation {op}: no final read was answered")),
                Some(there) if !there.contains(&op) => found
                    .lost(at, || format!("{key}: operation {op}, acknowledged at {at}, is not in the list in the end")),
                Some(_) => {}
            }
        }
    }

    /// Scans that miss an item acknowledged before they began.
    fn stale(&self, key: &str, found: &mut Found) {
        let acknowledged: Vec<Row> = self.appends.iter().copied().filter(|row| row.acknowledged()).collect();
        for version in &self.versions {
            let mut positions: HashMap<u32, u32> = HashMap::with_capacity(version.items.len());
            for (position, tag) in (0..).zip(&version.items) {
                if let Some(tag) = tag {
                    positions.entry(tag.op).or_insert(position);
                }
            }
            // The greatest position among this row and those acknowledged before it.
            let mut greatest = 0;
            let furthest: Vec<u32> = acknowledged
                .iter()
                .map(|row| {
                    greatest = greatest.max(positions.get(&row.tag().op).map_or(u32::MAX, |position| position + 1));
                    greatest
                })
                .collect();
            for &(start, length) in &version.scans {
                if acknowledged.first().is_some_and(|first| first.end() < start) {
                    found.read_checked();
                }
                // The first acknowledged item beyond what the scan saw.
                let missing = furthest.partition_point(|reach| *reach <= length);
                if let Some(row) = acknowledged.get(missing).filter(|row| row.end() < start) {
                    found.stale(start - row.end(), || {
                        format!(
                            "{key}: a read at {} misses operation {}, acknowledged at {}",
                            Moment(start),
                            row.tag().op,
                            row.end_moment()
                        )
                    });
                }
            }
        }
    }
}

/// The items of a list; none for one that is not ours.
fn parse(list: &str) -> Vec<Option<Tag>> {
    if list.is_empty() { Vec::new() } else { list.split(',').map(|item| Tag::parse(item.trim())).collect() }
}
