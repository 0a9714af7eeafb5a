//! Who carries out maintenance: stops nodes, starts them, asks for hand-overs. Every decision is a [`Round`]'s.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::control::ControlNode;
use super::maintenance::{Round, Seen, Step};
use super::params::scaled;
use crate::event::What;
use crate::system::lab::params::Resolved;
use crate::system::lab::replica_set::protocol::Departure;
use crate::system::lab::{Fleet, Live, Refused};
use crate::system::{NodeAct, SystemError, Teller};
use crate::units::Span;

/// How often it looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Those who maintain the nodes of a lab that run engines or may.
#[derive(Clone, Debug)]
pub struct Crew {
    nodes: Vec<String>,
    upgrade: Duration,
    settles: Duration,
    drains: bool,
    fleet: Arc<Fleet>,
    controls: Vec<Live<ControlNode>>,
    teller: Teller,
    busy: Arc<AtomicBool>,
    /// Why the last round was broken off, if it was.
    broken_off: Arc<Mutex<Option<String>>>,
}

impl Crew {
    /// For these nodes, as the lab's parameters say.
    pub fn new(
        nodes: &[String],
        params: &Resolved<'_>,
        fleet: &Arc<Fleet>,
        controls: &[Live<ControlNode>],
        teller: Teller,
    ) -> Crew {
        Crew {
            nodes: nodes.to_vec(),
            upgrade: scaled(params, "upgrade"),
            settles: params.time("heartbeat") * 2,
            drains: params.on("drain"),
            fleet: Arc::clone(fleet),
            controls: controls.to_vec(),
            teller,
            busy: Arc::default(),
            broken_off: Arc::default(),
        }
    }

    /// Whether a round is under way.
    pub fn busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Why the last round was broken off, if it was.
    pub fn broken_off(&self) -> Option<String> {
        self.reason().clone()
    }

    fn reason(&self) -> MutexGuard<'_, Option<String>> {
        self.broken_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused while a round is under way.
    pub fn idle(&self) -> Result<(), Refused> {
        if self.busy() { Err(Refused::never("maintenance is under way")) } else { Ok(()) }
    }

    /// Begins a round; says over whom.
    pub fn begin(&self) -> Result<String, Refused> {
        let seen = self.leader(ControlNode::seen).ok_or_else(|| Refused::never("no control node leads"))?;
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(Refused::never("maintenance is under way"));
        }
        let ends = Ends(Arc::clone(&self.busy));
        if !seen.whole || seen.serving.is_none() {
            return Err(Refused::never("a copy is missing, or a failover is going on: maintenance would add to it"));
        }
        *self.reason() = None;
        let (crew, round) = (self.clone(), Round::new(self.nodes.len(), self.upgrade, self.settles, self.drains));
        let work = move || crew.work(round, ends);
        std::thread::Builder::new()
            .name("maintenance".to_owned())
            .spawn(work)
            .map_err(|error| Refused::never(error.to_string()))?;
        Ok(format!("maintenance of {}, {} each", self.nodes.join(", "), Span(self.upgrade)))
    }

    fn work(&self, mut round: Round, _ends: Ends) {
        while !round.is_over() && !self.fleet.ended() {
            let seen = self.leader(ControlNode::seen).unwrap_or_else(|| Seen::nothing(self.nodes.len()));
            if let Some(step) = round.next(&seen, self.teller.now())
                && let Err(error) = self.carry_out(step, &mut round)
            {
                let why = format!("maintenance is broken off: {error}");
                *self.reason() = Some(why.clone());
                return self.tell(why);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if round.is_over() {
            self.tell("maintenance is done".to_owned());
        }
    }

    fn carry_out(&self, step: Step, round: &mut Round) -> Result<(), SystemError> {
        match step {
            Step::HandOver => {
                if let Some(Ok(())) = self.leader(|control| control.order(Departure::HandOver)) {
                    round.granted();
                }
                Ok(())
            }
            Step::Take(node) => {
                self.tell(format!("maintenance of {}", self.nodes[node]));
                self.fleet.apply(&self.nodes[node], NodeAct::Stop)
            }
            Step::GiveBack(node) => self.fleet.heal(&self.nodes[node], NodeAct::Stop),
        }
    }

    /// What the control node that leads says.
    fn leader<T>(&self, ask: impl Fn(&ControlNode) -> Option<T>) -> Option<T> {
        self.controls.iter().filter_map(Live::get).find_map(|control| ask(&control))
    }

    fn tell(&self, text: String) {
        self.teller.tell(What::Note { text });
    }
}

/// However a round ends, another may begin.
#[derive(Debug)]
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
