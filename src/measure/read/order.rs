//! Which events cannot have happened when they say: one damaged number would stretch every figure that looks at it.

use std::time::Duration;

use crate::clock::Moment;
use crate::event::{Event, What};

/// An event is written as it happens, by several threads.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// What takes its time is told when it is done, with the moment at which it began; final reads are told together.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// While a run has load something is written each second; starting a system may be silent for longer.
const SILENCE: Duration = Duration::from_secs(3600);

/// Of each event, in the order of the file, whether it can have happened when it says.
///
/// The longest series of moments that grow is right; what else lies near its neighbours in that series is.
pub(super) fn possible(events: &[Event]) -> Vec<bool> {
    let series = longest_growing(events);
    let mut possible = vec![false; events.len()];
    let mut last = Moment::START;
    let mut next = series.iter().copied().peekable();
    for (index, event) in events.iter().enumerate() {
        let in_series = next.next_if_eq(&index).is_some();
        let late = if told_when_done(&event.what) { TOLD_WITHIN } else { WRITTEN_WITHIN };
        let before = next.peek().map_or(Moment(u64::MAX), |&next| events[next].at + WRITTEN_WITHIN);
        let fits = in_series || (last - late <= event.at && event.at <= before);
        possible[index] = fits && event.at <= last + SILENCE && planned_before(event);
        if in_series && possible[index] {
            last = event.at;
        }
    }
    possible
}

fn told_when_done(what: &What) -> bool {
    matches!(what, What::FaultInjected { .. } | What::FaultHealed { .. } | What::FinalRead { .. })
}

/// Nothing happens before it was planned.
fn planned_before(event: &Event) -> bool {
    let soon = event.at + WRITTEN_WITHIN;
    match &event.what {
        What::FaultInjected { planned, last_hit, .. } => *planned <= soon && *last_hit <= event.at + TOLD_WITHIN,
        What::FaultHealed { planned, .. } | What::PhaseStarted { planned, .. } => *planned <= soon,
        _ => true,
    }
}

/// The indices of the longest series of events, told at once, whose moments never fall; of several the one that ends
/// earliest.
fn longest_growing(events: &[Event]) -> Vec<usize> {
    // The event at which the series of each length ends that ends earliest, and the event before each.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        if told_when_done(&event.what) {
            before.push(None);
            continue;
        }
        let length = ends.partition_point(|&end| events[end].at <= event.at);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut series: Vec<usize> = std::iter::successors(ends.last().copied(), |&index| before[index]).collect();
    series.reverse();
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(ms: u64) -> Event {
        Event { at: Moment::from_millis(ms), what: What::LoadEnded }
    }

    fn kept(moments: &[u64]) -> Vec<u64> {
        let events: Vec<Event> = moments.iter().copied().map(note).collect();
        let possible = possible(&events);
        moments.iter().zip(possible).filter(|(_, possible)| *possible).map(|(ms, _)| *ms).collect()
    }

    #[test]
    fn events_of_several_threads_stand_nearly_in_order() {
        let all = [0, 10, 9, 1000, 2500, 1400, 3000];
        assert_eq!(kept(&all), all);
    }

    #[test]
    fn a_moment_far_from_its_neighbours_is_garbage() {
        for garbage in [0, 1, 90_000, 40 * 60_000, 86_400_000] {
            assert_eq!(kept(&[0, 5000, 10_000, garbage, 15_000, 16_000]), [0, 5000, 10_000, 15_000, 16_000]);
        }
        // The last one has nothing behind it: only a long silence tells.
        assert_eq!(kept(&[0, 5000, 86_400_000]), [0, 5000]);
        assert_eq!(kept(&[0, 5000, 6000, 86_400_000, 7000]), [0, 5000, 6000, 7000]);
    }

    #[test]
    fn what_is_told_when_it_is_done_may_have_begun_long_ago() {
        let read = What::FinalRead { workload: "w".into(), key: "k".into(), value: None, ok: false };
        let events = [note(0), note(20_000), Event { at: Moment::from_millis(9000), what: read }, note(20_001)];
        assert_eq!(possible(&events), [true; 4]);
        assert_eq!(kept(&[0, 19_000, 20_000, 9000, 20_001]), [0, 19_000, 20_000, 20_001]);
    }

    #[test]
    fn nothing_happens_before_its_plan() {
        let started = |planned| What::PhaseStarted { phase: "baseline".into(), planned: Moment::from_millis(planned) };
        let at = |planned| possible(&[note(0), Event { at: Moment::from_millis(1000), what: started(planned) }])[1];
        assert!(at(1000) && at(900));
        assert!(!at(9000));
    }
}
