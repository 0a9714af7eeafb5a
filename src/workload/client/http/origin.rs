//! Whom a request is for, and where it goes: the endpoint's name is in it, the link's address under it.

use http::HeaderValue;
use reqwest::Url;

use super::tls;
use crate::plan::Endpoint;
use crate::workload::LoadError;

/// What stands before the path of every request.
pub(super) struct Origin {
    /// Scheme and host, as hyper is to dial them.
    base: String,
    /// The path that everything is below, without a slash at its end.
    below: String,
    /// The header `Host`; none: as in the URL.
    pub(super) host: Option<HeaderValue>,
}

impl Origin {
    /// Of the endpoint behind the link at `target` (`host:port`), or of `target` itself.
    pub(super) fn new(target: &str, endpoint: Option<&Endpoint>) -> Result<Origin, LoadError> {
        let origin = match endpoint {
            None => Origin { base: format!("http://{target}"), below: String::new(), host: None },
            Some(endpoint) => {
                let scheme = if endpoint.tls() { "https" } else { "http" };
                // hyper dials an address as the URL has it. A name it gives to the resolver, which answers with the
                // target; the port of an answer stays as it is only where the URL has none.
                let dialled = if tls::ip(endpoint).is_some() { target } else { &endpoint.host().name };
                Origin {
                    base: format!("{scheme}://{dialled}"),
                    below: endpoint.path_of("/").trim_end_matches('/').to_owned(),
                    host: HeaderValue::try_from(endpoint.authority()).ok(),
                }
            }
        };
        match Url::parse(&origin.base) {
            Ok(url) if url.has_host() => Ok(origin),
            _ => Err(LoadError::Target { target: target.to_owned(), why: "not a host with a port".to_owned() }),
        }
    }

    /// The URL of a whole path, with its query.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The URL of a path below the endpoint's own.
    pub(super) fn url_below(&self, path: &str) -> String {
        format!("{}{}{path}", self.base, self.below)
    }
}
