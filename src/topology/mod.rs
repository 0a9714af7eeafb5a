//! Nodes, links, zones, selectors: whom a fault concerns, decided when it strikes.
//!
//! A partition is a fault of the system, and a link is where it happens: [`Topology::crossing`] turns two sets of
//! nodes into the links between them, each with the direction of bytes to withhold.

use crate::event::{Layout, LayoutLink, LayoutNode};
use crate::plan::fault::{Blackout, Crossing, Direction, Links, Selector};
use crate::plan::parts::{LinkPart, LiveLabels, NodePart, Parts};
use crate::plan::{LabCatalogue, LabError, Names, RunPlan};

/// The nodes and links of a run, with the labels that they have now.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    parts: Parts,
    names: Names,
    live: LiveLabels,
}

impl Topology {
    /// The topology of a run at its start.
    pub fn of(run: &RunPlan, labs: &dyn LabCatalogue) -> Result<Topology, Vec<LabError>> {
        Ok(Topology { parts: Parts::of(run, labs)?, names: run.names.clone(), live: LiveLabels::new() })
    }

    /// Every node and link.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Who takes part and who dials whom, as events tell it.
    pub fn layout(&self) -> Layout {
        let node = |node: &NodePart| LayoutNode { kind: node.kind.word().to_owned(), labels: node.labels.clone() };
        let link = |link: &LinkPart| LayoutLink { from: link.from.clone(), to: link.to.clone() };
        Layout {
            nodes: self.parts.nodes.iter().map(|(name, part)| (name.clone(), node(part))).collect(),
            links: self.parts.links.iter().map(|(name, part)| (name.clone(), link(part))).collect(),
            modelled: self.parts.modelled.clone(),
        }
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&NodePart> {
        self.parts.nodes.get(name)
    }

    /// A link by name.
    pub fn link(&self, name: &str) -> Option<&LinkPart> {
        self.parts.links.get(name)
    }

    /// A label of a node as it is now.
    pub fn label(&self, node: &str, label: &str) -> Option<&str> {
        let live = self.live.get(node).and_then(|labels| labels.get(label));
        live.or_else(|| self.parts.nodes.get(node)?.labels.get(label)).map(String::as_str)
    }

    /// A label changed: a node was promoted, or demoted.
    pub fn set_label(&mut self, node: &str, label: &str, value: &str) {
        self.live.entry(node.to_owned()).or_default().insert(label.to_owned(), value.to_owned());
    }

    /// The nodes that a selector means now, in order.
    pub fn select(&self, selector: &Selector) -> Vec<&str> {
        self.parts.select(selector, &self.live)
    }

    /// The nodes of the system that a selector means now: those that a node fault may take.
    pub fn select_system(&self, selector: &Selector) -> Vec<&str> {
        let mut names = self.select(selector);
        names.retain(|name| self.parts.nodes[*name].kind.is_system());
        names
    }

    /// The nodes that a loss of power takes now, in order.
    pub fn without_power(&self, blackout: &Blackout) -> Vec<&str> {
        self.parts.without_power(blackout, &self.live)
    }

    /// The links that a link fault means now, in order.
    pub fn links(&self, links: &Links) -> Vec<&str> {
        match links {
            Links::Named(names) => {
                let known = self.parts.links.keys().map(String::as_str);
                known.filter(|link| names.iter().any(|name| name == link)).collect()
            }
            Links::Between { from, to } => self.parts.between(&self.select(from), &self.select(to)),
        }
    }

    /// Whether a workload dials this link by a name.
    pub fn is_dialled_by_name(&self, link: &str) -> bool {
        let loopback = |listen: &str| listen.starts_with("127.0.0.1:");
        self.parts.links.get(link).is_some_and(|link| link.workload && !loopback(&link.listen))
    }

    /// The names that a fault on names means: all that there are, or those of these that there are.
    pub fn names(&self, wanted: Option<&[String]>) -> Vec<&str> {
        let names = self.names.keys().filter(|name| wanted.is_none_or(|wanted| wanted.contains(name)));
        names.map(String::as_str).collect()
    }

    /// The nodes that a name means at the start.
    pub fn meant_at_first(&self, name: &str) -> &[String] {
        self.names.get(name).map_or(&[], |name| &name.to)
    }

    /// The links that a partition cuts now, each with the direction of bytes that it withholds.
    pub fn crossing(&self, a: &Selector, b: &Selector, crossing: Crossing) -> Vec<(&str, Direction)> {
        let (a, b) = self.parts.sides(a, b, &self.live);
        self.parts.crossing(&a, &b, crossing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NoLabs;
    use crate::plan::Plan;

    const PAIR: &str = "
name: pair
system:
  nodes:
    gateway: { endpoint: '127.0.0.1:1', labels: { role: gateway, zone: '1' } }
    a: { endpoint: '127.0.0.1:2', labels: { role: primary, zone: '1' } }
    b: { endpoint: '127.0.0.1:3', labels: { role: standby, zone: '2' } }
  links:
    gateway-a: { from: gateway, to: a }
    gateway-b: { from: gateway, to: b }
    a-b: { from: a, to: b }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 100/s }
    operation: { register: {} }
";

    fn pair() -> Topology {
        let experiment = crate::experiment::parse("pair.yaml", PAIR.to_owned(), &Default::default()).unwrap();
        let plan = Plan::resolve(experiment, &NoLabs).unwrap_or_else(|mistakes| panic!("{mistakes}")).plan;
        Topology::of(&plan.runs[0], &NoLabs).unwrap()
    }

    fn role(role: &str) -> Selector {
        Selector::Labels([("role".to_owned(), role.to_owned())].into_iter().collect())
    }

    #[test]
    fn a_workload_brings_a_node_and_a_link() {
        let pair = pair();
        assert_eq!(pair.link("orders-gateway").map(|link| (link.from.as_str(), link.http)), Some(("orders", true)));
        assert_eq!(pair.select(&Selector::All), ["gateway", "a", "b", "orders"]);
        assert_eq!(pair.select_system(&Selector::All), ["gateway", "a", "b"]);
    }

    #[test]
    fn a_partition_cuts_the_links_between_its_sides() {
        let pair = pair();
        let cut = pair.crossing(&role("primary"), &Selector::All, Crossing::Both);
        assert_eq!(cut, [("gateway-a", Direction::Both), ("a-b", Direction::Both)]);
    }

    #[test]
    fn one_way_concerns_the_direction_of_bytes_whoever_dialled() {
        let pair = pair();
        // Nothing that the primary says is heard: down from it on the link that it is dialled on, up on its own.
        let cut = pair.crossing(&role("primary"), &Selector::All, Crossing::AToB);
        assert_eq!(cut, [("gateway-a", Direction::Down), ("a-b", Direction::Up)]);
        let cut = pair.crossing(&role("primary"), &Selector::All, Crossing::BToA);
        assert_eq!(cut, [("gateway-a", Direction::Up), ("a-b", Direction::Down)]);
    }

    #[test]
    fn selectors_follow_labels_that_change_at_run_time() {
        let mut pair = pair();
        assert_eq!(pair.select(&role("primary")), ["a"]);
        pair.set_label("b", "role", "primary");
        pair.set_label("a", "role", "standby");
        assert_eq!(pair.select(&role("primary")), ["b"]);
        assert_eq!(pair.label("b", "zone"), Some("2"));
    }

    #[test]
    fn links_are_selected_by_their_ends() {
        let pair = pair();
        let to_zone_2 = Selector::Labels([("zone".to_owned(), "2".to_owned())].into_iter().collect());
        let links = Links::Between { from: Selector::Any(vec![role("gateway"), role("primary")]), to: to_zone_2 };
        assert_eq!(pair.links(&links), ["gateway-b", "a-b"]);
    }
}
