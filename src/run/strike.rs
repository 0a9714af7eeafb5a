//! What a fault means now: whom it hits, and what is to be done to them. Pure.

use std::sync::Arc;

use crate::backend::{LinkAction, Target};
use crate::event::Hit;
use crate::plan::Action;
use crate::plan::fault::{Direction, Fault, FaultKind, Links, Manner, NodeFault, Pick, Selector};
use crate::seed::Dice;
use crate::system::NodeAct;
use crate::topology::Topology;

/// A fault with its selectors resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Strike {
    /// Something done to links.
    Links {
        /// What.
        action: LinkAction,
        /// To which.
        targets: Vec<Target>,
        /// Nodes whose places it takes away from users.
        nodes: Vec<String>,
    },
    /// Something done to nodes.
    Nodes {
        /// What.
        act: NodeAct,
        /// To which.
        nodes: Vec<String>,
    },
    /// Something done outside the run.
    Action {
        /// What.
        action: Action,
        /// The way back.
        undo: Option<Action>,
    },
}

impl Strike {
    /// What a fault means by the labels that nodes have now; `dice` picks where it takes one of several.
    pub(super) fn of(fault: &Fault, topology: &Topology, dice: &mut Dice) -> Strike {
        match &fault.kind {
            FaultKind::Toxic(toxic) => {
                let action = LinkAction::Toxic { toxic: toxic.toxic, share: toxic.share };
                let targets = targets(topology, &toxic.links, toxic.direction);
                Strike::Links { action, targets, nodes: Vec::new() }
            }
            FaultKind::Partition { a, b, direction, manner } => {
                let action = match manner {
                    Manner::Silent => LinkAction::Silent,
                    Manner::Reset => LinkAction::Reset,
                    Manner::Refused => LinkAction::Refused,
                };
                let crossing = topology.crossing(a, b, *direction);
                let targets =
                    crossing.into_iter().map(|(link, direction)| Target { link: link.into(), direction }).collect();
                Strike::Links { action, targets, nodes: cut_off(topology, a, b) }
            }
            FaultKind::Refuse { links } => Strike::reach(topology, links, LinkAction::Refuse),
            FaultKind::BlackHole { links } => Strike::reach(topology, links, LinkAction::BlackHole),
            FaultKind::HalfOpen { links } => Strike::reach(topology, links, LinkAction::HalfOpen),
            FaultKind::Flap { links, up, down } => {
                Strike::reach(topology, links, LinkAction::Flap { up: up.0, down: down.0 })
            }
            FaultKind::Drop { links, share, reset } => {
                let once = fault.hold.is_none();
                Strike::reach(topology, links, LinkAction::Drop { share: *share, reset: *reset, once })
            }
            FaultKind::Http(http) => {
                let targets = targets(topology, &http.links, Direction::Both);
                Strike::Links { action: LinkAction::Http(http.clone()), targets, nodes: Vec::new() }
            }
            FaultKind::Kill(nodes) => Strike::nodes(topology, nodes, NodeAct::Kill, dice),
            FaultKind::Pause(nodes) => Strike::nodes(topology, nodes, NodeAct::Pause, dice),
            FaultKind::Stop(nodes) => Strike::nodes(topology, nodes, NodeAct::Stop, dice),
            FaultKind::Restart(nodes) => Strike::nodes(topology, nodes, NodeAct::Restart, dice),
            FaultKind::Action { action, undo } => Strike::Action { action: action.clone(), undo: undo.clone() },
        }
    }

    /// Whether it hits nobody.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Strike::Links { targets, .. } => targets.is_empty(),
            Strike::Nodes { nodes, .. } => nodes.is_empty(),
            Strike::Action { .. } => false,
        }
    }

    /// Whom it hits; `places` gives a node's places as clients may name them.
    pub(super) fn hit(&self, places: impl Fn(&str) -> Vec<String>) -> Hit {
        match self {
            Strike::Links { targets, nodes, .. } => Hit {
                links: targets.iter().map(|target| target.link.to_string()).collect(),
                nodes: Vec::new(),
                places: nodes.iter().flat_map(|node| places(node)).collect(),
            },
            Strike::Nodes { nodes, .. } => Hit {
                links: Vec::new(),
                nodes: nodes.clone(),
                places: nodes.iter().flat_map(|node| places(node)).collect(),
            },
            Strike::Action { .. } => Hit::default(),
        }
    }

    fn reach(topology: &Topology, links: &Links, action: LinkAction) -> Strike {
        let targets = targets(topology, links, Direction::Both);
        let served_by = |target: &Target| topology.link(&target.link).map(|link| link.to.clone());
        let nodes = targets.iter().filter_map(served_by).collect();
        Strike::Links { action, targets, nodes }
    }

    fn nodes(topology: &Topology, fault: &NodeFault, act: NodeAct, dice: &mut Dice) -> Strike {
        let mut nodes: Vec<String> = topology.select_system(&fault.nodes).into_iter().map(str::to_owned).collect();
        if fault.pick == Pick::One && nodes.len() > 1 {
            nodes = vec![nodes.swap_remove(dice.below(nodes.len() as u64) as usize)];
        }
        Strike::Nodes { act, nodes }
    }
}

fn targets(topology: &Topology, links: &Links, direction: Direction) -> Vec<Target> {
    topology.links(links).into_iter().map(|link| Target { link: Arc::from(link), direction }).collect()
}

/// Whose places a partition takes away: side a's where b is everyone else, both sides' where b is named.
fn cut_off(topology: &Topology, a: &Selector, b: &Selector) -> Vec<String> {
    let mut nodes = topology.select_system(a);
    if *b != Selector::All {
        nodes.extend(topology.select_system(b));
    }
    nodes.into_iter().map(str::to_owned).collect()
}
