//! Quantiles of latency where each slice counts so often, found without going through all operations.

use crate::measure::slices::{Latency, Slices};

/// Checkpoints, at most: with a thousand slices they take a megabyte.
const CHECKPOINTS: usize = 256;

/// A window's latencies with checkpoints among them.
pub(super) struct Ranked<'a> {
    pub(super) window: &'a Slices,
    /// So many rows lie between two checkpoints.
    step: usize,
    /// At each checkpoint, the operations of each slice in the rows before it; the first one is before all.
    checkpoints: Vec<Vec<u32>>,
}

impl<'a> Ranked<'a> {
    pub(super) fn new(window: &'a Slices) -> Ranked<'a> {
        // A look at a checkpoint takes a step for each slice, so that none is worth less than as many rows.
        let step = window.latencies.len().div_ceil(CHECKPOINTS).max(window.due.len()).max(1);
        let mut before = vec![0; window.due.len()];
        let mut checkpoints = Vec::new();
        for rows in window.latencies.chunks(step) {
            checkpoints.push(before.clone());
            rows.iter().for_each(|row| before[usize::from(row.slice)] += row.operations);
        }
        Ranked { window, step, checkpoints }
    }

    /// The latency of the `rank`-th operation, counted from 1; none where there are fewer.
    pub(super) fn latency_ns(&self, rank: u64, weights: &[u32]) -> Option<u64> {
        let seen_at = |before: &Vec<u32>| -> u64 {
            before.iter().zip(weights).map(|(&count, &weight)| u64::from(count) * u64::from(weight)).sum()
        };
        let from = self.checkpoints.partition_point(|before| seen_at(before) < rank).checked_sub(1)?;
        let mut seen = seen_at(&self.checkpoints[from]);
        let reached = |row: &&Latency| {
            seen += u64::from(row.operations) * u64::from(weights[usize::from(row.slice)]);
            seen >= rank
        };
        self.window.latencies[from * self.step..].iter().find(reached).map(|row| row.ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn a_rank_is_found_where_going_through_all_rows_finds_it() {
        let mut dice = Seed(5).stream("ranked");
        // 3,000 operations in 30 slices, of more latencies than there are checkpoints.
        let ops: Vec<(u64, u64, bool)> = (0..3000).map(|i| (i * 1_000_000, 1000 * dice.below(2000), true)).collect();
        let window = Slices::new(&[3_000_000_000], ops.into_iter());
        let ranked = Ranked::new(&window);
        assert!(ranked.checkpoints.len() > 50, "{}", ranked.checkpoints.len());
        for _ in 0..50 {
            let weights: Vec<u32> = window.due.iter().map(|_| dice.below(4) as u32).collect();
            let often = |row: &Latency| (row.operations * weights[usize::from(row.slice)]) as usize;
            let all: Vec<u64> =
                window.latencies.iter().flat_map(|row| std::iter::repeat_n(row.ns, often(row))).collect();
            for rank in [1, 2, all.len() / 2, all.len() - 1, all.len()] {
                assert_eq!(ranked.latency_ns(rank as u64, &weights), Some(all[rank - 1]), "{rank} of {}", all.len());
            }
            assert_eq!(ranked.latency_ns(all.len() as u64 + 1, &weights), None);
        }
    }
}
