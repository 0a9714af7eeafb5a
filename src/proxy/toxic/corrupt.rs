//! Corrupt: a share of the bytes is changed, each to another value; none is lost or added.

use bytes::{Bytes, BytesMut};

use super::{Answer, Behaviour, View};
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Share;

#[derive(Debug)]
pub(super) struct Corrupt {
    share: f64,
    /// How many bytes pass before the next that is changed: one draw a change, not one a byte.
    gap: Option<u64>,
}

impl Corrupt {
    pub(super) fn new(share: Share) -> Corrupt {
        Corrupt { share: share.get(), gap: None }
    }

    /// Geometric, as the gaps between independent bytes are.
    fn draw(&self, dice: &mut Dice) -> u64 {
        if self.share >= 1.0 {
            return 0;
        }
        ((-dice.unit()).ln_1p() / (-self.share).ln_1p()) as u64
    }
}

impl Behaviour for Corrupt {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::Corrupt { bytes } = *toxic else { return false };
        *self = Corrupt::new(bytes);
        true
    }

    fn ask(&mut self, view: View<'_>, dice: &mut Dice) -> Answer {
        if self.share <= 0.0 {
            return Answer::pass(view);
        }
        let len = view.front.bytes.len();
        let mut at = match self.gap {
            Some(gap) => gap,
            None => self.draw(dice),
        };
        if at >= len as u64 {
            self.gap = Some(at - len as u64);
            return Answer::pass(view);
        }
        let mut changed = BytesMut::from(&view.front.bytes[..]);
        while let Some(byte) = usize::try_from(at).ok().and_then(|at| changed.get_mut(at)) {
            *byte ^= 1 + dice.below(255) as u8;
            at = at.saturating_add(1).saturating_add(self.draw(dice));
        }
        self.gap = Some(at - len as u64);
        Answer::Change(Bytes::from(changed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{bytes, chain, ms, run, share};
    use super::*;

    /// How many of 200,000 bytes, offered in chunks of this size, were changed.
    fn changed(part: f64, chunk: usize) -> usize {
        let mut chain = chain([Toxic::Corrupt { bytes: share(part) }]);
        let mut out = Vec::new();
        for _ in 0..200_000 / chunk {
            chain.offer(Bytes::from(vec![0; chunk]), ms(0));
            out.extend(bytes(&run(&mut chain, ms(0), ms(0))));
        }
        assert_eq!(out.len(), 200_000);
        out.iter().filter(|&&byte| byte != 0).count()
    }

    #[test]
    fn the_share_of_changed_bytes_is_the_one_asked_for_whatever_the_chunks() {
        for chunk in [1, 100, 50_000] {
            let count = changed(0.01, chunk) as f64;
            // 2,000 expected; five standard deviations are 5 × √1980.
            assert!((count - 2000.0).abs() < 223.0, "{chunk}: {count}");
        }
    }

    #[test]
    fn none_and_all_are_exact() {
        assert_eq!((changed(0.0, 1000), changed(1.0, 1000)), (0, 200_000));
        assert_eq!(changed(1e-300, 1000), 0);
    }
}
