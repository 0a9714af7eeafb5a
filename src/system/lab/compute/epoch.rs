//! How storage knows the newest engine: by the epoch that it wrote through storage before anything else.

use crate::system::lab::store::{Change, Store};

/// The register of the newest engine's epoch. No path can name it, so no client can.
const NEWEST: &str = " epoch";

/// What an engine writes before it serves.
pub fn attach(epoch: u64) -> Change {
    Change::Put { key: NEWEST.to_owned(), value: epoch.to_string() }
}

/// Whether who asks is no engine, or one that was replaced: another has been attached since.
pub fn outdated(store: &Store, epoch: Option<u64>) -> bool {
    epoch < store.register(NEWEST).and_then(|at| at.value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_outdated_once_a_newer_one_is_attached() {
        let mut store = Store::default();
        assert!(!outdated(&store, None), "before the first one anybody may");
        store.push(1, attach(9));
        assert_eq!([None, Some(8), Some(9), Some(10)].map(|epoch| outdated(&store, epoch)), [true, true, false, false]);
    }
}
