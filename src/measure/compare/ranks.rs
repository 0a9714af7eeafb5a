//! Hodges and Lehmann's interval for a shift: differences of all pairs, and how many to leave out at each end.

/// What each end leaves out has at most this probability.
const TAIL: f64 = 0.025;

/// Each of ours − `factor` × each of theirs, ascending.
pub(super) fn differences(ours: &[f64], theirs: &[f64], factor: f64) -> Vec<f64> {
    let mut all: Vec<f64> = ours.iter().flat_map(|our| theirs.iter().map(move |their| our - factor * their)).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The middle one of sorted values, or the mean of the two in the middle.
pub(super) fn median(sorted: &[f64]) -> f64 {
    let last = sorted.len() - 1;
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}

/// So many of the sorted differences lie beyond the interval at each end: the greatest u with P(U ≤ u) ≤ 2.5 %,
/// where U is Mann and Whitney's of two samples of this size from one distribution. 0 also where there is none.
pub(super) fn left_out(ours: usize, theirs: usize) -> usize {
    let mut below = 0.0;
    let mut within = |probability: &f64| {
        below += probability;
        below <= TAIL
    };
    distribution(ours, theirs).iter().take_while(|probability| within(probability)).count().saturating_sub(1)
}

/// The probabilities of U = 0, 1, … m × n.
fn distribution(m: usize, n: usize) -> Vec<f64> {
    // The greatest of all m + n values is one of the m with probability m / (m + n), and then exceeds all n; else it
    // is one of the n, and adds nothing. `rows[j]` is the distribution of m = i and n = j.
    let mut rows = vec![vec![1.0]; n + 1];
    for i in 1..=m {
        for j in 1..=n {
            let from_ours = i as f64 / (i + j) as f64;
            let mut next = vec![0.0; i * j + 1];
            // Of i − 1 and j, from the round before.
            for (u, probability) in rows[j].iter().enumerate() {
                next[u + j] += from_ours * probability;
            }
            // Of i and j − 1, from this round.
            for (u, probability) in rows[j - 1].iter().enumerate() {
                next[u] += (1.0 - from_ours) * probability;
            }
            rows[j] = next;
        }
    }
    rows.swap_remove(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn u_is_distributed_as_counting_all_orders_says() {
        // Two and two: of the six orders one has U = 0, one 1, two 2, one 3, one 4.
        let sixths: Vec<f64> = distribution(2, 2).iter().map(|probability| (probability * 6.0).round()).collect();
        assert_eq!(sixths, [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert!((distribution(9, 14).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_critical_values_are_those_of_the_tables() {
        // Mann and Whitney, two-sided 5 %.
        for (m, n, critical) in
            [(4, 4, 0), (5, 5, 2), (8, 8, 13), (8, 10, 17), (10, 10, 23), (12, 20, 69), (20, 20, 127)]
        {
            assert_eq!(left_out(m, n), critical, "{m} and {n}");
            assert_eq!(left_out(n, m), critical, "{n} and {m}");
        }
    }

    #[test]
    fn the_interval_covers_a_true_shift_as_often_as_it_says() {
        // Pareto, which has neither symmetry nor a variance worth the name; shifted by 5, 9 runs and 8.
        let mut dice = Seed(3).stream("ranks");
        let (trials, mut covered) = (1000, 0);
        for _ in 0..trials {
            let ours: Vec<f64> = (0..9).map(|_| 5.0 + dice.pareto(2.0)).collect();
            let theirs: Vec<f64> = (0..8).map(|_| dice.pareto(2.0)).collect();
            let sorted = differences(&ours, &theirs, 1.0);
            let out = left_out(9, 8);
            covered += u32::from(sorted[out] <= 5.0 && 5.0 <= sorted[sorted.len() - 1 - out]);
        }
        // The exact level of 9 and 8 is 95.4 % (U ≤ 15: 2.3 %); five standard errors of 1,000 trials are 3.3 points.
        assert!((920..=990).contains(&covered), "{covered} of {trials}");
    }
}
