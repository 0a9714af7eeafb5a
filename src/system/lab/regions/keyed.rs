//! The small HTTP interface over pages: what a request asks, and what it changes before it is answered. Pure.
//!
//! A register `K` is the page `kv/K`; a list is the page `list/K`, an item a line.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::system::lab::http::text;

/// What is to be written before the answer is given.
pub(super) type Write = (String, String);

/// Answers a request from pages, with the write that must be on disk first.
pub(super) fn answer<'p>(
    request: &Request<Bytes>,
    page: impl Fn(&str) -> Option<&'p str>,
) -> (Option<Write>, Response<Bytes>) {
    let path = request.uri().path().trim_start_matches('/');
    let key = path.split_once('/').filter(|(_, key)| !key.is_empty());
    let is_text = std::str::from_utf8(request.body());
    match (request.method(), key, is_text) {
        (&Method::GET, None, _) if path == "health" => (None, text(StatusCode::OK, "well\n")),
        (&Method::POST, None, _) if path == "echo" => (None, text(StatusCode::OK, request.body().clone())),
        (&Method::GET, Some(("kv" | "list", _)), _) => match page(path) {
            Some(value) => (None, text(StatusCode::OK, value.to_owned())),
            None => (None, text(StatusCode::NOT_FOUND, Bytes::new())),
        },
        (&Method::PUT | &Method::POST, Some(("kv" | "list", _)), Err(_)) => {
            (None, text(StatusCode::BAD_REQUEST, "a value is UTF-8\n"))
        }
        (&Method::PUT, Some(("kv", _)), Ok(value)) => {
            let mut answer = text(StatusCode::OK, Bytes::new());
            if let Ok(replaced) = HeaderValue::from_str(page(path).unwrap_or_default()) {
                answer.headers_mut().insert("x-replaced", replaced);
            }
            (Some((path.to_owned(), value.to_owned())), answer)
        }
        (&Method::POST, Some(("kv", _)), Ok(value)) => match page(path) {
            None => (Some((path.to_owned(), value.to_owned())), text(StatusCode::CREATED, Bytes::new())),
            Some(there) if there == value => (None, text(StatusCode::OK, Bytes::new())),
            Some(_) => (None, text(StatusCode::CONFLICT, Bytes::new())),
        },
        (&Method::POST, Some(("list", _)), Ok(item)) if !item.contains('\n') => {
            let list = format!("{}{item}\n", page(path).unwrap_or_default());
            (Some((path.to_owned(), list)), text(StatusCode::OK, Bytes::new()))
        }
        (&Method::POST, Some(("list", _)), Ok(_)) => (None, text(StatusCode::BAD_REQUEST, "an item is one line\n")),
        _ => (None, text(StatusCode::NOT_FOUND, "no such path\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str, body: &'static str, there: Option<&str>) -> (Option<Write>, u16, String) {
        let request = Request::builder().method(method).uri(path).body(Bytes::from_static(body.as_bytes())).unwrap();
        let (write, answer) = answer(&request, |_| there);
        (write, answer.status().as_u16(), String::from_utf8(answer.body().to_vec()).unwrap())
    }

    fn write(page: &str, value: &str) -> Option<Write> {
        Some((page.to_owned(), value.to_owned()))
    }

    #[test]
    fn the_interface_is_the_documented_one() {
        for (method, path, body, there, expected) in [
            ("GET", "/kv/a", "", Some("1"), (None, 200, "1")),
            ("GET", "/kv/a", "", None, (None, 404, "")),
            ("PUT", "/kv/a", "2", Some("1"), (write("kv/a", "2"), 200, "")),
            ("POST", "/kv/a", "2", None, (write("kv/a", "2"), 201, "")),
            ("POST", "/kv/a", "2", Some("2"), (None, 200, "")),
            ("POST", "/kv/a", "2", Some("1"), (None, 409, "")),
            ("POST", "/list/a", "3", Some("1\n2\n"), (write("list/a", "1\n2\n3\n"), 200, "")),
            ("GET", "/list/a", "", Some("1\n2\n"), (None, 200, "1\n2\n")),
            ("POST", "/echo", "x", None, (None, 200, "x")),
            ("GET", "/health", "", None, (None, 200, "well\n")),
            ("GET", "/kv/", "", None, (None, 404, "no such path\n")),
            ("POST", "/list/a", "1\n2", None, (None, 400, "an item is one line\n")),
        ] {
            let (wanted, status, text) = expected;
            assert_eq!(ask(method, path, body, there), (wanted, status, text.to_owned()), "{method} {path}");
        }
    }
}
