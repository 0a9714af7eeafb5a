//! Against a server on loopback that answers byte for byte what a test wants.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::permit::Permit;
use crate::plan::RetryPolicy;
use crate::plan::workload::{Append, Arrival, Insert, Register, Workload};
use crate::seed::Seed;
use crate::units::{Bytes, Rate, Share, Span};
use crate::workload::Sink;
use crate::workload::operations::Operations;

/// What the server does with a connection's n-th request, counted over all connections.
#[derive(Clone)]
enum Reply {
    Say(&'static str),
    /// Nothing, for ever.
    Silence,
    /// This much, then the end of the connection.
    Abort(&'static str),
    /// This much, then a reset.
    Reset(&'static str),
}

struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), replies.clone()));
            }
        });
        Server { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>, replies: Vec<Reply>) {
    while let Some(request) = read_request(&mut stream).await {
        let index = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            (seen.len() - 1).min(replies.len() - 1)
        };
        match replies[index] {
            Reply::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Reply::Silence => std::future::pending().await,
            Reply::Abort(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Reply::Reset(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

/// Head and body of the next request, or none at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = vec![];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => request.extend_from_slice(&chunk[..n]),
        }
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn attempt(&self, _: crate::event::Attempt) {}
    fn dropped(&self) -> u64 {
        0
    }
}

fn spec(operation: Operation, target: &str, endpoint: Option<&str>) -> LoadSpec {
    let clock = RunClock::start();
    LoadSpec {
        name: "w".into(),
        plan: workload(operation),
        target: target.into(),
        endpoint: endpoint.map(|text| text.parse().unwrap()),
        named: None,
        link: None,
        seed: Seed(7),
        clock,
        begin: clock.now(),
        end: clock.now(),
        sink: Arc::new(Nowhere),
        conn_of: Arc::new(|local| Some(u64::from(local.port()))),
        permit: Permit::default(),
        max_rate: None,
    }
}

fn workload(operation: Operation) -> Workload {
    Workload {
        to: "db".into(),
        labels: Default::default(),
        client: crate::plan::workload::Client::Http(settings()),
        arrival: Arrival::Constant(Rate::per_second(1.0).unwrap()),
        operation,
        attempt_timeout: Span(Duration::from_millis(200)),
        deadline: Span(Duration::from_secs(1)),
        retry: RetryPolicy::none(),
        max_in_flight: 100,
    }
}

fn settings() -> HttpClient {
    HttpClient {
        connect_timeout: None,
        pool_max_idle: 16,
        pool_idle_timeout: Span(Duration::from_secs(90)),
        ca: None,
        resolve: Default::default(),
        tls: Default::default(),
    }
}

fn register() -> Operation {
    Operation::Register(Register { keys: 1, reads: Share::NONE })
}

fn get(path: &str) -> crate::plan::workload::Request {
    crate::plan::workload::Request {
        method: "GET".into(),
        path: path.into(),
        headers: Default::default(),
        body: None,
        ok: OkWhen { status: vec![(200, 299)], body_contains: None },
        class: "read".into(),
        place_header: "x-place".into(),
    }
}

struct Bench {
    http: Http,
    operations: Operations,
}

impl Bench {
    fn new(operation: Operation, target: &str) -> Bench {
        Bench::of(&spec(operation, target, None))
    }

    fn of(spec: &LoadSpec) -> Bench {
        let http = Http::new(&settings(), spec, None, 1).unwrap();
        Bench { http, operations: Operations::new(&spec.plan.operation, "w", Seed(7).stream("w")) }
    }

    /// One attempt within 200 ms, as the loop does it.
    async fn attempt(&self, op: u64) -> (Answer, Arc<Progress>) {
        let job = self.operations.job(op);
        let progress = Arc::new(Progress::default());
        let value = self.operations.value(&job, op, 1);
        let call = Call { op, attempt: 1, job: &job, value, operations: &self.operations };
        let attempt = self.http.attempt(call, Arc::clone(&progress));
        let answer = match tokio::time::timeout(Duration::from_millis(200), attempt).await {
            Ok(answer) => answer,
            Err(_) => Answer::new(Outcome::Timeout, progress.applied()),
        };
        (answer, progress)
    }
}

const OK: Reply = Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");

#[tokio::test]
async fn a_pooled_connection_serves_many_attempts_and_tells_its_number() {
    let server = Server::start(vec![OK]).await;
    let bench = Bench::new(register(), &server.address.to_string());
    let (first, made) = bench.attempt(0).await;
    let (second, reused) = bench.attempt(1).await;
    assert_eq!((first.outcome, first.applied, first.code), (Outcome::Ok, Applied::Yes, Some(200)));
    assert_eq!(first.place.as_deref(), Some(&*server.address.to_string()), "no header: the address reached");
    assert!(made.connected_at().is_some() && made.first_byte_at() >= made.connected_at());
    assert_eq!(reused.connected_at(), None, "it had a connection");
    assert!(made.conn().is_some() && made.conn() == reused.conn());
    assert_eq!(second.outcome, Outcome::Ok);
}

#[tokio::test]
async fn keyed_operations_speak_the_documented_interface() {
    let replaced = "HTTP/1.1 200 OK\r\nx-replaced: 3.1\r\nx-place: a#2\r\ncontent-length: 0\r\n\r\n";
    let cases: [(Operation, Reply, &str, Answer); 6] = [
        (
            register(),
            Reply::Say(replaced),
            "PUT /kv/w-0 HTTP/1.1",
            Answer { replaced: Some("3.1".into()), ..Answer::ok() },
        ),
        (
            register(),
            Reply::Say("HTTP/1.1 200 OK\r\nx-replaced: \r\ncontent-length: 0\r\n\r\n"),
            "PUT /kv/w-0 HTTP/1.1",
            Answer { replaced: Some("".into()), ..Answer::ok() },
        ),
        (
            Operation::Register(Register { keys: 1, reads: Share::ALL }),
            Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n3.1"),
            "GET /kv/w-0 HTTP/1.1",
            Answer { value: Some("3.1".into()), ..Answer::ok() },
        ),
        (
            Operation::Insert(Insert { reads: Share::NONE }),
            Reply::Say("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"),
            "POST /kv/w-0 HTTP/1.1",
            Answer { code: Some(201), ..Answer::ok() },
        ),
        (Operation::Append(Append { keys: 1, reads: Share::NONE }), OK, "POST /list/w-0 HTTP/1.1", Answer::ok()),
        (
            Operation::Append(Append { keys: 1, reads: Share::ALL }),
            Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n1.1\n2.1\n"),
            "GET /list/w-0 HTTP/1.1",
            Answer { value: Some("1.1,2.1".into()), ..Answer::ok() },
        ),
    ];
    for (operation, reply, request, expected) in cases {
        let server = Server::start(vec![reply]).await;
        let (answer, _) = Bench::new(operation, &server.address.to_string()).attempt(0).await;
        let seen = server.requests().remove(0);
        assert!(seen.starts_with(request), "{seen}");
        let code = expected.code.or(Some(200));
        assert_eq!(answer, Answer { code, place: answer.place.clone(), ..expected }, "{request}");
    }
    let server = Server::start(vec![Reply::Say(replaced)]).await;
    let (answer, _) = Bench::new(register(), &server.address.to_string()).attempt(0).await;
    assert_eq!(answer.place.as_deref(), Some("a#2"));
    assert!(server.requests()[0].ends_with("\r\n\r\n0.1"), "the value is the body");
}

#[tokio::test]
async fn error_answers_have_an_outcome_and_say_whether_they_are_definite() {
    use Applied::{No, Unknown};
    let read = Operation::Register(Register { keys: 1, reads: Share::ALL });
    let insert = Operation::Insert(Insert { reads: Share::NONE });
    let request = Operation::Request(Box::new(get("/")));
    let cases = [
        (register(), 404, Outcome::Error, No),
        (register(), 408, Outcome::Timeout, Unknown),
        (register(), 429, Outcome::Throttled, No),
        (register(), 500, Outcome::Error, Unknown),
        (register(), 502, Outcome::Unavailable, Unknown),
        (register(), 503, Outcome::Unavailable, Unknown),
        (register(), 504, Outcome::Unavailable, Unknown),
        (register(), 409, Outcome::Unavailable, No),
        (register(), 421, Outcome::Unavailable, No),
        (insert, 409, Outcome::Error, No),
        (request.clone(), 409, Outcome::Error, No),
        (request, 302, Outcome::Error, Unknown),
        (read, 404, Outcome::Ok, Applied::Yes),
    ];
    for (operation, code, outcome, applied) in cases {
        let reply = format!("HTTP/1.1 {code} X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").leak();
        let server = Server::start(vec![Reply::Say(reply)]).await;
        let (answer, _) = Bench::new(operation, &server.address.to_string()).attempt(0).await;
        assert_eq!((answer.outcome, answer.applied, answer.code), (outcome, applied, Some(code)));
        assert_eq!(server.requests().len(), 1, "no redirect followed, nothing sent twice");
    }
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let reply = "HTTP/1.1 503 X\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(vec![Reply::Say(reply)]).await;
    let (answer, _) = Bench::new(register(), &server.address.to_string()).attempt(0).await;
    assert_eq!(answer.retry_after, Some(Duration::from_secs(2)));
}

#[tokio::test]
async fn what_is_no_answer_has_an_outcome_by_its_cause() {
    use Applied::Unknown;
    let cases = [
        ("closed before the answer", Reply::Abort(""), Outcome::Reset, Unknown),
        ("closed in the head", Reply::Abort("HTTP/1.1 200 OK\r\n"), Outcome::Reset, Unknown),
        (
            "closed in the body",
            Reply::Abort("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
            Outcome::Reset,
            Unknown,
        ),
        (
            "reset in the body",
            Reply::Reset("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
            Outcome::Reset,
            Unknown,
        ),
        ("not HTTP", Reply::Say("* OK IMAP4rev1 ready\r\n\r\n"), Outcome::Protocol, Unknown),
        ("no answer", Reply::Silence, Outcome::Timeout, Unknown),
    ];
    for (name, reply, outcome, applied) in cases {
        let server = Server::start(vec![reply]).await;
        let (answer, _) = Bench::new(register(), &server.address.to_string()).attempt(0).await;
        assert_eq!((answer.outcome, answer.applied), (outcome, applied), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn what_never_connected_was_not_applied() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (refused, _) = Bench::new(register(), &closed.to_string()).attempt(0).await;
    assert_eq!((refused.outcome, refused.applied), (Outcome::Refused, Applied::No), "{refused:?}");

    let (unknown, _) = Bench::new(register(), "no-such-host.invalid:80").attempt(0).await;
    assert_eq!(unknown.applied, Applied::No, "{unknown:?}");
    // A resolver that does not answer within the time-out is as good as one that says no.
    assert!(matches!(unknown.outcome, Outcome::Dns | Outcome::Timeout), "{unknown:?}");

    // A backlog of one that is full: the kernel does not answer further SYNs.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let (silent, progress) = Bench::new(register(), &address.to_string()).attempt(0).await;
    assert_eq!((silent.outcome, silent.applied), (Outcome::Timeout, Applied::No), "{silent:?}");
    assert_eq!(progress.connected_at(), None);
}

#[tokio::test]
async fn a_timed_out_attempt_leaves_no_half_used_connection_in_the_pool() {
    let late = Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate");
    let server = Server::start(vec![Reply::Silence, late]).await;
    let bench = Bench::new(Operation::Request(Box::new(get("/{op}"))), &server.address.to_string());
    let (first, one) = bench.attempt(0).await;
    let (second, two) = bench.attempt(1).await;
    assert_eq!((first.outcome, second.outcome), (Outcome::Timeout, Outcome::Ok));
    assert!(one.connected_at().is_some() && two.connected_at().is_some(), "each made its own");
}

#[tokio::test]
async fn a_request_is_filled_in_and_its_body_is_searched() {
    let mut request = get("/orders/{op}?try={attempt}&r={random}");
    request.method = "POST".into();
    request.body = Some("order {op}".into());
    request.headers.insert("x-id".into(), Value::Text("{op}-{attempt}".into()));
    request.headers.insert("authorization".into(), Value::Secret(Secret::Env("PATH".into())));
    request.ok.body_contains = Some("accepted".into());
    let said = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nit: accepted";
    let server = Server::start(vec![Reply::Say(said), OK]).await;
    let bench = Bench::new(Operation::Request(Box::new(request)), &server.address.to_string());
    assert_eq!(bench.attempt(7).await.0.outcome, Outcome::Ok);
    let lacking = bench.attempt(8).await.0;
    assert_eq!((lacking.outcome, lacking.code), (Outcome::Error, Some(200)));
    let seen = server.requests().remove(0);
    assert!(seen.starts_with("POST /orders/7?try=1&r="), "{seen}");
    assert!(seen.contains("x-id: 7-1\r\n") && seen.ends_with("order 7"), "{seen}");
    assert!(seen.contains(&format!("authorization: {}\r\n", std::env::var("PATH").unwrap())), "{seen}");
}

#[tokio::test]
async fn an_endpoint_is_asked_by_its_own_name_and_below_its_own_path() {
    let path = |url: &str, path: &str| url.parse::<crate::plan::Endpoint>().unwrap().path_of(path);
    let cases = [
        // A name, which the resolver would not find: its requests go to the target all the same.
        ("http://shop.example", get(""), "GET / ", "shop.example"),
        ("http://shop.example:80/health?deep=1", get(""), "GET /health?deep=1 ", "shop.example"),
        ("http://shop.example:8080/shop/", get("/orders/{op}"), "GET /shop/orders/7 ", "shop.example:8080"),
        ("shop.example:8080", get(""), "GET / ", "shop.example:8080"),
        // Addresses, which are dialled by nobody: they are in TEST-NET-1 and in the documentation's part of IPv6.
        ("http://192.0.2.1", get(""), "GET / ", "192.0.2.1"),
        ("http://[2001:db8::1]:81/x", get(""), "GET /x ", "[2001:db8::1]:81"),
    ];
    for (url, mut request, line, host) in cases {
        let server = Server::start(vec![OK]).await;
        request.path = path(url, &request.path);
        let target = server.address.to_string();
        let bench = Bench::of(&spec(Operation::Request(Box::new(request)), &target, Some(url)));
        let (answer, progress) = bench.attempt(7).await;
        assert_eq!(answer.outcome, Outcome::Ok, "{url}: {answer:?}");
        assert_eq!(answer.place.as_deref(), Some(&*target), "{url}");
        assert!(progress.conn().is_some());
        let seen = server.requests().remove(0);
        assert!(seen.starts_with(line) && seen.contains(&format!("host: {host}\r\n")), "{url}: {seen}");
        assert_eq!(seen.matches("host: ").count(), 1, "{seen}");
    }
    let server = Server::start(vec![OK]).await;
    let mut request = get("/");
    request.headers.insert("Host".into(), Value::Text("other.example".into()));
    let own = spec(Operation::Request(Box::new(request)), &server.address.to_string(), Some("http://shop.example"));
    Bench::of(&own).attempt(0).await;
    assert!(server.requests()[0].contains("host: other.example\r\n"), "the request's own header goes first");
    assert_eq!(server.requests()[0].matches("host: ").count(), 1);

    for (operation, line) in
        [(register(), "PUT /shop/kv/w-0 "), (Operation::Echo { size: Bytes(4) }, "POST /shop/echo ")]
    {
        let server = Server::start(vec![OK]).await;
        let below = spec(operation, &server.address.to_string(), Some("http://shop.example/shop"));
        Bench::of(&below).attempt(0).await;
        assert!(server.requests()[0].starts_with(line), "{:?}", server.requests());
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_a_request_elsewhere() {
    let elsewhere = Server::start(vec![OK]).await;
    let moved = format!("HTTP/1.1 301 X\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", elsewhere.address);
    let server = Server::start(vec![Reply::Say(moved.leak())]).await;
    let mut request = get("/");
    let target = server.address.to_string();
    let (answer, _) = Bench::new(Operation::Request(Box::new(request.clone())), &target).attempt(0).await;
    assert_eq!((answer.outcome, answer.code), (Outcome::Error, Some(301)));
    assert!(answer.why.unwrap().contains("not followed"));
    request.ok.status = vec![(200, 399)];
    let (answer, _) = Bench::new(Operation::Request(Box::new(request)), &target).attempt(0).await;
    assert_eq!((answer.outcome, answer.applied), (Outcome::Ok, Applied::Yes));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn an_echo_must_come_back() {
    let echo = Operation::Echo { size: Bytes(4) };
    let server = Server::start(vec![
        Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"),
        Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcX"),
    ])
    .await;
    let bench = Bench::new(echo, &server.address.to_string());
    assert_eq!(bench.attempt(0).await.0.outcome, Outcome::Ok);
    assert_eq!(bench.attempt(1).await.0.outcome, Outcome::Protocol);
    assert!(server.requests()[0].starts_with("POST /echo HTTP/1.1"));
}

#[tokio::test]
async fn an_address_that_is_not_permitted_is_not_dialled() {
    let make = |target: &str| {
        Http::new(&settings(), &LoadSpec { permit: Permit::when(|_| false), ..spec(register(), target, None) }, None, 1)
    };
    assert!(matches!(make("127.0.0.1:80"), Err(LoadError::Target { .. })), "an address is refused at once");
    let http = make("localhost:1").unwrap();
    let operations = Operations::new(&register(), "w", Seed(7).stream("w"));
    let job = operations.job(0);
    let call = Call { op: 0, attempt: 1, job: &job, value: None, operations: &operations };
    let answer = http.attempt(call, Arc::default()).await;
    assert_eq!((answer.outcome, answer.applied), (Outcome::Unreachable, Applied::No), "{answer:?}");
    assert!(answer.why.unwrap().contains("not permitted"));
}

#[test]
fn places_are_held_once_and_not_without_bound() {
    let places = Places::default();
    let of = |name: &str| places.of_header(&HeaderValue::from_str(name).unwrap()).unwrap();
    assert!(Arc::ptr_eq(&of("a#1"), &of("a#1")));
    (0..1000).for_each(|n| assert_eq!(&*of(&format!("b#{n}")), format!("b#{n}")));
    assert!(places.seen.lock().unwrap().len() <= Places::MOST);
}

#[tokio::test]
async fn an_attempt_without_an_answer_knows_the_connection_that_was_made_for_it() {
    for reply in [Reply::Silence, Reply::Reset("HTTP/1.1 2")] {
        let server = Server::start(vec![reply]).await;
        let bench = Bench::new(register(), &server.address.to_string());
        let (answer, progress) = bench.attempt(0).await;
        assert_eq!(answer.applied, Applied::Unknown, "{answer:?}");
        assert!(progress.connected_at().is_some() && progress.conn().is_some(), "{answer:?}");
    }
}
