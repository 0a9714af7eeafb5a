//! Tables of lines, good and bad, and properties of any line.

use proptest::prelude::*;

use super::*;
use crate::experiment::metric::{Scope, Unit};

#[test]
fn each_form_of_the_grammar_prints_as_it_was_written() {
    for line in [
        "success_rate >= 99.9%",
        "orders.success_rate >= 99.9% where retry=exponential",
        "orders.success_rate < 99% where retry=none and loss=5%",
        "orders/write.p99 during recovery <= 1.1 * baseline",
        "orders/write.p99 during recovery.cut <= baseline + 1ms",
        "orders.p50 during fault <= stored ± 2ms",
        "orders.goodput during fault.cut > 0.9 * baseline - 5/s",
        "orders.p999 during overall < 1234.5ms",
        "orders.attempts during baseline != 0",
        "orders.failover_latency during fault.a+b < 3s",
        "orders.metastable == no",
        "orders.lost == 0",
        "service_availability > 99.99%",
        "checks == 100%",
        "orders.amplification <= 1.3 where region=\"far away\"",
        "orders/write.p50 during overall > redundancy=local + 10ms where redundancy=zone",
        "failover_latency <= 0.5 * kind=true-one",
        "p99 == loss=5% ± 2ms where retry=none",
    ] {
        assert_eq!(Expectation::parse(line).map(|expectation| expectation.to_string()), Ok(line.to_owned()));
    }
}

#[test]
fn other_spellings_mean_the_same() {
    for (written, meant) in [
        ("orders.success_rate>=99.9%where retry=none", "orders.success_rate >= 99.9% where retry=none"),
        ("  p99   during  impact <=  250 ms ", "p99 during impact <= 250ms"),
        ("p99 <= 1.10*baseline+1ms", "p99 <= 1.1 * baseline + 1ms"),
        ("p99 <= 110% * baseline +- 1ms", "p99 <= 1.1 * baseline ± 1ms"),
        ("success_rate >= 0.999", "success_rate >= 99.9%"),
        ("amplification <= ×1.3", "amplification <= 1.3"),
        ("p99 < 1s where retry = none and loss = 5%", "p99 < 1s where retry=none and loss=5%"),
    ] {
        assert_eq!(Expectation::parse(written).map(|expectation| expectation.to_string()), Ok(meant.to_owned()));
    }
}

#[test]
fn what_was_left_out_has_its_default() {
    let expectation = Expectation::parse("success_rate >= 99%").unwrap();
    assert_eq!(expectation.phase(), Phase::Impact);
    assert_eq!(expectation.subject.workload, None);
    assert!(expectation.speaks_of(|_| None));
}

#[test]
fn a_line_does_not_speak_of_the_variant_that_it_compares_with() {
    let expectation = Expectation::parse("p99 <= 1.1 * retry=none").unwrap();
    let speaks = |value| expectation.speaks_of(|axis| (axis == "retry").then_some(value));
    assert_eq!((speaks("none"), speaks("fixed")), (false, true));
}

/// What is wrong with a line: the part it points at, the message and the help.
fn wrong(line: &str) -> (String, String, String) {
    let error = Expectation::parse(line).expect_err(line);
    (line[error.at].to_owned(), error.message, error.help.unwrap_or_default())
}

#[test]
fn a_mistake_points_at_its_words_and_says_what_was_meant() {
    for (line, at, message, help) in [
        ("", "", "expected a metric, such as `orders.success_rate`", ""),
        ("orders.sucess_rate > 1%", "sucess_rate", "no metric is called `sucess_rate`", "did you mean `success_rate`?"),
        ("p99.9 < 1s", "p99.9", "no metric is called `p99.9`", "did you mean `p999`?"),
        ("p99 durin fault < 1s", "durin", "expected one of >= <= > < == !=, found `durin`", "did you mean `during`?"),
        ("p99 during recover < 1s", "recover", "no phase is called `recover`", "did you mean `recovery`?"),
        (
            "p99 during cut < 1s",
            "cut",
            "no phase is called `cut`",
            "phases are `baseline`, `fault`, `recovery`, `impact`, `overall`; for the time of one fault write `fault.cut`",
        ),
        ("p99 during impact.cut < 1s", ".cut", "`impact` is one phase, it belongs to no single fault", ""),
        ("p99 = 1s", "=", "expected one of >= <= > < == !=, found `=`", "did you mean `==`?"),
        ("p99 ≤ 1s", "≤", "expected one of >= <= > < == !=, found `≤`", "did you mean `<=`?"),
        (
            "p99 <= 99%",
            "99%",
            "p99 needs another limit: `99%` is a share, expected a duration with its unit, such as `250ms` or `3s`",
            "",
        ),
        ("p99 <=", "", "expected a duration with its unit, such as `250ms` or `3s`, or `baseline`", ""),
        (
            "p99 <= 1.1 * basline",
            "basline",
            "expected `baseline`, `stored` or `axis=value`",
            "limits are a quantity, or `[n *] (baseline | stored | axis=value) [± quantity]`",
        ),
        ("p99 <= retry= none", "retry=", "expected a value right after `=`, as in `retry=none`", ""),
        ("p99 <= retry=none 3ms", "3ms", "expected `+`, `-` or `±` and a time, or nothing", ""),
        ("p99 <= retry=none where retry=none", "retry=none", "this compares a variant with itself", ""),
        ("p99 <= baseline 3", "3", "expected `+`, `-` or `±` and a time, or nothing", ""),
        (
            "failover_latency <= 1.1 * baseline",
            "1.1 * baseline",
            "`failover_latency` has no baseline, it is not a figure of a phase",
            "",
        ),
        ("p99 during baseline <= baseline", "baseline", "this compares the baseline with itself", ""),
        (
            "failover_latency during recovery < 1s",
            "recovery",
            "`failover_latency` is a figure of a fault",
            "name the fault, `during fault.NAME`, or leave out `during` for all of them",
        ),
        ("orders.checks == 100%", "orders.checks", "`checks` is a figure of the whole run", "write `checks` alone"),
        (
            "orders/write.lost == 0",
            "orders/write.lost",
            "`lost` is a figure of a workload, not of a class",
            "write `orders.lost`",
        ),
        ("metastable <= no", "<=", "`metastable` is yes or no, it can only be compared with == and !=", ""),
        ("p99 < 1s where", "", "expected `axis=value`, as in `where retry=none`", ""),
        ("p99 < 1s where retry=", "", "expected a value after `=`, as in `where retry=none`", ""),
        (
            "p99 < 1s where retry=a and retry=b",
            "retry",
            "the axis `retry` is named twice, no variant has two values of it",
            "",
        ),
        ("p99 < 1s where retry=a or loss=b", "or loss=b", "expected `and` or the end", ""),
        ("/write.p99 < 1s", "/write", "expected the name of a workload before the point", ""),
    ] {
        assert_eq!(wrong(line), (at.to_owned(), message.to_owned(), help.to_owned()), "{line}");
    }
}

#[test]
fn a_guard_takes_what_can_be_watched_live() {
    let guard = Condition::parse("orders.success_rate < 20%").unwrap();
    assert_eq!(guard.to_string(), "orders.success_rate < 20%");
    for (line, message) in [
        ("orders.lost > 0", "`lost` is known only after the run, so no guard can watch it"),
        ("p99 during fault > 1s", "a guard looks at the last second, whatever the phase"),
        ("p99 > 1s where retry=none", "a guard stands in each variant"),
        ("p99 > baseline", "`baseline` is not a time, expected a duration with its unit, such as `250ms` or `3s`"),
    ] {
        assert_eq!(Condition::parse(line).expect_err(line).message, message);
    }
}

/// Any quantity of a unit, as its parts.
fn quantity(unit: Unit) -> BoxedStrategy<String> {
    match unit {
        Unit::Share => (0u64..=1_000_000_000_000).prop_map(|n| format!("{}%", n as f64 / 1e10)).boxed(),
        Unit::Time => (0u64..360_000_000_000_000).prop_map(|ns| format!("{ns}ns")).boxed(),
        Unit::Count => (0u64..=1 << 53).prop_map(|n| n.to_string()).boxed(),
        Unit::Rate => (0.0..1e9).prop_map(|rate| format!("{rate}/s")).boxed(),
        Unit::Ratio => (0.0..1e9).prop_map(|ratio| format!("{ratio}")).boxed(),
        Unit::YesNo => prop_oneof![Just("yes".to_owned()), Just("no".to_owned())].boxed(),
    }
}

/// Any line that the grammar has.
fn line() -> impl Strategy<Value = String> {
    let metric = prop::sample::select(Metric::ALL);
    const PHASES: &[&str] = &["", " during baseline", " during fault.cut", " during recovery", " during overall"];
    (metric, prop::sample::select(PHASES), 0.001..1e6, 0..4usize).prop_flat_map(|(metric, phase, factor, form)| {
        (Just((metric, phase, factor, form)), quantity(metric.unit())).prop_map(
            |((metric, phase, factor, form), limit)| {
                let phase = match metric.scope() {
                    Scope::Phase => phase,
                    Scope::Fault | Scope::Writes => " during fault.cut",
                    Scope::Workload | Scope::Run => "",
                };
                let reference = metric.scope() == Scope::Phase && !phase.ends_with("baseline");
                let limit = match form {
                    1 if reference => format!("{factor} * baseline"),
                    2 if reference => format!("{factor} * baseline + {limit}"),
                    3 if reference => format!("stored ± {limit} where a=b and c-d=5%"),
                    _ => limit,
                };
                format!("{metric}{phase} == {limit}")
            },
        )
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = Expectation::parse(&text);
        let _ = Condition::parse(&text);
    }

    #[test]
    fn no_text_of_the_grammars_own_words_panics(words in prop::collection::vec(
        prop::sample::select(&["orders", ".", "/", "p99", "lost", "during", "fault", ".cut", "<=", "==", "=", "1.1", "*",
            "baseline", "stored", "+", "-", "±", "5ms", "99%", "where", "and", "a=b", " ", "é", "\""][..]), 0..12)) {
        let text = words.concat();
        if let Err(error) = Expectation::parse(&text) {
            // The place is a part of the text, between characters.
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} of {:?}", error.at, text);
        }
        if let Err(error) = Condition::parse(&text) {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} of {:?}", error.at, text);
        }
    }

    #[test]
    fn what_prints_parses_back(line in line()) {
        let expectation = Expectation::parse(&line).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
        let printed = expectation.to_string();
        prop_assert_eq!(Expectation::parse(&printed), Ok(expectation), "{}", printed);
    }
}
