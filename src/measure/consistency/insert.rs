//! An insert has a key of its own: in the end it is there, or it is not.
//!
//! Its value is `op`, the same for all its attempts: to repeat an insert is no change, so that a second acknowledgement
//! is none of a second row. Where a system holds two rows under one key, its final read returns both.

use super::value::Tag;
use super::{Found, Touch, shown};
use crate::clock::Moment;
use crate::event::Applied;

/// One key that one operation creates.
#[derive(Debug)]
pub(super) struct Insert {
    /// When it was first acknowledged, in nanoseconds; [`Insert::NEVER`] if it was not.
    acknowledged: u64,
    op: u32,
    /// Whether an attempt may have had an effect.
    possible: bool,
    /// Whether its final read was answered, and so everything is said about it.
    settled: bool,
}

impl Insert {
    const NEVER: u64 = u64::MAX;

    pub(super) fn new(op: u32) -> Insert {
        Insert { acknowledged: Insert::NEVER, op, possible: false, settled: false }
    }

    /// The operation that a value tells: `op`, or `op.attempt`.
    pub(super) fn op_of(value: &str) -> Option<u32> {
        let value = value.trim();
        if value.contains('.') { Tag::parse(value) } else { Tag::parse(&format!("{value}.0")) }.map(|tag| tag.op)
    }

    pub(super) fn op(&self) -> u32 {
        self.op
    }

    pub(super) fn touch(&mut self, touch: &Touch<'_>) {
        if touch.applied == Applied::Yes {
            self.acknowledged = self.acknowledged.min(touch.end.0);
        }
        self.possible |= touch.applied != Applied::No;
    }

    /// A read that began at `start`: nothing must not be there once the insert is acknowledged.
    pub(super) fn read(&self, start: u64, found_nothing: bool, found: &mut Found) {
        if self.acknowledged >= start {
            return;
        }
        found.read_checked();
        if found_nothing {
            let age_ns = start - self.acknowledged;
            found.stale(age_ns, || {
                format!(
                    "a read at {} did not find operation {}, acknowledged at {}",
                    Moment(start),
                    self.op,
                    Moment(self.acknowledged)
                )
            });
        }
    }

    pub(super) fn final_read(&mut self, key: &str, value: Option<&str>, answered: bool, found: &mut Found) {
        if !answered || std::mem::replace(&mut self.settled, true) {
            return;
        }
        found.key_seen();
        let op = self.op;
        let rows = value.unwrap_or_default().split(',').filter_map(Insert::op_of).filter(|row| *row == op).count();
        if rows > 1 {
            found.duplicate(|| format!("{key}: operation {op} was inserted more than once: {}", shown(value)));
        }
        if self.acknowledged != Insert::NEVER {
            found.acknowledged();
            if rows == 0 {
                let acknowledged = Moment(self.acknowledged);
                found.lost(acknowledged, || {
                    format!(
                        "{key}: operation {op}, acknowledged at {acknowledged}, is gone: {} is there in the end",
                        shown(value)
                    )
                });
            }
        } else if rows > 0 && !self.possible {
            found.resurrected(|| format!("{key}: operation {op} is there, although it was definitely refused"));
        }
    }

    /// What is left to say of a key whose final read was not answered.
    pub(super) fn finish(self, found: &mut Found) {
        if self.settled {
            return;
        }
        if self.acknowledged != Insert::NEVER {
            found.acknowledged();
            found.masked(Moment(self.acknowledged), || format!("operation {}: no final read was answered", self.op));
        }
    }
}
