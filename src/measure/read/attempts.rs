//! Reads `attempts.jsonl.zst`: frames are decompressed and parsed side by side and handed over in the file's order.
//!
//! ```text
//!            ┌─▶ worker: frame 1, 3, … ─▶ batches ─┐
//! cut frames ┤                                      ├─▶ in order ─▶ caller
//!            └─▶ worker: frame 2, 4, … ─▶ batches ─┘
//! ```
//! Each frame has a short queue of batches of its own. The caller empties the front one; a worker that is ahead
//! fills its queue and waits. So memory stays bounded, whatever the size of a frame or of the file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::frames::{Damage, Frame, Frames};
use super::record::{self, Names, Record};

/// The text of one batch: some thousands of attempts.
const BATCH_BYTES: usize = 1 << 20;

/// Batches that wait for the caller, for each frame; a frame of a usual run fits.
const BATCHES_AHEAD: usize = 4;

/// Threads that decompress and parse; more than two only wait for the caller.
const WORKERS: usize = 2;

/// Some attempts, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The lines, which the texts of `records` point into.
    pub(crate) text: Vec<u8>,
    /// The names that `records` speak of.
    pub(crate) names: Vec<Arc<str>>,
    /// The attempts.
    pub(crate) records: Vec<Record>,
    /// What could not be read, in words.
    pub(crate) missing: Vec<String>,
}

/// Reads every attempt of a file and hands it over in batches; damage is told in [`Batch::missing`].
pub(crate) fn each_batch(path: &Path, mut take: impl FnMut(Batch)) -> io::Result<()> {
    let mut frames = Frames::new(File::open(path)?);
    let (work, jobs) = sync_channel::<(Frame, SyncSender<Batch>)>(WORKERS);
    let jobs = Mutex::new(jobs);
    let (order, ordered) = sync_channel::<Receiver<Batch>>(2 * WORKERS);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut names = Names::default();
                loop {
                    let job = jobs.lock().expect("no worker panics while it holds the queue").recv();
                    let Ok((frame, batches)) = job else { return };
                    decode(&frame, &mut names, &batches);
                }
            });
        }
        let cutter = scope.spawn(move || -> io::Result<()> {
            while let Some(frame) = frames.next()? {
                let (batches, receiver) = sync_channel(BATCHES_AHEAD);
                if order.send(receiver).is_err() || work.send((frame, batches)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        for frame in ordered {
            frame.into_iter().for_each(&mut take);
        }
        cutter.join().expect("cutting frames does not panic")
    })
}

/// Decompresses and parses one frame.
fn decode(frame: &Frame, names: &mut Names, batches: &SyncSender<Batch>) {
    let at = frame.offset;
    if frame.damage == Some(Damage::Garbage) {
        let missing = format!("{} bytes from byte {at} on are damaged and were skipped", frame.bytes.len());
        return send(batches, Batch { missing: vec![missing], ..Batch::default() });
    }
    let mut reader = match zstd::Decoder::with_buffer(frame.bytes.as_slice()) {
        Ok(reader) => reader.single_frame(),
        Err(error) => return send(batches, unreadable(at, &error)),
    };
    let mut rest = Vec::new();
    loop {
        let mut text = std::mem::take(&mut rest);
        text.reserve(BATCH_BYTES);
        // What was decompressed before an error stays in `text`.
        let result = (&mut reader).take(BATCH_BYTES as u64).read_to_end(&mut text);
        let ended = !matches!(result, Ok(read) if read > 0);
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        rest = text.split_off(whole);
        let mut batch = parse(text, names, at);
        if ended {
            let cut_off = !rest.is_empty() || result.is_err() || frame.damage.is_some();
            batch.missing.extend(cut_off.then(|| {
                let rest = if frame.damage.is_some() { "the file is cut off" } else { "the rest is damaged" };
                format!("the frame at byte {at} could be read in part only: {rest}")
            }));
        }
        send(batches, batch);
        if ended {
            return;
        }
    }
}

fn unreadable(at: u64, error: &io::Error) -> Batch {
    Batch { missing: vec![format!("the frame at byte {at} cannot be read: {error}")], ..Batch::default() }
}

/// A caller that is gone wants no more; the worker then finds its queue closed too.
fn send(batches: &SyncSender<Batch>, batch: Batch) {
    let _ = batches.send(batch);
}

/// Parses whole lines.
fn parse(mut text: Vec<u8>, names: &mut Names, frame: u64) -> Batch {
    // A line of an attempt takes some 200 bytes.
    let mut records = Vec::with_capacity(text.len() / 160);
    let mut extra = Vec::new();
    let (mut bad, mut first_bad) = (0, None);
    let mut from = 0;
    while from < text.len() {
        let (len, record) = record::read(&text, from, names, &mut extra);
        match record {
            Ok(record) => records.push(record),
            Err(_) if len == 0 => {}
            Err(error) => {
                bad += 1;
                first_bad.get_or_insert_with(|| error.to_string());
            }
        }
        from += len + 1;
    }
    text.append(&mut extra);
    let missing = first_bad
        .map(|error| format!("{bad} lines of the frame at byte {frame} are no attempts, the first one: {error}"))
        .into_iter()
        .collect();
    Batch { text, names: names.all(), records, missing }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(op: u64) -> String {
        format!(
            r#"{{"workload":"w","class":"read","op":{op},"attempt":1,"last":true,"due_ns":{op},"start_ns":{op},"end_ns":{op},"outcome":"ok","applied":"yes"}}"#
        ) + "\n"
    }

    fn frame(ops: std::ops::Range<u64>) -> Vec<u8> {
        zstd::encode_all(ops.map(line).collect::<String>().as_bytes(), 1).unwrap()
    }

    fn read(file: &[u8]) -> (Vec<u64>, Vec<String>) {
        let mut path = tempfile::NamedTempFile::new().unwrap();
        path.write_all(file).unwrap();
        let (mut ops, mut missing) = (Vec::new(), Vec::new());
        each_batch(path.path(), |mut batch| {
            ops.extend(batch.records.iter().map(|record| record.op));
            missing.append(&mut batch.missing);
        })
        .unwrap();
        (ops, missing)
    }

    #[test]
    fn attempts_come_in_the_order_of_the_file() {
        let sizes = [10, 30_000, 1, 0, 500, 20_000];
        let mut file = Vec::new();
        let mut next = 0;
        for size in sizes {
            file.extend(frame(next..next + size));
            next += size;
        }
        assert_eq!(read(&file), ((0..next).collect(), vec![]));
    }

    #[test]
    fn a_file_that_was_cut_off_is_read_as_far_as_it_goes() {
        // The second frame holds several blocks of 128 KiB; cut in its middle, the first of them are whole.
        let file = [frame(0..100), frame(100..10_100)].concat();
        let cut = &file[..file.len() / 2];
        let (ops, missing) = read(cut);
        assert!(ops.len() > 1_000 && ops.len() < 10_100, "{}", ops.len());
        assert_eq!(ops, (0..ops.len() as u64).collect::<Vec<_>>());
        let at = frame(0..100).len();
        assert_eq!(missing, [format!("the frame at byte {at} could be read in part only: the file is cut off")]);
    }

    #[test]
    fn garbage_in_the_middle_is_named_and_skipped() {
        let first = frame(0..100);
        let file = [first.as_slice(), b"not a frame", &frame(100..200)].concat();
        let (ops, missing) = read(&file);
        assert_eq!(ops, (0..200).collect::<Vec<_>>());
        assert_eq!(missing, [format!("11 bytes from byte {} on are damaged and were skipped", first.len())]);
    }

    #[test]
    fn lines_that_are_no_attempts_are_counted() {
        let text = line(0) + "{}\n" + &line(1) + "rubbish\n";
        let (ops, missing) = read(&zstd::encode_all(text.as_bytes(), 1).unwrap());
        assert_eq!(ops, [0, 1]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("2 lines of the frame at byte 0 are no attempts"), "{missing:?}");
    }
}
