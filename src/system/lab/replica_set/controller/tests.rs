//! Decisions, one answer after the other.

use std::time::Duration;

use super::*;
use crate::system::lab::store::Position;

const fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

/// What a node says that has nothing to say.
fn beat(term: u64, index: u64) -> Beat {
    let last = Position { index, term: 1 };
    Beat { term, last, given_up: term - 1, version: 1, serving: false, joined: false }
}

/// Four copies and a spare; the primary serves, and everybody was heard at 0.
fn controller() -> Controller {
    let mut controller = Controller::new(Settings::for_tests(), 5, Record::first(4), at(0));
    assert_eq!(controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(0)), [Happening::Redirected(Id(0))]);
    for id in 1..5 {
        controller.heard(Id(id), beat(1, 9), at(0));
    }
    controller
}

/// The ring has what was proposed.
fn recorded(controller: &mut Controller, now: Moment) -> Record {
    let record = controller.proposed().expect("something is proposed");
    controller.recorded(record, now);
    record
}

#[test]
fn the_newest_of_enough_promises_is_chosen() {
    let mut controller = controller();
    assert_eq!(controller.tick(at(200)), [Happening::Detected(Id(0))]);
    assert_eq!(controller.heartbeat(Id(1)).prepare, Some(Prepare { term: 2, released: 0 }));
    assert_eq!(controller.heartbeat(Id(4)).prepare, None, "a spare has no say");
    controller.heard(Id(1), beat(2, 7), at(210));
    assert_eq!(controller.proposed(), None, "of four members two must have promised");
    controller.heard(Id(4), beat(2, 9), at(210));
    assert_eq!(controller.proposed(), None);
    controller.heard(Id(3), beat(2, 9), at(220));
    let record = controller.proposed().unwrap();
    assert_eq!((record.term, record.primary, record.members), (2, Id(3), Members::first(4)));
    assert_eq!(controller.recorded(record, at(230)), [Happening::Decided(Id(3))]);
}

#[test]
fn a_later_term_counts_for_more_than_a_longer_journal() {
    let mut controller = controller();
    controller.tick(at(200));
    controller.heard(Id(1), beat(2, 90), at(210));
    controller.heard(Id(2), Beat { last: Position { index: 8, term: 2 }, ..beat(3, 0) }, at(210));
    assert_eq!(controller.heartbeat(Id(1)).prepare.unwrap().term, 4, "somebody had promised 3 before");
    controller.heard(Id(1), beat(4, 90), at(220));
    controller.heard(Id(2), Beat { last: Position { index: 8, term: 2 }, ..beat(4, 0) }, at(220));
    assert_eq!(controller.proposed().unwrap().primary, Id(2));
}

#[test]
fn a_primary_that_gave_up_needs_no_suspicion_and_frees_its_members() {
    let mut controller = controller();
    let happenings = controller.heard(Id(0), Beat { given_up: 1, ..beat(1, 9) }, at(50));
    assert_eq!(happenings, [Happening::Detected(Id(0))]);
    assert_eq!(controller.heartbeat(Id(1)).prepare, Some(Prepare { term: 2, released: 1 }));
}

#[test]
fn a_primary_that_is_found_again_and_again_without_serving_is_told_once() {
    let mut controller = controller();
    // It keeps one member, which is enough to be elected and too few to serve.
    let round = |controller: &mut Controller, term: u64| {
        let now = at(term * 100);
        let mut told = controller.heard(Id(0), Beat { given_up: term, ..beat(term, 9) }, now);
        for id in [0, 1] {
            told.extend(controller.heard(Id(id), Beat { given_up: term, ..beat(term + 1, 9) }, now));
        }
        let record = controller.proposed().expect("it is elected again");
        assert_eq!((record.primary, record.term), (Id(0), term + 1));
        told.extend(controller.recorded(record, now));
        told
    };
    assert_eq!(round(&mut controller, 1), [Happening::Detected(Id(0)), Happening::Decided(Id(0))]);
    assert_eq!(round(&mut controller, 2), []);
    assert_eq!(controller.heard(Id(0), Beat { serving: true, ..beat(3, 9) }, at(250)), [Happening::Redirected(Id(0))]);
    assert_eq!(round(&mut controller, 3), [Happening::Detected(Id(0)), Happening::Decided(Id(0))], "served between");
}

#[test]
fn a_lost_member_is_replaced_by_a_spare_once_the_primary_says_that_it_can_be() {
    let mut controller = controller();
    let alive = |controller: &mut Controller, now| {
        for id in [0, 1, 2, 4] {
            controller.heard(Id(id), Beat { serving: id == 0, ..beat(1, 9) }, now);
        }
    };
    alive(&mut controller, at(190));
    controller.tick(at(200));
    alive(&mut controller, at(390));
    assert_eq!(controller.proposed(), None, "node 3 is suspect since 200, not for long enough");
    controller.tick(at(400));
    let target: Members = [0, 1, 2, 4].map(Id).into_iter().collect();
    assert_eq!(recorded(&mut controller, at(400)).target, Some(target));
    let joined = Beat { joined: true, version: 1, ..beat(1, 9) };
    controller.heard(Id(0), joined, at(410));
    assert_eq!(controller.proposed(), None, "that was about another version");
    controller.heard(Id(0), Beat { version: 2, ..joined }, at(420));
    let record = recorded(&mut controller, at(420));
    assert_eq!((record.members, record.target), (target, None));
}

#[test]
fn without_spares_it_shrinks_but_not_below_the_least() {
    let mut controller = Controller::new(Settings::for_tests(), 4, Record::first(4), at(0));
    for now in [0, 150, 300, 450].map(at) {
        controller.heard(Id(0), beat(1, 9), now);
        controller.tick(now);
    }
    assert_eq!(controller.proposed(), None, "one copy alone is less than two");
    controller.heard(Id(2), beat(1, 9), at(460));
    let two: Members = [0, 2].map(Id).into_iter().collect();
    assert_eq!(controller.proposed().unwrap().target, Some(two));
}

#[test]
fn an_ordered_failover_goes_where_it_should() {
    for (how, index, chosen) in [(Departure::HandOver, 9, 1), (Departure::Restart, 9, 0), (Departure::Restart, 8, 0)] {
        let mut controller = controller();
        controller.order(how, at(10)).unwrap();
        recorded(&mut controller, at(10));
        assert_eq!(controller.heartbeat(Id(0)).resign, Some(Resign { term: 1, how }));
        assert_eq!(controller.heard(Id(0), Beat { given_up: 1, ..beat(1, 9) }, at(20)), [], "it was told to");
        for id in [1, 2, 0] {
            controller.heard(Id(id), Beat { given_up: 1, ..beat(2, if id == 0 { 9 } else { index }) }, at(30));
        }
        assert_eq!(controller.proposed().map(|record| record.primary), Some(Id(chosen)), "{how:?}");
    }
}

#[test]
fn a_second_failover_is_refused_while_one_goes_on_and_within_the_limit() {
    let mut controller = controller();
    controller.order(Departure::Restart, at(10)).unwrap();
    assert_eq!(controller.order(Departure::HandOver, at(11)), Err(Refused::GoingOn));
    let ordered = recorded(&mut controller, at(12));
    assert_eq!(controller.order(Departure::HandOver, at(13)), Err(Refused::GoingOn));
    // Whoever leads afterwards knows of it.
    let mut controller = Controller::new(Settings::for_tests(), 5, ordered, at(20));
    controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(20));
    let left = Duration::from_millis(10 + 1_000 - 30);
    let limit = Duration::from_secs(1);
    assert_eq!(controller.order(Departure::Restart, at(30)), Err(Refused::TooSoon { limit, left }));
    assert_eq!(controller.order(Departure::Restart, at(1_010)), Ok(()));
}

#[test]
fn a_hand_over_is_refused_where_nobody_else_is_well_and_a_start_on_the_spot_is_not() {
    let alone = |copies| {
        let mut controller = Controller::new(Settings::for_tests(), copies, Record::first(copies), at(0));
        controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(100));
        controller.tick(at(200));
        controller
    };
    for copies in [1, 3] {
        assert_eq!(alone(copies).order(Departure::HandOver, at(210)), Err(Refused::Alone), "{copies} copies");
        assert_eq!(alone(copies).order(Departure::Restart, at(210)), Ok(()), "{copies} copies");
    }
}

/// Two copies in each of two homes; the primary serves, and everybody was heard at 0.
fn with_two_homes() -> Controller {
    let here = Members::first(2);
    let homes = [here, Members::first(4).except(here)];
    let settings = Settings { copies: 2, homes, ..Settings::for_tests() };
    let mut controller = Controller::new(settings, 4, Record::first(2), at(0));
    controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(0));
    for id in 1..4 {
        controller.heard(Id(id), beat(1, 9), at(0));
    }
    controller
}

#[test]
fn a_migration_moves_the_copies_first_and_the_primary_last() {
    let mut controller = with_two_homes();
    controller.migrate(Home::Second).unwrap();
    let record = controller.proposed().unwrap();
    assert_eq!(controller.recorded(record, at(5)), [Happening::Migrates(Home::Second)]);
    assert!(controller.migrating());
    controller.heard(Id(0), Beat { serving: true, ..beat(1, 9) }, at(6));
    let there: Members = [2, 3].map(Id).into_iter().collect();
    assert_eq!(recorded(&mut controller, at(7)).target, Some(there));
    controller.heard(Id(0), Beat { serving: true, version: 3, ..beat(1, 9) }, at(8));
    assert_eq!((controller.proposed(), controller.heartbeat(Id(0)).resign), (None, None), "they are not built yet");
    controller.heard(Id(0), Beat { serving: true, joined: true, version: 3, ..beat(1, 9) }, at(9));
    assert_eq!(recorded(&mut controller, at(10)).members, there);
    assert!(controller.migrating(), "the primary stands where it stood");
    controller.heard(Id(0), Beat { serving: true, version: 4, ..beat(1, 9) }, at(11));
    let resign = Resign { term: 1, how: Departure::HandOver };
    assert_eq!(controller.heartbeat(Id(0)).resign, Some(resign));
    controller.heard(Id(0), Beat { given_up: 1, version: 4, ..beat(1, 9) }, at(12));
    controller.heard(Id(1), beat(2, 99), at(13));
    assert_eq!(controller.proposed(), None, "it is no member any more");
    for id in [2, 3] {
        controller.heard(Id(id), beat(2, 9), at(14));
    }
    let record = controller.proposed().unwrap();
    assert_eq!((record.primary, record.term), (Id(2), 2));
    let happenings = controller.recorded(record, at(15));
    assert_eq!(happenings, [Happening::Decided(Id(2)), Happening::Migrated(Home::Second)]);
}

#[test]
fn a_migration_is_refused_to_where_it_stands_without_room_and_while_something_goes_on() {
    let mut controller = with_two_homes();
    assert_eq!(controller.migrate(Home::First), Err(Refused::There));
    for id in 0..3 {
        controller.heard(Id(id), beat(1, 9), at(100));
    }
    controller.tick(at(200));
    assert_eq!(controller.migrate(Home::Second), Err(Refused::NoRoom { copies: 2, well: 1 }));
    controller.heard(Id(3), beat(1, 9), at(210));
    controller.migrate(Home::Second).unwrap();
    assert_eq!(controller.migrate(Home::Second), Err(Refused::GoingOn), "it is being recorded");
    recorded(&mut controller, at(220));
    assert_eq!(controller.migrate(Home::First), Err(Refused::Migrating));
    assert_eq!(controller.order(Departure::Restart, at(230)), Err(Refused::Migrating));
    // Whoever leads afterwards goes on with it.
    let mut next = Controller::new(controller.settings, 4, controller.record(), at(240));
    for id in 0..4 {
        next.heard(Id(id), Beat { serving: id == 0, ..beat(1, 9) }, at(250));
    }
    assert!(next.proposed().is_some_and(|record| record.target.is_some()));
}
