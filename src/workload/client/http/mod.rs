//! HTTP through reqwest and its own pool.
//!
//! No redirect is followed, no proxy of the environment is used, and nothing is sent twice unless the policy is
//! `native`. What cannot be switched off: hyper dials again, unseen, where an idle connection turns out to be dead
//! before anything was written to it.
//!
//! HTTP/1.1 alone, over TLS too: an HTTP/2 request names its host by the URL, which here must not have the port that a
//! virtual host may be told by.

mod classify;
pub(super) use classify::of_io;
mod connect;
mod origin;
mod template;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Body, Request, Response, Url};

use super::{Answer, Call, Client, Progress, retry_after};
use crate::clock::RunClock;
use crate::event::{Access, Applied, Outcome};
use crate::plan::retry::Schedule;
use crate::plan::system::{Secret, Value};
use crate::plan::workload::{HttpClient, OkWhen, Operation, Resolve};
use crate::system::dns;
use crate::workload::{ConnOf, LoadError, LoadSpec, Named};
use connect::{ByName, Ends, Resolver, WATCHED, Watch, WatchedAttempt};
use origin::Origin;
use template::Template;

/// One thread's HTTP client: a pool, and how operations look as requests.
pub struct Http {
    client: reqwest::Client,
    shape: Shape,
    clock: RunClock,
    wire: Wire,
    place_header: HeaderName,
    places: Places,
}

/// How an operation looks as a request.
enum Shape {
    /// As the experiment says.
    Request(Box<Custom>),
    /// `docs/http-interface.md`.
    Keyed { origin: Origin },
    /// A POST of so many bytes that must come back.
    Echo { url: Url, body: bytes::Bytes },
}

struct Custom {
    method: Method,
    /// Ready to send, where the path has no placeholder.
    url: Option<Url>,
    address: Template,
    headers: HeaderMap,
    /// Those with placeholders.
    templates: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    ok: OkWhen,
}

/// No body is kept beyond this; what is longer is read and thrown away.
const KEPT_BODY: usize = 1 << 20;

impl Http {
    /// A client of its own pool for one of `lanes` threads.
    pub fn new(
        settings: &HttpClient,
        spec: &LoadSpec,
        resolver: Option<&Arc<dns::Resolver>>,
        lanes: usize,
    ) -> Result<Http, LoadError> {
        let LoadSpec { plan, target, endpoint, named, clock, conn_of, permit, .. } = spec;
        let bad = |what: &str| LoadError::Target { target: target.clone(), why: what.to_owned() };
        if let Ok(address) = target.parse::<SocketAddr>()
            && !permit.allows(address)
        {
            return Err(bad("not permitted: only loopback is, unless the experiment and the command line allow more"));
        }
        let origin = Origin::new(target, endpoint.as_ref())?;
        let tls = match endpoint {
            Some(endpoint) if endpoint.tls() => tls::towards(endpoint, settings.ca.as_deref())?,
            _ => tls::unused(),
        };
        let connect_timeout = settings.connect_timeout.unwrap_or(plan.attempt_timeout).0;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(match settings.resolve {
                Resolve::EachAttempt => 0,
                _ => settings.pool_max_idle.div_ceil(lanes),
            })
            .pool_idle_timeout(settings.pool_idle_timeout.0)
            .tls_backend_preconfigured(tls)
            .connector_layer(Watch::new(*clock));
        builder = match resolver {
            Some(resolver) => builder.dns_resolver(ByName::new(resolver, permit)),
            None => builder.dns_resolver(Resolver::new(target, permit)),
        };
        if let Some(host) = &origin.host {
            // A request's own header `Host` goes first.
            builder = builder.default_headers(HeaderMap::from_iter([(http::header::HOST, host.clone())]));
        }
        if plan.retry.schedule != Schedule::Native {
            builder = builder.retry(reqwest::retry::never());
        }
        let client = builder.build().map_err(LoadError::Client)?;
        let (shape, place_header) = match &plan.operation {
            Operation::Request(request) => {
                let header = request.place_header.parse().map_err(|_| bad("`place_header` is no header name"))?;
                (Shape::Request(Box::new(Custom::new(request, &origin)?)), header)
            }
            Operation::Echo { size } => {
                let url = origin.url_below("/echo").parse().map_err(|_| bad("not a host with a port"))?;
                let body = (0..size.0).map(|at| b'a' + (at % 26) as u8).collect();
                (Shape::Echo { url, body }, PLACE)
            }
            Operation::Register(_) | Operation::Insert(_) | Operation::Append(_) => (Shape::Keyed { origin }, PLACE),
        };
        let (clock, wire) = (*clock, Wire { conn_of: Arc::clone(conn_of), named: named.clone() });
        Ok(Http { client, shape, clock, wire, place_header, places: Places::default() })
    }

    async fn exchange(&self, call: Call<'_>, progress: &Progress) -> Answer {
        let request = match self.request(&call) {
            Ok(request) => request,
            Err(why) => return Answer::new(Outcome::Error, Applied::No).because(why),
        };
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return classify::failed(&error, progress),
        };
        progress.first_byte(self.clock.now());
        let mut place = response.headers().get(&self.place_header).and_then(|place| self.places.of_header(place));
        if let Some(info) = response.extensions().get::<HttpInfo>() {
            self.wire.tell(Ends::of(info), progress);
            place = place.or_else(|| Some(self.places.of_address(info.remote_addr())));
        }
        let body = match self.read(&call, &mut response).await {
            Ok(body) => body,
            Err(error) => return Answer { place, ..classify::failed(&error, progress) },
        };
        Answer { place, ..self.judge(&call, &response, body) }
    }

    fn request(&self, call: &Call<'_>) -> Result<Request, String> {
        match &self.shape {
            Shape::Request(custom) => custom.request(call),
            Shape::Echo { url, body } => {
                let mut request = Request::new(Method::POST, url.clone());
                *request.body_mut() = Some(Body::from(body.clone()));
                Ok(request)
            }
            Shape::Keyed { origin } => {
                let key = call.job.key.as_deref().unwrap_or_default();
                let (method, folder) = match call.job.access {
                    Some(Access::Write) => (Method::PUT, "kv"),
                    Some(Access::Insert) => (Method::POST, "kv"),
                    Some(Access::Append) => (Method::POST, "list"),
                    Some(Access::Scan) => (Method::GET, "list"),
                    Some(Access::Read) | None => (Method::GET, "kv"),
                };
                let url = origin.url_below(&format!("/{folder}/{key}"));
                let url = url.parse().map_err(|_| "the key makes no path".to_owned())?;
                let mut request = Request::new(method, url);
                *request.body_mut() = call.value.clone().map(|value| Body::from(String::from(value)));
                Ok(request)
            }
        }
    }

    /// Reads the body to its end, so that the connection can be used again; keeps it where the answer is in it.
    async fn read(&self, call: &Call<'_>, response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
        let keep = match &self.shape {
            Shape::Request(custom) => custom.ok.body_contains.is_some(),
            Shape::Echo { .. } => true,
            Shape::Keyed { .. } => matches!(call.job.access, Some(Access::Read | Access::Scan)),
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if keep && body.len() + chunk.len() <= KEPT_BODY {
                body.extend_from_slice(&chunk);
            }
        }
        Ok(body)
    }

    /// What a whole answer means.
    fn judge(&self, call: &Call<'_>, response: &Response, body: Vec<u8>) -> Answer {
        let status = response.status();
        let not_ok = || self.not_ok(call, status, response.headers());
        let answer = match &self.shape {
            Shape::Request(custom) => {
                let code = status.as_u16();
                if !custom.ok.status.iter().any(|(low, high)| (*low..=*high).contains(&code)) {
                    not_ok()
                } else if custom.ok.body_contains.as_ref().is_none_or(|text| contains(&body, text.as_bytes())) {
                    Answer::ok()
                } else {
                    Answer::new(Outcome::Error, Applied::Unknown).because("the body lacks the expected text")
                }
            }
            Shape::Echo { body: sent, .. } => match status {
                StatusCode::OK if body == sent[..] => Answer::ok(),
                StatusCode::OK => Answer::new(Outcome::Protocol, Applied::Unknown).because("not what was sent"),
                _ => not_ok(),
            },
            Shape::Keyed { .. } => match (call.job.access, status) {
                (Some(Access::Write), StatusCode::OK) => {
                    let replaced = response.headers().get(REPLACED).and_then(|value| value.to_str().ok());
                    Answer { replaced: replaced.map(Box::from), ..Answer::ok() }
                }
                (Some(Access::Insert), StatusCode::OK | StatusCode::CREATED) => Answer::ok(),
                (Some(Access::Append), StatusCode::OK) => Answer::ok(),
                (Some(Access::Read), StatusCode::OK) => match String::from_utf8(body) {
                    Ok(value) => Answer { value: Some(value.into()), ..Answer::ok() },
                    Err(_) => Answer::new(Outcome::Protocol, Applied::Unknown).because("not UTF-8"),
                },
                (Some(Access::Scan), StatusCode::OK) => match String::from_utf8(body) {
                    Ok(list) => Answer { value: Some(joined(&list)), ..Answer::ok() },
                    Err(_) => Answer::new(Outcome::Protocol, Applied::Unknown).because("not UTF-8"),
                },
                // There is no value, or no list: an answer like any other.
                (Some(Access::Read | Access::Scan), StatusCode::NOT_FOUND) => Answer::ok(),
                _ => not_ok(),
            },
        };
        Answer { code: Some(status.as_u16()), ..answer }
    }

    /// An answer that is not the one wanted.
    fn not_ok(&self, call: &Call<'_>, status: StatusCode, headers: &HeaderMap) -> Answer {
        let not_primary = matches!(self.shape, Shape::Keyed { .. })
            && (status == StatusCode::MISDIRECTED_REQUEST
                || status == StatusCode::CONFLICT && call.job.access != Some(Access::Insert));
        let outcome = match status.as_u16() {
            429 => Outcome::Throttled,
            502..=504 => Outcome::Unavailable,
            408 => Outcome::Timeout,
            _ if not_primary => Outcome::Unavailable,
            _ => Outcome::Error,
        };
        // `docs/measurement.md`: 4xx is definite, but for 408.
        let definite = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
        let applied = if definite { Applied::No } else { Applied::Unknown };
        let retry_after = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        Answer {
            retry_after: retry_after.and_then(|value| retry_after::parse(value, jiff::Timestamp::now())),
            why: status.is_redirection().then_some("a redirect, which is not followed".into()),
            ..Answer::new(outcome, applied)
        }
    }
}

impl Client for Http {
    fn attempt<'a>(&'a self, call: Call<'a>, progress: Arc<Progress>) -> impl Future<Output = Answer> + Send + 'a {
        let attempt = Arc::new(WatchedAttempt { progress: Arc::clone(&progress), ends: OnceLock::new() });
        WATCHED.scope(Arc::clone(&attempt), async move {
            let _numbered = Numbered { attempt, wire: &self.wire };
            self.exchange(call, &progress).await
        })
    }
}

/// An attempt that ends without an answer, or is dropped, has the connection that was made for it. Its number is asked
/// for at the end: the proxy accepts some time after the client has connected.
struct Numbered<'a> {
    attempt: Arc<WatchedAttempt>,
    wire: &'a Wire,
}

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        if self.attempt.progress.conn().is_none()
            && let Some(ends) = self.attempt.ends.get()
        {
            self.wire.tell(*ends, &self.attempt.progress);
        }
    }
}

/// Which link a connection takes, and its number there.
struct Wire {
    conn_of: ConnOf,
    named: Option<Named>,
}

impl Wire {
    fn tell(&self, ends: Ends, progress: &Progress) {
        let Some(named) = &self.named else { return progress.on_connection((self.conn_of)(ends.local)) };
        if let Some(link) = named.links.iter().find(|link| link.address == ends.remote) {
            progress.on_link(&link.name);
            progress.on_connection((link.conn_of)(ends.local));
        }
    }
}

const PLACE: HeaderName = HeaderName::from_static("x-place");
const REPLACED: HeaderName = HeaderName::from_static("x-replaced");

impl Custom {
    fn new(plan: &crate::plan::workload::Request, origin: &Origin) -> Result<Custom, LoadError> {
        let bad = |what: String| LoadError::Request { what };
        let method =
            Method::from_bytes(plan.method.as_bytes()).map_err(|_| bad(format!("`{}` is no method", plan.method)))?;
        let address = Template::new(&origin.url(&plan.path));
        let url = match address.literal() {
            Some(text) => Some(text.parse().map_err(|_| bad(format!("`{}` is no path", plan.path)))?),
            None => None,
        };
        let (mut headers, mut templates) = (HeaderMap::new(), vec![]);
        for (name, value) in &plan.headers {
            let header: HeaderName = name.parse().map_err(|_| bad(format!("`{name}` is no header name")))?;
            let template = Template::new(&reveal(value)?);
            match template.literal() {
                Some(text) => {
                    let mut value = HeaderValue::from_str(text)
                        .map_err(|_| bad(format!("the value of `{name}` is no header value")))?;
                    value.set_sensitive(true);
                    headers.append(header, value);
                }
                None => templates.push((header, template)),
            }
        }
        let body = plan.body.as_deref().map(Template::new);
        Ok(Custom { method, url, address, headers, templates, body, ok: plan.ok.clone() })
    }

    fn request(&self, call: &Call<'_>) -> Result<Request, String> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.address.fill(call).parse().map_err(|_| "the path, filled in, is no path".to_owned())?,
        };
        let mut request = Request::new(self.method.clone(), url);
        if !self.headers.is_empty() {
            *request.headers_mut() = self.headers.clone();
        }
        for (name, template) in &self.templates {
            let value = HeaderValue::from_str(&template.fill(call))
                .map_err(|_| format!("the value of `{name}`, filled in, is no header value"))?;
            request.headers_mut().append(name.clone(), value);
        }
        *request.body_mut() = self.body.as_ref().map(|body| Body::from(body.fill(call)));
        Ok(request)
    }
}

/// The text of a value, read now if it is a secret.
fn reveal(value: &Value) -> Result<String, LoadError> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Secret(Secret::Env(name)) => std::env::var(name).map_err(|_| LoadError::Secret { name: name.clone() }),
        Value::Secret(Secret::File(path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)),
            Err(_) => Err(LoadError::Secret { name: path.clone() }),
        },
    }
}

/// Items one a line → joined by commas.
fn joined(list: &str) -> Box<str> {
    list.trim_end_matches('\n').replace('\n', ",").into()
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// Names of places, each held once however many attempts it serves.
#[derive(Default)]
struct Places {
    seen: Mutex<Vec<Arc<str>>>,
    addresses: Mutex<Vec<(SocketAddr, Arc<str>)>>,
}

impl Places {
    /// More names than this are not remembered: a system that invents them must not cost memory.
    const MOST: usize = 64;

    fn of_header(&self, value: &HeaderValue) -> Option<Arc<str>> {
        let name = value.to_str().ok().filter(|name| !name.is_empty())?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = seen.iter().find(|place| &***place == name) {
            return Some(Arc::clone(place));
        }
        let place: Arc<str> = name.into();
        if seen.len() < Places::MOST {
            seen.push(Arc::clone(&place));
        }
        Some(place)
    }

    fn of_address(&self, address: SocketAddr) -> Arc<str> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, place)) = addresses.iter().find(|(known, _)| *known == address) {
            return Arc::clone(place);
        }
        let place: Arc<str> = address.to_string().into();
        if addresses.len() < Places::MOST {
            addresses.push((address, Arc::clone(&place)));
        }
        place
    }
}

#[cfg(test)]
mod tests;
