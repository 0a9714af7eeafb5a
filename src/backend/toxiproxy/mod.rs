//! Links on a Toxiproxy-compatible server elsewhere.
//!
//! ```text
//! run ── Backend ──▶ Toxiproxy ──▶ words (action → toxics, pure) ──▶ clerk (a thread) ──HTTP──▶ server
//! ```
//!
//! The run makes proxies of its own there and leaves others alone. Ending one takes everything away that stood on it,
//! so that is what a run records before it makes one ([`Backend::leaves_behind`]), and what undoes it for who is left.

mod clerk;
mod words;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use self::clerk::Clerk;
use self::words::{Order, VOCABULARY, order};
use super::{Backend, BackendError, Injection, LinkAction, Target};
use crate::clock::{RunClock, wall_ns};
use crate::event::{LinkCounters, Mechanism, Proof};
use crate::permit::{Permit, is_loopback};
use crate::plan::Action;
use crate::plan::fault::Direction;
use crate::plan::host::Host;
use crate::proxy::{Evidence, LinkSpec};
use crate::seed::Seed;

/// A server elsewhere.
#[derive(Debug)]
pub struct Toxiproxy {
    clerk: Clerk,
    clock: RunClock,
    /// As it was given, without a slash at its end.
    url: String,
    server: SocketAddr,
    /// What the names of our proxies begin with: nobody else's do.
    prefix: String,
    ledger: Arc<Mutex<Ledger>>,
}

/// What stands on the server.
#[derive(Debug, Default)]
struct Ledger {
    /// Each link's address.
    links: BTreeMap<Arc<str>, SocketAddr>,
    next: u64,
    /// Faults in force, by injection.
    open: BTreeMap<u64, Vec<Placed>>,
    /// What faults have met on targets where they are healed already.
    met: BTreeMap<u64, Evidence>,
}

/// One fault on one link.
#[derive(Clone, Debug)]
struct Placed {
    target: Target,
    proxy: String,
    order: Order,
    /// The names of its toxics there.
    names: Vec<String>,
}

impl Toxiproxy {
    /// The server at an address such as `http://127.0.0.1:8474`, if one answers there and it is permitted.
    pub fn connect(url: &str, permit: &Permit, clock: RunClock) -> Result<Toxiproxy, BackendError> {
        let remote = |why: String| BackendError::Remote { url: url.to_owned(), why };
        let host = Host::of_url(url).filter(|_| url.starts_with("http://"));
        let host = host.ok_or_else(|| remote("it is no address such as `http://127.0.0.1:8474`".to_owned()))?;
        let resolved = (host.name.as_str(), host.port).to_socket_addrs().map_err(|error| remote(error.to_string()))?;
        let server = resolved.into_iter().next().ok_or_else(|| remote("its name leads nowhere".to_owned()))?;
        if !permit.allows(server) {
            return Err(remote(format!("{server} is outside what is permitted")));
        }
        let clerk = Clerk::start(server).map_err(remote)?;
        let prefix = format!("brownout-{:x}-{:x}", std::process::id(), wall_ns());
        let url = url.trim_end_matches('/').to_owned();
        Ok(Toxiproxy { clerk, clock, url, server, prefix, ledger: Arc::default() })
    }

    /// Why no Toxiproxy server can do this, in a sentence; none if it can.
    pub fn refuses(action: &LinkAction) -> Option<String> {
        let why = order(action, Direction::Both).err()?;
        Some(format!("a Toxiproxy server has no {why}; it has {VOCABULARY}"))
    }

    fn remote(&self, why: String) -> BackendError {
        BackendError::Remote { url: self.url.clone(), why }
    }

    /// What a link is called on the server.
    fn proxy_of(&self, link: &str) -> String {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
        format!("{}-{}", self.prefix, link.chars().map(plain).collect::<String>())
    }

    /// Puts a fault on one target; where a part of it fails, none of it stays.
    fn place(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError> {
        if !self.ledger().links.contains_key(&target.link) {
            return Err(BackendError::UnknownLink { link: Arc::clone(&target.link) });
        }
        let order = order(&injection.action, target.direction)
            .map_err(|why| self.remote(format!("it has no {why}; it has {VOCABULARY}")))?;
        let proxy = self.proxy_of(&target.link);
        let names = match &order {
            Order::Toxics(toxics) => toxics.iter().map(|toxic| format!("f{}-{}", injection.id, toxic.stream)).collect(),
            Order::Disable => Vec::new(),
        };
        let placed = Placed { target: target.clone(), proxy, order, names };
        let doing = placed.clone();
        let before = self.clock.now();
        let done = self.clerk.ask(move |desk| match &doing.order {
            Order::Disable => desk.set_enabled(&doing.proxy, false),
            Order::Toxics(toxics) => {
                let mut added = doing.names.iter().zip(toxics);
                added.try_for_each(|(name, toxic)| desk.add_toxic(&doing.proxy, name, toxic))
            }
        });
        let at = self.clock.now();
        let id = injection.id;
        self.ledger().open.entry(id).or_default().push(placed.clone());
        if let Err(why) = done {
            // What had been added of it goes with it.
            let _ = self.withdraw(id, |one| one.target == placed.target);
            return Err(self.remote(why));
        }
        injection.at = injection.at.min(before);
        injection.last_hit = injection.last_hit.max(at);
        injection.mechanism = match injection.action {
            LinkAction::Silent | LinkAction::BlackHole => Some(Mechanism::Stall),
            _ => None,
        };
        Ok(())
    }

    /// Heals those parts of a fault; what they had met is kept.
    fn withdraw(&self, id: u64, which: impl Fn(&Placed) -> bool) -> Result<(), BackendError> {
        let chosen: Vec<Placed> = match self.ledger().open.get_mut(&id) {
            Some(open) => open.extract_if(.., |placed| which(placed)).collect(),
            None => return Ok(()),
        };
        let mut failed = None;
        for placed in chosen {
            match self.clerk.ask(move |desk| heal(desk, &placed)) {
                Ok(met) => *self.ledger().met.entry(id).or_default() += met,
                Err(why) => failed = Some(self.remote(why)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a fault has met on the targets where it is in force.
    fn met(&self, id: u64) -> Result<(Evidence, Vec<String>), BackendError> {
        let open = self.ledger().open.get(&id).cloned().unwrap_or_default();
        let mut met = self.ledger().met.get(&id).copied().unwrap_or_default();
        let mut read_back = Vec::new();
        for placed in open {
            let line = placed.target.link.to_string();
            let (more, stands) = self.clerk.ask(move |desk| look(desk, &placed)).map_err(|why| self.remote(why))?;
            met += more;
            read_back.push(format!("{line}: {}", if stands { "in place" } else { "gone" }));
        }
        Ok((met, read_back))
    }

    /// Whether it was real: by what it met where the server tells, else by its having stood to the end.
    fn proof(&self, action: &LinkAction, met: Evidence, read_back: Vec<String>) -> Proof {
        let stood = !read_back.is_empty() && read_back.iter().all(|line| line.ends_with(": in place"));
        // A disabled proxy is no toxic, and counts nothing.
        let counts = *action != LinkAction::Refused && self.tells();
        let arrived = met.altered_chunks + met.withheld_bytes + met.dropped_segments + met.connections > 0;
        Proof {
            real: stood && (arrived || !counts),
            altered_chunks: met.altered_chunks,
            withheld_bytes: met.withheld_bytes,
            dropped_segments: met.dropped_segments,
            connections: met.connections,
            read_back,
            ..Proof::default()
        }
    }

    /// Whether the server tells what a fault has met: brownout's own does.
    fn tells(&self) -> bool {
        let Some(link) = self.ledger().links.keys().next().cloned() else { return false };
        let proxy = self.proxy_of(&link);
        self.clerk.ask(move |desk| desk.counters(&proxy)).is_ok_and(|counters| counters.is_some())
    }
}

/// Heals one fault on one link; what it had met.
fn heal(desk: &clerk::Desk, placed: &Placed) -> Result<Evidence, clerk::Failure> {
    if placed.order == Order::Disable {
        desk.set_enabled(&placed.proxy, true)?;
        return Ok(Evidence::default());
    }
    let mut met = Evidence::default();
    for name in &placed.names {
        met += evidence(desk.remove_toxic(&placed.proxy, name)?);
    }
    Ok(met)
}

/// What one fault on one link has met so far, and whether it stands as it was set.
fn look(desk: &clerk::Desk, placed: &Placed) -> Result<(Evidence, bool), clerk::Failure> {
    let Order::Toxics(toxics) = &placed.order else {
        return Ok((Evidence::default(), !desk.is_enabled(&placed.proxy)?));
    };
    let (mut met, mut stands) = (Evidence::default(), true);
    for (name, toxic) in placed.names.iter().zip(toxics) {
        met += evidence(desk.met(&placed.proxy, name)?);
        stands &= desk.stands(&placed.proxy, name, toxic)?;
    }
    Ok((met, stands))
}

fn evidence(met: Option<Value>) -> Evidence {
    let met = met.unwrap_or_default();
    let of = |key: &str| met[key].as_u64().unwrap_or_default();
    Evidence {
        altered_chunks: of("altered_chunks"),
        withheld_bytes: of("withheld_bytes"),
        dropped_segments: of("dropped_segments"),
        connections: of("connections"),
        requests: of("requests"),
        passed_bytes: 0,
    }
}

impl Backend for Toxiproxy {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Stall
    }

    fn open(&self, spec: LinkSpec) -> Result<SocketAddr, BackendError> {
        if self.ledger().links.contains_key(&spec.name) {
            return Err(BackendError::DuplicateLink { link: spec.name });
        }
        if spec.tls.is_some() {
            return Err(self.remote(format!("it cannot end TLS on the link `{}`", spec.name)));
        }
        let mut listen = spec.listen;
        if listen.ip().is_loopback() && !is_loopback(self.server.ip()) {
            // The server's own loopback would be of no use here.
            listen.set_ip(std::net::Ipv4Addr::UNSPECIFIED.into());
        }
        let (proxy, listen, upstream) = (self.proxy_of(&spec.name), listen.to_string(), spec.upstream);
        let bound = self.clerk.ask(move |desk| desk.create(&proxy, &listen, &upstream));
        let bound = bound.map_err(|why| self.remote(why))?;
        let bound: SocketAddr = bound.parse().map_err(|_| self.remote(format!("`{bound}` is no address")))?;
        // A proxy that listens anywhere is reached where its server is.
        let ip = if bound.ip().is_unspecified() { self.server.ip() } else { bound.ip() };
        let addr = SocketAddr::new(ip, bound.port());
        self.ledger().links.insert(spec.name, addr);
        Ok(addr)
    }

    fn close(&self, link: &str) -> Result<(), BackendError> {
        if self.ledger().links.remove(link).is_none() {
            return Err(BackendError::UnknownLink { link: link.into() });
        }
        let proxy = self.proxy_of(link);
        self.clerk.ask(move |desk| desk.delete(&proxy)).map_err(|why| self.remote(why))
    }

    fn set_upstream(&self, link: &str, upstream: &str) -> Result<(), BackendError> {
        let (proxy, upstream) = (self.proxy_of(link), upstream.to_owned());
        self.clerk.ask(move |desk| desk.set_upstream(&proxy, &upstream)).map_err(|why| self.remote(why))
    }

    fn inject(
        &self,
        fault: &str,
        action: &LinkAction,
        targets: &[Target],
        seed: Seed,
    ) -> Result<Injection, BackendError> {
        let id = {
            let mut ledger = self.ledger();
            ledger.next += 1;
            let id = ledger.next;
            ledger.open.insert(id, Vec::new());
            id
        };
        let (ledger, clerk) = (Arc::clone(&self.ledger), self.clerk.clone());
        let mut injection = Injection::new(fault, id, action.clone(), seed, move || {
            let open = ledger.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&id);
            for placed in open.unwrap_or_default() {
                let _ = clerk.ask(move |desk| heal(desk, &placed));
            }
        });
        targets.iter().try_for_each(|target| self.place(&mut injection, target))?;
        if targets.is_empty() {
            injection.at = self.clock.now();
            injection.last_hit = injection.at;
        }
        Ok(injection)
    }

    fn extend(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError> {
        self.place(injection, target)
    }

    fn retract(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError> {
        self.withdraw(injection.id, |placed| placed.target == *target)
    }

    fn proof(&self, injection: &Injection) -> Result<Proof, BackendError> {
        let (met, read_back) = self.met(injection.id)?;
        Ok(Toxiproxy::proof(self, &injection.action, met, read_back))
    }

    fn heal(&self, injection: Injection) -> Result<Proof, BackendError> {
        let (id, action) = (injection.id, injection.action.clone());
        let (_, read_back) = self.met(id)?;
        self.withdraw(id, |_| true)?;
        injection.disarm();
        let met = {
            let mut ledger = self.ledger();
            ledger.open.remove(&id);
            ledger.met.remove(&id).unwrap_or_default()
        };
        Ok(Toxiproxy::proof(self, &action, met, read_back))
    }

    fn heal_all(&self) -> Result<(), BackendError> {
        let open: Vec<u64> = self.ledger().open.keys().copied().collect();
        open.into_iter().try_for_each(|id| self.withdraw(id, |_| true))
    }

    fn counters(&self) -> Vec<(Arc<str>, LinkCounters)> {
        let links: Vec<Arc<str>> = self.ledger().links.keys().cloned().collect();
        let counters = |link: Arc<str>| {
            let proxy = self.proxy_of(&link);
            let told = self.clerk.ask(move |desk| desk.counters(&proxy)).ok().flatten()?;
            Some((link, serde_json::from_value(told).ok()?))
        };
        links.into_iter().filter_map(counters).collect()
    }

    fn leaves_behind(&self, link: &str) -> Option<Action> {
        let url = format!("{}/proxies/{}", self.url, self.proxy_of(link));
        Some(Action::Http { method: "DELETE".to_owned(), url, body: None })
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        let links: Vec<Arc<str>> = self.ledger().links.keys().cloned().collect();
        for link in links {
            if let Err(error) = self.close(&link) {
                tracing::warn!(%link, %error, "a proxy may have been left on the server");
            }
        }
    }
}
