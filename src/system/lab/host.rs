//! Where a lab's node lives: a thread with a runtime of its own, which can be killed, paused and stopped.
//!
//! - **kill** drops every task at once; sockets close with RST, and what was in memory is gone.
//! - **pause** blocks the thread: nothing is served, answered or timed, while the kernel goes on accepting.
//! - **stop** lets the node finish what it has begun.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// How long a node may take to finish what it has begun when it is stopped.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What a node's own code gets.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Turns true when the node is to finish what it has begun.
    pub stopping: watch::Receiver<bool>,
    /// Makes its sockets.
    pub sockets: Sockets,
}

impl Inside {
    /// Returns when the node is to finish what it has begun.
    pub async fn stopped(&mut self) {
        // Without a host there is nothing left to finish for.
        let _ = self.stopping.wait_for(|stop| *stop).await;
    }
}

/// Makes sockets that close with RST when their node is killed.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    killed: Arc<AtomicBool>,
}

impl Sockets {
    /// Dials.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Socket> {
        self.own(TcpStream::connect(address).await?)
    }

    /// Accepts.
    pub async fn accept(&self, listener: &TcpListener) -> io::Result<Socket> {
        self.own(listener.accept().await?.0)
    }

    fn own(&self, stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        Ok(Socket { stream, killed: Arc::clone(&self.killed) })
    }
}

/// A connection of a node.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    killed: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.killed.load(Ordering::Relaxed) {
            // A failure leaves a FIN instead of the RST; the peer's connection ends either way.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

enum Command {
    /// Blocks the thread until the second channel's sender is dropped; the first is told that it does.
    Pause(blocking::SyncSender<()>, blocking::Receiver<()>),
    Stop,
    Kill,
}

/// A node's thread.
#[derive(Debug)]
pub struct Host {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
    /// Dropped to end a pause.
    pause: Option<blocking::Sender<()>>,
}

impl Host {
    /// Starts a thread that runs `work` until it ends by itself, is stopped, or is killed.
    pub fn start<F>(name: &str, work: impl FnOnce(Inside) -> F + Send + 'static) -> io::Result<Host>
    where
        F: Future<Output = ()>,
    {
        let (commands, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let sockets = Sockets::default();
            let killed = Arc::clone(&sockets.killed);
            if let End::Killed = runtime.block_on(host(inbox, sockets, work)) {
                killed.store(true, Ordering::Relaxed);
            }
            // Every task is dropped here, and with it its sockets.
            drop(runtime);
        })?;
        Ok(Host { commands, thread: Some(thread), pause: None })
    }

    /// Blocks the node's thread; returns once it is.
    pub fn pause(&mut self) {
        let (told, blocked) = blocking::sync_channel(1);
        let (resume, until) = blocking::channel();
        if self.pause.is_none() && self.commands.send(Command::Pause(told, until)).is_ok() {
            // An error means that the node ended by itself meanwhile: nothing is left to pause.
            let _ = blocked.recv();
            self.pause = Some(resume);
        }
    }

    /// Lets a paused node go on.
    pub fn resume(&mut self) {
        self.pause = None;
    }

    /// Drops everything at once; returns once its sockets are closed.
    pub fn kill(&mut self) {
        self.end(Command::Kill);
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        self.end(Command::Stop);
    }

    /// Whether the thread has ended.
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn end(&mut self, command: Command) {
        // The command stands in the inbox before a paused thread goes on, so that it does nothing else first.
        let _ = self.commands.send(command);
        self.resume();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a node's thread panicked");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

enum End {
    Finished,
    Killed,
}

async fn host<F: Future<Output = ()>>(
    mut inbox: mpsc::UnboundedReceiver<Command>,
    sockets: Sockets,
    work: impl FnOnce(Inside) -> F,
) -> End {
    let (stop, stopping) = watch::channel(false);
    let mut work = std::pin::pin!(work(Inside { stopping, sockets: sockets.clone() }));
    loop {
        tokio::select! {
            biased;
            command = inbox.recv() => match command {
                Some(Command::Pause(told, until)) => {
                    // Blocking a runtime's thread is a mistake anywhere but here: it is the pause.
                    let _ = told.send(());
                    let _ = until.recv();
                }
                Some(Command::Stop) => {
                    stop.send_replace(true);
                    let finished = tokio::time::timeout(STOP_WITHIN, &mut work).await;
                    return if finished.is_ok() { End::Finished } else { End::Killed };
                }
                Some(Command::Kill) | None => {
                    // Before the work is dropped, which closes sockets.
                    sockets.killed.store(true, Ordering::Relaxed);
                    return End::Killed;
                }
            },
            () = &mut work => return End::Finished,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream as Client;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::system::port::Port;

    /// A node that echoes one byte at a time.
    fn echo(port: &Port) -> Host {
        let listener = port.listen().unwrap();
        Host::start("echo", async move |inside: Inside| {
            let listener = TcpListener::from_std(listener).unwrap();
            let sockets = inside.sockets;
            loop {
                let mut socket = sockets.accept(&listener).await.unwrap();
                tokio::spawn(async move {
                    while let Ok(byte) = socket.read_u8().await {
                        let _ = socket.write_u8(byte).await;
                    }
                });
            }
        })
        .unwrap()
    }

    fn dial(port: &Port) -> Client {
        let client = Client::connect(port.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client
    }

    fn says(client: &mut Client, byte: u8) -> io::Result<u8> {
        client.write_all(&[byte])?;
        let mut answer = [0];
        client.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    #[test]
    fn a_killed_node_resets_and_refuses_and_finds_its_port_again() {
        let port = Port::reserve().unwrap();
        let mut host = echo(&port);
        let mut client = dial(&port);
        assert_eq!(says(&mut client, 1).unwrap(), 1);
        host.kill();
        let mut rest = [0];
        assert_eq!(client.read(&mut rest).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(Client::connect(port.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let _again = echo(&port);
        assert_eq!(says(&mut dial(&port), 2).unwrap(), 2);
    }

    #[test]
    fn a_paused_node_accepts_but_does_not_answer_until_it_resumes() {
        let port = Port::reserve().unwrap();
        let mut host = echo(&port);
        host.pause();
        let mut client = dial(&port);
        assert_eq!(says(&mut client, 7).unwrap_err().kind(), ErrorKind::WouldBlock);
        host.resume();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [7]);
    }

    #[test]
    fn a_paused_node_can_be_killed() {
        let port = Port::reserve().unwrap();
        let mut host = echo(&port);
        let mut client = dial(&port);
        assert_eq!(says(&mut client, 1).unwrap(), 1);
        host.pause();
        client.write_all(&[9]).unwrap();
        host.kill();
        let mut answer = [0];
        assert_eq!(client.read(&mut answer).unwrap_err().kind(), ErrorKind::ConnectionReset, "9 is not answered");
    }
}
