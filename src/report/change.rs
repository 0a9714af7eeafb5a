//! How far a figure is from its limit, and from what the stored baseline has of it.

use super::view::Report;
use crate::verdict::Judged;

/// Whether there is a stored baseline to show changes against.
pub(super) fn has_stored(report: &Report) -> bool {
    report.expectations.iter().any(|line| line.stored_value.is_some())
}

/// `−12 %`: what was observed, against the stored value.
pub(super) fn against_stored(line: &Judged) -> String {
    let (Some(observed), Some(stored)) = (line.observed_value, line.stored_value) else { return "n/a".into() };
    // What had not ended when the run did is a lower bound.
    let at_least = if line.observed.starts_with('≥') { "≥ " } else { "" };
    let change = (observed - stored) / stored;
    match (observed - stored).abs() {
        difference if difference <= 1e-12 * stored.abs() => format!("{at_least}same"),
        _ if change.is_finite() => format!("{at_least}{}", percent(change)),
        _ => "was 0".into(),
    }
}

/// `+12 %`: signed, so that it tells which way.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = usize::from(percent.abs() < 9.95);
    let sign = if percent < 0.0 { '−' } else { '+' };
    format!("{sign}{:.digits$} %", percent.abs())
}
