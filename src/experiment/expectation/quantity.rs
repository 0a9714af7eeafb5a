//! A number with its unit, as a limit is written.

use std::fmt;
use std::time::Duration;

use crate::experiment::metric::Unit;
use crate::units::Span;

/// A limit's longest time. No run lasts longer, and up to here a time reads back to the nanosecond.
const LONGEST: Duration = Duration::from_secs(100 * 3600);

/// A number with its unit. What it prints reads back as the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// From 0 to 1; printed in per cent.
    Share(f64),
    /// A length of time.
    Time(Duration),
    /// A whole number.
    Count(u64),
    /// Events a second, 0 or more.
    Rate(f64),
    /// A multiple, 0 or more.
    Ratio(f64),
    /// Yes or no.
    YesNo(bool),
}

impl Quantity {
    /// Reads a quantity of this unit; else says in words what is wrong with it.
    pub fn parse(text: &str, unit: Unit) -> Result<Quantity, String> {
        let text = text.trim();
        Quantity::of(text, unit).ok_or_else(|| match Quantity::unit_of(text) {
            _ if text.is_empty() => format!("expected {}", unit.expected()),
            Some(other) if other != unit => {
                format!("`{text}` is a {}, expected {}", other.name(), unit.expected())
            }
            _ => format!("`{text}` is not a {}, expected {}", unit.name(), unit.expected()),
        })
    }

    /// The value in the unit's base: seconds, shares, counts; 1 for yes.
    pub fn base(self) -> f64 {
        match self {
            Quantity::Share(value) | Quantity::Rate(value) | Quantity::Ratio(value) => value,
            Quantity::Time(time) => time.as_secs_f64(),
            Quantity::Count(count) => count as f64,
            Quantity::YesNo(yes) => f64::from(u8::from(yes)),
        }
    }

    fn of(text: &str, unit: Unit) -> Option<Quantity> {
        Some(match unit {
            // Rounded to twelve digits, so that what is printed in per cent reads back as the same.
            Unit::Share => {
                let share = match text.strip_suffix('%') {
                    Some(percent) => number(percent)? / 100.0,
                    None => number(text)?,
                };
                let share = (share * 1e12).round() / 1e12;
                if share > 1.0 {
                    return None;
                }
                Quantity::Share(share)
            }
            Unit::Time => {
                let Span(time) = text.parse().ok()?;
                if time > LONGEST {
                    return None;
                }
                Quantity::Time(time)
            }
            // Beyond 2⁵³ neighbours are the same number where limits are worked out.
            Unit::Count => {
                let count =
                    text.replace('_', "").parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()));
                Quantity::Count(count.filter(|count| *count <= 1 << 53)?)
            }
            Unit::Rate => {
                let (events, per) = text.split_once('/')?;
                let seconds = match per.trim() {
                    "s" => 1.0,
                    "m" | "min" => 60.0,
                    "h" => 3600.0,
                    _ => return None,
                };
                let events = match events.trim().strip_suffix('k') {
                    Some(thousands) => number(thousands)? * 1e3,
                    None => number(events)?,
                };
                Quantity::Rate(events / seconds)
            }
            Unit::Ratio => Quantity::Ratio(number(text.strip_prefix(['×', 'x']).unwrap_or(text))?),
            Unit::YesNo => match text {
                "yes" | "true" => Quantity::YesNo(true),
                "no" | "false" => Quantity::YesNo(false),
                _ => return None,
            },
        })
    }

    /// The unit that a text is evidently written in.
    fn unit_of(text: &str) -> Option<Unit> {
        [Unit::Count, Unit::Share, Unit::Rate, Unit::Time, Unit::Ratio, Unit::YesNo]
            .into_iter()
            .find(|unit| Quantity::of(text, *unit).is_some())
            // A bare number belongs to several units.
            .filter(|_| number(text).is_none())
    }
}

/// Digits with an optional point and `_` between them: finite, 0 or more.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
    let value: f64 = text.replace('_', "").parse().ok().filter(|_| plain)?;
    value.is_finite().then_some(value)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Quantity::Share(share) => write!(f, "{}%", (share * 1e12).round() / 1e10),
            Quantity::Time(time) => {
                // The largest unit in which three decimals tell it all.
                let ns = time.as_nanos();
                let (unit, name) = [(60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")]
                    .into_iter()
                    .find(|(unit, name)| ns >= *unit && ns % (if *name == "m" { *unit } else { unit / 1000 }) == 0)
                    .unwrap_or(if ns == 0 { (1_000_000_000, "s") } else { (1, "ns") });
                let (whole, part) = (ns / unit, (ns % unit) * 1000 / unit);
                let part = format!(".{part:03}");
                write!(f, "{whole}{}{name}", part.trim_end_matches('0').trim_end_matches('.'))
            }
            Quantity::Count(count) => write!(f, "{count}"),
            Quantity::Rate(rate) => write!(f, "{rate}/s"),
            Quantity::Ratio(ratio) => write!(f, "{ratio}"),
            Quantity::YesNo(yes) => f.write_str(if yes { "yes" } else { "no" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_prints_as_people_write_it() {
        for (text, unit, printed) in [
            ("99.9%", Unit::Share, "99.9%"),
            ("0.999", Unit::Share, "99.9%"),
            ("250ms", Unit::Time, "250ms"),
            ("1m 30s", Unit::Time, "90s"),
            ("2m", Unit::Time, "2m"),
            ("1.2345s", Unit::Time, "1234.5ms"),
            ("0s", Unit::Time, "0s"),
            ("999ns", Unit::Time, "999ns"),
            ("1_000", Unit::Count, "1000"),
            ("0/s", Unit::Rate, "0/s"),
            ("30/m", Unit::Rate, "0.5/s"),
            ("2k/s", Unit::Rate, "2000/s"),
            ("×1.3", Unit::Ratio, "1.3"),
            ("no", Unit::YesNo, "no"),
        ] {
            assert_eq!(
                Quantity::parse(text, unit).map(|quantity| quantity.to_string()),
                Ok(printed.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_unit_is_named() {
        for (text, unit, says) in [
            ("99%", Unit::Time, "`99%` is a share, expected a duration with its unit, such as `250ms` or `3s`"),
            ("250", Unit::Time, "`250` is not a time, expected a duration with its unit, such as `250ms` or `3s`"),
            ("3s", Unit::Count, "`3s` is a time, expected a whole number, such as `0` or `100`"),
            ("101%", Unit::Share, "`101%` is not a share, expected a share, such as `99.9%`"),
            ("-1", Unit::Count, "`-1` is not a count, expected a whole number, such as `0` or `100`"),
            ("+1", Unit::Count, "`+1` is not a count, expected a whole number, such as `0` or `100`"),
            ("1.5", Unit::Count, "`1.5` is not a count, expected a whole number, such as `0` or `100`"),
            ("101h", Unit::Time, "`101h` is not a time, expected a duration with its unit, such as `250ms` or `3s`"),
            ("", Unit::Rate, "expected a rate, such as `500/s`"),
        ] {
            assert_eq!(Quantity::parse(text, unit), Err(says.to_owned()), "{text}");
        }
    }
}
