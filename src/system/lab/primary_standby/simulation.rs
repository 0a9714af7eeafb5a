//! The pair under kill, pause, partition, loss and late messages, on a virtual clock, by the hundred.
//!
//! It runs on the [network](crate::system::lab::simulation::network) of the other labs. Clients write keys of their
//! own through the gateway and, at times, straight to a node. At the end everything heals: whatever was
//! acknowledged must be there, and the pair must serve again.

use std::time::Duration;

use super::controller::{Controller, Happening};
use super::protocol::{Beat, Config, Heartbeat, Shipment, Shipped, Side};
use super::replica::{Disk, Replica};
use super::settings::{Commit, Settings};
use crate::clock::Moment;
use crate::seed::Seed;
use crate::system::lab::kv::Confirmation;
use crate::system::lab::simulation::network::{Network, Times};
use crate::system::lab::store::Change;

const TIMES: Times = Times {
    faults_end: Moment::from_millis(6_000),
    past_ends: Moment::from_millis(8_000),
    end: Moment::from_millis(9_000),
};

/// What a simulated run came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    acknowledged: usize,
    lost: usize,
    stale_reads: usize,
    failovers: usize,
    handed_over: usize,
    serves_at_the_end: bool,
}

enum Happens {
    Beat(Side),
    HeartbeatArrives(Side, Heartbeat, u64),
    BeatArrives(Side, Beat, u64),
    Ship(Side),
    ShipmentArrives(Side, Shipment, u64),
    AnswerArrives(Side, u64, Option<Shipped>, u64),
    Tick,
    ClientWrites,
    WriteArrives(Side, Option<u64>, u64),
    ReadArrives(Side, u64),
    Strike,
    Heal(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill(Side),
    Pause(Side),
    KillGateway,
    /// No message from one of the three to another; late ones arrive at the removal.
    Cut(usize, usize),
}

const GATEWAY: usize = 2;

struct Pending {
    side: Side,
    boot: u64,
    term: u64,
    index: u64,
    key: u64,
}

struct World {
    settings: Settings,
    network: Network<Happens>,
    record: Config,
    controller: Option<Controller>,
    nodes: [Result<Replica, Box<Disk>>; 2],
    boots: [u64; 3],
    paused: [bool; 2],
    pending: Vec<Pending>,
    keys: u64,
    acknowledged: Vec<u64>,
    outcome: Outcome,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    fn new(settings: Settings, seed: u64) -> World {
        let node = |side| Ok(Replica::boot(side, settings, Disk::default()));
        let mut world = World {
            settings,
            network: Network::new(3, TIMES, Seed(seed).stream("simulation")),
            record: Controller::FIRST,
            controller: Some(Controller::new(settings, Controller::FIRST, Moment::START)),
            nodes: [node(Side::A), node(Side::B)],
            boots: [0; 3],
            paused: [false; 2],
            pending: Vec::new(),
            keys: 0,
            acknowledged: Vec::new(),
            outcome: Outcome::default(),
        };
        for side in Side::BOTH {
            world.network.after(ms(0), Happens::Beat(side));
            world.network.after(ms(0), Happens::Ship(side));
        }
        world.network.after(ms(1), Happens::Tick);
        world.network.after(ms(300), Happens::ClientWrites);
        world.network.after(ms(800), Happens::Strike);
        world
    }

    fn run(mut self) -> Outcome {
        while let Some(event) = self.network.next() {
            self.handle(event);
            self.acknowledge();
        }
        let primary = self.controller.as_ref().and_then(Controller::route).map(|(side, _)| side as usize);
        if let Some(Ok(primary)) = primary.map(|primary| &self.nodes[primary]) {
            let there = |key: &u64| primary.store().register(&key.to_string()).is_some();
            self.outcome.lost = self.acknowledged.iter().filter(|key| !there(key)).count();
            self.outcome.serves_at_the_end = primary.admits(None, self.network.now()).is_ok();
        }
        self.outcome.acknowledged = self.acknowledged.len();
        self.outcome
    }

    fn running(&mut self, side: Side) -> Option<&mut Replica> {
        self.nodes[side as usize].as_mut().ok()
    }

    /// A paused node handles nothing; what arrives waits in its sockets.
    fn deferred(&mut self, side: Side, event: Happens) -> Option<Happens> {
        if self.paused[side as usize] {
            self.network.after(ms(20), event);
            return None;
        }
        Some(event)
    }

    fn handle(&mut self, event: Happens) {
        let for_node = match &event {
            Happens::HeartbeatArrives(side, ..)
            | Happens::Ship(side)
            | Happens::ShipmentArrives(side, ..)
            | Happens::AnswerArrives(side, ..)
            | Happens::WriteArrives(side, ..)
            | Happens::ReadArrives(side, ..) => Some(*side),
            _ => None,
        };
        let event = match for_node {
            Some(side) => match self.deferred(side, event) {
                Some(event) => event,
                None => return,
            },
            None => event,
        };
        let now = self.network.now();
        match event {
            Happens::Beat(side) => {
                if let Some(controller) = &self.controller {
                    let heartbeat = controller.heartbeat(side);
                    let boot = self.boots[GATEWAY];
                    self.network.send(GATEWAY, side as usize, Happens::HeartbeatArrives(side, heartbeat, boot));
                }
                self.network.after(self.settings.heartbeat, Happens::Beat(side));
            }
            Happens::HeartbeatArrives(side, heartbeat, boot) => {
                if let Some(node) = self.running(side) {
                    let beat = node.heartbeat(heartbeat, now);
                    self.network.send(side as usize, GATEWAY, Happens::BeatArrives(side, beat, boot));
                }
            }
            Happens::BeatArrives(side, beat, boot) => {
                // The answer to a gateway that died goes nowhere.
                if boot == self.boots[GATEWAY] {
                    self.decide(|controller| controller.heard(side, beat, now));
                }
            }
            Happens::Ship(side) => {
                let boot = self.boots[side as usize];
                if let Some(node) = self.running(side)
                    && let Some(shipment) = node.ship()
                {
                    let term = match &shipment {
                        Shipment::Append(append) => append.term,
                        Shipment::Install(install) => install.term,
                    };
                    let peer = side.peer();
                    self.network.send(side as usize, peer as usize, Happens::ShipmentArrives(peer, shipment, boot));
                    // The request's time-out; an answer that comes later finds nobody waiting.
                    self.network.after(ms(150), Happens::AnswerArrives(side, term, None, boot));
                }
                self.network.after(ms(5), Happens::Ship(side));
            }
            Happens::ShipmentArrives(side, shipment, boot) => {
                let term = match &shipment {
                    Shipment::Append(append) => append.term,
                    Shipment::Install(install) => install.term,
                };
                if let Some(node) = self.running(side) {
                    let answer = node.take(shipment);
                    let peer = side.peer();
                    self.network.send(
                        side as usize,
                        peer as usize,
                        Happens::AnswerArrives(peer, term, Some(answer), boot),
                    );
                }
            }
            Happens::AnswerArrives(side, term, answer, boot) => {
                if boot == self.boots[side as usize]
                    && let Some(node) = self.running(side)
                {
                    node.shipped(term, answer, now);
                }
            }
            Happens::Tick => {
                self.decide(|controller| controller.tick(now));
                for side in Side::BOTH {
                    if !self.paused[side as usize]
                        && let Some(node) = self.running(side)
                    {
                        node.tick(now);
                    }
                }
                self.network.after(ms(5), Happens::Tick);
            }
            Happens::ClientWrites => {
                self.keys += 1;
                let key = self.keys;
                let straight = if self.network.dice.chance(0.5) { Side::A } else { Side::B };
                match self.controller.as_ref().and_then(Controller::route) {
                    Some((side, term)) if self.network.dice.chance(0.8) => {
                        self.network.send(GATEWAY, side as usize, Happens::WriteArrives(side, Some(term), key));
                    }
                    _ => self.network.after(ms(1), Happens::WriteArrives(straight, None, key)),
                }
                if let Some(known) = self.acknowledged.last().copied() {
                    self.network.after(ms(1), Happens::ReadArrives(straight, known));
                }
                self.network.after(ms(4), Happens::ClientWrites);
            }
            Happens::WriteArrives(side, meant_for, key) => {
                let boot = self.boots[side as usize];
                if let Some(node) = self.running(side)
                    && node.admits(meant_for, now).is_ok()
                {
                    let change = Change::Put { key: key.to_string(), value: key.to_string() };
                    let accepted = node.write(change, now);
                    self.pending.push(Pending { side, boot, term: accepted.term, index: accepted.index, key });
                }
            }
            Happens::ReadArrives(side, key) => {
                if let Some(node) = self.running(side)
                    && node.admits(None, now).is_ok()
                {
                    let found = node.store().register(&key.to_string()).map(|at| at.index);
                    let read = node.read(found.unwrap_or_default());
                    let confirmed = node.confirm(read.term, read.index, now) == Confirmation::Confirmed;
                    if found.is_none() && confirmed {
                        self.outcome.stale_reads += 1;
                    }
                }
            }
            Happens::Strike => self.strike(),
            Happens::Heal(fault) => self.heal(fault),
        }
    }

    /// The gateway's record is on disk before anything that follows from it is sent.
    fn decide(&mut self, decide: impl FnOnce(&mut Controller) -> Vec<Happening>) {
        if let Some(controller) = &mut self.controller {
            let yielded = controller.config().yields;
            let happenings = decide(controller);
            self.record = controller.config();
            // A primary that yields and is suspect is replaced as any other.
            let handed_over = yielded && happenings.iter().any(|happening| matches!(happening, Happening::Decided(_)));
            self.outcome.handed_over += usize::from(handed_over);
            self.outcome.failovers +=
                happenings.iter().filter(|happening| matches!(happening, Happening::Decided(_))).count();
        }
    }

    fn acknowledge(&mut self) {
        let (nodes, boots, paused, now) = (&self.nodes, self.boots, self.paused, self.network.now());
        let acknowledged = &mut self.acknowledged;
        self.pending.retain(|write| {
            let Ok(node) = &nodes[write.side as usize] else { return false };
            if boots[write.side as usize] != write.boot {
                return false;
            }
            if paused[write.side as usize] {
                return true;
            }
            match node.confirm(write.term, write.index, now) {
                Confirmation::Waiting => true,
                Confirmation::Replaced => false,
                Confirmation::Confirmed => {
                    acknowledged.push(write.key);
                    false
                }
            }
        });
    }

    fn strike(&mut self) {
        if !self.network.rages() {
            return;
        }
        if self.network.dice.chance(0.4) {
            // A refusal changes nothing.
            let now = self.network.now();
            self.decide(|controller| controller.hand_over(now).unwrap_or_default());
        }
        let side = if self.network.dice.chance(0.5) { Side::A } else { Side::B };
        let faults = match self.network.dice.below(6) {
            0 => vec![Fault::Kill(side)],
            1 => vec![Fault::Pause(side)],
            2 => vec![Fault::KillGateway],
            3 => {
                // One direction of one hop.
                let from = self.network.dice.below(3) as usize;
                let to = (from + 1 + self.network.dice.below(2) as usize) % 3;
                vec![Fault::Cut(from, to)]
            }
            _ => {
                // One node against all: the partition of the quickstart.
                let (node, others) = (side as usize, [side.peer() as usize, GATEWAY]);
                others.iter().flat_map(|&other| [Fault::Cut(node, other), Fault::Cut(other, node)]).collect()
            }
        };
        let hold = ms(50 + self.network.dice.below(1_500));
        for fault in faults {
            match fault {
                Fault::Kill(side) => {
                    self.boots[side as usize] += 1;
                    let slot = &mut self.nodes[side as usize];
                    if let Ok(node) = slot {
                        *slot = Err(Box::new(node.clone().into_disk()));
                    }
                }
                Fault::Pause(side) => self.paused[side as usize] = true,
                Fault::KillGateway => {
                    self.boots[GATEWAY] += 1;
                    self.controller = None;
                }
                Fault::Cut(from, to) => self.network.cut(from, to),
            }
            self.network.after(hold, Happens::Heal(fault));
        }
        let next = ms(200 + self.network.dice.below(1_500));
        self.network.after(next, Happens::Strike);
    }

    fn heal(&mut self, fault: Fault) {
        let (settings, now, record) = (self.settings, self.network.now(), self.record);
        match fault {
            Fault::Kill(side) => {
                let slot = &mut self.nodes[side as usize];
                if let Err(disk) = slot {
                    *slot = Ok(Replica::boot(side, settings, (**disk).clone()));
                }
            }
            Fault::Pause(side) => self.paused[side as usize] = false,
            Fault::KillGateway => {
                self.controller.get_or_insert_with(|| Controller::new(settings, record, now));
            }
            Fault::Cut(from, to) => self.network.mend(from, to),
        }
    }
}

fn settings(commit: Commit, fencing: bool) -> Settings {
    Settings {
        commit,
        heartbeat: ms(50),
        misses: 3,
        promotion: ms(60),
        fencing,
        ship_every: ms(0),
        service_time: ms(0),
        names: ["a", "b"],
        automatic: true,
        ships: true,
        stubborn: false,
    }
}

fn simulate(commit: Commit, fencing: bool, seeds: std::ops::Range<u64>) -> Vec<(u64, Outcome)> {
    seeds.map(|seed| (seed, World::new(settings(commit, fencing), seed).run())).collect()
}

#[test]
fn sync_with_fencing_loses_nothing_and_serves_again() {
    let (mut failovers, mut handed_over) = (0, 0);
    for (seed, outcome) in simulate(Commit::Sync, true, 0..300) {
        assert_eq!((outcome.lost, outcome.stale_reads), (0, 0), "seed {seed}: {outcome:?}");
        assert!(outcome.serves_at_the_end, "seed {seed}: {outcome:?}");
        assert!(outcome.acknowledged > 200, "seed {seed}: {outcome:?}");
        failovers += outcome.failovers;
        handed_over += outcome.handed_over;
    }
    assert!(handed_over > 50, "the drills were not worth the name: {handed_over} in 300 runs");
    assert!(failovers > 100, "the faults were not worth the name: {failovers} failovers in 300 runs");
}

#[test]
fn async_loses_its_tail_and_the_checker_sees_it() {
    let outcomes = simulate(Commit::Async, true, 0..100);
    let with_loss = outcomes.iter().filter(|(_, outcome)| outcome.lost > 0).count();
    assert!(with_loss > 30, "only {with_loss} of 100 runs lost a write");
    assert!(outcomes.iter().all(|(_, outcome)| outcome.serves_at_the_end));
}

#[test]
fn without_fencing_acknowledged_writes_are_lost_even_with_sync() {
    let outcomes = simulate(Commit::Sync, false, 0..100);
    let with_loss = outcomes.iter().filter(|(_, outcome)| outcome.lost > 0).count();
    assert!(with_loss > 20, "only {with_loss} of 100 runs lost a write");
}
