//! Quantities as people write them: `150ms`, `500/s`, `99.9%`, `64 KiB`, `10 MB/s`.
//!
//! Each type reads and prints itself the same way everywhere: YAML, command line, `plan.json`, report.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity that cannot be read: what was expected, with an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnitError {
    expected: &'static str,
}

const fn expected<T>(expected: &'static str) -> Result<T, UnitError> {
    Err(UnitError { expected })
}

/// A length of time as people write it: `150ms`, `3s`, `1m 30s`, `1.5s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    const EXPECTED: &str = "a duration with a unit, such as `150ms`, `3s` or `1m 30s`";
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Span, UnitError> {
        let mut total = Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return expected(Self::EXPECTED);
        }
        while !rest.is_empty() {
            let Some((number, unit, tail)) = split_quantity(rest) else { return expected(Self::EXPECTED) };
            let seconds = match unit {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                "" if number == 0.0 => 0.0,
                _ => return expected(Self::EXPECTED),
            };
            // Whole nanoseconds: 150 × 1e-3 s must be 150 ms exactly.
            let ns = (number * seconds * 1e9).round();
            if !(0.0..=(u64::MAX as f64)).contains(&ns) {
                return expected(Self::EXPECTED);
            }
            total = total.saturating_add(Duration::from_nanos(ns as u64));
            rest = tail;
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    /// The largest unit that keeps the value at least 1, with at most three decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos() as f64;
        let (value, unit) = match ns {
            0.0 => return f.write_str("0s"),
            _ if ns < 1e3 => (ns, "ns"),
            _ if ns < 1e6 => (ns / 1e3, "µs"),
            _ if ns < 1e9 => (ns / 1e6, "ms"),
            _ if ns < 60e9 || ns % 60e9 != 0.0 => (ns / 1e9, "s"),
            _ if ns % 3600e9 != 0.0 => (ns / 60e9, "m"),
            _ => (ns / 3600e9, "h"),
        };
        let digits = format!("{value:.3}");
        write!(f, "{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Events per second; finite and above zero, checked once in [`Rate::per_second`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    const EXPECTED: &str = "a rate above zero, such as `500/s`, `30/m` or `2k/s`";

    /// A rate, unless it is zero, negative or not finite.
    pub fn per_second(rate: f64) -> Result<Rate, UnitError> {
        if rate.is_finite() && rate > 0.0 { Ok(Rate(rate)) } else { expected(Self::EXPECTED) }
    }

    /// Events per second.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The mean time between two events.
    pub fn gap(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.0).unwrap_or(Duration::MAX)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let Some((number, per)) = text.trim().split_once('/') else { return expected(Self::EXPECTED) };
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return expected(Self::EXPECTED),
        };
        let Some((number, scale, "")) = split_quantity(number) else { return expected(Self::EXPECTED) };
        let scale = match scale {
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            _ => return expected(Self::EXPECTED),
        };
        Rate::per_second(number * scale / seconds)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// A share of a whole, from 0 to 1; written `99.9%` or `0.999`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    const EXPECTED: &str = "a share from 0% to 100%, such as `20%`";
    /// All of it.
    pub const ALL: Share = Share(1.0);
    /// None of it.
    pub const NONE: Share = Share(0.0);

    /// A share, unless it lies outside `0..=1`.
    pub fn new(share: f64) -> Result<Share, UnitError> {
        if (0.0..=1.0).contains(&share) { Ok(Share(share)) } else { expected(Self::EXPECTED) }
    }

    /// From 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Share, UnitError> {
        match split_quantity(text.trim()) {
            // Rounded where the division adds noise beyond the digits that people write.
            Some((percent, "%", "")) => Share::new((percent * 1e10).round() / 1e12),
            Some((share, "", "")) => Share::new(share),
            _ => expected(Self::EXPECTED),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e12).round() / 1e10)
    }
}

/// A number of bytes; `64 KiB` is 65,536 and `64 KB` 64,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    const EXPECTED: &str = "a number of bytes, such as `512 B`, `64 KiB` or `10 MB`";
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bytes, UnitError> {
        let Some((number, unit, "")) = split_quantity(text.trim()) else { return expected(Self::EXPECTED) };
        let scale = match unit {
            "" | "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return expected(Self::EXPECTED),
        };
        let bytes = number * scale;
        if bytes.fract() == 0.0 && (0.0..1.8e19).contains(&bytes) {
            Ok(Bytes(bytes as u64))
        } else {
            expected(Self::EXPECTED)
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, unit) = match self.0 {
            0..1_000 => (1.0, "B"),
            1_000..1_000_000 => (1e3, "kB"),
            1_000_000..1_000_000_000 => (1e6, "MB"),
            _ => (1e9, "GB"),
        };
        let digits = format!("{:.3}", self.0 as f64 / scale);
        let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
        write!(f, "{digits} {unit}")
    }
}

/// Bytes per second, above zero: `10 MB/s`, `64 KiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(pub u64);

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ByteRate, UnitError> {
        let bytes = text.trim().strip_suffix("/s").and_then(|bytes| bytes.parse::<Bytes>().ok());
        match bytes {
            Some(Bytes(rate)) if rate > 0 => Ok(ByteRate(rate)),
            _ => expected("bytes a second above zero, such as `1 MB/s` or `64 KiB/s`"),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}

/// `12.5 ms rest` as (12.5, "ms", "rest"): the number, the letters behind it, what is left.
fn split_quantity(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_'))).unwrap_or(text.len());
    let number = text[..digits].replace('_', "").parse().ok()?;
    let rest = text[digits..].trim_start();
    let letters = rest.find(|c: char| !(c.is_alphabetic() || c == '%')).unwrap_or(rest.len());
    Some((number, &rest[..letters], rest[letters..].trim_start()))
}

/// Serde through the written form, for every unit alike.
macro_rules! written_form {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$unit, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
written_form!(Span, Rate, Share, Bytes, ByteRate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ns) in [
            ("150ms", 150_000_000),
            ("3s", 3_000_000_000),
            ("1m 30s", 90_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5 s", 1_500_000_000),
            ("250us", 250_000),
            ("0s", 0),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_nanos(ns))), "{text}");
        }
        for text in ["", "5", "5 parsecs", "-3s", "ms", "1e3s", "3s!"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["150ms", "3s", "90s", "2m", "1h", "1.5s", "250µs", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["500/s", "0.5/s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["99.9%", "0%", "100%", "33.3%", "99.99%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for text in ["512 B", "64 kB", "1.5 MB"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        assert_eq!("64 KiB/s".parse(), Ok(ByteRate(65_536)));
    }

    #[test]
    fn rates_and_shares_outside_their_range_are_refused() {
        for text in ["0/s", "-1/s", "500", "500/y", "NaN/s", "1x/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["101%", "-1%", "1.01", "half"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        for text in ["1.5 B", "1 XB", "-1"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert!("0 B/s".parse::<ByteRate>().is_err());
    }
}
