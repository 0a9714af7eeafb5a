//! Exit codes: part of the interface (`docs/run.md`).

use crate::event::StopReason;
use crate::verdict::Word;

/// How a command ended, as the shell sees it.
///
/// `worse_of` orders them for many runs: 70 > 130/143 > 4 > 3 > 2 > 1 > 5 > 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every expectation came true; or the command did what it was asked.
    Held,
    /// An expectation did not come true; also a regression against the stored baseline.
    Failed,
    /// Nothing was started: a mistake in a file or on the command line, or a permission that is missing.
    Mistake,
    /// The system was not ready.
    NotReady,
    /// Stopped by a guard or a lease.
    Aborted,
    /// Nobody can know.
    Inconclusive,
    /// A bug of our own.
    Bug,
    /// Ctrl-C, or `q`.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The code.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Held => 0,
            Exit::Failed => 1,
            Exit::Mistake => 2,
            Exit::NotReady => 3,
            Exit::Aborted => 4,
            Exit::Inconclusive => 5,
            Exit::Bug => 70,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// The worse of two.
    pub fn worse_of(self, other: Exit) -> Exit {
        if other.badness() > self.badness() { other } else { self }
    }

    const fn badness(self) -> u8 {
        match self {
            Exit::Held => 0,
            Exit::Inconclusive => 1,
            Exit::Failed => 2,
            Exit::Mistake => 3,
            Exit::NotReady => 4,
            Exit::Aborted => 5,
            Exit::Terminated => 6,
            Exit::Interrupted => 7,
            Exit::Bug => 8,
        }
    }

    /// The code of a verdict, unless the run was stopped for a reason with a code of its own.
    pub fn of(word: Word, stopped: Option<StopReason>) -> Exit {
        match stopped {
            Some(StopReason::Interrupt) => return Exit::Interrupted,
            Some(StopReason::Terminate) => return Exit::Terminated,
            Some(StopReason::Guard | StopReason::Lease) => return Exit::Aborted,
            Some(StopReason::System) => return Exit::NotReady,
            Some(StopReason::Bug) => return Exit::Bug,
            Some(StopReason::Baseline | StopReason::Disk | StopReason::Keeper) => return Exit::Inconclusive,
            None => {}
        }
        match word {
            Word::Held => Exit::Held,
            Word::Failed => Exit::Failed,
            Word::Inconclusive => Exit::Inconclusive,
            Word::Aborted => Exit::Aborted,
            Word::NotReady => Exit::NotReady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_many_runs_counts() {
        use Exit::*;
        let order = [Held, Inconclusive, Failed, Mistake, NotReady, Aborted, Terminated, Interrupted, Bug];
        for pair in order.windows(2) {
            assert_eq!(pair[0].worse_of(pair[1]), pair[1]);
            assert_eq!(pair[1].worse_of(pair[0]), pair[1]);
        }
    }

    #[test]
    fn a_stop_has_a_code_of_its_own() {
        assert_eq!(Exit::of(Word::Aborted, Some(StopReason::Interrupt)).code(), 130);
        assert_eq!(Exit::of(Word::Aborted, Some(StopReason::Guard)).code(), 4);
        assert_eq!(Exit::of(Word::Inconclusive, Some(StopReason::Disk)).code(), 5);
        assert_eq!(Exit::of(Word::Failed, None).code(), 1);
    }
}
