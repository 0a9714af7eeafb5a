//! One chart's frame: fault bands, grid, labels, and the plot that stretches with the page.
//!
//! ```text
//! <svg class=chart>            width 100 %, height in pixels, no view box: text keeps its size at any width
//!   <svg class=plot>           view box in milliseconds × pixels, stretched: zooming is another view box
//!     bands, grid, data
//!   labels                     at percentages of the width; `data-t` lets the script move them when it zooms
//! ```
//!
//! It reads well without a script, in print and at any width. Nothing uses a `style` attribute: the page's
//! content security policy allows none.

use std::fmt::Write;

use super::scale::{Scale, TimeAxis, ms, time_label};
use crate::measure::MeasuredRun;
use crate::report::view::zero;

/// The height of the time labels under a plot, in pixels.
const FOOT: f64 = 18.0;

/// What one chart is drawn on.
pub(super) struct Frame<'a> {
    pub(super) axis: TimeAxis,
    pub(super) run: &'a MeasuredRun,
    /// The plot's height in pixels.
    pub(super) height: f64,
    /// What a person who cannot see it is told.
    pub(super) label: String,
    /// Whether the faults' names stand in it; one chart of a column is enough.
    pub(super) named: bool,
}

impl Frame<'_> {
    /// The chart with this data; `tick` words a value of the scale, and without a scale there are no such labels.
    pub(super) fn draw(&self, scale: Option<(Scale, &dyn Fn(f64) -> String)>, data: &str, extra: &str) -> String {
        let TimeAxis { start_ms, end_ms } = self.axis;
        let (height, total) = (self.height, self.height + FOOT);
        let mut svg = format!(
            "<svg class=\"chart\" width=\"100%\" height=\"{total}\" role=\"img\" aria-label=\"{}\">\
             <svg class=\"plot\" width=\"100%\" height=\"{height}\" viewBox=\"{} 0 {} {height}\" preserveAspectRatio=\"none\">",
            escape(&self.label),
            number(start_ms),
            number(end_ms - start_ms),
        );
        self.bands(&mut svg);
        let mut labels = String::new();
        if let Some((scale, tick)) = scale {
            for value in scale.ticks() {
                let y = scale.y(value, height);
                let _ =
                    write!(svg, "<path class=\"grid\" d=\"M{} {}H{}\"/>", number(start_ms), number(y), number(end_ms));
                // Under its line where there is no room above.
                let text_y = if y < 12.0 { y + 11.0 } else { y - 3.0 };
                let _ = write!(
                    labels,
                    "<text class=\"y\" x=\"2\" y=\"{}\">{}</text>",
                    number(text_y),
                    escape(&tick(value))
                );
            }
        }
        let _ = write!(
            svg,
            "<path class=\"base\" d=\"M{} {height}H{}\"/>{data}</svg>{labels}{extra}",
            number(start_ms),
            number(end_ms)
        );
        for at in self.axis.ticks() {
            let x = number(self.axis.percent(at));
            let _ = write!(
                svg,
                "<text class=\"x\" data-t=\"{at}\" x=\"{x}%\" y=\"{}\">{}</text>",
                total - 4.0,
                time_label(at)
            );
        }
        if self.named {
            self.names(&mut svg);
        }
        svg.push_str("</svg>");
        svg
    }

    /// Each fault as a band from its actual injection to its actual removal.
    fn bands(&self, svg: &mut String) {
        let zero = zero(self.run);
        for fault in self.run.faults.values() {
            let start = ms(fault.injected, zero);
            let end = ms(fault.healed.unwrap_or(self.run.load_end), zero);
            let (x, width, height) = (number(start), number((end - start).max(0.0)), self.height);
            let _ = write!(svg, "<rect class=\"fault\" x=\"{x}\" width=\"{width}\" height=\"{height}\"/>");
            let _ = write!(svg, "<path class=\"edge\" d=\"M{x} 0V{height}\"/>");
            if fault.healed.is_some() {
                let _ = write!(svg, "<path class=\"edge\" d=\"M{} 0V{height}\"/>", number(end));
            }
        }
    }

    fn names(&self, svg: &mut String) {
        let zero = zero(self.run);
        for (index, (name, fault)) in self.run.faults.iter().enumerate() {
            let at = ms(fault.injected, zero);
            // Names of faults that follow each other closely stand on two lines in turn.
            let y = 11 + index % 2 * 12;
            let _ = write!(
                svg,
                "<text class=\"name\" data-t=\"{}\" dx=\"4\" x=\"{}%\" y=\"{y}\">{}</text>",
                number(at),
                number(self.axis.percent(at)),
                escape(&cut(name, 28)),
            );
        }
    }
}

/// A number with at most two decimals and nothing to spare: drawings are most of a report's size.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" | "" => "0".into(),
        text => text.into(),
    }
}

/// Text of others inside SVG or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// At most so many characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit { text.into() } else { text.chars().take(limit - 1).chain(['…']).collect() }
}
