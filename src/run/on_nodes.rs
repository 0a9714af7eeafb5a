//! Faults on nodes. They are done beside the conductor: an end in good order takes seconds, and a keeper may be slow.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::backend::Backend;
use crate::clock::{Moment, RunClock};
use crate::event::{LinkCounters, Proof};
use crate::system::{NodeAct, System, SystemError};

/// Something done to nodes, and to be taken back.
#[derive(Clone)]
pub(super) struct OnNodes {
    pub(super) act: NodeAct,
    pub(super) nodes: Vec<String>,
    /// The links that lead there.
    pub(super) links: Vec<String>,
    pub(super) system: Arc<System>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) clock: RunClock,
}

/// What came of it.
pub(super) struct Struck {
    /// When the first was asked for.
    pub(super) at: Moment,
    /// When the last had obeyed.
    pub(super) last_hit: Moment,
    /// Their states as read back, in words.
    pub(super) read_back: Vec<String>,
    /// Whether each state is what the act makes of it.
    pub(super) obeyed: bool,
    /// The links that lead there, as their counters stood.
    towards: Vec<(String, LinkCounters)>,
}

impl OnNodes {
    /// Does it; returns when it is done.
    pub(super) async fn strike(&self, before: &IndexMap<String, u64>) -> Result<Struck, SystemError> {
        let towards = self.towards();
        let at = self.clock.now();
        for node in &self.nodes {
            self.system.apply(node, self.act).await?;
        }
        let last_hit = self.clock.now();
        let (read_back, obeyed) = self.read_back(before);
        Ok(Struck { at, last_hit, read_back, obeyed, towards })
    }

    /// Takes it back on all, past those that do not obey; what these said.
    pub(super) async fn heal(&self) -> Vec<SystemError> {
        let mut disobeyed = Vec::new();
        for node in &self.nodes {
            disobeyed.extend(self.system.heal(node, self.act).await.err());
        }
        disobeyed
    }

    /// The proof: their state was read back, and something was directed at them (`docs/measurement.md`, proof).
    pub(super) fn proof(&self, struck: Struck) -> Proof {
        let (bytes, connections) = self.directed(&struck.towards);
        Proof {
            real: struck.obeyed && bytes + connections > 0,
            withheld_bytes: bytes,
            connections,
            read_back: struck.read_back,
            ..Proof::default()
        }
    }

    fn towards(&self) -> Vec<(String, LinkCounters)> {
        let counters = self.backend.counters().into_iter().map(|(link, counters)| (link.to_string(), counters));
        counters.filter(|(link, _)| self.links.contains(link)).collect()
    }

    /// What was directed at them since: bytes sent on and connections tried, on all links that lead there.
    fn directed(&self, before: &[(String, LinkCounters)]) -> (u64, u64) {
        let now = self.towards();
        let since = before.iter().filter_map(|(link, before)| {
            let (_, now) = now.iter().find(|(name, _)| name == link)?;
            let bytes = now.up_received_bytes - before.up_received_bytes;
            let connections = (now.accepted - before.accepted) + (now.dial_failed - before.dial_failed);
            Some((bytes, connections))
        });
        since.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// The nodes' states as read back, and whether each is what the act makes of it.
    fn read_back(&self, before: &IndexMap<String, u64>) -> (Vec<String>, bool) {
        let now = incarnations(&self.system, &self.nodes);
        let mut obeyed = true;
        let mut lines = Vec::new();
        for node in &self.nodes {
            let state = match self.act {
                NodeAct::Restart => format!("started again as {node}#{}", now.get(node).copied().unwrap_or_default()),
                NodeAct::Kill | NodeAct::Stop | NodeAct::Pause => self.system.read_back(node),
            };
            obeyed &= match self.act {
                NodeAct::Kill | NodeAct::Stop => state == "gone",
                NodeAct::Pause => matches!(state.as_str(), "T" | "paused"),
                // What was there before has gone: somebody else stands in its place.
                NodeAct::Restart => now.get(node) > before.get(node),
            };
            lines.push(format!("{node}: {state}"));
        }
        (lines, obeyed)
    }
}

/// The proof of a blackout: every node was gone, and something was directed at it, or withheld on the way.
pub(super) fn blackout_proof(obeyed: bool, nodes: Proof, links: Proof) -> Proof {
    Proof { real: obeyed && (nodes.real || links.real), read_back: nodes.read_back, ..links }
}

/// How often each node has been started or promoted.
pub(super) fn incarnations(system: &System, nodes: &[String]) -> IndexMap<String, u64> {
    let all = system.nodes().into_iter();
    all.filter(|info| nodes.contains(&info.name)).map(|info| (info.name, info.incarnation)).collect()
}
