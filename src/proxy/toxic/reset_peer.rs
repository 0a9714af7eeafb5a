//! Reset: the connection gets an RST on both sides, so long after injection or accept, busy or idle.
//!
//! Bytes pass until then; what is held at that moment is gone with the connection.

use std::time::Duration;

use super::{Answer, Behaviour, Close, View};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Span;

#[derive(Debug)]
pub(super) struct ResetPeer {
    after: Duration,
    since: Moment,
}

impl ResetPeer {
    pub(super) fn new(after: Span, now: Moment) -> ResetPeer {
        ResetPeer { after: after.0, since: now }
    }
}

impl Behaviour for ResetPeer {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::ResetPeer { after } = *toxic else { return false };
        self.after = after.0;
        true
    }

    fn ask(&mut self, view: View<'_>, _dice: &mut Dice) -> Answer {
        Answer::pass(view)
    }

    fn ends(&self) -> Option<(Moment, Close)> {
        Some((self.since + self.after, Close::Reset))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rig::{bytes, chain, closes, latency, ms, run, span};
    use super::*;
    use crate::proxy::chain::{Step, ToxicId};
    use crate::seed::Seed;

    fn reset(after: &str) -> Toxic {
        Toxic::ResetPeer { after: span(after) }
    }

    #[test]
    fn an_idle_connection_is_reset_in_time() {
        let mut chain = chain([reset("2s")]);
        assert_eq!(closes(&run(&mut chain, ms(0), ms(9999))), [(ms(2000), Close::Reset)]);
    }

    #[test]
    fn it_counts_from_its_injection_and_an_update_does_not_start_it_over() {
        let mut chain = chain([]);
        chain.insert(ToxicId(0), reset("1s"), Seed(1).stream("r"), ms(500));
        assert_eq!(chain.next(ms(500)), Step::Wait(Some(ms(1500))));
        chain.update(ToxicId(0), reset("2s"), ms(1400));
        assert_eq!(closes(&run(&mut chain, ms(1400), ms(9999))), [(ms(2500), Close::Reset)]);
    }

    #[test]
    fn bytes_pass_until_then_and_what_is_held_is_freed_at_once() {
        let mut chain = chain([reset("100ms"), latency("60ms")]);
        chain.offer(Bytes::from_static(b"passes"), ms(0));
        chain.offer(Bytes::from_static(b"too late"), ms(50));
        let left = run(&mut chain, ms(50), ms(1000));
        assert_eq!(bytes(&left), b"passes");
        assert_eq!(closes(&left), [(ms(100), Close::Reset)]);
        assert_eq!((chain.held(), chain.room(), chain.tally().withheld_bytes), (0, 0, 8));
    }

    #[test]
    fn it_strikes_after_a_half_close_as_well() {
        let mut chain = chain([reset("100ms")]);
        chain.finish(ms(10));
        let left = run(&mut chain, ms(10), ms(1000));
        assert_eq!(closes(&left), [(ms(10), Close::Fin), (ms(100), Close::Reset)]);
    }

    #[test]
    fn removed_in_time_it_leaves_no_trace() {
        let mut chain = chain([reset("100ms")]);
        chain.remove(ToxicId(0), ms(99));
        assert!(chain.is_empty());
        assert_eq!(chain.next(ms(100)), Step::Wait(None));
    }
}
