//! What became of each node: a lane of states and roles over time, on the shared axis.

use std::fmt::Write;

use super::chart::{Frame, cut, escape, number};
use super::scale::{TimeAxis, ms};
use crate::measure::MeasuredRun;
use crate::report::view::{variant_name, zero};

/// The height of a node's lane: its name above, its bar below.
const LANE: f64 = 34.0;

/// A bar shorter than this share of the axis, in per cent, bears no name: it would stand over the next one's. The
/// table below the drawing has all of them.
const NAMED_FROM: f64 = 8.0;

/// The lanes of a run's nodes as one drawing; none where nothing is known of any node.
pub(super) fn lanes(axis: TimeAxis, run: &MeasuredRun) -> Option<String> {
    if run.nodes.is_empty() {
        return None;
    }
    let zero = zero(run);
    let (mut bars, mut texts) = (String::new(), String::new());
    for (lane, (node, states)) in run.nodes.iter().enumerate() {
        let top = lane as f64 * LANE;
        let _ = write!(
            texts,
            "<text class=\"node\" x=\"2\" y=\"{}\">{}</text>",
            number(top + 12.0),
            escape(&cut(node, 40))
        );
        for (index, state) in states.iter().enumerate() {
            let start = ms(state.at, zero);
            let end = states.get(index + 1).map_or(axis.end_ms, |next| ms(next.at, zero));
            let class = match (state.state.as_str(), state.role.as_deref()) {
                ("ready", Some("primary" | "leader" | "active")) => "lane lead",
                ("ready", _) => "lane",
                _ => "lane out",
            };
            // What was over before the axis begins would only write its name over what comes after it.
            if end <= axis.start_ms {
                continue;
            }
            let (x, width) = (number(start), number((end - start).max(0.0)));
            let _ = write!(
                bars,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"14\"/>",
                number(top + 17.0)
            );
            if axis.percent(end) - axis.percent(start.max(axis.start_ms)) < NAMED_FROM {
                continue;
            }
            let _ = write!(
                texts,
                "<text class=\"{class}\" data-t=\"{x}\" dx=\"4\" x=\"{}%\" y=\"{}\">{}</text>",
                number(axis.percent(start.max(axis.start_ms))),
                number(top + 28.0),
                escape(&cut(&words(state.role.as_deref(), &state.state, state.incarnation), 30)),
            );
        }
    }
    let frame = Frame {
        axis,
        run,
        height: run.nodes.len() as f64 * LANE,
        label: format!(
            "States and roles of the nodes over time, {}. They are in the table below.",
            variant_name(&run.variant)
        ),
        named: false,
    };
    Some(frame.draw(None, &bars, &texts))
}

/// `primary, 2nd start`: the role where it is ready, else what it is instead.
pub(super) fn words(role: Option<&str>, state: &str, incarnation: u64) -> String {
    let what = match (role, state) {
        (Some(role), "ready") => role.to_owned(),
        (Some(role), state) => format!("{state} ({role})"),
        (None, state) => state.to_owned(),
    };
    if incarnation > 1 { format!("{what} #{incarnation}") } else { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_ready_is_said_to_be_what_it_is() {
        assert_eq!(words(Some("primary"), "ready", 1), "primary");
        assert_eq!(words(Some("primary"), "ready", 2), "primary #2");
        assert_eq!(words(Some("primary"), "paused", 1), "paused (primary)");
        assert_eq!(words(None, "gone", 1), "gone");
    }
}
