//! The `http` client and a real server of TLS: whom it asks for, whom it trusts, and what it says of the rest.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brownout::clock::{Moment, RunClock};
use brownout::event::{Applied, Attempt, Outcome};
use brownout::permit::Permit;
use brownout::plan::workload::{Arrival, Client, HttpClient, OkWhen, Operation, Request, Workload};
use brownout::plan::{Endpoint, RetryPolicy};
use brownout::seed::Seed;
use brownout::units::{Rate, Span};
use brownout::workload::{Load, LoadError, LoadSpec, Sink};
use common::tls::TlsServer;

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

/// GETs of a URL over a link that leads to `link`; the answer must contain a text.
struct Asked<'a> {
    url: &'a str,
    link: SocketAddr,
    ca: PathBuf,
    says: &'a str,
}

impl Asked<'_> {
    fn start(&self, sink: &Arc<Kept>) -> Result<Load, LoadError> {
        let endpoint: Endpoint = self.url.parse().unwrap();
        let request = Request {
            method: "GET".into(),
            path: endpoint.path_of(""),
            headers: Default::default(),
            body: None,
            ok: OkWhen { status: vec![(200, 200)], body_contains: Some(self.says.into()) },
            class: "read".into(),
            place_header: "x-place".into(),
        };
        let seconds = |s| Span(Duration::from_secs(s));
        let ca = Some(self.ca.display().to_string());
        let clock = RunClock::start();
        Load::start(LoadSpec {
            name: "users".into(),
            plan: Workload {
                to: "shop".into(),
                labels: Default::default(),
                client: Client::Http(HttpClient {
                    connect_timeout: None,
                    pool_max_idle: 8,
                    pool_idle_timeout: seconds(90),
                    ca,
                    resolve: Default::default(),
                    tls: Default::default(),
                }),
                arrival: Arrival::Constant(Rate::per_second(50.0).unwrap()),
                operation: Operation::Request(Box::new(request)),
                attempt_timeout: seconds(5),
                deadline: seconds(5),
                retry: RetryPolicy::none(),
                max_in_flight: 100,
            },
            target: self.link.to_string(),
            endpoint: Some(endpoint),
            named: None,
            link: None,
            seed: Seed(7),
            clock,
            begin: Moment::START,
            end: Moment::START + Duration::from_millis(100),
            sink: Arc::clone(sink) as Arc<dyn Sink>,
            conn_of: Arc::new(|local| Some(u64::from(local.port()))),
            permit: Permit::default(),
            max_rate: None,
        })
    }

    /// Its attempts: five, started 20 ms apart.
    async fn attempts(&self) -> Vec<Attempt> {
        let kept = Arc::new(Kept::default());
        self.start(&kept).unwrap().drained().await;
        let attempts = std::mem::take(&mut *kept.0.lock().unwrap());
        assert_eq!(attempts.len(), 5);
        attempts
    }
}

fn asked<'a>(url: &'a str, link: SocketAddr, ca: &Path, says: &'a str) -> Asked<'a> {
    Asked { url, link, ca: ca.to_owned(), says }
}

#[tokio::test]
async fn the_url_s_own_host_is_named_in_the_handshake_and_in_the_request() {
    let Some(server) = TlsServer::start() else { return };
    let cases = [
        // The port in the URL is one where nobody is: the link alone says where bytes go.
        ("https://shop.example:1/shop/health?deep=1", "shop.example shop.example:1 /shop/health?deep=1"),
        ("https://shop.example/shop/health", "shop.example shop.example /shop/health"),
        ("https://localhost:443/shop/health", "localhost localhost /shop/health"),
    ];
    for (url, says) in cases {
        let attempts = asked(url, server.named, &server.authority(), says).attempts().await;
        let seen: Vec<_> = attempts.iter().map(|attempt| (attempt.outcome, attempt.code)).collect();
        assert_eq!(seen, [(Outcome::Ok, Some(200)); 5], "{url}: {attempts:?}");
        assert!(attempts[0].connected.is_some() && attempts[0].conn.is_some(), "{:?}", attempts[0]);
        assert_eq!(attempts[4].connected, None, "the pool keeps what is encrypted too");
    }
}

#[tokio::test]
async fn an_address_is_asked_for_its_own_certificate_and_not_for_its_link_s() {
    let Some(server) = TlsServer::start() else { return };
    for (url, says) in [
        ("https://192.0.2.1/shop", "nobody 192.0.2.1 /shop"),
        ("https://[2001:db8::1]:8443/shop", "nobody [2001:db8::1]:8443 /shop"),
    ] {
        let attempts = asked(url, server.nameless, &server.authority(), says).attempts().await;
        assert!(attempts.iter().all(|attempt| attempt.outcome == Outcome::Ok), "{url}: {attempts:?}");
    }
    let other = asked("https://192.0.2.2/", server.nameless, &server.authority(), "").attempts().await;
    let refused = other.iter().all(|attempt| (attempt.outcome, attempt.applied) == (Outcome::Tls, Applied::No));
    assert!(refused, "the certificate is of 192.0.2.1: {other:?}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_request() {
    let Some(server) = TlsServer::start() else { return };
    for (what, url, ca) in [
        ("signed by somebody else", "https://shop.example/shop/health", server.stranger()),
        ("a host that it does not serve", "https://other.example/", server.authority()),
    ] {
        let attempts = asked(url, server.named, &ca, "").attempts().await;
        for attempt in attempts {
            let seen = (attempt.outcome, attempt.applied, attempt.connected);
            assert_eq!(seen, (Outcome::Tls, Applied::No, None), "{what}: {attempt:?}");
            assert!(attempt.why.is_some(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_file_without_authorities_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    for file in [empty, dir.path().join("missing.pem")] {
        let link = "127.0.0.1:1".parse().unwrap();
        let error = asked("https://localhost/", link, &file, "").start(&Arc::default()).err().unwrap();
        assert!(matches!(&error, LoadError::Authorities { file: told, .. } if Path::new(told) == file), "{error}");
    }
}
