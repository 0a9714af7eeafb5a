//! toxiproxy_rust: its whole API.

use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::{Proxy, ProxyPack};

use crate::bytes::{behave, connect, echo, refuses, round_trip};

pub fn run(address: &str) {
    let client = Client::new(address);
    assert!(client.is_running());
    assert!(client.version().unwrap().contains("\"version\": \"2."));
    assert!(client.all().unwrap().is_empty());

    let (upstream, free) = (echo(), "127.0.0.1:0".to_owned());
    let pack = |name: &str| ProxyPack::new(name.to_owned(), free.clone(), upstream.clone());
    let made = client.populate(vec![pack("web"), pack("other")]).unwrap();
    let names: Vec<_> = made.iter().map(|proxy| proxy.proxy_pack.name.as_str()).collect();
    assert_eq!(names, ["web", "other"]);
    assert_eq!(client.all().unwrap().len(), 2);
    let web = client.find_proxy("web").unwrap();
    let listen = web.proxy_pack.listen.clone();

    let mut open = connect(&listen);
    round_trip(&mut open, 5);
    web.with_down(|| assert!(refuses(&listen))).unwrap();
    round_trip(&mut connect(&listen), 5);

    let down = || "downstream".to_owned();
    let toxics: [(&str, &dyn Fn(&Proxy)); 6] = [
        ("latency", &|web| {
            web.with_latency(down(), 100, 0, 1.0);
        }),
        ("bandwidth", &|web| {
            web.with_bandwidth(down(), 100, 1.0);
        }),
        ("slow_close", &|web| {
            web.with_slow_close(down(), 100, 1.0);
        }),
        ("timeout", &|web| {
            web.with_timeout(down(), 100, 1.0);
        }),
        ("slicer", &|web| {
            web.with_slicer(down(), 100, 0, 1000, 1.0);
        }),
        ("limit_data", &|web| {
            web.with_limit_data(down(), 100, 1.0);
        }),
    ];
    for (kind, add) in toxics {
        add(&web);
        let set = web.toxics().unwrap();
        assert_eq!((set[0].r#type.as_str(), set[0].toxicity), (kind, 1.0));
        web.apply(|| behave(&listen, kind)).unwrap();
        assert!(web.toxics().unwrap().is_empty());
        behave(&listen, "noop");
    }

    web.with_latency("upstream".to_owned(), 100, 0, 0.25).with_latency(down(), 1, 0, 1.0);
    let set = web.toxics().unwrap();
    assert_eq!((set[0].name.as_str(), set[0].toxicity), ("latency_upstream", 0.25));
    web.disable().unwrap();
    let again = client.find_and_reset_proxy("web").unwrap();
    assert!(again.toxics().unwrap().is_empty());
    behave(&listen, "noop");
    web.with_latency(down(), 100, 0, 1.0);
    client.reset().unwrap();
    behave(&listen, "noop");
    for proxy in client.all().unwrap().values() {
        proxy.delete().unwrap();
    }
    assert!(client.all().unwrap().is_empty() && client.find_proxy("web").is_err());
}
