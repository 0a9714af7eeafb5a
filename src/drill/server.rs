//! The status server: the page, its JSON, and what can be done by hand. On loopback only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Drill, DrillError, Hand, guard, page};
use crate::plan::Order;
use crate::system::SystemError;
use crate::system::lab::Refused;
use crate::system::lab::host::{Inside, Sockets};
use crate::system::lab::http::{serve, text};

/// What the page may do: run its own script and style, ask and post to its own server, and be in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Begins to listen on a port of loopback; 0: any free one.
    pub async fn bind(port: u16) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Server { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a drill until it is to stop; what has begun is finished.
    pub async fn serve(self, drill: Arc<Drill>, stopping: watch::Receiver<bool>) {
        let inside = Inside { stopping, sockets: Sockets::default() };
        serve(self.listener, inside, move |request| answer(Arc::clone(&drill), request)).await;
    }
}

async fn answer(drill: Arc<Drill>, request: Request<Bytes>) -> Response<Bytes> {
    if !guard::admits(request.headers()) {
        return text(StatusCode::FORBIDDEN, "ask from this machine, by its own name, and from no other site\n");
    }
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    match (request.method(), path.as_slice()) {
        (&Method::GET, [""]) => typed("text/html; charset=utf-8", page::render(&drill.status().await)),
        (&Method::GET, ["status.json"]) => json(StatusCode::OK, &drill.status().await),
        (&Method::POST, ["nodes", node, hand]) => match Hand::ALL.into_iter().find(|known| known.name() == *hand) {
            Some(hand) => {
                done(&request, drill.act(node, hand).await.map(|()| json!({ "node": node, "did": hand.name() })))
            }
            None => nothing(),
        },
        (_, [""] | ["status.json"] | ["nodes", _, _]) => not_so(),
        (method, path) => match Order::ALL.into_iter().find(|order| order.path() == path.join("/")) {
            Some(order) if method == Method::POST => ordered(&request, drill.order(order).await),
            Some(_) => not_so(),
            None => nothing(),
        },
    }
}

fn not_so() -> Response<Bytes> {
    text(StatusCode::METHOD_NOT_ALLOWED, "GET shows, POST does\n")
}

fn nothing() -> Response<Bytes> {
    text(
        StatusCode::NOT_FOUND,
        "nothing is here; GET / or /status.json, POST /nodes/NAME/kill, pause, stop, restart, cut or heal, POST /ORDER as the lab lists them\n",
    )
}

/// A form goes back to its page; a program gets JSON.
fn done(request: &Request<Bytes>, done: Result<serde_json::Value, DrillError>) -> Response<Bytes> {
    match done {
        Ok(_) if wants_page(request) => back(),
        Ok(done) => json(StatusCode::OK, &done),
        Err(error) => {
            let status = match error {
                DrillError::System(SystemError::UnknownNode { .. }) => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            json(status, &json!({ "error": error.to_string() }))
        }
    }
}

fn ordered(request: &Request<Bytes>, ordered: Result<String, Refused>) -> Response<Bytes> {
    match ordered {
        // A refusal stands on the page.
        _ if wants_page(request) => back(),
        Ok(said) => json(StatusCode::OK, &json!({ "said": said })),
        Err(Refused { why, left: None }) => json(StatusCode::CONFLICT, &json!({ "error": why })),
        Err(refused @ Refused { left: Some(left), .. }) => {
            let error = json!({ "error": refused.to_string(), "left_ms": left.as_millis() as u64 });
            let mut answer = json(StatusCode::TOO_MANY_REQUESTS, &error);
            answer.headers_mut().insert(
                RETRY_AFTER,
                left.as_secs_f64().ceil().max(1.0).to_string().parse().unwrap_or(HeaderValue::from_static("1")),
            );
            answer
        }
    }
}

fn wants_page(request: &Request<Bytes>) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn back() -> Response<Bytes> {
    let mut answer = text(StatusCode::SEE_OTHER, Bytes::new());
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    answer
}

fn json(status: StatusCode, shown: &impl serde::Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec_pretty(shown).expect("its keys are strings");
    let mut answer = typed("application/json", body);
    *answer.status_mut() = status;
    answer
}

fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = text(StatusCode::OK, body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}
