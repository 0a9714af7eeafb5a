//! A workload at work, on threads of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::client::{Call, Client, Progress, http::Http, tcp::Tcp};
use super::gate::Gate;
use super::gauge::{GeneratorHealth, Window};
use super::lane::{Lane, Shared};
use super::operations::{Job, Operations};
use super::scheduling;
use super::timer::Timer;
use super::{Gauge, Sink};
use crate::clock::{Moment, RunClock};
use crate::event::{Event, Outcome, What};
use crate::permit::Permit;
use crate::plan::workload::{Arrival, Client as ClientPlan, HttpClient, Resolve};
use crate::plan::{Endpoint, Workload};
use crate::retry::Policy;
use crate::seed::Seed;
use crate::system::dns::{self, Keep};
use crate::units::Rate;

/// From the local address of a connection to its number on its link, as the proxy's accept record has it.
pub type ConnOf = Arc<dyn Fn(SocketAddr) -> Option<u64> + Send + Sync>;

/// A target that is reached by name.
#[derive(Clone)]
pub struct Named {
    /// The DNS server that is asked.
    pub server: SocketAddr,
    /// For what.
    pub name: String,
    /// The links to what the name may mean, all at one port.
    pub links: Vec<NamedLink>,
}

/// A link at an address that a name may mean.
#[derive(Clone)]
pub struct NamedLink {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its name.
    pub name: Arc<str>,
    /// Who numbers its connections.
    pub conn_of: ConnOf,
}

impl Named {
    /// What is dialled: `name:port`.
    pub fn target(&self) -> String {
        format!("{}:{}", self.name, self.links.first().map_or(0, |link| link.address.port()))
    }
}

/// What a load is made from.
#[derive(Clone)]
pub struct LoadSpec {
    /// The workload's name.
    pub name: String,
    /// The workload.
    pub plan: Workload,
    /// Where its link listens, or the endpoint itself: `host:port`.
    pub target: String,
    /// The endpoint behind the link, if it is one: requests name it, and not the link.
    pub endpoint: Option<Endpoint>,
    /// How it is reached by name, if it is.
    pub named: Option<Named>,
    /// Its link's name, for the records; none if it is reached by name, so that each connection has its own.
    pub link: Option<Arc<str>>,
    /// The run's seed.
    pub seed: Seed,
    /// The run's clock.
    pub clock: RunClock,
    /// When the first operation may be due.
    pub begin: Moment,
    /// No operation is due at or after this.
    pub end: Moment,
    /// Where records go.
    pub sink: Arc<dyn Sink>,
    /// For `conn` in the records.
    pub conn_of: ConnOf,
    /// Asked for each address before it is dialled.
    pub permit: Permit,
    /// Attempts a second at most, where the target is outside loopback.
    pub max_rate: Option<Rate>,
}

/// Why a load cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target cannot be a target.
    #[error("`{target}` cannot be dialled: {why}")]
    Target {
        /// As given.
        target: String,
        /// In words.
        why: String,
    },
    /// The operation cannot be carried.
    #[error("the operation cannot be carried: {what}")]
    Request {
        /// In words.
        what: String,
    },
    /// A secret cannot be read.
    #[error("the secret `{name}` cannot be read")]
    Secret {
        /// Its variable or file.
        name: String,
    },
    /// The file of authorities is of no use.
    #[error("`{file}` names no authority to trust: {why}")]
    Authorities {
        /// As given.
        file: String,
        /// In words.
        why: String,
    },
    /// The platform trusts nobody.
    #[error(
        "this machine has no authorities to trust; install them, or name a file: `client: {{ http: {{ ca: … }} }}`"
    )]
    Platform(#[source] rustls::Error),
    /// More is asked for than the target permits.
    #[error("a rate of {rate} is more than the {permitted} that the target permits")]
    Rate {
        /// Asked for.
        rate: Rate,
        /// Permitted.
        permitted: Rate,
    },
    /// reqwest does not build.
    #[error("the HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
    /// A thread, a timer or a descriptor is missing.
    #[error("the load has no thread or timer to run on")]
    Thread(#[source] std::io::Error),
}

/// A workload at work.
///
/// Dropped before it is drained, it ends at once: what is open is recorded as unfinished.
pub struct Load {
    shared: Arc<Shared>,
    lanes: usize,
    ended: watch::Receiver<usize>,
    read: Box<dyn Fn(FinalReads) -> Result<(), LoadError> + Send + Sync>,
}

/// Above this rate, or from this many users on, a workload has two threads: one makes some 40,000 requests a second.
const TWO_LANES_FROM: (f64, u32) = (15_000.0, 32);

impl Load {
    /// Starts the threads. Nothing is due before `spec.begin`.
    pub fn start(spec: LoadSpec) -> Result<Load, LoadError> {
        let plan = &spec.plan;
        if let (Some(rate), Some(permitted)) = (plan.arrival.peak(), spec.max_rate)
            && rate > permitted
        {
            return Err(LoadError::Rate { rate, permitted });
        }
        let lanes = lanes(&plan.arrival);
        let stream = |use_: &str| spec.seed.stream(&format!("workload/{}/{use_}", spec.name));
        let shared = Arc::new(Shared::new(
            spec.name.as_str().into(),
            spec.link.clone(),
            spec.clock,
            plan,
            Operations::new(&plan.operation, &spec.name, stream("operations")),
            Policy::new(&plan.retry, stream("retry")),
            spec.max_rate.map(|permitted| Gate::new(permitted, plan.arrival.peak())),
            Arc::clone(&spec.sink),
            spec.end,
        ));
        match &spec.plan.client {
            ClientPlan::Http(settings) => {
                let settings = settings.clone();
                let spec = spec.clone();
                let resolver = resolver(&settings, &spec);
                Load::with_clients(shared, &spec.clone(), lanes, move || {
                    Http::new(&settings, &spec, resolver.as_ref(), lanes)
                })
            }
            ClientPlan::Tcp(settings) => {
                let settings = settings.clone();
                let spec = spec.clone();
                Load::with_clients(shared, &spec.clone(), lanes, move || Tcp::new(&settings, &spec, lanes))
            }
        }
    }

    fn with_clients<C: Client>(
        shared: Arc<Shared>,
        spec: &LoadSpec,
        lanes: usize,
        client: impl Fn() -> Result<C, LoadError> + Send + Sync + 'static,
    ) -> Result<Load, LoadError> {
        let (end, ended) = watch::channel(0);
        let end = Arc::new(end);
        // Every client is made before the first thread runs: either the whole load starts, or nothing.
        let clients = (0..lanes).map(|_| client()).collect::<Result<Vec<C>, LoadError>>()?;
        let arrival = spec.plan.arrival;
        let light = scheduling::is_light(&arrival);
        for (index, client) in clients.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let end = Arc::clone(&end);
            let dice = spec.seed.stream(&format!("workload/{}/arrival", spec.name));
            let begin = spec.begin;
            let runtime = runtime(&arrival).map_err(LoadError::Thread)?;
            let timer = {
                let _inside = runtime.enter();
                Timer::start(shared.clock).map_err(LoadError::Thread)?
            };
            let lane = Arc::new(Lane {
                shared,
                client,
                timer,
                index: index as u64,
                lanes: lanes as u64,
                open: Default::default(),
                emptied: Notify::new(),
            });
            thread::Builder::new()
                .name(format!("load-{}-{index}", spec.name))
                .spawn(move || {
                    scheduling::go_first(light);
                    runtime.block_on(lane.drive(arrival, dice, begin));
                    // Whatever is still open is dropped here, and records itself as unfinished.
                    runtime.shutdown_background();
                    end.send_modify(|lanes| *lanes += 1);
                })
                .map_err(LoadError::Thread)?;
        }
        let name = spec.name.clone();
        let read = move |reads: FinalReads| {
            let client = client()?;
            let runtime = runtime(&arrival).map_err(LoadError::Thread)?;
            thread::Builder::new()
                .name(format!("reads-{name}"))
                .spawn(move || runtime.block_on(reads.run(client)))
                .map_err(LoadError::Thread)?;
            Ok(())
        };
        Ok(Load { shared, lanes, ended, read: Box::new(read) })
    }

    /// The workload's name.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Totals so far; from any thread, at any time.
    pub fn health(&self) -> GeneratorHealth {
        self.shared.gauge.health(self.shared.sink.dropped())
    }

    /// The operations due in the last `length`; for guards and the live view.
    pub fn window(&self, now: Moment, length: Duration) -> Window {
        self.shared.gauge.window(now, length)
    }

    /// The same counts for one who outlives the borrow.
    pub fn gauge(&self) -> impl Fn(Moment, Duration) -> Window + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |now, length| Gauge::window(&shared.gauge, now, length)
    }

    /// Ends arrivals at this moment, if they have not ended by themselves; what is open drains.
    pub fn stop(&self, now: Moment) {
        self.shared.stop(now);
    }

    /// Ends arrivals and the drain: what is open at this moment is recorded as unfinished.
    pub fn cut(&self, now: Moment) {
        self.shared.cut(now);
    }

    /// Returns when the load has ended and every operation has its last record.
    pub async fn drained(&self) {
        let mut ended = self.ended.clone();
        // The senders are with the threads; if one panicked, the rest is all there is.
        let _ = ended.wait_for(|ended| *ended == self.lanes).await;
    }

    /// Reads every key that was written, with retries until `until`: one event `FinalRead` a key, in order of keys.
    ///
    /// To be called when the load is drained and every fault healed.
    pub async fn final_reads(&self, until: Moment) -> Result<Vec<Event>, LoadError> {
        let jobs = self.shared.operations.final_reads();
        if jobs.is_empty() {
            return Ok(vec![]);
        }
        let (send, receive) = tokio::sync::oneshot::channel();
        (self.read)(FinalReads { shared: Arc::clone(&self.shared), jobs, until, send })?;
        // The thread sends unless it panicked, and then nothing is known of any key.
        Ok(receive.await.unwrap_or_default())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.cut(self.shared.clock.now());
    }
}

/// What the threads of a workload share of DNS: a client has one cache.
fn resolver(settings: &HttpClient, spec: &LoadSpec) -> Option<Arc<dns::Resolver>> {
    let Named { server, name, .. } = spec.named.as_ref()?;
    let keep = match settings.resolve {
        Resolve::Ttl => Keep::Ttl,
        Resolve::Every(length) => Keep::For(length.0),
        Resolve::Once => Keep::Forever,
        Resolve::EachAttempt => Keep::Never,
    };
    Some(Arc::new(dns::Resolver::new(*server, name, keep, spec.clock)))
}

fn lanes(arrival: &Arrival) -> usize {
    let (rate, users) = TWO_LANES_FROM;
    let heavy = match arrival {
        Arrival::Users { count, .. } => *count >= users,
        open => open.peak().is_some_and(|peak| peak.get() > rate),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if heavy { 2.min(cores) } else { 1 }
}

/// A runtime for one thread of load.
fn runtime(arrival: &Arrival) -> std::io::Result<tokio::runtime::Runtime> {
    // How many polls may pass before it looks at sockets and timer again. An open loop that is busy must still see
    // what is due; a closed one has no schedule to keep.
    let polls = if matches!(arrival, Arrival::Users { .. }) { 61 } else { 16 };
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(polls).build()
}

/// The reads at the end of a workload.
struct FinalReads {
    shared: Arc<Shared>,
    jobs: Vec<Job>,
    until: Moment,
    send: tokio::sync::oneshot::Sender<Vec<Event>>,
}

impl FinalReads {
    /// Reads at once.
    const AT_ONCE: usize = 32;
    /// Between two attempts at one key.
    const WAIT: Duration = Duration::from_millis(50);

    async fn run<C: Client>(self, client: C) {
        let FinalReads { shared, jobs, until, send } = self;
        let (client, jobs) = (Arc::new(client), Arc::new(jobs));
        let readers: Vec<_> = (0..FinalReads::AT_ONCE.min(jobs.len()))
            .map(|reader| {
                let (shared, client, jobs) = (Arc::clone(&shared), Arc::clone(&client), Arc::clone(&jobs));
                tokio::spawn(async move {
                    let mut events = vec![];
                    for index in (reader..jobs.len()).step_by(FinalReads::AT_ONCE) {
                        events.push((index, read(&shared, &*client, &jobs[index], until).await));
                    }
                    events
                })
            })
            .collect();
        let mut events = vec![];
        for reader in readers {
            events.extend(reader.await.unwrap_or_default());
        }
        events.sort_by_key(|(index, _)| *index);
        // Nobody waits any more if the run has ended.
        let _ = send.send(events.into_iter().map(|(_, event)| event).collect());
    }
}

/// One key's final read.
async fn read<C: Client>(shared: &Shared, client: &C, job: &Job, until: Moment) -> Event {
    let mut attempt = 0;
    let (value, ok) = loop {
        attempt += 1;
        // No operation has this number: it is nobody's read.
        let call = Call { op: u64::MAX, attempt, job, value: None, operations: &shared.operations };
        let timeout = (shared.clock.now() + shared.attempt_timeout).min(until);
        let answering = client.attempt(call, Arc::new(Progress::default()));
        let answer = tokio::time::timeout_at(shared.clock.instant(timeout), answering).await;
        match answer {
            Ok(answer) if answer.outcome == Outcome::Ok => break (answer.value, true),
            _ if shared.clock.now() + FinalReads::WAIT >= until => break (None, false),
            _ => tokio::time::sleep(FinalReads::WAIT).await,
        }
    };
    let key = job.key.as_deref().unwrap_or_default().to_owned();
    let what = What::FinalRead { workload: shared.name.to_string(), key, value: value.map(String::from), ok };
    Event { at: shared.clock.now(), what }
}
