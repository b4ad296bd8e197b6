//! What the whole process shares: the snapshot, the listeners, the checks; and how a new
//! configuration comes into force.

use crate::{
    access::AccessLog,
    compile::{self, compile},
    limit::Table,
    listener::{self, Accepting, Listener, Sockets},
    observe::Observer,
    snapshot::{Listening, Snapshot},
    upstream::{
        Endpoint, Upstream,
        endpoint::Health,
        health::{self, Checker},
    },
    waf::{AuditLog, Budget, Crawlers},
    worker::{Command, Worker},
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tidegate_certs::Certs;
use tidegate_config::{Config, Name};
use tidegate_release::{EndpointAdmin, RuntimeState, Salt};
use tidegate_waf::Interner;
use tokio::{runtime::Handle, sync::mpsc, time::Instant};

/// What a data path is made of.
pub struct Options {
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Client connections the process' descriptors allow, whatever the document says.
    pub max_connections: usize,
    /// Live keys in the rate limit table.
    pub rate_limit_keys: NonZeroUsize,
    /// The installation's assignment salt, from the store.
    pub salt: Salt,
    /// Certificates.
    pub certs: Certs,
    /// Where access lines go; `None` = nowhere.
    pub access: Option<AccessLog>,
    /// Where the WAF's audit records go; `None` = nowhere.
    pub waf_audit: Option<AuditLog>,
    /// A runtime that serves no requests, for health checks and deadlines.
    pub background: Handle,
    /// Sockets from the process this one takes over from.
    pub inherited: Vec<Sockets>,
}

/// Why a configuration could not come into force. Everything is as it was.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ApplyError(
    /// One fragment per cause.
    pub Vec<String>,
);

pub(crate) struct Core {
    snapshot: ArcSwap<Snapshot>,
    pub(crate) certs: Certs,
    pub(crate) salt: Salt,
    pub(crate) table: Arc<Table>,
    /// Patterns of WAF rules, compiled once.
    interner: Interner,
    pub(crate) crawlers: Crawlers,
    pub(crate) held_bodies: Arc<Budget>,
    pub(crate) observer: Observer,
    pub(crate) workers: Box<[Arc<Worker>]>,
    pub(crate) max_connections: usize,
    /// Client connections open now.
    pub(crate) open: Arc<AtomicUsize>,
    background: Handle,
    commands: Box<[mpsc::UnboundedSender<Command>]>,
    /// Serialises changes; requests never take it.
    control: Mutex<Control>,
}

/// What only changes touch.
#[derive(Default)]
struct Control {
    listeners: BTreeMap<Name, Arc<Listener>>,
    checkers: HashMap<(Name, SocketAddr), (Arc<Upstream>, Option<Checker>)>,
    inherited: Vec<Sockets>,
    draining: bool,
}

impl Core {
    pub(crate) fn new(
        options: Options,
        config: &Config,
    ) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Command>>) {
        let workers = options.workers.get();
        // Commands come from configuration changes only: a handful, hence unbounded.
        let (commands, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let core = Self {
            snapshot: ArcSwap::from_pointee(Snapshot::empty(config)),
            certs: options.certs,
            salt: options.salt,
            table: Arc::new(Table::new(options.rate_limit_keys.get())),
            interner: Interner::default(),
            held_bodies: Arc::default(),
            crawlers: Crawlers::new(&options.background, &config.dns.servers),
            observer: Observer::new(workers, options.access, options.waf_audit),
            workers: (0..workers).map(|index| Arc::new(Worker::new(index))).collect(),
            max_connections: options.max_connections,
            open: Arc::default(),
            background: options.background,
            commands: commands.into(),
            control: Mutex::new(Control { inherited: options.inherited, ..Control::default() }),
        };
        (Arc::new(core), receivers)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Compiles, binds and swaps: all or nothing.
    pub(crate) fn apply(
        self: &Arc<Self>,
        config: Arc<Config>,
        state: Arc<RuntimeState>,
    ) -> Result<(), ApplyError> {
        let mut control = self.control.lock();
        if control.draining {
            return Err(ApplyError(vec!["the process is draining".into()]));
        }
        let prepared = self.certs.prepare(&config).map_err(|errors| {
            ApplyError(errors.into_iter().map(|error| error.to_string()).collect())
        })?;
        let old = self.snapshot();
        let context = compile::Context {
            old: &old,
            workers: self.workers.len(),
            table: &self.table,
            interner: &self.interner,
            audits: self.observer.audit.is_some(),
            tls: &prepared.listeners,
            identity: &self.certs.identity(),
        };
        let snapshot = compile(config, state, &context).map_err(ApplyError)?;
        let bound = self.bind(&mut control, &snapshot.config).map_err(ApplyError)?;

        // Nothing below can fail.
        settle_endpoints(&snapshot);
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(Arc::clone(&snapshot));
        self.certs.commit(&prepared);
        self.crawlers.ask(&snapshot.config.dns.servers);
        self.reconcile_listeners(&mut control, &snapshot, bound);
        self.reconcile_checks(&mut control, &snapshot);
        retire_endpoints(&old, &snapshot);
        // What the old process listened on and this configuration does not is given up.
        control.inherited.clear();
        Ok(())
    }

    /// Swaps the runtime state.
    pub(crate) fn apply_state(&self, state: Arc<RuntimeState>) {
        let _control = self.control.lock();
        let old = self.snapshot();
        let snapshot = compile::with_state(&old, state, self.workers.len());
        settle_endpoints(&snapshot);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Sockets for every listener that has none yet.
    fn bind(
        &self,
        control: &mut Control,
        config: &Config,
    ) -> Result<BTreeMap<Name, Arc<Sockets>>, Vec<String>> {
        let mut bound = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, document) in &config.listeners {
            let address = document.address;
            let same = |l: &&Arc<Listener>| {
                l.configured == address && (l.name == *name || address.port() != 0)
            };
            let open = control.listeners.values().find(same);
            if let Some(sockets) = open.and_then(|listener| listener.sockets.lock().clone()) {
                bound.insert(name.clone(), sockets);
                continue;
            }
            let at = control.inherited.iter().position(|sockets| sockets.configured == address);
            let inherited = at.map(|at| control.inherited.swap_remove(at));
            // A wildcard and an address of it may both be ours, or one follow the other.
            let ours = open_addresses(control)
                .chain(bound.values().map(|sockets: &Arc<Sockets>| sockets.bound))
                .any(|ours| listener::overlap(ours, address));
            let free = match inherited {
                None if !ours => listener::is_taken(address),
                _ => Ok(()),
            };
            match free.and_then(|()| Sockets::bind(address, self.workers.len(), inherited)) {
                Ok(sockets) => drop(bound.insert(name.clone(), Arc::new(sockets))),
                Err(error) => faults.push(bind_fault(name, address, &error)),
            }
        }
        if faults.is_empty() { Ok(bound) } else { Err(faults) }
    }

    fn reconcile_listeners(
        &self,
        control: &mut Control,
        snapshot: &Snapshot,
        bound: BTreeMap<Name, Arc<Sockets>>,
    ) {
        let mut old = std::mem::take(&mut control.listeners);
        for (name, sockets) in bound {
            let listening: &Arc<Listening> = &snapshot.listeners[&name];
            let kept = old.remove(&name).filter(|listener| {
                let current = listener.sockets.lock();
                current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &sockets))
            });
            let listener = match kept {
                Some(listener) => {
                    listener.set_last(Arc::clone(listening));
                    listener
                }
                None => {
                    let listener = Arc::new(Listener::new(Arc::clone(listening), sockets));
                    tracing::info!(listener = %name, address = %listener.bound, "listening");
                    self.start_accepting(&listener);
                    listener
                }
            };
            control.listeners.insert(name, listener);
        }
        let drain = snapshot.config.server.drain;
        for listener in old.into_values() {
            let heir = control.listeners.values().find(|l| l.bound == listener.bound);
            let how = if heir.is_some() { Accepting::HandedOver } else { Accepting::Removed };
            // What the heir demands of clients holds for connections that are older, too.
            if let Some(listening) = heir.and_then(|heir| snapshot.listeners.get(&heir.name)) {
                listener.set_last(Arc::clone(listening));
            }
            tracing::info!(listener = %listener.name, address = %listener.bound, "removed");
            listener.stop(how);
            self.background.spawn(async move {
                tokio::time::sleep(drain).await;
                listener.drainer.close();
            });
        }
    }

    fn start_accepting(&self, listener: &Arc<Listener>) {
        let Some(sockets) = listener.sockets.lock().clone() else { return };
        for (at, socket) in sockets.sockets.iter().enumerate() {
            let socket = match socket.try_clone() {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!(listener = %listener.name, %error, "socket cannot be shared");
                    continue;
                }
            };
            let command = Command::Accept { listener: Arc::clone(listener), socket };
            // A worker that is gone is one that ended with the process.
            let _ = self.commands[at % self.commands.len()].send(command);
        }
    }

    /// Starts checks of new endpoints and of those whose upstream changed, stops those of
    /// endpoints that are gone.
    fn reconcile_checks(&self, control: &mut Control, snapshot: &Snapshot) {
        let mut old = std::mem::take(&mut control.checkers);
        for upstream in snapshot.upstreams.values() {
            for endpoint in &upstream.endpoints {
                let key = (upstream.name.clone(), endpoint.address);
                let entry = match old.remove(&key) {
                    Some((of, checker)) if Arc::ptr_eq(&of, upstream) => (of, checker),
                    _ => {
                        let (u, e) = (Arc::clone(upstream), Arc::clone(endpoint));
                        (Arc::clone(upstream), health::start(&self.background, u, e))
                    }
                };
                control.checkers.insert(key, entry);
            }
        }
    }

    /// The listeners in force.
    pub(crate) fn listeners(&self) -> Vec<Arc<Listener>> {
        self.control.lock().listeners.values().cloned().collect()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.control.lock().draining
    }

    /// Copies of every listening socket, for the process that takes over.
    pub(crate) fn sockets(&self) -> io::Result<Vec<Sockets>> {
        let listeners = self.listeners();
        let sockets = listeners.iter().filter_map(|listener| listener.sockets.lock().clone());
        sockets.map(|sockets| sockets.duplicate()).collect()
    }

    /// Stops accepting, and returns when every connection has ended or the deadline has come.
    pub(crate) async fn drain(&self, how: Accepting, deadline: Duration) {
        let listeners = {
            let mut control = self.control.lock();
            control.draining = true;
            control.listeners.values().cloned().collect::<Vec<_>>()
        };
        for listener in &listeners {
            listener.stop(how);
        }
        let end = Instant::now() + deadline;
        for listener in &listeners {
            // The deadline holds for the last connections, too.
            let _ = tokio::time::timeout_at(end, listener.stopped()).await;
        }
        while self.open.load(Relaxed) > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = self.open.load(Relaxed);
        if left > 0 {
            tracing::warn!(connections = left, "the drain deadline ends what is left");
        }
        for listener in &listeners {
            listener.drainer.close();
        }
        // Tasks notice at their next poll; tunnels say goodbye.
        let end = Instant::now() + Duration::from_millis(500);
        while self.open.load(Relaxed) > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.control.lock().checkers.clear();
        if let Some(access) = &self.observer.access {
            self.workers.iter().for_each(|worker| access.flush(worker));
        }
    }
}

/// What this process listens on, or was given to.
fn open_addresses(control: &Control) -> impl Iterator<Item = SocketAddr> {
    let open = control.listeners.values().map(|listener| listener.bound);
    open.chain(control.inherited.iter().map(|sockets| sockets.bound))
}

fn bind_fault(name: &Name, address: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "is taken by another process".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "needs a privilege (CAP_NET_BIND_SERVICE for ports below 1024)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "is not an address of this machine".to_owned(),
        _ => format!("cannot be bound: {error}"),
    };
    format!("listener `{name}`: {address} {why}")
}

/// Tells endpoints what operators said of them, and those without a check that they have none.
fn settle_endpoints(snapshot: &Snapshot) {
    for upstream in snapshot.upstreams.values() {
        for endpoint in &upstream.endpoints {
            let key = (upstream.name.clone(), endpoint.address);
            let said = snapshot.state.endpoints.get(&key).copied();
            let was = endpoint.admin();
            if said != was {
                endpoint.set_admin(said);
            }
            match &upstream.document.health {
                None => {
                    endpoint.end_checks();
                    endpoint.set_health(Health::Unchecked);
                }
                // Nobody looked while it was disabled.
                Some(_) if was == Some(EndpointAdmin::Disable) && said.is_none() => {
                    endpoint.set_health(Health::Unknown);
                }
                Some(_) => {}
            }
        }
        upstream.refresh();
    }
}

/// Endpoints that the new snapshot does not know keep no connection; those it knows again do.
fn retire_endpoints(old: &Snapshot, new: &Snapshot) {
    let in_new = |upstream: &Name, endpoint: &Arc<Endpoint>| {
        let upstream = new.upstreams.get(upstream);
        let same = upstream.and_then(|upstream| upstream.endpoint(endpoint.address));
        same.is_some_and(|same| Arc::ptr_eq(same, endpoint))
    };
    for upstream in old.upstreams.values() {
        for endpoint in &upstream.endpoints {
            if !in_new(&upstream.name, endpoint) {
                endpoint.retire();
            }
        }
    }
}
