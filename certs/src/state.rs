//! What is in force apart from the certificates themselves; behind one short lock that
//! handshakes never take.

use crate::{
    client_auth::ClientAuth,
    clock::after,
    files::{Loaded, PairKey, Stamp},
    held::Held,
    import::IMPORTED,
    listener::ListenerTls,
    names,
    on_demand::{OnDemand, Wish, Wishes},
    save::Leaf,
    schedule::Schedule,
    stored::{StoredCertificate, StoredRenewal, StoredRetry},
    table::{Origin, Table},
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
    /// When names were last ordered anew because their certificate was revoked.
    pub(crate) replaced: BTreeMap<String, OffsetDateTime>,
    /// Names being ordered by this process.
    pub(crate) ordering: BTreeSet<String>,
    /// Certificates that are served but not in the store yet.
    pub(crate) unsaved: BTreeMap<(Origin, String), Leaf>,
    /// What is wrong with names of the internal CA.
    pub(crate) internal_errors: BTreeMap<String, String>,
    /// How the certificates of authorities were had.
    pub(crate) issued: BTreeMap<String, Issuance>,
    /// Names had on demand; as many as `max_names` of listeners allow.
    pub(crate) wishes: Wishes,
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

    /// Whether it has failed for so long, and so often, that nobody seems to miss it: a clock that
    /// jumps, or a machine that was off, is no reason.
    pub(crate) fn is_given_up(&self, schedule: &Schedule, now: OffsetDateTime) -> bool {
        self.failures >= schedule.give_up_failures()
            && self.first.is_some_and(|first| after(first, schedule.give_up) <= now)
    }

    /// Whether the next one has its time. One that is further away than any wait is: the clock
    /// was set back since.
    pub(crate) fn is_due(&self, schedule: &Schedule, now: OffsetDateTime) -> bool {
        self.next.is_none_or(|next| next <= now || after(now, schedule.longest_wait()) < next)
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
    /// The certificate of an authority that is shown for a name, and how it was had: its own, or
    /// an imported wildcard's. A wildcard that was ordered does not stand in for others: whoever
    /// wants both has both.
    pub(crate) fn shown_for<'t>(
        &self,
        table: &'t Table,
        name: &str,
    ) -> (Option<&'t Arc<Held>>, Option<&Issuance>) {
        let names = table.of(Origin::Acme);
        if let Some(own) = names.get(name) {
            return (Some(own), self.issued.get(name));
        }
        let wildcard = names::parent(name).map(|parent| format!("*{parent}"));
        let imported = wildcard.and_then(|wildcard| {
            let issued = self.issued.get(&wildcard).filter(|issued| issued.authority == IMPORTED);
            Some((names.get(&wildcard)?, issued?))
        });
        imported.map_or((None, None), |(held, issued)| (Some(held), Some(issued)))
    }

    /// Names wanted from `origin`.
    pub(crate) fn wanted_from(&self, origin: Origin) -> impl Iterator<Item = &String> {
        let names = self.wanted.names.iter();
        names.filter(move |(of, _)| *of == origin).map(|(_, name)| name)
    }

    /// Whether the document asks for `name` from `origin`.
    pub(crate) fn names(&self, origin: Origin, name: &str) -> bool {
        self.wanted.names.contains(&(origin, name.to_owned()))
    }

    /// Names to have from authorities: those of the document, and those on demand that are used.
    pub(crate) fn ordered(&self, now: OffsetDateTime) -> impl Iterator<Item = &String> {
        let keep = self.keep();
        let alive =
            move |(_, wish): &(&String, &Wish)| keep.is_some_and(|keep| wish.is_alive(keep, now));
        let demanded = self.wishes.iter().filter(alive).map(|(name, _)| name);
        let demanded = demanded.filter(|name| !self.names(Origin::Acme, name));
        self.wanted_from(Origin::Acme).chain(demanded)
    }

    /// Of every listener that has names on demand.
    pub(crate) fn on_demand(&self) -> impl Iterator<Item = &Arc<OnDemand>> {
        self.listeners.values().filter_map(|listener| listener.on_demand.as_ref())
    }

    /// How long names on demand are kept while nobody uses them; `None` while no listener has any.
    pub(crate) fn keep(&self) -> Option<Duration> {
        self.on_demand().map(|on_demand| on_demand.keep()).max()
    }
}
