//! A cache that warms: pages that were read once are there, until the engine moves or starts anew.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many pages hold the keys, by their hashes: an engine reads pages, not keys.
pub const PAGES: u64 = 4_096;

/// Which pages an engine has in memory.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pages: HashSet<u64>,
}

/// Whether what an operation needs is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// It is.
    Warm,
    /// Its page is read from storage first; from now on it is there.
    Cold,
}

impl Cache {
    /// A cache with nothing in it, as after a start.
    pub fn cold() -> Cache {
        Cache::default()
    }

    /// An operation needs this key.
    pub fn touch(&mut self, key: &str) -> Touch {
        if self.pages.insert(page_of(key)) { Touch::Cold } else { Touch::Warm }
    }

    /// How many pages are in memory.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }
}

/// The page that a key is on, the same in every engine.
fn page_of(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() % PAGES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_once() {
        let mut cache = Cache::cold();
        assert_eq!([cache.touch("k"), cache.touch("k")], [Touch::Cold, Touch::Warm]);
        assert_eq!(cache.pages(), 1);
    }

    #[test]
    fn it_is_warm_once_every_page_was_read() {
        let mut cache = Cache::cold();
        let keys: Vec<String> = (0..1_000).map(|n| format!("orders-{n}")).collect();
        let cold = |cache: &mut Cache| keys.iter().filter(|key| cache.touch(key) == Touch::Cold).count();
        let pages = cold(&mut cache);
        // A thousand keys on 4,096 pages: some share one, 4096 × (1 − (1 − 1/4096)^1000) ≈ 888 are needed.
        assert!((850..=930).contains(&pages), "{pages}");
        assert_eq!((cold(&mut cache), cache.pages()), (0, pages));
    }
}
