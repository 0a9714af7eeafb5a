//! The one stop path: whoever wants the run to end says so here, and the conductor heals everything.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::event::StopReason;

/// Asks a run to stop; copies share one request, and the first request wins.
#[derive(Clone, Debug, Default)]
pub struct StopSwitch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    request: Mutex<Option<(StopReason, String)>>,
    asked: Notify,
}

impl StopSwitch {
    /// Asks for a stop, with the reason in words. Later requests change nothing.
    pub fn request(&self, reason: StopReason, detail: impl Into<String>) {
        let mut request = self.0.request.lock().expect("no holder panics");
        if request.is_none() {
            *request = Some((reason, detail.into()));
            self.0.asked.notify_waiters();
        }
    }

    /// What was asked for, if anything.
    pub fn requested(&self) -> Option<(StopReason, String)> {
        self.0.request.lock().expect("no holder panics").clone()
    }

    /// Waits until a stop is asked for.
    pub async fn wait(&self) -> (StopReason, String) {
        loop {
            let asked = self.0.asked.notified();
            let mut asked = std::pin::pin!(asked);
            // Registered before the look, so that a request between the two is not missed.
            asked.as_mut().enable();
            if let Some(request) = self.requested() {
                return request;
            }
            asked.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_request_wins_and_wakes_who_waits() {
        let stop = StopSwitch::default();
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move { stop.wait().await }
        });
        tokio::task::yield_now().await;
        stop.request(StopReason::Guard, "success rate 12 % < 20 % for 10 s");
        stop.request(StopReason::Interrupt, "Ctrl-C");
        assert_eq!(waiting.await.unwrap().0, StopReason::Guard);
        assert_eq!(stop.wait().await.0, StopReason::Guard);
    }
}
