//! Labs under kill, pause, partition, loss and late messages, on a virtual clock, by the thousand.
//!
//! ```text
//!   strikes ──▶ world: nodes, control nodes, compute nodes, clients ◀──▶ network (clock, loss, cuts)
//!                 └──▶ ledger: what clients were told ──▶ outcome
//! ```
//!
//! Clients write keys of their own at full load to where they are routed and, at times, to any node. Whatever can be
//! struck is, often several at once, and failovers are ordered in between. At the end everything heals: whatever was
//! acknowledged must be there, and the lab must serve again.
//!
//! `SEED=n` runs that seed alone and tells what happens in it.

mod engines;
mod ledger;
pub(super) mod network;
mod place;
mod strikes;
mod world;

use ledger::Outcome;
use world::{World, ms};

use super::replica_set::{Commit, Members, Settings};

/// Runs each seed; `SEED=n` runs that one alone, and tells what happens.
fn simulate(world: impl Fn(u64) -> World, seeds: std::ops::Range<u64>) -> Vec<(u64, Outcome)> {
    let alone = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let run = |seed| {
        let mut world = world(seed);
        world.talks = alone.is_some();
        (seed, world.run())
    };
    alone.map_or(seeds, |seed| seed..seed + 1).map(run).collect()
}

/// 2,000 seeds take some 25 s of one core, built as tests are; that is for `ci/test --full`.
fn seeds() -> std::ops::Range<u64> {
    0..if std::env::var_os("BROWNOUT_FULL").is_some() { 2_000 } else { 300 }
}

/// Nothing is broken in any run, the lab serves again and has acknowledged something; so often was somebody else chosen
/// to serve, and so often were the members changed.
fn holds(world: impl Fn(u64) -> World, seeds: std::ops::Range<u64>, least: usize) -> Vec<Outcome> {
    let (mut changes, mut rebuilds) = (0, 0);
    let outcomes = simulate(world, seeds);
    for (seed, outcome) in &outcomes {
        assert!(!outcome.broken(), "SEED={seed} shows it again: {outcome:?}");
        assert!(outcome.serves_at_the_end, "SEED={seed} shows it again: {outcome:?}");
        assert!(outcome.acknowledged > least, "SEED={seed} shows it again: {outcome:?}");
        changes += outcome.failovers + outcome.moves;
        rebuilds += outcome.rebuilds;
    }
    let worth = |count: usize| outcomes.len() == 1 || count > outcomes.len();
    assert!(worth(changes) && worth(rebuilds), "hardly any faults: {changes} failovers, {rebuilds} rebuilds");
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The seeds among the first 200 in which something is broken.
fn found(world: impl Fn(u64) -> World) -> Vec<u64> {
    simulate(world, 0..200).into_iter().filter(|(_, outcome)| outcome.broken()).map(|(seed, _)| seed).collect()
}

/// A seed is kept as it was found first: it fails again, in the same way.
fn replays(world: impl Fn(u64) -> World, seed: u64) {
    let outcome = world(seed).run();
    assert!(outcome.broken(), "{outcome:?}");
    assert_eq!(world(seed).run(), outcome);
}

mod set {
    use super::*;

    fn of(commit: Commit, fencing: bool) -> impl Fn(u64) -> World {
        move |seed| World::of_a_set(Settings { commit, fencing, ..Settings::for_tests() }, seed)
    }

    #[test]
    fn nothing_acknowledged_is_lost_one_primary_serves_a_term_and_the_set_serves_again() {
        holds(of(Commit::Quorum, true), seeds(), 200);
    }

    /// A set that waits for every copy is down until a lost one is ejected, so it acknowledges less.
    #[test]
    fn a_set_that_needs_every_copy_ejects_lost_ones_and_loses_nothing_either() {
        let settings = Settings { commit: Commit::All, rebuild_after: ms(50), least: 1, ..Settings::for_tests() };
        holds(|seed| World::of_a_set(settings, seed), seeds(), 50);
    }

    #[test]
    fn asynchronous_commit_is_found_out_within_200_seeds() {
        let found = found(of(Commit::Async, true));
        assert!(found.len() > 100, "only {found:?}");
    }

    #[test]
    fn a_lack_of_fencing_is_found_out_within_200_seeds() {
        let found = found(of(Commit::Quorum, false));
        assert!(found.len() > 20, "only {found:?}");
    }

    /// It has a second home, and is ordered from one to the other over and over.
    fn migrating(commit: Commit, joint: bool) -> impl Fn(u64) -> World {
        let least = if commit == Commit::All { 1 } else { 2 };
        let homes = [Members::default(), Members::ALL];
        let (seeding, rebuild_after) = (ms(80), ms(50));
        let settings = Settings { commit, homes, seeding, rebuild_after, least, joint, ..Settings::for_tests() };
        move |seed| World::of_a_set(settings, seed)
    }

    #[test]
    fn a_set_that_is_migrated_meanwhile_loses_nothing_either() {
        let seeds = 0..seeds().end / 2;
        for commit in [Commit::Quorum, Commit::All] {
            let outcomes = holds(migrating(commit, true), seeds.clone(), 50);
            let migrations: usize = outcomes.iter().map(|outcome| outcome.migrations).sum();
            assert!(outcomes.len() == 1 || migrations > outcomes.len() / 2, "only {migrations} migrations");
        }
    }

    #[test]
    fn a_copy_that_counts_before_it_is_built_is_found_out_within_200_seeds() {
        let found = found(migrating(Commit::Quorum, false));
        assert!(found.len() > 20, "only {found:?}");
    }

    #[test]
    fn a_seed_replays_exactly() {
        replays(of(Commit::Async, true), 2);
        replays(of(Commit::Quorum, false), 3);
    }
}

mod engine {
    use super::*;

    /// As `managed-sql/remote-storage` has it: a write waits for every copy that is not ejected.
    fn over(commit: Commit, fencing: bool) -> impl Fn(u64) -> World {
        let settings = Settings { commit, rebuild_after: ms(50), copies: 3, least: 1, ..Settings::for_tests() };
        move |seed| World::of_an_engine(settings, fencing, seed)
    }

    #[test]
    fn nothing_acknowledged_is_lost_no_replaced_engine_writes_and_one_serves_again() {
        holds(over(Commit::All, true), seeds(), 20);
    }

    #[test]
    fn asynchronous_commit_is_found_out_within_200_seeds() {
        let found = found(over(Commit::Async, true));
        assert!(found.len() > 20, "only {found:?}");
    }

    #[test]
    fn a_storage_that_takes_replaced_engines_is_found_out_within_200_seeds() {
        let found = found(over(Commit::All, false));
        assert!(found.len() > 20, "only {found:?}");
    }

    #[test]
    fn a_seed_replays_exactly() {
        replays(over(Commit::Async, true), 21);
        replays(over(Commit::All, false), 2);
    }
}
