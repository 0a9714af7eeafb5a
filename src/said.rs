//! Measured times as people read them: three significant digits, the unit always.
//!
//! What was asked for is said as it was written, by [`Span`](crate::units::Span): `for: 300ms`.

use std::time::Duration;

/// `85 µs`, `250 ms`, `1.31 s`, `1 min 40 s`, `8 h 46 min`, `3 d 2 h`.
pub fn duration(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0 => "0 s".into(),
        // The bounds leave room for rounding: 999.96 µs is 1 ms, not 1000 µs.
        1..1_000 => format!("{ns} ns"),
        1_000..999_500 => format!("{} µs", three_digits(value / 1e3)),
        999_500..999_500_000 => format!("{} ms", three_digits(value / 1e6)),
        999_500_000..99_950_000_000 => format!("{} s", three_digits(value / 1e9)),
        _ => long_duration((value / 1e9).round() as u64),
    }
}

/// A [`Duration`] like [`duration`].
pub fn span(span: Duration) -> String {
    duration(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

fn long_duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let pair = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..3_600 => pair(minutes, "min", seconds % 60, "s"),
        3_600..86_400 => pair(hours, "h", minutes, "min"),
        _ => pair(days, "d", hours, "h"),
    }
}

/// Three significant digits; whole numbers from 100 on: `0.62`, `1.31`, `41.2`, `250`. Trailing zeros stay: they are
/// measured.
pub fn three_digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (ns, said) in [
            (0, "0 s"),
            (740, "740 ns"),
            (85_000, "85.0 µs"),
            (999_960, "1.00 ms"),
            (1_100_000, "1.10 ms"),
            (250_000_000, "250 ms"),
            (999_700_000, "1.00 s"),
            (1_314_000_000, "1.31 s"),
            (41_200_000_000, "41.2 s"),
            (100_000_000_000, "1 min 40 s"),
            (31_557_600_000_000, "8 h 45 min"),
            (180_000_000_000, "3 min"),
            (266_400_000_000_000, "3 d 2 h"),
        ] {
            assert_eq!(duration(ns), said, "{ns} ns");
        }
    }
}
