//! The thread that speaks with the server.
//!
//! The client crate blocks, and it must be neither used nor dropped inside an asynchronous runtime: it lives on a
//! thread of its own, and calls go there. It never looks at a status, so every change is read back. What it has no
//! call for is asked in requests of our own, on the same thread.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::{Proxy, ProxyPack};

use super::words::RemoteToxic;

/// How long one request of ours may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

type Call = Box<dyn FnOnce(&Desk) + Send>;

/// Gives calls to the thread and waits for what comes of them.
#[derive(Clone, Debug)]
pub(super) struct Clerk(Sender<Call>);

/// Why a call failed, in words.
pub(super) type Failure = String;

impl Clerk {
    /// Starts the thread; fails if nobody answers there.
    pub(super) fn start(server: SocketAddr) -> Result<Clerk, Failure> {
        let (calls, queue) = channel::<Call>();
        let (told, ready) = sync_channel(1);
        let work = move || {
            let desk = match Desk::new(server) {
                Ok(desk) => desk,
                Err(failure) => return drop(told.send(Err(failure))),
            };
            let _ = told.send(desk.greet());
            for call in queue {
                call(&desk);
            }
        };
        thread::Builder::new().name("toxiproxy".into()).spawn(work).map_err(|error| error.to_string())?;
        ready.recv().map_err(|_| gone())??;
        Ok(Clerk(calls))
    }

    /// Has something asked of the server.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Desk) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = sync_channel(1);
        let call: Call = Box::new(move |desk| {
            // The client crate panics where its server is gone.
            let done = catch_unwind(AssertUnwindSafe(|| call(desk)));
            let _ = reply.send(done.unwrap_or_else(|_| Err(gone())));
        });
        self.0.send(call).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

fn gone() -> Failure {
    "the server does not answer".to_owned()
}

/// What the thread works with.
pub(super) struct Desk {
    client: Client,
    server: SocketAddr,
    runtime: Runtime,
}

impl Desk {
    fn new(server: SocketAddr) -> Result<Desk, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Desk { client: Client::new(server), server, runtime: runtime.map_err(|error| error.to_string())? })
    }

    /// Whether a Toxiproxy is there.
    fn greet(&self) -> Result<(), Failure> {
        if !self.client.is_running() {
            return Err(gone());
        }
        let said = self.client.version()?;
        if said.contains("version") { Ok(()) } else { Err(format!("it is no Toxiproxy: {said}")) }
    }

    /// A new proxy; where it listens.
    pub(super) fn create(&self, name: &str, listen: &str, upstream: &str) -> Result<String, Failure> {
        if self.client.find_proxy(name).is_ok() {
            return Err(format!("it has a proxy `{name}` already"));
        }
        self.client.populate(vec![ProxyPack::new(name.to_owned(), listen.to_owned(), upstream.to_owned())])?;
        let made = self.find(name)?.proxy_pack;
        if made.enabled && made.upstream == upstream {
            Ok(made.listen)
        } else {
            Err(format!("the proxy `{name}` is not as it was asked for"))
        }
    }

    /// Ends a proxy; one that is gone is no failure.
    pub(super) fn delete(&self, name: &str) -> Result<(), Failure> {
        let Ok(proxy) = self.find(name) else { return Ok(()) };
        proxy.delete()?;
        if self.find(name).is_ok() { Err(format!("the proxy `{name}` is still there")) } else { Ok(()) }
    }

    /// Opens or shuts a proxy.
    pub(super) fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), Failure> {
        let proxy = self.find(name)?;
        if enabled {
            proxy.enable()?
        } else {
            proxy.disable()?
        }
        if self.is_enabled(name)? == enabled {
            Ok(())
        } else {
            Err(format!("the proxy `{name}` is still {}", if enabled { "disabled" } else { "enabled" }))
        }
    }

    /// Whether a proxy is open.
    pub(super) fn is_enabled(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.find(name)?.proxy_pack.enabled)
    }

    /// Connections of a proxy go elsewhere; those that are open end.
    pub(super) fn set_upstream(&self, name: &str, upstream: &str) -> Result<(), Failure> {
        let body = serde_json::json!({"upstream": upstream});
        self.expect_ok(Method::POST, &format!("/proxies/{name}"), Some(&body))?;
        let now = self.find(name)?.proxy_pack.upstream;
        if now == upstream { Ok(()) } else { Err(format!("the proxy `{name}` still leads to {now}")) }
    }

    /// A toxic of a name of our own, which the client crate cannot give.
    pub(super) fn add_toxic(&self, proxy: &str, name: &str, toxic: &RemoteToxic) -> Result<(), Failure> {
        let body = serde_json::json!({
            "name": name,
            "type": toxic.kind,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": toxic.attributes,
        });
        self.expect_ok(Method::POST, &format!("/proxies/{proxy}/toxics"), Some(&body))?;
        if self.stands(proxy, name, toxic)? { Ok(()) } else { Err(format!("the toxic `{name}` was not taken over")) }
    }

    /// Whether a toxic stands just as it was set.
    pub(super) fn stands(&self, proxy: &str, name: &str, toxic: &RemoteToxic) -> Result<bool, Failure> {
        let standing = self.find(proxy)?.toxics()?;
        Ok(standing.iter().any(|one| {
            one.name == name
                && one.r#type == toxic.kind
                && one.stream == toxic.stream
                && (one.toxicity - toxic.toxicity).abs() < 1e-6
                && toxic.attributes.iter().all(|(key, value)| {
                    one.attributes.get(key).is_some_and(|own| Some(u64::from(*own)) == value.as_u64())
                })
        }))
    }

    /// Takes a toxic away; what it had met, where the server knows. One that is gone is no failure.
    pub(super) fn remove_toxic(&self, proxy: &str, name: &str) -> Result<Option<Value>, Failure> {
        let met = self.met(proxy, name)?;
        let path = format!("/proxies/{proxy}/toxics/{name}");
        let (status, answer) = self.send(Method::DELETE, &path, None)?;
        match status {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(met),
            other => Err(format!("DELETE {path}: {other}: {answer}")),
        }
    }

    /// What a toxic has met so far, where the server knows: brownout's own does.
    pub(super) fn met(&self, proxy: &str, name: &str) -> Result<Option<Value>, Failure> {
        let (status, answer) = self.send(Method::GET, &format!("/v1/proxies/{proxy}/faults/{name}"), None)?;
        Ok((status == StatusCode::OK).then(|| answer["met"].clone()))
    }

    /// The totals of a proxy, where the server tells them.
    pub(super) fn counters(&self, proxy: &str) -> Result<Option<Value>, Failure> {
        let (status, answer) = self.send(Method::GET, &format!("/v1/proxies/{proxy}"), None)?;
        Ok((status == StatusCode::OK).then(|| answer["counters"].clone()))
    }

    fn find(&self, name: &str) -> Result<Proxy, Failure> {
        self.client.find_proxy(name).map_err(|error| format!("the proxy `{name}` cannot be read: {error}"))
    }

    fn expect_ok(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, answer) = self.send(method.clone(), path, body)?;
        if status.is_success() { Ok(answer) } else { Err(format!("{method} {path}: {status}: {answer}")) }
    }

    /// One request on a connection of its own; a body that is no JSON is null.
    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.server.to_string())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let socket = TcpStream::connect(self.server).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
            let connection = tokio::spawn(connection);
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body =
                Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| error.to_string());
            connection.abort();
            Ok((status, serde_json::from_slice(&body?.to_bytes()).unwrap_or_default()))
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await }).unwrap_or_else(|_| Err(gone()))
    }
}
