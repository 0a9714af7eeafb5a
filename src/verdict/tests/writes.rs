//! Writes that are lost, or may be.

use super::*;

#[test]
fn lost_holds_only_if_nothing_is_masked() {
    // t0 is 3 s, steady 7 s: writes acknowledged from 2 s to 7 s count.
    let at = |ms: &[u64]| ms.iter().map(|ms| Moment::from_millis(*ms)).collect::<Vec<_>>();
    for (lost, masked, expect, outcome, observed) in [
        (&[][..], &[][..], "lost == 0", Held, "0"),
        (&[2500], &[], "lost == 0", Failed, "1"),
        (&[], &[2500], "lost == 0", Inconclusive, "0 to 1"),
        (&[2500], &[2600], "lost == 0", Failed, "1 to 2"),
        (&[1999, 7001], &[1999], "lost == 0", Held, "0 (2 in the whole run)"),
        (&[], &[1999], "masked == 0", Held, "0 (1 in the whole run)"),
        (&[2500], &[2600], "lost > 0", Held, "1 to 2"),
        (&[], &[2600], "lost > 0", Inconclusive, "0 to 1"),
        (&[2500], &[], "masked == 0", Held, "0"),
        (&[2500, 2900], &[], "rpo <= 1s", Held, "500 ms"),
        (&[2500], &[2100], "rpo <= 600ms", Inconclusive, "500 ms to 900 ms"),
        (&[3500], &[], "rpo == 0s", Held, "0 s"),
        (&[1500], &[], "rpo <= 1s", Failed, "1.50 s"),
    ] {
        let run = with(|run| {
            consistency(run).lost_acknowledged = at(lost);
            consistency(run).masked_acknowledged = at(masked);
        });
        let line = line(run, expect);
        assert_eq!((line.outcome, line.observed.as_str()), (outcome, observed), "{lost:?} {masked:?} {expect}");
    }
}

#[test]
fn never_steady_means_that_all_later_writes_count() {
    let run = with(|run| {
        cut(run).time_to_steady_ns = Figure::AtLeast(9 * SECOND);
        consistency(run).lost_acknowledged = vec![Moment(12_500 * MS)];
    });
    assert_eq!(line(run, "lost == 0").outcome, Failed);
}

#[test]
fn each_fault_has_its_own_share_of_the_loss() {
    let run = with(|run| {
        consistency(run).lost_acknowledged = vec![Moment(2500 * MS)];
        cut(run).rpo_age_ns = Some(500 * MS);
        let slow = Outage { t0: Moment(8 * SECOND), rpo_age_ns: Some(0), ..outage("slow") };
        run.workloads["orders"].classes["all"].outages.insert("slow".into(), slow);
    });
    assert_eq!(line(run.clone(), "rpo during fault.slow == 0s").outcome, Held);
    assert_eq!(line(run, "rpo <= 1s").observed, "500 ms");
}

#[test]
fn a_masked_write_is_named_as_the_doubt() {
    let run = with(|run| {
        consistency(run).masked = 1;
        consistency(run).masked_acknowledged = vec![Moment(2500 * MS)];
    });
    let verdict = judged(run, &["orders.lost == 0"]);
    assert_eq!((verdict.word, verdict.doubts[0].1.rule), (Word::Inconclusive, DoubtRule::MaskedWrites));
    let because = "some writes are masked: they may be gone, and nobody can know; of 800 writes acknowledged; 1 masked";
    assert_eq!(verdict.lines[0].because, because);
}

#[test]
fn without_evidence_nothing_is_held() {
    for expect in ["duplicates == 0", "resurrected == 0", "stale_reads == 0", "staleness <= 1s"] {
        let expect = &format!("orders.{expect}");
        assert_eq!(line(run(), expect).outcome, Held, "{expect}");
        let no_read = line(with(|run| consistency(run).reads_checked = 0), expect);
        let no_key = line(with(|run| consistency(run).keys_seen = 0), expect);
        let (blind, other) = if expect.contains("stale") { (no_read, no_key) } else { (no_key, no_read) };
        assert_eq!((blind.outcome, blind.observed.as_str(), other.outcome), (Inconclusive, "n/a", Held), "{expect}");
        assert!(blind.because.starts_with("no"), "{expect}: {}", blind.because);
    }
    // What was found was found.
    let run = with(|run| (consistency(run).duplicates, consistency(run).keys_seen) = (1, 0));
    assert_eq!(line(run, "orders.duplicates == 0").outcome, Failed);
}
