//! The report in a real browser: it draws, it runs, it asks nobody for anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use brownout::report::{self, Report};

use crate::sample;

/// A browser that is installed; the tests that need one say so and pass without.
fn chromium() -> Option<PathBuf> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// What a browser made of a page.
struct Visit {
    dom: String,
    /// What it wrote to its console: errors of the script, and what the content security policy refused.
    console: Vec<String>,
    /// Addresses that it asked for.
    requests: Vec<String>,
}

/// Opens a report from disk. Names resolve to nothing, so that not even the browser's own habits leave the machine.
fn visit(browser: &Path, report: &Report, fragment: &str) -> Visit {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("report.html");
    fs::write(&page, report::html(report)).unwrap();
    let net_log = dir.path().join("net.json");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            // The browser would ask for the time by itself.
            "--disable-features=NetworkTimeServiceQuerying",
        ])
        .args(["--enable-logging=stderr", "--dump-dom", "--virtual-time-budget=2000"])
        .arg(format!("--log-net-log={}", net_log.display()))
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("file://{}{fragment}", page.display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let net = fs::read_to_string(&net_log).unwrap_or_default();
    Visit {
        dom: String::from_utf8(output.stdout).unwrap(),
        console: log.lines().filter(|line| line.contains("CONSOLE")).map(String::from).collect(),
        requests: net.split("\"url\":\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect(),
    }
}

#[test]
fn the_page_draws_and_runs_without_an_error_or_a_request() {
    let Some(browser) = chromium() else {
        assert!(std::env::var_os("BROWNOUT_REQUIRE_SERVERS").is_none(), "chromium is not installed");
        eprintln!("skipped: no chromium is installed");
        return;
    };
    for report in [sample::held(), sample::hostile(), sample::not_ready()] {
        let charts = if report.runs.is_empty() { 0 } else { 18 };
        let visit = visit(&browser, &report, "");
        assert!(visit.dom.contains("</html>"), "the browser gave no page");
        assert_eq!(visit.console, [""; 0], "nothing on the console");
        // The browser asks its maker for the time, for news of itself and so on, whatever page is open.
        let own = ["file:", "data:", "chrome", ".google.com/", ".googleapis.com/", ".gvt1.com/"];
        let foreign = |url: &&String| !own.iter().any(|part| url.contains(part));
        assert_eq!(visit.requests.iter().filter(foreign).collect::<Vec<_>>(), [""; 0], "nobody was asked");
        assert_eq!(visit.dom.matches("class=\"chart\"").count(), charts);
        // The script ran: it brought the cursor into each drawing, and the tools into view.
        assert_eq!(visit.dom.matches("class=\"cursor\"").count(), charts);
        assert_eq!(
            visit.dom.contains("id=\"tools\" hidden"),
            report.runs.is_empty() && visit.dom.contains("id=\"tools\"")
        );
    }
}

#[test]
fn the_cursor_reads_every_chart_and_the_zoom_moves_every_axis() {
    let Some(browser) = chromium() else {
        assert!(std::env::var_os("BROWNOUT_REQUIRE_SERVERS").is_none(), "chromium is not installed");
        eprintln!("skipped: no chromium is installed");
        return;
    };
    let report = sample::held();
    let pointed = visit(&browser, &report, "#at=0.5").dom;
    // Half a second into the fault: without retries everything runs into the time-out of 250 ms.
    for words in ["p50 250 ms  p90 250 ms", "0 of 50 ok", "timeout 500/s", "0/s ok, 500/s due"] {
        assert!(pointed.contains(words), "{words}");
    }
    assert_eq!(pointed.matches("x1=\"500\" x2=\"500\"").count(), 18, "one cursor in all drawings");
    let zoomed = visit(&browser, &report, "#zoom=-0.5,1.5").dom;
    assert_eq!(zoomed.matches("viewBox=\"-500 0 2000 ").count(), 18, "one time axis");
    assert!(zoomed.contains(">+500 ms</text>") && !zoomed.contains(">+4 s</text>"), "its labels follow");
}
