//! `brownout lab`: a lab by itself, to point a client of one's own at and to drill by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use tokio::sync::watch;

use super::{Exit, chain, say, signals, write_stdout};
use crate::drill::{Drill, Server, Status};
use crate::experiment::nearest::nearest;
use crate::plan::LabError;
use crate::run::StopSwitch;
use crate::system::lab::{LABS, LabKind, ParamKind};

/// `brownout lab`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  brownout lab                                            every lab
  brownout lab primary-standby --params                   what can be set on one
  brownout lab primary-standby --set commit=async --entry gateway=8080 --status 8475
  curl -X PUT -d hello http://127.0.0.1:8080/kv/greeting  use it: docs/http-interface.md
  curl -X POST http://127.0.0.1:8475/nodes/node-a/kill    then heal; also pause, stop, restart, cut
  curl -X POST http://127.0.0.1:8475/failover/planned     order a failover
  curl http://127.0.0.1:8475/status.json                  roles, zones, addresses, what happened

Everything listens on loopback. Exit codes: 0 stopped by a signal, 2 a mistake on the command line, 3 the lab does not
serve, or a port is taken.")]
pub struct LabArgs {
    /// Which; without it, every lab is named.
    pub name: Option<String>,
    /// Set a parameter of the lab; may be given many times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair, requires = "name")]
    pub set: Vec<(String, String)>,
    /// Where clients reach an entry; may be given many times. Default: a free port for each entry.
    #[arg(long, value_name = "NODE=PORT", value_parser = entry, requires = "name")]
    pub entry: Vec<(String, u16)>,
    /// The port of the status page. Default: any free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub status: u16,
    /// Print what can be set, with defaults, and end.
    #[arg(long, requires = "name")]
    pub params: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn entry(text: &str) -> Result<(String, u16), String> {
    let (node, port) = pair(text).map_err(|_| "expected NODE=PORT")?;
    Ok((node, port.parse().map_err(|_| "expected NODE=PORT, with a port from 0 to 65535")?))
}

/// Names the labs, tells of one, or runs one until a signal.
pub(super) fn lab(args: &LabArgs) -> Exit {
    let Some(name) = &args.name else {
        write_stdout(&all());
        return Exit::Held;
    };
    let Some(kind) = LABS.iter().find(|lab| lab.name == name) else {
        let meant = nearest(name, LABS.iter().map(|lab| lab.name));
        let help = meant.map_or("`brownout lab` names all".to_owned(), |meant| format!("did you mean `{meant}`?"));
        say(&format!("error: no lab is called `{name}`; {help}\n"));
        return Exit::Mistake;
    };
    let params: IndexMap<String, Value> = args.set.iter().map(|(name, value)| (name.clone(), given(value))).collect();
    if let Err(mistakes) = kind.describe(&params) {
        mistakes.iter().for_each(|mistake| say(&format!("error: {}\n", told(mistake))));
        return Exit::Mistake;
    }
    if args.params {
        write_stdout(&about(kind));
        return Exit::Held;
    }
    let stop = StopSwitch::default();
    if let Err(error) = signals::listen(stop.clone()) {
        say(&format!("error: cannot listen for signals: {error}\n"));
        return Exit::Bug;
    }
    super::raise_descriptors();
    // One thread answers the page; the nodes and the links have theirs.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(kind, &params, args, &stop)),
        Err(error) => {
            say(&format!("error: cannot start the runtime: {error}\n"));
            Exit::Bug
        }
    }
}

async fn run(kind: &'static LabKind, params: &IndexMap<String, Value>, args: &LabArgs, stop: &StopSwitch) -> Exit {
    let server = match Server::bind(args.status).await {
        Ok(server) => server,
        Err(error) => {
            say(&format!(
                "error: the status page cannot listen on 127.0.0.1:{}: {error}; try another --status\n",
                args.status
            ));
            return Exit::NotReady;
        }
    };
    let ports: BTreeMap<String, u16> = args.entry.iter().cloned().collect();
    let started = tokio::select! {
        biased;
        _ = stop.wait() => return Exit::Held,
        started = Drill::start(kind, params, &ports) => started,
    };
    let drill = match started {
        Ok(drill) => Arc::new(drill),
        Err(error) => {
            say(&format!("error: {}\n", chain(&error)));
            return if error.is_mistake() { Exit::Mistake } else { Exit::NotReady };
        }
    };
    write_stdout(&greeting(&drill.status().await, &server));
    let (ending, ends) = watch::channel(false);
    let serving = tokio::spawn(server.serve(Arc::clone(&drill), ends));
    let _ = stop.wait().await;
    say("ending the lab\n");
    ending.send_replace(true);
    // An answer that is under way is given; a browser that keeps its connection open is not waited for.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), serving).await;
    drill.stop().await;
    Exit::Held
}

/// `true` and `false` as YAML has them; all else is text, as a quantity in a file is.
fn given(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => Value::from(text),
    }
}

fn told(mistake: &LabError) -> String {
    match mistake {
        LabError::UnknownParam { param, known } => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let help = match nearest(param, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            format!("{mistake}; {help}")
        }
        other => other.to_string(),
    }
}

fn all() -> String {
    let width = LABS.iter().map(|lab| lab.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for lab in LABS {
        let _ = writeln!(text, "{:width$}  {}", lab.name, lab.about);
    }
    text + "\nRun one: brownout lab NAME. What can be set on it: brownout lab NAME --params\n"
}

/// What can be set on a lab, and who can be used.
fn about(kind: &LabKind) -> String {
    let mut text = format!("{}: {}\n\n", kind.name, kind.about);
    for param in kind.params {
        let default = shown(&param.kind.default_value());
        let _ = writeln!(text, "  --set {}={default}\n      {}", param.name, param.doc);
        let _ = match param.kind {
            ParamKind::Word(words) => writeln!(text, "      One of: {}.", words.join(", ")),
            kind => writeln!(text, "      Expected: {}.", kind.expected()),
        };
    }
    if let Ok(description) = kind.describe(&IndexMap::new()) {
        let orders: Vec<String> = description.orders.iter().map(ToString::to_string).collect();
        let orders = if orders.is_empty() { "none".to_owned() } else { orders.join(", ") };
        let _ = writeln!(text, "\n  entries  {}\n  orders   {orders}", description.entries.join(", "));
    }
    text
}

/// Where everything is, and what to do next.
fn greeting(status: &Status, server: &Server) -> String {
    let mut text = format!("{}: {}\n", status.lab, status.about);
    let params: Vec<String> = status.params.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
    let _ = writeln!(text, "  set      {}", params.join(" "));
    let width = status.nodes.iter().map(|node| node.name.len()).chain(status.links.iter().map(|link| link.name.len()));
    let width = width.max().unwrap_or(0);
    for (entry, address) in &status.entries {
        let _ = writeln!(text, "  clients  {entry:width$}  {address}");
    }
    if let Some(dns) = &status.dns {
        let _ = writeln!(text, "  dns      {:width$}  {}", dns.to_string(), status.dig(dns));
    }
    for name in &status.names {
        let _ =
            writeln!(text, "  name     {:width$}  {} {}, {}", name.name, name.nodes.join(" "), name.answer(), name.url);
    }
    for node in &status.nodes {
        let labels = [("region", &node.region), ("zone", &node.zone), ("host", &node.host), ("role", &node.role)];
        let labels: Vec<String> =
            labels.into_iter().filter_map(|(label, value)| Some(format!("{label}={}", value.as_ref()?))).collect();
        let _ = writeln!(text, "  node     {:width$}  {}", node.name, labels.join(" "));
    }
    for link in &status.links {
        let address = link.address.map(|address| address.to_string()).unwrap_or_default();
        let _ = writeln!(text, "  link     {:width$}  {address}", link.name);
    }
    let _ = writeln!(text, "  status   http://{0}/ and http://{0}/status.json", server.address());
    text + "Ctrl-C ends it.\n"
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
