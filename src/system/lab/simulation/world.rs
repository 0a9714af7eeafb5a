//! Everybody who takes part, and what passes between them: nodes with copies, control nodes, compute nodes, clients.

use std::collections::VecDeque;
use std::time::Duration;

use super::engines::Engines;
use super::ledger::{Ledger, Outcome};
use super::network::{Network, Times};
use super::place::Place;
use super::strikes::Fault;
use crate::clock::Moment;
use crate::seed::Seed;
use crate::system::lab::compute::{Assignment, Report, epoch};
use crate::system::lab::kv::Confirmation;
use crate::system::lab::replica_set::controller::Happening;
use crate::system::lab::replica_set::protocol::{Beat, Heartbeat, Record, Shipment, Shipped, Ticket};
use crate::system::lab::replica_set::replica::{Disk, Intent};
use crate::system::lab::replica_set::ring::{Answer, Ask, RingDisk};
use crate::system::lab::replica_set::{Control, Id, Members, Replica, Settings};
use crate::system::lab::store::Change;

pub(super) const CONTROLS: usize = 3;

/// A place's number: nodes, then control nodes, then compute nodes.
pub(super) type Number = usize;

/// Something that reaches a place.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Heartbeat(Heartbeat),
    Beat(Id, Beat),
    Ask(Id, Ask),
    Answer(Id, Ask, Answer),
    Shipment(Id, Ticket, Shipment),
    Shipped(Id, Ticket, Option<Shipped>),
    /// A client, or an engine for one, to a node.
    Write(Intent, Engine, u64),
    Read(Intent, Engine, u64),
    Assigned(Option<Assignment>),
    Report(usize, Report),
    /// A client to a compute node, by the epoch that it was routed by.
    ToEngine(Option<u64>, Asked, u64),
    Attach(usize, u64),
    Attached(u64),
    Refused(u64),
}

/// The engine that asks in place of a client: its number and epoch.
pub(super) type Engine = Option<(usize, u64)>;

/// What a client asks of an engine about a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Write,
    Read,
}

#[derive(Debug)]
pub(super) enum Event {
    /// An answer is for the life that asked: one that died hears none.
    Arrives(Number, Option<u64>, Box<Message>),
    ControlBeats,
    Tick,
    ClientAsks,
    Strike,
    Migrate,
    Heal(Fault),
}

/// What a node has accepted and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    term: u64,
    index: u64,
    what: Accepted,
}

#[derive(Clone, Copy, Debug)]
enum Accepted {
    Write { key: u64, of_a_replaced_engine: bool },
    Attach { engine: usize, epoch: u64 },
}

pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) network: Network<Event>,
    pub(super) nodes: Vec<Place<Replica, Disk, Box<Message>>>,
    pub(super) controls: Vec<Place<Control, RingDisk, Box<Message>>>,
    /// Where the engine runs apart from the copies.
    pub(super) engines: Option<Engines>,
    pub(super) pending: Vec<VecDeque<Pending>>,
    keys: u64,
    pub(super) route: Option<(Id, u64)>,
    pub(super) ledger: Ledger,
    times: Times,
    pub(super) talks: bool,
}

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(number: Number) -> Id {
    Id(number as u8)
}

impl World {
    /// A set of two to four copies with up to two spares; where there is a second home, with as many nodes there, to which
    /// it is ordered over and over.
    pub(super) fn of_a_set(mut settings: Settings, seed: u64) -> World {
        let mut dice = Seed(seed).stream("replica set");
        settings.copies = 2 + dice.below(3) as usize;
        let mut nodes = settings.copies + dice.below(3) as usize;
        let migrates = !settings.homes[1].is_empty();
        if migrates {
            let here = Members::first(nodes);
            nodes += settings.copies + dice.below(2) as usize;
            settings.homes = [here, Members::first(nodes).except(here)];
        }
        // A migration that messages of the past held up ends with one more hand-over.
        let end = Moment::from_millis(if migrates { 7_000 } else { 6_000 });
        let times = Times { faults_end: Moment::from_millis(3_500), past_ends: at_5_s(), end };
        let mut world = World::new(settings, nodes, None, times, Network::new(nodes + CONTROLS, times, dice));
        if migrates {
            world.network.after(ms(600), Event::Migrate);
        }
        world
    }

    /// An engine on one of two or three compute nodes, over three copies.
    pub(super) fn of_an_engine(settings: Settings, fencing: bool, seed: u64) -> World {
        let mut dice = Seed(seed).stream("engine");
        let engines = Engines::new(fencing, 2 + dice.below(2) as usize);
        let places = settings.copies + CONTROLS + engines.places.len();
        // Storage must serve again before the engine can.
        let times =
            Times { faults_end: Moment::from_millis(3_500), past_ends: at_5_s(), end: Moment::from_millis(7_000) };
        let network = Network::new(places, times, dice);
        World::new(settings, settings.copies, Some(engines), times, network)
    }

    fn new(settings: Settings, nodes: usize, engines: Option<Engines>, times: Times, network: Network<Event>) -> World {
        let now = Moment::START;
        let record = Record::first(settings.copies);
        let node = |number| Place::new(Replica::boot(id(number), settings, Disk::default(), now));
        let control = |number| {
            let disk = RingDisk::new(record);
            Place::new(Control::boot(id(number), CONTROLS, nodes, settings, disk, now))
        };
        let mut world = World {
            settings,
            network,
            nodes: (0..nodes).map(node).collect(),
            controls: (0..CONTROLS).map(control).collect(),
            engines,
            pending: vec![VecDeque::new(); nodes],
            keys: 0,
            route: None,
            ledger: Ledger::default(),
            times,
            talks: false,
        };
        world.network.after(ms(0), Event::ControlBeats);
        world.network.after(ms(1), Event::Tick);
        world.network.after(ms(300), Event::ClientAsks);
        world.network.after(ms(700), Event::Strike);
        world
    }

    pub(super) fn run(mut self) -> Outcome {
        while let Some(event) = self.network.next() {
            self.handle(event);
        }
        let now = self.network.now();
        // A primary of a former term, where nothing fences it, is not where clients are sent.
        let routed = self.route.and_then(|(primary, _)| self.nodes[primary.index()].alive());
        let serving = routed.filter(|node| node.admits(Intent::ReadWrite(None), now).is_ok());
        let lately = Moment(self.times.end.0 - ms(200).as_nanos() as u64);
        self.ledger.close(serving.map(Replica::store), lately)
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.talks {
            eprintln!("{:>9.1} ms  {}", self.network.now().as_secs_f64() * 1e3, what());
        }
    }

    /// The first control node's place.
    pub(super) fn control(&self, control: usize) -> Number {
        self.nodes.len() + control
    }

    pub(super) fn compute(&self, compute: usize) -> Number {
        self.nodes.len() + CONTROLS + compute
    }

    pub(super) fn send(&mut self, from: Number, to: Number, for_boot: Option<u64>, message: Message) {
        self.network.send(from, to, Event::Arrives(to, for_boot, Box::new(message)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives(place, boot, message) => {
                let nodes = self.nodes.len();
                let message = match (place.checked_sub(nodes), place.checked_sub(nodes + CONTROLS)) {
                    (None, _) => self.nodes[place].receives(boot, message),
                    (Some(control), None) => self.controls[control].receives(boot, message),
                    (_, Some(compute)) => {
                        self.engines.as_mut().and_then(|engines| engines.places[compute].receives(boot, message))
                    }
                };
                if let Some(message) = message {
                    self.arrives(place, *message);
                }
            }
            Event::ControlBeats => {
                for control in 0..CONTROLS {
                    self.control_beats(control);
                    self.assigns(control);
                }
                self.network.after(self.settings.heartbeat, Event::ControlBeats);
            }
            Event::Tick => {
                for control in 0..CONTROLS {
                    self.decide(control, |control, now| control.tick(now));
                    self.place(control, |placement, now| placement.tick(now));
                }
                for node in 0..self.nodes.len() {
                    self.act(node, |node, now| node.tick(now));
                }
                self.engines_tick();
                self.network.after(ms(15), Event::Tick);
            }
            Event::ClientAsks => self.clients(),
            Event::Strike => self.strike(),
            Event::Migrate => self.migrate(),
            Event::Heal(fault) => self.heal(fault),
        }
    }

    fn arrives(&mut self, place: Number, message: Message) {
        let (now, nodes) = (self.network.now(), self.nodes.len());
        match message {
            Message::Heartbeat(heartbeat) => {
                if let Some(beat) = self.act(place, |node, now| node.heartbeat(heartbeat, now)) {
                    self.tell_leaders(place, &Message::Beat(id(place), beat));
                }
            }
            Message::Beat(from, beat) => self.decide(place - nodes, |control, now| control.heard(from, beat, now)),
            Message::Ask(from, ask) => {
                if let Some(control) = self.controls[place - nodes].acting() {
                    let answer = control.take(ask, now);
                    let (asker, me) = (self.controls[from.index()].boot(), id(place - nodes));
                    self.send(place, nodes + from.index(), Some(asker), Message::Answer(me, ask, answer));
                    self.follow_up(place - nodes);
                }
            }
            Message::Answer(from, ask, answer) => {
                self.decide(place - nodes, |control, now| control.answered(from, ask, answer, now));
            }
            Message::Shipment(from, ticket, shipment) => {
                if let Some(answer) = self.act(place, |node, now| node.take(shipment, now)) {
                    let asker = self.nodes[from.index()].boot();
                    let answer = Message::Shipped(id(place), ticket, Some(answer));
                    self.send(place, from.index(), Some(asker), answer);
                }
            }
            Message::Shipped(from, ticket, answer) => {
                self.act(place, |node, now| node.shipped(from, ticket, answer, now));
            }
            Message::Write(intent, engine, key) => {
                let change = Change::Put { key: key.to_string(), value: key.to_string() };
                if let Some((term, index)) = self.accept(place, intent, engine, change) {
                    let of_a_replaced_engine = self.ledger.accepts(place, term, engine.map(|(_, epoch)| epoch));
                    let what = Accepted::Write { key, of_a_replaced_engine };
                    self.pending[place].push_back(Pending { term, index, what });
                    self.acknowledge(place);
                }
            }
            Message::Attach(engine, epoch) => {
                let (intent, change) = (Intent::ReadWrite(None), epoch::attach(epoch));
                if let Some((term, index)) = self.accept(place, intent, Some((engine, epoch)), change) {
                    let what = Accepted::Attach { engine, epoch };
                    self.pending[place].push_back(Pending { term, index, what });
                    self.acknowledge(place);
                }
            }
            Message::Read(intent, engine, key) => self.read(place, intent, engine, key),
            Message::Assigned(_) | Message::ToEngine(..) | Message::Attached(_) | Message::Refused(_) => {
                self.reaches_engine(place - nodes - CONTROLS, message);
            }
            Message::Report(from, report) => {
                self.place(place - nodes, |placement, now| placement.heard(from, report, now));
            }
        }
    }

    /// Who asks stands in no heartbeat: the answer goes to whoever leads, as each of them may have asked.
    pub(super) fn tell_leaders(&mut self, from: Number, message: &Message) {
        for control in 0..CONTROLS {
            if self.controls[control].alive().is_some_and(|control| control.controller().is_some()) {
                self.send(from, self.control(control), None, message.clone());
            }
        }
    }

    /// A node makes a change if it lets in who asks; the term and the entry.
    fn accept(&mut self, place: Number, intent: Intent, engine: Engine, change: Change) -> Option<(u64, u64)> {
        let fenced = self.fences(place, engine);
        let accepted = self.act(place, |node, now| {
            node.admits(intent, now).ok().filter(|()| !fenced)?;
            Some(node.write(change))
        })?;
        if fenced && accepted.is_none() {
            self.refuse(place, engine);
        }
        accepted.map(|accepted| (accepted.term, accepted.index))
    }

    fn read(&mut self, place: Number, intent: Intent, engine: Engine, key: u64) {
        let now = self.network.now();
        if self.fences(place, engine) {
            return self.refuse(place, engine);
        }
        let Some(node) = self.nodes[place].alive() else { return };
        if node.admits(intent, now).is_ok() {
            let found = node.store().register(&key.to_string()).map(|at| at.index);
            let read = node.read(found.unwrap_or_default());
            let confirmed = node.confirm(intent, read.term, read.index, now) == Confirmation::Confirmed;
            match (intent, found) {
                _ if !confirmed => {}
                (Intent::ReadWrite(_), None) => self.ledger.outcome.stale_reads += 1,
                (Intent::ReadOnly, Some(_)) => self.ledger.was_read(key),
                _ => {}
            }
        }
    }

    /// A node does something; what follows is sent and answered at once.
    fn act<T>(&mut self, place: Number, act: impl FnOnce(&mut Replica, Moment) -> T) -> Option<T> {
        let now = self.network.now();
        let done = act(self.nodes[place].acting()?, now);
        self.restart(place);
        self.ship(place);
        self.acknowledge(place);
        Some(done)
    }

    /// Its engine is started anew, on the spot.
    fn restart(&mut self, place: Number) {
        let (now, settings) = (self.network.now(), self.settings);
        if self.nodes[place].alive().is_some_and(Replica::wants_restart) {
            self.pending[place].clear();
            let boots = |disk| Replica::boot(id(place), settings, disk, now);
            self.nodes[place].restart(|node| node.clone().into_disk(), boots);
        }
    }

    fn ship(&mut self, place: Number) {
        let (now, boot) = (self.network.now(), self.nodes[place].boot());
        let Some(node) = self.nodes[place].alive() else { return };
        for to in node.followers() {
            let Some(node) = self.nodes[place].acting() else { return };
            if let Some((ticket, shipment)) = node.ship(to, now) {
                self.send(place, to.index(), None, Message::Shipment(id(place), ticket, shipment));
                // The request's time-out; an answer that comes later finds nobody waiting.
                let late = Event::Arrives(place, Some(boot), Box::new(Message::Shipped(to, ticket, None)));
                self.network.after(self.settings.answer_within(), late);
            }
        }
    }

    /// What a node has accepted is answered as soon as it may be.
    fn acknowledge(&mut self, place: Number) {
        let now = self.network.now();
        while let Some(&Pending { term, index, what }) = self.pending[place].front() {
            let Some(node) = self.nodes[place].alive() else { return };
            match (node.confirm(Intent::ReadWrite(None), term, index, now), what) {
                (Confirmation::Waiting, _) => return,
                (Confirmation::Replaced, _) => {}
                (Confirmation::Confirmed, Accepted::Write { key, of_a_replaced_engine }) => {
                    self.ledger.acknowledges(key, of_a_replaced_engine, now);
                }
                (Confirmation::Confirmed, Accepted::Attach { engine, epoch }) => {
                    self.send(place, self.compute(engine), None, Message::Attached(epoch));
                }
            }
            self.pending[place].pop_front();
        }
    }

    pub(super) fn decide(&mut self, control: usize, decide: impl FnOnce(&mut Control, Moment) -> Vec<Happening>) {
        let now = self.network.now();
        let Some(acting) = self.controls[control].acting() else { return };
        let happenings = decide(acting, now);
        let record = acting.controller().map(|controller| controller.record());
        for happening in happenings {
            self.tell(|| format!("control {control}: {happening:?} {record:?}"));
            let outcome = &mut self.ledger.outcome;
            match (happening, record) {
                (Happening::Decided(_), _) => outcome.failovers += 1,
                (Happening::Rebuilt(_), _) => outcome.rebuilds += 1,
                (Happening::Migrated(_), _) => outcome.migrations += 1,
                (Happening::Redirected(primary), Some(record))
                    if self.route.is_none_or(|(_, term)| term <= record.term) =>
                {
                    self.route = Some((primary, record.term));
                }
                _ => {}
            }
        }
        self.follow_up(control);
    }

    fn control_beats(&mut self, control: usize) {
        let nodes = self.nodes.len();
        let Some(acting) = self.controls[control].acting() else { return };
        let ask = acting.seat().ask();
        let heartbeats: Vec<Option<Heartbeat>> = (0..nodes).map(|node| acting.heartbeat(id(node))).collect();
        let me = self.control(control);
        for (node, heartbeat) in heartbeats.into_iter().enumerate() {
            if let Some(heartbeat) = heartbeat {
                self.send(me, node, None, Message::Heartbeat(heartbeat));
            }
        }
        if let Some(ask) = ask {
            for peer in (0..CONTROLS).filter(|peer| *peer != control) {
                self.send(me, self.control(peer), None, Message::Ask(id(control), ask));
            }
        }
    }

    /// A client writes a key of its own, and reads one that was acknowledged: where it is routed or, at times, anywhere.
    fn clients(&mut self) {
        self.keys += 1;
        let key = self.keys;
        if self.engines.is_some() {
            self.clients_of_engines(key);
        } else {
            let dice = &mut self.network.dice;
            let anywhere = dice.below(self.nodes.len() as u64) as usize;
            let travel = Duration::from_micros(500 + dice.below(1_500));
            let (place, meant_for) = match self.route {
                Some((primary, term)) if dice.chance(0.8) => (primary.index(), Some(term)),
                _ => (anywhere, None),
            };
            self.client(travel, place, Message::Write(Intent::ReadWrite(meant_for), None, key));
            if let Some(known) = self.ledger.known() {
                let reads_only = self.network.dice.chance(0.5);
                let intent = if reads_only { Intent::ReadOnly } else { Intent::ReadWrite(None) };
                self.client(travel, anywhere, Message::Read(intent, None, known));
            }
        }
        self.network.after(ms(4), Event::ClientAsks);
    }

    pub(super) fn client(&mut self, travel: Duration, to: Number, asks: Message) {
        self.network.after(travel, Event::Arrives(to, None, Box::new(asks)));
    }
}

const fn at_5_s() -> Moment {
    Moment::from_millis(5_000)
}
