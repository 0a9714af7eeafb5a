//! Values that tell who wrote them, and the compact row of a write.

use super::Touch;
use crate::clock::Moment;
use crate::event::Applied;

/// A value `op.attempt`: written by that attempt and by no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub(super) op: u32,
    pub(super) attempt: u16,
}

impl Tag {
    /// The greatest attempt number that a row can hold.
    const LAST: u16 = (1 << 14) - 1;

    /// Reads `op.attempt`; none for a value that no workload of ours writes.
    pub(super) fn parse(value: &str) -> Option<Tag> {
        let (op, attempt) = value.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let tag =
            (digits(op) && digits(attempt)).then(|| Tag::of(op.parse().ok()?, attempt.parse().ok()?)).flatten()?;
        Some(tag)
    }

    /// The tag of an attempt, if its numbers fit.
    pub(super) fn of(op: u64, attempt: u32) -> Option<Tag> {
        let attempt = u16::try_from(attempt).ok().filter(|attempt| *attempt <= Tag::LAST)?;
        // The last numbers stand for other things in a row.
        let op = u32::try_from(op).ok().filter(|op| *op < Row::FOREIGN)?;
        Some(Tag { op, attempt })
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.op, self.attempt)
    }
}

/// What stood in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Shown {
    /// Nothing: it was never written, or all of it is gone.
    Nothing,
    /// A value of ours.
    Value(Tag),
    /// A value that is not ours, by its number in the key's list of such values.
    Foreign(u16),
}

/// One attempt to write, in 24 bytes: millions of them are held until the end of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Start, in nanoseconds.
    start: u64,
    op: u32,
    /// End − start in microseconds, rounded up: a later end only makes the checks more careful.
    span_us: u32,
    /// The operation of the replaced value, or one of the numbers below.
    replaced_op: u32,
    /// The attempt's number and, in the two highest bits, [`Applied`].
    attempt: u16,
    /// The attempt of the replaced value, or the number of a foreign one.
    replaced_attempt: u16,
}

impl Row {
    /// The replaced value is foreign. This and the greater numbers are no operations.
    const FOREIGN: u32 = u32::MAX - 2;
    /// There was no value to replace.
    const NOTHING: u32 = u32::MAX - 1;
    /// The system did not say.
    const UNTOLD: u32 = u32::MAX;

    pub(super) fn new(tag: Tag, touch: &Touch<'_>, replaced: Option<Shown>) -> Row {
        let span_ns = touch.end.0.saturating_sub(touch.start.0);
        let span_us = span_ns.div_ceil(1000);
        let applied = match touch.applied {
            Applied::No => 0,
            Applied::Unknown => 1,
            // An acknowledgement that came after more than an hour cannot be dated; nothing is concluded from it.
            Applied::Yes if span_us > u64::from(u32::MAX) => 1,
            Applied::Yes => 2,
        };
        let (replaced_op, replaced_attempt) = match replaced {
            None => (Row::UNTOLD, 0),
            Some(Shown::Nothing) => (Row::NOTHING, 0),
            Some(Shown::Foreign(number)) => (Row::FOREIGN, number),
            Some(Shown::Value(tag)) => (tag.op, tag.attempt),
        };
        Row {
            start: touch.start.0,
            op: tag.op,
            span_us: u32::try_from(span_us).unwrap_or(u32::MAX),
            replaced_op,
            attempt: tag.attempt | applied << 14,
            replaced_attempt,
        }
    }

    pub(super) fn tag(self) -> Tag {
        Tag { op: self.op, attempt: self.attempt & Tag::LAST }
    }

    pub(super) fn applied(self) -> Applied {
        match self.attempt >> 14 {
            0 => Applied::No,
            1 => Applied::Unknown,
            _ => Applied::Yes,
        }
    }

    pub(super) fn acknowledged(self) -> bool {
        self.applied() == Applied::Yes
    }

    pub(super) fn replaced(self) -> Option<Shown> {
        match self.replaced_op {
            Row::UNTOLD => None,
            Row::NOTHING => Some(Shown::Nothing),
            Row::FOREIGN => Some(Shown::Foreign(self.replaced_attempt)),
            op => Some(Shown::Value(Tag { op, attempt: self.replaced_attempt })),
        }
    }

    pub(super) fn start(self) -> u64 {
        self.start
    }

    /// Up to 1 µs after the true end.
    pub(super) fn end(self) -> u64 {
        self.start + u64::from(self.span_us) * 1000
    }

    pub(super) fn end_moment(self) -> Moment {
        Moment(self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_attempt_and_foreign_text_does_not() {
        assert_eq!(Tag::parse("17.2"), Some(Tag { op: 17, attempt: 2 }));
        for text in ["", "17", "17.", ".2", "+1.2", "1.2.3", "a.b", "4294967293.1", "1.16384", "99999999999999999999.1"]
        {
            assert_eq!(Tag::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Row>(), 24);
    }
}
