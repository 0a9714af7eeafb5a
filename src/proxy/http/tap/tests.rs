//! One connection played through the tap, and what holds for any bytes in any pieces.

use proptest::prelude::*;

use super::super::HttpCounts;
use super::super::faults::tests::{fault, status};
use super::*;
use crate::plan::fault::BodyShare;
use crate::plan::fault::{HttpEffect, HttpFault};
use crate::seed::Seed;
use crate::units::Span;

const ID: HttpFaultId = HttpFaultId(1);

fn ms(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

/// A tap with its faults, and everything that came out of it.
#[derive(Default)]
struct Rig {
    tap: Tap,
    faults: HttpFaults,
    now: Moment,
    up: Vec<u8>,
    down: Vec<u8>,
    ends: Vec<TapStep>,
    /// When something left towards the client.
    moments: Vec<Moment>,
    wake: Option<Moment>,
}

impl Rig {
    fn with(faults: impl IntoIterator<Item = HttpFault>) -> Rig {
        let mut rig = Rig::default();
        for (id, fault) in (1..).zip(faults) {
            rig.faults.insert(HttpFaultId(id), fault, Seed(id).stream("http"));
        }
        rig
    }

    fn up(&mut self, bytes: impl AsRef<[u8]>) -> Passage {
        let passage = self.tap.up(bytes.as_ref(), &mut self.faults, self.now);
        if passage == Passage::Whole {
            self.up.extend_from_slice(bytes.as_ref());
        }
        self.ask();
        passage
    }

    fn down(&mut self, bytes: impl AsRef<[u8]>) -> Passage {
        let passage = self.tap.down(bytes.as_ref(), &mut self.faults, self.now);
        if passage == Passage::Whole {
            self.down.extend_from_slice(bytes.as_ref());
            self.moments.push(self.now);
        }
        self.ask();
        passage
    }

    fn finish_up(&mut self) {
        self.tap.finish_up();
        self.ask();
    }

    fn finish_down(&mut self) {
        self.tap.finish_down();
        self.ask();
    }

    fn ask(&mut self) {
        loop {
            match self.tap.next(self.now) {
                TapStep::Up(bytes) => self.up.extend_from_slice(&bytes),
                TapStep::Down(bytes) => {
                    self.down.extend_from_slice(&bytes);
                    self.moments.push(self.now);
                }
                TapStep::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "a wait for the past spins");
                    self.wake = until;
                    return;
                }
                end => self.ends.push(end),
            }
        }
    }

    fn wake(&mut self) {
        while let Some(until) = self.wake {
            self.now = until;
            self.ask();
        }
    }

    fn said_up(&self) -> &str {
        std::str::from_utf8(&self.up).unwrap()
    }

    fn said_down(&self) -> &str {
        std::str::from_utf8(&self.down).unwrap()
    }
}

fn at_path(path: &str, effect: HttpEffect) -> HttpFault {
    HttpFault { path: Some(path.into()), ..fault(effect) }
}

fn delay(ms: u64) -> HttpEffect {
    HttpEffect::Delay { by: Span(Duration::from_millis(ms)) }
}

fn abort(share: u16) -> HttpEffect {
    HttpEffect::Abort { at: BodyShare(share) }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const SORRY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n\r\n503 Service Unavailable\n";

#[test]
fn without_a_fault_everything_passes_in_place_and_is_counted() {
    let mut rig = Rig::default();
    for _ in 0..3 {
        assert_eq!(rig.up(GET), Passage::Whole);
        assert_eq!(rig.down(OK), Passage::Whole);
    }
    // In two pieces each: still in place, nothing held back.
    assert_eq!((rig.up(&GET[..9]), rig.up(&GET[9..])), (Passage::Whole, Passage::Whole));
    assert_eq!((rig.down(&OK[..30]), rig.down(&OK[30..])), (Passage::Whole, Passage::Whole));
    assert_eq!(rig.faults.counts(), HttpCounts { requests: 4, matched: 0, foreign: 0 });
}

#[test]
fn a_status_is_answered_here_and_the_connection_stays_usable() {
    let mut rig = Rig::with([at_path("/down", status(503))]);
    rig.up("POST /down HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo");
    assert_eq!(rig.said_down(), "", "not before the request is whole");
    rig.up("dy");
    assert_eq!((rig.said_up(), rig.said_down()), ("", SORRY));
    rig.up("POST /down HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    rig.up(GET);
    rig.down(OK);
    assert_eq!(rig.said_up(), GET);
    assert_eq!(rig.said_down(), format!("{SORRY}{SORRY}{OK}"));
    assert_eq!(rig.faults.counts(), HttpCounts { requests: 3, matched: 2, foreign: 0 });
    assert_eq!(rig.ends, []);
}

#[test]
fn a_status_waits_for_the_answers_before_it() {
    let mut rig = Rig::with([at_path("/down", status(503))]);
    rig.up(format!("{GET}GET /down HTTP/1.1\r\n\r\n{GET}"));
    assert_eq!((rig.said_up(), rig.said_down()), (&*format!("{GET}{GET}"), ""));
    rig.down(&OK[..OK.len() - 2]);
    assert_eq!(rig.said_down(), &OK[..OK.len() - 2]);
    rig.down(format!("{}{OK}", &OK[OK.len() - 2..]));
    assert_eq!(rig.said_down(), format!("{OK}{SORRY}{OK}"));
}

#[test]
fn a_status_to_head_has_no_body_and_one_to_a_last_request_closes() {
    let mut rig = Rig::with([fault(status(503))]);
    rig.up("HEAD / HTTP/1.1\r\n\r\n");
    assert!(rig.said_down().ends_with("\r\n\r\n"));
    rig.up("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(rig.said_down().contains("Connection: close\r\n\r\n503"));
    assert_eq!(rig.ends, [TapStep::End]);
    let mut old = Rig::with([fault(status(503))]);
    old.up("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.ends, [TapStep::End]);
}

#[test]
fn a_client_that_waits_for_100_gets_it_before_the_status() {
    let mut rig = Rig::with([fault(status(503))]);
    rig.up("PUT / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(rig.said_down(), "HTTP/1.1 100 Continue\r\n\r\n");
    rig.up("body");
    assert_eq!(rig.said_down(), format!("HTTP/1.1 100 Continue\r\n\r\n{SORRY}"));
    assert_eq!(rig.said_up(), "");
}

#[test]
fn a_head_that_drips_in_is_held_until_it_is_judged() {
    let mut rig = Rig::with([at_path("/down", status(503))]);
    for byte in "GET /down HTTP/1.1\r\nHost: x\r\n\r\n".bytes() {
        rig.up([byte]);
    }
    for byte in GET.bytes() {
        assert_eq!(rig.said_up(), "");
        rig.up([byte]);
    }
    assert_eq!((rig.said_up(), rig.said_down()), (GET, SORRY));
}

#[test]
fn a_fault_that_comes_within_a_head_does_not_tear_the_request() {
    let mut rig = Rig::default();
    rig.up(&GET[..10]);
    rig.faults.insert(ID, fault(status(503)), Seed(1).stream("http"));
    rig.up(&GET[10..]);
    assert_eq!((rig.said_up(), rig.faults.counts().matched), (GET, 0));
    rig.down(OK);
    rig.up(GET);
    assert_eq!((rig.said_up(), rig.said_down()), (GET, &*format!("{OK}{SORRY}")));
}

#[test]
fn a_delay_holds_the_head_back_and_all_behind_it() {
    let mut rig = Rig::with([at_path("/a", delay(300))]);
    rig.up(GET);
    rig.now = ms(10);
    rig.down("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(rig.said_down(), "HTTP/1.1 100 Continue\r\n\r\n", "an interim answer is none");
    rig.now = ms(20);
    rig.down(&OK[..12]);
    rig.now = ms(30);
    rig.down(&OK[12..]);
    assert_eq!(rig.wake, Some(ms(320)), "from the head's first byte");
    assert_eq!(rig.moments, [ms(10)]);
    rig.wake();
    assert!(rig.said_down().ends_with(OK) && rig.moments[1..].iter().all(|&at| at == ms(320)));
    assert_eq!(rig.tap.room_down(), HELD_DOWN);
}

#[test]
fn a_healed_delay_lets_go_at_once() {
    for cut in [5, 40] {
        let mut rig = Rig::with([fault(delay(300)), fault(delay(100))]);
        rig.up(GET);
        rig.down(&OK[..cut]);
        rig.faults.remove(ID);
        rig.tap.healed(ID);
        rig.ask();
        rig.down(&OK[cut..]);
        rig.faults.remove(HttpFaultId(2));
        rig.tap.healed(HttpFaultId(2));
        rig.ask();
        assert_eq!((rig.said_down(), rig.wake), (OK, None), "cut at {cut}");
    }
}

#[test]
fn much_behind_a_delay_is_back_pressure() {
    let mut rig = Rig::with([fault(delay(300))]);
    rig.up(GET);
    rig.down("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let mut shown = 0;
    while rig.tap.room_down() > 0 {
        let read = rig.tap.room_down().min(65_536);
        rig.down(vec![0; read]);
        shown += read;
    }
    assert!(shown <= HELD_DOWN);
}

#[test]
fn an_abort_resets_within_the_body() {
    let body = |share| {
        let mut rig = Rig::with([fault(abort(share))]);
        rig.up(GET);
        rig.down(OK);
        assert_eq!(rig.said_up(), GET, "the server has served it");
        assert_eq!(rig.ends, [TapStep::Reset]);
        rig.down("more");
        rig.said_down().rsplit_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap()
    };
    assert_eq!([0, 500, 1000].map(body), ["", "he", "hello"]);
}

#[test]
fn an_abort_of_a_chunked_body_never_lets_it_look_whole() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = |share, rest: &str| {
        let mut rig = Rig::with([fault(abort(share))]);
        rig.up(GET);
        rig.down(format!("{HEAD}{rest}"));
        assert_eq!(rig.ends, [TapStep::Reset], "{share}");
        rig.said_down()[HEAD.len()..].to_owned()
    };
    let two = "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    assert_eq!([0, 500, 1000].map(|share| body(share, two)), ["", "2\r\nab", "2\r\nab\r\n3\r\ncde"]);
    assert_eq!(body(500, "0\r\n\r\n"), "");
}

#[test]
fn an_abort_of_a_body_up_to_the_close_resets_in_place_of_the_fin() {
    let mut rig = Rig::with([fault(abort(1000))]);
    rig.up(GET);
    rig.down("HTTP/1.1 200 OK\r\n\r\nsome");
    assert_eq!(rig.ends, []);
    rig.finish_down();
    assert_eq!(rig.ends, [TapStep::Reset]);
}

#[test]
fn a_healed_abort_does_not_happen() {
    let mut rig = Rig::with([fault(abort(900))]);
    rig.up(format!("{GET}{GET}"));
    rig.down(&OK[..OK.len() - 4]);
    rig.faults.remove(ID);
    rig.tap.healed(ID);
    rig.down(&OK[OK.len() - 4..]);
    rig.down(OK);
    assert_eq!((rig.said_down(), &rig.ends[..]), (&*format!("{OK}{OK}"), &[][..]));
}

#[test]
fn answers_without_a_body_are_told_apart() {
    let mut rig = Rig::with([at_path("/down", status(503))]);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let none = "HTTP/1.1 204 No Content\r\n\r\n";
    let same = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    for (request, answer) in [("HEAD / HTTP/1.1\r\n\r\n", head), (GET, none), (GET, same)] {
        rig.up(request);
        rig.up("GET /down HTTP/1.1\r\n\r\n");
        let before = rig.down.len();
        rig.down(answer);
        assert_eq!(&rig.said_down()[before..], format!("{answer}{SORRY}"));
    }
}

#[test]
fn an_upgraded_connection_passes_blindly() {
    let mut rig = Rig::with([fault(delay(50))]);
    rig.faults.remove(ID);
    rig.faults.insert(ID, at_path("/down", status(503)), Seed(1).stream("http"));
    rig.up("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    rig.down("HTTP/1.1 101 Switching Protocols\r\n\r\n\x01\x02");
    assert_eq!((rig.tap.opaque_up(), rig.tap.opaque_down()), (u64::MAX, u64::MAX));
    assert_eq!(rig.up("GET /down HTTP/1.1\r\n\r\n"), Passage::Whole);
    assert_eq!(rig.faults.counts(), HttpCounts { requests: 1, matched: 0, foreign: 0 });

    let mut tunnel = Rig::default();
    tunnel.up("CONNECT a:443 HTTP/1.1\r\n\r\n");
    tunnel.down("HTTP/1.1 200 Connection established\r\n\r\n");
    tunnel.up("\x16\x03\x01");
    assert_eq!((tunnel.tap.opaque_up(), tunnel.faults.counts().foreign), (u64::MAX, 0));
}

#[test]
fn an_upgrade_that_is_declined_stays_http() {
    let mut rig = Rig::with([at_path("/down", status(503))]);
    rig.up("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    rig.down(OK);
    rig.up("GET /down HTTP/1.1\r\n\r\n");
    assert_eq!(rig.said_down(), format!("{OK}{SORRY}"));
}

#[test]
fn what_is_not_http_passes_untouched_and_is_counted_once() {
    let mut rig = Rig::with([fault(status(503))]);
    rig.up("*1\r\n$4\r\nPING\r\n");
    rig.down("+PONG\r\n");
    rig.up("*1\r\n$4\r\nPING\r\n");
    assert_eq!((rig.up.len(), rig.said_down()), (28, "+PONG\r\n"));
    assert_eq!(rig.faults.counts(), HttpCounts { requests: 0, matched: 0, foreign: 1 });

    let mut greets = Rig::with([fault(status(503))]);
    greets.down("220 mail\r\n");
    greets.up("EHLO me\r\n");
    assert_eq!((greets.said_up(), greets.said_down()), ("EHLO me\r\n", "220 mail\r\n"));
}

#[test]
fn an_endless_head_is_not_waited_for() {
    let mut rig = Rig::with([fault(status(503))]);
    let mut sent = String::from("GET / HTTP/1.1\r\nCookie: ");
    rig.up(&sent);
    for _ in 0..80 {
        let more = "x".repeat(1000);
        rig.up(&more);
        sent.push_str(&more);
    }
    assert_eq!(rig.said_up(), sent);
    assert_eq!(rig.faults.counts().foreign, 1);
}

#[test]
fn a_fin_comes_behind_what_is_held() {
    let mut rig = Rig::with([fault(delay(100))]);
    rig.up(GET);
    rig.up(&GET[..7]);
    rig.finish_up();
    assert_eq!((rig.said_up(), &rig.ends[..]), (&*format!("{GET}GET /a "), &[TapStep::FinUp][..]));
    rig.down(OK);
    rig.finish_down();
    assert_eq!(rig.ends.len(), 1);
    rig.wake();
    assert_eq!((rig.said_down(), &rig.ends[1..]), (OK, &[TapStep::FinDown][..]));
}

#[test]
fn a_body_may_go_round_the_tap() {
    let mut rig = Rig::with([at_path("/down", status(503))]);
    rig.up("PUT /a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(rig.tap.opaque_up(), 1_000_000);
    rig.tap.skipped_up(1_000_000);
    rig.up("GET /down HTTP/1.1\r\n\r\n");
    rig.down("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(rig.tap.opaque_down(), 1000);
    rig.tap.skipped_down(600);
    rig.tap.skipped_down(400);
    rig.ask();
    assert!(rig.said_down().ends_with(SORRY));
    assert_eq!(rig.faults.counts().requests, 2);
}

#[test]
fn idle_it_owns_no_buffer_and_is_small() {
    let mut rig = Rig::default();
    for _ in 0..100 {
        rig.up(GET);
        rig.down(OK);
    }
    assert!(rig.tap.up.head.is_empty() && rig.tap.up.queue.capacity() == 0);
    assert!(std::mem::size_of::<Tap>() <= 512, "{}", std::mem::size_of::<Tap>());
}

/// A request and its answer, as text, and whether its path is the faulted one.
#[derive(Clone, Debug)]
struct Pair {
    request: String,
    answer: String,
    faulted: bool,
}

fn body() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        Just((String::new(), String::new())),
        "[a-z]{0,40}".prop_map(|text| (format!("Content-Length: {}\r\n", text.len()), text)),
        prop::collection::vec("[a-z]{1,20}", 0..4).prop_map(|chunks| {
            let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{chunks}0\r\n\r\n"))
        }),
    ]
}

fn pair() -> impl Strategy<Value = Pair> {
    (body(), body(), any::<bool>(), 0..5u8).prop_map(|((head, body), (answer_head, answer_body), faulted, kind)| {
        let path = if faulted { "/down" } else { "/up" };
        let method = if kind == 0 { "HEAD" } else { "POST" };
        let answer = match kind {
            0 => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned(),
            1 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            2 => format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
            _ if answer_head.is_empty() => OK.to_owned(),
            _ => format!("HTTP/1.1 200 OK\r\n{answer_head}\r\n{answer_body}"),
        };
        Pair { request: format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}"), answer, faulted }
    })
}

/// Shows bytes in pieces of these sizes, in turn.
fn in_pieces(bytes: &[u8], sizes: &[usize], mut show: impl FnMut(&[u8])) {
    let (mut at, mut turn) = (0, 0);
    while at < bytes.len() {
        let end = (at + sizes[turn % sizes.len()]).min(bytes.len());
        show(&bytes[at..end]);
        (at, turn) = (end, turn + 1);
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..200usize, Just(10_000)], 1..8)
}

fn effect() -> impl Strategy<Value = HttpEffect> {
    prop_oneof![Just(status(503)), (0..=1000u16).prop_map(abort), (0..500u64).prop_map(delay)]
}

proptest! {
    #[test]
    fn traffic_that_no_fault_matches_passes_byte_by_byte(
        pairs in prop::collection::vec(pair(), 1..8), up in sizes(), down in sizes(), effect in effect(), none: bool,
    ) {
        let mut rig = if none { Rig::default() } else { Rig::with([at_path("/never", effect)]) };
        let requests: String = pairs.iter().map(|pair| &*pair.request).collect();
        let answers: String = pairs.iter().map(|pair| &*pair.answer).collect();
        in_pieces(requests.as_bytes(), &up, |piece| {
            let passage = rig.up(piece);
            assert!(!none || passage == Passage::Whole);
        });
        in_pieces(answers.as_bytes(), &down, |piece| {
            let passage = rig.down(piece);
            assert_eq!(passage, Passage::Whole);
        });
        prop_assert_eq!(rig.said_up(), requests);
        prop_assert_eq!(rig.said_down(), answers);
        prop_assert_eq!(rig.faults.counts(), HttpCounts { requests: pairs.len() as u64, matched: 0, foreign: 0 });
        prop_assert!(rig.tap.exchanges.front().is_none());
    }

    #[test]
    fn every_request_gets_its_own_answer_in_order(
        pairs in prop::collection::vec(pair(), 1..8), up in sizes(), down in sizes(), pipelined: bool,
    ) {
        let mut rig = Rig::with([at_path("/down", status(503))]);
        let mut want = String::new();
        let mut passing = String::new();
        let group = if pipelined { pairs.len() } else { 1 };
        for pairs in pairs.chunks(group) {
            let requests: String = pairs.iter().map(|pair| &*pair.request).collect();
            let answers: String = pairs.iter().filter(|pair| !pair.faulted).map(|pair| &*pair.answer).collect();
            in_pieces(requests.as_bytes(), &up, |piece| { rig.up(piece); });
            in_pieces(answers.as_bytes(), &down, |piece| { rig.down(piece); });
            for pair in pairs {
                if pair.faulted {
                    let end = if pair.request.starts_with("HEAD") { SORRY.len() - 24 } else { SORRY.len() };
                    want.push_str(&SORRY[..end]);
                } else {
                    passing.push_str(&pair.request);
                    want.push_str(&pair.answer);
                }
            }
        }
        prop_assert_eq!(rig.said_up(), passing);
        prop_assert_eq!(rig.said_down(), want);
    }

    #[test]
    fn any_bytes_are_borne(
        up in prop::collection::vec(any::<u8>(), 0..300), words in prop::collection::vec(0..8usize, 0..40),
        up_sizes in sizes(), down_sizes in sizes(), effects in prop::collection::vec(effect(), 0..3), heal in 0..40usize,
    ) {
        const WORDS: [&str; 8] = [
            GET, OK, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "\r\n", "0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5;x\r\nhello\r\n", "HTTP/1.1 101 S\r\n\r\n",
        ];
        let mut rig = Rig::with(effects.into_iter().map(fault));
        let mut text: Vec<u8> = words.iter().flat_map(|&word| WORDS[word].bytes()).collect();
        text.extend(up);
        let (mut turn, now) = (0, &mut 0);
        in_pieces(&text, &up_sizes, |piece| {
            turn += 1;
            *now += 7;
            rig.now = rig.now.max(ms(*now));
            rig.up(piece);
            let from = text.len().saturating_sub(turn * 40);
            in_pieces(&text[from..(from + 40).min(text.len())], &down_sizes, |piece| { rig.down(piece); });
            if turn == heal {
                rig.faults.remove(ID);
                rig.tap.healed(ID);
                rig.ask();
            }
        });
        rig.finish_up();
        rig.finish_down();
        rig.wake();
        let last = rig.ends.last();
        prop_assert!(matches!(last, Some(TapStep::Reset | TapStep::End | TapStep::FinDown)), "{:?}", rig.ends);
    }
}
