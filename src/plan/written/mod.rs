//! How each part of a plan is written in an experiment: its keys, their defaults and meanings.
//!
//! These tables are the one description of the file: the decoder, `brownout schema` and the reference page read them.

mod fault;
mod retry;
mod system;
mod workload;

use indexmap::IndexMap;
use jiff::civil::Date;

use super::sql::{SqlAnswer, SqlQuery};
use super::{Action, Allow, Check, CheckAction, CheckWhen, ExpectedFailure, Guard, Phases, Require, Sla};
use crate::experiment::Axis;
use crate::experiment::decode::{Decode, Named, Template, misplaced, parsed, word};
use crate::experiment::interpolate;
use crate::experiment::mistake::Mistakes;
use crate::experiment::shape::*;
use crate::experiment::tree::{Node, Value};
use crate::plan::host::Host;
use crate::units::{Rate, Share, Span};

pub(super) use fault::{After, WrittenFault};
use system::SecretReference;
pub(super) use system::{WrittenKind, WrittenSystem};

/// The experiment as a whole, with none for what is wrong.
pub(super) struct Written {
    pub(super) name: Option<String>,
    pub(super) hypothesis: Option<String>,
    pub(super) claims: Option<Vec<String>>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) seed: Option<u64>,
    pub(super) allow: Option<Vec<WrittenAllow>>,
    pub(super) system: Option<WrittenSystem>,
    pub(super) workloads: Option<Named<super::Workload>>,
    pub(super) phases: Option<Phases>,
    pub(super) faults: Option<Named<WrittenFault>>,
    pub(super) guards: Option<Vec<Guard>>,
    pub(super) checks: Option<Vec<Check>>,
    pub(super) expect: Option<Vec<String>>,
    pub(super) sla: Option<Option<Sla>>,
    pub(super) repeat: Option<Count>,
    pub(super) require: Option<Require>,
    pub(super) expected_failures: Option<Vec<ExpectedFailure>>,
}

record! {
    /// One experiment is one YAML file. JSON is YAML. Unknown keys are refused.
    Written {
        /// What reports and run folders are called: letters, digits, `-` and `_`.
        name: String,
        /// What is believed, in a sentence; the report says whether it held.
        hypothesis: String = "''",
        /// Ids of the claims that it shows, such as `C4`.
        claims: Vec<String>,
        /// Words to select it by, with `--tag`.
        tags: Vec<String>,
        /// The seed of all chance; `--seed` overrides it. Repetitions use seed, seed + 1 and so on.
        seed: u64 = "1",
        /// Parameters: `${name}` stands for the value everywhere in the file, `--set name=value` changes it. A null
        /// parameter must be set.
        params: IndexMap<String, Node>,
        /// What the run may touch beyond loopback, and whether it may damage data. Hosts need `--allow-remote` too.
        allow: Vec<WrittenAllow>,
        /// What is under test.
        system: WrittenSystem,
        /// Who uses it, by name.
        workloads: Named<super::Workload>,
        /// How long the phases last.
        phases: Phases = "{}",
        /// What goes wrong, by name; the order does not matter.
        faults: Named<WrittenFault>,
        /// The same experiment with other values: each combination is a run, all of them one report.
        matrix: Named<Axis>,
        /// What is different in the short version that CI runs (`--smoke`): laid over this file, map by map.
        smoke: Option<Node>,
        /// Conditions that end a run at once, heal everything and exit 4.
        guards: Vec<Guard>,
        /// Checks of your own; the final one counts for the verdict.
        checks: Vec<Check>,
        /// What must hold, such as `orders.success_rate >= 99.9% where retry=exponential`.
        expect: Vec<String>,
        /// The service level to compare with: a share, or a map.
        sla: Option<Sla>,
        /// How often each variant is run.
        repeat: Count = "1",
        /// How many repetitions must hold an expectation: `all`, or `M of N`.
        require: Require = "all",
        /// What is known not to hold yet. It is tolerated until its date; past that day, or when it holds after all,
        /// the run fails and says so.
        expected_failures: Vec<ExpectedFailure>,
    } => loose {
        let (_, _, _) = (params, matrix, smoke);
        Written {
            name, hypothesis, claims, tags, seed, allow, system, workloads, phases, faults, guards, checks, expect,
            sla, repeat, require, expected_failures,
        }
    }
}

record! {
    /// Load starts with the warm-up and goes on without a break until the recovery ends. The time between baseline
    /// and recovery follows from the faults.
    Phases {
        /// Load whose figures are not used.
        warmup: Span = "1s",
        /// Load without a fault, to compare with.
        baseline: Span = "5s",
        /// Load after the last removal.
        recovery: Span = "5s",
    } => Phases { warmup, baseline, recovery }
}

/// An item of `allow`.
pub(super) enum WrittenAllow {
    /// `data-damage`.
    DataDamage,
    /// A host outside loopback.
    Host(Allow),
}

record! {
    /// A host outside loopback that the run may touch.
    Allow {
        /// A host name or an address.
        host: String,
        /// The most attempts a second that may go there.
        max_rate: Rate,
    } => Allow { host, max_rate }
}

impl Decode for WrittenAllow {
    fn shape() -> Shape {
        let damage = ("data-damage", "Faults on an endpoint may damage data: `corrupt`, and those that drop bytes.");
        Shape::Either(vec![Shape::Words(vec![damage]), Allow::shape()])
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<WrittenAllow> {
        match node.text() {
            Some(_) => word(node, "a permission", &["data-damage"], mistakes).map(|_| WrittenAllow::DataDamage),
            None => Allow::decode(node, mistakes).map(WrittenAllow::Host),
        }
    }
}

record! {
    /// A condition that ends the run at once.
    Guard {
        /// `workload.metric op limit`, such as `orders.success_rate < 20%`, over a sliding second.
        abort_if: String,
        /// For how long it must hold.
        hold as "for": Span = "0s",
    } => Guard { abort_if, hold }
}

choice! {
    /// What a check does.
    CheckAction, "what it does" {
        /// A program with its arguments; exit status 0 is good.
        exec (command: Vec<Template>) => CheckAction::Act(Action::Exec(texts(command))),
        /// A request; a 2xx answer is good.
        http (request: ActionRequest) => CheckAction::Act(request.0),
        /// A query to a PostgreSQL server; the answer that `expect` names is good. Needs the feature `postgres`.
        sql (query: SqlQuery) => CheckAction::Sql(query),
    }
}

/// A request of an action.
pub(super) struct ActionRequest(pub(super) Action);

record! {
    /// A request that a check or an action makes.
    ActionRequest {
        /// The method.
        method: Method = "POST",
        /// The address, `http://…`; no credentials.
        url: Url,
        /// The body.
        body: Option<Template>,
    } => ActionRequest(Action::Http { method: method.0, url: url.0, body: body.map(|body| body.0) })
}

record! {
    /// A check of your own. `${links.NAME.address}` and its like are filled in.
    Check {
        ..action: CheckAction,
        /// When it runs.
        when: Vec<CheckWhen> = "[before, after, final]",
        /// How long it may take.
        timeout: Span = "10s",
    } => Check { when, action, timeout }
}

record! {
    /// A query to a server that speaks PostgreSQL's protocol, without TLS. Each check makes a connection of its own.
    SqlQuery {
        /// Where the server is: `host:port`, of a link (`${links.NAME.address}`) or past all links (`${nodes.NAME.address}`).
        address: Template,
        /// As whom to ask.
        user: String,
        /// Which database to ask.
        database: String,
        /// The user's password, as a secret; not needed where the server asks for none.
        password: Option<SecretReference>,
        /// The query; of several statements the last one's rows count.
        query: Template,
        /// Which answer is good. Without it, any but an error.
        expect: Option<SqlAnswer>,
    } => {
        let (address, query, password) = (address.0, query.0, password.map(|secret| secret.0));
        SqlQuery { address, user, database, password, query, expect }
    }
}

choice! {
    /// The answer that a query should have. Values are compared as the server writes them; `true` and `false` stand for
    /// its `t` and `f`, and null for NULL.
    SqlAnswer, "an answer" {
        /// One row of one column with this value.
        value (value: Option<String>) => SqlAnswer::Value(value),
        /// So many rows.
        rows (count: u64) => SqlAnswer::Rows(count),
        /// These rows, each a list of values, in this order.
        values (rows: Vec<Vec<Option<String>>>) => SqlAnswer::Values(rows),
    }
}

words! {
    CheckWhen, "a moment of a run" {
        /// Before load starts.
        "before" => CheckWhen::Before,
        /// After the last removal.
        "after" => CheckWhen::After,
        /// After the drain.
        "final" => CheckWhen::Final,
    }
}

choice! {
    /// Something done outside the run.
    Action, "an action" {
        /// A program with its arguments; exit status 0 is good.
        exec (command: Vec<Template>) => Action::Exec(texts(command)),
        /// A request; a 2xx answer is good.
        http (request: ActionRequest) => request.0,
        /// A person's step: the instruction; acknowledged at the terminal.
        manual (step: String) => Action::Manual(step),
    }
}

/// A service level as a map.
struct WrittenSla(Sla);

record! {
    /// A service level to compare with.
    WrittenSla {
        /// The promise, such as `99.9%`.
        target: Share,
        /// How often a year an incident like this one happens.
        incidents_per_year: f64 = "12",
        /// The length of a slice that is good or bad.
        slice: Span = "1s",
    } => WrittenSla(Sla { target, incidents_per_year, slice })
}

impl Decode for Sla {
    fn shape() -> Shape {
        Shape::Either(vec![Share::shape(), WrittenSla::shape()])
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Sla> {
        match &node.value {
            Value::Scalar(_) => {
                let target = Share::decode(node, mistakes)?;
                Some(Sla { target, incidents_per_year: 12.0, slice: Span(std::time::Duration::from_secs(1)) })
            }
            _ => WrittenSla::decode(node, mistakes).map(|sla| sla.0),
        }
    }
}

record! {
    /// Something that is known not to hold yet.
    ExpectedFailure {
        /// The line of `expect` that fails, as it stands there; without it the experiment as a whole.
        expect: Option<String>,
        /// The last day on which that is tolerated, such as `2027-01-31`, in UTC.
        until: Date,
        /// Why, and where it is followed up.
        reason: String,
    } => ExpectedFailure { expect, until, reason }
}

impl Decode for Date {
    fn shape() -> Shape {
        Shape::Scalar(ScalarShape { noun: "a date", expected: "a day such as `2027-01-31`".to_owned(), json: "string" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Date> {
        parsed(node, "a date", mistakes, |text| {
            text.parse().map_err(|_| "expected a day such as `2027-01-31`".to_owned())
        })
    }
}

impl Decode for Require {
    fn shape() -> Shape {
        let expected = "`all`, or `M of N` such as `9 of 10`".to_owned();
        Shape::Scalar(ScalarShape { noun: "a number of repetitions", expected, json: "string" })
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<Require> {
        parsed(node, "a number of repetitions", mistakes, |text| match text {
            "all" => Ok(Require::All),
            _ => text
                .split_once(" of ")
                .and_then(|(m, n)| Some((m.trim().parse().ok()?, n.trim().parse::<u32>().ok()?)))
                .filter(|(m, n)| (1..=*n).contains(m))
                .map(|(m, _)| Require::AtLeast(m))
                .ok_or_else(|| "expected `all`, or `M of N` such as `9 of 10`".to_owned()),
        })
    }
}

/// The texts of templates.
pub(super) fn texts(templates: Vec<Template>) -> Vec<String> {
    templates.into_iter().map(|template| template.0).collect()
}

/// Scalars with a rule of their own: a type, what it is called, what is expected, and how it is read.
macro_rules! ruled {
    ($($(#[$doc:meta])* $name:ident($inner:ty), $noun:literal, $expected:literal, $json:literal, $read:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name(pub(super) $inner);

        impl Decode for $name {
            fn shape() -> Shape {
                Shape::Scalar(ScalarShape { noun: $noun, expected: $expected.to_owned(), json: $json })
            }

            fn decode(
                node: &$crate::experiment::tree::Node,
                mistakes: &mut $crate::experiment::mistake::Mistakes,
            ) -> Option<$name> {
                let read: fn(&str) -> Option<$inner> = $read;
                $crate::experiment::decode::parsed(node, $noun, mistakes, |text| {
                    read(text).map($name).ok_or(concat!("expected ", $expected).to_owned())
                })
            }
        }
    )*};
}
use ruled;

ruled! {
    /// A number of things, at least one.
    Count(u32), "a number above zero", "a whole number from 1", "integer", |text| text.parse().ok().filter(|n| *n > 0);
    /// An HTTP method.
    Method(String), "an HTTP method", "a method such as `GET` or `POST`", "string", |text| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic())).then(|| text.to_uppercase())
    };
    /// An address for requests.
    Url(String), "an address", "`http://host:port/path` without credentials; a token belongs in a secret", "string", |text| {
        // What is filled in at run time is an address, or the port of one.
        let some = |name: &str| Some(if name.ends_with(".port") { "1" } else { "127.0.0.1:1" }.to_owned());
        let filled = interpolate::fill(text, some).ok()?;
        Host::of_url(&filled).map(|_| text.to_owned())
    };
}

/// A text, or a list of some.
pub(super) struct OneOrMore(pub(super) Vec<String>);

impl Decode for OneOrMore {
    fn shape() -> Shape {
        Shape::Either(vec![String::shape(), Shape::List(String::shape)])
    }

    fn decode(node: &Node, mistakes: &mut Mistakes) -> Option<OneOrMore> {
        match &node.value {
            _ if node.is_null() => {}
            Value::Scalar(_) => return String::decode(node, mistakes).map(|one| OneOrMore(vec![one])),
            Value::List(list) if !list.is_empty() => {
                let texts = Vec::<String>::decode(node, mistakes)?;
                return (texts.len() == list.len()).then_some(OneOrMore(texts));
            }
            _ => {}
        }
        neither(node, "a text or a list of texts", mistakes)
    }
}

/// A node that is neither of the kinds that a type may be written as.
fn neither<T>(node: &Node, expected: &str, mistakes: &mut Mistakes) -> Option<T> {
    mistakes.add(misplaced(node, expected));
    None
}
