//! What a link counts, live: written by its engine thread alone, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use indexmap::IndexMap;

use crate::event::LinkCounters;

/// A total with one writer: a plain load and store, no locked instruction on the path of bytes.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

impl Total {
    /// Adds; only the link's engine thread may call this.
    pub(crate) fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Takes away; only the link's engine thread may call this.
    pub(crate) fn sub(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(by), Relaxed);
    }

    /// Takes over a total that was counted elsewhere; only the link's engine thread may call this.
    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Relaxed);
    }

    /// The present total.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Both directions came to their end.
    Fin,
    /// One side reset it, or the dial failed.
    Rst,
    /// A fault closed it.
    Fault,
    /// The link was closed.
    Shutdown,
}

/// The totals of one link.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Total,
    pub(crate) accept_failed: Total,
    pub(crate) connected: Total,
    pub(crate) dial_failed: Total,
    pub(crate) open: Total,
    pub(crate) up: Flow,
    pub(crate) down: Flow,
    pub(crate) closed: [Total; 4],
    pub(crate) altered_chunks: Total,
    pub(crate) withheld_bytes: Total,
    pub(crate) dropped_segments: Total,
    pub(crate) faulted_connections: Total,
    pub(crate) faulted_requests: Total,
    pub(crate) requests: Total,
}

/// Bytes of one direction.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Read from the source.
    pub(crate) received: Total,
    /// Written to the destination.
    pub(crate) sent: Total,
}

impl Counters {
    /// Counts one end of a connection.
    pub(crate) fn closed(&self, why: Closing) {
        self.closed[why as usize].add(1);
    }

    /// As they are now. Totals of one moment may differ from each other by what is on its way between them.
    pub(crate) fn snapshot(&self) -> LinkCounters {
        let kinds = ["fin", "rst", "fault", "shutdown"];
        let closed: IndexMap<String, u64> = kinds
            .iter()
            .zip(&self.closed)
            .filter(|(_, total)| total.get() > 0)
            .map(|(kind, total)| ((*kind).to_owned(), total.get()))
            .collect();
        LinkCounters {
            accepted: self.accepted.get(),
            accept_failed: self.accept_failed.get(),
            connected: self.connected.get(),
            dial_failed: self.dial_failed.get(),
            open: self.open.get(),
            up_received_bytes: self.up.received.get(),
            up_sent_bytes: self.up.sent.get(),
            down_received_bytes: self.down.received.get(),
            down_sent_bytes: self.down.sent.get(),
            closed,
            altered_chunks: self.altered_chunks.get(),
            withheld_bytes: self.withheld_bytes.get(),
            dropped_segments: self.dropped_segments.get(),
            faulted_connections: self.faulted_connections.get(),
            faulted_requests: self.faulted_requests.get(),
            requests: self.requests.get(),
        }
    }
}
