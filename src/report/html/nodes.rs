//! What became of each node: a lane of states and roles over time, on the shared axis.

use std::fmt::Write;

use indexmap::IndexMap;

use super::chart::{Frame, cut, escape, number};
use super::scale::{TimeAxis, ms};
use crate::clock::Moment;
use crate::measure::{MeasuredRun, NodeState};
use crate::report::view::{variant_name, zero};

/// The height of a node's lane: its name above, its bar below.
const LANE: f64 = 34.0;

/// A bar shorter than this share of the axis, in per cent, bears no name: it would stand over the next one's. The
/// table below the drawing has all of them.
const NAMED_FROM: f64 = 8.0;

/// Who has such a role holds a copy of the data.
const HOLDERS: [&str; 5] = ["primary", "secondary", "standby", "fenced", "storage"];

/// The lanes of a run's nodes as one drawing, and one of how many copies there are; none where nothing is known of any
/// node.
pub(super) fn lanes(axis: TimeAxis, run: &MeasuredRun) -> Option<String> {
    if run.nodes.is_empty() {
        return None;
    }
    let mut lanes: Vec<(&str, Vec<Stretch>)> =
        run.nodes.iter().map(|(node, states)| (node.as_str(), states.iter().map(Stretch::of).collect())).collect();
    lanes.extend(copies(&run.nodes).map(|copies| ("copies of the data", copies)));
    let zero = zero(run);
    let (mut bars, mut texts) = (String::new(), String::new());
    for (lane, (name, stretches)) in lanes.iter().enumerate() {
        let top = lane as f64 * LANE;
        let _ = write!(
            texts,
            "<text class=\"node\" x=\"2\" y=\"{}\">{}</text>",
            number(top + 12.0),
            escape(&cut(name, 40))
        );
        for (index, stretch) in stretches.iter().enumerate() {
            let start = ms(stretch.from, zero);
            let end = stretches.get(index + 1).map_or(axis.end_ms, |next| ms(next.from, zero));
            // What was over before the axis begins would only write its name over what comes after it.
            if end <= axis.start_ms {
                continue;
            }
            let (class, x, width) = (stretch.class, number(start), number((end - start).max(0.0)));
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
                escape(&cut(&stretch.words, 30)),
            );
        }
    }
    let frame = Frame {
        axis,
        run,
        height: lanes.len() as f64 * LANE,
        label: format!(
            "States and roles of the nodes over time, {}. They are in the table below.",
            variant_name(&run.variant)
        ),
        named: false,
    };
    Some(frame.draw(None, &bars, &texts))
}

/// A part of a lane, up to the next one's beginning.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    from: Moment,
    class: &'static str,
    words: String,
}

impl Stretch {
    fn of(state: &NodeState) -> Stretch {
        let class = match (state.state.as_str(), state.role.as_deref()) {
            ("ready", Some("primary" | "leader" | "active")) => "lane lead",
            ("ready", _) => "lane",
            _ => "lane out",
        };
        Stretch { from: state.at, class, words: words(state.role.as_deref(), &state.state, state.incarnation) }
    }
}

/// How many nodes hold a copy that counts, over time; none where never two do.
fn copies(nodes: &IndexMap<String, Vec<NodeState>>) -> Option<Vec<Stretch>> {
    let holds =
        |state: &NodeState| state.state == "ready" && state.role.as_deref().is_some_and(|role| HOLDERS.contains(&role));
    let mut changes: Vec<(Moment, usize, bool)> = Vec::new();
    for (node, states) in nodes.values().enumerate() {
        changes.extend(states.iter().map(|state| (state.at, node, holds(state))));
    }
    changes.sort_by_key(|(at, ..)| *at);
    let mut holding = vec![false; nodes.len()];
    let mut counts: Vec<(Moment, usize)> = Vec::new();
    for (at, node, holds) in changes {
        holding[node] = holds;
        let count = holding.iter().filter(|holds| **holds).count();
        // Of what happens in the same moment the last is what lasts.
        counts.pop_if(|(before, _)| *before == at);
        if counts.last().is_none_or(|(_, before)| *before != count) {
            counts.push((at, count));
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().filter(|most| *most > 1)?;
    let stretch = |(from, count): (Moment, usize)| Stretch {
        from,
        class: if count < most { "lane out" } else { "lane" },
        words: count.to_string(),
    };
    Some(counts.into_iter().map(stretch).collect())
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
    fn copies_are_counted_where_a_node_is_lost_and_a_spare_takes_its_place() {
        let state = |s: u64, state: &str, role: Option<&str>| NodeState {
            at: Moment(s * 1_000_000_000),
            incarnation: 1,
            state: state.to_owned(),
            role: role.map(str::to_owned),
        };
        let nodes = [
            ("node-1", vec![state(0, "ready", Some("primary")), state(5, "gone", None)]),
            ("node-2", vec![state(1, "ready", Some("secondary")), state(6, "ready", Some("primary"))]),
            ("spare-1", vec![state(1, "ready", Some("spare")), state(8, "ready", Some("secondary"))]),
        ];
        let nodes: IndexMap<String, Vec<NodeState>> =
            nodes.into_iter().map(|(name, states)| (name.to_owned(), states)).collect();
        let told: Vec<(u64, String, &str)> = copies(&nodes)
            .unwrap()
            .into_iter()
            .map(|stretch| (stretch.from.0 / 1_000_000_000, stretch.words, stretch.class))
            .collect();
        let said = |s, words: &str, class| (s, words.to_owned(), class);
        assert_eq!(
            told,
            [said(0, "1", "lane out"), said(1, "2", "lane"), said(5, "1", "lane out"), said(8, "2", "lane")]
        );
        assert_eq!(copies(&IndexMap::new()), None);
    }

    #[test]
    fn a_node_that_is_not_ready_is_said_to_be_what_it_is() {
        assert_eq!(words(Some("primary"), "ready", 1), "primary");
        assert_eq!(words(Some("primary"), "ready", 2), "primary #2");
        assert_eq!(words(Some("primary"), "paused", 1), "paused (primary)");
        assert_eq!(words(None, "gone", 1), "gone");
    }
}
