//! Signals: the first asks for a stop, the second Ctrl-C ends at once.

use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::event::StopReason;
use crate::run::StopSwitch;

/// Listens on a thread of its own, so that a stop can be asked for whatever the run is doing.
///
/// A second Ctrl-C exits without waiting; the keeper sees its pipe end, and ends and undoes everything.
pub(super) fn listen(stop: StopSwitch) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut interrupts = 0;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {
                        interrupts += 1;
                        if interrupts > 1 {
                            std::process::exit(Exit::Interrupted.code().into());
                        }
                        stop.request(StopReason::Interrupt, "Ctrl-C");
                    }
                    _ = terminate.recv() => stop.request(StopReason::Terminate, "SIGTERM"),
                    // A lost terminal: nobody watches any more.
                    _ = hangup.recv() => stop.request(StopReason::Terminate, "the terminal is gone (SIGHUP)"),
                }
            }
        });
    })?;
    Ok(())
}
