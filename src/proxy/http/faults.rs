//! The HTTP faults of one link and its counts: shared by its connections, owned by its engine thread.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::plan::fault::{BodyShare, HttpEffect, HttpFault};
use crate::seed::Dice;
use crate::units::Span;

/// The name of an HTTP fault on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpFaultId(pub u64);

/// What a link saw of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Requests whose head was whole, whoever answered them: attempts on the wire.
    pub requests: u64,
    /// Requests that a fault took, once for each fault.
    pub matched: u64,
    /// Connections that turned out not to speak HTTP/1.
    pub foreign: u64,
}

/// The HTTP faults of one link, in order of injection, and its counts.
#[derive(Debug, Default)]
pub struct HttpFaults {
    live: Vec<Live>,
    pub(super) counts: HttpCounts,
}

#[derive(Debug)]
struct Live {
    id: HttpFaultId,
    fault: HttpFault,
    dice: Dice,
    /// Requests that have its method and path.
    alike: u64,
    /// Those of them that it took.
    matched: u64,
}

/// What the faults want of one request.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Answer it here; nothing else happens to it then.
    pub(super) answer: Option<Answer>,
    /// Hold its answer's head back, for so long each.
    pub(super) delays: Vec<(HttpFaultId, Duration)>,
    /// Reset the connection within its answer's body.
    pub(super) abort: Option<(HttpFaultId, BodyShare)>,
}

impl Fate {
    /// Whether nothing happens to the request.
    pub(super) fn is_none(&self) -> bool {
        self.answer.is_none() && self.delays.is_empty() && self.abort.is_none()
    }

    /// A fault was healed: what it planned does not happen.
    pub(super) fn forget(&mut self, id: HttpFaultId) {
        self.delays.retain(|(delay, _)| *delay != id);
        self.abort = self.abort.filter(|(abort, _)| *abort != id);
    }
}

/// An answer given by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    code: u16,
    retry_after: Option<Span>,
}

impl Answer {
    /// The answer as bytes; one to HEAD has no body, and one to a last request says that the connection closes.
    pub(super) fn bytes(self, to_head: bool, closes: bool) -> Bytes {
        let reason = StatusCode::from_u16(self.code).ok().and_then(|code| code.canonical_reason()).unwrap_or("Fault");
        let body = format!("{} {reason}\n", self.code);
        let mut text = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n",
            self.code,
            body.len()
        );
        if let Some(Span(after)) = self.retry_after {
            let seconds = after.as_nanos().div_ceil(1_000_000_000);
            text.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if closes {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        if !to_head {
            text.push_str(&body);
        }
        Bytes::from(text)
    }
}

impl HttpFaults {
    /// No fault yet.
    pub fn new() -> HttpFaults {
        HttpFaults::default()
    }

    /// Whether no fault is in force.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Puts a fault in force; which links it names is not looked at.
    pub fn insert(&mut self, id: HttpFaultId, fault: HttpFault, dice: Dice) {
        self.live.push(Live { id, fault, dice, alike: 0, matched: 0 });
    }

    /// Takes a fault out of force. Each connection's [`Tap::healed`](super::Tap::healed) must be told as well.
    pub fn remove(&mut self, id: HttpFaultId) {
        self.live.retain(|live| live.id != id);
    }

    /// What the link saw so far.
    pub fn counts(&self) -> HttpCounts {
        self.counts
    }

    /// Requests that one fault took so far; none if it is not in force.
    pub fn matched(&self, id: HttpFaultId) -> Option<u64> {
        self.live.iter().find(|live| live.id == id).map(|live| live.matched)
    }

    /// Decides about a request. The first fault that answers it is the last that is asked; delays add up; one abort
    /// is enough. Where part of the request is already on its way it cannot be answered here.
    pub(super) fn judge(&mut self, method: &str, path: &str, may_answer: bool) -> Fate {
        let mut fate = Fate::default();
        for live in &mut self.live {
            let answers = matches!(live.fault.effect, HttpEffect::Status { .. });
            let spoken_for = matches!(live.fault.effect, HttpEffect::Abort { .. }) && fate.abort.is_some();
            if (answers && !may_answer) || spoken_for || !live.takes(method, path) {
                continue;
            }
            self.counts.matched += 1;
            match live.fault.effect {
                HttpEffect::Status { code, retry_after } => {
                    return Fate { answer: Some(Answer { code, retry_after }), ..Fate::default() };
                }
                HttpEffect::Delay { by } => fate.delays.push((live.id, by.0)),
                HttpEffect::Abort { at } => fate.abort = Some((live.id, at)),
            }
        }
        fate
    }
}

impl Live {
    fn takes(&mut self, method: &str, path: &str) -> bool {
        let fault = &self.fault;
        let alike = fault.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && fault.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()));
        if !alike || fault.first.is_some_and(|first| self.alike >= first) {
            return false;
        }
        self.alike += 1;
        let taken = self.dice.chance(fault.share.get());
        self.matched += u64::from(taken);
        taken
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::fault::Links;
    use crate::seed::Seed;
    use crate::units::Share;

    pub(crate) fn fault(effect: HttpEffect) -> HttpFault {
        HttpFault {
            links: Links::Named(vec!["web".into()]),
            method: None,
            path: None,
            share: Share::ALL,
            first: None,
            effect,
        }
    }

    pub(crate) fn status(code: u16) -> HttpEffect {
        HttpEffect::Status { code, retry_after: None }
    }

    fn faults(fault: HttpFault) -> HttpFaults {
        let mut faults = HttpFaults::new();
        faults.insert(HttpFaultId(1), fault, Seed(1).stream("http"));
        faults
    }

    fn answered(faults: &mut HttpFaults, method: &str, path: &str) -> bool {
        faults.judge(method, path, true).answer.is_some()
    }

    #[test]
    fn method_and_path_narrow_it_down() {
        let mut faults =
            faults(HttpFault { method: Some("POST".into()), path: Some("/kv".into()), ..fault(status(503)) });
        assert!(answered(&mut faults, "POST", "/kv/1"));
        assert!(!answered(&mut faults, "GET", "/kv/1"));
        assert!(!answered(&mut faults, "POST", "/other"));
        assert_eq!((faults.matched(HttpFaultId(1)), faults.counts().matched), (Some(1), 1));
    }

    #[test]
    fn the_first_n_are_taken_and_no_more() {
        let mut faults = faults(HttpFault { first: Some(2), ..fault(status(503)) });
        let taken = (0..10).filter(|_| answered(&mut faults, "GET", "/")).count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn a_share_is_drawn_by_dice() {
        let mut faults = faults(HttpFault { share: Share::new(0.3).unwrap(), ..fault(status(503)) });
        let taken = (0..10_000).filter(|_| answered(&mut faults, "GET", "/")).count() as i64;
        // Five standard deviations: 5 × √(10,000 × 0.21).
        assert!((taken - 3000).abs() < 230, "{taken}");
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        let answer = Answer { code: 503, retry_after: Some(Span(Duration::from_millis(1200))) };
        let bytes = answer.bytes(false, false);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 24\r\nRetry-After: 2\r\n\r\n503 Service Unavailable\n"
        );
    }
}
