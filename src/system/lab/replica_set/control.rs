//! One control node: its seat in the ring, and while it leads the decisions.

use super::controller::{Controller, Happening, Refused};
use super::members::{Home, Id, Members};
use super::protocol::{Beat, Departure, Heartbeat};
use super::ring::{Answer, Ask, RingDisk, Seat};
use super::settings::Settings;
use crate::clock::Moment;

/// A control node.
#[derive(Clone, Debug)]
pub struct Control {
    settings: Settings,
    nodes: usize,
    seat: Seat,
    controller: Option<Controller>,
}

/// All that a control node says to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    ask: Option<Ask>,
    heartbeats: Vec<Heartbeat>,
    writes: Option<Id>,
    reads: Option<Members>,
}

impl Control {
    /// A control node among `seats` that starts with what is on its disk; `nodes` can hold copies.
    pub fn boot(me: Id, seats: usize, nodes: usize, settings: Settings, disk: RingDisk, now: Moment) -> Control {
        let times = (settings.heartbeat, settings.detect_after());
        Control { settings, nodes, seat: Seat::boot(me, seats, times, disk, now), controller: None }
    }

    /// What is left of it after a kill.
    pub fn disk(&self) -> RingDisk {
        self.seat.disk()
    }

    /// Its seat.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// The decisions, while it leads and a majority has its record.
    pub fn controller(&self) -> Option<&Controller> {
        self.controller.as_ref()
    }

    /// All that it says to others now: while it is the same, there is no news for them.
    pub fn says(&self) -> Said {
        let controller = self.controller.as_ref();
        let heartbeat =
            |controller: &Controller| (0..self.nodes as u8).map(|id| controller.heartbeat(Id(id))).collect();
        Said {
            ask: self.seat.ask(),
            heartbeats: controller.map(heartbeat).unwrap_or_default(),
            writes: controller.and_then(Controller::route),
            reads: controller.map(Controller::readers),
        }
    }

    /// What to say to a node; nothing unless it leads.
    pub fn heartbeat(&self, to: Id) -> Option<Heartbeat> {
        self.controller.as_ref().map(|controller| controller.heartbeat(to))
    }

    /// A node answered.
    pub fn heard(&mut self, from: Id, beat: Beat, now: Moment) -> Vec<Happening> {
        let happenings = self.controller.as_mut().map(|controller| controller.heard(from, beat, now));
        self.follow_up(happenings.unwrap_or_default(), now)
    }

    /// Another seat asks.
    pub fn take(&mut self, ask: Ask, now: Moment) -> Answer {
        let answer = self.seat.take(ask, now);
        self.follow_up(Vec::new(), now);
        answer
    }

    /// Another seat answered.
    pub fn answered(&mut self, from: Id, asked: Ask, answer: Answer, now: Moment) -> Vec<Happening> {
        self.seat.answered(from, asked, answer, now);
        self.follow_up(Vec::new(), now)
    }

    /// Time passed. To be called at [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Moment) -> Vec<Happening> {
        self.seat.tick(now);
        let happenings = self.controller.as_mut().map(|controller| controller.tick(now));
        self.follow_up(happenings.unwrap_or_default(), now)
    }

    /// When something may have to be decided although nothing is heard.
    pub fn deadline(&self) -> Moment {
        let decisions = self.controller.as_ref().and_then(Controller::deadline);
        decisions.map_or(self.seat.deadline(), |deadline| deadline.min(self.seat.deadline()))
    }

    /// A failover is ordered; none if it does not lead, so that another is to be asked.
    pub fn order(&mut self, how: Departure, now: Moment) -> Option<Result<(), Refused>> {
        let granted = self.controller.as_mut().map(|controller| controller.order(how, now));
        self.follow_up(Vec::new(), now);
        granted
    }

    /// A failover of what runs on top is ordered; it [is granted](Happening::Granted) once that is recorded.
    pub fn order_elsewhere(&mut self, now: Moment) -> Option<Result<(), Refused>> {
        let granted = self.controller.as_mut().map(|controller| controller.order_elsewhere(now));
        self.follow_up(Vec::new(), now);
        granted
    }

    /// A migration is ordered; none if it does not lead, so that another is to be asked.
    pub fn migrate(&mut self, to: Home, now: Moment) -> Option<Result<(), Refused>> {
        let granted = self.controller.as_mut().map(|controller| controller.migrate(to));
        self.follow_up(Vec::new(), now);
        granted
    }

    /// Carries decisions to the ring, and what the ring has settled to the decisions.
    fn follow_up(&mut self, mut happenings: Vec<Happening>, now: Moment) -> Vec<Happening> {
        if !self.seat.leads() {
            self.controller = None;
        }
        let Some(settled) = self.seat.settled() else { return happenings };
        let controller =
            self.controller.get_or_insert_with(|| Controller::new(self.settings, self.nodes, settled, now));
        if settled.version > controller.record().version {
            happenings.extend(controller.recorded(settled, now));
        }
        if let Some(next) = controller.proposed() {
            self.seat.write(next);
            // A ring of one has it at once.
            if let Some(settled) = self.seat.settled() {
                happenings.extend(controller.recorded(settled, now));
            }
        }
        happenings
    }
}
