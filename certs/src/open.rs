//! Loading what is stored.

use crate::{
    Inner, Options,
    acme::Orders,
    aside::Aside,
    certificate::Certificate,
    challenges::{Challenge, Challenges},
    clock::after,
    error::CertsError,
    event::Events,
    held::Held,
    internal::{Identity, InternalCa, obtain},
    metrics::Metrics,
    on_demand::{MAX_FLIGHTS, StoredWish, Wish},
    state::{Attempt, Issuance, State},
    stored::{self, StoredAccount, StoredCertificate, StoredRenewal, StoredRetry, Unreadable},
    table::{Managed, Origin},
    tickets::{self, Ring, StoredSecret},
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tidegate_store::{Entry, Op, holder};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

pub(crate) async fn open(options: Options) -> Result<Inner, CertsError> {
    let Options { store, registry, node, schedule, clock } = options;
    let metrics = Arc::new(Metrics::register(&registry)?);
    let events = Arc::new(Events::register(&registry, clock.clone())?);
    let now = clock.now();
    let mut loader = Loader {
        aside: Aside { store: &store, metrics: &metrics, events: &events, now },
        notices: Vec::new(),
    };
    let internal = obtain(&store, now, &mut loader.notices).await?;
    loader.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    let identity = Identity::new(&node);
    identity.renew(&internal, now)?;
    let managed = Arc::new(Managed::default());
    let mut state = State::default();
    loader.certificates(&internal, &managed, &mut state).await?;
    let latest = after(now, schedule.backoff_restart);
    for (key, retry) in loader.all::<StoredRetry>(&stored::retry_key("")).await? {
        let name = key[stored::retry_key("").len()..].to_owned();
        state.attempts.insert(name, Attempt::of(retry, latest));
    }
    for (key, renewal) in loader.all::<StoredRenewal>(&stored::renewal_key("")).await? {
        state.renewals.insert(key[stored::renewal_key("").len()..].to_owned(), renewal);
    }
    for (key, wish) in loader.all::<StoredWish>(stored::DEMAND).await? {
        state.wishes.insert(key[stored::DEMAND.len()..].to_owned(), Wish::of(wish));
    }
    // Only to keep broken ones aside: a fresh account is better than none.
    loader.all::<StoredAccount>(&stored::account_key("")).await?;
    let challenges = Arc::new(Challenges::new(clock.clone()));
    for (key, challenge) in loader.all::<Challenge>(stored::CHALLENGES).await? {
        if challenge.expires <= now.unix_timestamp() {
            // Left by a process that died; nobody answers it any more, deleted or not.
            let deleted = store.txn(vec![], vec![Op::Delete { key }]).await;
            if let Err(error) = deleted {
                tracing::debug!(%error, "an expired challenge stays in the store");
            }
        } else if let Err(cause) = challenges.open(challenge) {
            tracing::warn!(cause, "a stored challenge cannot be answered");
        }
    }
    let secrets = loader.all::<StoredSecret>(tickets::PREFIX).await?;
    let secrets = secrets.iter().filter_map(|(key, stored)| {
        // The leader replaces one that is none.
        Some((tickets::parse_key(key)?, stored.read()?))
    });
    let tickets = Arc::new(Ring::new(clock.clone(), secrets));
    let notices = loader.notices;
    let orders = Orders::new(
        Arc::clone(&store),
        Arc::clone(&challenges),
        clock.clone(),
        schedule.clone(),
        Arc::clone(&metrics),
        Arc::clone(&events),
    );
    let (flights, departures) = mpsc::channel(MAX_FLIGHTS);
    Ok(Inner {
        store,
        holder: holder(&format!("{node}/{:08x}", rand::random::<u32>())),
        schedule,
        clock,
        metrics,
        events,
        internal: ArcSwap::from_pointee(internal),
        identity,
        managed,
        challenges,
        tickets,
        orders,
        state: Mutex::new(state),
        notices,
        wake: Notify::new(),
        planning: Semaphore::new(1),
        news: watch::Sender::new(()),
        flights,
        departures: Mutex::new(Some(departures)),
    })
}

struct Loader<'a> {
    aside: Aside<'a>,
    notices: Vec<String>,
}

impl Loader<'_> {
    async fn certificates(
        &mut self,
        internal: &InternalCa,
        managed: &Managed,
        state: &mut State,
    ) -> Result<(), CertsError> {
        let mut found = Vec::new();
        for origin in [Origin::Acme, Origin::Internal] {
            let prefix = stored::certificate_key(origin, "");
            for entry in self.aside.store.range(&prefix).await?.0 {
                let name = entry.key[prefix.len()..].to_owned();
                match read(&entry) {
                    // Leaves of an earlier intermediate are issued anew.
                    Ok((stored, _)) if origin == Origin::Internal && !internal.issued(&stored) => {}
                    Ok((stored, certificate)) => {
                        if origin == Origin::Acme {
                            state.issued.insert(name.clone(), Issuance::of(&stored));
                        }
                        found.push((origin, name, Held::stored(certificate, entry.revision)));
                    }
                    Err(cause) => self.unreadable(&entry, cause).await,
                }
            }
        }
        managed.adopt(found);
        Ok(())
    }

    /// Every value under `prefix` that can be read.
    async fn all<T: DeserializeOwned>(
        &mut self,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, CertsError> {
        let mut found = Vec::new();
        for entry in self.aside.store.range(prefix).await?.0 {
            match stored::decode(&entry.value) {
                Ok(value) => found.push((entry.key, value)),
                Err(cause) => self.unreadable(&entry, cause).await,
            }
        }
        Ok(found)
    }

    async fn unreadable(&mut self, entry: &Entry, cause: Unreadable) {
        match cause {
            Unreadable::Broken(cause) => self.notices.extend(self.aside.keep(entry, &cause).await),
            Unreadable::Newer(format) => {
                let key = &entry.key;
                self.notice(format!(
                    "`{key}` in the store has the newer form {format} and is left alone"
                ));
            }
        }
    }

    fn notice(&mut self, text: String) {
        tracing::warn!("{text}");
        self.notices.push(text);
    }
}

/// A stored certificate, checked.
pub(crate) fn read(entry: &Entry) -> Result<(StoredCertificate, Certificate), Unreadable> {
    let stored: StoredCertificate = stored::decode(&entry.value)?;
    let certificate = stored.read().map_err(|cause| Unreadable::Broken(cause.to_string()))?;
    Ok((stored, certificate))
}
