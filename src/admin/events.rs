//! `GET /events`: what changes, as it changes (server-sent events).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{self, Answer};
use super::news::News;

/// How often a listener hears something, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An answer that goes on until the client has enough.
pub(crate) fn stream(news: &News) -> Answer {
    let mut items = news.listen();
    let (sender, lines) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut next = Bytes::from_static(b": brownout\n\n");
        while sender.send(next).await.is_ok() {
            next = match timeout(HEARTBEAT, items.recv()).await {
                Ok(Ok(item)) => format!("event: {}\ndata: {}\n\n", item.change.word(), item.data).into(),
                Ok(Err(RecvError::Lagged(missed))) => {
                    format!("event: missed\ndata: {{\"changes\":{missed}}}\n\n").into()
                }
                Ok(Err(RecvError::Closed)) => return,
                Err(_) => Bytes::from_static(b": still here\n\n"),
            };
        }
    });
    let mut answer = answer::text("text/event-stream", Bytes::new());
    answer.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *answer.body_mut() = Lines(lines).boxed_unsync();
    answer
}

/// A body whose end nobody knows.
struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
