//! Faults in force on a link: what each concerns, and what it has counted.

use super::Tools;
use super::connection::Connection;
use crate::clock::Moment;
use crate::event::LinkCounters;
use crate::plan::fault::{Direction, Toxic};
use crate::proxy::chain::{Tally, ToxicId};
use crate::proxy::reach::Reach;
use crate::seed::{Dice, Seed};

/// A toxic in force on a link.
#[derive(Debug)]
pub(super) struct ActiveToxic {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) seed: Seed,
    pub(super) direction: Direction,
    pub(super) share: f64,
    pub(super) toxic: Toxic,
    /// Packet loss that the kernel makes.
    pub(super) in_kernel: bool,
    /// What it has done on connections that are gone.
    pub(super) tally: Tally,
    pub(super) before: LinkCounters,
}

/// A reach fault in force on a link.
#[derive(Debug)]
pub(super) struct ActiveReach {
    pub(super) id: u64,
    pub(super) reach: Reach,
    /// Whether a flap is down; true for all others.
    pub(super) cuts_now: bool,
    /// Connections that it refused, reset, dropped, orphaned or left unanswered.
    pub(super) hits: u64,
    pub(super) dice: Dice,
    pub(super) before: LinkCounters,
}

/// An HTTP fault in force on a link.
#[derive(Debug)]
pub(super) struct ActiveHttp {
    pub(super) id: u64,
    pub(super) before: LinkCounters,
}

impl ActiveReach {
    pub(super) fn shuts(&self) -> bool {
        matches!(self.reach, Reach::Refuse | Reach::Refused)
    }

    pub(super) fn resets(&self) -> bool {
        matches!(self.reach, Reach::Reset)
    }

    pub(super) fn silences(&self) -> bool {
        matches!(self.reach, Reach::Silent(_) | Reach::BlackHole | Reach::Flap { .. })
    }
}

impl ActiveToxic {
    /// Whether it concerns a connection: drawn from a stream of its own, so that the answer never changes.
    pub(super) fn concerns(&self, number: u64) -> bool {
        self.share >= 1.0 || self.seed.stream(&format!("{}/{number}/share", self.name)).chance(self.share)
    }

    /// Takes its place at the end of a connection's chains.
    pub(super) fn join(&self, connection: &mut Connection, tools: &mut Tools, now: Moment) {
        if self.in_kernel || !self.concerns(connection.number) {
            return;
        }
        let number = connection.number;
        let dice = |way: &str| self.seed.stream(&format!("{}/{number}/{way}", self.name));
        if self.direction != Direction::Down {
            connection.up.insert(ToxicId(self.id), self.toxic, dice("up"), tools, now);
        }
        if self.direction != Direction::Up {
            connection.down.insert(ToxicId(self.id), self.toxic, dice("down"), tools, now);
        }
    }

    pub(super) fn tally_on(&self, connection: &Connection) -> Tally {
        let id = ToxicId(self.id);
        let mut tally = connection.up.tally_of(id);
        tally += connection.down.tally_of(id);
        tally
    }
}
