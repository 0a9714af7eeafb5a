//! Where a body ends, read in pieces of any size.

/// What a head announces as the body behind it, and how much of that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, each with its length before it.
    Chunked(Chunked),
    /// All up to the close.
    UntilClose,
}

/// What was met at the end of the bytes just read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing: there is more to come.
    More,
    /// The data of a chunk is whole.
    Chunk,
    /// The last, empty chunk was announced.
    LastChunk,
    /// The body is whole.
    End,
}

/// Bytes that are no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Body {
    /// No body at all.
    pub(super) const NONE: Body = Body::Length(0);

    /// A chunked body that begins.
    pub(super) fn chunked() -> Body {
        Body::Chunked(Chunked { state: State::Size { digits: 0, size: 0 }, line: 0 })
    }

    /// Reads up to the next mark: how many bytes, and which. Without bytes it tells whether the body is whole.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, Mark), Malformed> {
        match self {
            Body::Length(left) => {
                let read = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= read as u64;
                Ok((read, if *left == 0 { Mark::End } else { Mark::More }))
            }
            Body::Chunked(chunked) => chunked.read(bytes),
            Body::UntilClose => Ok((bytes.len(), Mark::More)),
        }
    }

    /// How many bytes of the body need not be looked at: all before the one that may end it, or change its course.
    pub(super) fn opaque(&self) -> u64 {
        match self {
            Body::Length(left) => *left,
            Body::Chunked(Chunked { state: State::Data(left), .. }) => left.saturating_sub(1),
            Body::Chunked(_) => 0,
            Body::UntilClose => u64::MAX,
        }
    }

    /// So many bytes, at most those that are opaque, went by unseen.
    pub(super) fn skip(&mut self, bytes: u64) {
        if let Body::Length(left) | Body::Chunked(Chunked { state: State::Data(left), .. }) = self {
            *left = left.saturating_sub(bytes);
        }
    }
}

/// A chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// How long the line being read is so far.
    line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hexadecimal length of a chunk.
    Size { digits: u8, size: u64 },
    /// Behind it, up to the end of the line.
    Extension { size: u64 },
    /// In its data; so much is missing.
    Data(u64),
    /// Behind its data, before the end of the line.
    DataEnd,
    /// In the trailer, at the start of a line or within one.
    Trailer { blank: bool },
    /// Behind all of it.
    End,
}

/// No line of the framing is longer: an extension, or one trailer.
const LONGEST_LINE: u32 = 16 * 1024;

impl Chunked {
    fn read(&mut self, bytes: &[u8]) -> Result<(usize, Mark), Malformed> {
        let mut read = 0;
        while self.state != State::End {
            if let State::Data(left) = &mut self.state {
                let rest = bytes.len() - read;
                let taken = usize::try_from(*left).map_or(rest, |left| left.min(rest));
                *left -= taken as u64;
                read += taken;
                if *left > 0 {
                    return Ok((read, Mark::More));
                }
                self.state = State::DataEnd;
                return Ok((read, Mark::Chunk));
            }
            let Some(&byte) = bytes.get(read) else { return Ok((read, Mark::More)) };
            read += 1;
            self.line += 1;
            if byte == b'\n' {
                self.line = 0;
            } else if self.line > LONGEST_LINE {
                return Err(Malformed);
            }
            let state = self.state;
            self.state = step(state, byte)?;
            if self.state == (State::Trailer { blank: true }) && !matches!(state, State::Trailer { .. }) {
                return Ok((read, Mark::LastChunk));
            }
        }
        Ok((read, Mark::End))
    }
}

/// One byte outside of data. A bare line feed ends a line as well, as servers take it.
fn step(state: State, byte: u8) -> Result<State, Malformed> {
    let opened = |size| if size == 0 { State::Trailer { blank: true } } else { State::Data(size) };
    match (state, byte) {
        (State::Size { digits: 0, .. }, b'\r' | b'\n' | b';' | b' ' | b'\t') => Err(Malformed),
        (State::Size { size, .. } | State::Extension { size }, b'\n') => Ok(opened(size)),
        (State::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => Ok(State::Extension { size }),
        (State::Size { digits, size }, _) => match char::from(byte).to_digit(16) {
            // 15 digits are beyond any body, and cannot overflow.
            Some(digit) if digits < 15 => Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }),
            _ => Err(Malformed),
        },
        (State::Extension { .. }, _) => Ok(state),
        (State::DataEnd, b'\r') => Ok(state),
        (State::DataEnd, b'\n') => Ok(State::Size { digits: 0, size: 0 }),
        (State::Trailer { blank: true }, b'\n') => Ok(State::End),
        (State::Trailer { blank: true }, b'\r') => Ok(state),
        (State::Trailer { .. }, _) => Ok(State::Trailer { blank: byte == b'\n' }),
        (State::DataEnd | State::Data(_) | State::End, _) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks met, and the bytes left over, when read in pieces of this size.
    fn read(mut body: Body, text: &str, piece: usize) -> Result<(Vec<Mark>, String), Malformed> {
        let (mut marks, bytes) = (Vec::new(), text.as_bytes());
        let (mut at, mut end) = (0, piece.min(bytes.len()));
        loop {
            let (read, mark) = body.read(&bytes[at..end])?;
            at += read;
            if mark != Mark::More {
                marks.push(mark);
            }
            if mark == Mark::End || (at == bytes.len() && mark == Mark::More) {
                return Ok((marks, text[at..].to_owned()));
            }
            if at == end {
                end = (at + piece).min(bytes.len());
            }
        }
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends_however_it_is_cut() {
        use Mark::{Chunk, End, LastChunk};
        let cases = [
            ("5\r\nhello\r\n0\r\n\r\nNEXT", vec![Chunk, LastChunk, End]),
            ("A;name=\"x\"\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\nNEXT", vec![Chunk, Chunk, LastChunk, End]),
            ("0\r\nX-Sum: 1\r\nY: 2\r\n\r\nNEXT", vec![LastChunk, End]),
            ("3\nabc\n0\n\nNEXT", vec![Chunk, LastChunk, End]),
            ("000\r\n\r\nNEXT", vec![LastChunk, End]),
        ];
        for (text, marks) in cases {
            for piece in 1..text.len() {
                assert_eq!(read(Body::chunked(), text, piece), Ok((marks.clone(), "NEXT".into())), "{text} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_chunked_body_is_said_to_be_none() {
        for text in ["x\r\n", "\r\n", "1\r\nab\r\n", "ffffffffffffffff\r\n", "-1\r\n"] {
            assert_eq!(read(Body::chunked(), text, 100), Err(Malformed), "{text}");
        }
        let endless = format!("5;{}", "x".repeat(20_000));
        assert_eq!(read(Body::chunked(), &endless, 1000), Err(Malformed));
    }

    #[test]
    fn a_counted_body_ends_at_its_length() {
        assert_eq!(read(Body::Length(5), "helloNEXT", 2), Ok((vec![Mark::End], "NEXT".into())));
        assert_eq!(Body::Length(0).read(b"x"), Ok((0, Mark::End)));
    }

    #[test]
    fn opaque_bytes_may_go_by_unseen() {
        let mut body = Body::chunked();
        assert_eq!(body.read(b"64\r\n0123"), Ok((8, Mark::More)));
        assert_eq!(body.opaque(), 95);
        body.skip(95);
        assert_eq!(body.read(b"x\r\n0\r\n\r\n"), Ok((1, Mark::Chunk)));
        let mut body = Body::Length(10);
        body.skip(10);
        assert_eq!(body.read(b""), Ok((0, Mark::End)));
    }
}
