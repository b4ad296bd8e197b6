//! `Idempotency-Key`: a write that is sent again is answered again, not done again.
//!
//! Answers of writes that succeeded are kept in the store for [`KEEP_SECONDS`], at most
//! [`MOST`]; a write that failed changed nothing, so sending it again may well try again. If
//! the process dies between a change and its answer, the copy is done again; `If-Match` guards
//! that.

use crate::{clock::Moment, keys::ANSWERS};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tidegate_store::{Entry, Op, Store, StoreError};

/// How long an answer is kept: a day.
pub(crate) const KEEP_SECONDS: u64 = 24 * 60 * 60;
/// Answers kept at once; the oldest make room.
pub(crate) const MOST: usize = 1_000;
/// The longest body of an answer that is kept, in bytes.
pub(crate) const LONGEST_BODY: usize = 256 * 1024;

/// Answers deleted to make room for one: what fits in a transaction.
const AT_ONCE: usize = 100;

/// A finished answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) body: String,
}

/// What is known of a key.
pub(crate) enum Known {
    /// Nothing: the write may begin, and no copy of it until the permit is gone.
    New(Permit),
    /// It was done: this is the answer.
    Done(Answer),
    /// It is being done.
    Running,
    /// It was used for another request.
    Other,
}

/// Whose request it is: the caller's key, and what it asked for.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    key: String,
    fingerprint: String,
}

impl RequestId {
    /// `request` is everything that makes two requests the same one.
    pub(crate) fn new(caller: &str, key: &str, request: &[&[u8]]) -> Self {
        let digest = |parts: &[&[u8]]| {
            let mut hash = Sha256::new();
            for part in parts {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            hex::encode(hash.finalize())
        };
        let key = format!("{ANSWERS}{}", digest(&[caller.as_bytes(), key.as_bytes()]));
        Self { key, fingerprint: digest(request) }
    }
}

/// `answers/{digest of caller and key}`
#[derive(Serialize, Deserialize)]
struct Kept {
    fingerprint: String,
    expires: Moment,
    answer: Answer,
}

/// All answers kept: their expiry in memory, themselves in the store.
#[derive(Debug)]
pub(crate) struct Answers {
    store: Arc<dyn Store>,
    expiry: Mutex<BTreeMap<String, Moment>>,
    running: Arc<Mutex<BTreeSet<String>>>,
}

impl Answers {
    /// The answers of a range over their prefix.
    pub(crate) fn read(store: Arc<dyn Store>, entries: Vec<Entry>) -> Self {
        let expiry = entries.into_iter().map(|entry| {
            let kept = serde_json::from_slice::<Kept>(&entry.value);
            // One that cannot be read is the first to go.
            let expires = kept.map_or(Moment::now(), |kept| kept.expires);
            (entry.key, expires)
        });
        Self { store, expiry: Mutex::new(expiry.collect()), running: Arc::default() }
    }

    /// Looks a request up, and begins it if it is new.
    pub(crate) async fn begin(&self, id: &RequestId) -> Result<Known, StoreError> {
        if !self.running.lock().insert(id.key.clone()) {
            return Ok(Known::Running);
        }
        let permit = Permit { running: self.running.clone(), key: id.key.clone() };
        let Some(entry) = self.store.get(&id.key).await? else { return Ok(Known::New(permit)) };
        let Ok(kept) = serde_json::from_slice::<Kept>(&entry.value) else {
            return Ok(Known::New(permit));
        };
        if kept.expires <= Moment::now() {
            return Ok(Known::New(permit));
        }
        if kept.fingerprint != id.fingerprint {
            return Ok(Known::Other);
        }
        Ok(Known::Done(kept.answer))
    }

    /// Keeps the answer of a request that was done.
    pub(crate) async fn keep(&self, id: &RequestId, answer: Answer) -> Result<(), StoreError> {
        let now = Moment::now();
        let expires = now.after(KEEP_SECONDS);
        let kept = Kept { fingerprint: id.fingerprint.clone(), expires, answer };
        let value = serde_json::to_vec(&kept).expect("strings and numbers are JSON");
        let mut ops: Vec<_> =
            self.make_room(now).into_iter().map(|key| Op::Delete { key }).collect();
        ops.push(Op::Put { key: id.key.clone(), value });
        self.store.txn(Vec::new(), ops).await?;
        self.expiry.lock().insert(id.key.clone(), expires);
        Ok(())
    }

    /// Takes the expired out of the index, and the oldest if it is full; at most
    /// [`AT_ONCE`], the rest next time.
    fn make_room(&self, now: Moment) -> Vec<String> {
        let mut expiry = self.expiry.lock();
        let mut by_age: Vec<_> = expiry.iter().map(|(key, expires)| (*expires, key)).collect();
        by_age.sort();
        let surplus = (by_age.len() + 1).saturating_sub(MOST);
        let gone: Vec<String> = by_age
            .into_iter()
            .enumerate()
            .take_while(|(index, (expires, _))| *index < surplus || *expires <= now)
            .take(AT_ONCE)
            .map(|(_, (_, key))| key.clone())
            .collect();
        for key in &gone {
            expiry.remove(key);
        }
        gone
    }
}

/// The right to do a request; while it lives, copies of the request are told to wait.
#[derive(Debug)]
pub(crate) struct Permit {
    running: Arc<Mutex<BTreeSet<String>>>,
    key: String,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}
