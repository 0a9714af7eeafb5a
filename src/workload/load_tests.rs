//! Whole loads on real threads against real servers on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Load, LoadError, LoadSpec, Sink};
use crate::clock::{Moment, RunClock};
use crate::event::{Access, Applied, Attempt, Outcome, What};
use crate::permit::Permit;
use crate::plan::RetryPolicy;
use crate::plan::retry::{Jitter, Schedule};
use crate::plan::workload::{Arrival, Client, HttpClient, Insert, Operation, Register, TcpClient, Workload};
use crate::seed::Seed;
use crate::units::{Bytes, Rate, Share, Span};

#[derive(Default)]
struct Kept(Mutex<Vec<Attempt>>);

impl Sink for Kept {
    fn attempt(&self, attempt: Attempt) {
        self.0.lock().unwrap().push(attempt);
    }
    fn dropped(&self) -> u64 {
        0
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;

fn rate(rate: f64) -> Rate {
    Rate::per_second(rate).unwrap()
}

fn http() -> Client {
    Client::Http(HttpClient {
        connect_timeout: None,
        pool_max_idle: 64,
        pool_idle_timeout: Span(MS(90_000)),
        ca: None,
        resolve: Default::default(),
        tls: Default::default(),
    })
}

fn plan(client: Client, operation: Operation) -> Workload {
    Workload {
        to: "db".into(),
        labels: Default::default(),
        client,
        arrival: Arrival::Constant(rate(400.0)),
        operation,
        attempt_timeout: Span(MS(2_000)),
        deadline: Span(MS(5_000)),
        retry: RetryPolicy::none(),
        max_in_flight: 10_000,
    }
}

fn spec(plan: Workload, target: SocketAddr, length: Duration, sink: &Arc<Kept>) -> LoadSpec {
    let clock = RunClock::start();
    LoadSpec {
        name: "w".into(),
        plan,
        target: target.to_string(),
        endpoint: None,
        named: None,
        link: Some("w-db".into()),
        seed: Seed(7),
        clock,
        begin: Moment::START + MS(20),
        end: Moment::START + MS(20) + length,
        sink: Arc::clone(sink) as Arc<dyn Sink>,
        conn_of: Arc::new(|local| Some(u64::from(local.port()))),
        permit: Permit::default(),
        max_rate: None,
    }
}

/// A server of the keyed interface: writes take effect, and every fifth one is not acknowledged for it.
async fn key_value_server() -> SocketAddr {
    use axum::extract::{Path, State};
    use axum::http::StatusCode;
    use axum::routing::put;

    #[derive(Default)]
    struct Store {
        values: BTreeMap<String, String>,
        writes: u64,
    }
    type Shared = Arc<Mutex<Store>>;
    let store = Shared::default();
    let write = |State(store): State<Shared>, Path(key): Path<String>, value: String| async move {
        let mut store = store.lock().unwrap();
        store.writes += 1;
        let replaced = store.values.insert(key, value).unwrap_or_default();
        let status = if store.writes % 5 == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, [("x-replaced", replaced), ("x-place", "a#1".to_owned())])
    };
    let insert = |State(store): State<Shared>, Path(key): Path<String>, value: String| async move {
        let mut store = store.lock().unwrap();
        match store.values.get(&key) {
            None => {
                store.values.insert(key, value);
                StatusCode::CREATED
            }
            Some(held) if *held == value => StatusCode::OK,
            Some(_) => StatusCode::CONFLICT,
        }
    };
    let read = |State(store): State<Shared>, Path(key): Path<String>| async move {
        store.lock().unwrap().values.get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
    };
    let router = axum::Router::new().route("/kv/{key}", put(write).get(read).post(insert)).with_state(store);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Records of one operation, in the order written; checks that the last one alone is `last`.
fn by_operation(kept: &Kept) -> BTreeMap<u64, Vec<Attempt>> {
    let mut operations: BTreeMap<u64, Vec<Attempt>> = BTreeMap::new();
    for attempt in kept.0.lock().unwrap().iter() {
        operations.entry(attempt.op).or_default().push(attempt.clone());
    }
    for attempts in operations.values() {
        let (last, others) = attempts.split_last().unwrap();
        assert!(last.last && others.iter().all(|attempt| !attempt.last), "{attempts:?}");
    }
    operations
}

#[tokio::test]
async fn registers_are_written_with_retries_and_read_back() {
    let server = key_value_server().await;
    let kept = Arc::new(Kept::default());
    let mut plan = plan(http(), Operation::Register(Register { keys: 20, reads: Share::new(0.25).unwrap() }));
    plan.retry = RetryPolicy {
        schedule: Schedule::Fixed { wait: Span(MS(5)), jitter: Jitter::None },
        attempts: Some(5),
        ..RetryPolicy::none()
    };
    let spec = spec(plan, server, MS(500), &kept);
    let clock = spec.clock;
    let load = Load::start(spec).unwrap();
    load.drained().await;
    let operations = by_operation(&kept);
    assert_eq!(operations.len(), 200);
    let health = load.health();
    assert_eq!((health.due, health.started, health.ok, health.in_flight), (200, 200, 200, 0));
    assert!(operations.values().any(|attempts| attempts.len() == 2), "every fifth write was tried again");
    let records: Vec<Attempt> = operations.into_values().flatten().collect();
    assert!(records.iter().all(|r| r.conn.is_some() && r.link.as_deref() == Some("w-db")));
    let write = records.iter().find(|r| r.access == Some(Access::Write) && r.outcome == Outcome::Ok).unwrap();
    assert_eq!(write.place.as_deref(), Some("a#1"));
    assert_eq!(write.value.as_deref(), Some(&*format!("{}.{}", write.op, write.attempt)));
    assert!(write.replaced.is_some());

    let reads = load.final_reads(clock.now() + MS(2_000)).await.unwrap();
    let written: BTreeMap<&str, Vec<&str>> =
        records.iter().filter(|r| r.access == Some(Access::Write)).fold(BTreeMap::new(), |mut keys, r| {
            keys.entry(r.key.as_deref().unwrap()).or_default().push(r.value.as_deref().unwrap());
            keys
        });
    assert_eq!(reads.len(), written.len());
    for read in reads {
        let What::FinalRead { key, value, ok, .. } = read.what else { unreachable!() };
        assert!(ok && written[&*key].contains(&&*value.unwrap()), "{key}");
    }
}

#[tokio::test]
async fn an_insert_that_was_applied_unacknowledged_is_ok_when_tried_again() {
    let server = key_value_server().await;
    let kept = Arc::new(Kept::default());
    let spec = spec(plan(http(), Operation::Insert(Insert { reads: Share::NONE })), server, MS(100), &kept);
    let until = Moment::START + MS(10_000);
    let load = Load::start(spec).unwrap();
    load.drained().await;
    assert!(by_operation(&kept).values().all(|attempts| attempts[0].outcome == Outcome::Ok));
    assert_eq!(load.final_reads(until).await.unwrap().len(), 40);
}

/// Echoes frames; with each frame it does as `plan` says of its number.
async fn echo_server(plan: fn(u64) -> Echo) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let frames = Arc::new(std::sync::atomic::AtomicU64::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            let frames = Arc::clone(&frames);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u32().await {
                    let mut bytes = vec![0; length as usize];
                    if stream.read_exact(&mut bytes).await.is_err() {
                        return;
                    }
                    let number = frames.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    match plan(number) {
                        Echo::Same => {}
                        Echo::Wrong => bytes[0] ^= 1,
                        Echo::Silence => std::future::pending().await,
                        Echo::ThenClose => {
                            let _ = stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await;
                            return;
                        }
                    }
                    if stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

enum Echo {
    Same,
    Wrong,
    Silence,
    ThenClose,
}

fn tcp(pool: usize) -> Client {
    Client::Tcp(TcpClient { connect_timeout: None, pool })
}

fn frames() -> Operation {
    Operation::Echo { size: Bytes(64) }
}

#[tokio::test]
async fn frames_come_back_over_pooled_connections() {
    let server = echo_server(|number| match number {
        3 => Echo::Wrong,
        5 => Echo::ThenClose,
        _ => Echo::Same,
    })
    .await;
    let kept = Arc::new(Kept::default());
    let mut plan = plan(tcp(4), frames());
    plan.arrival = Arrival::Users { count: 1, think: Span(MS(5)) };
    let load = Load::start(spec(plan, server, MS(200), &kept)).unwrap();
    load.drained().await;
    let records = kept.0.lock().unwrap();
    assert!(records.len() > 10);
    for record in records.iter() {
        let wrong = record.op == 3;
        let expected = if wrong { (Outcome::Protocol, Applied::Unknown) } else { (Outcome::Ok, Applied::Yes) };
        assert_eq!((record.outcome, record.applied), expected, "{record:?}");
    }
    let made: Vec<u64> = records.iter().filter(|r| r.connected.is_some()).map(|r| r.op).collect();
    assert_eq!(made, [0, 4, 6], "one at first, one after the wrong echo, one after the close");
    assert!(records.iter().all(|r| r.conn.is_some() && r.place.as_deref() == Some(&*server.to_string())));
}

#[tokio::test]
async fn what_is_open_at_the_cut_is_recorded_and_the_threads_end() {
    let server = echo_server(|_| Echo::Silence).await;
    let kept = Arc::new(Kept::default());
    let spec = spec(plan(tcp(4), frames()), server, MS(10_000), &kept);
    let clock = spec.clock;
    let load = Load::start(spec).unwrap();
    tokio::time::sleep_until(clock.instant(Moment::from_millis(120))).await;
    load.cut(clock.now());
    tokio::time::timeout(MS(2_000), load.drained()).await.expect("long before the time-outs of 2 s");
    let operations = by_operation(&kept);
    let health = load.health();
    assert!(health.due >= 20 && health.in_flight == 0, "{health:?}");
    assert_eq!(operations.len() as u64, health.due);
    assert!(operations.values().flatten().all(|r| r.outcome == Outcome::Unfinished));
}

#[tokio::test]
async fn a_time_out_is_as_long_as_it_says() {
    let server = echo_server(|_| Echo::Silence).await;
    let kept = Arc::new(Kept::default());
    let mut plan = plan(tcp(4), frames());
    plan.attempt_timeout = Span(Duration::from_micros(20_300));
    Load::start(spec(plan, server, MS(250), &kept)).unwrap().drained().await;
    let mut over: Vec<Duration> = kept.0.lock().unwrap().iter().map(|r| r.end.saturating_since(r.start)).collect();
    over.sort();
    assert_eq!(over.len(), 100);
    assert!(over[0] >= Duration::from_micros(20_300), "none is cut short: {over:?}");
    // A wheel of milliseconds ends them a millisecond late on average. Of these the best quarter is looked at, since
    // the rest says how busy the machine is.
    assert!(over[25] < Duration::from_micros(20_700), "{over:?}");
}

#[tokio::test]
async fn more_than_the_target_permits_is_refused_and_retries_stay_below() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let kept = Arc::new(Kept::default());
    let mut plan = plan(tcp(4), frames());
    plan.arrival = Arrival::Constant(rate(50.0));
    plan.retry = RetryPolicy {
        schedule: Schedule::Fixed { wait: Span(MS(1)), jitter: Jitter::None },
        attempts: None,
        ..RetryPolicy::none()
    };
    let over = LoadSpec { max_rate: Some(rate(49.0)), ..spec(plan.clone(), closed, MS(400), &kept) };
    assert!(matches!(Load::start(over), Err(LoadError::Rate { .. })));
    let load = Load::start(LoadSpec { max_rate: Some(rate(60.0)), ..spec(plan, closed, MS(400), &kept) }).unwrap();
    load.drained().await;
    let records = kept.0.lock().unwrap();
    let seconds = |at: Moment| at.as_secs_f64();
    let sent: Vec<f64> = records.iter().map(|r| seconds(r.start)).collect();
    if sent.iter().fold(0.0f64, |last, at| last.max(*at)) < 1.0 {
        // 20 operations, and of the 60 attempts that a second may have the schedule takes 50.
        assert_eq!(sent.len(), 30);
    }
    let held_back = records.iter().filter(|r| r.why.as_deref().is_some_and(|why| why.ends_with("permitted rate")));
    assert_eq!(held_back.count(), 20, "each ends so");
}

#[tokio::test]
async fn users_keep_to_what_the_target_permits() {
    let server = echo_server(|_| Echo::Same).await;
    let kept = Arc::new(Kept::default());
    let mut plan = plan(tcp(50), frames());
    plan.arrival = Arrival::Users { count: 50, think: Span(MS(0)) };
    let load = Load::start(LoadSpec { max_rate: Some(rate(30.0)), ..spec(plan, server, MS(400), &kept) }).unwrap();
    load.drained().await;
    assert_eq!(kept.0.lock().unwrap().len(), 30, "the 31st has its turn after a second, when the load has ended");
}

#[tokio::test]
async fn a_stop_ends_arrivals() {
    let server = echo_server(|_| Echo::Same).await;
    let kept = Arc::new(Kept::default());
    let spec = spec(plan(tcp(4), frames()), server, MS(10_000), &kept);
    let clock = spec.clock;
    let load = Load::start(spec).unwrap();
    tokio::time::sleep_until(clock.instant(Moment::from_millis(170))).await;
    // A busy machine may wake us late: what was due is worked out from when the stop was really asked for.
    let due_by = |moment: Moment| (moment.saturating_since(Moment::from_millis(20)).as_secs_f64() * 400.0) as usize;
    let asked = clock.now();
    load.stop(asked);
    let heard = clock.now();
    tokio::time::timeout(MS(2_000), load.drained()).await.unwrap();
    let operations = by_operation(&kept).len();
    assert!((due_by(asked)..=due_by(heard) + 2).contains(&operations), "{operations} from 20 ms to {asked}");
    let window = load.window(heard + MS(100), MS(1_000));
    assert_eq!(window.success_rate(), Some(1.0));
    assert!(window.latency(0.5).unwrap() < MS(1_000));
}
