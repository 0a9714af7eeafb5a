//! Who uses the system: when operations are due, what one is, and which client carries it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::retry::RetryPolicy;
use super::system::{Tls, Value};
use crate::units::{Bytes, Rate, Share, Span};

/// One workload: a node of its own, and a link `NAME-TO` to the node that it uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// The node that it uses, or the name.
    pub to: String,
    /// Labels of its own node, such as its zone.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// The client library.
    pub client: Client,
    /// When operations are due.
    pub arrival: Arrival,
    /// What an operation is.
    pub operation: Operation,
    /// After this an attempt counts as `timeout`. Default 1 s.
    pub attempt_timeout: Span,
    /// After this, from its due time, an operation is given up. Default 10 s.
    pub deadline: Span,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
    /// Operations open at once; one due beyond that is shed. Default 10,000.
    pub max_in_flight: u32,
}

/// The client library that carries attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// reqwest with its own pool.
    Http(HttpClient),
    /// Frames over TCP: a length of 4 bytes, big-endian, and so many bytes, echoed by the server.
    Tcp(TcpClient),
}

/// Settings of the `http` client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpClient {
    /// How long connecting may take; default: the attempt's time-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// Idle connections that the pool keeps; default 1,024; 0: a connection each request.
    pub pool_max_idle: usize,
    /// Idle time after which the pool drops a connection. Default 90 s.
    pub pool_idle_timeout: Span,
    /// A PEM file with the authorities to trust; default: those of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// How long an answer of DNS is believed, where the workload uses a name. Default: as long as the answer says.
    #[serde(default, skip_serializing_if = "Resolve::is_default")]
    pub resolve: Resolve,
    /// Where TLS ends on the workload's own link.
    #[serde(default, skip_serializing_if = "Tls::is_opaque")]
    pub tls: Tls,
}

/// How long a client believes what a name means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolve {
    /// As long as the answer says.
    #[default]
    Ttl,
    /// So long, whatever the answer says.
    Every(Span),
    /// To the end: it asks once, and never again.
    Once,
    /// Each attempt asks, and makes a connection of its own.
    EachAttempt,
}

impl Resolve {
    fn is_default(&self) -> bool {
        *self == Resolve::Ttl
    }
}

/// Settings of the `tcp` client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpClient {
    /// How long connecting may take; default: the attempt's time-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// Connections that the pool keeps open at most; default 64. An attempt takes an idle one, or makes one.
    pub pool: usize,
}

/// When operations are due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Evenly: operation i at i / rate.
    Constant(Rate),
    /// A Poisson process with this mean rate.
    Poisson(Rate),
    /// Evenly spaced by a rate that changes linearly, then stays at `to`.
    Ramp {
        /// At the start.
        from: Rate,
        /// At the end of `over`, and after it.
        to: Rate,
        /// How long the change takes.
        over: Span,
    },
    /// A closed loop: so many users, each due `think` after its previous operation ended.
    Users {
        /// How many.
        count: u32,
        /// Between the end of one operation and the next. Default 0 s.
        think: Span,
    },
}

impl Arrival {
    /// The highest mean rate that it reaches; none for a closed loop.
    pub fn peak(self) -> Option<Rate> {
        match self {
            Arrival::Constant(rate) | Arrival::Poisson(rate) => Some(rate),
            Arrival::Ramp { from, to, .. } => Some(if from > to { from } else { to }),
            Arrival::Users { .. } => None,
        }
    }
}

/// What one operation does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An HTTP request.
    Request(Box<Request>),
    /// Reads and writes of registers; a write returns what it replaced.
    Register(Register),
    /// A key of its own for each write, read back at the end.
    Insert(Insert),
    /// Appends to lists; a share of operations reads a list whole.
    Append(Append),
    /// A frame of this size that must come back unchanged (`tcp` client), or a POST of it to `/echo` (`http`).
    Echo {
        /// Default 64 B.
        size: Bytes,
    },
}

impl Operation {
    /// Whether it writes keys, which the run reads a last time after the drain.
    pub fn writes_keys(&self) -> bool {
        matches!(self, Operation::Register(_) | Operation::Insert(_) | Operation::Append(_))
    }

    /// The classes that its operations fall into, as figures call them.
    pub fn classes(&self) -> Vec<&str> {
        let keyed = |reads: Share| {
            let read = (reads.get() > 0.0).then_some("read");
            read.into_iter().chain((reads.get() < 1.0).then_some("write")).collect()
        };
        match self {
            Operation::Request(request) => vec![&request.class],
            Operation::Echo { .. } => vec!["echo"],
            Operation::Register(Register { reads, .. })
            | Operation::Insert(Insert { reads })
            | Operation::Append(Append { reads, .. }) => keyed(*reads),
        }
    }

    /// Whether it leaves something behind that the consistency checks can look for.
    pub const fn is_stateful(&self) -> bool {
        matches!(self, Operation::Register(_) | Operation::Insert(_) | Operation::Append(_))
    }

    /// The word in files and reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Operation::Request(_) => "request",
            Operation::Register(_) => "register",
            Operation::Insert(_) => "insert",
            Operation::Append(_) => "append",
            Operation::Echo { .. } => "echo",
        }
    }
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// In capitals. Default `GET`.
    pub method: String,
    /// With its query, and with the path of the endpoint's URL before it; `{op}` is the operation's number, `{attempt}` the attempt's, `{random}` 8 hexadecimal digits.
    pub path: String,
    /// Headers; the same placeholders.
    #[serde(default)]
    pub headers: IndexMap<String, Value>,
    /// A body; the same placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What counts as ok.
    pub ok: OkWhen,
    /// The class in figures; default `read` for GET and HEAD, `write` else.
    pub class: String,
    /// The response header that names the place, if the system sends one. Default `x-place`.
    pub place_header: String,
}

/// Which answer counts as ok.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OkWhen {
    /// Status codes: single ones and ranges, such as `200-299`. Default `200-299`.
    pub status: Vec<(u16, u16)>,
    /// Text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
}

/// Reads and writes of registers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// How many keys there are. Default 1,000.
    pub keys: u32,
    /// The share of reads. Default 0 %.
    pub reads: Share,
}

/// A key of its own for each write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Insert {
    /// The share of reads of keys acknowledged before. Default 0 %.
    pub reads: Share,
}

/// Appends to lists.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Append {
    /// How many lists there are. Default 10.
    pub keys: u32,
    /// The share of operations that read a list whole. Default 0 %.
    pub reads: Share,
}
