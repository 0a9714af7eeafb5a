//! Labs: reference systems inside the binary, real sockets and all, each with a way to break it on purpose.
//!
//! A lab decides in pure state machines that are told the time (`detector`, each lab's own), and acts in thin threads
//! (`host`: one thread and runtime a node; `http` and `wire`: what they say to each other; `kv`: what clients ask). The
//! decisions run by the thousand in `simulation`, on a clock and a network that are not real. To write one:
//!
//! 1. List what can be set on it: a table of [`Param`]s, each with its default, its range and a sentence.
//! 2. Describe it from those alone: a [`Layout`] of nodes with their labels (`zone` and `role`, `region` where there are
//!    several) and a hop for each pair that talks; the entries that clients use, who serves at the start, which orders it
//!    takes. Whoever watches others comes after them.
//! 3. Give each node a [`Body`]: [`launch`](Body::launch) starts a [`host::Host`] with what is on the disk,
//!    [`ended`](Body::ended) takes the disk back. It dials others by [`Ground::hop`] only, and tells each new role as
//!    an event.
//! 4. Bind a [`Fleet`] of them and implement [`Lab`] around it; most of it is whom to ask whether it is ready.
//! 5. Put a [`LabKind`] into [`registry::LABS`]. Faults, checks, plan, report and `brownout lab` know it from then on.

pub mod body;
pub mod compute;
pub mod detector;
pub mod domain;
pub mod fleet;
pub mod gateway;
pub mod host;
pub mod http;
pub mod kv;
pub mod layout;
pub mod managed_sql;
pub mod order;
pub mod params;
pub mod primary_standby;
pub mod regions;
pub mod registry;
pub mod replica_set;
#[cfg(test)]
mod simulation;
pub mod site_recovery;
pub mod store;
pub mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{NodeInfo, SystemError};
use crate::plan::Order;
use crate::system::dns::Dns;

pub use body::{Body, Ground, Live};
pub use fleet::Fleet;
pub use layout::Layout;
pub use order::Refused;
pub use params::{Param, ParamKind};
pub use registry::{LABS, LabKind, Labs};

/// A reference system as a whole.
pub trait Lab: fmt::Debug + Send + Sync {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Its nodes.
    fn fleet(&self) -> &Fleet;

    /// Who answers for its names, which it may map to other nodes from now on; told before it starts.
    fn name_server(&self, _dns: &Arc<Dns>) {}

    /// Whether it serves.
    fn ready(&self) -> bool;

    /// The nodes whose places serve operations now: those that a failover takes away.
    fn serving(&self) -> Vec<String>;

    /// The nodes that the probe at the service asks for `/health`.
    fn probed(&self) -> Vec<String>;

    /// Does what a user asks of the system itself, as by its API, and says what; blocks until it is under way, so that
    /// it is [`done`](Self::done) only when it is carried out. A refusal changes nothing.
    fn order(&self, order: Order) -> Result<String, Refused> {
        Err(Refused::unknown(self.name(), order))
    }

    /// Whether what was ordered is done, and it serves.
    fn done(&self, _order: Order) -> bool {
        self.ready()
    }

    /// Why what was ordered came to nothing although it was granted; asked once it is [`done`](Self::done).
    fn failed(&self, _order: Order) -> Option<String> {
        None
    }
}

/// How long a lab may take to serve: a few heartbeats at the slowest setting.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Waits until a lab that was started serves.
pub async fn serves(lab: &dyn Lab) -> Result<(), SystemError> {
    let deadline = Instant::now() + READY_WITHIN;
    while !lab.ready() {
        if Instant::now() >= deadline {
            let state = |node: &NodeInfo| format!("{} {}", node.name, node.state.name());
            return Err(SystemError::LabNotReady {
                lab: lab.name().to_owned(),
                waited: READY_WITHIN,
                state: lab.fleet().nodes().iter().map(state).collect::<Vec<_>>().join(", "),
            });
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
