//! The provider: watches the first region, and in its final loss puts the copies of the storage account in its place.
//!
//! Nobody else can: a user's call is refused. What a user can do is make a machine of the copied image, at their own risk.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::geo::Soundness;
use super::settings::{MISSES, Settings};
use super::storage::Heartbeat;
use super::{APP, DISK, Domain, STORAGE_EAST, STORAGE_WEST, machine_in};
use crate::clock::Moment;
use crate::event::{Milestone, What};
use crate::system::Teller;
use crate::system::lab::detector::Detector;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, serve, text};
use crate::system::lab::wire::ask;
use crate::system::lab::{Body, Ground, Live};
use crate::units::Span;

/// How long an order to another node may take.
const ORDER_WITHIN: Duration = Duration::from_secs(2);

/// The region that the storage account is paired with.
const PAIRED: &str = "west";

/// What the provider makes of a region that it does not hear. Pure, told the time.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    detector: Detector,
    declare_after: Duration,
    final_: bool,
}

/// What became of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody there answers.
    Down,
    /// It is lost for good.
    Lost,
}

impl Loss {
    pub(super) fn new(limit: Duration, declare_after: Duration, now: Moment) -> Loss {
        Loss { detector: Detector::new(limit, now), declare_after, final_: false }
    }

    /// Somebody there answered; a loss that was declared stays one.
    pub(super) fn heard(&mut self, now: Moment) {
        self.detector.heard(now);
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Moment) -> Option<Verdict> {
        if self.detector.tick(now) {
            return Some(Verdict::Down);
        }
        let over = self.detector.suspect() && now >= self.detector.deadline() + self.declare_after;
        (over && !std::mem::replace(&mut self.final_, over)).then_some(Verdict::Lost)
    }

    /// Whether the loss is final.
    pub(super) fn is_final(&self) -> bool {
        self.final_
    }

    /// When it was heard last.
    pub(super) fn last_heard(&self) -> Moment {
        self.detector.last_heard()
    }
}

/// The provider, alive.
#[derive(Debug)]
pub(super) struct Provider {
    settings: Settings,
    teller: Teller,
    domain: Domain,
    loss: Mutex<Loss>,
    /// Told when a user wants a machine of the copied image.
    wanted: Notify,
}

impl Provider {
    async fn run(self: Arc<Provider>, listener: std::net::TcpListener, hops: [SocketAddr; 3], inside: Inside) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        let [east, west, machine] = hops.map(|hop| Client::new(hop, inside.sockets.clone()));
        let provider = Arc::clone(&self);
        let handler = move |request| {
            let provider = Arc::clone(&provider);
            async move { provider.answer(&request) }
        };
        tokio::select! {
            () = serve(listener, inside, handler) => {}
            () = async { tokio::join!(self.watch(&east), self.decide(&west), self.provision(&machine)); } => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Loss> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET, "/health") => text(StatusCode::OK, "well\n"),
            (&Method::POST, "/remap") => text(
                StatusCode::FORBIDDEN,
                "only the provider remaps names to the copies, and only when a region is lost for good\n",
            ),
            (&Method::POST, "/provision") if !self.settings.geo => {
                text(StatusCode::CONFLICT, "the storage account has no copy in another region\n")
            }
            (&Method::POST, "/provision") => {
                self.wanted.notify_one();
                text(
                    StatusCode::ACCEPTED,
                    format!("a machine is made of the copied image in {PAIRED}; nothing is promised\n"),
                )
            }
            _ => text(StatusCode::NOT_FOUND, "no such path; there are /provision and /remap\n"),
        }
    }

    fn tell(&self, milestone: Milestone, node: &str) {
        self.teller.tell(What::Milestone { milestone, node: node.to_owned(), source: "lab".to_owned() });
    }

    fn note(&self, text: String) {
        self.teller.tell(What::Note { text });
    }

    /// Asks the account whether it is well, and says whether it is the account still.
    async fn watch(&self, east: &Client) {
        loop {
            let heartbeat = Heartbeat { account: !self.lock().is_final() || !self.settings.geo };
            if ask::<()>(east, "heartbeat", &heartbeat, self.settings.heartbeat * MISSES).await.is_ok() {
                self.lock().heard(self.teller.now());
            }
            sleep(self.settings.heartbeat).await;
        }
    }

    async fn decide(&self, west: &Client) {
        loop {
            sleep(self.settings.heartbeat / 2).await;
            let verdict = self.lock().tick(self.teller.now());
            match verdict {
                None => {}
                Some(Verdict::Down) => self.tell(Milestone::Detected, STORAGE_EAST),
                Some(Verdict::Lost) if !self.settings.geo => {
                    self.note(format!("{STORAGE_EAST} is lost for good, and its copies with it: they were all there"));
                }
                Some(Verdict::Lost) => {
                    self.tell(Milestone::Decided, STORAGE_WEST);
                    while ask::<()>(west, "heartbeat", &Heartbeat { account: true }, ORDER_WITHIN).await.is_err() {
                        sleep(self.settings.heartbeat).await;
                    }
                    self.tell(Milestone::Promoted, STORAGE_WEST);
                    self.domain.map(DISK, &[STORAGE_WEST.to_owned()]);
                    self.tell(Milestone::Redirected, STORAGE_WEST);
                    self.note(format!("{STORAGE_EAST} is lost for good: the provider maps {DISK} to {STORAGE_WEST}"));
                }
            }
        }
    }

    /// Makes a machine of the copied image whenever a user wants one; what came of it is told.
    async fn provision(&self, machine: &Client) {
        let times = self.settings.times;
        let within = times.machine + times.boot + times.log + times.application + ORDER_WITHIN;
        let node = machine_in(PAIRED);
        loop {
            self.wanted.notified().await;
            self.tell(Milestone::Decided, &node);
            let lost = self.lock().last_heard();
            let made = ask::<Option<Soundness>>(machine, "provision", &lost, within).await;
            let soundness = match made {
                Ok(soundness) => soundness.unwrap_or(Soundness { behind: Duration::ZERO, torn: 0 }),
                Err(why) => {
                    self.note(format!("no machine could be made of the copied image: {why}"));
                    continue;
                }
            };
            let behind = Span(Duration::from_millis(soundness.behind.as_millis() as u64));
            let whole = match soundness.torn {
                0 => "of one moment".to_owned(),
                torn => format!("torn: {torn} of its parts lack writes older than others that are there"),
            };
            let works = soundness.torn == 0 || self.settings.torn_boots;
            let then = if works { "the machine works" } else { "the machine does not boot" };
            self.note(format!("the copied image is up to {behind} behind the loss and {whole}; {then}"));
            if works {
                self.tell(Milestone::Promoted, &node);
                self.domain.map(APP, std::slice::from_ref(&node));
                self.tell(Milestone::Redirected, &node);
            }
        }
    }
}

/// The provider, alive or not.
#[derive(Debug)]
pub(super) struct ProviderBody {
    settings: Settings,
    domain: Domain,
    disk: Option<Loss>,
    incarnation: u64,
    live: Live<Provider>,
}

impl ProviderBody {
    pub(super) fn new(settings: Settings, domain: Domain) -> ProviderBody {
        ProviderBody { settings, domain, disk: None, incarnation: 0, live: Live::default() }
    }
}

impl Body for ProviderBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        let hops = [ground.hop(STORAGE_EAST)?, ground.hop(STORAGE_WEST)?, ground.hop(&machine_in(PAIRED))?];
        let limit = self.settings.heartbeat * MISSES;
        let loss = Loss::new(limit, self.settings.declare_after, ground.teller.now());
        self.incarnation += 1;
        let provider = Arc::new(Provider {
            settings: self.settings,
            teller: ground.teller,
            domain: self.domain.clone(),
            loss: Mutex::new(self.disk.take().unwrap_or(loss)),
            wanted: Notify::new(),
        });
        self.live.set(&provider);
        Host::start(&ground.name, move |inside| provider.run(ground.listener, hops, inside))
    }

    fn ended(&mut self) {
        if let Some(provider) = self.live.take() {
            self.disk = Some(provider.lock().clone());
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "provider")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn loss() -> Loss {
        Loss::new(Duration::from_millis(300), Duration::from_secs(2), at(0))
    }

    #[test]
    fn a_region_is_lost_for_good_only_after_it_was_down_for_so_long() {
        let mut loss = loss();
        assert_eq!(loss.tick(at(299)), None);
        assert_eq!(loss.tick(at(300)), Some(Verdict::Down));
        assert_eq!(loss.tick(at(2_299)), None);
        assert_eq!(loss.tick(at(2_300)), Some(Verdict::Lost));
        assert_eq!(loss.tick(at(9_000)), None, "it is told once");
        loss.heard(at(9_100));
        assert!(loss.is_final(), "what was declared lost does not come back by itself");
    }

    #[test]
    fn a_region_that_comes_back_in_time_is_not_lost() {
        let mut loss = loss();
        assert_eq!(loss.tick(at(300)), Some(Verdict::Down));
        loss.heard(at(2_200));
        assert_eq!(loss.tick(at(2_400)), None);
        assert_eq!(loss.tick(at(2_500)), Some(Verdict::Down));
        assert!(!loss.is_final());
    }
}
