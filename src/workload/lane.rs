//! One thread's share of a workload: every n-th operation, started when it is due.
//!
//! Each lane walks the whole schedule and takes its own, which needs no hand-over between threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Sink;
use super::arrival::Arrivals;
use super::client::Client;
use super::flight::Flight;
use super::gate::Gate;
use super::gauge::Gauge;
use super::operations::Operations;
use super::timer::Timer;
use crate::clock::{Moment, RunClock};
use crate::event::{Applied, Attempt, Outcome};
use crate::plan::workload::Arrival;
use crate::retry::Policy;
use crate::seed::Dice;

/// What the lanes of a workload share.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) link: Option<Arc<str>>,
    pub(crate) clock: RunClock,
    pub(crate) attempt_timeout: Duration,
    pub(crate) deadline: Duration,
    pub(crate) max_in_flight: u64,
    pub(crate) hedges: bool,
    pub(crate) operations: Operations,
    pub(crate) gauge: Gauge,
    pub(crate) gate: Option<Gate>,
    pub(crate) sink: Arc<dyn Sink>,
    policy: Mutex<Policy>,
    /// No operation is due at or after this.
    end: AtomicU64,
    /// What is open then is unfinished.
    cut: AtomicU64,
    /// The next operation of a closed loop.
    next: AtomicU64,
}

/// How long a stop may go unseen by a lane that waits for something later.
const STOP_TICK: Duration = Duration::from_millis(20);

/// How much longer than its deadline an operation may take to end by itself before it counts as unfinished.
const DRAIN_GRACE: Duration = Duration::from_millis(100);

/// Operations started in a row before those started get their turn: a lane that was held up must not start a second's
/// worth before the first of them is sent.
const BURST: u32 = 16;

/// Records of operations that were never sent are written at this pace, 100,000/s: nothing is late any more, and a sink
/// that never blocks would drop what comes faster than it writes.
const UNSENT_AT_ONCE: u64 = 100;
const UNSENT_PAUSE: Duration = Duration::from_millis(1);

#[expect(clippy::too_many_arguments, reason = "made at one place, from a LoadSpec")]
impl Shared {
    pub(crate) fn new(
        name: Arc<str>,
        link: Option<Arc<str>>,
        clock: RunClock,
        plan: &crate::plan::Workload,
        operations: Operations,
        policy: Policy,
        gate: Option<Gate>,
        sink: Arc<dyn Sink>,
        end: Moment,
    ) -> Shared {
        Shared {
            name,
            link,
            clock,
            attempt_timeout: plan.attempt_timeout.0,
            deadline: plan.deadline.0,
            max_in_flight: u64::from(plan.max_in_flight),
            hedges: plan.retry.hedge.is_some(),
            operations,
            gauge: Gauge::new(plan.attempt_timeout.0),
            gate,
            sink,
            policy: Mutex::new(policy),
            end: AtomicU64::new(end.0),
            cut: AtomicU64::new(u64::MAX),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn policy(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No operation is due at or after this.
    pub(crate) fn end(&self) -> Moment {
        Moment(self.end.load(Ordering::Relaxed))
    }

    /// Ends arrivals, unless they end before.
    pub(crate) fn stop(&self, at: Moment) {
        self.end.fetch_min(at.0, Ordering::Relaxed);
    }

    /// Ends arrivals, and what is open then.
    pub(crate) fn cut(&self, at: Moment) {
        self.stop(at);
        self.cut.fetch_min(at.0, Ordering::Relaxed);
    }

    /// When the drain ends whatever is open.
    fn drained_by(&self) -> Moment {
        (self.end() + self.deadline + DRAIN_GRACE).min(Moment(self.cut.load(Ordering::Relaxed)))
    }
}

/// One thread's share, with a client and a timer of its own.
pub(crate) struct Lane<C> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: C,
    pub(crate) timer: Timer,
    pub(crate) index: u64,
    pub(crate) lanes: u64,
    pub(crate) open: AtomicU64,
    pub(crate) emptied: Notify,
}

impl<C: Client> Lane<C> {
    /// Starts operations until the end, then drains. What is still open when this returns is unfinished: its record is
    /// written when its task is dropped with the runtime.
    pub(crate) async fn drive(self: Arc<Lane<C>>, arrival: Arrival, dice: Dice, begin: Moment) {
        match (Arrivals::new(&arrival, dice), arrival) {
            (Some(arrivals), _) => self.open_loop(arrivals, begin).await,
            (None, Arrival::Users { count, think }) => self.closed_loop(u64::from(count), think.0, begin).await,
            (None, _) => unreachable!("only users have no schedule"),
        }
        self.drain().await;
    }

    /// Each operation at its due time, whatever happened to those before.
    async fn open_loop(self: &Arc<Self>, arrivals: Arrivals, begin: Moment) {
        let (mut in_a_row, mut unsent) = (0, 0);
        for (op, due) in (0..).zip(arrivals.map(|due| begin + due)) {
            if op % self.lanes != self.index {
                continue;
            }
            if !self.wait_until(due).await {
                return;
            }
            self.shared.gauge.on_due(due);
            let now = self.shared.clock.now();
            if now >= self.shared.drained_by() {
                // This lane is so far behind that its drain is over: what was due is recorded as unfinished, and no
                // longer sent.
                drop(Flight::new(Arc::clone(self), op, due));
                unsent += 1;
                if unsent % UNSENT_AT_ONCE == 0 {
                    self.timer.sleep_until(now + UNSENT_PAUSE).await;
                }
                continue;
            }
            if self.shared.gauge.in_flight.load(Ordering::Relaxed) >= self.shared.max_in_flight {
                self.shed(op, due);
            } else {
                let flight = Flight::new(Arc::clone(self), op, due);
                let open = Open::new(self);
                tokio::spawn(async move {
                    flight.run().await;
                    drop(open);
                });
            }
            in_a_row = if in_a_row < BURST { in_a_row + 1 } else { 0 };
            if in_a_row == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Each user's next operation so long after the end of its previous one.
    async fn closed_loop(self: &Arc<Self>, users: u64, think: Duration, begin: Moment) {
        for _ in (self.index..users).step_by(self.lanes as usize) {
            tokio::spawn(Arc::clone(self).user(think, begin));
        }
        self.wait_until(Moment(u64::MAX)).await;
    }

    /// One user, until the load ends. A user who thinks has nothing open: the drain does not wait for the next
    /// operation, nor does the thought have to be broken off.
    async fn user(self: Arc<Self>, think: Duration, begin: Moment) {
        let mut due = begin;
        loop {
            self.timer.sleep_until(due).await;
            if let Some(gate) = &self.shared.gate {
                due = gate.next(due.max(self.shared.clock.now()));
                self.timer.sleep_until(due).await;
            }
            if due >= self.shared.end() {
                return;
            }
            let open = Open::new(&self);
            let op = self.shared.next.fetch_add(1, Ordering::Relaxed);
            self.shared.gauge.on_due(due);
            let end = Flight::new(Arc::clone(&self), op, due).run().await;
            drop(open);
            due = end + think;
            // Operations that wait for nothing, as with an open breaker, must not keep other users from theirs.
            tokio::task::consume_budget().await;
        }
    }

    /// Waits for a due time; false if the load ends before.
    async fn wait_until(&self, due: Moment) -> bool {
        loop {
            let end = self.shared.end();
            if due >= end && self.shared.clock.now() >= end {
                return false;
            }
            let now = self.shared.clock.now();
            if due <= now {
                return due < end;
            }
            self.timer.sleep_until(due.min(end).min(now + STOP_TICK)).await;
        }
    }

    async fn drain(&self) {
        while self.open.load(Ordering::Relaxed) > 0 {
            let now = self.shared.clock.now();
            let until = self.shared.drained_by();
            if now >= until {
                return;
            }
            let tick = self.shared.clock.instant(until.min(now + STOP_TICK));
            // Either way the loop looks again.
            let _ = tokio::time::timeout_at(tick, self.emptied.notified()).await;
        }
    }

    fn shed(&self, op: u64, due: Moment) {
        let shared = &*self.shared;
        shared.gauge.on_shed(due);
        let job = shared.operations.job(op);
        shared.sink.attempt(Attempt {
            workload: Arc::clone(&shared.name),
            class: job.class,
            op,
            attempt: 0,
            hedge: false,
            last: true,
            access: job.access,
            key: job.key,
            value: None,
            replaced: None,
            due,
            start: due,
            connected: None,
            first_byte: None,
            end: due,
            outcome: Outcome::Shed,
            applied: Applied::No,
            code: None,
            place: None,
            link: shared.link.clone(),
            conn: None,
            retry_in: None,
            why: Some("max_in_flight".into()),
        });
    }
}

/// Counts a task of a lane as open for as long as it lives.
struct Open<C: Client>(Arc<Lane<C>>);

impl<C: Client> Open<C> {
    fn new(lane: &Arc<Lane<C>>) -> Open<C> {
        lane.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(lane))
    }
}

impl<C: Client> Drop for Open<C> {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.emptied.notify_one();
        }
    }
}
