//! Histories made by a simulated register, list or table: what a correct one did is never called wrong, and what a
//! broken one did is counted exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Attempt;
use crate::seed::{Dice, Seed};

/// How a simulated system behaves.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Keys.
    keys: u64,
    /// Operations.
    operations: u64,
    /// The chance that an answer gets lost or is too late.
    silence: f64,
    /// The chance that an attempt is definitely refused.
    refusal: f64,
    /// The chance that a write's answer does not say what it replaced.
    untold: f64,
    /// The chance that a final read is not answered.
    unanswered: f64,
    /// Once, everything done within so many milliseconds is undone; 0: never.
    rollback_ms: u64,
    /// What writes are.
    write: Access,
}

const CORRECT: Habits = Habits {
    keys: 3,
    operations: 120,
    silence: 0.2,
    refusal: 0.1,
    untold: 0.0,
    unanswered: 0.0,
    rollback_ms: 0,
    write: Access::Write,
};

/// A clear answer to each attempt.
const CLEAR: Habits = Habits { silence: 0.0, refusal: 0.1, ..CORRECT };

/// What the system really did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Truth {
    acknowledged: u64,
    undone: u64,
    doubled: u64,
}

const MS: u64 = 1_000_000;
const TIMEOUT: u64 = 40 * MS;

/// An attempt that is on its way through the simulated system.
struct Sent {
    record: Attempt,
    /// When it takes effect; none: never.
    effect: Option<u64>,
}

/// Takes an attempt as it was recorded.
pub(super) fn take(checker: &mut Checker, attempt: &Attempt) {
    let (Some(access), Some(key)) = (attempt.access, attempt.key.as_deref()) else { return };
    checker.touch(&Touch {
        op: attempt.op,
        attempt: attempt.attempt,
        access,
        key,
        value: attempt.value.as_deref(),
        replaced: attempt.replaced.as_deref(),
        start: attempt.start,
        end: attempt.end,
        outcome: attempt.outcome,
        applied: attempt.applied,
    });
}

pub(super) fn record(op: u64, attempt: u32, access: Access, key: &str, start: u64) -> Attempt {
    Attempt {
        workload: Arc::from("orders"),
        class: Arc::from("any"),
        op,
        attempt,
        hedge: false,
        last: false,
        access: Some(access),
        key: Some(key.into()),
        value: None,
        replaced: None,
        due: Moment(start),
        start: Moment(start),
        connected: None,
        first_byte: None,
        end: Moment(start),
        outcome: Outcome::Ok,
        applied: Applied::Yes,
        code: None,
        place: None,
        link: None,
        conn: None,
        retry_in: None,
        why: None,
    }
}

/// Sends operations of a few concurrent clients, with retries.
fn send(dice: &mut Dice, habits: Habits) -> Vec<Sent> {
    let mut sent = Vec::new();
    let scan = if habits.write == Access::Append { Access::Scan } else { Access::Read };
    for op in 0..habits.operations {
        let mut start = op * 5 * MS + dice.below(30 * MS);
        let key = match habits.write {
            Access::Insert => format!("row-{op}"),
            _ => format!("k{}", dice.below(habits.keys)),
        };
        if dice.chance(0.3) {
            let key = if habits.write == Access::Insert { format!("row-{}", dice.below(op + 1)) } else { key };
            let mut record = record(op, 1, scan, &key, start);
            let effect = start + dice.below(10 * MS);
            record.end = Moment(effect + dice.below(10 * MS));
            sent.push(Sent { record, effect: Some(effect) });
            continue;
        }
        for attempt in 1..=4 {
            let mut record = record(op, attempt, habits.write, &key, start);
            record.value = Some(format!("{op}.{attempt}").into());
            let effect = start + dice.below(12 * MS);
            let effect = if dice.chance(habits.refusal) {
                record.outcome = Outcome::Unavailable;
                record.applied = Applied::No;
                record.end = Moment(start + dice.below(10 * MS));
                None
            } else if dice.chance(habits.silence) {
                record.outcome = Outcome::Timeout;
                record.applied = Applied::Unknown;
                record.end = Moment(start + TIMEOUT);
                // It may arrive late, much later than its client gave up, or never.
                let late = if dice.chance(0.5) { 0 } else { dice.below(300 * MS) };
                dice.chance(0.7).then_some(effect + late)
            } else {
                record.end = Moment(effect + dice.below(12 * MS));
                Some(effect)
            };
            let end = record.end.0;
            let done = record.applied == Applied::Yes;
            sent.push(Sent { record, effect });
            if done || dice.chance(0.2) {
                break;
            }
            start = end + dice.below(20 * MS);
        }
    }
    sent
}

/// Lets the effects happen in the order of their times, and returns what the checker says beside the truth.
fn run(seed: u64, habits: Habits) -> (Consistency, Truth) {
    let mut dice = Seed(seed).stream("consistency");
    let mut sent = send(&mut dice, habits);
    let mut order: Vec<usize> = (0..sent.len()).filter(|index| sent[*index].effect.is_some()).collect();
    order.sort_by_key(|index| sent[*index].effect);
    let end = order.last().map_or(0, |index| sent[*index].effect.unwrap_or(0)) + 100 * MS;
    let undo_at = if habits.rollback_ms > 0 { dice.below(end) } else { u64::MAX };
    let undo_to = undo_at.saturating_sub(habits.rollback_ms * MS);

    let mut state: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut saved = None;
    let mut undone = BTreeSet::new();
    let mut rolled_back = false;
    for index in order {
        let at = sent[index].effect.unwrap();
        if at >= undo_to && saved.is_none() {
            saved = Some(state.clone());
        }
        if at >= undo_at && !rolled_back {
            rolled_back = true;
            state = saved.clone().unwrap();
        }
        let record = &mut sent[index].record;
        let held = state.entry(record.key.as_deref().unwrap().to_owned()).or_default();
        match record.access.unwrap() {
            Access::Read => record.value = held.last().map(|value| value.as_str().into()),
            Access::Scan => record.value = Some(held.join(",").into()),
            access => {
                if access == Access::Write && record.applied == Applied::Yes && !dice.chance(habits.untold) {
                    record.replaced = Some(held.last().map_or("", |value| value).into());
                }
                held.push(record.value.as_deref().unwrap().to_owned());
                if (undo_to..undo_at).contains(&at) && undo_at != u64::MAX && record.applied == Applied::Yes {
                    undone.insert(record.op);
                }
            }
        }
    }
    if !rolled_back && let (Some(saved), true) = (saved, undo_at != u64::MAX) {
        state = saved;
    }

    let mut records: Vec<Attempt> = sent.into_iter().map(|sent| sent.record).collect();
    // Threads write almost in the order of ends.
    records.sort_by_cached_key(|record| record.end.0 + dice.below(5 * MS));
    let mut checker = Checker::new();
    let mut acknowledged = BTreeSet::new();
    let mut names = BTreeSet::new();
    for record in &records {
        take(&mut checker, record);
        names.insert(record.key.clone().unwrap());
        if record.applied == Applied::Yes && !matches!(record.access, Some(Access::Read | Access::Scan)) {
            acknowledged.insert(record.op);
        }
    }
    let mut doubled = 0;
    for name in names {
        let held = state.remove(&*name).unwrap_or_default();
        let mut operations = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for value in &held {
            let op = value.split_once('.').unwrap().0.to_owned();
            if !operations.insert(op.clone()) {
                twice.insert(op);
            }
        }
        doubled += twice.len() as u64;
        let list = held.join(",");
        let value = if habits.write == Access::Write { held.last().cloned() } else { Some(list) };
        checker.final_read(&name, value.as_deref().filter(|value| !value.is_empty()), !dice.chance(habits.unanswered));
    }
    let truth = Truth { acknowledged: acknowledged.len() as u64, undone: undone.len() as u64, doubled };
    (checker.finish(), truth)
}

proptest! {
    #[test]
    fn a_correct_register_is_never_called_wrong(
        seed: u64, keys in 1u64..40, silence in 0.0..0.6, refusal in 0.0..0.3, untold in 0.0..0.5, unanswered in 0.0..0.5,
    ) {
        for untold in [0.0, untold] {
            let (found, truth) = run(seed, Habits { keys, silence, refusal, untold, unanswered, ..CORRECT });
            prop_assert_eq!(found.acknowledged, truth.acknowledged);
            prop_assert_eq!((found.lost, found.stale_reads, found.duplicates, found.resurrected), (0, 0, 0, 0), "{:?}", found.examples);
        }
    }

    #[test]
    fn a_correct_register_with_a_clear_answer_to_all_leaves_no_doubt(seed: u64, keys in 1u64..40) {
        let (found, truth) = run(seed, Habits { keys, ..CLEAR });
        let (reads_checked, keys_seen) = (found.reads_checked, found.keys_seen);
        let expected =
            Consistency { acknowledged: truth.acknowledged, reads_checked, keys_seen, ..Consistency::default() };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_register_that_was_set_back_has_lost_just_what_was_undone(seed: u64, keys in 1u64..20, rollback_ms in 1u64..200) {
        let (found, truth) = run(seed, Habits { keys, rollback_ms, ..CLEAR });
        prop_assert_eq!(found.lost, truth.undone, "{:?}", found.examples);
        prop_assert_eq!(found.lost_acknowledged.len() as u64, truth.undone);
        prop_assert_eq!((found.masked, found.overwritten_unseen), (0, 0));
    }

    #[test]
    fn what_was_undone_is_lost_or_at_least_in_doubt(
        seed: u64, keys in 1u64..20, silence in 0.0..0.4, rollback_ms in 1u64..200,
    ) {
        let (found, truth) = run(seed, Habits { keys, silence, rollback_ms, ..CORRECT });
        if truth.undone > 0 && silence == 0.0 {
            prop_assert!(found.lost > 0);
        }
        prop_assert!(found.lost <= truth.undone, "{} lost of {} undone: {:?}", found.lost, truth.undone, found.examples);
    }

    #[test]
    fn a_correct_list_is_never_called_wrong(seed: u64, keys in 1u64..10, silence in 0.0..0.6, refusal in 0.0..0.3) {
        let (found, truth) = run(seed, Habits { keys, silence, refusal, write: Access::Append, ..CORRECT });
        prop_assert_eq!(found.acknowledged, truth.acknowledged);
        prop_assert_eq!((found.lost, found.masked, found.stale_reads, found.resurrected), (0, 0, 0, 0), "{:?}", found.examples);
        prop_assert_eq!(found.duplicates, truth.doubled);
    }

    #[test]
    fn a_list_that_was_set_back_has_lost_just_what_was_undone(seed: u64, keys in 1u64..10, rollback_ms in 1u64..200) {
        let (found, truth) = run(seed, Habits { keys, rollback_ms, write: Access::Append, ..CLEAR });
        prop_assert_eq!(found.lost, truth.undone, "{:?}", found.examples);
    }

    #[test]
    fn a_correct_table_is_never_called_wrong(seed: u64, silence in 0.0..0.6, refusal in 0.0..0.3) {
        let (found, truth) = run(seed, Habits { silence, refusal, write: Access::Insert, ..CORRECT });
        prop_assert_eq!(found.acknowledged, truth.acknowledged);
        prop_assert_eq!((found.lost, found.masked, found.stale_reads, found.resurrected), (0, 0, 0, 0), "{:?}", found.examples);
        prop_assert_eq!(found.duplicates, truth.doubled);
    }

    #[test]
    fn a_table_that_was_set_back_has_lost_just_what_was_undone(seed: u64, rollback_ms in 1u64..200) {
        let (found, truth) = run(seed, Habits { rollback_ms, write: Access::Insert, ..CLEAR });
        prop_assert_eq!(found.lost, truth.undone, "{:?}", found.examples);
    }
}
