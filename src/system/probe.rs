//! The probe at the service: asks a node directly, over no link, whether it is well.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::plan::Endpoint;
use crate::plan::system::Probe;

/// Why a node is not well.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// No HTTP answer.
    #[error("no HTTP answer: {0}")]
    Http(hyper::Error),
    /// The path or address does not make a request.
    #[error("`{0}` makes no request")]
    Request(String),
    /// Neither 2xx nor 3xx.
    #[error("answered {0}")]
    Status(StatusCode),
}

/// Asks `address` (`host:port`) once; in HTTP by the name that it has itself.
pub async fn ask(address: &str, probe: &Probe, within: Duration) -> Result<(), ProbeError> {
    timeout(within, attempt(address, address, probe)).await.unwrap_or(Err(ProbeError::Timeout(within)))
}

/// Asks an endpoint once: in HTTP by the name and below the path of its URL.
pub async fn ask_endpoint(endpoint: &Endpoint, probe: &Probe, within: Duration) -> Result<(), ProbeError> {
    let probe = match probe {
        Probe::Http(path) => &Probe::Http(endpoint.path_of(path)),
        Probe::Tcp => &Probe::Tcp,
    };
    let (address, host) = (endpoint.address(), endpoint.authority());
    timeout(within, attempt(&address, &host, probe)).await.unwrap_or(Err(ProbeError::Timeout(within)))
}

async fn attempt(address: &str, host: &str, probe: &Probe) -> Result<(), ProbeError> {
    let stream = TcpStream::connect(address).await.map_err(ProbeError::Connect)?;
    let Probe::Http(path) = probe else { return Ok(()) };
    let request = Request::get(path)
        .header("host", host)
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeError::Request(path.clone()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ProbeError::Http)?;
    let answer = async {
        let answer = sender.send_request(request).await;
        drop(sender);
        answer
    };
    // The connection is driven beside the request, and dropped with it: nothing is left behind.
    let status = tokio::select! {
        biased;
        answer = answer => answer.map_err(ProbeError::Http)?.status(),
        failed = async { match connection.await { Err(error) => error, Ok(()) => std::future::pending().await } } => {
            return Err(ProbeError::Http(failed));
        }
    };
    let well = status.is_success() || status.is_redirection();
    if well { Ok(()) } else { Err(ProbeError::Status(status)) }
}
