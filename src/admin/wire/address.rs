//! Where a proxy is to listen, as clients write it.

use std::net::{IpAddr, SocketAddr};

use crate::admin::refusal::Refusal;

/// A host and a port; neither need be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A name or an address; empty: the one that the API itself listens on.
    pub(crate) host: String,
    /// 0: any free one.
    pub(crate) port: u16,
}

impl Place {
    /// Reads `host:port`, `[v6]:port`, `:port` or nothing at all.
    pub(crate) fn parse(text: &str) -> Result<Place, Refusal> {
        let wrong = |why: &str| Err(Refusal::Listen(format!("address {text}: {why}")));
        if text.is_empty() {
            return Ok(Place { host: String::new(), port: 0 });
        }
        let Some((host, port)) = text.rsplit_once(':') else { return wrong("missing port in address") };
        let host = match host.strip_prefix('[') {
            Some(inner) => match inner.strip_suffix(']') {
                Some(inner) => inner,
                None => return wrong("missing ']' in address"),
            },
            None if host.contains(':') => return wrong("too many colons in address"),
            None => host,
        };
        let port = match port {
            "" => 0,
            digits => match digits.parse() {
                Ok(port) => port,
                Err(_) => return Err(Refusal::Listen(format!("address {digits}: invalid port"))),
            },
        };
        Ok(Place { host: host.to_owned(), port })
    }

    /// The numeric address, looked up if need be; of several the first of IPv4.
    pub(crate) async fn resolve(&self, default_host: IpAddr) -> Result<SocketAddr, Refusal> {
        if self.host.is_empty() {
            return Ok(SocketAddr::new(default_host, self.port));
        }
        if let Ok(host) = self.host.parse() {
            return Ok(SocketAddr::new(host, self.port));
        }
        let unknown = || Refusal::Listen(format!("lookup {}: no such host", self.host));
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|_| unknown())?;
        let found: Vec<SocketAddr> = found.collect();
        found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("127.0.0.1:80", "127.0.0.1", 80),
            ("localhost:3310", "localhost", 3310),
            ("[::1]:80", "::1", 80),
            (":80", "", 80),
            ("web:", "web", 0),
            ("", "", 0),
        ] {
            assert_eq!(Place::parse(text), Ok(Place { host: host.to_owned(), port }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_in_known_words() {
        for (text, says) in [
            ("bad", "address bad: missing port in address"),
            ("127.0.0.1:99999", "address 99999: invalid port"),
            ("127.0.0.1:-1", "address -1: invalid port"),
            ("::1:80", "address ::1:80: too many colons in address"),
            ("[::1:80", "address [::1:80: missing ']' in address"),
        ] {
            assert_eq!(Place::parse(text).unwrap_err().to_string(), says);
        }
    }

    #[tokio::test]
    async fn an_empty_host_is_the_one_of_the_api() {
        let place = Place::parse(":80").unwrap();
        assert_eq!(place.resolve(IpAddr::from([127, 0, 0, 1])).await, Ok("127.0.0.1:80".parse().unwrap()));
    }
}
