//! What a control plane does by itself: it writes what it owes to the store, and follows what
//! another process writes there.

use super::{Plane, View, patiently};
use crate::{backlog, keys, watch};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tidegate_store::{Change, Committed, Op, Revision, StoreError};

/// Owed writes of one transaction.
const BATCH: usize = 100;
/// Changes taken from a watch at once.
const CHANGES: usize = 256;
/// Between two attempts to watch the store.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

impl Plane {
    /// Runs until `stop` says so: writes what is owed, follows the store and the files.
    pub async fn background(self: Arc<Self>, mut stop: tokio::sync::watch::Receiver<bool>) {
        let work = async {
            tokio::join!(
                self.write_owed(),
                self.follow(keys::RUNTIME),
                self.follow(keys::TOKENS),
                watch::files(self.clone()),
            )
        };
        tokio::select! {
            _ = work => {}
            // A sender that is gone is a process that ends.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn write_owed(&self) {
        let mut pause = backlog::FIRST_PAUSE;
        loop {
            self.backlog.arrival().await;
            tokio::time::sleep(pause).await;
            let _turn = self.turn.lock().await;
            pause = match self.settle_all().await {
                true => backlog::FIRST_PAUSE,
                false => (pause * 2).min(backlog::LONGEST_PAUSE),
            };
        }
    }

    /// Writes `op`, now or as soon as the store takes it, with the turn held. While older
    /// writes are owed the store is not asked again, so that the next caller need not wait.
    pub(super) async fn owe(&self, op: Op) {
        let behind = !self.backlog.is_empty();
        self.backlog.owe(op);
        if !behind {
            self.settle_all().await;
        }
    }

    /// Writes everything owed, with the turn held. Says whether the store took it.
    async fn settle_all(&self) -> bool {
        let owed = self.backlog.owed();
        for ops in owed.chunks(BATCH) {
            match patiently(self.store.txn(Vec::new(), ops.to_vec())).await {
                Ok(Committed::Yes(revision)) => self.settled(ops, revision),
                Ok(Committed::No) => return false,
                Err(error) => {
                    tracing::warn!(%error, owed = owed.len(), "changes in force are not on disk");
                    return false;
                }
            }
        }
        true
    }

    fn settled(&self, ops: &[Op], revision: Revision) {
        let view = self.view();
        let mut records = view.records.clone();
        for op in ops {
            self.backlog.settle(backlog::key(op));
            if let (Op::Put { .. }, Some(key)) = (op, keys::Key::parse(backlog::key(op))) {
                records.written(&key, revision);
            }
        }
        if records != view.records {
            *self.view.write() = Arc::new(View { records, ..(*view).clone() });
        }
    }

    /// Takes over what others write below `prefix`, for ever.
    async fn follow(&self, prefix: &str) {
        let mut from = self.read_at;
        loop {
            if let Err(error) = self.follow_from(prefix, &mut from).await {
                tracing::warn!(%error, prefix, "the store cannot be watched");
            }
            tokio::time::sleep(WATCH_AGAIN).await;
            // A watch also ends when deletions were forgotten that we have not seen.
            match self.read_again(prefix).await {
                Ok(at) => from = at,
                Err(error) => tracing::warn!(%error, prefix, "the store cannot be read"),
            }
        }
    }

    /// Takes over everything below `prefix`, and says as of which revision.
    async fn read_again(&self, prefix: &str) -> Result<Revision, StoreError> {
        let _turn = self.turn.lock().await;
        let (entries, at) = patiently(self.store.range(prefix)).await?;
        let there: BTreeSet<_> = entries.iter().map(|entry| entry.key.clone()).collect();
        let ours =
            if prefix == keys::TOKENS { self.tokens.keys() } else { self.view().records.keys() };
        let mut changes: Vec<_> = entries.into_iter().map(Change::Put).collect();
        if there.is_empty() && !ours.is_empty() {
            // An empty answer is never taken for "delete everything".
            tracing::warn!(prefix, ours = ours.len(), "the store is empty; what is in force stays");
        } else {
            let gone = ours.into_iter().filter(|key| !there.contains(key));
            changes.extend(gone.map(|key| Change::Delete { key, revision: at }));
        }
        self.absorb(prefix, changes.into_iter()).await;
        Ok(at)
    }

    async fn follow_from(&self, prefix: &str, from: &mut Revision) -> Result<(), StoreError> {
        let mut watch = patiently(self.store.watch(prefix, *from)).await?;
        let mut changes = Vec::with_capacity(CHANGES);
        while watch.0.recv_many(&mut changes, CHANGES).await > 0 {
            let newest = changes.iter().map(|change| match change {
                Change::Put(entry) => entry.revision,
                Change::Delete { revision, .. } => *revision,
            });
            *from = newest.max().unwrap_or(*from).max(*from);
            let _turn = self.turn.lock().await;
            self.absorb(prefix, changes.drain(..)).await;
        }
        Ok(())
    }

    async fn absorb(&self, prefix: &str, changes: impl Iterator<Item = Change>) {
        // What is owed is newer than what the store says.
        let changes = changes.filter(|change| match change {
            Change::Put(entry) => !self.backlog.owes(&entry.key),
            Change::Delete { key, .. } => !self.backlog.owes(key),
        });
        if prefix == keys::TOKENS {
            changes.for_each(|change| self.tokens.absorb(change));
            return;
        }
        let view = self.view();
        let mut records = view.records.clone();
        let mut different = false;
        for change in changes {
            different |= records.absorb(change);
        }
        if different {
            tracing::info!("runtime state changed by another process");
            self.publish_records(&view, records).await;
        } else if records != view.records {
            *self.view.write() = Arc::new(View { records, ..(*view).clone() });
        }
    }
}
