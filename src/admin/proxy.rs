//! One proxy: its addresses, its link while it is enabled, and what stands on it.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::fault::WantedFault;
use super::figures::Figures;
use super::news::Change;
use super::proxies::Site;
use super::refusal::Refusal;
use super::standing::{Standing, What};
use super::wire::{Place, ProxyChange, ToxicChange, WantedToxic};
use crate::permit::Permit;
use crate::plan::fault::Direction;
use crate::proxy::{ConnectionInfo, Link, LinkSpec, ProxyError};

/// A proxy. It stays while it is disabled, and so does what stands on it.
#[derive(Debug)]
pub(crate) struct Proxy {
    name: Arc<str>,
    /// As the client wrote it until the first start, then the numeric address.
    listen: String,
    upstream: String,
    /// Whether it reads HTTP/1, which faults on requests need.
    http: bool,
    link: Option<Link>,
    /// In the order in which they came.
    standing: Vec<Standing>,
    /// How often it was started.
    life: u64,
    figures: Figures,
}

impl Proxy {
    /// A proxy that has not been started.
    pub(crate) fn new(name: &str, listen: String, upstream: String) -> Proxy {
        let figures = Figures::default();
        Proxy { name: name.into(), listen, upstream, http: false, link: None, standing: Vec::new(), life: 0, figures }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Where it listens, or would.
    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    /// Its totals over all its lives at these addresses.
    pub(crate) fn figures(&self) -> Figures {
        self.figures.with(self.link.as_ref().map(Link::counters))
    }

    /// Opens its link; whatever stands on it comes into force.
    pub(crate) async fn start(&mut self, site: &Site) -> Result<(), Refusal> {
        let prefixed = |refusal: Refusal| Refusal::Listen(format!("listen tcp: {refusal}"));
        let place = Place::parse(&self.listen).map_err(prefixed)?;
        let listen = place.resolve(site.default_host).await.map_err(prefixed)?;
        let spec = LinkSpec {
            tls: None,
            name: Arc::clone(&self.name),
            listen,
            upstream: self.upstream.clone(),
            http: self.http,
            // Whoever may use the API says where proxies lead.
            permit: Permit::when(|_| true),
        };
        let link = site.engine.open(spec).map_err(|error| Refusal::Listen(in_known_words(error)))?;
        self.life += 1;
        for standing in &mut self.standing {
            standing.strike(&link, site.seed, self.life)?;
        }
        self.listen = link.addr().to_string();
        self.link = Some(link);
        tracing::debug!(proxy = %self.name, listen = %self.listen, upstream = %self.upstream, "started");
        Ok(())
    }

    /// Closes its link with all connections.
    pub(crate) fn stop(&mut self) {
        if let Some(link) = self.link.take() {
            self.standing.iter_mut().for_each(|standing| standing.keep_evidence(&link));
            link.close();
            self.figures = self.figures.with(Some(link.counters())).at_rest();
            tracing::debug!(proxy = %self.name, "stopped");
        }
    }

    /// Whether these addresses are others than its own, in numbers: a name that leads to its address is none.
    pub(crate) async fn differs(&self, listen: &str, upstream: &str, site: &Site) -> Result<bool, Refusal> {
        let listen = Place::parse(listen)?.resolve(site.default_host).await?;
        Ok(listen.port() == 0 || listen.to_string() != self.listen || upstream != self.upstream)
    }

    /// Takes over what is given. Other addresses stop it first, and close its connections.
    pub(crate) async fn update(&mut self, change: ProxyChange, site: &Site) -> Result<(), Refusal> {
        let listen = change.listen.unwrap_or_else(|| self.listen.clone());
        let upstream = change.upstream.unwrap_or_else(|| self.upstream.clone());
        let enabled = change.enabled.unwrap_or(self.is_enabled());
        if self.differs(&listen, &upstream, site).await? {
            self.stop();
            self.figures = Figures::default();
            (self.listen, self.upstream) = (listen, upstream);
        }
        self.set_enabled(enabled, site).await
    }

    /// Reads HTTP/1 from now on, or no longer; that closes its connections.
    pub(crate) async fn set_http(&mut self, http: bool, site: &Site) -> Result<(), Refusal> {
        if http == self.http {
            return Ok(());
        }
        if !http && self.standing.iter().any(Standing::needs_http) {
            return Err(Refusal::NotHttp);
        }
        let enabled = self.is_enabled();
        self.stop();
        self.http = http;
        self.set_enabled(enabled, site).await
    }

    async fn set_enabled(&mut self, enabled: bool, site: &Site) -> Result<(), Refusal> {
        match (enabled, self.is_enabled()) {
            (true, false) => self.start(site).await,
            (false, true) => {
                self.stop();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A toxic at the end of its chain.
    pub(crate) fn add_toxic(&mut self, wanted: &WantedToxic, site: &Site) -> Result<Value, Refusal> {
        self.expect_free(&wanted.name)?;
        let what =
            What::Toxic { stream: wanted.stream.clone(), toxicity: wanted.toxicity, settings: wanted.settings()? };
        let added = self.add(Standing::new(wanted.name.clone(), what, wanted.ttl), site)?;
        let shown = added.as_toxic().unwrap_or_default();
        site.news.tell(Change::ToxicAdded, &self.name, shown.clone());
        Ok(shown)
    }

    /// Other settings for a toxic, on open connections too.
    pub(crate) fn update_toxic(&mut self, name: &str, change: &ToxicChange, site: &Site) -> Result<Value, Refusal> {
        let toxic = self.standing.iter_mut().find(|standing| standing.is_toxic() && standing.name == name);
        let toxic = toxic.ok_or(Refusal::NoToxic)?;
        let What::Toxic { stream, toxicity, settings } = toxic.what().clone() else { return Err(Refusal::NoToxic) };
        let what = What::Toxic {
            stream,
            toxicity: change.toxicity.unwrap_or(toxicity),
            settings: settings.with(&change.attributes)?,
        };
        toxic.change(what, self.link.as_ref(), site.seed, self.life)?;
        toxic.renew(change.ttl);
        let shown = toxic.as_toxic().unwrap_or_default();
        site.news.tell(Change::ToxicUpdated, &self.name, shown.clone());
        Ok(shown)
    }

    /// One of its toxics.
    pub(crate) fn toxic(&self, name: &str) -> Result<Value, Refusal> {
        let toxic = self.standing.iter().find(|standing| standing.name == name);
        toxic.and_then(Standing::as_toxic).ok_or(Refusal::NoToxic)
    }

    /// Its toxics: those of `upstream` first, each direction in the order of its chain.
    pub(crate) fn toxics(&self) -> Value {
        let of = |direction| {
            self.standing.iter().filter(move |standing| {
                matches!(standing.what(), What::Toxic { stream, .. } if stream.direction() == direction)
            })
        };
        of(Direction::Up).chain(of(Direction::Down)).filter_map(Standing::as_toxic).collect()
    }

    /// Takes a toxic away.
    pub(crate) fn remove_toxic(&mut self, name: &str, site: &Site) -> Result<(), Refusal> {
        self.remove(|standing| standing.is_toxic() && standing.name == name).ok_or(Refusal::NoToxic)?;
        site.news.tell(Change::ToxicRemoved, &self.name, json!({"name": name}));
        Ok(())
    }

    /// A fault of ours.
    pub(crate) fn add_fault(&mut self, wanted: WantedFault, site: &Site) -> Result<Value, Refusal> {
        let (name, ttl) = (wanted.name(), wanted.lease());
        self.expect_free(&name)?;
        let standing = Standing::new(name, What::Fault(Box::new(wanted)), ttl);
        if standing.needs_http() && !self.http {
            return Err(Refusal::NotHttp);
        }
        self.add(standing, site)?;
        let shown = self.standing.last().map(|standing| standing.as_fault(self.link.as_ref())).unwrap_or_default();
        site.news.tell(Change::FaultAdded, &self.name, shown.clone());
        Ok(shown)
    }

    /// A fault in the place of the one of this name; a toxic of the same kind goes on counting.
    pub(crate) fn replace_fault(&mut self, name: &str, wanted: WantedFault, site: &Site) -> Result<Value, Refusal> {
        let fault = self.standing.iter_mut().find(|standing| !standing.is_toxic() && standing.name == name);
        let fault = fault.ok_or(Refusal::NoFault)?;
        let ttl = wanted.lease();
        let what = What::Fault(Box::new(wanted));
        if Standing::new(String::new(), what.clone(), None).needs_http() && !self.http {
            return Err(Refusal::NotHttp);
        }
        fault.change(what, self.link.as_ref(), site.seed, self.life)?;
        fault.renew(ttl);
        let shown = fault.as_fault(self.link.as_ref());
        site.news.tell(Change::FaultUpdated, &self.name, shown.clone());
        Ok(shown)
    }

    /// A toxic or a fault of either API.
    pub(crate) fn fault(&self, name: &str) -> Result<Value, Refusal> {
        let found = self.standing.iter().find(|standing| standing.name == name);
        found.map(|standing| standing.as_fault(self.link.as_ref())).ok_or(Refusal::NoFault)
    }

    /// All that stands on it, in the order in which it came.
    pub(crate) fn faults(&self) -> Value {
        self.standing.iter().map(|standing| standing.as_fault(self.link.as_ref())).collect()
    }

    /// Takes a toxic or a fault of either API away; says what it has met.
    pub(crate) fn remove_fault(&mut self, name: &str, site: &Site) -> Result<Value, Refusal> {
        let removed = self.remove(|standing| standing.name == name).ok_or(Refusal::NoFault)?;
        let shown = removed.as_fault(None);
        site.news.tell(Change::FaultRemoved, &self.name, shown.clone());
        Ok(shown)
    }

    /// Takes everything away.
    pub(crate) fn heal_all(&mut self) {
        while self.remove(|_| true).is_some() {}
    }

    /// Takes away what has come to the end of its lease; the names.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(ended) = self.remove(|standing| standing.ends().is_some_and(|ends| ends <= now)) {
            names.push(ended.name);
        }
        names
    }

    /// When the first lease ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.standing.iter().filter_map(Standing::ends).min()
    }

    /// Its connections, in the order in which they came.
    pub(crate) fn connections(&self) -> Vec<ConnectionInfo> {
        let mut connections = self.link.as_ref().map(Link::connections).unwrap_or_default();
        connections.sort_by_key(|connection| connection.number);
        connections
    }

    /// As the Toxiproxy API shows it.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "name": &*self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.is_enabled(),
            "toxics": self.toxics(),
        })
    }

    /// As the versioned API shows it.
    pub(crate) fn shown_in_full(&self) -> Value {
        json!({
            "name": &*self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.is_enabled(),
            "http": self.http,
            "faults": self.faults(),
            "counters": self.figures().shown(),
        })
    }

    fn expect_free(&self, name: &str) -> Result<(), Refusal> {
        let taken = self.standing.iter().any(|standing| standing.name == name);
        if taken { Err(Refusal::ToxicExists) } else { Ok(()) }
    }

    fn add(&mut self, mut standing: Standing, site: &Site) -> Result<&Standing, Refusal> {
        if let Some(link) = &self.link {
            standing.strike(link, site.seed, self.life)?;
        }
        self.standing.push(standing);
        Ok(&self.standing[self.standing.len() - 1])
    }

    fn remove(&mut self, which: impl Fn(&Standing) -> bool) -> Option<Standing> {
        let place = self.standing.iter().position(which)?;
        let mut standing = self.standing.remove(place);
        if let Some(link) = &self.link {
            standing.heal(link);
        }
        Some(standing)
    }
}

/// Why a link cannot listen, as clients of the reference read it.
fn in_known_words(error: ProxyError) -> String {
    let ProxyError::Listen { listen, source, .. } = error else { return error.to_string() };
    format!("listen tcp {listen}: bind: {}", os_text(&source))
}

/// The system's own words, in lower case and without a number.
fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
