//! What each fault cost of what had been acknowledged: how many writes, and from how far back.

use super::model::{Consistency, Figure, Outage};
use crate::clock::Moment;

/// Says of each outage, in order, how many acknowledged writes it lost and how old the oldest of them was at t0.
///
/// A lost write belongs to the first fault that had not yet been steady again when it was acknowledged, and what was
/// acknowledged after the last one to the last one.
pub(crate) fn fill<'a>(outages: impl Iterator<Item = &'a mut Outage>, consistency: &Consistency) {
    let mut lost = consistency.lost_acknowledged.as_slice();
    let mut outages = outages.peekable();
    while let Some(outage) = outages.next() {
        let end = if outages.peek().is_some() {
            let over = over(outage);
            lost.partition_point(|&acknowledged| acknowledged <= over)
        } else {
            lost.len()
        };
        let (own, rest) = lost.split_at(end);
        outage.rpo_lost = Some(own.len() as u64);
        outage.rpo_age_ns = Some(own.first().map_or(0, |&oldest| outage.t0.0.saturating_sub(oldest.0)));
        lost = rest;
    }
}

/// When a fault was over for its class: steady, or no longer watched.
fn over(outage: &Outage) -> Moment {
    match outage.time_to_steady_ns {
        Figure::Known(ns) => Moment(outage.t0.0 + ns),
        _ => outage.until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::testing::{Events, Stream, ms, run_outages};

    /// Lost and age in milliseconds of each fault, for writes lost that were acknowledged at these moments.
    fn rpo(lost: &[u64]) -> Vec<(u64, u64)> {
        // Faults at 4,000 and 12,000 ms, each over 1 s later; failures only while they are in force.
        let events = Events::phases(1000, 3000, 20_000).fault("a", 4000, 5000).fault("b", 12_000, 13_000).ended(20_000);
        let mut outages = run_outages(&events, &Stream::new().ok_every(10, 0, 20_000, 5));
        let lost_acknowledged = lost.iter().copied().map(ms).collect();
        fill(outages.values_mut(), &Consistency { lost_acknowledged, ..Consistency::default() });
        outages.values().map(|o| (o.rpo_lost.unwrap(), o.rpo_age_ns.unwrap() / 1_000_000)).collect()
    }

    #[test]
    fn nothing_lost_is_no_age() {
        assert_eq!(rpo(&[]), [(0, 0), (0, 0)]);
    }

    #[test]
    fn the_oldest_lost_write_counts_from_t0() {
        // Acknowledged 1,500 and 10 ms before t0, and one after it.
        assert_eq!(rpo(&[2500, 3990, 4500]), [(3, 1500), (0, 0)]);
    }

    #[test]
    fn a_write_lost_after_t0_alone_has_no_age() {
        assert_eq!(rpo(&[4500]), [(1, 0), (0, 0)]);
    }

    #[test]
    fn what_was_acknowledged_after_a_fault_was_over_belongs_to_the_next() {
        // Steady at 5,000 ms. 7,000 ms is 5 s before the second fault: it was replicated late. 19,000 ms is after both.
        assert_eq!(rpo(&[5000, 7000, 19_000]), [(1, 0), (2, 5000)]);
    }
}
