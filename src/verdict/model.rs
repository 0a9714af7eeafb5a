//! The verdict and the lines that it consists of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::{Difference, Doubt};

/// The verdict on a plan's runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The one word.
    pub word: Word,
    /// Each expectation of each variant it speaks of, in the order of the file; repetitions are folded into one.
    pub lines: Vec<Judged>,
    /// Why it is inconclusive, aborted or not ready: each with the variant (empty without a matrix).
    pub doubts: Vec<(String, Doubt)>,
}

/// The verdict in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Every expectation came true.
    Held,
    /// At least one did not, and the run was good enough to know.
    Failed,
    /// The run was not good enough to know.
    Inconclusive,
    /// A guard, a lease or a person stopped it.
    Aborted,
    /// The system was not ready; nothing was measured.
    NotReady,
}

/// One expectation, judged for one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// As written.
    pub expectation: String,
    /// The variant's id; empty without a matrix.
    pub variant: String,
    /// What it came to.
    pub outcome: Judgement,
    /// The metric with its workload, class and phase, such as `orders/write.p99 during recovery`.
    pub subject: String,
    /// What was observed, with its unit, such as `99.99 %` or `≥ 1.3 s`; `n/a` where it does not apply.
    pub observed: String,
    /// The same as a number in the metric's base unit (seconds, shares, counts); none where it does not apply.
    pub observed_value: Option<f64>,
    /// The limit as it worked out, with operator and unit, such as `>= 99.9 %`.
    pub limit: String,
    /// The same as a number in the metric's base unit.
    pub limit_value: Option<f64>,
    /// What the stored baseline has of the subject, in the metric's base unit; none where it has nothing, or is none.
    pub stored_value: Option<f64>,
    /// How far on the good side (or the bad one, negative): |observed − limit| / |limit|; none where limit is 0.
    pub margin: Option<f64>,
    /// With repetitions: smallest and greatest observed.
    pub interval: Option<(f64, f64)>,
    /// Where the limit is another variant's figure: how far this one is from so many times it.
    #[serde(default)]
    pub difference: Option<Difference>,
    /// Repetitions in which it came true, of how many.
    pub repetitions: (u32, u32),
    /// What explains it in a few words, such as `507 operations failed: 472 timeout, 35 reset`; empty if nothing to add.
    pub because: String,
    /// What `expected_failures` has to say of it: until when it is tolerated and why, or why no longer; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected_failure: String,
}

impl Judged {
    /// All that explains it, in a few words; empty if nothing does.
    pub fn explained(&self) -> String {
        match (self.expected_failure.as_str(), self.because.as_str()) {
            ("", because) => because.to_owned(),
            (known, "") => known.to_owned(),
            (known, because) => format!("{known}; {because}"),
        }
    }
}

/// What an expectation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It came true.
    Held,
    /// It did not.
    Failed,
    /// It did not, which is tolerated until a date: `expected_failures` says so.
    FailedAsExpected,
    /// Nobody can know.
    Inconclusive,
}
