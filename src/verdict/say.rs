//! Figures as people read them: three significant digits, the unit always, never more sure than measured.

use crate::experiment::metric::Unit;
use crate::measure::{Difference, Interval};
pub use crate::said::{duration, three_digits};

/// A value of this unit, in its base: seconds, shares, counts.
pub fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => share(value),
        Unit::Time => duration((value * 1e9).round() as u64),
        Unit::Count => count(value.round() as u64),
        Unit::Rate => rate(value),
        Unit::Ratio => factor(value),
        Unit::YesNo => if value > 0.5 { "yes" } else { "no" }.to_owned(),
    }
}

/// A difference of two values, with its sign.
pub fn signed(unit: Unit, difference: f64) -> String {
    let sign = match difference {
        0.0 => "",
        more if more > 0.0 => "+",
        _ => "−",
    };
    format!("{sign}{}", value(unit, difference.abs()))
}

/// What is known of a difference: `95 %: +19.8 ms to +20.4 ms`.
pub fn interval(unit: Unit, difference: &Difference) -> String {
    let interval = match (difference.low, difference.high) {
        (Some(low), Some(high)) => format!("{} to {}", signed(unit, low), signed(unit, high)),
        (Some(low), None) => format!("≥ {}", signed(unit, low)),
        (None, Some(high)) => format!("≤ {}", signed(unit, high)),
        (None, None) => "anything".to_owned(),
    };
    match difference.interval {
        Interval::Blocks | Interval::Ranks => format!("95 %: {interval}"),
        Interval::Range => format!("each run against each: {interval}"),
        Interval::Bounds => format!("not all had ended: {interval}"),
        Interval::None => "one run of each, no interval".to_owned(),
    }
}

/// The same with every digit that tells it from its neighbours: where a limit was missed by less than is shown.
pub fn exactly(unit: Unit, value: f64) -> String {
    let digits = |value: f64| {
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match unit {
        Unit::Share => format!("{} %", digits(value * 100.0)),
        Unit::Time if value >= 1.0 => format!("{} s", digits(value)),
        Unit::Time => format!("{} ms", digits(value * 1e3)),
        Unit::Rate => format!("{}/s", digits(value)),
        Unit::Ratio => format!("×{}", digits(value)),
        Unit::Count | Unit::YesNo => self::value(unit, value),
    }
}

/// `83.1 %`, `99.4 %`, `99.993 %`. Nothing short of all is said to be 100 %, nothing above none 0 %.
pub fn share(share: f64) -> String {
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
pub fn factor(factor: f64) -> String {
    format!("×{factor:.2}")
}

/// `1,234,567`.
pub fn count(count: u64) -> String {
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

/// `61 connections`, `1 connection`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `498/s`.
pub fn rate(per_second: f64) -> String {
    if per_second >= 999.5 {
        format!("{}/s", count(per_second.round() as u64))
    } else {
        format!("{}/s", three_digits(per_second).trim_end_matches(".00"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_sign_and_what_is_known_of_them() {
        let difference = |low, high, interval| Difference { value: 0.02, low, high, interval };
        for (difference, said) in [
            (difference(Some(-0.001), Some(0.02), Interval::Blocks), "95 %: −1.00 ms to +20.0 ms"),
            (difference(Some(0.0), Some(0.02), Interval::Range), "each run against each: 0 s to +20.0 ms"),
            (difference(Some(0.02), None, Interval::Bounds), "not all had ended: ≥ +20.0 ms"),
            (difference(Some(0.02), Some(0.02), Interval::None), "one run of each, no interval"),
        ] {
            assert_eq!(interval(Unit::Time, &difference), said);
        }
    }

    #[test]
    fn figures_read_as_people_say_them() {
        for (unit, figure, said) in [
            (Unit::Share, 0.9999, "99.99 %"),
            (Unit::Share, 0.831, "83.1 %"),
            (Unit::Share, 0.999_999, "99.9999 %"),
            (Unit::Share, 1.0, "100 %"),
            (Unit::Share, 0.0, "0 %"),
            (Unit::Time, 1.31, "1.31 s"),
            (Unit::Time, 0.25, "250 ms"),
            (Unit::Time, 0.000_085, "85.0 µs"),
            (Unit::Time, 0.0, "0 s"),
            (Unit::Time, 100.0, "1 min 40 s"),
            (Unit::Count, 5400.0, "5,400"),
            (Unit::Rate, 498.0, "498/s"),
            (Unit::Rate, 12_345.6, "12,346/s"),
            (Unit::Ratio, 1.123, "×1.12"),
            (Unit::YesNo, 1.0, "yes"),
        ] {
            assert_eq!(value(unit, figure), said);
        }
        assert_eq!(exactly(Unit::Time, 0.250_3), "250.3 ms");
        assert_eq!(exactly(Unit::Share, 0.998_95), "99.895 %");
    }
}
