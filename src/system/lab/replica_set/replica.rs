//! One node's decisions: whom it follows, what it promises, whether it serves. Pure, told the time.

use super::members::Id;
use super::primary::Primary;
use super::protocol::{Beat, Departure, Heartbeat, Prepare, Record, Shipment, Shipped, Ticket};
use super::settings::Settings;
use crate::clock::Moment;
use crate::system::lab::kv::{Accepted, Confirmation};
use crate::system::lab::store::{Change, Misfit, Store};

/// What survives a kill.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// It follows nobody of an older term.
    pub term: u64,
    /// The newest term that it was primary of. It never is so twice: what it had promised as one was in memory.
    pub started: u64,
    /// Raised at each start and each promotion; clients see it in the place.
    pub incarnation: u64,
    /// The data.
    pub store: Store,
}

/// What a node is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds no copy that counts.
    Spare,
    /// Takes what the primary ships.
    Secondary,
    /// Becomes primary.
    Promoting,
    /// Serves.
    Primary,
    /// Is primary as far as it knows, but may not serve: it has no lease, or not yet.
    Fenced,
}

impl Role {
    /// The word in labels and events.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Spare => "spare",
            Role::Secondary | Role::Promoting => "secondary",
            Role::Primary => "primary",
            Role::Fenced => "fenced",
        }
    }
}

/// What a client wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Reads and writes; only a primary will do. With the term that it was routed by.
    ReadWrite(Option<u64>),
    /// Reads only; a secondary that hears its primary will do.
    ReadOnly,
}

/// What others may wait for; when it changes, they look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is.
    pub role: Role,
    /// The newest term that it knows.
    pub term: u64,
    /// Everything up to this entry may be answered.
    pub committed: u64,
}

/// The node does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not primary, or not of the term that the request was meant for.
    #[error("not the primary")]
    NotPrimary,
    /// It is primary as far as it knows, but without a lease.
    #[error("no lease")]
    NoLease,
    /// It is no secondary, or has not heard its primary for too long.
    #[error("no secondary that is up to date")]
    NotCurrent,
}

/// A node's duty.
#[derive(Clone, Debug)]
enum Duty {
    Member,
    Promoting { until: Moment },
    Primary(Box<Primary>),
}

/// What a member has promised the primary that it follows.
#[derive(Clone, Copy, Debug)]
struct Grant {
    /// The primary's term.
    term: u64,
    /// It follows nobody else until then.
    until: Moment,
}

/// One node that can hold a copy.
#[derive(Clone, Debug)]
pub struct Replica {
    me: Id,
    settings: Settings,
    disk: Disk,
    record: Option<Record>,
    duty: Duty,
    grant: Grant,
    /// When the primary that it follows was heard last.
    heard: Option<Moment>,
    /// As a member: its primary said that everything up to here is committed.
    committed: u64,
    booted: Moment,
    /// Has done nothing since its start.
    fresh: bool,
    restart: bool,
}

impl Replica {
    /// A node that starts with what is on its disk. It serves nobody before the ring has told it its place.
    pub fn boot(me: Id, settings: Settings, mut disk: Disk, now: Moment) -> Replica {
        disk.incarnation += 1;
        // What it had promised was in memory; it keeps to the longest that it can have been. A node that was primary
        // of the newest term that it knows had promised nobody anything.
        let until = if disk.started == disk.term { now } else { now + settings.lease() };
        Replica {
            me,
            settings,
            record: None,
            duty: Duty::Member,
            grant: Grant { term: disk.term, until },
            heard: None,
            committed: 0,
            booted: now,
            fresh: true,
            restart: false,
            disk,
        }
    }

    /// What is left of it after a kill.
    pub fn into_disk(self) -> Disk {
        self.disk
    }

    /// Its data.
    pub fn store(&self) -> &Store {
        &self.disk.store
    }

    /// Raised at each start and promotion.
    pub fn incarnation(&self) -> u64 {
        self.disk.incarnation
    }

    /// The record that it acts by.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Whether its engine is to be started anew: [`boot`](Self::boot) with its own [`Disk`].
    pub fn wants_restart(&self) -> bool {
        self.restart
    }

    /// What it is now.
    pub fn role(&self, now: Moment) -> Role {
        match &self.duty {
            Duty::Member if self.record.is_some_and(|record| !record.members.contains(self.me)) => Role::Spare,
            Duty::Member => Role::Secondary,
            Duty::Promoting { .. } => Role::Promoting,
            Duty::Primary(primary) if primary.serves(now) => Role::Primary,
            Duty::Primary(_) => Role::Fenced,
        }
    }

    /// What others may wait for.
    pub fn progress(&self, now: Moment) -> Progress {
        let committed = match &self.duty {
            Duty::Primary(primary) => primary.committed(),
            _ => self.committed,
        };
        Progress { role: self.role(now), term: self.disk.term, committed }
    }

    /// Whether a client is served.
    pub fn admits(&self, intent: Intent, now: Moment) -> Result<(), Refusal> {
        let current = || match self.settings.bounded_reads {
            true => self.heard.is_some_and(|heard| now < heard + self.settings.lease()),
            false => true,
        };
        let stale =
            |meant_for: Option<u64>| self.settings.fencing && meant_for.is_some_and(|term| term != self.disk.term);
        match (intent, self.role(now)) {
            (Intent::ReadWrite(meant_for), Role::Primary) if !stale(meant_for) => Ok(()),
            (Intent::ReadWrite(_), Role::Fenced) => Err(Refusal::NoLease),
            (Intent::ReadWrite(_), _) => Err(Refusal::NotPrimary),
            (Intent::ReadOnly, Role::Primary) => Ok(()),
            (Intent::ReadOnly, Role::Secondary) if current() => Ok(()),
            (Intent::ReadOnly, _) => Err(Refusal::NotCurrent),
        }
    }

    /// Makes a change; only after [`admits`](Self::admits). Acknowledge it once it is confirmed.
    pub fn write(&mut self, change: Change) -> Accepted {
        let term = self.disk.term;
        let index = self.disk.store.push(term, change);
        if let Duty::Primary(primary) = &mut self.duty {
            primary.commit(index);
        }
        Accepted { term, index }
    }

    /// Something was read that rests on the entry `index`; only after [`admits`](Self::admits).
    pub fn read(&self, index: u64) -> Accepted {
        Accepted { term: self.disk.term, index }
    }

    /// Whether what was accepted in `term` and rests on `index` may be answered now.
    pub fn confirm(&self, intent: Intent, term: u64, index: u64, now: Moment) -> Confirmation {
        let (committed, may) = match (&self.duty, intent) {
            _ if self.disk.term != term => return Confirmation::Replaced,
            // One that leaves still answers for what it has accepted.
            (Duty::Primary(primary), _) => (primary.committed(), primary.licensed(now)),
            (Duty::Member, Intent::ReadOnly) => (self.committed, true),
            _ => return Confirmation::Replaced,
        };
        if index <= committed && may { Confirmation::Confirmed } else { Confirmation::Waiting }
    }

    /// The control ring asks.
    pub fn heartbeat(&mut self, heartbeat: Heartbeat, now: Moment) -> Beat {
        self.adopt(heartbeat.record, now);
        if let Some(prepare) = heartbeat.prepare {
            self.promise(prepare, now);
        }
        if let (Some(resign), Duty::Primary(primary)) = (heartbeat.resign, &mut self.duty)
            && primary.term() == resign.term
        {
            primary.leave(resign.how, now);
        }
        self.tick(now);
        Beat {
            term: self.disk.term,
            last: self.disk.store.last(),
            given_up: self.given_up(),
            version: self.record.map_or(0, |record| record.version),
            serving: self.role(now) == Role::Primary,
            joined: matches!(&self.duty, Duty::Primary(primary) if primary.joined()),
        }
    }

    /// Time passed. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) {
        let last = self.disk.store.last().index;
        match &mut self.duty {
            Duty::Member => {}
            Duty::Promoting { until } if now >= *until => self.begin(now),
            Duty::Promoting { .. } => {}
            Duty::Primary(primary) => {
                primary.join(now);
                primary.commit(last);
                let left = primary.left(last, now);
                self.restart |= left == Some(Departure::Restart);
                if left.is_some() || primary.abandoned(now) {
                    self.duty = Duty::Member;
                }
            }
        }
    }

    /// When it has something to do although nothing is heard.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        match &self.duty {
            Duty::Member => None,
            Duty::Promoting { until } => Some(*until),
            Duty::Primary(_) => Some(now + self.settings.renew_after()),
        }
    }

    /// To whom it ships.
    pub fn followers(&self) -> Vec<Id> {
        match &self.duty {
            Duty::Primary(primary) => primary.followers().collect(),
            _ => Vec::new(),
        }
    }

    /// What to ship to a member now; none while a shipment to it is open or there is nothing to say.
    pub fn ship(&mut self, to: Id, now: Moment) -> Option<(Ticket, Shipment)> {
        match &mut self.duty {
            Duty::Primary(primary) => primary.ship(to, &self.disk.store, now),
            _ => None,
        }
    }

    /// The member's half: takes what a primary ships.
    pub fn take(&mut self, shipment: Shipment, now: Moment) -> Shipped {
        let term = shipment.term();
        let (fencing, serves) = (self.settings.fencing, !matches!(self.duty, Duty::Member));
        // Broken on purpose: without fencing a member takes anything, and a primary gives way to nobody but the ring.
        let older = term < self.disk.term && fencing;
        if older || (serves && (term <= self.disk.term || !fencing)) {
            return Shipped::Fenced(self.disk.term);
        }
        if term > self.disk.term {
            self.disk.term = term;
            self.duty = Duty::Member;
        }
        self.fresh = false;
        self.heard = Some(now);
        self.grant = Grant { term, until: self.grant.until.max(now + self.settings.lease()) };
        match shipment {
            Shipment::Append(append) => match self.disk.store.follow(term, append.prev, append.entries) {
                Ok(agreed) => {
                    self.committed = self.committed.max(append.committed.min(agreed));
                    Shipped::Agreed(agreed)
                }
                Err(Misfit::Gap) => Shipped::Behind(self.disk.store.last()),
                Err(Misfit::Diverged) => Shipped::Diverged,
            },
            Shipment::Install(install) => {
                let (ours, theirs) = (self.disk.store.last(), install.store.last());
                // A snapshot that was held up on its way must not undo what came after it.
                let outdated = ours.term == term && theirs.index < ours.index;
                if !outdated {
                    self.disk.store = install.store;
                }
                Shipped::Agreed(theirs.index)
            }
        }
    }

    /// A member answered a shipment; none: it did not.
    pub fn shipped(&mut self, from: Id, ticket: Ticket, answer: Option<Shipped>, now: Moment) {
        let Duty::Primary(primary) = &mut self.duty else { return };
        if !primary.awaits(from, ticket) {
            return;
        }
        match answer {
            Some(Shipped::Fenced(newer)) if self.settings.fencing && newer > ticket.term => {
                self.disk.term = newer;
                self.duty = Duty::Member;
            }
            answer => primary.shipped(from, ticket, answer, &self.disk.store, now),
        }
    }

    /// It does not serve in this term or an older one, and never will.
    fn given_up(&self) -> u64 {
        match self.duty {
            // What it has promised it may still be elected to, unless it was so already.
            Duty::Member => self.disk.started.max(self.disk.term.saturating_sub(1)),
            Duty::Promoting { .. } | Duty::Primary(_) => self.disk.term.saturating_sub(1),
        }
    }

    /// Promises to follow nobody of a term older than the one that is to be, unless it has promised otherwise.
    fn promise(&mut self, prepare: Prepare, now: Moment) {
        let bound = match &self.duty {
            Duty::Member => self.settings.fencing && now < self.grant.until && self.grant.term > prepare.released,
            Duty::Promoting { .. } => false,
            Duty::Primary(primary) => primary.licensed(now),
        };
        if prepare.term > self.disk.term && !bound {
            self.disk.term = prepare.term;
            self.duty = Duty::Member;
        }
    }

    fn adopt(&mut self, record: Record, now: Moment) {
        let known = self.record.map_or(0, |record| record.version);
        if record.version <= known || record.term < self.disk.term {
            return;
        }
        let first = self.disk.term == 0;
        self.record = Some(record);
        if record.term > self.disk.term {
            self.disk.term = record.term;
            self.duty = Duty::Member;
        }
        match &mut self.duty {
            Duty::Primary(primary) => primary.adopt(record, now),
            Duty::Member if record.primary == self.me && self.disk.started < record.term => {
                self.disk.started = record.term;
                self.duty = Duty::Promoting {
                    until: match (first, self.fresh) {
                        (true, _) => now,
                        (_, true) => self.booted + self.settings.engine_start,
                        (_, false) => now + self.settings.promotion,
                    },
                };
            }
            Duty::Member | Duty::Promoting { .. } => {}
        }
    }

    /// Begins its term. A promotion is a new incarnation: clients that see it know that they were moved.
    fn begin(&mut self, now: Moment) {
        let Some(record) = self.record else { return };
        if !self.fresh {
            self.disk.incarnation += 1;
        }
        self.fresh = false;
        let begun = self.disk.store.push(self.disk.term, Change::Begin);
        self.duty = Duty::Primary(Box::new(Primary::new(self.me, self.settings, record, begun, now)));
    }
}
