//! What the recovery service decides: which orders it takes, which it refuses and why, and which step is next. Pure.

use std::time::Duration;

use super::plan::{Step, Times, Walk, steps};
use super::points::Point;
use crate::clock::Moment;
use crate::system::lab::order::Refused;

/// What can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Every region by name; the first is where the machine is at the start.
    pub regions: Vec<String>,
    /// How long each step takes.
    pub times: Times,
}

/// An order of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The machine comes up in this region and takes over.
    Failover {
        /// Where.
        to: String,
        /// With the source shut down in good order before, so that nothing is lost.
        planned: bool,
    },
    /// The machine comes up in this region beside the source, in a network of its own.
    Test {
        /// Where.
        to: String,
    },
    /// What a test left is taken away.
    CleanUp,
    /// Back to the first region, in good order.
    Failback,
}

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// Where the machine comes up.
    pub to: String,
    /// Whether it is a test, in isolation.
    pub test: bool,
    /// The recovery point; a planned failover takes a new one once the source is shut down.
    pub point: Point,
    /// The plan.
    pub walk: Walk,
    began: Moment,
}

/// Something that the world is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A step was carried out.
    StepDone {
        /// Which.
        step: Step,
        /// Its number, from 1.
        number: usize,
        /// Of so many.
        of: usize,
        /// How long it took.
        took: Duration,
    },
    /// A failover is over: the machine is in this region now.
    FailedOver {
        /// Where.
        to: String,
        /// From the order on.
        took: Duration,
    },
    /// A test is over: the copy serves in isolation until it is cleaned up.
    Tested {
        /// Where.
        to: String,
        /// From the order on.
        took: Duration,
    },
    /// It was given up: the source, if it is there, serves on.
    GivenUp {
        /// At which step.
        step: Step,
        /// Why.
        why: String,
    },
}

/// The recovery service.
#[derive(Clone, Debug)]
pub struct Service {
    settings: Settings,
    /// Where the machine is.
    source: String,
    under_way: Option<Drill>,
    /// Where a test has left a machine.
    tested: Option<String>,
}

impl Service {
    /// A machine in the first region, with nothing under way.
    pub fn new(settings: Settings) -> Service {
        let source = settings.regions.first().cloned().unwrap_or_default();
        Service { settings, source, under_way: None, tested: None }
    }

    /// Where the machine is.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where its disk is replicated to: every other region, whether paired with its own or not.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.settings.regions.iter().map(String::as_str).filter(|region| *region != self.source)
    }

    /// What is under way.
    pub fn under_way(&self) -> Option<&Drill> {
        self.under_way.as_ref()
    }

    /// Where a test has left a machine.
    pub fn tested(&self) -> Option<&str> {
        self.tested.as_deref()
    }

    /// Takes an order or refuses it; a refusal changes nothing. `point` tells the recovery point of a region.
    pub fn order(
        &mut self,
        order: &Order,
        point: impl FnOnce(&str) -> Option<Point>,
        now: Moment,
    ) -> Result<(), Refused> {
        if let Some(drill) = &self.under_way {
            let what = if drill.test { "a test failover" } else { "a failover" };
            let left = drill.walk.deadline().map_or(Duration::ZERO, |step| step.saturating_since(now))
                + self.rest_of(&drill.walk);
            return Err(Refused::for_now(format!("{what} to {} is under way", drill.to), left));
        }
        let (to, planned, test) = match order {
            Order::CleanUp => {
                return match self.tested.take() {
                    Some(_) => Ok(()),
                    None => Err(Refused::never("there is no test to clean up")),
                };
            }
            Order::Failover { to, planned } => (to, *planned, false),
            Order::Test { to } => (to, false, true),
            Order::Failback => (&self.settings.regions[0], true, false),
        };
        if !self.settings.regions.contains(to) {
            return Err(Refused::never(format!("there is no region `{to}`: {}", self.settings.regions.join(", "))));
        }
        if *to == self.source {
            return Err(Refused::never(format!("the machine is in {to}")));
        }
        if self.tested.as_ref() == Some(to) {
            return Err(Refused::never(format!("the machine of a test is still in {to}: clean it up first")));
        }
        let Some(point) = point(to) else {
            return Err(Refused::never(format!("there is no recovery point in {to} yet")));
        };
        let steps = steps(planned, test, point.consistency);
        let walk = Walk::begin(steps, self.settings.times, now);
        self.under_way = Some(Drill { to: to.clone(), test, point, walk, began: now });
        Ok(())
    }

    /// The step that has taken its time and is to be carried out now.
    pub fn due(&self, now: Moment) -> Option<Step> {
        self.under_way.as_ref()?.walk.due(now)
    }

    /// When a step may be due.
    pub fn deadline(&self) -> Option<Moment> {
        self.under_way.as_ref()?.walk.deadline()
    }

    /// The source was shut down, and everything that it had written is in this point.
    pub fn take_point(&mut self, point: Point) {
        if let Some(drill) = &mut self.under_way {
            drill.point = point;
        }
    }

    /// A step was carried out, or could not be.
    pub fn done(&mut self, carried_out: Result<(), String>, now: Moment) -> Vec<Happening> {
        let Some(mut drill) = self.under_way.take() else { return Vec::new() };
        let Some(step) = drill.walk.step() else { return Vec::new() };
        if let Err(why) = carried_out {
            return vec![Happening::GivenUp { step, why }];
        }
        let (number, of) = drill.walk.progress();
        let took = drill.walk.done(now);
        let mut happenings = vec![Happening::StepDone { step, number, of, took }];
        if drill.walk.step().is_some() {
            self.under_way = Some(drill);
            return happenings;
        }
        let (to, took) = (drill.to, now.saturating_since(drill.began));
        happenings.push(match drill.test {
            true => {
                self.tested = Some(to.clone());
                Happening::Tested { to, took }
            }
            false => {
                self.source.clone_from(&to);
                Happening::FailedOver { to, took }
            }
        });
        happenings
    }

    fn rest_of(&self, walk: &Walk) -> Duration {
        let (current, of) = walk.progress();
        let mut rest = walk.clone();
        let mut left = Duration::ZERO;
        for _ in current..of {
            rest.done(Moment::START);
            left += rest.step().map_or(Duration::ZERO, |step| self.settings.times.of(step));
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::super::points::Consistency;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn service() -> Service {
        let times = Times {
            shut_down: SECOND,
            machine: 2 * SECOND,
            disk: SECOND,
            boot: SECOND,
            log: SECOND,
            application: SECOND,
            names: SECOND,
        };
        Service::new(Settings { regions: ["east", "west", "north"].map(str::to_owned).to_vec(), times })
    }

    #[expect(clippy::unnecessary_wraps, reason = "what an order asks for")]
    fn some_point(_: &str) -> Option<Point> {
        Some(Point { index: 7, at: at(0), consistency: Consistency::App })
    }

    fn failover(to: &str, planned: bool) -> Order {
        Order::Failover { to: to.to_owned(), planned }
    }

    /// Carries out every step when it is due, until none is left.
    fn walk(service: &mut Service) -> (Vec<Step>, Vec<Happening>) {
        let (mut steps, mut told) = (Vec::new(), Vec::new());
        while let Some(now) = service.deadline() {
            steps.push(service.due(now).unwrap());
            told.extend(service.done(Ok(()), now));
        }
        (steps, told)
    }

    #[test]
    fn one_order_brings_the_machine_to_any_region_not_only_the_paired_one() {
        for to in ["west", "north"] {
            let mut service = service();
            service.order(&failover(to, false), some_point, at(0)).unwrap();
            let (steps, told) = walk(&mut service);
            assert_eq!(steps, [Step::Machine, Step::Disk, Step::Boot, Step::Application, Step::Names]);
            assert_eq!(told.last(), Some(&Happening::FailedOver { to: to.to_owned(), took: 6 * SECOND }));
            assert_eq!(service.source(), to);
            assert!(service.targets().eq(["east", "west", "north"].into_iter().filter(|region| *region != to)));
        }
    }

    #[test]
    fn a_test_leaves_the_source_where_it_is_and_is_cleaned_up() {
        let mut service = service();
        service.order(&Order::Test { to: "west".to_owned() }, some_point, at(0)).unwrap();
        let (steps, told) = walk(&mut service);
        assert!(!steps.contains(&Step::Names) && !steps.contains(&Step::ShutDown));
        assert_eq!(told.last(), Some(&Happening::Tested { to: "west".to_owned(), took: 5 * SECOND }));
        assert_eq!((service.source(), service.tested()), ("east", Some("west")));
        let refused = service.order(&failover("west", false), some_point, at(0)).unwrap_err();
        assert_eq!(refused.to_string(), "the machine of a test is still in west: clean it up first");
        service.order(&Order::CleanUp, some_point, at(0)).unwrap();
        assert_eq!(service.tested(), None);
        service.order(&failover("west", false), some_point, at(0)).unwrap();
    }

    #[test]
    fn failback_is_a_planned_failover_to_the_first_region() {
        let mut service = service();
        let refused = service.order(&Order::Failback, some_point, at(0)).unwrap_err();
        assert_eq!(refused.to_string(), "the machine is in east");
        service.order(&failover("north", true), some_point, at(0)).unwrap();
        assert_eq!(walk(&mut service).0[0], Step::ShutDown);
        service.order(&Order::Failback, some_point, at(0)).unwrap();
        assert_eq!(walk(&mut service).0[0], Step::ShutDown);
        assert_eq!(service.source(), "east");
    }

    #[test]
    fn an_order_while_one_is_under_way_is_refused_with_the_time_left() {
        let mut service = service();
        service.order(&failover("west", false), some_point, at(0)).unwrap();
        let refused = service.order(&failover("north", false), some_point, at(500)).unwrap_err();
        assert_eq!(refused.to_string(), "a failover to west is under way; 5.5s left");
        assert_eq!(service.under_way().map(|drill| drill.to.as_str()), Some("west"), "nothing changed");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let mut service = service();
        for (order, why) in [
            (failover("south", false), "there is no region `south`: east, west, north"),
            (failover("east", false), "the machine is in east"),
            (Order::CleanUp, "there is no test to clean up"),
        ] {
            assert_eq!(service.order(&order, some_point, at(0)).unwrap_err().to_string(), why);
        }
        let refused = service.order(&failover("west", false), |_| None, at(0)).unwrap_err();
        assert_eq!(refused.to_string(), "there is no recovery point in west yet");
        assert_eq!(service.under_way(), None);
    }

    #[test]
    fn a_step_that_cannot_be_carried_out_ends_the_plan_and_changes_nothing() {
        let mut service = service();
        service.order(&failover("west", false), some_point, at(0)).unwrap();
        let told = service.done(Err("west does not answer".to_owned()), at(2_000));
        assert_eq!(told, [Happening::GivenUp { step: Step::Machine, why: "west does not answer".to_owned() }]);
        assert_eq!((service.source(), service.under_way()), ("east", None));
        service.order(&failover("west", false), some_point, at(0)).unwrap();
    }
}
