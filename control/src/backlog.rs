//! What took effect before it was written: changes that only reduce risk (a drain, a revoked
//! token) and the record of a revision never wait for a store that is away. They are written
//! as soon as it is back; until then answers say `durable: false`.

use parking_lot::Mutex;
use std::{collections::BTreeMap, time::Duration};
use tidegate_store::Op;
use tokio::sync::Notify;

/// The first pause after a failed attempt; doubled up to [`LONGEST_PAUSE`].
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two attempts.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Writes that are still owed to the store, the newest per key. Bounded by the number of keys:
/// endpoints of the document, tokens, and one revision.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    owed: Mutex<BTreeMap<String, Op>>,
    arrived: Notify,
}

impl Backlog {
    /// Owes `op`, in place of an earlier one for the same key.
    pub(crate) fn owe(&self, op: Op) {
        self.owed.lock().insert(key(&op).to_owned(), op);
        self.arrived.notify_one();
    }

    /// Forgets what is owed for `key`: a newer write of it has reached the disk.
    pub(crate) fn settle(&self, key: &str) {
        self.owed.lock().remove(key);
    }

    /// Whether a write of `key` is owed, so that what the store says of it is out of date.
    pub(crate) fn owes(&self, key: &str) -> bool {
        self.owed.lock().contains_key(key)
    }

    /// How many writes are owed.
    pub(crate) fn len(&self) -> usize {
        self.owed.lock().len()
    }

    /// Whether nothing is owed.
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.lock().is_empty()
    }

    /// Everything owed.
    pub(crate) fn owed(&self) -> Vec<Op> {
        self.owed.lock().values().cloned().collect()
    }

    /// Waits until something is owed.
    pub(crate) async fn arrival(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }
}

/// The key an operation writes.
pub(crate) fn key(op: &Op) -> &str {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}
