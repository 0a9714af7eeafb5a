//! Which request is meant by a method and a path. Pure.

use http::Method;
use percent_encoding::percent_decode_str;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Proxies,
    Proxy(String),
    Toxics(String),
    Toxic(String, String),
    Populate,
    Reset,
    Version,
    Metrics,
    Events,
    OpenApi,
    ProxiesInFull,
    ProxyInFull(String),
    Faults(String),
    Fault(String, String),
    Connections(String),
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// It leads here.
    To(Route),
    /// It is written better like this.
    Better(String),
    /// It leads nowhere.
    Unknown,
}

/// Where a path leads. Names in it are percent-decoded; a slash in a name cannot be told from one between names.
pub(crate) fn find(path: &str) -> Path {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else { return Path::Unknown };
    let clean = cleaned(&decoded);
    if clean != decoded {
        let encoded = percent_encoding::utf8_percent_encode(&clean, PATH).to_string();
        return Path::Better(encoded);
    }
    let names: Vec<&str> = clean[1..].split('/').collect();
    let own = |name: &str| name.to_owned();
    if names.len() > 1 && names.iter().any(|name| name.is_empty()) {
        return Path::Unknown;
    }
    Path::To(match names[..] {
        ["proxies"] => Route::Proxies,
        ["proxies", proxy] => Route::Proxy(own(proxy)),
        ["proxies", proxy, "toxics"] => Route::Toxics(own(proxy)),
        ["proxies", proxy, "toxics", toxic] => Route::Toxic(own(proxy), own(toxic)),
        ["populate"] => Route::Populate,
        ["reset"] => Route::Reset,
        ["version"] => Route::Version,
        ["metrics"] => Route::Metrics,
        ["events"] => Route::Events,
        ["v1", "openapi.json"] => Route::OpenApi,
        ["v1", "proxies"] => Route::ProxiesInFull,
        ["v1", "proxies", proxy] => Route::ProxyInFull(own(proxy)),
        ["v1", "proxies", proxy, "faults"] => Route::Faults(own(proxy)),
        ["v1", "proxies", proxy, "faults", fault] => Route::Fault(own(proxy), own(fault)),
        ["v1", "proxies", proxy, "connections"] => Route::Connections(own(proxy)),
        _ => return Path::Unknown,
    })
}

/// What may stand in a path as it is.
const PATH: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

/// A path without empty and dot segments; a slash at its end stays.
fn cleaned(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut clean = format!("/{}", names.join("/"));
    if path.ends_with('/') && !names.is_empty() {
        clean.push('/');
    }
    clean
}

impl Route {
    /// Whether a method is known there.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        let known: &[Method] = match self {
            Route::Proxies | Route::Toxics(_) | Route::Faults(_) => &[Method::GET, Method::POST],
            Route::Proxy(_) | Route::Toxic(..) => &[Method::GET, Method::POST, Method::PATCH, Method::DELETE],
            Route::Populate | Route::Reset => &[Method::POST],
            Route::Version | Route::Events | Route::OpenApi | Route::ProxiesInFull | Route::Connections(_) => {
                &[Method::GET]
            }
            Route::ProxyInFull(_) => &[Method::GET, Method::PATCH],
            Route::Fault(..) => &[Method::GET, Method::PUT, Method::DELETE],
            Route::Metrics => return true,
        };
        known.contains(method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_should() {
        let (web, slow) = ("web".to_owned(), "slow one".to_owned());
        for (path, route) in [
            ("/proxies", Path::To(Route::Proxies)),
            ("/proxies/web", Path::To(Route::Proxy(web.clone()))),
            ("/proxies/web/toxics/slow%20one", Path::To(Route::Toxic(web.clone(), slow))),
            ("/v1/proxies/web/faults", Path::To(Route::Faults(web))),
            ("/proxies/", Path::Unknown),
            ("/proxies/a%2Fb", Path::Unknown),
            ("/proxies/%ff", Path::Unknown),
            ("/", Path::Unknown),
            ("*", Path::Better("/*".to_owned())),
            ("//proxies", Path::Better("/proxies".to_owned())),
            ("/proxies/../version", Path::Better("/version".to_owned())),
            ("/proxies/%2e%2e/a%20b/", Path::Better("/a%20b/".to_owned())),
        ] {
            assert_eq!(find(path), route, "{path}");
        }
    }

    #[test]
    fn head_is_not_get() {
        assert!(!Route::Proxies.takes(&Method::HEAD));
        assert!(Route::Metrics.takes(&Method::HEAD));
    }
}
