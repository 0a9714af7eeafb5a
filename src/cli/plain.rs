//! A plain line for each thing that happens in a run, where nobody can see the live view.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Moment;
use crate::event::{Event, What};

/// Lines wait so long for those that belong above them: what takes its time is told when it is done, with the moment at
/// which it began. Ending a process takes some milliseconds, on a busy machine some tens of them.
const WAIT: Duration = Duration::from_millis(250);

/// Lines on their way out, in the order of their moments.
pub(super) struct PlainLines {
    /// Of the run that is told; a line may name a file in it.
    dir: PathBuf,
    /// By moment; of one moment a fault stands above what it did, and all else as it came.
    held: BTreeMap<(Moment, bool, u64), String>,
    count: u64,
}

impl PlainLines {
    pub(super) fn of(dir: &Path) -> PlainLines {
        PlainLines { dir: dir.to_owned(), held: BTreeMap::new(), count: 0 }
    }

    /// Takes an event and gives the lines that are due by its moment; all of them when the run ends.
    pub(super) fn take(&mut self, event: &Event) -> Vec<String> {
        if let Some(line) = plain_line(event, &self.dir) {
            self.count += 1;
            let consequence = !matches!(event.what, What::FaultInjected { .. });
            self.held.insert((event.at, consequence, self.count), line);
        }
        let later = match event.what {
            What::RunEnded => BTreeMap::new(),
            _ => self.held.split_off(&(event.at - WAIT, false, 0)),
        };
        std::mem::replace(&mut self.held, later).into_values().collect()
    }
}

/// A plain line for what a log should keep of the run in `dir`; none for what is not worth one.
fn plain_line(event: &Event, dir: &Path) -> Option<String> {
    let text = match &event.what {
        What::PhaseStarted { phase, .. } => format!("phase {phase}"),
        What::FaultInjected { fault, kind, hit, .. } => {
            let hit: Vec<&str> = hit.links.iter().chain(&hit.nodes).map(String::as_str).collect();
            let on = if hit.is_empty() { String::new() } else { format!(" on {}", hit.join(", ")) };
            format!("fault {fault} ({kind}) injected{on}")
        }
        What::FaultHealed { fault, proof, .. } => {
            format!("fault {fault} healed{}", if proof.real { "" } else { ", with no proof that it was real" })
        }
        What::Node { node, state, role, .. } => {
            format!("{node} is {state}{}", role.as_ref().map(|role| format!(", {role}")).unwrap_or_default())
        }
        What::NodeEnded { node, how, .. } => format!("{node} {how} by itself; see {}/logs/{node}.log", dir.display()),
        What::Milestone { milestone, node, .. } => format!("{} ({node})", milestone.label()),
        What::Stopped { detail, .. } => format!("stopping: {detail}"),
        What::Note { text } => text.clone(),
        _ => return None,
    };
    Some(format!("  {:>8.3} s  {text}", event.at.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Hit, Proof};

    fn at(ms: u64, what: What) -> Event {
        Event { at: Moment::from_millis(ms), what }
    }

    fn gone(ms: u64) -> Event {
        at(ms, What::Node { node: "db".into(), incarnation: 1, state: "gone".into(), role: None })
    }

    fn killed(ms: u64) -> Event {
        let hit = Hit { nodes: vec!["db".into()], ..Hit::default() };
        let moment = Moment::from_millis(ms);
        let (fault, kind) = ("crash".into(), "kill".into());
        let what = What::FaultInjected {
            fault,
            kind,
            planned: moment,
            last_hit: moment,
            hit,
            mechanism: None,
            in_flight_bytes: 0,
        };
        at(ms, what)
    }

    #[test]
    fn a_kill_stands_above_what_it_did() {
        for struck in [3_000, 2_990] {
            let mut lines = PlainLines::of(Path::new("runs/x"));
            assert!(lines.take(&at(2_000, What::Note { text: "well".into() })).is_empty());
            // Told as it happened, before the kill is told to be done.
            assert_eq!(lines.take(&gone(3_000)), ["     2.000 s  well"]);
            assert!(lines.take(&killed(struck)).is_empty());
            assert!(lines.take(&at(3_200, What::Clock { wall_ns: 1 })).is_empty());
            let told = lines.take(&at(3_300, What::Clock { wall_ns: 1 }));
            assert!(
                told[0].ends_with("fault crash (kill) injected on db") && told[1].ends_with("db is gone"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn the_end_lets_everything_out() {
        let mut lines = PlainLines::of(Path::new("runs/x"));
        lines.take(&at(10, What::FaultHealed { fault: "a".into(), planned: Moment(0), proof: Proof::default() }));
        assert_eq!(lines.take(&at(20, What::RunEnded)).len(), 1);
    }

    #[test]
    fn a_process_that_ended_names_the_log_in_the_folder_of_its_own_run() {
        let what = What::NodeEnded { node: "web".into(), how: "exited with status 7".into(), last_lines: Vec::new() };
        let line = plain_line(&Event { at: Moment::from_millis(320), what }, Path::new("runs/x/life=short")).unwrap();
        assert_eq!(line, "     0.320 s  web exited with status 7 by itself; see runs/x/life=short/logs/web.log");
    }
}
