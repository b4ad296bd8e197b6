//! The control plane of one process: which document and runtime state are in force, how they
//! change, and who may know.
//!
//! Changes are made one at a time, under `turn`; readers take the current [`View`] and never
//! wait. The data path knows nothing of this: it is handed finished states through
//! [`Edge`](crate::ports::Edge).

mod background;
mod credentials;
mod endpoints;
mod reload;
mod view;
mod weights;

pub use credentials::{NewToken, TokenError};
pub use endpoints::{EndpointChange, EndpointError, EndpointState};
pub use reload::{LastReloadError, ReloadFailed, Reloaded};
pub use view::View;
pub use weights::{Origin, Precondition, WeightsError, WeightsStatus};

use crate::{
    backlog::Backlog,
    clock::Moment,
    idempotency::Answers,
    keys,
    metrics::Metrics,
    ports::{ApplyError, Certificates, Edge},
    records::Records,
    revisions::{self, Cause, RevisionRecord},
    source::{Document, Source},
    tokens::Tokens,
};
use parking_lot::RwLock;
use prometheus::Registry;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_store::{Op, Revision, Store, StoreError};
use tokio::sync::Mutex;

/// The longest wait for one call of the store. A change that cannot be written in this time is
/// refused (or, if it reduces risk, owed), so that nobody holds the turn for longer.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What a control plane is made of.
pub struct Setup {
    /// The data path.
    pub edge: Arc<dyn Edge>,
    /// Where control state lives.
    pub store: Arc<dyn Store>,
    /// Where the document comes from.
    pub source: Arc<dyn Source>,
    /// The certificates held.
    pub certificates: Arc<dyn Certificates>,
    /// Served at `/metrics`; the control plane adds its own.
    pub registry: Registry,
    /// The node's name, shown in the status.
    pub node: String,
    /// The binary's version.
    pub version: &'static str,
    /// Further names clients may use for the control address in `Host`, beside loopback names
    /// and IP addresses.
    pub hosts: Vec<String>,
}

/// The control plane of one process.
///
/// Its changing methods are not to be dropped half-way: call them from a task of their own when
/// the caller may go away (the API does).
pub struct Plane {
    pub(crate) edge: Arc<dyn Edge>,
    pub(crate) certificates: Arc<dyn Certificates>,
    pub(crate) registry: Registry,
    pub(crate) node: String,
    pub(crate) version: &'static str,
    pub(crate) hosts: Vec<String>,
    pub(crate) started: (Moment, Instant),
    pub(crate) metrics: Metrics,
    pub(crate) tokens: Tokens,
    pub(crate) answers: Answers,
    pub(crate) source: Arc<dyn Source>,
    store: Arc<dyn Store>,
    backlog: Backlog,
    view: RwLock<Arc<View>>,
    last_error: RwLock<Option<LastReloadError>>,
    /// Held while a change is made.
    turn: Mutex<()>,
    /// The store's revision at start: the watches begin there.
    read_at: Revision,
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read: without the runtime state, traffic might go where it must not.
    #[error("the runtime state cannot be read")]
    Store(#[from] StoreError),
    /// The data path refused the document.
    #[error("the configuration cannot be put into force")]
    Apply(#[from] ApplyError),
    /// A metric is registered already.
    #[error("the control plane's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

impl Plane {
    /// Reads the runtime state from the store, puts `document` with it into force and records
    /// it as a revision. `document` has been loaded by the caller, who needs it to know where
    /// the store is; later ones come from the source.
    pub async fn start(setup: Setup, document: Document) -> Result<Arc<Self>, StartError> {
        let metrics = Metrics::register(&setup.registry)?;
        let store = setup.store;
        let (records, read_at) = patiently(store.range(keys::RUNTIME)).await?;
        let (tokens, _) = patiently(store.range(keys::TOKENS)).await?;
        let (answers, _) = patiently(store.range(keys::ANSWERS)).await?;
        let newest = patiently(revisions::newest(&*store)).await?;
        let records = Records::read(records);

        let (state, stranded) = records.state(&document.config);
        for service in &stranded {
            tracing::error!(
                %service,
                "the weights set through the API give no version of the document any weight; \
                 the document's are served"
            );
        }
        setup.edge.apply(document.config.clone(), Arc::new(state)).await?;
        let document = document.follow(setup.edge.rules_read(false).await);

        let backlog = Backlog::default();
        let revision = match patiently(revisions::record(&*store, &document, &Cause::Start)).await {
            Ok(revision) => revision,
            // A full disk must not keep the node from serving.
            Err(error) => {
                tracing::warn!(%error, "the revision is not recorded yet");
                let revision = RevisionRecord::new(newest + 1, &document, Cause::Start);
                backlog.owe(Op::Put { key: revision.key(), value: revision.encode() });
                revision
            }
        };
        metrics.revision.set(i64::try_from(revision.number).unwrap_or(i64::MAX));
        metrics.last_reload_success.set(1);
        tracing::info!(revision = revision.number, digest = revision.digest, "in force");

        Ok(Arc::new(Self {
            edge: setup.edge,
            certificates: setup.certificates,
            registry: setup.registry,
            node: setup.node,
            version: setup.version,
            hosts: setup.hosts,
            started: (Moment::now(), Instant::now()),
            metrics,
            tokens: Tokens::read(tokens),
            answers: Answers::read(store.clone(), answers),
            source: setup.source,
            store,
            backlog,
            view: RwLock::new(Arc::new(View { document, revision, records })),
            last_error: RwLock::new(None),
            turn: Mutex::new(()),
            read_at,
        }))
    }

    /// What is in force.
    pub fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Whether everything in force is on disk, and what comes next can be.
    pub fn durable(&self) -> bool {
        self.backlog.is_empty() && self.unwritable().is_none()
    }

    /// Why the store takes no change now.
    pub fn unwritable(&self) -> Option<Arc<str>> {
        self.store.unwritable()
    }

    /// Changes in force that are not on disk yet.
    pub fn unwritten(&self) -> usize {
        self.backlog.len()
    }

    /// Why the last reload was refused, until one succeeds.
    pub fn last_reload_error(&self) -> Option<LastReloadError> {
        self.last_error.read().clone()
    }

    /// Changes what is in force and tells the data path. Only called with the turn held.
    async fn publish_records(&self, view: &View, records: Records) {
        let (state, _) = records.state(&view.document.config);
        let view = View { records, ..view.clone() };
        *self.view.write() = Arc::new(view);
        self.edge.apply_state(Arc::new(state)).await;
    }
}

/// Waits for the store, but not for ever.
async fn patiently<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_PATIENCE, call).await.unwrap_or_else(|_| {
        Err(StoreError::Io {
            path: "store".into(),
            doing: "reached",
            cause: format!("no answer within {} s", STORE_PATIENCE.as_secs()),
        })
    })
}
