//! Heads of requests and answers: what of them decides where a message ends, and what a fault looks at.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Request, Response, Status};

use super::body::Body;

/// A head longer than this is not waited for.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;

/// More headers than this no client and no server sends.
const MOST_HEADERS: usize = 128;

/// What bytes are so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    /// A whole head, and its length.
    Head(T, usize),
    /// The beginning of one.
    Partial,
    /// No HTTP/1, or beyond all limits.
    Foreign,
}

impl<T> Parsed<T> {
    /// The same, with something else made of a head.
    pub(super) fn map<R>(self, make: impl FnOnce(T) -> R) -> Parsed<R> {
        match self {
            Parsed::Head(head, length) => Parsed::Head(make(head), length),
            Parsed::Partial => Parsed::Partial,
            Parsed::Foreign => Parsed::Foreign,
        }
    }
}

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) body: Body,
    /// The client waits for 100 before it sends the body.
    pub(super) expects_continue: bool,
    /// No further request follows on this connection.
    pub(super) closes: bool,
    /// The connection may cease to be HTTP with the answer.
    pub(super) may_switch: bool,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// The body, were this an answer to GET.
    pub(super) body: Body,
}

/// Reads the head of a request.
pub(super) fn request(bytes: &[u8]) -> Parsed<RequestHead<'_>> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut head = Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut head, bytes, &mut headers);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return partial(bytes),
        Err(_) => return Parsed::Foreign,
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Parsed::Foreign;
    };
    let Some(fields) = Fields::of(head.headers) else { return Parsed::Foreign };
    let body = match fields.framing {
        Framing::Chunked => Body::chunked(),
        Framing::Length(length) => Body::Length(length),
        Framing::None => Body::NONE,
        // Such a request has no end that anyone could find.
        Framing::Coded => return Parsed::Foreign,
    };
    let connect = method == "CONNECT";
    let head = RequestHead {
        method,
        path: path_of(target),
        body: if connect { Body::NONE } else { body },
        expects_continue: fields.expects_continue && version == 1,
        closes: fields.closes || (version == 0 && !fields.keeps_alive),
        may_switch: connect || fields.upgrades,
    };
    Parsed::Head(head, length)
}

/// Reads the head of an answer.
pub(super) fn response(bytes: &[u8]) -> Parsed<ResponseHead> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut head = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut headers);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return partial(bytes),
        Err(_) => return Parsed::Foreign,
    };
    let (Some(status), Some(fields)) = (head.code, Fields::of(head.headers)) else { return Parsed::Foreign };
    let body = match (status, fields.framing) {
        (100..=199 | 204 | 304, _) => Body::NONE,
        (_, Framing::Chunked) => Body::chunked(),
        (_, Framing::Length(length)) => Body::Length(length),
        (_, Framing::None | Framing::Coded) => Body::UntilClose,
    };
    Parsed::Head(ResponseHead { status, body }, length)
}

fn partial<T>(bytes: &[u8]) -> Parsed<T> {
    if bytes.len() > LONGEST_HEAD { Parsed::Foreign } else { Parsed::Partial }
}

/// The path of a request's target, which proxies get with a scheme and an authority before it.
fn path_of(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    }
}

/// How the headers say where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    /// A transfer coding that is not chunked at its end.
    Coded,
}

/// What the headers say, as far as it matters here.
struct Fields {
    framing: Framing,
    expects_continue: bool,
    closes: bool,
    keeps_alive: bool,
    upgrades: bool,
}

impl Fields {
    /// None where the lengths given contradict one another.
    fn of(headers: &[Header<'_>]) -> Option<Fields> {
        let (mut length, mut coded, mut chunked) = (None, false, false);
        let mut fields = Fields {
            framing: Framing::None,
            expects_continue: false,
            closes: false,
            keeps_alive: false,
            upgrades: false,
        };
        for Header { name, value } in headers {
            // Most names are told apart from those that matter by their length alone.
            match name.len() {
                7 if name.eq_ignore_ascii_case("upgrade") => fields.upgrades = true,
                6 if name.eq_ignore_ascii_case("expect") => fields.expects_continue = has(value, "100-continue"),
                10 if name.eq_ignore_ascii_case("connection") => {
                    fields.closes |= has(value, "close");
                    fields.keeps_alive |= has(value, "keep-alive");
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    for one in tokens(value) {
                        let one = number(one)?;
                        if length.is_some_and(|length| length != one) {
                            return None;
                        }
                        length = Some(one);
                    }
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    coded = true;
                    chunked = tokens(value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
                }
                _ => {}
            }
        }
        // A transfer coding outranks a length (RFC 9112, 6.3).
        fields.framing = match length {
            _ if chunked => Framing::Chunked,
            _ if coded => Framing::Coded,
            Some(length) => Framing::Length(length),
            None => Framing::None,
        };
        Some(fields)
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn has(value: &[u8], token: &str) -> bool {
    tokens(value).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}

fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(text: &str) -> Option<Body> {
        match request(text.as_bytes()) {
            Parsed::Head(head, length) if length == text.len() => Some(head.body),
            Parsed::Head(..) | Parsed::Partial | Parsed::Foreign => None,
        }
    }

    #[test]
    fn the_body_of_a_request_is_what_its_headers_say() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(Body::NONE)),
            ("POST / HTTP/1.1\r\ncontent-length: 12\r\n\r\n", Some(Body::Length(12))),
            ("POST / HTTP/1.1\r\nContent-Length: 12, 12\r\n\r\n", Some(Body::Length(12))),
            ("POST / HTTP/1.1\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nContent-Length: +12\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n", Some(Body::chunked())),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Body::chunked())),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", None),
            ("CONNECT a:1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n", Some(Body::NONE)),
        ];
        for (text, body) in cases {
            assert_eq!(body_of(text), body, "{text}");
        }
    }

    #[test]
    fn other_protocols_are_recognised_by_their_first_bytes() {
        let foreign: [&[u8]; 6] = [
            b"\x16\x03\x01\x02",
            b"*1\r\n$4\r\nPING\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"get key\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
        ];
        for bytes in foreign {
            assert_eq!(request(bytes), Parsed::Foreign, "{bytes:?}");
        }
        assert_eq!(request(b"GET /a HT"), Parsed::Partial);
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_announce() {
        for (text, body) in [
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Body::NONE),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Body::NONE),
            ("HTTP/1.1 100 Continue\r\n\r\n", Body::NONE),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Body::Length(5)),
            ("HTTP/1.0 200 OK\r\n\r\n", Body::UntilClose),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Body::chunked()),
        ] {
            let Parsed::Head(head, _) = response(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(head.body, body, "{text}");
        }
    }

    #[test]
    fn a_path_is_found_behind_an_authority() {
        for (target, path) in
            [("/a?b=http://c/", "/a?b=http://c/"), ("http://host:1/a", "/a"), ("http://host", "/"), ("*", "*")]
        {
            assert_eq!(path_of(target), path);
        }
    }
}
