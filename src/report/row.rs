//! The comparison table: one row each variant and workload, one column each figure that people ask for first.

use std::cmp::Ordering;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::say;
use crate::measure::{ClassFigures, Figure, MeasuredRun, WorkloadFigures};

/// The figures of one variant and workload, over all its repetitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The variant's id; empty without a matrix.
    pub variant: String,
    /// The workload's name.
    pub workload: String,
    /// How many runs it is made of.
    pub runs: usize,
    /// Operations due in `impact` (`overall` where nothing was injected): ok / all.
    pub success_rate: Cell,
    /// Time to the first success outside the hit set; the longest, if there were several faults.
    pub failover_ns: Cell,
    /// Sum of the failing gaps, over all faults.
    pub unavailable_ns: Cell,
    /// 99 % of the operations due while a fault was in force took at most so long.
    pub p99_in_fault_ns: Cell,
    /// Attempts / operations in `impact`.
    pub attempts_per_operation: Cell,
    /// Acknowledged writes that are gone.
    pub lost: Cell,
}

/// A figure over repetitions, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Measured.
    Known(Spread),
    /// It does not apply, or was not measured, and why.
    NotApplicable(String),
}

/// A figure's spread over repetitions; all three are the same where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// At least so much: in some run it had not ended when the run did.
    pub at_least: bool,
}

/// What a column's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    Share,
    Time,
    Factor,
    Count,
}

/// A column of the table.
pub(crate) struct Column {
    /// Its heading.
    pub(crate) heading: &'static str,
    /// The id of its definition in the report.
    pub(crate) definition: &'static str,
    pub(crate) quantity: Quantity,
    pub(crate) cell: fn(&Row) -> &Cell,
}

/// The columns, in order.
pub(crate) const COLUMNS: [Column; 6] = [
    Column { heading: "success", definition: "success_rate", quantity: Quantity::Share, cell: |row| &row.success_rate },
    Column {
        heading: "failover",
        definition: "failover_latency",
        quantity: Quantity::Time,
        cell: |row| &row.failover_ns,
    },
    Column {
        heading: "unavailable",
        definition: "unavailability",
        quantity: Quantity::Time,
        cell: |row| &row.unavailable_ns,
    },
    Column {
        heading: "p99 in fault",
        definition: "latency",
        quantity: Quantity::Time,
        cell: |row| &row.p99_in_fault_ns,
    },
    Column {
        heading: "attempts",
        definition: "amplification",
        quantity: Quantity::Factor,
        cell: |row| &row.attempts_per_operation,
    },
    Column { heading: "lost", definition: "lost", quantity: Quantity::Count, cell: |row| &row.lost },
];

/// A row for each variant and workload, in the order of the plan.
pub(super) fn rows(runs: &[MeasuredRun]) -> Vec<Row> {
    let mut groups: IndexMap<(&str, &str), Vec<(&MeasuredRun, &WorkloadFigures)>> = IndexMap::new();
    for run in runs {
        for (name, workload) in &run.workloads {
            groups.entry((&run.variant, name)).or_default().push((run, workload));
        }
    }
    groups.into_iter().map(|((variant, workload), runs)| row(variant, workload, &runs)).collect()
}

fn row(variant: &str, workload: &str, runs: &[(&MeasuredRun, &WorkloadFigures)]) -> Row {
    let over = |figure: fn(&MeasuredRun, &WorkloadFigures) -> Figure<f64>| {
        Cell::over(runs.iter().map(|(run, workload)| figure(run, workload)))
    };
    Row {
        variant: variant.into(),
        workload: workload.into(),
        runs: runs.len(),
        success_rate: over(|_, workload| match impact(workload) {
            Some(window) => known(window.success_rate, "no operation was due"),
            None => Figure::NotApplicable("no operation was due".into()),
        }),
        failover_ns: over(|_, workload| failover(workload)),
        unavailable_ns: over(|_, workload| unavailable(workload)),
        p99_in_fault_ns: over(|run, workload| match all(workload).and_then(|class| class.windows.get("fault")) {
            Some(window) if window.latency.count > 0 => Figure::Known(window.latency.p99_ns as f64),
            _ if run.faults.is_empty() => Figure::NotApplicable("nothing was injected".into()),
            _ => Figure::NotApplicable("no operation was due while a fault was in force".into()),
        }),
        attempts_per_operation: over(|_, workload| {
            known(impact(workload).and_then(|window| window.amplification), "no operation was due")
        }),
        lost: over(|_, workload| match &workload.consistency {
            Some(consistency) => Figure::Known(consistency.lost as f64),
            None => Figure::NotApplicable("not measured: these operations have no state".into()),
        }),
    }
}

fn known(value: Option<f64>, why_not: &str) -> Figure<f64> {
    value.map_or_else(|| Figure::NotApplicable(why_not.into()), Figure::Known)
}

/// All classes of a workload together.
pub(crate) fn all(workload: &WorkloadFigures) -> Option<&ClassFigures> {
    workload.classes.get("all").or_else(|| workload.classes.values().next())
}

/// The window that a workload's summary speaks of.
pub(crate) fn impact(workload: &WorkloadFigures) -> Option<&crate::measure::Window> {
    let windows = &all(workload)?.windows;
    windows.get("impact").or_else(|| windows.get("overall"))
}

/// The longest failover of all faults. Where `all` has none, because reads were served elsewhere all the time,
/// the first class that has one speaks for it.
fn failover(workload: &WorkloadFigures) -> Figure<f64> {
    let of_class =
        |class: &ClassFigures| worst(class.outages.values().map(|outage| &outage.failover_latency_ns), f64::max);
    let figures: Vec<Figure<f64>> = workload.classes.values().filter_map(of_class).collect();
    let defined = figures.iter().find(|figure| figure.value().is_some()).or(figures.first());
    defined.cloned().unwrap_or_else(|| Figure::NotApplicable("nothing was injected".into()))
}

fn unavailable(workload: &WorkloadFigures) -> Figure<f64> {
    let outages = all(workload).into_iter().flat_map(|class| class.outages.values());
    worst(outages.map(|outage| &outage.unavailability_ns), |sum, one| sum + one)
        .unwrap_or_else(|| Figure::NotApplicable("nothing was injected".into()))
}

/// Folds the figures that apply; the reason of the first if none does, nothing if there is none.
fn worst<'a>(figures: impl Iterator<Item = &'a Figure<u64>>, fold: fn(f64, f64) -> f64) -> Option<Figure<f64>> {
    figures.map(as_float).reduce(|one, other| match (one, other) {
        (Figure::Known(one), Figure::Known(other)) => Figure::Known(fold(one, other)),
        (Figure::NotApplicable(_), other) => other,
        (one, Figure::NotApplicable(_)) => one,
        (one, other) => Figure::AtLeast(fold(one.value().unwrap_or_default(), other.value().unwrap_or_default())),
    })
}

fn as_float(figure: &Figure<u64>) -> Figure<f64> {
    match figure {
        Figure::Known(ns) => Figure::Known(*ns as f64),
        Figure::AtLeast(ns) => Figure::AtLeast(*ns as f64),
        Figure::NotApplicable(why) => Figure::NotApplicable(why.clone()),
    }
}

impl Row {
    /// Orders variants from the worst to the best for users: by success, then by the time without it.
    pub(crate) fn as_users_see_it(&self, other: &Row) -> Ordering {
        let success = |row: &Row| row.success_rate.median().unwrap_or(-1.0);
        let outage = |row: &Row| row.unavailable_ns.median().unwrap_or(f64::MAX);
        success(self).total_cmp(&success(other)).then(outage(other).total_cmp(&outage(self)))
    }
}

impl Cell {
    /// The spread of the runs in which the figure applies; the first reason if it applies in none.
    fn over(figures: impl Iterator<Item = Figure<f64>>) -> Cell {
        let (mut values, mut at_least, mut why) = (Vec::new(), false, None);
        for figure in figures {
            at_least |= matches!(figure, Figure::AtLeast(_));
            match figure {
                Figure::Known(value) | Figure::AtLeast(value) => values.push(value),
                Figure::NotApplicable(reason) => why = why.or(Some(reason)),
            }
        }
        values.sort_by(f64::total_cmp);
        match values.as_slice() {
            [] => Cell::NotApplicable(why.unwrap_or_else(|| "not measured".into())),
            [min, .., max] => {
                let middle = values.len() / 2;
                let median = if values.len() % 2 == 1 {
                    values[middle]
                } else {
                    f64::midpoint(values[middle - 1], values[middle])
                };
                Cell::Known(Spread { median, min: *min, max: *max, at_least })
            }
            [one] => Cell::Known(Spread { median: *one, min: *one, max: *one, at_least }),
        }
    }

    /// The middle value.
    pub(crate) fn median(&self) -> Option<f64> {
        match self {
            Cell::Known(spread) => Some(spread.median),
            Cell::NotApplicable(_) => None,
        }
    }

    /// The value with its unit; `n/a` where it does not apply.
    pub(crate) fn say(&self, quantity: Quantity) -> String {
        match self {
            Cell::NotApplicable(why) if why.starts_with("not measured") => "not measured".into(),
            Cell::NotApplicable(_) => "n/a".into(),
            Cell::Known(spread) => {
                format!("{}{}", if spread.at_least { "≥ " } else { "" }, quantity.say(spread.median))
            }
        }
    }

    /// `1.28 s to 1.40 s`, where repetitions differ.
    pub(crate) fn range(&self, quantity: Quantity) -> Option<String> {
        match self {
            Cell::Known(spread) if spread.min < spread.max => {
                Some(format!("{} to {}", quantity.say(spread.min), quantity.say(spread.max)))
            }
            _ => None,
        }
    }

    /// Why there is no value; empty where there is one.
    pub(crate) fn why_not(&self) -> &str {
        match self {
            Cell::NotApplicable(why) => why,
            Cell::Known(_) => "",
        }
    }
}

impl Quantity {
    /// A number of this kind, with its unit.
    pub(crate) fn say(self, value: f64) -> String {
        match self {
            Quantity::Share => say::share(value),
            Quantity::Time => say::duration(value.round() as u64),
            Quantity::Factor => say::factor(value),
            // The median of an even number of runs may lie between two counts.
            Quantity::Count if value.fract() != 0.0 => format!("{value:.1}"),
            Quantity::Count => say::count(value as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_told_by_their_median_and_range() {
        let cell = Cell::over([3.0, 1.0, 2.0].map(|s| Figure::Known(s * 1e9)).into_iter());
        assert_eq!(cell.say(Quantity::Time), "2.00 s");
        assert_eq!(cell.range(Quantity::Time).as_deref(), Some("1.00 s to 3.00 s"));
        let cell = Cell::over([1.0, 2.0].map(Figure::Known).into_iter());
        assert_eq!(cell.say(Quantity::Count), "1.5");
    }

    #[test]
    fn a_lower_bound_stays_one_in_the_fold() {
        let figures =
            [Figure::Known(1_000_000_000), Figure::AtLeast(2_000_000_000), Figure::NotApplicable("why".into())];
        let sum = worst(figures.iter(), |sum, one| sum + one).unwrap();
        assert_eq!(sum, Figure::AtLeast(3e9));
        assert_eq!(Cell::over([sum].into_iter()).say(Quantity::Time), "≥ 3.00 s");
    }

    #[test]
    fn a_figure_that_applies_nowhere_says_why() {
        let cell = Cell::over([Figure::NotApplicable("not measured: no state".into())].into_iter());
        assert_eq!(cell.say(Quantity::Count), "not measured");
        assert_eq!(cell.why_not(), "not measured: no state");
        assert_eq!(worst([].iter(), f64::max), None);
    }
}
