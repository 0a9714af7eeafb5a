//! Packets between harness and keeper: JSON, one message each, over a socket pair that keeps their bounds.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::journal::Undo;
use crate::system::process::{Exit, Signal, Started};

/// The longest message. The kernel's default send buffer bounds a packet at some 200 KiB.
const PACKET: usize = 192 * 1024;

/// Harness → keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    /// Repeated in the answer.
    pub(super) id: u64,
    /// What is wanted.
    pub(super) request: Request,
}

/// What the harness wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// The first message: where the journal is kept.
    Begin {
        /// The run folder.
        dir: PathBuf,
    },
    /// Start a process; its output's descriptor comes along.
    Start {
        /// The node.
        node: String,
        /// The program with its arguments.
        command: Vec<String>,
        /// The whole environment.
        env: Vec<(String, String)>,
        /// Where it starts.
        dir: PathBuf,
    },
    /// Signal a node.
    Signal {
        /// The node.
        node: String,
        /// What.
        signal: Signal,
    },
    /// A fault is about to be injected.
    Lease {
        /// Its name.
        fault: String,
        /// For how long it may last.
        within_ms: u64,
        /// How it is undone; none: only the harness can, or its end does.
        undo: Option<Undo>,
    },
    /// The fault is healed.
    Release {
        /// Its name.
        fault: String,
    },
    /// The run is over: end everything and exit.
    End,
}

/// Keeper → harness.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// To a call.
    Reply {
        /// Whose.
        id: u64,
        /// What came of it; an error in words.
        result: Result<Option<Started>, String>,
    },
    /// Unasked.
    Notice(Notice),
}

/// What the keeper tells unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A node's process ended.
    Exited {
        /// Which.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// A fault outlived its lease. It is undone, as far as the keeper can; the run must stop.
    LeaseEnded {
        /// The fault.
        fault: String,
        /// What the undoing said; none if there was nothing for the keeper to do.
        undone: Option<String>,
    },
    /// The keeper is gone: the run must heal and end.
    Lost,
}

/// Two connected ends.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message, with a descriptor if there is one. It waits where the other end does not read.
pub(super) fn send(socket: impl AsFd, message: &impl Serialize, along: Option<BorrowedFd<'_>>) -> io::Result<()> {
    send_by(socket, message, along, SendFlags::empty())
}

/// Sends one message at once, or fails.
pub(super) fn post(socket: impl AsFd, message: &impl Serialize) -> io::Result<()> {
    send_by(socket, message, None, SendFlags::DONTWAIT)
}

fn send_by(
    socket: impl AsFd,
    message: &impl Serialize,
    along: Option<BorrowedFd<'_>>,
    flags: SendFlags,
) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    if packet.len() > PACKET {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a message of {} bytes is too long", packet.len()),
        ));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let along: Vec<BorrowedFd<'_>> = along.into_iter().collect();
    if !along.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&along)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    // Without a signal: that the other end is gone is an answer like any other.
    let flags = flags | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(&packet)], &mut ancillary, flags))?;
    Ok(())
}

/// Receives one message; none when the other end is closed.
pub(super) fn receive<M: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    let mut packet = vec![0; PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    });
    let length = match received {
        Ok(received) => received.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(error) => return Err(error.into()),
    };
    if length == 0 {
        return Ok(None);
    }
    let along = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Some((serde_json::from_slice(&packet[..length])?, along)))
}
