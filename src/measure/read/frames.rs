//! Cuts a file of attempts into its zstd frames, without decompressing them.
//!
//! A frame stands for itself, so frames can be decompressed side by side, and a damaged one costs only what is in it.

use std::io::{self, Read};

use zstd::zstd_safe::{find_frame_compressed_size, get_error_name};

/// How much is read at once; some frames of a fast run.
const READ_BYTES: usize = 1 << 20;

/// The first bytes of every zstd frame (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// One frame as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it starts in the file.
    pub(super) offset: u64,
    /// Its bytes; all that is left of it where `damage` says so.
    pub(super) bytes: Vec<u8>,
    /// What is wrong with it.
    pub(super) damage: Option<Damage>,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file ends before the frame does.
    Truncated,
    /// These bytes are no frame.
    Garbage,
}

/// The frames of a file, in order.
pub(super) struct Frames<R> {
    file: R,
    buffer: Vec<u8>,
    /// Where the buffer starts in the file.
    offset: u64,
    ended: bool,
}

/// What the buffer starts with.
enum Front {
    Whole(usize),
    Incomplete,
    Garbage,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(file: R) -> Frames<R> {
        Frames { file, buffer: Vec::new(), offset: 0, ended: false }
    }

    /// The next frame; none at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if self.buffer.is_empty() {
                self.fill()?;
                if self.buffer.is_empty() {
                    return Ok(None);
                }
            }
            match front(&self.buffer) {
                Front::Whole(size) => return Ok(Some(self.take(size, None))),
                Front::Incomplete if !self.ended => self.fill()?,
                Front::Incomplete => {
                    // Either the last frame was cut off, or damaged sizes point past the end of the file.
                    return Ok(Some(match whole_frame_behind(&self.buffer) {
                        Some(next) => self.take(next, Some(Damage::Garbage)),
                        None => self.take(self.buffer.len(), Some(Damage::Truncated)),
                    }));
                }
                Front::Garbage => match magic_behind(&self.buffer) {
                    Some(next) => return Ok(Some(self.take(next, Some(Damage::Garbage)))),
                    None if !self.ended => self.fill()?,
                    None => return Ok(Some(self.take(self.buffer.len(), Some(Damage::Garbage)))),
                },
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let read = (&mut self.file).take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.ended = read == 0;
        Ok(())
    }

    fn take(&mut self, size: usize, damage: Option<Damage>) -> Frame {
        let rest = self.buffer.split_off(size);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let frame = Frame { offset: self.offset, bytes, damage };
        self.offset += size as u64;
        frame
    }
}

fn front(buffer: &[u8]) -> Front {
    match find_frame_compressed_size(buffer) {
        Ok(size) => Front::Whole(size),
        // zstd's error codes carry no public numbers; their names are part of its interface.
        Err(code) if get_error_name(code) == "Src size is incorrect" => Front::Incomplete,
        Err(_) => Front::Garbage,
    }
}

/// Where the next frame may start.
fn magic_behind(buffer: &[u8]) -> Option<usize> {
    let behind = buffer.get(1..)?;
    behind.windows(MAGIC.len()).position(|window| window == MAGIC).map(|at| at + 1)
}

/// Where the next frame starts that is whole.
fn whole_frame_behind(buffer: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = magic_behind(&buffer[from..]) {
        from += at;
        if matches!(front(&buffer[from..]), Front::Whole(_)) {
            return Some(from);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 1).unwrap()
    }

    fn frames(file: &[u8]) -> Vec<(u64, usize, Option<Damage>)> {
        let mut frames = Frames::new(file);
        std::iter::from_fn(|| frames.next().unwrap()).map(|f| (f.offset, f.bytes.len(), f.damage)).collect()
    }

    #[test]
    fn frames_stand_one_behind_the_other() {
        let (a, b) = (frame("one\n"), frame("two\n"));
        let file = [a.clone(), b.clone()].concat();
        assert_eq!(frames(&file), [(0, a.len(), None), (a.len() as u64, b.len(), None)]);
        assert_eq!(frames(b""), []);
    }

    #[test]
    fn a_frame_larger_than_one_read_is_one_frame() {
        let mut dice = crate::seed::Seed(1).stream("noise");
        let noise: Vec<u8> = (0..3 * READ_BYTES).map(|_| dice.bits() as u8).collect();
        let file = zstd::encode_all(noise.as_slice(), 1).unwrap();
        assert_eq!(frames(&file), [(0, file.len(), None)]);
    }

    #[test]
    fn the_frame_at_which_the_file_was_cut_off_is_truncated() {
        let (a, b) = (frame("one\n"), frame("two\n"));
        let file = [a.as_slice(), &b[..b.len() - 2]].concat();
        let cut = (a.len() as u64, b.len() - 2, Some(Damage::Truncated));
        assert_eq!(frames(&file), [(0, a.len(), None), cut]);
    }

    #[test]
    fn garbage_in_the_middle_costs_only_itself() {
        let (a, b) = (frame("one\n"), frame("two\n"));
        let file = [a.as_slice(), b"garbage!", &b].concat();
        let (a, b) = (a.len(), b.len());
        let expected = [(0, a, None), (a as u64, 8, Some(Damage::Garbage)), (a as u64 + 8, b, None)];
        assert_eq!(frames(&file), expected);
    }

    #[test]
    fn a_damaged_size_does_not_swallow_the_frames_behind_it() {
        // The header of the first block (bytes 6 to 8 here) now announces 2 MiB.
        let mut a = frame("one\n");
        let header = a.len() - 4 - 3;
        a[header..header + 3].copy_from_slice(&[0xF8, 0xFF, 0xFF]);
        let b = frame("two\n");
        let found = frames(&[a.clone(), b.clone()].concat());
        assert_eq!(found.last(), Some(&(a.len() as u64, b.len(), None)), "{found:?}");
    }
}
