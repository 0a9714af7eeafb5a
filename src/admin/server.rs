//! The API on a socket: thin.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::api::Api;
use super::guard::Token;
use super::metrics::Choice;
use super::news::News;
use super::proxies::{Proxies, Site};
use super::wire::Place;
use crate::clock::RunClock;
use crate::proxy::{Engine, ProxyError};
use crate::seed::Seed;

/// How long a connection may be idle, or take to send a request's head.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// How long accepting pauses after it failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server is to be.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where the API listens, `host:port`.
    pub listen: (String, u16),
    /// Where chance comes from.
    pub seed: Seed,
    /// Serve the metrics of proxies.
    pub proxy_metrics: bool,
    /// Serve the metrics of this process.
    pub runtime_metrics: bool,
    /// What requests must bring.
    pub token: Option<Token>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The API's address is in use, or not ours.
    #[error("the API cannot listen on {host}:{port}")]
    Listen {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] ProxyError),
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    api: Arc<Api>,
}

impl Server {
    /// Begins to listen; the API answers once it [serves](Server::serve).
    pub async fn bind(options: ServerOptions) -> Result<Server, ServerError> {
        let (host, port) = options.listen;
        let failed = |source| ServerError::Listen { host: host.clone(), port, source };
        // Of the addresses of `localhost` the one that clients try first.
        let place = Place { host: host.clone(), port };
        let address = place.resolve(Ipv4Addr::UNSPECIFIED.into()).await;
        let address = address.map_err(|refusal| failed(io::Error::other(refusal.to_string())))?;
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let news = News::new();
        let engine = Engine::start(0, RunClock::start())?;
        let site = Site { engine, seed: options.seed, default_host: addr.ip(), news: news.clone() };
        let metrics = Choice { proxies: options.proxy_metrics, runtime: options.runtime_metrics };
        let api = Arc::new(Api::new(Proxies::new(site), news, options.token, metrics));
        Ok(Server { listener, addr, api })
    }

    /// Where the API listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Creates the proxies of a configuration file; says how many, or which one cannot be and why.
    pub async fn configure(&self, config: &[u8]) -> Result<usize, String> {
        self.api.configure(config).await
    }

    /// Answers requests for ever.
    pub async fn serve(self) -> Infallible {
        tokio::spawn(Arc::clone(&self.api).keep_leases());
        loop {
            match self.listener.accept().await {
                Ok((socket, _)) => {
                    tokio::spawn(connection(socket, Arc::clone(&self.api)));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept; trying again soon");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(socket: TcpStream, api: Arc<Api>) {
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIME)
        .serve_connection(TokioIo::new(socket), service);
    // A connection that fails concerns nobody but its client.
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a connection of the API has failed");
    }
}
