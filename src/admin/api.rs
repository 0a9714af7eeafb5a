//! One request, from its head to its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep_until, timeout};

use super::answer::{self, Answer, REQUEST_ID};
use super::events;
use super::fault::WantedFault;
use super::guard::{self, Token, TurnedAway};
use super::metrics;
use super::news::{Change, News};
use super::openapi;
use super::proxies::Proxies;
use super::proxy::Proxy;
use super::refusal::Refusal;
use super::route::{Path, Route, find};
use super::wire::{ProxyChange, ToxicChange, WantedProxy, WantedToxic, read};
use crate::clock::wall_ns;
use crate::proxy::ConnectionInfo;

/// The release of Toxiproxy whose API this is, as `GET /version` says.
pub(crate) const COMPATIBLE_WITH: &str = "2.12.0";

/// The largest body that is read: some 100,000 proxies.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(15);

/// How long a request may take; what it would have changed is then unchanged.
const REQUEST_TIME: Duration = Duration::from_secs(25);

/// The API over a set of proxies.
#[derive(Debug)]
pub(crate) struct Api {
    proxies: Mutex<Proxies>,
    news: News,
    token: Option<Token>,
    metrics: metrics::Choice,
    ids: RequestIds,
    /// Rung when a lease may have come.
    leases: Notify,
}

impl Api {
    pub(crate) fn new(proxies: Proxies, news: News, token: Option<Token>, metrics: metrics::Choice) -> Api {
        Api { proxies: Mutex::new(proxies), news, token, metrics, ids: RequestIds::new(), leases: Notify::new() }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = match find(request.uri().path()) {
            Path::To(Route::Metrics) if !self.metrics.any() => return answer::no_route(),
            Path::To(route) => route,
            Path::Better(path) => return answer::moved(&path),
            Path::Unknown => return answer::no_route(),
        };
        if !route.takes(request.method()) {
            return answer::no_method();
        }
        let id = self.ids.next();
        let (head, body) = request.into_parts();
        let mut answer = match guard::check(&head.headers, self.token.as_ref()) {
            Err(TurnedAway::Browser) => answer::no_browsers(),
            Err(TurnedAway::OtherSite) => answer::no_other_sites(),
            Err(TurnedAway::Token) => answer::no_token(),
            Ok(()) => match whole(body).await {
                Err(refusal) => answer::refused(&refusal),
                Ok(body) => {
                    let done = timeout(REQUEST_TIME, self.perform(&route, &head.method, &body)).await;
                    match done {
                        Ok(done) => done.unwrap_or_else(|refusal| answer::refused(&refusal)),
                        Err(_) => answer::too_slow(),
                    }
                }
            },
        };
        tracing::debug!(method = %head.method, path = head.uri.path(), status = answer.status().as_u16(), id, "request");
        if let Ok(id) = id.parse() {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
        answer
    }

    /// Creates or replaces the proxies of a configuration file; says how many there are in it.
    pub(crate) async fn configure(&self, config: &[u8]) -> Result<usize, String> {
        let list = WantedProxy::parse_list(config).map_err(|refusal| refusal.to_string())?;
        let names: Vec<String> = list.iter().map(|wanted| wanted.name.clone()).collect();
        let (done, result) = self.proxies.lock().await.populate(list).await;
        result.map(|()| done.len()).map_err(|refusal| format!("proxy `{}`: {refusal}", names[done.len()]))
    }

    /// Heals what comes to the end of its lease, for ever.
    pub(crate) async fn keep_leases(self: Arc<Api>) {
        loop {
            let next = self.proxies.lock().await.expire(tokio::time::Instant::now());
            match next {
                Some(next) => tokio::select! {
                    () = sleep_until(next) => {}
                    () = self.leases.notified() => {}
                },
                None => self.leases.notified().await,
            }
        }
    }

    async fn perform(&self, route: &Route, method: &Method, body: &[u8]) -> Result<Answer, Refusal> {
        match route {
            Route::Version => {
                let version = format!("{{\"version\": \"{COMPATIBLE_WITH}\"}}\n");
                return Ok(answer::text("application/json;charset=utf-8", version));
            }
            Route::OpenApi => return Ok(answer::shown(&openapi::document())),
            Route::Events => return Ok(events::stream(&self.news)),
            _ => {}
        }
        let mut proxies = self.proxies.lock().await;
        let proxies = &mut *proxies;
        let get = method == Method::GET;
        Ok(match route {
            Route::Proxies if get => {
                let all = proxies.iter().map(|proxy| (proxy.name().to_owned(), proxy.shown()));
                answer::shown(&Value::Object(all.collect()))
            }
            Route::Proxies => {
                let wanted = WantedProxy::parse(body)?;
                answer::created(&proxies.create(wanted).await?.shown())
            }
            Route::Proxy(name) if get => answer::shown(&proxies.get(name)?.shown()),
            Route::Proxy(name) if method == Method::DELETE => {
                proxies.delete(name)?;
                answer::nothing()
            }
            Route::Proxy(name) => {
                proxies.get(name)?;
                let change = ProxyChange::parse(body)?;
                answer::shown(&proxies.update(name, change).await?.shown())
            }
            Route::Toxics(proxy) if get => answer::shown(&proxies.get(proxy)?.toxics()),
            Route::Toxics(proxy) => {
                let (proxy, site) = proxies.get_mut(proxy)?;
                let added = proxy.add_toxic(&WantedToxic::parse(body)?, site)?;
                self.leases.notify_one();
                answer::shown(&added)
            }
            Route::Toxic(proxy, toxic) if get => answer::shown(&proxies.get(proxy)?.toxic(toxic)?),
            Route::Toxic(proxy, toxic) if method == Method::DELETE => {
                let (proxy, site) = proxies.get_mut(proxy)?;
                proxy.remove_toxic(toxic, site)?;
                answer::nothing()
            }
            Route::Toxic(proxy, toxic) => {
                let (proxy, site) = proxies.get_mut(proxy)?;
                proxy.toxic(toxic)?;
                let updated = proxy.update_toxic(toxic, &ToxicChange::parse(body)?, site)?;
                self.leases.notify_one();
                answer::shown(&updated)
            }
            Route::Populate => self.populate(proxies, body).await,
            Route::Reset => {
                proxies.reset().await?;
                answer::nothing()
            }
            Route::Metrics => answer::text(metrics::CONTENT_TYPE, metrics::text(self.metrics, proxies.iter())),
            Route::ProxiesInFull => answer::shown(&proxies.iter().map(Proxy::shown_in_full).collect()),
            Route::ProxyInFull(name) if get => answer::shown(&proxies.get(name)?.shown_in_full()),
            Route::ProxyInFull(name) => {
                let (proxy, site) = proxies.get_mut(name)?;
                proxy.set_http(HttpChange::parse(body)?.http, site).await?;
                site.news.tell(Change::Updated, name, proxy.shown_in_full());
                answer::shown(&proxy.shown_in_full())
            }
            Route::Faults(proxy) if get => answer::shown(&proxies.get(proxy)?.faults()),
            Route::Faults(proxy) => {
                let (proxy, site) = proxies.get_mut(proxy)?;
                let added = proxy.add_fault(WantedFault::parse(body)?, site)?;
                self.leases.notify_one();
                answer::created(&added)
            }
            Route::Fault(proxy, fault) if get => answer::shown(&proxies.get(proxy)?.fault(fault)?),
            Route::Fault(proxy, fault) if method == Method::DELETE => {
                let (proxy, site) = proxies.get_mut(proxy)?;
                answer::shown(&proxy.remove_fault(fault, site)?)
            }
            Route::Fault(proxy, fault) => {
                let (proxy, site) = proxies.get_mut(proxy)?;
                proxy.fault(fault)?;
                let replaced = proxy.replace_fault(fault, WantedFault::parse(body)?, site)?;
                self.leases.notify_one();
                answer::shown(&replaced)
            }
            Route::Connections(proxy) => {
                let connections = proxies.get(proxy)?.connections();
                answer::shown(&connections.iter().map(shown_connection).collect())
            }
            Route::Version | Route::OpenApi | Route::Events => answer::no_route(),
        })
    }

    async fn populate(&self, proxies: &mut Proxies, body: &[u8]) -> Answer {
        let (done, result) = match WantedProxy::parse_list(body) {
            Ok(list) => proxies.populate(list).await,
            Err(refusal) => (Vec::new(), Err(refusal)),
        };
        let done: Vec<Value> = done.iter().filter_map(|name| proxies.get(name).ok()).map(Proxy::shown).collect();
        // An empty list is `null` in the reference, too.
        let done = if done.is_empty() { Value::Null } else { Value::Array(done) };
        match result {
            Ok(()) => answer::created(&json!({"proxies": done})),
            Err(refusal) => answer::refused_after(&done, &refusal),
        }
    }
}

/// The body that changes what only the versioned API knows of a proxy.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpChange {
    /// Whether the proxy reads HTTP/1, which faults on requests need. A change closes its connections.
    http: bool,
}

impl HttpChange {
    fn parse(body: &[u8]) -> Result<HttpChange, Refusal> {
        serde_json::from_value(read(body)?).map_err(|error| Refusal::Body(error.to_string()))
    }
}

fn shown_connection(connection: &ConnectionInfo) -> Value {
    json!({
        "number": connection.number,
        "peer": connection.peer.to_string(),
        "opened_ms": connection.opened.since_start().as_millis() as u64,
        "state": connection.state,
    })
}

/// The whole body, if it comes in time and is no monster.
async fn whole<B>(body: B) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(BODY_TIME, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Refusal::Body(error.to_string())),
        Err(_) => Err(Refusal::Body(format!("it did not arrive within {} s", BODY_TIME.as_secs()))),
    }
}

/// Makes names for requests: 20 characters, sortable by time.
#[derive(Debug)]
struct RequestIds {
    /// Tells two servers apart.
    server: u64,
    next: AtomicU32,
}

impl RequestIds {
    fn new() -> RequestIds {
        RequestIds { server: wall_ns().rotate_left(32) ^ u64::from(std::process::id()), next: AtomicU32::new(0) }
    }

    fn next(&self) -> String {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let seconds = u128::from(wall_ns() / 1_000_000_000) & 0xffff_ffff;
        let server = u128::from(self.server) & 0xff_ffff_ffff;
        let number = u128::from(self.next.fetch_add(1, Ordering::Relaxed)) & 0xff_ffff;
        // 96 bits, and four of padding behind them: 20 letters of five.
        let bits = (seconds << 64 | server << 24 | number) << 4;
        (0..20).rev().map(|place| char::from(LETTERS[(bits >> (place * 5)) as usize & 31])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_20_letters_and_never_the_same() {
        let ids = RequestIds::new();
        let (one, two) = (ids.next(), ids.next());
        assert!(one != two && one.len() == 20);
        assert!(one.chars().all(|letter| letter.is_ascii_digit() || ('a'..='v').contains(&letter)));
    }
}
