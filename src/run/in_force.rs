//! A fault in force: what is known of it until it is healed.

use indexmap::IndexMap;
use tokio::task::JoinHandle;

use super::on_nodes::Struck;
use crate::backend::{Injection, Target};
use crate::event::Proof;
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
        /// The silence of their links, where they lost their power.
        silence: Option<Box<Injection>>,
        /// What came of it; none while it is being done.
        struck: Option<Struck>,
        /// Those that are being restarted and not ready again, each with its incarnation of before.
        awaited: IndexMap<String, u64>,
    },
    /// Something to what names mean.
    Names,
    /// An order to the lab, or something outside the run; perhaps still being done.
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
        matches!(self, InForce::Nodes { act: NodeAct::Restart, struck: Some(_), awaited, .. } if awaited.is_empty())
    }
}

/// An action that is being done beside the run; dropped, it is broken off, with what it started.
pub(super) struct Doing(JoinHandle<(bool, String)>);

impl Doing {
    /// Does it, then calls `done`; it says whether it went well, and what came of it.
    pub(super) fn start(
        work: impl Future<Output = (bool, String)> + Send + 'static,
        done: impl FnOnce() + Send + 'static,
    ) -> Doing {
        Doing(tokio::spawn(async move {
            let ended = work.await;
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

/// The proof of a fault on names: a query that it answered, or held back.
pub(super) fn name_proof(queries: u64) -> Proof {
    Proof { real: queries > 0, queries, ..Proof::default() }
}

/// The proof of an action: its exit or status code.
pub(super) fn action_proof(ok: bool, said: Vec<String>) -> Proof {
    Proof { real: ok, read_back: said, ..Proof::default() }
}
