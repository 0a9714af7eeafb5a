//! One node's decisions: whether it serves, what it ships, what it acknowledges. Pure, told the time.
//!
//! The reasoning why nothing is lost stands in [`super::controller`]; this is the node's half of it.

use super::protocol::{Append, Beat, Config, Heartbeat, Install, Shipment, Shipped, Side, Stamp};
use super::settings::{Commit, Settings};
use crate::clock::Moment;
use crate::system::lab::detector::Lease;
use crate::system::lab::kv::{Accepted, Confirmation};
use crate::system::lab::store::{Change, Misfit, Position, Store};

/// So many entries go to the standby in one request: group commit.
const BATCH: usize = 512;

/// What survives a kill.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The newest term known.
    pub term: u64,
    /// How often the node was started.
    pub boot: u64,
    /// Raised at each start and each promotion; clients see it in the place.
    pub incarnation: u64,
    /// Whether it served as primary when it was heard of last.
    pub primary: bool,
    /// The data.
    pub store: Store,
}

/// What a node is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes what the primary ships.
    Standby,
    /// Becomes primary.
    Promoting,
    /// Serves.
    Primary,
    /// Is primary as far as it knows, but does not serve: it has no lease, or is to hand over.
    Fenced,
}

impl Role {
    /// The word in labels and events.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Standby | Role::Promoting => "standby",
            Role::Primary => "primary",
            Role::Fenced => "fenced",
        }
    }
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
}

/// A node's duty, as its configuration says.
#[derive(Clone, Copy, Debug)]
enum Duty {
    Standby,
    Promoting { until: Moment },
    Primary(Follower),
}

/// What a primary knows of its standby.
#[derive(Clone, Copy, Debug)]
struct Follower {
    /// What to send next.
    next: Next,
    /// Its journal agrees with ours up to here.
    agreed: u64,
    /// It has said so since the record changed: it is there, not only up to date.
    heard: bool,
    /// Every write waits for it.
    required: bool,
    /// It has caught up, and we required it by ourselves; the gateway is to record it.
    joined: bool,
    /// A request to it is open.
    in_flight: bool,
    /// Writes are waiting for it without any progress since then.
    waiting_since: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// An empty request, to learn where it is.
    Probe,
    /// Entries behind this position.
    After(Position),
    /// Everything.
    Everything,
}

/// One node of the pair.
#[derive(Clone, Debug)]
pub struct Replica {
    me: Side,
    settings: Settings,
    disk: Disk,
    config: Option<Config>,
    duty: Duty,
    lease: Lease,
    committed: u64,
}

impl Replica {
    /// A node that starts with what is on its disk. It serves nobody before it has heard the gateway twice.
    pub fn boot(me: Side, settings: Settings, mut disk: Disk) -> Replica {
        disk.boot += 1;
        disk.incarnation += 1;
        let was_primary = disk.primary;
        let mut replica =
            Replica { me, settings, disk, config: None, duty: Duty::Standby, lease: Lease::default(), committed: 0 };
        if settings.stubborn && was_primary {
            replica.serve();
        }
        replica
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

    /// What it is now.
    pub fn role(&self, now: Moment) -> Role {
        match self.duty {
            Duty::Standby => Role::Standby,
            Duty::Promoting { .. } => Role::Promoting,
            Duty::Primary(_) if self.licensed(now) && !self.yields() => Role::Primary,
            Duty::Primary(_) => Role::Fenced,
        }
    }

    /// Whether whoever is primary is to hand over.
    pub fn yields(&self) -> bool {
        self.config.is_some_and(|config| config.yields)
    }

    /// What others may wait for.
    pub fn progress(&self, now: Moment) -> Progress {
        Progress { role: self.role(now), term: self.disk.term, committed: self.committed }
    }

    /// The version of the configuration that it has adopted since its start; 0 for none.
    pub fn version(&self) -> u64 {
        self.config.map_or(0, |config| config.version)
    }

    /// Whether writes and reads are served; `meant_for` is the term that the gateway routed by, if it did.
    pub fn admits(&self, meant_for: Option<u64>, now: Moment) -> Result<(), Refusal> {
        let stale = self.settings.fencing && meant_for.is_some_and(|term| term != self.disk.term);
        match self.role(now) {
            Role::Primary if !stale => Ok(()),
            Role::Fenced => Err(Refusal::NoLease),
            _ => Err(Refusal::NotPrimary),
        }
    }

    /// Makes a change; only after [`admits`](Self::admits). Acknowledge it once it is confirmed.
    pub fn write(&mut self, change: Change, now: Moment) -> Accepted {
        let term = self.disk.term;
        let index = self.disk.store.push(term, change);
        if let Duty::Primary(follower) = &mut self.duty {
            follower.waiting_since.get_or_insert(now);
        }
        self.commit();
        Accepted { term, index }
    }

    /// Something was read that rests on the entry `index`; only after [`admits`](Self::admits).
    pub fn read(&self, index: u64) -> Accepted {
        Accepted { term: self.disk.term, index }
    }

    /// Whether what was accepted in `term` and rests on `index` may be answered now.
    pub fn confirm(&self, term: u64, index: u64, now: Moment) -> Confirmation {
        if self.disk.term != term || !matches!(self.duty, Duty::Primary(_)) {
            return Confirmation::Replaced;
        }
        if index <= self.committed && self.licensed(now) { Confirmation::Confirmed } else { Confirmation::Waiting }
    }

    /// The gateway asks.
    pub fn heartbeat(&mut self, heartbeat: Heartbeat, now: Moment) -> Beat {
        let heard = heartbeat.echo.filter(|echo| echo.boot == self.disk.boot);
        if let Some(echo) = heard {
            self.lease.renew(echo.at, self.settings.lease());
        }
        // A heartbeat that does not answer this start of ours may be of any age.
        if heard.is_some() || !self.settings.fencing {
            self.adopt(heartbeat.config, now);
        }
        self.tick(now);
        let follower = self.follower();
        Beat {
            stamp: Stamp { boot: self.disk.boot, at: now },
            term: self.disk.term,
            version: self.version(),
            serving: self.role(now) == Role::Primary,
            joined: follower.is_some_and(|follower| follower.joined),
            stalled: self.stalled(now),
            drained: follower.is_some_and(|follower| follower.heard && follower.agreed == self.disk.store.last().index),
        }
    }

    /// Time passed: a promotion may have ended. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) {
        if let Duty::Promoting { until } = self.duty
            && now >= until
        {
            self.serve();
        }
        // Broken on purpose: without fencing a primary forgets a standby that it cannot reach, and asks nobody.
        if !self.settings.fencing
            && self.stalled(now)
            && let Duty::Primary(follower) = &mut self.duty
        {
            (follower.required, follower.joined) = (false, false);
            self.commit();
        }
    }

    /// When its role changes next although nothing is heard.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        let next = match &self.duty {
            Duty::Standby => None,
            Duty::Promoting { until } => Some(*until),
            Duty::Primary(_) if self.settings.fencing => self.lease.until(),
            Duty::Primary(follower) => follower.waiting_since.map(|since| since + self.settings.detect_after()),
        };
        next.filter(|next| *next > now)
    }

    /// What to ship to the standby now; none while a shipment is open or nothing is to be shipped.
    pub fn ship(&mut self) -> Option<Shipment> {
        let term = self.disk.term;
        let store = &self.disk.store;
        let Duty::Primary(follower) = &mut self.duty else { return None };
        if follower.in_flight {
            return None;
        }
        let shipment = match follower.next {
            Next::Probe => Shipment::Append(Append { term, prev: store.last(), entries: Vec::new() }),
            Next::After(prev) if prev == store.last() => return None,
            Next::After(prev) => match store.entries_after(prev, BATCH) {
                Some(entries) => Shipment::Append(Append { term, prev, entries }),
                None => Shipment::Install(Install { term, store: store.snapshot() }),
            },
            Next::Everything => Shipment::Install(Install { term, store: store.snapshot() }),
        };
        follower.in_flight = true;
        Some(shipment)
    }

    /// The standby's half: takes what a primary ships.
    pub fn take(&mut self, shipment: Shipment) -> Shipped {
        let term = match &shipment {
            Shipment::Append(append) => append.term,
            Shipment::Install(install) => install.term,
        };
        let (newer, serves) = (term > self.disk.term, !matches!(self.duty, Duty::Standby));
        if term < self.disk.term || (serves && (!newer || self.settings.stubborn)) {
            return Shipped::Fenced(self.disk.term);
        }
        if newer {
            self.disk.term = term;
            self.stand_by();
        }
        match shipment {
            Shipment::Append(append) => match self.disk.store.follow(term, append.prev, append.entries) {
                Ok(agreed) => Shipped::Agreed(agreed),
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

    /// The standby answered what was shipped in `term`; none: it did not.
    pub fn shipped(&mut self, term: u64, answer: Option<Shipped>, now: Moment) {
        if term != self.disk.term {
            return;
        }
        let last = self.disk.store.last();
        let Duty::Primary(follower) = &mut self.duty else { return };
        follower.in_flight = false;
        match answer {
            Some(Shipped::Agreed(index)) => {
                follower.heard = true;
                if index > follower.agreed {
                    follower.agreed = index;
                    follower.waiting_since = Some(now);
                }
                let position = if index == last.index { Some(last) } else { self.disk.store.position(index) };
                follower.next = position.map_or(Next::Everything, Next::After);
                if index == last.index {
                    follower.waiting_since = None;
                    follower.joined |= !follower.required;
                    follower.required |= follower.joined;
                }
                self.commit();
            }
            Some(Shipped::Behind(position)) => follower.next = Next::After(position),
            Some(Shipped::Diverged) => follower.next = Next::Everything,
            Some(Shipped::Fenced(newer)) if self.settings.fencing => {
                self.disk.term = newer;
                self.stand_by();
            }
            // It may have taken them; asking where it is costs one round trip.
            Some(Shipped::Fenced(_)) | None => follower.next = Next::Probe,
        }
    }

    fn follower(&self) -> Option<&Follower> {
        match &self.duty {
            Duty::Primary(follower) => Some(follower),
            _ => None,
        }
    }

    fn licensed(&self, now: Moment) -> bool {
        !self.settings.fencing || self.lease.holds(now)
    }

    fn stalled(&self, now: Moment) -> bool {
        self.settings.commit == Commit::Sync
            && self.follower().is_some_and(|follower| {
                follower.required
                    && follower.waiting_since.is_some_and(|since| now >= since + self.settings.detect_after())
            })
    }

    fn adopt(&mut self, config: Config, now: Moment) {
        if config.version <= self.version() || config.term < self.disk.term {
            return;
        }
        if self.settings.stubborn && self.disk.primary && config.primary != self.me {
            return;
        }
        self.config = Some(config);
        let new_term = config.term > self.disk.term;
        let first_term = self.disk.term == 0;
        self.disk.term = config.term;
        if config.primary != self.me {
            self.stand_by();
        } else if let (Duty::Primary(follower), false) = (&mut self.duty, new_term) {
            follower.required = config.standby_in_sync;
            (follower.joined, follower.heard) = (false, false);
            // A standby that was taken out while there was nothing to ship is asked, so that it can come in again.
            follower.next = Next::Probe;
            self.commit();
        } else if new_term && !first_term {
            self.duty = Duty::Promoting { until: now + self.settings.promotion };
        } else {
            self.serve();
        }
    }

    /// Is primary no more.
    fn stand_by(&mut self) {
        self.duty = Duty::Standby;
        self.disk.primary = false;
    }

    /// Begins to serve. A promotion is a new incarnation: clients that see it know that they were moved.
    fn serve(&mut self) {
        if matches!(self.duty, Duty::Promoting { .. }) {
            self.disk.incarnation += 1;
        }
        self.committed = 0;
        self.disk.primary = true;
        self.duty = Duty::Primary(Follower {
            next: Next::Probe,
            agreed: 0,
            heard: false,
            required: self.config.is_some_and(|config| config.standby_in_sync),
            joined: false,
            in_flight: false,
            waiting_since: None,
        });
        self.commit();
    }

    fn commit(&mut self) {
        let last = self.disk.store.last().index;
        if let Duty::Primary(follower) = &self.duty {
            let waits = self.settings.commit == Commit::Sync && follower.required;
            self.committed = self.committed.max(if waits { follower.agreed } else { last });
        }
    }
}
