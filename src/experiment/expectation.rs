//! What a run must show, in one line.
//!
//! ```text
//! [workload[/class].]metric [during phase[.fault]] op limit [where axis=value {and axis=value}]
//! ```
//!
//! A guard's condition is the same line without `during` and `where`, and with a quantity as its limit.
//! `docs/expectations.md` is the reference; a test compares its table of metrics with [`Metric`].

mod parse;
mod quantity;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::metric::Metric;

pub use quantity::Quantity;

/// One expectation, parsed. What it prints parses back as the same.
///
/// ```
/// use brownout::experiment::expectation::Expectation;
///
/// let line = "orders/write.p99 during recovery <= 1.1 * baseline + 1ms where retry=none";
/// let expectation = Expectation::parse(line)?;
/// assert_eq!(expectation.to_string(), line);
/// # Ok::<(), brownout::experiment::expectation::ExpectationError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// What is looked at.
    pub subject: Subject,
    /// When; as written, so none means `impact`.
    pub during: Option<Phase>,
    /// How it compares.
    pub op: Op,
    /// With what.
    pub limit: Limit,
    /// Of which variants it speaks: all that have these values on these axes.
    pub variants: Vec<(String, String)>,
}

/// A metric, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The workload; none: each workload of the plan.
    pub workload: Option<String>,
    /// Its class; none: all classes together.
    pub class: Option<String>,
    /// The metric.
    pub metric: Metric,
}

/// A window of time that an expectation can name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Load without a fault.
    Baseline,
    /// A fault, or the union of all, in force.
    Fault(Option<String>),
    /// After a fault's removal, or after the last one's.
    Recovery(Option<String>),
    /// From the first injection to the end of load.
    #[default]
    Impact,
    /// All load after the warm-up.
    Overall,
}

impl Phase {
    /// The fault that it names.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Phase::Fault(fault) | Phase::Recovery(fault) => fault.as_deref(),
            _ => None,
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `<`
    Below,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Op {
    /// Every comparison; a longer one before its own beginning.
    pub const ALL: [Op; 6] = [Op::AtLeast, Op::AtMost, Op::Equal, Op::NotEqual, Op::Above, Op::Below];

    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Op::AtLeast => ">=",
            Op::AtMost => "<=",
            Op::Above => ">",
            Op::Below => "<",
            Op::Equal => "==",
            Op::NotEqual => "!=",
        }
    }

    /// Whether `observed op limit` is true.
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        #[expect(clippy::float_cmp, reason = "`==` is the user's own word; with `±` the judge compares a distance")]
        match self {
            Op::AtLeast => observed >= limit,
            Op::AtMost => observed <= limit,
            Op::Above => observed > limit,
            Op::Below => observed < limit,
            Op::Equal => observed == limit,
            Op::NotEqual => observed != limit,
        }
    }
}

/// What a metric is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// A number.
    Quantity(Quantity),
    /// The same metric, measured at another time or of another variant.
    Relative {
        /// It is multiplied with this; none: 1.
        factor: Option<f64>,
        /// When, or whose.
        reference: Reference,
        /// This is added to it.
        offset: Option<(Sign, Quantity)>,
    },
}

/// Another measurement of the same metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In the phase `baseline` of the same run.
    Baseline,
    /// In the stored run, `baselines/NAME.json`.
    Stored,
    /// In the same phase of the variant that differs from the judged one on this axis alone.
    Variant {
        /// The axis of the matrix.
        axis: String,
        /// The value that the other variant has on it.
        value: String,
    },
}

/// What happens with an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is added.
    Plus,
    /// It is taken away.
    Minus,
    /// So much on either side is allowed.
    PlusMinus,
}

/// A guard's condition, told over a sliding second while the run goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub subject: Subject,
    /// How it compares.
    pub op: Op,
    /// With what.
    pub limit: Quantity,
}

/// A line that is not an expectation: where, what was expected, what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpectationError {
    /// The bytes of the line that it concerns.
    pub at: Range<usize>,
    /// What is wrong, as a fragment.
    pub message: String,
    /// What would be right, if that can be guessed.
    pub help: Option<String>,
}

/// A line that is wrong: every mistake in it, and what can be read all the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faulty {
    /// At least one, in the order of the line.
    pub mistakes: Vec<ExpectationError>,
    /// The workload that it names.
    pub workload: Option<String>,
    /// The class that it names.
    pub class: Option<String>,
    /// The phase that it names.
    pub during: Option<Phase>,
    /// The variants that it names.
    pub variants: Vec<(String, String)>,
}

impl Faulty {
    /// The one that comes first in the line.
    fn first(mut self) -> ExpectationError {
        self.mistakes.swap_remove(0)
    }
}

impl Expectation {
    /// Reads a line; the error is its first mistake.
    pub fn parse(text: &str) -> Result<Expectation, ExpectationError> {
        Expectation::read(text).map_err(|faulty| faulty.first())
    }

    /// Reads a line; the error tells all that is wrong with it.
    pub fn read(text: &str) -> Result<Expectation, Box<Faulty>> {
        parse::expectation(text)
    }

    /// The phase that it looks at: `impact` where it names none.
    pub fn phase(&self) -> Phase {
        self.during.clone().unwrap_or_default()
    }

    /// Whether its limit follows the stored baseline.
    pub fn names_stored(&self) -> bool {
        matches!(self.limit, Limit::Relative { reference: Reference::Stored, .. })
    }

    /// The axis and value of the variant that its limit follows.
    pub fn other_variant(&self) -> Option<(&str, &str)> {
        match &self.limit {
            Limit::Relative { reference: Reference::Variant { axis, value }, .. } => Some((axis, value)),
            _ => None,
        }
    }

    /// Whether it speaks of a variant: one that it names, and not the one that it compares with.
    pub fn speaks_of<'a>(&self, variant: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.variants.iter().all(|(axis, value)| variant(axis) == Some(value))
            && self.other_variant().is_none_or(|(axis, value)| variant(axis) != Some(value))
    }
}

impl Condition {
    /// Reads a guard's `abort_if`; the error is its first mistake.
    pub fn parse(text: &str) -> Result<Condition, ExpectationError> {
        Condition::read(text).map_err(|faulty| faulty.first())
    }

    /// Reads a guard's `abort_if`; the error tells all that is wrong with it.
    pub fn read(text: &str) -> Result<Condition, Box<Faulty>> {
        parse::condition(text)
    }
}

impl FromStr for Expectation {
    type Err = ExpectationError;

    fn from_str(text: &str) -> Result<Expectation, ExpectationError> {
        Expectation::parse(text)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        if let Some(phase) = &self.during {
            write!(f, " during {phase}")?;
        }
        write!(f, " {} {}", self.op, self.limit)?;
        for (index, (axis, value)) in self.variants.iter().enumerate() {
            let word = if index == 0 { "where" } else { "and" };
            let quote = if value.is_empty() || value.contains(char::is_whitespace) { "\"" } else { "" };
            write!(f, " {word} {axis}={quote}{value}{quote}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.subject, self.op, self.limit)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(workload) = &self.workload {
            f.write_str(workload)?;
            if let Some(class) = &self.class {
                write!(f, "/{class}")?;
            }
            f.write_str(".")?;
        }
        write!(f, "{}", self.metric)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Phase::Baseline => "baseline",
            Phase::Fault(_) => "fault",
            Phase::Recovery(_) => "recovery",
            Phase::Impact => "impact",
            Phase::Overall => "overall",
        };
        match self.fault() {
            Some(fault) => write!(f, "{word}.{fault}"),
            None => f.write_str(word),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Quantity(quantity) => write!(f, "{quantity}"),
            Limit::Relative { factor, reference, offset } => {
                if let Some(factor) = factor {
                    write!(f, "{factor} * ")?;
                }
                match reference {
                    Reference::Baseline => f.write_str("baseline")?,
                    Reference::Stored => f.write_str("stored")?,
                    Reference::Variant { axis, value } => write!(f, "{axis}={value}")?,
                }
                if let Some((sign, quantity)) = offset {
                    let sign = match sign {
                        Sign::Plus => "+",
                        Sign::Minus => "-",
                        Sign::PlusMinus => "±",
                    };
                    write!(f, " {sign} {quantity}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
