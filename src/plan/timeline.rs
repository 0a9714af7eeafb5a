//! `brownout plan`: what would happen, to whom, for how long and at most, before anybody presses enter.

use std::fmt::Write;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::fault::{
    Blackout, Crossing, Direction, DnsEffect, DnsFault, Fault, FaultKind, HttpEffect, LinkFault, Links, Manner,
    NodeFault, Pick, Selector, Toxic, Which,
};
use super::parts::{PartKind, Parts};
use super::system::{NodeKind, System, Tls};
use super::workload::{Arrival, Client, Operation, Resolve, Workload};
use super::{Action, CheckAction, CheckWhen, LabCatalogue, Name, Plan, RetryPolicy, RunPlan};
use crate::plan::retry::{Jitter, Schedule};
use crate::units::Span;

/// Characters of the time line.
const WIDTH: usize = 60;
/// How long a lab, or anything without a limit of its own, may take to become ready.
const READY: Duration = Duration::from_secs(10);
/// How long healing and stopping may take without a limit of their own.
const STOP: Duration = Duration::from_secs(5);
/// A cell that is longer, such as a command, widens its column for nobody else.
const WIDEST_CELL: usize = 48;

/// Everything that a person wants to know of a plan before it runs.
pub fn render(plan: &Plan, labs: &dyn LabCatalogue) -> String {
    let mut page = Page { text: String::new() };
    page.heading(plan);
    let mut shown: Vec<&RunPlan> = Vec::new();
    for run in &plan.runs {
        // Variants that differ in nothing that this page shows once are shown once.
        let same = |other: &&RunPlan| other.phases == run.phases && other.faults == run.faults;
        if run.repetition == 1 && !shown.iter().any(same) {
            shown.push(run);
        }
    }
    for run in &shown {
        let of = if shown.len() > 1 { format!(" of {}", run.variant_id()) } else { String::new() };
        page.time_line(plan, run, &of);
    }
    if let Some(run) = plan.runs.first() {
        match Parts::of(run, labs) {
            Ok(parts) => page.parts(run, &parts),
            Err(errors) => errors.iter().for_each(|error| page.line(&format!("  {error}"))),
        }
        page.names(run);
        page.workloads(plan);
        page.touches(plan, run);
        page.ending(plan);
    }
    page.text
}

/// How many runs, and how long their load lasts: `3 variants of 9s, 27s of load`.
pub fn length(plan: &Plan) -> String {
    let lengths: Vec<Duration> = plan.runs.iter().map(RunPlan::load_duration).collect();
    let total = short(lengths.iter().sum());
    let variants = plan.runs.iter().filter(|run| run.repetition == 1).count();
    let repetitions = plan.runs.iter().map(|run| run.repetition).max().unwrap_or(1);
    let runs = match (variants, repetitions) {
        (0 | 1, 1) => return format!("{total} of load"),
        (0 | 1, times) => format!("{times} runs"),
        (variants, 1) => format!("{variants} variants"),
        (variants, times) => format!("{variants} variants, each run {times} times,"),
    };
    match lengths[..] {
        [first, ref others @ ..] if others.iter().all(|other| *other == first) => {
            format!("{runs} of {}, {total} of load", short(first))
        }
        _ => format!("{}, {total} of load", runs.trim_end_matches(',')),
    }
}

/// How long a run lasts at most: everything that may be waited for, waited for to its limit.
pub fn longest(run: &RunPlan) -> Duration {
    let processes = match &run.system {
        System::Nodes { nodes, .. } => nodes.values().filter_map(|node| match &node.kind {
            NodeKind::Process(process) => Some((process.ready.within.0, process.stop.within.0)),
            NodeKind::Endpoint(_) => None,
        }),
        System::Lab { .. } => return READY + run.load_duration() + run.longest_deadline() + checks(run) + STOP,
    };
    let (ready, stop): (Vec<Duration>, Vec<Duration>) = processes.unzip();
    let ready: Duration = ready.into_iter().sum::<Duration>().max(READY);
    let stop = stop.into_iter().max().unwrap_or_default().max(STOP);
    ready + run.load_duration() + run.longest_deadline() + checks(run) + stop
}

fn checks(run: &RunPlan) -> Duration {
    run.checks.iter().map(|check| check.timeout.0 * check.when.len() as u32).sum()
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Rows whose columns stand below each other; a cell that is far longer than the others pushes what follows it.
    fn table<const N: usize>(&mut self, rows: &[[String; N]]) {
        let width = |column: usize| {
            let lengths = rows.iter().map(|row| row[column].chars().count());
            lengths.filter(|length| *length <= WIDEST_CELL).max().unwrap_or(0)
        };
        for row in rows {
            let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column)));
            self.line(&format!("  {}", cells.collect::<Vec<_>>().join("  ")));
        }
    }

    fn section(&mut self, title: &str) {
        self.text.push('\n');
        self.line(title);
    }

    fn heading(&mut self, plan: &Plan) {
        let seed = plan.runs.first().map_or(0, |run| run.seed.0);
        let most: Duration = plan.runs.iter().map(longest).sum();
        let smoke = if plan.smoke { "   smoke" } else { "" };
        let control = if plan.no_faults { "   without its faults (control)" } else { "" };
        let (length, most) = (length(plan), short(most));
        self.line(&format!("{}   seed {seed}   {length}, {most} at most{smoke}{control}", plan.name));
        if !plan.hypothesis.is_empty() {
            self.line(&format!("  {}", plan.hypothesis));
        }
        if !plan.params.is_empty() {
            let params: Vec<String> = plan.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.line(&format!("  params   {}", params.join("   ")));
        }
        let variants: Vec<String> =
            plan.runs.iter().filter(|run| run.repetition == 1).map(RunPlan::variant_id).collect();
        if variants.len() > 1 {
            self.section("variants");
            variants.iter().for_each(|variant| self.line(&format!("  {variant}")));
        }
        let repetitions = plan.runs.iter().map(|run| run.repetition).max().unwrap_or(1);
        if repetitions > 1 {
            self.line(&format!(
                "  each {repetitions} times, with seeds {seed} to {}",
                seed + u64::from(repetitions) - 1
            ));
        }
    }

    fn time_line(&mut self, plan: &Plan, run: &RunPlan, of: &str) {
        let total = run.load_duration();
        self.section(&format!("time line{of}, {} from the start of load", short(total)));
        let scale = Scale { total };
        let name_width = run.faults.keys().map(|name| name.len()).max().unwrap_or(0).max(8);
        let mut row = |name: &str, from: Duration, to: Duration, mark: char, what: &str| {
            let bar = scale.bar(from, to, mark);
            let times = if from == to {
                format!("{:>7}          ", short(from))
            } else {
                format!("{:>7} – {:<7}", short(from), short(to))
            };
            self.line(&format!("  {name:name_width$}  {bar}  {times} {what}"));
        };
        let (warmup, baseline) = (run.phases.warmup.0, run.phases.warmup.0 + run.phases.baseline.0);
        row("warmup", Duration::ZERO, warmup, '·', "not measured");
        row("baseline", warmup, baseline, '─', "to compare with");
        for (name, fault) in &run.faults {
            let from = baseline + fault.planned_at.0;
            let lasts = fault.hold.map(|hold| hold.0);
            let once = lasts.is_none() && fault.kind.ends_by_itself();
            let to = from + lasts.unwrap_or(if once { Duration::ZERO } else { total.saturating_sub(from) });
            let mark = if plan.no_faults { '┄' } else { '━' };
            row(name, from, to, mark, &describe(fault));
        }
        let recovery = baseline + run.fault_window();
        row("recovery", recovery, total, '─', "");
        self.line(&format!("  {:name_width$}  {}", "", scale.axis()));
        let drain = short(run.longest_deadline());
        let writes = run.workloads.values().any(|workload| workload.operation.writes_keys());
        let read_back = if writes { ", and every key written is read back" } else { "" };
        self.line(&format!("  then operations that are still open get up to {drain}{read_back}"));
    }

    fn parts(&mut self, run: &RunPlan, parts: &Parts) {
        match &run.system {
            System::Lab { name, params } => {
                let params: Vec<String> =
                    params.iter().map(|(name, value)| format!("{name}: {}", bare(value))).collect();
                self.section(&format!("system: the lab {name}, inside this process   {}", params.join(", ")));
            }
            System::Nodes { .. } => self.section("system"),
        }
        // One width of names for both tables, so that a link is found below its nodes.
        let width = parts.nodes.keys().chain(parts.links.keys()).map(String::len).max().unwrap_or(0);
        let mut rows = Vec::new();
        for (name, node) in &parts.nodes {
            let labels: Vec<String> = node.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            let what = match (&run.system, node.kind) {
                (System::Nodes { nodes, .. }, PartKind::Endpoint | PartKind::Process) => match &nodes[name].kind {
                    NodeKind::Endpoint(endpoint) => format!("endpoint {endpoint}, already running"),
                    NodeKind::Process(process) => {
                        format!("process, started and stopped by the run: {}", process.command.join(" "))
                    }
                },
                _ => node.kind.name().to_owned(),
            };
            rows.push([format!("{name:width$}"), what, labels.join(" ")]);
        }
        self.table(&rows);
        self.section("links: a proxy on each");
        let mut rows = Vec::new();
        for (name, link) in &parts.links {
            let listen = link
                .listen
                .strip_suffix(":0")
                .map_or_else(|| link.listen.clone(), |host| format!("{host}, a free port"));
            let target = match &run.system {
                System::Nodes { nodes, .. } => nodes.get(&link.to).map(|node| match &node.kind {
                    NodeKind::Endpoint(endpoint) => endpoint.address(),
                    NodeKind::Process(process) => match process.listen.as_deref() {
                        Some(listen) if !listen.ends_with(":0") => listen.to_owned(),
                        _ => "127.0.0.1, a free port".to_owned(),
                    },
                }),
                System::Lab { .. } => None,
            };
            let target = target.unwrap_or_else(|| "127.0.0.1, a free port".to_owned());
            let tls = run.system.endpoint(&link.to).is_some_and(Endpoint::tls);
            let speaks = match (link.http, tls, link.tls) {
                (true, true, Tls::Terminate) => "HTTP/1 in TLS, which ends at the link",
                (false, true, Tls::Terminate) => "TLS, which ends at the link",
                (true, ..) => "HTTP/1",
                (false, true, Tls::Opaque) => "TLS",
                (false, false, _) => "",
            };
            let (from, to) = (&link.from, &link.to);
            let (listen, target) = (format!("listens at {listen}"), format!("target {target}"));
            rows.push([format!("{name:width$}"), format!("{from} → {to}"), listen, target, speaks.to_owned()]);
        }
        self.table(&rows);
    }

    fn names(&mut self, run: &RunPlan) {
        if run.names.is_empty() {
            return;
        }
        self.section("names: a DNS server inside this process answers them");
        for (name, Name { to, others, ttl }) in &run.names {
            let others = if others.is_empty() { String::new() } else { format!("   may mean {}", others.join(", ")) };
            self.line(&format!("  {name} → {}   for {ttl}{others}", to.join(", ")));
        }
    }

    fn workloads(&mut self, plan: &Plan) {
        self.section("load");
        let mut lines: Vec<(String, Vec<String>)> = Vec::new();
        for run in plan.runs.iter().filter(|run| run.repetition == 1) {
            for (name, workload) in &run.workloads {
                let line = format!("  {name} → {}: {}", workload.to, describe_workload(workload));
                match lines.iter_mut().find(|(known, _)| *known == line) {
                    Some((_, variants)) => variants.push(run.variant_id()),
                    None => lines.push((line, vec![run.variant_id()])),
                }
            }
        }
        let variants = plan.runs.iter().filter(|run| run.repetition == 1).count();
        for (line, of) in lines {
            self.line(&line);
            if of.len() < variants {
                self.line(&format!("      in {}", of.join(", ")));
            }
        }
    }

    /// What it starts, kills, runs and reaches.
    fn touches(&mut self, plan: &Plan, run: &RunPlan) {
        let mut lines: Vec<String> = Vec::new();
        let mut add = |line: String| {
            if !lines.contains(&line) {
                lines.push(line);
            }
        };
        for run in &plan.runs {
            if let System::Nodes { nodes, .. } = &run.system {
                for (name, node) in nodes {
                    if let NodeKind::Process(process) = &node.kind {
                        let files: Vec<&str> = process.files.keys().map(String::as_str).collect();
                        let files =
                            if files.is_empty() { String::new() } else { format!("   writes {}", files.join(", ")) };
                        add(format!("  starts   {name}: {}{files}", process.command.join(" ")));
                    }
                }
            }
            for (name, fault) in &run.faults {
                match &fault.kind {
                    FaultKind::Kill(nodes)
                    | FaultKind::Pause(nodes)
                    | FaultKind::Stop(nodes)
                    | FaultKind::Restart(nodes) => {
                        add(format!("  {:8} {} ({name})", format!("{}s", fault.kind.name()), describe_nodes(nodes)));
                    }
                    FaultKind::Blackout(blackout) => {
                        add(format!("  {:8} every node of {} ({name})", "kills", describe_place(blackout)));
                    }
                    FaultKind::StorageCopyDown { .. } | FaultKind::ControlNodeDown { .. } => {
                        add(format!("  {:8} {} ({name})", "kills", describe_loss(&fault.kind)));
                    }
                    FaultKind::Order(order) => add(format!("  {:8} a {order} ({name})", "orders")),
                    FaultKind::Action { action, undo } => {
                        add(format!("  runs     {} ({name})", describe_action(action)));
                        add(match undo {
                            Some(undo) => format!("  undoes   {} ({name})", describe_action(undo)),
                            None => format!("  cannot undo {name}: it is declared irreversible"),
                        });
                    }
                    _ => {}
                }
            }
            for check in &run.checks {
                let when: Vec<&str> = check
                    .when
                    .iter()
                    .map(|when| match when {
                        CheckWhen::Before => "before",
                        CheckWhen::After => "after",
                        CheckWhen::Final => "final",
                    })
                    .collect();
                add(format!("  checks   {} ({})", describe_check(&check.action), when.join(", ")));
            }
        }
        self.section("what it runs and touches");
        if lines.is_empty() {
            self.line("  no other program, no request of its own");
        }
        lines.iter().for_each(|line| self.line(line));
        if run.allow.is_empty() {
            self.line("  network  nothing leaves loopback");
        } else {
            for allow in &run.allow {
                self.line(&format!("  network  {}, at most {}; needs --allow-remote", allow.host, allow.max_rate));
            }
        }
        if run.allow_data_damage {
            self.line("  data     faults may damage what endpoints store (allow: [data-damage])");
        }
    }

    fn ending(&mut self, plan: &Plan) {
        self.section("how it ends");
        let lease = plan.runs.iter().flat_map(|run| run.faults.values()).map(|fault| fault.lease.0).max();
        if let Some(lease) = lease {
            let lease = short(lease);
            self.line(&format!("  every fault heals on schedule, and by its lease after {lease} at the latest, whatever becomes of this process"));
        }
        for guard in plan.runs.first().map_or(&[][..], |run| &run.guards[..]) {
            let hold = if guard.hold.0.is_zero() { String::new() } else { format!(" for {}", guard.hold) };
            self.line(&format!("  ends at once, heals everything and exits 4 if {}{hold}", guard.abort_if));
        }
        self.line("  Ctrl-C heals everything and stops; a second one ends at once");
        for line in &plan.expect {
            self.line(&format!("  expects  {line}"));
        }
        self.line(&format!("  run it   {}", plan.again));
    }
}

/// Places times on the time line.
struct Scale {
    total: Duration,
}

impl Scale {
    fn column(&self, at: Duration) -> usize {
        if self.total.is_zero() {
            return 0;
        }
        let share = at.as_secs_f64() / self.total.as_secs_f64();
        ((share * WIDTH as f64).round() as usize).min(WIDTH)
    }

    /// A bar of at least one mark.
    fn bar(&self, from: Duration, to: Duration, mark: char) -> String {
        let start = self.column(from).min(WIDTH - 1);
        let end = self.column(to).clamp(start + 1, WIDTH);
        (0..WIDTH).map(|column| if (start..end).contains(&column) { mark } else { ' ' }).collect()
    }

    /// Round seconds below the bars.
    fn axis(&self) -> String {
        let total = self.total.as_secs_f64();
        let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0];
        let step = steps.into_iter().find(|step| total / step <= 8.0).unwrap_or(28800.0);
        let mut axis: Vec<char> = vec![' '; WIDTH + 8];
        let mut at = 0.0;
        while at <= total {
            let column = self.column(Duration::from_secs_f64(at));
            for (index, c) in short(Duration::from_secs_f64(at)).chars().enumerate() {
                if let Some(place) = axis.get_mut(column + index) {
                    *place = c;
                }
            }
            at += step;
        }
        axis.into_iter().collect::<String>().trim_end().to_owned()
    }
}

/// `1m 30s`, `27s`, `2.5s`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => Span(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))).to_string(),
        120..7200 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn bare(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a fault does, in a line.
fn describe(fault: &Fault) -> String {
    let what = match &fault.kind {
        FaultKind::Toxic(LinkFault { links, direction, share, toxic }) => {
            let way = match direction {
                Direction::Up => ", client to server",
                Direction::Down => ", server to client",
                Direction::Both => "",
            };
            let share = if share.get() < 1.0 { format!(", {share} of connections") } else { String::new() };
            format!("{} on {}{way}{share}", describe_toxic(toxic), describe_links(links))
        }
        FaultKind::Partition { a, b, direction, manner } => {
            let arrow = match direction {
                Crossing::Both => "|",
                Crossing::AToB => "-x->",
                Crossing::BToA => "<-x-",
            };
            let manner = match manner {
                Manner::Silent => "silent",
                Manner::Reset => "reset",
                Manner::Refused => "refused",
            };
            format!("partition {} {arrow} {}, {manner}", describe_selector(a), describe_selector(b))
        }
        FaultKind::Refuse { links } => format!("refuses new connections on {}", describe_links(links)),
        FaultKind::BlackHole { links } => format!("black hole on {}", describe_links(links)),
        FaultKind::HalfOpen { links } => format!("leaves connections half open on {}", describe_links(links)),
        FaultKind::Flap { links, up, down } => format!("flaps {}: {down} down, {up} up", describe_links(links)),
        FaultKind::Drop { links, share, .. } => {
            format!("drops {share} of connections a second on {}", describe_links(links))
        }
        FaultKind::Http(http) => {
            let effect = match &http.effect {
                HttpEffect::Status { code, .. } => format!("answers {code}"),
                HttpEffect::Abort { .. } => "aborts answers".to_owned(),
                HttpEffect::Delay { by } => format!("delays answers by {by}"),
            };
            let share = if http.share.get() < 1.0 { format!(" to {}", http.share) } else { String::new() };
            format!("{effect}{share} on {}", describe_links(&http.links))
        }
        FaultKind::Dns(dns) => describe_dns(dns),
        FaultKind::Kill(nodes) | FaultKind::Pause(nodes) | FaultKind::Stop(nodes) => {
            format!("{}s {}", fault.kind.name(), describe_nodes(nodes))
        }
        FaultKind::Restart(nodes) => format!("restarts {}, until it is ready again", describe_nodes(nodes)),
        FaultKind::Blackout(blackout) => format!("{} loses its power", describe_place(blackout)),
        FaultKind::StorageCopyDown { .. } | FaultKind::ControlNodeDown { .. } => {
            format!("kills {}", describe_loss(&fault.kind))
        }
        FaultKind::Order(order) => format!("orders a {order}, until that is done"),
        FaultKind::Action { action, .. } => describe_action(action),
    };
    if fault.follow { format!("{what}, following") } else { what }
}

fn describe_toxic(toxic: &Toxic) -> String {
    match toxic {
        Toxic::Latency { add, jitter, .. } if jitter.0.is_zero() => format!("latency +{add}"),
        Toxic::Latency { add, jitter, .. } => format!("latency +{add} ± {jitter}"),
        Toxic::Bandwidth { rate } => format!("bandwidth {rate}"),
        Toxic::PacketLoss { loss, .. } => format!("packet loss {loss}"),
        Toxic::ChunkLoss { loss, .. } => format!("{loss} of chunks lost"),
        Toxic::Slicer { size, .. } => format!("slices of {size}"),
        Toxic::SlowClose { delay } => format!("close delayed by {delay}"),
        Toxic::Timeout { after } if after.0.is_zero() => "silence".to_owned(),
        Toxic::Timeout { after } => format!("silence, then a close after {after}"),
        Toxic::ResetPeer { after } => format!("reset after {after}"),
        Toxic::LimitData { bytes } => format!("a close after {bytes}"),
        Toxic::Corrupt { bytes } => format!("{bytes} of bytes corrupted"),
    }
}

fn describe_dns(fault: &DnsFault) -> String {
    let names = fault.names.as_ref().map_or("every name".to_owned(), |names| names.join(", "));
    let share = if fault.share.get() < 1.0 { format!(", to {} of queries", fault.share) } else { String::new() };
    match &fault.effect {
        DnsEffect::NxDomain => format!("DNS does not know {names}{share}"),
        DnsEffect::ServFail => format!("DNS fails for {names}{share}"),
        DnsEffect::Slow { by } => format!("DNS answers {by} later for {names}{share}"),
        DnsEffect::Stale => format!("DNS tells what {names} meant before{share}"),
        DnsEffect::Remap { to, ttl } => {
            let ttl = ttl.map(|ttl| format!(" for {ttl}")).unwrap_or_default();
            format!("DNS maps {names} to {}{ttl}{share}", to.join(", "))
        }
    }
}

fn describe_selector(selector: &Selector) -> String {
    match selector {
        Selector::Node(name) => name.clone(),
        Selector::Labels(labels) => {
            labels.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(" ")
        }
        Selector::Any(any) => any.iter().map(describe_selector).collect::<Vec<_>>().join(" or "),
        Selector::All => "all others".to_owned(),
    }
}

fn describe_place(Blackout { place, which }: &Blackout) -> String {
    match which {
        Which::Named(name) => format!("{} {name}", place.label()),
        Which::Of(who) => format!("the {} of {}", place.label(), describe_selector(who)),
    }
}

fn describe_links(links: &Links) -> String {
    match links {
        Links::Named(names) => names.join(", "),
        Links::Between { from, to } => format!("{} → {}", describe_selector(from), describe_selector(to)),
    }
}

fn describe_nodes(fault: &NodeFault) -> String {
    let who = match &fault.nodes {
        Selector::All => "every node".to_owned(),
        selector => describe_selector(selector),
    };
    match fault.pick {
        Pick::One => format!("one of {who}"),
        Pick::All => who,
    }
}

fn describe_loss(kind: &FaultKind) -> String {
    match kind.loss() {
        Some((role, 1)) => format!("one {role} node"),
        Some((role, count)) => format!("{count} {role} nodes"),
        None => String::new(),
    }
}

fn describe_action(action: &Action) -> String {
    match action {
        Action::Exec(command) => command.join(" "),
        Action::Http { method, url, .. } => format!("{method} {url}"),
        Action::Manual(step) => format!("a person's step: {step}"),
    }
}

fn describe_check(action: &CheckAction) -> String {
    match action {
        CheckAction::Act(action) => describe_action(action),
        CheckAction::Sql(query) => query.to_string(),
    }
}

fn describe_workload(workload: &Workload) -> String {
    let arrival = match workload.arrival {
        Arrival::Constant(rate) => rate.to_string(),
        Arrival::Poisson(rate) => format!("{rate}, Poisson"),
        Arrival::Ramp { from, to, over } => format!("{from} to {to} over {over}"),
        Arrival::Users { count, think } => format!("{count} users, {think} between operations"),
    };
    let client = match &workload.client {
        Client::Http(http) => match http.resolve {
            Resolve::Ttl => "http".to_owned(),
            Resolve::Every(length) => format!("http, which asks DNS every {length}"),
            Resolve::Once => "http, which asks DNS once".to_owned(),
            Resolve::EachAttempt => "http, which asks DNS for each attempt".to_owned(),
        },
        Client::Tcp(_) => "tcp".to_owned(),
    };
    let operation = match &workload.operation {
        Operation::Request(request) => format!("{} {}", request.method, request.path),
        Operation::Register(register) => format!("registers, {} keys, {} reads", register.keys, register.reads),
        Operation::Insert(insert) => format!("inserts, {} reads", insert.reads),
        Operation::Append(append) => format!("appends to {} lists, {} reads", append.keys, append.reads),
        Operation::Echo { size } => format!("echo of {size}"),
    };
    let (attempt, deadline) = (workload.attempt_timeout, workload.deadline);
    let retry = describe_retry(&workload.retry);
    format!("{arrival} by {client}, {operation}; {attempt} an attempt, {deadline} in all; {retry}")
}

fn describe_retry(retry: &RetryPolicy) -> String {
    let mut text = match retry.schedule {
        Schedule::None => return "no retry".to_owned(),
        Schedule::Native => return "the client's own retries".to_owned(),
        Schedule::Fixed { wait, .. } => format!("retries after {wait}"),
        Schedule::Linear { step, cap, .. } => format!("retries after {step} × n, at most {cap}"),
        Schedule::Exponential { base, factor, cap, .. } => format!("retries after {base} × {factor}^n, at most {cap}"),
    };
    if let Schedule::Fixed { jitter, .. } | Schedule::Linear { jitter, .. } | Schedule::Exponential { jitter, .. } =
        retry.schedule
    {
        let _ = match jitter {
            Jitter::None => Ok(()),
            Jitter::Full => write!(text, ", full jitter"),
            Jitter::Equal => write!(text, ", equal jitter"),
            Jitter::Decorrelated => write!(text, ", decorrelated jitter"),
            Jitter::PlusMinus(share) => write!(text, ", ± {share}"),
        };
    }
    if let Some(attempts) = retry.attempts {
        let _ = write!(text, ", {attempts} attempts");
    }
    let extras =
        [(retry.budget.is_some(), "budget"), (retry.breaker.is_some(), "breaker"), (retry.hedge.is_some(), "hedging")];
    extras.into_iter().filter(|(on, _)| *on).for_each(|(_, extra)| {
        let _ = write!(text, ", {extra}");
    });
    text
}
