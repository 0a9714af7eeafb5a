//! Whatever a body holds: an answer of the API's, no panic, and on a refusal nothing has changed.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::Server;

/// Any JSON, small, with numbers that are absurd at times.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3i64..30).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1.0..2.0).prop_map(Value::from),
        "[a-z:./\\[\\]0-9\u{0}é<&\"]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["upstream", "DOWNSTREAM", "web", "127.0.0.1:0", ":0", "1s", "stall"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,4}", inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An object with the keys that the API knows, right and wrong values among them.
fn likely() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "latency",
        "bandwidth",
        "slow_close",
        "timeout",
        "reset_peer",
        "slicer",
        "limit_data",
        "packet_loss",
        "noop",
        "x",
    ]);
    let attribute = prop::sample::select(vec![
        "latency",
        "jitter",
        "rate",
        "delay",
        "timeout",
        "average_size",
        "size_variation",
        "bytes",
        "loss_rate",
        "correlation",
        "mode",
    ]);
    let number = prop_oneof![any_json(), (0..1000u64).prop_map(Value::from)];
    let attributes = prop::collection::vec((attribute, number), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
    let key = prop::sample::select(vec!["name", "upstream", "enabled", "stream", "toxicity", "ttl", "Fault", "share"]);
    let rest = prop::collection::vec((key, any_json()), 0..4);
    (kind, prop_oneof![4 => attributes, 1 => any_json()], rest).prop_map(|(kind, attributes, rest)| {
        let mut body = json!({"type": kind, "attributes": attributes, "listen": "127.0.0.1:0"});
        for (key, value) in rest {
            body[key] = value;
        }
        body
    })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => likely().prop_map(|value| value.to_string()),
        2 => any_json().prop_map(|value| value.to_string()),
        1 => prop::collection::vec(likely(), 0..3).prop_map(|list| Value::from(list).to_string()),
        // Cut off anywhere.
        1 => (likely(), 0..80usize).prop_map(|(value, at)| value.to_string().chars().take(at).collect()),
        1 => "[\\{\\}\\[\\]\",:a0-9 ]{0,30}",
    ]
}

#[test]
fn no_body_brings_it_down_and_a_refusal_changes_nothing() {
    let server = Server::start(&["-seed", "1"]);
    server.done("POST", "/proxies", r#"{"name":"web","listen":"127.0.0.1:0","upstream":"127.0.0.1:1"}"#);
    server.done("POST", "/proxies/web/toxics", r#"{"type":"latency","name":"web","attributes":{"latency":5}}"#);
    server.done("POST", "/v1/proxies/web/faults", r#"{"name":"own","fault":{"corrupt":{"bytes":"1%"}}}"#);
    let request = prop::sample::select(vec![
        ("POST", "/proxies"),
        ("POST", "/populate"),
        ("PATCH", "/proxies/web"),
        ("POST", "/proxies/web/toxics"),
        ("PATCH", "/proxies/web/toxics/web"),
        ("PATCH", "/v1/proxies/web"),
        ("POST", "/v1/proxies/web/faults"),
        ("PUT", "/v1/proxies/web/faults/own"),
    ]);
    let state = || {
        let mut state = server.done("GET", "/v1/proxies", "");
        for proxy in state.as_array_mut().unwrap() {
            for fault in proxy["faults"].as_array_mut().unwrap() {
                fault.as_object_mut().unwrap().remove("ends_in_ms");
            }
        }
        state
    };
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&(request, body()), |((method, path), body)| {
            let before = state();
            let response = server.call(method, path, &body);
            match response.status {
                200 | 201 => {
                    // Back to where it was, but for what another body may want to meet.
                    for proxy in server.done("GET", "/v1/proxies", "").as_array().unwrap() {
                        let name = proxy["name"].as_str().unwrap();
                        if name != "web" && !name.contains(['/', '.', '\0', '[']) {
                            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
                            server.call("DELETE", &format!("/proxies/{encoded}"), "");
                        }
                    }
                }
                400 | 404 | 409 => {
                    let error: Value = serde_json::from_str(&response.body).unwrap();
                    prop_assert_eq!(&error["status"], response.status);
                    prop_assert!(error["error"].is_string());
                    prop_assert_eq!(before, state(), "{} {} {}", method, path, body);
                }
                // A listener failed: what was not touched is there all the same.
                500 => {
                    let error: Value = serde_json::from_str(&response.body).unwrap();
                    prop_assert!(error["error"].is_string());
                    server.call("PATCH", "/proxies/web", r#"{"listen":"127.0.0.1:0","enabled":true}"#);
                }
                other => prop_assert!(false, "{other}: {method} {path} {body}"),
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(server.call("GET", "/version", "").status, 200);
}

#[test]
fn monsters_are_refused() {
    let server = Server::start(&[]);
    let megabyte = "x".repeat(1 << 20);
    for body in [
        megabyte.clone(),
        format!("{{\"name\":\"{megabyte}"),
        format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19)),
        format!("{{\"upstream\":\"{megabyte}\"}}"),
        format!("{{\"name\":\"a\",\"upstream\":\"b:1\",\"listen\":\"{megabyte}\"}}"),
        "x".repeat(17 << 20),
    ] {
        let response = server.call("POST", "/proxies", &body);
        assert!([400, 500].contains(&response.status), "{}", response.status);
        assert!(response.body.starts_with("{\"error\":\""));
    }
    assert_eq!(server.done("GET", "/proxies", ""), json!({}));
}
