//! What clients ask of a key-value node (`docs/http-interface.md`), the same for every lab.
//!
//! Who answers is a [`Keeper`]: it says whether a request is let in, and when what was done may be told.

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

/// Something done to the data that is to be answered once `index` is confirmed in `term`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<T> {
    /// The term in which it was accepted.
    pub term: u64,
    /// The entry that the answer rests on.
    pub index: u64,
    /// The answer.
    pub answer: T,
}

/// What a request comes to, once it is let in.
#[derive(Debug)]
pub struct Step<T> {
    /// The change that it makes.
    pub change: Option<Change>,
    /// The entry that its answer rests on, if it makes none.
    pub rests_on: u64,
    /// Its answer.
    pub answer: T,
}

/// The answer to a request that is not let in.
pub type Refused = Box<Response<Bytes>>;

/// Who keeps the data and knows what may be told of it.
pub trait Keeper {
    /// As what the request came: meant for which term, to read only.
    type Intent: Copy;

    /// Lets a request in, or answers why not; then does what it comes to.
    fn take<T>(&self, intent: Self::Intent, act: impl FnOnce(&Store) -> Step<T>) -> Result<Accepted<T>, Refused>;

    /// Whether what was accepted may be answered.
    fn confirm(&self, intent: Self::Intent, term: u64, index: u64) -> Confirmation;

    /// Told when something may be confirmed, or never will be.
    fn progress(&self) -> watch::Receiver<()>;
}

/// What a path names.
enum Route<'a> {
    Health,
    Echo,
    Register(&'a str),
    List(&'a str),
    Unknown,
}

impl Route<'_> {
    fn of(path: &str) -> Route<'_> {
        match path {
            "/health" => Route::Health,
            "/echo" => Route::Echo,
            _ => match (path.strip_prefix("/kv/"), path.strip_prefix("/list/")) {
                (Some(key), _) if !key.is_empty() => Route::Register(key),
                (_, Some(key)) if !key.is_empty() => Route::List(key),
                _ => Route::Unknown,
            },
        }
    }
}

/// Answers a client's request.
pub async fn answer<K: Keeper>(
    keeper: &K,
    intent: K::Intent,
    method: Method,
    path: &str,
    body: Bytes,
) -> Response<Bytes> {
    match (method, Route::of(path)) {
        (Method::GET, Route::Health) => text(StatusCode::OK, "well\n"),
        (Method::GET, Route::Register(key)) => read(keeper, intent, key).await,
        (Method::PUT, Route::Register(key)) => put(keeper, intent, key, &body).await,
        (Method::POST, Route::Register(key)) => insert(keeper, intent, key, &body).await,
        (Method::GET, Route::List(key)) => scan(keeper, intent, key).await,
        (Method::POST, Route::List(key)) => push(keeper, intent, key, &body).await,
        (Method::POST, Route::Echo) => match keeper.take(intent, |_| Step { change: None, rests_on: 0, answer: () }) {
            Ok(_) => text(StatusCode::OK, body),
            Err(refused) => *refused,
        },
        (_, Route::Unknown) => text(StatusCode::NOT_FOUND, "no such path\n"),
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "no such method here\n"),
    }
}

async fn read<K: Keeper>(keeper: &K, intent: K::Intent, key: &str) -> Response<Bytes> {
    let read = keeper.take(intent, |store| {
        let found = store.register(key);
        Step { change: None, rests_on: found.map_or(0, |at| at.index), answer: found.map(|at| at.value.clone()) }
    });
    when_confirmed(keeper, intent, read, |value| match value {
        Some(value) => text(StatusCode::OK, value),
        None => text(StatusCode::NOT_FOUND, Bytes::new()),
    })
    .await
}

async fn put<K: Keeper>(keeper: &K, intent: K::Intent, key: &str, body: &[u8]) -> Response<Bytes> {
    let Ok(value) = std::str::from_utf8(body) else { return not_text() };
    let written = keeper.take(intent, |store| {
        let replaced = store.register(key).map(|at| at.value.clone()).unwrap_or_default();
        let change = Change::Put { key: key.to_owned(), value: value.to_owned() };
        Step { change: Some(change), rests_on: 0, answer: replaced }
    });
    when_confirmed(keeper, intent, written, |replaced| {
        let mut answer = text(StatusCode::OK, Bytes::new());
        // A value that no header can carry is not told: "absent if unknown".
        if let Ok(replaced) = HeaderValue::from_bytes(replaced.as_bytes()) {
            answer.headers_mut().insert(REPLACED, replaced);
        }
        answer
    })
    .await
}

async fn insert<K: Keeper>(keeper: &K, intent: K::Intent, key: &str, body: &[u8]) -> Response<Bytes> {
    let Ok(value) = std::str::from_utf8(body) else { return not_text() };
    let inserted = keeper.take(intent, |store| match store.register(key) {
        Some(found) => {
            let answer = if found.value == value { StatusCode::OK } else { StatusCode::CONFLICT };
            Step { change: None, rests_on: found.index, answer }
        }
        None => {
            let change = Change::Put { key: key.to_owned(), value: value.to_owned() };
            Step { change: Some(change), rests_on: 0, answer: StatusCode::CREATED }
        }
    });
    when_confirmed(keeper, intent, inserted, |status| text(status, Bytes::new())).await
}

async fn scan<K: Keeper>(keeper: &K, intent: K::Intent, key: &str) -> Response<Bytes> {
    let read = keeper.take(intent, |store| {
        let found = store.list(key);
        let mut lines = found.map(|at| at.value.join("\n")).unwrap_or_default();
        if !lines.is_empty() {
            lines.push('\n');
        }
        Step { change: None, rests_on: found.map_or(0, |at| at.index), answer: lines }
    });
    when_confirmed(keeper, intent, read, |lines| text(StatusCode::OK, lines)).await
}

async fn push<K: Keeper>(keeper: &K, intent: K::Intent, key: &str, body: &[u8]) -> Response<Bytes> {
    let Ok(item) = std::str::from_utf8(body) else { return not_text() };
    if item.contains('\n') {
        return text(StatusCode::BAD_REQUEST, "an item is one line\n");
    }
    make(keeper, intent, Change::Push { key: key.to_owned(), item: item.to_owned() }).await
}

/// Makes a change and says so once it is confirmed.
pub async fn make<K: Keeper>(keeper: &K, intent: K::Intent, change: Change) -> Response<Bytes> {
    let made = keeper.take(intent, |_| Step { change: Some(change), rests_on: 0, answer: () });
    when_confirmed(keeper, intent, made, |()| text(StatusCode::OK, Bytes::new())).await
}

/// Answers once what was accepted is confirmed, or says that it never will be.
async fn when_confirmed<K: Keeper, T>(
    keeper: &K,
    intent: K::Intent,
    accepted: Result<Accepted<T>, Refused>,
    answer: impl FnOnce(T) -> Response<Bytes>,
) -> Response<Bytes> {
    let Accepted { term, index, answer: value } = match accepted {
        Ok(accepted) => accepted,
        Err(refused) => return *refused,
    };
    let mut progress = keeper.progress();
    let confirmed = async {
        loop {
            match keeper.confirm(intent, term, index) {
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
        Ok(true) => answer(value),
        Ok(false) => text(StatusCode::SERVICE_UNAVAILABLE, "replaced as primary meanwhile\n"),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not confirmed in time\n"),
    }
}

fn not_text() -> Response<Bytes> {
    text(StatusCode::BAD_REQUEST, "a value is UTF-8\n")
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
