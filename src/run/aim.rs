//! What a fault is aimed at now: whom it hits, and what is to be done to them. Pure.

use std::sync::Arc;

use crate::backend::{LinkAction, Target};
use crate::event::Hit;
use crate::plan::Action;
use crate::plan::fault::{Direction, Fault, FaultKind, Links, NodeFault, Pick, Selector};
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
            FaultKind::Kill(nodes) => Aim::nodes(topology, nodes, NodeAct::Kill, dice),
            FaultKind::Pause(nodes) => Aim::nodes(topology, nodes, NodeAct::Pause, dice),
            FaultKind::Stop(nodes) => Aim::nodes(topology, nodes, NodeAct::Stop, dice),
            FaultKind::Restart(nodes) => Aim::nodes(topology, nodes, NodeAct::Restart, dice),
            FaultKind::Action { action, undo } => Aim::Action { action: action.clone(), undo: undo.clone() },
            on_links => {
                let action = LinkAction::of(fault).expect("all others are faults on links");
                let (targets, nodes) = struck(on_links, topology);
                Aim::Links { action, targets, nodes }
            }
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

    fn nodes(topology: &Topology, fault: &NodeFault, act: NodeAct, dice: &mut Dice) -> Aim {
        let mut nodes: Vec<String> = topology.select_system(&fault.nodes).into_iter().map(str::to_owned).collect();
        if fault.pick == Pick::One && nodes.len() > 1 {
            nodes = vec![nodes.swap_remove(dice.below(nodes.len() as u64) as usize)];
        }
        Aim::Nodes { act, nodes }
    }
}

/// The links that a fault strikes, and the nodes whose places it takes away from users.
fn struck(kind: &FaultKind, topology: &Topology) -> (Vec<Target>, Vec<String>) {
    match kind {
        FaultKind::Toxic(on) => (targets(topology, &on.links, on.direction), Vec::new()),
        FaultKind::Http(on) => (targets(topology, &on.links, Direction::Both), Vec::new()),
        FaultKind::Partition { a, b, direction, .. } => {
            let crossing = topology.crossing(a, b, *direction);
            let targets = crossing.into_iter().map(|(link, direction)| Target { link: link.into(), direction });
            (targets.collect(), cut_off(topology, a, b))
        }
        FaultKind::Refuse { links }
        | FaultKind::BlackHole { links }
        | FaultKind::HalfOpen { links }
        | FaultKind::Flap { links, .. }
        | FaultKind::Drop { links, .. } => {
            let targets = targets(topology, links, Direction::Both);
            let served_by = |target: &Target| topology.link(&target.link).map(|link| link.to.clone());
            let nodes = targets.iter().filter_map(served_by).collect();
            (targets, nodes)
        }
        FaultKind::Kill(_)
        | FaultKind::Pause(_)
        | FaultKind::Stop(_)
        | FaultKind::Restart(_)
        | FaultKind::Action { .. } => (Vec::new(), Vec::new()),
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
