//! The group at work: grants the primary instance its lease, takes orders, restores backups, and lets the name follow.
//! Who is primary is the decision of a [`Gateway`], which forwards nothing here.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::params::Recovery;
use super::vault::{Kept, NEWEST};
use super::{EAST, GROUP, LISTENER, VAULT, WEST};
use crate::clock::Moment;
use crate::event::What;
use crate::plan::{Backup, GroupFailover, Order};
use crate::system::Teller;
use crate::system::lab::domain::Domain;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text, unavailable};
use crate::system::lab::primary_standby::Settings;
use crate::system::lab::primary_standby::gateway::{Gateway, GatewayDisk};
use crate::system::lab::primary_standby::protocol::{Install, Shipped, Side};
use crate::system::lab::wire::ask;
use crate::system::lab::{Body, Ground, Live, Refused};
use crate::units::Span;

/// How long a backup may take to be fetched, and to be installed.
const RESTORE_WITHIN: Duration = Duration::from_secs(10);

/// How often a hand-over is looked at; the decisions end it in one way or the other.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// They may come so much later than they are due; a group that was killed meanwhile takes none.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);

/// The group, alive.
#[derive(Debug)]
pub(super) struct Group {
    gateway: Arc<Gateway>,
    settings: Settings,
    recovery: Recovery,
    /// How long a new instance takes to be made.
    restore: Duration,
    /// Whether the name follows the primary. Not to is broken on purpose.
    follows: bool,
    domain: Domain,
    teller: Teller,
    restoring: AtomicBool,
    /// Why the last restore came to nothing, if it did.
    failed: Mutex<Option<String>>,
    /// Told when a new instance is ordered.
    ordered: Notify,
}

impl Group {
    async fn run(
        self: Arc<Group>,
        listener: std::net::TcpListener,
        upstreams: [SocketAddr; 2],
        vault: SocketAddr,
        inside: Inside,
    ) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        let client = |address| Client::new(address, inside.sockets.clone());
        let (west, vault) = (client(upstreams[Side::B as usize]), client(vault));
        let group = Arc::clone(&self);
        let handler = move |request| Arc::clone(&group).answer(request);
        tokio::select! {
            () = serve(listener, inside.clone(), handler) => {}
            () = self.gateway.attend(upstreams, &inside) => {}
            () = self.gateway.follow(|side| self.lead_to(side)) => {}
            () = self.restores(&west, &vault) => {}
        }
    }

    /// Whether users have somebody to go to.
    pub(super) fn ready(&self) -> bool {
        self.gateway.ready()
    }

    /// Whether what was ordered is done.
    pub(super) fn done(&self) -> bool {
        !self.gateway.busy() && !self.restoring.load(Ordering::Relaxed)
    }

    /// Raised with every change of the primary.
    pub(super) fn term(&self) -> u64 {
        self.gateway.record().term
    }

    /// Why an order came to nothing that was granted in a term, if it did.
    pub(super) fn failed(&self, granted_in: u64) -> Option<String> {
        let record = self.gateway.record();
        let kept =
            || (record.term <= granted_in).then(|| format!("{} stays primary", self.settings.name(record.primary)));
        self.failure().clone().or_else(kept)
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name means whoever serves.
    fn lead_to(&self, side: Side) {
        if self.follows {
            self.domain.map(LISTENER, &[self.settings.name(side).to_owned()]);
        }
    }

    /// Does what a user orders, as far as it was prepared; blocks until that is under way.
    pub(super) fn order(&self, order: Order) -> Result<String, Refused> {
        let prepared = match order {
            Order::FailoverGroup(_) => Recovery::Group,
            Order::GeoRestore(_) => Recovery::Restore,
            Order::Failover(_) | Order::Maintenance | Order::Migrate(_) => {
                return Err(Refused::unknown(super::NAME, order));
            }
        };
        if self.recovery != prepared {
            return Err(Refused::never(match prepared {
                Recovery::Group => "the instance is in no failover group",
                _ => "no backups are kept in another region",
            }));
        }
        match order {
            Order::FailoverGroup(GroupFailover::Planned) => self.hand_over(),
            Order::FailoverGroup(GroupFailover::Forced) => {
                self.gateway.force().map_err(Refused::never)?;
                let other = self.gateway.record().primary.peer();
                Ok(format!("{} takes over with what it has", self.settings.name(other)))
            }
            _ => self.restore(),
        }
    }

    /// What was prepared for a loss is done: a user's one call.
    fn recover(&self) -> Result<String, Refused> {
        match self.recovery {
            Recovery::Group => self.order(Order::FailoverGroup(GroupFailover::Forced)),
            Recovery::Restore => self.order(Order::GeoRestore(Backup::Latest)),
            Recovery::Wait => Ok("nothing was prepared: it is waited for".to_owned()),
        }
    }

    fn hand_over(&self) -> Result<String, Refused> {
        let before = self.gateway.record();
        self.gateway.hand_over().map_err(Refused::never)?;
        let until = self.teller.now() + self.settings.hand_over_within() + DECIDED_WITHIN;
        while self.teller.now() < until {
            let now = self.gateway.record();
            let [from, to] = [before.primary, now.primary].map(|side| self.settings.name(side));
            if now.term > before.term {
                return Ok(format!("{from} handed over to {to}"));
            }
            if !now.yields {
                return Err(Refused::never("the other instance did not get every write in time"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(Refused::never(format!("{GROUP} did not say in time how the hand-over ended")))
    }

    fn restore(&self) -> Result<String, Refused> {
        if self.gateway.record().primary != Side::A {
            return Err(Refused::never("it was restored already"));
        }
        if self.restoring.swap(true, Ordering::Relaxed) {
            return Err(Refused::never("a geo-restore is under way"));
        }
        *self.failure() = None;
        self.ordered.notify_one();
        Ok(format!("a new instance, {WEST}, is made of the latest backup"))
    }

    /// Makes new instances as they are ordered.
    async fn restores(&self, west: &Client, vault: &Client) {
        loop {
            self.ordered.notified().await;
            let ordered = self.teller.now();
            sleep(self.restore).await;
            let made = self.make_of_newest(west, vault, ordered).await;
            *self.failure() = made.as_ref().err().cloned();
            self.restoring.store(false, Ordering::Relaxed);
            self.teller.tell(What::Note { text: made.unwrap_or_else(|why| why) });
        }
    }

    /// Makes the new instance of the newest backup, and has it take over; says what came of it.
    async fn make_of_newest(&self, west: &Client, vault: &Client, ordered: Moment) -> Result<String, String> {
        let kept = ask::<Option<Kept>>(vault, NEWEST, &(), RESTORE_WITHIN).await;
        let kept = kept.map_err(|why| format!("{VAULT} does not give its backup: {why}"))?;
        let Kept { at, store } = kept.ok_or_else(|| format!("{VAULT} has no backup: nothing can be restored"))?;
        let age = Span(Duration::from_millis(ordered.saturating_since(at).as_millis() as u64));
        let install = Install { term: self.term(), store };
        match ask::<Shipped>(west, "install", &install, RESTORE_WITHIN).await {
            Ok(Shipped::Agreed(_)) => {}
            Ok(_) => return Err(format!("{WEST} did not take the backup")),
            Err(why) => return Err(format!("{WEST} did not take the backup: {why}")),
        }
        self.gateway.force().map_err(|why| format!("{WEST} cannot take over: {why}"))?;
        Ok(format!("{WEST} is made of a backup that was {age} old when it was ordered"))
    }

    async fn answer(self: Arc<Group>, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let known = Order::ALL.into_iter().find(|order| order.path() == path);
        match (request.method(), path.as_str(), known) {
            (&Method::GET, "health", _) if self.gateway.leads() => text(StatusCode::OK, "well\n"),
            (&Method::GET, "health", _) => unavailable("no primary"),
            (&Method::POST, "recover", _) => said(self.aside(Group::recover).await),
            (&Method::POST, _, Some(order)) => said(self.aside(move |group| group.order(order)).await),
            _ => text(
                StatusCode::NOT_FOUND,
                "no such order; there are recover, failover_group/KIND, geo_restore/latest\n",
            ),
        }
    }

    /// An order blocks; what it waits for is decided on this thread.
    async fn aside(
        self: Arc<Group>,
        act: impl FnOnce(&Group) -> Result<String, Refused> + Send + 'static,
    ) -> Result<String, Refused> {
        let done = tokio::task::spawn_blocking(move || act(&self)).await;
        done.unwrap_or_else(|_| Err(Refused::never("the group ends")))
    }
}

fn said(said: Result<String, Refused>) -> Response<Bytes> {
    match said {
        Ok(said) => text(StatusCode::ACCEPTED, format!("{said}\n")),
        Err(refused) => text(StatusCode::CONFLICT, format!("{refused}\n")),
    }
}

/// The group and what is on its disk.
#[derive(Debug)]
pub(super) struct GroupBody {
    /// What is set on the instances.
    pub(super) settings: Settings,
    /// What was prepared.
    pub(super) recovery: Recovery,
    /// How long a new instance takes to be made.
    pub(super) restore: Duration,
    /// Whether the name follows.
    pub(super) follows: bool,
    /// The name's keeper.
    pub(super) domain: Domain,
    /// Who is primary.
    pub(super) disk: GatewayDisk,
    /// Who asks it.
    pub(super) live: Live<Group>,
}

impl Body for GroupBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let (upstreams, vault) = ([ground.hop(EAST)?, ground.hop(WEST)?], ground.hop(VAULT)?);
        let group = Arc::new(Group {
            gateway: Arc::new(Gateway::new(self.settings, self.disk, ground.teller.clone())),
            settings: self.settings,
            recovery: self.recovery,
            restore: self.restore,
            follows: self.follows,
            domain: self.domain.clone(),
            teller: ground.teller,
            restoring: AtomicBool::new(false),
            failed: Mutex::default(),
            ordered: Notify::new(),
        });
        self.live.set(&group);
        Host::start(&ground.name, move |inside| group.run(ground.listener, upstreams, vault, inside))
    }

    fn ended(&mut self) {
        if let Some(group) = self.live.take() {
            self.disk = group.gateway.disk();
        }
    }

    fn incarnation(&self) -> u64 {
        self.live.get().map_or(self.disk.incarnation, |group| group.gateway.incarnation())
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "group")
    }
}
