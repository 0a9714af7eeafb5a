//! Echo frames over TCP, with a pool of its own: a length of 4 bytes, big-endian, and so many bytes, which must come
//! back unchanged.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dial::{self, DialError};
use super::{Answer, Call, Client, Progress};
use crate::clock::RunClock;
use crate::event::{Applied, Outcome};
use crate::permit::Permit;
use crate::plan::workload::{Operation, TcpClient};
use crate::workload::{ConnOf, LoadError, LoadSpec};

/// One thread's TCP client.
pub struct Tcp {
    target: String,
    size: usize,
    connect_timeout: Duration,
    clock: RunClock,
    conn_of: ConnOf,
    permit: Permit,
    /// Connections between two attempts, the latest used last.
    idle: Mutex<Vec<Pooled>>,
    most: usize,
}

struct Pooled {
    stream: TcpStream,
    conn: Option<u64>,
    place: Arc<str>,
}

/// A frame larger than this is refused: it could only be a mistake.
const LARGEST: u64 = 64 << 20;

impl Tcp {
    /// A client of its own pool for one of `lanes` threads.
    pub fn new(settings: &TcpClient, spec: &LoadSpec, lanes: usize) -> Result<Tcp, LoadError> {
        let Operation::Echo { size } = &spec.plan.operation else {
            return Err(LoadError::Request { what: "the `tcp` client carries the operation `echo` alone".to_owned() });
        };
        if size.0 > LARGEST {
            return Err(LoadError::Request { what: format!("a frame of {size} is larger than {LARGEST} B") });
        }
        Ok(Tcp {
            target: spec.target.clone(),
            size: size.0 as usize,
            connect_timeout: settings.connect_timeout.unwrap_or(spec.plan.attempt_timeout).0,
            clock: spec.clock,
            conn_of: Arc::clone(&spec.conn_of),
            permit: spec.permit.clone(),
            idle: Mutex::default(),
            most: settings.pool.div_ceil(lanes),
        })
    }

    async fn exchange(&self, call: Call<'_>, progress: &Progress) -> Answer {
        let mut pooled = match self.take() {
            Some(pooled) => pooled,
            None => match self.connect(progress).await {
                Ok(pooled) => pooled,
                Err(answer) => return answer,
            },
        };
        progress.on_connection(pooled.conn);
        let place = Some(Arc::clone(&pooled.place));
        let frame = frame(call.op, call.attempt, self.size);
        match self.echo(&mut pooled.stream, &frame, progress).await {
            Ok(true) => {
                self.put_back(pooled);
                Answer { place, ..Answer::ok() }
            }
            Ok(false) => {
                let wrong = Answer::new(Outcome::Protocol, Applied::Unknown).because("not what was sent");
                Answer { place, ..wrong }
            }
            Err(error) => {
                let outcome = of_io(&error);
                Answer { place, ..Answer::new(outcome, progress.applied()).because(error.to_string()) }
            }
        }
    }

    /// Sends the frame and reads one; whether it is the same.
    async fn echo(&self, stream: &mut TcpStream, frame: &[u8], progress: &Progress) -> io::Result<bool> {
        stream.write_all(frame).await?;
        let mut back = vec![0; frame.len()];
        stream.read_exact(&mut back[..1]).await?;
        progress.first_byte(self.clock.now());
        stream.read_exact(&mut back[1..]).await?;
        Ok(back == frame)
    }

    async fn connect(&self, progress: &Progress) -> Result<Pooled, Answer> {
        let failed = |outcome: Outcome, why: String| Answer::new(outcome, Applied::No).because(why);
        progress.connecting();
        let addresses = dial::resolve(&self.target, &self.permit).await.map_err(|error| match error {
            DialError::NotPermitted(_) => failed(Outcome::Unreachable, error.to_string()),
            DialError::Resolve(_) | DialError::Lookup(_) | DialError::NoAddress => {
                failed(Outcome::Dns, error.to_string())
            }
        })?;
        let stream = match tokio::time::timeout(self.connect_timeout, TcpStream::connect(&addresses[..])).await {
            Err(_) => return Err(failed(Outcome::Timeout, "connect timed out".to_owned())),
            Ok(Err(error)) => return Err(failed(of_io(&error), error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        progress.connected(self.clock.now());
        let told = stream.set_nodelay(true).and_then(|()| Ok((stream.local_addr()?, stream.peer_addr()?)));
        let (local, peer) = told.map_err(|error| failed(of_io(&error), error.to_string()))?;
        Ok(Pooled { conn: (self.conn_of)(local), place: peer.to_string().into(), stream })
    }

    /// An idle connection that has heard nothing since: neither an end nor bytes that nobody asked for.
    fn take(&self) -> Option<Pooled> {
        loop {
            let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            match pooled.stream.try_read(&mut [0; 1]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(pooled),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn put_back(&self, pooled: Pooled) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most {
            idle.push(pooled);
        }
    }
}

impl Client for Tcp {
    async fn attempt<'a>(&'a self, call: Call<'a>, progress: Arc<Progress>) -> Answer {
        self.exchange(call, &progress).await
    }
}

fn of_io(error: &io::Error) -> Outcome {
    super::http::of_io(error).unwrap_or(Outcome::Error)
}

/// The frame of an attempt: no two are alike, so that the echo of another one shows.
fn frame(op: u64, attempt: u32, size: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + size);
    frame.extend_from_slice(&(size as u32).to_be_bytes());
    let stamp = [&op.to_be_bytes()[..], &attempt.to_be_bytes()[..]].concat();
    frame.extend(stamp.iter().cycle().take(size));
    frame
}
