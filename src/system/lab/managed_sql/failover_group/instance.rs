//! An instance: a node of a pair, which sends backups to the other region while it is primary.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::VAULT;
use super::vault::{KEEP, Kept};
use crate::system::Teller;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::Client;
use crate::system::lab::primary_standby::Settings;
use crate::system::lab::primary_standby::node::Node;
use crate::system::lab::primary_standby::protocol::Side;
use crate::system::lab::primary_standby::replica::Disk;
use crate::system::lab::wire::ask;
use crate::system::lab::{Body, Ground, Live};

/// How long a backup may take to arrive.
const BACKUP_WITHIN: Duration = Duration::from_secs(10);

/// An instance and its disk.
#[derive(Debug)]
pub(super) struct InstanceBody {
    /// Which.
    pub(super) side: Side,
    /// What is set.
    pub(super) settings: Settings,
    /// How often a backup is made; none: never.
    pub(super) backup_every: Option<Duration>,
    /// What survives.
    pub(super) disk: Disk,
    /// Who asks it.
    pub(super) live: Live<Node>,
}

impl Body for InstanceBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let (peer, vault) = (ground.hop(self.settings.name(self.side.peer()))?, ground.hop(VAULT)?);
        let teller = ground.teller.clone();
        let node = Arc::new(Node::new(self.side, self.settings, std::mem::take(&mut self.disk), ground.teller));
        self.live.set(&node);
        let every = self.backup_every;
        Host::start(&ground.name, move |inside| async move {
            let backups = async {
                match every {
                    Some(every) => back_up(&node, vault, every, &teller, &inside).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = Arc::clone(&node).run(ground.listener, peer, inside.clone()) => {}
                () = backups => {}
            }
        })
    }

    fn ended(&mut self) {
        if let Some(node) = self.live.take() {
            self.disk = node.take_disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |node| node.incarnation())
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|node| node.role().name())
    }

    /// It knows its place once the group has told it.
    fn tells_ready(&self) -> bool {
        true
    }
}

/// Sends everything, as it is at one moment, again and again.
async fn back_up(node: &Node, vault: SocketAddr, every: Duration, teller: &Teller, inside: &Inside) {
    let vault = Client::new(vault, inside.sockets.clone());
    loop {
        if let Some(store) = node.backup() {
            let kept = Kept { at: teller.now(), store };
            if let Err(why) = ask::<()>(&vault, KEEP, &kept, BACKUP_WITHIN).await {
                tracing::debug!(%why, "a backup is lost: the one before it is the newest still");
            }
            sleep(every).await;
        } else {
            sleep(every.min(Duration::from_millis(50))).await;
        }
    }
}
