//! Certificates: which one answers a ClientHello, where they come from, how they stay valid, and
//! which ones clients have to show.
//!
//! Three origins: files of a listener, an internal CA for local names, and certificate
//! authorities by ACME. Everything but the files lives in the store, keys included; a restart
//! orders nothing anew, and two processes that share the store (an upgrade of the binary) order
//! a name once and answer each other's challenges. Handshakes read snapshots without locks and
//! never wait for the store, a file or a CA, but for names that a listener has on demand.

mod acme;
mod aside;
mod ask;
mod certificate;
mod challenges;
mod client_auth;
mod client_identity;
mod clock;
mod distinguished_name;
mod dns01;
mod drive;
mod error;
mod event;
mod export;
mod files;
mod follow;
mod gcra;
mod held;
mod http;
mod import;
mod internal;
mod job;
mod listener;
mod metrics;
mod name_map;
mod names;
mod ocsp;
mod on_demand;
mod open;
mod pattern;
mod pem;
mod plan;
mod policies;
mod policy;
mod prepare;
mod reread;
mod save;
mod schedule;
mod session;
mod state;
mod status;
mod stored;
mod table;
mod tickets;
mod verbs;
mod wanted;

pub use acme::RevocationReason;
pub use client_auth::ClientAuth;
pub use client_identity::ClientIdentity;
pub use clock::Clock;
pub use drive::Reason;
pub use error::CertsError;
pub use event::{Event, EventKind};
pub use export::{Exported, export};
pub use files::read_pair;
pub use import::{ImportError, Imported};
pub use listener::{Denied, ListenerTls, Selected};
pub use on_demand::Demand;
pub use plan::{Plan, PlanCheck, PlannedName};
pub use prepare::Prepared;
pub use schedule::Schedule;
pub use session::Session;
pub use status::{CertificateState, CertificateStatus, Source};

use acme::Orders;
use arc_swap::ArcSwap;
use challenges::Challenges;
use event::Events;
use internal::{Identity, InternalCa};
use metrics::Metrics;
use on_demand::Flight;
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use state::State;
use std::{fmt, sync::Arc};
use table::Managed;
use tickets::Ring;
use tidegate_config::Config;
use tidegate_store::Store;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

/// What [`Certs::open`] needs.
#[derive(Debug)]
pub struct Options {
    /// Where certificates, accounts and the internal CA are kept.
    pub store: Arc<dyn Store>,
    /// Where the metrics are registered; once per registry.
    pub registry: prometheus::Registry,
    /// This node's name; a part of the holder of leases.
    pub node: String,
    /// How often and how long.
    pub schedule: Schedule,
    /// The wall clock.
    pub clock: Clock,
}

impl Options {
    /// Options with the default schedule and the system's clock.
    pub fn new(
        store: Arc<dyn Store>,
        registry: prometheus::Registry,
        node: impl Into<String>,
    ) -> Self {
        Self {
            store,
            registry,
            node: node.into(),
            schedule: Schedule::default(),
            clock: Clock::default(),
        }
    }
}

/// The certificates of this process. A handle; clones share everything.
#[derive(Clone)]
pub struct Certs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    /// Unique to this process, so that the other one of an upgrade counts as somebody else.
    holder: String,
    schedule: Schedule,
    clock: Clock,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    internal: ArcSwap<InternalCa>,
    identity: Arc<Identity>,
    managed: Arc<Managed>,
    challenges: Arc<Challenges>,
    tickets: Arc<Ring>,
    orders: Orders,
    state: Mutex<State>,
    /// What opening had to put right.
    notices: Vec<String>,
    /// There may be something to do.
    wake: Notify,
    /// The right to a dry run.
    planning: Semaphore,
    /// A certificate came, or an order failed.
    news: watch::Sender<()>,
    /// For names on demand that are to be had.
    flights: mpsc::Sender<Flight>,
    /// Where they come out; taken by who maintains.
    departures: Mutex<Option<mpsc::Receiver<Flight>>>,
}

impl Certs {
    /// Loads what is stored: certificates, challenges, the internal CA. Never contacts a CA, and
    /// never fails because of a broken entry: that is moved to `broken/...` in the store and
    /// reported ([`Certs::notices`]).
    pub async fn open(options: Options) -> Result<Self, CertsError> {
        open::open(options).await.map(|inner| Self { inner: Arc::new(inner) })
    }

    /// What opening had to put right, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.inner.notices
    }

    /// Reads files and builds what every TLS listener of `config` needs: all or nothing, and
    /// nothing in force is changed. Blocks on files.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, Vec<CertsError>> {
        prepare::prepare(&self.inner, config)
    }

    /// Makes the prepared names the wanted ones and wakes the maintenance loop. Certificates of
    /// the internal CA answer from here on, so call it before the listeners accept.
    pub fn commit(&self, prepared: &Prepared) {
        prepare::commit(&self.inner, prepared);
    }

    /// Maintenance, until `stop` turns true: orders and renews (only while `leader` is true),
    /// reads changed files again, follows what other processes store.
    pub async fn maintain(&self, leader: watch::Receiver<bool>, mut stop: watch::Receiver<bool>) {
        let inner = &self.inner;
        let work = async {
            tokio::join!(
                follow::follow(inner),
                reread::reread(inner),
                ocsp::staple(inner),
                dns01::clear(inner, leader.clone()),
                on_demand::serve(inner),
                drive::drive(inner, leader)
            )
        };
        tokio::select! {
            _ = Box::pin(work) => {}
            // An error means that whoever would say stop is gone.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// The key authorization for an HTTP-01 token, if that challenge is open here or in another
    /// process that shares the store.
    pub fn http01(&self, token: &str) -> Option<String> {
        self.inner.challenges.http(token)
    }

    /// Every certificate that is served or wanted, by name.
    pub fn list(&self) -> Vec<CertificateStatus> {
        status::list(&self.inner)
    }

    /// What happened after the event `id` (0: all that is kept), the oldest first.
    pub fn events(&self, id: u64) -> Vec<Event> {
        self.inner.events.after(id)
    }

    /// Takes a certificate that somebody else obtained: served at once for the names that
    /// listeners serve by ACME, and renewed by ACME when it is due.
    pub async fn import(&self, chain: &str, key: &str) -> Result<Imported, ImportError> {
        import::import(&self.inner, chain, key).await
    }

    /// Orders a certificate for `name` anew, now: without waiting for its time, or for the next
    /// attempt after a failure. What is held is served until then. It is in the queue when this
    /// returns; [`Certs::list`] tells what becomes of it.
    ///
    /// Authorities allow a few certificates a week for a name, and a few failures an hour. So
    /// one that was issued within the last hour, and the wait after a failure, are only overridden
    /// for who insists.
    pub fn renew(&self, name: &str, insist: bool) -> Result<(), CertsError> {
        verbs::renew(&self.inner, name, insist)
    }

    /// Gives the account at the issuer `name` of `[acme]` another key (RFC 8555 section 7.3.5); a
    /// crash at any moment loses neither. Refused while orders are under way: what proves them is
    /// made of the key.
    pub async fn roll_account_over(&self, name: &str) -> Result<(), CertsError> {
        verbs::roll_account_over(&self.inner, name).await
    }

    /// A dry run: what would be ordered now, and what keeps it from being had. With `names`, those
    /// are looked at, whether they would be ordered or not. Nothing is ordered. Takes seconds: this
    /// node is looked at by its own addresses, and name servers and authorities are asked.
    pub async fn plan(&self, names: &[String]) -> Plan {
        // What it opens is closed again also when nobody waits for the answer any more.
        let (inner, names) = (Arc::clone(&self.inner), names.to_vec());
        let done = tokio::spawn(async move { plan::plan(&inner, &names).await }).await;
        // An error means that the runtime ends.
        done.unwrap_or_default()
    }

    /// Revokes the certificate an authority issued for `name` (RFC 8555 section 7.6) and orders
    /// another; it is served until that is there.
    pub async fn revoke(&self, name: &str, reason: RevocationReason) -> Result<(), CertsError> {
        verbs::revoke(&self.inner, name, reason).await
    }

    /// What is shown to upstreams that ask for a certificate, where they are to get one of the
    /// internal CA: it names this node (`tidegate://NODE`), and is another every few days.
    pub fn identity(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&self.inner.identity) as _
    }

    /// The internal CA's root certificate in PEM, for trust stores.
    pub fn root_pem(&self) -> String {
        self.inner.internal.load().root_pem().to_owned()
    }
}

impl fmt::Debug for Certs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certs").field("holder", &self.inner.holder).finish_non_exhaustive()
    }
}
