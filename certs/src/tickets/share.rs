//! Secrets in the store: the leader puts them there, everybody follows.

use super::{
    period::Period,
    ring::{Ring, Secret},
};
use crate::{
    Inner,
    metrics::Trouble,
    stored::{self, Unreadable},
};
use serde::{Deserialize, Serialize};
use tidegate_store::{Change, Committed, Compare, Op, Revision, StoreError};

/// Secrets, by the starts of their periods in unix seconds.
pub(crate) const PREFIX: &str = "tls/tickets/";
/// Secrets dropped at once; there are four, but for clocks that went wrong.
const DROPPED_AT_ONCE: usize = 64;

/// As kept in the store.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredSecret {
    /// In hexadecimal digits.
    secret: String,
}

impl StoredSecret {
    pub(crate) fn read(&self) -> Option<Secret> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&self.secret, &mut bytes).ok()?;
        Some(Secret(bytes))
    }
}

/// The period an entry is for.
pub(crate) fn parse_key(key: &str) -> Option<Period> {
    Period::starting(key.strip_prefix(PREFIX)?.parse().ok()?)
}

/// Puts secrets for this period and the next into the store where they are missing, and those
/// that are over out of it.
pub(crate) async fn publish(inner: &Inner) {
    if let Err(error) = try_publish(inner).await {
        inner.metrics.trouble(Trouble::Store);
        tracing::warn!(%error, "no new secret for session tickets can be stored for now");
    }
}

/// Takes what changed in the store.
pub(crate) fn follow(ring: &Ring, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Put(entry) => match (parse_key(&entry.key), read(&entry.value)) {
                (Some(period), Ok(secret)) => ring.learn(period, &secret),
                (None, _) => {}
                (_, Err(cause)) => {
                    tracing::warn!(key = entry.key, %cause, "a stored secret for session tickets cannot be used");
                }
            },
            Change::Delete { key, .. } => {
                if let Some(period) = parse_key(&key) {
                    ring.forget(period);
                }
            }
        }
    }
}

async fn try_publish(inner: &Inner) -> Result<(), StoreError> {
    let now = inner.tickets.now();
    let mut has_put = false;
    for period in [now, now.next()] {
        if !inner.tickets.shares(period) {
            has_put |= put(inner, period).await?;
        }
    }
    if has_put {
        drop_old(inner, now).await?;
    }
    Ok(())
}

/// Says whether it was put; not if there is one already, whose secret is then taken.
async fn put(inner: &Inner, period: Period) -> Result<bool, StoreError> {
    let key = key(period);
    let is = match inner.store.get(&key).await? {
        None => Revision(0),
        Some(entry) => match read(&entry.value) {
            Ok(secret) => {
                inner.tickets.learn(period, &secret);
                return Ok(false);
            }
            Err(Unreadable::Newer(_)) => return Ok(false),
            Err(Unreadable::Broken(_)) => entry.revision,
        },
    };
    let secret = Secret::random();
    let compare = Compare::Revision { key: key.clone(), is };
    let value = stored::encode(&StoredSecret { secret: hex::encode(secret.0) });
    match inner.store.txn(vec![compare], vec![Op::Put { key, value }]).await? {
        Committed::Yes(_) => {
            inner.tickets.learn(period, &secret);
            tracing::debug!(from = period.start(), "a secret for session tickets is stored");
            Ok(true)
        }
        // Another process was quicker; its secret comes by the watch.
        Committed::No => Ok(false),
    }
}

async fn drop_old(inner: &Inner, now: Period) -> Result<(), StoreError> {
    let (entries, _) = inner.store.range(PREFIX).await?;
    let old = |key: &String| parse_key(key).is_some_and(|period| !period.is_of_use(now));
    let old = entries.into_iter().map(|entry| entry.key).filter(old);
    let delete: Vec<_> = old.take(DROPPED_AT_ONCE).map(|key| Op::Delete { key }).collect();
    if !delete.is_empty() {
        inner.store.txn(vec![], delete).await?;
    }
    Ok(())
}

fn key(period: Period) -> String {
    format!("{PREFIX}{}", period.start())
}

fn read(value: &[u8]) -> Result<Secret, Unreadable> {
    let stored: StoredSecret = stored::decode(value)?;
    stored.read().ok_or_else(|| Unreadable::Broken("not a secret of 32 bytes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Certs, Clock, Options};
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    };
    use tidegate_store::{Sqlite, Store};
    use time::OffsetDateTime;

    /// A store, and the clock of all nodes.
    struct Fleet {
        _dir: tempfile::TempDir,
        store: Arc<dyn Store>,
        period: Arc<AtomicI64>,
    }

    impl Fleet {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (store, _) = Sqlite::open(dir.path()).unwrap();
            Self { _dir: dir, store: Arc::new(store), period: Arc::new(AtomicI64::new(100)) }
        }

        fn period(&self) -> Period {
            Period::starting(self.period.load(Relaxed) * 6 * 3600).unwrap()
        }

        async fn node(&self) -> Certs {
            let reads = Arc::clone(&self.period);
            let clock = Clock::new(move || {
                OffsetDateTime::from_unix_timestamp(reads.load(Relaxed) * 6 * 3600).unwrap()
            });
            let store = Arc::clone(&self.store);
            let options = Options { clock, ..Options::new(store, Default::default(), "node") };
            Certs::open(options).await.unwrap()
        }

        /// Gives a node what the store has, as the watch does.
        async fn tell(&self, node: &Certs) {
            let (entries, _) = self.store.range(PREFIX).await.unwrap();
            follow(&node.inner.tickets, entries.into_iter().map(Change::Put).collect());
        }

        async fn periods(&self) -> Vec<Option<Period>> {
            let (entries, _) = self.store.range(PREFIX).await.unwrap();
            entries.iter().map(|entry| parse_key(&entry.key)).collect()
        }

        async fn put(&self, period: Period, value: &[u8]) {
            let put = Op::Put { key: key(period), value: value.to_vec() };
            self.store.txn(vec![], vec![put]).await.unwrap();
        }
    }

    fn shared(node: &Certs, period: Period) -> Option<Secret> {
        node.inner.tickets.load().shared.get(&period).cloned()
    }

    #[tokio::test]
    async fn two_that_lead_agree_and_a_restart_knows_what_they_did() {
        let fleet = Fleet::new();
        let (one, other) = (fleet.node().await, fleet.node().await);
        assert_eq!(one.inner.tickets.counts(), (0, 1));
        tokio::join!(publish(&one.inner), publish(&other.inner));
        for node in [&one, &other] {
            fleet.tell(node).await;
        }
        let restarted = fleet.node().await;
        for period in [fleet.period(), fleet.period().next()] {
            let secret = shared(&one, period);
            assert!(secret.is_some());
            assert_eq!(shared(&other, period), secret);
            assert_eq!(shared(&restarted, period), secret);
        }
        assert_eq!(restarted.inner.tickets.counts(), (2, 0));
    }

    #[tokio::test]
    async fn the_next_is_there_a_period_ahead_and_old_ones_go() {
        let fleet = Fleet::new();
        let node = fleet.node().await;
        let mut ahead = None;
        for _ in 0..5 {
            publish(&node.inner).await;
            node.inner.tickets.turn();
            let now = fleet.period();
            assert!(ahead.is_none() || shared(&node, now) == ahead);
            ahead = shared(&node, now.next());
            fleet.period.fetch_add(1, Relaxed);
        }
        fleet.period.fetch_sub(1, Relaxed);
        let now = fleet.period();
        let before = Period::starting(now.start() - 6 * 3600);
        assert_eq!(fleet.periods().await, [before, Some(now), Some(now.next())]);
        // Removed by hand: another is made.
        let gone = Change::Delete { key: key(now), revision: Revision(0) };
        follow(&node.inner.tickets, vec![gone]);
        assert_eq!(shared(&node, now), None);
        fleet.store.txn(vec![], vec![Op::Delete { key: key(now) }]).await.unwrap();
        publish(&node.inner).await;
        assert!(shared(&node, now).is_some());
    }

    #[tokio::test]
    async fn what_is_no_secret_is_replaced_and_a_newer_form_is_left_alone() {
        let fleet = Fleet::new();
        let node = fleet.node().await;
        let (now, next) = (fleet.period(), fleet.period().next());
        let short = stored::encode(&StoredSecret { secret: "00ff".to_owned() });
        let newer = br#"{"format": 9, "value": {}}"#;
        fleet.put(now, &short).await;
        fleet.put(next, newer).await;
        fleet.tell(&node).await;
        assert_eq!(node.inner.tickets.counts(), (0, 1));
        publish(&node.inner).await;
        assert!(shared(&node, now).is_some());
        assert_eq!(shared(&node, next), None);
        let kept = fleet.store.get(&key(next)).await.unwrap().unwrap();
        assert_eq!(kept.value, newer);
    }
}
