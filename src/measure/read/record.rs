//! One line of `attempts.jsonl.zst` as figures need it: no allocation, names as numbers.
//!
//! The recorder writes the fields of [`Attempt`] in one order and without spaces, and millions of lines are read, so
//! a parser made for that order comes first. A line that it does not know goes to serde, which reads any JSON.

use std::sync::Arc;

use indexmap::IndexSet;

use crate::clock::Moment;
use crate::event::{Access, Applied, Attempt, Outcome};

/// One attempt, its names replaced by their numbers in [`Names`], its texts by where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) workload: Name,
    pub(crate) class: Name,
    pub(crate) op: u64,
    pub(crate) attempt: u32,
    pub(crate) hedge: bool,
    pub(crate) last: bool,
    pub(crate) access: Option<Access>,
    pub(crate) key: Option<Text>,
    pub(crate) value: Option<Text>,
    pub(crate) replaced: Option<Text>,
    pub(crate) due: Moment,
    pub(crate) start: Moment,
    pub(crate) connected: Option<Moment>,
    pub(crate) end: Moment,
    pub(crate) outcome: Outcome,
    pub(crate) applied: Applied,
    pub(crate) code: Option<u16>,
    pub(crate) place: Option<Name>,
    pub(crate) link: Option<Name>,
    pub(crate) conn: Option<u64>,
    /// The line itself, to read in full what figures do not need.
    pub(crate) line: Text,
}

/// The number of a name in [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub(crate) u32);

/// A part of a batch's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) from: u32,
    pub(crate) len: u32,
}

impl Text {
    fn new(from: usize, len: usize) -> Text {
        Text { from: from as u32, len: len as u32 }
    }

    /// The bytes that it stands for.
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.from as usize..(self.from + self.len) as usize]
    }
}

/// The names of workloads, classes, places and links, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    names: IndexSet<Arc<str>>,
    /// The numbers given last: names repeat, so most look-ups end here.
    recent: [u32; 4],
}

impl Names {
    /// The number of a name.
    pub(crate) fn intern(&mut self, name: &[u8]) -> Option<Name> {
        for &recent in &self.recent {
            if self.names.get_index(recent as usize).is_some_and(|known| known.as_bytes() == name) {
                return Some(Name(recent));
            }
        }
        let name = std::str::from_utf8(name).ok()?;
        let number = match self.names.get_index_of(name) {
            Some(known) => known,
            None => self.names.insert_full(Arc::from(name)).0,
        } as u32;
        self.recent.rotate_right(1);
        self.recent[0] = number;
        Some(Name(number))
    }

    /// Every name, by its number.
    pub(crate) fn all(&self) -> Vec<Arc<str>> {
        self.names.iter().cloned().collect()
    }
}

/// Reads the line that begins at `from`; its length, without the line break, comes first. Texts that it holds in
/// escaped form go to `extra`, which will stand behind `text`.
pub(super) fn read(
    text: &[u8],
    from: usize,
    names: &mut Names,
    extra: &mut Vec<u8>,
) -> (usize, Result<Record, serde_json::Error>) {
    // Looking for the line break first would cost as much as reading the line.
    if let Some(record) = canonical(text, from, names) {
        return (record.line.len as usize, Ok(record));
    }
    let len = text[from..].iter().position(|&byte| byte == b'\n').unwrap_or(text.len() - from);
    let attempt = serde_json::from_slice::<Attempt>(&text[from..from + len]);
    (len, attempt.map(|attempt| any_order(&attempt, Text::new(from, len), names, extra, text.len())))
}

/// Reads a line in the order in which serde writes [`Attempt`]; none for any other, and for escaped or
/// non-ASCII text.
fn canonical(text: &[u8], from: usize, names: &mut Names) -> Option<Record> {
    let mut at = Cursor { text, at: from };
    at.expect(b"{\"workload\":")?;
    let workload = names.intern(at.string()?.of(at.text))?;
    at.expect(b",\"class\":")?;
    let class = names.intern(at.string()?.of(at.text))?;
    at.expect(b",\"op\":")?;
    let op = at.number()?;
    at.expect(b",\"attempt\":")?;
    let attempt = u32::try_from(at.number()?).ok()?;
    let hedge = at.eat(b",\"hedge\":true");
    let last = at.eat(b",\"last\":true");
    let access = match at.eat(b",\"access\":") {
        true => Some(access(at.string()?.of(at.text))?),
        false => None,
    };
    let key = at.optional_string(b",\"key\":")?;
    let value = at.optional_string(b",\"value\":")?;
    let replaced = at.optional_string(b",\"replaced\":")?;
    at.expect(b",\"due_ns\":")?;
    let due = Moment(at.number()?);
    at.expect(b",\"start_ns\":")?;
    let start = Moment(at.number()?);
    let connected = at.optional_number(b",\"connected_ns\":")?.map(Moment);
    at.optional_number(b",\"first_byte_ns\":")?;
    at.expect(b",\"end_ns\":")?;
    let end = Moment(at.number()?);
    at.expect(b",\"outcome\":")?;
    let outcome = outcome(at.string()?.of(at.text))?;
    at.expect(b",\"applied\":")?;
    let applied = applied(at.string()?.of(at.text))?;
    let code = match at.optional_number(b",\"code\":")? {
        Some(code) => Some(u16::try_from(code).ok()?),
        None => None,
    };
    let place = match at.optional_string(b",\"place\":")? {
        Some(place) => Some(names.intern(place.of(at.text))?),
        None => None,
    };
    let link = match at.optional_string(b",\"link\":")? {
        Some(link) => Some(names.intern(link.of(at.text))?),
        None => None,
    };
    let conn = at.optional_number(b",\"conn\":")?;
    at.optional_number(b",\"retry_in_ns\":")?;
    at.optional_string(b",\"why\":")?;
    at.expect(b"}")?;
    matches!(text.get(at.at), None | Some(b'\n')).then_some(Record {
        workload,
        class,
        op,
        attempt,
        hedge,
        last,
        access,
        key,
        value,
        replaced,
        due,
        start,
        connected,
        end,
        outcome,
        applied,
        code,
        place,
        link,
        conn,
        line: Text::new(from, at.at - from),
    })
}

/// The record of a line that serde read.
fn any_order(attempt: &Attempt, line: Text, names: &mut Names, extra: &mut Vec<u8>, extra_from: usize) -> Record {
    let mut keep = |text: &Option<Box<str>>| {
        text.as_ref().map(|text| {
            let from = extra_from + extra.len();
            extra.extend_from_slice(text.as_bytes());
            Text::new(from, text.len())
        })
    };
    let mut name = |name: &str| names.intern(name.as_bytes()).expect("a str is UTF-8");
    Record {
        workload: name(&attempt.workload),
        class: name(&attempt.class),
        op: attempt.op,
        attempt: attempt.attempt,
        hedge: attempt.hedge,
        last: attempt.last,
        access: attempt.access,
        key: keep(&attempt.key),
        value: keep(&attempt.value),
        replaced: keep(&attempt.replaced),
        due: attempt.due,
        start: attempt.start,
        connected: attempt.connected,
        end: attempt.end,
        outcome: attempt.outcome,
        applied: attempt.applied,
        code: attempt.code,
        place: attempt.place.as_deref().map(&mut name),
        link: attempt.link.as_deref().map(&mut name),
        conn: attempt.conn,
        line,
    }
}

/// A place in a text.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline]
    fn eat(&mut self, literal: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(literal);
        if found {
            self.at += literal.len();
        }
        found
    }

    #[inline]
    fn expect(&mut self, literal: &[u8]) -> Option<()> {
        self.eat(literal).then_some(())
    }

    /// A whole number without sign; none where it overflows.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let begin = self.at;
        let mut number = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        // JSON knows no leading zeros: `01` is left to serde, which refuses it.
        let leading_zero = self.at - begin > 1 && self.text[begin] == b'0';
        (self.at > begin && !leading_zero).then_some(number)
    }

    /// A string of plain ASCII without escapes.
    #[inline]
    fn string(&mut self) -> Option<Text> {
        self.expect(b"\"")?;
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || !(0x20..0x80).contains(&byte))?;
        if rest[len] != b'"' {
            return None;
        }
        let text = Text::new(self.at, len);
        self.at += len + 1;
        Some(text)
    }

    /// A number behind this key, if the key stands here; none if it does and no number follows.
    #[inline]
    fn optional_number(&mut self, key: &[u8]) -> Option<Option<u64>> {
        if self.eat(key) { self.number().map(Some) } else { Some(None) }
    }

    #[inline]
    fn optional_string(&mut self, key: &[u8]) -> Option<Option<Text>> {
        if self.eat(key) { self.string().map(Some) } else { Some(None) }
    }
}

fn outcome(word: &[u8]) -> Option<Outcome> {
    Outcome::ALL.into_iter().find(|outcome| outcome.name().as_bytes() == word)
}

fn applied(word: &[u8]) -> Option<Applied> {
    match word {
        b"yes" => Some(Applied::Yes),
        b"no" => Some(Applied::No),
        b"unknown" => Some(Applied::Unknown),
        _ => None,
    }
}

fn access(word: &[u8]) -> Option<Access> {
    match word {
        b"read" => Some(Access::Read),
        b"write" => Some(Access::Write),
        b"insert" => Some(Access::Insert),
        b"append" => Some(Access::Append),
        b"scan" => Some(Access::Scan),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn any_attempt() -> impl Strategy<Value = Attempt> {
        let text = || proptest::option::of("[a-zé\"\\\\\n#,0-9]{0,6}".prop_map(String::into_boxed_str));
        let name = || proptest::option::of("[a-z#]{1,6}".prop_map(Arc::<str>::from));
        let number = proptest::option::of(any::<u64>());
        let when = || (any::<u64>(), any::<u64>(), number.clone(), number.clone(), any::<u64>());
        let what = (0..Outcome::ALL.len(), 0..3usize, proptest::option::of(any::<u16>()));
        let access = proptest::option::of(prop::sample::select(vec![
            Access::Read,
            Access::Write,
            Access::Insert,
            Access::Append,
            Access::Scan,
        ]));
        let head = (name(), name(), any::<u64>(), any::<u32>(), any::<bool>(), any::<bool>());
        let tail = (name(), name(), number.clone(), number.clone(), text());
        (head, access, (text(), text(), text()), when(), what, tail).prop_map(
            |(head, access, (key, value, replaced), when, what, tail)| Attempt {
                workload: head.0.unwrap_or_else(|| "orders".into()),
                class: head.1.unwrap_or_else(|| "write".into()),
                op: head.2,
                attempt: head.3,
                hedge: head.4,
                last: head.5,
                access,
                key,
                value,
                replaced,
                due: Moment(when.0),
                start: Moment(when.1),
                connected: when.2.map(Moment),
                first_byte: when.3.map(Moment),
                end: Moment(when.4),
                outcome: Outcome::ALL[what.0],
                applied: [Applied::No, Applied::Unknown, Applied::Yes][what.1],
                code: what.2,
                place: tail.0,
                link: tail.1,
                conn: tail.2,
                retry_in: tail.3.map(Duration::from_nanos),
                why: tail.4,
            },
        )
    }

    /// Names and texts written out, to compare records of different batches.
    fn spelled(record: &Record, names: &Names, text: &[u8]) -> String {
        let names = names.all();
        let name = |name: Option<Name>| name.map(|name| names[name.0 as usize].clone());
        let part = |part: Option<Text>| part.map(|part| String::from_utf8_lossy(part.of(text)).into_owned());
        let named = [Some(record.workload), Some(record.class), record.place, record.link].map(name);
        let texts = [record.key, record.value, record.replaced, Some(record.line)].map(part);
        let zero = Text::new(0, 0);
        let rest = Record {
            workload: Name(0),
            class: Name(0),
            place: None,
            link: None,
            key: None,
            value: None,
            replaced: None,
            line: zero,
            ..*record
        };
        format!("{named:?} {texts:?} {rest:?}")
    }

    proptest! {
        #[test]
        fn both_parsers_read_the_same(attempt in any_attempt()) {
            let line = serde_json::to_vec(&attempt).unwrap();
            let (mut names, mut extra) = (Names::default(), Vec::new());
            let (len, read) = read(&line, 0, &mut names, &mut extra);
            let read = read.unwrap();
            prop_assert_eq!(len, line.len());
            let text = [line.as_slice(), &extra].concat();
            let (mut names_too, mut extra_too) = (Names::default(), Vec::new());
            let slow =
                any_order(&attempt, Text::new(0, line.len()), &mut names_too, &mut extra_too, line.len());
            let text_too = [line.as_slice(), &extra_too].concat();
            prop_assert_eq!(spelled(&read, &names, &text), spelled(&slow, &names_too, &text_too));
        }

        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&line, 0, &mut Names::default(), &mut Vec::new());
        }
    }

    const LINE: &str = r#"{"workload":"orders","class":"write","op":7,"attempt":1,"last":true,"due_ns":5,"start_ns":6,"end_ns":9,"outcome":"ok","applied":"yes","code":200,"place":"a#1","conn":3}"#;

    #[test]
    fn what_the_recorder_writes_takes_the_fast_way() {
        let record = canonical(LINE.as_bytes(), 0, &mut Names::default()).expect("canonical");
        assert_eq!((record.op, record.due, record.end, record.code), (7, Moment(5), Moment(9), Some(200)));
        let attempt: Attempt = serde_json::from_str(LINE).unwrap();
        assert_eq!(serde_json::to_string(&attempt).unwrap(), LINE, "the order of `Attempt` has changed");
    }

    #[test]
    fn a_line_in_another_order_is_read_all_the_same() {
        let line = LINE.replace(r#""class":"write","op":7"#, r#""op" : 7, "class":"write""#);
        assert_eq!(canonical(line.as_bytes(), 0, &mut Names::default()), None);
        let (_, record) = read(line.as_bytes(), 0, &mut Names::default(), &mut Vec::new());
        assert_eq!(record.unwrap().op, 7);
    }

    #[test]
    fn half_a_line_is_refused() {
        for len in 0..LINE.len() {
            let (read_len, record) = read(&LINE.as_bytes()[..len], 0, &mut Names::default(), &mut Vec::new());
            assert!(record.is_err() && read_len == len, "{len}");
            // Nor does it borrow from the next line.
            let text = [&LINE.as_bytes()[..len], b"\n", LINE.as_bytes()].concat();
            let (read_len, record) = read(&text, 0, &mut Names::default(), &mut Vec::new());
            assert!(record.is_err() && read_len == len, "{len}");
        }
    }
}
