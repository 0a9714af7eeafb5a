//! The proxy engine inside this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Backend, BackendError, Injection, LinkAction, Target, proof_of};
use crate::clock::RunClock;
use crate::event::{LinkCounters, Mechanism, Proof};
use crate::plan::fault::Direction;
use crate::proxy::{Engine, Evidence, Link, LinkSpec, Reach, Strike, StrikeId, Struck};
use crate::seed::Seed;

/// Applies faults with a proxy engine of its own.
#[derive(Debug)]
pub struct Embedded {
    // Before the engine: a link closes by an order to its thread.
    links: RwLock<BTreeMap<Arc<str>, Served>>,
    ledger: Arc<Mutex<Ledger>>,
    engine: Engine,
}

#[derive(Clone, Debug)]
struct Served {
    link: Arc<Link>,
    http: bool,
}

/// What is in force.
#[derive(Debug, Default)]
struct Ledger {
    next: u64,
    open: BTreeMap<u64, Open>,
}

/// One fault in force.
#[derive(Debug, Default)]
struct Open {
    hits: Vec<(Target, Arc<Link>, StrikeId)>,
    /// What it met on links where it is healed already.
    met: Evidence,
}

impl Open {
    fn evidence(&self) -> Evidence {
        let mut met = self.met;
        self.hits.iter().filter_map(|(_, link, id)| link.evidence(*id)).for_each(|evidence| met += evidence);
        met
    }

    /// A link is about to close: what the fault met there still counts.
    fn leave(&mut self, leaving: &Arc<Link>) {
        for (_, link, id) in self.hits.extract_if(.., |(_, link, _)| Arc::ptr_eq(link, leaving)) {
            self.met += link.evidence(id).unwrap_or_default();
        }
    }

    fn heal(&mut self) -> Evidence {
        for (_, link, id) in self.hits.drain(..) {
            self.met += link.heal(id).unwrap_or_default();
        }
        self.met
    }
}

impl Embedded {
    /// An engine with so many threads; 0: as many as are good here.
    pub fn start(threads: usize, clock: RunClock) -> Result<Embedded, BackendError> {
        Ok(Embedded::on(Engine::start(threads, clock)?))
    }

    /// With an engine made otherwise.
    pub fn on(engine: Engine) -> Embedded {
        Embedded { links: RwLock::default(), ledger: Arc::default(), engine }
    }

    /// A link by its name, for who needs more than [`Backend`] tells.
    pub fn link(&self, name: &str) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(name).map(|served| Arc::clone(&served.link))
    }

    fn served(&self, name: &str) -> Result<Served, BackendError> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.get(name).cloned().ok_or_else(|| BackendError::UnknownLink { link: name.into() })
    }

    /// The link of a target, if the action can be done there.
    fn aim(&self, action: &LinkAction, target: &Target) -> Result<Arc<Link>, BackendError> {
        let Served { link, http } = self.served(&target.link)?;
        if matches!(action, LinkAction::Http(_)) && !http {
            return Err(BackendError::NotHttp { link: Arc::clone(&target.link) });
        }
        Ok(link)
    }

    fn strike(&self, injection: &mut Injection, target: &Target, link: Arc<Link>) -> Result<(), BackendError> {
        let struck = link.strike(&injection.fault, strike_of(&injection.action, target.direction), injection.seed)?;
        let Struck { id, at, mechanism, in_flight_bytes } = struck;
        injection.at = injection.at.min(at);
        injection.last_hit = injection.last_hit.max(at);
        injection.mechanism = injection.mechanism.or(mechanism);
        injection.in_flight_bytes += in_flight_bytes;
        lock(&self.ledger).open.entry(injection.id).or_default().hits.push((target.clone(), link, id));
        Ok(())
    }
}

impl Backend for Embedded {
    fn mechanism(&self) -> Mechanism {
        self.engine.mechanism()
    }

    fn open(&self, spec: LinkSpec) -> Result<SocketAddr, BackendError> {
        let (name, http) = (Arc::clone(&spec.name), spec.http);
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        if links.contains_key(&name) {
            return Err(BackendError::DuplicateLink { link: name });
        }
        let link = Arc::new(self.engine.open(spec)?);
        let addr = link.addr();
        links.insert(name, Served { link, http });
        Ok(addr)
    }

    fn close(&self, link: &str) -> Result<(), BackendError> {
        let removed = self.links.write().unwrap_or_else(PoisonError::into_inner).remove(link);
        let Served { link, .. } = removed.ok_or_else(|| BackendError::UnknownLink { link: link.into() })?;
        lock(&self.ledger).open.values_mut().for_each(|open| open.leave(&link));
        link.close();
        Ok(())
    }

    fn set_upstream(&self, link: &str, upstream: &str) -> Result<(), BackendError> {
        self.served(link)?.link.set_upstream(upstream);
        Ok(())
    }

    fn inject(
        &self,
        fault: &str,
        action: &LinkAction,
        targets: &[Target],
        seed: Seed,
    ) -> Result<Injection, BackendError> {
        // Before the first is hit: a reset cannot be taken back.
        let links = targets.iter().map(|target| self.aim(action, target)).collect::<Result<Vec<_>, _>>()?;
        let id = {
            let mut ledger = lock(&self.ledger);
            ledger.next += 1;
            let id = ledger.next;
            ledger.open.insert(id, Open::default());
            id
        };
        let ledger = Arc::clone(&self.ledger);
        let mut injection = Injection::new(fault, id, action.clone(), seed, move || {
            settle(&ledger, id);
        });
        // Where a link has been closed meanwhile, dropping the injection heals those before it.
        targets.iter().zip(links).try_for_each(|(target, link)| self.strike(&mut injection, target, link))?;
        if targets.is_empty() {
            injection.at = self.engine.now();
            injection.last_hit = injection.at;
        }
        Ok(injection)
    }

    fn extend(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError> {
        let link = self.aim(&injection.action, target)?;
        self.strike(injection, target, link)
    }

    fn retract(&self, injection: &mut Injection, target: &Target) -> Result<(), BackendError> {
        let (_, link, strike) = {
            let mut ledger = lock(&self.ledger);
            let Some(open) = ledger.open.get_mut(&injection.id) else { return Ok(()) };
            let Some(place) = open.hits.iter().position(|(hit, ..)| hit == target) else { return Ok(()) };
            open.hits.remove(place)
        };
        let met = link.heal(strike).unwrap_or_default();
        if let Some(open) = lock(&self.ledger).open.get_mut(&injection.id) {
            open.met += met;
        }
        Ok(())
    }

    fn proof(&self, injection: &Injection) -> Result<Proof, BackendError> {
        let met = lock(&self.ledger).open.get(&injection.id).map(Open::evidence).unwrap_or_default();
        Ok(proof_of(&injection.action, met))
    }

    fn heal(&self, injection: Injection) -> Result<Proof, BackendError> {
        let proof = proof_of(&injection.action, settle(&self.ledger, injection.id));
        injection.disarm();
        Ok(proof)
    }

    fn heal_all(&self) -> Result<(), BackendError> {
        lock(&self.ledger).open.values_mut().for_each(|open| {
            open.heal();
        });
        Ok(())
    }

    fn counters(&self) -> Vec<(Arc<str>, LinkCounters)> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.iter().map(|(name, served)| (Arc::clone(name), served.link.counters())).collect()
    }

    fn connection_from(&self, link: &str, peer: SocketAddr) -> Option<u64> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(link)?.link.connection_from(peer)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Heals a fault on all its links.
fn settle(ledger: &Mutex<Ledger>, id: u64) -> Evidence {
    let open = lock(ledger).open.remove(&id);
    open.map(|mut open| open.heal()).unwrap_or_default()
}

/// What an action is on one link.
fn strike_of(action: &LinkAction, direction: Direction) -> Strike {
    match action {
        LinkAction::Toxic { toxic, share } => Strike::Toxic { direction, toxic: *toxic, share: share.get() },
        LinkAction::Silent => Strike::Reach(Reach::Silent(direction)),
        LinkAction::Reset => Strike::Reach(Reach::Reset),
        LinkAction::Refused => Strike::Reach(Reach::Refused),
        LinkAction::Refuse => Strike::Reach(Reach::Refuse),
        LinkAction::BlackHole => Strike::Reach(Reach::BlackHole),
        LinkAction::HalfOpen => Strike::Reach(Reach::HalfOpen),
        LinkAction::Flap { up, down } => Strike::Reach(Reach::Flap { up: *up, down: *down }),
        LinkAction::Drop { share, reset, once } => {
            Strike::Reach(Reach::Drop { share: share.get(), reset: *reset, once: *once })
        }
        LinkAction::Http(fault) => Strike::Http(fault.clone()),
    }
}
