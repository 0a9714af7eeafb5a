//! The small files of a run folder: the plan and the events of each run.

use std::fs;
use std::io;
use std::path::Path;

use super::order;
use crate::clock::Moment;
use crate::event::{EVENTS_FILE, Event, PLAN_FILE};
use crate::measure::MeasureError;
use crate::plan::Plan;

/// Reads `plan.json`, without which nothing can be measured.
pub(crate) fn plan(dir: &Path) -> Result<Plan, MeasureError> {
    let path = dir.join(PLAN_FILE);
    let text = fs::read(&path).map_err(|source| MeasureError::Read { path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| MeasureError::Plan { path, source })
}

/// Reads a run's events, in the order of the file; lines that are none are named in `missing`.
pub(crate) fn events(dir: &Path, missing: &mut Vec<String>) -> Result<Vec<Event>, MeasureError> {
    let path = dir.join(EVENTS_FILE);
    match fs::read(&path) {
        Ok(text) => Ok(parse(&text, missing)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            missing.push(format!("{EVENTS_FILE} is not there"));
            Ok(Vec::new())
        }
        Err(source) => Err(MeasureError::Read { path, source }),
    }
}

/// No run lasts a year: a later moment is garbage, and would stretch every figure that looks up to the last event.
const BEYOND_ANY_RUN: Moment = Moment(366 * 86_400 * 1_000_000_000);

fn event(line: &[u8]) -> Result<Event, String> {
    let event: Event = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if event.at >= BEYOND_ANY_RUN {
        return Err(format!("at_ns is {}, beyond any run", event.at.0));
    }
    Ok(event)
}

fn parse(text: &[u8], missing: &mut Vec<String>) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut bad, mut first_bad) = (0, None);
    for (number, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            missing.push(format!("{EVENTS_FILE} is cut off in line {}", number + 1));
        }
        match event(line) {
            Ok(event) => events.push(event),
            Err(_) if !line.ends_with(b"\n") || line.trim_ascii().is_empty() => {}
            Err(error) => {
                bad += 1;
                first_bad.get_or_insert_with(|| format!("line {}: {error}", number + 1));
            }
        }
    }
    missing.extend(first_bad.map(|error| format!("{bad} lines of {EVENTS_FILE} are no events, the first one {error}")));
    without_impossible(events, missing)
}

/// Leaves out what cannot have happened when it says, and names it.
fn without_impossible(mut events: Vec<Event>, missing: &mut Vec<String>) -> Vec<Event> {
    let possible = order::possible(&events);
    let mut impossible = events.iter().zip(&possible).filter(|(_, possible)| !**possible).map(|(event, _)| event.at);
    if let Some(first) = impossible.next() {
        let count = 1 + impossible.count();
        missing
            .push(format!("{count} events of {EVENTS_FILE} cannot have happened when they say, the first at {first}"));
        let mut possible = possible.into_iter();
        events.retain(|_| possible.next().unwrap_or(true));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::What;

    fn lines(lines: &[&str]) -> (Vec<Event>, Vec<String>) {
        let mut missing = Vec::new();
        (parse(lines.join("\n").as_bytes(), &mut missing), missing)
    }

    const START: &str = r#"{"at_ns":1,"event":"load_ended"}"#;
    const END: &str = r#"{"at_ns":2,"event":"run_ended"}"#;

    #[test]
    fn events_come_in_the_order_of_the_file() {
        let (events, missing) = lines(&[START, END, ""]);
        assert_eq!(events[0], Event { at: Moment(1), what: What::LoadEnded });
        assert_eq!((events.len(), missing.len()), (2, 0));
    }

    #[test]
    fn a_line_that_was_cut_off_is_named() {
        let (events, missing) = lines(&[START, &END[..9]]);
        assert_eq!(events.len(), 1);
        assert_eq!(missing, ["events.jsonl is cut off in line 2"]);
    }

    #[test]
    fn a_line_that_is_no_event_costs_only_itself() {
        let (events, missing) = lines(&[START, "\u{0}\u{0}", r#"{"at_ns":3,"event":"unheard_of"}"#, END, ""]);
        assert_eq!(events.len(), 2);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("2 lines of events.jsonl are no events, the first one line 2"), "{missing:?}");
    }

    #[test]
    fn a_moment_beyond_any_run_is_garbage() {
        for at in [1u64 << 63, (1 << 63) - 1, u64::MAX] {
            let garbage = format!(r#"{{"at_ns":{at},"event":"load_ended"}}"#);
            let (events, missing) = lines(&[START, &garbage, END, ""]);
            assert_eq!(events.len(), 2);
            let said =
                format!("1 lines of events.jsonl are no events, the first one line 2: at_ns is {at}, beyond any run");
            assert_eq!(missing, [said]);
        }
    }
}
