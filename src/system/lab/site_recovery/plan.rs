//! A recovery plan: ordered steps, each with the time that it takes. Pure, told the time.

use std::time::Duration;

use super::points::Consistency;
use crate::clock::Moment;

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The source is shut down in good order, and its last writes are shipped.
    ShutDown,
    /// A machine is made in the target region.
    Machine,
    /// The disk is made of the recovery point and attached.
    Disk,
    /// The machine boots.
    Boot,
    /// The application recovers from what a power loss would have left.
    Log,
    /// The application starts and serves.
    Application,
    /// Names mean the new place.
    Names,
}

impl Step {
    /// What it does, in words.
    pub const fn name(self) -> &'static str {
        match self {
            Step::ShutDown => "shut the source down",
            Step::Machine => "make the machine",
            Step::Disk => "attach the disk",
            Step::Boot => "boot",
            Step::Log => "recover the application's log",
            Step::Application => "start the application",
            Step::Names => "remap the names",
        }
    }
}

/// How long each step takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// See [`Step::ShutDown`].
    pub shut_down: Duration,
    /// See [`Step::Machine`].
    pub machine: Duration,
    /// See [`Step::Disk`].
    pub disk: Duration,
    /// See [`Step::Boot`].
    pub boot: Duration,
    /// See [`Step::Log`].
    pub log: Duration,
    /// See [`Step::Application`].
    pub application: Duration,
    /// See [`Step::Names`].
    pub names: Duration,
}

impl Times {
    /// How long a step takes.
    pub const fn of(&self, step: Step) -> Duration {
        match step {
            Step::ShutDown => self.shut_down,
            Step::Machine => self.machine,
            Step::Disk => self.disk,
            Step::Boot => self.boot,
            Step::Log => self.log,
            Step::Application => self.application,
            Step::Names => self.names,
        }
    }
}

/// The steps of a plan, in order.
pub fn steps(planned: bool, isolated: bool, consistency: Consistency) -> Vec<Step> {
    let wanted = |step: &Step| match step {
        Step::ShutDown => planned,
        Step::Log => consistency == Consistency::Crash,
        Step::Names => !isolated,
        Step::Machine | Step::Disk | Step::Boot | Step::Application => true,
    };
    const ALL: [Step; 7] =
        [Step::ShutDown, Step::Machine, Step::Disk, Step::Boot, Step::Log, Step::Application, Step::Names];
    ALL.into_iter().filter(wanted).collect()
}

/// A plan under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    steps: Vec<Step>,
    times: Times,
    /// The one under way.
    current: usize,
    since: Moment,
}

impl Walk {
    /// The first step begins.
    pub fn begin(steps: Vec<Step>, times: Times, now: Moment) -> Walk {
        Walk { steps, times, current: 0, since: now }
    }

    /// The step under way; none if all are done.
    pub fn step(&self) -> Option<Step> {
        self.steps.get(self.current).copied()
    }

    /// Its number, from 1, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.steps.len().min(self.current + 1), self.steps.len())
    }

    /// When the step under way has taken its time.
    pub fn deadline(&self) -> Option<Moment> {
        Some(self.since + self.times.of(self.step()?))
    }

    /// Whether the step under way has taken its time, so that it can be carried out.
    pub fn due(&self, now: Moment) -> Option<Step> {
        self.step().filter(|_| self.deadline().is_some_and(|deadline| now >= deadline))
    }

    /// The step under way was carried out; how long it took. The next begins.
    pub fn done(&mut self, now: Moment) -> Duration {
        let took = now.saturating_since(self.since);
        (self.current, self.since) = (self.current + 1, now);
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_the_steps_that_its_kind_needs_in_order() {
        use Step::*;
        let unplanned = steps(false, false, Consistency::Crash);
        assert_eq!(unplanned, [Machine, Disk, Boot, Log, Application, Names]);
        assert_eq!(steps(true, false, Consistency::App), [ShutDown, Machine, Disk, Boot, Application, Names]);
        assert_eq!(steps(false, true, Consistency::App), [Machine, Disk, Boot, Application], "a test remaps nothing");
    }

    #[test]
    fn each_step_takes_its_time_and_the_next_begins_when_it_was_carried_out() {
        let ms = Duration::from_millis;
        let (machine, disk) = (ms(100), ms(50));
        let none = Duration::ZERO;
        let times = Times { shut_down: none, machine, disk, boot: none, log: none, application: none, names: none };
        let at = Moment::from_millis;
        let mut walk = Walk::begin(vec![Step::Machine, Step::Disk], times, at(10));
        assert_eq!((walk.due(at(109)), walk.due(at(110))), (None, Some(Step::Machine)));
        assert_eq!(walk.done(at(115)), ms(105), "carrying it out took a while");
        assert_eq!((walk.step(), walk.progress(), walk.deadline()), (Some(Step::Disk), (2, 2), Some(at(165))));
        walk.done(at(165));
        assert_eq!((walk.step(), walk.deadline(), walk.due(at(999))), (None, None, None));
    }
}
