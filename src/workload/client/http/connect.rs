//! What reqwest tells of connecting, once asked: when, and whether a request waits for it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower_layer::Layer;
use tower_service::Service;

use crate::clock::RunClock;
use crate::permit::Permit;
use crate::system::dns;
use crate::workload::client::Progress;
use crate::workload::client::dial::{self, DialError};

tokio::task_local! {
    /// The attempt whose request is being polled.
    pub(super) static WATCHED: Arc<WatchedAttempt>;
}

/// An attempt, as far as its connection is concerned.
#[derive(Debug)]
pub(super) struct WatchedAttempt {
    pub(super) progress: Arc<Progress>,
    /// The connection that was made for it.
    pub(super) ends: OnceLock<Ends>,
}

/// A connection by the addresses of its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Ends {
    pub(super) fn of(info: &HttpInfo) -> Ends {
        Ends { local: info.local_addr(), remote: info.remote_addr() }
    }
}

/// Tells a [`WatchedAttempt`] about the connection that is made for it.
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
    S::Response: Connection,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Connecting<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Connecting<S::Future> {
        let attempt = WATCHED.try_with(Arc::clone).ok();
        if let Some(attempt) = &attempt {
            attempt.progress.connecting();
        }
        Connecting { inner: self.inner.call(request), attempt, clock: self.clock }
    }
}

/// A connection in the making.
///
/// hyper polls it within the request that it is made for. If a pooled connection becomes free first, the request goes
/// on with that one, and this is polled by a task of its own, for the pool.
pub(super) struct Connecting<F> {
    inner: F,
    /// The attempt that waits for it, as long as it does.
    attempt: Option<Arc<WatchedAttempt>>,
    clock: RunClock,
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
    T: Connection,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        if let Some(attempt) = &self.attempt {
            let still_waited_for = WATCHED.try_with(|polled| Arc::ptr_eq(polled, attempt)).unwrap_or(false);
            if !still_waited_for {
                attempt.progress.maybe_sent();
                self.attempt = None;
            }
        }
        let result = Pin::new(&mut self.inner).poll(context);
        if let (Poll::Ready(Ok(connection)), Some(attempt)) = (&result, &self.attempt) {
            attempt.progress.connected(self.clock.now());
            if let Some(ends) = ends(connection) {
                let _ = attempt.ends.set(ends);
            }
        }
        result
    }
}

fn ends(connection: &impl Connection) -> Option<Ends> {
    let mut told = http::Extensions::new();
    connection.connected().get_extras(&mut told);
    told.get::<HttpInfo>().map(Ends::of)
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

/// A name goes to where DNS says; the port is the URL's own.
pub(super) struct ByName {
    resolver: Arc<dns::Resolver>,
    permit: Permit,
}

impl ByName {
    pub(super) fn new(resolver: &Arc<dns::Resolver>, permit: &Permit) -> Arc<ByName> {
        Arc::new(ByName { resolver: Arc::clone(resolver), permit: permit.clone() })
    }
}

impl Resolve for ByName {
    fn resolve(&self, _name: Name) -> Resolving {
        let (resolver, permit) = (Arc::clone(&self.resolver), self.permit.clone());
        Box::pin(async move {
            let addresses = resolver.addresses().await.map_err(DialError::Lookup)?;
            let addresses: Vec<SocketAddr> = addresses.into_iter().map(|ip| SocketAddr::from((ip, 0))).collect();
            let addresses = dial::permitted(addresses, &permit)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
