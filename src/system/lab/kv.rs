//! What clients ask of a key-value node (`docs/http-interface.md`), the same for every lab.
//!
//! What a request asks ([`parse`]) and what comes of it ([`Asked::on`]) is pure. Where an answer must wait for others, who
//! answers is a [`Keeper`]: it says whether a request is let in, and when what was done may be told.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;

use super::http::text;
use super::store::{Change, Store};

/// The header that says who served a request: `node#incarnation`.
pub const PLACE: &str = "x-place";
/// The header that says which value a write replaced; empty if there was none.
pub const REPLACED: &str = "x-replaced";

/// A write or read that cannot be confirmed for so long is answered with 503; its effect is unknown then.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// Whether a write or read may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// It may.
    Confirmed,
    /// Not yet.
    Waiting,
    /// Never by this node: its time as what it was ended, and the effect is unknown.
    Replaced,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether this node is well.
    Health,
    /// To say the same.
    Echo(Bytes),
    /// A register's value.
    Read {
        /// Which.
        key: String,
    },
    /// To set a register.
    Put {
        /// Which.
        key: String,
        /// To what.
        value: String,
    },
    /// To set a register that is not there yet.
    Insert {
        /// Which.
        key: String,
        /// To what.
        value: String,
    },
    /// A list's items.
    Scan {
        /// Which.
        key: String,
    },
    /// To add to a list.
    Push {
        /// Which.
        key: String,
        /// What.
        item: String,
    },
}

/// An answer that needs no data: to what is no request, or is not let in.
pub type Refused = Box<Response<Bytes>>;

/// What a request asks, or the answer to one that asks nothing.
pub fn parse(method: &Method, path: &str, body: &Bytes) -> Result<Asked, Refused> {
    let refuse = |status, why: &'static str| Box::new(text(status, why));
    let value = || match std::str::from_utf8(body) {
        Ok(value) => Ok(value.to_owned()),
        Err(_) => Err(refuse(StatusCode::BAD_REQUEST, "a value is UTF-8\n")),
    };
    let mut parts = path.strip_prefix('/').unwrap_or(path).splitn(2, '/');
    let (kind, key) = (parts.next().unwrap_or_default(), parts.next().map(str::to_owned));
    Ok(match (kind, key, method.as_str()) {
        ("health", None, "GET") => Asked::Health,
        ("echo", None, "POST") => Asked::Echo(body.clone()),
        ("kv" | "list", Some(key), _) if key.is_empty() => return Err(refuse(StatusCode::NOT_FOUND, "no such path\n")),
        ("kv", Some(key), "GET") => Asked::Read { key },
        ("kv", Some(key), "PUT") => Asked::Put { key, value: value()? },
        ("kv", Some(key), "POST") => Asked::Insert { key, value: value()? },
        ("list", Some(key), "GET") => Asked::Scan { key },
        ("list", Some(key), "POST") => match value()? {
            item if item.contains('\n') => return Err(refuse(StatusCode::BAD_REQUEST, "an item is one line\n")),
            item => Asked::Push { key, item },
        },
        ("health" | "echo", None, _) | ("kv" | "list", Some(_), _) => {
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "no such method here\n"));
        }
        _ => return Err(refuse(StatusCode::NOT_FOUND, "no such path\n")),
    })
}

/// Data as a request finds it, each with the number of the entry that it rests on.
pub trait View {
    /// The value of a register.
    fn value(&self, key: &str) -> Option<(&str, u64)>;

    /// The items of a list, each a line.
    fn lines(&self, key: &str) -> Option<(String, u64)>;
}

impl View for Store {
    fn value(&self, key: &str) -> Option<(&str, u64)> {
        self.register(key).map(|at| (at.value.as_str(), at.index))
    }

    fn lines(&self, key: &str) -> Option<(String, u64)> {
        self.list(key).map(|at| (at.value.iter().flat_map(|item| [item, "\n"]).collect(), at.index))
    }
}

/// What a request comes to, once it is let in.
#[derive(Debug)]
pub struct Step {
    /// The change that it makes.
    pub change: Option<Change>,
    /// The entry that its answer rests on, if it makes none.
    pub rests_on: u64,
    /// Its answer.
    pub answer: Response<Bytes>,
}

impl Step {
    fn changes(change: Change, answer: Response<Bytes>) -> Step {
        Step { change: Some(change), rests_on: 0, answer }
    }

    fn finds(rests_on: u64, answer: Response<Bytes>) -> Step {
        Step { change: None, rests_on, answer }
    }
}

impl Asked {
    /// What comes of it on this data.
    pub fn on(self, data: &impl View) -> Step {
        let missing = || Step::finds(0, text(StatusCode::NOT_FOUND, Bytes::new()));
        let bare = |status| text(status, Bytes::new());
        match self {
            Asked::Health => Step::finds(0, text(StatusCode::OK, "well\n")),
            Asked::Echo(body) => Step::finds(0, text(StatusCode::OK, body)),
            Asked::Read { key } => match data.value(&key) {
                Some((value, index)) => Step::finds(index, text(StatusCode::OK, value.to_owned())),
                None => missing(),
            },
            Asked::Put { key, value } => {
                let mut answer = bare(StatusCode::OK);
                let replaced = data.value(&key).map_or("", |(value, _)| value);
                // A value that no header can carry is not told: "absent if unknown".
                if let Ok(replaced) = HeaderValue::from_bytes(replaced.as_bytes()) {
                    answer.headers_mut().insert(REPLACED, replaced);
                }
                Step::changes(Change::Put { key, value }, answer)
            }
            Asked::Insert { key, value } => match data.value(&key) {
                Some((there, index)) if there == value => Step::finds(index, bare(StatusCode::OK)),
                Some((_, index)) => Step::finds(index, bare(StatusCode::CONFLICT)),
                None => Step::changes(Change::Put { key, value }, bare(StatusCode::CREATED)),
            },
            Asked::Scan { key } => match data.lines(&key) {
                Some((lines, index)) => Step::finds(index, text(StatusCode::OK, lines)),
                None => missing(),
            },
            Asked::Push { key, item } => Step::changes(Change::Push { key, item }, bare(StatusCode::OK)),
        }
    }
}

/// Something done to the data that is to be answered once `index` is confirmed in `term`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The term in which it was accepted.
    pub term: u64,
    /// The entry that the answer rests on.
    pub index: u64,
}

/// What was accepted, and its answer.
pub type Taken = (Accepted, Response<Bytes>);

/// Who keeps the data and knows what may be told of it.
pub trait Keeper {
    /// As what the request came: meant for which term, to read only.
    type Intent: Copy;

    /// Lets a request in, or answers why not; then does what it comes to, and gives the answer for when it is confirmed.
    fn take(&self, intent: Self::Intent, act: impl FnOnce(&Store) -> Step) -> Result<Taken, Refused>;

    /// Whether what was accepted may be answered.
    fn confirm(&self, intent: Self::Intent, accepted: Accepted) -> Confirmation;

    /// Told when something may be confirmed, or never will be.
    fn progress(&self) -> watch::Receiver<()>;
}

/// Answers a client's request.
pub async fn answer<K: Keeper>(
    keeper: &K,
    intent: K::Intent,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Response<Bytes> {
    match parse(method, path, body) {
        Ok(Asked::Health) => text(StatusCode::OK, "well\n"),
        // It rests on nothing that could be confirmed.
        Ok(echo @ Asked::Echo(_)) => match keeper.take(intent, |data| echo.on(data)) {
            Ok((_, answer)) => answer,
            Err(refused) => *refused,
        },
        Ok(asked) => when_confirmed(keeper, intent, keeper.take(intent, |data| asked.on(data))).await,
        Err(refused) => *refused,
    }
}

/// Makes a change and says so once it is confirmed.
pub async fn make<K: Keeper>(keeper: &K, intent: K::Intent, change: Change) -> Response<Bytes> {
    let made = keeper.take(intent, |_| Step::changes(change, text(StatusCode::OK, Bytes::new())));
    when_confirmed(keeper, intent, made).await
}

/// Answers once what was accepted is confirmed, or says that it never will be.
async fn when_confirmed<K: Keeper>(keeper: &K, intent: K::Intent, taken: Result<Taken, Refused>) -> Response<Bytes> {
    let (accepted, answer) = match taken {
        Ok(taken) => taken,
        Err(refused) => return *refused,
    };
    let mut progress = keeper.progress();
    let confirmed = async {
        loop {
            match keeper.confirm(intent, accepted) {
                Confirmation::Confirmed => return true,
                Confirmation::Replaced => return false,
                Confirmation::Waiting => {}
            }
            if progress.changed().await.is_err() {
                return false;
            }
        }
    };
    match timeout(CONFIRM_WITHIN, confirmed).await {
        Ok(true) => answer,
        Ok(false) => text(StatusCode::SERVICE_UNAVAILABLE, "replaced as primary meanwhile\n"),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not confirmed in time\n"),
    }
}

/// Says in an answer who served.
pub fn stamp(answer: &mut Response<Bytes>, node: &str, incarnation: u64) {
    if let Ok(place) = HeaderValue::try_from(format!("{node}#{incarnation}")) {
        answer.headers_mut().insert(PLACE, place);
    }
}

/// Status, body and our own headers of a node's answer, to pass on.
pub fn passed_on(answer: Response<Bytes>) -> Response<Bytes> {
    let (head, body) = answer.into_parts();
    let mut passed = text(head.status, body);
    for name in [PLACE, REPLACED] {
        if let Some(value) = head.headers.get(name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `method path body` comes to where a register holds `a: 1` and a list `l: 1, 2`.
    fn ask(method: &str, path: &str, body: &'static str) -> (Option<Change>, u16, String) {
        let mut store = Store::default();
        store.push(1, Change::Put { key: "a".to_owned(), value: "1".to_owned() });
        for item in ["1", "2"] {
            store.push(1, Change::Push { key: "l".to_owned(), item: item.to_owned() });
        }
        let step = match parse(&method.parse().unwrap(), path, &Bytes::from_static(body.as_bytes())) {
            Ok(asked) => asked.on(&store),
            Err(refused) => Step::finds(0, *refused),
        };
        (step.change, step.answer.status().as_u16(), String::from_utf8(step.answer.body().to_vec()).unwrap())
    }

    fn put(key: &str, value: &str) -> Option<Change> {
        Some(Change::Put { key: key.to_owned(), value: value.to_owned() })
    }

    #[test]
    fn the_interface_is_the_documented_one() {
        let push = Some(Change::Push { key: "l".to_owned(), item: "3".to_owned() });
        for (method, path, body, expected) in [
            ("GET", "/kv/a", "", (None, 200, "1")),
            ("GET", "/kv/b", "", (None, 404, "")),
            ("PUT", "/kv/a", "2", (put("a", "2"), 200, "")),
            ("POST", "/kv/b", "2", (put("b", "2"), 201, "")),
            ("POST", "/kv/a", "1", (None, 200, "")),
            ("POST", "/kv/a", "2", (None, 409, "")),
            ("GET", "/list/l", "", (None, 200, "1\n2\n")),
            ("GET", "/list/m", "", (None, 404, "")),
            ("POST", "/list/l", "3", (push, 200, "")),
            ("POST", "/list/l", "3\n4", (None, 400, "an item is one line\n")),
            ("POST", "/echo", "x", (None, 200, "x")),
            ("GET", "/health", "", (None, 200, "well\n")),
            ("GET", "/kv/", "", (None, 404, "no such path\n")),
            ("GET", "/kv", "", (None, 404, "no such path\n")),
            ("GET", "/else", "", (None, 404, "no such path\n")),
            ("DELETE", "/kv/a", "", (None, 405, "no such method here\n")),
        ] {
            let (change, status, text) = expected;
            assert_eq!(ask(method, path, body), (change, status, text.to_owned()), "{method} {path}");
        }
    }

    #[test]
    fn a_value_is_text_and_what_was_replaced_is_told() {
        let refused = parse(&Method::PUT, "/kv/a", &Bytes::from_static(&[0xff])).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let mut store = Store::default();
        store.push(1, Change::Put { key: "a".to_owned(), value: "old".to_owned() });
        let asked = parse(&Method::PUT, "/kv/a", &Bytes::from_static(b"new")).unwrap();
        assert_eq!(asked.on(&store).answer.headers()[REPLACED], "old");
    }
}
