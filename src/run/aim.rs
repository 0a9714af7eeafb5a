//! What a fault is aimed at now: whom it hits, and what is to be done to them. Pure.

use std::sync::Arc;

use crate::backend::{LinkAction, Target};
use crate::event::Hit;
use crate::plan::fault::{Direction, DnsEffect, DnsFault, Fault, FaultKind, Links, NodeFault, Pick, Selector};
use crate::plan::{Action, Order};
use crate::seed::Dice;
use crate::system::NodeAct;
use crate::topology::Topology;
use crate::units::Share;

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
    /// Nodes that lose their power: no link of theirs says a word any more, then they are killed.
    Blackout {
        /// Their links.
        targets: Vec<Target>,
        /// The nodes.
        nodes: Vec<String>,
    },
    /// An order to the lab.
    Order(Order),
    /// Something done to what names mean.
    Names {
        /// Which.
        names: Vec<String>,
        /// The share of the queries.
        share: Share,
        /// What they are answered.
        effect: DnsEffect,
        /// Nodes whose places it takes away from users.
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
            FaultKind::Blackout(blackout) => {
                let nodes = topology.without_power(blackout);
                let links = topology.parts().touching(&nodes).into_iter();
                let targets = links.map(Target::both).collect();
                Aim::Blackout { targets, nodes: nodes.into_iter().map(str::to_owned).collect() }
            }
            FaultKind::StorageCopyDown { .. } | FaultKind::ControlNodeDown { .. } => {
                let (role, count) = fault.kind.loss().expect("it says how many of which role");
                let mut nodes = topology.parts().of_role(role);
                while nodes.len() as u64 > count {
                    nodes.remove(dice.below(nodes.len() as u64) as usize);
                }
                Aim::Nodes { act: NodeAct::Kill, nodes: nodes.into_iter().map(str::to_owned).collect() }
            }
            FaultKind::Order(order) => Aim::Order(*order),
            FaultKind::Action { action, undo } => Aim::Action { action: action.clone(), undo: undo.clone() },
            FaultKind::Dns(fault) => Aim::names(topology, fault),
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
            of_the_run => of_the_run,
        })
    }

    /// Whether it hits nobody.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Aim::Links { targets, .. } => targets.is_empty(),
            Aim::Nodes { nodes, .. } | Aim::Blackout { nodes, .. } => nodes.is_empty(),
            Aim::Names { names, .. } => names.is_empty(),
            Aim::Order(_) | Aim::Action { .. } => false,
        }
    }

    /// Whom it hits; `places` gives a node's places as clients may name them, and `serving` are the nodes that serve now.
    pub(super) fn hit(&self, places: impl Fn(&str) -> Vec<String>, serving: impl FnOnce() -> Vec<String>) -> Hit {
        let links = |targets: &[Target]| targets.iter().map(|target| target.link.to_string()).collect();
        let places = |nodes: &[String]| nodes.iter().flat_map(|node| places(node)).collect();
        match self {
            Aim::Links { targets, nodes, .. } => Hit { links: links(targets), places: places(nodes), ..Hit::default() },
            Aim::Nodes { nodes, .. } => Hit { nodes: nodes.clone(), places: places(nodes), ..Hit::default() },
            Aim::Blackout { targets, nodes } => {
                Hit { links: links(targets), nodes: nodes.clone(), places: places(nodes), ..Hit::default() }
            }
            Aim::Names { names, nodes, .. } => Hit { names: names.clone(), places: places(nodes), ..Hit::default() },
            Aim::Order(_) => {
                let nodes = serving();
                Hit { places: places(&nodes), nodes, ..Hit::default() }
            }
            Aim::Action { .. } => Hit::default(),
        }
    }

    /// Who is mapped to others loses its users; whoever else answers, the places are there still.
    fn names(topology: &Topology, fault: &DnsFault) -> Aim {
        let names = topology.names(fault.names.as_deref());
        let mut nodes: Vec<String> = Vec::new();
        if let DnsEffect::Remap { to, .. } = &fault.effect {
            let meant = names.iter().flat_map(|name| topology.meant_at_first(name));
            nodes.extend(meant.filter(|node| !to.contains(node)).cloned());
        }
        let names = names.into_iter().map(str::to_owned).collect();
        Aim::Names { names, share: fault.share, effect: fault.effect.clone(), nodes }
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
        FaultKind::Dns(_)
        | FaultKind::Kill(_)
        | FaultKind::Pause(_)
        | FaultKind::Stop(_)
        | FaultKind::Restart(_)
        | FaultKind::Blackout(_)
        | FaultKind::StorageCopyDown { .. }
        | FaultKind::ControlNodeDown { .. }
        | FaultKind::Order(_)
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

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde_json::Value;

    use super::*;
    use crate::experiment;
    use crate::plan::{Failover, LabCatalogue, LabDescription, LabError, LabLink, Plan};
    use crate::seed::Seed;

    /// Three control nodes and two copies in two zones, in racks that only copies and one of the others are in.
    struct Ring;

    impl LabCatalogue for Ring {
        fn names(&self) -> Vec<String> {
            vec!["ring".to_owned()]
        }

        fn describe(&self, _: &str, _: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
            let node = |(name, zone, role, rack): (&str, &str, &str, &str)| {
                let labels = [("zone", zone), ("role", role), ("rack", rack)].into_iter();
                let labels = labels.filter(|(_, value)| !value.is_empty());
                (name.to_owned(), labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect())
            };
            let nodes = [
                ("c1", "1", "control", "a"),
                ("c2", "2", "control", ""),
                ("c3", "2", "control", ""),
                ("s1", "1", "storage", "a"),
                ("s2", "2", "storage", "b"),
            ];
            let hop = |from: &str, to: &str| {
                (format!("{from}-{to}"), LabLink { from: from.to_owned(), to: to.to_owned(), http: true })
            };
            Ok(LabDescription {
                nodes: nodes.into_iter().map(node).collect(),
                links: [hop("c1", "c2"), hop("c2", "c3"), hop("c1", "s1"), hop("c3", "s2")].into(),
                entries: vec!["s2".to_owned()],
                orders: vec![Order::Failover(Failover::Unplanned)],
                ..LabDescription::default()
            })
        }

        fn outline(&self, _: &str, _: &IndexMap<String, Value>) -> Option<LabDescription> {
            None
        }
    }

    fn aim(fault: &str, seed: u64) -> Aim {
        let text = format!(
            "{{ name: x, system: {{ lab: {{ ring: {{}} }} }}, faults: {{ it: {fault} }}, workloads: {{ users: {{ to: s2,
             client: {{ http: {{}} }}, arrival: {{ constant: 1/s }}, operation: {{ request: {{}} }},
             labels: {{ zone: '1' }} }} }} }}"
        );
        let parsed = experiment::parse("x.yaml", text, &experiment::Overrides::default());
        let plan = parsed.and_then(|parsed| Plan::resolve(parsed, &Ring)).unwrap_or_else(|told| panic!("{told}")).plan;
        let topology = Topology::of(&plan.runs[0], &Ring).unwrap();
        Aim::of(&plan.runs[0].faults["it"], &topology, &mut Seed(seed).stream("fault/it"))
    }

    #[test]
    fn a_zone_without_power_takes_its_nodes_and_every_link_of_theirs_but_no_users() {
        let Aim::Blackout { targets, nodes } = aim("{ zone_down: { zone: '1' } }", 1) else { panic!() };
        assert_eq!(nodes, ["c1", "s1"]);
        let links: Vec<&str> = targets.iter().map(|target| &*target.link).collect();
        assert_eq!(links, ["c1-c2", "c1-s1"]);
    }

    #[test]
    fn a_place_is_named_or_is_that_of_whoever_stands_in_it_when_the_fault_strikes() {
        let lost = |fault: &str| match aim(fault, 1) {
            Aim::Blackout { nodes, .. } => nodes,
            other => panic!("{other:?}"),
        };
        assert_eq!(lost("{ rack_down: { rack: a } }"), ["c1", "s1"]);
        assert_eq!(lost("{ rack_down: { of: s2 } }"), ["s2"]);
        assert_eq!(lost("{ rack_down: { of: { role: control } } }"), ["c1", "s1"], "the others are in no rack");
        assert_eq!(lost("{ zone_down: { of: { rack: b } } }"), ["c2", "c3", "s2"]);
    }

    #[test]
    fn so_many_nodes_of_a_role_are_drawn_by_the_seed() {
        let drawn = |seed| match aim("{ control_node_down: { nodes: 2 } }", seed) {
            Aim::Nodes { act: NodeAct::Kill, nodes } => nodes,
            other => panic!("{other:?}"),
        };
        let all: Vec<Vec<String>> = (0..20).map(drawn).collect();
        assert!(all.iter().all(|nodes| nodes.len() == 2 && nodes.iter().all(|node| node.starts_with('c'))), "{all:?}");
        assert!(all.iter().any(|nodes| nodes != &all[0]), "always the same: {all:?}");
        assert_eq!(drawn(3), drawn(3));
        let Aim::Nodes { nodes, .. } = aim("{ storage_copy_down: { copies: 2 } }", 1) else { panic!() };
        assert_eq!(nodes, ["s1", "s2"]);
    }

    #[test]
    fn a_failover_hits_who_serves_then() {
        let aim = aim("{ failover: unplanned }", 1);
        let hit = aim.hit(|node| vec![format!("{node}#1")], || vec!["s1".to_owned()]);
        assert_eq!((hit.nodes, hit.places), (vec!["s1".to_owned()], vec!["s1#1".to_owned()]));
    }
}
