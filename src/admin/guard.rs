//! Who may use the API: no browser, no page of another site, and with a token set only who has it.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN, USER_AGENT};

/// A bearer token that requests must bring.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A token; none if it is empty.
    pub fn new(token: &str) -> Option<Token> {
        let token = token.trim();
        (!token.is_empty()).then(|| Token(token.to_owned()))
    }

    /// Whether a request brings it. It takes the same time wherever the first difference is.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let (given, own) = (given.unwrap_or_default().as_bytes(), self.0.as_bytes());
        let differ = given.iter().zip(own).fold(0, |differ, (a, b)| differ | (a ^ b));
        given.len() == own.len() && differ == 0
    }
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// A browser says that it is one.
    Browser,
    /// A page of another site is behind it.
    OtherSite,
    /// The token is missing, or another.
    Token,
}

/// Whether a request may pass.
pub(crate) fn check(headers: &HeaderMap, token: Option<&Token>) -> Result<(), TurnedAway> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    if text(USER_AGENT).is_some_and(|agent| agent.starts_with("Mozilla/")) {
        return Err(TurnedAway::Browser);
    }
    if from_other_site(headers) {
        return Err(TurnedAway::OtherSite);
    }
    if token.is_some_and(|token| !token.is_in(headers)) {
        return Err(TurnedAway::Token);
    }
    Ok(())
}

/// Whether a page of another site is behind a request. Scripts of a page can set another agent, but neither of these.
pub(crate) fn from_other_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let own_origin = |origin: &str| text(HOST).is_some_and(|host| origin == format!("http://{host}"));
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
        || headers.contains_key(ORIGIN) && !text(ORIGIN).is_some_and(own_origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(lines: &[(&'static str, &'static str)], token: Option<&str>) -> Result<(), TurnedAway> {
        let headers = lines.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check(&headers, token.and_then(Token::new).as_ref())
    }

    #[test]
    fn browsers_and_pages_of_other_sites_are_turned_away() {
        for (lines, result) in [
            (&[][..], Ok(())),
            (&[("user-agent", "curl/8.1 Mozilla/5.0")], Ok(())),
            (&[("user-agent", "Mozilla/5.0 (X11)")], Err(TurnedAway::Browser)),
            (&[("sec-fetch-site", "cross-site")], Err(TurnedAway::OtherSite)),
            (&[("sec-fetch-site", "same-site")], Err(TurnedAway::OtherSite)),
            (&[("sec-fetch-site", "same-origin")], Ok(())),
            (&[("origin", "http://evil.example"), ("host", "localhost:8474")], Err(TurnedAway::OtherSite)),
            (&[("origin", "null"), ("host", "localhost:8474")], Err(TurnedAway::OtherSite)),
            (&[("origin", "http://localhost:8474"), ("host", "localhost:8474")], Ok(())),
        ] {
            assert_eq!(checked(lines, None), result, "{lines:?}");
        }
    }

    #[test]
    fn a_token_must_be_brought_where_one_is_set() {
        for (lines, result) in [
            (&[][..], Err(TurnedAway::Token)),
            (&[("authorization", "Bearer secret")], Ok(())),
            (&[("authorization", "bearer secret ")], Ok(())),
            (&[("authorization", "Bearer secre")], Err(TurnedAway::Token)),
            (&[("authorization", "Bearer secret2")], Err(TurnedAway::Token)),
            (&[("authorization", "Basic secret")], Err(TurnedAway::Token)),
        ] {
            assert_eq!(checked(lines, Some("secret\n")), result, "{lines:?}");
        }
        assert_eq!(checked(&[], Some(" ")), Ok(()), "an empty token is none");
    }
}
