//! From a line to an [`Expectation`]: a cursor over the text, one function for each part of the grammar.

use std::ops::Range;

use super::quantity::number;
use super::{Condition, Expectation, ExpectationError, Faulty, Limit, Op, Phase, Quantity, Reference, Sign, Subject};
use crate::experiment::metric::{Metric, Scope, Unit};
use crate::experiment::nearest::nearest;

type Parsed<T> = Result<T, ExpectationError>;

/// The signs that a comparison is made of; no name contains one.
fn is_op(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '!' | '≤' | '≥' | '≠')
}

/// Reads a line to its end, past every mistake that leaves the rest readable.
pub(super) fn expectation(text: &str) -> Result<Expectation, Box<Faulty>> {
    let mut faulty = Faulty::default();
    let mut cursor = Cursor { text, at: 0 };
    let (subject, subject_at) = subject(&mut cursor, &mut faulty);
    let during = cursor.keyword("during").then(|| faulty.note(phase(&mut cursor))).flatten();
    faulty.during = during.as_ref().map(|(phase, _)| phase.clone());
    let before_op = cursor.at;
    let op = faulty.note(op(&mut cursor));
    let signed = cursor.at > before_op;
    let mut limit_end = text.len();
    if let Some(word) = cursor.position_of_word("where") {
        limit_end = word.start;
        let variants = variants(&mut Cursor { text, at: word.end });
        faulty.variants = faulty.note(variants).unwrap_or_default();
    }
    if let Some(late) = cursor.position_of_word("during").filter(|late| signed && late.end <= limit_end) {
        let rest = &text[late.end..limit_end];
        let phase = rest.split_whitespace().next().unwrap_or("PHASE");
        let end = rest.find(phase).map_or(late.end, |at| late.end + at + phase.len());
        let (subject, sign) = (&text[subject_at.clone()], text[before_op..cursor.at].trim());
        let misplaced = fail::<()>(late.start..end, "`during` stands before the comparison");
        faulty.note(misplaced.help(format!("write `{subject} during {phase} {sign} …`")));
        limit_end = late.start;
    }
    let cursor = Cursor { text: &text[..limit_end], at: cursor.at.min(limit_end) };
    let limit_at = cursor.rest_trimmed();
    let limit = match &subject {
        Some(subject) if signed => faulty.note(limit(cursor, subject.metric)),
        _ => None,
    };
    if let Some(subject) = &subject {
        faulty.note(check_owner(subject, subject_at));
        faulty.note(during.as_ref().map_or(Ok(()), |(phase, at)| check_phase(subject.metric, phase, at.clone())));
        faulty.note(op.clone().map_or(Ok(()), |(op, at)| check_op(op, at, subject.metric)));
        let phase = during.as_ref().map(|(phase, _)| phase);
        let variants = &faulty.variants;
        let checked = limit.as_ref().map_or(Ok(()), |limit| check_limit(limit, subject, phase, variants, limit_at));
        faulty.note(checked);
    }
    match (subject, op, limit) {
        (Some(subject), Some((op, _)), Some(limit)) if faulty.mistakes.is_empty() => {
            let (during, variants) = (faulty.during, faulty.variants);
            Ok(Expectation { subject, during, op, limit, variants })
        }
        _ => Err(faulty.in_order()),
    }
}

pub(super) fn condition(text: &str) -> Result<Condition, Box<Faulty>> {
    let mut faulty = Faulty::default();
    let mut cursor = Cursor { text, at: 0 };
    let (subject, at) = subject(&mut cursor, &mut faulty);
    if let Some(subject) = subject.as_ref().filter(|subject| !subject.metric.is_live()) {
        let unseen =
            fail::<()>(at, format!("`{}` is known only after the run, so no guard can watch it", subject.metric));
        faulty.note(
            unseen.help("guards watch figures of a class over a sliding second, such as `success_rate` or `p99`"),
        );
    }
    let start = cursor.rest_trimmed().start;
    if cursor.keyword("during") {
        cursor.word(is_op);
        let needless = fail::<()>(start..cursor.at, "a guard looks at the last second, whatever the phase");
        faulty.note(needless.help("leave out `during`"));
    }
    let before_op = cursor.at;
    let op = faulty.note(op(&mut cursor));
    let signed = cursor.at > before_op;
    let mut limit_end = text.len();
    if let Some(at) = cursor.position_of_word("where") {
        let needless = fail::<()>(at.start..text.len(), "a guard stands in each variant");
        faulty.note(needless.help("leave out `where`"));
        limit_end = at.start;
    }
    let at = Cursor { text: &text[..limit_end], at: cursor.at.min(limit_end) }.rest_trimmed();
    let metric = subject.as_ref().map(|subject| subject.metric);
    let limit = metric.filter(|_| signed).and_then(|metric| {
        faulty.note(op.clone().map_or(Ok(()), |(op, at)| check_op(op, at, metric)));
        faulty.note(Quantity::parse(&text[at.clone()], metric.unit()).or_else(|message| fail(at, message)))
    });
    match (subject, op, limit) {
        (Some(subject), Some((op, _)), Some(limit)) if faulty.mistakes.is_empty() => {
            Ok(Condition { subject, op, limit })
        }
        _ => Err(faulty.in_order()),
    }
}

impl Faulty {
    /// What was read; a mistake is kept.
    fn note<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        parsed.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }

    /// With its mistakes as they stand in the line.
    fn in_order(mut self) -> Box<Faulty> {
        self.mistakes.sort_by_key(|mistake| mistake.at.start);
        Box::new(self)
    }
}

/// The first word: whose metric, and which. None if either is wrong.
fn subject(cursor: &mut Cursor<'_>, faulty: &mut Faulty) -> (Option<Subject>, Range<usize>) {
    let at = cursor.word(is_op);
    let word = &cursor.text[at.clone()];
    if word.is_empty() {
        faulty.note(fail::<()>(at.clone(), "expected a metric, such as `orders.success_rate`"));
        return (None, at);
    }
    // `p99.9` would else read as the metric `9` of the workload `p99`.
    let (owner, metric) = match word.rsplit_once('.') {
        Some((_, last)) if Metric::named(last).is_none() && Metric::nearest(word).is_some() => (None, word),
        Some((owner, metric)) => (Some(owner), metric),
        None => (None, word),
    };
    let owner_at = at.start..at.start + owner.map_or(0, str::len);
    let (workload, class) = match owner.map(|owner| owner.split_once('/').map_or((owner, None), |(w, c)| (w, Some(c))))
    {
        Some((workload, class)) => (Some(workload), class),
        None => (None, None),
    };
    let mut named = true;
    if workload.is_some_and(|workload| !is_name(workload)) {
        named = false;
        faulty.note(fail::<()>(owner_at, "expected the name of a workload before the point"));
    } else if class.is_some_and(|class| !is_name(class)) {
        named = false;
        faulty.note(fail::<()>(owner_at, "expected the name of a class between `/` and the point"));
    } else {
        (faulty.workload, faulty.class) = (workload.map(str::to_owned), class.map(str::to_owned));
    }
    let metric = faulty.note(Metric::named(metric).ok_or_else(|| no_metric(metric, &at)));
    let (workload, class) = (faulty.workload.clone(), faulty.class.clone());
    (metric.filter(|_| named).map(|metric| Subject { workload, class, metric }), at)
}

/// The last part of a word that ends there is no metric.
fn no_metric(written: &str, word: &Range<usize>) -> ExpectationError {
    let meant = Metric::nearest(written).map(|meant| format!("did you mean `{meant}`?"));
    let message =
        if written.is_empty() { "expected a metric".to_owned() } else { format!("no metric is called `{written}`") };
    let at = word.end - written.len()..word.end;
    ExpectationError { at, message, help: meant.or_else(|| Some(known_metrics())) }
}

fn phase(cursor: &mut Cursor<'_>) -> Parsed<(Phase, Range<usize>)> {
    let at = cursor.word(is_op);
    let word = &cursor.text[at.clone()];
    let (name, fault) = word.split_once('.').map_or((word, None), |(name, fault)| (name, Some(fault)));
    let known = ["baseline", "fault", "recovery", "impact", "overall"];
    if word.is_empty() || !known.contains(&name) {
        let help = match nearest(name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            // A fault's bare name is what people try first.
            None if is_name(name) && fault.is_none() => {
                format!("phases are {}; for the time of one fault write `fault.{name}`", list(&known))
            }
            None => format!("phases are {}", list(&known)),
        };
        let message =
            if word.is_empty() { "expected a phase".to_owned() } else { format!("no phase is called `{name}`") };
        return fail(at, message).help(help);
    }
    let takes_fault = matches!(name, "fault" | "recovery");
    if let Some(fault) = fault
        && (!takes_fault || !fault.split('+').all(is_name))
    {
        let message = if takes_fault {
            format!("expected the name of a fault after `{name}.`")
        } else {
            format!("`{name}` is one phase, it belongs to no single fault")
        };
        return fail(at.start + name.len()..at.end, message);
    }
    let fault = fault.map(str::to_owned);
    let phase = match name {
        "baseline" => Phase::Baseline,
        "fault" => Phase::Fault(fault),
        "recovery" => Phase::Recovery(fault),
        "overall" => Phase::Overall,
        _ => Phase::Impact,
    };
    Ok((phase, at))
}

fn op(cursor: &mut Cursor<'_>) -> Parsed<(Op, Range<usize>)> {
    let rest = cursor.rest_trimmed();
    let text = &cursor.text[rest.clone()];
    let length = text.find(|c| !is_op(c)).unwrap_or(text.len());
    let sign = &text[..length];
    let at = rest.start..rest.start + length;
    if let Some(op) = Op::ALL.into_iter().find(|op| op.sign() == sign) {
        cursor.at = at.end;
        return Ok((op, at));
    }
    let meant = match sign {
        "=" => Some("=="),
        "=>" | "≥" => Some(">="),
        "=<" | "≤" => Some("<="),
        "≠" | "<>" | "!" => Some("!="),
        _ => None,
    };
    // A wrong sign is read all the same: what follows it is the limit.
    cursor.at = at.end;
    let word = if sign.is_empty() { text.split_whitespace().next().unwrap_or_default() } else { sign };
    let at = at.start..at.start + word.len();
    let signs = "expected one of >= <= > < == !=";
    let message = if word.is_empty() { signs.to_owned() } else { format!("{signs}, found `{word}`") };
    let error = fail(at, message);
    match meant {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None if nearest(word, ["during"]).is_some() => error.help("did you mean `during`?"),
        None => error,
    }
}

fn limit(mut cursor: Cursor<'_>, metric: Metric) -> Parsed<Limit> {
    let whole = cursor.rest_trimmed();
    let text = &cursor.text[whole.clone()];
    if text.is_empty() {
        return fail(whole, format!("expected {}, or `baseline`", metric.unit().expected()));
    }
    let factor = match text.find('*') {
        Some(star) => {
            let at = whole.start..whole.start + star;
            let written = cursor.text[at.clone()].trim();
            let factor = match written.strip_suffix('%') {
                Some(percent) => number(percent).map(|percent| (percent * 1e10).round() / 1e12),
                None => number(written),
            };
            let Some(factor) = factor.filter(|factor| *factor > 0.0) else {
                return fail(at, "expected a number above zero before `*`, such as `1.1 * baseline`");
            };
            cursor.at = whole.start + star + 1;
            Some(factor)
        }
        None => None,
    };
    let rest = cursor.rest_trimmed();
    let reference = match reference(&mut cursor)? {
        Ok(reference) => reference,
        Err(word) if factor.is_some() || nearest(word, ["baseline", "stored"]).is_some() => {
            return fail(rest.start..rest.start + word.len(), "expected `baseline`, `stored` or `axis=value`")
                .help("limits are a quantity, or `[n *] (baseline | stored | axis=value) [± quantity]`");
        }
        Err(_) => {
            return match Quantity::parse(text, metric.unit()) {
                Ok(quantity) => Ok(Limit::Quantity(quantity)),
                Err(message) => fail(whole, format!("{metric} {}", after_metric(&message))),
            };
        }
    };
    let rest = cursor.rest_trimmed();
    let text = &cursor.text[rest.clone()];
    if text.is_empty() {
        return Ok(Limit::Relative { factor, reference, offset: None });
    }
    let signs = [("+-", Sign::PlusMinus), ("±", Sign::PlusMinus), ("+", Sign::Plus), ("-", Sign::Minus)];
    let Some((written, sign)) = signs.into_iter().find(|(written, _)| text.starts_with(written)) else {
        return fail(rest, format!("expected `+`, `-` or `±` and a {}, or nothing", metric.unit().name()));
    };
    cursor.at = rest.start + written.len();
    let at = cursor.rest_trimmed();
    match Quantity::parse(&cursor.text[at.clone()], metric.unit()) {
        Ok(quantity) => Ok(Limit::Relative { factor, reference, offset: Some((sign, quantity)) }),
        Err(message) => fail(at, format!("{metric} {}", after_metric(&message))),
    }
}

/// What a limit refers to; else the letters that stand there.
fn reference<'a>(cursor: &mut Cursor<'a>) -> Parsed<Result<Reference, &'a str>> {
    let before = cursor.at;
    let axis_at = cursor.word(is_op);
    let axis = &cursor.text[axis_at.clone()];
    if is_name(axis) && cursor.text[cursor.at..].starts_with('=') {
        cursor.at += 1;
        let start = cursor.at;
        let value = cursor.word(|_| false);
        if value.is_empty() || value.start > start {
            return fail(axis_at.start..axis_at.end + 1, "expected a value right after `=`, as in `retry=none`");
        }
        let (axis, value) = (axis.to_owned(), cursor.text[value].to_owned());
        return Ok(Ok(Reference::Variant { axis, value }));
    }
    cursor.at = before;
    Ok(match cursor.letters() {
        "baseline" => Ok(Reference::Baseline),
        "stored" => Ok(Reference::Stored),
        word => Err(word),
    })
}

/// Joins the complaint of a quantity to the name of its metric.
fn after_metric(message: &str) -> String {
    match message.strip_prefix("expected ") {
        Some(expected) => format!("needs {expected}"),
        None => format!("needs another limit: {message}"),
    }
}

fn variants(cursor: &mut Cursor<'_>) -> Parsed<Vec<(String, String)>> {
    let mut variants = Vec::new();
    loop {
        let axis_at = cursor.word(is_op);
        let axis = cursor.text[axis_at.clone()].to_owned();
        let sign = cursor.rest_trimmed();
        if !is_name(&axis) || !cursor.text[sign.clone()].starts_with('=') {
            let at = if is_name(&axis) { sign } else { axis_at };
            return fail(at, "expected `axis=value`, as in `where retry=none`");
        }
        cursor.at = sign.start + 1;
        let rest = cursor.rest_trimmed();
        let value = if let Some(quoted) = cursor.text[rest.clone()].strip_prefix('"') {
            let Some(length) = quoted.find('"') else { return fail(rest, "the quote has no end") };
            cursor.at = rest.start + length + 2;
            quoted[..length].to_owned()
        } else {
            let at = cursor.word(|_| false);
            if at.is_empty() {
                return fail(at, "expected a value after `=`, as in `where retry=none`");
            }
            cursor.text[at].to_owned()
        };
        if variants.iter().any(|(known, _)| *known == axis) {
            return fail(axis_at, format!("the axis `{axis}` is named twice, no variant has two values of it"));
        }
        variants.push((axis, value));
        let rest = cursor.rest_trimmed();
        if rest.is_empty() {
            return Ok(variants);
        }
        if !cursor.keyword("and") {
            return fail(rest, "expected `and` or the end");
        }
    }
}

/// The subject names what its metric is a figure of, and nothing else.
fn check_owner(subject: &Subject, at: Range<usize>) -> Parsed<()> {
    let metric = subject.metric;
    let scope = metric.scope();
    if subject.workload.is_some() && !scope.takes_workload() {
        return fail(at, format!("`{metric}` is a figure of the whole run")).help(format!("write `{metric}` alone"));
    }
    if let (Some(workload), Some(_)) = (&subject.workload, &subject.class)
        && !scope.takes_class()
    {
        return fail(at, format!("`{metric}` is a figure of a workload, not of a class"))
            .help(format!("write `{workload}.{metric}`"));
    }
    Ok(())
}

/// So does `during`.
fn check_phase(metric: Metric, phase: &Phase, at: Range<usize>) -> Parsed<()> {
    match (metric.scope(), phase) {
        (Scope::Phase, _) => Ok(()),
        (Scope::Fault | Scope::Writes, Phase::Impact | Phase::Fault(_)) => Ok(()),
        (Scope::Fault | Scope::Writes, _) => fail(at, format!("`{metric}` is a figure of a fault"))
            .help("name the fault, `during fault.NAME`, or leave out `during` for all of them"),
        (Scope::Workload | Scope::Run, _) => {
            fail(at, format!("`{metric}` is a figure of the whole run")).help("leave out `during`")
        }
    }
}

/// Yes or no has no order.
fn check_op(op: Op, at: Range<usize>, metric: Metric) -> Parsed<()> {
    if metric.unit() == Unit::YesNo && !matches!(op, Op::Equal | Op::NotEqual) {
        return fail(at, format!("`{metric}` is yes or no, it can only be compared with == and !="));
    }
    Ok(())
}

/// A limit of the baseline needs a metric that the baseline has, and another phase than the baseline; one of a variant
/// needs another variant.
fn check_limit(
    limit: &Limit,
    subject: &Subject,
    phase: Option<&Phase>,
    variants: &[(String, String)],
    at: Range<usize>,
) -> Parsed<()> {
    let metric = subject.metric;
    match limit {
        Limit::Relative { .. } if metric.unit() == Unit::YesNo => fail(at, format!("`{metric}` is yes or no")),
        Limit::Relative { reference: Reference::Baseline, .. } if metric.scope() != Scope::Phase => {
            fail(at, format!("`{metric}` has no baseline, it is not a figure of a phase"))
        }
        Limit::Relative { reference: Reference::Baseline, .. } if phase == Some(&Phase::Baseline) => {
            fail(at, "this compares the baseline with itself")
        }
        Limit::Relative { reference: Reference::Variant { axis, value }, .. }
            if variants.iter().any(|known| *known == (axis.clone(), value.clone())) =>
        {
            fail(at, "this compares a variant with itself")
        }
        _ => Ok(()),
    }
}

/// The text, and how far it was read.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Everything ahead, without the space around it.
    fn rest_trimmed(&self) -> Range<usize> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        start..start + rest.trim().len()
    }

    /// Reads up to space, the end, or a character that stops it.
    fn word(&mut self, stop: impl Fn(char) -> bool) -> Range<usize> {
        let rest = self.rest_trimmed();
        let text = &self.text[rest.clone()];
        let length = text.find(|c: char| c.is_whitespace() || stop(c)).unwrap_or(text.len());
        self.at = rest.start + length;
        rest.start..self.at
    }

    /// Reads letters.
    fn letters(&mut self) -> &'a str {
        let rest = self.rest_trimmed();
        let text = &self.text[rest.clone()];
        let length = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
        self.at = rest.start + length;
        &text[..length]
    }

    /// Reads this word, if it is the next one.
    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.at;
        let at = self.word(is_op);
        let found = self.text[at] == *keyword;
        if !found {
            self.at = before;
        }
        found
    }

    /// Where this word stands ahead, by itself.
    fn position_of_word(&self, word: &str) -> Option<Range<usize>> {
        let rest = &self.text[self.at..];
        rest.match_indices(word).map(|(index, _)| self.at + index..self.at + index + word.len()).find(|at| {
            let before = self.text[..at.start].chars().next_back();
            let after = self.text[at.end..].chars().next();
            before.is_none_or(|c| c.is_whitespace() || c == '%') && after.is_none_or(char::is_whitespace)
        })
    }
}

/// Letters, digits, `-` and `_`, as names in an experiment are.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn known_metrics() -> String {
    let some = [Metric::SuccessRate, Metric::P99, Metric::FailoverLatency, Metric::Unavailability, Metric::Lost];
    format!("metrics are {} and others, see docs/expectations.md", list(&some.map(Metric::name)))
}

/// An error without help.
fn fail<T>(at: Range<usize>, message: impl Into<String>) -> Parsed<T> {
    Err(ExpectationError { at, message: message.into(), help: None })
}

/// Adds help to an error.
trait Help {
    fn help(self, help: impl Into<String>) -> Self;
}

impl<T> Help for Parsed<T> {
    fn help(self, help: impl Into<String>) -> Parsed<T> {
        self.map_err(|error| ExpectationError { help: Some(help.into()), ..error })
    }
}
