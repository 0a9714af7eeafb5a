//! How far apart two variants are, and how sure that is (`docs/measurement.md`, the difference of two variants).
//!
//! ```text
//! one run each:    slices ─▶ blocks drawn with replacement ─▶ differences ─▶ two of their quantiles   (blocks)
//! several of each: a figure each ─▶ differences of all pairs ─▶ so many left out at each end         (ranks)
//! ```

mod blocks;
mod ranked;
mod ranks;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use blocks::{Draws, Statistic};

use super::slices::Slices;
use crate::experiment::expectation::{Expectation, Phase};
use crate::plan::Plan;

/// Runs of each variant from which ranks have a distribution worth its name.
const ENOUGH_RUNS: usize = 8;

/// A figure of one variant minus so many times that of another, in the metric's base unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The difference; of several runs the median of all pairs.
    pub value: f64,
    /// It is no smaller; none where nobody knows.
    pub low: Option<f64>,
    /// It is no greater; none where nobody knows.
    pub high: Option<f64>,
    /// What these two bounds are.
    pub interval: Interval,
}

/// What the bounds of a difference are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// 95 %, by blocks of operations drawn within the two runs.
    Blocks,
    /// 95 %, by the ranks of the runs.
    Ranks,
    /// The smallest and the greatest difference of a run of the one and a run of the other.
    Range,
    /// A figure had not ended when its run did, or some of it nobody can know: the difference lies between.
    Bounds,
    /// None: two numbers.
    None,
}

impl Difference {
    /// Of one run each, by what was drawn of the operations that their figures were worked out from.
    pub(crate) fn of_draws((ours, our): (f64, &Draws), (theirs, their): (f64, &Draws), factor: f64) -> Difference {
        let value = ours - factor * theirs;
        match blocks::interval([our, their], factor) {
            // What is so rare that no draw came upon it still was seen.
            Some((low, high)) => Difference::between(value, low.min(value), high.max(value), Interval::Blocks),
            None => Difference::between(value, value, value, Interval::None),
        }
    }

    /// Of a figure of each run.
    pub(crate) fn of_runs(ours: &[f64], theirs: &[f64], factor: f64) -> Difference {
        let sorted = ranks::differences(ours, theirs, factor);
        let enough = ours.len() >= ENOUGH_RUNS && theirs.len() >= ENOUGH_RUNS;
        let (left_out, interval) = match (enough, sorted.len()) {
            (true, _) => (ranks::left_out(ours.len(), theirs.len()), Interval::Ranks),
            (false, 1) => (0, Interval::None),
            (false, _) => (0, Interval::Range),
        };
        let (low, high) = (sorted[left_out], sorted[sorted.len() - 1 - left_out]);
        Difference::between(ranks::median(&sorted), low, high, interval)
    }

    /// Of figures that are known to lie between two values, the upper of which may be infinite.
    pub(crate) fn of_bounds(ours: &[(f64, f64)], theirs: &[(f64, f64)], factor: f64) -> Difference {
        let least = |all: &[(f64, f64)]| all.iter().map(|(low, _)| *low).fold(f64::INFINITY, f64::min);
        let most = |all: &[(f64, f64)]| all.iter().map(|(_, high)| *high).fold(f64::NEG_INFINITY, f64::max);
        let seen = |all: &[(f64, f64)]| all.iter().map(|(low, _)| *low).collect::<Vec<f64>>();
        let value = ranks::median(&ranks::differences(&seen(ours), &seen(theirs), factor));
        let (low, high) = (least(ours) - factor * most(theirs), most(ours) - factor * least(theirs));
        Difference::between(value, low, high, Interval::Bounds)
    }

    fn between(value: f64, low: f64, high: f64, interval: Interval) -> Difference {
        let known = |bound: f64| bound.is_finite().then_some(bound);
        Difference { value, low: known(low), high: known(high), interval }
    }

    /// Its bounds, infinite where nobody knows.
    pub fn bounds(&self) -> (f64, f64) {
        (self.low.unwrap_or(f64::NEG_INFINITY), self.high.unwrap_or(f64::INFINITY))
    }
}

/// The phases of which slices are kept, to draw from: those that every report compares, and those that a line compares
/// with another variant. None where there is no other variant, and where several runs of each are compared by ranks.
pub(super) fn compared(plan: &Plan) -> Vec<String> {
    let variants_of_one_run = plan.runs.iter().all(|run| run.repetition == 1) && plan.runs.len() > 1;
    if !variants_of_one_run {
        return Vec::new();
    }
    let lines = plan.expect.iter().filter_map(|line| Expectation::parse(line).ok());
    let named = lines.filter(|line| line.other_variant().is_some()).map(|line| line.phase());
    let mut phases: Vec<String> =
        [Phase::Baseline, Phase::Impact].into_iter().chain(named).map(|phase| phase.to_string()).collect();
    phases.sort_unstable();
    phases.dedup();
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::testing::{CONSTANT, plan, workload};

    #[test]
    fn slices_are_kept_where_two_runs_are_compared_by_them() {
        let mut plan = plan(&workload(CONSTANT));
        plan.expect = ["p99 during recovery < 2 * retry=none", "p50 during fault < 1s", "p50 < 2 * baseline"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(compared(&plan), [""; 0], "one run");
        plan.runs.push(plan.runs[0].clone());
        assert_eq!(compared(&plan), ["baseline", "impact", "recovery"]);
        plan.runs[1].repetition = 2;
        assert_eq!(compared(&plan), [""; 0], "repetitions");
    }

    #[test]
    fn few_runs_show_their_range_and_one_of_each_two_numbers() {
        // 5 − 2, 5 − 4, 9 − 2, 9 − 4: 1, 3, 5, 7.
        let few = Difference::of_runs(&[5.0, 9.0], &[4.0, 2.0], 1.0);
        assert_eq!(few, Difference { value: 4.0, low: Some(1.0), high: Some(7.0), interval: Interval::Range });
        let one = Difference::of_runs(&[5.0], &[2.0], 2.0);
        assert_eq!(one, Difference { value: 1.0, low: Some(1.0), high: Some(1.0), interval: Interval::None });
    }

    #[test]
    fn eight_runs_of_each_leave_out_thirteen_pairs_at_each_end() {
        // 101 … 108 against 1 … 8: 64 differences about 100, sorted 93, 94, 94, 95 × 3 … The fourteenth is a 97
        // (1 + 2 + 3 + 4 = 10 are smaller, 5 are 97), the fourteenth from above a 103.
        let ours: Vec<f64> = (101..=108).map(f64::from).collect();
        let theirs: Vec<f64> = (1..=8).map(f64::from).collect();
        let many = Difference::of_runs(&ours, &theirs, 1.0);
        assert_eq!(many, Difference { value: 100.0, low: Some(97.0), high: Some(103.0), interval: Interval::Ranks });
    }

    #[test]
    fn what_had_not_ended_may_be_any_longer() {
        // 3 s and at least 5 s, against 2 s.
        let open = Difference::of_bounds(&[(3.0, 3.0), (5.0, f64::INFINITY)], &[(2.0, 2.0)], 1.0);
        assert_eq!(open, Difference { value: 2.0, low: Some(1.0), high: None, interval: Interval::Bounds });
        assert_eq!(open.bounds(), (1.0, f64::INFINITY));
    }
}
