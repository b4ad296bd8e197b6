//! Values encrypted at rest: keys of certificates and accounts, tokens, everything.
//!
//! A sealed value is `TGS1`, the first eight bytes of its key's SHA-256, a random nonce of twelve
//! bytes, and the value under AES-256-GCM with the entry's own key as associated data, so that a
//! value moved to another entry does not open. Names of entries stay readable.

use crate::{Change, Committed, Compare, Entry, Lease, Op, Revision, Store, StoreError, Watch};
use async_trait::async_trait;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

const MAGIC: &[u8] = b"TGS1";
const ID: usize = 8;
const NONCE: usize = 12;
const HEAD: usize = MAGIC.len() + ID + NONCE;
/// Entries sealed in one transaction.
const AT_ONCE: usize = 64;
/// Changes on their way to a watcher.
const WAITING: usize = 64;

/// Keys of 32 bytes: the first seals, all of them open.
#[derive(Default)]
pub struct KeyRing {
    keys: Vec<(KeyId, RandomizedNonceKey)>,
}

/// Tells keys apart without telling anything of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct KeyId([u8; ID]);

/// A store whose values are sealed in another; with an empty ring they are written as they are.
#[derive(Clone, Debug)]
pub struct Sealed {
    inner: Arc<dyn Store>,
    ring: Arc<KeyRing>,
}

impl KeyRing {
    /// A ring of these keys, the one that seals first.
    pub fn new(keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let keys = keys.into_iter().filter_map(|key| {
            let id = digest(&SHA256, &key).as_ref().first_chunk().copied()?;
            // A key of 32 bytes is what AES-256 takes.
            Some((KeyId(id), RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?))
        });
        Self { keys: keys.collect() }
    }

    fn seal(&self, key: &str, value: Vec<u8>) -> Vec<u8> {
        let Some((id, cipher)) = self.keys.first() else { return value };
        let mut text = value;
        let Ok(nonce) = cipher.seal_in_place_append_tag(Aad::from(key.as_bytes()), &mut text)
        else {
            unreachable!("AES-GCM seals anything below 64 GiB");
        };
        [MAGIC, &id.0, nonce.as_ref(), &text].concat()
    }

    /// The value; the id of its key if that is not here. One that was tampered with stays as it
    /// is: whoever decodes it finds it broken.
    fn open(&self, key: &str, value: Vec<u8>) -> Result<Vec<u8>, KeyId> {
        let Some(id) = key_of(&value) else { return Ok(value) };
        let (_, cipher) = self.keys.iter().find(|(known, _)| *known == id).ok_or(id)?;
        let mut text = value[HEAD..].to_vec();
        let nonce = Nonce::try_assume_unique_for_key(&value[HEAD - NONCE..HEAD]);
        let opened = nonce.ok().and_then(|nonce| {
            let open = cipher.open_in_place(nonce, Aad::from(key.as_bytes()), &mut text);
            open.map(|plain| plain.len()).ok()
        });
        match opened {
            Some(length) => {
                text.truncate(length);
                Ok(text)
            }
            None => Ok(value),
        }
    }

    /// Whether a value is not as this ring would write it.
    fn is_due(&self, value: &[u8]) -> bool {
        self.keys.first().is_some_and(|(id, _)| key_of(value) != Some(*id))
    }
}

/// The id of the key a value is sealed with.
fn key_of(value: &[u8]) -> Option<KeyId> {
    let rest = value.strip_prefix(MAGIC).filter(|_| value.len() > HEAD)?;
    rest.first_chunk().map(|id| KeyId(*id))
}

impl Sealed {
    /// Seals what is written to `inner` from now on.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] if an entry is sealed with a key that is not in the ring: to go on
    /// would be to take everything for broken.
    pub async fn open(inner: Arc<dyn Store>, ring: KeyRing) -> Result<Self, StoreError> {
        let (entries, _) = inner.range("").await?;
        let known: BTreeSet<_> = ring.keys.iter().map(|(id, _)| *id).collect();
        for entry in &entries {
            if let Some(id) = key_of(&entry.value).filter(|id| !known.contains(id)) {
                return Err(sealed(&entry.key, id));
            }
        }
        Ok(Self { inner, ring: Arc::new(ring) })
    }

    /// Whether there is a key at all.
    pub fn has_key(&self) -> bool {
        !self.ring.keys.is_empty()
    }

    /// Seals with the ring's first key what is there in the clear or under another one; says how
    /// many entries that were.
    ///
    /// # Errors
    /// Those of the store; what was sealed before stays so.
    pub async fn seal_all(&self) -> Result<usize, StoreError> {
        if self.ring.keys.is_empty() {
            return Ok(0);
        }
        let (entries, _) = self.inner.range("").await?;
        let due = entries.into_iter().filter(|entry| self.ring.is_due(&entry.value));
        let mut due: Vec<_> = due.collect();
        // To seal what does not open would be to vouch for it.
        due.retain(|entry| match self.opened(&entry.key, entry.value.clone()) {
            Ok(value) if key_of(&value).is_some() => {
                tracing::error!(
                    key = entry.key,
                    "an entry does not open with its key: left as it is"
                );
                false
            }
            _ => true,
        });
        let mut count = 0;
        for some in due.chunks(AT_ONCE) {
            count += match self.seal(some).await {
                Ok(Committed::Yes(_)) => some.len(),
                // Somebody wrote one of them, and sealed that, or they are long: one by one.
                Ok(Committed::No) | Err(StoreError::TooLarge { .. }) => {
                    let mut alone = 0;
                    for one in some {
                        let committed = self.seal(std::slice::from_ref(one)).await?;
                        alone += usize::from(committed != Committed::No);
                    }
                    alone
                }
                Err(error) => return Err(error),
            };
        }
        Ok(count)
    }

    async fn seal(&self, entries: &[Entry]) -> Result<Committed, StoreError> {
        let (mut compares, mut ops) = (Vec::new(), Vec::new());
        for entry in entries {
            compares.push(Compare::Revision { key: entry.key.clone(), is: entry.revision });
            let value = self.opened(&entry.key, entry.value.clone())?;
            ops.push(Op::Put { key: entry.key.clone(), value });
        }
        self.txn(compares, ops).await
    }

    fn opened(&self, key: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.ring.open(key, value).map_err(|id| sealed(key, id))
    }

    fn entry(&self, entry: Entry) -> Result<Entry, StoreError> {
        let value = self.opened(&entry.key, entry.value)?;
        Ok(Entry { value, ..entry })
    }

    fn change(&self, change: Change) -> Result<Change, StoreError> {
        match change {
            Change::Put(entry) => self.entry(entry).map(Change::Put),
            gone @ Change::Delete { .. } => Ok(gone),
        }
    }
}

fn sealed(key: &str, id: KeyId) -> StoreError {
    StoreError::Sealed { key: key.to_owned(), id: id.to_string() }
}

#[async_trait]
impl Store for Sealed {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await?.map(|entry| self.entry(entry)).transpose()
    }

    async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        let (entries, revision) = self.inner.range(prefix).await?;
        let entries = entries.into_iter().map(|entry| self.entry(entry));
        Ok((entries.collect::<Result<_, _>>()?, revision))
    }

    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Committed, StoreError> {
        let ops = ops.into_iter().map(|op| match op {
            Op::Put { key, value } => Op::Put { value: self.ring.seal(&key, value), key },
            delete @ Op::Delete { .. } => delete,
        });
        self.inner.txn(compares, ops.collect()).await
    }

    fn unwritable(&self) -> Option<Arc<str>> {
        self.inner.unwritable()
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        let Watch(mut changes) = self.inner.watch(prefix, from).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(WAITING);
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    change = changes.recv() => change,
                    () = sender.closed() => None,
                };
                let Some(change) = change else { return };
                match this.change(change) {
                    Ok(change) => {
                        if sender.send(change).await.is_err() {
                            return;
                        }
                    }
                    // The watch ends; whoever reads the range again is told why.
                    Err(error) => return tracing::error!("{error}"),
                }
            }
        });
        Ok(Watch(receiver))
    }

    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        self.inner.acquire(name, holder, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id.to_string())).finish()
    }
}
