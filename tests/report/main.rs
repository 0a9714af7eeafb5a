//! The report in all its forms, made of simulated runs: what it says, that it stays text, and that it stays small.

#![expect(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod browser;
#[path = "../golden/mod.rs"]
mod golden;
mod recorded;
mod sample;

use brownout::report::{self, MARKDOWN_LIMIT, Report, Style};
use serde_json::Value;

/// Every sample by name, one of each verdict among them.
fn samples() -> Vec<(&'static str, Report)> {
    vec![
        ("held", sample::held()),
        ("failed", sample::failed()),
        ("inconclusive", sample::inconclusive()),
        ("aborted", sample::aborted()),
        ("not_ready", sample::not_ready()),
        ("hostile", sample::hostile()),
    ]
}

fn style(width: usize) -> Style {
    Style { width, exit_code: Some(0), report_path: Some("runs/quickstart/report.html".into()), ..Style::default() }
}

#[test]
fn the_terminal_says_of_each_verdict_what_matters() {
    for (name, report) in samples() {
        golden::check(&format!("tests/report/golden/{name}.txt"), report::terminal(&report, &style(140)));
    }
}

#[test]
fn a_pull_request_is_told_the_whole_story() {
    for (name, report) in samples() {
        golden::check(&format!("tests/report/golden/{name}.md"), report::markdown(&report));
    }
}

#[test]
fn junit_has_a_case_for_each_expectation_and_variant() {
    for (name, report) in samples() {
        golden::check(&format!("tests/report/golden/{name}.xml"), report::junit(&report));
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let report = sample::failed();
    let plain = report::terminal(&report, &style(140));
    let coloured = report::terminal(&report, &Style { colour: true, ..style(140) });
    let mut stripped = coloured.clone();
    for code in ["\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"] {
        stripped = stripped.replace(code, "");
    }
    assert_ne!(plain, coloured);
    assert_eq!(plain, stripped);
}

#[test]
fn a_narrow_terminal_gets_every_expectation_and_the_whole_command() {
    let text = report::terminal(&sample::held(), &style(80));
    assert!(text.contains("again: brownout run experiments/quickstart.yaml --seed 7"), "{text}");
    assert!(!text.contains("the fault is real"), "the explanation does not fit: {text}");
    assert_eq!(text.lines().filter(|line| line.trim_start().starts_with('✔')).count(), 3);
}

#[test]
fn markdown_never_outgrows_a_comment() {
    for (name, report) in samples().into_iter().chain([("large", sample::large())]) {
        let length = report::markdown(&report).chars().count();
        assert!(length < MARKDOWN_LIMIT, "{name}: {length} characters");
    }
    // A hundred failed expectations of long names: the first are shown, the rest is counted.
    let mut report = sample::failed();
    let failed = report.expectations.iter().find(|line| line.margin.is_none()).unwrap().clone();
    report.expectations = (0..100)
        .map(|number| {
            let mut line = failed.clone();
            line.expectation = format!("{} # {number}", line.expectation);
            line.subject = format!("orders_{number}.{}", "long_".repeat(20));
            line
        })
        .collect();
    let text = report::markdown(&report);
    assert!(text.chars().count() < MARKDOWN_LIMIT);
    assert!(text.contains(" more expectations in the full report."), "{text}");
    assert!(text.contains("Run it locally"), "{text}");
}

#[test]
fn every_form_shows_the_change_against_the_stored_baseline() {
    let mut report = sample::held();
    for text in [report::markdown(&report), report::html(&report), report::terminal(&report, &style(0))] {
        assert!(!text.contains("against stored"), "there is none: {text}");
    }
    report.expectations.truncate(4);
    let changes = [(0.9, Some(1.0), "−10 %"), (0.0, Some(0.0), "same"), (3.0, Some(0.0), "was 0"), (1.0, None, "n/a")];
    for (index, (line, (observed, stored, _))) in report.expectations.iter_mut().zip(changes).enumerate() {
        line.subject = format!("line {index}");
        (line.observed_value, line.stored_value) = (Some(observed), stored);
    }
    let text = report::markdown(&report);
    assert!(text.contains("| margin | against stored |\n|:-:|:--|--:|:--|--:|--:|\n"), "{text}");
    for (index, (_, _, change)) in changes.iter().enumerate() {
        let row = text.lines().find(|row| row.contains(&format!("| line {index}"))).unwrap();
        assert!(row.ends_with(&format!("| {change} |")), "{row}");
    }
    let (html, terminal) = (report::html(&report), report::terminal(&report, &style(0)));
    assert!(html.contains("against stored"));
    for (index, (_, _, change)) in changes.iter().enumerate() {
        assert!(html.contains(&format!(">{change}<")), "{change}");
        let row = terminal.lines().find(|row| row.contains(&format!(" line {index} "))).unwrap();
        assert!(row.contains(&format!(" {change} against stored")), "{row}");
    }
}

#[test]
fn text_of_others_stays_text_in_every_form() {
    let report = sample::hostile();
    let html = report::html(&report);
    assert!(!html.contains("<img"), "no element of theirs");
    assert_eq!(html.matches("</script>").count(), 2, "the two scripts of the page");
    // In a code span everything is text, and the only one of theirs is the command.
    let markdown: String =
        report::markdown(&report).lines().filter(|line| !line.starts_with("Run it locally: `")).collect();
    assert!(
        !markdown.contains("<img") && !markdown.contains("@team"),
        "no element, and nobody is mentioned: {markdown}"
    );
    let terminal = report::terminal(&report, &style(140));
    assert!(!terminal.contains('\x1b'), "no sequence of theirs reaches the terminal");
    let junit = String::from_utf8(report::junit(&report)).unwrap();
    assert!(!junit.contains("<img") && !junit.contains('\x1b'));
}

#[test]
fn every_link_on_the_page_leads_somewhere_on_it() {
    let html = report::html(&sample::held());
    for target in html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let id = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leaves the page"));
        assert!(html.contains(&format!("id=\"{id}\"")), "nothing is called {id}");
    }
}

#[test]
fn no_cell_is_empty() {
    for (name, report) in samples() {
        let html = report::html(&report);
        for empty in ["<td></td>", "\"></td>", "<th scope=\"row\"></th>"] {
            assert!(!html.contains(empty), "{name}: {empty}");
        }
    }
}

#[test]
fn a_report_stays_small_and_is_made_at_once() {
    let quick = report::html(&sample::held()).len();
    assert!(quick <= 500_000, "a quickstart's report has {quick} bytes");
    let large = sample::large();
    let start = std::time::SystemTime::now();
    let size = report::html(&large).len();
    let took = start.elapsed().unwrap();
    assert!(size < 3_000_000, "8 tracks of 1,000 slices: {size} bytes");
    // Some 100 ms on a busy machine; the bound is the promise, a second.
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
}

#[test]
fn json_reads_back_as_the_report_that_it_was() {
    for (name, report) in samples() {
        let back: Report = serde_json::from_slice(&report::json(&report)).unwrap();
        assert_eq!(rounded(&back), rounded(&report), "{name}");
    }
}

/// A report as JSON whose fractions are rounded: reading a decimal fraction may miss its last binary digit.
fn rounded(report: &Report) -> Value {
    fn round(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => *value = format!("{:.9e}", number.as_f64().unwrap()).into(),
            Value::Array(values) => values.iter_mut().for_each(round),
            Value::Object(fields) => fields.values_mut().for_each(round),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(report).unwrap();
    round(&mut value);
    value
}

#[test]
fn the_schema_in_the_docs_is_that_of_the_report() {
    golden::check("docs/report-schema.json", report::schema().as_bytes());
    let schema: Value = serde_json::from_str(&report::schema()).unwrap();
    let json: Value = serde_json::from_slice(&report::json(&sample::held())).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for key in json.as_object().unwrap().keys() {
        assert!(
            properties[key]["description"].is_string() || properties[key]["$ref"].is_string(),
            "{key} is not documented"
        );
    }
}

#[test]
fn all_forms_are_written_and_a_folder_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let report = sample::held();
    let written = report::write_all(&report, dir.path()).unwrap();
    for path in [&written.html, &written.markdown, &written.json, &written.junit] {
        assert!(path.metadata().unwrap().len() > 0, "{path:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4, "nothing temporary is left");
    let error = report::write_all(&report, &dir.path().join("missing")).unwrap_err();
    assert!(error.to_string().contains("missing/report.json"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}
