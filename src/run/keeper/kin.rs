//! Whom the keeper has started, directly or not, and how they are ended.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, wait};
use tokio::time::Instant;

use crate::system::process::Started;
use crate::system::process::proc::{self, Stat};

/// The variable by which a process tells whose it is: `MARK/NODE`.
pub(super) const MARK_ENV: &str = "BROWNOUT_NODE";

/// How long killing may take: each pass finds what was forked during the one before.
const KILL_WITHIN: Duration = Duration::from_secs(5);

/// How to tell a keeper's processes from others.
#[derive(Clone, Debug)]
pub(super) struct Kin {
    /// The keeper.
    pub(super) keeper: Started,
    /// The mark's first part.
    pub(super) mark: String,
    /// The leaders that it started.
    pub(super) leaders: Vec<Started>,
}

impl Kin {
    /// Every living process that is the keeper's: by ancestry, by session, by mark, or by the journal.
    ///
    /// Ancestry holds while the keeper lives, since orphans become its children. The others are for afterwards. A
    /// process that is older than the keeper is never its.
    pub(super) fn living(&self) -> Vec<Stat> {
        let all = proc::all();
        let mut kin: BTreeSet<u32> = self
            .leaders
            .iter()
            .filter(|leader| all.iter().any(|stat| stat.pid == leader.pid && stat.start_time == leader.start_time))
            .map(|leader| leader.pid)
            .collect();
        let keeper_lives = proc::same(self.keeper.pid, self.keeper.start_time).is_some_and(|stat| stat.alive());
        // A session keeps its number as long as it has members. With a process of that number that is not the keeper,
        // the number has been given to somebody else.
        let session_is_ours = keeper_lives || !all.iter().any(|stat| stat.pid == self.keeper.pid);
        let roots = |stat: &Stat| {
            (session_is_ours && stat.session == self.keeper.pid)
                || (keeper_lives && stat.parent == self.keeper.pid)
                || proc::env(stat.pid, MARK_ENV).is_some_and(|mark| mark.split('/').next() == Some(&self.mark))
        };
        kin.extend(all.iter().filter(|stat| self.younger(stat) && roots(stat)).map(|stat| stat.pid));
        close_over_children(&all, &mut kin);
        kin.remove(&self.keeper.pid);
        // The undertaker may have been started by the same shell; it is never among the dead.
        kin.remove(&std::process::id());
        all.into_iter().filter(|stat| stat.alive() && self.younger(stat) && kin.contains(&stat.pid)).collect()
    }

    /// Kills all of them, and those that they start meanwhile. Returns how many there were, and who would not go.
    pub(super) fn kill(&self) -> (usize, Vec<u32>) {
        let deadline = Instant::now() + KILL_WITHIN;
        let mut killed = BTreeSet::new();
        loop {
            let living = self.living();
            if living.is_empty() || Instant::now() >= deadline {
                return (killed.len(), living.iter().map(|stat| stat.pid).collect());
            }
            for stat in &living {
                signal(stat, Signal::KILL);
                killed.insert(stat.pid);
            }
            std::thread::sleep(Duration::from_millis(2));
            reap(&mut |_, _| {});
        }
    }

    fn younger(&self, stat: &Stat) -> bool {
        stat.start_time >= self.keeper.start_time
    }
}

/// Every living process of one node: its leader's descendants, and whoever bears its mark.
pub(super) fn of_node(mark: &str, leader: Option<Started>) -> Vec<Stat> {
    let all = proc::all();
    let mut members: BTreeSet<u32> =
        all.iter().filter(|stat| proc::env(stat.pid, MARK_ENV).as_deref() == Some(mark)).map(|stat| stat.pid).collect();
    if let Some(leader) = leader.filter(|leader| proc::same(leader.pid, leader.start_time).is_some()) {
        members.insert(leader.pid);
        // The group as well: a server that overwrites its environment with its title has no mark any more.
        members.extend(all.iter().filter(|stat| stat.group == leader.pid).map(|stat| stat.pid));
    }
    close_over_children(&all, &mut members);
    all.into_iter().filter(|stat| stat.alive() && members.contains(&stat.pid)).collect()
}

fn close_over_children(all: &[Stat], kin: &mut BTreeSet<u32>) {
    loop {
        let before = kin.len();
        let children: Vec<u32> = all.iter().filter(|stat| kin.contains(&stat.parent)).map(|stat| stat.pid).collect();
        kin.extend(children);
        if kin.len() == before {
            return;
        }
    }
}

/// Signals exactly this process: a later one with the same id is never hit.
pub(super) fn signal(stat: &Stat, signal: Signal) {
    let pidfd = Pid::from_raw(stat.pid as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(pidfd) = pidfd.filter(|_| proc::same(stat.pid, stat.start_time).is_some()) {
        // Gone meanwhile is as good.
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// Reaps every dead child, our own and those that became ours, and tells each.
pub(super) fn reap(ended: &mut dyn FnMut(u32, rustix::process::WaitStatus)) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        ended(pid.as_raw_nonzero().get() as u32, status);
    }
}
