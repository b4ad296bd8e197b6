//! Upstreams: pools of endpoints with balancing, health, connections and retries.

pub(crate) mod balance;
mod connect;
pub(crate) mod endpoint;
pub(crate) mod health;
mod pool;
mod tls;

pub(crate) use connect::{ConnectError, connect_h1, connect_h2};
pub(crate) use endpoint::{Endpoint, InFlight};
pub(crate) use pool::{H1Sender, H2Sender, Stream};
pub(crate) use tls::{TlsFiles, UpstreamTlsError};

use crate::{body::Replayable, cells::PerWorker};
use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};
use tidegate_config::Name;

/// An upstream as one snapshot sees it. What must survive a snapshot is behind `shared`.
pub(crate) struct Upstream {
    pub(crate) name: Name,
    pub(crate) document: tidegate_config::Upstream,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) files: TlsFiles,
    pub(crate) shared: Arc<Shared>,
    /// The endpoints a request may go to; recomputed when health or an operator's word changes.
    usable: ArcSwap<Vec<Arc<Endpoint>>>,
}

/// What of an upstream outlives reloads.
pub(crate) struct Shared {
    cursors: PerWorker<AtomicUsize>,
    /// Retries allowed, in hundredths: each request pays in its percentage, each retry takes 100.
    budget: AtomicI64,
    pub(crate) connects: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) retries_over_budget: AtomicU64,
}

/// The most retries saved up, and what a new upstream starts with, in hundredths.
const BUDGET_CAP: i64 = 100 * 100;

impl Shared {
    pub(crate) fn new(workers: usize) -> Self {
        let cursors: PerWorker<AtomicUsize> = PerWorker::new(workers);
        for cursor in cursors.iter() {
            // Workers that all start at the first endpoint would march in step.
            cursor.store(rand::random_range(0..1 << 20), Relaxed);
        }
        Self {
            cursors,
            budget: AtomicI64::new(BUDGET_CAP),
            connects: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            retries_over_budget: AtomicU64::new(0),
        }
    }
}

impl Upstream {
    pub(crate) fn new(
        name: Name,
        document: tidegate_config::Upstream,
        files: TlsFiles,
        endpoints: Vec<Arc<Endpoint>>,
        shared: Arc<Shared>,
        identity: &Arc<dyn ResolvesClientCert>,
    ) -> Result<Self, UpstreamTlsError> {
        let tls = document.tls.as_ref();
        let tls = tls.map(|tls| tls::client_config(tls, &files, document.protocol, identity));
        let usable = ArcSwap::from_pointee(balance::usable(&endpoints));
        Ok(Self { name, document, endpoints, tls: tls.transpose()?, files, shared, usable })
    }

    /// Recomputes which endpoints may be used.
    pub(crate) fn refresh(&self) {
        self.usable.store(Arc::new(balance::usable(&self.endpoints)));
    }

    pub(crate) fn usable(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.usable.load_full()
    }

    /// Chooses an endpoint and counts the request in.
    pub(crate) fn choose(&self, worker: usize, tried: &[Arc<Endpoint>]) -> Option<InFlight> {
        let usable = self.usable.load();
        let cursor = self.shared.cursors.of(worker);
        let balance = self.document.balance;
        balance::pick(balance, &usable, tried, cursor, rand::random()).map(InFlight::enter)
    }

    /// A request pays into the retry budget.
    pub(crate) fn deposit(&self) {
        let budget = &self.shared.budget;
        if budget.load(Relaxed) < BUDGET_CAP {
            budget.fetch_add(i64::from(self.document.retries.budget_percent), Relaxed);
        }
    }

    /// A retry of something that was sent takes from the budget; `false` when it is used up.
    pub(crate) fn withdraw(&self) -> bool {
        let taken = self.document.retries.budget_percent > 0
            && self
                .shared
                .budget
                .fetch_update(Relaxed, Relaxed, |left| (left >= 100).then_some(left - 100))
                .is_ok();
        if !taken {
            self.shared.retries_over_budget.fetch_add(1, Relaxed);
        }
        taken
    }

    pub(crate) fn endpoint(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| endpoint.address == address)
    }
}

/// A connection on loan from a pool; it goes back when the response has been read to its end.
pub(crate) struct Lease {
    pub(crate) sender: Option<H1Sender>,
    /// Its place on a shared HTTP/2 connection.
    pub(crate) _stream: Option<Stream>,
    /// The request's body, if it has one.
    pub(crate) body: Option<Replayable>,
    pub(crate) in_flight: InFlight,
    pub(crate) worker: usize,
    pub(crate) max_idle: usize,
}

impl Lease {
    /// The response is over. The connection is clean if the request is, too: an upstream may
    /// answer early, and whoever took the connection then would wait for somebody else's upload.
    pub(crate) fn finished(self) {
        let endpoint = self.in_flight.endpoint();
        let sent = self.body.is_none_or(|body| body.delivered().is_some());
        if let Some(sender) = self.sender
            && sent
            && endpoint.keeps_connections()
        {
            endpoint.pools[self.worker].put(sender, self.max_idle);
        }
    }
}
