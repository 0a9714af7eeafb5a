//! One toxic or fault that stands on a proxy, through all the proxy's stops and starts.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::fault::WantedFault;
use super::refusal::Refusal;
use super::wire::{self, Settings, Stream, Toxicity, Ttl};
use crate::proxy::{Evidence, Link, Strike, StrikeId};
use crate::seed::Seed;

/// A toxic or a fault on a proxy.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Its name; toxics and faults of a proxy share one space of names.
    pub(crate) name: String,
    what: What,
    lease: Option<Lease>,
    /// In force on the proxy's link; none while the proxy is stopped, and for `noop`.
    struck: Option<StrikeId>,
    /// What it had met in the proxy's earlier lives.
    met: Evidence,
}

/// What stands.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Made by the Toxiproxy API, and shown by it.
    Toxic { stream: Stream, toxicity: Toxicity, settings: Settings },
    /// Made by the versioned API, and shown by that alone: clients of the other know fewer words.
    Fault(Box<WantedFault>),
}

/// Until when it stands, unless it is renewed.
#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl: Duration,
    until: Instant,
}

impl What {
    fn strike(&self) -> Option<Strike> {
        match self {
            What::Toxic { stream, toxicity, settings } => {
                let (direction, share) = (stream.direction(), toxicity.share());
                settings.toxic().map(|toxic| Strike::Toxic { direction, toxic, share })
            }
            What::Fault(fault) => Some(fault.strike()),
        }
    }
}

impl Standing {
    pub(crate) fn new(name: String, what: What, ttl: Option<Ttl>) -> Standing {
        let mut standing = Standing { name, what, lease: None, struck: None, met: Evidence::default() };
        standing.renew(ttl);
        standing
    }

    /// Whether the Toxiproxy API shows it.
    pub(crate) fn is_toxic(&self) -> bool {
        matches!(self.what, What::Toxic { .. })
    }

    pub(crate) fn what(&self) -> &What {
        &self.what
    }

    /// Whether it needs a link that reads HTTP.
    pub(crate) fn needs_http(&self) -> bool {
        matches!(self.what.strike(), Some(Strike::Http(_)))
    }

    /// Comes into force on a link that has been opened, or on which it is new. Its chance is of this life of the proxy.
    pub(crate) fn strike(&mut self, link: &Link, seed: Seed, life: u64) -> Result<(), Refusal> {
        let Some(strike) = self.what.strike() else { return Ok(()) };
        let name = if life == 1 { self.name.clone() } else { format!("{}/life {life}", self.name) };
        let struck = link.strike(&name, strike, seed).map_err(|error| Refusal::Listen(error.to_string()))?;
        self.struck = Some(struck.id);
        Ok(())
    }

    /// Goes out of force, on a link that goes on or closes.
    pub(crate) fn heal(&mut self, link: &Link) {
        if let Some(met) = self.struck.take().and_then(|id| link.heal(id)) {
            self.met += met;
        }
    }

    /// Its link closes without a word to it: what it has met is kept.
    pub(crate) fn keep_evidence(&mut self, link: &Link) {
        if let Some(met) = self.struck.take().and_then(|id| link.evidence(id)) {
            self.met += met;
        }
    }

    /// Becomes something else, on open connections too. A toxic of the same kind keeps what it has counted.
    pub(crate) fn change(&mut self, what: What, link: Option<&Link>, seed: Seed, life: u64) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.what, what);
        let Some(link) = link else { return Ok(()) };
        match (self.struck, before.strike(), self.what.strike()) {
            (
                Some(id),
                Some(Strike::Toxic { toxic: old, direction: from, .. }),
                Some(Strike::Toxic { toxic, direction, share }),
            ) if std::mem::discriminant(&old) == std::mem::discriminant(&toxic) && from == direction => {
                link.update_toxic(id, toxic, share);
                Ok(())
            }
            _ => {
                self.heal(link);
                self.strike(link, seed, life)
            }
        }
    }

    /// A lease from now on; zero: none any more; not given: as it was.
    pub(crate) fn renew(&mut self, ttl: Option<Ttl>) {
        if let Some(Ttl(ttl)) = ttl {
            // A time that no clock reaches is no lease.
            let until = Instant::now().checked_add(ttl).filter(|_| !ttl.is_zero());
            self.lease = until.map(|until| Lease { ttl, until });
        }
    }

    /// When its lease ends.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.lease.map(|lease| lease.until)
    }

    /// What it has met so far.
    pub(crate) fn met(&self, link: Option<&Link>) -> Evidence {
        let mut met = self.met;
        if let (Some(link), Some(id)) = (link, self.struck) {
            met += link.evidence(id).unwrap_or_default();
        }
        met
    }

    /// As the Toxiproxy API shows it, where it does.
    pub(crate) fn as_toxic(&self) -> Option<Value> {
        let What::Toxic { stream, toxicity, settings } = &self.what else { return None };
        let mut shown = wire::shown_toxic(&self.name, stream, *toxicity, settings);
        self.show_lease(&mut shown);
        Some(Value::Object(shown))
    }

    /// As the versioned API shows it.
    pub(crate) fn as_fault(&self, link: Option<&Link>) -> Value {
        let mut shown = Map::new();
        shown.insert("name".to_owned(), self.name.as_str().into());
        match &self.what {
            What::Toxic { stream, toxicity, settings } => {
                let mut toxic = wire::shown_toxic(&self.name, stream, *toxicity, settings);
                toxic.shift_remove("name");
                shown.insert("toxic".to_owned(), toxic.into());
            }
            What::Fault(fault) => {
                let Ok(Value::Object(members)) = serde_json::to_value(fault) else { return Value::Null };
                shown.extend(members.into_iter().filter(|(key, _)| key != "name" && key != "ttl"));
            }
        }
        self.show_lease(&mut shown);
        shown.insert("met".to_owned(), shown_evidence(self.met(link)));
        shown.into()
    }

    fn show_lease(&self, shown: &mut Map<String, Value>) {
        if let Some(lease) = self.lease {
            let left = lease.until.saturating_duration_since(Instant::now());
            shown.insert("ttl".to_owned(), crate::units::Span(lease.ttl).to_string().into());
            shown.insert("ends_in_ms".to_owned(), (left.as_millis() as u64).into());
        }
    }
}

/// What a fault has met, in the words of a run's proof.
fn shown_evidence(met: Evidence) -> Value {
    json!({
        "altered_chunks": met.altered_chunks,
        "withheld_bytes": met.withheld_bytes,
        "dropped_segments": met.dropped_segments,
        "connections": met.connections,
        "requests": met.requests,
    })
}
