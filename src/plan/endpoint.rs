//! An endpoint: something that already runs, at `host:port` or at a URL.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::host::Host;

/// Where an endpoint is, and how its users ask for it.
///
/// A link leads to the [`address`](Endpoint::address). A user who dials the link still asks for the endpoint by the
/// name that the experiment gives it: so a virtual host is found, and a certificate fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    written: String,
    tls: bool,
    host: Host,
    path: String,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// A user or a password stands before the host. The text must not be repeated.
    #[error("an address with credentials")]
    Credentials,
    /// It is written in another way.
    #[error("{0}")]
    Form(String),
}

impl Endpoint {
    /// What may be written.
    pub const EXPECTED: &str = "`host:port`, or a URL such as `http://127.0.0.1:8080/`";

    /// `host:port`: what links and probes dial. A name is resolved at each dial.
    pub fn address(&self) -> String {
        self.host.to_string()
    }

    /// Whether its users speak TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Its host with its port.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What an HTTP request names in its header `Host`: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let address = self.address();
        let usual = if self.tls { ":443" } else { ":80" };
        address.strip_suffix(usual).map(str::to_owned).unwrap_or(address)
    }

    /// The URL's query, if it has one.
    pub fn query(&self) -> Option<&str> {
        self.path.split_once('?').map(|(_, query)| query)
    }

    /// The path of a request below the endpoint's own: `/orders` of `http://host/shop/` is `/shop/orders`. No path is
    /// the endpoint's own one, with its query.
    pub fn path_of(&self, path: &str) -> String {
        if path.is_empty() {
            return self.path.clone();
        }
        let own = self.path.split_once('?').map_or(self.path.as_str(), |(own, _)| own);
        format!("{}{path}", own.trim_end_matches('/'))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let form = |expected: &str| Err(EndpointError::Form(expected.to_owned()));
        let (tls, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some(_) => return form("expected `http://` or `https://`; what speaks something else is at `host:port`"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(EndpointError::Credentials);
        }
        // A browser would mend these.
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return form("a space, a line break or a backslash is in it");
        }
        if authority.is_empty() {
            return form("it lacks a host");
        }
        let below = &rest[authority.len()..];
        if tls.is_none() && !below.is_empty() {
            return Err(EndpointError::Form(format!("expected `host:port` alone, or a URL: `http://{text}`")));
        }
        // The parser of URLs knows names in any script, addresses of both families, and what a port may be.
        let scheme = if tls == Some(true) { "https" } else { "http" };
        let url = match Url::parse(&format!("{scheme}://{authority}/")) {
            Ok(url) => url,
            Err(error) => return Err(EndpointError::Form(format!("{error}; expected {}", Endpoint::EXPECTED))),
        };
        let has_port = !authority.ends_with(']') && authority.contains(':') && !authority.ends_with(':');
        let port = url.port_or_known_default().filter(|port| *port > 0 && (has_port || tls.is_some()));
        let (Some(name), Some(port)) = (url.host_str(), port) else {
            return Err(EndpointError::Form(format!("expected {}", Endpoint::EXPECTED)));
        };
        let host = Host { name: name.trim_matches(['[', ']']).to_owned(), port };
        // A fragment is nothing that is ever sent.
        let path = below.split_once('#').map_or(below, |(path, _)| path);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Endpoint { written: text.to_owned(), tls: tls == Some(true), host, path })
    }
}

/// As written.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Endpoint, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_endpoint_has_an_address_to_dial_and_a_name_to_ask_for() {
        for (text, tls, address, authority, path) in [
            ("127.0.0.1:5432", false, "127.0.0.1:5432", "127.0.0.1:5432", "/"),
            ("localhost:80", false, "localhost:80", "localhost", "/"),
            ("[::1]:6379", false, "[::1]:6379", "[::1]:6379", "/"),
            ("my_service:8080", false, "my_service:8080", "my_service:8080", "/"),
            ("http://localhost", false, "localhost:80", "localhost", "/"),
            ("http://localhost:8080/", false, "localhost:8080", "localhost:8080", "/"),
            ("HTTPS://Shop.Example.com", true, "shop.example.com:443", "shop.example.com", "/"),
            ("https://shop.example.com:80/a", true, "shop.example.com:80", "shop.example.com:80", "/a"),
            ("https://shop.example.com:443", true, "shop.example.com:443", "shop.example.com", "/"),
            ("http://[::1]", false, "[::1]:80", "[::1]", "/"),
            ("https://[::1]:8443/x?y=z#there", true, "[::1]:8443", "[::1]:8443", "/x?y=z"),
            ("http://h?deep=1", false, "h:80", "h", "/?deep=1"),
            ("http://h/@user/{op}?at=a@b", false, "h:80", "h", "/@user/{op}?at=a@b"),
            ("http://b\u{fc}cher.example/", false, "xn--bcher-kva.example:80", "xn--bcher-kva.example", "/"),
        ] {
            let found = endpoint(text);
            assert_eq!((found.tls(), &*found.address(), &*found.authority()), (tls, address, authority), "{text}");
            assert_eq!(found.path_of(""), path, "{text}");
            let json = serde_json::to_string(&found).unwrap();
            assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), found, "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "localhost",
            ":80",
            "a:",
            "a:0",
            "a:99999",
            "a:http",
            "a b:80",
            "::1:80",
            "[::1]",
            "[::1:80",
            "h:80/path",
            "http://",
            "http:///path",
            "http://:80",
            "http://a:0",
            "http://a:99999/",
            "http://a b/",
            "http://a/b c",
            "http://a\\b",
            "http://a\n/",
            "ftp://a/",
            "http:a",
            "//a:80",
            "http://[::1",
            "http://exa%mple",
        ] {
            assert!(matches!(text.parse::<Endpoint>(), Err(EndpointError::Form(_))), "{text:?}");
        }
        for text in ["http://shop:secret@h/", "https://token@h", "shop:secret@h:80"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::Credentials), "{text}");
        }
    }

    #[test]
    fn a_request_s_path_is_below_the_url_s() {
        for (url, path, joined) in [
            ("http://h", "/orders", "/orders"),
            ("http://h/", "/", "/"),
            ("http://h/shop", "/orders?n=1", "/shop/orders?n=1"),
            ("http://h/shop/", "/orders", "/shop/orders"),
            ("http://h/shop", "/", "/shop/"),
            ("http://h/health?deep=1", "", "/health?deep=1"),
            ("h:80", "", "/"),
        ] {
            assert_eq!(endpoint(url).path_of(path), joined, "{url} {path}");
        }
    }
}
