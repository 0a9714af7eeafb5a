//! Histories written by hand, with the answer worked out beside them. All keys are `k`, all times milliseconds.

use super::simulation::{record, take};
use super::*;
use crate::event::Attempt;

/// A history that is being written.
#[derive(Default)]
struct History(Checker);

impl History {
    fn ended(mut self, access: Access, value: &str, (start, end): (u64, u64), edit: impl FnOnce(&mut Attempt)) -> Self {
        let (op, attempt) = value.split_once('.').unwrap();
        let mut record =
            record(op.parse().unwrap(), attempt.parse().unwrap(), access, "k", Moment::from_millis(start).0);
        record.value = Some(value.into());
        record.end = Moment::from_millis(end);
        edit(&mut record);
        take(&mut self.0, &record);
        self
    }

    /// A write that was told what it replaced; `-` for nothing.
    fn write(self, value: &str, at: (u64, u64), replaced: &str) -> Self {
        let replaced = if replaced == "-" { "" } else { replaced };
        self.ended(Access::Write, value, at, |record| record.replaced = Some(replaced.into()))
    }

    /// A write that was not told.
    fn untold(self, value: &str, at: (u64, u64)) -> Self {
        self.ended(Access::Write, value, at, |_| {})
    }

    fn done(self, access: Access, value: &str, at: (u64, u64)) -> Self {
        self.ended(access, value, at, |_| {})
    }

    /// An attempt without an answer.
    fn silent(self, access: Access, value: &str, at: (u64, u64)) -> Self {
        self.ended(access, value, at, |record| {
            record.outcome = Outcome::Timeout;
            record.applied = Applied::Unknown;
        })
    }

    /// An attempt that was definitely refused.
    fn refused(self, access: Access, value: &str, at: (u64, u64)) -> Self {
        self.ended(access, value, at, |record| {
            record.outcome = Outcome::Error;
            record.applied = Applied::No;
        })
    }

    /// A read; `-` for nothing.
    fn read(self, access: Access, value: &str, at: (u64, u64)) -> Self {
        let value: Option<Box<str>> = (value != "-").then(|| value.into());
        self.ended(access, "900.1", at, |record| record.value = value)
    }

    /// The final read, `-` for nothing, and what the checker says.
    fn finally(mut self, value: &str) -> Consistency {
        self.0.final_read("k", (value != "-").then_some(value), true);
        self.0.finish()
    }

    fn without_final_read(mut self) -> Consistency {
        self.0.final_read("k", None, false);
        self.0.finish()
    }
}

/// Lost, masked, overwritten unseen.
fn fates(found: &Consistency) -> (u64, u64, u64) {
    (found.lost, found.masked, found.overwritten_unseen)
}

fn ms(list: &[u64]) -> Vec<Moment> {
    list.iter().map(|ms| Moment::from_millis(*ms)).collect()
}

use Access::{Append, Insert, Read, Scan, Write};

#[test]
fn a_chain_to_the_final_value_keeps_every_write() {
    let found = History::default().write("1.1", (0, 10), "-").write("2.1", (5, 20), "1.1").finally("2.1");
    assert_eq!(found, Consistency { acknowledged: 2, keys_seen: 1, ..Consistency::default() });
}

#[test]
fn a_write_in_whose_place_an_older_value_was_replaced_is_lost() {
    // 3.1 began when 2.1 was acknowledged, and replaced 1.1: 2.1 is gone.
    let found = History::default()
        .write("1.1", (0, 10), "-")
        .write("2.1", (20, 30), "1.1")
        .write("3.1", (40, 50), "1.1")
        .finally("3.1");
    assert_eq!(fates(&found), (1, 0, 0));
    assert_eq!(found.lost_acknowledged, ms(&[30]));
    assert_eq!(
        found.examples,
        ["k: operation 2, acknowledged at 0.030 s, is gone: later an older value stood in its place"]
    );
}

#[test]
fn a_write_after_which_the_final_read_shows_an_older_value_is_lost() {
    let found = History::default().write("1.1", (0, 10), "-").write("2.1", (20, 30), "1.1").finally("1.1");
    assert_eq!((fates(&found), found.lost_acknowledged), ((1, 0, 0), ms(&[30])));
    let found = History::default().write("1.1", (0, 10), "-").write("2.1", (20, 30), "1.1").finally("-");
    assert_eq!((fates(&found), found.lost_acknowledged), ((2, 0, 0), ms(&[10, 30])));
}

#[test]
fn of_two_primaries_the_one_that_loses_its_writes_is_told_by_the_final_read() {
    // After 1.1 both go on by themselves, at the same time; in the end the second one's history counts.
    let found = History::default()
        .write("1.1", (0, 10), "-")
        .write("2.1", (20, 31), "1.1")
        .write("4.1", (20, 32), "1.1")
        .write("3.1", (40, 51), "2.1")
        .write("5.1", (40, 52), "4.1")
        .finally("5.1");
    assert_eq!((fates(&found), found.lost_acknowledged), ((2, 0, 0), ms(&[31, 51])));
}

#[test]
fn an_attempt_without_an_answer_may_have_overwritten_what_is_not_there() {
    // 2.1 was pending while 3.1 was acknowledged. It may have come after it, or before it, and then 3.1 is gone.
    let found = History::default()
        .write("1.1", (0, 10), "-")
        .silent(Write, "2.1", (20, 270))
        .write("3.1", (25, 35), "1.1")
        .finally("2.1");
    assert_eq!((fates(&found), found.masked_acknowledged), ((0, 1, 0), ms(&[35])));
}

#[test]
fn a_pending_attempt_that_had_come_before_explains_nothing() {
    // 2.1 had no answer, but 3.1 replaced it, and 4.1 began after that: the final 2.1 is older than both.
    let found = History::default()
        .silent(Write, "2.1", (20, 270))
        .write("3.1", (25, 35), "2.1")
        .write("4.1", (300, 310), "3.1")
        .finally("2.1");
    assert_eq!((fates(&found), found.lost_acknowledged), ((2, 0, 0), ms(&[35, 310])));
}

#[test]
fn a_newer_value_without_an_answer_hides_what_it_replaced() {
    // 2.1 began after 1.1 was acknowledged, so the value in the place of 1.1 is newer.
    let found = History::default()
        .write("1.1", (0, 10), "-")
        .silent(Write, "2.1", (20, 270))
        .write("3.1", (300, 310), "2.1")
        .finally("3.1");
    assert_eq!(fates(&found), (0, 0, 1));
}

#[test]
fn a_retry_that_came_late_is_the_same_write() {
    // 2.1 had no answer, 2.2 did; in the end the late 2.1 stands there: the operation's value is in place.
    let found = History::default()
        .write("1.1", (0, 10), "-")
        .silent(Write, "2.1", (20, 270))
        .write("2.2", (280, 290), "1.1")
        .finally("2.1");
    assert_eq!((fates(&found), found.acknowledged, found.duplicates), ((0, 0, 0), 2, 0));
}

#[test]
fn a_write_with_no_room_in_the_history_is_lost() {
    // 1.1 stood there from 10 at the latest until 3.1, which began at 40, replaced it; 2.1 belongs between, and only there.
    // The silent 9.1 begins another path, so that the final value explains nothing.
    let found = History::default()
        .write("1.1", (0, 10), "-")
        .untold("2.1", (20, 30))
        .write("3.1", (40, 50), "1.1")
        .silent(Write, "9.1", (45, 300))
        .finally("9.1");
    // 3.1 is the last of its path: 9.1 was pending when it was acknowledged.
    assert_eq!((fates(&found), found.lost_acknowledged), ((1, 1, 0), ms(&[30])));
    assert_eq!(found.masked_acknowledged, ms(&[50]));
}

#[test]
fn without_evidence_a_write_is_masked() {
    let found = History::default().write("1.1", (0, 10), "-").write("2.1", (20, 30), "1.1").without_final_read();
    assert_eq!((fates(&found), found.masked_acknowledged), ((0, 1, 0), ms(&[30])));
    // Where the system does not tell what was replaced, only the final value is certain.
    let found = History::default().untold("1.1", (0, 10)).untold("2.1", (20, 30)).finally("2.1");
    assert_eq!((fates(&found), found.masked_acknowledged), ((0, 1, 0), ms(&[10])));
}

#[test]
fn a_value_left_from_another_run_is_no_write_of_this_one() {
    // 7.1 stands there before this run writes its own 7.1.
    let found = History::default()
        .write("1.1", (0, 10), "7.1")
        .write("7.1", (20, 30), "1.1")
        .write("8.1", (40, 50), "7.1")
        .finally("8.1");
    assert_eq!(found, Consistency { acknowledged: 3, keys_seen: 1, ..Consistency::default() });
}

#[test]
fn a_refused_write_that_stands_there_is_resurrected() {
    let found = History::default().write("1.1", (0, 10), "-").refused(Write, "2.1", (20, 30)).finally("2.1");
    assert_eq!(found.resurrected, 1);
    assert_eq!(found.examples[0], "k: operation 2 was there, although it was definitely refused");
    // With another attempt that may have done it, it is not.
    let found = History::default().refused(Write, "2.1", (20, 30)).silent(Write, "2.2", (40, 290)).finally("2.2");
    assert_eq!(found.resurrected, 0);
}

#[test]
fn a_read_is_stale_from_when_something_newer_was_acknowledged() {
    let history =
        || History::default().write("1.1", (0, 10), "-").write("2.1", (20, 30), "1.1").write("3.1", (40, 50), "2.1");
    // 2.1 was acknowledged at 30, the read began at 45 and returned 1.1: 15 ms old. 3.1 came too late to matter.
    let found = history().read(Read, "1.1", (45, 55)).finally("3.1");
    assert_eq!((found.stale_reads, found.staleness_max_ns), (1, 15_000_000));
    assert_eq!(found.examples, ["k: a read at 0.045 s returned 1.1, although 2.1 was acknowledged at 0.030 s"]);
    // Nothing there, although 1.1 was acknowledged at 10.
    let found = history().read(Read, "-", (60, 70)).finally("3.1");
    assert_eq!((found.stale_reads, found.staleness_max_ns), (1, 50_000_000));
    // 3.1 was not yet acknowledged.
    let found = history().read(Read, "2.1", (49, 70)).finally("3.1");
    assert_eq!(found.stale_reads, 0);
}

#[test]
fn a_write_without_an_answer_counts_as_there_once_it_was_read() {
    let history = || {
        let before = History::default().write("1.1", (0, 10), "-").silent(Write, "2.1", (20, 25));
        before.read(Read, "2.1", (30, 40)).write("3.1", (50, 60), "2.1")
    };
    assert_eq!(history().read(Read, "2.1", (70, 80)).finally("3.1").stale_reads, 1);
    // Without that first read, 2.1 could have come after 3.1 just as well.
    let found = History::default().silent(Write, "2.1", (20, 25)).untold("3.1", (50, 60)).read(Read, "2.1", (70, 80));
    assert_eq!(found.finally("2.1").stale_reads, 0);
}

#[test]
fn an_insert_is_there_or_lost() {
    let found = History::default().done(Insert, "1.1", (0, 10)).finally("1.1");
    assert_eq!(found, Consistency { acknowledged: 1, keys_seen: 1, ..Consistency::default() });
    let found = History::default().done(Insert, "1.1", (0, 10)).finally("-");
    assert_eq!((fates(&found), found.lost_acknowledged), ((1, 0, 0), ms(&[10])));
    let found = History::default().done(Insert, "1.1", (0, 10)).without_final_read();
    assert_eq!((fates(&found), found.masked_acknowledged), ((0, 1, 0), ms(&[10])));
    // The value may tell the operation alone. The first attempt had no answer, but did it; the second was no change.
    let op = |record: &mut Attempt| record.value = Some("1".into());
    let history = History::default().ended(Insert, "1.1", (0, 10), op).ended(Insert, "1.2", (20, 30), op);
    assert_eq!(history.finally("1"), Consistency { acknowledged: 1, keys_seen: 1, ..Consistency::default() });
    let found = History::default().silent(Insert, "1.1", (0, 10)).done(Insert, "1.2", (20, 30)).finally("1.1");
    assert_eq!((fates(&found), found.duplicates), ((0, 0, 0), 0));
    // Something else under the key is not it.
    assert_eq!(History::default().done(Insert, "1.1", (0, 10)).finally("2").lost, 1);
}

#[test]
fn an_insert_can_be_doubled_resurrected_and_missed_by_a_read() {
    let found = History::default().silent(Insert, "1.1", (0, 10)).done(Insert, "1.2", (20, 30)).finally("1.1,1.2");
    assert_eq!(found.duplicates, 1);
    let found = History::default().refused(Insert, "1.1", (0, 10)).finally("1.1");
    assert_eq!((found.resurrected, found.acknowledged), (1, 0));
    let found = History::default().done(Insert, "1.1", (0, 10)).read(Read, "-", (25, 30)).finally("1.1");
    assert_eq!((found.stale_reads, found.staleness_max_ns), (1, 15_000_000));
}

#[test]
fn a_list_holds_each_acknowledged_item_once() {
    let history = || {
        History::default().done(Append, "1.1", (0, 10)).silent(Append, "2.1", (20, 30)).done(Append, "2.2", (40, 50))
    };
    let found = history().finally("1.1,2.2");
    assert_eq!(found, Consistency { acknowledged: 2, keys_seen: 1, ..Consistency::default() });
    let found = history().finally("1.1,2.2,2.1");
    assert_eq!((fates(&found), found.duplicates), ((0, 0, 0), 1));
    assert_eq!(found.examples, ["k: operation 2 stands in the list more than once"]);
    let found = history().finally("2.2");
    assert_eq!((fates(&found), found.lost_acknowledged), ((1, 0, 0), ms(&[10])));
    let found = history().without_final_read();
    assert_eq!((fates(&found), found.masked_acknowledged), ((0, 2, 0), ms(&[10, 50])));
    let found = history().refused(Append, "3.1", (60, 70)).finally("1.1,2.1,3.1");
    assert_eq!((found.lost, found.resurrected), (0, 1));
}

#[test]
fn a_scan_that_misses_an_acknowledged_item_is_stale() {
    let history =
        || History::default().done(Append, "1.1", (0, 10)).done(Append, "2.1", (20, 30)).done(Append, "3.1", (40, 50));
    // Sees a beginning: 2.1 was acknowledged 15 ms before it began.
    let found = history().read(Scan, "1.1", (45, 48)).finally("1.1,2.1,3.1");
    assert_eq!((found.stale_reads, found.staleness_max_ns), (1, 15_000_000));
    assert_eq!(found.examples, ["k: a read at 0.045 s misses operation 2, acknowledged at 0.030 s"]);
    // Another history: without 2.1, which was acknowledged 30 ms before.
    let found = history().read(Scan, "1.1,3.1", (60, 65)).read(Scan, "1.1,2.1,3.1", (70, 75)).finally("1.1,2.1,3.1");
    assert_eq!((found.stale_reads, found.staleness_max_ns), (1, 30_000_000));
    assert_eq!(history().read(Scan, "1.1,2.1", (45, 60)).finally("1.1,2.1,3.1").stale_reads, 0);
}

#[test]
fn what_was_never_sent_does_not_count() {
    let mut checker = Checker::new();
    let mut shed = record(1, 0, Write, "k", 0);
    shed.outcome = Outcome::Shed;
    take(&mut checker, &shed);
    checker.final_read("other", Some("1.1"), true);
    assert_eq!(checker.finish(), Consistency::default());
}

#[test]
fn a_value_that_does_not_tell_its_writer_is_masked() {
    let found = History::default().ended(Write, "1.1", (0, 10), |record| record.value = Some("seven".into()));
    assert_eq!((found.finally("seven").masked), 1);
}

#[test]
fn a_circle_of_replacements_ends_the_check_all_the_same() {
    // No register does this, a broken proxy or server may.
    let found = History::default().write("1.1", (0, 10), "2.1").write("2.1", (0, 10), "1.1").finally("2.1");
    assert_eq!(found.acknowledged, 2);
    let found = History::default().write("1.1", (0, 10), "1.1").finally("1.1");
    assert_eq!(found.lost, 0);
}

#[test]
fn examples_are_few_of_each_kind() {
    let mut history = History::default().write("1.1", (0, 10), "-").write("2.1", (20, 30), "1.1");
    for read in 0..50 {
        history = history.read(Read, "1.1", (100 + read, 101 + read));
    }
    let found = history.finally("1.1");
    assert_eq!((found.stale_reads, found.lost, found.examples.len()), (50, 1, EXAMPLES_OF_A_KIND + 1));
}

#[test]
fn what_could_have_shown_a_fault_is_counted() {
    let write = || History::default().write("1.1", (0, 10), "-");
    let untold = || History::default().untold("1.1", (0, 10));
    let insert = || History::default().done(Insert, "1.1", (0, 10));
    let append = || History::default().done(Append, "1.1", (0, 10));
    for (rule, found, reads, keys) in [
        ("a final read shows a key", untold().finally("1.1"), 0, 1),
        ("nothing showed it", untold().without_final_read(), 0, 0),
        ("a write told what it replaced", write().without_final_read(), 0, 1),
        ("a read showed it", untold().read(Read, "1.1", (20, 25)).without_final_read(), 1, 1),
        ("nothing was acknowledged before the read", untold().read(Read, "-", (5, 25)).without_final_read(), 0, 1),
        ("an insert's final read", insert().finally("1.1"), 0, 1),
        ("an insert without one", insert().without_final_read(), 0, 0),
        ("a read of an insert tells no second row", insert().read(Read, "1.1", (20, 25)).without_final_read(), 1, 0),
        ("a list without a scan", append().without_final_read(), 0, 0),
        ("a scan showed it", append().read(Scan, "1.1", (20, 25)).without_final_read(), 1, 1),
    ] {
        assert_eq!((found.reads_checked, found.keys_seen), (reads, keys), "{rule}");
    }
}
