//! Messages between the nodes: JSON over HTTP below `/internal/`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::system::lab::http::{Client, text};

/// The header that says who served a request: `node#incarnation`.
pub(super) const PLACE: &str = "x-place";

/// The JSON of one of our own messages.
fn json(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("own messages have string keys only").into()
}

/// An answer with a message.
pub(super) fn said(message: &impl Serialize) -> Response<Bytes> {
    text(StatusCode::OK, json(message))
}

/// Answers one of our own messages.
pub(super) fn reply<M: DeserializeOwned>(body: &[u8], answer: impl FnOnce(M) -> Response<Bytes>) -> Response<Bytes> {
    match serde_json::from_slice(body) {
        Ok(message) => answer(message),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// Sends a message and reads the answer; an error says in words why there is none.
pub(super) async fn ask<A: DeserializeOwned>(
    to: &Client,
    message: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<A, String> {
    let request = Request::post(format!("/internal/{message}")).body(json(body)).expect("the path is a valid one");
    let answer = match timeout(within, to.send(request)).await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(answer)) if answer.status().is_success() => {
            serde_json::from_slice(answer.body()).map_err(|error| error.to_string())
        }
        Ok(Ok(answer)) => Err(String::from_utf8_lossy(answer.body()).trim().to_owned()),
    };
    if answer.is_err() {
        // Whatever connection it was, the next message deserves a better one.
        to.forget_idle();
    }
    answer
}

/// Says who served.
pub(super) fn placed(mut answer: Response<Bytes>, node: &str, incarnation: u64) -> Response<Bytes> {
    if let Ok(place) = HeaderValue::try_from(format!("{node}#{incarnation}")) {
        answer.headers_mut().insert(PLACE, place);
    }
    answer
}
