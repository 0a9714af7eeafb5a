//! One clock for a run: monotonic, counted from the run's start.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// An instant of a run: monotonic nanoseconds since its start.
///
/// In JSON it is a whole number; the name of its field ends in `_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The run's start.
    pub const START: Moment = Moment(0);

    /// A moment so many milliseconds after the start. For tables in tests and for rounding to a slice.
    pub const fn from_millis(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    /// Time since the run's start.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Seconds since the run's start.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The time from `earlier` to this moment, or zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds from `other` to this moment; negative where `other` is later. Beyond 292 years it stays there.
    pub const fn signed_ns_since(self, other: Moment) -> i64 {
        if self.0 >= other.0 {
            0i64.saturating_add_unsigned(self.0 - other.0)
        } else {
            0i64.saturating_sub_unsigned(other.0 - self.0)
        }
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, by: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}

/// The clock of one run. Copies agree, on every thread.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    origin: Instant,
}

impl RunClock {
    /// A clock that starts now.
    pub fn start() -> RunClock {
        RunClock { origin: Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// The moment of an instant; the start for instants before it.
    pub fn at(&self, instant: Instant) -> Moment {
        Moment(instant.saturating_duration_since(self.origin).as_nanos() as u64)
    }

    /// The instant of a moment, to wait until it.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.since_start()
    }
}

/// Wall time in nanoseconds since 1970, to pair with a [`Moment`].
pub fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_differences_saturate() {
        for (moment, other, ns) in [
            (5, 3, 2),
            (3, 5, -2),
            (u64::MAX, u64::MAX - 1, 1),
            (1 << 63, 0, i64::MAX),
            (0, 1 << 63, i64::MIN),
            (0, u64::MAX, i64::MIN),
            (u64::MAX, 0, i64::MAX),
        ] {
            assert_eq!(Moment(moment).signed_ns_since(Moment(other)), ns, "{moment} since {other}");
        }
    }
}
