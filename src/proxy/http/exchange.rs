//! Requests that wait for their answers, in order: some from the upstream, some from the proxy.

use std::collections::VecDeque;

use bytes::Bytes;

use super::faults::{Fate, HttpFaultId};

/// More requests under way than this are no longer followed.
const MOST_EXCHANGES: usize = 16 * 1024;

/// A queue longer than this gives its memory back when it runs empty.
const KEPT_PLACES: usize = 16;

/// One request, until its answer is through.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The upstream answers.
    Upstream {
        /// To HEAD: its answer has no body.
        to_head: bool,
        /// To CONNECT: with 2xx the connection is a tunnel.
        to_connect: bool,
        /// What its answer will meet.
        fate: Option<Box<Fate>>,
    },
    /// The proxy answers.
    Proxy(Box<OwnAnswer>),
}

/// An answer of the proxy, to be given in its turn.
#[derive(Debug)]
pub(super) struct OwnAnswer {
    pub(super) bytes: Bytes,
    /// The client waits for 100 before it sends the body.
    pub(super) awaits_continue: bool,
    /// The request is whole: an answer before that would meet clients that do not listen yet.
    pub(super) ready: bool,
    /// No request follows: the connection ends behind the answer.
    pub(super) closes: bool,
}

/// The requests of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Exchanges(VecDeque<Exchange>);

impl Exchanges {
    /// Adds a request; `false` if there are too many.
    pub(super) fn push(&mut self, exchange: Exchange) -> bool {
        self.0.push_back(exchange);
        self.0.len() <= MOST_EXCHANGES
    }

    pub(super) fn front(&self) -> Option<&Exchange> {
        self.0.front()
    }

    pub(super) fn pop(&mut self) -> Option<Exchange> {
        let front = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > KEPT_PLACES {
            self.0 = VecDeque::new();
        }
        front
    }

    /// The newest request is whole; if the proxy answers it, it may do so now.
    pub(super) fn newest_is_whole(&mut self) {
        if let Some(Exchange::Proxy(own)) = self.0.back_mut() {
            own.ready = true;
        }
    }

    /// The newest request has no end that anyone could find: the proxy answers it and closes.
    pub(super) fn newest_is_last(&mut self) {
        if let Some(Exchange::Proxy(own)) = self.0.back_mut() {
            (own.ready, own.closes) = (true, true);
        }
    }

    /// The proxy's answer that may be given now; its 100 first where the client waits for that.
    pub(super) fn own_answer(&mut self) -> Option<Own> {
        let Some(Exchange::Proxy(own)) = self.0.front_mut() else { return None };
        if std::mem::take(&mut own.awaits_continue) && !own.ready {
            return Some(Own { bytes: Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"), closes: false });
        }
        if !own.ready {
            return None;
        }
        let answer = Own { bytes: own.bytes.clone(), closes: own.closes };
        self.pop();
        Some(answer)
    }

    /// A fault was healed.
    pub(super) fn forget(&mut self, id: HttpFaultId) {
        for exchange in &mut self.0 {
            if let Exchange::Upstream { fate, .. } = exchange {
                if let Some(fate) = fate {
                    fate.forget(id);
                }
                fate.take_if(|fate| fate.is_none());
            }
        }
    }

    /// Nothing is followed any more.
    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

/// Bytes that the proxy says itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) bytes: Bytes,
    pub(super) closes: bool,
}
