//! What holds for any chain of toxics, at any moment of change.

use proptest::prelude::*;

use super::*;
use crate::plan::fault::Law;
use crate::seed::Seed;
use crate::units::{self, ByteRate, Share, Span};
use std::time::Duration;

/// What the engine or the backend does to a chain.
#[derive(Clone, Debug)]
enum Deed {
    Insert(Toxic),
    Update(usize, Toxic),
    Remove(usize),
    Offer(usize),
    Finish,
    /// Asks so often at most, as an engine does whose destination takes no more.
    Ask(usize),
    /// Sleeps until the chain wants to be asked, and so many microseconds longer.
    Wake(u64),
    /// So many microseconds pass in which something else was done.
    Pass(u64),
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64].prop_map(|share| Share::new(share).unwrap())
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        2 => Just(Duration::ZERO),
        8 => (0..300_000u64).prop_map(Duration::from_micros),
        1 => Just(Duration::MAX),
    ]
    .prop_map(Span)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![2 => 0..3u64, 8 => 0..100_000u64, 2 => 100_000..1_000_000_000u64, 1 => Just(u64::MAX)]
}

/// Toxics that take no byte out of the stream and change none.
fn lossless() -> impl Strategy<Value = Toxic> {
    let law = prop_oneof![Just(Law::Uniform), Just(Law::Normal), Just(Law::Pareto)];
    prop_oneof![
        (span(), span(), law, share()).prop_map(|(add, jitter, law, correlation)| Toxic::Latency {
            add,
            jitter,
            law,
            correlation
        }),
        number().prop_map(|rate| Toxic::Bandwidth { rate: ByteRate(rate) }),
        (share(), share()).prop_map(|(loss, correlation)| Toxic::PacketLoss { loss, correlation }),
        (number(), number(), span()).prop_map(|(size, variation, wait)| Toxic::Slicer {
            size: units::Bytes(size),
            variation: units::Bytes(variation),
            wait
        }),
        span().prop_map(|delay| Toxic::SlowClose { delay }),
    ]
}

/// All but `ChunkLoss`, whose holes nobody is told of: it is a property of its own that the stream stays open.
fn any_toxic() -> impl Strategy<Value = Toxic> {
    prop_oneof![
        5 => lossless(),
        1 => span().prop_map(|after| Toxic::Timeout { after }),
        1 => span().prop_map(|after| Toxic::ResetPeer { after }),
        1 => number().prop_map(|bytes| Toxic::LimitData { bytes: units::Bytes(bytes) }),
        1 => share().prop_map(|bytes| Toxic::Corrupt { bytes }),
    ]
}

fn deed(toxic: impl Strategy<Value = Toxic> + Clone + 'static) -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => toxic.clone().prop_map(Deed::Insert),
        1 => (0..4usize, toxic).prop_map(|(which, toxic)| Deed::Update(which, toxic)),
        1 => (0..4usize).prop_map(Deed::Remove),
        8 => (0..70_000usize).prop_map(Deed::Offer),
        1 => Just(Deed::Finish),
        3 => (0..5usize).prop_map(Deed::Ask),
        6 => prop_oneof![Just(0), 0..500u64, 0..50_000u64].prop_map(Deed::Wake),
        2 => (0..300_000u64).prop_map(Deed::Pass),
    ]
}

/// A chain with its engine, and everything that went in and came out.
#[derive(Default)]
struct Rig {
    chain: Chain,
    now: Moment,
    wake: Option<Moment>,
    live: Vec<ToxicId>,
    next_id: u64,
    offered: Vec<u8>,
    sent: Vec<u8>,
    finished: bool,
    closes: Vec<Close>,
    tally: Tally,
}

impl Rig {
    fn play(&mut self, deed: Deed) {
        let now = self.now;
        match deed {
            Deed::Insert(toxic) => {
                let id = ToxicId(self.next_id);
                self.next_id += 1;
                self.live.push(id);
                self.chain.insert(id, toxic, Seed(id.0).stream("property"), now);
            }
            Deed::Update(which, toxic) => {
                if let Some(&id) = self.live.get(which) {
                    self.chain.update(id, toxic, now);
                }
            }
            Deed::Remove(which) if which < self.live.len() => self.chain.remove(self.live.remove(which), now),
            Deed::Remove(_) => {}
            Deed::Offer(len) if !self.finished => {
                let len = len.min(self.chain.room());
                let from = self.offered.len();
                self.offered.extend((from..from + len).map(|at| (at % 251) as u8));
                self.chain.offer(Bytes::copy_from_slice(&self.offered[from..]), now);
            }
            Deed::Finish if !self.finished => {
                self.finished = true;
                self.chain.finish(now);
            }
            Deed::Offer(_) | Deed::Finish => {}
            Deed::Ask(times) => self.ask(times),
            Deed::Wake(late) => {
                self.ask(usize::MAX);
                if let Some(wake) = self.wake.filter(|wake| *wake < now + Duration::from_secs(3600)) {
                    self.now = wake + Duration::from_micros(late);
                    self.ask(usize::MAX);
                }
            }
            Deed::Pass(micros) => self.now = now + Duration::from_micros(micros),
        }
        self.check();
    }

    fn ask(&mut self, times: usize) {
        let mut work = 0;
        for _ in 0..times {
            match self.chain.next(self.now) {
                Step::Send(bytes) => {
                    assert!(!bytes.is_empty(), "an empty send");
                    assert!(self.closes.is_empty(), "bytes behind a close");
                    self.sent.extend_from_slice(&bytes);
                }
                Step::Close(close) => {
                    assert!(self.closes.last().is_none_or(|&last| last < close), "{close:?} after {:?}", self.closes);
                    self.closes.push(close);
                }
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "a wait for the past spins");
                    assert_eq!(self.chain.next(self.now), Step::Wait(until), "asked again it says the same");
                    self.wake = until;
                    return;
                }
            }
            work += 1;
            assert!(work <= self.offered.len() + 10, "no progress");
        }
    }

    fn check(&mut self) {
        let tally = self.chain.tally();
        assert_eq!(
            self.offered.len() as u64,
            self.sent.len() as u64 + self.chain.held() as u64 + tally.withheld_bytes,
            "every byte is sent, held or counted as withheld"
        );
        assert!(self.chain.held() <= BUDGET && self.chain.room() <= BUDGET - self.chain.held());
        assert!(
            tally.altered_chunks >= self.tally.altered_chunks && tally.closes >= self.tally.closes,
            "it only grows"
        );
        self.tally = tally;
    }

    /// Removes every toxic and asks for the rest.
    fn heal(&mut self) {
        while !self.live.is_empty() {
            self.play(Deed::Remove(0));
        }
        self.play(Deed::Ask(usize::MAX));
    }
}

proptest! {
    #[test]
    fn no_byte_is_lost_doubled_or_reordered(deeds in prop::collection::vec(deed(lossless().boxed()), 1..120)) {
        let mut rig = Rig::default();
        for deed in deeds {
            rig.play(deed);
            prop_assert!(rig.offered.starts_with(&rig.sent));
            prop_assert!(rig.closes.is_empty() || (rig.finished && rig.offered == rig.sent), "a close before the bytes");
        }
        rig.heal();
        prop_assert!(rig.offered == rig.sent, "healed, all bytes are there");
        prop_assert_eq!(&rig.closes[..], if rig.finished { &[Close::Fin][..] } else { &[] });
        prop_assert!(rig.chain.is_empty());
        prop_assert_eq!(rig.tally.withheld_bytes, 0);
    }

    #[test]
    fn whatever_the_toxics_every_byte_is_accounted_for(deeds in prop::collection::vec(deed(any_toxic().boxed()), 1..120)) {
        let mut rig = Rig::default();
        for deed in deeds {
            rig.play(deed);
        }
        rig.heal();
        prop_assert!(rig.chain.is_empty(), "nothing stays behind");
        if rig.tally.withheld_bytes > 0 && rig.closes.is_empty() {
            prop_assert!(false, "a stream with a hole stays open");
        }
        prop_assert!(!rig.finished || !rig.closes.is_empty());
    }

    #[test]
    fn a_delayed_stream_is_whole_in_time_however_it_was_cut(
        chunks in prop::collection::vec((1..5000usize, 0..20_000u64), 1..60),
        late in 0..3000u64,
    ) {
        let mut rig = Rig::default();
        rig.play(Deed::Insert(super::super::toxic::rig::latency("100ms")));
        for (len, micros) in chunks {
            rig.play(Deed::Offer(len));
            rig.play(Deed::Pass(micros));
        }
        let offered = rig.now;
        rig.play(Deed::Finish);
        while rig.closes.is_empty() {
            rig.play(Deed::Wake(late));
        }
        prop_assert_eq!(&rig.sent, &rig.offered);
        prop_assert!(rig.now <= offered + Duration::from_micros(100_000 + late));
    }
}
