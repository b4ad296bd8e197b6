//! What is in force apart from the certificates themselves; behind one short lock that
//! handshakes never take.

use crate::{
    client_auth::ClientAuth,
    clock::after,
    files::{Loaded, PairKey, Stamp},
    listener::ListenerTls,
    stored::{StoredCertificate, StoredRenewal, StoredRetry},
    table::Origin,
    wanted::Wanted,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tidegate_config::Name;
use time::OffsetDateTime;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) listeners: BTreeMap<Name, Arc<ListenerTls>>,
    pub(crate) files: BTreeMap<PairKey, FilePair>,
    pub(crate) client_auth: BTreeMap<Name, Arc<ClientAuth>>,
    /// Attempts to obtain names by ACME.
    pub(crate) attempts: BTreeMap<String, Attempt>,
    /// What authorities say about renewal, by name.
    pub(crate) renewals: BTreeMap<String, StoredRenewal>,
    /// Names whose authority is being asked about that.
    pub(crate) asking: BTreeSet<String>,
    /// Names to be ordered anew whatever the dates say: asked for, or revoked.
    pub(crate) renew: BTreeSet<String>,
    /// Names being ordered by this process.
    pub(crate) ordering: BTreeSet<String>,
    /// Certificates that are served but not in the store yet.
    pub(crate) unsaved: BTreeMap<(Origin, String), StoredCertificate>,
    /// What is wrong with names of the internal CA.
    pub(crate) internal_errors: BTreeMap<String, String>,
    /// How the certificates of authorities were had.
    pub(crate) issued: BTreeMap<String, Issuance>,
}

/// How a certificate was had from an authority.
#[derive(Clone, Debug)]
pub(crate) struct Issuance {
    /// The issuer's name.
    pub(crate) authority: String,
    /// When, by our clock; certificates carry their own idea of it.
    pub(crate) at: Option<OffsetDateTime>,
}

impl Issuance {
    pub(crate) fn of(stored: &StoredCertificate) -> Self {
        let at = stored.issued.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        Self { authority: stored.authority.clone(), at }
    }
}

/// A pair of files in use.
pub(crate) struct FilePair {
    pub(crate) loaded: Loaded,
    /// What was last seen on disk, whether or not it could be used.
    pub(crate) seen: Stamp,
    /// Whether `seen` was tried.
    pub(crate) tried: bool,
    /// Why what is on disk now is not in use.
    pub(crate) error: Option<String>,
}

impl FilePair {
    pub(crate) fn new(loaded: Loaded) -> Self {
        Self { seen: loaded.stamp.clone(), loaded, tried: true, error: None }
    }
}

/// How the attempts for a name went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    /// In a row.
    pub(crate) failures: u32,
    /// Not before.
    pub(crate) next: Option<OffsetDateTime>,
    pub(crate) error: Option<String>,
    /// Of the `[acme]` settings it failed with.
    pub(crate) settings: String,
    /// When the first of the failures was.
    pub(crate) first: Option<OffsetDateTime>,
}

impl Attempt {
    /// As kept in the store.
    pub(crate) fn stored(&self) -> StoredRetry {
        StoredRetry {
            failures: self.failures,
            next: self.next.map_or(0, OffsetDateTime::unix_timestamp),
            error: self.error.clone().unwrap_or_default(),
            settings: self.settings.clone(),
            first: self.first.map(OffsetDateTime::unix_timestamp),
        }
    }

    /// Whether it has failed for so long that nobody seems to miss it.
    pub(crate) fn is_given_up(&self, limit: Duration, now: OffsetDateTime) -> bool {
        self.first.is_some_and(|first| after(first, limit) <= now)
    }

    /// As found in the store; the wait left is at most until `latest`.
    pub(crate) fn of(stored: StoredRetry, latest: OffsetDateTime) -> Self {
        let next = OffsetDateTime::from_unix_timestamp(stored.next).ok();
        Self {
            failures: stored.failures,
            next: next.map(|next| next.min(latest)),
            error: Some(stored.error),
            settings: stored.settings,
            first: stored.first.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
        }
    }
}

impl State {
    /// Names wanted from `origin`.
    pub(crate) fn wanted_from(&self, origin: Origin) -> impl Iterator<Item = &String> {
        let names = self.wanted.names.iter();
        names.filter(move |(of, _)| *of == origin).map(|(_, name)| name)
    }
}
