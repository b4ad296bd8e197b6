//! Handing every listening socket to a new process, so that an upgrade of the binary loses no
//! connection, not even one still in a queue.
//!
//! The process in service listens on a socket that goes with its state ([`crate::upgrade_socket`]).
//! A new process connects, gets a manifest and the descriptors, starts serving beside the old one,
//! and says that it is ready; only then does the old one stop accepting and drain. If the new one
//! dies on the way, nothing has changed. (pingora's own hand-over passes at most 32 sockets and
//! drains after a fixed time, ready or not.)

use anyhow::{Context, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt::socket_peercred,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::Duration,
};
use tidegate_control::Socket;
use tidegate_proxy::Sockets;
use tokio::sync::mpsc;

const HELLO: &[u8; 20] = b"tidegate handover 1\n";
const READY: u8 = b'R';
const DRAINING: u8 = b'D';
/// Descriptors per message; Linux takes 253.
const BATCH: usize = 64;
/// Descriptors and bytes of a manifest, at most.
const MOST: usize = 16_384;
const MANIFEST: usize = 1 << 20;
/// One message of the conversation.
const PATIENCE: Duration = Duration::from_secs(5);
/// From the descriptors to the new process' being ready: its first health checks included.
const START: Duration = Duration::from_secs(120);

/// What a process passes on.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    pub(crate) listeners: Vec<Sockets>,
    pub(crate) control: Vec<Socket>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Listener { configured: SocketAddr, sockets: usize },
    Control,
    ControlUnix,
    Probes,
}

/// The new process' end of the conversation, once it has the sockets.
#[derive(Debug)]
pub(crate) struct Takeover(UnixStream);

/// Asks the process in service, which listens in one of `places`, for its sockets.
pub(crate) fn take_over(places: &[PathBuf]) -> anyhow::Result<(Inheritance, Takeover)> {
    let mut answers = places.iter().map(UnixStream::connect);
    let first = answers.next().context("there is no place for a socket")?;
    let mut stream =
        first.or_else(|error| answers.find_map(Result::ok).ok_or(error)).with_context(|| {
            format!(
                "no running tidegate answers on `{}`; start without --upgrade",
                places[0].display()
            )
        })?;
    verify_peer(&stream)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(HELLO)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("the running tidegate gave no manifest")?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MANIFEST {
        bail!("the running tidegate's manifest is too large ({length} bytes)");
    }
    let mut manifest = vec![0; length];
    stream.read_exact(&mut manifest)?;
    let manifest: Manifest = serde_json::from_slice(&manifest)?;
    let wanted: usize = manifest.entries.iter().map(Entry::descriptors).sum();
    if wanted > MOST {
        bail!("the running tidegate passes {wanted} sockets, more than {MOST}");
    }
    let mut descriptors = VecDeque::with_capacity(wanted);
    while descriptors.len() < wanted {
        receive(&stream, &mut descriptors).context("the sockets did not arrive")?;
    }
    let mut next = || descriptors.pop_front().context("a socket is missing");
    let mut inheritance = Inheritance::default();
    for entry in manifest.entries {
        match entry {
            Entry::Listener { configured, sockets } => {
                let sockets = (0..sockets).map(|_| next().map(TcpListener::from));
                let sockets = sockets.collect::<anyhow::Result<Vec<_>>>()?;
                let first = sockets.first().context("a listener without a socket")?;
                let bound = first.local_addr()?;
                inheritance.listeners.push(Sockets { configured, bound, sockets });
            }
            Entry::Control => inheritance.control.push(Socket::Control(next()?.into())),
            Entry::ControlUnix => inheritance.control.push(Socket::ControlUnix(next()?.into())),
            Entry::Probes => inheritance.control.push(Socket::Probes(next()?.into())),
        }
    }
    Ok((inheritance, Takeover(stream)))
}

impl Takeover {
    /// Tells the old process that this one serves; it drains from now on.
    pub(crate) fn ready(mut self) -> Result<(), Denied> {
        self.0.write_all(&[READY]).map_err(Denied::of)?;
        let mut answer = [0];
        self.0.read_exact(&mut answer).map_err(Denied::of)?;
        if answer == [DRAINING] { Ok(()) } else { Err(Denied::Kept) }
    }
}

/// Why the old process did not hand over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// It ended meanwhile; what it listened on is this process' alone.
    #[error("the old process is gone: {0}")]
    Gone(io::Error),
    /// It lives and keeps the service.
    #[error("the old process does not let go")]
    Kept,
}

impl Denied {
    fn of(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionReset | UnexpectedEof => Self::Gone(error),
            _ => Self::Kept,
        }
    }
}

/// Answers new processes until one has taken over; then sends on `taken` and ends. Blocks: it
/// wants a thread of its own.
pub(crate) fn offer(
    listener: UnixListener,
    inheritance: impl Fn() -> io::Result<Inheritance>,
    taken: &mpsc::Sender<()>,
) {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "no upgrade is possible any more");
                return;
            }
        };
        match pass_on(&mut stream, &inheritance) {
            Ok(()) => {
                // The new process makes this socket anew.
                drop(listener);
                if stream.write_all(&[DRAINING]).is_err() {
                    tracing::warn!("the new process vanished as it took over");
                }
                // A receiver that is gone is a process that ends anyway.
                let _ = taken.blocking_send(());
                return;
            }
            Err(error) => tracing::warn!("upgrade abandoned; this process serves on: {error:#}"),
        }
    }
}

fn pass_on(
    stream: &mut UnixStream,
    inheritance: &impl Fn() -> io::Result<Inheritance>,
) -> anyhow::Result<()> {
    verify_peer(stream)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut hello = [0; HELLO.len()];
    stream.read_exact(&mut hello).context("no greeting")?;
    if hello != *HELLO {
        bail!("a greeting of another protocol");
    }
    let Inheritance { listeners, control } = inheritance().context("sockets cannot be copied")?;
    let mut entries = Vec::new();
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for Sockets { configured, sockets, .. } in listeners {
        entries.push(Entry::Listener { configured, sockets: sockets.len() });
        descriptors.extend(sockets.into_iter().map(OwnedFd::from));
    }
    for socket in control {
        let (entry, descriptor) = match socket {
            Socket::Control(listener) => (Entry::Control, OwnedFd::from(listener)),
            Socket::ControlUnix(listener) => (Entry::ControlUnix, OwnedFd::from(listener)),
            Socket::Probes(listener) => (Entry::Probes, OwnedFd::from(listener)),
        };
        entries.push(entry);
        descriptors.push(descriptor);
    }
    let manifest = serde_json::to_vec(&Manifest { entries })?;
    stream.write_all(&(manifest.len() as u32).to_be_bytes())?;
    stream.write_all(&manifest)?;
    for batch in descriptors.chunks(BATCH) {
        send(stream, batch)?;
    }
    tracing::info!(sockets = descriptors.len(), "passed to a new process; it is starting");
    stream.set_read_timeout(Some(START))?;
    let mut answer = [0];
    stream.read_exact(&mut answer).context("the new process did not become ready")?;
    if answer != [READY] {
        bail!("the new process answered {answer:?}");
    }
    Ok(())
}

impl Entry {
    fn descriptors(&self) -> usize {
        match self {
            Self::Listener { sockets, .. } => *sockets,
            _ => 1,
        }
    }
}

/// Only this user and root may take the sockets or give some.
fn verify_peer(stream: &UnixStream) -> anyhow::Result<()> {
    let peer = socket_peercred(stream)?.uid;
    if !peer.is_root() && peer != rustix::process::geteuid() {
        bail!("the peer runs as another user ({})", peer.as_raw());
    }
    Ok(())
}

fn send(stream: &UnixStream, batch: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = batch.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let count = [batch.len() as u8];
    sendmsg(stream, &[IoSlice::new(&count)], &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive(stream: &UnixStream, into: &mut VecDeque<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut count = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(stream, &mut [IoSliceMut::new(&mut count)], &mut control, flags)?;
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let before = into.len();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            into.extend(descriptors);
        }
    }
    if into.len() - before != usize::from(count[0]) {
        return Err(io::Error::other("descriptors were lost (is the limit on open files low?)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade_socket::SOCKET;

    fn sockets(n: usize) -> Sockets {
        let sockets: Vec<_> = (0..n).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let bound = sockets[0].local_addr().unwrap();
        Sockets { configured: "127.0.0.1:0".parse().unwrap(), bound, sockets }
    }

    #[test]
    fn hundreds_of_sockets_pass_and_only_a_ready_successor_ends_the_offer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SOCKET);
        let listener = UnixListener::bind(&path).unwrap();
        let (taken, mut was_taken) = mpsc::channel(1);
        let give = || {
            let control = vec![Socket::Control(TcpListener::bind("127.0.0.1:0")?)];
            Ok(Inheritance { listeners: vec![sockets(150), sockets(1)], control })
        };
        let offering = std::thread::spawn(move || offer(listener, give, &taken));

        // One that dies after it got the sockets changes nothing.
        let nowhere = directory.path().join("nowhere");
        let (inheritance, takeover) = take_over(&[nowhere, path.clone()]).unwrap();
        assert_eq!(inheritance.listeners[0].sockets.len(), 150);
        drop((inheritance, takeover));
        assert!(was_taken.try_recv().is_err());

        let (inheritance, takeover) = take_over(std::slice::from_ref(&path)).unwrap();
        let listener = &inheritance.listeners[1];
        assert_eq!(listener.sockets[0].local_addr().unwrap(), listener.bound);
        assert!(matches!(inheritance.control[..], [Socket::Control(_)]));
        takeover.ready().unwrap();
        offering.join().unwrap();
        assert!(was_taken.try_recv().is_ok());
        assert!(take_over(&[path]).is_err(), "nobody offers any more");
    }

    #[test]
    fn a_stranger_with_another_greeting_is_turned_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SOCKET);
        let listener = UnixListener::bind(&path).unwrap();
        let (taken, _keep) = mpsc::channel(1);
        std::thread::spawn(move || offer(listener, || Ok(Inheritance::default()), &taken));
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
}
