//! Checks by SQL, against a PostgreSQL server that the test starts.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use common::Case;

/// An experiment whose check leads somewhere else.
fn elsewhere(sql: &str) -> String {
    format!(
        "
name: far
hypothesis: It is far away.
system: {{ lab: {{ primary-standby: {{}} }} }}
workloads:
  users:
    to: gateway
    client: {{ http: {{}} }}
    arrival: {{ constant: 10/s }}
    operation: {{ register: {{}} }}
phases: {{ warmup: 100ms, baseline: 500ms, recovery: 500ms }}
checks: [ {{ sql: {{ user: u, database: d, query: SELECT 1, {sql} }} }} ]
"
    )
}

#[test]
fn a_build_without_the_feature_names_it() {
    let case = Case::text(&elsewhere("address: '127.0.0.1:5432'"));
    if cfg!(feature = "postgres") && std::env::var_os("BROWNOUT_BIN").is_none() {
        eprintln!("skipped: only a build with the feature is here");
        return;
    }
    // CI names the release build, which has none.
    let missing = "this brownout was built without the feature `postgres`";
    case.run().exits(2).says(missing).says("--features postgres");
}

#[cfg(feature = "postgres")]
mod asked {
    use super::common::PythonServer;
    use super::common::postgres::Postgres;
    use super::{Case, elsewhere};

    /// A run without faults whose checks are asked for over a link; `DB` and `WEB` are addresses.
    const TOTALS: &str = "
name: totals
hypothesis: The database holds what was promised.
system:
  nodes:
    web: { endpoint: 'WEB' }
    db: { endpoint: 'DB' }
  links: { checks-db: { from: checks, to: db } }
workloads:
  users:
    to: web
    client: { http: {} }
    arrival: { constant: 20/s }
    operation: { request: { path: / } }
phases: { warmup: 100ms, baseline: 500ms, recovery: 200ms }
checks:
";

    /// What a check says of itself, on the server's port and as its user.
    fn check(password: &str, rest: &str) -> String {
        format!(
            "  - {{ sql: {{ address: '${{links.checks-db.address}}', user: checker, database: postgres, password: {{ secret: {{ env: {password} }} }}, {rest} }}\n"
        )
    }

    /// The check events of a run: when, whether it held, what it said.
    fn told(run_folder: &std::path::Path) -> Vec<(String, bool, String)> {
        let events = std::fs::read_to_string(run_folder.join("events.jsonl")).unwrap();
        let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let checks = events.filter(|event| event["event"] == "check");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        checks.map(|event| (text(&event["when"]), event["ok"].as_bool().unwrap(), text(&event["output"]))).collect()
    }

    #[test]
    fn a_query_is_asked_before_after_and_at_the_end_and_its_password_is_told_to_nobody() {
        let Some(db) = Postgres::start("pass\"phrase") else { return };
        let web = PythonServer::start();
        let query = "query: 'SELECT count(*) FROM (VALUES (1), (2)) AS two', expect: { value: 2 } }";
        let yaml = TOTALS.replace("WEB", &web.url()).replace("DB", &db.address) + &check("CHECKER", query);
        let case = Case::text(&yaml).with_features().env("CHECKER", "pass\"phrase".as_ref());
        let ran = case.run();
        // 5: a machine busy with other tests may be late with the load of a debug build, and that is another test's.
        assert!(matches!(ran.code(), Some(0 | 5)), "{}", ran.stdout());
        let good = |when: &str| (when.to_owned(), true, "1 row: (2)".to_owned());
        assert_eq!(told(&ran.run_folder()), [good("before"), good("after"), good("final")]);
        for file in std::fs::read_dir(ran.run_folder()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            let text = String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
            assert!(!text.contains("phrase"), "{}", file.path().display());
        }
    }

    #[test]
    fn what_is_not_as_expected_fails_and_says_what_it_was() {
        let Some(db) = Postgres::start("right") else { return };
        let web = PythonServer::start();
        let (right, wrong) = (|rest: &str| check("RIGHT", rest), |rest: &str| check("WRONG", rest));
        let checks = [
            right("query: SELECT 2 AS n, expect: { value: 3 } }, when: [final]"),
            right(
                "query: 'SELECT 1; SELECT name FROM (VALUES (''ada''), (NULL)) AS t (name)', expect: { values: [[ada], [null]] } }, when: [final]",
            ),
            right("query: SELECT 1 WHERE false, expect: { rows: 1 } }, when: [final]"),
            right("query: SELECT * FROM orders }, when: [final]"),
            right("query: SELECT pg_sleep(30) }, timeout: 500ms, when: [final]"),
            wrong("query: SELECT 1 }, when: [final]"),
        ];
        let yaml = TOTALS.replace("WEB", &web.url()).replace("DB", &db.address) + &checks.concat();
        let case = Case::text(&yaml).with_features();
        let ran = case.env("RIGHT", "right".as_ref()).env("WRONG", "wr0ng".as_ref()).run();
        assert!(matches!(ran.code(), Some(1 | 5)), "{}", ran.stdout());
        let said: Vec<(bool, String)> = told(&ran.run_folder()).into_iter().map(|(_, ok, said)| (ok, said)).collect();
        let expected = [
            (false, "1 row: (2); expected 1 row: (3)"),
            (true, "2 rows: (ada), (NULL)"),
            (false, "0 rows; expected 1 row"),
            (false, "ERROR: relation \"orders\" does not exist (42P01)"),
            (false, "not done after 500ms"),
            (false, "FATAL: password authentication failed for user \"checker\" (28P01)"),
        ];
        assert_eq!(said, expected.map(|(ok, said)| (ok, said.to_owned())));
        ran.says("1 row: (2); expected 1 row: (3)");
    }

    #[test]
    fn a_database_outside_loopback_needs_permission_also_at_connect_time() {
        let far = elsewhere("address: '192.0.2.1:5432'");
        Case::text(&far).with_features().run().exits(2).says("192.0.2.1").says("outside loopback");
        let allowed = format!("{far}allow: [ {{ host: 192.0.2.1, max_rate: 1/s }} ]\n");
        Case::text(&allowed).with_features().run().exits(2).says("--allow-remote");
    }

    #[test]
    fn mistakes_of_a_query_are_named() {
        let text = |sql: &str| Case::text(&elsewhere(sql)).with_features().run().exits(2);
        text("address: 'http://127.0.0.1:5432/'").says("expected `host:port`");
        text("address: '127.0.0.1:5432', password: secret").says("a map");
        text("address: '127.0.0.1:5432', expect: { value: 1, rows: 1 }").says("exactly one");
        text("address: '${links.no.address}'").says("there is no link called `no`");
    }
}
