//! Workloads that use a name: what a fault of DNS does to them, and who follows where the name leads.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

use common::{Case, holds};
use serde_json::Value;

/// An origin that answers every request with its name as the place.
fn origin(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // The empty line ends a request without a body.
                    if line.is_empty() {
                        let _ = write!(writer, "HTTP/1.1 200 OK\r\nx-place: {name}#1\r\ncontent-length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    address
}

/// An experiment with two origins and the name `shop.test`, which means the first of them for a second.
fn shop(rest: &str) -> Case {
    Case::text(&format!(
        "
name: shop
system:
  nodes:
    origin-a: {{ endpoint: '{}' }}
    origin-b: {{ endpoint: '{}' }}
  names: {{ shop.test: {{ to: origin-a, ttl: 1s }} }}
workloads:
  users:
    to: shop.test
    client: {{ http: {{ resolve: each_attempt }} }}
    arrival: {{ constant: 50/s }}
    operation: {{ request: {{}} }}
    attempt_timeout: 400ms
    deadline: 400ms
  # Somebody always asks, so that every fault of DNS has its proof.
  lookout:
    to: shop.test
    client: {{ http: {{ resolve: each_attempt }} }}
    arrival: {{ constant: 10/s }}
    operation: {{ request: {{}} }}
    attempt_timeout: 400ms
    deadline: 400ms
{rest}",
        origin("origin-a"),
        origin("origin-b"),
    ))
}

#[test]
fn each_fault_of_dns_shows_as_what_it_is_and_ends_with_its_fault() {
    let ran = holds(|| {
        shop(
            "
phases: { warmup: 200ms, baseline: 1s, recovery: 600ms }
faults:
  gone: { at: 0s, for: 500ms, dns_nxdomain: { names: shop.test } }
  failing: { after: gone.healed + 500ms, for: 500ms, dns_servfail: {} }
  slow: { after: failing.healed + 500ms, for: 700ms, dns_slow: { names: [shop.test], by: 150ms } }
  moved: { after: slow.healed + 500ms, for: 500ms, dns_remap: { to: origin-b, ttl: 0s } }
expect:
  - users.success_rate during fault.gone <= 4%
  - users.success_rate during fault.failing <= 4%
  - users.p50 during fault.slow >= 150ms
  - users.success_rate during fault.slow >= 90%
  - users.success_rate during fault.moved == 100%
  - users.success_rate during baseline == 100%
  - users.success_rate during recovery == 100%
",
        )
    })
    .says("gone changed the answers to ")
    .says("shop.test");
    let report = ran.report();
    let class = &report["runs"][0]["workloads"]["users"]["classes"]["all"];
    assert!(class.to_string().contains("\"dns\""), "the outcome has its name: {class}");
    let attempts = std::process::Command::new("zstdcat").arg(ran.run_folder().join("attempts.jsonl.zst")).output();
    if let Ok(attempts) = attempts {
        let places = |link: &str| {
            let lines = std::str::from_utf8(&attempts.stdout).unwrap().lines();
            let of = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
            of.filter(|attempt| attempt["link"] == link && attempt["conn"].is_u64())
                .map(|attempt| attempt["place"].as_str().unwrap_or_default().to_owned())
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(places("users-origin-a"), ["origin-a#1".to_owned()].into(), "each hop is a link");
        assert_eq!(places("users-origin-b"), ["origin-b#1".to_owned()].into());
    }
}

#[test]
fn who_believes_an_answer_longer_than_it_says_follows_later_or_never() {
    holds(|| {
        shop(
            "
matrix:
  client:
    path: workloads.users.client.http.resolve
    values: { ttl: ttl, ignored: { every: 30s }, once: once, asks: each_attempt }
phases: { warmup: 200ms, baseline: 500ms, recovery: 100ms }
faults:
  dead: { at: 0s, for: 3s, partition: { a: origin-a, b: all, manner: refused } }
  moved: { at: 0s, for: 3s, dns_remap: { to: origin-b } }
expect:
  - users.success_rate during fault.dead >= 60% where client=ttl
  - users.success_rate during fault.dead <= 95% where client=ttl
  - users.success_rate during fault.dead == 0% where client=ignored
  - users.success_rate during fault.dead == 0% where client=once
  - users.success_rate during fault.dead >= 97% where client=asks
",
        )
    });
}

#[test]
fn mistakes_with_names_are_told_where_they_stand() {
    let check = |from: &str, to: &str| {
        let text = "
name: shop
system:
  nodes: { origin-a: { endpoint: '127.0.0.1:1' }, origin-s: { endpoint: 'https://localhost:2' } }
  names: { shop.test: { to: origin-a } }
workloads:
  users: { to: shop.test, client: { http: {} }, arrival: { constant: 1/s }, operation: { request: {} } }
faults: { moved: { for: 1s, dns_remap: { names: shop.test, to: origin-a } } }
";
        assert!(text.contains(from), "{from}");
        Case::text(&text.replace(from, to)).run().exits(2)
    };
    check("to: shop.test", "to: shop.tset").says("no node is called `shop.tset`").says("did you mean `shop.test`");
    check("{ shop.test:", "{ Shop:").says("`Shop` is no name");
    check("{ to: origin-a } }", "{ to: origin-b } }").says("no node is called `origin-b`");
    check("{ to: origin-a } }", "{ to: origin-s } }").says("a name cannot mean `origin-s`");
    check("names: shop.test,", "names: shop.tset,").says("there is no name `shop.tset`");
    check("to: origin-a } } }\n", "to: origin-c } } }\n").says("no node is called `origin-c`");
    check("client: { http: {} }", "client: { tcp: {} }").says("the `tcp` client does not resolve `shop.test`");
}
