//! Runs that were not good enough to know, and runs that were stopped.

use super::*;
use crate::measure::NO_ATTEMPTS;

#[test]
fn a_stop_alone_does_not_excuse_a_failure() {
    let stop = Stop { at: Moment(SECOND), reason: StopReason::Guard, detail: "enough".into() };
    assert_eq!(line(with(|run| run.stopped = Some(stop)), "p99 > 1s").outcome, Failed);
}

#[test]
fn any_doubt_turns_held_into_inconclusive_and_some_turn_failed_too() {
    for (rule, of_failed, word) in [
        (DoubtRule::FaultWithoutProof, Failed, Word::Failed),
        (DoubtRule::ClockJumped, Failed, Word::Failed),
        (DoubtRule::IncompleteRun, Inconclusive, Word::Inconclusive),
        (DoubtRule::LateFault, Inconclusive, Word::Inconclusive),
        (DoubtRule::LateGenerator, Inconclusive, Word::Inconclusive),
        (DoubtRule::DroppedRecords, Inconclusive, Word::Inconclusive),
        (DoubtRule::BaselineFailed, Inconclusive, Word::Inconclusive),
    ] {
        let held = line(doubtful(rule), "p99 < 1s");
        assert_eq!((held.outcome, held.because.as_str()), (Inconclusive, "it seems to hold, but something is odd"));
        let verdict = judged(doubtful(rule), &["p99 > 1s"]);
        assert_eq!((verdict.lines[0].outcome, verdict.word), (of_failed, word), "{rule:?}");
    }
    assert_eq!(judged(doubtful(DoubtRule::ClockJumped), &[]).word, Word::Inconclusive);
    assert_eq!(judged(run(), &[]).word, Word::Held);
}

#[test]
fn a_baseline_that_fails_its_own_expectation_says_nothing_about_the_fault() {
    let run = with(|run| set(run, "baseline", failing(&[(Outcome::Error, 100)])));
    let verdict = judged(run, &["success_rate during baseline >= 99%"]);
    assert_eq!(verdict.word, Word::Inconclusive);
    assert_eq!(verdict.doubts[0].1.rule, DoubtRule::BaselineFailed);
    let because = "the baseline does not hold `success_rate during baseline >= 99%`: 100 operations failed: 100 error";
    assert_eq!(verdict.lines[0].because, because);
}

#[test]
fn a_stop_decides_the_word() {
    for (reason, word) in [
        (StopReason::Guard, Word::Aborted),
        (StopReason::Lease, Word::Aborted),
        (StopReason::Interrupt, Word::Aborted),
        (StopReason::Terminate, Word::Aborted),
        (StopReason::System, Word::NotReady),
        (StopReason::Baseline, Word::Inconclusive),
        (StopReason::Disk, Word::Inconclusive),
        (StopReason::Keeper, Word::Inconclusive),
    ] {
        let run = with(|run| run.stopped = Some(Stop { at: Moment(SECOND), reason, detail: "enough".into() }));
        let verdict = judged(run, &["p99 < 1s"]);
        assert_eq!((verdict.word, verdict.lines[0].outcome), (word, Inconclusive), "{reason:?}");
        assert_eq!(verdict.doubts[0].1.detail, "the run stopped at 1.000 s: enough");
    }
}

#[test]
fn where_the_attempts_are_gone_no_line_gives_another_reason() {
    let gone = || {
        with(|run| {
            run.inconclusive = vec![Doubt { rule: DoubtRule::IncompleteRun, detail: NO_ATTEMPTS.into() }];
            run.workloads["orders"].consistency = None;
            set(run, "impact", Window { operations: 0, ok: 0, ..failing(&[]) });
        })
    };
    for expectation in ["success_rate >= 99%", "failed == 0", "lost == 0", "p99 during fault < 1s"] {
        let verdict = judged(gone(), &[expectation]);
        let [line] = &verdict.lines[..] else { panic!("{expectation}") };
        assert_eq!((line.outcome, line.because.as_str()), (Inconclusive, NO_ATTEMPTS), "{expectation}");
        let doubts: Vec<&str> = verdict.doubts.iter().map(|(_, doubt)| doubt.detail.as_str()).collect();
        assert_eq!(doubts, [NO_ATTEMPTS], "it is told once");
    }
}
