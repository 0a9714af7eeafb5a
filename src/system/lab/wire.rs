//! What a lab's nodes say to each other: JSON bodies of requests to `/internal/…`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::http::{Client, HttpError, text};

/// Where the messages of nodes go; no client's request does.
pub const INTERNAL: &str = "/internal/";

/// Why a message has no good answer, in words for a log or a user.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nobody knows whether it arrived.
    #[error("no answer in time")]
    Late,
    /// The connection failed, or there was none.
    #[error(transparent)]
    Failed(#[from] HttpError),
    /// It was answered that it cannot be done.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer to it.
    #[error("the answer is not one: {0}")]
    Foreign(#[from] serde_json::Error),
}

impl From<Unanswered> for String {
    fn from(why: Unanswered) -> String {
        why.to_string()
    }
}

/// A message that came.
pub fn heard<M: DeserializeOwned>(body: &[u8]) -> Result<M, Box<Response<Bytes>>> {
    serde_json::from_slice(body).map_err(|error| Box::new(text(StatusCode::BAD_REQUEST, format!("{error}\n"))))
}

/// An answer with a message.
pub fn said(message: &impl Serialize) -> Response<Bytes> {
    text(StatusCode::OK, json(message))
}

/// Answers a message by another, or by a refusal.
pub fn reply<M: DeserializeOwned>(body: &[u8], answer: impl FnOnce(M) -> Response<Bytes>) -> Response<Bytes> {
    heard(body).map_or_else(|foreign| *foreign, answer)
}

/// Sends a message and waits for the answer.
pub async fn ask<A: DeserializeOwned>(
    to: &Client,
    message: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<A, Unanswered> {
    let request = Request::post(format!("{INTERNAL}{message}")).body(json(body)).expect("the path is a valid one");
    let answer = answered(timeout(within, to.send(request)).await.map_err(|_| Unanswered::Late));
    if answer.is_err() {
        // Whatever connection it was, the next message deserves a better one.
        to.forget_idle();
    }
    answer
}

fn answered<A: DeserializeOwned>(
    answer: Result<Result<Response<Bytes>, HttpError>, Unanswered>,
) -> Result<A, Unanswered> {
    let answer = answer??;
    if !answer.status().is_success() {
        return Err(Unanswered::Refused(String::from_utf8_lossy(answer.body()).trim().to_owned()));
    }
    Ok(serde_json::from_slice(answer.body())?)
}

/// The JSON of one of our own messages.
fn json(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("own messages have string keys only").into()
}
