//! Failure detection and leases: pure, told the time.

use std::time::Duration;

use crate::clock::Moment;

/// Suspects a node that was not heard for a while.
///
/// Any answer clears the suspicion. Silence and refusal count alike: what matters is that nothing was heard.
#[derive(Clone, Copy, Debug)]
pub struct Detector {
    limit: Duration,
    last_heard: Moment,
    suspect: bool,
}

impl Detector {
    /// A detector that gives the node its full time from `now` on, as after a start of its own.
    pub fn new(limit: Duration, now: Moment) -> Detector {
        Detector { limit, last_heard: now, suspect: false }
    }

    /// The node answered.
    pub fn heard(&mut self, now: Moment) {
        self.last_heard = self.last_heard.max(now);
        self.suspect = false;
    }

    /// True once for each suspicion, when it arises.
    pub fn tick(&mut self, now: Moment) -> bool {
        let silent = !self.suspect && now >= self.deadline();
        self.suspect |= silent;
        silent
    }

    /// When suspicion arises if nothing is heard until then.
    pub fn deadline(&self) -> Moment {
        self.last_heard + self.limit
    }

    /// When the node was last heard.
    pub fn last_heard(&self) -> Moment {
        self.last_heard
    }

    /// Whether the node is suspect.
    pub fn suspect(&self) -> bool {
        self.suspect
    }
}

/// The right to serve until a moment, kept by who holds it.
///
/// It is renewed only by proof that the granter heard the holder at some moment of the holder's *own* clock: a
/// heartbeat that was held up on its way and arrives late proves an early moment, and so renews nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    until: Option<Moment>,
}

impl Lease {
    /// The granter heard the holder at `heard` (the holder's clock); never shortens.
    pub fn renew(&mut self, heard: Moment, length: Duration) {
        self.until = self.until.max(Some(heard + length));
    }

    /// Whether it is in force.
    pub fn holds(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it ends, if it was ever granted.
    pub fn until(&self) -> Option<Moment> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn silence_is_suspect_once_and_an_answer_clears_it() {
        let mut detector = Detector::new(Duration::from_millis(300), at(0));
        assert!(!detector.tick(at(299)));
        detector.heard(at(200));
        assert!(!detector.tick(at(499)));
        assert!(detector.tick(at(500)), "suspicion arises at 200 + 300");
        assert!(!detector.tick(at(600)), "it is told once");
        assert!(detector.suspect());
        detector.heard(at(700));
        assert!(!detector.suspect());
        assert!(detector.tick(at(1000)));
    }

    #[test]
    fn a_lease_counts_from_what_was_heard_not_from_its_arrival() {
        let mut lease = Lease::default();
        assert!(!lease.holds(at(0)), "nobody serves before the first grant");
        lease.renew(at(100), Duration::from_millis(400));
        assert!(lease.holds(at(499)));
        assert!(!lease.holds(at(500)));
        lease.renew(at(50), Duration::from_millis(400));
        assert!(!lease.holds(at(500)), "a late heartbeat renews nothing");
        assert!(lease.holds(at(499)), "and takes nothing away");
    }
}
