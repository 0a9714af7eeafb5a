//! How figures are said to people: three significant digits, always with the unit, never more sure than measured.

use std::time::Duration;

use crate::clock::Moment;
use crate::measure::Figure;

/// `85 µs`, `250 ms`, `1.31 s`, `1 min 40 s`, `8 h 46 min`, `3 d 2 h`.
pub(crate) fn duration(ns: u64) -> String {
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

/// Three significant digits; whole numbers from 100 on: `0.62`, `1.31`, `41.2`, `250`; trailing zeros stay, as they are measured.
fn three_digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        ..0.9995 => format!("{value:.2}"),
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Seconds after `zero`, signed: `+0.62 s`, `−2.00 s`; `0 s` at it.
pub(crate) fn offset(at: Moment, zero: Moment) -> String {
    match at.signed_ns_since(zero) {
        0 => "0 s".into(),
        ns => format!("{}{:.3} s", if ns < 0 { '−' } else { '+' }, ns.unsigned_abs() as f64 / 1e9),
    }
}

/// `83.1 %`, `99.4 %`, `99.993 %`. Nothing short of all is said to be 100 %, nothing above none 0 %.
pub(crate) fn share(share: f64) -> String {
    if !share.is_finite() {
        return "n/a".into();
    }
    let percent = share * 100.0;
    if (percent - 100.0).abs() < 1e-9 {
        return "100 %".into();
    }
    if percent.abs() < 1e-9 {
        return "0 %".into();
    }
    // As many digits as show two of what is missing to 100 %, so that the nines can be counted.
    let digits = match (100.0 - percent).abs().min(percent.abs()) {
        rest if rest >= 0.95 => 1,
        rest if rest >= 0.095 => 2,
        rest if rest >= 0.0095 => 3,
        rest if rest >= 0.000_95 => 4,
        _ => 5,
    };
    let said = format!("{percent:.digits$}");
    match said.trim_end_matches('0').trim_end_matches('.') {
        "100" if share < 1.0 => "> 99.99999 %".into(),
        "0" | "" => "< 0.00001 %".into(),
        said => format!("{said} %"),
    }
}

/// `×1.12`.
pub(crate) fn factor(factor: f64) -> String {
    format!("×{factor:.2}")
}

/// `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut said = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

/// A number that is mostly whole: `12`, `0.5`.
pub(crate) fn number(number: f64) -> String {
    if number.fract() == 0.0 { count(number as u64) } else { format!("{number:.1}") }
}

/// `61 connections`, `1 connection`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
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

/// `498/s`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 999.5 {
        format!("{}/s", count(per_second.round() as u64))
    } else {
        format!("{}/s", three_digits(per_second).trim_end_matches(".00"))
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

/// A [`Duration`] like [`duration`].
pub(crate) fn span(span: Duration) -> String {
    duration(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
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
