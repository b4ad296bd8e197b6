//! Listening sockets and their accept loops.
//!
//! Every worker has a socket of its own (SO_REUSEPORT), so that the kernel spreads connections
//! and no lock is shared. The sockets are bound before a configuration comes into force, and at
//! an upgrade every one of them passes to the new process, so that no queued connection is lost.

use crate::{
    conn::{self, Connection},
    core::Core,
    drain::{Drainer, drain},
    h1,
    snapshot::Listening,
    worker::Worker,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tidegate_config::Name;
use tokio::{net::TcpStream, sync::watch, time::sleep};

/// Connections waiting for `accept`, per socket; the system's `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// The sockets of one address: one per worker.
#[derive(Debug)]
pub struct Sockets {
    /// The address the document names; its port may be 0.
    pub configured: SocketAddr,
    /// The address bound.
    pub bound: SocketAddr,
    /// At least one per worker, bound together.
    pub sockets: Vec<TcpListener>,
}

impl Sockets {
    /// Binds `address` for `workers` workers, taking `inherited` sockets of the same address
    /// first. Inherited sockets beyond the number of workers are kept and served too: each has
    /// a queue of its own.
    pub(crate) fn bind(
        address: SocketAddr,
        workers: usize,
        inherited: Option<Self>,
    ) -> io::Result<Self> {
        let mut sockets = inherited.map_or_else(Vec::new, |inherited| inherited.sockets);
        let mut bound = match sockets.first() {
            Some(socket) => socket.local_addr()?,
            None => address,
        };
        while sockets.len() < workers {
            let socket = listen(bound)?;
            bound = socket.local_addr()?;
            sockets.push(socket);
        }
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { configured: address, bound, sockets })
    }

    /// Copies of the sockets, for another process.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        let sockets = self.sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?;
        Ok(Self { configured: self.configured, bound: self.bound, sockets })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // SO_REUSEPORT lets any process of ours join; the first socket must find the port free.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether a socket on one address can stand in the way of one on the other.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let wide = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port() && (one.ip() == other.ip() || wide(one) || wide(other))
}

/// A port that somebody else listens on, even with SO_REUSEPORT, is taken: two unrelated
/// processes would share its connections by chance.
pub(crate) fn is_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// A listener in force: its sockets, its connections and the way to end them.
pub(crate) struct Listener {
    pub(crate) name: Name,
    pub(crate) configured: SocketAddr,
    pub(crate) bound: SocketAddr,
    /// Taken out when the listener is removed: a copy left open would be a queue nobody serves.
    pub(crate) sockets: Mutex<Option<Arc<Sockets>>>,
    pub(crate) drainer: Drainer,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) handshakes: Handshakes,
    last: Mutex<Arc<Listening>>,
    /// What connections may use from their next request on.
    pub(crate) limits: Arc<ArcSwap<h1::Limits>>,
    accepting: watch::Sender<Accepting>,
}

#[derive(Default)]
pub(crate) struct Handshakes {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What accept loops are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Yes,
    /// Another process, or another listener of this one, accepts from the same sockets.
    HandedOver,
    /// Nobody will: take what is queued, then stop.
    Removed,
}

impl Listener {
    pub(crate) fn new(listening: Arc<Listening>, sockets: Arc<Sockets>) -> Self {
        Self {
            name: listening.name.clone(),
            configured: sockets.configured,
            bound: sockets.bound,
            sockets: Mutex::new(Some(sockets)),
            drainer: drain().0,
            open: Arc::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            handshakes: Handshakes::default(),
            limits: Arc::new(ArcSwap::new(Arc::clone(&listening.h1))),
            last: Mutex::new(listening),
            accepting: watch::Sender::new(Accepting::Yes),
        }
    }

    /// How connections are treated once the snapshot no longer knows this listener.
    pub(crate) fn last(&self) -> Arc<Listening> {
        Arc::clone(&self.last.lock())
    }

    pub(crate) fn set_last(&self, listening: Arc<Listening>) {
        self.limits.store(Arc::clone(&listening.h1));
        *self.last.lock() = listening;
    }

    /// Ends the accept loops and begins the drain of what they accepted.
    pub(crate) fn stop(&self, how: Accepting) {
        self.sockets.lock().take();
        self.accepting.send_replace(how);
        self.drainer.drain();
    }

    /// Waits for the end of the accept loops after [`stop`](Self::stop).
    pub(crate) async fn stopped(&self) {
        self.accepting.closed().await;
    }
}

/// Accepts connections from one socket on the calling worker until told to stop.
pub(crate) async fn accept(
    core: Arc<Core>,
    worker: Arc<Worker>,
    listener: Arc<Listener>,
    socket: TcpListener,
) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = %listener.name, %error, "socket cannot be served");
            return;
        }
    };
    let mut accepting = listener.accepting.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let told = *accepting.borrow_and_update();
        if told != Accepting::Yes {
            if told == Accepting::Removed {
                take_last(&socket, |accepted| admit(&core, &worker, &listener, accepted)).await;
            }
            return;
        }
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    backoff = Backoff::default();
                    admit(&core, &worker, &listener, accepted);
                }
                Err(error) => {
                    listener.accept_errors.fetch_add(1, Relaxed);
                    // Out of descriptors, mostly: connections wait in the queue meanwhile.
                    backoff.wait(&listener.name, &error).await;
                }
            },
            _ = accepting.changed() => {}
        }
    }
}

/// A handshake that has begun is over within this time, or its client is far away.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// Takes the connections that are under way to a socket about to be closed. Closing resets those
/// in its queue, so first no new one is let in: a filter drops their SYN, and the client's next
/// try finds nobody.
async fn take_last(
    socket: &tokio::net::TcpListener,
    mut take: impl FnMut((TcpStream, SocketAddr)),
) {
    // Classic BPF over the TCP header: the flags are its byte 13, SYN is 2.
    let no_syn = [
        SockFilter::new(0x30, 0, 0, 13),       // A = byte 13
        SockFilter::new(0x45, 0, 1, 2),        // if A & 2
        SockFilter::new(0x06, 0, 0, 0),        // then drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // else take whole
    ];
    let filtered = SockRef::from(socket).attach_filter(&no_syn);
    let patience = if filtered.is_ok() { HANDSHAKE } else { Duration::ZERO };
    let end = tokio::time::Instant::now() + patience;
    while let Ok(Ok(accepted)) = tokio::time::timeout_at(end, socket.accept()).await {
        take(accepted);
    }
}

fn admit(
    core: &Arc<Core>,
    worker: &Arc<Worker>,
    listener: &Arc<Listener>,
    (tcp, peer): (TcpStream, SocketAddr),
) {
    let snapshot = core.snapshot();
    let limit = match snapshot.listeners.get(&listener.name) {
        Some(listening) => listening.document.limits.connections,
        None => listener.last().document.limits.connections,
    };
    let total = snapshot.config.server.connections.get().min(core.max_connections);
    let open = Open::count(&listener.open, &core.open);
    if open.here > limit.get() || open.everywhere > total {
        listener.refused.fetch_add(1, Relaxed);
        return; // dropping the socket closes it
    }
    listener.accepted.fetch_add(1, Relaxed);
    let local = tcp.local_addr().unwrap_or(listener.bound);
    let connection = Connection {
        core: Arc::clone(core),
        worker: Arc::clone(worker),
        listener: Arc::clone(listener),
        peer,
        local,
        tls: None,
        drain: listener.drainer.subscribe(),
        activity: None,
        _open: open,
    };
    let closed = connection.drain.closed();
    tokio::spawn(async move {
        tokio::select! {
            () = conn::serve(connection, tcp) => {}
            () = closed => {} // the drain deadline
        }
    });
}

/// Counts a connection for as long as it lives.
pub(crate) struct Open {
    counters: [Arc<AtomicUsize>; 2],
    here: usize,
    everywhere: usize,
}

impl Open {
    fn count(here: &Arc<AtomicUsize>, everywhere: &Arc<AtomicUsize>) -> Self {
        Self {
            counters: [Arc::clone(here), Arc::clone(everywhere)],
            here: here.fetch_add(1, Relaxed) + 1,
            everywhere: everywhere.fetch_add(1, Relaxed) + 1,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(1, Relaxed);
        }
    }
}

/// Waits after a failed accept: 5 ms, doubling to a second.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    async fn wait(&mut self, listener: &Name, error: &io::Error) {
        if self.failures == 0 {
            tracing::warn!(%listener, %error, "accept failed; trying again");
        }
        let wait = Duration::from_millis(5 << self.failures.min(8)).min(Duration::from_secs(1));
        self.failures = self.failures.saturating_add(1);
        sleep(wait).await;
    }
}
