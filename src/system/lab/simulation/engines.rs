//! The part of the world where the engine runs apart from its data: who places it, where it runs, how it reaches storage.

use std::time::Duration;

use super::place::Place;
use super::world::{Asked, Engine as Caller, Message, Number, World, ms};
use crate::clock::Moment;
use crate::system::lab::compute::engine::EngineSettings;
use crate::system::lab::compute::placement::Happening;
use crate::system::lab::compute::{Assignment, Engine, Placement, epoch};
use crate::system::lab::replica_set::replica::Intent;

/// Compute nodes, and what each control node thinks of where the engine is.
pub(super) struct Engines {
    /// Whether storage refuses an engine that was replaced.
    fencing: bool,
    pub(super) places: Vec<Place<Engine, u64, Box<Message>>>,
    pub(super) placements: Vec<Option<Placement>>,
    pub(super) route: Option<Assignment>,
}

const SETTINGS: EngineSettings = EngineSettings { start: ms(20), promotion: ms(60), pretends: false };

impl Engines {
    pub(super) fn new(fencing: bool, computes: usize) -> Engines {
        let place = |me| Place::new(boot(me, 0));
        let places = (0..computes).map(place).collect();
        Engines { fencing, places, placements: vec![None; super::world::CONTROLS], route: None }
    }
}

/// A compute node that starts, for the next time.
pub(super) fn boot(me: usize, incarnation: u64) -> Engine {
    Engine::boot(me, SETTINGS, true, incarnation)
}

impl World {
    /// Whoever leads places the engine too.
    pub(super) fn follow_up(&mut self, control: usize) {
        let (now, detect_after) = (self.network.now(), self.settings.detect_after());
        let Some(engines) = &mut self.engines else { return };
        let leads = self.controls[control].alive().filter(|control| control.controller().is_some());
        let term = leads.map(|control| control.seat().term());
        let (computes, placement) = (engines.places.len(), &mut engines.placements[control]);
        match term {
            Some(term) => drop(placement.get_or_insert_with(|| Placement::new(term, computes, detect_after, now))),
            None => *placement = None,
        }
    }

    /// A leader decides about the engine.
    pub(super) fn place(&mut self, control: usize, decide: impl FnOnce(&mut Placement, Moment) -> Vec<Happening>) {
        let now = self.network.now();
        if self.controls[control].acting().is_none() {
            return;
        }
        let Some(engines) = &mut self.engines else { return };
        let Some(placement) = &mut engines.placements[control] else { return };
        let happenings = decide(placement, now);
        let assigned = placement.assigned();
        for happening in happenings {
            match happening {
                Happening::Decided(_) => self.ledger.outcome.moves += 1,
                Happening::Redirected(_) if engines.route.map(|it| it.epoch) < assigned.map(|it| it.epoch) => {
                    engines.route = assigned;
                }
                _ => {}
            }
            if self.talks {
                eprintln!("{:>9.1} ms  control {control}: {happening:?} {assigned:?}", now.as_secs_f64() * 1e3);
            }
        }
    }

    /// A leader tells every compute node who is to run the engine.
    pub(super) fn assigns(&mut self, control: usize) {
        if self.controls[control].acting().is_none() {
            return;
        }
        let Some(engines) = &self.engines else { return };
        let Some(assigned) = engines.placements[control].as_ref().map(Placement::assigned) else { return };
        for compute in 0..engines.places.len() {
            self.send(self.control(control), self.compute(compute), None, Message::Assigned(assigned));
        }
    }

    /// Starts that are over, and epochs that are to be written through storage, again and again.
    pub(super) fn engines_tick(&mut self) {
        let now = self.network.now();
        for compute in 0..self.engines.as_ref().map_or(0, |engines| engines.places.len()) {
            let Some(engine) = self.engine(compute) else { continue };
            engine.tick(now);
            if let (Some(epoch), Some((primary, _))) = (engine.attaches(), self.route) {
                self.send(self.compute(compute), primary.index(), None, Message::Attach(compute, epoch));
            }
        }
    }

    pub(super) fn reaches_engine(&mut self, compute: usize, message: Message) {
        let (now, me) = (self.network.now(), self.compute(compute));
        let Some(engine) = self.engine(compute) else { return };
        match message {
            Message::Assigned(assigned) => {
                let report = engine.assigned(assigned, now);
                self.tell_leaders(me, &Message::Report(compute, report));
            }
            Message::Attached(epoch) => {
                engine.attached(epoch);
                if engine.admits(Some(epoch)).is_some() {
                    self.ledger.serves(epoch);
                }
            }
            Message::Refused(epoch) => engine.refused(epoch),
            Message::ToEngine(meant_for, asked, key) => {
                let (Some(epoch), Some((primary, term))) = (engine.admits(meant_for), self.route) else { return };
                let (intent, caller) = (Intent::ReadWrite(Some(term)), Some((compute, epoch)));
                let message = match asked {
                    Asked::Write => Message::Write(intent, caller, key),
                    Asked::Read => Message::Read(intent, caller, key),
                };
                self.send(me, primary.index(), None, message);
            }
            _ => unreachable!("nobody says anything else to an engine"),
        }
    }

    fn engine(&mut self, compute: usize) -> Option<&mut Engine> {
        self.engines.as_mut()?.places[compute].acting()
    }

    /// Whether a node keeps an engine out, as a newer one is attached.
    pub(super) fn fences(&self, node: Number, caller: Caller) -> bool {
        let fencing = self.engines.as_ref().is_some_and(|engines| engines.fencing);
        let outdated = |(_, epoch)| self.nodes[node].alive().is_some_and(|it| epoch::outdated(it.store(), Some(epoch)));
        fencing && caller.is_some_and(outdated)
    }

    pub(super) fn refuse(&mut self, node: Number, caller: Caller) {
        if let Some((compute, epoch)) = caller {
            self.send(node, self.compute(compute), None, Message::Refused(epoch));
        }
    }

    pub(super) fn clients_of_engines(&mut self, key: u64) {
        let Some(engines) = &self.engines else { return };
        let (computes, routed) = (engines.places.len(), engines.route);
        let dice = &mut self.network.dice;
        let anywhere = dice.below(computes as u64) as usize;
        let travel = Duration::from_micros(500 + dice.below(1_500));
        let (compute, meant_for) = match routed {
            Some(route) if dice.chance(0.8) => (route.node, Some(route.epoch)),
            _ => (anywhere, None),
        };
        let place = self.compute(compute);
        self.client(travel, place, Message::ToEngine(meant_for, Asked::Write, key));
        if let Some(known) = self.ledger.known() {
            self.client(travel, self.compute(anywhere), Message::ToEngine(None, Asked::Read, known));
        }
    }
}
