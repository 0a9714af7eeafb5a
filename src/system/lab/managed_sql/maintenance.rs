//! Rolling maintenance: which node is taken when, and when the next one may be. Pure, told the time.

use std::time::Duration;

use crate::clock::Moment;
use crate::system::lab::store::Position;

/// For so long a node that serves is given the chance to hand over; then it is taken as it is.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// One round over all nodes that run engines or may: each is drained, upgraded and waited for, whoever serves last.
#[derive(Clone, Debug)]
pub struct Round {
    /// How long a node is away.
    upgrade: Duration,
    /// What is seen of a node that was started may be from before, for so long.
    settles: Duration,
    /// Whether a node that serves hands over before. Off is broken on purpose.
    drains: bool,
    /// Those whose turn is to come.
    left: Vec<usize>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until nobody is missing.
    Waits,
    /// This one serves, and is to hand over.
    Drains { node: usize, since: Moment, asked: bool },
    /// This one is away.
    Upgrades { node: usize, until: Moment },
    /// This one is back, and is to have what the one that serves had by then.
    Returns { node: usize, since: Moment, by_then: Option<Position> },
    /// All have had their turn.
    Over,
}

/// What is seen of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who serves.
    pub serving: Option<usize>,
    /// How each node is, by its number.
    pub nodes: Vec<Health>,
    /// Nobody is missing who holds a copy, and no change of it is under way.
    pub whole: bool,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is not heard.
    Missing,
    /// It is well, and holds no copy that counts.
    Idle,
    /// It is well, and its copy ends here.
    Holds(Position),
}

impl Seen {
    /// What is seen of so many nodes while nobody has an overview.
    pub fn nothing(nodes: usize) -> Seen {
        Seen { serving: None, nodes: vec![Health::Missing; nodes], whole: false }
    }
}

impl Health {
    fn end(self) -> Position {
        match self {
            Health::Holds(end) => end,
            Health::Missing | Health::Idle => Position::default(),
        }
    }

    /// Whether nothing up to there is missing here that should be here.
    fn has(self, wanted: Position) -> bool {
        match self {
            Health::Missing => false,
            Health::Idle => true,
            Health::Holds(end) => (end.term, end.index) >= (wanted.term, wanted.index),
        }
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whoever serves is to let another do it; whether that was [granted](Round::granted) is to be told.
    HandOver,
    /// The node is stopped.
    Take(usize),
    /// The node is started.
    GiveBack(usize),
}

impl Round {
    /// A round over the nodes 0 to `nodes` - 1.
    pub fn new(nodes: usize, upgrade: Duration, settles: Duration, drains: bool) -> Round {
        Round { upgrade, settles, drains, left: (0..nodes).collect(), stage: Stage::Waits }
    }

    /// Whether all have had their turn, and are back.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The hand-over that was asked for is under way.
    pub fn granted(&mut self) {
        if let Stage::Drains { asked, .. } = &mut self.stage {
            *asked = true;
        }
    }

    /// What to do now.
    pub fn next(&mut self, seen: &Seen, now: Moment) -> Option<Step> {
        match self.stage {
            Stage::Waits if self.left.is_empty() => {
                self.stage = Stage::Over;
                None
            }
            Stage::Waits if !seen.whole => None,
            Stage::Waits => {
                let serving = seen.serving?;
                let others = self.left.iter().copied().filter(|node| *node != serving);
                match others.clone().find(|node| seen.nodes[*node] != Health::Missing) {
                    Some(node) => Some(self.take(node, now)),
                    // Somebody else has taken it away, and will give it back.
                    None if others.count() > 0 => None,
                    None if self.drains => {
                        self.stage = Stage::Drains { node: serving, since: now, asked: false };
                        Some(Step::HandOver)
                    }
                    None => Some(self.take(serving, now)),
                }
            }
            // It is one of those that do not serve now.
            Stage::Drains { node, .. } if seen.serving.is_some_and(|serving| serving != node) => {
                self.stage = Stage::Waits;
                self.next(seen, now)
            }
            Stage::Drains { node, since, .. } if now >= since + DRAIN_WITHIN => Some(self.take(node, now)),
            Stage::Drains { asked, .. } => (!asked).then_some(Step::HandOver),
            Stage::Upgrades { node, until } => (now >= until).then(|| {
                self.stage = Stage::Returns { node, since: now, by_then: None };
                Step::GiveBack(node)
            }),
            Stage::Returns { since, .. } if now < since + self.settles => None,
            Stage::Returns { node, since, by_then } => {
                let by_then = by_then.or_else(|| Some(seen.nodes[seen.serving?].end()));
                self.stage = Stage::Returns { node, since, by_then };
                if !(seen.whole && seen.nodes[node].has(by_then?)) {
                    return None;
                }
                self.left.retain(|left| *left != node);
                self.stage = Stage::Waits;
                self.next(seen, now)
            }
            Stage::Over => None,
        }
    }

    fn take(&mut self, node: usize, now: Moment) -> Step {
        self.stage = Stage::Upgrades { node, until: now + self.upgrade };
        Step::Take(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: Duration = Duration::from_millis(500);
    const SETTLES: Duration = Duration::from_millis(50);

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    const fn holds(index: u64) -> Health {
        Health::Holds(Position { index, term: 1 })
    }

    /// A primary and a secondary, both with everything, and a spare.
    fn seen(serving: usize) -> Seen {
        Seen { serving: Some(serving), nodes: vec![holds(9), holds(9), Health::Idle], whole: true }
    }

    /// Takes a node and gives it back; what was seen before it is back as well.
    fn turn(round: &mut Round, node: usize, since: u64, seen: &Seen) {
        assert_eq!(round.next(seen, at(since)), Some(Step::Take(node)));
        assert_eq!(round.next(seen, at(since + 499)), None, "it is away");
        assert_eq!(round.next(seen, at(since + 500)), Some(Step::GiveBack(node)));
        assert_eq!(round.next(seen, at(since + 549)), None, "that may be from before");
    }

    #[test]
    fn whoever_serves_is_last_and_hands_over_before() {
        let mut round = Round::new(3, UPGRADE, SETTLES, true);
        turn(&mut round, 1, 0, &seen(0));
        turn(&mut round, 2, 600, &seen(0));
        assert_eq!(round.next(&seen(0), at(1_200)), Some(Step::HandOver));
        assert_eq!(round.next(&seen(0), at(1_205)), Some(Step::HandOver), "it was not granted");
        round.granted();
        let nobody = Seen { serving: None, whole: false, ..seen(0) };
        assert_eq!(round.next(&nobody, at(1_210)), None, "it is under way");
        turn(&mut round, 0, 1_600, &seen(1));
        assert!(!round.is_over(), "the last one is not back yet");
        assert_eq!(round.next(&seen(1), at(2_200)), None);
        assert!(round.is_over());
    }

    #[test]
    fn one_that_does_not_hand_over_is_taken_as_it_is() {
        let mut round = Round::new(1, UPGRADE, SETTLES, true);
        assert_eq!(round.next(&seen(0), at(0)), Some(Step::HandOver));
        round.granted();
        assert_eq!(round.next(&seen(0), at(9_999)), None);
        assert_eq!(round.next(&seen(0), at(10_000)), Some(Step::Take(0)));
        let mut broken = Round::new(1, UPGRADE, SETTLES, false);
        assert_eq!(broken.next(&seen(0), at(0)), Some(Step::Take(0)), "it is not even asked to");
    }

    #[test]
    fn the_next_waits_until_the_last_has_what_there_was_when_it_came_back() {
        let mut round = Round::new(2, UPGRADE, SETTLES, true);
        turn(&mut round, 1, 0, &seen(0));
        let behind = |end| Seen { nodes: vec![holds(20), end, Health::Idle], ..seen(0) };
        assert_eq!(round.next(&behind(Health::Missing), at(550)), None);
        let later = Seen { nodes: vec![holds(50), holds(19), Health::Idle], ..seen(0) };
        assert_eq!(round.next(&later, at(560)), None);
        let current = Seen { nodes: vec![holds(60), holds(20), Health::Idle], ..seen(0) };
        let changing = Seen { whole: false, ..current.clone() };
        assert_eq!(round.next(&changing, at(570)), None, "somebody else is missing");
        assert_eq!(round.next(&current, at(580)), Some(Step::HandOver));
    }

    #[test]
    fn one_whose_place_a_spare_has_taken_has_nothing_to_catch_up_with() {
        let mut round = Round::new(2, UPGRADE, SETTLES, true);
        turn(&mut round, 1, 0, &seen(0));
        let replaced = Seen { nodes: vec![holds(20), Health::Idle, holds(20)], ..seen(0) };
        assert_eq!(round.next(&replaced, at(550)), Some(Step::HandOver));
    }

    #[test]
    fn a_spare_that_is_gone_is_waited_for_when_nobody_else_is_left() {
        let mut round = Round::new(3, UPGRADE, SETTLES, true);
        let gone = Seen { nodes: vec![holds(9), holds(9), Health::Missing], ..seen(0) };
        turn(&mut round, 1, 0, &gone);
        assert_eq!(round.next(&gone, at(600)), None, "nor is the primary taken before");
        assert_eq!(round.next(&seen(0), at(700)), Some(Step::Take(2)));
    }

    #[test]
    fn nobody_is_taken_while_somebody_is_missing() {
        let mut round = Round::new(3, UPGRADE, SETTLES, true);
        let missing = Seen { whole: false, ..seen(0) };
        assert_eq!(round.next(&missing, at(0)), None);
        assert_eq!(round.next(&Seen { serving: None, ..seen(0) }, at(5)), None);
        assert_eq!(round.next(&seen(0), at(9)), Some(Step::Take(1)));
    }
}
