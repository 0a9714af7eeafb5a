//! What befalls the world: kills, pauses, cuts of one hop, of one place, between two halves; often several at once.

use super::engines;
use super::world::{CONTROLS, Event, Number, World, ms};
use crate::system::lab::replica_set::protocol::Departure;
use crate::system::lab::replica_set::{Control, Home, Id, Replica};

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Kill(Number),
    Pause(Number),
    /// One direction of one hop.
    Cut(Number, Number),
}

/// A place by what it is.
enum Kind {
    Node(usize),
    Control(usize),
    Compute(usize),
}

impl World {
    fn kind(&self, place: Number) -> Kind {
        let nodes = self.nodes.len();
        match place {
            node if node < nodes => Kind::Node(node),
            control if control < nodes + CONTROLS => Kind::Control(control - nodes),
            compute => Kind::Compute(compute - nodes - CONTROLS),
        }
    }

    pub(super) fn strike(&mut self) {
        if !self.network.rages() {
            return;
        }
        let nodes = self.nodes.len();
        let all = nodes + CONTROLS + self.engines.as_ref().map_or(0, |engines| engines.places.len());
        // Whoever serves is struck more often than others.
        let serves = match self.engines.as_ref().map(|engines| engines.route) {
            Some(route) => self.compute(route.map_or(0, |route| route.node)),
            None => self.route.map_or(0, |(primary, _)| primary.index()),
        };
        let dice = &mut self.network.dice;
        let any = dice.below(all as u64) as usize;
        let victim = if dice.chance(0.3) { serves } else { any };
        let faults = match dice.below(8) {
            0 | 1 => vec![Fault::Kill(victim)],
            2 => vec![Fault::Pause(victim)],
            3 => {
                let other = (victim + 1 + dice.below(all as u64 - 1) as usize) % all;
                vec![Fault::Cut(victim, other)]
            }
            // One against all others, both ways or one way.
            4 | 5 => {
                let ways = dice.below(3);
                let others = (0..all).filter(|other| *other != victim);
                others
                    .flat_map(|other| match ways {
                        0 => vec![Fault::Cut(victim, other)],
                        1 => vec![Fault::Cut(other, victim)],
                        _ => vec![Fault::Cut(victim, other), Fault::Cut(other, victim)],
                    })
                    .collect()
            }
            // All in two halves.
            6 => {
                let half: Vec<bool> = (0..all).map(|_| dice.chance(0.5)).collect();
                let crosses = |(a, b): &(usize, usize)| half[*a] != half[*b];
                let pairs = (0..all).flat_map(|a| (0..all).map(move |b| (a, b)));
                pairs.filter(crosses).map(|(a, b)| Fault::Cut(a, b)).collect()
            }
            _ => {
                self.order();
                Vec::new()
            }
        };
        let hold = ms(50 + self.network.dice.below(1_400));
        if !faults.is_empty() {
            self.tell(|| format!("strikes {faults:?} for {hold:?} ({nodes} nodes)"));
        }
        for fault in faults {
            self.inject(fault);
            self.network.after(hold, Event::Heal(fault));
        }
        let next = ms(50 + self.network.dice.below(700));
        self.network.after(next, Event::Strike);
    }

    /// A user orders a failover; a refusal changes nothing.
    fn order(&mut self) {
        let how = if self.network.dice.chance(0.5) { Departure::HandOver } else { Departure::Restart };
        for control in 0..CONTROLS {
            if self.engines.is_some() {
                self.place(control, |placement, now| match how {
                    Departure::HandOver => placement.leave(now).unwrap_or_default(),
                    Departure::Restart => placement.restart(),
                });
            } else {
                self.decide(control, |control, now| {
                    let _ = control.order(how, now);
                    Vec::new()
                });
            }
        }
        self.tell(|| format!("ordered {how:?}"));
    }

    /// A user orders the set to one of its homes; a refusal changes nothing.
    pub(super) fn migrate(&mut self) {
        if !self.network.rages() {
            return;
        }
        let to = if self.network.dice.chance(0.5) { Home::First } else { Home::Second };
        for control in 0..CONTROLS {
            self.decide(control, |control, now| {
                let _ = control.migrate(to, now);
                Vec::new()
            });
        }
        self.tell(|| format!("ordered to its {to:?} home"));
        let next = ms(100 + self.network.dice.below(400));
        self.network.after(next, Event::Migrate);
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(place) => match self.kind(place) {
                Kind::Node(node) => {
                    self.pending[node].clear();
                    self.nodes[node].kill(|node| node.clone().into_disk());
                }
                Kind::Control(control) => {
                    self.controls[control].kill(Control::disk);
                    self.follow_up(control);
                }
                Kind::Compute(compute) => {
                    let engines = self.engines.as_mut().expect("it is a compute node's place");
                    engines.places[compute].kill(|engine| engine.incarnation());
                }
            },
            Fault::Pause(place) => match self.kind(place) {
                Kind::Node(node) => self.nodes[node].pause(),
                Kind::Control(control) => self.controls[control].pause(),
                Kind::Compute(compute) => {
                    self.engines.as_mut().expect("it is a compute node's place").places[compute].pause();
                }
            },
            Fault::Cut(from, to) => self.network.cut(from, to),
        }
    }

    pub(super) fn heal(&mut self, fault: Fault) {
        let (nodes, now, settings) = (self.nodes.len(), self.network.now(), self.settings);
        match fault {
            Fault::Kill(place) => match self.kind(place) {
                Kind::Node(node) => {
                    self.nodes[node].start(|disk| Replica::boot(Id(node as u8), settings, disk, now));
                }
                Kind::Control(control) => {
                    let me = Id(control as u8);
                    self.controls[control].start(|disk| Control::boot(me, CONTROLS, nodes, settings, disk, now));
                }
                Kind::Compute(compute) => {
                    let engines = self.engines.as_mut().expect("it is a compute node's place");
                    engines.places[compute].start(|incarnation| engines::boot(compute, incarnation));
                }
            },
            Fault::Pause(place) => {
                let waiting = match self.kind(place) {
                    Kind::Node(node) => self.nodes[node].resume(),
                    Kind::Control(control) => self.controls[control].resume(),
                    Kind::Compute(compute) => {
                        self.engines.as_mut().expect("it is a compute node's place").places[compute].resume()
                    }
                };
                for (boot, message) in waiting {
                    self.network.after(ms(0), Event::Arrives(place, boot, message));
                }
            }
            Fault::Cut(from, to) => self.network.mend(from, to),
        }
    }
}
