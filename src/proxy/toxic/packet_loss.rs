//! Packet loss as a TCP stream feels it: a lost segment holds the stream for a retransmission time-out, no byte is lost.
//!
//! This is the *stall* mechanism, in user space. Each chunk is looked at as segments of at most [`SEGMENT`] bytes. A
//! lost one leaves one time-out after its arrival, two more if it is lost again, then four, and all behind it waits;
//! those lost meanwhile were sent again in the same time, so their stalls overlap. Where the kernel may drop real
//! segments the engine does that instead.

use std::time::Duration;

use super::{Answer, Behaviour, View};
use crate::clock::Moment;
use crate::plan::fault::Toxic;
use crate::seed::Dice;
use crate::units::Share;

/// What an Ethernet segment carries: 1500 bytes less 40 of headers and 12 of time stamps.
pub(super) const SEGMENT: usize = 1448;

/// The first retransmission time-out: Linux's TCP_RTO_MIN, which fast networks get.
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);

/// The longest one: Linux's TCP_RTO_MAX.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(120);

/// So often in a row a segment may be lost; then TCP gives up (Linux's tcp_retries2), and the stream stays silent.
const TRIES: u32 = 15;

/// What may be under way, like a congestion window in a lossy network.
const WINDOW: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct PacketLoss {
    loss: f64,
    correlation: f64,
    /// Whether the segment before was lost; none before the first.
    was_lost: Option<bool>,
    /// What was drawn for the front chunk: so many bytes pass, then a segment stalls.
    drawn: Option<(usize, Option<Duration>)>,
    /// When the segment before was through.
    last: Moment,
}

impl PacketLoss {
    pub(super) fn new(loss: Share, correlation: Share) -> PacketLoss {
        PacketLoss {
            loss: loss.get(),
            correlation: correlation.get(),
            was_lost: None,
            drawn: None,
            last: Moment::START,
        }
    }

    /// Whether the next segment is lost. With the probability of the correlation it fares as the one before, which
    /// keeps the share of lost segments exact and makes losses come in bursts.
    fn draw(&mut self, dice: &mut Dice) -> bool {
        let lost = match self.was_lost {
            Some(was_lost) if self.correlation > 0.0 && dice.chance(self.correlation) => was_lost,
            _ => dice.chance(self.loss),
        };
        self.was_lost = Some(lost);
        lost
    }

    /// How long the next segment takes beyond its way; none: it is through at once.
    fn stall(&mut self, dice: &mut Dice) -> Option<Duration> {
        let mut stall = None;
        let mut timeout = FIRST_TIMEOUT;
        for _ in 0..TRIES {
            if !self.draw(dice) {
                return stall;
            }
            stall = Some(stall.unwrap_or_default() + timeout);
            timeout = (timeout * 2).min(LONGEST_TIMEOUT);
        }
        Some(Duration::MAX)
    }

    /// Draws for the segments of the front chunk up to the first that is lost.
    fn look(&mut self, len: usize, dice: &mut Dice) -> (usize, Option<Duration>) {
        let mut clear = 0;
        while clear < len {
            if let Some(stall) = self.stall(dice) {
                return (clear, Some(stall));
            }
            clear += SEGMENT.min(len - clear);
        }
        (clear, None)
    }
}

impl Behaviour for PacketLoss {
    fn update(&mut self, toxic: &Toxic) -> bool {
        let Toxic::PacketLoss { loss, correlation } = *toxic else { return false };
        *self = PacketLoss { last: self.last, was_lost: self.was_lost, ..PacketLoss::new(loss, correlation) };
        true
    }

    fn ask(&mut self, view: View<'_>, dice: &mut Dice) -> Answer {
        let len = view.front.bytes.len();
        let (clear, stall) = match self.drawn.take() {
            Some(drawn) => drawn,
            None => self.look(len, dice),
        };
        match stall {
            _ if clear > 0 => {
                self.drawn = stall.map(|stall| (0, Some(stall)));
                Answer::Pass { len: clear, at: view.front.arrived.max(self.last) }
            }
            Some(stall) => {
                let due = (view.front.arrived + stall).max(self.last);
                if due > view.now {
                    self.drawn = Some((0, Some(stall)));
                    return Answer::Wait(Some(due));
                }
                self.last = due;
                Answer::Pass { len: SEGMENT.min(len), at: due }
            }
            None => Answer::pass(view),
        }
    }

    fn capacity(&self) -> usize {
        WINDOW
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rig::{bytes, chain, ms, run, share, sizes};
    use super::*;
    use crate::proxy::chain::{Step, ToxicId};
    use crate::seed::Seed;

    fn loss(loss: f64, correlation: f64) -> Toxic {
        Toxic::PacketLoss { loss: share(loss), correlation: share(correlation) }
    }

    #[test]
    fn a_lost_segment_holds_the_stream_for_200_ms_and_doubles() {
        let mut chain = chain([loss(0.3, 0.0)]);
        for at in 0..200 {
            chain.offer(Bytes::from_static(b"ping"), ms(at * 10_000));
            let left = run(&mut chain, ms(at * 10_000), ms(at * 10_000 + 9_999));
            let stall = left[0].0.saturating_since(ms(at * 10_000)).as_millis();
            assert!([0, 200, 600, 1400, 3000, 6200].contains(&stall), "{stall}");
        }
    }

    #[test]
    fn the_share_of_lost_segments_is_exact_with_and_without_correlation() {
        for correlation in [0.0, 0.5, 0.9] {
            let mut loss = PacketLoss::new(share(0.1), share(correlation));
            let mut dice = Seed(5).stream("loss");
            let draws: Vec<bool> = (0..200_000).map(|_| loss.draw(&mut dice)).collect();
            let lost = draws.iter().filter(|&&lost| lost).count() as f64 / 200_000.0;
            // Five standard errors at n = 200,000, widened by √((1+c)/(1−c)) for correlated draws.
            let error = 5.0 * (0.09_f64 / 200_000.0).sqrt() * ((1.0 + correlation) / (1.0 - correlation)).sqrt();
            assert!((lost - 0.1).abs() < error, "{correlation}: {lost}");
            let after = draws.windows(2).filter(|w| w[0]).map(|w| f64::from(u8::from(w[1]))).collect::<Vec<_>>();
            let again = after.iter().sum::<f64>() / after.len() as f64;
            assert!((again - (correlation + (1.0 - correlation) * 0.1)).abs() < 0.02, "{correlation}: {again}");
        }
    }

    #[test]
    fn no_byte_is_lost_and_stalls_of_one_flight_overlap() {
        let sent: Vec<u8> = (0..60_000u32).map(|i| (i % 251) as u8).collect();
        let mut chain = chain([loss(0.2, 0.0)]);
        chain.offer(Bytes::from(sent.clone()), ms(0));
        let left = run(&mut chain, ms(0), ms(100_000));
        assert_eq!(bytes(&left), sent);
        let moments: Vec<Moment> = sizes(&left).iter().map(|(at, _)| *at).collect();
        assert!(moments.is_sorted());
        assert!(moments.iter().all(|at| [0, 200, 600, 1400, 3000].contains(&(at.0 / 1_000_000))), "{moments:?}");
    }

    #[test]
    fn without_loss_nothing_is_cut_or_counted() {
        let mut chain = chain([loss(0.0, 0.0)]);
        chain.offer(Bytes::from(vec![1; 60_000]), ms(0));
        assert_eq!(sizes(&run(&mut chain, ms(0), ms(0))), [(ms(0), 60_000)]);
        assert_eq!(chain.tally().altered_chunks, 0);
    }

    #[test]
    fn total_loss_is_silence_until_it_is_removed() {
        let mut chain = chain([loss(1.0, 1.0)]);
        chain.offer(Bytes::from_static(b"x"), ms(0));
        assert_eq!(chain.next(ms(0)), Step::Wait(None));
        assert_eq!(chain.tally().altered_chunks, 1);
        chain.remove(ToxicId(0), ms(1));
        assert_eq!(chain.next(ms(1)), Step::Send(Bytes::from_static(b"x")));
    }
}
