//! A primary's knowledge of its members: what each has, whether they let it serve, what is committed.

use std::collections::BTreeMap;

use super::members::{Id, Members};
use super::protocol::{Append, Departure, Install, Record, Shipment, Shipped, Ticket};
use super::settings::{Commit, Settings};
use crate::clock::Moment;
use crate::system::lab::store::{Position, Store};

/// So many entries go to a member in one request: group commit.
const BATCH: usize = 512;

/// A primary in its term.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    me: Id,
    settings: Settings,
    record: Record,
    since: Moment,
    /// The first entry of the term. Nothing is committed before it is: entries of older terms are with it only.
    begun: u64,
    committed: u64,
    followers: BTreeMap<Id, Follower>,
    /// From this commit on enough of the target are needed too, for every write and every lease.
    joint: Option<u64>,
    leaving: Option<(Departure, Moment)>,
    tickets: u64,
}

/// What a primary knows of one other member.
#[derive(Clone, Copy, Debug, Default)]
struct Follower {
    next: Next,
    /// A copy that is new is being built until then, and takes nothing.
    built: Option<Moment>,
    /// Its journal agrees with ours up to here.
    agreed: u64,
    /// It took everything that there was when it was sent.
    caught_up: bool,
    /// The request that is open.
    open: Option<u64>,
    /// When the last request was sent.
    sent: Option<Moment>,
    /// When the newest request was sent that it answered: its lease counts from here.
    heard: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// An empty request, to learn where it is.
    #[default]
    Probe,
    /// Entries behind this position.
    After(Position),
    /// Everything.
    Everything,
}

impl Primary {
    /// A primary whose term begins now, with the entry `begun`.
    pub(super) fn new(me: Id, settings: Settings, record: Record, begun: u64, now: Moment) -> Primary {
        let mut primary = Primary {
            me,
            settings,
            record,
            since: now,
            begun,
            committed: 0,
            followers: BTreeMap::new(),
            joint: None,
            leaving: None,
            tickets: 0,
        };
        primary.adopt(record, now);
        primary.commit(begun);
        primary
    }

    /// The ring has a newer record of the same term.
    pub(super) fn adopt(&mut self, record: Record, now: Moment) {
        if record.target != self.record.target || record.members != self.record.members {
            self.joint = None;
        }
        self.record = record;
        let copies = record.copies().without(self.me);
        self.followers.retain(|id, _| copies.contains(*id));
        for id in copies.iter() {
            let built = (!record.members.contains(id)).then_some(now + self.settings.seeding);
            self.followers.entry(id).or_insert(Follower { built, ..Follower::default() });
        }
    }

    pub(super) fn term(&self) -> u64 {
        self.record.term
    }

    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// To whom something may have to be shipped.
    pub(super) fn followers(&self) -> impl Iterator<Item = Id> {
        self.followers.keys().copied()
    }

    /// Whether enough of the members keep from following anybody else.
    pub(super) fn licensed(&self, now: Moment) -> bool {
        !self.settings.fencing || self.lease_until().is_some_and(|until| now < until)
    }

    /// Whether it serves: with a lease, with all that was ever acknowledged, and not about to leave.
    pub(super) fn serves(&self, now: Moment) -> bool {
        self.leaving.is_none() && self.committed >= self.begun && self.licensed(now)
    }

    /// Whether it has gone without any lease for so long that its members should be free for another primary.
    pub(super) fn abandoned(&self, now: Moment) -> bool {
        let of = |members| self.lease_of(members).unwrap_or_default();
        let held = self.record.target.map(of).max(Some(of(self.record.members))).max(Some(self.since));
        self.settings.fencing && held.is_some_and(|held| now >= held + self.settings.abandon_after())
    }

    /// Ends its time in good order.
    pub(super) fn leave(&mut self, how: Departure, now: Moment) {
        self.leaving.get_or_insert((how, now));
    }

    /// How it leaves, once everything that it accepted is committed or can no longer be waited for.
    pub(super) fn left(&self, last: u64, now: Moment) -> Option<Departure> {
        let (how, since) = self.leaving?;
        (self.committed >= last || now >= since + self.settings.lease()).then_some(how)
    }

    /// What to ship to a member now, with its counterfoil.
    pub(super) fn ship(&mut self, to: Id, store: &Store, now: Moment) -> Option<(Ticket, Shipment)> {
        let renewal = |sent: Moment| now >= sent + self.settings.renew_after();
        let (term, committed, last) = (self.record.term, self.committed, store.last());
        let follower = self.followers.get_mut(&to)?;
        if follower.open.is_some() || follower.built.is_some_and(|built| now < built) {
            return None;
        }
        let append = |prev, entries| Shipment::Append(Append { term, committed, prev, entries });
        let install = || Shipment::Install(Install { term, store: store.snapshot() });
        let shipment = match follower.next {
            Next::Probe => append(last, Vec::new()),
            Next::After(prev) if prev == last && !follower.sent.is_none_or(renewal) => return None,
            Next::After(prev) => match store.entries_after(prev, BATCH) {
                Some(entries) => append(prev, entries),
                None => install(),
            },
            Next::Everything => install(),
        };
        self.tickets += 1;
        follower.open = Some(self.tickets);
        follower.sent = Some(now);
        Some((Ticket { number: self.tickets, term, sent: now, last: last.index }, shipment))
    }

    /// Whether an answer is to the newest shipment to a member. Any other comes from the past and says nothing.
    pub(super) fn awaits(&self, from: Id, ticket: Ticket) -> bool {
        let open = self.followers.get(&from).and_then(|follower| follower.open);
        ticket.term == self.record.term && open == Some(ticket.number)
    }

    /// A member answered what is [awaited](Self::awaits), or did not in time.
    pub(super) fn shipped(&mut self, from: Id, ticket: Ticket, answer: Option<Shipped>, store: &Store, now: Moment) {
        let Some(follower) = self.followers.get_mut(&from) else { return };
        follower.open = None;
        if matches!(answer, Some(Shipped::Agreed(_) | Shipped::Behind(_) | Shipped::Diverged)) {
            follower.heard = follower.heard.max(Some(ticket.sent));
        }
        match answer {
            Some(Shipped::Agreed(index)) => {
                follower.agreed = follower.agreed.max(index);
                follower.caught_up |= index >= ticket.last;
                follower.next = store.position(index).map_or(Next::Everything, Next::After);
            }
            Some(Shipped::Behind(position)) => follower.next = Next::After(position),
            Some(Shipped::Diverged) => follower.next = Next::Everything,
            // It may have taken them; asking where it is costs one round trip.
            Some(Shipped::Fenced(_)) | None => follower.next = Next::Probe,
        }
        self.join(now);
        self.commit(store.last().index);
    }

    /// From the moment when every new member has caught up, the target is needed as well.
    pub(super) fn join(&mut self, now: Moment) {
        let Some(target) = self.record.target.filter(|_| self.joint.is_none()) else { return };
        let new = target.except(self.record.members);
        let caught_up = new.iter().all(|id| self.followers.get(&id).is_some_and(|follower| follower.caught_up));
        let leased = !self.settings.fencing || self.lease_of(target).is_some_and(|until| now < until);
        if caught_up && leased {
            self.joint = Some(self.committed.max(self.begun));
        }
    }

    /// Whether everything that was ever acknowledged is with enough of the target, and always will be.
    pub(super) fn joined(&self) -> bool {
        let agreed = self.record.target.and_then(|target| self.reached(target, |id| self.agreed(id)));
        self.joint.is_some_and(|from| agreed >= Some(from))
    }

    /// Raises what is committed; `last` is our own journal's end.
    pub(super) fn commit(&mut self, last: u64) {
        let reached = match self.settings.commit {
            Commit::Async => last,
            Commit::Quorum | Commit::All => {
                let mut reached = self.reached(self.record.members, |id| self.agreed(id).min(last));
                if let (Some(_), Some(target)) = (self.joint, self.record.target) {
                    reached = reached.min(self.reached(target, |id| self.agreed(id).min(last)));
                }
                reached.unwrap_or_default()
            }
        };
        if reached >= self.begun {
            self.committed = self.committed.max(reached);
        }
    }

    /// What a member has; we have everything, whatever that is.
    fn agreed(&self, id: Id) -> u64 {
        if id == self.me { u64::MAX } else { self.followers.get(&id).map_or(0, |follower| follower.agreed) }
    }

    /// Until when enough of everybody who counts follow nobody else.
    fn lease_until(&self) -> Option<Moment> {
        let until = self.lease_of(self.record.members)?;
        match self.record.target.filter(|_| self.joint.is_some()) {
            Some(target) => Some(until.min(self.lease_of(target)?)),
            None => Some(until),
        }
    }

    fn lease_of(&self, members: Members) -> Option<Moment> {
        let end = |id: Id| match self.followers.get(&id) {
            _ if id == self.me => Some(Moment(u64::MAX)),
            Some(follower) => follower.heard.map(|heard| heard + self.settings.lease()),
            None => None,
        };
        self.reached(members, end).flatten()
    }

    /// The greatest value that enough of these have reached.
    fn reached<T: Ord>(&self, members: Members, value: impl Fn(Id) -> T) -> Option<T> {
        members.reached(self.settings.commit.enough(members), value)
    }
}
