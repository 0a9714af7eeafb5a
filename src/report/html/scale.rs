//! The shared time axis, and the scales of values: pure arithmetic from figures to places in a drawing.

use crate::clock::Moment;
use crate::measure::MeasuredRun;
use crate::report::view::zero;

/// The time axis that every chart of a page shares: milliseconds around the first injection of each run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimeAxis {
    pub(super) start_ms: f64,
    pub(super) end_ms: f64,
}

impl TimeAxis {
    /// From the earliest start to the latest end of load.
    pub(super) fn of(runs: &[&MeasuredRun]) -> TimeAxis {
        let mut axis = TimeAxis { start_ms: 0.0, end_ms: 1.0 };
        for run in runs {
            axis.start_ms = axis.start_ms.min(ms(Moment::START, zero(run)));
            axis.end_ms = axis.end_ms.max(ms(run.load_end, zero(run)));
        }
        // Room on the left for the labels of values; a narrow chart needs more of its width for them.
        let room = if runs.len() > 1 { 0.10 } else { 0.05 };
        axis.start_ms -= (axis.end_ms - axis.start_ms) * room;
        axis
    }

    /// Where a time stands, in percent of the width.
    pub(super) fn percent(&self, ms: f64) -> f64 {
        (ms - self.start_ms) / (self.end_ms - self.start_ms) * 100.0
    }

    /// Round times to label, away from the edges.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let step = round_up((self.end_ms - self.start_ms) / 6.0);
        let first = (self.start_ms / step).ceil() as i64;
        let last = (self.end_ms / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).filter(|at| (4.0..=96.0).contains(&self.percent(*at))).collect()
    }
}

/// Milliseconds from `zero` to a moment.
pub(super) fn ms(at: Moment, zero: Moment) -> f64 {
    at.signed_ns_since(zero) as f64 / 1e6
}

/// The label of a time on the axis: `−2 s`, `0`, `+1.5 s`, `+250 ms`.
pub(super) fn time_label(ms: f64) -> String {
    let sign = if ms < 0.0 { '−' } else { '+' };
    match ms.abs() {
        0.0 => "0".into(),
        size if size < 1_000.0 => format!("{sign}{size} ms"),
        size if size < 120_000.0 => format!("{sign}{} s", size / 1_000.0),
        size => format!("{sign}{} min", (size / 6_000.0).round() / 10.0),
    }
}

/// The next of 1, 2, 5 × a power of ten.
fn round_up(value: f64) -> f64 {
    round_up_to(value, &[1.0, 2.0, 5.0, 10.0])
}

fn round_up_to(value: f64, steps: &[f64]) -> f64 {
    let decade = 10f64.powf(value.max(1e-9).log10().floor());
    let step = steps.iter().copied().find(|step| step * decade >= value).unwrap_or(10.0);
    step * decade
}

/// How values map to the height of a plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0 to the greatest value.
    Linear { max: f64 },
    /// Equal factors take equal heights.
    Log { min: f64, max: f64 },
}

impl Scale {
    /// Room for everything up to `max`, ending at a round value.
    pub(super) fn linear(max: f64) -> Scale {
        const STEPS: [f64; 9] = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
        Scale::Linear { max: round_up_to(max.max(1.0), &STEPS) }
    }

    /// Room for everything between the two, and at least for a decade.
    pub(super) fn log(min: f64, max: f64) -> Scale {
        let min = min.max(1.0) * 0.8;
        Scale::Log { min, max: (max * 1.8).max(min * 10.0) }
    }

    /// How far from the top of a plot of this height.
    pub(super) fn y(self, value: f64, height: f64) -> f64 {
        let share = match self {
            Scale::Linear { max } => value / max,
            Scale::Log { min, max } => (value.max(min) / min).ln() / (max / min).ln(),
        };
        height * (1.0 - share.clamp(0.0, 1.0))
    }

    /// Round values to label.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Scale::Linear { max } => vec![max / 2.0, max],
            Scale::Log { min, max } => {
                let decades = |steps: &[f64]| -> Vec<f64> {
                    let first = min.log10().floor() as i32;
                    let last = max.log10().ceil() as i32;
                    let values =
                        (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
                    values.filter(|value| (min * 1.1..=max / 1.1).contains(value)).collect()
                };
                let ticks = decades(&[1.0]);
                if ticks.len() > 1 { ticks } else { decades(&[1.0, 2.0, 5.0]) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_away_from_the_edges() {
        let axis = TimeAxis { start_ms: -3_002.0, end_ms: 6_002.0 };
        assert_eq!(axis.ticks(), [-2_000.0, 0.0, 2_000.0, 4_000.0]);
        assert_eq!(axis.ticks().iter().map(|ms| time_label(*ms)).collect::<Vec<_>>(), ["−2 s", "0", "+2 s", "+4 s"]);
        assert_eq!(time_label(250.0), "+250 ms");
        assert_eq!(time_label(-180_000.0), "−3 min");
        assert_eq!(time_label(1_500.0), "+1.5 s");
    }

    #[test]
    fn a_log_scale_labels_decades_and_keeps_its_values_inside() {
        let scale = Scale::log(0.9e6, 1_100e6);
        assert_eq!(scale.ticks(), [1e6, 1e7, 1e8, 1e9]);
        assert_eq!(scale.y(1.0, 100.0), 100.0);
        assert!(scale.y(1_100e6, 100.0) > 0.0);
        // Less than a decade is labelled too.
        assert!(Scale::log(2e6, 6e6).ticks().len() > 1);
    }

    #[test]
    fn a_linear_scale_ends_at_a_round_value() {
        assert_eq!(Scale::linear(660.0), Scale::Linear { max: 800.0 });
        assert_eq!(Scale::linear(0.0), Scale::Linear { max: 1.0 });
        assert_eq!(Scale::linear(100.0).y(50.0, 80.0), 40.0);
    }
}
