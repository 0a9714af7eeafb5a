//! One read of one direction, sorted into what passes as it is and what does not; and heads that come in pieces.

use std::ops::Range;

use bytes::Bytes;

use super::head::{LONGEST_HEAD, Parsed};

/// The bytes of one read. As long as all of them pass in place, nothing is copied.
#[derive(Debug)]
pub(super) struct Inbox<'a> {
    bytes: &'a [u8],
    /// What passes and has not been put into `out` yet.
    run: Range<usize>,
    out: Vec<Bytes>,
}

impl<'a> Inbox<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Inbox<'a> {
        Inbox { bytes, run: 0..0, out: Vec::new() }
    }

    /// These bytes of the read pass.
    pub(super) fn pass(&mut self, range: Range<usize>) {
        if range.start != self.run.end {
            self.flush();
            self.run.start = range.start;
        }
        self.run.end = range.end;
    }

    /// Other bytes go on at this place.
    pub(super) fn insert(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.flush();
            self.out.push(bytes);
        }
    }

    /// What goes on so far, to be put somewhere else.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.flush();
        std::mem::take(&mut self.out)
    }

    /// Whether all bytes of the read pass in place.
    pub(super) fn is_whole(&self) -> bool {
        self.out.is_empty() && self.run == (0..self.bytes.len())
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            self.out.push(Bytes::copy_from_slice(&self.bytes[self.run.clone()]));
        }
        self.run = self.run.end..self.run.end;
    }
}

/// The beginning of a head whose rest has not come yet.
#[derive(Debug, Default)]
pub(super) struct HeadBuffer {
    bytes: Vec<u8>,
    /// How long it was when it was last parsed.
    parsed: usize,
    /// Whether it is held back; else it has passed already and this is a copy.
    pub(super) held: bool,
}

/// A head of up to so many bytes is parsed with each read: other protocols show themselves early.
const PARSED_EACH_TIME: usize = 256;

impl HeadBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its bytes, if they are held back; it is empty afterwards.
    pub(super) fn release(&mut self) -> Bytes {
        let buffer = std::mem::take(self);
        if buffer.held { Bytes::from(buffer.bytes) } else { Bytes::new() }
    }

    /// Its bytes, if they are held back; what is still to come of it passes, and this remains as a copy.
    pub(super) fn pass_on(&mut self) -> Bytes {
        if std::mem::take(&mut self.held) { Bytes::copy_from_slice(&self.bytes) } else { Bytes::new() }
    }

    /// Parses what came before together with these bytes; how many of them belong to the head is what it tells.
    ///
    /// Of an unfinished head all bytes are kept here. Of a finished one, or of what is none, only those that came
    /// before are still here, to be released.
    pub(super) fn read<T>(&mut self, new: &[u8], parse: impl FnOnce(&[u8]) -> Parsed<T>) -> Parsed<T> {
        let before = self.bytes.len();
        let parsed = if before == 0 {
            parse(new)
        } else {
            self.bytes.extend_from_slice(new);
            if self.is_worth_parsing(before) { parse(&self.bytes) } else { return Parsed::Partial }
        };
        match parsed {
            Parsed::Partial => {
                if before == 0 {
                    self.bytes.extend_from_slice(new);
                }
                self.parsed = self.bytes.len();
                Parsed::Partial
            }
            Parsed::Head(head, length) => {
                self.bytes.truncate(before);
                Parsed::Head(head, length.saturating_sub(before))
            }
            Parsed::Foreign => {
                self.bytes.truncate(before);
                Parsed::Foreign
            }
        }
    }

    /// Not at each drop of a long head that drips in.
    fn is_worth_parsing(&self, before: usize) -> bool {
        let length = self.bytes.len();
        length <= PARSED_EACH_TIME || length >= 2 * self.parsed || length > LONGEST_HEAD || self.may_end(before)
    }

    /// Whether an empty line ends behind this place.
    fn may_end(&self, before: usize) -> bool {
        let tail = &self.bytes[before.saturating_sub(3)..];
        tail.windows(2).any(|two| two == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
    }
}
