//! One rule a test, with plain instants: a set of four, whose members answer at once or not at all.

use super::members::{Id, Members};
use super::protocol::{Append, Beat, Departure, Heartbeat, Prepare, Record, Resign, Shipment, Shipped};
use super::replica::{Disk, Intent, Refusal, Replica, Role};
use super::settings::{Commit, Settings};
use crate::clock::Moment;
use crate::system::lab::kv::Confirmation;
use crate::system::lab::store::{Change, Position};

const fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

fn put(key: &str) -> Change {
    Change::Put { key: key.to_owned(), value: "1".to_owned() }
}

#[expect(non_snake_case, reason = "a constant but for its constructor")]
fn RECORD() -> Record {
    Record::first(4)
}

fn say(record: Record) -> Heartbeat {
    Heartbeat { record, prepare: None, resign: None }
}

fn prepare(record: Record, term: u64, released: u64) -> Heartbeat {
    Heartbeat { prepare: Some(Prepare { term, released }), ..say(record) }
}

struct Set {
    nodes: Vec<Replica>,
}

impl Set {
    /// Node 0 is primary, and nobody has heard of it yet.
    fn of(nodes: u8, settings: Settings) -> Set {
        let boot = |id| Replica::boot(Id(id), settings, Disk::default(), at(0));
        let mut set = Set { nodes: (0..nodes).map(boot).collect() };
        set.tell(RECORD(), at(0));
        set
    }

    fn four() -> Set {
        Set::of(4, Settings::for_tests())
    }

    fn tell(&mut self, record: Record, now: Moment) -> Vec<Beat> {
        self.nodes.iter_mut().map(|node| node.heartbeat(say(record), now)).collect()
    }

    /// The primary ships to these until it has nothing more to say to them.
    fn ship(&mut self, from: usize, to: &[u8], now: Moment) {
        for to in to.iter().map(|id| Id(*id)) {
            while let Some((ticket, shipment)) = self.nodes[from].ship(to, now) {
                let answer = self.nodes[to.index()].take(shipment, now);
                self.nodes[from].shipped(to, ticket, Some(answer), now);
            }
        }
    }

    fn restart(&mut self, node: usize, now: Moment) {
        let disk = self.nodes[node].clone().into_disk();
        self.nodes[node] = Replica::boot(Id(node as u8), Settings::for_tests(), disk, now);
    }

    fn admits(&self, node: usize, now: Moment) -> Result<(), Refusal> {
        self.nodes[node].admits(Intent::ReadWrite(None), now)
    }
}

#[test]
fn a_write_is_confirmed_once_a_majority_has_it() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    assert_eq!(set.admits(0, at(10)), Ok(()));
    let write = set.nodes[0].write(put("k"));
    let confirm = |set: &Set| set.nodes[0].confirm(Intent::ReadWrite(None), write.term, write.index, at(10));
    assert_eq!(confirm(&set), Confirmation::Waiting);
    set.ship(0, &[3], at(10));
    assert_eq!(confirm(&set), Confirmation::Waiting, "two of four are no majority");
    set.ship(0, &[1], at(10));
    assert_eq!(confirm(&set), Confirmation::Confirmed);
}

#[test]
fn asynchronous_commit_confirms_what_nobody_else_has() {
    let mut set = Set::of(4, Settings { commit: Commit::Async, ..Settings::for_tests() });
    set.ship(0, &[1, 2], at(10));
    let write = set.nodes[0].write(put("k"));
    assert_eq!(set.nodes[0].confirm(Intent::ReadWrite(None), write.term, write.index, at(10)), Confirmation::Confirmed);
}

#[test]
fn a_primary_serves_for_a_lease_from_the_moment_of_its_question() {
    let mut set = Set::four();
    let (ticket, shipment) = set.nodes[0].ship(Id(1), at(10)).unwrap();
    let answer = set.nodes[1].take(shipment, at(60));
    set.nodes[0].shipped(Id(1), ticket, Some(answer), at(90));
    set.ship(0, &[1, 2], at(90));
    // Of the three that it needs the earliest counts; nobody answered after 90.
    assert_eq!(set.admits(0, at(289)), Ok(()));
    assert_eq!(set.admits(0, at(290)), Err(Refusal::NoLease));
    assert_eq!(set.nodes[0].role(at(290)), Role::Fenced);
    set.nodes[0].tick(at(689));
    assert_eq!(set.nodes[0].role(at(689)), Role::Fenced);
    set.nodes[0].tick(at(690));
    assert_eq!(set.nodes[0].role(at(690)), Role::Secondary, "after two leases without one it gives up");
    assert_eq!(set.nodes[0].heartbeat(say(RECORD()), at(690)).given_up, 1);
}

#[test]
fn a_member_that_is_bound_promises_nothing_unless_the_primary_gave_up() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    let mut ask = |node: usize, released, now| set.nodes[node].heartbeat(prepare(RECORD(), 2, released), now).term;
    assert_eq!(ask(1, 0, at(209)), 1, "bound until 10 + 200");
    assert_eq!(ask(1, 0, at(210)), 2);
    assert_eq!(ask(2, 1, at(20)), 2, "no primary of term 1 serves any more");
    assert_eq!(ask(3, 0, at(20)), 2, "never heard the primary");
    assert_eq!(ask(0, 0, at(210)), 2, "a primary whose lease ran out is bound to nobody");
}

#[test]
fn a_primary_with_a_lease_promises_nothing() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    assert_eq!(set.nodes[0].heartbeat(prepare(RECORD(), 2, 0), at(20)).term, 1);
    assert_eq!(set.admits(0, at(20)), Ok(()));
}

#[test]
fn who_promised_a_newer_term_refuses_an_older_one_and_the_primary_ends() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    set.nodes[3].heartbeat(prepare(RECORD(), 2, 0), at(20));
    set.ship(0, &[3], at(30));
    assert_eq!(set.nodes[0].role(at(30)), Role::Secondary);

    let append = Append { term: 1, committed: 0, prev: Position::default(), entries: Vec::new() };
    assert_eq!(set.nodes[3].take(Shipment::Append(append.clone()), at(30)), Shipped::Fenced(2));
    let mut unfenced = Set::of(4, Settings { fencing: false, ..Settings::for_tests() });
    unfenced.nodes[3].heartbeat(prepare(RECORD(), 2, 0), at(20));
    assert_eq!(unfenced.nodes[3].take(Shipment::Append(append), at(30)), Shipped::Agreed(0), "broken on purpose");
}

#[test]
fn a_member_that_restarts_keeps_to_what_it_can_have_promised() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    set.restart(1, at(100));
    let mut ask = |now| set.nodes[1].heartbeat(prepare(RECORD(), 2, 0), now).term;
    assert_eq!(ask(at(299)), 1);
    assert_eq!(ask(at(300)), 2);
}

#[test]
fn a_primary_that_restarts_is_none_until_it_is_elected_again() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    set.restart(0, at(20));
    let beat = set.nodes[0].heartbeat(say(RECORD()), at(20));
    assert_eq!((set.nodes[0].role(at(20)), beat.given_up), (Role::Secondary, 1));
    assert_eq!(set.nodes[0].heartbeat(prepare(RECORD(), 2, 0), at(20)).term, 2, "it was bound to nobody");
    let again = Record { version: 2, term: 2, ..RECORD() };
    set.nodes[0].heartbeat(say(again), at(30));
    assert_eq!(set.nodes[0].role(at(39)), Role::Promoting, "its engine starts until 20 + 20");
    set.nodes[0].tick(at(40));
    set.ship(0, &[1, 2], at(40));
    assert_eq!(set.admits(0, at(40)), Ok(()));
    assert_eq!(set.nodes[0].incarnation(), 2, "one start, one incarnation more");
}

#[test]
fn nothing_is_committed_before_the_terms_first_entry_is() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    let old = set.nodes[0].write(put("k"));
    set.ship(0, &[1], at(10));
    // Node 1 is elected with an entry that is on two of four only.
    let second = Record { version: 2, term: 2, primary: Id(1), ..RECORD() };
    set.nodes[1].heartbeat(say(second), at(300));
    set.nodes[1].tick(at(360));
    set.ship(1, &[0], at(360));
    assert_eq!(set.nodes[1].confirm(Intent::ReadWrite(None), 2, old.index, at(360)), Confirmation::Waiting);
    set.ship(1, &[2], at(360));
    assert_eq!(set.nodes[1].confirm(Intent::ReadWrite(None), 2, old.index, at(360)), Confirmation::Confirmed);
    assert_eq!(set.nodes[1].incarnation(), 2, "a promotion is an incarnation more");
}

#[test]
fn a_member_with_entries_that_nobody_acknowledged_gets_everything_anew() {
    let mut set = Set::four();
    set.ship(0, &[1, 2, 3], at(10));
    set.nodes[0].write(put("nobody has it"));
    let second = Record { version: 2, term: 2, primary: Id(1), ..RECORD() };
    set.nodes[1].heartbeat(say(second), at(300));
    set.nodes[1].tick(at(360));
    set.nodes[1].write(put("k"));
    set.ship(1, &[0], at(360));
    assert_eq!(set.nodes[0].store().last(), set.nodes[1].store().last());
    assert!(set.nodes[0].store().register("nobody has it").is_none());
}

#[test]
fn a_new_member_counts_once_it_has_everything_and_then_both_majorities_are_needed() {
    let mut set = Set::of(5, Settings::for_tests());
    set.ship(0, &[1, 2], at(10));
    let target: Members = [0, 1, 2, 4].map(Id).into_iter().collect();
    let joining = Record { version: 2, target: Some(target), ..RECORD() };
    assert!(!set.tell(joining, at(20))[0].joined, "the new one has nothing yet");
    set.ship(0, &[1, 2, 4], at(20));
    assert!(set.tell(joining, at(20))[0].joined);

    // Node 3 counts for the old majority, node 4 for the new one: neither is enough alone.
    let write = set.nodes[0].write(put("k"));
    let confirm = |set: &Set| set.nodes[0].confirm(Intent::ReadWrite(None), write.term, write.index, at(20));
    set.ship(0, &[1, 3], at(20));
    assert_eq!(confirm(&set), Confirmation::Waiting);
    set.ship(0, &[4], at(20));
    assert_eq!(confirm(&set), Confirmation::Confirmed);
}

#[test]
fn a_set_without_a_majority_shrinks_but_acknowledges_only_after_that_is_recorded() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    let write = set.nodes[0].write(put("k"));
    let two: Members = [0, 1].map(Id).into_iter().collect();
    let shrinking = Record { version: 2, target: Some(two), ..RECORD() };
    set.tell(shrinking, at(300));
    set.ship(0, &[1], at(300));
    assert!(set.tell(shrinking, at(300))[0].joined);
    assert_eq!(set.nodes[0].confirm(Intent::ReadWrite(None), write.term, write.index, at(300)), Confirmation::Waiting);
    assert_eq!(set.admits(0, at(300)), Err(Refusal::NoLease));
    let shrunk = Record { version: 3, members: two, target: None, ..shrinking };
    set.tell(shrunk, at(310));
    assert_eq!(
        set.nodes[0].confirm(Intent::ReadWrite(None), write.term, write.index, at(310)),
        Confirmation::Confirmed
    );
}

#[test]
fn a_primary_that_hands_over_finishes_what_it_accepted() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    let write = set.nodes[0].write(put("k"));
    let resign = Resign { term: 1, how: Departure::HandOver };
    let beat = set.nodes[0].heartbeat(Heartbeat { resign: Some(resign), ..say(RECORD()) }, at(20));
    assert_eq!((set.admits(0, at(20)), beat.given_up), (Err(Refusal::NoLease), 0));
    set.ship(0, &[1, 2], at(30));
    assert_eq!(set.nodes[0].confirm(Intent::ReadWrite(None), write.term, write.index, at(30)), Confirmation::Confirmed);
    assert_eq!(set.nodes[0].heartbeat(say(RECORD()), at(30)).given_up, 1);
}

#[test]
fn a_secondary_reads_only_what_is_committed_and_only_while_it_hears_its_primary() {
    let mut set = Set::four();
    set.ship(0, &[1, 2], at(10));
    set.nodes[0].write(put("k"));
    set.ship(0, &[1], at(10));
    let index = set.nodes[1].store().register("k").unwrap().index;
    assert_eq!(set.nodes[1].confirm(Intent::ReadOnly, 1, index, at(10)), Confirmation::Waiting);
    set.ship(0, &[2], at(10));
    set.ship(0, &[1], at(40));
    assert_eq!(set.nodes[1].confirm(Intent::ReadOnly, 1, index, at(40)), Confirmation::Confirmed);
    assert_eq!(set.nodes[1].admits(Intent::ReadOnly, at(239)), Ok(()));
    assert_eq!(set.nodes[1].admits(Intent::ReadOnly, at(240)), Err(Refusal::NotCurrent));
}

#[test]
fn without_a_bound_a_secondary_reads_however_long_ago_it_heard_its_primary() {
    let mut set = Set::of(4, Settings { bounded_reads: false, ..Settings::for_tests() });
    set.ship(0, &[1, 2], at(10));
    assert_eq!(set.nodes[1].admits(Intent::ReadOnly, at(60_000)), Ok(()));
}
