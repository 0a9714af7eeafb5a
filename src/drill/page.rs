//! The status page: one file, which asks again each second.

use askama::Template;

use super::Hand;
use super::status::{Node, Status};
use crate::units::Span;

#[derive(Template)]
#[template(path = "lab.html")]
struct Page<'a> {
    status: &'a Status,
    places: Vec<(String, Vec<&'a Node>)>,
    hands: Vec<&'static str>,
}

impl Page<'_> {
    /// `1m 4.2s` since the start.
    fn at(&self, ms: &u64) -> String {
        format!("{:>9.3} s", std::time::Duration::from_millis(*ms).as_secs_f64())
    }

    /// A parameter as it was written.
    fn bare(&self, value: &serde_json::Value) -> String {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// What a node is now: its role where it works, else what it is instead.
    fn what(&self, node: &Node) -> String {
        let state = if node.cut { format!("{}, cut off", node.state) } else { node.state.to_owned() };
        match (&node.role, node.state, node.cut) {
            (Some(role), "ready", false) => role.clone(),
            (Some(role), ..) => format!("{role} ({state})"),
            (None, ..) => state,
        }
    }

    /// How its tile looks.
    fn class(&self, node: &Node) -> &'static str {
        match (node.state, node.cut, node.role.as_deref()) {
            ("ready", false, Some("primary" | "leader" | "active")) => "node lead",
            ("ready", false, _) => "node",
            _ => "node out",
        }
    }

    fn up(&self) -> String {
        Span(std::time::Duration::from_secs(self.status.up_ms / 1000)).to_string()
    }
}

/// The page of a moment.
pub(super) fn render(status: &Status) -> String {
    let places = status.places().into_iter().collect();
    let page = Page { status, places, hands: Hand::ALL.iter().map(|hand| hand.name()).collect() };
    page.render().unwrap_or_else(|error| format!("the page could not be made: {error}"))
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::drill::status::{Line, Name, Order};

    #[test]
    fn whatever_a_node_is_called_or_says_stays_text() {
        let evil = "<script>alert('x')</script>";
        let node = Node {
            name: evil.to_owned(),
            region: Some(evil.to_owned()),
            zone: None,
            host: Some(evil.to_owned()),
            role: Some(evil.to_owned()),
            state: "ready",
            cut: false,
            incarnation: 1,
            address: "127.0.0.1:1".to_owned(),
        };
        let status = Status {
            lab: "herd",
            about: "A lab.",
            serves: false,
            up_ms: 61_500,
            params: IndexMap::from([("x".to_owned(), evil.into())]),
            entries: IndexMap::from([(evil.to_owned(), evil.to_owned())]),
            dns: Some("127.0.0.1:53".parse().unwrap()),
            names: vec![Name {
                name: evil.to_owned(),
                nodes: vec![evil.to_owned()],
                addresses: Vec::new(),
                ttl_s: 0,
                url: evil.to_owned(),
            }],
            nodes: vec![node],
            links: Vec::new(),
            orders: vec![Order { name: "planned failover".to_owned(), post: "/failover/planned".to_owned() }],
            events: vec![Line { at_ms: 5, text: evil.to_owned() }],
        };
        let page = render(&status);
        assert_eq!(page.matches("<script>").count(), 1, "its own alone:\n{page}");
        assert!(page.contains("does not serve"), "{page}");
    }
}
