//! What a client remembers of a name. Pure, told the time.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::table::Record;
use crate::clock::Moment;

/// How long a client believes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As long as the answer says.
    Ttl,
    /// So long, whatever the answer says.
    For(Duration),
    /// To its end: it never asks again.
    Forever,
    /// Not at all.
    Never,
}

/// The last answer for one name, as long as it is believed. A failure is never remembered, and never forgets an answer.
#[derive(Clone, Debug)]
pub struct Cache {
    keep: Keep,
    known: Option<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<Ipv4Addr>,
    /// None: for ever.
    until: Option<Moment>,
}

impl Cache {
    /// A cache that knows nothing.
    pub fn new(keep: Keep) -> Cache {
        Cache { keep, known: None }
    }

    /// The addresses that are believed now.
    pub fn known(&self, now: Moment) -> Option<&[Ipv4Addr]> {
        let known = self.known.as_ref().filter(|known| known.until.is_none_or(|until| now < until))?;
        Some(&known.addresses)
    }

    /// An answer came.
    pub fn learn(&mut self, record: &Record, now: Moment) {
        let until = match self.keep {
            Keep::Ttl => Some(now + record.ttl),
            Keep::For(length) => Some(now + length),
            Keep::Forever => None,
            Keep::Never => Some(now),
        };
        self.known = Some(Known { addresses: record.addresses.clone(), until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_for_as_long_as_the_client_is_made_to() {
        const NEVER: &[(u64, bool)] = &[(0, false), (1, false)];
        for (keep, ttl, believed) in [
            (Keep::Ttl, 5, &[(0, true), (4_999, true), (5_000, false), (60_000, false)][..]),
            (Keep::Ttl, 0, NEVER),
            (Keep::For(Duration::from_secs(30)), 5, &[(5_000, true), (29_999, true), (30_000, false)]),
            (Keep::Forever, 5, &[(0, true), (5_000, true), (86_400_000, true)]),
            (Keep::Forever, 0, &[(86_400_000, true)]),
            (Keep::Never, 5, NEVER),
        ] {
            let mut cache = Cache::new(keep);
            let record = Record { addresses: vec![Ipv4Addr::LOCALHOST], ttl: Duration::from_secs(ttl) };
            let learned = Moment::from_millis(1_000);
            assert_eq!(cache.known(learned), None, "{keep:?}: nothing is known at first");
            cache.learn(&record, learned);
            for (ms, known) in believed {
                let now = learned + Duration::from_millis(*ms);
                assert_eq!(cache.known(now).is_some(), *known, "{keep:?}, TTL {ttl} s, {ms} ms later");
            }
        }
    }

    #[test]
    fn the_last_answer_counts_also_where_it_says_that_there_is_nothing() {
        let mut cache = Cache::new(Keep::Ttl);
        let now = Moment::from_millis(0);
        let ttl = Duration::from_secs(9);
        cache.learn(&Record { addresses: vec![Ipv4Addr::LOCALHOST], ttl }, now);
        cache.learn(&Record { addresses: vec![], ttl: Duration::from_secs(1) }, now);
        assert_eq!(cache.known(now), Some(&[][..]));
        assert_eq!(cache.known(now + Duration::from_secs(1)), None, "with its own time to live");
    }
}
