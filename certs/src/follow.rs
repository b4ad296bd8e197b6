//! What other processes store is put in force here too: renewed certificates, open challenges.

use crate::{
    Inner,
    challenges::Challenge,
    held::Held,
    open::read,
    stored::{self, parse_certificate_key},
    table::Origin,
};
use std::{sync::Arc, time::Duration};
use tidegate_store::{Change, Entry, StoreError, Watch};

/// After a failure of the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the store; ends never.
pub(crate) async fn follow(inner: &Arc<Inner>) {
    let certificates = follow_prefix(inner, stored::CERTS, certificate);
    let challenges = follow_prefix(inner, stored::CHALLENGES, challenge);
    tokio::join!(certificates, challenges);
}

async fn follow_prefix(inner: &Inner, prefix: &str, apply: fn(&Inner, Change)) {
    let mut failing = false;
    loop {
        match start(inner, prefix).await {
            Ok((entries, mut watch)) => {
                failing = false;
                for entry in entries {
                    apply(inner, Change::Put(entry));
                }
                while let Some(change) = watch.0.recv().await {
                    apply(inner, change);
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

fn certificate(inner: &Inner, change: Change) {
    // What is gone from the store goes on being served.
    let Change::Put(entry) = change else { return };
    let Some((origin, name)) = parse_certificate_key(&entry.key) else { return };
    match read(&entry) {
        Ok((stored, _)) if origin == Origin::Internal && !inner.internal.issued(&stored) => {}
        Ok((stored, certificate)) => {
            let not_after = certificate.not_after;
            let fresh = [(origin, name.to_owned(), Held::new(certificate))];
            if inner.managed.adopt(&fresh) {
                tracing::info!(name, %not_after, "a certificate from the store is served now");
                if origin == Origin::Acme {
                    let mut state = inner.state.lock();
                    state.attempts.remove(name);
                    state.authorities.insert(name.to_owned(), stored.authority);
                }
                inner.wake.notify_one();
            }
        }
        Err(cause) => {
            tracing::warn!(key = entry.key, %cause, "a stored certificate cannot be used");
        }
    }
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
