//! What reqwest tells of connecting, once asked: when, and whether a request waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower_layer::Layer;
use tower_service::Service;

use crate::clock::RunClock;
use crate::permit::Permit;
use crate::workload::client::{Progress, dial};

tokio::task_local! {
    /// The attempt whose request is being polled.
    pub(super) static PROGRESS: Arc<Progress>;
}

/// Tells an attempt's [`Progress`] about the connection that is made for it.
#[derive(Clone)]
pub(super) struct Watch {
    clock: RunClock,
}

impl Watch {
    pub(super) fn new(clock: RunClock) -> Watch {
        Watch { clock }
    }
}

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, clock: self.clock }
    }
}

#[derive(Clone)]
pub(super) struct Watched<S> {
    inner: S,
    clock: RunClock,
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Connecting<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Connecting<S::Future> {
        let progress = PROGRESS.try_with(Arc::clone).ok();
        if let Some(progress) = &progress {
            progress.connecting();
        }
        Connecting { inner: self.inner.call(request), progress, clock: self.clock }
    }
}

/// A connection in the making.
///
/// hyper polls it within the request that it is made for. If a pooled connection becomes free first, the request goes
/// on with that one, and this is polled by a task of its own, for the pool.
pub(super) struct Connecting<F> {
    inner: F,
    /// The attempt that waits for it, as long as it does.
    progress: Option<Arc<Progress>>,
    clock: RunClock,
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        if let Some(progress) = &self.progress {
            let still_waited_for = PROGRESS.try_with(|polled| Arc::ptr_eq(polled, progress)).unwrap_or(false);
            if !still_waited_for {
                progress.maybe_sent();
                self.progress = None;
            }
        }
        let result = Pin::new(&mut self.inner).poll(context);
        if let (Poll::Ready(Ok(_)), Some(progress)) = (&result, &self.progress) {
            progress.connected(self.clock.now());
        }
        result
    }
}

/// Whatever name a URL has, its requests go to the target: to the link, where there is one.
pub(super) struct Resolver {
    target: Arc<str>,
    permit: Permit,
}

impl Resolver {
    pub(super) fn new(target: &str, permit: &Permit) -> Arc<Resolver> {
        Arc::new(Resolver { target: target.into(), permit: permit.clone() })
    }
}

impl Resolve for Resolver {
    fn resolve(&self, _name: Name) -> Resolving {
        let (target, permit) = (Arc::clone(&self.target), self.permit.clone());
        Box::pin(async move {
            let addresses = dial::resolve(&target, &permit).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
