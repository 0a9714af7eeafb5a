//! Why a run cannot be held, as far as the run alone tells (`docs/measurement.md`, inconclusive, never held).
//!
//! Those that depend on an expectation, such as a phase without a sample for its metric, are the verdict's.

use std::time::Duration;

use super::history::View;
use super::model::{Doubt, DoubtRule, FaultSpan, GeneratorHealth, LinkFigures, Stop, Window};
use super::phases::Interval;
use crate::clock::Moment;
use crate::event::{Event, StopReason, What};
use crate::said::{duration, span};

/// Lateness p99 over this in a phase means that the generator, not the system, made operations late.
const LATE: Duration = Duration::from_millis(5);

/// A fault in which an operation was due and for so long none started.
const STALLED: Duration = Duration::from_millis(100);

/// A fault may come or go so much later than the schedule wants, or this part of its length if that is more.
const LATE_FAULT: Duration = Duration::from_millis(100);

/// One in 20: 5 %.
const LATE_FAULT_PART: u32 = 20;

/// The wall clock may gain or lose so much between two readings: clocks that are slewed drift by 0.5 ms a second.
const CLOCK_DRIFT: Duration = Duration::from_millis(100);

/// What is missing where a run's attempts are gone: no figure of them means anything then.
pub const NO_ATTEMPTS: &str = "attempts.jsonl.zst is not there";

fn doubt(rule: DoubtRule, detail: String) -> Doubt {
    Doubt { rule, detail }
}

/// A fault that was healed and left no proof; in a complete run one that was never healed, so that its proof was never
/// taken; one that never struck though the plan has it.
pub(crate) fn without_proof<'a>(
    faults: impl Iterator<Item = (&'a String, &'a FaultSpan)>,
    complete: bool,
    never_struck: impl Iterator<Item = &'a String>,
) -> Vec<Doubt> {
    let unproven = faults.filter_map(|(name, fault)| {
        let why = match &fault.proof {
            Some(proof) if proof.real => return None,
            // Nothing meets what somebody was asked to do: they say what came of it.
            Some(proof) if matches!(fault.kind.as_str(), "failover" | "exec" | "http" | "manual") => {
                proof.read_back.join("; ")
            }
            Some(_) => "nothing met it while it was in force".to_owned(),
            None if complete => "its removal, which takes the proof, was not recorded".to_owned(),
            // A run that was cut off has its reason elsewhere.
            None => return None,
        };
        Some(format!("nothing shows that {name} ({}) was real: {why}", fault.kind))
    });
    let missing = never_struck.map(|name| format!("{name} never struck"));
    unproven.chain(missing).map(|detail| doubt(DoubtRule::FaultWithoutProof, detail)).collect()
}

/// Faults that were injected or removed later than the schedule wanted.
pub(crate) fn late_faults<'a>(
    faults: impl Iterator<Item = (&'a String, &'a FaultSpan)>,
    load_end: Moment,
) -> Vec<Doubt> {
    let late = faults.flat_map(|(name, fault)| {
        // At the end of load what is left is removed: that is on nobody's schedule.
        let removal = fault.removal_planned.filter(|&planned| planned < load_end);
        let length = removal.map(|planned| planned.saturating_since(fault.injected)).unwrap_or_default();
        let bound = LATE_FAULT.max(length / LATE_FAULT_PART);
        // What ends in good order takes its time.
        let hit = if matches!(fault.kind.as_str(), "stop" | "restart") { fault.injected } else { fault.last_hit };
        let late = [("struck", Some(fault.planned), Some(hit)), ("was removed", removal, fault.healed)];
        late.into_iter().filter_map(move |(did, planned, actual)| {
            let late = actual?.saturating_since(planned?);
            let detail = || format!("{name} {did} {} later than planned; {} is allowed", span(late), span(bound));
            (late > bound).then(|| doubt(DoubtRule::LateFault, detail()))
        })
    });
    late.collect()
}

/// Lateness p99 over 5 ms in a phase.
pub(crate) fn late<'a>(workload: &str, windows: impl Iterator<Item = (&'a String, &'a Window)>) -> Option<Doubt> {
    let late: Vec<String> = windows
        .filter(|(phase, window)| {
            // Nothing is due in the drain, and the warm-up's figures are not used.
            !matches!(phase.as_str(), "warmup" | "drain") && u128::from(window.lateness.p99_ns) > LATE.as_nanos()
        })
        .map(|(phase, window)| format!("{} in {phase}", duration(window.lateness.p99_ns)))
        .collect();
    (!late.is_empty()).then(|| {
        let detail = format!("{workload}: operations started late, p99 {}; {} is allowed", late.join(", "), span(LATE));
        doubt(DoubtRule::LateGenerator, detail)
    })
}

/// An operation due in a fault after which nothing started for 100 ms.
pub(crate) fn stalled(workload: &str, view: View<'_>, fault: &str, part: Interval) -> Option<Doubt> {
    // A shed operation was seen to at its due time, so it counts as started.
    let mut starts: Vec<Moment> = view.ops().map(|op| op.start).filter(|&start| start >= part.start).collect();
    starts.sort_unstable();
    let stalled = view.due_in(part).find(|op| {
        let next = starts.get(starts.partition_point(|&start| start < op.due));
        // What is due less than 100 ms before the end of a run that was cut off may have started unseen.
        next.map_or(part.end.saturating_since(op.due) >= STALLED, |&next| next.saturating_since(op.due) >= STALLED)
    })?;
    let detail = format!(
        "{workload}: in {fault} nothing started for {} from {} on, though an operation was due",
        span(STALLED),
        stalled.due
    );
    Some(doubt(DoubtRule::LateGenerator, detail))
}

/// Records dropped.
pub(crate) fn dropped(workload: &str, generator: &GeneratorHealth) -> Option<Doubt> {
    (generator.dropped > 0).then(|| {
        doubt(DoubtRule::DroppedRecords, format!("{workload}: the recorder dropped {} records", generator.dropped))
    })
}

/// Links that could not accept: who knocked waited for the proxy, not for the system.
pub(crate) fn could_not_accept<'a>(links: impl Iterator<Item = (&'a String, &'a LinkFigures)>) -> Vec<Doubt> {
    let failed = links.filter(|(_, link)| link.total.accept_failed > 0);
    let say = failed.map(|(name, link)| {
        let count = link.total.accept_failed;
        format!("the link {name} could not accept, {count} times: the proxy was short of descriptors or memory")
    });
    say.map(|detail| doubt(DoubtRule::LinkCouldNotAccept, detail)).collect()
}

/// The first jump between the wall clock and the monotonic one.
pub(crate) fn clock_jumped(events: &[Event]) -> Option<Doubt> {
    let pairs: Vec<(Moment, u64)> = events
        .iter()
        .filter_map(|event| match event.what {
            What::RunStarted { wall_ns, .. } | What::Clock { wall_ns } => Some((event.at, wall_ns)),
            _ => None,
        })
        .collect();
    pairs.windows(2).find_map(|pair| {
        let [(from, wall_from), (to, wall_to)] = pair else { return None };
        // Events of a damaged file may stand in any order.
        let passed = i128::from(to.0) - i128::from(from.0);
        let jump = (i128::from(wall_to.wrapping_sub(*wall_from) as i64) - passed) as i64;
        let length = Duration::from_nanos(jump.unsigned_abs());
        (length > CLOCK_DRIFT).then(|| {
            let way = if jump > 0 { "ahead" } else { "back" };
            let detail =
                format!("the wall clock jumped {way} by {} between {from} and {to}: suspended, or set", span(length));
            doubt(DoubtRule::ClockJumped, detail)
        })
    })
}

/// The baseline did not hold its own expectations.
pub(crate) fn baseline_failed(stopped: Option<&Stop>) -> Option<Doubt> {
    let stop = stopped.filter(|stop| stop.reason == StopReason::Baseline)?;
    Some(doubt(DoubtRule::BaselineFailed, stop.detail.clone()))
}

/// The run folder ends before the run did, or a part of it cannot be read.
pub(crate) fn incomplete(complete: bool, missing: &[String]) -> Vec<Doubt> {
    let cut_off = (!complete).then(|| "the run was cut off: its last event does not end it".to_owned());
    cut_off.into_iter().chain(missing.iter().cloned()).map(|detail| doubt(DoubtRule::IncompleteRun, detail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::Ok;
    use crate::event::{LinkCounters, Proof};
    use crate::measure::phases::Timeline;
    use crate::measure::testing::{Events, Stream, span as stretch};

    #[test]
    fn a_fault_that_met_nothing_has_no_proof() {
        let unproven = What::FaultHealed { fault: "b".into(), planned: Moment(0), proof: Proof::default() };
        let events = Events::phases(0, 1000, 9000)
            .fault("a", 1000, 2000)
            .injected("b", 3000)
            .event(4000, unproven)
            .injected("c", 5000);
        let timeline = Timeline::new(&events.list, false);
        let details = |complete| -> Vec<String> {
            let doubts = without_proof(timeline.faults.iter(), complete, [&"d".to_owned()].into_iter());
            doubts.into_iter().map(|doubt| doubt.detail).collect()
        };
        let met_nothing = "nothing shows that b (partition) was real: nothing met it while it was in force";
        let not_removed =
            "nothing shows that c (partition) was real: its removal, which takes the proof, was not recorded";
        assert_eq!(details(false), [met_nothing, "d never struck"]);
        assert_eq!(details(true), [met_nothing, not_removed, "d never struck"]);
    }

    #[test]
    fn a_fault_is_late_beyond_100_ms_and_beyond_5_percent_of_its_length() {
        let injected = |kind: &str, planned, last_hit| What::FaultInjected {
            fault: "cut".into(),
            kind: kind.into(),
            planned: Moment::from_millis(planned),
            last_hit: Moment::from_millis(last_hit),
            hit: Default::default(),
            mechanism: None,
            in_flight_bytes: 0,
        };
        // When it was planned, hit first, hit last; when its removal was planned, done. The load ends at 90 s.
        let details = |kind: &str, [planned, at, last_hit]: [u64; 3], removal: Option<[u64; 2]>| {
            let mut events = Events::phases(0, 1000, 90_000).event(at, injected(kind, planned, last_hit));
            if let Some([planned, at]) = removal {
                let planned = Moment::from_millis(planned);
                events = events.event(at, What::FaultHealed { fault: "cut".into(), planned, proof: Proof::default() });
            }
            let timeline = Timeline::new(&events.list, false);
            let doubts = late_faults(timeline.faults.iter(), timeline.load_end);
            doubts.into_iter().map(|doubt| doubt.detail).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        // 1 s long: 100 ms, which are more than its 5 %.
        assert_eq!(details("partition", [3000, 3100, 3100], Some([4100, 4200])), none);
        let late = details("partition", [3000, 3101, 3101], Some([4101, 4202]));
        let struck = "cut struck 101 ms later than planned; 100 ms is allowed";
        assert_eq!(late, [struck, "cut was removed 101 ms later than planned; 100 ms is allowed"]);
        // 60 s long: 3 s. The removal counts from the injection.
        assert_eq!(details("partition", [3000, 6000, 6000], Some([66_000, 69_000])), none);
        let late = details("partition", [3000, 6200, 6200], Some([66_200, 66_200]));
        assert_eq!(late, ["cut struck 3.20 s later than planned; 3.00 s is allowed"]);
        // Of a kill the last node counts; what ends in good order takes its time.
        assert_eq!(
            details("kill", [3000, 3001, 4858], None),
            ["cut struck 1.86 s later than planned; 100 ms is allowed"]
        );
        assert_eq!(details("stop", [3000, 3001, 9000], None), none);
        // The run removes at its end what nothing removed before.
        assert_eq!(details("kill", [3000, 3000, 3001], Some([90_000, 91_000])), none);
        // Nothing is too early.
        assert_eq!(details("partition", [3000, 2999, 2999], Some([3999, 3998])), none);
    }

    #[test]
    fn a_generator_that_starts_nothing_for_100_ms_of_a_fault_is_stalled() {
        // Each due each 10 ms; from `from` to `to` the starts are held back until `to`.
        let stream = |from: u64, to: u64| {
            Stream::new().every(10, 0, 2000, |due| {
                let start = if (from..to).contains(&due) { to } else { due };
                (start, start + 1, Ok)
            })
        };
        let stalled_in = |from, to| stalled("w", stream(from, to).history().view(None), "cut", stretch(1000, 2000));
        assert!(stalled_in(1201, 1300).is_none(), "due at 1,210 ms, started at 1,300 ms");
        let doubt = stalled_in(1200, 1300).unwrap();
        assert_eq!(doubt.detail, "w: in cut nothing started for 100 ms from 1.200 s on, though an operation was due");
        assert!(stalled_in(300, 700).is_none(), "not in the fault");
    }

    #[test]
    fn a_link_that_could_not_accept_once_is_a_doubt() {
        let link = |accept_failed| LinkFigures {
            total: LinkCounters { accept_failed, accepted: 7, ..LinkCounters::default() },
            readings: Vec::new(),
        };
        let links = [("a-b".to_owned(), link(0)), ("b-c".to_owned(), link(3))];
        let doubts = could_not_accept(links.iter().map(|(name, link)| (name, link)));
        let [Doubt { rule: DoubtRule::LinkCouldNotAccept, detail }] = &doubts[..] else { panic!("{doubts:?}") };
        let expected = "the link b-c could not accept, 3 times: the proxy was short of descriptors or memory";
        assert_eq!(detail, expected);
    }

    #[test]
    fn slow_arrivals_are_no_stall() {
        let stream = Stream::new().ok_every(1000, 0, 10_000, 5);
        assert!(stalled("w", stream.history().view(None), "cut", stretch(1000, 9000)).is_none());
    }

    #[test]
    fn clocks_that_part_by_more_than_100_ms_have_jumped() {
        let pairs = |walls: &[(u64, u64)]| {
            let clock = |ms: u64| What::Clock { wall_ns: (1_000_000 + ms) * 1_000_000 };
            let events = walls.iter().fold(Events::default(), |events, &(at, wall)| events.event(at, clock(wall)));
            clock_jumped(&events.list).map(|doubt| doubt.detail)
        };
        assert_eq!(pairs(&[(0, 0), (1000, 1001), (2000, 2002)]), None);
        assert_eq!(pairs(&[(0, 0), (1000, 1100), (2000, 2200)]), None);
        let ahead = pairs(&[(0, 0), (1000, 1000), (2000, 62_000)]).unwrap();
        assert_eq!(ahead, "the wall clock jumped ahead by 60.0 s between 1.000 s and 2.000 s: suspended, or set");
        assert!(pairs(&[(0, 5000), (1000, 1000)]).unwrap().contains("jumped back by 5.00 s"));
    }

    #[test]
    fn events_of_a_damaged_file_may_stand_in_any_order() {
        let clock = What::Clock { wall_ns: 1_000_000_000_000 };
        let mut events = Events::default().event(0, clock.clone()).event(2000, clock).list;
        events.reverse();
        assert!(clock_jumped(&events).unwrap().detail.contains("jumped ahead by 2.00 s"));
    }

    #[test]
    fn attempts_that_are_gone_are_named_by_their_file() {
        assert_eq!(NO_ATTEMPTS, format!("{} is not there", crate::event::ATTEMPTS_FILE));
    }

    #[test]
    fn what_is_missing_makes_a_run_incomplete() {
        assert!(incomplete(true, &[]).is_empty());
        assert_eq!(incomplete(false, &["x".into()]).len(), 2);
    }
}
