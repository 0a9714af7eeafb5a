//! A timer for the load's own threads that is a hundred times finer than the runtime's.
//!
//! The runtime's wheel ticks each millisecond, so operations at 5,000/s would leave in bursts of five, and a time-out
//! of 20 ms would be one of 21. This one is a `timerfd` in the runtime's own epoll, and a sorted map of who waits: one
//! wake-up an operation, some 20 µs late. Most waits are time-outs that never come: they cost an entry in the map, and
//! hardly ever a call to the kernel, since something else is due before.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

use crate::clock::{Moment, RunClock};

/// Who waits for a moment waits here.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// By a timerfd of this runtime.
    Fine(Arc<Fine>),
    /// By the runtime's wheel, which tests can pause.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests on paused time"))]
    Wheel(RunClock),
}

impl Timer {
    /// A fine timer, driven by a task of the current runtime.
    pub(crate) fn start(clock: RunClock) -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let fine = Arc::new(Fine { fd: register(fd)?, clock, waiting: Mutex::default() });
        tokio::spawn(Arc::clone(&fine).drive());
        Ok(Timer::Fine(fine))
    }

    /// Waits until the moment; at once if it has passed.
    pub(crate) fn sleep_until(&self, at: Moment) -> Sleep {
        match self {
            Timer::Fine(timer) => Sleep::Fine(FineSleep { timer: Arc::clone(timer), at, waits: None }),
            Timer::Wheel(clock) => Sleep::Wheel(Box::pin(tokio::time::sleep_until(clock.instant(at)))),
        }
    }
}

/// A wait.
pub(crate) enum Sleep {
    Fine(FineSleep),
    Wheel(Pin<Box<tokio::time::Sleep>>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Sleep::Fine(sleep) => sleep.poll(context),
            Sleep::Wheel(sleep) => sleep.as_mut().poll(context),
        }
    }
}

/// The timerfd and who waits for it.
#[derive(Debug)]
pub(crate) struct Fine {
    fd: AsyncFd<OwnedFd>,
    clock: RunClock,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<(Moment, u64), Waker>,
    /// What the timerfd is set to; none when it is not armed.
    armed: Option<Moment>,
    next_id: u64,
}

pub(crate) struct FineSleep {
    timer: Arc<Fine>,
    at: Moment,
    /// Its place in the map, and whom it wakes.
    waits: Option<(u64, Waker)>,
}

impl FineSleep {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.timer.clock.now();
        if now >= self.at {
            return Poll::Ready(());
        }
        // An attempt is polled whenever its socket has news, nearly always by the same task.
        if self.waits.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let mut waiting = self.timer.waiting();
        let id = match self.waits {
            Some((id, _)) => id,
            None => {
                waiting.next_id += 1;
                waiting.next_id
            }
        };
        waiting.wakers.insert((self.at, id), context.waker().clone());
        self.waits = Some((id, context.waker().clone()));
        if waiting.armed.is_none_or(|armed| self.at < armed) {
            self.timer.arm(&mut waiting, self.at, now);
        }
        Poll::Pending
    }
}

impl Drop for FineSleep {
    fn drop(&mut self) {
        if let Some((id, _)) = self.waits {
            self.timer.waiting().wakers.remove(&(self.at, id));
        }
    }
}

impl Fine {
    /// Wakes who is due, and sets the timerfd for the next one, until the runtime ends.
    async fn drive(self: Arc<Fine>) {
        loop {
            let Ok(mut ready) = self.fd.readable().await else { return };
            let mut expirations = [0; 8];
            // It may have been set again meanwhile, and then has nothing to tell.
            let _ = rustix::io::read(self.fd.get_ref(), &mut expirations);
            ready.clear_ready();
            let now = self.clock.now();
            let mut waiting = self.waiting();
            let later = waiting.wakers.split_off(&(Moment(now.0 + 1), 0));
            let due = std::mem::replace(&mut waiting.wakers, later);
            waiting.armed = None;
            if let Some((&(at, _), _)) = waiting.wakers.first_key_value() {
                self.arm(&mut waiting, at, now);
            }
            drop(waiting);
            due.into_values().for_each(Waker::wake);
        }
    }

    fn arm(&self, waiting: &mut Waiting, at: Moment, now: Moment) {
        // Zero would disarm it.
        let wait = at.saturating_since(now).max(Duration::from_nanos(1));
        let timespec = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: timespec };
        rustix::time::timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &once)
            .expect("a timerfd of our own takes any valid time");
        waiting.armed = Some(at);
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptor in this runtime's epoll.
#[expect(unsafe_code, reason = "the promise that `AsyncFd` asks for is one that `OwnedFd` keeps")]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and the `AsyncFd` owns it: nobody
    // can close or exchange it before it is taken out of the epoll.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_runtime<T>(task: impl AsyncFnOnce(RunClock, Timer) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = RunClock::start();
            let timer = Timer::start(clock).unwrap();
            task(clock, timer).await
        })
    }

    #[test]
    fn sleeps_end_in_order_and_never_early() {
        let ends = on_a_runtime(async |clock, timer| {
            let begin = clock.now();
            let sleeps = [5u64, 1, 3, 3, 0].map(|ms| {
                let at = begin + Duration::from_millis(ms);
                let sleep = timer.sleep_until(at);
                tokio::spawn(async move {
                    sleep.await;
                    (clock.now(), at)
                })
            });
            let mut ends = vec![];
            for sleep in sleeps {
                ends.push(sleep.await.unwrap());
            }
            ends
        });
        assert!(ends.iter().all(|(end, at)| end >= at), "{ends:?}");
        let mut sorted = ends.clone();
        sorted.sort();
        let by_due: Vec<_> = sorted.iter().map(|(_, at)| *at).collect();
        assert!(by_due.is_sorted(), "{ends:?}");
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind_and_a_nearer_one_is_not_held_up() {
        on_a_runtime(async |clock, timer| {
            let far = clock.now() + Duration::from_secs(3600);
            let mut forgotten = timer.sleep_until(far);
            std::future::poll_fn(|context| {
                assert!(Pin::new(&mut forgotten).poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            timer.sleep_until(clock.now() + Duration::from_millis(1)).await;
            drop(forgotten);
            let Timer::Fine(fine) = &timer else { unreachable!() };
            assert!(fine.waiting().wakers.is_empty());
        });
    }
}
