//! Circular block bootstrap: what a figure would have been, had the same run drawn its seconds anew.

use super::Slices;
use super::ranked::Ranked;
use crate::seed::Dice;

/// Slices in a block: a second, or a hundredth of a window of more than 100 s.
const BLOCK: usize = 10;

/// Fewer blocks beyond one in each stretch have no interval.
const FEWEST: usize = 4;

/// A quantile beyond which fewer operations lie has no interval: it is one of the greatest, and draws never see others.
const FEWEST_BEYOND: u64 = 10;

/// Draws for an interval.
const DRAWS: usize = 2_000;

/// The 97.5 % quantile of the normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;

/// A figure that can be worked out of the operations due in some slices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistic {
    /// A quantile of latency over all operations, in seconds.
    Latency(f64),
    /// The share of the operations that were ok.
    SuccessRate,
    /// Ok operations a second.
    Goodput,
}

/// What a figure of one window would have been, had the same run drawn its blocks anew.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draws {
    blocks: Blocks,
    figures: Vec<f64>,
}

impl Draws {
    /// None where the window is too short, or has too few operations.
    pub(crate) fn of(window: &Slices, statistic: Statistic, dice: &mut Dice) -> Option<Draws> {
        let blocks = Blocks::of(window);
        (blocks.free() >= FEWEST && statistic.has_enough(window))
            .then(|| Draws { blocks, figures: draws(window, statistic, BLOCK, DRAWS, dice) })
    }
}

/// The blocks of a window: those of each of its stretches, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocks {
    all: usize,
    stretches: usize,
}

impl Blocks {
    fn of(window: &Slices) -> Blocks {
        let all = window.stretches.iter().map(|slices| (slices / BLOCK).max(1)).sum();
        Blocks { all, stretches: window.stretches.len() }
    }

    /// The degrees of freedom: each stretch has a mean of its own.
    fn free(self) -> usize {
        self.all - self.stretches
    }

    /// What to leave at each end for 95 %: so few blocks vary less than what they are drawn from.
    fn tail(self) -> f64 {
        let free = self.free() as f64;
        below_normal(-student(free) * (self.all as f64 / free).sqrt())
    }
}

/// The interval of one window's figure − `factor` × another's.
pub(super) fn interval([ours, theirs]: [&Draws; 2], factor: f64) -> Option<(f64, f64)> {
    let pairs = ours.figures.iter().zip(&theirs.figures);
    let mut differences: Vec<f64> = pairs.map(|(our, their)| our - factor * their).collect();
    differences.sort_by(f64::total_cmp);
    between(&differences, ours.blocks.tail().min(theirs.blocks.tail()))
}

/// The two quantiles that leave so much at each end of sorted values.
fn between(sorted: &[f64], tail: f64) -> Option<(f64, f64)> {
    let out = ((tail * (sorted.len() + 1) as f64).floor() as usize).saturating_sub(1);
    let last = sorted.len().checked_sub(1 + out)?;
    Some((*sorted.get(out)?, sorted[last]))
}

/// The figure of each draw; one without an operation has none.
fn draws(window: &Slices, statistic: Statistic, block: usize, draws: usize, dice: &mut Dice) -> Vec<f64> {
    let ranked = Ranked::new(window);
    let mut weights = vec![0u32; window.due.len()];
    let figure = |_| {
        weights.fill(0);
        let mut rest = weights.as_mut_slice();
        for &slices in &window.stretches {
            let (stretch, behind) = rest.split_at_mut(slices);
            draw(stretch, block, dice);
            rest = behind;
        }
        statistic.of(&ranked, &weights)
    };
    (0..draws).filter_map(figure).collect()
}

/// Draws blocks of a stretch until they are as long as it is; one that is shorter than a block is drawn as it is.
fn draw(weights: &mut [u32], block: usize, dice: &mut Dice) {
    let slices = weights.len();
    let mut left = slices;
    while left > 0 {
        let start = dice.below(slices as u64) as usize;
        (0..block.min(left)).for_each(|offset| weights[(start + offset) % slices] += 1);
        left -= block.min(left);
    }
}

impl Statistic {
    /// The figure where each slice counts so often.
    fn of(self, ranked: &Ranked<'_>, weights: &[u32]) -> Option<f64> {
        let window = ranked.window;
        let (mut all, mut ok) = (0u64, 0u64);
        for (due, &weight) in window.due.iter().zip(weights) {
            all += u64::from(due.all) * u64::from(weight);
            ok += u64::from(due.ok) * u64::from(weight);
        }
        match self {
            _ if all == 0 => None,
            Statistic::SuccessRate => Some(ok as f64 / all as f64),
            Statistic::Goodput => Some(ok as f64 * 1e9 / window.length_ns as f64),
            Statistic::Latency(quantile) => ranked.latency_ns(rank(all, quantile), weights).map(|ns| ns as f64 / 1e9),
        }
    }

    /// Whether a window has as many operations as an interval takes.
    fn has_enough(self, window: &Slices) -> bool {
        let all: u64 = window.due.iter().map(|due| u64::from(due.all)).sum();
        match self {
            Statistic::Latency(quantile) => all >= rank(all, quantile) + FEWEST_BEYOND,
            Statistic::SuccessRate | Statistic::Goodput => true,
        }
    }
}

/// Which of so many values, counted from 1, is their quantile.
fn rank(all: u64, quantile: f64) -> u64 {
    ((all as f64 * quantile).ceil() as u64).max(1)
}

/// The 97.5 % quantile of Student's distribution (Abramowitz and Stegun, 26.7.5; off by 0.2 % at 4 degrees of freedom).
fn student(freedom: f64) -> f64 {
    let z = NORMAL;
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z) / 92_160.0,
    ];
    terms.iter().enumerate().fold(z, |sum, (index, term)| sum + term / freedom.powi(index as i32 + 1))
}

/// The share of the normal distribution below x ≤ 0: a half less what lies between x and 0, by Simpson's rule.
fn below_normal(x: f64) -> f64 {
    const STEPS: usize = 200;
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let step = -x / STEPS as f64;
    let weight = |index: usize| match index {
        0 | STEPS => 1.0,
        odd if odd % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=STEPS).map(|index| weight(index) * density(x + index as f64 * step)).sum();
    0.5 - sum * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_figure_counts_each_slice_as_often_as_it_was_drawn() {
        // Slice 0: 1 ms and 2 ms, slice 1: 3 ms, which failed.
        let ops = [(0, 1_000_000, true), (50_000_000, 2_000_000, true), (100_000_000, 3_000_000, false)];
        let window = Slices::new(&[200_000_000], ops.into_iter());
        let ranked = Ranked::new(&window);
        let median = |weights: [u32; 2]| Statistic::Latency(0.5).of(&ranked, &weights);
        assert_eq!(median([1, 1]), Some(0.002));
        assert_eq!(median([2, 0]), Some(0.001));
        assert_eq!(median([0, 2]), Some(0.003));
        assert_eq!(median([0, 0]), None);
        assert_eq!(Statistic::SuccessRate.of(&ranked, &[1, 2]), Some(0.5));
        assert_eq!(Statistic::Goodput.of(&ranked, &[1, 1]), Some(10.0));
    }

    #[test]
    fn few_blocks_leave_less_at_each_end() {
        // By tables of Student's distribution: 5 blocks have 4 degrees of freedom, t is 2.776, times √(5/4) 3.104, and
        // below −3.104 lie 0.096 % of the normal distribution; and so on.
        for (blocks, percent) in [(5, 0.096), (10, 0.856), (20, 1.588), (40, 2.026), (100, 2.306)] {
            let tail = Blocks { all: blocks, stretches: 1 }.tail();
            assert!((tail * 100.0 - percent).abs() < 0.003, "{blocks}: {tail}");
        }
    }

    #[test]
    fn the_distributions_are_those_of_the_tables() {
        for (freedom, table) in [(4.0, 2.776), (9.0, 2.262), (19.0, 2.093), (29.0, 2.045)] {
            assert!((student(freedom) / table - 1.0).abs() < 0.003, "{freedom}: {}", student(freedom));
        }
        for (x, table) in [(-1.0, 0.158_655), (-1.96, 0.024_998), (-3.0, 0.001_350), (0.0, 0.5)] {
            assert!((below_normal(x) - table).abs() < 1e-6, "{x}: {}", below_normal(x));
        }
    }

    #[test]
    fn what_never_varies_has_an_interval_of_no_width_and_a_seed_repeats_its_draws() {
        let steady = |ms: u64| Slices::new(&[10 * SECOND], (0..1000).map(|i| (i * 10_000_000, ms * 1_000_000, true)));
        let draws =
            |window: &Slices, name| Draws::of(window, Statistic::Latency(0.5), &mut Seed(1).stream(name)).unwrap();
        let their = draws(&steady(10), "b");
        let (low, high) = interval([&draws(&steady(30), "a"), &their], 2.0).unwrap();
        assert!((low - 0.010).abs() < 1e-12 && (high - 0.010).abs() < 1e-12, "{low} to {high}");
        let varied = Slices::new(&[10 * SECOND], (0..1000).map(|i| (i * 10_000_000, i * i % 977 * 1000, i % 7 > 0)));
        let once = interval([&draws(&varied, "a"), &their], 1.0);
        assert_eq!(once, interval([&draws(&varied, "a"), &their], 1.0));
        assert!(once.is_some_and(|(low, high)| low < high));
    }

    #[test]
    fn four_seconds_have_no_interval() {
        let short = Slices::new(&[4 * SECOND], (0..400).map(|i| (i * 10_000_000, 1_000_000, true)));
        assert_eq!(Draws::of(&short, Statistic::SuccessRate, &mut Seed(1).stream("a")), None);
    }

    #[test]
    fn a_quantile_takes_ten_operations_beyond_it() {
        let has_interval = |operations: u64, statistic| {
            let ops = (0..operations).map(|i| (i * 10_000_000, 1_000_000, true));
            Draws::of(&Slices::new(&[10 * SECOND], ops), statistic, &mut Seed(1).stream("a")).is_some()
        };
        for (statistic, enough) in [(0.5, 20), (0.9, 100), (0.95, 200), (0.99, 1000)]
            .map(|(quantile, enough)| (Statistic::Latency(quantile), enough))
        {
            assert!(has_interval(enough, statistic), "{statistic:?}");
            assert!(!has_interval(enough - 1, statistic), "{statistic:?}");
        }
        assert!(has_interval(1, Statistic::SuccessRate));
    }

    #[test]
    fn what_a_design_fixed_is_not_left_to_chance() {
        // 10 s down of 30 s: the share of the time is not one that another run would have otherwise.
        let spread = |stretches: &[u64]| {
            let ops = (0..3000).map(|i| (i * 10_000_000, 1_000_000, i >= 1000));
            let draws =
                Draws::of(&Slices::new(stretches, ops), Statistic::SuccessRate, &mut Seed(1).stream("a")).unwrap();
            let none = Draws { figures: vec![0.0; DRAWS], ..draws.clone() };
            interval([&draws, &none], 1.0).map(|(low, high)| high - low).unwrap()
        };
        assert!(spread(&[10 * SECOND, 20 * SECOND]) < 1e-12);
        assert!(spread(&[30 * SECOND]) > 0.2, "as if it were");
    }

    #[test]
    fn a_stretch_that_is_shorter_than_a_block_is_one_block() {
        let window = Slices::new(&[500_000_000, 10 * SECOND], std::iter::empty());
        assert_eq!(Blocks::of(&window), Blocks { all: 11, stretches: 2 });
        let mut weights = [0; 5];
        draw(&mut weights, BLOCK, &mut Seed(1).stream("a"));
        assert_eq!(weights, [1; 5]);
    }

    /// How many of 200 pairs of runs of 20 s, at 20 operations a second, have 0 in the interval of their difference
    /// of medians, where in truth there is none. Latency is lognormal; `memory` is how much of a common part each
    /// operation keeps of the one before it (first-order autoregression).
    fn covered(memory: f64, block: usize) -> usize {
        let mut truth = Seed(11).stream("truth");
        let mut run = || {
            let mut common = truth.normal();
            let ops: Vec<(u64, u64, bool)> = (0..400)
                .map(|i| {
                    common = memory * common + (1.0 - memory * memory).sqrt() * truth.normal();
                    let latency = 5e6 * (0.3 * common + 0.2 * truth.normal()).exp();
                    (i * 50_000_000, latency as u64, true)
                })
                .collect();
            Slices::new(&[20 * SECOND], ops.into_iter())
        };
        let dice = Seed(12).stream("dice");
        let within = |trial: &u64| {
            let (ours, theirs) = (run(), run());
            let draws = |window: &Slices, number| {
                draws(window, Statistic::Latency(0.5), block, 200, &mut dice.nth(trial * 2 + number))
            };
            let mut differences: Vec<f64> =
                draws(&ours, 0).iter().zip(draws(&theirs, 1)).map(|(our, their)| our - their).collect();
            differences.sort_by(f64::total_cmp);
            between(&differences, Blocks { all: 200 / block, stretches: 1 }.tail())
                .is_some_and(|(low, high)| low <= 0.0 && 0.0 <= high)
        };
        (0..200).filter(within).count()
    }

    #[test]
    fn the_interval_covers_the_truth_where_each_operation_is_on_its_own() {
        // 95 % are 190 of 200; three standard errors are 9.
        let covered = covered(0.0, BLOCK);
        assert!((181..=199).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn and_where_operations_resemble_those_before_them() {
        // 0.8 an operation is a time constant of a quarter of a second.
        let covered = covered(0.8, BLOCK);
        assert!((181..=199).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn slices_drawn_one_by_one_would_claim_to_know_more_than_was_seen() {
        let covered = covered(0.8, 1);
        assert!(covered < 170, "{covered} of 200");
    }
}
