//! Faults of a run that is under way: injected on whom they mean now, followed, healed, proven.

use std::time::Duration;

use indexmap::IndexMap;

use super::RunError;
use super::action::act;
use super::aim::Aim;
use super::conductor::{Running, Setup};
use super::in_force::{Doing, InForce, Traffic, action_proof, node_proof};
use super::keeper::Undo;
use crate::clock::Moment;
use crate::event::{Proof, StopReason, What};
use crate::plan::Allow;
use crate::plan::fault::Fault;
use crate::system::NodeAct;

/// How long the way back of an action may take; a lease is longer than its fault by more than that.
const UNDO_WITHIN: Duration = Duration::from_secs(8);

impl Running {
    /// Moves a fault on links to those that its selectors mean now.
    pub(super) fn retarget(&mut self, setup: &Setup<'_>, name: &str, fault: &Fault) -> Result<(), RunError> {
        let mut dice = setup.plan.seed.stream(&format!("fault/{name}"));
        let Aim::Links { targets: wanted, .. } = Aim::of(fault, &self.topology, &mut dice) else { return Ok(()) };
        let Some(InForce::Links(injection, targets)) = self.in_force.get_mut(name) else {
            return Ok(());
        };
        for gone in targets.iter().filter(|target| !wanted.contains(target)) {
            self.backend.retract(injection, gone)?;
        }
        for new in wanted.iter().filter(|target| !targets.contains(target)) {
            self.backend.extend(injection, new)?;
        }
        *targets = wanted;
        Ok(())
    }

    pub(super) async fn inject(&mut self, setup: &Setup<'_>, name: &str, planned: Moment) {
        let Some(fault) = setup.plan.faults.get(name) else { return };
        let mut dice = setup.plan.seed.stream(&format!("fault/{name}"));
        let aim = match Aim::of(fault, &self.topology, &mut dice).filled(|action| self.filled(action)) {
            Ok(aim) => aim,
            Err(unknown) => return self.give_up(setup, name, &unknown.to_string()),
        };
        let hit = aim.hit(|node| self.places(node));
        let (kind, now) = (fault.kind.name().to_owned(), self.clock.now());
        if aim.is_empty() {
            let text = format!("fault {name} hits nobody: its selectors match nothing just now");
            self.recorder.event(What::Note { text });
        }
        if let Err(error) = self.keeper.lease(name, fault.lease.0, undo_of(&aim, setup.allowance.hosts())) {
            return setup.stop.request(StopReason::Keeper, error.to_string());
        }
        self.tell_counters();
        let (in_force, at, last_hit, mechanism, in_flight_bytes) = match aim {
            Aim::Links { action, targets, .. } => match self.backend.inject(name, &action, &targets, setup.plan.seed) {
                Ok(injection) => {
                    let told =
                        (injection.at.min(injection.last_hit.max(now)), injection.last_hit.max(injection.at.min(now)));
                    let more = (injection.mechanism, injection.in_flight_bytes);
                    (InForce::Links(Box::new(injection), targets), told.0, told.1, more.0, more.1)
                }
                Err(error) => return self.give_up(setup, name, &error.to_string()),
            },
            Aim::Nodes { act, nodes } => {
                let leads_there = |link: &str| self.topology.link(link).is_some_and(|link| nodes.contains(&link.to));
                let towards = Traffic::now(&*self.backend, leads_there);
                let before = self.incarnations(&nodes);
                let at = self.clock.now();
                for node in &nodes {
                    if let Err(error) = self.system.apply(node, act).await {
                        return self.give_up(setup, name, &error.to_string());
                    }
                }
                let last_hit = self.clock.now();
                let (read_back, obeyed) = self.read_back(&nodes, act, &before);
                let awaited = if act == NodeAct::Restart { before } else { IndexMap::new() };
                (InForce::Nodes { act, nodes, read_back, obeyed, towards, awaited }, at, last_hit, None, 0)
            }
            Aim::Action { action, undo } => {
                let at = self.clock.now();
                // Beside the run, so that guards, other faults and Ctrl-C do not wait for it.
                let within = fault.hold.map_or(fault.lease.0.saturating_sub(UNDO_WITHIN), |hold| hold.0);
                let (done, fault) = (self.done.clone(), name.to_owned());
                let tell = move || drop(done.send(fault));
                let doing = Doing::start(action, within, setup.allowance.permit().clone(), tell);
                (InForce::Action { undo, doing }, at, at, None, 0)
            }
        };
        self.recorder.event_at(
            at,
            What::FaultInjected { fault: name.into(), kind, planned, last_hit, hit, mechanism, in_flight_bytes },
        );
        self.schedule.injected(name, at);
        self.in_force.insert(name.to_owned(), in_force);
        self.show_in_force(setup);
    }

    pub(super) async fn heal(&mut self, setup: &Setup<'_>, name: &str, planned: Moment) {
        let Some(in_force) = self.in_force.shift_remove(name) else { return };
        let (mut at, mut healed) = (self.clock.now(), true);
        let proof = match in_force {
            InForce::Links(injection, _) => {
                self.backend.heal(*injection).unwrap_or_else(|error| self.unhealed(name, &error.to_string()))
            }
            InForce::Nodes { act, nodes, mut read_back, obeyed, towards, awaited } => {
                read_back.extend(awaited.keys().map(|node| format!("{node}: not ready again")));
                let proof = node_proof(&*self.backend, obeyed, read_back, &towards);
                for node in &nodes {
                    if let Err(error) = self.system.heal(node, act).await {
                        self.unhealed(name, &error.to_string());
                    }
                }
                at = self.clock.now();
                proof
            }
            InForce::Action { undo, doing } => {
                let (mut ok, said) = doing.end().await;
                let mut told = vec![said];
                if let Some(undo) = undo {
                    let (undone, said) = act(&undo, UNDO_WITHIN, setup.allowance.permit()).await;
                    if !undone {
                        self.unhealed(name, &said);
                        told.push(format!("could not be undone: {said}"));
                        // The lease stays: the keeper tries again, and the journal remembers it for `heal`.
                        (ok, healed) = (false, false);
                    }
                }
                action_proof(ok, told)
            }
        };
        if healed {
            // A keeper that is lost has told so itself.
            let _ = self.keeper.release(name);
        }
        self.tell_counters();
        self.recorder.event_at(at, What::FaultHealed { fault: name.into(), planned, proof });
        self.schedule.healed(name, at);
        self.show_in_force(setup);
    }

    /// A fault that cannot be injected makes the run worthless: it ends.
    fn give_up(&mut self, setup: &Setup<'_>, name: &str, why: &str) {
        self.schedule.injected(name, self.clock.now());
        self.schedule.healed(name, self.clock.now());
        setup.stop.request(StopReason::System, format!("fault {name} could not be injected: {why}"));
    }

    fn unhealed(&self, name: &str, why: &str) -> Proof {
        self.recorder.event(What::Note { text: format!("fault {name} could not be healed: {why}") });
        Proof::default()
    }

    pub(super) fn show_in_force(&self, setup: &Setup<'_>) {
        let in_force = self.schedule.in_force().into_iter().map(|(name, heals)| (name.to_owned(), heals)).collect();
        setup.pulse.update(|beat| beat.in_force = in_force);
    }

    /// What clients may call a node: `node#incarnation`, its bare name, and the addresses that lead to it.
    fn places(&self, node: &str) -> Vec<String> {
        let known = self.system.nodes().into_iter().find(|info| info.name == node);
        let mut places: Vec<String> = known.iter().map(crate::system::NodeInfo::place).collect();
        places.push(node.to_owned());
        let leads_there = |(name, address): (&String, _)| {
            (self.topology.link(name)?.to == node).then(|| std::net::SocketAddr::to_string(address))
        };
        places.extend(self.links.iter().filter_map(leads_there));
        places
    }

    /// How often each node has been started or promoted.
    fn incarnations(&self, nodes: &[String]) -> IndexMap<String, u64> {
        let all = self.system.nodes().into_iter();
        all.filter(|info| nodes.contains(&info.name)).map(|info| (info.name, info.incarnation)).collect()
    }

    /// The nodes' states as read back, and whether each is what the act makes of it.
    fn read_back(&self, nodes: &[String], act: NodeAct, before: &IndexMap<String, u64>) -> (Vec<String>, bool) {
        let now = self.incarnations(nodes);
        let mut obeyed = true;
        let mut lines = Vec::new();
        for node in nodes {
            let state = match act {
                NodeAct::Restart => format!("started again as {node}#{}", now.get(node).copied().unwrap_or_default()),
                NodeAct::Kill | NodeAct::Stop | NodeAct::Pause => self.system.read_back(node),
            };
            obeyed &= match act {
                NodeAct::Kill | NodeAct::Stop => state == "gone",
                NodeAct::Pause => matches!(state.as_str(), "T" | "paused"),
                // What was there before has gone: somebody else stands in its place.
                NodeAct::Restart => now.get(node) > before.get(node),
            };
            lines.push(format!("{node}: {state}"));
        }
        (lines, obeyed)
    }
}

/// How the keeper undoes a fault without us; faults on our own links and processes go when we do.
fn undo_of(aim: &Aim, allowed: &[Allow]) -> Option<Undo> {
    let Aim::Action { undo, .. } = aim else { return None };
    Some(Undo { action: undo.clone()?, allow: allowed.to_vec(), gone_is_done: false })
}
