//! The one stop path: whoever wants a run to end says so here, and the conductor heals everything.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::event::StopReason;

/// Asks runs to stop; copies share one request, and the first request wins.
///
/// A person's request ends all runs, a guard's only its own: a run has a [`child`](StopSwitch::child), which obeys
/// both.
#[derive(Clone, Debug, Default)]
pub struct StopSwitch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    request: Mutex<Option<(StopReason, String)>>,
    asked: Notify,
    parent: Option<StopSwitch>,
}

impl StopSwitch {
    /// A switch for one run, which this one stops too.
    pub fn child(&self) -> StopSwitch {
        StopSwitch(Arc::new(Inner { parent: Some(self.clone()), ..Inner::default() }))
    }

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
        let own = self.0.request.lock().expect("no holder panics").clone();
        own.or_else(|| self.0.parent.as_ref()?.requested())
    }

    /// Waits until a stop is asked for.
    pub async fn wait(&self) -> (StopReason, String) {
        match &self.0.parent {
            None => self.wait_here().await,
            Some(parent) => tokio::select! {
                request = self.wait_here() => request,
                request = parent.wait_here() => request,
            },
        }
    }

    async fn wait_here(&self) -> (StopReason, String) {
        loop {
            let mut asked = std::pin::pin!(self.0.asked.notified());
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

    #[tokio::test]
    async fn a_run_obeys_its_own_switch_and_everybodys() {
        let all = StopSwitch::default();
        let (first, second) = (all.child(), all.child());
        first.request(StopReason::Guard, "too bad");
        assert_eq!(second.requested(), None);
        let waiting = tokio::spawn(async move { second.wait().await });
        tokio::task::yield_now().await;
        all.request(StopReason::Interrupt, "Ctrl-C");
        assert_eq!(waiting.await.unwrap().0, StopReason::Interrupt);
        assert_eq!(first.requested().unwrap().0, StopReason::Guard);
    }
}
