//! A router: sends each request to the node that its route names, and lets go of those whose node is replaced.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use indexmap::IndexMap;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{EPOCH, READ_ONLY, Route, TERM};
use crate::event::{Milestone, What};
use crate::system::Teller;
use crate::system::lab::host::{Host, Inside};
use crate::system::lab::http::{Client, NewConnection, serve, text, unavailable};
use crate::system::lab::kv::{passed_on, stamp};
use crate::system::lab::wire::{INTERNAL, reply, said};
use crate::system::lab::{Body, Ground, Live};

/// A router, alive.
#[derive(Debug)]
pub struct Router {
    name: String,
    incarnation: u64,
    teller: Teller,
    route: watch::Sender<Option<Route>>,
    /// Whether the answer of a node that was replaced is dropped. Off is broken on purpose.
    fencing: bool,
    /// Whether it follows to another primary. Off is broken on purpose.
    redirects: bool,
    /// The term of the last primary that answered a request over a connection made for it.
    reconnected: AtomicU64,
    turn: AtomicUsize,
}

/// The nodes that it can send to.
type Upstreams = Arc<IndexMap<String, Client>>;

impl Router {
    async fn run(self: Arc<Router>, listener: std::net::TcpListener, nodes: Vec<(String, SocketAddr)>, inside: Inside) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(node = self.name, %error, "cannot listen"),
        };
        let client = |(name, address)| (name, Client::new(address, inside.sockets.clone()));
        let upstreams: Upstreams = Arc::new(nodes.into_iter().map(client).collect());
        let handler = move |request| Arc::clone(&self).answer(Arc::clone(&upstreams), request);
        serve(listener, inside, handler).await;
    }

    /// Whether it knows where requests go.
    pub fn ready(&self) -> bool {
        self.route.borrow().as_ref().is_some_and(|route| route.writes.is_some())
    }

    async fn answer(self: Arc<Router>, upstreams: Upstreams, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/health" if self.ready() => text(StatusCode::OK, "well\n"),
            "/health" => self.unavailable("nobody serves"),
            path if path.starts_with(INTERNAL) => reply(&body, |route: Route| said(&self.follow(route))),
            path if head.headers.contains_key(READ_ONLY) => self.read(&upstreams, &head.method, path, body).await,
            _ => self.forward(&upstreams, &head, body).await,
        }
    }

    /// The control ring tells the route.
    fn follow(&self, route: Route) {
        let mut redirected = None;
        self.route.send_if_modified(|known| {
            let stays = |known: &Route| !self.redirects && known.writes.is_some();
            let news =
                known.as_ref().is_none_or(|known| !stays(known) && known.stamp <= route.stamp && *known != route);
            if news {
                if known.is_none() {
                    // With whom it finds first it is not connected *again*.
                    self.reconnected.fetch_max(route.term, Ordering::Relaxed);
                }
                let before = known.as_ref().and_then(|known| known.writes.as_ref().map(|_| known.term));
                redirected = route.writes.clone().filter(|_| before != Some(route.term));
                *known = Some(route);
            }
            news
        });
        if let Some(node) = redirected {
            self.tell(Milestone::Redirected, node);
        }
    }

    /// Reads and writes go to the one that the route names, and are let go of when another takes its place.
    async fn forward(&self, upstreams: &Upstreams, head: &Parts, body: Bytes) -> Response<Bytes> {
        let (method, path, epoch) = (&head.method, head.uri.path(), head.headers.get(EPOCH));
        let mut route = self.route.subscribe();
        let Some((node, term)) = writes(&route.borrow_and_update()) else { return self.unavailable("nobody serves") };
        let Some(client) = upstreams.get(&node) else { return self.unavailable("the route names nobody here") };
        let replaced = async {
            let stays = |now: &Option<Route>| !self.fencing || now.as_ref().is_some_and(|now| now.term == term);
            // Without a sender the router is gone, and this with it.
            let _ = route.wait_for(|now| !stays(now)).await;
        };
        let term_text = term.to_string();
        let epoch = epoch.and_then(|epoch| Some((EPOCH, epoch.to_str().ok()?)));
        let headers = [(TERM, term_text.as_str())].into_iter().chain(epoch);
        let Some(request) = request(method, path, body, headers) else { return not_a_path() };
        tokio::select! {
            answer = client.send(request) => match answer {
                Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => {
                    self.unavailable("it serves no more, and nobody else yet")
                }
                Ok(answer) => {
                    let new = answer.extensions().get::<NewConnection>().is_some();
                    if new && self.reconnected.fetch_max(term, Ordering::Relaxed) < term {
                        self.tell(Milestone::Reconnected, node);
                    }
                    passed_on(answer)
                }
                Err(error) => self.unavailable(&error.to_string()),
            },
            () = replaced => self.unavailable("replaced meanwhile"),
        }
    }

    /// A read goes to the next secondary that answers it; to one that is lost meanwhile it is not waited for.
    async fn read(&self, upstreams: &Upstreams, method: &Method, path: &str, body: Bytes) -> Response<Bytes> {
        if *method != Method::GET {
            return text(StatusCode::FORBIDDEN, "read-only: writes go to the gateway\n");
        }
        let mut route = self.route.subscribe();
        let known = route.borrow_and_update().clone();
        let Some(known) = known else { return self.unavailable("nobody serves") };
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..known.reads.len()).map(|next| &known.reads[(first + next) % known.reads.len()]);
        for node in in_turn.chain(known.writes.iter()) {
            let Some(client) = upstreams.get(node) else { continue };
            let Some(request) = request(method, path, body.clone(), [(READ_ONLY, "1")]) else {
                return not_a_path();
            };
            let lost = async {
                let named = |now: &Route| now.reads.contains(node) || now.writes.as_ref() == Some(node);
                let _ = route.wait_for(|now| !now.as_ref().is_some_and(named)).await;
            };
            let answer = tokio::select! {
                answer = client.send(request) => answer,
                () = lost => continue,
            };
            match answer {
                Ok(answer) if answer.status() != StatusCode::MISDIRECTED_REQUEST => return passed_on(answer),
                _ => {}
            }
        }
        self.unavailable("nobody answers reads")
    }

    fn tell(&self, milestone: Milestone, node: String) {
        self.teller.tell(What::Milestone { milestone, node, source: "lab".to_owned() });
    }

    fn unavailable(&self, why: &str) -> Response<Bytes> {
        let mut answer = unavailable(why);
        stamp(&mut answer, &self.name, self.incarnation);
        answer
    }
}

fn writes(route: &Option<Route>) -> Option<(String, u64)> {
    let route = route.as_ref()?;
    Some((route.writes.clone()?, route.term))
}

/// A request to pass on, with headers of our own; none if nothing can be sent to such a path.
pub fn request<'a>(
    method: &Method,
    path: &str,
    body: Bytes,
    headers: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> Option<Request<Bytes>> {
    let request = Request::builder().method(method.clone()).uri(path);
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.body(body).ok()
}

pub(super) fn not_a_path() -> Response<Bytes> {
    text(StatusCode::BAD_REQUEST, "no such path\n")
}

/// A router and what stays of it: how often it was started. Its route it is told anew.
#[derive(Debug)]
pub struct RouterBody {
    nodes: Vec<String>,
    fencing: bool,
    redirects: bool,
    incarnation: u64,
    live: Live<Router>,
}

impl RouterBody {
    /// A router that can send to these nodes; `live` tells who asks it.
    pub fn new(nodes: Vec<String>, fencing: bool, live: Live<Router>) -> RouterBody {
        RouterBody { nodes, fencing, redirects: true, incarnation: 0, live }
    }

    /// Whether it follows to another primary. Off is broken on purpose.
    pub fn redirecting(self, redirects: bool) -> RouterBody {
        RouterBody { redirects, ..self }
    }
}

impl Body for RouterBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        self.incarnation += 1;
        let hops = self.nodes.iter().map(|node| Ok((node.clone(), ground.hop(node)?)));
        let nodes = hops.collect::<io::Result<Vec<_>>>()?;
        let router = Arc::new(Router {
            name: ground.name.clone(),
            incarnation: self.incarnation,
            teller: ground.teller,
            route: watch::Sender::new(None),
            fencing: self.fencing,
            redirects: self.redirects,
            reconnected: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
        });
        self.live.set(&router);
        Host::start(&ground.name, move |inside| router.run(ground.listener, nodes, inside))
    }

    fn ended(&mut self) {
        self.live.take();
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "router")
    }
}
