//! How the report says what the verdict does not: moments, bytes, lists; the rest as [`crate::verdict::say`] has it.

use crate::clock::Moment;
use crate::measure::Figure;
pub(crate) use crate::said::span;
use crate::said::three_digits;
pub(crate) use crate::verdict::say::{count, counted, duration, factor, interval, rate, share, signed};

/// Seconds after `zero`, signed: `+0.62 s`, `−2.00 s`; `0 s` at it.
pub(crate) fn offset(at: Moment, zero: Moment) -> String {
    match at.signed_ns_since(zero) {
        0 => "0 s".into(),
        ns => format!("{}{:.3} s", if ns < 0 { '−' } else { '+' }, ns.unsigned_abs() as f64 / 1e9),
    }
}

/// A number that is mostly whole: `12`, `0.5`.
pub(crate) fn number(number: f64) -> String {
    if number.fract() == 0.0 { count(number as u64) } else { format!("{number:.1}") }
}

/// `512 B`, `4.21 kB`, `1.50 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..999_500 => format!("{} kB", three_digits(value / 1e3)),
        999_500..999_500_000 => format!("{} MB", three_digits(value / 1e6)),
        _ => format!("{} GB", three_digits(value / 1e9)),
    }
}

/// A time that may be a lower bound, or not apply: `1.31 s`, `≥ 1.3 s`, `n/a`. The reason is for [`why_not`].
pub(crate) fn figure(figure: &Figure<u64>) -> String {
    match figure {
        Figure::Known(ns) => duration(*ns),
        Figure::AtLeast(ns) => format!("≥ {}", duration(*ns)),
        Figure::NotApplicable(_) => "n/a".into(),
    }
}

/// Why a figure does not apply; empty where it does.
pub(crate) fn why_not<T>(figure: &Figure<T>) -> &str {
    match figure {
        Figure::NotApplicable(why) => why,
        Figure::Known(_) | Figure::AtLeast(_) => "",
    }
}

/// `2026-11-20 18:41:07 UTC`.
pub(crate) fn wall(ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns))
        .map_or_else(|_| "not recorded".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().into(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_short_of_all_is_never_said_to_be_all() {
        for (value, said) in [
            (1.0, "100 %"),
            (0.831, "83.1 %"),
            (0.994, "99.4 %"),
            (0.9999, "99.99 %"),
            (0.999_87, "99.987 %"),
            (0.999_999, "99.9999 %"),
            (0.999_999_999_9, "> 99.99999 %"),
            (0.0, "0 %"),
            (0.000_1, "0.01 %"),
            (0.5, "50 %"),
        ] {
            assert_eq!(share(value), said, "{value}");
        }
    }

    #[test]
    fn counts_bytes_and_rates_are_grouped_and_scaled() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "link"), "1 link");
        assert_eq!(bytes(4_213), "4.21 kB");
        assert_eq!(rate(498.2), "498/s");
        assert_eq!(rate(500.0), "500/s");
        assert_eq!(rate(12_000.0), "12,000/s");
        assert_eq!(offset(Moment(3_620_000_000), Moment(3_000_000_000)), "+0.620 s");
        assert_eq!(offset(Moment(1), Moment(2_000_000_000)), "−2.000 s");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
