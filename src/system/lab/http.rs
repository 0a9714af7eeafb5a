//! HTTP/1 between a lab's nodes and towards its clients: a thin server and a thin client, whole bodies only.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::host::{Inside, Sockets};

/// The largest body that is read. A snapshot of a node's store is the largest that is sent.
const BODY_LIMIT: usize = 256 * 1024 * 1024;

/// So many idle connections are kept to one server.
const IDLE_LIMIT: usize = 256;

/// A request or an answer failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection ended, or what came is no HTTP.
    #[error("the connection failed")]
    Protocol(#[from] hyper::Error),
    /// The body did not arrive, or is too large.
    #[error("the body failed: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// Serves until the node is stopped; every request in its own task's connection, one at a time each.
pub async fn serve<H, F>(listener: TcpListener, mut inside: Inside, handler: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let sockets = inside.sockets.clone();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let socket = tokio::select! {
            socket = sockets.accept(&listener) => socket,
            () = inside.stopped() => break,
        };
        // Out of descriptors, most likely: others will be closed; never spin on it.
        let Ok(socket) = socket else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        connections.spawn(connection(socket, inside.clone(), handler.clone()));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<H, F>(socket: super::host::Socket, mut inside: Inside, handler: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let answer = match whole(body).await {
                Ok(body) => handler(Request::from_parts(head, body)).await,
                Err(_) => text(StatusCode::BAD_REQUEST, "the body did not arrive whole"),
            };
            Ok::<_, std::convert::Infallible>(answer.map(Full::new))
        }
    });
    let mut serving = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    // A connection that fails concerns nobody but its client.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = inside.stopped() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

async fn whole(body: Incoming) -> Result<Bytes, HttpError> {
    Ok(Limited::new(body, BODY_LIMIT).collect().await.map_err(HttpError::Body)?.to_bytes())
}

/// An answer of a line of text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    answer
}

/// An answer that the server cannot do what it is asked, now; nobody knows what came of it.
pub fn unavailable(why: impl fmt::Display) -> Response<Bytes> {
    text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}

/// Marks the answer to a request that a connection was made for.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection;

/// A client of one server, with the connections that are idle. Dropping an open request closes its connection.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    sockets: Sockets,
    idle: Mutex<VecDeque<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// A client without a connection yet.
    pub fn new(address: SocketAddr, sockets: Sockets) -> Client {
        Client { address, sockets, idle: Mutex::default() }
    }

    /// Sends one request and waits for the whole answer.
    ///
    /// A request that an idle connection did not take, because it had been closed meanwhile, goes to another: it was
    /// never sent. Any other failure is the caller's to judge. An answer over a new connection is a [`NewConnection`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = request.map(Full::new);
        if !request.headers().contains_key(http::header::HOST)
            && let Ok(host) = http::HeaderValue::from_str(&self.address.to_string())
        {
            request.headers_mut().insert(http::header::HOST, host);
        }
        loop {
            let (mut connection, was_idle) = match self.take_idle() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let (mut head, body) = answer.into_parts();
                    let body = whole(body).await?;
                    if !was_idle {
                        head.extensions.insert(NewConnection);
                    }
                    // Settles at once: the answer is whole, and the connection's task has only to notice.
                    if connection.ready().await.is_ok() {
                        self.give_back(connection);
                    }
                    return Ok(Response::from_parts(head, body));
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if was_idle => request = unsent,
                    _ => return Err(failed.into_error().into()),
                },
            }
        }
    }

    /// Closes idle connections: the next request makes a new one.
    pub fn forget_idle(&self) {
        self.idle().clear();
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let connect = |source| HttpError::Connect { address: self.address, source };
        let socket = self.sockets.connect(self.address).await.map_err(connect)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle();
        while let Some(connection) = idle.pop_back() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle();
        idle.push_back(connection);
        if idle.len() > IDLE_LIMIT {
            idle.pop_front();
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
