//! Answers of the API. HTTP status codes appear here and nowhere else.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::wire;

/// What a connection sends back.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Names a request in answers and logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-toxiproxy-request-id");

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Done; this is what there is now.
pub(crate) fn shown(value: &Value) -> Answer {
    whole(StatusCode::OK, JSON, wire::written(value))
}

/// Done; this is what was made.
pub(crate) fn created(value: &Value) -> Answer {
    whole(StatusCode::CREATED, JSON, wire::written(value))
}

/// Done, and there is nothing to show.
pub(crate) fn nothing() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

/// Text that is no JSON, of a type of its own.
pub(crate) fn text(kind: &str, text: impl Into<Bytes>) -> Answer {
    whole(StatusCode::OK, kind, text)
}

/// Not done.
pub(crate) fn refused(refusal: &Refusal) -> Answer {
    let status = status(refusal);
    let body = json!({"error": refusal.to_string(), "status": status.as_u16()});
    whole(status, JSON, wire::written(&body) + "\n")
}

/// A list was done in part: these are there, and then something was refused.
pub(crate) fn refused_after(done: &Value, refusal: &Refusal) -> Answer {
    let status = status(refusal);
    let body = json!({"error": refusal.to_string(), "status": status.as_u16(), "proxies": done});
    whole(status, JSON, wire::written(&body))
}

/// There is nothing at this path.
pub(crate) fn no_route() -> Answer {
    whole(StatusCode::NOT_FOUND, TEXT, "404 page not found\n")
}

/// There is something at this path, but not for this method.
pub(crate) fn no_method() -> Answer {
    empty(StatusCode::METHOD_NOT_ALLOWED)
}

/// The same, at a cleaner path.
pub(crate) fn moved(path: &str) -> Answer {
    let mut answer = empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::from_str(path) {
        answer.headers_mut().insert(http::header::LOCATION, location);
    }
    answer
}

/// A browser has asked, for whatever page.
pub(crate) fn no_browsers() -> Answer {
    whole(StatusCode::FORBIDDEN, TEXT, "User agent not allowed\n")
}

/// A page of another site has asked.
pub(crate) fn no_other_sites() -> Answer {
    whole(StatusCode::FORBIDDEN, TEXT, "Cross-site request not allowed\n")
}

/// The token is missing, or another.
pub(crate) fn no_token() -> Answer {
    let body = json!({"error": "missing or wrong bearer token", "status": 401});
    let mut answer = whole(StatusCode::UNAUTHORIZED, JSON, wire::written(&body) + "\n");
    answer.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// It has taken too long.
pub(crate) fn too_slow() -> Answer {
    empty(StatusCode::SERVICE_UNAVAILABLE)
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Body(_) | Refusal::Missing(_) | Refusal::MissingAt { .. } | Refusal::Stream | Refusal::ToxicType => {
            StatusCode::BAD_REQUEST
        }
        Refusal::NoProxy | Refusal::NoToxic | Refusal::NoFault => StatusCode::NOT_FOUND,
        Refusal::ProxyExists | Refusal::ToxicExists | Refusal::NotHttp => StatusCode::CONFLICT,
        Refusal::Listen(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn whole(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    if let Ok(kind) = HeaderValue::from_str(kind) {
        answer.headers_mut().insert(CONTENT_TYPE, kind);
    }
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default().boxed_unsync());
    *answer.status_mut() = status;
    answer
}
