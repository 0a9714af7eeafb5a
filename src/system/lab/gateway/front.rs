//! The address that clients keep: it passes requests to any router that is well, and orders to the control ring.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::READ_ONLY;
use super::router::{not_a_path, request};
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, HttpError, serve, text, unavailable};
use crate::system::lab::kv::{passed_on, stamp};
use crate::system::lab::wire::INTERNAL;
use crate::system::lab::{Body, Ground, Live};

/// A front, alive.
#[derive(Debug)]
pub struct Front {
    name: String,
    role: &'static str,
    incarnation: u64,
    read_only: bool,
    scale_out: bool,
    heartbeat: Duration,
    patience: Duration,
    well: Vec<Well>,
    turn: AtomicUsize,
    reads: AtomicUsize,
}

/// What it knows of a router.
#[derive(Debug, Default)]
struct Well {
    /// It answers.
    answers: AtomicBool,
    /// It knows where requests go.
    routes: AtomicBool,
}

impl Front {
    async fn run(
        self: Arc<Front>,
        listener: std::net::TcpListener,
        routers: Vec<SocketAddr>,
        control: Vec<SocketAddr>,
        inside: Inside,
    ) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = self.name, %error, "cannot listen"),
        };
        let clients = |addresses: &[SocketAddr]| -> Arc<Vec<Client>> {
            Arc::new(addresses.iter().map(|address| Client::new(*address, inside.sockets.clone())).collect())
        };
        // Who is asked whether he is well is asked on a connection of its own.
        let (asked, routers, control) = (clients(&routers), clients(&routers), clients(&control));
        let front = Arc::clone(&self);
        let handler = move |request| Arc::clone(&front).answer(Arc::clone(&routers), Arc::clone(&control), request);
        for router in 0..asked.len() {
            tokio::spawn(Arc::clone(&self).watch(router, Arc::clone(&asked)));
        }
        serve(listener, inside, handler).await;
    }

    /// Whether requests have somewhere to go.
    pub fn ready(&self) -> bool {
        self.well.iter().all(|well| well.routes.load(Ordering::Relaxed))
    }

    /// Asks a router whether it is well, again and again.
    async fn watch(self: Arc<Front>, router: usize, clients: Arc<Vec<Client>>) {
        let (well, client) = (&self.well[router], &clients[router]);
        loop {
            let health = Request::get("/health").body(Bytes::new()).expect("the path is a valid one");
            match timeout(self.patience, client.send(health)).await {
                Ok(Ok(answer)) => {
                    well.routes.store(answer.status() == StatusCode::OK, Ordering::Relaxed);
                    well.answers.store(true, Ordering::Relaxed);
                }
                // A refusal is as good as a silence of the whole patience.
                _ => {
                    client.forget_idle();
                    well.routes.store(false, Ordering::Relaxed);
                    well.answers.store(false, Ordering::Relaxed);
                }
            }
            sleep(self.heartbeat).await;
        }
    }

    async fn answer(
        self: Arc<Front>,
        routers: Arc<Vec<Client>>,
        control: Arc<Vec<Client>>,
        request: Request<Bytes>,
    ) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        match (head.method, head.uri.path()) {
            (_, "/health") if self.well.iter().any(|well| well.routes.load(Ordering::Relaxed)) => {
                text(StatusCode::OK, "well\n")
            }
            (_, "/health") => self.unavailable("no router knows who serves"),
            (Method::POST, "/failover") => self.order(&control).await,
            (method, path) => self.forward(&routers, &method, path, body).await,
        }
    }

    /// One router after the other, as long as the request has not reached any.
    async fn forward(&self, routers: &[Client], method: &Method, path: &str, body: Bytes) -> Response<Bytes> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..routers.len()).map(|next| (first + next) % routers.len());
        let (well, others): (Vec<usize>, Vec<usize>) =
            in_turn.partition(|router| self.well[*router].answers.load(Ordering::Relaxed));
        let every_other = || self.reads.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let reads_elsewhere = self.read_only || self.scale_out && *method == Method::GET && every_other();
        let header = reads_elsewhere.then_some((READ_ONLY, "1"));
        let mut why = "no router".to_owned();
        for router in well.into_iter().chain(others) {
            let Some(request) = request(method, path, body.clone(), header) else { return not_a_path() };
            match routers[router].send(request).await {
                Ok(answer) => return passed_on(answer),
                Err(HttpError::Connect { source, .. }) => why = format!("no router: {source}"),
                // It may have been passed on.
                Err(error) => return self.unavailable(&error.to_string()),
            }
        }
        self.unavailable(&why)
    }

    /// A user orders a failover: the control node that leads decides.
    async fn order(&self, control: &[Client]) -> Response<Bytes> {
        for client in control {
            let order = Request::post(format!("{INTERNAL}order")).body(Bytes::from_static(b"\"restart\""));
            let order = order.expect("the path is a valid one");
            match timeout(self.patience, client.send(order)).await {
                Ok(Ok(answer)) if answer.status() != StatusCode::MISDIRECTED_REQUEST => {
                    let retry_after = answer.headers().get(http::header::RETRY_AFTER).cloned();
                    let mut passed = passed_on(answer);
                    if let Some(retry_after) = retry_after {
                        passed.headers_mut().insert(http::header::RETRY_AFTER, retry_after);
                    }
                    return passed;
                }
                _ => {}
            }
        }
        self.unavailable("no control node leads: nothing can be ordered now")
    }

    fn unavailable(&self, why: &str) -> Response<Bytes> {
        let mut answer = unavailable(why);
        stamp(&mut answer, &self.name, self.incarnation);
        answer
    }
}

/// A front and what stays of it.
#[derive(Debug)]
pub struct FrontBody {
    /// Its role, as its label says.
    pub role: &'static str,
    /// Whether what comes here only reads.
    pub read_only: bool,
    /// Whether every other request that only reads may go to a secondary.
    pub scale_out: bool,
    /// Behind it.
    pub routers: Vec<String>,
    /// To whom orders go; nobody if it takes none.
    pub control: Vec<String>,
    /// How often a router is asked whether it is well.
    pub heartbeat: Duration,
    /// How long it may take to say so.
    pub patience: Duration,
    /// How often it was started.
    pub incarnation: u64,
    /// Who asks it.
    pub live: Live<Front>,
}

impl Body for FrontBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        self.incarnation += 1;
        let hops = |names: &[String]| names.iter().map(|name| ground.hop(name)).collect::<io::Result<Vec<_>>>();
        let (routers, control) = (hops(&self.routers)?, hops(&self.control)?);
        let front = Arc::new(Front {
            name: ground.name.clone(),
            role: self.role,
            incarnation: self.incarnation,
            read_only: self.read_only,
            scale_out: self.scale_out,
            heartbeat: self.heartbeat,
            patience: self.patience,
            well: routers.iter().map(|_| Well::default()).collect(),
            turn: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        });
        self.live.set(&front);
        Host::start(&ground.name, move |inside| front.run(ground.listener, routers, control, inside))
    }

    fn ended(&mut self) {
        self.live.take();
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|front| front.role)
    }
}
