//! What a workload lived through, compact and sorted: the rows that outage figures are worked out from.

use std::sync::Arc;

use super::phases::Interval;
use crate::clock::Moment;

/// The number of a class within its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class(pub(crate) u16);

/// The number of a place in [`History::places`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place(pub(crate) u16);

impl Place {
    /// Nobody knows who served it.
    pub(crate) const UNKNOWN: Place = Place(u16::MAX);
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// One of its attempts was ok.
    Ok,
    /// None was, and none can have taken effect.
    Failed,
    /// None was, and it is a write that may have taken effect.
    Indeterminate,
}

/// One operation. Five million of them are 200 MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    /// When it was due.
    pub(crate) due: Moment,
    /// When its first attempt started.
    pub(crate) start: Moment,
    /// The end of its first ok attempt; else of its last one.
    pub(crate) end: Moment,
    /// The start of its first ok attempt.
    pub(crate) won: Moment,
    /// Who served that attempt.
    pub(crate) place: Place,
    /// Its class.
    pub(crate) class: Class,
    /// How it ended.
    pub(crate) state: State,
    /// It was shed: nothing was sent.
    pub(crate) shed: bool,
}

impl Op {
    pub(crate) fn ok(&self) -> bool {
        self.state == State::Ok
    }

    /// From due.
    pub(crate) fn latency_ns(&self) -> u64 {
        self.end.0.saturating_sub(self.due.0)
    }
}

/// An attempt that failed or ran past its time-out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    /// When it started.
    pub(crate) start: Moment,
    /// When it failed or passed its time-out.
    pub(crate) at: Moment,
    /// When it ended.
    pub(crate) end: Moment,
    /// The class of its operation.
    pub(crate) class: Class,
    /// It failed; else it was late only.
    pub(crate) failed: bool,
}

/// A workload's operations and attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Its classes by number.
    pub(crate) classes: Vec<Arc<str>>,
    /// The places by number.
    pub(crate) places: Vec<Arc<str>>,
    /// Its operations, by due time.
    pub(crate) ops: Vec<Op>,
    /// Its failed and late attempts, by the moment of trouble.
    pub(crate) troubles: Vec<Trouble>,
    /// When attempts were sent, for each class, ascending.
    pub(crate) starts: Vec<Vec<Moment>>,
    /// For each promotion and class: the end of the first attempt answered on a connection accepted after it.
    pub(crate) reconnected: Vec<(Moment, Vec<Option<Moment>>)>,
}

impl History {
    /// Sorts what was collected in the order of the file.
    pub(crate) fn sort(&mut self) {
        sort_by(&mut self.ops, |op| op.due);
        sort_by(&mut self.troubles, |trouble| trouble.at);
        for starts in &mut self.starts {
            sort_by(starts, |&start| start);
        }
    }

    /// All of it, or one class of it.
    pub(crate) fn view(&self, class: Option<Class>) -> View<'_> {
        View { history: self, class }
    }
}

fn sort_by<T>(rows: &mut [T], key: impl Fn(&T) -> Moment) {
    // An attempt is written when it ends, so a steady stretch stands nearly in order; often all of it does.
    if !rows.is_sorted_by_key(&key) {
        rows.sort_unstable_by_key(key);
    }
}

/// A class of a history, or all of it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) history: &'a History,
    pub(crate) class: Option<Class>,
}

impl<'a> View<'a> {
    /// Every operation, by due time.
    pub(crate) fn ops(self) -> impl Iterator<Item = &'a Op> {
        self.wanted(&self.history.ops)
    }

    /// The operations due in `part`.
    pub(crate) fn due_in(self, part: Interval) -> impl Iterator<Item = &'a Op> {
        let ops = &self.history.ops;
        let from = ops.partition_point(|op| op.due < part.start);
        let to = ops.partition_point(|op| op.due < part.end);
        self.wanted(&ops[from..to.max(from)])
    }

    fn wanted(self, ops: &'a [Op]) -> impl Iterator<Item = &'a Op> {
        ops.iter().filter(move |op| self.class.is_none_or(|class| op.class == class))
    }

    /// Attempts that failed or ran late, by the moment when they did.
    pub(crate) fn troubles(self) -> impl Iterator<Item = &'a Trouble> {
        let class = self.class;
        self.history.troubles.iter().filter(move |trouble| class.is_none_or(|class| trouble.class == class))
    }

    /// Attempts that failed.
    pub(crate) fn failures(self) -> impl Iterator<Item = &'a Trouble> {
        self.troubles().filter(|trouble| trouble.failed)
    }

    /// When ok operations ended, ascending.
    pub(crate) fn ok_ends(self) -> Vec<Moment> {
        let mut ends: Vec<Moment> = self.ops().filter(|op| op.ok()).map(|op| op.end).collect();
        sort_by(&mut ends, |&end| end);
        ends
    }

    /// When attempts were sent, ascending.
    pub(crate) fn starts(self) -> Vec<Moment> {
        match self.class {
            Some(class) => self.history.starts[usize::from(class.0)].clone(),
            None => {
                let mut starts = self.history.starts.concat();
                // A stable sort merges stretches that are in order, which each class is.
                starts.sort();
                starts
            }
        }
    }

    /// The end of the first attempt answered on a connection accepted after this promotion.
    pub(crate) fn reconnected(self, promoted: Moment) -> Option<Moment> {
        let (_, ends) = self.history.reconnected.iter().find(|(at, _)| *at == promoted)?;
        match self.class {
            Some(class) => ends.get(usize::from(class.0)).copied().flatten(),
            None => ends.iter().copied().flatten().min(),
        }
    }
}
