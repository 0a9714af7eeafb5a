//! Who may see and steer a drill: whoever sits at this machine, and no page of another site.

use http::HeaderMap;
use http::header::HOST;

use crate::admin::from_other_site;

/// Whether a request may pass: it asks for loopback by one of its own names, so that a name of somebody else's that
/// leads here is of no use, and no page of another site is behind it.
pub(super) fn admits(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") && !from_other_site(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_its_own_and_no_names_of_others_get_through() {
        let own = ("host", "127.0.0.1:8475");
        for (lines, passes) in [
            (&[own][..], true),
            (&[("host", "localhost:8475"), ("user-agent", "Mozilla/5.0 (X11)")], true),
            (&[own, ("origin", "http://127.0.0.1:8475"), ("sec-fetch-site", "same-origin")], true),
            (&[own, ("origin", "http://evil.example")], false),
            (&[own, ("origin", "null")], false),
            (&[own, ("origin", "http://127.0.0.1:9999")], false),
            (&[own, ("sec-fetch-site", "cross-site")], false),
            // A name of somebody else's that was made to lead here: the page's origin is its own then.
            (&[("host", "evil.example:8475"), ("origin", "http://evil.example:8475")], false),
            (&[("host", "127.0.0.1.evil.example:8475")], false),
            (&[], false),
        ] {
            let headers = lines.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(admits(&headers), passes, "{lines:?}");
        }
    }
}
