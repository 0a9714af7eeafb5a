//! `junit.xml`: a test suite a variant, a test case an expectation, and one that says whether the run can be trusted.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::io;

use super::summary::Entry;
use super::view::{Report, variant_name};
use crate::measure::MeasuredRun;
use crate::verdict::{Judged, Judgement};

/// The report as JUnit XML.
///
/// A failed expectation is a `failure`, one that failed as expected is `skipped`. An inconclusive one is an `error`: no tool may show it as passed.
pub fn junit(report: &Report) -> Vec<u8> {
    write(&report.experiment.name, &suites(report)).expect("writing to memory does not fail")
}

/// The cases of many experiments. One without a report is a suite that cannot be trusted.
pub fn junit_of(entries: &[Entry]) -> Vec<u8> {
    let mut all = Vec::new();
    for Entry { name, report, .. } in entries {
        match report {
            Ok(report) => all.extend(suites(report)),
            Err(why) => all.push(Suite {
                experiment: name,
                variant: "",
                runs: Vec::new(),
                lines: Vec::new(),
                doubts: vec![why],
                of_all: false,
            }),
        }
    }
    let name = match entries {
        [one] => &one.name,
        _ => "brownout",
    };
    write(name, &all).expect("writing to memory does not fail")
}

fn write(name: &str, suites: &[Suite<'_>]) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let name = text(name);
    let tests: usize = suites.iter().map(Suite::tests).sum();
    let failures: usize = suites.iter().map(Suite::failures).sum();
    let errors: usize = suites.iter().map(Suite::errors).sum();
    xml.create_element("testsuites")
        .with_attributes([
            ("name", name.as_str()),
            ("tests", &tests.to_string()),
            ("failures", &failures.to_string()),
            ("errors", &errors.to_string()),
        ])
        .write_inner_content(|xml| suites.iter().try_for_each(|suite| suite.write(xml)))?;
    let mut bytes = xml.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

/// One variant.
struct Suite<'a> {
    experiment: &'a str,
    variant: &'a str,
    runs: Vec<&'a MeasuredRun>,
    lines: Vec<&'a Judged>,
    doubts: Vec<&'a str>,
    /// It is no variant: its lines are of the experiment as a whole, and no run belongs to it.
    of_all: bool,
}

fn suites(report: &Report) -> Vec<Suite<'_>> {
    let mut variants = report.variant_ids();
    variants.extend(report.expectations.iter().map(|line| line.variant.as_str()));
    variants.extend(report.doubts.iter().map(|doubt| doubt.variant.as_str()));
    let named = variants.iter().any(|variant| !variant.is_empty());
    let suite = |variant| Suite {
        experiment: &report.experiment.name,
        variant,
        runs: report.runs.iter().filter(|run| run.variant == variant).collect(),
        lines: report.expectations.iter().filter(|line| line.variant == variant).collect(),
        doubts: report
            .doubts
            .iter()
            .filter(|doubt| doubt.variant == variant)
            .map(|doubt| doubt.doubt.detail.as_str())
            .collect(),
        of_all: named && variant.is_empty(),
    };
    variants.into_iter().map(suite).collect()
}

impl Suite<'_> {
    fn tests(&self) -> usize {
        self.lines.len() + usize::from(self.tells_trust())
    }

    fn failures(&self) -> usize {
        self.lines.iter().filter(|line| line.outcome == Judgement::Failed).count()
    }

    fn errors(&self) -> usize {
        let inconclusive = self.lines.iter().filter(|line| line.outcome == Judgement::Inconclusive).count();
        inconclusive + usize::from(self.tells_trust() && !self.trusted())
    }

    /// Whether there is a run to trust, or a reason not to.
    fn tells_trust(&self) -> bool {
        !self.of_all || !self.doubts.is_empty()
    }

    fn trusted(&self) -> bool {
        self.doubts.is_empty() && !self.runs.is_empty()
    }

    fn write(&self, xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let name = format!("{}: {}", text(self.experiment), text(variant_name(self.variant)));
        let seconds: f64 = self.runs.iter().map(|run| run.load_end.as_secs_f64()).sum();
        xml.create_element("testsuite")
            .with_attributes([
                ("name", name.as_str()),
                ("tests", &self.tests().to_string()),
                ("failures", &self.failures().to_string()),
                ("errors", &self.errors().to_string()),
                ("time", &format!("{seconds:.3}")),
            ])
            .write_inner_content(|xml| {
                self.lines.iter().try_for_each(|line| expectation(&name, line, xml))?;
                if self.tells_trust() { self.trust(&name, xml) } else { Ok(()) }
            })?;
        Ok(())
    }

    /// The case that says whether the run can be trusted.
    fn trust(&self, suite: &str, xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let case =
            xml.create_element("testcase").with_attributes([("classname", suite), ("name", "the run can be trusted")]);
        if self.trusted() {
            case.write_empty()?;
            return Ok(());
        }
        let why = if self.doubts.is_empty() { "it never started".into() } else { text(&self.doubts.join("; ")) };
        case.write_inner_content(|xml| {
            xml.create_element("error").with_attributes([("type", "inconclusive"), ("message", &why)]).write_empty()?;
            Ok(())
        })?;
        Ok(())
    }
}

fn expectation(suite: &str, line: &Judged, xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let name = text(&line.expectation);
    let case = xml.create_element("testcase").with_attributes([("classname", suite), ("name", &name)]);
    let element = match line.outcome {
        Judgement::Held => {
            case.write_empty()?;
            return Ok(());
        }
        Judgement::FailedAsExpected => {
            let message = text(&line.expected_failure);
            case.write_inner_content(|xml| {
                xml.create_element("skipped").with_attribute(("message", message.as_str())).write_empty()?;
                Ok(())
            })?;
            return Ok(());
        }
        Judgement::Failed => "failure",
        Judgement::Inconclusive => "error",
    };
    let message = text(&format!("{} was {}, expected {}", line.subject, line.observed, line.limit));
    let kind = if element == "failure" { "failed" } else { "inconclusive" };
    case.write_inner_content(|xml| {
        xml.create_element(element)
            .with_attributes([("type", kind), ("message", &message)])
            .write_text_content(BytesText::new(&text(&line.explained())))?;
        Ok(())
    })?;
    Ok(())
}

/// Text without the control characters that XML cannot hold in any form.
fn text(text: &str) -> String {
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().map(|c| if allowed(c) && !matches!(c, '\u{fffe}' | '\u{ffff}') { c } else { '\u{fffd}' }).collect()
}
