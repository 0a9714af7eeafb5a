//! The lab over real sockets, each hop direct: orders and refusals, and what becomes of a machine that was replaced.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::RunClock;
use crate::event::{Event, What};
use crate::plan::{Failover, Order};
use crate::system::dns::Dns;
use crate::system::lab::host::Sockets;
use crate::system::lab::http::Client;
use crate::system::lab::{Lab, registry};
use crate::system::{LinkAddresses, NodeAct, Teller};

struct Ground {
    lab: Arc<dyn Lab>,
    dns: Arc<Dns>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Ground {
    async fn start(params: serde_json::Value) -> Ground {
        let mut given = json!({
            "time_scale": 600, "replicate_every": "6s", "point_every": "30s", "app_every": "60s", "geo_lag": "24s",
            "heartbeat": "20ms", "declare_after": "2m",
        });
        given.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        let given = serde_json::from_value(given).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let teller = Teller::new(RunClock::start(), Arc::new(move |event| sink.lock().unwrap().push(event)));
        let lab = registry::bind(NAME, &given, teller).unwrap();
        let description = LAB.describe(&given).unwrap();
        let dns = Arc::new(Dns::serve(&description.names).unwrap());
        lab.name_server(&dns);
        let address = |name: &str| lab.fleet().nodes().into_iter().find(|node| node.name == name).unwrap().address;
        let links: LinkAddresses =
            description.links.iter().map(|(name, link)| (name.clone(), address(&link.to).parse().unwrap())).collect();
        lab.fleet().start(&links).unwrap();
        let ground = Ground { lab, dns, events };
        ground.until("ready", |ground| ground.lab.ready()).await;
        ground
    }

    async fn until(&self, what: &str, holds: impl Fn(&Ground) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(Instant::now() < deadline, "never {what}: {:?}\n{:#?}", self.lab.fleet().nodes(), self.notes());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn notes(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let notes = events.iter().filter_map(|event| match &event.what {
            What::Note { text } => Some(text.clone()),
            _ => None,
        });
        notes.collect()
    }

    fn noted(&self, part: &str) -> bool {
        self.notes().iter().any(|note| note.contains(part))
    }

    fn role(&self, node: &str) -> Option<String> {
        self.lab.fleet().nodes().into_iter().find(|info| info.name == node)?.role
    }

    async fn ask(&self, node: &str, method: Method, path: &str, body: &str, test: bool) -> (u16, String) {
        let address = self.lab.fleet().nodes().into_iter().find(|info| info.name == node).unwrap().address;
        let client = Client::new(address.parse().unwrap(), Sockets::default());
        let mut request = Request::builder().method(method).uri(path);
        if test {
            request = request.header("x-network", "test");
        }
        let answer = client.send(request.body(Bytes::from(body.to_owned())).unwrap()).await;
        answer.map_or((0, String::new()), |answer| {
            (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).trim().to_owned())
        })
    }

    async fn put(&self, node: &str, key: &str, value: &str) -> u16 {
        self.ask(node, Method::PUT, &format!("/kv/{key}"), value, false).await.0
    }

    async fn get(&self, node: &str, key: &str) -> (u16, String) {
        self.ask(node, Method::GET, &format!("/kv/{key}"), "", false).await
    }

    async fn order(&self, path: &str) -> (u16, String) {
        self.ask(RECOVERY, Method::POST, path, "", false).await
    }

    /// Where a name leads.
    fn means(&self, name: &str) -> u8 {
        self.dns.table().record(name).unwrap().addresses[0].octets()[3]
    }

    async fn east_dies(&self) {
        for node in ["vm-east", STORAGE_EAST] {
            self.lab.fleet().apply(node, NodeAct::Kill).unwrap();
        }
    }

    async fn east_comes_back(&self) {
        for node in ["vm-east", STORAGE_EAST] {
            self.lab.fleet().heal(node, NodeAct::Kill).unwrap();
        }
    }
}

/// So that what was written has been replicated and is in a recovery point.
async fn a_moment() {
    sleep(Duration::from_millis(250)).await;
}

#[tokio::test]
async fn one_order_brings_the_machine_up_elsewhere_and_the_old_one_stays_off() {
    let ground = Ground::start(json!({})).await;
    assert_eq!(ground.put("vm-east", "a", "1").await, 200);
    a_moment().await;
    ground.east_dies().await;
    assert_eq!(ground.order("/failover/north").await.0, 202);
    let (status, why) = ground.order("/failover/west").await;
    assert_eq!(status, 429, "{why}");
    assert!(why.starts_with("a failover to north is under way; ") && why.ends_with(" left"), "{why}");
    ground.until("in north", |ground| ground.noted("the machine is in north")).await;
    assert_eq!(ground.get("vm-north", "a").await, (200, "1".to_owned()));
    assert_eq!(ground.put("vm-north", "a", "2").await, 200);
    assert_eq!(ground.means(APP), 3);
    ground.east_comes_back().await;
    ground.until("told", |ground| ground.noted("vm-east stays off: the machine is in north now")).await;
    assert_eq!(ground.get("vm-east", "a").await.0, 503);
    a_moment().await;
    assert_eq!(ground.order("/failback").await.0, 202);
    ground.until("back", |ground| ground.noted("the machine is in east")).await;
    assert_eq!(ground.get("vm-east", "a").await, (200, "2".to_owned()), "a planned failover loses nothing");
    assert_eq!(ground.role("vm-north").as_deref(), Some("idle"));
}

#[tokio::test]
async fn a_test_failover_leaves_production_alone_and_serves_in_its_own_network() {
    let ground = Ground::start(json!({})).await;
    assert_eq!(ground.put("vm-east", "a", "1").await, 200);
    a_moment().await;
    assert_eq!(ground.order("/test-failover/west").await.0, 202);
    ground.until("tested", |ground| ground.noted("the tested copy serves in west")).await;
    assert_eq!(ground.means(APP), 1, "the name leads to the machine still");
    assert_eq!(ground.get("vm-west", "a").await.0, 503, "users do not reach it");
    let in_test = |method, path| ground.ask("vm-west", method, path, "9", true);
    assert_eq!(in_test(Method::GET, "/kv/a").await, (200, "1".to_owned()));
    assert_eq!(in_test(Method::PUT, "/kv/a").await.0, 200);
    assert_eq!(ground.get("vm-east", "a").await, (200, "1".to_owned()));
    assert_eq!(ground.order("/failover/west").await.0, 409);
    let (status, age) = ground.ask(RECOVERY, Method::GET, "/replication", "", false).await;
    assert_eq!(status, 200, "replication goes on: {age}");
    assert_eq!(ground.order("/clean-up").await.0, 202);
    ground.until("cleaned up", |ground| ground.role("vm-west").as_deref() == Some("idle")).await;
}

#[tokio::test]
async fn an_order_is_done_once_its_plan_is() {
    let ground = Ground::start(json!({})).await;
    assert_eq!(ground.put("vm-east", "a", "1").await, 200);
    a_moment().await;
    let drill = Order::Failover(Failover::Simulated);
    ground.lab.order(drill).unwrap();
    assert!(ground.lab.ready() && !ground.lab.done(drill), "production serves; the copy does not yet");
    ground.until("done", |ground| ground.lab.done(drill)).await;
    assert_eq!(ground.ask("vm-west", Method::GET, "/kv/a", "", true).await, (200, "1".to_owned()));
}

#[tokio::test]
async fn without_isolation_a_test_takes_the_users_of_production() {
    let ground = Ground::start(json!({ "isolation": "off" })).await;
    ground.put("vm-east", "a", "1").await;
    a_moment().await;
    assert_eq!(ground.order("/test-failover/west").await.0, 202);
    ground.until("tested", |ground| ground.noted("the tested copy serves in west")).await;
    assert_eq!(ground.means(APP), 2);
    assert_eq!(ground.get("vm-west", "a").await, (200, "1".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_reason() {
    let ground = Ground::start(json!({})).await;
    assert_eq!(ground.order("/failover/south").await, (409, "there is no region `south`: east, west, north".into()));
    assert_eq!(ground.order("/failover/east").await, (409, "the machine is in east".into()));
    assert_eq!(ground.order("/clean-up").await, (409, "there is no test to clean up".into()));
    assert_eq!(ground.order("/explode").await.0, 404);
    let (status, why) = ground.ask(PROVIDER, Method::POST, "/remap", "", false).await;
    assert_eq!(status, 403);
    assert!(why.starts_with("only the provider remaps names"), "{why}");
    let local = Ground::start(json!({ "storage": "local" })).await;
    let (status, why) = local.ask(PROVIDER, Method::POST, "/provision", "", false).await;
    assert_eq!((status, why.as_str()), (409, "the storage account has no copy in another region"));
}

#[tokio::test]
async fn a_final_loss_is_declared_and_the_provider_maps_the_name_to_the_copy() {
    let ground = Ground::start(json!({})).await;
    assert_eq!(ground.put(STORAGE_EAST, "blob", "1").await, 200);
    assert_eq!(ground.put(STORAGE_WEST, "blob", "2").await, 503, "a copy is no account");
    a_moment().await;
    ground.east_dies().await;
    ground.until("remapped", |ground| ground.means(DISK) == 5).await;
    assert_eq!(ground.get(STORAGE_WEST, "blob").await, (200, "1".to_owned()));
    ground.east_comes_back().await;
    ground.until("demoted", |ground| ground.role(STORAGE_EAST).as_deref() == Some("copy")).await;
    assert_eq!(ground.put(STORAGE_EAST, "blob", "3").await, 503, "what was replaced does not serve");
}

#[tokio::test]
async fn copies_in_one_region_are_lost_with_it() {
    let ground = Ground::start(json!({ "storage": "local" })).await;
    ground.put(STORAGE_EAST, "blob", "1").await;
    ground.east_dies().await;
    ground.until("told", |ground| ground.noted("its copies with it")).await;
    assert_eq!(ground.means(DISK), 4);
    ground.east_comes_back().await;
    ground.until("back", |ground| ground.role(STORAGE_EAST).as_deref() == Some("account")).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(ground.get(STORAGE_EAST, "blob").await, (200, "1".to_owned()), "they were waited for");
}

#[tokio::test]
async fn a_machine_of_the_copied_image_is_told_how_far_it_is_behind_and_may_not_boot() {
    for (torn_image, works) in [("fails", false), ("boots", true)] {
        let ground = Ground::start(json!({ "torn_image": torn_image, "geo_lag": "20m" })).await;
        // The copy is of several moments: pages change while its parts are shipped one after the other.
        let writing = Instant::now();
        let mut n = 0;
        while writing.elapsed() < Duration::from_millis(2_600) {
            n += 1;
            assert_eq!(ground.put("vm-east", &format!("k{}", n % 40), &n.to_string()).await, 200);
        }
        ground.east_dies().await;
        assert_eq!(ground.ask(PROVIDER, Method::POST, "/provision", "", false).await.0, 202);
        let end = if works { "the machine works" } else { "the machine does not boot" };
        ground.until("made", |ground| ground.noted(end)).await;
        assert!(ground.noted("torn: "), "{:?}", ground.notes());
        assert_eq!(ground.means(APP), if works { 2 } else { 1 });
        assert_eq!(ground.role("vm-west").as_deref(), Some(if works { "app" } else { "idle" }));
    }
}
