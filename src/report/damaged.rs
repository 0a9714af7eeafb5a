//! Whatever happens to a run folder, its report is made, tells no absurd figure, and says what is missing.

use std::path::Path;

use proptest::prelude::*;

use super::{Manifest, Report, Style};
use crate::clock::Moment;
use crate::event::{ATTEMPTS_FILE, EVENTS_FILE, LinkCounters, Milestone, Outcome, PLAN_FILE, What};
use crate::measure::Measured;
use crate::measure::testing::{CONSTANT, Events, Stream, ms, plan, workload, write_run};
use crate::verdict;

/// The made-up run lasts so long.
const ENDS: u64 = 9_100;

/// What events of others may add to it: the garbage that is refused is farther away.
const SLACK: u64 = 70_000;

fn run(dir: &Path) {
    let counters = |requests| What::Counters {
        link: "w-gateway".into(),
        counters: LinkCounters { requests, accepted: 7, ..LinkCounters::default() },
    };
    let milestone = |milestone| What::Milestone { milestone, node: "b".into(), source: "lab".into() };
    let mut events = Events::phases(500, 2500, 9_000)
        .injected_on("cut", 3000, &["a#1"])
        .event(3400, milestone(Milestone::Promoted))
        .healed("cut", 5000)
        .event(9_050, What::Probe { node: "gateway".into(), ok: true })
        .ended(ENDS);
    for second in 0..9 {
        events = events.event(second * 1000 + 500, What::Clock { wall_ns: 1 + (second * 1000 + 500) * 1_000_000 });
        events = events.event(second * 1000 + 500, counters(second * 100));
    }
    let mut stream = Stream::new().place("a#1").ok_every(10, 500, 3000, 5).place("b#2");
    for due in (3000..9_000).step_by(10) {
        let whole = [(due, due + 5, Outcome::Ok)];
        let retried = [(due, due + 250, Outcome::Timeout), (due + 300, due + 305, Outcome::Ok)];
        stream = if due < 3500 { stream.op(due, &retried) } else { stream.op(due, &whole) };
    }
    write_run(dir, &plan(&workload(CONSTANT)), &events, &stream);
}

/// What happens to a text.
#[derive(Clone, Debug)]
enum Damage {
    /// A number becomes another one.
    Number(prop::sample::Index, String),
    /// Any byte becomes any other.
    Byte(prop::sample::Index, u8),
    /// The rest is gone.
    CutOff(prop::sample::Index),
    /// A line is there twice, or not at all.
    Line(prop::sample::Index, bool),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        prop::sample::select(vec!["0", "1", "-1", "1e300", "null", "\"x\"", "18446744073709551615"])
            .prop_map(String::from),
        any::<u64>().prop_map(|number| number.to_string()),
        // Days and hours.
        (1..400u64).prop_map(|hours| (hours * 3_600_000_000_000).to_string()),
    ];
    prop_oneof![
        4 => (any::<prop::sample::Index>(), number).prop_map(|(which, number)| Damage::Number(which, number)),
        2 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(which, byte)| Damage::Byte(which, byte)),
        1 => any::<prop::sample::Index>().prop_map(Damage::CutOff),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, twice)| Damage::Line(which, twice)),
    ]
}

impl Damage {
    fn done_to(&self, mut text: Vec<u8>) -> Vec<u8> {
        match self {
            Damage::Number(which, number) => {
                let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
                let starts: Vec<usize> =
                    (0..text.len()).filter(|&at| digit(at) && (at == 0 || !digit(at - 1))).collect();
                let start = starts[which.index(starts.len())];
                let length = (start..).take_while(|&at| digit(at)).count();
                text.splice(start..start + length, number.bytes());
            }
            Damage::Byte(which, byte) => {
                let at = which.index(text.len());
                text[at] = *byte;
            }
            Damage::CutOff(which) => text.truncate(which.index(text.len())),
            Damage::Line(which, twice) => {
                let mut lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
                let at = which.index(lines.len());
                if *twice {
                    lines.insert(at, lines[at])
                } else {
                    _ = lines.remove(at)
                }
                text = lines.concat();
            }
        }
        text
    }
}

/// Every form of the report of a folder; none where even the plan cannot be read.
fn report(dir: &Path) -> Option<Report> {
    let measured = Measured::from_run(dir).ok()?;
    let report = Report::new(&measured, &verdict::judge(&measured, None), &Manifest::default());
    super::write_all(&report, dir).unwrap();
    super::terminal(&report, &Style::default());
    Some(report)
}

/// No figure is beyond what can have been.
fn plausible(report: &Report) -> Result<(), TestCaseError> {
    let most = ms(ENDS + SLACK).0;
    for run in &report.runs {
        for (name, phase) in &run.phases {
            prop_assert!(phase.start <= phase.end && phase.end <= Moment(most), "{name}: {phase:?}");
        }
        for class in run.workloads.values().flat_map(|workload| workload.classes.values()) {
            for (name, window) in &class.windows {
                prop_assert!(window.latency.max_ns <= most && window.length_ns <= most, "{name}: {window:?}");
                prop_assert!(window.operations <= 2_000, "{name}: {window:?}");
            }
            for outage in class.outages.values() {
                let times = [
                    &outage.unavailability_ns,
                    &outage.last_error_ns,
                    &outage.time_to_steady_ns,
                    &outage.stall_time_ns,
                ];
                for ns in times.into_iter().filter_map(crate::measure::Figure::value) {
                    prop_assert!(ns <= most, "{outage:?}");
                }
                prop_assert!(outage.degraded_time_ns <= most && outage.injection_skew_ns <= most, "{outage:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_folder_is_whole_before_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    let report = report(dir.path()).unwrap();
    assert_eq!((report.missing.len(), report.doubts.len()), (0, 0), "{:?} {:?}", report.missing, report.doubts);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn damaged_events_make_a_report_all_the_same(damages in prop::collection::vec(damage(), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path());
        let path = dir.path().join(EVENTS_FILE);
        let text = damages.iter().fold(std::fs::read(&path).unwrap(), |text, damage| {
            if text.len() < 10 { text } else { damage.done_to(text) }
        });
        std::fs::write(&path, text).unwrap();
        plausible(&report(dir.path()).unwrap())?;
    }

    #[test]
    fn damaged_attempts_make_a_report_all_the_same(damages in prop::collection::vec(damage(), 1..4), frames in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path());
        let path = dir.path().join(ATTEMPTS_FILE);
        // Either what is in the frames, or the frames themselves.
        let mut text = std::fs::read(&path).unwrap();
        if !frames {
            text = zstd::decode_all(text.as_slice()).unwrap();
        }
        for damage in damages.iter().filter(|damage| !frames || matches!(damage, Damage::Byte(..) | Damage::CutOff(_))) {
            text = if text.len() < 10 { text } else { damage.done_to(text) };
        }
        std::fs::write(&path, if frames { text } else { zstd::encode_all(text.as_slice(), 1).unwrap() }).unwrap();
        plausible(&report(dir.path()).unwrap())?;
    }

    #[test]
    fn a_damaged_plan_is_refused_or_makes_a_report(damages in prop::collection::vec(damage(), 1..3)) {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path());
        let path = dir.path().join(PLAN_FILE);
        let text = damages.iter().fold(std::fs::read(&path).unwrap(), |text, damage| {
            if text.len() < 10 { text } else { damage.done_to(text) }
        });
        std::fs::write(&path, text).unwrap();
        report(dir.path());
    }
}
