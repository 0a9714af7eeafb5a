//! A run folder's figures without a run: a small simulation of a primary that is cut off, seen by three retry policies.
//!
//! Everything is computed from the simulated attempts, so that figures, charts and samples agree with each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brownout::clock::Moment;
use brownout::event::{
    Access, Applied, Attempt, Hit, Layout, LayoutLink, LayoutNode, LinkCounters, Mechanism, Milestone, Modelled,
    Outcome, Proof, StopReason,
};
use brownout::measure::*;
use brownout::plan::{PLAN_SCHEMA, Phases, Plan, Require, RunPlan, System};
use brownout::report::{Host, Manifest, Report};
use brownout::seed::Seed;
use brownout::verdict::{Judged, Judgement, Verdict, Word};
use indexmap::IndexMap;

const MS: u64 = 1_000_000;
const WARMUP: u64 = 1_000 * MS;
const INJECTED: u64 = 3_002 * MS;
const PROMOTED: u64 = INJECTED + 930 * MS;
const REDIRECTED: u64 = INJECTED + 952 * MS;
const HEALED: u64 = 6_004 * MS;
const LOAD_END: u64 = 9_004 * MS;
const GAP: u64 = 2 * MS;
const ATTEMPT_TIMEOUT: u64 = 250 * MS;
const DEADLINE: u64 = 3_000 * MS;

/// What the client waits before retry `n`; none: no further attempt.
type Policy = fn(n: u32, dice: &mut Dice) -> Option<u64>;

const POLICIES: [(&str, Policy); 3] = [
    ("none", |_, _| None),
    ("fixed", |n, _| (n < 4).then_some(100 * MS)),
    ("exponential", |n, dice| (n < 6).then(|| dice.below((50 * MS) << n))),
];

/// The dice of a sample: xorshift, so that a sample is the same everywhere and for ever.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// The quickstart as it should come out: three variants, everything held.
pub(crate) fn held() -> Report {
    report(&measured(), &verdict(), &manifest())
}

/// The same, with two expectations that did not come true and three lost writes.
pub(crate) fn failed() -> Report {
    let mut measured = measured();
    for run in &mut measured.runs {
        let workload = &mut run.workloads["orders"];
        let lost = if run.variant == "retry=none" { 0 } else { 3 };
        let consistency = workload.consistency.as_mut().unwrap();
        consistency.lost = lost;
        consistency.examples =
            vec!["key 17: write 1402.1 was acknowledged at 2.804 s, the final read shows 1377.1".into()];
        for outage in workload.classes.values_mut().flat_map(|class| class.outages.values_mut()) {
            outage.rpo_lost = Some(lost);
            outage.rpo_age_ns = Some(if lost > 0 { 198 * MS } else { 0 });
        }
    }
    measured.runs[1].ended.push(NodeEnded {
        at: Moment(INJECTED + 310 * MS),
        node: "db-a".into(),
        how: "exited with status 1".into(),
        last_lines: vec!["cannot write ahead".into(), "giving up".into()],
        during: vec!["cut".into()],
    });
    let mut verdict = verdict();
    verdict.word = Word::Failed;
    for line in &mut verdict.lines {
        if line.expectation.contains("lost") && line.variant != "retry=none" {
            *line = Judged {
                outcome: Judgement::Failed,
                observed: "3".into(),
                observed_value: Some(3.0),
                because: "the oldest was acknowledged 198 ms before the injection".into(),
                ..line.clone()
            };
        }
    }
    report(&measured, &verdict, &manifest())
}

/// A run whose generator was late and whose fault met nothing: nobody can know.
pub(crate) fn inconclusive() -> Report {
    let (mut measured, mut verdict) = (measured(), verdict());
    measured.runs.truncate(1);
    let run = &mut measured.runs[0];
    run.variant = String::new();
    run.faults["cut"].proof = Some(Proof::default());
    let doubts = vec![
        Doubt {
            rule: DoubtRule::FaultWithoutProof,
            detail: "fault cut has no proof: nothing was offered on its links while it was in force".into(),
        },
        Doubt {
            rule: DoubtRule::LateGenerator,
            detail: "the load generator was late: lateness p99 in baseline was 41.2 ms, the limit is 5 ms".into(),
        },
    ];
    run.inconclusive = doubts.clone();
    let outage = &mut run.workloads["orders"].classes["all"].outages["cut"];
    outage.unavailability_ns = Figure::AtLeast(2_400 * MS);
    outage.failover_latency_ns =
        Figure::NotApplicable("only 41 % of the baseline's successes came from the hit set".into());
    for milestone in &mut outage.milestones {
        if !matches!(milestone.milestone, Milestone::Injected | Milestone::FirstFailure) {
            (milestone.at, milestone.source) = (None, String::new());
        }
    }
    measured.missing.push("attempts.jsonl.zst: the last frame is cut off; attempts from 8.000 s on are missing".into());
    verdict.lines.retain(|line| line.variant == "retry=none");
    for line in &mut verdict.lines {
        (line.variant, line.outcome) = (String::new(), Judgement::Inconclusive);
    }
    verdict.word = Word::Inconclusive;
    verdict.doubts = doubts.into_iter().map(|doubt| (String::new(), doubt)).collect();
    report(&measured, &verdict, &manifest())
}

/// A run that a guard stopped in the middle of its fault.
pub(crate) fn aborted() -> Report {
    let (mut measured, mut verdict) = (measured(), verdict());
    measured.runs.truncate(1);
    let run = &mut measured.runs[0];
    run.stopped = Some(Stop {
        at: Moment(INJECTED + 1_240 * MS),
        reason: StopReason::Guard,
        detail: "guard orders.success_rate < 20 % held for 1 s (0 %)".into(),
    });
    run.load_end = Moment(INJECTED + 1_240 * MS);
    run.faults["cut"].healed = Some(run.load_end);
    verdict.word = Word::Aborted;
    verdict.lines.clear();
    report(&measured, &verdict, &manifest())
}

/// A system that was never ready: no run, no figure.
pub(crate) fn not_ready() -> Report {
    let mut measured = measured();
    measured.runs.clear();
    let detail = "node haproxy was not ready within 10 s: its address refused the connection";
    let doubt = Doubt { rule: DoubtRule::IncompleteRun, detail: detail.into() };
    let verdict = Verdict { word: Word::NotReady, lines: Vec::new(), doubts: vec![("retry=none".into(), doubt)] };
    report(&measured, &verdict, &Manifest::default())
}

/// Names and texts that try to be markup, a command or a new line.
pub(crate) fn hostile() -> Report {
    const EVIL: &str = "</script><img src=x onerror=alert(1)>|`*_[x](http://evil.example)@team\u{1b}[2J\n# \"'&";
    let (mut measured, mut verdict) = (measured(), verdict());
    measured.plan.name = EVIL.into();
    measured.plan.hypothesis = EVIL.repeat(3);
    measured.plan.again = EVIL.into();
    for run in &mut measured.runs {
        run.variant = format!("{}{EVIL}", run.variant);
        run.notes.push((Moment(INJECTED), EVIL.into()));
        run.ended.push(NodeEnded {
            at: Moment(INJECTED),
            node: EVIL.into(),
            how: EVIL.into(),
            last_lines: vec![EVIL.into()],
            during: vec![EVIL.into()],
        });
        run.checks.push(CheckResult {
            at: Moment(LOAD_END),
            index: 1,
            when: "final".into(),
            ok: false,
            output: EVIL.into(),
        });
        let workload = run.workloads.shift_remove("orders").unwrap();
        run.workloads.insert(EVIL.into(), workload);
        let workload = &mut run.workloads[EVIL];
        for attempt in workload.samples.iter_mut().flatten() {
            attempt.why = Some(EVIL.into());
            attempt.place = Some(EVIL.into());
            attempt.key = Some(EVIL.into());
        }
        let fault = run.faults.shift_remove("cut").unwrap();
        run.faults.insert(EVIL.into(), fault);
        let states = run.nodes.shift_remove("db-a").unwrap();
        run.nodes.insert(EVIL.into(), states);
        let node = run.topology.nodes.shift_remove("db-a").unwrap();
        let labels = ["zone", "region", "role"].map(|label| (label.to_owned(), EVIL.to_owned()));
        run.topology.nodes.insert(EVIL.into(), LayoutNode { labels: labels.into(), ..node });
        run.topology.links.insert(EVIL.into(), LayoutLink { from: EVIL.into(), to: "db-b".into() });
    }
    for line in &mut verdict.lines {
        line.variant = format!("{}{EVIL}", line.variant);
        line.expectation = EVIL.into();
        line.subject = EVIL.into();
        line.because = EVIL.into();
    }
    let mut manifest = manifest();
    manifest.command = vec![EVIL.into()];
    manifest.signed_off_by = EVIL.into();
    manifest.host.name = EVIL.into();
    manifest.experiment = Some(EVIL.into());
    report(&measured, &verdict, &manifest)
}

/// Two workloads in four variants of three repetitions, with as many slices as a series may have.
pub(crate) fn large() -> Report {
    let mut measured = measured();
    let first = measured.runs[1].clone();
    measured.runs.clear();
    for variant in 0..4 {
        for repetition in 1..=3 {
            let mut run = first.clone();
            run.variant = format!("loss={}%", variant * 5);
            run.repetition = repetition;
            let mut workload = run.workloads["orders"].clone();
            let slices = std::mem::take(&mut workload.series.slices);
            workload.series.slices = (0..1_000).map(|index| slices[index * slices.len() / 1_000].clone()).collect();
            workload.series.slice_ns = workload.series.slice_ns * slices.len() as u64 / 1_000;
            let mut samples = Vec::new();
            while samples.len() < 200 {
                samples.extend(workload.samples.iter().cloned());
            }
            samples.truncate(200);
            workload.samples = samples;
            run.workloads = IndexMap::from([("orders".into(), workload.clone()), ("queries".into(), workload)]);
            measured.runs.push(run);
        }
    }
    report(&measured, &Verdict { word: Word::Held, lines: Vec::new(), doubts: Vec::new() }, &manifest())
}

fn report(measured: &Measured, verdict: &Verdict, manifest: &Manifest) -> Report {
    Report::new(measured, verdict, manifest)
}

fn manifest() -> Manifest {
    Manifest {
        schema: 1,
        brownout: "0.1.0".into(),
        command: ["brownout", "run", "experiments/quickstart.yaml"].map(String::from).into(),
        seed: 7,
        started_wall_ns: 1_795_200_067_000_000_000,
        duration_ns: 28_400 * MS,
        experiment_sha256: "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988".into(),
        signed_off_by: "Ada Lovelace".into(),
        host: Host {
            name: "bench-2".into(),
            os: "linux".into(),
            kernel: "6.12.0".into(),
            arch: "x86_64".into(),
            cpu: "Example CPU at 3.00 GHz".into(),
            cpus: 2,
            memory_bytes: 8 << 30,
        },
        versions: IndexMap::from([("gateway".into(), "primary-standby 1 (built in)".into())]),
        files: ["plan.json", "retry=none/events.jsonl", "retry=none/attempts.jsonl.zst"]
            .into_iter()
            .map(|file| {
                (file.to_owned(), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned())
            })
            .collect(),
        experiment: Some(include_str!("quickstart.yaml").into()),
    }
}

fn plan() -> Plan {
    let runs = POLICIES.iter().map(|(name, _)| RunPlan {
        variant: IndexMap::from([("retry".into(), (*name).into())]),
        repetition: 1,
        seed: Seed(7),
        folder: format!("retry={name}"),
        allow: Vec::new(),
        allow_data_damage: false,
        system: System::Lab { name: "primary-standby".into(), params: IndexMap::new() },
        names: IndexMap::new(),
        workloads: IndexMap::new(),
        phases: Phases::default(),
        faults: IndexMap::new(),
        guards: Vec::new(),
        checks: Vec::new(),
    });
    Plan {
        schema: PLAN_SCHEMA,
        name: "quickstart".into(),
        hypothesis: "A partitioned primary costs no order as long as clients back off and retry.".into(),
        claims: vec!["C4".into()],
        tags: vec!["smoke".into()],
        params: IndexMap::from([("rate".into(), "500/s".into())]),
        again: "brownout run experiments/quickstart.yaml --seed 7".into(),
        experiment_sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".into(),
        smoke: false,
        no_faults: false,
        runs: runs.collect(),
        sla: None,
        expect: Vec::new(),
        require: Require::All,
        expected_failures: Vec::new(),
    }
}

fn measured() -> Measured {
    Measured {
        plan: plan(),
        runs: POLICIES.iter().map(|(name, policy)| run(name, *policy)).collect(),
        missing: Vec::new(),
    }
}

fn verdict() -> Verdict {
    let measured = measured();
    let mut lines = Vec::new();
    for (variant, expectation, limit) in [
        ("retry=exponential", "orders.success_rate >= 99.9% where retry=exponential", 0.999),
        ("retry=none", "orders.success_rate < 99% where retry=none", 0.99),
    ] {
        let run = measured.runs.iter().find(|run| run.variant == variant).unwrap();
        let window = &run.workloads["orders"].classes["all"].windows["impact"];
        let rate = window.success_rate.unwrap();
        let because = if variant == "retry=none" {
            format!("the fault is real: {} operations failed", window.failed + window.indeterminate)
        } else {
            String::new()
        };
        let operator = if variant == "retry=none" { "<" } else { ">=" };
        lines.push(judged(
            expectation,
            variant,
            "orders.success_rate",
            format!("{:.2} %", rate * 100.0),
            rate,
            format!("{operator} {} %", limit * 100.0),
            limit,
            because,
        ));
    }
    for run in &measured.runs {
        lines.push(judged(
            "orders.lost == 0",
            &run.variant,
            "orders.lost",
            "0".into(),
            0.0,
            "== 0".into(),
            0.0,
            String::new(),
        ));
    }
    Verdict { word: Word::Held, lines, doubts: Vec::new() }
}

#[allow(clippy::too_many_arguments, reason = "a line of a table, spelled out once")]
fn judged(
    expectation: &str,
    variant: &str,
    subject: &str,
    observed: String,
    value: f64,
    limit: String,
    limit_value: f64,
    because: String,
) -> Judged {
    Judged {
        expectation: expectation.into(),
        variant: variant.into(),
        outcome: Judgement::Held,
        subject: subject.into(),
        observed,
        observed_value: Some(value),
        limit,
        limit_value: Some(limit_value),
        stored_value: None,
        margin: (limit_value != 0.0).then(|| (value - limit_value).abs() / limit_value),
        interval: None,
        difference: None,
        repetitions: (1, 1),
        because,
        expected_failure: String::new(),
    }
}

// ---- the simulation ----

fn run(name: &str, policy: Policy) -> MeasuredRun {
    let operations = simulate(name, policy);
    let t0 = Moment(INJECTED);
    let phase = |planned: u64, start: u64, end: u64| PhaseSpan {
        planned: Some(Moment(planned)),
        start: Moment(start),
        end: Moment(end),
    };
    let phases: IndexMap<String, PhaseSpan> = [
        ("warmup", phase(0, 0, WARMUP)),
        ("baseline", phase(WARMUP, WARMUP, INJECTED)),
        ("fault", phase(3_000 * MS, INJECTED, HEALED)),
        ("fault.cut", phase(3_000 * MS, INJECTED, HEALED)),
        ("recovery", phase(6_000 * MS, HEALED, LOAD_END)),
        ("recovery.cut", phase(6_000 * MS, HEALED, LOAD_END)),
        ("impact", phase(3_000 * MS, INJECTED, LOAD_END)),
        ("overall", phase(WARMUP, WARMUP, LOAD_END)),
        ("drain", phase(9_000 * MS, LOAD_END, LOAD_END + 38 * MS)),
    ]
    .map(|(name, span)| (name.to_owned(), span))
    .into();
    let links: Vec<String> = ["gateway-db-a", "db-a-gateway", "db-a-db-b", "db-b-db-a"].map(String::from).into();
    let fault = FaultSpan {
        kind: "partition".into(),
        group: "cut".into(),
        planned: Moment(3_000 * MS),
        injected: t0,
        last_hit: Moment(INJECTED + 140_000),
        removal_planned: Some(Moment(INJECTED + 3_000 * MS)),
        healed: Some(Moment(HEALED)),
        hit: Hit { links: links.clone(), nodes: vec!["db-a".into()], places: vec!["db-a#1".into()], ..Hit::default() },
        mechanism: Some(Mechanism::KernelDrop),
        in_flight_bytes: 218,
        proof: Some(Proof {
            real: true,
            connections: 61,
            withheld_bytes: 0,
            dropped_segments: 184,
            ..Proof::default()
        }),
    };
    let sent = operations.iter().flatten().filter(|attempt| attempt.outcome.was_sent()).count() as u64;
    let figures = workload(&operations, &phases, sent);
    MeasuredRun {
        variant: format!("retry={name}"),
        repetition: 1,
        folder: String::new(),
        seed: 7,
        started_wall_ns: 1_795_200_067_000_000_000,
        mechanism: Mechanism::KernelDrop,
        complete: true,
        stopped: None,
        load_end: Moment(LOAD_END),
        phases,
        faults: IndexMap::from([("cut".into(), fault)]),
        workloads: IndexMap::from([("orders".into(), figures)]),
        links: links_of(&links, sent),
        topology: topology(),
        nodes: IndexMap::from([
            ("gateway".into(), vec![state(0, 1, "ready", Some("gateway"))]),
            (
                "db-a".into(),
                vec![state(0, 1, "ready", Some("primary")), state(HEALED + 40 * MS, 1, "ready", Some("standby"))],
            ),
            ("db-b".into(), vec![state(0, 1, "ready", Some("standby")), state(PROMOTED, 2, "ready", Some("primary"))]),
        ]),
        service: None,
        milestones: Vec::new(),
        checks: vec![CheckResult {
            at: Moment(LOAD_END + 40 * MS),
            index: 0,
            when: "final".into(),
            ok: true,
            output: "totals agree: 4,002 orders".into(),
        }],
        ended: Vec::new(),
        notes: vec![(Moment(PROMOTED + 3 * MS), "db-b took over as primary, incarnation 2".into())],
        inconclusive: Vec::new(),
    }
}

/// Two nodes in two zones behind a gateway in a third.
fn topology() -> Layout {
    let node = |(name, kind, labels): (&str, &str, &[(&str, &str)])| {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        (name.to_owned(), LayoutNode { kind: kind.to_owned(), labels })
    };
    let nodes = [
        ("gateway", "lab", &[("zone", "3"), ("role", "gateway")][..]),
        ("db-a", "lab", &[("zone", "1"), ("role", "primary")]),
        ("db-b", "lab", &[("zone", "2"), ("role", "standby")]),
        ("orders", "workload", &[]),
    ];
    let link =
        |(from, to): (&str, &str)| (format!("{from}-{to}"), LayoutLink { from: from.to_owned(), to: to.to_owned() });
    let links = [("gateway", "db-a"), ("gateway", "db-b"), ("db-a", "db-b"), ("db-b", "db-a"), ("orders", "gateway")];
    let modelled = Modelled {
        param: "promotion".into(),
        value: "200ms".into(),
        what: "How long a standby takes to become primary.".into(),
    };
    Layout { nodes: nodes.map(node).into(), links: links.map(link).into(), modelled: vec![modelled] }
}

fn state(at: u64, incarnation: u64, state: &str, role: Option<&str>) -> NodeState {
    NodeState { at: Moment(at), incarnation, state: state.into(), role: role.map(String::from) }
}

fn links_of(cut: &[String], sent: u64) -> IndexMap<String, LinkFigures> {
    let total = |index: usize| LinkCounters {
        accepted: if index == 0 { 38 } else { 4 },
        connected: if index == 0 { 38 } else { 3 },
        dial_failed: u64::from(index > 0),
        up_received_bytes: sent * 140,
        up_sent_bytes: sent * 138,
        down_received_bytes: sent * 96,
        down_sent_bytes: sent * 95,
        closed: IndexMap::from([("fin".into(), 30), ("fault".into(), 8)]),
        dropped_segments: if index > 0 { 46 } else { 0 },
        faulted_connections: if index > 0 { 15 } else { 0 },
        requests: sent,
        ..LinkCounters::default()
    };
    let names = [String::from("orders-gateway")].into_iter().chain(cut.iter().cloned());
    names.enumerate().map(|(index, name)| (name, LinkFigures { total: total(index), readings: Vec::new() })).collect()
}

fn simulate(name: &str, policy: Policy) -> Vec<Vec<Attempt>> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
    let operations = LOAD_END / GAP;
    (0..operations).map(|op| operation(op, policy, &mut dice)).collect()
}

fn operation(op: u64, policy: Policy, dice: &mut Dice) -> Vec<Attempt> {
    let due = op * GAP;
    let read = op.is_multiple_of(5);
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut start = due + 20_000 + dice.below(60_000);
    loop {
        let number = attempts.len() as u32 + 1;
        let (outcome, took, place) = serve(start, dice);
        let end = start + took.min((due + DEADLINE).saturating_sub(start));
        let wait =
            if outcome.failed() { policy(number, dice).filter(|wait| end + wait < due + DEADLINE) } else { None };
        attempts.push(Attempt {
            workload: Arc::from("orders"),
            class: Arc::from(if read { "read" } else { "write" }),
            op,
            attempt: number,
            hedge: false,
            last: wait.is_none(),
            access: Some(if read { Access::Read } else { Access::Write }),
            key: Some(format!("{}", op % 97).into()),
            value: Some(format!("{op}.{number}").into()),
            replaced: None,
            due: Moment(due),
            start: Moment(start),
            connected: None,
            first_byte: None,
            end: Moment(end),
            outcome,
            applied: if outcome == Outcome::Ok { Applied::Yes } else { Applied::Unknown },
            code: (outcome == Outcome::Ok).then_some(200).or((outcome == Outcome::Unavailable).then_some(503)),
            place: place.map(Arc::from),
            link: Some(Arc::from("orders-gateway")),
            conn: Some(op % 38),
            retry_in: wait.map(Duration::from_nanos),
            why: match outcome {
                Outcome::Ok => None,
                Outcome::Timeout => Some("no answer within 250 ms".into()),
                Outcome::Reset => Some("connection reset by the gateway".into()),
                _ => Some("gateway: no primary known".into()),
            },
        });
        match wait {
            Some(wait) => start = end + wait,
            None => return attempts,
        }
    }
}

/// How the system answers an attempt that starts at this moment.
fn serve(start: u64, dice: &mut Dice) -> (Outcome, u64, Option<&'static str>) {
    let tail = if dice.below(100) == 0 { 3 * MS + dice.below(6 * MS) } else { 0 };
    let quick = 700_000 + dice.below(600_000) + tail;
    match start {
        _ if start + quick < INJECTED => (Outcome::Ok, quick, Some("db-a#1")),
        _ if start + ATTEMPT_TIMEOUT < REDIRECTED && dice.below(14) == 0 && start > INJECTED + 600 * MS => {
            (Outcome::Unavailable, 2 * MS, None)
        }
        _ if start + ATTEMPT_TIMEOUT < REDIRECTED => (Outcome::Timeout, ATTEMPT_TIMEOUT, None),
        ..REDIRECTED => (Outcome::Reset, REDIRECTED - start + dice.below(2 * MS), None),
        _ => {
            let settling = (REDIRECTED + 600 * MS).saturating_sub(start) / 60;
            (Outcome::Ok, quick + 200_000 + dice.below(settling.max(1)), Some("db-b#2"))
        }
    }
}

fn is_ok(operation: &[Attempt]) -> bool {
    operation.iter().any(|attempt| attempt.outcome == Outcome::Ok)
}

fn end(operation: &[Attempt]) -> u64 {
    operation.last().unwrap().end.0
}

fn workload(operations: &[Vec<Attempt>], phases: &IndexMap<String, PhaseSpan>, sent: u64) -> WorkloadFigures {
    let mut classes = IndexMap::new();
    for name in ["all", "read", "write"] {
        let of_class: Vec<&Vec<Attempt>> =
            operations.iter().filter(|op| name == "all" || &*op[0].class == name).collect();
        let windows = phases.iter().map(|(name, span)| (name.clone(), window(&of_class, *span))).collect();
        let slices =
            phases.iter().map(|(name, span)| (name.clone(), slices(&of_class, *span, phases).into())).collect();
        classes.insert(
            name.to_owned(),
            ClassFigures { windows, outages: IndexMap::from([("cut".into(), outage(&of_class))]), slices },
        );
    }
    let all = &classes["all"];
    let unavailable = all.outages["cut"].unavailability_ns.value().unwrap();
    let acknowledged = operations.iter().filter(|op| &*op[0].class == "write" && is_ok(op)).count() as u64;
    let year = 31_557_600_000 * MS;
    let samples: Vec<Vec<Attempt>> =
        operations.iter().filter(|op| op.len() > 1 || !is_ok(op)).step_by(7).take(60).cloned().collect();
    WorkloadFigures {
        closed_loop: false,
        missing: None,
        wire: Some(WireCount { attempts: sent, requests: sent - 3 }),
        consistency: Some(Consistency {
            acknowledged,
            reads_checked: acknowledged,
            keys_seen: acknowledged,
            ..Consistency::default()
        }),
        availability: Availability {
            request_based: all.windows["impact"].success_rate,
            time_based: Some(5.0 / 7.0),
            slice_ns: 1_000 * MS,
            budget: Some(Budget {
                target: 0.999,
                budget_ns: year / 1_000,
                incidents_per_year: 12.0,
                downtime_per_year_ns: 12 * unavailable,
                incidents_paid_for: (year / 1_000) as f64 / unavailable as f64,
            }),
        },
        series: series(operations),
        generator: GeneratorHealth { in_flight_max: 502, ..GeneratorHealth::default() },
        samples,
        classes,
    }
}

fn window(operations: &[&Vec<Attempt>], span: PhaseSpan) -> Window {
    let within: Vec<&&Vec<Attempt>> =
        operations.iter().filter(|op| (span.start..span.end).contains(&op[0].due)).collect();
    let length = span.end.saturating_since(span.start).as_nanos() as u64;
    let count = within.len() as u64;
    let ok = within.iter().filter(|op| is_ok(op)).count() as u64;
    let met: Vec<_> = within.iter().filter(|op| op.iter().any(|attempt| attempt.outcome.failed())).collect();
    let met_ok = met.iter().filter(|op| is_ok(op)).count() as u64;
    let mut outcomes = BTreeMap::new();
    for attempt in within.iter().flat_map(|op| op.iter()) {
        *outcomes.entry(attempt.outcome).or_insert(0) += 1;
    }
    let attempts: u64 = outcomes.values().sum();
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    Window {
        length_ns: length,
        operations: count,
        ok,
        failed: 0,
        indeterminate: count - ok,
        shed: 0,
        unfinished: 0,
        attempts,
        outcomes,
        success_rate: share(ok, count),
        goodput: ok as f64 / (length as f64 / 1e9),
        amplification: share(attempts, count),
        amplification_worst_second: share(attempts, count).map(|mean| mean * 1.4),
        met_failure: met.len() as u64,
        met_failure_ok: met_ok,
        tolerance: share(met_ok, met.len() as u64),
        latency: quantiles(within.iter().map(|op| end(op) - op[0].due.0).collect()),
        ok_latency: quantiles(within.iter().filter(|op| is_ok(op)).map(|op| end(op) - op[0].due.0).collect()),
        attempt_latency: quantiles(
            within.iter().flat_map(|op| op.iter()).map(|attempt| attempt.end.0 - attempt.start.0).collect(),
        ),
        lateness: quantiles(within.iter().map(|op| op[0].start.0 - op[0].due.0).collect()),
    }
}

fn slices(operations: &[&Vec<Attempt>], span: PhaseSpan, phases: &IndexMap<String, PhaseSpan>) -> Slices {
    let within = operations.iter().filter(|op| (span.start..span.end).contains(&op[0].due));
    let all = phases.values().flat_map(|phase| [phase.start, phase.end]);
    let mut borders: Vec<Moment> = all.filter(|border| (span.start..=span.end).contains(border)).collect();
    borders.sort_unstable();
    borders.dedup();
    let lengths: Vec<u64> = borders.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    Slices::new(&lengths, within.map(|op| (op[0].due.0 - span.start.0, end(op) - op[0].due.0, is_ok(op))))
}

fn quantiles(mut values: Vec<u64>) -> Quantiles {
    values.sort_unstable();
    let at = |q: f64| {
        values.get(((values.len() as f64 * q).ceil() as usize).clamp(1, values.len().max(1)) - 1).copied().unwrap_or(0)
    };
    Quantiles {
        count: values.len() as u64,
        mean_ns: values.iter().sum::<u64>().checked_div(values.len() as u64).unwrap_or(0),
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p95_ns: at(0.95),
        p99_ns: at(0.99),
        p999_ns: at(0.999),
        max_ns: at(1.0),
    }
}

fn outage(operations: &[&Vec<Attempt>]) -> Outage {
    let mut ends: Vec<u64> = operations.iter().filter(|op| is_ok(op)).map(|op| end(op)).collect();
    ends.sort_unstable();
    let longest = ends.windows(2).map(|pair| (pair[1] - pair[0], pair[0], pair[1])).max().unwrap();
    let first_failure = operations
        .iter()
        .flat_map(|op| op.iter())
        .filter(|attempt| attempt.outcome.failed() && attempt.end.0 > INJECTED)
        .map(|attempt| attempt.end)
        .min()
        .unwrap();
    let last_error = operations
        .iter()
        .flat_map(|op| op.iter())
        .filter(|attempt| attempt.outcome.failed())
        .map(|attempt| attempt.start.0)
        .max()
        .unwrap();
    let first_success = Moment(longest.2);
    let milestone = |milestone, at: Option<u64>, source: &str| MilestoneFigure {
        milestone,
        at: at.map(Moment),
        source: source.into(),
    };
    Outage {
        faults: vec!["cut".into()],
        t0: Moment(INJECTED),
        injection_skew_ns: 140_000,
        removed: Moment(HEALED),
        until: Moment(LOAD_END),
        milestones: vec![
            milestone(Milestone::Injected, Some(INJECTED), "run"),
            milestone(Milestone::FirstFailure, Some(first_failure.0), "client"),
            milestone(Milestone::Detected, Some(INJECTED + 620 * MS), "lab"),
            milestone(Milestone::Decided, None, ""),
            milestone(Milestone::Promoted, Some(PROMOTED), "lab"),
            milestone(Milestone::Redirected, Some(REDIRECTED), "lab"),
            milestone(Milestone::Reconnected, Some(first_success.0 - 300_000), "client"),
            milestone(Milestone::FirstSuccess, Some(first_success.0), "client"),
            milestone(Milestone::Steady, Some(INJECTED + 1_900 * MS), "client"),
        ],
        failover_latency_ns: Figure::Known(first_success.0 - INJECTED),
        last_error_ns: Figure::Known(last_error - INJECTED),
        unavailability_ns: Figure::Known(longest.0),
        resolution_ns: GAP,
        gap_threshold_ns: 100 * MS,
        stall_time_ns: Figure::Known(0),
        gaps: vec![Gap { start: Moment(longest.1), end: first_success, failing: true, open: false }],
        degraded_time_ns: 1_000 * MS,
        time_to_steady_ns: Figure::Known(1_900 * MS),
        recovery_surge: Figure::Known(1.06),
        metastable: Metastable::NotObserved,
        rpo_lost: Some(0),
        rpo_age_ns: Some(0),
        latency_debt_ns: operations.iter().map(|op| (end(op) - op[0].due.0).saturating_sub(MS)).sum(),
    }
}

fn series(operations: &[Vec<Attempt>]) -> Series {
    let slice_ns = 100 * MS;
    // Eight rows a decade, from 100 µs to 10 s.
    let heat_bounds_ns: Vec<u64> = (1..=40).map(|row| (1e5 * 10f64.powf(f64::from(row) / 8.0)) as u64).collect();
    let mut slices = vec![Slice::default(); (LOAD_END / slice_ns + 1) as usize];
    let mut latencies: Vec<Vec<u64>> = vec![Vec::new(); slices.len()];
    for operation in operations {
        let index = (operation[0].due.0 / slice_ns) as usize;
        let latency = end(operation) - operation[0].due.0;
        latencies[index].push(latency);
        slices[index].due += 1;
        slices[index].ok += u64::from(is_ok(operation));
        let row = heat_bounds_ns.partition_point(|bound| *bound < latency).min(heat_bounds_ns.len() - 1);
        let heat = &mut slices[index].heat;
        heat.resize(heat.len().max(row + 1), 0);
        heat[row] += 1;
        if let Some(slice) = slices.get_mut((end(operation) / slice_ns) as usize).filter(|_| is_ok(operation)) {
            slice.good += 1;
        }
        for attempt in operation {
            if let Some(slice) = slices.get_mut((attempt.start.0 / slice_ns) as usize) {
                *slice.attempts.entry(attempt.outcome).or_insert(0) += 1;
            }
        }
    }
    for (slice, latencies) in slices.iter_mut().zip(latencies) {
        let quantiles = quantiles(latencies);
        slice.latency_ns =
            (quantiles.count > 0).then_some([quantiles.p50_ns, quantiles.p90_ns, quantiles.p99_ns, quantiles.max_ns]);
    }
    Series { slice_ns, slices, heat_bounds_ns }
}
