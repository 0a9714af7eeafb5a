//! Processes and nodes of a lab that go and come back: what a run makes of it, and what its reports say.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod common;

use std::process::Command;

use common::Case;
use serde_json::Value;

/// A web server that does `before` each time that it starts, and is restarted once.
fn restarted(before: &str, ready_within: &str) -> String {
    format!(
        "
name: restarted
hypothesis: Users outlive a restart.
system:
  nodes:
    web:
      process:
        command: [sh, -c, '{before}; exec python3 -m http.server ${{nodes.self.port}} --bind 127.0.0.1']
        listen: 127.0.0.1:0
        ready: {{ http: /, within: {ready_within} }}
        stop: {{ within: 1s }}
workloads:
  users:
    to: web
    client: {{ http: {{}} }}
    arrival: {{ constant: 100/s }}
    operation: {{ request: {{}} }}
    attempt_timeout: 500ms
    deadline: 1s
phases: {{ warmup: 200ms, baseline: 1s, recovery: 1s }}
faults:
  again: {{ restart: {{ nodes: web }} }}
  later: {{ after: again.healed + 200ms, for: 200ms, latency: {{ links: users-web, add: 5ms }} }}
"
    )
}

fn ns(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no moment: {value}"))
}

/// The lines that its proof read back.
fn read_back(fault: &Value) -> Vec<&str> {
    fault["proof"]["read_back"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

#[test]
fn a_restart_lasts_until_the_process_is_ready_again() {
    let ran = Case::text(&restarted("sleep 0.5", "20s")).run();
    let report = ran.report();
    let run = &report["runs"][0];
    let again = &run["faults"]["again"];
    let lasted = ns(&again["healed_ns"]) - ns(&again["injected_ns"]);
    assert!(lasted > 500_000_000, "it slept for 500 ms before it could be ready: {lasted} ns");
    assert_eq!(read_back(again), ["web: started again as web#2"]);
    assert_eq!(again["proof"]["real"], true, "{again:#}");
    // What users lived through stands in its phase.
    let phase = &run["workloads"]["users"]["classes"]["all"]["windows"]["fault.again"];
    assert!(phase["operations"].as_u64() >= Some(40), "{phase:#}");
    assert!(phase["success_rate"].as_f64() < Some(0.9), "{phase:#}");
    // And what waits for its end waits for that.
    let later = ns(&run["faults"]["later"]["injected_ns"]) - ns(&again["healed_ns"]);
    assert!((200_000_000..2_000_000_000).contains(&later), "{later} ns");
}

#[test]
fn a_restart_whose_process_does_not_come_back_is_over_when_its_time_is() {
    // The second start never listens.
    let ran = Case::text(&restarted("[ -e up ] && exec sleep 600; touch up", "4s")).run();
    let report = ran.report();
    let again = &report["runs"][0]["faults"]["again"];
    let lasted = ns(&again["healed_ns"]) - ns(&again["injected_ns"]);
    assert!((5_000_000_000..9_000_000_000).contains(&lasted), "1 s to stop and 4 s to be ready: {lasted} ns");
    assert_eq!(read_back(again), ["web: started again as web#2", "web: not ready again"]);
    assert!(report["runs"][0]["stopped"].is_null(), "the run goes on: {}", report["runs"][0]["stopped"]);
}

#[test]
fn a_restarted_primary_of_the_lab_is_in_force_until_it_knows_its_place() {
    let ran = Case::text(
        "
name: restarted-primary
hypothesis: The lab outlives a restart.
system: { lab: { primary-standby: { heartbeat: 20ms } } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: 500/s }
    operation: { register: {} }
    attempt_timeout: 250ms
    deadline: 2s
phases: { warmup: 200ms, baseline: 1s, recovery: 1s }
faults: { again: { restart: { nodes: { role: primary } } } }
",
    )
    .run();
    let report = ran.report();
    let run = &report["runs"][0];
    let again = &run["faults"]["again"];
    let node = again["hit"]["nodes"][0].as_str().unwrap();
    let states = run["nodes"][node].as_array().unwrap();
    let back = states.iter().find(|state| state["incarnation"] == 2 && state["state"] == "ready").unwrap();
    let after = ns(&again["healed_ns"]) - ns(&back["at_ns"]);
    assert!((0..500_000_000).contains(&after), "healed {after} ns after it was ready again");
    assert_eq!(read_back(again), [format!("{node}: started again as {node}#2")]);
}

#[test]
fn a_process_that_ends_by_itself_is_named_and_leaves_the_verdict_to_the_expectations() {
    let ran = Case::text(
        "
name: mortal
hypothesis: Nobody expects much.
system:
  nodes:
    web:
      process:
        command:
          - python3
          - -c
          - |
            import http.server, os, sys, threading
            def end():
                print('out of luck', flush=True)
                os._exit(7)
            server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
            threading.Timer(4, end).start()
            server.serve_forever()
          - ${nodes.self.port}
        listen: 127.0.0.1:0
        ready: { http: / }
workloads:
  users:
    to: web
    client: { http: {} }
    arrival: { constant: 50/s }
    operation: { request: {} }
    attempt_timeout: 500ms
    deadline: 1s
phases: { warmup: 200ms, baseline: 1s, recovery: 2s }
faults: { slow: { for: 3s, latency: { links: users-web, add: 5ms } } }
expect: [ users.success_rate >= 1% ]
",
    )
    .run()
    .exits(0)
    .says("web ended by itself")
    .says("while slow was in force: it exited with status 7; see logs/web.log");
    let report = ran.report();
    let ended = &report["runs"][0]["ended"][0];
    assert_eq!((ended["node"].as_str(), ended["during"][0].as_str()), (Some("web"), Some("slow")), "{ended:#}");
    assert!(ended["last_lines"].to_string().contains("out of luck"), "{ended:#}");
    for file in ["report.md", "report.html"] {
        let text = std::fs::read_to_string(ran.run_folder().join(file)).unwrap();
        assert!(text.contains("web ended by itself"), "{file}");
    }
    let html = std::fs::read_to_string(ran.run_folder().join("report.html")).unwrap();
    assert!(html.contains("out of luck"), "its last lines are among the notes");
}

/// A hundred users of a server that keeps their connections open; it tells its limit of descriptors.
const HUNDRED: &str = r#"
name: hundred
hypothesis: A hundred users are no load.
system:
  nodes:
    web:
      process:
        command:
          - sh
          - -c
          - |
            echo "soft limit $(ulimit -Sn)"
            exec python3 -c "
            import asyncio, sys
            async def serve(reader, writer):
                while await reader.readuntil(b'\r\n\r\n'):
                    await asyncio.sleep(0.1)
                    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
            async def main():
                server = await asyncio.start_server(serve, '127.0.0.1', int(sys.argv[1]), backlog=256)
                await server.serve_forever()
            asyncio.run(main())
            " $0
          - ${nodes.self.port}
        listen: 127.0.0.1:0
        ready: { http: / }
workloads:
  users:
    to: web
    client: { http: {} }
    arrival: { users: { count: 100 } }
    operation: { request: {} }
    attempt_timeout: 5s
phases: { warmup: 200ms, baseline: 500ms, recovery: 200ms }
faults:
  slow: { at: 0s, for: 200ms, latency: { links: users-web, add: 1ms } }
checks: [ { exec: [sh, -c, "echo soft limit $(ulimit -Sn)"], when: [final] } ]
"#;

#[test]
fn a_low_soft_limit_of_descriptors_holds_for_what_the_run_starts_and_not_for_the_run() {
    let case = Case::text(HUNDRED);
    let brownout = case.command();
    // A hundred operations hold 300 descriptors in the harness, and 100 in the server.
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -Sn 200; exec "$0" "$@""#]).arg(brownout.get_program()).args(brownout.get_args());
    limited.current_dir(brownout.get_current_dir().unwrap());
    let output = limited.output().unwrap();
    let folder = case.run_folder();
    let log = std::fs::read_to_string(folder.join("logs/web.log")).unwrap();
    assert!(log.contains("soft limit 200\n"), "{log}");
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let check = events.lines().find(|line| line.contains("\"check\"")).unwrap();
    assert!(check.contains("soft limit 200\""), "{check}");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let outcomes = &report["runs"][0]["workloads"]["users"]["classes"]["all"]["windows"]["overall"]["outcomes"];
    assert!(outcomes["ok"].as_u64() > Some(100) && outcomes["error"].is_null(), "{outcomes:#}\n{told}");
}
