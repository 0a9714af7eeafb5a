//! A seat in the control ring: one record, kept by a majority. Pure, told the time.
//!
//! It is Raft with a log of a single value. A write replaces the record as a whole; the newer of two is the one that
//! was accepted in the later term of the ring, and within a term the one with the higher version. A leader is chosen by
//! a majority none of whom has a newer record than it, and writes its record again in its own term before it acts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::members::{Id, Members};
use super::protocol::Record;
use crate::clock::Moment;

/// What survives a kill.
#[derive(Clone, Copy, Debug)]
pub struct RingDisk {
    /// The newest term of the ring that it knows.
    term: u64,
    /// Whom it chose in that term.
    voted: Option<Id>,
    /// The term in which it accepted its record.
    accepted: u64,
    /// Its record.
    record: Record,
    /// How often it was started.
    pub incarnation: u64,
}

impl RingDisk {
    /// The disk at the first start of all, which is the same in every seat.
    pub fn new(record: Record) -> RingDisk {
        RingDisk { term: 0, voted: None, accepted: 0, record, incarnation: 0 }
    }

    fn stamp(&self) -> Stamp {
        Stamp { term: self.accepted, version: self.record.version }
    }
}

/// How new a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The ring's term in which it was accepted.
    term: u64,
    /// Its version.
    version: u64,
}

/// Seat → seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Choose me.
    Vote {
        /// In this term.
        term: u64,
        /// I have a record this new.
        stamp: Stamp,
        /// Who asks.
        from: Id,
    },
    /// Keep this; it is sent over and over, so that the leader is heard.
    Write {
        /// In this term.
        term: u64,
        /// The record.
        record: Record,
    },
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The newest term that the seat knows.
    pub term: u64,
    /// It did as it was asked.
    pub done: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Follower,
    Candidate { votes: Members },
    Leader(Leader),
}

#[derive(Clone, Debug)]
struct Leader {
    /// Who has the record as it stands.
    has: Members,
    /// The newest version that a majority has, in this term.
    settled: u64,
    /// When each seat answered last.
    heard: Vec<Moment>,
}

/// One control node's seat.
#[derive(Clone, Debug)]
pub struct Seat {
    me: Id,
    seats: Members,
    heartbeat: Duration,
    patience: Duration,
    disk: RingDisk,
    part: Part,
    /// When a leader was heard or an election began.
    since: Moment,
}

impl Seat {
    /// A seat that starts with what is on its disk. After a silence of `patience` it wants to lead.
    pub fn boot(
        me: Id,
        seats: usize,
        (heartbeat, patience): (Duration, Duration),
        mut disk: RingDisk,
        now: Moment,
    ) -> Seat {
        disk.incarnation += 1;
        Seat { me, seats: Members::first(seats), heartbeat, patience, disk, part: Part::Follower, since: now }
    }

    /// What is left of it after a kill.
    pub fn disk(&self) -> RingDisk {
        self.disk
    }

    /// The other seats.
    pub fn peers(&self) -> impl Iterator<Item = Id> + use<> {
        self.seats.without(self.me).iter()
    }

    /// The record as a majority has it, while this seat leads and may act.
    pub fn settled(&self) -> Option<Record> {
        match &self.part {
            Part::Leader(leader) if leader.settled == self.disk.record.version => Some(self.disk.record),
            _ => None,
        }
    }

    /// The newest term of the ring that it knows.
    pub fn term(&self) -> u64 {
        self.disk.term
    }

    /// Whether it leads, though perhaps without a majority that has its record yet.
    pub fn leads(&self) -> bool {
        matches!(self.part, Part::Leader(_))
    }

    /// Writes the next record; only when the one before is [`settled`](Self::settled).
    pub fn write(&mut self, record: Record) {
        let me = self.me;
        if let Part::Leader(leader) = &mut self.part
            && record.version > self.disk.record.version
        {
            self.disk.record = record;
            leader.has = Members::default().with(me);
            self.settle();
        }
    }

    /// Time passed. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) {
        if now < self.deadline() {
            return;
        }
        match &self.part {
            // It hears no majority, and so cannot know whether it leads still.
            Part::Leader(_) => self.follow(self.disk.term, now),
            Part::Follower | Part::Candidate { .. } => {
                self.disk.term += 1;
                self.disk.voted = Some(self.me);
                self.part = Part::Candidate { votes: Members::default().with(self.me) };
                self.since = now;
                self.count(now);
            }
        }
    }

    /// When it has something to decide although nothing is heard.
    pub fn deadline(&self) -> Moment {
        // Each seat waits for another time, and in another order in each term, so that two seldom ask at once.
        let turn = (u64::from(self.me.0) + self.disk.term) % self.seats.len() as u64;
        match &self.part {
            Part::Leader(leader) => {
                let heard = self.seats.reached(self.seats.majority(), |id| match id == self.me {
                    true => Moment(u64::MAX),
                    false => leader.heard[id.index()],
                });
                heard.unwrap_or_default() + self.patience
            }
            Part::Follower | Part::Candidate { .. } => self.since + self.patience + self.heartbeat * 2 * turn as u32,
        }
    }

    /// What to ask of another seat, over and over.
    pub fn ask(&self) -> Option<Ask> {
        let term = self.disk.term;
        match &self.part {
            Part::Follower => None,
            Part::Candidate { .. } => Some(Ask::Vote { term, stamp: self.disk.stamp(), from: self.me }),
            Part::Leader(_) => Some(Ask::Write { term, record: self.disk.record }),
        }
    }

    /// Another seat asks.
    pub fn take(&mut self, ask: Ask, now: Moment) -> Answer {
        let done = match ask {
            Ask::Vote { term, stamp, from } => self.vote(term, stamp, from, now),
            Ask::Write { term, record } => {
                let follows = term >= self.disk.term;
                if follows {
                    self.follow(term, now);
                    let newer = Stamp { term, version: record.version } >= self.disk.stamp();
                    if newer {
                        (self.disk.accepted, self.disk.record) = (term, record);
                    }
                }
                follows
            }
        };
        Answer { term: self.disk.term, done }
    }

    /// Another seat answered what it was asked.
    pub fn answered(&mut self, from: Id, asked: Ask, answer: Answer, now: Moment) {
        if answer.term > self.disk.term {
            return self.follow(answer.term, now);
        }
        let current = answer.done && answer.term == self.disk.term;
        match (&mut self.part, asked) {
            (Part::Candidate { votes }, Ask::Vote { term, .. }) if current && term == self.disk.term => {
                *votes = votes.with(from);
                self.count(now);
            }
            (Part::Leader(leader), Ask::Write { term, record }) if current && term == self.disk.term => {
                leader.heard[from.index()] = now;
                if record.version == self.disk.record.version {
                    leader.has = leader.has.with(from);
                    self.settle();
                }
            }
            _ => {}
        }
    }

    fn vote(&mut self, term: u64, stamp: Stamp, from: Id, now: Moment) -> bool {
        // Whoever hears a leader wants no other: a seat that was cut off does not disturb when it comes back.
        let content = match self.part {
            Part::Follower => now < self.since + self.patience && self.disk.voted != Some(from) && self.disk.term > 0,
            Part::Candidate { .. } => false,
            Part::Leader(_) => true,
        };
        if term < self.disk.term || content {
            return false;
        }
        if term > self.disk.term {
            self.disk.term = term;
            self.disk.voted = None;
            self.part = Part::Follower;
        }
        let chosen = self.disk.voted.is_none_or(|voted| voted == from) && stamp >= self.disk.stamp();
        if chosen {
            self.disk.voted = Some(from);
            self.since = now;
        }
        chosen
    }

    /// Follows whoever leads in a term that is not older than its own.
    fn follow(&mut self, term: u64, now: Moment) {
        if term > self.disk.term {
            self.disk.term = term;
            self.disk.voted = None;
        }
        self.part = Part::Follower;
        self.since = now;
    }

    /// Leads once a majority has chosen it.
    fn count(&mut self, now: Moment) {
        if let Part::Candidate { votes } = self.part
            && votes.len() >= self.seats.majority()
        {
            let has = Members::default().with(self.me);
            let heard = vec![now; self.seats.len()];
            self.disk.accepted = self.disk.term;
            self.part = Part::Leader(Leader { has, settled: 0, heard });
            self.settle();
        }
    }

    fn settle(&mut self) {
        if let Part::Leader(leader) = &mut self.part
            && leader.has.len() >= self.seats.majority()
        {
            leader.settled = self.disk.record.version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn seats() -> Vec<Seat> {
        let times = (Duration::from_millis(50), Duration::from_millis(200));
        let disk = RingDisk::new(Record::first(3));
        (0..3).map(|me| Seat::boot(Id(me), 3, times, disk, at(0))).collect()
    }

    /// One asks these, who answer at once.
    fn ask(seats: &mut [Seat], from: usize, of: &[usize], now: Moment) {
        for to in of {
            let Some(ask) = seats[from].ask() else { return };
            let answer = seats[*to].take(ask, now);
            seats[from].answered(Id(*to as u8), ask, answer, now);
        }
    }

    fn next(seat: &Seat) -> Record {
        let record = seat.settled().unwrap();
        Record { version: record.version + 1, ..record }
    }

    /// Seat 0 leads, as it waits the shortest.
    fn led() -> Vec<Seat> {
        let mut seats = seats();
        seats[0].tick(at(200));
        ask(&mut seats, 0, &[1, 2], at(200));
        ask(&mut seats, 0, &[1, 2], at(200));
        seats
    }

    #[test]
    fn a_leader_acts_on_what_a_majority_has_and_on_nothing_else() {
        let mut seats = seats();
        seats[0].tick(at(200));
        assert!(!seats[0].leads());
        ask(&mut seats, 0, &[1], at(200));
        assert!(seats[0].leads(), "two of three chose it");
        assert_eq!(seats[0].settled(), None, "its record is written again in its own term first");
        ask(&mut seats, 0, &[1], at(200));
        assert_eq!(seats[0].settled(), Some(Record::first(3)));
        let second = next(&seats[0]);
        seats[0].write(second);
        assert_eq!(seats[0].settled(), None);
        ask(&mut seats, 0, &[2], at(210));
        assert_eq!(seats[0].settled(), Some(second));
    }

    #[test]
    fn a_leader_that_hears_no_majority_stops_leading() {
        let mut seats = led();
        seats[0].tick(at(399));
        assert!(seats[0].leads());
        seats[0].tick(at(400));
        assert!(!seats[0].leads());
    }

    #[test]
    fn who_hears_a_leader_chooses_nobody_else() {
        let mut seats = led();
        ask(&mut seats, 0, &[1], at(390));
        seats[2].tick(at(700));
        let vote = seats[2].ask().unwrap();
        assert!(!seats[1].take(vote, at(500)).done);
        assert!(seats[1].take(vote, at(590)).done, "it has not heard the leader for its patience");
    }

    #[test]
    fn a_record_that_a_majority_has_outlives_its_leader() {
        let mut seats = led();
        let second = next(&seats[0]);
        seats[0].write(second);
        ask(&mut seats, 0, &[1], at(210));
        // Seat 2 has the first record only: it cannot lead.
        seats[2].tick(at(900));
        ask(&mut seats, 2, &[1], at(900));
        assert!(!seats[2].leads());
        seats[1].tick(at(1_900));
        ask(&mut seats, 1, &[2], at(1_900));
        ask(&mut seats, 1, &[2], at(1_900));
        assert_eq!(seats[1].settled(), Some(second));
        // What the former leader writes meanwhile, it writes for itself.
        ask(&mut seats, 0, &[1], at(1_910));
        assert!(!seats[0].leads());
    }

    #[test]
    fn a_seat_that_restarts_has_its_record_and_chooses_nobody_twice_in_a_term() {
        let mut seats = seats();
        seats[0].tick(at(200));
        ask(&mut seats, 0, &[1], at(200));
        let times = (Duration::from_millis(50), Duration::from_millis(200));
        seats[1] = Seat::boot(Id(1), 3, times, seats[1].disk(), at(210));
        let other = Ask::Vote { term: 1, stamp: Stamp { term: 9, version: 9 }, from: Id(2) };
        assert!(!seats[1].take(other, at(900)).done);
        assert_eq!(seats[1].disk().incarnation, 2);
    }
}
