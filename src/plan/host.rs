//! Where an address leads: an endpoint's, or `http://host[:port]/…` of a request.

use std::fmt;
use std::net::IpAddr;

use crate::permit;

/// A host with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, or an IP address without brackets.
    pub name: String,
    /// From 1.
    pub port: u16,
}

impl Host {
    /// Of an address for requests; none if it is no `http://` address, or holds credentials.
    pub fn of_url(url: &str) -> Option<Host> {
        // The client's own parser, so that what was checked is what is dialled.
        let url = reqwest::Url::parse(url).ok()?;
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        let name = url.host_str().filter(|_| plain)?.trim_matches(['[', ']']).to_owned();
        Some(Host { name, port: url.port_or_known_default().filter(|port| *port > 0)? })
    }

    /// Whether it is this machine alone; whatever a name resolves to is tested again when it is dialled.
    pub fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(permit::is_loopback)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(host: Option<Host>) -> Option<String> {
        host.map(|host| host.to_string())
    }

    #[test]
    fn a_request_leads_where_its_client_would_go() {
        for (url, host) in [
            ("http://db.example.com:8080/failover?now", "db.example.com:8080"),
            ("http://DB.example.com", "db.example.com:80"),
            ("http://[::1]/x", "[::1]:80"),
            ("http://127.0.0.1:8080?x=http://example.com/", "127.0.0.1:8080"),
            // The client takes a backslash for a slash.
            ("http://127.0.0.1\\@example.com/", "127.0.0.1:80"),
        ] {
            assert_eq!(shown(Host::of_url(url)).as_deref(), Some(host), "{url}");
        }
        for url in
            ["https://h/", "http://user@h/", "http://:secret@h/", "http://", "h:80", "http://h:0/", "http://a b/"]
        {
            assert_eq!(Host::of_url(url), None, "{url}");
        }
    }

    #[test]
    fn loopback_is_known_without_asking_anybody() {
        let host = |name: &str| Host { name: name.to_owned(), port: 80 };
        assert!(host("::ffff:127.0.0.1").is_loopback() && host("localhost").is_loopback());
        assert!(!host("192.0.2.1").is_loopback() && !host("db.example.com").is_loopback());
    }
}
