//! Where control state lives: one small trait with etcd's semantics, so that a fleet can share
//! an etcd and a single node an SQLite file.
//!
//! Keys are paths such as `weights/shop`; values are bytes below etcd's 1.5 MiB. Every write
//! raises the store's revision by one; every key knows the revision that last wrote it, so a
//! writer can say "only if nobody else has" ([`Compare`]). The data path never calls any of
//! this.

use async_trait::async_trait;
use std::{fmt, time::Duration};

/// A store-wide counter; every committed transaction that writes raises it by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// The revision that last wrote this key (etcd's `mod_revision`).
    pub revision: Revision,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last written by this revision; `Revision(0)` means it does not exist.
    Revision { key: String, is: Revision },
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { key: String, value: Vec<u8> },
    Delete { key: String },
}

/// A change seen by a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Entry),
    Delete { key: String, revision: Revision },
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Every comparison held and every write is on disk.
    Yes(Revision),
    /// A comparison failed; nothing was written.
    No,
}

/// A lease: a right that ends by itself unless it is kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is held, such as `leader`.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Raised each time the lease changes hands; a writer shows it so that an old holder that
    /// woke up late can be told apart (fencing).
    pub token: u64,
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not a database, or is damaged.
    #[error("the state database `{path}` is damaged ({cause}); it was kept as `{kept}`")]
    Damaged { path: String, kept: String, cause: String },
    /// The disk or the database refused.
    #[error("the state database `{path}` cannot be {doing}: {cause}")]
    Io { path: String, doing: &'static str, cause: String },
    /// A value over [`MAX_VALUE`].
    #[error("the value of `{key}` has {len} bytes, more than {MAX_VALUE}")]
    TooLarge { key: String, len: usize },
}

/// The largest value: etcd's request limit with room for the key.
pub const MAX_VALUE: usize = 1_400_000;

/// The store. All methods may wait on a disk or a network.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The entry of `key`.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;
    /// All entries whose key starts with `prefix`, by key, and the revision they were read at.
    async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError>;
    /// Writes `ops` if all of `compares` hold, all or nothing, durable when it returns.
    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Committed, StoreError>;
    /// Changes under `prefix` after `from`, as they are committed by this process or another.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError>;
    /// Takes or prolongs a lease for `holder`; `None` while somebody else holds it.
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError>;
    /// Gives a lease up early; a lease that is no longer held is left alone.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;
}

/// A stream of changes; ends when the store does.
#[derive(Debug)]
pub struct Watch(pub tokio::sync::mpsc::Receiver<Change>);
