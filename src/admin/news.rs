//! What has changed, for whoever listens.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::clock::wall_ns;

/// So many changes wait for a listener that reads slowly; then it is told how many it has missed.
const BACKLOG: usize = 1024;

/// Tells every listener. Cheap where there is none.
#[derive(Clone, Debug)]
pub(crate) struct News(broadcast::Sender<Item>);

/// One thing that has changed.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its kind.
    pub(crate) change: Change,
    /// The rest, as JSON text.
    pub(crate) data: String,
}

/// What can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Updated,
    Deleted,
    Reset,
    ToxicAdded,
    ToxicUpdated,
    ToxicRemoved,
    FaultAdded,
    FaultUpdated,
    FaultRemoved,
    Expired,
}

impl Change {
    /// The word in the stream.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Change::Created => "proxy_created",
            Change::Updated => "proxy_updated",
            Change::Deleted => "proxy_deleted",
            Change::Reset => "proxy_reset",
            Change::ToxicAdded => "toxic_added",
            Change::ToxicUpdated => "toxic_updated",
            Change::ToxicRemoved => "toxic_removed",
            Change::FaultAdded => "fault_added",
            Change::FaultUpdated => "fault_updated",
            Change::FaultRemoved => "fault_removed",
            Change::Expired => "lease_ended",
        }
    }
}

impl News {
    pub(crate) fn new() -> News {
        News(broadcast::Sender::new(BACKLOG))
    }

    /// Tells what has become of a proxy.
    pub(crate) fn tell(&self, change: Change, proxy: &str, what: Value) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let at_ms = Duration::from_nanos(wall_ns()).as_millis() as u64;
        let data = json!({"at_ms": at_ms, "proxy": proxy, "what": what}).to_string();
        // It fails only if the last listener has just gone.
        let _ = self.0.send(Item { change, data });
    }

    /// All that changes from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Item> {
        self.0.subscribe()
    }
}
