//! The charts over time of one workload: latency as bands and as a heat map, success, attempts by outcome, goodput.

use std::fmt::Write;

use super::chart::{Frame, number};
use super::scale::{Scale, TimeAxis, ms};
use crate::event::Outcome;
use crate::measure::{MeasuredRun, Series, Slice};
use crate::report::say;
use crate::report::view::{variant_name, zero};

/// One workload of one run, ready to draw.
#[derive(Clone, Copy)]
pub(super) struct Track<'a> {
    pub(super) run: &'a MeasuredRun,
    pub(super) series: &'a Series,
}

impl Track<'_> {
    /// The start of a slice on the time axis, in milliseconds.
    pub(super) fn start(&self, index: usize) -> f64 {
        index as f64 * self.width() + ms(crate::clock::Moment::START, zero(self.run))
    }

    /// The length of a slice in milliseconds.
    pub(super) fn width(&self) -> f64 {
        self.series.slice_ns as f64 / 1e6
    }

    /// A count of one slice as a rate.
    fn per_second(&self, count: u64) -> f64 {
        count as f64 * 1e9 / self.series.slice_ns.max(1) as f64
    }

    /// Slices up to the last in which something was due.
    pub(super) fn slices(&self) -> &[Slice] {
        let last = self.series.slices.iter().rposition(|slice| slice.due > 0);
        &self.series.slices[..last.map_or(0, |last| last + 1)]
    }
}

/// A row of charts: the same figure of every variant, on one scale.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The id of its definition.
    pub(super) definition: &'static str,
    /// What the marks mean: class and words.
    pub(super) legend: Vec<(String, String)>,
    /// One drawing a variant.
    pub(super) panels: Vec<Panel>,
}

/// One variant's chart.
pub(super) struct Panel {
    /// The variant, as a caption.
    pub(super) variant: String,
    /// The track that its cursor reads, by number.
    pub(super) track: usize,
    pub(super) svg: String,
}

/// All rows of one workload; `first_track` is the number of its first track on the page.
pub(super) fn rows(axis: TimeAxis, tracks: &[Track<'_>], first_track: usize) -> Vec<Row> {
    [latency(axis, tracks), heat(axis, tracks), success(axis, tracks), outcomes(axis, tracks), goodput(axis, tracks)]
        .into_iter()
        .map(|(mut row, drawings)| {
            let panel = |(index, svg)| {
                let track: &Track<'_> = &tracks[index];
                Panel { variant: variant_name(&track.run.variant).into(), track: first_track + index, svg }
            };
            row.panels = drawings.into_iter().enumerate().map(panel).collect();
            row
        })
        .collect()
}

type Drawn = (Row, Vec<String>);

fn row(id: &'static str, title: &'static str, definition: &'static str, legend: &[(&str, &str)]) -> Row {
    let legend = legend.iter().map(|(class, words)| ((*class).to_owned(), (*words).to_owned())).collect();
    Row { id, title, definition, legend, panels: Vec::new() }
}

fn frame<'a>(axis: TimeAxis, track: &Track<'a>, height: f64, what: &str) -> Frame<'a> {
    let label = format!("{what}, {}. The figures are in the table below.", variant_name(&track.run.variant));
    Frame { axis, run: track.run, height, label, named: false }
}

fn latency(axis: TimeAxis, tracks: &[Track<'_>]) -> Drawn {
    const HEIGHT: f64 = 180.0;
    let known = || tracks.iter().flat_map(|track| track.series.slices.iter().filter_map(|slice| slice.latency_ns));
    let min = known().map(|[p50, ..]| p50).min().unwrap_or(1_000_000);
    let max = known().map(|[.., max]| max).max().unwrap_or(10_000_000);
    let scale = Scale::log(min as f64, max as f64);
    let draw = |track: &Track<'_>| {
        let y = |ns: u64| scale.y(ns as f64, HEIGHT);
        // Slices without an operation break the bands.
        let (mut outer, mut inner, mut median, mut greatest) = <(String, String, String, String)>::default();
        for part in runs_of_known(track) {
            let line = |of: fn(&[u64; 4]) -> u64| -> Vec<(f64, f64)> {
                let width = track.width();
                let first = part.first().map(|(index, latency)| (track.start(*index), y(of(latency))));
                let last = part.last().map(|(index, latency)| (track.start(*index) + width, y(of(latency))));
                let middle = part.iter().map(|(index, latency)| (track.start(*index) + width / 2.0, y(of(latency))));
                first.into_iter().chain(middle).chain(last).collect()
            };
            let (p50, p90, p99, max) = (line(|l| l[0]), line(|l| l[1]), line(|l| l[2]), line(|l| l[3]));
            band(&mut outer, &p99, &p90);
            band(&mut inner, &p90, &p50);
            polyline(&mut median, &p50);
            polyline(&mut greatest, &max);
        }
        let data = format!(
            "<path class=\"band outer\" d=\"{outer}\"/><path class=\"band inner\" d=\"{inner}\"/>\
             <path class=\"max\" d=\"{greatest}\"/><path class=\"median\" d=\"{median}\"/>"
        );
        let frame = Frame { named: true, ..frame(axis, track, HEIGHT, "Latency over time as percentile bands") };
        frame.draw(Some((scale, &|ns| axis_duration(ns))), &data, "")
    };
    let legend = [("median", "p50"), ("band inner", "to p90"), ("band outer", "to p99"), ("max", "greatest")];
    (row("latency", "Latency", "p99", &legend), tracks.iter().map(draw).collect())
}

/// Stretches of adjacent slices with a latency, each with its index.
fn runs_of_known(track: &Track<'_>) -> Vec<Vec<(usize, [u64; 4])>> {
    let mut parts: Vec<Vec<(usize, [u64; 4])>> = Vec::new();
    let mut open = false;
    for (index, slice) in track.series.slices.iter().enumerate() {
        match slice.latency_ns {
            Some(latency) if open => parts.last_mut().into_iter().for_each(|part| part.push((index, latency))),
            Some(latency) => parts.push(vec![(index, latency)]),
            None => {}
        }
        open = slice.latency_ns.is_some();
    }
    parts
}

fn polyline(path: &mut String, points: &[(f64, f64)]) {
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if index == 0 { 'M' } else { 'L' }, number(*x), tenth(*y));
    }
}

/// The area between two lines.
fn band(path: &mut String, top: &[(f64, f64)], bottom: &[(f64, f64)]) {
    polyline(path, top);
    for (x, y) in bottom.iter().rev() {
        let _ = write!(path, "L{} {}", number(*x), tenth(*y));
    }
    path.push('Z');
}

/// A tenth of a pixel is finer than a screen.
fn tenth(y: f64) -> String {
    number((y * 10.0).round() / 10.0)
}

/// Shades of a heat map; the darkest is the fullest cell of the row of charts.
const SHADES: usize = 6;

fn heat(axis: TimeAxis, tracks: &[Track<'_>]) -> Drawn {
    const HEIGHT: f64 = 150.0;
    let used = |row: usize| {
        tracks.iter().any(|track| track.series.slices.iter().any(|slice| slice.heat.get(row).is_some_and(|n| *n > 0)))
    };
    let bounds = tracks.first().map_or(&[][..], |track| &track.series.heat_bounds_ns);
    let first = (0..bounds.len()).find(|row| used(*row)).unwrap_or(0);
    let last = (0..bounds.len()).rfind(|row| used(*row)).unwrap_or(0);
    let lower =
        if first > 0 { bounds[first - 1] as f64 } else { bounds.first().map_or(1.0, |bound| *bound as f64 / 1.3) };
    let scale = Scale::Log {
        min: lower.max(1.0),
        max: bounds.get(last).map_or(lower * 10.0, |bound| *bound as f64).max(lower * 1.01),
    };
    let fullest =
        tracks.iter().flat_map(|track| &track.series.slices).flat_map(|slice| &slice.heat).copied().max().unwrap_or(0);
    let draw = |track: &Track<'_>| {
        let mut paths = vec![String::new(); SHADES + 1];
        for row in first..=last.min(bounds.len().saturating_sub(1)) {
            let top = scale.y(bounds.get(row).map_or(1.0, |bound| *bound as f64), HEIGHT);
            let bottom = if row == first { HEIGHT } else { scale.y(bounds[row - 1] as f64, HEIGHT) };
            for (shade, from, to) in stretches(track, row, fullest) {
                let (x, width, height) =
                    (number(track.start(from)), number((to - from) as f64 * track.width()), tenth(bottom - top));
                let _ = write!(paths[shade], "M{x} {}h{width}v{height}h-{width}z", tenth(top));
            }
        }
        let data: String = paths
            .iter()
            .enumerate()
            .filter(|(_, path)| !path.is_empty())
            .map(|(shade, path)| format!("<path class=\"heat h{shade}\" d=\"{path}\"/>"))
            .collect();
        frame(axis, track, HEIGHT, "Latency over time as a heat map of operations").draw(
            Some((scale, &|ns| axis_duration(ns))),
            &data,
            "",
        )
    };
    let few = match fullest {
        0 | 1 => "1 operation in a cell".to_owned(),
        _ => format!("1 to {} operations in a cell", say::count(u64::from(fullest))),
    };
    let mut legend: Vec<(&str, &str)> = (1..=SHADES).map(|shade| (SHADE_CLASSES[shade], "")).collect();
    if let Some(last) = legend.last_mut() {
        last.1 = &few;
    }
    (row("heat", "Latency, every operation", "heat_map", &legend), tracks.iter().map(draw).collect())
}

const SHADE_CLASSES: [&str; SHADES + 1] = ["", "heat h1", "heat h2", "heat h3", "heat h4", "heat h5", "heat h6"];

/// Adjacent slices of one shade in a row: (shade, from, to).
fn stretches(track: &Track<'_>, row: usize, fullest: u32) -> Vec<(usize, usize, usize)> {
    let mut stretches: Vec<(usize, usize, usize)> = Vec::new();
    for (index, slice) in track.series.slices.iter().enumerate() {
        let count = slice.heat.get(row).copied().unwrap_or(0);
        if count == 0 {
            continue;
        }
        // By the square root, so that a single slow operation is seen beside a thousand quick ones.
        let shade =
            ((f64::from(count) / f64::from(fullest)).sqrt() * SHADES as f64).ceil().clamp(1.0, SHADES as f64) as usize;
        match stretches.last_mut() {
            Some((last, _, to)) if *last == shade && *to == index => *to += 1,
            _ => stretches.push((shade, index, index + 1)),
        }
    }
    stretches
}

fn success(axis: TimeAxis, tracks: &[Track<'_>]) -> Drawn {
    const HEIGHT: f64 = 80.0;
    let scale = Scale::Linear { max: 1.0 };
    let draw = |track: &Track<'_>| {
        let share = |slice: &Slice| (slice.due > 0).then(|| slice.ok as f64 / slice.due as f64);
        let (mut good, mut bad) = (String::new(), String::new());
        for (from, to, share) in steps(track.slices(), share) {
            let (x, width, y) =
                (number(track.start(from)), number((to - from) as f64 * track.width()), scale.y(share, HEIGHT));
            let _ = write!(good, "M{x} {HEIGHT}V{}h{width}V{HEIGHT}z", tenth(y));
            if share < 1.0 {
                let _ = write!(bad, "M{x} 0V{}h{width}V0z", tenth(y));
            }
        }
        let data = format!("<path class=\"good\" d=\"{good}\"/><path class=\"bad\" d=\"{bad}\"/>");
        frame(axis, track, HEIGHT, "Share of operations that succeeded, by due time").draw(
            Some((scale, &|share| say::share(share))),
            &data,
            "",
        )
    };
    let legend = [("good", "succeeded"), ("bad", "failed or unknown")];
    (row("success", "Success of operations", "success_rate", &legend), tracks.iter().map(draw).collect())
}

/// Adjacent slices of one value: (from, to, value).
fn steps(slices: &[Slice], value: impl Fn(&Slice) -> Option<f64>) -> Vec<(usize, usize, f64)> {
    let mut steps: Vec<(usize, usize, f64)> = Vec::new();
    for (index, slice) in slices.iter().enumerate() {
        let Some(value) = value(slice) else { continue };
        match steps.last_mut() {
            Some((_, to, last)) if *to == index && *last == value => *to += 1,
            _ => steps.push((index, index + 1, value)),
        }
    }
    steps
}

/// Outcomes that occur in any of the tracks, in the order of reports.
pub(super) fn occurring(tracks: &[Track<'_>]) -> Vec<Outcome> {
    let occurs = |outcome: &Outcome| {
        tracks.iter().any(|track| track.series.slices.iter().any(|slice| slice.attempts.contains_key(outcome)))
    };
    Outcome::ALL.into_iter().filter(occurs).collect()
}

fn outcomes(axis: TimeAxis, tracks: &[Track<'_>]) -> Drawn {
    const HEIGHT: f64 = 120.0;
    let outcomes = occurring(tracks);
    let most = |track: &Track<'_>| {
        track.series.slices.iter().map(|slice| track.per_second(slice.attempts.values().sum())).fold(0.0, f64::max)
    };
    let scale = Scale::linear(tracks.iter().map(most).fold(0.0, f64::max));
    let draw = |track: &Track<'_>| {
        let mut data = String::new();
        // Stacked from the bottom: ok first, so that what failed stands on it.
        for (position, outcome) in outcomes.iter().enumerate() {
            let upto = |slice: &Slice, end: usize| -> f64 {
                let sum: u64 = outcomes[..end].iter().filter_map(|outcome| slice.attempts.get(outcome)).sum();
                track.per_second(sum)
            };
            let mut path = String::new();
            for (index, slice) in
                track.series.slices.iter().enumerate().filter(|(_, slice)| slice.attempts.contains_key(outcome))
            {
                let (bottom, top) =
                    (scale.y(upto(slice, position), HEIGHT), scale.y(upto(slice, position + 1), HEIGHT));
                let width = number(track.width());
                let _ = write!(
                    path,
                    "M{} {}h{width}v{}h-{width}z",
                    number(track.start(index)),
                    tenth(top),
                    tenth(bottom - top)
                );
            }
            let _ = write!(data, "<path class=\"o-{}\" d=\"{path}\"/>", outcome.name());
        }
        frame(axis, track, HEIGHT, "Attempts started a second, by outcome").draw(Some((scale, &say::rate)), &data, "")
    };
    let legend: Vec<(String, String)> =
        outcomes.iter().map(|outcome| (format!("o-{}", outcome.name()), outcome.name().replace('_', " "))).collect();
    let row = Row { legend, ..row("attempts", "Attempts by outcome", "outcome", &[]) };
    (row, tracks.iter().map(draw).collect())
}

fn goodput(axis: TimeAxis, tracks: &[Track<'_>]) -> Drawn {
    const HEIGHT: f64 = 100.0;
    let most = |track: &Track<'_>| {
        track.series.slices.iter().map(|slice| track.per_second(slice.good.max(slice.due))).fold(0.0, f64::max)
    };
    let scale = Scale::linear(tracks.iter().map(most).fold(0.0, f64::max));
    let draw = |track: &Track<'_>| {
        let (mut area, mut due) = (String::new(), String::new());
        for (from, to, good) in steps(&track.series.slices, |slice| Some(track.per_second(slice.good))) {
            let (x, width) = (number(track.start(from)), number((to - from) as f64 * track.width()));
            let _ = write!(area, "M{x} {HEIGHT}V{}h{width}V{HEIGHT}z", tenth(scale.y(good, HEIGHT)));
        }
        for (from, to, rate) in steps(track.slices(), |slice| Some(track.per_second(slice.due))) {
            let command = if due.is_empty() { 'M' } else { 'L' };
            let y = tenth(scale.y(rate, HEIGHT));
            let _ = write!(due, "{command}{} {y}H{}", number(track.start(from)), number(track.start(to)));
        }
        let data = format!("<path class=\"good\" d=\"{area}\"/><path class=\"due\" d=\"{due}\"/>");
        frame(axis, track, HEIGHT, "Operations that ended ok a second, against those due").draw(
            Some((scale, &say::rate)),
            &data,
            "",
        )
    };
    let legend = [("good", "ended ok"), ("due", "due")];
    (row("goodput", "Goodput", "goodput", &legend), tracks.iter().map(draw).collect())
}

/// A round time on an axis: `1 ms`, `100 ms`, `10 s`.
fn axis_duration(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{} ns", number(ns)),
        ..1e6 => format!("{} µs", number(ns / 1e3)),
        ..1e9 => format!("{} ms", number(ns / 1e6)),
        _ => format!("{} s", number(ns / 1e9)),
    }
}
