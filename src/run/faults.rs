//! Faults of a run that is under way: injected on whom they mean now, followed, healed, proven.
//!
//! ```text
//! schedule ─▶ lease ─ ─ ─ ─ ─ ▶ inject ─▶ links: at once    ─▶ in force ─▶ heal ─▶ links: at once        ─▶ healed
//!             (where an undo           ├▶ nodes: ─ ─ ─ ─ ─ ─▶│                ├▶ nodes, undo: ─ ─ ─ ─ ─▶│
//!              must be journalled)     └▶ actions: begun    ─▶│                └▶ other actions: broken off
//! ```
//!
//! A dashed line is done beside the conductor, which hears its end as [`Told`]; other faults do not wait for it.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::sleep;

use super::RunError;
use super::action::act;
use super::aim::Aim;
use super::aside::{aside, in_turn};
use super::conductor::{Running, Setup};
use super::in_force::{Doing, InForce, action_proof, name_proof};
use super::keeper::{KeeperError, Undo};
use super::on_nodes::{self, OnNodes, Struck, blackout_proof};
use crate::backend::{Injection, LinkAction};
use crate::clock::Moment;
use crate::event::{Hit, Mechanism, Proof, StopReason, What};
use crate::experiment::interpolate::UnknownName;
use crate::plan::Action;
use crate::plan::Order;
use crate::plan::fault::Fault;
use crate::system::{NodeAct, System, SystemError};

/// How long the way back of an action may take; a lease is longer than its fault by more than that.
const UNDO_WITHIN: Duration = Duration::from_secs(8);

/// How often a lab is asked whether it serves again.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the conductor hears of what it had begun.
pub(super) enum Told {
    /// The keeper has a fault's lease, or not.
    Leased(String, Result<(), KeeperError>),
    /// Nodes were struck, or did not obey.
    Struck(Injecting, Result<Struck, SystemError>),
    /// A fault was taken back.
    Healed(Healed),
}

/// A fault that is being injected.
pub(super) struct Injecting {
    name: String,
    kind: &'static str,
    planned: Moment,
    hit: Hit,
}

/// A fault that is no longer in force.
pub(super) struct Healed {
    name: String,
    planned: Moment,
    at: Moment,
    proof: Proof,
    /// Why it could not be taken back, where that is so.
    left: Vec<String>,
    /// The lease stays: the keeper tries again, and the journal remembers it for `heal`.
    keep_lease: bool,
}

impl Running {
    /// Asks for the lease of a fault that is due at a moment: its way back must be in the journal before it strikes.
    pub(super) fn lease(&mut self, setup: &Setup<'_>, name: &str, due: Moment) {
        let Some(fault) = setup.plan.faults.get(name) else { return };
        let undo = match self.aim(setup, name, fault) {
            Ok(Aim::Action { undo: Some(action), .. }) => {
                Undo { action, allow: setup.allowance.hosts().to_vec(), gone_is_done: false }
            }
            Ok(_) => return,
            Err(unknown) => return self.give_up(setup, name, &unknown.to_string()),
        };
        let within = fault.lease.0 + due.saturating_since(self.clock.now());
        let (keeper, name) = (self.keeper.clone(), name.to_owned());
        self.schedule.leasing(&name);
        self.begun.spawn_blocking(move || {
            let leased = keeper.lease_journalled(&name, within, undo);
            Told::Leased(name, leased)
        });
    }

    pub(super) async fn inject(&mut self, setup: &Setup<'_>, name: &str, planned: Moment) {
        let Some(fault) = setup.plan.faults.get(name) else { return };
        let aim = match self.aim(setup, name, fault) {
            Ok(aim) => aim,
            Err(unknown) => return self.give_up(setup, name, &unknown.to_string()),
        };
        let hit = aim.hit(|node| self.places(node), || self.system.serving());
        let injecting = Injecting { name: name.to_owned(), kind: fault.kind.name(), planned, hit };
        if aim.is_empty() {
            let text = format!("fault {name} hits nobody: its selectors match nothing just now");
            self.recorder.event(What::Note { text });
        }
        if !matches!(aim, Aim::Action { undo: Some(_), .. })
            && let Err(error) = self.keeper.lease(name, fault.lease.0)
        {
            return setup.stop.request(StopReason::Keeper, error.to_string());
        }
        self.tell_counters().await;
        match aim {
            Aim::Links { action, targets, .. } => {
                let (backend, seed, fault, now) =
                    (self.backend.clone(), setup.plan.seed, name.to_owned(), self.clock.now());
                let injected = aside(move || {
                    let injected = backend.inject(&fault, &action, &targets, seed);
                    injected.map(|injection| (injection, targets))
                });
                match injected.await {
                    Ok((injection, targets)) => {
                        // Where nothing was hit, it says so by moments out of their order.
                        let at = injection.at.min(injection.last_hit.max(now));
                        let last_hit = injection.last_hit.max(injection.at.min(now));
                        let (mechanism, in_flight) = (injection.mechanism, injection.in_flight_bytes);
                        self.in_force.insert(name.to_owned(), InForce::Links(Box::new(injection), targets));
                        self.injected(setup, injecting, at, last_hit, mechanism, in_flight);
                    }
                    Err(error) => self.give_up(setup, name, &error.to_string()),
                }
            }
            Aim::Nodes { act, nodes } => self.strike(injecting, act, nodes, None),
            Aim::Blackout { targets, nodes } => {
                // The links first: nobody hears a node die that has lost its power.
                let (backend, seed, fault) = (self.backend.clone(), setup.plan.seed, name.to_owned());
                let silenced = aside(move || backend.inject(&fault, &LinkAction::Silent, &targets, seed)).await;
                match silenced {
                    Ok(silence) => self.strike(injecting, NodeAct::Kill, nodes, Some(Box::new(silence))),
                    Err(error) => self.give_up(setup, name, &error.to_string()),
                }
            }
            Aim::Order(order) => {
                let at = self.clock.now();
                let (done, fault, system) = (self.done.clone(), name.to_owned(), self.system.clone());
                let tell = move || drop(done.send(fault));
                let doing = Doing::start(async move { ordered(&system, order).await }, tell);
                self.in_force.insert(name.to_owned(), InForce::Action { undo: None, doing });
                self.injected(setup, injecting, at, at, None, 0);
            }
            Aim::Names { names, share, effect, .. } => {
                let Some(dns) = &self.dns else { return self.give_up(setup, name, "no name is answered here") };
                let (at, dice) = (self.clock.now(), setup.plan.seed.stream(&format!("fault/{name}/queries")));
                dns.strike(name, names, share, &effect, dice);
                self.in_force.insert(name.to_owned(), InForce::Names);
                self.injected(setup, injecting, at, at, None, 0);
            }
            Aim::Action { action, undo } => {
                let at = self.clock.now();
                // Beside the run, so that guards, other faults and Ctrl-C do not wait for it.
                let within = fault.hold.map_or(fault.lease.0.saturating_sub(UNDO_WITHIN), |hold| hold.0);
                let (done, fault, permit) = (self.done.clone(), name.to_owned(), setup.allowance.permit().clone());
                let tell = move || drop(done.send(fault));
                let doing = Doing::start(async move { act(&action, within, &permit).await }, tell);
                self.in_force.insert(name.to_owned(), InForce::Action { undo, doing });
                self.injected(setup, injecting, at, at, None, 0);
            }
        }
    }

    pub(super) async fn heal(&mut self, setup: &Setup<'_>, name: &str, planned: Moment) {
        let Some(in_force) = self.in_force.shift_remove(name) else { return };
        let name = name.to_owned();
        let healed = Healed {
            name: name.clone(),
            planned,
            at: self.clock.now(),
            proof: Proof::default(),
            left: Vec::new(),
            keep_lease: false,
        };
        match in_force {
            InForce::Links(injection, _) => {
                let backend = self.backend.clone();
                let proof = aside(move || backend.heal(*injection)).await;
                let at = self.clock.now();
                let (proof, left) = match proof {
                    Ok(proof) => (proof, Vec::new()),
                    Err(error) => (Proof::default(), vec![error.to_string()]),
                };
                self.healed(setup, Healed { at, proof, left, ..healed }).await;
            }
            InForce::Nodes { act, nodes, silence, struck, awaited } => {
                let (on, backend, clock) = (self.on_nodes(act, &nodes), self.backend.clone(), self.clock);
                self.schedule.healing(&name);
                self.begun.spawn_blocking(in_turn(async move || {
                    let obeyed = struck.as_ref().is_some_and(|struck| struck.obeyed);
                    let mut proof = struck.map(|struck| on.proof(struck)).unwrap_or_default();
                    proof.read_back.extend(awaited.keys().map(|node| format!("{node}: not ready again")));
                    let mut left: Vec<String> = on.heal().await.iter().map(ToString::to_string).collect();
                    // The links after their nodes: when somebody reaches these again, they are there.
                    match silence.map(|silence| backend.heal(*silence)) {
                        Some(Ok(withheld)) => proof = blackout_proof(obeyed, proof, withheld),
                        Some(Err(error)) => left.push(error.to_string()),
                        None => {}
                    }
                    Told::Healed(Healed { at: clock.now(), proof, left, ..healed })
                }));
            }
            InForce::Names => {
                let queries = self.dns.as_ref().map_or(0, |dns| dns.table().heal(&name));
                self.healed(setup, Healed { proof: name_proof(queries), ..healed }).await;
            }
            InForce::Action { undo: None, doing } => {
                let (ok, said) = doing.end().await;
                self.healed(setup, Healed { proof: action_proof(ok, vec![said]), ..healed }).await;
            }
            InForce::Action { undo: Some(undo), doing } => {
                let permit = setup.allowance.permit().clone();
                self.schedule.healing(&name);
                self.begun.spawn(async move {
                    let (ok, said) = doing.end().await;
                    let (undone, undo_said) = act(&undo, UNDO_WITHIN, &permit).await;
                    if undone {
                        return Told::Healed(Healed { proof: action_proof(ok, vec![said]), ..healed });
                    }
                    let proof = action_proof(false, vec![said, format!("could not be undone: {undo_said}")]);
                    Told::Healed(Healed { proof, left: vec![undo_said], keep_lease: true, ..healed })
                });
            }
        }
    }

    /// What was begun has ended.
    pub(super) async fn hear_told(&mut self, setup: &Setup<'_>, told: Told) {
        match told {
            Told::Leased(name, Ok(())) => self.schedule.leased(&name),
            Told::Leased(_, Err(error)) => setup.stop.request(StopReason::Keeper, error.to_string()),
            Told::Struck(injecting, Ok(now)) => {
                let (mut at, last_hit, mut how) = (now.at, now.last_hit, (None, 0));
                if let Some(InForce::Nodes { struck, silence, .. }) = self.in_force.get_mut(&injecting.name) {
                    *struck = Some(now);
                    if let Some(silence) = silence {
                        at = at.min(silence.at);
                        how = (silence.mechanism, silence.in_flight_bytes);
                    }
                }
                self.injected(setup, injecting, at, last_hit, how.0, how.1);
            }
            Told::Struck(injecting, Err(error)) => {
                self.in_force.shift_remove(&injecting.name);
                self.give_up(setup, &injecting.name, &error.to_string());
            }
            Told::Healed(healed) => self.healed(setup, healed).await,
        }
    }

    /// Moves a fault on links to those that its selectors mean now.
    pub(super) async fn retarget(&mut self, setup: &Setup<'_>, name: &str, fault: &Fault) -> Result<(), RunError> {
        let mut dice = setup.plan.seed.stream(&format!("fault/{name}"));
        let Aim::Links { targets: wanted, .. } = Aim::of(fault, &self.topology, &mut dice) else { return Ok(()) };
        if !matches!(self.in_force.get(name), Some(InForce::Links(..))) {
            return Ok(());
        }
        let Some((place, name, InForce::Links(mut injection, targets))) = self.in_force.shift_remove_full(name) else {
            return Ok(());
        };
        let backend = self.backend.clone();
        let moved = aside(move || {
            let mut hit = targets.clone();
            for gone in targets.iter().filter(|target| !wanted.contains(target)) {
                if let Err(error) = backend.retract(&mut injection, gone) {
                    return (injection, hit, Err(error));
                }
                hit.retain(|target| target != gone);
            }
            for new in wanted.iter().filter(|target| !targets.contains(target)) {
                if let Err(error) = backend.extend(&mut injection, new) {
                    return (injection, hit, Err(error));
                }
                hit.push(new.clone());
            }
            (injection, hit, Ok(()))
        });
        let (injection, hit, moved) = moved.await;
        self.in_force.shift_insert(place, name, InForce::Links(injection, hit));
        Ok(moved?)
    }

    /// Whom a fault means by the labels that nodes have now, with the addresses in its actions filled in.
    fn aim(&self, setup: &Setup<'_>, name: &str, fault: &Fault) -> Result<Aim, UnknownName> {
        let mut dice = setup.plan.seed.stream(&format!("fault/{name}"));
        Aim::of(fault, &self.topology, &mut dice).filled(|action: &Action| self.filled(action))
    }

    /// Begins to do something to nodes.
    fn strike(&mut self, injecting: Injecting, act: NodeAct, nodes: Vec<String>, silence: Option<Box<Injection>>) {
        let before = on_nodes::incarnations(&self.system, &nodes);
        let awaited = if act == NodeAct::Restart { before.clone() } else { IndexMap::new() };
        let on = self.on_nodes(act, &nodes);
        self.schedule.striking(&injecting.name);
        // Known from now on: a node may be ready again before we hear that it was struck.
        let in_force = InForce::Nodes { act, nodes, silence, struck: None, awaited };
        self.in_force.insert(injecting.name.clone(), in_force);
        self.begun.spawn_blocking(in_turn(async move || {
            let struck = on.strike(&before).await;
            Told::Struck(injecting, struck)
        }));
    }

    fn on_nodes(&self, act: NodeAct, nodes: &[String]) -> OnNodes {
        let leads_there = |link: &&String| self.topology.link(link).is_some_and(|link| nodes.contains(&link.to));
        OnNodes {
            act,
            nodes: nodes.to_vec(),
            links: self.links.keys().filter(leads_there).cloned().collect(),
            system: self.system.clone(),
            backend: self.backend.clone(),
            clock: self.clock,
        }
    }

    fn injected(
        &mut self,
        setup: &Setup<'_>,
        injecting: Injecting,
        at: Moment,
        last_hit: Moment,
        mechanism: Option<Mechanism>,
        in_flight_bytes: u64,
    ) {
        let Injecting { name, kind, planned, hit } = injecting;
        self.schedule.injected(&name, at);
        let kind = kind.to_owned();
        let what = What::FaultInjected { fault: name, kind, planned, last_hit, hit, mechanism, in_flight_bytes };
        self.recorder.event_at(at, what);
        self.show_in_force(setup);
    }

    async fn healed(&mut self, setup: &Setup<'_>, healed: Healed) {
        let Healed { name, planned, at, proof, left, keep_lease } = healed;
        for why in left {
            self.recorder.event(What::Note { text: format!("fault {name} could not be healed: {why}") });
        }
        if !keep_lease {
            // A keeper that is lost has told so itself.
            let _ = self.keeper.release(&name);
        }
        self.tell_counters().await;
        self.schedule.healed(&name, at);
        self.recorder.event_at(at, What::FaultHealed { fault: name, planned, proof });
        self.show_in_force(setup);
    }

    /// A fault that cannot be injected makes the run worthless: it ends.
    fn give_up(&mut self, setup: &Setup<'_>, name: &str, why: &str) {
        self.schedule.given_up(name, self.clock.now());
        setup.stop.request(StopReason::System, format!("fault {name} could not be injected: {why}"));
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
}

/// Gives an order and waits until the lab has carried it out; whether it was done, and what the lab said.
async fn ordered(system: &System, order: Order) -> (bool, String) {
    match system.order(order).await {
        Ok(said) => {
            while !system.done(order) {
                sleep(LOOK_EVERY).await;
            }
            match system.failed(order) {
                None => (true, said),
                Some(why) => (false, format!("failed: {why}")),
            }
        }
        Err(refused) => (false, format!("refused: {refused}")),
    }
}
