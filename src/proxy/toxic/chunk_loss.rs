//! Chunk loss: whole chunks are taken out of the stream by chance, and nobody sends them again.
//!
//! TCP has acknowledged them, so the stream has a hole where each was. That is what Toxiproxy means by `packet_loss`;
//! what a TCP stream feels of lost packets is [`PacketLoss`](super::packet_loss::PacketLoss).

use super::{Answer, Behaviour, View};
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Share;

#[derive(Debug)]
pub(super) struct ChunkLoss {
    loss: f64,
    correlation: f64,
    lost_last: bool,
}

impl ChunkLoss {
    pub(super) fn new(loss: Share, correlation: Share) -> ChunkLoss {
        ChunkLoss { loss: loss.get(), correlation: correlation.get(), lost_last: false }
    }
}

impl Behaviour for ChunkLoss {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::ChunkLoss { loss, correlation } = *toxic else { return false };
        *self = ChunkLoss { lost_last: self.lost_last, ..ChunkLoss::new(loss, correlation) };
        true
    }

    fn ask(&mut self, view: View<'_>, dice: &mut Dice) -> Answer {
        let bad_luck = if self.lost_last { self.correlation } else { 0.0 };
        self.lost_last = dice.chance(self.loss + bad_luck);
        if self.lost_last { Answer::Withhold } else { Answer::pass(view) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{bytes, chain, ms, run, share};
    use super::*;

    /// Of 20,000 chunks, which left.
    fn survivors(loss: f64, correlation: f64) -> Vec<bool> {
        let mut chain = chain([Toxic::ChunkLoss { loss: share(loss), correlation: share(correlation) }]);
        let sent = (0..20_000).map(|_| {
            chain.offer(bytes::Bytes::from_static(b"chunk"), ms(0));
            let left = bytes(&run(&mut chain, ms(0), ms(0)));
            assert!(left.is_empty() || left == b"chunk", "a chunk is lost whole or not at all");
            !left.is_empty()
        });
        sent.collect()
    }

    #[test]
    fn the_share_lost_is_the_one_asked_for() {
        let lost = survivors(0.1, 0.0).iter().filter(|survives| !**survives).count() as f64;
        // 2,000 expected; five standard deviations are 5 × √1800.
        assert!((lost - 2000.0).abs() < 212.0, "{lost}");
    }

    #[test]
    fn after_a_loss_the_next_is_likelier_by_the_correlation() {
        let survived = survivors(0.1, 0.5);
        let after: Vec<bool> = survived.windows(2).filter(|two| !two[0]).map(|two| two[1]).collect();
        let again = after.iter().filter(|survives| !**survives).count() as f64 / after.len() as f64;
        // Some 4,000 losses: five standard errors are 5 × √(0.24 / 4000).
        assert!((again - 0.6).abs() < 0.039, "{again}");
    }

    #[test]
    fn none_and_all_are_exact() {
        assert!(survivors(0.0, 1.0).iter().all(|survives| *survives));
        assert!(survivors(1.0, 0.0).iter().all(|survives| !*survives));
    }
}
