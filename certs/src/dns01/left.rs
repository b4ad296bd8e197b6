//! What is published stands in the store until it is withdrawn. Whatever stands there while
//! nobody proves its name was left by a process that died, or by a provider that failed, and is
//! withdrawn here.

use super::provider::Record;
use crate::{
    Inner,
    job::keep,
    stored::{self, certificate_key},
    table::Origin,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_config::Name;
use tidegate_store::{Op, Store, StoreError};
use tokio::sync::watch;

/// Published records, by their values.
const RECORDS: &str = "acme/txt/";
/// So often in a period of [`crate::Schedule::check`].
const PERIODS: u32 = 10;
/// Seconds after which a record that cannot be withdrawn is given up.
const GIVE_UP: i64 = 24 * 3600;

/// A published record, or one that is about to be.
#[derive(Serialize, Deserialize)]
struct Stored {
    provider: String,
    fqdn: String,
    value: String,
    ttl: u32,
    name: String,
    /// Unix seconds.
    since: i64,
}

impl Stored {
    fn read(self) -> Option<(Name, Record)> {
        let Self { provider, fqdn, value, ttl, name, .. } = self;
        Some((provider.parse().ok()?, Record { fqdn, value, ttl, name }))
    }
}

pub(super) fn key(value: &str) -> String {
    format!("{RECORDS}{value}")
}

/// Keeps in mind that `record` is about to be published.
pub(super) async fn remember(
    store: &Arc<dyn Store>,
    provider: &Name,
    record: &Record,
    now: i64,
) -> Result<(), StoreError> {
    let Record { fqdn, value, ttl, name } = record.clone();
    let key = key(&value);
    let stored = Stored { provider: provider.to_string(), fqdn, value, ttl, name, since: now };
    store.txn(vec![], vec![Op::Put { key, value: stored::encode(&stored) }]).await?;
    Ok(())
}

/// The record published with `value`, and by whom.
pub(super) async fn find(
    store: &Arc<dyn Store>,
    value: &str,
) -> Result<Option<(Name, Record)>, StoreError> {
    let found = store.get(&key(value)).await?;
    let stored = found.and_then(|entry| stored::decode::<Stored>(&entry.value).ok());
    Ok(stored.and_then(Stored::read))
}

/// Withdraws what was left, while this process leads; ends never.
pub(crate) async fn clear(inner: &Inner, mut leader: watch::Receiver<bool>) {
    loop {
        if leader.wait_for(|leads| *leads).await.is_err() {
            // Nobody will tell any more.
            std::future::pending::<()>().await;
        }
        if let Err(error) = clear_once(inner).await {
            tracing::debug!(%error, "DNS records that were left are looked for later");
        }
        tokio::time::sleep(inner.schedule.check * PERIODS).await;
    }
}

async fn clear_once(inner: &Inner) -> Result<(), StoreError> {
    for entry in inner.store.range(RECORDS).await?.0 {
        let delete = Op::Delete { key: entry.key.clone() };
        let stored = match stored::decode::<Stored>(&entry.value) {
            Ok(stored) => stored,
            Err(stored::Unreadable::Newer(_)) => continue,
            Err(cause) => {
                tracing::warn!(key = entry.key, %cause, "a note of a DNS record is dropped");
                inner.store.txn(vec![], vec![delete]).await?;
                continue;
            }
        };
        // Whoever proves the name holds its lease, this process too: so under another name.
        let holder = tidegate_store::holder(&format!("clear/{:08x}", rand::random::<u32>()));
        let lease = certificate_key(Origin::Acme, &stored.name);
        let Some(lease) = inner.store.acquire(&lease, &holder, inner.schedule.lease).await? else {
            continue;
        };
        let given_up = inner.clock.now().unix_timestamp() - stored.since > GIVE_UP;
        tokio::select! {
            () = withdraw(inner, stored, given_up.then_some(delete)) => {}
            () = keep(&inner.store, &lease, inner.schedule.lease) => {
                tracing::debug!("somebody proves a name whose record was to be removed");
            }
        }
        inner.store.release(&lease).await?;
    }
    Ok(())
}

async fn withdraw(inner: &Inner, stored: Stored, give_up: Option<Op>) {
    let (name, fqdn) = (stored.name.clone(), stored.fqdn.clone());
    let Some((provider, record)) = stored.read() else { return };
    let dns01 = inner.orders.dns01();
    match (dns01.take_back(&inner.store, &provider, &record).await, give_up) {
        (Ok(()), _) => tracing::info!(name, fqdn, "a DNS record that was left is removed"),
        (_, Some(delete)) => {
            tracing::error!(name, fqdn, "a DNS record cannot be removed: remove it by hand");
            // Then it is given up the next time.
            let _ = inner.store.txn(vec![], vec![delete]).await;
        }
        (Err(cause), None) => {
            tracing::debug!(name, fqdn, %cause, "a DNS record cannot be removed yet");
        }
    }
}
