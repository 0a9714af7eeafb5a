//! How a failover was spent: each milestone as a step of a waterfall, the unknown ones drawn as such.

use std::fmt::Write;

use super::chart::number;
use crate::clock::Moment;
use crate::event::Milestone;
use crate::measure::{MeasuredRun, Outage};
use crate::report::row::all;
use crate::report::say;
use crate::report::view::variant_name;

/// The waterfalls of one workload and fault, a variant each, on one scale.
pub(super) struct Failover {
    /// The workload, and the fault or group of faults.
    pub(super) title: String,
    pub(super) waterfalls: Vec<Waterfall>,
}

/// One variant's waterfall.
pub(super) struct Waterfall {
    pub(super) variant: String,
    pub(super) steps: Vec<Step>,
}

/// One milestone.
pub(super) struct Step {
    pub(super) label: &'static str,
    /// `+0.620 s`, or `unknown`.
    pub(super) at: String,
    /// What the time before it was: `310 ms after detected`; or that it stands out of order.
    pub(super) part: String,
    /// Who says so.
    pub(super) source: String,
    pub(super) svg: String,
}

/// The failovers of a workload, one a fault or group of faults.
pub(super) fn failovers(workload: &str, runs: &[&MeasuredRun]) -> Vec<Failover> {
    let mut groups: Vec<&str> = Vec::new();
    for (_, group, _) in outages(workload, runs) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let failover = |group: &str| {
        let of_group: Vec<(&MeasuredRun, &Outage)> = outages(workload, runs)
            .filter(|(_, name, _)| *name == group)
            .map(|(run, _, outage)| (run, outage))
            .collect();
        let last = |outage: &Outage| {
            outage.milestones.iter().filter_map(|figure| figure.at).max().map_or(0, |at| since(at, outage))
        };
        let span = of_group.iter().map(|(_, outage)| last(outage)).max().unwrap_or(0).max(1);
        Failover {
            title: format!("{workload}, {group}"),
            waterfalls: of_group
                .iter()
                .map(|(run, outage)| Waterfall {
                    variant: variant_name(&run.variant).into(),
                    steps: steps(outage, span),
                })
                .collect(),
        }
    };
    groups.into_iter().map(failover).collect()
}

fn outages<'a>(
    workload: &str,
    runs: &[&'a MeasuredRun],
) -> impl Iterator<Item = (&'a MeasuredRun, &'a str, &'a Outage)> {
    runs.iter().flat_map(move |run| {
        let class = run.workloads.get(workload).and_then(all);
        class.into_iter().flat_map(|class| &class.outages).map(|(group, outage)| (*run, group.as_str(), outage))
    })
}

fn since(at: Moment, outage: &Outage) -> i64 {
    at.signed_ns_since(outage.t0)
}

fn steps(outage: &Outage, span: i64) -> Vec<Step> {
    let mut before: Option<(Milestone, Moment)> = None;
    let mut steps = Vec::new();
    for figure in &outage.milestones {
        let Some(at) = figure.at else {
            let svg = bar("unknown", 0, span, span, None);
            steps.push(Step {
                label: figure.milestone.label(),
                at: "unknown".into(),
                part: "nobody told".into(),
                source: String::new(),
                svg,
            });
            continue;
        };
        let from = before.map_or(outage.t0, |(_, at)| at);
        let (part, class) = match before {
            None => (String::new(), "step"),
            Some((milestone, earlier)) if at < earlier => {
                let by = say::span(earlier.saturating_since(at));
                (format!("out of order: {by} before {}", milestone.label()), "backwards")
            }
            Some((milestone, earlier)) => {
                (format!("{} after {}", say::span(at.saturating_since(earlier)), milestone.label()), "step")
            }
        };
        let svg = bar(class, since(from, outage), since(at, outage), span, Some(since(at, outage)));
        steps.push(Step {
            label: figure.milestone.label(),
            at: say::offset(at, outage.t0),
            part,
            source: figure.source.clone(),
            svg,
        });
        // A milestone out of order does not move the point that later ones are counted from.
        if before.is_none_or(|(_, earlier)| at >= earlier) {
            before = Some((figure.milestone, at));
        }
    }
    steps
}

/// A bar between two times, and a dot at the milestone.
fn bar(class: &str, from: i64, to: i64, span: i64, dot: Option<i64>) -> String {
    // The last dot keeps clear of the edge.
    let percent = |ns: i64| number((ns as f64 / span as f64 * 94.0).clamp(0.0, 94.0) + 3.0);
    let (left, right) = (from.min(to), from.max(to));
    let mut svg = format!(
        "<svg class=\"bar\" width=\"100%\" height=\"16\" aria-hidden=\"true\"><line class=\"{class}\" x1=\"{}%\" x2=\"{}%\" y1=\"8\" y2=\"8\"/>",
        percent(left),
        percent(right)
    );
    if let Some(at) = dot {
        let _ = write!(svg, "<circle class=\"dot {class}\" cx=\"{}%\" cy=\"8\" r=\"4\"/>", percent(at));
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Figure, Metastable, MilestoneFigure};

    fn outage(milestones: Vec<(Milestone, Option<u64>)>) -> Outage {
        let figure = |(milestone, ms): (Milestone, Option<u64>)| MilestoneFigure {
            milestone,
            at: ms.map(Moment::from_millis),
            source: "lab".into(),
        };
        Outage {
            faults: vec!["cut".into()],
            t0: Moment::from_millis(1_000),
            injection_skew_ns: 0,
            removed: Moment::from_millis(2_000),
            until: Moment::from_millis(3_000),
            milestones: milestones.into_iter().map(figure).collect(),
            failover_latency_ns: Figure::Known(0),
            last_error_ns: Figure::Known(0),
            unavailability_ns: Figure::Known(0),
            resolution_ns: 0,
            gap_threshold_ns: 0,
            stall_time_ns: Figure::Known(0),
            gaps: Vec::new(),
            degraded_time_ns: 0,
            time_to_steady_ns: Figure::Known(0),
            recovery_surge: Figure::Known(1.0),
            metastable: Metastable::No,
            rpo_lost: None,
            rpo_age_ns: None,
            latency_debt_ns: 0,
        }
    }

    #[test]
    fn a_part_is_the_difference_of_adjacent_known_milestones() {
        let steps = steps(
            &outage(vec![
                (Milestone::Injected, Some(1_000)),
                (Milestone::Detected, Some(1_600)),
                (Milestone::Decided, None),
                (Milestone::Promoted, Some(1_900)),
            ]),
            1_000_000_000,
        );
        assert_eq!(
            steps.iter().map(|step| step.part.as_str()).collect::<Vec<_>>(),
            ["", "600 ms after injected", "nobody told", "300 ms after detected"]
        );
        assert_eq!(steps[2].at, "unknown");
        assert!(steps[2].svg.contains("class=\"unknown\""));
    }

    #[test]
    fn a_milestone_out_of_order_is_drawn_as_such_and_not_clamped() {
        let steps = steps(
            &outage(vec![
                (Milestone::Injected, Some(1_000)),
                (Milestone::Detected, Some(1_600)),
                (Milestone::Promoted, Some(1_500)),
                (Milestone::Redirected, Some(1_700)),
            ]),
            1_000_000_000,
        );
        assert_eq!(steps[2].part, "out of order: 100 ms before detected");
        assert!(steps[2].svg.contains("class=\"backwards\""));
        assert_eq!(steps[3].part, "100 ms after detected");
    }
}
