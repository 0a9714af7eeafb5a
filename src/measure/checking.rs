//! The writes of a run, checked on a thread of their own while its attempts are counted on another.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use indexmap::IndexMap;

use super::admission::Admission;
use super::consistency::{Checker, Touch};
use super::model::Consistency;
use super::read::{Batch, Record, Text};
use crate::event::{Event, What};

/// What became of the writes of each workload that has a state.
///
/// `batches` are all attempts, in the order of the file; the final reads are among the events.
pub(crate) fn check(
    batches: Receiver<Arc<Batch>>,
    admission: &Admission<'_>,
    events: &[Event],
) -> IndexMap<Arc<str>, Consistency> {
    let mut checkers: IndexMap<Arc<str>, Checker> = IndexMap::new();
    for batch in batches {
        take(&batch, admission, &mut checkers);
    }
    for event in events {
        if let What::FinalRead { workload, key, value, ok } = &event.what
            && let Some(checker) = checkers.get_mut(workload.as_str())
        {
            checker.final_read(key, value.as_deref(), *ok);
        }
    }
    checkers.into_iter().map(|(workload, checker)| (workload, checker.finish())).collect()
}

fn take(batch: &Batch, admission: &Admission<'_>, checkers: &mut IndexMap<Arc<str>, Checker>) {
    // The checker of each name of the batch, once it is known.
    let mut numbers: Vec<Option<usize>> = vec![None; batch.names.len()];
    for record in batch.records.iter().filter(|record| admission.admits(record)) {
        let Some(touch) = touch(record, &batch.text) else { continue };
        let number = &mut numbers[record.workload.0 as usize];
        if number.is_none() {
            let name = &batch.names[record.workload.0 as usize];
            if !admission.knows(name) {
                continue;
            }
            let entry = checkers.entry(name.clone());
            *number = Some(entry.index());
            entry.or_default();
        }
        if let Some((_, checker)) = number.and_then(|number| checkers.get_index_mut(number)) {
            checker.touch(&touch);
        }
    }
}

/// The attempt as the checks read it; none without a state.
fn touch<'a>(record: &Record, text: &'a [u8]) -> Option<Touch<'a>> {
    let own = |part: Option<Text>| part.and_then(|part| std::str::from_utf8(part.of(text)).ok());
    Some(Touch {
        op: record.op,
        attempt: record.attempt,
        access: record.access?,
        key: own(record.key)?,
        value: own(record.value),
        replaced: own(record.replaced),
        start: record.start,
        end: record.end,
        outcome: record.outcome,
        applied: record.applied,
    })
}
