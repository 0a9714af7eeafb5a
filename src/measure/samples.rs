//! A sample of operations that failed or needed several attempts, spread over faults, outcomes and time.
//!
//! Which operation is kept depends on the order of the file alone, so the same run folder gives the same sample.

use std::collections::{BTreeMap, HashMap};

use super::read::Record;
use crate::event::{Attempt, Outcome};

/// Operations in the sample, at most.
const MOST: usize = 200;

/// Candidates of one kind, at most; beyond, every second one is dropped and only every second one taken.
const CANDIDATES: usize = 256;

/// Attempts kept of one operation, at most; a client that retries without end shows its first ones.
const ATTEMPTS: usize = 50;

/// Operations alike: due in the same stretch between two phases' borders, and begun with the same outcome.
type Kind = (usize, Outcome);

/// Takes every attempt and keeps some operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sampler {
    kinds: BTreeMap<Kind, Candidates>,
    /// The lines of each candidate so far.
    lines: HashMap<u64, Vec<Vec<u8>>>,
}

#[derive(Clone, Debug)]
struct Candidates {
    seen: u64,
    /// One of so many is taken.
    stride: u64,
    /// In the order in which they were seen.
    ops: Vec<u64>,
}

impl Sampler {
    /// `first`: no attempt of its operation came before. `stretch` is where it was due.
    pub(crate) fn take(&mut self, record: &Record, first: bool, stretch: usize, text: &[u8]) {
        if first {
            let plain = record.last && record.attempt == 1 && record.outcome == Outcome::Ok;
            if plain || !self.admit(record.op, (stretch, record.outcome)) {
                return;
            }
        }
        if let Some(lines) = self.lines.get_mut(&record.op)
            && lines.len() < ATTEMPTS
        {
            lines.push(record.line.of(text).to_vec());
        }
    }

    fn admit(&mut self, op: u64, kind: Kind) -> bool {
        let candidates = self.kinds.entry(kind).or_insert(Candidates { seen: 0, stride: 1, ops: Vec::new() });
        let wanted = candidates.seen.is_multiple_of(candidates.stride);
        candidates.seen += 1;
        if !wanted {
            return false;
        }
        if candidates.ops.len() == CANDIDATES {
            let mut number = 0;
            candidates.ops.retain(|op| {
                number += 1;
                let keep = number % 2 == 1;
                if !keep {
                    self.lines.remove(op);
                }
                keep
            });
            candidates.stride *= 2;
            // This one stands at a multiple of the new stride too: 256 × the old one.
        }
        candidates.ops.push(op);
        self.lines.insert(op, Vec::new());
        true
    }

    /// The sample: of each kind as many as of any other, as far as there are; evenly over time; by due time.
    pub(crate) fn sample(&self) -> Vec<Vec<Attempt>> {
        let mut chosen = Vec::new();
        let mut kinds: Vec<&[u64]> = self.kinds.values().map(|candidates| candidates.ops.as_slice()).collect();
        // Small kinds first: what they leave of their share goes to the others.
        kinds.sort_by_key(|ops| ops.len());
        let count = kinds.len();
        for (index, ops) in kinds.into_iter().enumerate() {
            let share = (MOST - chosen.len()) / (count - index);
            chosen.extend(evenly(ops, share));
        }
        let read = |op: &u64| -> Vec<Attempt> {
            let lines = self.lines.get(op).into_iter().flatten();
            lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
        };
        let mut sample: Vec<Vec<Attempt>> = chosen.iter().map(read).collect();
        for attempts in &mut sample {
            attempts.sort_by_key(|attempt| attempt.attempt);
        }
        sample.retain(|attempts| !attempts.is_empty());
        sample.sort_by_key(|attempts| (attempts[0].due, attempts[0].op));
        sample
    }
}

/// So many of them, at equal distances.
fn evenly(ops: &[u64], count: usize) -> impl Iterator<Item = u64> {
    let count = count.min(ops.len());
    (0..count).map(move |index| ops[index * ops.len() / count])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome::{Ok, Refused, Timeout};
    use crate::measure::testing::{CONSTANT, Events, Stream, run_plan, workload};

    fn sample(stream: &Stream, events: &Events) -> Vec<Vec<Attempt>> {
        stream.assembled(events, &run_plan(&workload(CONSTANT))).sampler.sample()
    }

    #[test]
    fn what_went_well_at_once_is_not_sampled() {
        assert!(sample(&Stream::new().ok_every(10, 0, 1000, 5), &Events::default()).is_empty());
    }

    #[test]
    fn an_operation_comes_with_all_its_attempts_in_order() {
        let stream = Stream::new()
            .ok_every(10, 0, 1000, 5)
            .op(500, &[(500, 750, Timeout), (800, 810, Refused), (900, 905, Ok)])
            .op(400, &[(400, 401, Refused)]);
        let sample = sample(&stream, &Events::default());
        let outcomes: Vec<Vec<Outcome>> =
            sample.iter().map(|attempts| attempts.iter().map(|attempt| attempt.outcome).collect()).collect();
        assert_eq!(outcomes, [vec![Refused], vec![Timeout, Refused, Ok]]);
        assert_eq!(sample[1], stream.attempts[100..103]);
    }

    #[test]
    fn a_rare_outcome_and_a_short_phase_are_in_it_and_time_is_covered() {
        // 10,000 time-outs in one fault, 3 refusals among them, 5 time-outs in another fault.
        let events = Events::phases(0, 1000, 30_000).fault("a", 1000, 11_000).fault("b", 20_000, 20_500);
        let stream = Stream::new()
            .every(1, 1000, 11_000, |due| (due, due + 250, Timeout))
            .every(3000, 1000, 10_000, |due| (due, due + 1, Refused))
            .every(100, 20_000, 20_500, |due| (due, due + 250, Timeout));
        let sample = sample(&stream, &events);
        let due = |from: u64, to: u64, outcome| {
            let within = move |attempt: &Attempt| {
                (from..to).contains(&(attempt.due.0 / 1_000_000)) && attempt.outcome == outcome
            };
            sample.iter().filter(|attempts| within(&attempts[0])).count()
        };
        assert_eq!(due(1000, 11_000, Refused), 3);
        assert_eq!(due(20_000, 20_500, Timeout), 5);
        let seconds: Vec<usize> = (1..11).map(|s| due(s * 1000, s * 1000 + 1000, Timeout)).collect();
        assert!(seconds.iter().all(|&count| count >= 2), "{seconds:?}");
        assert!(sample.len() <= MOST);
    }

    #[test]
    fn many_kinds_share_two_hundred() {
        let events = (0..20).fold(Events::phases(0, 1000, 60_000), |events, i| {
            events.fault(&format!("f{i}"), 1000 + i * 2000, 2000 + i * 2000)
        });
        let stream = Stream::new().every(5, 1000, 41_000, |due| (due, due + 1, Refused));
        assert_eq!(sample(&stream, &events).len(), MOST);
    }
}
