//! Slow close: bytes pass as they are, the close behind them is held back.

use std::time::Duration;

use super::{Answer, Behaviour, Close, View};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Span;

#[derive(Debug)]
pub(super) struct SlowClose {
    delay: Duration,
}

impl SlowClose {
    pub(super) fn new(delay: Span) -> SlowClose {
        SlowClose { delay: delay.0 }
    }
}

impl Behaviour for SlowClose {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::SlowClose { delay } = *toxic else { return false };
        self.delay = delay.0;
        true
    }

    fn ask(&mut self, view: View<'_>, _dice: &mut Dice) -> Answer {
        Answer::pass(view)
    }

    fn close(&self, close: Close, arrived: Moment) -> (Close, Moment) {
        (close, arrived + self.delay)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rig::{chain, closes, ms, run, sizes, span};
    use super::*;
    use crate::proxy::chain::{Step, ToxicId};

    fn slow_close(delay: &str) -> Toxic {
        Toxic::SlowClose { delay: span(delay) }
    }

    #[test]
    fn only_the_close_is_late() {
        let mut chain = chain([slow_close("300ms")]);
        chain.offer(Bytes::from_static(b"bytes"), ms(10));
        chain.finish(ms(20));
        let left = run(&mut chain, ms(20), ms(1000));
        assert_eq!(sizes(&left), [(ms(20), 5)]);
        assert_eq!(closes(&left), [(ms(320), Close::Fin)]);
        assert_eq!(chain.tally().altered_chunks, 1);
    }

    #[test]
    fn removal_lets_a_waiting_close_go() {
        let mut chain = chain([slow_close("1h")]);
        chain.finish(ms(0));
        assert_eq!(chain.next(ms(1)), Step::Wait(Some(ms(3_600_000))));
        chain.remove(ToxicId(0), ms(2));
        assert_eq!(chain.next(ms(2)), Step::Close(Close::Fin));
        assert_eq!(chain.next(ms(2)), Step::Wait(None));
    }
}
