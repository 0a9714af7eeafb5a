//! Every figure that an expectation or a guard can name. One table feeds `check`, the schema, the docs and the report.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::nearest::nearest;

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A part of a whole, such as `99.9%`; its differences are percentage points.
    Share,
    /// A length of time, such as `250ms`.
    Time,
    /// A whole number.
    Count,
    /// Events a second, such as `500/s`.
    Rate,
    /// A multiple, such as `1.3`.
    Ratio,
    /// `yes` or `no`.
    YesNo,
}

impl Unit {
    /// What is expected where it is written, with an example.
    pub const fn expected(self) -> &'static str {
        match self {
            Unit::Share => "a share, such as `99.9%`",
            Unit::Time => "a duration with its unit, such as `250ms` or `3s`",
            Unit::Count => "a whole number, such as `0` or `100`",
            Unit::Rate => "a rate, such as `500/s`",
            Unit::Ratio => "a multiple, such as `1.3`",
            Unit::YesNo => "`yes` or `no`",
        }
    }

    /// In one or two words, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Share => "share",
            Unit::Time => "time",
            Unit::Count => "count",
            Unit::Rate => "rate",
            Unit::Ratio => "multiple",
            Unit::YesNo => "yes or no",
        }
    }
}

/// Which direction of a metric users like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// It only says how much there was.
    Neither,
}

impl Better {
    /// In a word, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Better::Higher => "higher",
            Better::Lower => "lower",
            Better::Neither => "–",
        }
    }
}

/// What a metric is a figure of, and so which parts of an expectation's subject it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A workload's class in a phase: takes a workload, a class and any phase, and has a baseline.
    Phase,
    /// A workload's class and a fault: takes a workload, a class and `during fault.NAME`.
    Fault,
    /// A workload's writes around a fault: takes a workload and `during fault.NAME`.
    Writes,
    /// A workload: takes a workload and no phase.
    Workload,
    /// The run: takes neither.
    Run,
}

impl Scope {
    /// Whether the subject may name a workload.
    pub const fn takes_workload(self) -> bool {
        !matches!(self, Scope::Run)
    }

    /// Whether the subject may name a class.
    pub const fn takes_class(self) -> bool {
        matches!(self, Scope::Phase | Scope::Fault)
    }

    /// In a few words, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Phase => "class and phase",
            Scope::Fault => "class and fault",
            Scope::Writes => "workload and fault",
            Scope::Workload => "workload",
            Scope::Run => "run",
        }
    }
}

/// The smallest difference that a metric can show; `check` warns about a limit below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// As fine as its unit.
    Exact,
    /// The mean time between two operations of the class.
    MeanGap,
    /// A slice of so many milliseconds.
    Slice(u64),
    /// The window of `time_to_steady`: a third of the recovery, from 1 s to 5 s.
    Window,
}

impl Resolution {
    /// As a length of time, for a workload with this mean time between operations and this length of recovery.
    pub fn span(self, mean_gap: Duration, recovery: Duration) -> Option<Duration> {
        match self {
            Resolution::Exact => None,
            Resolution::MeanGap => Some(mean_gap),
            Resolution::Slice(ms) => Some(Duration::from_millis(ms)),
            Resolution::Window => Some((recovery / 3).clamp(Duration::from_secs(1), Duration::from_secs(5))),
        }
    }
}

/// What a plan must have for the metric to apply at all; `check` refuses an expectation without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A fault.
    Fault,
    /// A fault, and 200 ok operations of the class in the baseline to tell a gap from a pause.
    Gaps,
    /// An operation with a state: `register`, `insert` or `append`.
    State,
    /// An operation with a state, and a fault.
    StateAndFault,
    /// A node with a probe.
    Probe,
    /// A final check.
    Check,
}

macro_rules! metrics {
    ($( $(#[doc = $definition:literal])+ $variant:ident = $name:literal,
        $unit:ident, $better:ident, $scope:ident, $resolution:expr, $needs:ident;)+) => {
        /// A figure that an expectation can name; its definition is the first sentence of each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $( $(#[doc = $definition])+ $variant, )+
        }

        impl Metric {
            /// Every metric, in the order of the docs.
            pub const ALL: &[Metric] = &[$(Metric::$variant),+];

            /// The word in files, docs and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Metric::$variant => $name),+ }
            }

            /// What it is counted in.
            pub const fn unit(self) -> Unit {
                match self { $(Metric::$variant => Unit::$unit),+ }
            }

            /// Which direction users like.
            pub const fn better(self) -> Better {
                match self { $(Metric::$variant => Better::$better),+ }
            }

            /// What it is a figure of.
            pub const fn scope(self) -> Scope {
                match self { $(Metric::$variant => Scope::$scope),+ }
            }

            /// The smallest difference that it can show.
            pub const fn resolution(self) -> Resolution {
                match self { $(Metric::$variant => $resolution),+ }
            }

            /// What a plan must have for it to apply.
            pub const fn needs(self) -> Needs {
                match self { $(Metric::$variant => Needs::$needs),+ }
            }

            /// What it means, in a sentence.
            pub const fn definition(self) -> &'static str {
                match self { $(Metric::$variant => concat!($($definition),+).trim_ascii()),+ }
            }
        }
    };
}

metrics! {
    /// Ok operations / operations due.
    SuccessRate = "success_rate", Share, Higher, Phase, Resolution::Exact, Nothing;
    /// Ok operations a second.
    Goodput = "goodput", Rate, Higher, Phase, Resolution::Exact, Nothing;
    /// Half of all operations, whatever their outcome, ended within this time from when they were due.
    P50 = "p50", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// 90 % of all operations, whatever their outcome, ended within this time from when they were due.
    P90 = "p90", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// 95 % of all operations, whatever their outcome, ended within this time from when they were due.
    P95 = "p95", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// 99 % of all operations, whatever their outcome, ended within this time from when they were due.
    P99 = "p99", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// 99.9 % of all operations, whatever their outcome, ended within this time from when they were due.
    P999 = "p999", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// The longest time from when an operation was due to its end, whatever its outcome.
    Max = "max", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// 99 % of the ok operations ended within this time from when they were due.
    OkP99 = "ok_p99", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// Half of the attempts ended within this time from their own start.
    AttemptP50 = "attempt_p50", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// 99 % of the attempts ended within this time from their own start.
    AttemptP99 = "attempt_p99", Time, Lower, Phase, Resolution::Exact, Nothing;
    /// Attempts / operations.
    Amplification = "amplification", Ratio, Lower, Phase, Resolution::Exact, Nothing;
    /// Attempts in the worst second / the baseline's mean operations a second.
    AmplificationWorstSecond = "amplification_worst_second", Ratio, Lower, Phase, Resolution::Exact, Nothing;
    /// Of the operations that met a failed attempt, the share that still ended ok in their deadline.
    Tolerance = "tolerance", Share, Higher, Phase, Resolution::Exact, Nothing;
    /// Operations due.
    Operations = "operations", Count, Neither, Phase, Resolution::Exact, Nothing;
    /// Operations of which an attempt was ok.
    Ok = "ok", Count, Higher, Phase, Resolution::Exact, Nothing;
    /// Operations that were not ok and can have had no effect.
    Failed = "failed", Count, Lower, Phase, Resolution::Exact, Nothing;
    /// Writes that were not ok and may have had an effect.
    Indeterminate = "indeterminate", Count, Lower, Phase, Resolution::Exact, Nothing;
    /// Operations not started because `max_in_flight` were open when they were due.
    Shed = "shed", Count, Lower, Phase, Resolution::Exact, Nothing;
    /// Operations still open when the drain ended.
    Unfinished = "unfinished", Count, Lower, Phase, Resolution::Exact, Nothing;
    /// Attempts sent.
    Attempts = "attempts", Count, Neither, Phase, Resolution::Exact, Nothing;
    /// 99 % of the operations started within this time from when they were due; over 5 ms the generator was the limit.
    LatenessP99 = "lateness_p99", Time, Lower, Phase, Resolution::Exact, Nothing;

    /// From t0 to the end of the first ok operation whose winning attempt started after t0 and was served by a place
    /// that the fault did not hit; of several faults the longest.
    FailoverLatency = "failover_latency", Time, Lower, Fault, Resolution::MeanGap, Fault;
    /// From t0 to the start of the last failed attempt before the figures are steady again; 0 if none failed; of
    /// several faults the longest.
    LastError = "last_error", Time, Lower, Fault, Resolution::MeanGap, Fault;
    /// The sum of the gaps between two successes in which attempts failed.
    Unavailability = "unavailability", Time, Lower, Fault, Resolution::MeanGap, Gaps;
    /// The sum of the gaps between two successes in which nothing failed.
    StallTime = "stall_time", Time, Lower, Fault, Resolution::MeanGap, Gaps;
    /// The sum of the 1 s slices with success under 95 %, outside failing gaps.
    DegradedTime = "degraded_time", Time, Lower, Fault, Resolution::Slice(1000), Fault;
    /// From t0 until failures and latency are back at the baseline's for two windows; of several faults the longest.
    TimeToSteady = "time_to_steady", Time, Lower, Fault, Resolution::Window, Fault;
    /// Attempts in the worst second after removal / the baseline's mean attempts a second; of several faults the
    /// greatest.
    RecoverySurge = "recovery_surge", Ratio, Lower, Fault, Resolution::Exact, Fault;
    /// Whether the system stayed bad after the fault was gone; known once 3 × the fault's length was watched.
    Metastable = "metastable", YesNo, Lower, Fault, Resolution::Exact, Fault;
    /// Σ of (latency − the baseline's median), where positive, over the operations due from t0; in operation-seconds,
    /// written as a time.
    LatencyDebt = "latency_debt", Time, Lower, Fault, Resolution::Exact, Fault;

    /// Acknowledged writes that are gone, among those acknowledged from 1 s before t0 until steady; `lost == 0` holds
    /// only if none is masked either.
    Lost = "lost", Count, Lower, Writes, Resolution::Exact, StateAndFault;
    /// Acknowledged writes that may be gone: an unknown attempt could explain it, or there is no evidence.
    Masked = "masked", Count, Lower, Writes, Resolution::Exact, StateAndFault;
    /// From the acknowledgement of the oldest lost write to t0; 0 if none is lost.
    Rpo = "rpo", Time, Lower, Writes, Resolution::Exact, StateAndFault;

    /// Values applied more than once.
    Duplicates = "duplicates", Count, Lower, Workload, Resolution::Exact, State;
    /// Values that are there although all their attempts were definitely not applied.
    Resurrected = "resurrected", Count, Lower, Workload, Resolution::Exact, State;
    /// Reads that returned an older value than one acknowledged before they began.
    StaleReads = "stale_reads", Count, Lower, Workload, Resolution::Exact, State;
    /// The age of the stalest read; 0 without one.
    Staleness = "staleness", Time, Lower, Workload, Resolution::Exact, State;
    /// Ok operations / operations over `impact`, as the workload's clients saw it.
    Availability = "availability", Share, Higher, Workload, Resolution::Exact, Nothing;
    /// Good slices / slices over `impact`, as the workload's clients saw it.
    TimeAvailability = "time_availability", Share, Higher, Workload, Resolution::Exact, Nothing;

    /// Good slices / slices over `impact`, as the probe at the service saw it.
    ServiceAvailability = "service_availability", Share, Higher, Run, Resolution::Exact, Probe;
    /// Final checks that held / final checks.
    Checks = "checks", Share, Higher, Run, Resolution::Exact, Check;
}

impl Metric {
    /// The metric of this name.
    pub fn named(name: &str) -> Option<Metric> {
        Metric::ALL.iter().copied().find(|metric| metric.name() == name)
    }

    /// The name nearest to a wrong one, if any is near enough to be meant.
    pub fn nearest(wrong: &str) -> Option<&'static str> {
        // Names that other tools use for the same thing.
        let alias = match wrong {
            "availability_time" => Some("time_availability"),
            "error_rate" | "errors" | "failure_rate" => Some("success_rate"),
            "latency" | "latency_p99" => Some("p99"),
            "p99.9" | "p99_9" => Some("p999"),
            "throughput" | "rate" | "rps" => Some("goodput"),
            "downtime" | "outage" | "rto" => Some("unavailability"),
            "retries" => Some("amplification"),
            "data_loss" => Some("lost"),
            _ => None,
        };
        alias.or_else(|| nearest(wrong, Metric::ALL.iter().map(|metric| metric.name())))
    }

    /// Whether it can be told over a sliding second while the run goes on, as a guard needs.
    pub const fn is_live(self) -> bool {
        use Metric::*;
        matches!(self, SuccessRate | Goodput | P50 | P90 | P95 | P99 | P999 | Max | Operations | Ok | Failed)
    }
}

/// The table of all metrics as `docs/expectations.md` shows it.
pub fn markdown_table() -> String {
    let mut table = String::from("| metric | unit | better | of | meaning |\n|---|---|---|---|---|\n");
    for metric in Metric::ALL {
        let (unit, better) = (metric.unit().name(), metric.better().name());
        let (scope, definition) = (metric.scope().name(), metric.definition());
        table += &format!("| `{metric}` | {unit} | {better} | {scope} | {definition} |\n");
    }
    table
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metric, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Metric::named(&name).ok_or_else(|| serde::de::Error::custom(format!("no metric is called `{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_is_found_by_its_name_and_no_name_is_used_twice() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(*metric));
            assert!(metric.definition().ends_with('.'), "{metric}: {}", metric.definition());
        }
    }

    #[test]
    fn a_wrong_name_finds_the_metric_that_was_meant() {
        for (wrong, meant) in
            [("sucess_rate", "success_rate"), ("p99.9", "p999"), ("downtime", "unavailability"), ("p98", "p90")]
        {
            assert_eq!(Metric::nearest(wrong), Some(meant), "{wrong}");
        }
        assert_eq!(Metric::nearest("colour"), None);
    }
}
