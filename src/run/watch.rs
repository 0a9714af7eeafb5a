//! The watch: what may end a run, looked at each 100 ms on a thread that carries no load.
//!
//! A guard that reads a starved runtime would never fire, so nothing here waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Moment, RunClock};
use crate::event::StopReason;
use crate::experiment::expectation::Condition;
use crate::experiment::metric::{Better, Metric};
use crate::plan::Guard;
use crate::workload::Window;

use super::stop::StopSwitch;

/// How often guards are evaluated: each tenth of the second that they look back ([`LOOK_BACK`]).
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The sliding window of a guard.
pub(super) const LOOK_BACK: Duration = Duration::from_secs(1);

/// One guard with what it has seen.
#[derive(Clone, Debug)]
pub(super) struct GuardWatch {
    condition: Condition,
    hold: Duration,
    since: Option<Moment>,
}

impl GuardWatch {
    /// A guard of a plan; its condition was checked when the experiment was read.
    pub(super) fn new(guard: &Guard) -> Option<GuardWatch> {
        let condition = Condition::parse(&guard.abort_if).ok()?;
        Some(GuardWatch { condition, hold: guard.hold.0, since: None })
    }

    /// The workload that it speaks of; none: each.
    pub(super) fn workload(&self) -> Option<&str> {
        self.condition.subject.workload.as_deref()
    }

    /// Tells it the last second; `Some` with the reason in words once the condition has held for long enough.
    pub(super) fn look(&mut self, now: Moment, window: &Window) -> Option<String> {
        let observed = live_value(self.condition.subject.metric, window);
        // No data is the worst value: what cannot be seen may be as bad as can be.
        let holds = match observed {
            Some(observed) => self.condition.op.holds(observed, self.condition.limit.base()),
            None => true,
        };
        if !holds {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        (now.saturating_since(since) >= self.hold).then(|| {
            let seen = observed.map_or("no data".to_owned(), |value| format!("{value:.4}"));
            format!("guard `{}` held for {}: last seen {seen}", self.condition, crate::units::Span(self.hold))
        })
    }
}

/// A metric over the last second, in its base unit; none without data.
///
/// Metrics that a gauge cannot tell are refused when the experiment is read (`Metric::is_live`).
fn live_value(metric: Metric, window: &Window) -> Option<f64> {
    let latency = |quantile| window.latency(quantile).map(|latency: Duration| latency.as_secs_f64());
    let count = |count: u64| (window.due > 0).then_some(count as f64);
    match metric {
        Metric::SuccessRate => window.success_rate(),
        Metric::Goodput | Metric::Ok => count(window.ok),
        Metric::Failed => count(window.failed + window.overdue),
        Metric::Operations => count(window.due),
        Metric::P50 => latency(0.50),
        Metric::P90 => latency(0.90),
        Metric::P95 => latency(0.95),
        Metric::P99 => latency(0.99),
        Metric::P999 => latency(0.999),
        Metric::Max => latency(1.0),
        _ => {
            debug_assert!(metric.better() != Better::Neither || !metric.is_live(), "{metric} has no live value");
            None
        }
    }
}

/// Something that the watch looks at; `Some` ends the run.
pub(super) type Look = Box<dyn FnMut(Moment) -> Option<(StopReason, String)> + Send>;

/// The thread that looks; it ends when dropped.
pub(super) struct Watch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks at everything each [`TICK`] and asks for a stop at the first reason.
    pub(super) fn start(clock: RunClock, stop: StopSwitch, mut looks: Vec<Look>) -> std::io::Result<Watch> {
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("watch".into()).spawn({
            let done = done.clone();
            move || {
                while !done.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                    let now = clock.now();
                    if let Some((reason, detail)) = looks.iter_mut().find_map(|look| look(now)) {
                        stop.request(reason, detail);
                        return;
                    }
                }
            }
        })?;
        Ok(Watch { done, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    fn guard(abort_if: &str, hold_ms: u64) -> GuardWatch {
        let hold = Span(Duration::from_millis(hold_ms));
        GuardWatch::new(&Guard { abort_if: abort_if.into(), hold }).unwrap()
    }

    fn window(ok: u64, failed: u64) -> Window {
        let mut window = Window::default();
        (window.due, window.ok, window.failed) = (ok + failed, ok, failed);
        window
    }

    const AT: fn(u64) -> Moment = Moment::from_millis;

    #[test]
    fn a_guard_fires_once_its_condition_has_held_for_its_time() {
        let mut guard = guard("orders.success_rate < 20%", 300);
        assert_eq!(guard.look(AT(100), &window(10, 90)), None);
        assert_eq!(guard.look(AT(200), &window(10, 90)), None);
        assert_eq!(guard.look(AT(300), &window(30, 70)), None, "a good look starts it over");
        assert_eq!(guard.look(AT(400), &window(10, 90)), None);
        assert_eq!(guard.look(AT(600), &window(10, 90)), None);
        let why = guard.look(AT(700), &window(10, 90)).unwrap();
        assert!(why.contains("orders.success_rate < 20%") && why.contains("300ms"), "{why}");
    }

    #[test]
    fn no_data_is_the_worst_value() {
        assert!(guard("success_rate < 20%", 0).look(AT(1), &Window::default()).is_some());
        assert!(guard("p99 > 1s", 0).look(AT(1), &Window::default()).is_some());
    }

    #[test]
    fn overdue_operations_count_as_failed() {
        let mut window = window(10, 0);
        (window.due, window.overdue) = (100, 90);
        assert!(guard("success_rate < 20%", 0).look(AT(1), &window).is_some());
    }

    #[test]
    fn the_watch_asks_for_a_stop_at_the_first_reason() {
        let stop = StopSwitch::default();
        let look: Look = Box::new(|_| Some((StopReason::Lease, "a lease ended".into())));
        let watch = Watch::start(RunClock::start(), stop.clone(), vec![look]).unwrap();
        let asked = |()| stop.requested().map(|(reason, _)| reason);
        while asked(()).is_none() {
            std::thread::yield_now();
        }
        drop(watch);
        assert_eq!(asked(()), Some(StopReason::Lease));
    }
}
