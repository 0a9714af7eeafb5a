//! What a link counts, live: each of its engine threads writes totals of its own, anyone reads their sums.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use indexmap::IndexMap;

use crate::event::LinkCounters;

/// A total with one writer: a plain load and store, no locked instruction on the path of bytes.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

impl Total {
    /// Adds; only the engine thread that owns it may call this.
    pub(crate) fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Takes away; only the engine thread that owns it may call this.
    pub(crate) fn sub(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(by), Relaxed);
    }

    /// Takes over a total that was counted elsewhere; only the engine thread that owns it may call this.
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

/// The totals of one link on one engine thread.
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

    /// How many connections have come to their end, by whatever kind.
    pub(crate) fn ended(&self) -> u64 {
        self.closed.iter().map(Total::get).sum()
    }

    /// As they are now. Totals of one moment may differ from each other by what is on its way between them.
    pub(crate) fn snapshot(&self) -> LinkCounters {
        Counters::sum(std::iter::once(self))
    }

    /// The totals of a whole link.
    pub(crate) fn sum<'a>(parts: impl Iterator<Item = &'a Counters> + Clone) -> LinkCounters {
        let sum = |total: fn(&Counters) -> &Total| parts.clone().map(|part| total(part).get()).sum();
        let kinds = ["fin", "rst", "fault", "shutdown"].into_iter().enumerate();
        let closed: IndexMap<String, u64> = kinds
            .map(|(kind, name)| (name.to_owned(), parts.clone().map(|part| part.closed[kind].get()).sum()))
            .filter(|(_, total)| *total > 0)
            .collect();
        LinkCounters {
            accepted: sum(|part| &part.accepted),
            accept_failed: sum(|part| &part.accept_failed),
            connected: sum(|part| &part.connected),
            dial_failed: sum(|part| &part.dial_failed),
            open: sum(|part| &part.open),
            up_received_bytes: sum(|part| &part.up.received),
            up_sent_bytes: sum(|part| &part.up.sent),
            down_received_bytes: sum(|part| &part.down.received),
            down_sent_bytes: sum(|part| &part.down.sent),
            closed,
            altered_chunks: sum(|part| &part.altered_chunks),
            withheld_bytes: sum(|part| &part.withheld_bytes),
            dropped_segments: sum(|part| &part.dropped_segments),
            faulted_connections: sum(|part| &part.faulted_connections),
            faulted_requests: sum(|part| &part.faulted_requests),
            requests: sum(|part| &part.requests),
        }
    }
}
