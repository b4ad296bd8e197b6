//! One control plane on real sockets, and a plain HTTP client to talk to it.

use crate::http::{self, Reply};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tidegate_certs::{
    CertificateStatus, CertsError, Event, ImportError, Imported, Plan, RevocationReason,
};
use tidegate_config::{Config, Name};
use tidegate_control::{
    Document, Fault, Files, Plane, Setup, Socket, Source, SourceFile, ports::*, serve, unix,
};
use tidegate_release::{EndpointAdmin, RuntimeState};
use tidegate_store::{
    Committed, Compare, Entry, Lease, Op, Revision, Sqlite, Store, StoreError, Watch,
};
use tokio::{net::UnixStream, sync::watch};

pub(crate) const DOCUMENT: &str = r#"
[listeners.http]
address = "127.0.0.1:0"

[upstreams.blue]
endpoints = ["127.0.0.1:7001", "[::1]:7001"]
[upstreams.green]
endpoints = ["127.0.0.1:7002"]

[services.shop.versions]
blue  = { upstream = "blue",  weight = 100 }
green = { upstream = "green", weight = 0 }

[routes.shop]
service = "shop"
"#;

/// The data path: does what it is told and remembers it, or refuses.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) refuses: Mutex<Option<Vec<String>>>,
    pub(crate) unready: Mutex<Vec<String>>,
    pub(crate) applied: Mutex<usize>,
    now: Mutex<Option<(Arc<Config>, Arc<RuntimeState>)>>,
    /// What `apply_state` waits for, to hold a change up half-way.
    pub(crate) gate: tokio::sync::RwLock<()>,
}

impl Recorder {
    pub(crate) fn config(&self) -> Arc<Config> {
        self.now.lock().as_ref().expect("applied").0.clone()
    }

    pub(crate) fn state(&self) -> Arc<RuntimeState> {
        self.now.lock().as_ref().expect("applied").1.clone()
    }

    /// The weights in force, in hundredths.
    pub(crate) fn weight(&self, version: &str) -> u32 {
        let services = self.services();
        let mut versions = services.iter().flat_map(|service| &service.versions);
        versions.find(|v| v.name.as_str() == version).expect("a version").weight_hundredths
    }

    pub(crate) fn admin(&self, address: &str) -> Option<EndpointAdmin> {
        let address: SocketAddr = address.parse().unwrap();
        let state = self.state();
        state.endpoints.iter().find(|((_, at), _)| *at == address).map(|(_, admin)| *admin)
    }
}

#[async_trait]
impl Edge for Recorder {
    async fn apply(&self, config: Arc<Config>, state: Arc<RuntimeState>) -> Result<(), ApplyError> {
        if let Some(faults) = self.refuses.lock().clone() {
            return Err(ApplyError(faults));
        }
        *self.now.lock() = Some((config, state));
        *self.applied.lock() += 1;
        Ok(())
    }

    async fn rules_read(&self, _now: bool) -> Vec<SourceFile> {
        Vec::new()
    }

    async fn apply_state(&self, state: Arc<RuntimeState>) {
        let _open = self.gate.read().await;
        let mut now = self.now.lock();
        let (config, _) = now.take().expect("applied");
        *now = Some((config, state));
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        Vec::new()
    }

    fn services(&self) -> Vec<ServiceStatus> {
        let state = self.state();
        let service = |(name, service): (&Name, &tidegate_config::Service)| ServiceStatus {
            name: name.clone(),
            versions: service
                .versions
                .iter()
                .map(|(version, documented)| VersionStatus {
                    name: version.clone(),
                    upstream: documented.upstream.clone(),
                    weight_hundredths: match state.weights.get(name) {
                        Some(weights) => weights.get(version).map_or(0, |w| w.hundredths()),
                        None => documented.weight.hundredths(),
                    },
                    requests: 0,
                    failures: 0,
                    in_flight: 0,
                })
                .collect(),
        };
        self.config().services.iter().map(service).collect()
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let state = self.state();
        let upstream = |(name, upstream): (&Name, &tidegate_config::Upstream)| UpstreamStatus {
            name: name.clone(),
            endpoints: upstream
                .endpoints
                .iter()
                .map(|address| EndpointStatus {
                    address: *address,
                    health: "unchecked",
                    last_failure: None,
                    admin: match state.endpoints.get(&(name.clone(), *address)) {
                        None => "active",
                        Some(EndpointAdmin::Drain) => "drain",
                        Some(EndpointAdmin::Disable) => "disable",
                    },
                    in_flight: 0,
                })
                .collect(),
        };
        self.config().upstreams.iter().map(upstream).collect()
    }

    fn explain(&self, query: &ExplainQuery) -> Explanation {
        let says = format!("{} {} {:?}", query.method, query.url, query.headers);
        Explanation {
            steps: vec![ExplainStep { stage: "normalise", says }],
            outcome: "refused",
            route: None,
            service: None,
            version: None,
            endpoints: Vec::new(),
            reason: Some("no_route"),
        }
    }

    fn unready(&self) -> Vec<String> {
        self.unready.lock().clone()
    }
}

struct NoCertificates;

fn known(name: &str) -> Result<(), CertsError> {
    match name {
        "shop" => Ok(()),
        other => Err(CertsError::Name { name: other.into(), what: "is not one".into() }),
    }
}

#[async_trait::async_trait]
impl Certificates for NoCertificates {
    fn list(&self) -> Vec<CertificateStatus> {
        Vec::new()
    }

    fn root_pem(&self) -> String {
        String::new()
    }

    fn renew(&self, name: &str, insist: bool) -> Result<(), CertsError> {
        match name {
            "fresh" if !insist => {
                let what = "had one a moment ago".to_owned();
                Err(CertsError::Early { name: name.to_owned(), what })
            }
            "fresh" => Ok(()),
            name => known(name),
        }
    }

    fn events(&self, _: u64) -> Vec<Event> {
        Vec::new()
    }

    async fn plan(&self, _: &[String]) -> Plan {
        Plan { names: Vec::new(), left_out: 0, issuers: Vec::new() }
    }

    async fn revoke(&self, name: &str, _: RevocationReason) -> Result<(), CertsError> {
        known(name)
    }

    async fn roll_account_over(&self, issuer: &str) -> Result<(), CertsError> {
        known(issuer)
    }

    async fn import(&self, chain: &str, _: &str) -> Result<Imported, ImportError> {
        match chain {
            "good" => Ok(Imported {
                names: vec!["a.test".into()],
                unused: Vec::new(),
                not_after: "2030-01-01T00:00:00Z".into(),
            }),
            other => Err(ImportError::Bad(format!("`{other}` is no chain"))),
        }
    }
}

/// The real store, or a full disk.
#[derive(Debug)]
pub(crate) struct Disk {
    store: Sqlite,
    pub(crate) full: AtomicBool,
}

impl Disk {
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Disk {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }
    async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.store.range(prefix).await
    }
    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Committed, StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Io {
                path: "state.db".into(),
                doing: "written",
                cause: "no space left on device".to_owned(),
            });
        }
        self.store.txn(compares, ops).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        self.store.watch(prefix, from).await
    }
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        self.store.acquire(name, holder, ttl).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store.release(lease).await
    }
    fn unwritable(&self) -> Option<Arc<str>> {
        self.full.load(Ordering::SeqCst).then(|| "no space left on device".into())
    }
}

/// The files, without anybody looking at them.
struct Unwatched(Files);

impl Source for Unwatched {
    fn load(&self) -> Result<Document, Vec<Fault>> {
        self.0.load()
    }

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// What outlives a process: its files and its state.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        home.write(DOCUMENT);
        home
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("etc/tidegate.toml")
    }

    /// Replaces the document the way editors do.
    pub(crate) fn write(&self, document: &str) {
        let file = self.file();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let temporary = file.with_extension("tmp");
        std::fs::write(&temporary, document).unwrap();
        std::fs::rename(&temporary, &file).unwrap();
    }
}

/// A running control plane.
pub(crate) struct Node {
    pub(crate) edge: Arc<Recorder>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) plane: Arc<Plane>,
    pub(crate) control: SocketAddr,
    pub(crate) probes: SocketAddr,
    pub(crate) socket: PathBuf,
    stop: watch::Sender<bool>,
    tasks: tokio::task::JoinSet<()>,
    home: Option<Home>,
}

impl Node {
    /// In a home nobody else needs.
    pub(crate) async fn alone() -> Self {
        let home = Home::new();
        let node = Self::start(&home).await;
        Self { home: Some(home), ..node }
    }

    /// Reloads when it is told to.
    pub(crate) async fn start(home: &Home) -> Self {
        Self::run(home, "a", Arc::new(Unwatched(Files(vec![home.file()])))).await
    }

    /// Follows its files.
    pub(crate) async fn watching(home: &Home) -> Self {
        Self::watching_named(home, "a").await
    }

    /// `name` tells apart processes that share a home.
    pub(crate) async fn watching_named(home: &Home, name: &str) -> Self {
        Self::run(home, name, Arc::new(Files(vec![home.file()]))).await
    }

    async fn run(home: &Home, name: &str, source: Arc<dyn Source>) -> Self {
        let state = home.dir.path().join("state");
        let (store, _) = Sqlite::open(&state).unwrap();
        let disk = Arc::new(Disk { store, full: AtomicBool::new(false) });
        let edge = Arc::new(Recorder::default());
        let document = source.load().expect("the document is valid");
        let setup = Setup {
            edge: edge.clone(),
            store: disk.clone(),
            source,
            certificates: Arc::new(NoCertificates),
            registry: prometheus::Registry::new(),
            node: "test".to_owned(),
            version: "0.0.0",
            hosts: vec!["edge.example.com".to_owned()],
        };
        let plane = Plane::start(setup, document).await.unwrap();
        let tcp = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (control, probes) = (tcp(), tcp());
        let socket = home.dir.path().join(format!("{name}.sock"));
        let (stop, stopped) = watch::channel(false);
        let addresses = (control.local_addr().unwrap(), probes.local_addr().unwrap());
        let sockets = vec![
            Socket::Control(control),
            Socket::Probes(probes),
            Socket::ControlUnix(unix::listen(&socket).unwrap()),
        ];
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(plane.clone().background(stopped.clone()));
        let serving = serve(plane.clone(), sockets, stopped);
        tasks.spawn(async { serving.await.unwrap() });
        let (control, probes) = addresses;
        Self { edge, disk, plane, control, probes, socket, stop, tasks, home: None }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send(true).unwrap();
        while self.tasks.join_next().await.is_some() {}
        self.disk.store.close().await;
        drop(self.home);
    }

    /// A request of the owner, over the Unix socket.
    pub(crate) async fn owner(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        http::send(stream, request, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.owner(&format!("GET {path}"), &[], "").await
    }

    /// A request over TCP, with exactly these headers.
    pub(crate) async fn tcp(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let stream = tokio::net::TcpStream::connect(self.control).await.unwrap();
        http::send(stream, request, headers, body).await
    }

    /// A request with a token, as a well-behaved client makes it.
    pub(crate) async fn with_token(&self, token: &str, request: &str, body: &str) -> Reply {
        let (bearer, host) = (format!("Bearer {token}"), self.control.to_string());
        self.tcp(request, &[("host", &host), ("authorization", &bearer)], body).await
    }

    pub(crate) async fn token(&self, role: &str) -> String {
        let body = format!(r#"{{"name": "{role}-1", "role": "{role}"}}"#);
        let made = self.owner("POST /v1/tokens", &[], &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["secret"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn set_weights(&self, etag: &str, body: &str) -> Reply {
        self.owner("PUT /v1/services/shop/weights", &[("if-match", etag)], body).await
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came true: {what}");
}
