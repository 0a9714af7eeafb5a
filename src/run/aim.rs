//! What a fault is aimed at now: whom it hits, and what is to be done to them. Pure.

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
pub(super) enum Aim {
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

impl Aim {
    /// What a fault means by the labels that nodes have now; `dice` picks where it takes one of several.
    pub(super) fn of(fault: &Fault, topology: &Topology, dice: &mut Dice) -> Aim {
        match &fault.kind {
            FaultKind::Toxic(toxic) => {
                let action = LinkAction::Toxic { toxic: toxic.toxic, share: toxic.share };
                let targets = targets(topology, &toxic.links, toxic.direction);
                Aim::Links { action, targets, nodes: Vec::new() }
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
                Aim::Links { action, targets, nodes: cut_off(topology, a, b) }
            }
            FaultKind::Refuse { links } => Aim::reach(topology, links, LinkAction::Refuse),
            FaultKind::BlackHole { links } => Aim::reach(topology, links, LinkAction::BlackHole),
            FaultKind::HalfOpen { links } => Aim::reach(topology, links, LinkAction::HalfOpen),
            FaultKind::Flap { links, up, down } => {
                Aim::reach(topology, links, LinkAction::Flap { up: up.0, down: down.0 })
            }
            FaultKind::Drop { links, share, reset } => {
                let once = fault.hold.is_none();
                Aim::reach(topology, links, LinkAction::Drop { share: *share, reset: *reset, once })
            }
            FaultKind::Http(http) => {
                let targets = targets(topology, &http.links, Direction::Both);
                Aim::Links { action: LinkAction::Http(http.clone()), targets, nodes: Vec::new() }
            }
            FaultKind::Kill(nodes) => Aim::nodes(topology, nodes, NodeAct::Kill, dice),
            FaultKind::Pause(nodes) => Aim::nodes(topology, nodes, NodeAct::Pause, dice),
            FaultKind::Stop(nodes) => Aim::nodes(topology, nodes, NodeAct::Stop, dice),
            FaultKind::Restart(nodes) => Aim::nodes(topology, nodes, NodeAct::Restart, dice),
            FaultKind::Action { action, undo } => Aim::Action { action: action.clone(), undo: undo.clone() },
        }
    }

    /// The same with what its actions say filled in.
    pub(super) fn filled<E>(self, fill: impl Fn(&Action) -> Result<Action, E>) -> Result<Aim, E> {
        Ok(match self {
            Aim::Action { action, undo } => {
                Aim::Action { action: fill(&action)?, undo: undo.as_ref().map(fill).transpose()? }
            }
            links_or_nodes => links_or_nodes,
        })
    }

    /// Whether it hits nobody.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Aim::Links { targets, .. } => targets.is_empty(),
            Aim::Nodes { nodes, .. } => nodes.is_empty(),
            Aim::Action { .. } => false,
        }
    }

    /// Whom it hits; `places` gives a node's places as clients may name them.
    pub(super) fn hit(&self, places: impl Fn(&str) -> Vec<String>) -> Hit {
        match self {
            Aim::Links { targets, nodes, .. } => Hit {
                links: targets.iter().map(|target| target.link.to_string()).collect(),
                nodes: Vec::new(),
                places: nodes.iter().flat_map(|node| places(node)).collect(),
            },
            Aim::Nodes { nodes, .. } => Hit {
                links: Vec::new(),
                nodes: nodes.clone(),
                places: nodes.iter().flat_map(|node| places(node)).collect(),
            },
            Aim::Action { .. } => Hit::default(),
        }
    }

    fn reach(topology: &Topology, links: &Links, action: LinkAction) -> Aim {
        let targets = targets(topology, links, Direction::Both);
        let served_by = |target: &Target| topology.link(&target.link).map(|link| link.to.clone());
        let nodes = targets.iter().filter_map(served_by).collect();
        Aim::Links { action, targets, nodes }
    }

    fn nodes(topology: &Topology, fault: &NodeFault, act: NodeAct, dice: &mut Dice) -> Aim {
        let mut nodes: Vec<String> = topology.select_system(&fault.nodes).into_iter().map(str::to_owned).collect();
        if fault.pick == Pick::One && nodes.len() > 1 {
            nodes = vec![nodes.swap_remove(dice.below(nodes.len() as u64) as usize)];
        }
        Aim::Nodes { act, nodes }
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
