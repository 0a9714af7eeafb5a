//! Pages of a storage account, and their copy in another region, which comes late and piece by piece. Pure.
//!
//! Each partition of the account is shipped by itself, so that the copy is rarely of one moment: a page may be there that
//! was written after one that is missing. Whoever makes a machine of such a copy gets what a torn disk gives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// How many partitions an account has.
pub(super) const PARTITIONS: usize = 4;

/// Pages by key, each with the number of the write that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    pages: BTreeMap<String, Page>,
    last: u64,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    /// What it holds.
    pub(super) value: String,
    /// The number of its write, from 1, in the account.
    pub(super) sequence: u64,
}

/// What changed in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shipment {
    /// Which.
    pub(super) partition: usize,
    /// Every write up to this one is in it, or was before.
    pub(super) upto: u64,
    /// When the account was so.
    pub(super) as_of: Moment,
    /// The pages.
    pub(super) pages: Vec<(String, Page)>,
}

/// A copy in another region.
#[derive(Clone, Debug, Default)]
pub(super) struct Copy {
    pages: Pages,
    synced: [Synced; PARTITIONS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Synced {
    upto: u64,
    as_of: Moment,
}

/// How good a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Soundness {
    /// How much older than the loss its oldest partition is.
    pub(super) behind: Duration,
    /// Partitions that lack writes older than others that are there: the copy was never true as a whole.
    pub(super) torn: usize,
}

impl Pages {
    /// A page's value.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pages.get(key).map(|page| page.value.as_str())
    }

    /// Writes a page.
    pub(super) fn set(&mut self, key: &str, value: String) {
        self.last += 1;
        self.pages.insert(key.to_owned(), Page { value, sequence: self.last });
    }

    /// The pages whose keys begin so, without that beginning.
    pub(super) fn volume(&self, prefix: &str) -> Vec<(String, String)> {
        let pages = self.pages.iter().filter_map(|(key, page)| Some((key.strip_prefix(prefix)?, page)));
        pages.map(|(key, page)| (key.to_owned(), page.value.clone())).collect()
    }

    /// What changed in a partition after a write.
    pub(super) fn shipment(&self, partition: usize, after: u64, as_of: Moment) -> Shipment {
        let changed = |(key, page): &(&String, &Page)| partition_of(key) == partition && page.sequence > after;
        let pages = self.pages.iter().filter(changed).map(|(key, page)| (key.clone(), page.clone())).collect();
        Shipment { partition, upto: self.last, as_of, pages }
    }
}

impl Copy {
    /// A shipment arrives.
    pub(super) fn take(&mut self, shipment: Shipment) {
        let Some(synced) = self.synced.get_mut(shipment.partition) else { return };
        if shipment.upto < synced.upto {
            return;
        }
        *synced = Synced { upto: shipment.upto, as_of: shipment.as_of };
        for (key, page) in shipment.pages {
            self.pages.last = self.pages.last.max(page.sequence);
            self.pages.pages.insert(key, page);
        }
    }

    /// Up to which write a partition has arrived.
    pub(super) fn upto(&self, partition: usize) -> u64 {
        self.synced.get(partition).map_or(0, |synced| synced.upto)
    }

    /// How good it is, where the account was lost at a moment.
    pub(super) fn soundness(&self, lost: Moment) -> Soundness {
        let oldest = self.synced.iter().map(|synced| synced.as_of).min().unwrap_or_default();
        let torn = self.synced.iter().filter(|synced| synced.upto < self.pages.last).count();
        Soundness { behind: lost.saturating_since(oldest), torn }
    }

    /// What it holds, to be used as the account from now on.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }
}

/// Which partition a page is in (FNV-1a).
pub(super) fn partition_of(key: &str) -> usize {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % PARTITIONS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn account(writes: u64) -> Pages {
        let mut pages = Pages::default();
        (0..writes).for_each(|n| pages.set(&format!("vm/k{}", n % 50), n.to_string()));
        pages
    }

    fn ship(pages: &Pages, copy: &mut Copy, partition: usize, now: Moment) {
        copy.take(pages.shipment(partition, copy.upto(partition), now));
    }

    #[test]
    fn a_copy_of_which_every_partition_has_arrived_is_the_account() {
        let pages = account(200);
        let mut copy = Copy::default();
        (0..PARTITIONS).for_each(|partition| ship(&pages, &mut copy, partition, at(1_000)));
        assert_eq!(copy.pages(), &pages);
        assert_eq!(copy.soundness(at(1_500)), Soundness { behind: Duration::from_millis(500), torn: 0 });
        assert_eq!(copy.pages().volume("vm/").len(), 50);
    }

    #[test]
    fn a_copy_of_several_moments_is_torn_and_as_old_as_its_oldest_partition() {
        let mut pages = account(100);
        let mut copy = Copy::default();
        for partition in 0..PARTITIONS {
            ship(&pages, &mut copy, partition, at(partition as u64 * 100));
            (0..60).for_each(|n| pages.set(&format!("vm/k{}", n % 50), format!("{partition}.{n}")));
        }
        assert_eq!(copy.soundness(at(400)), Soundness { behind: Duration::from_millis(400), torn: 3 });
    }

    #[test]
    fn where_nothing_is_written_a_copy_becomes_whole() {
        let pages = account(100);
        let mut copy = Copy::default();
        for partition in 0..PARTITIONS {
            assert_eq!(copy.soundness(at(0)).torn > 0, partition > 0, "{partition}");
            ship(&pages, &mut copy, partition, at(9));
        }
        assert_eq!(copy.soundness(at(9)).torn, 0);
    }

    #[test]
    fn what_comes_twice_or_late_changes_nothing() {
        let mut pages = account(10);
        let mut copy = Copy::default();
        let early: Vec<Shipment> = (0..PARTITIONS).map(|partition| pages.shipment(partition, 0, at(1))).collect();
        pages.set("vm/k1", "new".to_owned());
        (0..PARTITIONS).for_each(|partition| ship(&pages, &mut copy, partition, at(2)));
        early.into_iter().for_each(|shipment| copy.take(shipment));
        assert_eq!(copy.pages(), &pages);
    }
}
