//! How a fault is written: when and for how long, and exactly one key that says what it does.

use indexmap::IndexMap;

use super::{ActionRequest, Method, OneOrMore, ruled, texts};
use crate::experiment::decode::{Decode, Template, misplaced, parsed};
use crate::experiment::mistake::Mistakes;
use crate::experiment::shape::*;
use crate::experiment::tree::{Node, Value};
use crate::plan::fault::{
    Blackout, BodyShare, Crossing, Direction, DnsEffect, DnsFault, Edge, FaultKind, HttpEffect, HttpFault, Law,
    LinkFault, Links, Manner, NodeFault, Pick, Place, Selector, Toxic, Which,
};
use crate::plan::{Action, Backup, Failover, GroupFailover, Order, Redundancy};
use crate::units::{ByteRate, Bytes, Share, Span};

/// A fault as written, with none for what is wrong: the rest of it can still be checked.
pub(in crate::plan) struct WrittenFault {
    pub(in crate::plan) at: Option<Option<Span>>,
    pub(in crate::plan) after: Option<Option<After>>,
    pub(in crate::plan) hold: Option<Option<Span>>,
    pub(in crate::plan) follow: Option<bool>,
    pub(in crate::plan) lease: Option<Option<Span>>,
    pub(in crate::plan) kind: Option<FaultKind>,
}

record! {
    /// One fault: when, for how long, and exactly one key that says what it does.
    WrittenFault {
        ..kind: FaultKind,
        /// When it strikes: so long after the end of the baseline. Default, without `after`: `0s`.
        at: Option<Span>,
        /// When it strikes: after another fault, such as `cut.healed + 1s` or `cut.injected`.
        after: Option<After>,
        /// For how long. Default: it happens once (`drop`, an action), lasts until the system is ready again (`restart`,
        /// `failover`), or to the end of the run.
        hold as "for": Option<Span>,
        /// Selectors resolve again as the system changes, instead of once when it strikes.
        follow: bool = "false",
        /// The time after which it is healed whatever the harness does. Default: 10 s longer than it is planned to last.
        lease: Option<Span>,
    } => loose WrittenFault { at, after, hold, follow, lease, kind }
}

/// `cut.healed + 1s`.
pub(in crate::plan) struct After {
    pub(in crate::plan) fault: String,
    pub(in crate::plan) edge: Edge,
    pub(in crate::plan) plus: Span,
}

impl After {
    const EXPECTED: &str = "expected `FAULT.healed` or `FAULT.injected`, and perhaps `+ 1s`";

    fn parse(text: &str) -> Result<After, String> {
        let (moment, plus) = match text.split_once('+') {
            Some((moment, plus)) => (moment, plus.trim().parse().map_err(|_| After::EXPECTED.to_owned())?),
            None => (text, Span::default()),
        };
        let (fault, edge) = moment.trim().rsplit_once('.').ok_or(After::EXPECTED)?;
        let edge = match edge.trim() {
            "injected" => Edge::Injected,
            "healed" => Edge::Healed,
            _ => return Err(After::EXPECTED.to_owned()),
        };
        Ok(After { fault: fault.trim().to_owned(), edge, plus })
    }
}

impl Decode for After {
    fn shape() -> Shape {
        let expected = After::EXPECTED.trim_start_matches("expected ").to_owned();
        Shape::Scalar(ScalarShape { noun: "a moment of another fault", expected, json: "string" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<After> {
        parsed(node, "a moment of another fault", mistakes, After::parse)
    }
}

/// The settings that every fault on the bytes of links takes.
struct OnLinks {
    links: Links,
    direction: Direction,
    share: Share,
}

record! {
    /// Settings that faults on the bytes of links share.
    OnLinks {
        /// Which links.
        links: Links,
        /// Which direction of bytes, whoever dialled.
        direction: Direction = "both",
        /// The share of connections that it concerns.
        share: Share = "100%",
    } => OnLinks { links, direction, share }
}

impl OnLinks {
    fn toxic(self, toxic: Toxic) -> FaultKind {
        let OnLinks { links, direction, share } = self;
        FaultKind::Toxic(LinkFault { links, direction, share, toxic })
    }
}

/// The settings that every fault on HTTP requests takes.
struct OnRequests {
    links: Links,
    method: Option<Method>,
    path: Option<String>,
    share: Share,
    first: Option<u64>,
}

record! {
    /// Settings that faults on HTTP requests share.
    OnRequests {
        /// Which links; they carry HTTP/1.
        links: Links,
        /// Only requests of this method.
        method: Option<Method>,
        /// Only requests whose path starts with this.
        path: Option<String>,
        /// The share of the matching requests.
        share: Share = "100%",
        /// Only the first so many matching requests on each link.
        first: Option<u64>,
    } => OnRequests { links, method, path, share, first }
}

impl OnRequests {
    fn with(self, effect: HttpEffect) -> FaultKind {
        let OnRequests { links, method, path, share, first } = self;
        FaultKind::Http(HttpFault { links, method: method.map(|method| method.0), path, share, first, effect })
    }
}

/// The settings that every fault on names takes.
struct OnNames {
    names: Option<OneOrMore>,
    share: Share,
}

record! {
    /// Settings that faults on names share.
    OnNames {
        /// Which names of `system.names`, or of the lab. Default: all of them.
        names: Option<OneOrMore>,
        /// The share of the queries.
        share: Share = "100%",
    } => OnNames { names, share }
}

impl OnNames {
    fn with(self, effect: DnsEffect) -> FaultKind {
        FaultKind::Dns(DnsFault { names: self.names.map(|names| names.0), share: self.share, effect })
    }
}

/// How an action is undone.
struct Undo {
    undo: Option<Action>,
    irreversible: bool,
}

record! {
    /// How an action is undone: one of the two.
    Undo {
        /// The way back.
        undo: Option<Action>,
        /// There is none, and that is fine.
        irreversible: bool = "false",
    } => Undo { undo, irreversible }
}

impl Undo {
    fn of(self, action: Action) -> FaultKind {
        let _ = self.irreversible; // Checked against the tree, where the two keys have places.
        FaultKind::Action { action, undo: self.undo }
    }
}

choice! {
    /// What a fault does.
    FaultKind, "a fault" {
        /// Each chunk leaves `add` after its arrival, spread by chance.
        latency {
            ..on: OnLinks,
            /// The delay.
            add: Span,
            /// Its spread.
            jitter: Span = "0s",
            /// The law of the spread.
            law: Law = "uniform",
            /// How much a chunk's spread follows the one before.
            correlation: Share = "0%",
        } => on.toxic(Toxic::Latency { add, jitter, law, correlation }),
        /// Bytes leave at this rate, without an initial burst.
        bandwidth {
            ..on: OnLinks,
            /// Bytes a second.
            rate: ByteRate,
        } => on.toxic(Toxic::Bandwidth { rate }),
        /// What a TCP stream feels of lost packets: stalls of a retransmission time-out, no byte lost.
        packet_loss {
            ..on: OnLinks,
            /// The share of segments lost.
            loss: Share,
            /// How much a loss raises the chance of the next.
            correlation: Share = "0%",
        } => on.toxic(Toxic::PacketLoss { loss, correlation }),
        /// Chunks are cut into small ones, with a wait between.
        slicer {
            ..on: OnLinks,
            /// The mean size.
            size: Bytes,
            /// Up to so much more or less.
            variation: Bytes = "0 B",
            /// Between two pieces.
            wait: Span = "0s",
        } => on.toxic(Toxic::Slicer { size, variation, wait }),
        /// The close is passed on later.
        slow_close {
            ..on: OnLinks,
            /// By so much.
            delay: Span,
        } => on.toxic(Toxic::SlowClose { delay }),
        /// Bytes are withheld; the connection is closed so long after injection or accept.
        timeout {
            ..on: OnLinks,
            /// Until the close; 0: never closed.
            after: Span = "0s",
        } => on.toxic(Toxic::Timeout { after }),
        /// The connection is reset so long after injection or accept.
        reset_peer {
            ..on: OnLinks,
            /// Until the reset.
            after: Span = "0s",
        } => on.toxic(Toxic::ResetPeer { after }),
        /// So many bytes pass, then the connection is closed.
        limit_data {
            ..on: OnLinks,
            /// Counted from injection or accept.
            bytes: Bytes,
        } => on.toxic(Toxic::LimitData { bytes }),
        /// Bytes are changed by chance. On an endpoint it needs `allow: [data-damage]`.
        corrupt {
            ..on: OnLinks,
            /// The share of bytes changed.
            bytes: Share,
        } => on.toxic(Toxic::Corrupt { bytes }),
        /// Cuts every link between two sets of nodes.
        partition {
            /// One side.
            a: Selector,
            /// The other; `all` is every node that is not in `a`.
            b: Selector = "all",
            /// Whose bytes are withheld.
            direction: Crossing = "both",
            /// How it shows itself.
            manner: Manner = "silent",
        } => FaultKind::Partition { a, b, direction, manner },
        /// New connections are refused; open ones go on.
        refuse {
            /// Which links.
            links: Links,
        } => FaultKind::Refuse { links },
        /// Connections are accepted, or left unanswered, and all bytes of both directions withheld.
        black_hole {
            /// Which links.
            links: Links,
        } => FaultKind::BlackHole { links },
        /// The server side of open connections goes away without a word; the client side stays open.
        half_open {
            /// Which links.
            links: Links,
        } => FaultKind::HalfOpen { links },
        /// A silent cut that comes and goes.
        flap {
            /// Which links.
            links: Links,
            /// Bytes pass for so long.
            up: Span,
            /// Nothing passes for so long; the fault starts with it.
            down: Span,
        } => FaultKind::Flap { links, up, down },
        /// Closes a share of the open connections each second.
        drop {
            /// Which links.
            links: Links,
            /// The share a second; 100% without `for` closes each of them once.
            share: Share = "100%",
            /// With RST instead of FIN.
            reset: bool = "false",
        } => FaultKind::Drop { links, share, reset },
        /// Requests are answered by the proxy with a status; the server never sees them.
        http_status {
            ..on: OnRequests,
            /// 400 to 599.
            code: ErrorStatus,
            /// A Retry-After, in whole seconds, rounded up.
            retry_after: Option<Span>,
        } => on.with(HttpEffect::Status { code: code.0, retry_after }),
        /// The answer's connection is reset inside its body; the server has served it.
        http_abort {
            ..on: OnRequests,
            /// Where in the body.
            at: BodyShare = "50%",
        } => on.with(HttpEffect::Abort { at }),
        /// The answer's header is held back.
        http_delay {
            ..on: OnRequests,
            /// For so long.
            by: Span,
        } => on.with(HttpEffect::Delay { by }),
        /// Queries are answered that there is no such name.
        dns_nxdomain {
            ..on: OnNames,
        } => on.with(DnsEffect::NxDomain),
        /// Queries are answered that the server cannot answer.
        dns_servfail {
            ..on: OnNames,
        } => on.with(DnsEffect::ServFail),
        /// Queries are answered late.
        dns_slow {
            ..on: OnNames,
            /// By so much.
            by: Span,
        } => on.with(DnsEffect::Slow { by }),
        /// Queries are answered with what was true when the fault struck.
        dns_stale {
            ..on: OnNames,
        } => on.with(DnsEffect::Stale),
        /// Names mean other nodes.
        dns_remap {
            ..on: OnNames,
            /// The node, or the nodes.
            to: OneOrMore,
            /// How long this answer may be believed. Default: as long as the true one.
            ttl: Option<Span>,
        } => on.with(DnsEffect::Remap { to: to.0, ttl }),
        /// SIGKILL, or the lab's like; healed by a start.
        kill (nodes: NodeFault) => FaultKind::Kill(nodes),
        /// SIGSTOP, or the lab's like; healed by SIGCONT.
        pause (nodes: NodeFault) => FaultKind::Pause(nodes),
        /// Stopped in good order; healed by a start.
        stop (nodes: NodeFault) => FaultKind::Stop(nodes),
        /// Stopped in good order and started again at once; in force until it is ready again.
        restart (nodes: NodeFault) => FaultKind::Restart(nodes),
        /// The power of a virtual machine fails: none of its nodes is heard any more, and all of them are gone; healed by their
        /// start.
        vm_down {
            /// The value of the label `vm`.
            vm: Option<String>,
            /// Or: the one in which this stands when it strikes.
            of: Option<Selector>,
        } => blackout(Place::Vm, vm, of),
        /// The power of a physical machine fails, and of the virtual ones on it.
        host_down {
            /// The value of the label `host`.
            host: Option<String>,
            /// Or: the one in which this stands when it strikes.
            of: Option<Selector>,
        } => blackout(Place::Host, host, of),
        /// The power of a rack fails.
        rack_down {
            /// The value of the label `rack`.
            rack: Option<String>,
            /// Or: the one in which this stands when it strikes.
            of: Option<Selector>,
        } => blackout(Place::Rack, rack, of),
        /// The power of a zone fails.
        zone_down {
            /// The value of the label `zone`.
            zone: Option<String>,
            /// Or: the one in which this stands when it strikes.
            of: Option<Selector>,
        } => blackout(Place::Zone, zone, of),
        /// The power of a region fails.
        region_down {
            /// The value of the label `region`.
            region: Option<String>,
            /// Or: the one in which this stands when it strikes.
            of: Option<Selector>,
        } => blackout(Place::Region, region, of),
        /// Storage nodes of a lab are killed, drawn by the seed; healed by their start.
        storage_copy_down {
            /// How many.
            copies: u64 = "1",
        } => FaultKind::StorageCopyDown { copies },
        /// Control nodes of a lab are killed, drawn by the seed; healed by their start.
        control_node_down {
            /// How many.
            nodes: u64 = "1",
        } => FaultKind::ControlNodeDown { nodes },
        /// The lab is ordered to fail over, as a user would by its API; in force until it serves again.
        failover (kind: Failover) => FaultKind::Order(Order::Failover(kind)),
        /// The lab is ordered to upgrade its nodes, one after the other; in force until all have been.
        maintenance {} => FaultKind::Order(Order::Maintenance),
        /// The lab is ordered to another redundancy; in force until it stands so.
        migrate (to: Redundancy) => FaultKind::Order(Order::Migrate(to)),
        /// The other instance of the lab's failover group is ordered to take over; in force until it serves.
        failover_group (kind: GroupFailover) => FaultKind::Order(Order::FailoverGroup(kind)),
        /// A new instance is ordered, made of a backup in another region; in force until it serves.
        geo_restore (backup: Backup) => FaultKind::Order(Order::GeoRestore(backup)),
        /// A program of your own, such as a cloud's failover command.
        exec {
            ..undo: Undo,
            /// The program with its arguments.
            command: Vec<Template>,
        } => undo.of(Action::Exec(texts(command))),
        /// A request of your own, such as a cloud's failover API.
        http {
            ..undo: Undo,
            ..request: ActionRequest,
        } => undo.of(request.0),
        /// A person's step, acknowledged at the terminal.
        manual {
            ..undo: Undo,
            /// The instruction.
            step: String,
        } => undo.of(Action::Manual(step)),
    }
}

/// That one of the two is given, and one alone, is checked against the tree, where the keys have places.
fn blackout(place: Place, name: Option<String>, of: Option<Selector>) -> FaultKind {
    let which = name.map_or_else(|| Which::Of(of.unwrap_or(Selector::All)), Which::Named);
    FaultKind::Blackout(Blackout { place, which })
}

record! {
    /// Which nodes a fault takes.
    NodeFault {
        /// Which nodes.
        nodes: Selector,
        /// One of them, drawn by the seed, or all.
        pick: Pick = "all",
    } => NodeFault { nodes, pick }
}

ruled! {
    /// A status of an error.
    ErrorStatus(u16), "a status of an error", "a status from 400 to 599", "integer", |text| {
        text.parse().ok().filter(|code| (400..=599).contains(code))
    };
}

impl Decode for BodyShare {
    fn shape() -> Shape {
        Share::shape()
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<BodyShare> {
        Share::decode(node, mistakes).map(|share| BodyShare((share.get() * 1000.0).round() as u16))
    }
}

words! {
    Failover, "a failover" {
        /// A hand-over in good order, as for maintenance.
        "planned" => Failover::Planned,
        /// What the system's own API for drills does.
        "simulated" => Failover::Simulated,
        /// As if what serves had been lost.
        "unplanned" => Failover::Unplanned,
    }
}

words! {
    Redundancy, "a redundancy" {
        /// All in one zone.
        "local" => Redundancy::Local,
        /// Spread over several zones.
        "zone" => Redundancy::Zone,
    }
}

words! {
    GroupFailover, "a failover of a group" {
        /// Once the other instance has everything: nothing is lost.
        "planned" => GroupFailover::Planned,
        /// With what it has.
        "forced" => GroupFailover::Forced,
    }
}

words! {
    Backup, "a backup" {
        /// The newest.
        "latest" => Backup::Latest,
    }
}

words! {
    Law, "a law of chance" {
        /// Evenly, up to `jitter` more or less.
        "uniform" => Law::Uniform,
        /// Normal, with standard deviation `jitter`.
        "normal" => Law::Normal,
        /// A long tail: `add - jitter + jitter × Pareto(3)`.
        "pareto" => Law::Pareto,
    }
}

words! {
    Direction, "a direction" {
        /// Client → server.
        "up" => Direction::Up,
        /// Server → client.
        "down" => Direction::Down,
        /// Each of the two.
        "both" => Direction::Both,
    }
}

words! {
    Crossing, "a direction across a partition" {
        /// Bytes from a to b are withheld.
        "a_to_b" => Crossing::AToB,
        /// Bytes from b to a are withheld.
        "b_to_a" => Crossing::BToA,
        /// Both are.
        "both" => Crossing::Both,
    }
}

words! {
    Manner, "a manner" {
        /// Nothing arrives, nothing is answered.
        "silent" => Manner::Silent,
        /// Open connections are reset, and new ones as soon as they are made.
        "reset" => Manner::Reset,
        /// Open connections are reset, and new ones refused.
        "refused" => Manner::Refused,
    }
}

words! {
    Pick, "`one` or `all`" {
        /// One, drawn by the run's seed.
        "one" => Pick::One,
        /// All of them.
        "all" => Pick::All,
    }
}

impl Decode for Selector {
    fn shape() -> Shape {
        Shape::Named("Selector", || {
            let expected = "a node's name, or `all` for every other node".to_owned();
            let name = Shape::Scalar(ScalarShape { noun: "a node's name", expected, json: "string" });
            Shape::Either(vec![name, Shape::Map(String::shape), Shape::List(Selector::shape)])
        })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Selector> {
        const EXPECTED: &str = "a node's name, a map of labels, a list of these, or `all`";
        match &node.value {
            _ if node.is_null() => {}
            Value::Scalar(scalar) if scalar.text == "all" => return Some(Selector::All),
            Value::Scalar(_) => return String::decode(node, mistakes).map(Selector::Node),
            Value::Map(map) if !map.is_empty() => {
                let labels = IndexMap::<String, String>::decode(node, mistakes)?;
                return (labels.len() == map.len()).then_some(Selector::Labels(labels));
            }
            Value::List(list) if !list.is_empty() => {
                let any = Vec::<Selector>::decode(node, mistakes)?;
                return (any.len() == list.len()).then_some(Selector::Any(any));
            }
            _ => {}
        }
        mistakes.add(misplaced(node, "a selection of nodes").label(format!("expected {EXPECTED}")));
        None
    }
}

/// Links by their ends.
struct Between {
    from: Selector,
    to: Selector,
}

record! {
    /// Links from one of these nodes to one of those.
    Between {
        /// The nodes that dial.
        from: Selector,
        /// The nodes that are dialled.
        to: Selector,
    } => Between { from, to }
}

impl Decode for Links {
    fn shape() -> Shape {
        Shape::Named("Links", || {
            let expected = "a link's name".to_owned();
            let name = Shape::Scalar(ScalarShape { noun: "a link's name", expected, json: "string" });
            Shape::Either(vec![name, Shape::List(String::shape), Between::shape()])
        })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Links> {
        match &node.value {
            _ if node.is_null() => {}
            Value::Scalar(_) => return String::decode(node, mistakes).map(|name| Links::Named(vec![name])),
            Value::Map(_) => {
                return Between::decode(node, mistakes).map(|Between { from, to }| Links::Between { from, to });
            }
            Value::List(list) if !list.is_empty() => {
                let names = Vec::<String>::decode(node, mistakes)?;
                return (names.len() == list.len()).then_some(Links::Named(names));
            }
            Value::List(_) => {}
        }
        let expected = "expected a link's name, a list of names, or `{ from: …, to: … }`";
        mistakes.add(misplaced(node, "a selection of links").label(expected));
        None
    }
}
