//! From an error of reqwest to the outcome of an attempt.

use std::error::Error;
use std::io;

use crate::event::{Applied, Outcome};
use crate::workload::client::dial::DialError;
use crate::workload::client::{Answer, Progress};

/// The answer of an attempt that had none.
pub(super) fn failed(error: &reqwest::Error, progress: &Progress) -> Answer {
    let outer = if error.is_timeout() {
        Outcome::Timeout
    } else if error.is_connect() {
        Outcome::Unreachable
    } else if error.is_decode() || error.is_body() {
        Outcome::Protocol
    } else {
        Outcome::Error
    };
    let applied = if error.is_connect() { Applied::No } else { progress.applied() };
    let (outcome, why) = innermost(error, outer);
    Answer::new(outcome, applied).because(why)
}

/// The outcome by the innermost cause that says more than `outer`, and that cause in words.
fn innermost(error: &(dyn Error + 'static), outer: Outcome) -> (Outcome, String) {
    let mut outcome = outer;
    let mut cause = Some(error);
    let mut why = String::new();
    while let Some(error) = cause {
        outcome = of(error).unwrap_or(outcome);
        why = error.to_string();
        // An io::Error's source is that of what it wraps, so that what it wraps must be looked at here.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    (outcome, why)
}

fn of(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error);
    }
    if error.is::<rustls::Error>() {
        return Some(Outcome::Tls);
    }
    if let Some(error) = error.downcast_ref::<DialError>() {
        return Some(match error {
            DialError::Resolve(_) | DialError::Lookup(_) | DialError::NoAddress => Outcome::Dns,
            DialError::NotPermitted(_) => Outcome::Unreachable,
        });
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse() {
        Some(Outcome::Protocol)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Some(Outcome::Reset)
    } else if error.is_timeout() {
        Some(Outcome::Timeout)
    } else {
        None
    }
}

/// By its kind; none for kinds that say nothing of the network.
pub(in crate::workload::client) fn of_io(error: &io::Error) -> Option<Outcome> {
    use io::ErrorKind::*;
    if let Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) = error.raw_os_error() {
        // Descriptors or memory of our own machine are spent: nothing that the system did.
        return Some(Outcome::Error);
    }
    match error.kind() {
        ConnectionRefused => Some(Outcome::Refused),
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected => Some(Outcome::Reset),
        TimedOut => Some(Outcome::Timeout),
        HostUnreachable | NetworkUnreachable | NetworkDown => Some(Outcome::Unreachable),
        // Our own machine's ports are spent.
        AddrNotAvailable | AddrInUse => Some(Outcome::Error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_our_own_is_no_failure_of_the_network() {
        for (code, outcome) in [
            (libc::EMFILE, Some(Outcome::Error)),
            (libc::ENFILE, Some(Outcome::Error)),
            (libc::EADDRNOTAVAIL, Some(Outcome::Error)),
            (libc::ECONNREFUSED, Some(Outcome::Refused)),
            (libc::ENETUNREACH, Some(Outcome::Unreachable)),
            (libc::EINVAL, None),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(of_io(&error), outcome, "{error}");
        }
    }
}
