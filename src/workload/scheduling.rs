//! How the scheduler treats the threads that carry load.
//!
//! The generator runs beside the system that it measures, in many short pieces. What it waits for a core would count
//! as lateness, and a few such waits make a run void. So it asks to go first, as far as it may:
//!
//! - **real-time**, where root, `CAP_SYS_NICE` or `RLIMIT_RTPRIO` allows it: it runs as soon as it wakes. Only for an
//!   open loop that is light, so that it can never keep the cores from the system.
//! - **short slices** elsewhere: the share of the cores stays the same, but the scheduler (Linux 6.12 and later) lets a
//!   thread with a short slice go sooner when it wakes.
//!
//! Measured with a timer each 200 µs beside four busy loops on two cores, p99 of the wait: 6.8 ms with neither, 3.5 ms
//! with short slices; real-time, 1.6 ms was the longest of all at 300/s beside three loops.

use crate::plan::workload::Arrival;

/// Up to this many operations a second a thread of load takes about a tenth of a core, at 17 to 20 µs each.
const LIGHT: f64 = 5_000.0;

/// Whether load of this kind may go before everything else: it leaves the cores to others most of the time.
pub(super) fn is_light(arrival: &Arrival) -> bool {
    arrival.peak().is_some_and(|peak| peak.get() <= LIGHT)
}

/// Asks for the best that the machine grants to the calling thread.
#[cfg(target_os = "linux")]
pub(super) fn go_first(light: bool) {
    let granted = if light && linux::real_time() {
        "real-time"
    } else if linux::short_slices() {
        "short slices"
    } else {
        "nothing"
    };
    tracing::debug!(granted, "asked the scheduler to let the load go first");
}

/// Nothing to ask for.
#[cfg(not(target_os = "linux"))]
pub(super) fn go_first(_light: bool) {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no wrapper has sched_setattr")]
mod linux {
    /// The lowest real-time priority, by turns among its kind; threads that this one starts do not inherit it.
    pub(super) fn real_time() -> bool {
        change(|attributes| {
            attributes.sched_policy = libc::SCHED_RR as u32;
            attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
            attributes.sched_priority = 1;
            attributes.sched_nice = 0;
        })
    }

    /// Slices of 100 µs; a kernel that knows no slices ignores or refuses it.
    pub(super) fn short_slices() -> bool {
        const SLICE_NS: u64 = 100_000;
        change(|attributes| attributes.sched_runtime = SLICE_NS)
    }

    /// Changes how this thread is scheduled; not where somebody has chosen something special for it already.
    fn change(to: impl FnOnce(&mut libc::sched_attr)) -> bool {
        let size = u32::try_from(size_of::<libc::sched_attr>()).expect("a few dozen bytes");
        // SAFETY: `sched_attr` is plain integers, for which zero is a value.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes at most `size` bytes to it; 0 is the calling thread, and 0 are the flags.
        let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        if read != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
            return false;
        }
        to(&mut attributes);
        // SAFETY: the kernel reads it; its size is in it, as the call before has set.
        let written = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        written == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    #[test]
    fn only_a_light_open_loop_may_go_before_everything_else() {
        let constant = |rate: f64| Arrival::Constant(Rate::per_second(rate).unwrap());
        assert!(is_light(&constant(500.0)));
        assert!(!is_light(&constant(50_000.0)));
        assert!(!is_light(&Arrival::Users { count: 1, think: crate::units::Span(std::time::Duration::ZERO) }));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_real_time_thread_starts_is_not_real_time() {
        std::thread::spawn(|| {
            if !linux::real_time() {
                eprintln!("not permitted here: nothing to see");
                return;
            }
            assert!(!linux::short_slices(), "it is special now");
            std::thread::spawn(|| assert!(linux::short_slices(), "an ordinary thread")).join().unwrap();
        })
        .join()
        .unwrap();
    }
}
