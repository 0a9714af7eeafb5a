//! Reach faults: whether a link's two ends can reach each other at all, and what they see if not.
//!
//! Several may be in force at once. Each speaks about some aspects of a link (the bytes of each direction, what a new
//! connection meets); about each aspect the newest fault that speaks wins, and healing it uncovers the rest.

use std::time::Duration;

use crate::plan::fault::Direction;

/// A reach fault on one link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Nothing arrives, nothing is answered. One-way concerns the direction of bytes; no connection is made
    /// either way, since a handshake needs both.
    Silent(Direction),
    /// All bytes of both directions are withheld; connections are left unanswered where the kernel drops, else accepted.
    BlackHole,
    /// Open connections are reset, and new ones as soon as they are made.
    Reset,
    /// Open connections are reset, and new ones refused.
    Refused,
    /// New connections are refused; open ones go on.
    Refuse,
    /// The server side of open connections goes away without a word; the client side stays open. New ones work.
    HalfOpen,
    /// A silent cut that comes and goes; it starts with the cut.
    Flap {
        /// Bytes pass for so long.
        up: Duration,
        /// Nothing passes for so long.
        down: Duration,
    },
    /// Closes a share of the open connections each second.
    Drop {
        /// From 0 to 1.
        share: f64,
        /// RST, or FIN.
        reset: bool,
        /// Once, at the injection, instead of each second.
        once: bool,
    },
}

/// What a new connection meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Door {
    /// It is served.
    #[default]
    Open,
    /// No answer; without kernel-drop, accepted and left alone.
    Silent,
    /// Reset as soon as it is made.
    Reset,
    /// Refused: the port does not listen.
    Shut,
}

/// What all reach faults in force amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Regime {
    /// Bytes from client to server are withheld.
    pub(crate) up_cut: bool,
    /// Bytes from server to client are withheld.
    pub(crate) down_cut: bool,
    /// What a new connection meets.
    pub(crate) door: Door,
}

impl Regime {
    /// The sum of these faults, oldest first; a flap comes with whether it cuts just now.
    pub(crate) fn of<'a>(faults: impl IntoIterator<Item = (&'a Reach, bool)>) -> Regime {
        let mut regime = Regime::default();
        for (fault, cuts_now) in faults {
            match fault {
                Reach::Silent(direction) => {
                    regime.up_cut |= *direction != Direction::Down;
                    regime.down_cut |= *direction != Direction::Up;
                    regime.door = Door::Silent;
                }
                Reach::Flap { .. } if !cuts_now => {}
                Reach::BlackHole | Reach::Flap { .. } => {
                    regime = Regime { up_cut: true, down_cut: true, door: Door::Silent };
                }
                Reach::Reset => regime.door = Door::Reset,
                Reach::Refused | Reach::Refuse => regime.door = Door::Shut,
                Reach::HalfOpen | Reach::Drop { .. } => {}
            }
        }
        regime
    }
}

impl Reach {
    /// The direction whose passed bytes speak against the fault.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Reach::Silent(direction) => direction,
            _ => Direction::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_fault_decides_what_a_new_connection_meets() {
        let (cut, refuse) = (Reach::Silent(Direction::Both), Reach::Refuse);
        let both = Regime::of([(&cut, true), (&refuse, true)]);
        assert_eq!(both, Regime { up_cut: true, down_cut: true, door: Door::Shut });
        let other_way = Regime::of([(&refuse, true), (&cut, true)]);
        assert_eq!(other_way.door, Door::Silent);
    }

    #[test]
    fn two_one_way_cuts_make_a_whole_one() {
        let regime = Regime::of([(&Reach::Silent(Direction::Up), true), (&Reach::Silent(Direction::Down), true)]);
        assert!(regime.up_cut && regime.down_cut);
    }

    #[test]
    fn a_flap_lets_an_older_fault_show_while_it_is_up() {
        let flap = Reach::Flap { up: Duration::from_secs(1), down: Duration::from_secs(1) };
        let older = Reach::Silent(Direction::Up);
        assert!(!Regime::of([(&older, true), (&flap, false)]).down_cut);
        assert!(Regime::of([(&older, true), (&flap, true)]).down_cut);
    }
}
