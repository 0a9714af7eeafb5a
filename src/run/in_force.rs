//! A fault in force: what heals it, and what proves that it was real.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::task::JoinHandle;

use super::action::act;
use crate::backend::{Backend, Injection, Target};
use crate::event::{LinkCounters, Proof};
use crate::permit::Permit;
use crate::plan::Action;
use crate::system::NodeAct;

/// What was done, and has to be undone.
pub(super) enum InForce {
    /// Something to links.
    Links(Box<Injection>, Vec<Target>),
    /// Something to nodes.
    Nodes {
        /// What.
        act: NodeAct,
        /// To which.
        nodes: Vec<String>,
        /// Their states as read back, in words.
        read_back: Vec<String>,
        /// Whether each state is what the act makes of it.
        obeyed: bool,
        /// The links that lead there, as their counters stood.
        towards: Vec<Traffic>,
        /// Those that are being restarted and not ready again, each with its incarnation of before.
        awaited: IndexMap<String, u64>,
    },
    /// Something outside the run, perhaps still being done.
    Action {
        /// The way back.
        undo: Option<Action>,
        /// The doing.
        doing: Doing,
    },
}

impl InForce {
    /// A node is ready.
    pub(super) fn ready(&mut self, node: &str, incarnation: u64) {
        if let InForce::Nodes { awaited, .. } = self
            && awaited.get(node).is_some_and(|before| incarnation > *before)
        {
            awaited.shift_remove(node);
        }
    }

    /// Whether it was a restart, and all nodes are ready again.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, InForce::Nodes { act: NodeAct::Restart, awaited, .. } if awaited.is_empty())
    }
}

/// An action that is being done beside the run; dropped, it is broken off, with what it started.
pub(super) struct Doing(JoinHandle<(bool, String)>);

impl Doing {
    /// Does it, then calls `done`.
    pub(super) fn start(
        action: Action,
        within: Duration,
        permit: Permit,
        done: impl FnOnce() + Send + 'static,
    ) -> Doing {
        Doing(tokio::spawn(async move {
            let ended = act(&action, within, &permit).await;
            done();
            ended
        }))
    }

    /// How it ended: whether it went well, and what it said. One that is still under way is broken off.
    pub(super) async fn end(mut self) -> (bool, String) {
        if !self.0.is_finished() {
            self.0.abort();
        }
        (&mut self.0).await.unwrap_or_else(|_| (false, "broken off: it was not done in time".to_owned()))
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one link had carried towards a node when its fault struck.
pub(super) struct Traffic {
    link: String,
    before: LinkCounters,
}

impl Traffic {
    /// The counters now of the links whose names `leads_there` knows.
    pub(super) fn now(backend: &dyn Backend, leads_there: impl Fn(&str) -> bool) -> Vec<Traffic> {
        let counters = backend.counters().into_iter().filter(|(link, _)| leads_there(link));
        counters.map(|(link, before)| Traffic { link: link.to_string(), before }).collect()
    }
}

/// What was directed at the nodes since: bytes sent on and connections tried, on all links that lead there.
fn directed(backend: &dyn Backend, towards: &[Traffic]) -> (u64, u64) {
    let now = backend.counters();
    let since = towards.iter().filter_map(|traffic| {
        let (_, now) = now.iter().find(|(link, _)| **link == *traffic.link)?;
        let bytes = now.up_received_bytes - traffic.before.up_received_bytes;
        let connections = (now.accepted - traffic.before.accepted) + (now.dial_failed - traffic.before.dial_failed);
        Some((bytes, connections))
    });
    since.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// The proof of a node fault: its state was read back, and something was directed at it (`docs/measurement.md`, proof).
pub(super) fn node_proof(backend: &dyn Backend, obeyed: bool, read_back: Vec<String>, towards: &[Traffic]) -> Proof {
    let (bytes, connections) = directed(backend, towards);
    Proof { real: obeyed && bytes + connections > 0, withheld_bytes: bytes, connections, read_back, ..Proof::default() }
}

/// The proof of an action: its exit or status code.
pub(super) fn action_proof(ok: bool, said: Vec<String>) -> Proof {
    Proof { real: ok, read_back: said, ..Proof::default() }
}
