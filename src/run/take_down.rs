//! The way down of a run, whatever ended it.

use std::time::Duration;

use super::aside::{aside, came_of, in_turn};
use super::conductor::{Running, Setup};
use super::keeper;
use super::ticker;
use crate::event::What;
use crate::plan::CheckWhen;

/// How long what is open may take to finish after a stop that somebody asked for.
const SHORT_DRAIN: Duration = Duration::from_secs(1);

/// How long loads that were cut may take to record what they had open: a generator far behind its schedule has millions.
const LAST_RECORDS: Duration = Duration::from_secs(10);

/// How long the final reads may take.
const FINAL_READS: Duration = Duration::from_secs(10);

impl Running {
    /// The one way down, whatever ended the run: heal, drain, read a last time, end everything.
    pub(super) async fn take_down(mut self, setup: &Setup<'_>) {
        let stopped = setup.stop.requested();
        if let Some((reason, detail)) = &stopped {
            self.recorder.event(What::Stopped { reason: *reason, detail: detail.clone() });
        }
        let load_end = self.clock.now();
        for load in &self.loads {
            load.stop(load_end);
        }
        self.recorder.event_at(load_end, What::LoadEnded);
        setup.pulse.update(|beat| beat.doing = "healing and draining".into());
        self.end_begun(setup).await;
        for name in self.schedule.leased_in_vain() {
            // Else the keeper would undo what was never done.
            let _ = self.keeper.release(&name);
        }
        let in_force: Vec<String> = self.in_force.keys().rev().cloned().collect();
        for name in in_force {
            self.heal(setup, &name, load_end).await;
            self.end_begun(setup).await;
        }
        let backend = self.backend.clone();
        let _ = aside(move || backend.heal_all()).await;

        self.recorder.event(What::PhaseStarted { phase: "drain".into(), planned: load_end });
        let longest = setup.plan.longest_deadline();
        let drain = if stopped.is_some() { longest.min(SHORT_DRAIN) } else { longest };
        if tokio::time::timeout(drain, self.drained()).await.is_err() {
            self.loads.iter().for_each(|load| load.cut(self.clock.now()));
            // What was open leaves its last records, and the totals told below count them.
            let _ = tokio::time::timeout(LAST_RECORDS, self.drained()).await;
        }
        // Checks and final reads take the same links; what they add is not the load's.
        self.tell_counters().await;
        if stopped.is_none() {
            self.check(setup, CheckWhen::After).await;
            self.final_reads(setup).await;
            self.check(setup, CheckWhen::Final).await;
        }
        self.tell_counters().await;
        self.probes.shutdown().await;
        drop(self.watch.take());
        ticker::tell_generators(&self.recorder, &self.loads);
        setup.pulse.update(|beat| beat.doing = "ending the system".into());
        // Their sinks must be gone before the recorder can close its file.
        drop(std::mem::take(&mut self.loads));
        let system = self.system.clone();
        if let Err(error) = aside(in_turn(async move || system.stop().await)).await {
            self.recorder.event(What::Note { text: format!("the system did not end in good order: {error}") });
        }
        let keeper = self.keeper.clone();
        if let Err(error) = aside(move || keeper.end()).await {
            self.recorder.event(What::Note { text: error.to_string() });
            // Without a keeper its work is ours.
            let dir = setup.dir.to_owned();
            if let Err(error) = aside(move || keeper::sweep(&dir).map_err(|error| error.to_string())).await {
                self.recorder.event(What::Note { text: format!("{error}; `brownout heal` tries again") });
            }
        }
    }

    /// Waits for the end of everything that was begun. Each of them has a bound of its own.
    async fn end_begun(&mut self, setup: &Setup<'_>) {
        while let Some(told) = self.begun.join_next().await {
            self.hear_told(setup, came_of(told)).await;
        }
    }

    /// Returns when every load has ended.
    async fn drained(&self) {
        for load in &self.loads {
            load.drained().await;
        }
    }

    async fn final_reads(&self, setup: &Setup<'_>) {
        let until = self.clock.now() + FINAL_READS;
        for load in &self.loads {
            let read = tokio::select! {
                biased;
                _ = setup.stop.wait() => return,
                read = load.final_reads(until) => read,
            };
            match read {
                Ok(events) => events.into_iter().for_each(|event| self.recorder.event_at(event.at, event.what)),
                Err(error) => self.recorder.event(What::Note { text: format!("no final reads: {error}") }),
            }
        }
    }
}
