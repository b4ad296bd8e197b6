//! Starting, upgrading and ending the process.

use crate::{
    cli,
    edge::ProxyEdge,
    handover::{self, Denied, Inheritance, Takeover},
    logging,
    process::{self, WorkerSlots},
    sealing, upgrade_socket,
};
use anyhow::{Context, anyhow};
use std::{
    fs::DirBuilder,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    os::unix::{fs::DirBuilderExt, net::UnixListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};
use tidegate_certs::Certs;
use tidegate_config::{Config, ControlAddress};
use tidegate_control::{
    Cause, Document, Files, Plane, Setup, Socket, Source, ports::Edge, twin, unix,
};
use tidegate_proxy::Proxy;
use tidegate_release::Salt;
use tidegate_store::{Committed, Compare, Op, Revision, Sqlite, Store};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};

/// The lease of the process that orders certificates.
const LEADER: &str = "leader";
const LEADER_TTL: Duration = Duration::from_secs(15);
/// A process that takes over waits this long for its first health checks.
const FIRST_CHECKS: Duration = Duration::from_secs(10);

/// What to start with.
pub(crate) struct Launch {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) document: Document,
    /// Take the sockets of the process in service.
    pub(crate) upgrade: bool,
    /// Called once everything is in force.
    pub(crate) started: Box<dyn FnOnce(&Started) + Send>,
}

/// What is known once everything is in force.
pub(crate) struct Started {
    pub(crate) proxy: Proxy,
    pub(crate) certs: Certs,
    /// Where the control API listens on TCP, if it does.
    pub(crate) control: Option<SocketAddr>,
}

/// `tidegate run`.
pub(crate) fn run(args: &cli::Run) -> ExitCode {
    let source = Files(args.config.clone());
    let document = match source.load() {
        Ok(document) => document,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            let (count, s) = (faults.len(), if faults.len() == 1 { "" } else { "s" });
            eprintln!("tidegate: {count} fault{s}; nothing was started");
            return ExitCode::FAILURE;
        }
    };
    logging::start(&document.config.log);
    for warning in &document.warnings {
        tracing::warn!("{warning}");
    }
    let source = Arc::new(source);
    launch(Launch { source, document, upgrade: args.upgrade, started: Box::new(|_| {}) })
}

/// Runs the process to its end.
pub(crate) fn launch(launch: Launch) -> ExitCode {
    match try_launch(launch) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_launch(launch: Launch) -> anyhow::Result<ExitCode> {
    let descriptors = raise_descriptor_limit();
    let config = Arc::clone(&launch.document.config);
    let state = config.control.state.clone();
    let start = match launch.upgrade {
        true => {
            let (inheritance, takeover) = handover::take_over(&upgrade_socket::places(&state))?;
            Start { inheritance, succession: Succession::TakingOver(takeover) }
        }
        false => {
            // Also what keeps two processes out of one state directory.
            let listener = upgrade_socket::listen(&state)?;
            let control = bind_control(&config)?;
            let inheritance = Inheritance { listeners: Vec::new(), control };
            Start { inheritance, succession: Succession::InService(listener) }
        }
    };
    let logs = Logs { access: logging::access(&config.log)?, waf: logging::waf(&config.log)? };
    let workers = match config.server.workers {
        Some(workers) => workers,
        None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let (done, is_done) = watch::channel(false);
    let code = Arc::new(AtomicU8::new(0));
    let outcome = Arc::clone(&code);
    process::host(workers, is_done, |background, slots| async move {
        let parts = Parts { launch, start, logs, workers, descriptors, state };
        if let Err(error) = Box::pin(serve(parts, background, slots)).await {
            tracing::error!("{error:#}");
            outcome.store(1, Relaxed);
        }
        done.send_replace(true);
    });
    Ok(ExitCode::from(code.load(Relaxed)))
}

/// What a process has when it starts: sockets, and its place in the line of processes.
struct Start {
    inheritance: Inheritance,
    succession: Succession,
}

enum Succession {
    /// Another process is in service until this one says that it is ready.
    TakingOver(Takeover),
    /// This one is; successors ask here, if there is a socket.
    InService(Option<UnixListener>),
}

/// The logs of the data path.
struct Logs {
    access: Option<tidegate_proxy::AccessLog>,
    waf: Option<tidegate_proxy::AuditLog>,
}

/// What `serve` composes.
struct Parts {
    launch: Launch,
    start: Start,
    logs: Logs,
    workers: NonZeroUsize,
    descriptors: usize,
    state: PathBuf,
}

/// The control plane's work, from start to end.
async fn serve(
    parts: Parts,
    background: oneshot::Receiver<Handle>,
    slots: WorkerSlots,
) -> anyhow::Result<()> {
    let background = background.await.context("the background runtime did not start")?;
    let Launch { source, document, started, .. } = parts.launch;
    let Start { inheritance: Inheritance { listeners, control }, succession } = parts.start;
    let config = Arc::clone(&document.config);
    let mut signals = Signals::catch()?;
    let node = node_name();
    let registry = prometheus::Registry::new();

    let directory = parts.state.clone();
    let opened = tokio::task::spawn_blocking(move || Sqlite::open(&directory)).await?;
    let (sqlite, notices) = opened?;
    for notice in notices {
        tracing::warn!("{notice}");
    }
    let sealed = sealing::open(&sqlite, &config.control).await?;
    let store: Arc<dyn Store> = Arc::new(sealed.clone());
    let salt = salt(&*store).await?;
    let options = tidegate_certs::Options::new(Arc::clone(&store), registry.clone(), node.clone());
    let certs = Certs::open(options).await?;
    for notice in certs.notices() {
        tracing::warn!("{notice}");
    }

    let options = tidegate_proxy::Options {
        workers: parts.workers,
        // As many again for upstreams; some for files, sockets and the control plane.
        max_connections: (parts.descriptors.saturating_sub(100) / 2).max(1),
        rate_limit_keys: config.server.rate_limit_keys,
        salt,
        certs: certs.clone(),
        access: parts.logs.access,
        waf_audit: parts.logs.waf,
        background: background.clone(),
        inherited: listeners,
    };
    let (proxy, tasks) = Proxy::new(options, &config, &registry)?;
    for (slot, task) in slots.into_iter().zip(tasks) {
        slot.send(task).map_err(|_| anyhow!("a worker did not start"))?;
    }

    let edge = Arc::new(ProxyEdge(proxy.clone()));
    let setup = Setup {
        edge: Arc::clone(&edge) as Arc<dyn Edge>,
        store: Arc::clone(&store),
        source,
        certificates: Arc::new(certs.clone()),
        registry,
        node: node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        hosts: Vec::new(),
    };
    let plane = Plane::start(setup, document).await?;

    let (stop, stopped) = watch::channel(false);
    let (leader, is_leader) = watch::channel(false);
    background.spawn(sealing::seal_all(sealed, sqlite.clone(), is_leader.clone()));
    background.spawn({
        let (certs, stopped) = (certs.clone(), stopped.clone());
        async move { certs.maintain(is_leader, stopped).await }
    });
    let lead = tokio::spawn(lead(Arc::clone(&store), node, leader, stopped.clone()));
    tokio::spawn(Arc::clone(&plane).background(stopped.clone()));

    let control_address = control.iter().find_map(|socket| match socket {
        Socket::Control(listener) => listener.local_addr().ok(),
        _ => None,
    });
    let files = socket_files(&config, &control, &parts.state);
    let offered = control.iter().map(copy).collect::<io::Result<Vec<_>>>()?;
    let api = tokio::spawn(tidegate_control::serve(plane.clone(), control, stopped.clone()));
    started(&Started { proxy: proxy.clone(), certs, control: control_address });

    let end = match succession {
        Succession::InService(successors) => {
            let taken = offer_sockets(successors, proxy.clone(), offered)?;
            signals.until_the_end(&plane, taken).await
        }
        Succession::TakingOver(takeover) => tokio::select! {
            taken_over = take_service(takeover, &*edge, &parts.state) => match taken_over {
                Ok(successors) => {
                    let taken = offer_sockets(successors, proxy.clone(), offered)?;
                    signals.until_the_end(&plane, taken).await
                }
                Err(denied) => End::Denied(denied),
            },
            () = signals.told(1) => End::Told,
        },
    };
    let handed_over = matches!(end, End::HandedOver | End::Denied(_));
    let drain = plane.view().document.config.server.drain;
    tracing::info!(?drain, handed_over, "draining");
    // A successor has the control sockets; callers without one see the drain to its end.
    if handed_over {
        stop.send_replace(true);
    }
    tokio::select! {
        () = proxy.drain(handed_over, drain) => {}
        // One that was handed over has not been told a first time.
        () = signals.told(if handed_over { 2 } else { 1 }) => {
            tracing::warn!("told again to end: not waiting for connections");
        }
    }
    stop.send_replace(true);
    let _ = lead.await;
    let _ = tokio::time::timeout(Duration::from_secs(5), api).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), sqlite.close()).await;
    if !handed_over {
        for file in files {
            // One that stays is replaced at the next start.
            let _ = std::fs::remove_file(file);
        }
    }
    tracing::info!("ended");
    match end {
        End::Denied(denied) => Err(denied).context("the upgrade failed; this process ends"),
        _ => Ok(()),
    }
}

/// Why a process stops serving.
enum End {
    /// It was told to.
    Told,
    /// Another one serves.
    HandedOver,
    /// It was to take over, and the one in service stays.
    Denied(Denied),
}

/// The signals of the process' life, caught from the moment it serves.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            int: catch(SignalKind::interrupt())?,
            hup: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM, SIGINT or a successor, reloading on SIGHUP.
    async fn until_the_end(&mut self, plane: &Plane, mut taken: mpsc::Receiver<()>) -> End {
        loop {
            tokio::select! {
                _ = self.term.recv() => return End::Told,
                _ = self.int.recv() => return End::Told,
                Some(()) = taken.recv() => return End::HandedOver,
                // What went wrong is logged, counted and shown in the status by the plane.
                _ = self.hup.recv() => drop(plane.reload(Cause::Signal).await),
            }
        }
    }

    /// SIGTERM or SIGINT, so many times.
    async fn told(&mut self, times: usize) {
        for _ in 0..times {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
            }
        }
    }
}

/// Waits for the first health checks, tells the process in service that this one serves, and
/// takes its place; gives the socket for the next in line, if there is one to be had.
async fn take_service(
    takeover: Takeover,
    edge: &dyn Edge,
    state: &Path,
) -> Result<Option<UnixListener>, Denied> {
    first_checks(edge).await;
    let ready = tokio::task::spawn_blocking(move || takeover.ready()).await;
    let gone = match ready {
        Ok(Ok(())) => None,
        Ok(Err(Denied::Gone(error))) => Some(error),
        Ok(Err(denied)) => return Err(denied),
        Err(_) => return Err(Denied::Kept), // it panicked: nothing was said
    };
    let successors = await_successors_socket(state).await;
    match gone {
        None => tracing::info!("took over from the process before"),
        Some(error) => tracing::warn!(%error, "the process before is gone; this one serves"),
    }
    Ok(successors)
}

/// The process before may still be letting go of the socket for the next in line.
async fn await_successors_socket(state: &Path) -> Option<UnixListener> {
    let mut tries = 50;
    loop {
        match upgrade_socket::listen(state) {
            Ok(listener) => return listener,
            Err(_) if tries > 0 => tries -= 1,
            Err(error) => {
                tracing::error!("no upgrade of this process is possible: {error:#}");
                return None;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Keeps the lease for as long as this process is the one in service.
async fn lead(
    store: Arc<dyn Store>,
    node: String,
    leader: watch::Sender<bool>,
    mut stopped: watch::Receiver<bool>,
) {
    let holder = tidegate_store::holder(&node);
    let mut held = None;
    let mut failing = false;
    loop {
        match store.acquire(LEADER, &holder, LEADER_TTL).await {
            Ok(lease) => {
                leader.send_if_modified(|leads| {
                    let changed = *leads != lease.is_some();
                    *leads = lease.is_some();
                    changed
                });
                held = lease;
                failing = false;
            }
            // Once for a row of failures: the store's metric and the status tell the rest.
            Err(error) if !failing => {
                tracing::warn!(%error, "the leader's lease cannot be taken: nothing is ordered");
                failing = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LEADER_TTL / 3) => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    leader.send_replace(false);
    if let Some(lease) = held {
        // A successor waits for it to expire otherwise.
        let _ = store.release(&lease).await;
    }
}

/// The installation's secret: made once, kept in the store.
async fn salt(store: &dyn Store) -> anyhow::Result<Salt> {
    const KEY: &str = "installation/salt";
    let bytes = match store.get(KEY).await? {
        // No write where none is needed: the disk may be full.
        Some(entry) => entry.value,
        None => {
            let fresh = rand::random::<[u8; 16]>().to_vec();
            let compare = Compare::Revision { key: KEY.into(), is: Revision(0) };
            let op = Op::Put { key: KEY.into(), value: fresh.clone() };
            match store.txn(vec![compare], vec![op]).await? {
                Committed::Yes(_) => fresh,
                // Another process was quicker.
                Committed::No => store.get(KEY).await?.map(|entry| entry.value).unwrap_or_default(),
            }
        }
    };
    let halves = bytes.split_first_chunk::<8>().and_then(|(a, b)| Some((*a, b.try_into().ok()?)));
    let (a, b) = halves.with_context(|| format!("the store's `{KEY}` is damaged"))?;
    Ok(Salt(u64::from_le_bytes(a), u64::from_le_bytes(b)))
}

async fn first_checks(edge: &dyn Edge) {
    let wait = async {
        while !edge.unready().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(FIRST_CHECKS, wait).await.is_err() {
        tracing::warn!(reasons = ?edge.unready(), "taking over before every endpoint is checked");
    }
}

/// Answers successors on a thread of its own. Nobody to succeed this process is better than nobody
/// to serve.
fn offer_sockets(
    listener: Option<UnixListener>,
    proxy: Proxy,
    control: Vec<Socket>,
) -> anyhow::Result<mpsc::Receiver<()>> {
    let (taken, was_taken) = mpsc::channel(1);
    let Some(listener) = listener else { return Ok(was_taken) };
    let give = move || {
        let control = control.iter().map(copy).collect::<io::Result<_>>()?;
        Ok(Inheritance { listeners: proxy.sockets()?, control })
    };
    std::thread::Builder::new()
        .name("handover".into())
        .spawn(move || handover::offer(listener, give, &taken))?;
    Ok(was_taken)
}

fn copy(socket: &Socket) -> io::Result<Socket> {
    Ok(match socket {
        Socket::Control(listener) => Socket::Control(listener.try_clone()?),
        Socket::ControlUnix(listener) => Socket::ControlUnix(listener.try_clone()?),
        Socket::Probes(listener) => Socket::Probes(listener.try_clone()?),
    })
}

/// The files of the Unix sockets, to be removed at the end; a successor uses them further.
fn socket_files(config: &Config, control: &[Socket], state: &Path) -> Vec<PathBuf> {
    let mut files = upgrade_socket::places(state);
    if let ControlAddress::Unix(path) = &config.control.address {
        files.push(path.clone());
    }
    for socket in control {
        if let Socket::Control(listener) = socket
            && let Ok(address) = listener.local_addr()
        {
            files.extend(twin::find(address, &twin::Surroundings::here()));
        }
    }
    files
}

fn bind_control(config: &Config) -> anyhow::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    match &config.control.address {
        ControlAddress::Tcp(address) => {
            let listener = bind_tcp("control.address", *address)?;
            let bound = listener.local_addr()?;
            sockets.push(Socket::Control(listener));
            match twin::open(bound, &twin::Surroundings::here()) {
                Ok(twin) => sockets.extend(twin.map(Socket::ControlUnix)),
                Err(error) => tracing::warn!(%error, "the CLI needs a token on this machine"),
            }
        }
        ControlAddress::Unix(path) => {
            if let Some(parent) = path.parent() {
                let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
                made.with_context(|| {
                    format!("control.address: `{}` cannot be made", parent.display())
                })?;
            }
            let listener = unix::listen(path).context("control.address")?;
            sockets.push(Socket::ControlUnix(listener));
        }
    }
    if let Some(address) = config.control.probes {
        sockets.push(Socket::Probes(bind_tcp("control.probes", address)?));
    }
    Ok(sockets)
}

fn bind_tcp(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("{key}: {address} cannot be bound"))
}

/// Connections are descriptors; the hard limit is there to be used.
/// As many descriptors as the system lets us have.
fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(current).unwrap_or(usize::MAX)
}

/// Host name and process id: two processes of an upgrade are two nodes.
fn node_name() -> String {
    let uname = rustix::system::uname();
    format!("{}/{}", uname.nodename().to_string_lossy(), std::process::id())
}
