//! A certificate in use, and what a connection remembers of it.

use crate::{certificate::Certificate, name_map::NameMap, names, ocsp::Staple, policy::Policy};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{ServerConfig, SignatureScheme, sign::CertifiedKey};
use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tidegate_store::Revision;
use time::OffsetDateTime;

/// What a connection was served with: the names of the certificate that answered. It outlives
/// the certificate, so a renewal changes nothing for open connections.
#[derive(Debug)]
pub(crate) struct Served {
    names: Vec<String>,
}

impl Served {
    /// Whether the certificate covers `host` (lower case, no port).
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| names::covers(name, host))
    }
}

/// A certificate ready to be shown.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) certificate: Certificate,
    pub(crate) served: Arc<Served>,
    /// The store's revision that wrote it; 0 while it is not there.
    revision: AtomicU64,
    /// What clients are shown: the certificate with its key and, if there is one, its staple.
    shown: Arc<ArcSwap<CertifiedKey>>,
    staple: Mutex<Staple>,
    /// Whether a client was shown it since somebody looked.
    used: AtomicBool,
    /// One configuration per policy that has shown it: as many as listeners, made at first use.
    configs: ArcSwap<Vec<Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    policy: Weak<Policy>,
    config: Arc<ServerConfig>,
}

impl Held {
    /// One that is not in the store, or not yet.
    pub(crate) fn new(certificate: Certificate) -> Arc<Self> {
        Self::stored(certificate, Revision(0))
    }

    /// One as `revision` of the store has it.
    pub(crate) fn stored(certificate: Certificate, revision: Revision) -> Arc<Self> {
        let served = Arc::new(Served { names: certificate.names.clone() });
        let revision = AtomicU64::new(revision.0);
        let shown = Arc::new(ArcSwap::new(Arc::clone(&certificate.key)));
        let (staple, used, configs) =
            (Mutex::default(), AtomicBool::new(false), ArcSwap::default());
        Arc::new(Self { certificate, served, revision, shown, staple, used, configs })
    }

    /// What is older than this in the store is older than the certificate.
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Relaxed))
    }

    /// The store has it, or something it supersedes, at `revision`.
    pub(crate) fn seen_at(&self, revision: Revision) {
        self.revision.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// The configuration that shows this certificate under `policy`; always the same one.
    pub(crate) fn config(&self, policy: &Arc<Policy>) -> Arc<ServerConfig> {
        let known = |slots: &[Slot]| {
            let mine = |slot: &&Slot| std::ptr::eq(slot.policy.as_ptr(), Arc::as_ptr(policy));
            slots.iter().find(mine).map(|slot| Arc::clone(&slot.config))
        };
        if let Some(config) = known(&self.configs.load()) {
            return config;
        }
        let slot = Slot { policy: Arc::downgrade(policy), config: policy.config(&self.shown) };
        self.configs.rcu(|slots| {
            let mut slots: Vec<Slot> = slots.as_ref().clone();
            if known(&slots).is_none() {
                slots.retain(|slot| slot.policy.strong_count() > 0);
                slots.push(slot.clone());
            }
            slots
        });
        // Another connection may have been quicker.
        known(&self.configs.load()).unwrap_or(slot.config)
    }

    /// A client is shown it. Written once between two looks, or workers would pass its cache line
    /// to and fro.
    pub(crate) fn note_use(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a client was shown it since this was last asked.
    pub(crate) fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Whether its responder is to be asked now, or the answer that is shown has ended.
    pub(crate) fn is_to_be_asked(&self, now: OffsetDateTime) -> bool {
        self.certificate.question.is_some() && self.staple.lock().is_due(now)
    }

    pub(crate) fn ask_again_at(&self, next: OffsetDateTime) {
        self.staple.lock().again_at(next);
    }

    /// Shows an answer until its end; it is asked again at `next`.
    pub(crate) fn show_staple(&self, answer: Vec<u8>, until: OffsetDateTime, next: OffsetDateTime) {
        let mut staple = self.staple.lock();
        staple.until = Some(until);
        staple.again_at(next);
        self.show(Some(answer));
    }

    /// Shows an answer that has ended no longer.
    pub(crate) fn drop_old_staple(&self, now: OffsetDateTime) {
        let mut staple = self.staple.lock();
        if staple.has_ended(now) {
            staple.until = None;
            self.show(None);
        }
    }

    /// The certificate is revoked: it is shown without an answer until it is replaced. Whether
    /// that is news.
    pub(crate) fn note_revoked(&self) -> bool {
        let mut staple = self.staple.lock();
        staple.until = None;
        self.show(None);
        !std::mem::replace(&mut staple.is_revoked, true)
    }

    /// What is known of its standing.
    pub(crate) fn standing(&self) -> Staple {
        *self.staple.lock()
    }

    fn show(&self, ocsp: Option<Vec<u8>>) {
        let shown = CertifiedKey { ocsp, ..CertifiedKey::clone(&self.certificate.key) };
        self.shown.store(Arc::new(shown));
    }

    /// Whether a client with these signature schemes can be served.
    fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.certificate.key.key.choose_scheme(schemes).is_some()
    }
}

/// Certificates from files by the names they contain; several for one name differ in the kind
/// of key.
pub(crate) type FileIndex = NameMap<Vec<Arc<Held>>>;

/// Indexes `held` by every name.
pub(crate) fn index(held: &[Arc<Held>]) -> FileIndex {
    let mut index = FileIndex::default();
    for held in held {
        for name in &held.certificate.names {
            index.entry(name).push(Arc::clone(held));
        }
    }
    index
}

/// The first that suits the client, else the first.
pub(crate) fn choose<'a>(
    held: &'a [Arc<Held>],
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<Held>> {
    held.iter().find(|held| held.suits(schemes)).or(held.first())
}
