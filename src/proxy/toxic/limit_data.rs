//! Limit: so many bytes pass, then the connection is closed behind them.
//!
//! The count starts at injection or accept and survives updates. A limit of 0 closes at the first chunk.

use super::{Answer, Behaviour, View};
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Bytes;

#[derive(Debug)]
pub(super) struct LimitData {
    limit: u64,
    passed: u64,
}

impl LimitData {
    pub(super) fn new(bytes: Bytes) -> LimitData {
        LimitData { limit: bytes.0, passed: 0 }
    }
}

impl Behaviour for LimitData {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::LimitData { bytes } = *toxic else { return false };
        self.limit = bytes.0;
        true
    }

    fn ask(&mut self, view: View<'_>, _dice: &mut Dice) -> Answer {
        let left = self.limit.saturating_sub(self.passed);
        if left == 0 {
            return Answer::End;
        }
        let front = view.front.bytes.len();
        let len = usize::try_from(left).unwrap_or(front).min(front);
        self.passed += len as u64;
        Answer::Pass { len, at: view.front.arrived }
    }

    fn is_spent(&self) -> bool {
        self.passed > 0 && self.passed >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{bytes, chain, closes, latency, ms, run, sizes};
    use super::*;
    use crate::proxy::chain::{Close, Step, ToxicId};

    fn limit(limit: u64) -> Toxic {
        Toxic::LimitData { bytes: Bytes(limit) }
    }

    #[test]
    fn the_chunk_that_crosses_the_limit_is_cut_and_the_close_follows() {
        let mut chain = chain([limit(7)]);
        chain.offer(bytes::Bytes::from_static(b"01234"), ms(0));
        chain.offer(bytes::Bytes::from_static(b"56789"), ms(1));
        let left = run(&mut chain, ms(1), ms(1));
        assert_eq!(bytes(&left), b"0123456");
        assert_eq!(closes(&left), [(ms(1), Close::End)]);
        assert_eq!(chain.tally().withheld_bytes, 3);
    }

    #[test]
    fn reached_exactly_it_closes_without_waiting_for_more() {
        let mut chain = chain([limit(5), latency("10ms")]);
        chain.offer(bytes::Bytes::from_static(b"01234"), ms(0));
        let left = run(&mut chain, ms(0), ms(1000));
        assert_eq!(sizes(&left), [(ms(10), 5)]);
        assert_eq!(closes(&left), [(ms(10), Close::End)], "behind the bytes that passed");
    }

    #[test]
    fn zero_closes_at_the_first_chunk_and_not_before() {
        let mut chain = chain([limit(0)]);
        assert_eq!(chain.next(ms(0)), Step::Wait(None));
        chain.offer(bytes::Bytes::from_static(b"x"), ms(1));
        assert_eq!(chain.next(ms(1)), Step::Close(Close::End));
    }

    #[test]
    fn everything_before_it_is_freed_when_it_strikes() {
        let mut chain = chain([latency("10ms"), limit(1), latency("1h")]);
        chain.offer(bytes::Bytes::from_static(b"ab"), ms(0));
        for at in 1..1000 {
            chain.offer(bytes::Bytes::from(vec![0; 10_000]), ms(at));
            chain.next(ms(at));
        }
        assert_eq!((chain.held(), chain.room()), (1, 0));
    }

    #[test]
    fn an_update_goes_on_counting() {
        let mut chain = chain([limit(6)]);
        chain.offer(bytes::Bytes::from_static(b"0123"), ms(0));
        assert_eq!(bytes(&run(&mut chain, ms(0), ms(0))), b"0123");
        chain.update(ToxicId(0), limit(10), ms(1));
        chain.offer(bytes::Bytes::from_static(b"456789ab"), ms(2));
        assert_eq!(bytes(&run(&mut chain, ms(2), ms(2))), b"456789");

        let mut lowered = super::super::rig::chain([limit(6)]);
        lowered.offer(bytes::Bytes::from_static(b"0123"), ms(0));
        run(&mut lowered, ms(0), ms(0));
        lowered.update(ToxicId(0), limit(2), ms(1));
        assert_eq!(lowered.next(ms(1)), Step::Close(Close::End));
    }
}
