//! The header Retry-After (RFC 9110, 10.2.3): seconds, or a date in any of the three forms that HTTP ever had.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How long the server asks to wait, at the wall time `now`; a date in the past is no wait.
pub fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit ask for longer than anyone waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = date(text)?;
    Some(Duration::try_from(now.until(at).ok()?).unwrap_or(Duration::ZERO))
}

/// IMF-fixdate, RFC 850 and asctime, all in GMT.
fn date(text: &str) -> Option<Timestamp> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| DateTime::strptime(form, text).ok())
        .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_the_three_dates_are_read_as_urllib3_reads_them() {
        let now: Timestamp = "2019-06-03T11:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("\t42 ", Some(42)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("", None),
            ("soon", None),
            ("Mon, 03 Jun 2019 11:30:12 GMT", Some(1812)),
            ("Monday, 03-Jun-19 11:30:12 GMT", Some(1812)),
            ("Mon Jun  3 11:30:12 2019", Some(1812)),
            ("Mon, 03 Jun 2019 10:00:00 GMT", Some(0)),
        ] {
            assert_eq!(parse(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
