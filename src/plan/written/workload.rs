//! How a workload is written.

use indexmap::IndexMap;

use super::system::Header;
use super::{Count, Method, ruled};
use crate::experiment::decode::{Decode, is_name, parsed};
use crate::experiment::mistake::Mistakes;
use crate::experiment::shape::*;
use crate::experiment::tree::Node;
use crate::plan::RetryPolicy;
use crate::plan::system::Tls;
use crate::plan::workload::{
    Append, Arrival, Client, HttpClient, Insert, OkWhen, Operation, Register, Request, Resolve, TcpClient, Workload,
};
use crate::units::{Bytes, Rate, Share, Span};

record! {
    /// Who uses the system. A workload `orders` that uses the node `gateway` makes the node `orders` and the link
    /// `orders-gateway`.
    Workload {
        /// The node that it uses, or a name of `system.names`, which its client resolves.
        to: String,
        /// Labels of its own node, such as its zone.
        labels: IndexMap<String, String>,
        /// The client library.
        client: Client,
        /// When operations are due.
        arrival: Arrival,
        /// What an operation is.
        operation: Operation,
        /// After this an attempt counts as `timeout`.
        attempt_timeout: Span = "1s",
        /// After this, from its due time, an operation is given up.
        deadline: Span = "10s",
        /// What happens after a failed attempt.
        retry: RetryPolicy = "none",
        /// Operations open at once; one due beyond that is shed: recorded, never dropped silently.
        max_in_flight: Count = "10000",
    } => Workload {
        to, labels, client, arrival, operation, attempt_timeout, deadline, retry, max_in_flight: max_in_flight.0,
    }
}

choice! {
    /// The client library that carries attempts.
    Client, "a client" {
        /// HTTP/1.1 by reqwest, with its own pool; over TLS where the endpoint is `https://`. No redirect is followed.
        http {
            /// How long connecting may take. Default: the attempt's time-out.
            connect_timeout: Option<Span>,
            /// Idle connections that the pool keeps; 0: a connection each request.
            pool_max_idle: usize = "1024",
            /// Idle time after which the pool drops a connection.
            pool_idle_timeout: Span = "90s",
            /// A PEM file with the certificates of the authorities to trust. Default: those that this machine trusts.
            ca: Option<String>,
            /// Where TLS towards an endpoint at `https://` ends: there, or at the workload's link, so that faults on HTTP
            /// can strike. The link then trusts `ca`, and the client the run's own authority.
            tls: Tls = "opaque",
            /// Where the workload uses a name: how long an answer of DNS is believed. Open connections stay where they
            /// are, whatever the name means by now.
            resolve: Resolve = "ttl",
        } => Client::Http(HttpClient { connect_timeout, pool_max_idle, pool_idle_timeout, ca, tls, resolve }),
        /// Frames over TCP: a length of 4 bytes, big-endian, and so many bytes, echoed by the server.
        tcp {
            /// How long connecting may take. Default: the attempt's time-out.
            connect_timeout: Option<Span>,
            /// Connections that the pool keeps open at most.
            pool: usize = "64",
        } => Client::Tcp(TcpClient { connect_timeout, pool }),
    }
}

choice! {
    /// How long a client believes what a name means.
    Resolve, "how long an answer is believed" {
        /// As long as the answer says.
        ttl () => Resolve::Ttl,
        /// So long, whatever the answer says: the TTL is ignored.
        every (length: Span) => Resolve::Every(length),
        /// To the end: it asks once and never again.
        once () => Resolve::Once,
        /// Each attempt asks, and makes a connection of its own.
        each_attempt () => Resolve::EachAttempt,
    }
}

choice! {
    /// When operations are due.
    Arrival, "an arrival" {
        /// Evenly: operation i at i / rate.
        constant (rate: Rate) => Arrival::Constant(rate),
        /// A Poisson process with this mean rate.
        poisson (rate: Rate) => Arrival::Poisson(rate),
        /// Evenly spaced by a rate that changes linearly, then stays at `to`.
        ramp {
            /// At the start.
            from: Rate,
            /// At the end of `over`, and after it.
            to: Rate,
            /// How long the change takes.
            over: Span,
        } => Arrival::Ramp { from, to, over },
        /// A closed loop: so many users, each due `think` after its previous operation ended.
        users {
            /// How many.
            count: Count,
            /// Between the end of one operation and the next.
            think: Span = "0s",
        } => Arrival::Users { count: count.0, think },
    }
}

choice! {
    /// What one operation does.
    Operation, "an operation" {
        /// An HTTP request.
        request (request: Box<Request>) => Operation::Request(request),
        /// Reads and writes of registers; a write returns what it replaced.
        register {
            /// How many keys there are.
            keys: Count = "1000",
            /// The share of reads.
            reads: Share = "0%",
        } => Operation::Register(Register { keys: keys.0, reads }),
        /// A key of its own for each write, read back at the end.
        insert {
            /// The share of reads of keys acknowledged before.
            reads: Share = "0%",
        } => Operation::Insert(Insert { reads }),
        /// Appends to lists.
        append {
            /// How many lists there are.
            keys: Count = "10",
            /// The share of operations that read a list whole.
            reads: Share = "0%",
        } => Operation::Append(Append { keys: keys.0, reads }),
        /// Bytes that must come back unchanged: a frame (`tcp`), or a POST to `/echo` (`http`).
        echo {
            /// How many bytes.
            size: Bytes = "64 B",
        } => Operation::Echo { size },
    }
}

record! {
    /// An HTTP request. In `path`, `headers` and `body`, `{op}` is the operation's number, `{attempt}` the attempt's,
    /// `{random}` 8 hexadecimal digits.
    Request {
        /// The method.
        method: Method = "GET",
        /// The path, with its query; below the path of the endpoint's URL. Default: the path of the URL itself, or `/`.
        path: Option<UrlPath>,
        /// Headers.
        headers: IndexMap<String, Header>,
        /// A body.
        body: Option<String>,
        /// What counts as ok.
        ok: OkWhen = "{}",
        /// The class in figures. Default: `read` for GET and HEAD, else `write`.
        class: Option<Class>,
        /// The response header that names the place, if the system sends one.
        place_header: String = "x-place",
    } => {
        let reads = matches!(method.0.as_str(), "GET" | "HEAD");
        let class = class.map_or_else(|| if reads { "read" } else { "write" }.to_owned(), |class| class.0);
        let headers = headers.into_iter().map(|(name, value)| (name, value.0)).collect();
        // Empty until the resolver knows whose path it is below.
        let path = path.map(|path| path.0).unwrap_or_default();
        Request { method: method.0, path, headers, body, ok, class, place_header }
    }
}

record! {
    /// Which answer counts as ok.
    OkWhen {
        /// Status codes: single ones and ranges. A redirect is an answer like any other: `[200-399]` takes it for ok.
        status: Vec<Statuses> = "[200-299]",
        /// Text that the body must contain.
        body_contains: Option<String>,
    } => OkWhen { status: status.into_iter().map(|range| range.0).collect(), body_contains }
}

ruled! {
    /// A class of operations.
    Class(String), "a class", "letters, digits, `-` and `_`; not `all`", "string", |text| {
        (is_name(text) && text != "all").then(|| text.to_owned())
    };
    /// A status code, or a range of them.
    Statuses((u16, u16)), "a status", "a status such as `200`, or a range such as `200-299`", "string", |text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range: (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (100 <= range.0 && range.0 <= range.1 && range.1 <= 599).then_some(range)
    };
}

/// The path of a request.
struct UrlPath(String);

impl Decode for UrlPath {
    fn shape() -> Shape {
        let expected = "a path that starts with `/`".to_owned();
        Shape::Scalar(ScalarShape { noun: "a path", expected, json: "string" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<UrlPath> {
        let path = String::decode(node, mistakes)?;
        parsed(node, "a path", mistakes, |_| {
            let fits = path.starts_with('/') && !path.contains(char::is_whitespace);
            fits.then_some(UrlPath(path)).ok_or("expected a path that starts with `/`".to_owned())
        })
    }
}
