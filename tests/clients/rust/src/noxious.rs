//! noxious-client: its whole API. It writes the direction of a toxic under a key that no Toxiproxy reads, so all are
//! `downstream`; and it cannot read the empty attributes of a `noop`.

use noxious_client::error::ClientError;
use noxious_client::{Client, StreamDirection, Toxic, ToxicKind};

use crate::bytes::{behave, connect, echo, refuses, round_trip};

pub async fn run(address: &str) {
    let client = Client::new(address);
    assert!(client.proxies().await.unwrap().is_empty());
    let upstream = echo();
    let mut web = client.create_proxy("web", "127.0.0.1:0", &upstream).await.unwrap();
    // What it keeps is what it has sent; what it reads is what there is.
    web.config = client.proxy("web").await.unwrap().config;
    let listen = web.config.listen.clone();
    let conflict = client.create_proxy("web", "127.0.0.1:0", &upstream).await.unwrap_err();
    assert!(matches!(&conflict, ClientError::ApiError(error) if error.status_code == 409), "{conflict}");
    assert!(matches!(client.proxy("nobody").await, Err(ClientError::ApiError(error)) if error.status_code == 404));

    round_trip(&mut connect(&listen), 5);
    web.disable().await.unwrap();
    assert!(refuses(&listen) && !web.is_enabled());
    web.enable().await.unwrap();
    round_trip(&mut connect(&listen), 5);

    let slicer = ToxicKind::Slicer { average_size: 100, size_variation: 0, delay: 1000 };
    for (name, kind) in [
        ("latency", ToxicKind::Latency { latency: 100, jitter: 0 }),
        ("bandwidth", ToxicKind::Bandwidth { rate: 100 }),
        ("slow_close", ToxicKind::SlowClose { delay: 100 }),
        ("timeout", ToxicKind::Timeout { timeout: 100 }),
        ("slicer", slicer),
        ("limit_data", ToxicKind::LimitData { bytes: 100 }),
    ] {
        let toxic = Toxic { kind, name: name.to_owned(), toxicity: 1.0, direction: StreamDirection::Downstream };
        let made = web.add_toxic(&toxic).await.unwrap();
        assert_eq!((made.kind, made.toxicity, made.direction), (kind, 1.0, StreamDirection::Downstream));
        assert_eq!(web.toxics().await.unwrap().len(), 1);
        behave(&listen, name);
        web.remove_toxic(name).await.unwrap();
        behave(&listen, "noop");
    }

    let kind = ToxicKind::Latency { latency: 1, jitter: 0 };
    let slow = Toxic { kind, name: "slow".to_owned(), toxicity: 0.5, direction: StreamDirection::Downstream };
    web.add_toxic(&slow).await.unwrap();
    let slower = ToxicKind::Latency { latency: 100, jitter: 5 };
    let updated = web.update_toxic("slow", 1.0, slower, StreamDirection::Downstream).await.unwrap();
    assert_eq!((updated.kind, updated.toxicity), (slower, 1.0));
    client.reset_state().await.unwrap();
    assert!(web.toxics().await.unwrap().is_empty());
    assert!(matches!(web.remove_toxic("slow").await, Err(ClientError::ApiError(error)) if error.status_code == 404));

    let config = noxious_client::ProxyConfig {
        name: "other".to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        upstream,
        enabled: true,
        rand_seed: None,
    };
    // It expects the bare list that no Toxiproxy answers with; what it asked for is done all the same.
    assert!(matches!(client.populate(&[config]).await, Err(ClientError::IoError(_))));
    for proxy in client.proxies().await.unwrap().into_values() {
        proxy.delete().await.unwrap();
    }
    assert!(client.proxies().await.unwrap().is_empty());
}
