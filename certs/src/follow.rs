//! What other processes store is put in force here too: renewed certificates, open challenges,
//! secrets of session tickets.

use crate::{
    Inner,
    aside::Aside,
    challenges::Challenge,
    clock::rfc3339,
    event::EventKind,
    held::Held,
    internal::InternalCa,
    on_demand,
    open::read,
    state::Issuance,
    stored::{self, StoredCertificate, Unreadable, parse_certificate_key},
    table::Origin,
    tickets,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidegate_store::{Change, Entry, StoreError, Watch};

/// Changes applied together.
const AT_ONCE: usize = 256;
/// After a failure of the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the store; ends never.
pub(crate) async fn follow(inner: &Arc<Inner>) {
    let certificates = follow_prefix(inner, stored::CERTS, certificates);
    let challenges = follow_prefix(inner, stored::CHALLENGES, challenges);
    let tickets = follow_prefix(inner, tickets::PREFIX, |inner, changes| {
        tickets::follow(&inner.tickets, changes);
        Vec::new()
    });
    tokio::join!(certificates, challenges, tickets);
}

/// An entry that cannot be read, and why.
type Broken = (Entry, String);

/// Applies what changes under a prefix; what of it is broken is moved out of the way.
async fn follow_prefix(inner: &Inner, prefix: &str, apply: fn(&Inner, Vec<Change>) -> Vec<Broken>) {
    let apply = async |changes| {
        let (store, now) = (&inner.store, inner.clock.now());
        let aside = Aside { store, metrics: &inner.metrics, events: &inner.events, now };
        for (entry, cause) in apply(inner, changes) {
            aside.keep(&entry, &cause).await;
        }
    };
    let mut failing = false;
    loop {
        match start(inner, prefix).await {
            Ok((entries, mut watch)) => {
                failing = false;
                apply(entries.into_iter().map(Change::Put).collect()).await;
                while let Some(change) = watch.0.recv().await {
                    let mut changes = vec![change];
                    while changes.len() < AT_ONCE
                        && let Ok(change) = watch.0.try_recv()
                    {
                        changes.push(change);
                    }
                    apply(changes).await;
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) if !failing => {
                tracing::warn!(%error, "what other processes store is not seen for now");
                failing = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn start(inner: &Inner, prefix: &str) -> Result<(Vec<Entry>, Watch), StoreError> {
    let (entries, revision) = inner.store.range(prefix).await?;
    let watch = inner.store.watch(prefix, revision).await?;
    Ok((entries, watch))
}

fn certificates(inner: &Inner, changes: Vec<Change>) -> Vec<Broken> {
    let (mut fresh, mut broken) = (Vec::new(), Vec::new());
    let mut issued: BTreeMap<String, Issuance> = BTreeMap::new();
    for change in changes {
        let entry = match change {
            Change::Put(entry) => entry,
            Change::Delete { key, .. } => {
                if let Some(name) = key.strip_prefix(stored::DEMAND) {
                    on_demand::forgotten(inner, name);
                } else if let Some((Origin::Acme, name)) = parse_certificate_key(&key) {
                    lost(inner, name);
                }
                continue;
            }
        };
        if let Some(name) = entry.key.strip_prefix(stored::DEMAND) {
            on_demand::learned(inner, name, &entry);
            continue;
        }
        if entry.key == stored::INTERMEDIATE {
            intermediate(inner, &entry);
            continue;
        }
        let Some((origin, name)) = parse_certificate_key(&entry.key) else { continue };
        if inner.managed.knows(origin, name, entry.revision) {
            continue;
        }
        match read(&entry) {
            Ok((stored, _))
                if origin == Origin::Internal && !inner.internal.load().issued(&stored) => {}
            Ok((stored, certificate)) => {
                if origin == Origin::Acme {
                    issued.insert(name.to_owned(), Issuance::of(&stored));
                }
                let held = Held::stored(certificate, entry.revision);
                fresh.push((origin, name.to_owned(), held));
            }
            Err(Unreadable::Broken(cause)) => broken.push((entry, cause)),
            Err(cause @ Unreadable::Newer(_)) => {
                tracing::warn!(key = entry.key, %cause, "a stored certificate cannot be used");
            }
        }
    }
    let adopted = inner.managed.adopt(fresh);
    for (origin, name, held) in &adopted {
        let not_after = held.certificate.not_after;
        let text = format!("another process has one until {}", rfc3339(not_after));
        inner.events.tell(EventKind::Adopted, name, text);
        if *origin == Origin::Acme {
            let mut state = inner.state.lock();
            state.attempts.remove(name);
            // Whoever stored it has done what was asked for.
            state.renew.remove(name);
            state.issued.extend(issued.remove_entry(name));
        }
    }
    if !adopted.is_empty() {
        inner.news.send_replace(());
        inner.wake.notify_one();
    }
    broken
}

/// A certificate is gone from the store: it goes on being served, and another is had, since after a
/// restart nobody would have it.
fn lost(inner: &Inner, name: &str) {
    let now = inner.clock.now();
    let mut state = inner.state.lock();
    if !state.ordered(now).any(|wanted| wanted == name) {
        return;
    }
    state.renew.insert(name.to_owned());
    drop(state);
    inner.events.tell(EventKind::Asked, name, "gone from the store: to be ordered anew");
    inner.wake.notify_one();
}

/// Another process renewed the internal CA's intermediate.
fn intermediate(inner: &Inner, entry: &Entry) {
    let read = stored::decode::<StoredCertificate>(&entry.value);
    match read.map_err(|cause| cause.to_string()).and_then(|stored| InternalCa::read(&stored)) {
        Ok(ca) => inner.internal.store(Arc::new(ca)),
        Err(cause) => {
            tracing::warn!(key = entry.key, cause, "the stored intermediate cannot be used");
        }
    }
}

fn challenges(inner: &Inner, changes: Vec<Change>) -> Vec<Broken> {
    changes.into_iter().for_each(|change| challenge(inner, change));
    Vec::new()
}

fn challenge(inner: &Inner, change: Change) {
    match change {
        Change::Put(entry) => match stored::decode::<Challenge>(&entry.value) {
            Ok(challenge) => {
                if let Err(cause) = inner.challenges.open(challenge) {
                    tracing::warn!(cause, "a stored challenge cannot be answered");
                }
            }
            Err(cause) => {
                tracing::warn!(key = entry.key, %cause, "a stored challenge is not readable")
            }
        },
        Change::Delete { key, .. } => {
            if let Some(token) = key.strip_prefix(stored::CHALLENGES) {
                inner.challenges.close(token);
            }
        }
    }
}
