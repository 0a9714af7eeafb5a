//! Timeout: bytes are withheld, and the connection is closed so long after injection or accept.
//!
//! The time never starts over, so a busy connection ends as well. Bytes withheld are gone: removal, or the source's
//! own close, then ends the connection, since a stream with a hole must not look whole.

use std::time::Duration;

use super::{Answer, Behaviour, Close, View};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Span;

#[derive(Debug)]
pub(super) struct Timeout {
    /// Zero: it never closes.
    after: Duration,
    since: Moment,
    lost_bytes: bool,
}

impl Timeout {
    pub(super) fn new(after: Span, now: Moment) -> Timeout {
        Timeout { after: after.0, since: now, lost_bytes: false }
    }
}

impl Behaviour for Timeout {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::Timeout { after } = *toxic else { return false };
        self.after = after.0;
        true
    }

    fn ask(&mut self, _view: View<'_>, _dice: &mut Dice) -> Answer {
        self.lost_bytes = true;
        Answer::Withhold
    }

    fn close(&self, close: Close, arrived: Moment) -> (Close, Moment) {
        (if self.lost_bytes { close.max(Close::End) } else { close }, arrived)
    }

    fn ends(&self) -> Option<(Moment, Close)> {
        (!self.after.is_zero()).then(|| (self.since + self.after, Close::End))
    }

    fn owes(&self) -> Option<Close> {
        self.lost_bytes.then_some(Close::End)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rig::{ask, chain, closes, latency, ms, run, sizes, span};
    use super::*;
    use crate::proxy::chain::{Step, ToxicId};

    fn timeout(after: &str) -> Toxic {
        Toxic::Timeout { after: span(after) }
    }

    #[test]
    fn a_busy_connection_is_closed_in_time() {
        let mut chain = chain([timeout("500ms")]);
        let mut left = Vec::new();
        for at in [0, 200, 400, 499] {
            chain.offer(Bytes::from_static(b"busy"), ms(at));
            assert_eq!(ask(&mut chain, ms(at), &mut left), Some(ms(500)));
        }
        ask(&mut chain, ms(500), &mut left);
        assert_eq!((sizes(&left), closes(&left)), (vec![], vec![(ms(500), Close::End)]));
        let tally = chain.tally_of(ToxicId(0)).unwrap();
        assert_eq!((tally.withheld_bytes, tally.closes), (16, 1), "what it has done can be asked after the end");
    }

    #[test]
    fn zero_never_closes_and_holds_nothing() {
        let mut chain = chain([timeout("0s")]);
        for at in 0..10_000 {
            chain.offer(Bytes::from(vec![0; 65_536.min(chain.room())]), ms(at));
            assert_eq!(chain.next(ms(at)), Step::Wait(None));
        }
        assert_eq!(chain.held(), 0);
    }

    #[test]
    fn removal_closes_only_where_bytes_are_missing() {
        let mut unharmed = chain([timeout("1s")]);
        unharmed.remove(ToxicId(0), ms(1));
        unharmed.offer(Bytes::from_static(b"on"), ms(2));
        assert_eq!(unharmed.next(ms(2)), Step::Send(Bytes::from_static(b"on")));

        let mut harmed = chain([timeout("1s")]);
        harmed.offer(Bytes::from_static(b"lost"), ms(0));
        harmed.next(ms(0));
        harmed.remove(ToxicId(0), ms(1));
        assert_eq!(harmed.next(ms(1)), Step::Close(Close::End));
        assert_eq!(harmed.next(ms(1)), Step::Wait(None));
    }

    #[test]
    fn the_source_s_close_passes_at_once_but_never_as_a_half_close_behind_a_hole() {
        let mut whole = chain([timeout("1s")]);
        whole.finish(ms(5));
        assert_eq!(whole.next(ms(5)), Step::Close(Close::Fin));
        assert_eq!(closes(&run(&mut whole, ms(5), ms(5000))), [(ms(1000), Close::End)], "and still ends in time");

        let mut holed = chain([timeout("1s")]);
        holed.offer(Bytes::from_static(b"lost"), ms(0));
        holed.finish(ms(5));
        assert_eq!(holed.next(ms(5)), Step::Close(Close::End));
    }

    #[test]
    fn what_already_passed_it_leaves_before_the_close() {
        let mut chain = chain([latency("100ms")]);
        chain.offer(Bytes::from_static(b"early"), ms(0));
        let mut left = Vec::new();
        ask(&mut chain, ms(0), &mut left);
        chain.insert(ToxicId(1), timeout("50ms"), crate::seed::Seed(1).stream("t"), ms(10));
        chain.insert(ToxicId(2), latency("1s"), crate::seed::Seed(1).stream("l"), ms(10));
        assert_eq!(closes(&run(&mut chain, ms(10), ms(5000))), [(ms(60), Close::End)]);
    }

    #[test]
    fn a_peer_that_does_not_read_cannot_put_it_off() {
        let mut chain = chain([timeout("50ms")]);
        assert_eq!((chain.ends_at(), chain.overdue(ms(49))), (Some(ms(50)), None));
        assert_eq!(chain.overdue(ms(50)), Some(Close::End));
        assert_eq!((chain.ends_at(), chain.overdue(ms(51)), chain.next(ms(51))), (None, None, Step::Wait(None)));
    }
}
