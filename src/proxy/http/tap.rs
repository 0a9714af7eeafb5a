//! The tap on one connection: reads both directions, and lets its link's faults do their work.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::abort::Abort;
use super::body::{Body, Mark};
use super::exchange::{Exchange, Exchanges, OwnAnswer};
use super::faults::{Fate, HttpFaultId, HttpFaults};
use super::head::{self, Parsed, RequestHead, ResponseHead};
use super::inbox::{HeadBuffer, Inbox};
use super::outbox::{Outbox, Piece};
use crate::clock::Moment;

/// What may wait behind a delayed head before the upstream is no longer read.
const HELD_DOWN: usize = 256 * 1024;

/// What becomes of bytes shown to the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They pass as they are; nothing else is waiting in the tap for that direction.
    Whole,
    /// The tap has taken them; [`Tap::next`] says what passes.
    Taken,
}

/// What the tap wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapStep {
    /// These bytes go on towards the upstream.
    Up(Bytes),
    /// These bytes go on towards the client.
    Down(Bytes),
    /// The client's FIN goes on, behind its bytes.
    FinUp,
    /// The upstream's FIN goes on, behind its bytes.
    FinDown,
    /// Both directions end with FIN, behind the bytes given out so far.
    End,
    /// RST to both sides, when the bytes given out so far have been written to the client.
    Reset,
    /// Nothing before this moment, or before the next call of another method.
    Wait(Option<Moment>),
}

/// The tap on one connection. Idle, it owns no buffer.
///
/// Methods that answer nothing, and `up` and `down` where they answer [`Passage::Taken`], are to be followed by
/// [`Tap::next`] until it waits, and so is the moment that it waits for. What it gives out must be taken at once; an
/// engine that has much to write to the client reads no more from it, since answers of the proxy go there as well.
#[derive(Debug, Default)]
pub struct Tap {
    up: Up,
    down: Down,
    exchanges: Exchanges,
    /// The connection has been ended here: nothing passes any more.
    over: bool,
    /// It is counted as not speaking HTTP/1.
    foreign: bool,
}

/// The direction client → upstream.
#[derive(Debug, Default)]
struct Up {
    place: UpPlace,
    head: HeadBuffer,
    queue: VecDeque<Bytes>,
    fin: Fin,
}

/// Where the client's bytes are.
#[derive(Debug, Default)]
enum UpPlace {
    /// Before or within the head of a request.
    #[default]
    Head,
    /// Within a body.
    Body { body: Body, then_switch: bool },
    /// Within the body of a request that the proxy answers.
    Swallow(Body),
    /// Behind a request that may turn the connection into something else; its answer decides.
    Switch,
    /// In something that is not read.
    Blind,
}

/// The direction upstream → client.
#[derive(Debug, Default)]
struct Down {
    place: DownPlace,
    head: HeadBuffer,
    /// When the first byte of the head came.
    head_began: Moment,
    queue: Outbox,
    fin: Fin,
}

/// Where the upstream's bytes are.
#[derive(Debug, Default)]
enum DownPlace {
    /// Before or within the head of an answer.
    #[default]
    Head,
    /// Within a body, which may be cut off.
    Body(Body, Option<Abort>),
    /// In something that is not read.
    Blind,
}

/// A FIN on its way through the tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fin {
    #[default]
    Open,
    Came,
    Gone,
}

impl Tap {
    /// For a connection just accepted on a link that speaks HTTP/1.
    pub fn new() -> Tap {
        Tap::default()
    }

    /// Reads bytes from the client.
    pub fn up(&mut self, bytes: &[u8], faults: &mut HttpFaults, _now: Moment) -> Passage {
        if self.over {
            return Passage::Taken;
        }
        let mut inbox = Inbox::new(bytes);
        let mut at = 0;
        while at < bytes.len() {
            at = self.read_up(at, bytes, &mut inbox, faults);
        }
        self.say_own(None);
        if inbox.is_whole() && self.up.queue.is_empty() {
            return Passage::Whole;
        }
        self.up.queue.extend(inbox.take());
        Passage::Taken
    }

    /// Reads bytes from the upstream.
    pub fn down(&mut self, bytes: &[u8], faults: &mut HttpFaults, now: Moment) -> Passage {
        if self.over {
            return Passage::Taken;
        }
        let mut inbox = Inbox::new(bytes);
        let mut at = 0;
        while at < bytes.len() && !self.over {
            at = self.read_down(at, bytes, &mut inbox, faults, now);
        }
        if inbox.is_whole() && self.down.queue.is_empty() {
            return Passage::Whole;
        }
        self.down.queue.push_all(&mut inbox);
        Passage::Taken
    }

    /// The client has sent FIN; it comes out of [`Tap::next`] behind what is held.
    pub fn finish_up(&mut self) {
        if self.up.fin == Fin::Open {
            self.up.fin = Fin::Came;
            let head = self.up.head.release();
            self.up.push(head);
            // The rest of a request that the proxy answers will not come.
            if matches!(self.up.place, UpPlace::Swallow(_)) {
                self.up.place = UpPlace::Blind;
                self.exchanges.newest_is_whole();
                self.say_own(None);
            }
        }
    }

    /// The upstream has sent FIN; it comes out of [`Tap::next`] behind what is held.
    pub fn finish_down(&mut self) {
        if self.down.fin == Fin::Open {
            self.down.fin = Fin::Came;
            let head = self.down.head.release();
            self.down.queue.push(head);
            if let DownPlace::Body(_, Some(_)) = self.down.place {
                self.end(Piece::Reset);
            }
        }
    }

    /// A fault is no longer in force: what it holds here leaves, what it planned is dropped.
    pub fn healed(&mut self, id: HttpFaultId) {
        self.exchanges.forget(id);
        self.down.queue.forget(id);
        if let DownPlace::Body(_, abort) = &mut self.down.place {
            abort.take_if(|abort| abort.fault == id);
        }
        if self.down.head.held && !self.front_is_delayed() {
            let head = self.down.head.pass_on();
            self.down.queue.push(head);
        }
    }

    /// How many bytes of the upstream may be shown now; 0: do not read, so that the upstream feels it.
    pub fn room_down(&self) -> usize {
        HELD_DOWN.saturating_sub(self.down.queue.bytes())
    }

    /// Bytes from the client that need not be shown, such as the rest of a body: they may take a faster way (splice)
    /// and are told by [`Tap::skipped_up`]. [`u64::MAX`]: no byte of this direction will ever be looked at again.
    pub fn opaque_up(&self) -> u64 {
        match &self.up.place {
            _ if self.over || !self.up.queue.is_empty() => 0,
            UpPlace::Body { body, .. } => body.opaque(),
            UpPlace::Blind => u64::MAX,
            UpPlace::Head | UpPlace::Swallow(_) | UpPlace::Switch => 0,
        }
    }

    /// The same towards the client; told by [`Tap::skipped_down`].
    pub fn opaque_down(&self) -> u64 {
        match &self.down.place {
            _ if self.over || !self.down.queue.is_empty() => 0,
            DownPlace::Body(body, None) => body.opaque(),
            DownPlace::Blind => u64::MAX,
            DownPlace::Head | DownPlace::Body(_, Some(_)) => 0,
        }
    }

    /// So many bytes of the client went round the tap; at most [`Tap::opaque_up`].
    pub fn skipped_up(&mut self, bytes: u64) {
        if let UpPlace::Body { body, then_switch } = &mut self.up.place {
            body.skip(bytes);
            if *body == Body::NONE {
                self.up.place = after_request(*then_switch);
            }
        }
    }

    /// So many bytes of the upstream went round the tap; at most [`Tap::opaque_down`].
    pub fn skipped_down(&mut self, bytes: u64) {
        if let DownPlace::Body(body, _) = &mut self.down.place {
            body.skip(bytes);
            if *body == Body::NONE {
                self.answered(None);
            }
        }
    }

    /// What to do now; to be called until it says [`TapStep::Wait`].
    pub fn next(&mut self, now: Moment) -> TapStep {
        if let Some(bytes) = self.up.queue.pop_front() {
            return TapStep::Up(bytes);
        }
        if self.up.fin == Fin::Came && !self.over {
            self.up.fin = Fin::Gone;
            return TapStep::FinUp;
        }
        match self.down.queue.next(now) {
            Some(Ok(Piece::Bytes(bytes))) => return TapStep::Down(bytes),
            Some(Ok(Piece::Reset)) => return TapStep::Reset,
            Some(Ok(Piece::End)) => return TapStep::End,
            Some(Ok(Piece::Until(until, _)) | Err(until)) => {
                return TapStep::Wait((until.0 != u64::MAX).then_some(until));
            }
            None => {}
        }
        if self.down.fin == Fin::Came && !self.over {
            self.down.fin = Fin::Gone;
            return TapStep::FinDown;
        }
        TapStep::Wait(None)
    }

    /// Reads on from `at` in the client's bytes, up to the next border; where that is.
    fn read_up(&mut self, at: usize, bytes: &[u8], inbox: &mut Inbox<'_>, faults: &mut HttpFaults) -> usize {
        let rest = &bytes[at..];
        match &mut self.up.place {
            UpPlace::Head => self.read_request_head(at, rest, inbox, faults),
            UpPlace::Body { body, then_switch } => match body.read(rest) {
                Ok((read, mark)) => {
                    inbox.pass(at..at + read);
                    if mark == Mark::End {
                        self.up.place = after_request(*then_switch);
                    }
                    at + read
                }
                Err(_) => self.blind_up(at, faults),
            },
            UpPlace::Swallow(body) => match body.read(rest) {
                Ok((read, mark)) => {
                    if mark == Mark::End {
                        self.up.place = UpPlace::Head;
                        self.exchanges.newest_is_whole();
                    }
                    at + read
                }
                // Where this body ends, and the next request begins, nobody can tell.
                Err(_) => {
                    self.exchanges.newest_is_last();
                    self.up.place = UpPlace::Blind;
                    bytes.len()
                }
            },
            UpPlace::Switch => {
                self.up.place = UpPlace::Blind;
                at
            }
            UpPlace::Blind => {
                inbox.pass(at..bytes.len());
                bytes.len()
            }
        }
    }

    fn read_request_head(&mut self, at: usize, rest: &[u8], inbox: &mut Inbox<'_>, faults: &mut HttpFaults) -> usize {
        let can_fault = !matches!(self.down.place, DownPlace::Blind);
        if self.up.head.is_empty() {
            self.up.head.held = can_fault && !faults.is_empty();
        }
        let held = self.up.head.held;
        let parsed = self.up.head.read(rest, |bytes| {
            head::request(bytes).map(|head| Verdict::of(&head, can_fault.then_some(&mut *faults), held))
        });
        match parsed {
            Parsed::Partial => {
                if !held {
                    inbox.pass(at..at + rest.len());
                }
                at + rest.len()
            }
            Parsed::Foreign => {
                inbox.insert(self.up.head.release());
                self.blind_up(at, faults)
            }
            Parsed::Head(Verdict { exchange, body, then_switch }, length) => {
                faults.counts.requests += 1;
                let before = self.up.head.release();
                if let Exchange::Proxy(_) = exchange {
                    self.up.place = UpPlace::Swallow(body);
                } else {
                    inbox.insert(before);
                    inbox.pass(at..at + length);
                    self.up.place = UpPlace::Body { body, then_switch };
                }
                if can_fault && !self.exchanges.push(exchange) {
                    self.blind_down();
                }
                self.end_empty_body();
                at + length
            }
        }
    }

    /// A request without a body is whole with its head.
    fn end_empty_body(&mut self) {
        match &self.up.place {
            UpPlace::Body { body: Body::NONE, then_switch } => self.up.place = after_request(*then_switch),
            UpPlace::Swallow(Body::NONE) => {
                self.up.place = UpPlace::Head;
                self.exchanges.newest_is_whole();
            }
            _ => {}
        }
    }

    /// The client's bytes are no HTTP/1 from here on; they are read again as such.
    fn blind_up(&mut self, at: usize, faults: &mut HttpFaults) -> usize {
        self.count_foreign(faults);
        self.up.place = UpPlace::Blind;
        at
    }

    fn count_foreign(&mut self, faults: &mut HttpFaults) {
        if !std::mem::replace(&mut self.foreign, true) {
            faults.counts.foreign += 1;
        }
    }

    /// The upstream's bytes are not followed any more, nor can faults be.
    fn blind_down(&mut self) {
        self.down.place = DownPlace::Blind;
        self.exchanges.clear();
    }

    /// Reads on from `at` in the upstream's bytes, up to the next border; where that is.
    fn read_down(
        &mut self,
        at: usize,
        bytes: &[u8],
        inbox: &mut Inbox<'_>,
        faults: &mut HttpFaults,
        now: Moment,
    ) -> usize {
        let rest = &bytes[at..];
        match &mut self.down.place {
            DownPlace::Head => match self.exchanges.front() {
                Some(Exchange::Upstream { .. }) => self.read_response_head(at, rest, inbox, faults, now),
                // Nobody has asked: the upstream speaks first, or says why it closes.
                _ => {
                    self.blind_down();
                    at
                }
            },
            DownPlace::Body(body, abort) => {
                let limit = abort.as_ref().map_or(rest.len(), |abort| abort.limit(rest.len()));
                let Ok((read, mark)) = body.read(&rest[..limit]) else {
                    self.count_foreign(faults);
                    self.blind_down();
                    return at;
                };
                let cut = abort.as_mut().is_some_and(|abort| abort.is_reached(read, mark, body));
                if !(cut && mark == Mark::LastChunk) {
                    inbox.pass(at..at + read);
                }
                if cut {
                    self.down.queue.push_all(inbox);
                    self.end(Piece::Reset);
                } else if mark == Mark::End {
                    self.answered(Some(inbox));
                }
                at + read
            }
            DownPlace::Blind => {
                inbox.pass(at..bytes.len());
                bytes.len()
            }
        }
    }

    fn read_response_head(
        &mut self,
        at: usize,
        rest: &[u8],
        inbox: &mut Inbox<'_>,
        faults: &mut HttpFaults,
        now: Moment,
    ) -> usize {
        if self.down.head.is_empty() {
            self.down.head.held = self.front_is_delayed();
            self.down.head_began = now;
        }
        let held = self.down.head.held;
        match self.down.head.read(rest, head::response) {
            Parsed::Partial => {
                if !held {
                    inbox.pass(at..at + rest.len());
                }
                at + rest.len()
            }
            Parsed::Foreign => {
                self.count_foreign(faults);
                inbox.insert(self.down.head.release());
                self.blind_down();
                at
            }
            Parsed::Head(response, length) => {
                let before = self.down.head.release();
                let interim = response.status < 200 && response.status != 101;
                if !interim && self.front_is_delayed() {
                    self.down.queue.push_all(inbox);
                    self.delay_front();
                }
                inbox.insert(before);
                inbox.pass(at..at + length);
                if !interim {
                    self.begin_answer(response, inbox);
                }
                at + length
            }
        }
    }

    /// The head of an answer has passed: what comes behind it.
    fn begin_answer(&mut self, response: ResponseHead, inbox: &mut Inbox<'_>) {
        let Some(Exchange::Upstream { to_head, to_connect, fate }) = self.exchanges.front() else { return };
        if response.status == 101 || (*to_connect && (200..300).contains(&response.status)) {
            self.up.place = UpPlace::Blind;
            self.blind_down();
            return;
        }
        let body = if *to_head { Body::NONE } else { response.body };
        let abort = fate.as_ref().and_then(|fate| fate.abort);
        let abort = abort.map(|(fault, share)| Abort::new(fault, share, &body));
        match &mut self.up.place {
            UpPlace::Switch => self.up.place = UpPlace::Head,
            UpPlace::Body { then_switch, .. } => *then_switch = false,
            UpPlace::Head | UpPlace::Swallow(_) | UpPlace::Blind => {}
        }
        match abort {
            Some(abort) if abort.is_at_once() => {
                self.down.queue.push_all(inbox);
                self.end(Piece::Reset);
            }
            _ if body == Body::NONE => self.answered(Some(inbox)),
            _ => self.down.place = DownPlace::Body(body, abort),
        }
    }

    /// The answer of the upstream is whole: the next request's turn.
    fn answered(&mut self, inbox: Option<&mut Inbox<'_>>) {
        self.down.place = DownPlace::Head;
        self.exchanges.pop();
        self.say_own(inbox);
    }

    /// Gives the proxy's own answers whose turn it is, behind what has passed.
    fn say_own(&mut self, mut inbox: Option<&mut Inbox<'_>>) {
        while let Some(own) = self.exchanges.own_answer() {
            if let Some(inbox) = &mut inbox {
                self.down.queue.push_all(inbox);
            }
            self.down.queue.push(own.bytes);
            if own.closes {
                self.end(Piece::End);
                return;
            }
        }
    }

    fn front_is_delayed(&self) -> bool {
        matches!(self.exchanges.front(), Some(Exchange::Upstream { fate: Some(fate), .. }) if !fate.delays.is_empty())
    }

    /// Puts the delays of the oldest request before its answer; they add up from the head's first byte.
    fn delay_front(&mut self) {
        let Some(Exchange::Upstream { fate: Some(fate), .. }) = self.exchanges.front() else { return };
        let mut sum = Duration::ZERO;
        for &(fault, by) in &fate.delays {
            sum = sum.saturating_add(by);
            self.down.queue.mark(Piece::Until(self.down.head_began + sum, fault));
        }
    }

    /// Ends the connection behind what is queued.
    fn end(&mut self, how: Piece) {
        self.over = true;
        self.exchanges.clear();
        self.down.queue.mark(how);
    }
}

impl Up {
    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }
}

/// What the head of a request decided.
#[derive(Debug)]
struct Verdict {
    exchange: Exchange,
    body: Body,
    then_switch: bool,
}

impl Verdict {
    fn of(head: &RequestHead<'_>, faults: Option<&mut HttpFaults>, may_answer: bool) -> Verdict {
        let fate = match faults {
            Some(faults) if !faults.is_empty() => faults.judge(head.method, head.path, may_answer),
            _ => Fate::default(),
        };
        let to_head = head.method == "HEAD";
        let exchange = match fate.answer {
            Some(answer) => Exchange::Proxy(Box::new(OwnAnswer {
                bytes: answer.bytes(to_head, head.closes),
                awaits_continue: head.expects_continue,
                ready: false,
                closes: head.closes,
            })),
            None => Exchange::Upstream {
                to_head,
                to_connect: head.method == "CONNECT",
                fate: (!fate.is_none()).then(|| Box::new(fate)),
            },
        };
        Verdict { exchange, body: head.body.clone(), then_switch: head.may_switch }
    }
}

fn after_request(then_switch: bool) -> UpPlace {
    if then_switch { UpPlace::Switch } else { UpPlace::Head }
}

#[cfg(test)]
mod tests;
