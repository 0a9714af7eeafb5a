//! The pair over real sockets, each hop through a relay that can be cut in silence.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::clock::RunClock;
use crate::event::{Event, Milestone, What};
use crate::plan::{Failover, Order};
use crate::system::lab::Lab;
use crate::system::lab::host::Sockets;
use crate::system::lab::http::Client;
use crate::system::lab::kv::{PLACE, REPLACED};
use crate::system::{LinkAddresses, NodeAct, Teller};

/// A hop that passes bytes until it is cut; what it holds then is delivered when it heals.
struct Relay {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Relay {
    async fn to(upstream: String) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, cut) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, flag) = (upstream.clone(), Arc::clone(&flag));
                tokio::spawn(async move {
                    whole(&flag).await;
                    let Ok(server) = TcpStream::connect(&upstream).await else { return };
                    let (client_reads, client_writes) = client.into_split();
                    let (server_reads, server_writes) = server.into_split();
                    let up = tokio::spawn(pass(client_reads, server_writes, Arc::clone(&flag)));
                    let down = tokio::spawn(pass(server_reads, client_writes, flag));
                    // Either end's close ends both, as a reset would.
                    let (up_end, down_end) = (up.abort_handle(), down.abort_handle());
                    tokio::select! { _ = up => down_end.abort(), _ = down => up_end.abort() }
                });
            }
        });
        Relay { address, cut }
    }
}

async fn whole(cut: &AtomicBool) {
    while cut.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(2)).await;
    }
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        whole(&cut).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

struct Rig {
    pair: Arc<Pair>,
    relays: Vec<(String, Relay)>,
    events: Arc<Mutex<Vec<Event>>>,
    client: Arc<Client>,
}

impl Rig {
    async fn start(params: serde_json::Value) -> Rig {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let teller = Teller::new(RunClock::start(), Arc::new(move |event| sink.lock().unwrap().push(event)));
        let given = serde_json::from_value(params).unwrap();
        let description = LAB.describe(&given).unwrap();
        let pair = Arc::new(Pair::bind(&description, teller).unwrap());
        let address = |name: &str| pair.fleet().nodes().into_iter().find(|node| node.name == name).unwrap().address;
        let mut relays = Vec::new();
        for (name, link) in description.links {
            relays.push((name, Relay::to(address(&link.to)).await));
        }
        let links: LinkAddresses = relays.iter().map(|(name, relay)| (name.clone(), relay.address)).collect();
        let client = Arc::new(Client::new(address(GATEWAY).parse().unwrap(), Sockets::default()));
        pair.fleet().start(&links).unwrap();
        let lab = Rig { pair, relays, events, client };
        lab.until("ready", |lab| lab.pair.ready()).await;
        lab
    }

    async fn until(&self, what: &str, holds: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            let told = || self.events.lock().unwrap().iter().map(|event| format!("{event:?}\n")).collect::<String>();
            assert!(Instant::now() < deadline, "never {what}: {:?}\n{}", self.pair.fleet().nodes(), told());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn has_role(&self, name: &str, role: &str) -> bool {
        self.pair.fleet().nodes().iter().any(|node| node.name == name && node.role.as_deref() == Some(role))
    }

    fn milestones(&self) -> Vec<(Milestone, String)> {
        let events = self.events.lock().unwrap();
        let milestones = events.iter().filter_map(|event| match &event.what {
            What::Milestone { milestone, node, .. } => Some((*milestone, node.clone())),
            _ => None,
        });
        milestones.collect()
    }

    fn said_of(&self, name: &str) -> Vec<(String, u64, Option<String>)> {
        let events = self.events.lock().unwrap();
        let said = events.iter().filter_map(|event| match &event.what {
            What::Node { node, incarnation, state, role } if node == name => {
                Some((state.clone(), *incarnation, role.clone()))
            }
            _ => None,
        });
        said.collect()
    }

    fn noted(&self, text: &str) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| matches!(&event.what, What::Note { text: note } if note.contains(text))).count()
    }

    /// Waits until writes wait for the standby: on a busy machine it may have been taken out for a while, and is no
    /// candidate then.
    async fn until_standby_in_sync(&self) {
        self.until("standby in sync", |lab| {
            lab.noted("node-b was taken out") == lab.noted("node-b is in the in-sync set again")
        })
        .await;
    }

    fn cut(&self, node: &str, cut: bool) {
        for (name, relay) in &self.relays {
            if name.contains(node) {
                relay.cut.store(cut, Ordering::Relaxed);
            }
        }
    }

    async fn act(&self, node: &'static str, act: NodeAct) {
        let pair = Arc::clone(&self.pair);
        tokio::task::spawn_blocking(move || pair.fleet().apply(node, act)).await.unwrap().unwrap();
    }

    async fn heal(&self, node: &'static str, act: NodeAct) {
        let pair = Arc::clone(&self.pair);
        tokio::task::spawn_blocking(move || pair.fleet().heal(node, act)).await.unwrap().unwrap();
    }

    /// One request with a time-out; none without an answer. The answer's status, place, replaced value and body.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Option<(StatusCode, String, Option<String>, String)> {
        let request = Request::builder().method(method).uri(path).body(Bytes::from(body.to_owned())).unwrap();
        let answer = timeout(Duration::from_millis(250), self.client.send(request)).await.ok()?.ok()?;
        let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        Some((answer.status(), header(PLACE).unwrap_or_default(), header(REPLACED), body))
    }

    /// Writes keys of its own until told to stop; returns those acknowledged.
    fn writer(self: &Arc<Rig>, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<u64>> {
        let lab = Arc::clone(self);
        tokio::spawn(async move {
            let acknowledged = Arc::new(Mutex::new(Vec::new()));
            let mut writes = tokio::task::JoinSet::new();
            for key in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (lab, acknowledged) = (Arc::clone(&lab), Arc::clone(&acknowledged));
                writes.spawn(async move {
                    if let Some((StatusCode::OK, ..)) = lab.ask(Method::PUT, &format!("/kv/{key}"), "x").await {
                        acknowledged.lock().unwrap().push(key);
                    }
                });
                sleep(Duration::from_millis(2)).await;
            }
            writes.join_all().await;
            Arc::into_inner(acknowledged).unwrap().into_inner().unwrap()
        })
    }

    async fn missing(&self, keys: &[u64]) -> usize {
        let mut missing = 0;
        for key in keys {
            let (status, ..) = self.ask(Method::GET, &format!("/kv/{key}"), "").await.expect("the pair serves");
            missing += usize::from(status == StatusCode::NOT_FOUND);
        }
        missing
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_speaks_the_small_http_interface() {
    let lab = Rig::start(json!({})).await;
    let ok = StatusCode::OK;
    let a = || "node-a#1".to_owned();
    let some = |text: &str| Some(text.to_owned());
    let none = String::new;
    assert_eq!(lab.ask(Method::GET, "/kv/k", "").await, Some((StatusCode::NOT_FOUND, a(), None, none())));
    assert_eq!(lab.ask(Method::PUT, "/kv/k", "1.1").await, Some((ok, a(), some(""), none())));
    assert_eq!(lab.ask(Method::PUT, "/kv/k", "2.1").await, Some((ok, a(), some("1.1"), none())));
    assert_eq!(lab.ask(Method::GET, "/kv/k", "").await, Some((ok, a(), None, "2.1".into())));
    assert_eq!(lab.ask(Method::POST, "/kv/i", "v").await, Some((StatusCode::CREATED, a(), None, none())));
    assert_eq!(lab.ask(Method::POST, "/kv/i", "v").await, Some((ok, a(), None, none())));
    assert_eq!(lab.ask(Method::POST, "/kv/i", "w").await, Some((StatusCode::CONFLICT, a(), None, none())));
    assert_eq!(lab.ask(Method::GET, "/list/l", "").await, Some((StatusCode::NOT_FOUND, a(), None, none())));
    assert_eq!(lab.ask(Method::POST, "/list/l", "one").await, Some((ok, a(), None, none())));
    assert_eq!(lab.ask(Method::POST, "/list/l", "two").await, Some((ok, a(), None, none())));
    assert_eq!(lab.ask(Method::GET, "/list/l", "").await, Some((ok, a(), None, "one\ntwo\n".into())));
    assert_eq!(lab.ask(Method::POST, "/echo", "ping").await, Some((ok, a(), None, "ping".into())));
    assert_eq!(lab.ask(Method::DELETE, "/kv/k", "").await.unwrap().0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(lab.ask(Method::GET, "/else", "").await.unwrap().0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_primary_is_replaced_and_rejoins_without_a_loss() {
    let lab = Arc::new(Rig::start(json!({})).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = lab.writer(Arc::clone(&stop));
    sleep(Duration::from_millis(300)).await;
    let already = lab.milestones().len();
    lab.until_standby_in_sync().await;
    lab.cut(NODE_A, true);
    lab.until("promoted", |lab| lab.has_role(NODE_B, "primary")).await;
    sleep(Duration::from_millis(500)).await;
    assert!(lab.has_role(NODE_A, "fenced"), "{:?}", lab.pair.fleet().nodes());
    lab.cut(NODE_A, false);
    lab.until("rejoined", |lab| lab.has_role(NODE_A, "standby")).await;
    lab.until("in sync", |lab| lab.noted("node-a is in the in-sync set again") == 1).await;
    sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    assert_eq!(lab.missing(&acknowledged).await, 0, "of {}", acknowledged.len());
    assert!(acknowledged.len() > 100);
    let told: Vec<_> = lab.milestones().split_off(already);
    use Milestone::{Decided, Detected, Promoted, Reconnected, Redirected};
    let expected =
        [(Detected, NODE_A), (Decided, NODE_B), (Promoted, NODE_B), (Redirected, NODE_B), (Reconnected, NODE_B)];
    assert_eq!(told, expected.map(|(milestone, node)| (milestone, node.to_owned())));
    assert_eq!(lab.ask(Method::GET, "/kv/0", "").await.unwrap().1, "node-b#2");
    // What a node says of itself is news each time.
    for node in [NODE_A, NODE_B] {
        let said = lab.said_of(node);
        assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{node}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_and_the_pair_survives_a_second_kill() {
    let lab = Arc::new(Rig::start(json!({})).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = lab.writer(Arc::clone(&stop));
    sleep(Duration::from_millis(300)).await;
    lab.until_standby_in_sync().await;
    lab.act(NODE_A, NodeAct::Kill).await;
    lab.until("promoted", |lab| lab.has_role(NODE_B, "primary")).await;
    lab.heal(NODE_A, NodeAct::Kill).await;
    lab.until("in sync", |lab| lab.noted("node-a is in the in-sync set again") == 1).await;
    lab.act(NODE_B, NodeAct::Kill).await;
    lab.until("promoted back", |lab| lab.has_role(NODE_A, "primary")).await;
    lab.heal(NODE_B, NodeAct::Kill).await;
    lab.until("redirected", |lab| lab.pair.ready()).await;
    sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    assert_eq!(lab.missing(&acknowledged).await, 0, "of {}", acknowledged.len());
    // Started, started again, promoted.
    assert_eq!(lab.ask(Method::GET, "/kv/0", "").await.unwrap().1, "node-a#3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_primary_is_replaced_and_gives_way_when_it_goes_on() {
    let lab = Rig::start(json!({})).await;
    assert_eq!(lab.ask(Method::PUT, "/kv/k", "1").await.unwrap().0, StatusCode::OK);
    lab.act(NODE_A, NodeAct::Pause).await;
    assert_eq!(lab.ask(Method::PUT, "/kv/k", "2").await, None, "a paused node accepts and says nothing");
    lab.until("promoted", |lab| lab.has_role(NODE_B, "primary")).await;
    lab.heal(NODE_A, NodeAct::Pause).await;
    lab.until("standby", |lab| lab.has_role(NODE_A, "standby")).await;
    lab.until("redirected", |lab| lab.pair.ready()).await;
    assert_eq!(lab.ask(Method::GET, "/kv/k", "").await.unwrap().1, "node-b#2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_standby_holds_writes_up_only_until_it_is_taken_out() {
    let lab = Rig::start(json!({})).await;
    lab.act(NODE_B, NodeAct::Kill).await;
    assert_eq!(lab.ask(Method::PUT, "/kv/k", "1").await, None, "acknowledged by one node alone");
    lab.until("taken out", |lab| lab.noted("node-b was taken out") == 1).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(lab.ask(Method::PUT, "/kv/k", "2").await.unwrap().0, StatusCode::OK);
    // The standby has not got what was acknowledged meanwhile: nobody may promote it.
    lab.act(NODE_A, NodeAct::Kill).await;
    lab.heal(NODE_B, NodeAct::Kill).await;
    sleep(Duration::from_millis(800)).await;
    assert!(!lab.has_role(NODE_B, "primary"));
    lab.heal(NODE_A, NodeAct::Kill).await;
    lab.until("serving again", |lab| lab.has_role(NODE_A, "primary") && lab.pair.ready()).await;
    assert_eq!(lab.ask(Method::GET, "/kv/k", "").await.unwrap().3, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_commit_loses_what_was_not_shipped() {
    let lab = Arc::new(Rig::start(json!({ "commit": "async", "ship_every": "200ms" })).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = lab.writer(Arc::clone(&stop));
    sleep(Duration::from_millis(500)).await;
    lab.act(NODE_A, NodeAct::Kill).await;
    lab.until("promoted", |lab| lab.has_role(NODE_B, "primary")).await;
    lab.heal(NODE_A, NodeAct::Kill).await;
    lab.until("redirected", |lab| lab.pair.ready()).await;
    sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    let lost = lab.missing(&acknowledged).await;
    // One write each 2 ms and a bit, shipped each 200 ms: at most some 100 are lost, and hardly ever none.
    assert!((1..=150).contains(&lost), "lost {lost} of {}", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_refuses_and_remembers_who_is_primary() {
    let lab = Rig::start(json!({})).await;
    lab.act(NODE_A, NodeAct::Kill).await;
    lab.until("promoted", |lab| lab.has_role(NODE_B, "primary")).await;
    lab.act(GATEWAY, NodeAct::Kill).await;
    assert_eq!(lab.ask(Method::GET, "/kv/k", "").await, None);
    lab.heal(NODE_A, NodeAct::Kill).await;
    lab.heal(GATEWAY, NodeAct::Kill).await;
    lab.until("ready", |lab| lab.pair.ready()).await;
    assert!(lab.has_role(NODE_B, "primary") && lab.has_role(NODE_A, "standby"));
    assert_eq!(lab.ask(Method::GET, "/kv/k", "").await.unwrap().1, "node-b#2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_does_not_wait_until_the_next_shipment_is_due() {
    let lab = Rig::start(json!({ "commit": "async", "ship_every": "10s" })).await;
    for key in 0..20 {
        assert_eq!(lab.ask(Method::PUT, &format!("/kv/{key}"), "x").await.unwrap().0, StatusCode::OK);
    }
    let pair = Arc::clone(&lab.pair);
    let order = tokio::task::spawn_blocking(move || pair.order(Order::Failover(Failover::Planned)));
    assert_eq!(order.await.unwrap(), Ok("node-a handed over to node-b".to_owned()));
    lab.until("redirected", |lab| lab.pair.ready()).await;
    assert_eq!(lab.missing(&(0..20).collect::<Vec<_>>()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_hand_over_loses_nothing_even_with_async_commit_and_needs_an_able_standby() {
    let lab = Arc::new(Rig::start(json!({ "commit": "async", "ship_every": "100ms" })).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = lab.writer(Arc::clone(&stop));
    sleep(Duration::from_millis(300)).await;
    let order = || {
        let pair = Arc::clone(&lab.pair);
        tokio::task::spawn_blocking(move || pair.order(Order::Failover(Failover::Planned)))
    };
    assert_eq!(lab.pair.serving(), [NODE_A]);
    assert_eq!(order().await.unwrap(), Ok("node-a handed over to node-b".to_owned()));
    lab.until("redirected", |lab| lab.pair.ready()).await;
    assert_eq!(lab.pair.serving(), [NODE_B]);
    assert_eq!(lab.milestones().iter().filter(|(milestone, _)| *milestone == Milestone::Detected).count(), 0);
    sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    assert_eq!(lab.missing(&acknowledged).await, 0, "of {}", acknowledged.len());
    let simulated = lab.pair.order(Order::Failover(Failover::Simulated)).unwrap_err();
    assert_eq!(simulated.to_string(), "primary-standby knows no simulated failover");
    // Nobody has noticed yet that the standby is gone; it must not be handed the service all the same.
    lab.until("in sync", |lab| lab.noted("node-a is in the in-sync set again") == 1).await;
    lab.act(NODE_A, NodeAct::Kill).await;
    assert!(order().await.unwrap().is_err());
    lab.until("serves on", |lab| lab.pair.ready()).await;
    assert_eq!(lab.pair.serving(), [NODE_B], "a refusal changes nothing");
}
