//! Where control state lives: one small trait with etcd's semantics, so that a fleet can share
//! an etcd and a single node an SQLite file ([`Sqlite`]).
//!
//! Keys are paths such as `weights/shop`; values are bytes below etcd's 1.5 MiB. Every write
//! raises the store's revision by one; every key knows the revision that last wrote it, so a
//! writer can say "only if nobody else has" ([`Compare`]). The data path never calls any of
//! this.

mod holder;
mod limits;
mod notice;
mod sealed;
mod sqlite;

pub use holder::holder;
pub use limits::{MAX_KEY, MAX_OPS, MAX_VALUE, MAX_WATCHES};
pub use notice::Notice;
pub use sealed::{KeyRing, Sealed};
pub use sqlite::Sqlite;

use async_trait::async_trait;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// A store-wide counter; every committed transaction that writes raises it by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A key with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path it is kept under.
    pub key: String,
    /// What was last put there.
    pub value: Vec<u8>,
    /// The revision that last wrote this key (etcd's `mod_revision`).
    pub revision: Revision,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last written by this revision; `Revision(0)` means it does not exist.
    Revision {
        /// The key compared.
        key: String,
        /// The revision expected.
        is: Revision,
    },
    /// The lease is still held under its token, so that a holder that slept past its time
    /// writes nothing.
    Held(Lease),
}

/// One write of a transaction.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces a key.
    Put {
        /// Where.
        key: String,
        /// What; at most [`MAX_VALUE`] bytes.
        value: Vec<u8>,
    },
    /// Removes a key; a key that does not exist is no fault.
    Delete {
        /// Where.
        key: String,
    },
}

/// A change seen by a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key was created or replaced.
    Put(Entry),
    /// A key was removed.
    Delete {
        /// The key that is gone.
        key: String,
        /// The revision that removed it.
        revision: Revision,
    },
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Every comparison held and every write is on disk. The revision is the one that wrote
    /// them; a transaction that changed nothing answers the store's present one.
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
    /// Raised each time the lease is taken anew; a writer shows it ([`Compare::Held`]) so that
    /// an old holder that woke up late can be told apart (fencing).
    pub token: u64,
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be used as it is.
    #[error("the state directory `{}` cannot be used: {cause}; {remedy}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is in the way.
        cause: String,
        /// What the operator can do.
        remedy: String,
    },
    /// The file was found damaged while in use. It is put right at the next start.
    #[error(
        "the state database `{}` is damaged ({cause}); restart: the file is then kept aside and the last good copy restored",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// The file was written by a later version.
    #[error(
        "the state database `{}` has schema {found}, this version knows up to {known}; run the version that wrote it, or move the file away to start empty",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// The disk or the database refused.
    #[error("the state database `{}` cannot be {doing}: {cause}", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// `opened`, `read`, `written`, ...
        doing: &'static str,
        /// What the system said, and what helps.
        cause: String,
    },
    /// A key that is empty, over [`MAX_KEY`] bytes or holds control characters.
    #[error("`{key}` is not a key: expected 1 to {MAX_KEY} bytes without control characters")]
    Key {
        /// The key, cut to a readable length.
        key: String,
    },
    /// A value over [`MAX_VALUE`], or a transaction whose values together are.
    #[error("the values written with `{key}` have {len} bytes, more than {MAX_VALUE}")]
    TooLarge {
        /// The key at which the limit was passed.
        key: String,
        /// Bytes up to and with that key.
        len: usize,
    },
    /// A transaction with more than [`MAX_OPS`] comparisons or writes.
    #[error("a transaction has {count} parts, more than {MAX_OPS}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A transaction that writes one key twice; etcd refuses that too.
    #[error("a transaction writes `{key}` twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// The store no longer remembers every deletion since the revision a watch starts from.
    #[error(
        "deletions after revision {from} are forgotten; read the range again and watch from its revision"
    )]
    Forgotten {
        /// Where the watch was to start.
        from: u64,
    },
    /// A value is sealed with a key that was not given.
    #[error(
        "`{key}` is encrypted with the key {id}, which is not among `control.encryption_keys`: add it behind the one in use"
    )]
    Sealed {
        /// The entry.
        key: String,
        /// The beginning of the SHA-256 of the key it needs, in hexadecimal.
        id: String,
    },
    /// More than [`MAX_WATCHES`] watches.
    #[error("{MAX_WATCHES} watches are open already; close one")]
    Watches,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

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
    ///
    /// A watcher gets the *last* change of each key, in order of revision: changes of one key
    /// that come faster than it reads may be merged. It never holds up a writer.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError>;
    /// Takes or prolongs a lease for `holder`; `None` while somebody else holds it. A name made
    /// by [`holder()`] lets a store on the same machine see that its process has ended.
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError>;
    /// Gives a lease up early; a lease that is no longer held is left alone.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;
    /// Why the last write failed, until one succeeds: what is read meanwhile is good, nothing new
    /// is kept, and nobody can take a lease.
    fn unwritable(&self) -> Option<Arc<str>> {
        None
    }
}

/// A stream of changes. It ends when the store does, and when its reader fell so far behind
/// that deletions were forgotten: then read the range again and watch from its revision.
#[derive(Debug)]
pub struct Watch(pub tokio::sync::mpsc::Receiver<Change>);

// Values hold private keys: their length is shown, never they themselves.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("bytes", &self.value.len())
            .field("revision", &self.revision.0)
            .finish()
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => {
                f.debug_struct("Put").field("key", key).field("bytes", &value.len()).finish()
            }
            Self::Delete { key } => f.debug_struct("Delete").field("key", key).finish(),
        }
    }
}
