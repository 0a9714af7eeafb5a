//! What each name means now, and the faults that answer in its place. Pure.

use std::net::Ipv4Addr;
use std::time::Duration;

use indexmap::IndexMap;

use crate::seed::Dice;
use crate::units::Share;

/// Names with their records, as they are in truth, and the faults in force over them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    records: IndexMap<String, Record>,
    faults: IndexMap<String, Fault>,
}

/// What a name means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its addresses, in the order in which they are told.
    pub addresses: Vec<Ipv4Addr>,
    /// How long an answer may be believed; told in whole seconds, rounded up, so that 0 means never.
    pub ttl: Duration,
}

/// What a query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The name has this record.
    Record(Record),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    ServerFailure,
}

/// What a fault does to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The name does not exist.
    NoSuchName,
    /// The server cannot answer.
    ServerFailure,
    /// The answer comes this much later.
    Slow(Duration),
    /// What was true when the fault struck is told still.
    Stale,
    /// The name means something else.
    Remap(Record),
}

/// A fault in force.
#[derive(Clone, Debug)]
struct Fault {
    names: Vec<String>,
    share: Share,
    dice: Dice,
    effect: Effect,
    /// The records when it struck.
    before: IndexMap<String, Record>,
    /// Queries that it answered, or held back.
    queries: u64,
}

impl Table {
    /// What a name means from now on, in truth.
    pub fn set(&mut self, name: &str, record: Record) {
        self.records.insert(name.to_ascii_lowercase(), record);
    }

    /// What a name means in truth.
    pub fn record(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// A fault strikes; the newest goes first where several are about one name.
    pub fn strike(&mut self, fault: &str, names: Vec<String>, share: Share, effect: Effect, dice: Dice) {
        let before = if effect == Effect::Stale { self.records.clone() } else { IndexMap::new() };
        self.faults.insert(fault.to_owned(), Fault { names, share, dice, effect, before, queries: 0 });
    }

    /// A fault is over; how many queries it answered, or held back.
    pub fn heal(&mut self, fault: &str) -> u64 {
        self.faults.shift_remove(fault).map_or(0, |fault| fault.queries)
    }

    /// What a query for this name (small letters, no dot at its end) is answered, and how much later.
    pub fn answer(&mut self, name: &str) -> (Reply, Duration) {
        let Some(record) = self.records.get(name) else { return (Reply::NoSuchName, Duration::ZERO) };
        let (mut reply, mut later) = (None, Duration::ZERO);
        for fault in self.faults.values_mut().rev().filter(|fault| fault.names.iter().any(|one| one == name)) {
            // Who answers already has been found: an older fault can only make it later.
            if reply.is_some() && !matches!(fault.effect, Effect::Slow(_)) {
                continue;
            }
            if fault.share.get() < 1.0 && !fault.dice.chance(fault.share.get()) {
                continue;
            }
            match &fault.effect {
                Effect::NoSuchName => reply = Some(Reply::NoSuchName),
                Effect::ServerFailure => reply = Some(Reply::ServerFailure),
                Effect::Slow(by) => later += *by,
                Effect::Remap(record) => reply = Some(Reply::Record(record.clone())),
                // An answer that is true still is nobody's fault.
                Effect::Stale => match fault.before.get(name) {
                    Some(before) if before != record => reply = Some(Reply::Record(before.clone())),
                    _ => continue,
                },
            }
            fault.queries += 1;
        }
        (reply.unwrap_or_else(|| Reply::Record(record.clone())), later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn record(last: u8) -> Record {
        Record { addresses: vec![Ipv4Addr::new(127, 53, 0, last)], ttl: Duration::from_secs(5) }
    }

    fn table() -> Table {
        let mut table = Table::default();
        table.set("app.test", record(1));
        table.set("disk.test", record(2));
        table
    }

    fn strike(table: &mut Table, fault: &str, names: Vec<String>, share: f64, effect: Effect) {
        table.strike(fault, names, Share::new(share).unwrap(), effect, Seed(7).stream(fault));
    }

    fn app() -> Vec<String> {
        vec!["app.test".to_owned()]
    }

    fn both() -> Vec<String> {
        ["app.test", "disk.test"].map(str::to_owned).to_vec()
    }

    fn slow(ms: u64) -> Effect {
        Effect::Slow(Duration::from_millis(ms))
    }

    #[test]
    fn a_name_means_what_was_set_last() {
        let mut table = table();
        assert_eq!(table.answer("app.test"), (Reply::Record(record(1)), Duration::ZERO));
        table.set("APP.test", record(3));
        assert_eq!(table.answer("app.test").0, Reply::Record(record(3)));
        assert_eq!(table.answer("other.test").0, Reply::NoSuchName);
    }

    #[test]
    fn a_fault_concerns_its_names_alone_and_counts_them() {
        let mut table = table();
        strike(&mut table, "gone", app(), 1.0, Effect::NoSuchName);
        assert_eq!(table.answer("app.test").0, Reply::NoSuchName);
        assert_eq!(table.answer("disk.test").0, Reply::Record(record(2)));
        assert_eq!(table.heal("gone"), 1);
        assert_eq!(table.answer("app.test").0, Reply::Record(record(1)));
        assert_eq!(table.heal("gone"), 0, "healed twice is healed once");
    }

    #[test]
    fn the_newest_fault_answers_and_every_slow_one_adds_up() {
        let mut table = table();
        strike(&mut table, "slow", both(), 1.0, slow(100));
        strike(&mut table, "moved", app(), 1.0, Effect::Remap(record(9)));
        strike(&mut table, "failing", app(), 1.0, Effect::ServerFailure);
        strike(&mut table, "slower", app(), 1.0, slow(20));
        assert_eq!(table.answer("app.test"), (Reply::ServerFailure, Duration::from_millis(120)));
        assert_eq!(table.heal("moved"), 0, "what another answered does not prove it");
        table.heal("failing");
        assert_eq!(table.answer("app.test"), (Reply::Record(record(1)), Duration::from_millis(120)));
    }

    #[test]
    fn a_stale_server_tells_what_was_true_when_the_fault_struck() {
        let mut table = table();
        strike(&mut table, "stale", both(), 1.0, Effect::Stale);
        assert_eq!(table.answer("app.test").0, Reply::Record(record(1)));
        table.set("app.test", record(3));
        assert_eq!(table.answer("app.test").0, Reply::Record(record(1)));
        assert_eq!(table.heal("stale"), 1, "an answer that was true still is no proof");
        assert_eq!(table.answer("app.test").0, Reply::Record(record(3)));
    }

    #[test]
    fn a_share_of_the_queries_is_drawn_from_the_fault_s_own_dice() {
        let answers = || {
            let mut table = table();
            strike(&mut table, "half", app(), 0.5, Effect::ServerFailure);
            let failed = (0..1000).filter(|_| table.answer("app.test").0 == Reply::ServerFailure).count();
            assert_eq!(table.heal("half"), failed as u64);
            failed
        };
        assert!((430..570).contains(&answers()), "{}", answers());
        assert_eq!(answers(), answers());
    }
}
