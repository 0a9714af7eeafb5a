//! The baseline's verdict: worked out on a thread of its own, and early enough that it is there when the baseline ends.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::recorder::Recorder;
use crate::clock::Moment;
use crate::plan::Phases;

/// Tells from the files so far whether the baseline holds its own expectations; else what does not hold.
pub type JudgeBaseline = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Judging has this part of the time that the load had so far.
///
/// One second of 20,000 operations is read and measured in some 30 ms of a core; a tenth of it leaves room for a
/// machine that the load keeps busy.
const LEAD: u32 = 10;

/// When judging a baseline begins, so that the verdict is there at its end.
///
/// Less than half of a baseline is none, however long the warm-up was.
pub(super) fn begins(phases: Phases, baseline_ends: Moment) -> Moment {
    let (warmup, baseline) = (phases.warmup.0, phases.baseline.0);
    baseline_ends - ((warmup + baseline) / LEAD).min(baseline / 2)
}

/// Judges what has been recorded so far.
pub(super) fn judge(recorder: &Arc<Recorder>, judge: &JudgeBaseline) -> JoinHandle<Result<(), String>> {
    let (recorder, judge) = (Arc::clone(recorder), Arc::clone(judge));
    tokio::task::spawn_blocking(move || {
        recorder.flush();
        judge()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::Span;

    #[test]
    fn judging_begins_a_tenth_of_the_load_before_the_end_but_not_before_half_of_the_baseline() {
        for (warmup, baseline, lead) in [(10_000, 20_000, 3000), (0, 2000, 200), (60_000, 2000, 1000), (1000, 0, 0)] {
            let span = |ms| Span(Duration::from_millis(ms));
            let phases = Phases { warmup: span(warmup), baseline: span(baseline), recovery: span(0) };
            assert_eq!(begins(phases, Moment::from_millis(100_000)), Moment::from_millis(100_000 - lead));
        }
    }
}
