//! Who took part: nodes in the bands of their zones, clients on the left, and the links between them.
//!
//! ```text
//!            clients │ those they dial │ those these dial │ … │ those that dial others and are dialled by nobody
//! ┌ region ┌ zone 1  │                 │ node-a           │
//! │        └ zone 2  │                 │ node-b           │
//! └        ┌ zone 3  │ gateway         │                  │
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use indexmap::IndexMap;

use super::chart::{cut, escape, number};
use super::table::{Cell, Table};
use crate::event::Layout;
use crate::measure::MeasuredRun;
use crate::report::say;

/// A node's box.
const BOX: (f64, f64) = (132.0, 44.0);
/// Characters that fit into it.
const WORDS: usize = 20;
/// From one column of boxes to the next: room for the links.
const COLUMN: f64 = BOX.0 + 92.0;
/// From one box of a stack to the next.
const ROW: f64 = BOX.1 + 18.0;
/// Room above and below the boxes of a band, its name above them.
const BAND: (f64, f64) = (26.0, 10.0);
/// Left of the boxes: room for links between boxes of one column.
const MARGIN: f64 = 44.0;

/// A diagram is made of so many nodes at most: beyond that nobody sees anything, and the table has all.
const DRAWN: usize = 60;

/// Where a node's box is, its upper left corner.
type Place = (f64, f64);

/// A zone, as a strip across the drawing.
struct Band {
    name: String,
    top: f64,
    bottom: f64,
}

/// Where everything is.
struct Arranged<'l> {
    /// From top to bottom.
    bands: Vec<Band>,
    places: IndexMap<&'l str, Place>,
    height: f64,
}

/// What faults hit of a run, by name of node or link.
struct Hits<'a>(IndexMap<&'a str, Vec<&'a str>>);

impl<'a> Hits<'a> {
    fn of(run: &'a MeasuredRun) -> Hits<'a> {
        let mut hits: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for (name, fault) in &run.faults {
            let nodes = run.topology.nodes.keys().filter(|node| {
                // Of a node that was cut off, its places were taken away.
                fault.hit.nodes.contains(node) || fault.hit.places.contains(node)
            });
            for hit in fault.hit.links.iter().chain(nodes) {
                hits.entry(hit).or_default().push(name);
            }
        }
        Hits(hits)
    }

    fn on(&self, part: &str) -> &[&'a str] {
        self.0.get(part).map_or(&[], Vec::as_slice)
    }
}

/// The diagram of a run's topology, the `index`-th of its page; none where the run did not tell it.
pub(super) fn diagram(run: &MeasuredRun, index: usize) -> Option<String> {
    let layout = &run.topology;
    if layout.nodes.is_empty() || layout.nodes.len() > DRAWN {
        return None;
    }
    let hits = Hits::of(run);
    let columns = columns(layout);
    let Arranged { bands, places, height } = arrange(layout, &columns);
    let last = columns.values().max().copied().unwrap_or(0);
    let width = 2.0 * MARGIN + last as f64 * COLUMN + BOX.0;
    let label = "Nodes in their zones and the links between them; what faults hit is marked. The table below has all.";
    let mut svg = format!(
        "<svg class=\"topology\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{label}\">\
         <defs><marker id=\"tip-{index}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"9\" markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
         <path class=\"tip\" d=\"M0 0L8 4L0 8Z\"/></marker></defs>",
        number(width),
        number(height),
    );
    for Band { name, top, bottom } in &bands {
        let _ = write!(
            svg,
            "<rect class=\"zone\" x=\"1\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/><text class=\"zone\" x=\"10\" y=\"{}\">{}</text>",
            number(top + 2.0),
            number(width - 2.0),
            number(bottom - top - 4.0),
            number(top + 17.0),
            escape(&cut(name, 60)),
        );
    }
    for (name, link) in &layout.links {
        let (Some(from), Some(to)) = (places.get(link.from.as_str()), places.get(link.to.as_str())) else { continue };
        let faults = hits.on(name);
        let class = if faults.is_empty() { "link" } else { "link hit" };
        let said = if faults.is_empty() { String::new() } else { format!(", hit by {}", faults.join(", ")) };
        let _ = write!(
            svg,
            "<path class=\"{class}\" marker-end=\"url(#tip-{index})\" d=\"{}\"><title>{}</title></path>",
            curve(*from, *to),
            escape(&format!("{name}: {} to {}{said}", link.from, link.to)),
        );
    }
    for (name, node) in &layout.nodes {
        let Some(&(x, y)) = places.get(name.as_str()) else { continue };
        let role = node.labels.get("role").map(String::as_str);
        let faults = hits.on(name);
        let kind = match (node.kind.as_str(), role) {
            ("workload" | "outside", _) => "client",
            (_, Some("primary" | "leader" | "active")) => "lead",
            _ => "member",
        };
        let hit = if faults.is_empty() { "" } else { " hit" };
        let _ = write!(
            svg,
            "<rect class=\"box {kind}{hit}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"/>",
            number(x),
            number(y),
            BOX.0,
            BOX.1,
            if kind == "client" { 22 } else { 5 },
        );
        let middle = number(x + BOX.0 / 2.0);
        let words = if faults.is_empty() {
            role.unwrap_or(&node.kind).to_owned()
        } else {
            let (role, all) = (role.unwrap_or(&node.kind), faults.join(", "));
            let fits = role.chars().count() + all.chars().count() + 3 <= WORDS;
            format!("{role} ✘ {}", if fits { all } else { say::counted(faults.len() as u64, "fault") })
        };
        for (class, at, text) in [("name", 19.0, name.as_str()), ("role", 35.0, &words)] {
            let _ = write!(
                svg,
                "<text class=\"{class} {kind}\" x=\"{middle}\" y=\"{}\">{}</text>",
                number(y + at),
                escape(&cut(text, WORDS)),
            );
        }
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// The same as tables: every node and link with the faults that hit it.
pub(super) fn tables(run: &MeasuredRun) -> Vec<Table> {
    let hits = Hits::of(run);
    let hit = |part: &str| match hits.on(part) {
        [] => Cell::text("no fault"),
        faults => Cell::text(say::list(faults)),
    };
    // Most systems do not say on which machines they run.
    let on_machines = run.topology.nodes.values().any(|node| node.labels.contains_key("host"));
    let places = ["region", "zone", "host"].into_iter().filter(|label| *label != "host" || on_machines);
    let head = ["node", "what"].into_iter().chain(places.clone()).chain(["role at the start", "hit by"]);
    let mut nodes = Table::new("Nodes", head.map(Cell::text).collect());
    for (name, node) in &run.topology.nodes {
        let label = |label| Cell::text(node.labels.get(label).map_or("none", String::as_str));
        let row = [Cell::text(name), Cell::text(&node.kind)].into_iter().chain(places.clone().map(label));
        nodes.row(row.chain([label("role"), hit(name)]).collect());
    }
    let mut links = Table::new("Links", ["link", "from", "to", "hit by"].map(Cell::text).to_vec());
    for (name, link) in &run.topology.links {
        links.row(vec![Cell::text(name), Cell::text(&link.from), Cell::text(&link.to), hit(name)]);
    }
    vec![nodes, links]
}

/// The column of each node: how many links it is from a client; who dials others and is dialled by nobody stands last.
fn columns(layout: &Layout) -> IndexMap<&str, usize> {
    let mut columns: IndexMap<&str, usize> = IndexMap::new();
    let clients = layout.nodes.iter().filter(|(_, node)| matches!(node.kind.as_str(), "workload" | "outside"));
    columns.extend(clients.map(|(name, _)| (name.as_str(), 0)));
    let mut reached = 0;
    while reached < columns.len() {
        let (from, column) = columns.get_index(reached).map(|(from, column)| (*from, *column)).unwrap_or_default();
        for link in layout.links.values().filter(|link| link.from == from) {
            if layout.nodes.contains_key(&link.to) {
                columns.entry(link.to.as_str()).or_insert(column + 1);
            }
        }
        reached += 1;
    }
    let behind = columns.values().max().map_or(0, |last| last + 1);
    for name in layout.nodes.keys() {
        columns.entry(name).or_insert(behind);
    }
    columns
}

fn arrange<'l>(layout: &'l Layout, columns: &IndexMap<&'l str, usize>) -> Arranged<'l> {
    // Region, then zone; whoever has neither is below all that have, but alone without a band's name.
    let mut bands: BTreeMap<(bool, &str, &str), Vec<&'l str>> = BTreeMap::new();
    for (name, node) in &layout.nodes {
        let label = |label| node.labels.get(label).map_or("", String::as_str);
        let (region, zone) = (label("region"), label("zone"));
        bands.entry((region.is_empty() && zone.is_empty(), region, zone)).or_default().push(name);
    }
    let alone = bands.len() == 1;
    let (mut strips, mut places, mut top) = (Vec::new(), IndexMap::new(), 0.0);
    for ((nowhere, region, zone), members) in &bands {
        let mut stacks: BTreeMap<usize, usize> = BTreeMap::new();
        for name in members {
            let column = columns.get(name).copied().unwrap_or(0);
            let place = stacks.entry(column).or_default();
            let y = top + BAND.0 + *place as f64 * ROW;
            places.insert(*name, (MARGIN + column as f64 * COLUMN, y));
            *place += 1;
        }
        let tallest = stacks.values().max().copied().unwrap_or(0);
        let bottom = top + BAND.0 + tallest as f64 * ROW - (ROW - BOX.1) + BAND.1;
        let clients = members.iter().all(|name| columns.get(name) == Some(&0));
        let name = match (*nowhere, region.is_empty(), zone.is_empty()) {
            (true, ..) if alone => String::new(),
            (true, ..) if clients => "clients".to_owned(),
            (true, ..) => "no zone".to_owned(),
            (_, true, _) => format!("zone {zone}"),
            (_, _, true) => format!("region {region}"),
            _ => format!("region {region}, zone {zone}"),
        };
        strips.push(Band { name, top, bottom });
        top = bottom;
    }
    Arranged { bands: strips, places, height: top }
}

/// From one box to another: to the right from side to side, else around, so that there and back are two lines.
fn curve(from: Place, to: Place) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    let (a, b) = (y1 + BOX.1 / 2.0, y2 + BOX.1 / 2.0);
    let (start, end, first, second) = if x2 > x1 {
        ((x1 + BOX.0, a), (x2, b), (x1 + BOX.0 + 46.0, a), (x2 - 46.0, b))
    } else if x2 < x1 {
        let (a, b) = (a + 9.0, b + 9.0);
        ((x1, a), (x2 + BOX.0, b), (x1 - 46.0, a), (x2 + BOX.0 + 46.0, b))
    } else {
        // Down on the right, up on the left.
        let (side, out) = if y2 > y1 { (x1 + BOX.0, 38.0) } else { (x1, -38.0) };
        ((side, a), (side, b), (side + out, a), (side + out, b))
    };
    let n = number;
    format!(
        "M{} {}C{} {} {} {} {} {}",
        n(start.0),
        n(start.1),
        n(first.0),
        n(first.1),
        n(second.0),
        n(second.1),
        n(end.0),
        n(end.1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LayoutLink, LayoutNode};

    fn pair() -> Layout {
        let node = |(name, kind, zone): (&str, &str, &str)| {
            let labels = [("zone".to_owned(), zone.to_owned())].into_iter().filter(|(_, zone)| !zone.is_empty());
            (name.to_owned(), LayoutNode { kind: kind.to_owned(), labels: labels.collect() })
        };
        let link = |(from, to): (&str, &str)| {
            (format!("{from}-{to}"), LayoutLink { from: from.to_owned(), to: to.to_owned() })
        };
        let nodes = [
            ("a", "lab", "1"),
            ("b", "lab", "2"),
            ("gateway", "lab", "3"),
            ("watch", "lab", "3"),
            ("orders", "workload", ""),
        ];
        let links = [("gateway", "a"), ("gateway", "b"), ("a", "b"), ("b", "a"), ("watch", "a"), ("orders", "gateway")];
        Layout { nodes: nodes.map(node).into(), links: links.map(link).into(), modelled: Vec::new() }
    }

    #[test]
    fn a_node_stands_as_far_from_the_clients_as_its_links_are_long() {
        let layout = pair();
        let columns = columns(&layout);
        let of = |name: &str| columns[name];
        assert_eq!([of("orders"), of("gateway"), of("a"), of("b"), of("watch")], [0, 1, 2, 2, 3]);
    }

    #[test]
    fn zones_are_bands_and_no_two_boxes_share_a_place() {
        let layout = pair();
        let Arranged { bands, places, height } = arrange(&layout, &columns(&layout));
        let names: Vec<&str> = bands.iter().map(|band| band.name.as_str()).collect();
        assert_eq!(names, ["zone 1", "zone 2", "zone 3", "clients"]);
        assert_eq!(bands.last().map(|band| band.bottom), Some(height));
        for (index, (name, place)) in places.iter().enumerate() {
            let apart = |other: &Place| (place.0 - other.0).abs() >= BOX.0 || (place.1 - other.1).abs() >= BOX.1;
            assert!(places.values().skip(index + 1).all(apart), "{name}");
        }
        assert_ne!(curve(places["a"], places["b"]), curve(places["b"], places["a"]), "there and back are two lines");
    }
}
