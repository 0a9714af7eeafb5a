//! The one way out: from `host:port` to addresses that may be dialled.

use std::io;
use std::net::SocketAddr;

use crate::permit::Permit;
use crate::system::dns::LookupError;

/// Why a target cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the name does not resolve")]
    Resolve(#[source] io::Error),
    #[error(transparent)]
    Lookup(LookupError),
    #[error("the name has no address")]
    NoAddress,
    #[error("{0} is not permitted: only loopback is, unless the experiment and the command line allow more")]
    NotPermitted(SocketAddr),
}

/// The addresses of `host:port`, tested each time: a name may point elsewhere tomorrow.
pub(super) async fn resolve(target: &str, permit: &Permit) -> Result<Vec<SocketAddr>, DialError> {
    let addresses: Vec<SocketAddr> = match target.parse() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host(target).await.map_err(DialError::Resolve)?.collect(),
    };
    permitted(addresses, permit)
}

/// The same addresses, if all of them may be dialled.
pub(super) fn permitted(addresses: Vec<SocketAddr>, permit: &Permit) -> Result<Vec<SocketAddr>, DialError> {
    match addresses.iter().find(|address| !permit.allows(**address)) {
        Some(address) => Err(DialError::NotPermitted(*address)),
        None if addresses.is_empty() => Err(DialError::NoAddress),
        None => Ok(addresses),
    }
}
