//! The one loop: an operation from its due time to its last record.
//!
//! Whatever the client, whatever the policy, and also if its task is dropped half-way: each attempt leaves one
//! record, and the last one written is marked `last`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::client::{Answer, Call, Client, Progress};
use super::lane::Lane;
use super::operations::Job;
use super::timer::Sleep;
use crate::clock::Moment;
use crate::event::{Applied, Attempt, Outcome};
use crate::retry::{Admitted, Attempts, Decision, Settled, Start};

/// One operation under way.
pub(crate) struct Flight<C: Client> {
    lane: Arc<Lane<C>>,
    op: u64,
    due: Moment,
    job: Arc<Job>,
    attempts: Attempts,
    /// What is known of each open attempt; its future is at the same place in the loop's list.
    open: Vec<Open>,
    /// When the retry is due that was decided on.
    retry_at: Option<Moment>,
    ended: bool,
}

/// An attempt that has not ended.
struct Open {
    number: u32,
    hedge: bool,
    start: Moment,
    admitted: Admitted,
    progress: Arc<Progress>,
}

type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// What happens next to an operation.
enum Next {
    /// The attempt at this place has ended.
    Ended(usize, Answer),
    /// The retry that was decided on is due, or the first attempt.
    Send,
    /// The open attempts have been open for long enough.
    Hedge,
}

/// What the record of an attempt says of the one after it.
#[derive(Clone, Copy, Default)]
struct After {
    last: bool,
    retry_in: Option<Duration>,
    given_up: Option<&'static str>,
}

impl<C: Client> Flight<C> {
    /// An operation that is due; from here on it leaves at least one record.
    pub(crate) fn new(lane: Arc<Lane<C>>, op: u64, due: Moment) -> Flight<C> {
        let shared = &lane.shared;
        let job = Arc::new(shared.operations.job(op));
        let attempts = shared.policy().begin(op, job.writes(), due + shared.deadline);
        shared.gauge.in_flight.fetch_add(1, Ordering::Relaxed);
        Flight { lane, op, due, job, attempts, open: Vec::new(), retry_at: None, ended: false }
    }

    /// Runs it to its end, and tells when that was.
    pub(crate) async fn run(mut self) -> Moment {
        let (lane, job) = (Arc::clone(&self.lane), Arc::clone(&self.job));
        let mut answering: Vec<Answering<'_>> = Vec::with_capacity(1);
        let mut next = Next::Send;
        loop {
            match next {
                Next::Send => answering.push(self.send(&lane, &job, false)),
                Next::Hedge => {
                    if self.may_hedge() {
                        answering.push(self.send(&lane, &job, true));
                    }
                }
                Next::Ended(place, answer) => {
                    drop(answering.swap_remove(place));
                    if let Some(end) = self.settle(place, answer, &mut answering) {
                        return end;
                    }
                }
            }
            next = self.next(&mut answering).await;
        }
    }

    /// Begins an attempt.
    fn send<'a>(&mut self, lane: &'a Lane<C>, job: &'a Job, hedge: bool) -> Answering<'a> {
        let shared = &lane.shared;
        let start = shared.clock.now();
        self.retry_at = None;
        let started = shared.policy().on_start(&mut self.attempts, start);
        let number = self.attempts.begun();
        if number == 1 {
            shared.gauge.on_start(self.due, start);
        }
        let progress = Arc::new(Progress::default());
        let (admitted, unsent) = match started {
            Start::Send(admitted) => (admitted, None),
            Start::BreakerOpen => (Admitted::BY_NONE, Some(Answer::new(Outcome::BreakerOpen, Applied::No))),
            Start::TooLate => {
                let late = Answer::new(Outcome::Timeout, Applied::No).because("not sent, being late");
                (Admitted::BY_NONE, Some(late))
            }
        };
        self.open.push(Open { number, hedge, start, admitted, progress: Arc::clone(&progress) });
        if let Some(answer) = unsent {
            progress.connecting();
            return Box::pin(std::future::ready(answer));
        }
        shared.operations.on_send(job);
        let value = shared.operations.value(job, self.op, number);
        let call = Call { op: self.op, attempt: number, job, value, operations: &shared.operations };
        let over = lane.timer.sleep_until((start + shared.attempt_timeout).min(self.attempts.deadline()));
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = lane.client.attempt(call, Arc::clone(&progress)) => answer,
                () = over => Answer::new(Outcome::Timeout, progress.applied()),
            }
        })
    }

    fn may_hedge(&mut self) -> bool {
        let shared = &self.lane.shared;
        let now = shared.clock.now();
        let permitted = shared.gate.as_ref().is_none_or(|gate| gate.book(now, now));
        // Asked even if the gate says no, so that the operation stops asking.
        shared.policy().on_hedge_due(&mut self.attempts, now, permitted)
    }

    /// Waits for whichever comes first: the end of an open attempt, or the time to send another.
    async fn next(&self, answering: &mut [Answering<'_>]) -> Next {
        let shared = &self.lane.shared;
        let alarm = match self.retry_at {
            Some(at) => Some((at, Next::Send)),
            None if shared.hedges => shared.policy().hedge_at(&self.attempts).map(|at| (at, Next::Hedge)),
            None => None,
        };
        let (mut sleep, mut then) = match alarm {
            Some((at, then)) => (Some(self.lane.timer.sleep_until(at)), Some(then)),
            None => (None, None),
        };
        poll_fn(|context| {
            for (place, answer) in answering.iter_mut().enumerate() {
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    return Poll::Ready(Next::Ended(place, answer));
                }
            }
            match &mut sleep {
                Some(sleep) => poll_sleep(sleep, context).map(|()| then.take().expect("ready only once")),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// An attempt has ended: records it, decides, and tells the end if it was the operation's.
    fn settle(&mut self, place: usize, answer: Answer, answering: &mut Vec<Answering<'_>>) -> Option<Moment> {
        let open = self.open.swap_remove(place);
        let lane = Arc::clone(&self.lane);
        let shared = &lane.shared;
        let end = shared.clock.now();
        let settled = Settled { outcome: answer.outcome, applied: answer.applied, retry_after: answer.retry_after };
        let decision = shared.policy().on_result(&mut self.attempts, end, open.admitted, settled);
        let after = match decision {
            Decision::Wait => After::default(),
            Decision::Retry { after } if shared.gate.as_ref().is_none_or(|gate| gate.book(end, end + after)) => {
                self.retry_at = Some(end + after);
                After { retry_in: Some(after), ..After::default() }
            }
            Decision::Retry { .. } => After { last: true, given_up: Some("permitted rate"), ..After::default() },
            Decision::GiveUp { why } => After { last: true, given_up: Some(why.name()), ..After::default() },
            Decision::Done => After { last: true, ..After::default() },
        };
        if decision == Decision::Done {
            shared.operations.on_ok(&self.job);
            // Those that lost are dropped first: their records end with the winner's and come before it.
            answering.clear();
            for loser in std::mem::take(&mut self.open) {
                shared.policy().on_cancel(&mut self.attempts, end, loser.admitted);
                let cancelled = Answer::new(Outcome::Cancelled, loser.progress.applied());
                self.record(&loser, end, cancelled, After::default());
            }
        }
        self.record(&open, end, answer, after);
        if !after.last {
            return None;
        }
        self.end(end, decision == Decision::Done);
        Some(end)
    }

    fn end(&mut self, end: Moment, ok: bool) {
        self.ended = true;
        let gauge = &self.lane.shared.gauge;
        gauge.in_flight.fetch_sub(1, Ordering::Relaxed);
        gauge.on_end(self.due, end, ok);
    }

    fn record(&self, open: &Open, end: Moment, answer: Answer, after: After) {
        let shared = &self.lane.shared;
        let written = shared.operations.value(&self.job, self.op, open.number);
        let why = match (answer.why, after.given_up) {
            (Some(why), Some(given_up)) => Some(format!("{why}; {given_up}").into()),
            (Some(why), None) => Some(why.into()),
            (None, given_up) => given_up.map(Box::from),
        };
        shared.sink.attempt(Attempt {
            workload: Arc::clone(&shared.name),
            class: Arc::clone(&self.job.class),
            op: self.op,
            attempt: open.number,
            hedge: open.hedge,
            last: after.last,
            access: self.job.access,
            key: self.job.key.clone(),
            value: written.or(answer.value),
            replaced: answer.replaced,
            due: self.due,
            start: open.start,
            connected: open.progress.connected_at(),
            first_byte: open.progress.first_byte_at(),
            end,
            outcome: answer.outcome,
            applied: answer.applied,
            code: answer.code,
            place: answer.place,
            link: open.progress.link().or_else(|| shared.link.clone()),
            conn: open.progress.conn(),
            retry_in: after.retry_in,
            why,
        });
    }
}

fn poll_sleep(sleep: &mut Sleep, context: &mut Context<'_>) -> Poll<()> {
    Pin::new(sleep).poll(context)
}

impl<C: Client> Drop for Flight<C> {
    /// Dropped before its end: the drain is over, or the run was cut short. What is open is unfinished.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let now = self.lane.shared.clock.now();
        let mut open = std::mem::take(&mut self.open);
        if open.is_empty() {
            // Between two attempts, or before the first: the one that would have come stands for the operation.
            let number = self.attempts.begun() + 1;
            let progress = Arc::new(Progress::default());
            progress.connecting();
            open.push(Open { number, hedge: false, start: now, admitted: Admitted::BY_NONE, progress });
        }
        let count = open.len();
        for (index, attempt) in open.iter().enumerate() {
            let answer = Answer::new(Outcome::Unfinished, attempt.progress.applied());
            self.record(attempt, now, answer, After { last: index + 1 == count, ..After::default() });
        }
        self.end(now, false);
    }
}
