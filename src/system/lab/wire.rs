//! What a lab's nodes say to each other: JSON bodies of requests to `/internal/…`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::http::{Client, text};

/// Where the messages of nodes go; no client's request does.
pub const INTERNAL: &str = "/internal/";

/// The JSON of one of our own messages.
pub fn json(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("own messages have string keys only").into()
}

/// Answers a message.
pub fn reply<M: DeserializeOwned, A: Serialize>(body: &[u8], answer: impl FnOnce(M) -> A) -> Response<Bytes> {
    match serde_json::from_slice(body) {
        Ok(message) => text(StatusCode::OK, json(&answer(message))),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// Sends a message; none if there is no good answer in time.
pub async fn ask<A: DeserializeOwned>(to: &Client, message: &str, body: Bytes, within: Duration) -> Option<A> {
    let request = Request::post(format!("{INTERNAL}{message}")).body(body).expect("the path is a valid one");
    let answer = timeout(within, to.send(request)).await.ok()?.ok()?;
    serde_json::from_slice(answer.body()).ok()
}
