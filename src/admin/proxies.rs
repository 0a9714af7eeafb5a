//! The set of proxies, and what requests make of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::time::Instant;

use super::news::{Change, News};
use super::proxy::Proxy;
use super::refusal::Refusal;
use super::wire::{ProxyChange, WantedProxy};
use crate::proxy::Engine;
use crate::seed::Seed;

/// Every proxy, by name.
#[derive(Debug)]
pub(crate) struct Proxies {
    // Before the site with its engine: a link closes by an order to its thread.
    proxies: BTreeMap<String, Proxy>,
    site: Site,
}

/// What all proxies share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) engine: Engine,
    /// Where chance comes from.
    pub(crate) seed: Seed,
    /// Where a proxy listens whose address names no host.
    pub(crate) default_host: IpAddr,
    pub(crate) news: News,
}

impl Proxies {
    /// No proxy yet.
    pub(crate) fn new(site: Site) -> Proxies {
        Proxies { proxies: BTreeMap::new(), site }
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values()
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Proxy, Refusal> {
        self.proxies.get(name).ok_or(Refusal::NoProxy)
    }

    /// A proxy to change, with what changes need.
    pub(crate) fn get_mut(&mut self, name: &str) -> Result<(&mut Proxy, &Site), Refusal> {
        Ok((self.proxies.get_mut(name).ok_or(Refusal::NoProxy)?, &self.site))
    }

    /// A new proxy. Where it cannot listen there is none.
    pub(crate) async fn create(&mut self, wanted: WantedProxy) -> Result<&Proxy, Refusal> {
        if self.proxies.contains_key(&wanted.name) {
            return Err(Refusal::ProxyExists);
        }
        self.put(wanted).await
    }

    /// Starts a proxy if it is to be, and takes it in.
    async fn put(&mut self, wanted: WantedProxy) -> Result<&Proxy, Refusal> {
        let WantedProxy { name, listen, upstream, enabled } = wanted;
        let mut proxy = Proxy::new(&name, listen, upstream);
        if enabled {
            proxy.start(&self.site).await?;
        }
        self.site.news.tell(Change::Created, &name, proxy.shown());
        let kept = self.proxies.entry(name).insert_entry(proxy);
        Ok(kept.into_mut())
    }

    /// Changes a proxy; other addresses close its connections. Where it cannot listen it stays, stopped.
    pub(crate) async fn update(&mut self, name: &str, change: ProxyChange) -> Result<&Proxy, Refusal> {
        let (proxy, site) = self.get_mut(name)?;
        let done = proxy.update(change, site).await;
        site.news.tell(Change::Updated, name, proxy.shown());
        done.map(|()| &*proxy)
    }

    /// Ends a proxy; its port is free afterwards.
    pub(crate) fn delete(&mut self, name: &str) -> Result<(), Refusal> {
        let mut proxy = self.proxies.remove(name).ok_or(Refusal::NoProxy)?;
        proxy.stop();
        self.site.news.tell(Change::Deleted, name, serde_json::Value::Null);
        Ok(())
    }

    /// Creates those that are new and replaces those with other addresses; the first failure ends it.
    ///
    /// Says which are there as wanted now, in order.
    pub(crate) async fn populate(&mut self, list: Vec<WantedProxy>) -> (Vec<String>, Result<(), Refusal>) {
        let mut done = Vec::with_capacity(list.len());
        for wanted in list {
            let name = wanted.name.clone();
            if let Err(refusal) = self.settle(wanted).await {
                return (done, Err(refusal));
            }
            done.push(name);
        }
        (done, Ok(()))
    }

    /// One entry of a list.
    async fn settle(&mut self, wanted: WantedProxy) -> Result<(), Refusal> {
        if let Some(old) = self.proxies.get_mut(&wanted.name) {
            if !old.differs(&wanted.listen, &wanted.upstream, &self.site).await? {
                return Ok(());
            }
            old.stop();
        }
        self.put(wanted).await.map(drop)
    }

    /// Starts every proxy that is stopped, and takes every toxic and fault away.
    pub(crate) async fn reset(&mut self) -> Result<(), Refusal> {
        for proxy in self.proxies.values_mut() {
            if !proxy.is_enabled() {
                proxy.start(&self.site).await?;
            }
            proxy.heal_all();
            self.site.news.tell(Change::Reset, proxy.name(), proxy.shown());
        }
        Ok(())
    }

    /// Heals what has come to the end of its lease; says when the next one ends.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for proxy in self.proxies.values_mut() {
            for name in proxy.expired(now) {
                tracing::info!(proxy = %proxy.name(), toxic = %name, "a lease has ended");
                let what = serde_json::json!({"name": name});
                self.site.news.tell(Change::Expired, proxy.name(), what);
            }
            let ends = proxy.next_end();
            next = next.into_iter().chain(ends).min();
        }
        next
    }
}
