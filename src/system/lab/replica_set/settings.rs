//! What can be set on a replica set, and what follows from it.

use std::time::Duration;

use super::members::{Home, Members};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Once a majority of the members has it, the primary included.
    Quorum,
    /// Once every member has it: any one of them can be primary next. A member that is lost holds up everything until
    /// it is taken out.
    All,
    /// Once the primary has it. Broken on purpose.
    Async,
}

impl Commit {
    /// So many of the members must have a write before it is acknowledged, and be bound to the primary: W.
    pub fn enough(self, members: Members) -> usize {
        match self {
            Commit::Quorum | Commit::Async => members.majority(),
            Commit::All => members.len(),
        }
    }

    /// Any so many members include one of every W: N - W + 1. An election asks them.
    pub fn blocking(self, members: Members) -> usize {
        members.len() - self.enough(members) + 1
    }
}

/// The settings of one set; every node of it has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When a write is acknowledged.
    pub commit: Commit,
    /// Whether a replaced primary is kept from serving and from changing its former members. Off is broken on purpose.
    pub fencing: bool,
    /// Whether a secondary that has not heard its primary for a lease refuses to read. Off is broken on purpose.
    pub bounded_reads: bool,
    /// How often the control ring asks each node, and a primary its members.
    pub heartbeat: Duration,
    /// So many heartbeats without an answer make a node suspect.
    pub misses: u32,
    /// How long a secondary takes to become primary.
    pub promotion: Duration,
    /// How long an engine takes to start on the spot before it can be primary.
    pub engine_start: Duration,
    /// A member that is suspect for so long is taken out, and a spare takes its place.
    pub rebuild_after: Duration,
    /// So long after an ordered failover no other is granted.
    pub failover_limit: Duration,
    /// So many copies there should be.
    pub copies: usize,
    /// Without spares the set shrinks to no fewer members than this.
    pub least: usize,
    /// The nodes that can hold copies, by [`Home`]: while it stands in one, the set uses none of the other.
    pub homes: [Members; 2],
    /// How long a copy takes to be built elsewhere, before what its data really take.
    pub seeding: Duration,
    /// Whether a new copy is built before it counts. Off is broken on purpose.
    pub joint: bool,
}

impl Settings {
    /// [`homes`](Self::homes) of a set that stands where it stands.
    pub fn one_home() -> [Members; 2] {
        [Members::ALL, Members::default()]
    }

    /// The nodes of a home.
    pub fn home(&self, home: Home) -> Members {
        self.homes[home as usize]
    }

    /// Silence for so long makes a node suspect.
    pub fn detect_after(&self) -> Duration {
        self.heartbeat * self.misses
    }

    /// By every answer a member promises its primary for so long that it follows nobody else.
    pub fn lease(&self) -> Duration {
        self.heartbeat * self.misses
    }

    /// A primary writes to each member at least so often, so that its leases go on.
    pub fn renew_after(&self) -> Duration {
        self.heartbeat / 2
    }

    /// An answer is awaited for so long; what is lost once is sent again before the lease ends.
    pub fn answer_within(&self) -> Duration {
        self.lease() / 2
    }

    /// A primary that has held no lease for so long stops being one, so that its members are free for another.
    pub fn abandon_after(&self) -> Duration {
        self.lease() * 2
    }
}

#[cfg(test)]
impl Settings {
    /// What tests run with.
    pub(in crate::system::lab) fn for_tests() -> Settings {
        Settings {
            commit: Commit::Quorum,
            fencing: true,
            bounded_reads: true,
            heartbeat: Duration::from_millis(50),
            misses: 4,
            promotion: Duration::from_millis(60),
            engine_start: Duration::from_millis(20),
            rebuild_after: Duration::from_millis(200),
            failover_limit: Duration::from_secs(1),
            copies: 4,
            least: 2,
            homes: Settings::one_home(),
            seeding: Duration::ZERO,
            joint: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_in_an_election_meets_everybody_whom_a_commit_took() {
        for count in 1..=9 {
            let members = Members::first(count);
            for commit in [Commit::Quorum, Commit::All] {
                let both = commit.enough(members) + commit.blocking(members);
                assert_eq!(both, count + 1, "{commit:?}: they meet, and no more than needed are asked");
            }
        }
        let four = Members::first(4);
        assert_eq!([Commit::Quorum, Commit::All].map(|commit| commit.blocking(four)), [2, 1]);
    }
}
