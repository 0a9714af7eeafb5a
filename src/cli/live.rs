//! The live view: what a person sees while a run lasts.
//!
//! Five lines, drawn again ten times a second; where there is no terminal, [`plain`](super::plain) lines stand in for
//! them. It only reads the run's [`Pulse`]; its one deed is to ask for a stop when `q` is pressed.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::event::{Event as Input, KeyCode, KeyModifiers};
use crossterm::{cursor, execute, queue, terminal};

use crate::event::StopReason;
use crate::run::{Beat, Pulse, StopSwitch};
use crate::units::Span;

/// How often the view is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// The view of one plan's runs; dropping it leaves the terminal as it was.
pub(super) struct LiveView {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LiveView {
    /// Draws on stderr until dropped, if stderr is a terminal.
    pub(super) fn start(pulse: Pulse, stop: StopSwitch, colour: bool) -> Option<LiveView> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("live-view".into())
            .spawn({
                let done = done.clone();
                move || {
                    if let Err(error) = draw_until(&done, &pulse, &stop, colour) {
                        tracing::warn!(%error, "the live view ended");
                    }
                }
            })
            .ok()?;
        Some(LiveView { done, thread: Some(thread) })
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Leaves raw mode on every way out, a panic included.
struct RawMode;

impl RawMode {
    fn enter() -> Option<RawMode> {
        (io::stdin().is_terminal() && terminal::enable_raw_mode().is_ok()).then_some(RawMode)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

fn draw_until(done: &AtomicBool, pulse: &Pulse, stop: &StopSwitch, colour: bool) -> io::Result<()> {
    let keys = RawMode::enter();
    let mut out = io::stderr();
    let mut drawn = 0u16;
    while !done.load(Ordering::Relaxed) {
        let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let lines = lines(&pulse.read(), width, colour, keys.is_some());
        erase(&mut out, drawn)?;
        for line in &lines {
            // Raw mode needs the carriage return.
            write!(out, "{line}\r\n")?;
        }
        out.flush()?;
        drawn = lines.len() as u16;
        if keys.is_some() && crossterm::event::poll(FRAME)? {
            if let Input::Key(key) = crossterm::event::read()? {
                let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') => stop.request(StopReason::Interrupt, "`q` was pressed"),
                    // Raw mode keeps the terminal from sending the signal; the second one ends at once as ever.
                    _ if interrupt => {
                        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
                    }
                    _ => {}
                }
            }
        } else if keys.is_none() {
            std::thread::sleep(FRAME);
        }
    }
    erase(&mut out, drawn)
}

fn erase(out: &mut impl Write, lines: u16) -> io::Result<()> {
    if lines > 0 {
        queue!(out, cursor::MoveToPreviousLine(lines))?;
    }
    execute!(out, terminal::Clear(terminal::ClearType::FromCursorDown))
}

/// The view as lines no wider than `width`.
fn lines(beat: &Beat, width: usize, colour: bool, keys: bool) -> Vec<String> {
    let mut lines = vec![Line::default()];
    let which = if beat.runs > 1 { format!("{}/{} {}", beat.run, beat.runs, beat.variant) } else { String::new() };
    let doing = if beat.doing.is_empty() { phase_bar(beat) } else { beat.doing.clone() };
    let seconds = beat.now.since_start().as_secs();
    lines.push(Line::plain(format!("  {which:<20} {doing}  {:02}:{:02}", seconds / 60, seconds % 60)));
    for workload in &beat.workloads {
        let success = workload.success.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let latency = |latency: Option<Duration>| latency.map_or("-".to_owned(), |value| rounded(value).to_string());
        let bad = workload.success.is_some_and(|share| share < 0.999);
        let mut line = Line::plain(format!("      {}   {:.0}/s   ", workload.name, workload.rate));
        line.add(if bad { RED } else { GREEN }, format!("ok {success}"));
        line.add("", format!("   p50 {}   p99 {}", latency(workload.p50), latency(workload.p99)));
        lines.push(line);
    }
    let in_force: Vec<String> = beat.in_force.iter().map(|(name, heals)| in_force(beat, name, *heals)).collect();
    let in_force = in_force.join(", ");
    let room = width.saturating_sub(8 + in_force.chars().count() + 3).clamp(10, 60);
    let mut line = Line::plain(format!("      {}   ", sparkline(&beat.trouble, room)));
    line.add(YELLOW, in_force);
    lines.push(line);
    let mut line = Line::plain("      ".to_owned());
    line.add(DIM, if keys { "q stops and heals everything" } else { "Ctrl-C stops and heals everything" }.to_owned());
    lines.push(line);
    lines.iter().map(|line| line.render(width, colour)).collect()
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";

/// A line of parts, each with its colour; none: an empty text.
#[derive(Default)]
struct Line(Vec<(&'static str, String)>);

impl Line {
    fn plain(text: String) -> Line {
        Line(vec![("", text)])
    }

    fn add(&mut self, colour: &'static str, text: String) {
        self.0.push((colour, text));
    }

    /// Cut to the width: a line that wrapped would be erased wrongly.
    fn render(&self, width: usize, colour: bool) -> String {
        let mut room = width;
        let mut line = String::new();
        for (code, text) in &self.0 {
            let text: String = text.chars().take(room).collect();
            room -= text.chars().count();
            if colour && !code.is_empty() && !text.is_empty() {
                line += &format!("\x1b[{code}m{text}\x1b[0m");
            } else {
                line += &text;
            }
        }
        line
    }
}

fn in_force(beat: &Beat, name: &str, heals: Option<crate::clock::Moment>) -> String {
    match heals {
        Some(at) => format!("{name} in force, heals in {:.1} s", at.saturating_since(beat.now).as_secs_f64()),
        None => format!("{name} in force"),
    }
}

/// Each phase with its name and a bar as long as it lasts, full up to now.
fn phase_bar(beat: &Beat) -> String {
    let total = beat.phases.last().map_or(1.0, |(_, _, end)| end.as_secs_f64().max(0.1));
    let mut bar = String::new();
    for (name, start, end) in &beat.phases {
        let cells = ((end.as_secs_f64() - start.as_secs_f64()) / total * 36.0).round().max(1.0) as usize;
        let past = match end.saturating_since(*start).as_secs_f64() {
            0.0 => 1.0,
            length => (beat.now.saturating_since(*start).as_secs_f64() / length).min(1.0),
        };
        let full = (past * cells as f64) as usize;
        bar += &format!("{name} {}{} ", "━".repeat(full), "╌".repeat(cells - full));
    }
    bar.trim_end().to_owned()
}

/// Trouble over the load so far, from nothing to everything.
fn sparkline(trouble: &[f32], room: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let per_cell = trouble.len().div_ceil(room).max(1);
    let level = |share: f32| LEVELS[((share * 7.0).ceil() as usize).min(7)];
    trouble.chunks(per_cell).map(|cell| level(cell.iter().copied().fold(0.0, f32::max))).collect()
}

/// Two significant digits are enough for a glance.
fn rounded(latency: Duration) -> Span {
    let ns = latency.as_nanos() as f64;
    if ns == 0.0 {
        return Span(latency);
    }
    let scale = 10f64.powf(ns.log10().floor() - 1.0);
    Span(Duration::from_nanos(((ns / scale).round() * scale) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::run::WorkloadBeat;

    fn beat() -> Beat {
        let phase = |name: &str, from, to| (name.to_owned(), Moment::from_millis(from), Moment::from_millis(to));
        Beat {
            run: 1,
            runs: 3,
            variant: "retry=none".into(),
            phases: vec![phase("baseline", 0, 3_000), phase("fault", 3_000, 6_000), phase("recovery", 6_000, 9_000)],
            now: Moment::from_millis(4_500),
            workloads: vec![WorkloadBeat {
                name: "orders".into(),
                rate: 498.0,
                success: Some(0.712),
                p50: Some(Duration::from_micros(1_130)),
                p99: Some(Duration::from_millis(250)),
            }],
            in_force: vec![("cut".into(), Some(Moment::from_millis(6_000)))],
            trouble: vec![0.0, 0.0, 0.0, 1.0, 0.5],
            ..Beat::default()
        }
    }

    #[test]
    fn a_glance_tells_phase_users_and_what_is_broken() {
        let lines = lines(&beat(), 100, false, true);
        assert_eq!(
            lines[1],
            "  1/3 retry=none       baseline ━━━━━━━━━━━━ fault ━━━━━━╌╌╌╌╌╌ recovery ╌╌╌╌╌╌╌╌╌╌╌╌  00:04"
        );
        assert_eq!(lines[2], "      orders   498/s   ok 71.2 %   p50 1.1ms   p99 250ms");
        assert_eq!(lines[3], "      ▁▁▁█▅   cut in force, heals in 1.5 s");
        assert_eq!(lines[4], "      q stops and heals everything");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        assert!(lines(&beat(), 40, false, false).iter().all(|line| line.chars().count() <= 40));
        let coloured = lines(&beat(), 40, true, false);
        assert!(coloured[2].contains("\x1b[31mok 71.2 %\x1b[0m"), "{:?}", coloured[2]);
    }
}
