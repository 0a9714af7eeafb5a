//! Texts with the placeholders `{op}`, `{attempt}` and `{random}`, cut to pieces once.

use std::fmt::Write;

use crate::workload::client::Call;

/// A text to be filled in for each attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Op,
    Attempt,
    Random,
}

const PLACEHOLDERS: [(&str, Piece); 3] =
    [("{op}", Piece::Op), ("{attempt}", Piece::Attempt), ("{random}", Piece::Random)];

impl Template {
    pub(super) fn new(text: &str) -> Template {
        let mut pieces = vec![];
        let mut rest = text;
        loop {
            let next = PLACEHOLDERS
                .iter()
                .filter_map(|(mark, piece)| rest.find(mark).map(|at| (at, mark.len(), piece)))
                .min_by_key(|(at, ..)| *at);
            let (before, after) = next.map_or((rest, ""), |(at, length, _)| (&rest[..at], &rest[at + length..]));
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((_, _, piece)) = next else { return Template(pieces) };
            pieces.push(piece.clone());
            rest = after;
        }
    }

    /// The text, if it has no placeholder.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn fill(&self, call: &Call<'_>) -> String {
        let mut text = String::with_capacity(64);
        for piece in &self.0 {
            // Writing to a string cannot fail.
            let _ = match piece {
                Piece::Text(piece) => text.write_str(piece),
                Piece::Op => write!(text, "{}", call.op),
                Piece::Attempt => write!(text, "{}", call.attempt),
                Piece::Random => {
                    write!(text, "{:08x}", call.operations.random(call.op, call.attempt) as u32)
                }
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::workload::Operation;
    use crate::seed::Seed;
    use crate::units::Bytes;
    use crate::workload::operations::Operations;

    fn filled(text: &str, op: u64, attempt: u32) -> String {
        let operations = Operations::new(&Operation::Echo { size: Bytes(1) }, "w", Seed(7).stream("w"));
        let job = operations.job(op);
        let call = Call { op, attempt, job: &job, value: None, operations: &operations };
        Template::new(text).fill(&call)
    }

    #[test]
    fn placeholders_are_filled_in_and_nothing_else() {
        assert_eq!(filled("/a/{op}?n={attempt}&{x}={", 7, 2), "/a/7?n=2&{x}={");
        assert_eq!(Template::new("/plain").literal(), Some("/plain"));
        assert_eq!(Template::new("").literal(), Some(""));
        assert_eq!(Template::new("{op}").literal(), None);
    }

    #[test]
    fn random_is_eight_digits_of_the_attempt_s_own() {
        let first = filled("{random}", 7, 1);
        assert_eq!(first.len(), 8);
        assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(filled("{random}", 7, 1), first);
        assert_ne!(filled("{random}", 7, 2), first);
        assert_ne!(filled("{random}", 8, 1), first);
    }
}
