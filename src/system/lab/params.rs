//! Parameters of a lab: name, default, range. One table feeds checking, defaults and reference.

use std::ops::RangeInclusive;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use crate::event::Modelled;
use crate::plan::LabError;
use crate::units::Span;

/// One parameter of a lab.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its key in `lab: { NAME: { KEY: … } }`.
    pub name: &'static str,
    /// What may stand there, and what stands there by default.
    pub kind: ParamKind,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Whether it stands for what takes real machines, so that every report says how it was set.
    pub modelled: bool,
}

impl Param {
    /// One of these words; the first is the default.
    pub const fn word(name: &'static str, words: &'static [&'static str], doc: &'static str) -> Param {
        Param { name, kind: ParamKind::Word(words), doc, modelled: false }
    }

    /// `on` or `off`.
    pub const fn switch(name: &'static str, default: bool, doc: &'static str) -> Param {
        Param { name, kind: ParamKind::Switch(default), doc, modelled: false }
    }

    /// A whole number.
    pub const fn count(name: &'static str, default: u64, range: RangeInclusive<u64>, doc: &'static str) -> Param {
        let (min, max) = (*range.start(), *range.end());
        Param { name, kind: ParamKind::Count { default, min, max }, doc, modelled: false }
    }

    /// A length of time; in a table most easily in [`ms`] or [`seconds`].
    pub const fn time(
        name: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Param {
        let (min, max) = (*range.start(), *range.end());
        Param { name, kind: ParamKind::Time { default, min, max }, doc, modelled: false }
    }

    /// It stands for what takes real machines.
    pub const fn modelled(self) -> Param {
        Param { modelled: true, ..self }
    }
}

/// So many milliseconds.
pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// So many seconds.
pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a parameter may be, with its default.
#[derive(Clone, Copy, Debug)]
pub enum ParamKind {
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
    /// `on` or `off`; YAML's `true` and `false` are read as well.
    Switch(bool),
    /// A length of time.
    Time {
        /// If not given.
        default: Duration,
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A whole number.
    Count {
        /// If not given.
        default: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

impl ParamKind {
    /// The value if none is given, as it stands in `plan.json`.
    pub fn default_value(self) -> Value {
        match self {
            ParamKind::Word(words) => words[0].into(),
            ParamKind::Switch(on) => switch_word(on).into(),
            ParamKind::Time { default, .. } => Span(default).to_string().into(),
            ParamKind::Count { default, .. } => default.into(),
        }
    }

    /// What is allowed, in words that finish "expected …".
    pub fn expected(self) -> String {
        match self {
            ParamKind::Word(words) => format!("one of `{}`", words.join("`, `")),
            ParamKind::Switch(_) => "`on` or `off`".to_owned(),
            ParamKind::Time { min, max, .. } => format!("a duration from {} to {}", Span(min), Span(max)),
            ParamKind::Count { min, max, .. } => format!("a whole number from {min} to {max}"),
        }
    }

    /// The words that may stand there, if it is one of a few.
    fn words(self) -> Vec<String> {
        match self {
            ParamKind::Word(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            ParamKind::Switch(_) => vec!["on".to_owned(), "off".to_owned()],
            ParamKind::Time { .. } | ParamKind::Count { .. } => Vec::new(),
        }
    }

    /// The ends of what may stand there, or all of it where that is a few words.
    pub(super) fn extremes(self) -> Vec<Value> {
        match self {
            ParamKind::Word(_) | ParamKind::Switch(_) => self.words().into_iter().map(Value::from).collect(),
            ParamKind::Time { min, max, .. } => [min, max].map(|end| Span(end).to_string().into()).to_vec(),
            ParamKind::Count { min, max, .. } => [min, max].map(Value::from).to_vec(),
        }
    }

    /// The value in its one canonical form, if it is allowed.
    fn canonical(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (ParamKind::Word(words), Value::String(word)) => words.contains(&word.as_str()).then(|| value.clone()),
            (ParamKind::Switch(_), Value::Bool(on)) => Some(switch_word(*on).into()),
            (ParamKind::Switch(_), Value::String(word)) => matches!(word.as_str(), "on" | "off").then(|| value.clone()),
            (ParamKind::Time { min, max, .. }, Value::String(text)) => {
                let span: Span = text.parse().ok()?;
                (min..=max).contains(&span.0).then(|| span.to_string().into())
            }
            (ParamKind::Time { min, .. }, Value::Number(zero)) => {
                (min.is_zero() && zero.as_u64() == Some(0)).then(|| Span(min).to_string().into())
            }
            (ParamKind::Count { min, max, .. }, Value::Number(number)) => {
                let count = number.as_u64()?;
                (min..=max).contains(&count).then(|| count.into())
            }
            // Substituted parameters (`${misses}`) arrive as text.
            (ParamKind::Count { .. }, Value::String(text)) => {
                self.canonical(&Value::from(text.trim().parse::<u64>().ok()?))
            }
            _ => None,
        }
    }
}

const fn switch_word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Fills every default in, in the order of the table; or tells every mistake.
pub fn resolve(table: &[Param], given: &IndexMap<String, Value>) -> Result<IndexMap<String, Value>, Vec<LabError>> {
    let mut mistakes = Vec::new();
    for name in given.keys() {
        if !table.iter().any(|param| param.name == name) {
            let known = table.iter().map(|param| param.name.to_owned()).collect();
            mistakes.push(LabError::UnknownParam { param: name.clone(), known });
        }
    }
    let mut resolved = IndexMap::new();
    for param in table {
        let value = match given.get(param.name) {
            None => Some(param.kind.default_value()),
            Some(value) => param.kind.canonical(value),
        };
        match value {
            Some(value) => drop(resolved.insert(param.name.to_owned(), value)),
            None => {
                let (param, expected, known) = (param.name.to_owned(), param.kind.expected(), param.kind.words());
                mistakes.push(LabError::BadValue { param, expected, known });
            }
        }
    }
    if mistakes.is_empty() { Ok(resolved) } else { Err(mistakes) }
}

/// What of these is modelled, as it is set; a time of 0 models nothing.
pub fn modelled(table: &[Param], resolved: &IndexMap<String, Value>) -> Vec<Modelled> {
    let modelled = table.iter().filter(|param| param.modelled).filter_map(|param| {
        let value = match resolved.get(param.name)? {
            Value::String(text) if text.parse::<Span>().is_ok_and(|span| span.0.is_zero()) => return None,
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        Some(Modelled { param: param.name.to_owned(), value, what: param.doc.to_owned() })
    });
    modelled.collect()
}

/// Reads parameters that [`resolve`] made; a missing or foreign value is a bug of the plan.
pub struct Resolved<'a>(pub &'a IndexMap<String, Value>);

impl Resolved<'_> {
    /// The word of a [`ParamKind::Word`].
    pub fn word(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The state of a [`ParamKind::Switch`].
    pub fn on(&self, name: &str) -> bool {
        self.word(name) == "on"
    }

    /// The length of a [`ParamKind::Time`].
    pub fn time(&self, name: &str) -> Duration {
        self.word(name).parse::<Span>().unwrap_or_default().0
    }

    /// The number of a [`ParamKind::Count`].
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: &[Param] = &[
        Param::word("commit", &["sync", "async"], ""),
        Param::switch("fencing", true, ""),
        Param::time("beat", ms(100), ms(10)..=seconds(1), ""),
        Param::count("misses", 3, 2..=20, ""),
    ];

    fn given(json: Value) -> IndexMap<String, Value> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_default_is_filled_in() {
        let resolved = resolve(TABLE, &IndexMap::new()).unwrap();
        assert_eq!(
            serde_json::to_value(&resolved).unwrap(),
            json!({"commit": "sync", "fencing": "on", "beat": "100ms", "misses": 3})
        );
    }

    #[test]
    fn a_value_gets_its_canonical_form_and_reads_back() {
        let resolved = resolve(TABLE, &given(json!({"fencing": false, "beat": "0.25s", "misses": "5"}))).unwrap();
        let read = Resolved(&resolved);
        assert!(!read.on("fencing"));
        assert_eq!(read.time("beat"), Duration::from_millis(250));
        assert_eq!(read.count("misses"), 5);
        assert_eq!(resolve(TABLE, &resolved).unwrap(), resolved, "resolving twice changes nothing");
    }

    #[test]
    fn what_is_modelled_is_told_as_it_is_set_unless_that_is_nothing() {
        let table = &[
            Param::time("page_read", ms(20), ms(0)..=seconds(1), "A read.").modelled(),
            Param::time("service_time", ms(0), ms(0)..=seconds(1), "").modelled(),
            Param::count("time_scale", 60, 1..=60, "Faster.").modelled(),
            Param::count("misses", 3, 2..=20, ""),
        ];
        let told = modelled(table, &resolve(table, &given(json!({"page_read": "0.06s"}))).unwrap());
        let said: Vec<_> = told.iter().map(|one| (&*one.param, &*one.value, &*one.what)).collect();
        assert_eq!(said, [("page_read", "60ms", "A read."), ("time_scale", "60", "Faster.")]);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes =
            resolve(TABLE, &given(json!({"comit": "sync", "commit": "maybe", "beat": "1h", "misses": 1}))).unwrap_err();
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "the lab has no parameter `comit`",
                "`commit`: expected one of `sync`, `async`",
                "`beat`: expected a duration from 10ms to 1s",
                "`misses`: expected a whole number from 2 to 20",
            ]
        );
    }
}
