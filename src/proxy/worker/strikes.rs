//! Faults on a link, as they strike and heal: which connections they concern, and what they have met.

use std::time::Duration;

use super::active::{ActiveHttp, ActiveReach, ActiveToxic};
use super::connection::{Connection, Life, Todo};
use super::links::LinkState;
use super::slab::Key;
use super::{Alarm, Worker};
use crate::clock::Moment;
use crate::event::Mechanism;
use crate::plan::fault::{Direction, Toxic};
use crate::proxy::chain::{Tally, ToxicId};
use crate::proxy::counters::Closing;
use crate::proxy::http::HttpFaultId;
use crate::proxy::kernel::Filter;
use crate::proxy::reach::Reach;
use crate::proxy::strike::{Evidence, Strike, StrikeId, Struck};
use crate::seed::Seed;

/// Connections are dropped in portions, so that a share a second is not a blow each second.
const DROP_TICK: Duration = Duration::from_millis(100);

impl LinkState {
    /// What the kernel loses of one direction of a connection.
    pub(super) fn loss(&self, way: Direction, number: u64) -> Filter {
        let survival: f64 = self
            .toxics
            .iter()
            .filter(|active| active.in_kernel && (active.direction == way || active.direction == Direction::Both))
            .filter(|active| active.concerns(number))
            .map(|active| match active.toxic {
                Toxic::PacketLoss { loss, .. } => 1.0 - loss.get(),
                _ => 1.0,
            })
            .product();
        let threshold = ((1.0 - survival) * f64::from(u32::MAX)) as u32;
        if threshold == 0 { Filter::Open } else { Filter::Lossy { threshold } }
    }
}

impl Worker {
    /// Puts a fault in force on a link; none if the link is gone. `at` is given where it has struck at home already.
    pub(crate) fn strike(
        &mut self,
        key: Key,
        id: StrikeId,
        name: &str,
        seed: Seed,
        strike: Strike,
        at: Option<Moment>,
    ) -> Option<Struck> {
        self.count_drops(key);
        let link = self.links.get(key)?;
        let (name, before) = (format!("link/{}/{name}", link.shared.name), link.counters.snapshot());
        match strike {
            Strike::Toxic { direction, toxic, share } => {
                let in_kernel = self.mechanism == Mechanism::KernelDrop
                    && matches!(toxic, Toxic::PacketLoss { correlation, .. } if correlation.get() == 0.0);
                let tally = Tally::default();
                let active = ActiveToxic { id: id.0, name, seed, direction, share, toxic, in_kernel, tally, before };
                Some(self.strike_toxic(key, id, active))
            }
            Strike::Reach(reach) => {
                let dice = match link.post {
                    0 => seed.stream(&name),
                    post => seed.stream(&format!("{name}/{post}")),
                };
                let active = ActiveReach { id: id.0, reach, cuts_now: true, hits: 0, dice, before };
                Some(self.strike_reach(key, id, active, at))
            }
            Strike::Http(fault) => {
                let at = self.tools.clock.now();
                let link = self.links.get_mut(key)?;
                link.http.insert(HttpFaultId(id.0), fault, seed.stream(&name));
                link.https.push(ActiveHttp { id: id.0, before });
                Some(Struck { id, at, mechanism: None, in_flight_bytes: 0 })
            }
        }
    }

    fn strike_toxic(&mut self, key: Key, id: StrikeId, active: ActiveToxic) -> Struck {
        let at = self.tools.clock.now();
        let is_loss = matches!(active.toxic, Toxic::PacketLoss { .. });
        let mechanism = is_loss.then_some(if active.in_kernel { Mechanism::KernelDrop } else { Mechanism::Stall });
        let in_kernel = active.in_kernel;
        let members = self.links.get(key).map(|link| link.members.clone()).unwrap_or_default();
        for member in members.iter().filter(|_| !in_kernel) {
            if let Some(connection) = self.connections.get_mut(*member)
                && !matches!(connection.life, Life::Draining | Life::Orphaned)
            {
                active.join(connection, &mut self.tools, at);
            }
        }
        if let Some(link) = self.links.get_mut(key) {
            link.toxics.push(active);
        }
        self.govern_or_turn(key, in_kernel, &members);
        Struck { id, at, mechanism, in_flight_bytes: 0 }
    }

    fn govern_or_turn(&mut self, key: Key, in_kernel: bool, members: &[Key]) {
        if in_kernel {
            self.govern_all(key);
        } else {
            for &member in members {
                self.turn(member, Todo::BOTH);
            }
        }
    }

    fn strike_reach(&mut self, key: Key, id: StrikeId, active: ActiveReach, at: Option<Moment>) -> Struck {
        let reach = active.reach;
        let silent = active.silences() || reach == Reach::HalfOpen;
        let mechanism = silent.then_some(self.mechanism);
        let in_flight_bytes = if silent { self.in_flight(key, reach.direction()) } else { 0 };
        // One schedule for all threads of a flap.
        let at = at.unwrap_or_else(|| self.tools.clock.now());
        if matches!(reach, Reach::Reset | Reach::Refused | Reach::HalfOpen | Reach::Drop { .. }) {
            // Who stands in the kernel's queue counts as connected.
            self.accept(key);
        }
        if let Some(link) = self.links.get_mut(key) {
            link.reach.push(active);
        }
        match reach {
            Reach::Reset | Reach::Refused => self.drop_share(key, id.0, 1.0, true),
            Reach::HalfOpen => self.orphan_all(key, id.0),
            Reach::Flap { down, .. } => self.tools.alarms.set(at + down, Alarm::Strike(key, id.0)),
            Reach::Drop { share, reset, once: true } => self.drop_share(key, id.0, share, reset),
            Reach::Drop { .. } => self.tools.alarms.set(at + DROP_TICK, Alarm::Strike(key, id.0)),
            Reach::Silent(_) | Reach::BlackHole | Reach::Refuse => {}
        }
        self.apply_reach(key);
        Struck { id, at, mechanism, in_flight_bytes }
    }

    /// A flap turns, or a portion of the connections is dropped.
    pub(super) fn strike_tick(&mut self, key: Key, id: u64, at: Moment) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(active) = link.reach.iter_mut().find(|active| active.id == id) else { return };
        match active.reach {
            Reach::Flap { up, down } => {
                active.cuts_now = !active.cuts_now;
                // Never so short that the thread would do nothing else.
                let hold = if active.cuts_now { down } else { up }.max(Duration::from_millis(1));
                self.tools.alarms.set(at + hold, Alarm::Strike(key, id));
                self.apply_reach(key);
            }
            Reach::Drop { share, reset, .. } => {
                // So that (1 - portion)^(ticks a second) leaves 1 - share.
                let portion = 1.0 - (1.0 - share).powf(DROP_TICK.as_secs_f64());
                self.tools.alarms.set(at + DROP_TICK, Alarm::Strike(key, id));
                self.drop_share(key, id, portion, reset);
            }
            _ => {}
        }
    }

    /// Closes each connection of a link with this probability.
    fn drop_share(&mut self, key: Key, id: u64, share: f64, reset: bool) {
        let Some(link) = self.links.get_mut(key) else { return };
        let members = link.members.clone();
        let Some(active) = link.reach.iter_mut().find(|active| active.id == id) else { return };
        let chosen: Vec<Key> = members.into_iter().filter(|_| share >= 1.0 || active.dice.chance(share)).collect();
        let mut hits = 0;
        for member in chosen {
            let Some(connection) = self.connections.take(member) else { continue };
            if matches!(connection.life, Life::Draining) {
                self.connections.put(member, connection);
                continue;
            }
            hits += 1;
            if reset {
                self.end(member, connection, Closing::Fault);
            } else {
                self.start_draining(member, connection);
            }
        }
        self.count_hits(key, id, hits);
    }

    /// Takes the server side of every connection away without a word to the client.
    fn orphan_all(&mut self, key: Key, id: u64) {
        let Some(link) = self.links.get(key) else { return };
        let mut hits = 0;
        for member in link.members.clone() {
            let Some(connection) = self.connections.get_mut(member) else { continue };
            if !matches!(connection.life, Life::Open) {
                continue;
            }
            connection.life = Life::Orphaned;
            if let Some(server) = connection.server.take() {
                server.abort();
            }
            connection.up.give_up();
            connection.down.give_up();
            hits += 1;
        }
        self.count_hits(key, id, hits);
    }

    fn count_hits(&mut self, key: Key, id: u64, hits: u64) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.counters.faulted_connections.add(hits);
        if let Some(active) = link.reach.iter_mut().find(|active| active.id == id) {
            active.hits += hits;
        }
    }

    /// Gives a toxic other settings.
    pub(crate) fn update_toxic(&mut self, key: Key, id: StrikeId, toxic: Toxic, share: f64) {
        let now = self.tools.clock.now();
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(active) = link.toxics.iter_mut().find(|active| active.id == id.0) else { return };
        active.toxic = toxic;
        active.share = share;
        let in_kernel = active.in_kernel;
        let members = link.members.clone();
        for &member in members.iter().filter(|_| !in_kernel) {
            let Some(connection) = self.connections.get_mut(member) else { continue };
            let id = ToxicId(id.0);
            if !active.concerns(connection.number) {
                let tally = active.tally_on(connection);
                active.tally += tally;
                connection.up.remove(id, now);
                connection.down.remove(id, now);
            } else if connection.up.carries(id) || connection.down.carries(id) {
                connection.up.update(id, toxic, now);
                connection.down.update(id, toxic, now);
            } else if !matches!(connection.life, Life::Draining | Life::Orphaned) {
                // The share has grown.
                active.join(connection, &mut self.tools, now);
            }
        }
        self.govern_or_turn(key, in_kernel, &members);
    }

    /// Takes a fault out of force; says what it has met.
    pub(crate) fn heal(&mut self, key: Key, id: StrikeId) -> Option<Evidence> {
        let evidence = self.evidence(key, id)?;
        let now = self.tools.clock.now();
        let link = self.links.get_mut(key)?;
        if let Some(place) = link.toxics.iter().position(|active| active.id == id.0) {
            let in_kernel = link.toxics.remove(place).in_kernel;
            let members = link.members.clone();
            for &member in members.iter().filter(|_| !in_kernel) {
                if let Some(connection) = self.connections.get_mut(member) {
                    connection.up.remove(ToxicId(id.0), now);
                    connection.down.remove(ToxicId(id.0), now);
                }
            }
            self.govern_or_turn(key, in_kernel, &members);
        } else if let Some(place) = link.reach.iter().position(|active| active.id == id.0) {
            link.reach.remove(place);
            self.apply_reach(key);
        } else if let Some(place) = link.https.iter().position(|active| active.id == id.0) {
            link.https.remove(place);
            link.http.remove(HttpFaultId(id.0));
            for member in link.members.clone() {
                if let Some(mut connection) = self.connections.take(member) {
                    let mut todo = Todo::default();
                    if let Some(tap) = &mut connection.tap {
                        tap.healed(HttpFaultId(id.0));
                        connection.run_tap(member, &mut todo, &mut self.tools);
                    }
                    let fate = self.drive(member, &mut connection, todo);
                    self.settle(member, connection, fate);
                }
            }
        }
        Some(evidence)
    }

    /// What a fault in force has met so far.
    pub(crate) fn evidence(&mut self, key: Key, id: StrikeId) -> Option<Evidence> {
        self.count_drops(key);
        self.count_refusals(key);
        let link = self.links.get(key)?;
        let now = link.counters.snapshot();
        if let Some(active) = link.toxics.iter().find(|active| active.id == id.0) {
            let connections = link.members.iter().filter_map(|&member| self.connections.get(member));
            let mut tally = active.tally;
            connections.for_each(|connection| tally += active.tally_on(connection));
            let dropped = if active.in_kernel { now.dropped_segments - active.before.dropped_segments } else { 0 };
            return Some(Evidence {
                altered_chunks: tally.altered_chunks,
                withheld_bytes: tally.withheld_bytes,
                dropped_segments: dropped,
                connections: tally.closes,
                ..Evidence::default()
            });
        }
        if let Some(active) = link.reach.iter().find(|active| active.id == id.0) {
            let before = &active.before;
            let silent = active.silences() || active.reach == Reach::HalfOpen;
            let passed = |direction| {
                let up = now.up_sent_bytes - before.up_sent_bytes;
                let down = now.down_sent_bytes - before.down_sent_bytes;
                match direction {
                    Direction::Up => up,
                    Direction::Down => down,
                    Direction::Both => up + down,
                }
            };
            return Some(Evidence {
                withheld_bytes: if silent { now.withheld_bytes - before.withheld_bytes } else { 0 },
                dropped_segments: if silent { now.dropped_segments - before.dropped_segments } else { 0 },
                connections: active.hits,
                passed_bytes: if active.silences() { passed(active.reach.direction()) } else { 0 },
                ..Evidence::default()
            });
        }
        let active = link.https.iter().find(|active| active.id == id.0)?;
        let requests = link.http.matched(HttpFaultId(id.0));
        let requests = requests.unwrap_or(now.faulted_requests - active.before.faulted_requests);
        Some(Evidence { requests, ..Evidence::default() })
    }

    /// Keeps what toxics have done on a connection that ends.
    pub(super) fn collect_tallies(&mut self, connection: &Connection) {
        if !connection.up.is_chained() && !connection.down.is_chained() {
            return;
        }
        let Some(link) = self.links.get_mut(connection.link) else { return };
        for active in link.toxics.iter_mut().filter(|active| !active.in_kernel) {
            let tally = active.tally_on(connection);
            active.tally += tally;
        }
    }
}
